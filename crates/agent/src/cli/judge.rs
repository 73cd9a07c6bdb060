//! What a run came to, in the order of what can be believed: the event that ended it, fields that
//! say what is wrong by their value, then by their words, exit codes, standard error, the exit status alone.
//!
//! What we did to the run comes before all of this and is not known here; the model's own words
//! are never looked at.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::clock::clock;
use crate::{
    descriptor::{Descriptor, ErrorRule, RetryUnit, Source},
    failure::{self, Failure},
    stream::{Reader, RunState},
};
use oodatcaa_core::environment;
use oodatcaa_process::Ended;

/// The reason why a run is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The kind of failure.
    pub(crate) failure: Failure,
    /// The program's own words about it.
    pub(crate) words: String,
    /// The time at which the service serves again, as it said.
    pub(crate) retry_at: Option<DateTime<Utc>>,
}

/// Judges a run; `None` for a success. `lingered`: it was ended by us after its last word; `confined`: most of the
/// machine was read-only to it.
pub(crate) fn judge(reader: &Reader, ended: &Ended, lingered: bool, confined: bool) -> Option<Judgement> {
    let run = reader.run();
    let (failure, words) = reason(reader.descriptor(), run, ended, (lingered, confined))?;
    Some(Judgement { failure, words, retry_at: retry_at(run, failure, Utc::now()) })
}

fn reason(
    descriptor: &Descriptor,
    run: &RunState,
    ended: &Ended,
    (lingered, confined): (bool, bool),
) -> Option<(Failure, String)> {
    let code = match ended {
        Ended::Exited(code) => Some(*code),
        _ => None,
    };
    let rc = &descriptor.success.rc;
    let is_good = |code: i32| rc.contains(&code) || rc.is_empty() && code == 0;
    let good_exit = lingered || code.is_some_and(is_good);
    let message = || run.message.clone().unwrap_or_default();
    let by_field = |wanted: &dyn Fn(&ErrorRule) -> bool| {
        let rules = descriptor.errors.iter().zip(&run.hits).filter(|(rule, _)| wanted(rule) && !disproved(rule, run));
        let hit = rules.into_iter().find_map(|(_, hit)| hit.as_ref())?;
        Some((hit.failure, run.message.clone().unwrap_or_else(|| plain_words(&hit.words))))
    };

    let always = by_field(&|rule| rule.always).or_else(|| by_stderr(descriptor, run, &|rule| rule.always));
    if always.is_some() {
        return always;
    }
    if run.terminal == Some(true) && good_exit {
        let nothing_worked = run.observation.denials > 0 && run.tools_ok == 0;
        let words = format!("{} tool calls were not allowed, and none worked", run.observation.denials);
        return nothing_worked.then_some((Failure::ToolDenied, words));
    }
    // An event without a time has set nothing: no window is used up, whatever it is called.
    run.quota
        .map(|_| (Failure::QuotaWindow, message()))
        .or_else(|| by_field(&|rule| rule.regex.is_none()))
        .or_else(|| by_field(&|rule| rule.regex.is_some()))
        .or_else(|| Some((by_exit(descriptor, code?)?, message())))
        .or_else(|| by_stderr(descriptor, run, &|_| true))
        .or_else(|| run.early.clone())
        .or_else(|| Some(by_end(run, ended, code, good_exit, confined)))
}

/// Tells whether what it says has worked after all.
fn disproved(rule: &ErrorRule, run: &RunState) -> bool {
    rule.unless.iter().any(|tool| run.worked.contains(tool))
}

/// Judges a run that calls itself a success by the program's own record of the session, of one event a line: some
/// failures are told to the model alone. The record is only read where there is something to look for.
pub(crate) fn by_session(reader: &Reader, record: impl FnOnce() -> Option<Vec<u8>>) -> Option<Judgement> {
    let asked = |rule: &&ErrorRule| rule.source == Source::Session && !disproved(rule, reader.run());
    let rules: Vec<&ErrorRule> = reader.descriptor().errors.iter().filter(asked).collect();
    let record = (!rules.is_empty()).then(record).flatten()?;
    let events = record.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let begins = &reader.descriptor().output.begins;
    let (failure, words) = events.fold(None, |found, event| match begins.iter().any(|begin| begin.holds(&event)) {
        true => None,
        false => found.or_else(|| rules.iter().find_map(|rule| rule.find(&event))),
    })?;
    Some(Judgement { failure, words, retry_at: None })
}

