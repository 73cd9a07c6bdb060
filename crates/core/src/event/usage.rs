//! The consumption of an attempt, as the journal keeps it.

use super::lenient::members;

members! {
    /// The tokens, money, turns and time that an agent used up; what is not known is absent, not 0.
    #[derive(Copy)]
    Usage {
        /// Tokens that the model read, those from its cache included.
        tokens_in: Option<u64>,
        /// Tokens that the model wrote.
        tokens_out: Option<u64>,
        /// Those of the tokens read that came from its cache; records of older versions say `tokens_cached`.
        #[serde(alias = "tokens_cached")]
        cached: Option<u64>,
        /// The price in US dollars, as the agent reported it.
        cost_usd: Option<f64>,
        /// Turns of the conversation, as the program counts them.
        turns: Option<u32>,
        /// Seconds on the wall clock.
        seconds: Option<f64>,
    }
}

fn both<T>(a: Option<T>, b: Option<T>, add: impl Fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(add(a, b)),
        (a, b) => a.or(b),
    }
}

impl Usage {
    /// Returns the tokens of both directions; those that are not known count nothing.
    pub fn tokens(&self) -> u64 {
        self.tokens_in.unwrap_or_default().saturating_add(self.tokens_out.unwrap_or_default())
    }

    /// Adds two usages; what neither knows stays unknown.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens_in: both(self.tokens_in, other.tokens_in, u64::saturating_add),
            tokens_out: both(self.tokens_out, other.tokens_out, u64::saturating_add),
            cached: both(self.cached, other.cached, u64::saturating_add),
            cost_usd: both(self.cost_usd, other.cost_usd, |a, b| a + b),
            turns: both(self.turns, other.turns, u32::saturating_add),
            seconds: both(self.seconds, other.seconds, |a, b| a + b),
        }
    }

    /// Takes off tokens that were counted before, and nothing else.
    #[must_use]
    pub fn without_tokens_of(self, before: Self) -> Self {
        let less = |now: Option<u64>, before: Option<u64>| now.map(|now| now.saturating_sub(before.unwrap_or(0)));
        Self {
            tokens_in: less(self.tokens_in, before.tokens_in),
            tokens_out: less(self.tokens_out, before.tokens_out),
            cached: less(self.cached, before.cached),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::payload::Ended;

    #[test]
    fn what_neither_knows_stays_unknown() {
        let a = Usage { tokens_in: Some(1), ..Usage::default() };
        let b = Usage { tokens_in: Some(2), cost_usd: Some(0.5), ..Usage::default() };
        assert_eq!(a.plus(b), Usage { tokens_in: Some(3), cost_usd: Some(0.5), ..Usage::default() });
        assert_eq!(b.without_tokens_of(a), Usage { tokens_in: Some(1), cost_usd: Some(0.5), ..Usage::default() });
    }

    #[test]
    fn a_record_of_an_older_version_is_read() {
        let old = r#"{"session":"s","tokens_in":130,"tokens_out":null,"tokens_cached":30,"steps":2,"cost_usd":0.25}"#;
        let report: Ended = serde_json::from_str(old).expect("it can be read");
        let usage = Usage { tokens_in: Some(130), cached: Some(30), cost_usd: Some(0.25), ..Usage::default() };
        let rest = [("steps".into(), 2.into())].into_iter().collect();
        assert_eq!(report, Ended { usage, session: Some("s".into()), rest, ..Ended::default() });
    }
}
