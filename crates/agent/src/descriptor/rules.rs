//! Where things stand in a program's events, and what its failures look like.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::when::{Guard, Pattern, Pointer, When};
use crate::failure::Failure;

/// A value of an event.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pick {
    /// Of which events.
    #[serde(default)]
    pub when: When,
    /// Where it stands.
    pub ptr: Pointer,
    /// With a pattern: what its group `value` caught, or its whole match.
    #[serde(default)]
    pub regex: Option<Pattern>,
    /// The text continues the one before.
    #[serde(default)]
    pub delta: bool,
}

/// A tool's begin or end.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRule {
    /// Of which events.
    pub when: When,
    /// What ties begin and end together.
    pub id: Pointer,
    /// The tool's name.
    #[serde(default)]
    pub name: Option<Pointer>,
    /// What it was asked to do, for the loop guard.
    #[serde(default)]
    pub input: Option<Pointer>,
    /// The end of a call that worked.
    #[serde(default)]
    pub ok: Vec<Guard>,
}

/// An event that ends the run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalRule {
    /// Of which events.
    #[serde(default)]
    pub when: When,
    /// What must hold for a success.
    #[serde(default)]
    pub ok: Vec<Guard>,
    /// The event says that the run failed, whatever else.
    #[serde(default)]
    pub failed: bool,
    /// The final text, else the last one stands.
    #[serde(default)]
    pub text: Option<Pointer>,
    /// A pattern that must be found at `text`.
    #[serde(default)]
    pub regex: Option<Pattern>,
}

/// Whether later figures replace or add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageMode {
    /// The last event has it all.
    #[default]
    Last,
    /// Every event has its own part.
    Sum,
}

/// Where figures stand. Lists are added up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsageRule {
    /// Of which events.
    pub when: When,
    /// Whether later figures replace or add.
    pub mode: UsageMode,
    /// Tokens that went in; together with those from a cache.
    pub input: Vec<Pointer>,
    /// Tokens that came out.
    pub output: Vec<Pointer>,
    /// Of the input, what came from a cache.
    pub cached: Vec<Pointer>,
    /// US dollars.
    pub cost: Option<Pointer>,
    /// Turns.
    pub turns: Option<Pointer>,
    /// With a pattern: its groups `input`, `output`, `cost`, looked for at `ptr`.
    pub regex: Option<Pattern>,
    /// Where `regex` looks.
    pub ptr: Option<Pointer>,
}

/// An event about the account's window.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaRule {
    /// The event that says: no more until the reset.
    pub when: When,
    /// When it is reset, in seconds since 1970.
    pub resets_at: Pointer,
    /// The window's name.
    #[serde(default)]
    pub window: Option<Pointer>,
}

/// `[map]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Map {
    /// The session, the first that is there.
    pub session: Vec<Pick>,
    /// The model.
    pub model: Vec<Pick>,
    /// The model's words.
    pub text: Vec<Pick>,
    /// The words of an error.
    pub message: Vec<Pick>,
    /// A tool begins.
    pub tool_start: Vec<ToolRule>,
    /// A tool has ended.
    pub tool_end: Vec<ToolRule>,
    /// A step of the model.
    pub step: Vec<When>,
    /// A tool call that was not allowed.
    pub denied: Vec<When>,
    /// A list of tool calls that were not allowed.
    pub denials: Option<Pointer>,
    /// What ends the run.
    pub terminal: Vec<TerminalRule>,
    /// Figures.
    pub usage: Vec<UsageRule>,
    /// Figures count from the begin of the session, not of the run.
    pub cumulative: bool,
    /// The account's window is used up.
    pub quota: Option<QuotaRule>,
    /// When the account's window ends that is running, used up or not: seconds since 1970.
    pub resets: Vec<Pick>,
    /// Events that are no progress: retries and warnings.
    pub quiet: Vec<When>,
}

/// Where a failure shows. Never in the model's words or a tool's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In a field of an event.
    Field,
    /// In the exit code.
    Exit,
    /// In the end of standard error.
    Stderr,
}

/// `[[errors]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorRule {
    /// Where it shows.
    pub source: Source,
    /// `field`: of which events.
    #[serde(default)]
    pub when: When,
    /// `field`: where it stands.
    #[serde(default)]
    pub ptr: Option<Pointer>,
    /// `field`, `exit`: failures by value.
    #[serde(default)]
    pub map: BTreeMap<String, Failure>,
    /// `field`, `stderr`: what is looked for.
    #[serde(default)]
    pub regex: Option<Pattern>,
    /// The failure when `regex` is found, or when the field is there at all.
    #[serde(default)]
    pub class: Option<Failure>,
    /// Counts even when the run calls itself a success.
    #[serde(default)]
    pub always: bool,
}

/// `[[early]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyRule {
    /// Of which events.
    #[serde(default)]
    pub when: When,
    /// Where `regex` looks in the event.
    #[serde(default)]
    pub ptr: Option<Pointer>,
    /// What is looked for, in the event or in lines of standard error.
    #[serde(default)]
    pub regex: Option<Pattern>,
    /// Looks at standard error.
    #[serde(default)]
    pub stderr: bool,
    /// So many of them.
    #[serde(default = "one")]
    pub count: u32,
    /// What it is.
    pub class: Failure,
}

fn one() -> u32 {
    1
}

/// What a time to come back is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryUnit {
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
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRule {
    /// Of which events.
    #[serde(default)]
    pub when: When,
    /// Where it stands.
    pub ptr: Pointer,
    /// Its group `value` is the time.
    #[serde(default)]
    pub regex: Option<Pattern>,
    /// What it is written as.
    pub unit: RetryUnit,
}
