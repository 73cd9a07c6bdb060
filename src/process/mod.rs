//! One attempt's process tree: what to execute, how it ended, how to end it (R18).
//!
//! What the exit means, and which task it was for, others know.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// What to execute. Programs are executed by argv, never through a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// Program and arguments; the program may be a bare name to be found on `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment of the agent; nothing else is inherited (R16).
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// A file to read standard input from; nothing (`/dev/null`) when absent.
    pub stdin: Option<PathBuf>,
    /// Where standard output goes, appended.
    pub stdout: PathBuf,
    /// Where standard error goes, appended.
    pub stderr: PathBuf,
}

/// How long and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall clock from start to end.
    pub wall: Option<Duration>,
    /// Longest time without a byte on either output.
    pub silence: Option<Duration>,
    /// Bytes per output file.
    pub output: u64,
    /// Between TERM and KILL.
    pub grace: Duration,
}

/// How hard to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// TERM to the group, grace, KILL to all.
    Gently,
    /// KILL to all.
    Now,
}

/// Why it was stopped, when it did not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// The worker said so.
    Asked,
    /// The wall-clock limit.
    Wall,
    /// The silence limit.
    Silence,
    /// The output limit.
    Output,
    /// The worker is gone.
    WorkerGone,
}

/// How the program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It never started.
    NotStarted {
        /// The operating system's words.
        error: String,
        /// The program is not there.
        not_found: bool,
    },
    /// The keeper itself is gone, and with it the knowledge.
    Unknown,
}

/// The end of an attempt; also stands in the attempt's directory as `exit.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How.
    pub ended: Ended,
    /// Why it was stopped, if it was.
    pub stopped: Option<StopCause>,
    /// Milliseconds from start to end.
    pub millis: u64,
    /// Processes that had outlived the program and were ended with it.
    pub leftovers: u32,
    /// Bytes in the two output files.
    pub output: [u64; 2],
}
