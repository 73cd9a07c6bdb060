//! One attempt's process tree: what to execute, how it ended, how to end it.
//!
//! Knows processes, limits and signals. Does not know what an exit means, which task it was for, or what an agent is.
//!
//! ```text
//!   worker                    shim                                agent and all that it starts
//!   Attempt ──── orders ────> one thread: orders, children,       a process group; orphans come
//!           <─── reports ──── limits, the worker's death ───────> home to the shim
//!   end_leftovers: does the shim's work where worker and shim are dead
//! ```
//!
//! A shim ([`shim`]) is a small process that adopts whatever the agent leaves behind and ends it all when the agent is
//! done, when the worker says so, or when the worker is gone. Start reading at [`Attempt`], then [`shim`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

mod attempt;
pub mod caller;
#[cfg(target_os = "linux")]
pub mod confine;
#[cfg(target_os = "linux")]
mod linux;
pub mod resources;
pub mod shim;
mod sweep;
mod tree;
mod wire;

#[cfg(target_os = "linux")]
use linux as platform;

pub use attempt::{Attempt, Shims};
pub use sweep::{end_leftovers, leftovers};
pub use wire::{Report, read_exit, tag};

/// What to execute. Programs are executed by argv, never through a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// Program and arguments; the program may be a bare name to be found on `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment of the agent; nothing else is inherited.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// A file to read standard input from; nothing (`/dev/null`) when absent.
    pub stdin: Option<PathBuf>,
    /// The place where standard output goes, appended.
    pub stdout: PathBuf,
    /// The place where standard error goes, appended.
    pub stderr: PathBuf,
    /// The profile that the program is confined by ([`confine::Profile::write`]); with nothing it has every right of
    /// its user.
    #[serde(default)]
    pub confine: Option<PathBuf>,
}

/// How long and how much. A time or a number of bytes that is zero is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall clock from start to end.
    pub wall: Option<Duration>,
    /// Longest time in which neither output file changes its length.
    pub silence: Option<Duration>,
    /// Bytes per output file. What is above is cut off.
    pub output: u64,
    /// Bytes of memory that the program and all that it started may hold together.
    #[serde(default)]
    pub memory: Option<u64>,
    /// Between TERM and KILL. Never more than a second for what outlives the program.
    pub grace: Duration,
}

impl Limits {
    fn wall(&self) -> Option<Duration> {
        self.wall.filter(|wall| !wall.is_zero())
    }
}

/// How hard to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// TERM to all, grace, KILL to all.
    Gently,
    /// KILL to all.
    Now,
}

/// The reason why it was stopped, when it did not end by itself.
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
    /// The memory limit.
    Memory,
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
    /// The shim itself is gone, and with it the knowledge.
    Unknown,
}

/// The end of an attempt; also stands in the attempt's directory as `exit.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How.
    pub ended: Ended,
    /// The reason why it was stopped, if it was.
    pub stopped: Option<StopCause>,
    /// Milliseconds from start to end.
    pub millis: u64,
    /// Processes that had outlived the program and were ended with it.
    pub leftovers: u32,
    /// Bytes in the two output files.
    pub output: [u64; 2],
}

impl Exit {
    /// Describes an end of which nobody is left to tell.
    pub fn unknown() -> Self {
        Self { ended: Ended::Unknown, stopped: None, millis: 0, leftovers: 0, output: [0, 0] }
    }
}
