//! Where things stand in a program's events, and what its failures look like.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::when::{Guard, Pattern, Pointer, When, word};
use crate::failure::Failure;
use oodatcaa_core::text;

/// A value of an event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pick {
    /// The events that it applies to.
    #[serde(default)]
    pub(crate) when: When,
    /// Its place.
    pub(crate) ptr: Pointer,
    /// With a pattern: what its group `value` caught, or its whole match.
    pub(crate) regex: Option<Pattern>,
    /// The text continues the one before.
    #[serde(default)]
    pub(crate) delta: bool,
}

impl Pick {
    /// Returns the value in this event.
    pub(crate) fn read(&self, event: &Value) -> Option<String> {
        found(&self.when, &self.ptr, self.regex.as_ref(), event)
    }

    /// Returns the first value that one of these finds.
    pub(crate) fn first(all: &[Self], event: &Value) -> Option<String> {
        all.iter().find_map(|pick| pick.read(event))
    }

    /// Returns the same as a time, in seconds since 1970.
    pub(crate) fn epoch(all: &[Self], event: &Value) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(Self::first(all, event)?.parse().ok()?, 0)
    }
}

/// Returns the text that stands at a place of an event, or the part of it that a pattern catches; never empty.
fn found(when: &When, ptr: &Pointer, regex: Option<&Pattern>, event: &Value) -> Option<String> {
    let word = when.holds(event).then(|| ptr.word(event)).flatten()?;
    let word = match regex {
        None => word.into_owned(),
        Some(pattern) => pattern.caught(&word)?.to_owned(),
    };
    Some(word).filter(|word| !word.is_empty())
}

/// A tool's begin or end; an end that has a name also begins a call that was not told of before.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolRule {
    /// The events that it applies to.
    pub(crate) when: When,
    /// The id that ties begin and end together.
    pub(crate) id: Pointer,
    /// The tool's name.
    pub(crate) name: Option<Pointer>,
    /// Its input, for the loop guard.
    pub(crate) input: Option<Pointer>,
    /// The end of a call that worked.
    #[serde(default)]
    pub(crate) ok: Vec<Guard>,
}

/// An event that ends the run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TerminalRule {
    /// The events that it applies to.
    #[serde(default)]
    pub(crate) when: When,
    /// Conditions of a success.
    #[serde(default)]
    pub(crate) ok: Vec<Guard>,
    /// The event says that the run failed, whatever else.
    #[serde(default)]
    pub(crate) failed: bool,
    /// The final text, else the last one stands.
    pub(crate) text: Option<Pointer>,
    /// A pattern that must be found at `text`.
    pub(crate) regex: Option<Pattern>,
}

/// The effect of later figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UsageMode {
    /// The last event has it all.
    #[default]
    Last,
    /// Every event has its own part.
    Sum,
}

/// The places of figures. Lists are added up.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UsageRule {
    /// The events that it applies to.
    pub(crate) when: When,
    /// The effect of later figures: to replace or to add.
    pub(crate) mode: UsageMode,
    /// Tokens that went in; together with those from a cache.
    pub(crate) input: Vec<Pointer>,
    /// Tokens that came out.
    pub(crate) output: Vec<Pointer>,
    /// Of the input, what came from a cache.
    pub(crate) cached: Vec<Pointer>,
    /// US dollars.
    pub(crate) cost: Option<Pointer>,
    /// Turns.
    pub(crate) turns: Option<Pointer>,
    /// With a pattern: its groups `input`, `output`, `cost`, looked for at `ptr`.
    pub(crate) regex: Option<Pattern>,
    /// The place in which `regex` looks.
    pub(crate) ptr: Option<Pointer>,
}

