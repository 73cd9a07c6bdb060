//! What is seen of an agent while it works, and who looks.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use oodatcaa_core::{Class, Usage};

/// Which of a program's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What an agent's output told so far. What it did not tell is `None`, never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observation {
    /// The program's own session, to resume by.
    pub session: Option<String>,
    /// The model as the program names it.
    pub model: Option<String>,
    /// What it has used up.
    #[serde(flatten)]
    pub usage: Usage,
    /// The tool that was used last.
    pub last_tool: Option<String>,
    /// The model's last words; at the end its answer.
    pub last_text: Option<String>,
    /// Steps of the model that we counted.
    pub steps: u32,
    /// When the account's window ends that is running, as its service says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<DateTime<Utc>>,
    /// Tool calls that were not allowed.
    pub denials: u32,
    /// The event that ends the run was seen.
    pub ended: bool,
}

/// Calls that repeat themselves: a reason to end the attempt if nothing changes by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// What it would be ended as.
    pub class: Class,
    /// How long the workspace must not change before that.
    pub patience: Duration,
    /// What is said then.
    pub words: String,
}

/// Looks at an attempt's output while it is written.
pub trait Watcher: Send {
    /// More of a stream; `now` counts from the start of the attempt.
    fn feed(&mut self, stream: Stream, bytes: &[u8], now: Duration);

    /// Both streams have ended.
    fn finish(&mut self, _now: Duration) {}

    /// What was seen so far.
    fn seen(&self) -> &Observation;

    /// A reason to end the attempt now, if there is one.
    fn verdict(&self, now: Duration) -> Option<(Class, String)>;

    /// Whether it makes the same calls again and again; whether something changes by them, others see.
    fn loops(&self) -> Option<Loop> {
        None
    }

    /// When to ask again for a [`verdict`](Self::verdict), where nothing is fed before.
    fn next_check(&self, now: Duration) -> Option<Duration>;

    /// With a verdict about a limit: when the service said that it serves again.
    fn retry_at(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// The service has limited the program, which waits until then by itself and will go on.
    fn waits(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// Its last event is long past, and the program still runs: end it and ask `outcome` as if it
    /// had ended by itself.
    fn lingers(&self, _now: Duration) -> bool {
        false
    }
}
