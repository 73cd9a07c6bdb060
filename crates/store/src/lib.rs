//! Where tasks, leases and events live: one trait, so that rules and workers know no backend.
//!
//! A store takes a decision (a pure function from [`Snapshot`] to [`ChangeSet`]), runs it in its one
//! critical section, and commits the change set as one. What is claimed, renewed or settled it does not know.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

use std::path::PathBuf;

use crossbeam_channel::Receiver;

use oodatcaa_core::{ChangeSet, Event, Snapshot};
use oodatcaa_sys::files::{FileError, Why};

pub mod file;

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        let FileError { doing, path, why } = error;
        match why {
            Why::Io(source) => Self::Io { doing, path, source },
            other => Self::Unsafe { path, reason: other.to_string() },
        }
    }
}

/// A backend. Object-safe and shared between threads.
pub trait Store: Send + Sync {
    /// What stands there now, without taking any lock (R2: every reading verb works while daemons run).
    ///
    /// When the queue cannot be read, the last good content this store has seen is answered together
    /// with what is wrong; without any good content that is an error.
    fn read(&self) -> Result<Reading, StoreError>;

    /// Runs `decide` in the critical section and commits its plan (R2).
    ///
    /// `decide` may be called again, on newer content, when somebody wrote beside the lock (R3); the
    /// plan of its last call is the one that was committed. An empty change set writes nothing, but what others
    /// did may be noted with it. When this returns `Ok`, the queue and the journal are on disk; news on which
    /// nobody builds (`attempt.started`, `gate.finished`, `worker.started`) may follow with the next change.
    ///
    /// While the queue cannot be read, that is the error; only a change set that does nothing but renew leases,
    /// decided on the last good content, is committed all the same (R4: running attempts go on).
    fn transact(&self, decide: &mut dyn FnMut(&Snapshot) -> ChangeSet) -> Result<Committed, StoreError>;

    /// The same for one who renews a lease of their own: whether the holders of others' still live is not proved
    /// for it, only looked at.
    fn renew(&self, decide: &mut dyn FnMut(&Snapshot) -> ChangeSet) -> Result<Committed, StoreError> {
        self.transact(decide)
    }

    /// The same, and then `deed` while still nobody else can change anything: what is done in the world stands to
    /// what others say as the commit does. When the deed fails, what it answers is committed too; an error then says
    /// that it could not be. It is done once, after the last call of `decide`, also when the change set was empty.
    fn transact_then(
        &self,
        decide: &mut dyn FnMut(&Snapshot) -> ChangeSet,
        deed: &mut dyn FnMut(&Snapshot) -> ChangeSet,
    ) -> Result<Committed, StoreError>;

    /// Whether something of a commit has still to be written; the next change, also an empty one, begins with it.
    fn owes(&self) -> bool {
        false
    }

    /// A channel that gets a message when something may have changed. Wake-ups may be spurious and
    /// may be missed; whoever listens polls as well.
    fn changes(&self) -> Result<Receiver<()>, StoreError>;

    /// The journal after the event with this number.
    fn events(&self, after: u64) -> Result<Vec<Event>, StoreError>;
}

/// What [`Store::read`] answers.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The content.
    pub snapshot: Snapshot,
    /// What is wrong with the queue as it stands; the snapshot then holds the last good content.
    pub invalid: Option<Invalid>,
}

/// What [`Store::transact`] answers.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The plan that was committed.
    pub changes: ChangeSet,
    /// Its events, numbered, together with those that the store itself added (`task.observed`, …).
    pub events: Vec<Event>,
}

/// Why a queue file cannot be read (R4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}:{column}: {message}", path = .path.display())]
pub struct Invalid {
    /// The file.
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is there and what was expected.
    pub message: String,
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no queue file.
    #[error("find the queue file {}", .0.display())]
    Missing(PathBuf),
    /// The queue file cannot be read; it is left as it is.
    #[error("read the queue file")]
    Invalid(#[source] Invalid),
    /// Somebody else held the lock for all of the allowed wait.
    #[error("lock {} within {waited:?}{}", path.display(), holder.as_deref().map(|h| format!(", held by {h}")).unwrap_or_default())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        waited: std::time::Duration,
        /// Who holds it, where the system tells.
        holder: Option<String>,
    },
    /// Other writers changed the queue file again and again between our reading and our writing.
    #[error("change {} while others were writing it, {tries} times", path.display())]
    Contended {
        /// The queue file.
        path: PathBuf,
        /// How often it was tried.
        tries: u32,
    },
    /// A directory or file is not what it must be: a link, someone else's, writable for all.
    #[error("use {}: {reason}", path.display())]
    Unsafe {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system said no.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was tried: a verb that reads after "failed to".
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// Whether a file was not there that had been a moment ago.
    fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}