/// `[map]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Map {
    /// The session, the first that is there.
    pub(crate) session: Vec<Pick>,
    /// The model.
    pub(crate) model: Vec<Pick>,
    /// The model's words.
    pub(crate) text: Vec<Pick>,
    /// The words of an error.
    pub(crate) message: Vec<Pick>,
    /// A tool begins.
    pub(crate) tool_start: Vec<ToolRule>,
    /// A tool has ended.
    pub(crate) tool_end: Vec<ToolRule>,
    /// A step of the model.
    pub(crate) step: Vec<When>,
    /// A tool call that was not allowed.
    pub(crate) denied: Vec<When>,
    /// A list of tool calls that were not allowed.
    pub(crate) denials: Option<Pointer>,
    /// Events that end the run.
    pub(crate) terminal: Vec<TerminalRule>,
    /// Events that show that the run goes on after what seemed its end.
    pub(crate) continues: Vec<When>,
    /// Figures.
    pub(crate) usage: Vec<UsageRule>,
    /// Figures count from the begin of the session, not of the run.
    pub(crate) cumulative: bool,
    /// The end of the account's window that is used up: seconds since 1970.
    pub(crate) quota: Vec<Pick>,
    /// The end of the account's present window, used up or not: seconds since 1970.
    pub(crate) resets: Vec<Pick>,
    /// Events that are no progress: retries and warnings.
    pub(crate) quiet: Vec<When>,
}

/// The place where a failure shows; never the model's words, and a tool's output only with `unless`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// In a field of an event.
    Field,
    /// In the exit code.
    Exit,
    /// In the end of standard error.
    Stderr,
    /// In an event of its own record of the session, which is looked into when the run calls itself a success.
    Session,
}

/// `[[errors]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorRule {
    /// The place where it shows.
    pub(crate) source: Source,
    /// `field`, `session`: of which events.
    #[serde(default)]
    pub(crate) when: When,
    /// `field`, `session`: where it stands.
    pub(crate) ptr: Option<Pointer>,
    /// `field`, `exit`: failures by value.
    #[serde(default)]
    pub(crate) map: BTreeMap<String, Failure>,
    /// `field`, `session`, `stderr`: what is looked for.
    pub(crate) regex: Option<Pattern>,
    /// The failure when `regex` is found, or when the field is there at all.
    pub(crate) class: Option<Failure>,
    /// Counts even when the run calls itself a success.
    #[serde(default)]
    pub(crate) always: bool,
    /// Tools: where one of them has worked, this is no failure.
    #[serde(default)]
    pub(crate) unless: Vec<String>,
}

impl ErrorRule {
    /// Returns the failure that this event tells of, and the text in which it was found.
    pub(crate) fn find(&self, event: &Value) -> Option<(Failure, String)> {
        let ptr = self.ptr.as_ref().filter(|_| self.when.holds(event))?;
        ptr.all(event).into_iter().filter_map(word).find_map(|word| {
            let failure = match (&self.regex, self.class) {
                (Some(pattern), Some(class)) => pattern.0.is_match(&word).then_some(class),
                (None, Some(class)) => Some(class),
                _ => self.map.get(word.as_ref()).copied(),
            };
            failure.map(|failure| (failure, word.into_owned()))
        })
    }
}

/// `[[early]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EarlyRule {
    /// The events that it applies to.
    #[serde(default)]
    pub(crate) when: When,
    /// The place in the event in which `regex` looks.
    pub(crate) ptr: Option<Pointer>,
    /// The pattern that is looked for, in the event or in lines of standard error.
    pub(crate) regex: Option<Pattern>,
    /// Looks at standard error.
    #[serde(default)]
    pub(crate) stderr: bool,
    /// So many of them.
    #[serde(default = "one")]
    pub(crate) count: u32,
    /// The kind of failure.
    pub(crate) class: Failure,
}

fn one() -> u32 {
    1
}

/// The form in which a time to come back is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RetryUnit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// Seconds since 1970.
    Epoch,
    /// A time of day of this machine, `6:10 PM`.
    Clock,
}

/// `[[retry]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryRule {
    /// The events that it applies to.
    #[serde(default)]
    pub(crate) when: When,
    /// Its place.
    pub(crate) ptr: Pointer,
    /// Its group `value` is the time.
    pub(crate) regex: Option<Pattern>,
    /// The form in which it is written.
    pub(crate) unit: RetryUnit,
}

impl RetryRule {
    /// Returns a time as the first rule that finds one finds it; the first rule is the most exact one.
    pub(crate) fn first(all: &[Self], event: &Value) -> Option<(RetryUnit, String)> {
        let read = |rule: &Self| found(&rule.when, &rule.ptr, rule.regex.as_ref(), event);
        all.iter().find_map(|rule| Some((rule.unit, text::cut(&read(rule)?, 40))))
    }
}
