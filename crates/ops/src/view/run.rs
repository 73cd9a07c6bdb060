//! An attempt on a task.

use serde::Serialize;

use super::Moment;
use oodatcaa_core::{Role, TaskId, Token};

views! {
    /// An attempt, running or over.
    pub struct AttemptView = "oodatcaa/run.v1" {
        /// `TASK/TOKEN`.
        pub run: String,
        /// The task.
        pub task: TaskId,
        /// The fencing token.
        pub token: Token,
        /// The role that worked.
        pub role: Option<Role>,
        /// The number of the try in its stage.
        pub attempt: Option<u32>,
        /// `running`, `unknown`, or its outcome.
        pub state: String,
        /// True if a worker holds its lease now.
        pub running: bool,
        /// The worker.
        pub owner: Option<String>,
        /// The agent.
        pub agent: Option<String>,
        /// True if it was the simulated agent.
        pub simulated: bool,
        /// The time when it was claimed.
        pub started_at: Option<Moment>,
        /// The time when it was over.
        pub ended_at: Option<Moment>,
        /// How long it took, or has taken until now.
        pub seconds: Option<f64>,
        /// `done`, `failed`, …; `rescued` when its owner died.
        pub outcome: Option<String>,
        /// The class of failure.
        pub class: Option<String>,
        /// True if it was charged.
        pub charged: Option<bool>,
        /// What it says to people.
        pub reason: Option<String>,
        /// The gates that ran.
        pub gates: Vec<GateView>,
        /// Its directory.
        pub dir: String,
    }

    /// A gate that ran.
    pub struct GateView {
        /// Its name.
        pub gate: String,
        /// True if it let the task go.
        pub ok: bool,
    }

    /// An attempt with what lies in its directory.
    pub struct AttemptDetail {
        /// The attempt.
        #[serde(flatten)]
        pub attempt: AttemptView,
        /// Its `attempt.json`.
        pub record: Option<serde_json::Value>,
        /// Its `exit.json`.
        pub exit: Option<serde_json::Value>,
        /// Its `result.json`.
        pub result: Option<serde_json::Value>,
        /// The files in its directory.
        pub files: Vec<FileView>,
    }

    /// A file of an attempt.
    pub struct FileView {
        /// Its name.
        pub name: String,
        /// Its size.
        pub bytes: u64,
    }

    /// A request that an attempt stop.
    pub struct StopView = "oodatcaa/stop.v1" {
        /// `TASK/TOKEN`.
        pub run: String,
        /// The task.
        pub task: TaskId,
        /// The fencing token.
        pub token: Token,
        /// True if it was asked now, and not before.
        pub changed: bool,
        /// True if nothing was written.
        pub dry_run: bool,
        /// True if it has stopped; `null` where nobody waited for it.
        pub stopped: Option<bool>,
        /// The time when this was so.
        pub at: Moment,
    }
}

/// A line of an attempt's output.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/log.v1")]
pub struct LogView<'a> {
    /// `TASK/TOKEN`.
    pub run: &'a str,
    /// `stdout`, `stderr` or another file of its directory.
    pub stream: Option<&'a str>,
    /// The line.
    pub line: &'a str,
}
