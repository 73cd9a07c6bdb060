//! The findings from an agent's output that others are told.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use oodatcaa_core::Usage;

/// One of a program's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Findings from an agent's output so far; one that it did not tell is `None`, never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observation {
    /// The program's own session, to resume by.
    pub session: Option<String>,
    /// The model as the program names it.
    pub model: Option<String>,
    /// Tokens, turns and money that it has used up.
    #[serde(flatten)]
    pub usage: Usage,
    /// The tool that was used last.
    pub last_tool: Option<String>,
    /// The model's last words; at the end its answer.
    pub last_text: Option<String>,
    /// Steps of the model that we counted.
    pub steps: u32,
    /// The end of the account's present window, as its service says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<DateTime<Utc>>,
    /// Tool calls that were not allowed.
    pub denials: u32,
    /// The event that ends the run was seen.
    pub ended: bool,
}