/// Says what an end is of which the program said nothing that is known.
fn by_end(run: &RunState, ended: &Ended, code: Option<i32>, good_exit: bool, confined: bool) -> (Failure, String) {
    let message = run.message.clone().unwrap_or_default();
    match ended {
        Ended::Signalled(signal) => (Failure::Killed, failure::signal(*signal)),
        Ended::Unknown => (Failure::Killed, "how it ended is not known".into()),
        _ if run.terminal == Some(false) => (Failure::Unknown, message),
        _ if code.is_some_and(|code| environment::CANNOT_RUN.contains(&code)) => {
            (Failure::NotInstalled, run.stderr.trim().to_owned())
        }
        _ if !good_exit => {
            match (environment::no_sandbox(&run.stderr), environment::no_room_inside(&run.stderr, confined)) {
                (Some(line), _) => (Failure::SandboxBroken, line.to_owned()),
                (None, Some(line)) => (Failure::NoRoom, line.to_owned()),
                (None, None) => {
                    let code = code.map_or_else(String::new, |code| format!("exit status {code}"));
                    let tail = run.stderr.trim();
                    let tail = if tail.is_empty() { &message } else { tail };
                    (Failure::Unknown, format!("{code}: {tail}").trim_end_matches([':', ' ']).to_owned())
                }
            }
        }
        _ => (Failure::Protocol, message),
    }
}

/// Returns words that are a sentence; one of an enumeration (`401`) tells people no more than the failure does.
fn plain_words(words: &str) -> String {
    if words.contains(' ') { words.to_owned() } else { String::new() }
}

/// Finds the pattern that the end of standard error fits, and the line.
fn by_stderr(
    descriptor: &Descriptor,
    run: &RunState,
    wanted: &dyn Fn(&ErrorRule) -> bool,
) -> Option<(Failure, String)> {
    descriptor.errors.iter().filter(|rule| rule.source == Source::Stderr && wanted(rule)).find_map(|rule| {
        let (pattern, failure) = (rule.regex.as_ref()?, rule.class?);
        let line = run.stderr.lines().find(|line| pattern.0.is_match(line))?;
        Some((failure, line.to_owned()))
    })
}

fn by_exit(descriptor: &Descriptor, code: i32) -> Option<Failure> {
    let rules = descriptor.errors.iter().filter(|rule| rule.source == Source::Exit);
    rules.filter_map(|rule| rule.map.get(&code.to_string())).next().copied()
}

/// Returns when the service said that it serves again; a time that makes no sense is none.
pub(crate) fn retry_at(run: &RunState, failure: Failure, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    use Failure::{Billing, Overloaded, ProviderError, QuotaWindow, RateLimited};
    if !matches!(failure, Billing | Overloaded | ProviderError | QuotaWindow | RateLimited) {
        return None;
    }
    let at = run.quota.or_else(|| run.retry.as_ref().and_then(|(unit, word)| written(*unit, word, now)));
    at.filter(|at| *at > now - TimeDelta::hours(1) && *at < now + TimeDelta::days(32))
}

pub(crate) fn written(unit: RetryUnit, word: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let number = || word.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    #[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates, and the time is checked")]
    match unit {
        RetryUnit::Seconds => now.checked_add_signed(TimeDelta::try_milliseconds((number()? * 1_000.0) as i64)?),
        RetryUnit::Millis => now.checked_add_signed(TimeDelta::try_milliseconds(number()? as i64)?),
        RetryUnit::Epoch => DateTime::from_timestamp(number()? as i64, 0),
        RetryUnit::Clock => clock(word, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_count_from_now_and_nonsense_is_none() {
        let now = DateTime::from_timestamp(1_767_600_000, 0).expect("a time");
        assert_eq!(written(RetryUnit::Seconds, "2.5", now), Some(now + TimeDelta::milliseconds(2_500)));
        assert_eq!(written(RetryUnit::Epoch, "1767600100", now), Some(now + TimeDelta::seconds(100)));
        for word in ["", "-1", "NaN", "inf", "x"] {
            assert_eq!(written(RetryUnit::Seconds, word, now), None, "{word}");
        }
        assert_eq!(written(RetryUnit::Seconds, "1e300", now), None);
    }
}
