//! The words of the fleet: which way it runs, what happened to a worker, how one is.

use std::time::Duration;

/// Which way to run the fleet, as it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// Under systemd where its user manager works, else with pid files.
    #[default]
    Auto,
    /// Under the systemd user manager, or not at all.
    Systemd,
    /// With pid files.
    Process,
}

/// Which way the fleet runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As units of the systemd user manager.
    Systemd,
    /// As detached processes with pid files.
    PidFile,
}

impl Mode {
    /// Returns the word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::PidFile => "pid-file",
        }
    }
}

/// The way that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub mode: Mode,
    /// Why, as the end of a sentence.
    pub why: String,
    /// What was done on the way, and what to know about it.
    pub notes: Vec<String>,
}

impl Choice {
    pub(super) fn new(mode: Mode, why: impl Into<String>) -> Self {
        Self { mode, why: why.into(), notes: Vec::new() }
    }
}

/// What happened to one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was started and is ready.
    Started {
        /// Its pid.
        pid: u32,
    },
    /// It ran already.
    RunsAlready {
        /// Its pid.
        pid: Option<u32>,
        /// Which way.
        mode: Mode,
    },
    /// It was stopped and is gone.
    Stopped {
        /// It had to be killed.
        killed: bool,
    },
    /// It claims nothing more, and leaves when its attempts have ended.
    Draining {
        /// The attempts that it has.
        attempts: usize,
    },
    /// There was nothing to stop.
    NotRunning {
        /// A stale pid file was removed; the pid in it belongs to nobody or to somebody else.
        stale: bool,
    },
    /// It did not work.
    Failed {
        /// Why.
        why: String,
        /// The last lines of its log.
        lines: Vec<String>,
        /// It will not work before a human has acted: trust, an agent's name, its program, a permission.
        human: bool,
    },
}

impl Happened {
    /// Returns what did not work and waits for no human.
    pub(super) fn failed(why: impl Into<String>, lines: Vec<String>) -> Self {
        Self::Failed { why: why.into(), lines, human: false }
    }

    /// Tells whether what was asked for is now so.
    pub fn ok(&self) -> bool {
        !matches!(self, Self::Failed { .. })
    }
}

/// One line of what [`Fleet::start`](super::Fleet::start) and [`Fleet::stop`](super::Fleet::stop) tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The worker: its role, or `<role>@<tag>`.
    pub name: String,
    /// What happened.
    pub what: Happened,
}

/// How a worker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs and is ready.
    Running,
    /// It is not ready yet.
    Starting,
    /// It lets its attempts end.
    Stopping,
    /// It does not run.
    Stopped,
    /// It crashed, and its supervisor starts it again in a moment.
    Waiting(String),
    /// Its manager has given up on it, or waits to start it again.
    Failed(String),
}

/// One row of [`Fleet::status`](super::Fleet::status).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The worker: its role, or `<role>@<tag>`.
    pub name: String,
    /// How it is.
    pub state: State,
    /// Its pid.
    pub pid: Option<u32>,
    /// How long it has been running.
    pub up: Option<Duration>,
    /// Which way it runs.
    pub mode: Option<Mode>,
    /// What it says about itself.
    pub says: Option<String>,
    /// The place where its log is: a path, or a command that shows it.
    pub log: String,
}

/// The listener to what happens in [`Fleet::start`](super::Fleet::start) and [`Fleet::stop`](super::Fleet::stop).
pub(super) type Say<'a> = &'a mut dyn FnMut(&Report);
