//! Why a call of git did not work, and what follows from that.

use std::path::{Path, PathBuf};

use super::program;
use oodatcaa_core::{Class, environment};

/// A call of git, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The arguments.
    pub(super) command: String,
    /// The directory that they were about.
    pub(super) dir: PathBuf,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "git {} in {}", self.command, self.dir.display())
    }
}

/// The reason why a call of git did not work.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is not git.
    #[error("run git")]
    NotStarted(#[source] std::io::Error),
    /// The one that is there lacks what is needed.
    #[error("use {}: git {} is too old, at least {} is needed", .0.display(), .1, program::OLDEST)]
    TooOld(PathBuf, program::Version),
    /// It said no: what it wrote on standard error, bounded.
    #[error("run {0}: {1}")]
    Failed(Call, String),
    /// It was ended because the attempt or the program was to end.
    #[error("finish {0}: it was stopped")]
    Stopped(Call),
    /// A signal that was not ours ended it: what it was asked is not answered.
    #[error("finish {0}: signal {1} ended it")]
    Killed(Call, i32),
    /// It took too long and was ended.
    #[error("finish {0}: no answer in time")]
    TimedOut(Call),
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
        /// The reason why not.
        #[source]
        source: std::io::Error,
    },
}

impl GitError {
    /// Returns what follows for an attempt: what only a person can mend is not tried again and again.
    pub fn class(&self) -> Class {
        match self {
            Self::NotStarted(_) | Self::TooOld(..) | Self::NotOurs { .. } => Class::Config,
            Self::Failed(_, said) if environment::of_git(said).is_some() => Class::Environment,
            Self::Killed(..) => Class::Interrupted,
            Self::Failed(..) | Self::Stopped(_) | Self::TimedOut(_) | Self::Files { .. } => Class::AgentCrashed,
        }
    }

    /// Returns the lock that stood in its way: of a git that works at the moment, or that died.
    pub fn lock(&self) -> Option<&str> {
        let Self::Failed(_, said) = self else { return None };
        let (_, after) = said.split_once("Unable to create '")?;
        after.split_once("': File exists").map(|(path, _)| path).filter(|path| path.ends_with(".lock"))
    }

    /// Tells whether it passes by itself, sooner or later: nobody's fault, and nothing to charge or to pause for.
    pub fn passes(&self) -> bool {
        self.lock().is_some() || matches!(self, Self::Killed(..))
    }

    pub(crate) fn not_ours(at: &Path, why: impl Into<String>) -> Self {
        Self::NotOurs { at: at.into(), why: why.into() }
    }
}
