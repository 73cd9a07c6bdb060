//! Figures of an event: tokens, money, turns.

use serde_json::Value;

use crate::descriptor::{Pointer, UsageRule};

/// Figures as one event gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) cached: Option<u64>,
    pub(super) cost: Option<f64>,
    pub(super) turns: Option<u32>,
}

impl Figures {
    /// Both together; what neither knows stays unknown.
    pub(super) fn plus(self, other: Self) -> Self {
        fn sum<T>(a: Option<T>, b: Option<T>, add: impl Fn(T, T) -> T) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(add(a, b)),
                (a, b) => a.or(b),
            }
        }
        Self {
            input: sum(self.input, other.input, u64::saturating_add),
            output: sum(self.output, other.output, u64::saturating_add),
            cached: sum(self.cached, other.cached, u64::saturating_add),
            cost: sum(self.cost, other.cost, |a, b| a + b),
            turns: sum(self.turns, other.turns, u32::saturating_add),
        }
    }

    /// Tokens without those that were counted before; nothing else.
    pub(super) fn minus(self, before: Self) -> Self {
        let less = |now: Option<u64>, before: Option<u64>| now.map(|now| now.saturating_sub(before.unwrap_or(0)));
        Self {
            input: less(self.input, before.input),
            output: less(self.output, before.output),
            cached: less(self.cached, before.cached),
            ..self
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

pub(super) fn read(rule: &UsageRule, event: &Value) -> Option<Figures> {
    if !rule.when.holds(event) {
        return None;
    }
    let figures = match (&rule.regex, &rule.ptr) {
        (Some(pattern), Some(ptr)) => {
            let text = ptr.word(event)?;
            let caught = pattern.0.captures(&text)?;
            let group = |name: &str| caught.name(name).map(|found| found.as_str());
            Figures {
                input: group("input").and_then(rounded),
                output: group("output").and_then(rounded),
                cached: group("cached").and_then(rounded),
                cost: group("cost").and_then(|word| word.replace(',', "").parse().ok()).filter(|cost| money(*cost)),
                turns: None,
            }
        }
        _ => Figures {
            input: tokens(&rule.input, event),
            output: tokens(&rule.output, event),
            cached: tokens(&rule.cached, event),
            cost: rule
                .cost
                .as_ref()
                .and_then(|ptr| ptr.first(event))
                .and_then(Value::as_f64)
                .filter(|cost| money(*cost)),
            turns: rule
                .turns
                .as_ref()
                .and_then(|ptr| ptr.first(event))
                .and_then(Value::as_u64)
                .and_then(|turns| u32::try_from(turns).ok()),
        },
    };
    Some(figures).filter(|figures| !figures.is_empty())
}

fn money(cost: f64) -> bool {
    cost.is_finite() && cost >= 0.0
}

fn tokens(pointers: &[Pointer], event: &Value) -> Option<u64> {
    let found: Vec<u64> = pointers.iter().flat_map(|ptr| ptr.all(event)).filter_map(Value::as_u64).collect();
    (!found.is_empty()).then(|| found.into_iter().fold(0, u64::saturating_add))
}

/// `1.2k` as people are shown it.
fn rounded(word: &str) -> Option<u64> {
    let (number, factor) = match word.as_bytes().last()? {
        b'k' | b'K' => (&word[..word.len() - 1], 1_000.0),
        b'M' => (&word[..word.len() - 1], 1_000_000.0),
        _ => (word, 1.0),
    };
    let number: f64 = number.replace(',', "").parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be small and not negative")]
    (number.is_finite() && (0.0..1e12).contains(&number)).then(|| (number * factor).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_figures_are_read_as_they_are_meant() {
        assert_eq!(
            ["1.2k", "56", "1,234", "2M", "x", "", "k"].map(rounded),
            [Some(1_200), Some(56), Some(1_234), Some(2_000_000), None, None, None]
        );
    }

    #[test]
    fn what_neither_knows_stays_unknown() {
        let a = Figures { input: Some(1), ..Figures::default() };
        let b = Figures { input: Some(2), cost: Some(0.5), ..Figures::default() };
        assert_eq!(a.plus(b), Figures { input: Some(3), cost: Some(0.5), ..Figures::default() });
    }
}
