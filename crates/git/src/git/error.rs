//! Why a call of git did not work, and what follows from that.

use std::path::{Path, PathBuf};

use super::program;
use oodatcaa_core::{Class, environment};

/// Why a call of git did not work.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git.
    #[error("run git")]
    NotStarted(#[source] std::io::Error),
    /// The one that is there lacks what is needed.
    #[error("use {}: git {found} is too old, at least {} is needed", program.display(), program::OLDEST)]
    TooOld {
        /// Which.
        program: PathBuf,
        /// Its version.
        found: program::Version,
    },
    /// It said no.
    #[error("git {command} in {}: {said}", dir.display())]
    Failed {
        /// The arguments.
        command: String,
        /// Where.
        dir: PathBuf,
        /// The exit status.
        code: i32,
        /// What it said on standard error, bounded.
        said: String,
    },
    /// It was ended because somebody asked for the end.
    #[error("finish git {command} in {}: it was stopped", dir.display())]
    Stopped {
        /// The arguments.
        command: String,
        /// Where.
        dir: PathBuf,
    },
    /// A signal that was not ours ended it: what it was asked is not answered.
    #[error("finish git {command} in {}: somebody ended it with signal {signal}", dir.display())]
    Killed {
        /// The arguments.
        command: String,
        /// Where.
        dir: PathBuf,
        /// Which.
        signal: i32,
    },
    /// It took too long and was ended.
    #[error("git {command} in {}: no answer in time", dir.display())]
    TimedOut {
        /// The arguments.
        command: String,
        /// Where.
        dir: PathBuf,
    },
    /// What stands there is not what we made, so nothing is done to it.
    #[error("use {}: {why}", at.display())]
    NotOurs {
        /// What.
        at: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of ours or of git's.
    #[error("{doing} {}", path.display())]
    Files {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl GitError {
    /// Returns what follows for an attempt: what only a person can mend is not tried again and again.
    pub fn class(&self) -> Class {
        match self {
            Self::NotStarted(_) | Self::TooOld { .. } | Self::NotOurs { .. } => Class::Config,
            Self::Failed { said, .. } if environment::of_git(said).is_some() => Class::Environment,
            Self::Killed { .. } => Class::Interrupted,
            Self::Failed { .. } | Self::Stopped { .. } | Self::TimedOut { .. } | Self::Files { .. } => {
                Class::AgentCrashed
            }
        }
    }

    /// Returns the lock that stood in its way: of a git that works at the moment, or that died.
    pub fn lock(&self) -> Option<&str> {
        let Self::Failed { said, .. } = self else { return None };
        let (_, after) = said.split_once("Unable to create '")?;
        after.split_once("': File exists").map(|(path, _)| path).filter(|path| path.ends_with(".lock"))
    }

    /// Tells whether it passes by itself, sooner or later: nobody's fault, and nothing to charge or to pause for.
    pub fn passes(&self) -> bool {
        self.lock().is_some() || matches!(self, Self::Killed { .. })
    }

    pub(super) fn not_ours(at: &Path, why: impl Into<String>) -> Self {
        Self::NotOurs { at: at.into(), why: why.into() }
    }
}
