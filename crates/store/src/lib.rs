//! Where tasks, leases and events live, behind one trait, so that rules and workers know no backend.
//!
//! Knows what must hold for every store and how the one of files keeps it. Does not know what is claimed, settled or
//! rescued: a decision is a pure function from [`Snapshot`] to [`ChangeSet`].
//!
//! ```text
//!   worker, commands                 Desk                             Store
//!   decide(&Snapshot) ─────> begin ─────────────────────────────────> critical section
//!                            read  <───────────────────────────────── Snapshot
//!                            external edits, then decide
//!                            commit ───────────── ChangeSet ────────> all of it, or "moved": once more
//! ```
//!
//! Start reading at [`Desk`], then [`Store`]; [`mod@file`] is the store of files. What every store must do stands as
//! tests in `tests/store/conformance.rs`, with a store in memory that shows how little one needs.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;

use oodatcaa_core::{ChangeSet, Event, Owner, RunName, Snapshot, TaskId, layout::Layout};
use oodatcaa_sys::files::{FileError, Why};

mod desk;
pub mod file;
mod mail;

pub use desk::{Committed, Desk};
pub use file::{identity, is_gone};
pub use mail::{Decision, Mailboxes, open_mail};

/// The time that a change waits for others, unless the configuration says otherwise.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Opens the store of a project that `url` names: a path of the project's root, or `file:` and that path. Without an
/// owner it takes no leases. `lock_wait` bounds how long a change waits for others.
pub fn open(
    url: impl AsRef<OsStr>,
    layout: &Layout,
    owner: Option<Owner>,
    lock_wait: Duration,
) -> Result<Desk, StoreError> {
    let at = project_of(url.as_ref(), layout)?;
    let takes_leases = owner.is_some();
    let store = file::FileStore::open(&at, owner)?;
    Ok(Desk::new(Box::new(store), takes_leases, lock_wait))
}

/// Returns the project that a URL names, with the user's own state of `layout`.
fn project_of(url: &OsStr, layout: &Layout) -> Result<Layout, StoreError> {
    let root = root_of(url)?;
    Ok(match layout.user_state() {
        Some(state) => Layout::new(root).kept_in(state),
        None => Layout::new(root),
    })
}

/// Reads a project's root out of a URL; any scheme but `file:` is refused.
fn root_of(url: &OsStr) -> Result<&Path, StoreError> {
    let bytes = url.as_bytes();
    let is_scheme =
        |name: &&[u8]| name.len() > 1 && name.iter().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(c));
    let scheme = bytes.iter().position(|byte| *byte == b':').map(|end| &bytes[..end]).filter(is_scheme);
    match scheme {
        None => Ok(Path::new(url)),
        Some(b"file") => {
            let path = &bytes[b"file:".len()..];
            Ok(Path::new(OsStr::from_bytes(path.strip_prefix(b"//").unwrap_or(path))))
        }
        Some(other) => Err(StoreError::Scheme(String::from_utf8_lossy(other).into_owned())),
    }
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        let FileError { doing, path, why } = error;
        match why {
            Why::Io(source) => Self::Io { doing, path, source },
            other => Self::Unsafe { path, reason: other.to_string() },
        }
    }
}

/// A backend, shared between threads.
pub trait Store: Send + Sync {
    /// Reads the present content without taking any lock, so that every reading command works while daemons run.
    ///
    /// When the queue cannot be read, returns the last good content this store has seen together with what is wrong; fails
    /// when it has seen none.
    fn read(&self) -> Result<Reading, StoreError>;

    /// Opens the critical section, waiting for others until the deadline at most.
    fn begin(&self, deadline: Instant) -> Result<Box<dyn Transaction + '_>, StoreError>;

    /// Opens a channel that gets a message when something may have changed. Wake-ups may be spurious and may be missed, so
    /// a listener must poll as well.
    fn changes(&self) -> Result<Receiver<()>, StoreError>;

    /// Passes on the events after the one with this number, oldest first and one at a time: a journal may be longer than
    /// memory.
    fn replay(&self, after: u64, take: &mut dyn FnMut(Event)) -> Result<(), StoreError>;

    /// Tells whether something of a commit has still to be written; the next transaction begins with it.
    fn owes(&self) -> bool {
        false
    }

    /// Returns where its queue is, for messages.
    fn place(&self) -> PathBuf;
}

/// The critical section of a store: until it is dropped, nothing can be changed through the store by anybody else.
///
/// A revision alone would not do: that a lease's holder is dead is only proved while nobody can take its lock, and what
/// a merge does to the target must happen while nobody can take the right to it away.
pub trait Transaction {
    /// Reads the present content; `None` when it was moved while it was read. While the queue cannot be read, returns the
    /// last good content together with what is wrong, or fails with that.
    fn read(&mut self) -> Result<Option<Reading>, StoreError>;

    /// Commits what was decided on a snapshot, all or nothing; `None` when the snapshot is out of date, since some programs
    /// write without the lock. Once it returns, queue and journal are durable; only news on which nobody builds may
    /// follow with the next commit.
    fn commit(&mut self, on: Snapshot, changes: ChangeSet) -> Result<Option<Written>, StoreError>;
}

/// The result of [`Transaction::commit`].
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The events, numbered.
    pub events: Vec<Event>,
    /// The directories of the attempts that were claimed.
    pub runs: Vec<(TaskId, RunName)>,
}

/// The result of [`Store::read`].
#[derive(Clone, Debug)]
pub struct Reading {
    /// The content.
    pub snapshot: Snapshot,
    /// The reason why the queue cannot be read now; the snapshot then holds the last good content.
    pub invalid: Option<Invalid>,
}

/// The reason why a queue cannot be read, and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}:{column}: {message}", path = .path.display())]
pub struct Invalid {
    /// The file.
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The text found there and what was expected.
    pub message: String,
}

/// The message of [`Invalid`] where there is no queue.
const NO_QUEUE: &str = "there is no queue file";

impl Invalid {
    /// Describes a queue that is not there.
    pub fn missing(path: PathBuf) -> Self {
        Self { path, line: 1, column: 1, message: NO_QUEUE.into() }
    }

    fn is_missing(&self) -> bool {
        self.message == NO_QUEUE
    }
}

impl From<Invalid> for StoreError {
    fn from(invalid: Invalid) -> Self {
        if invalid.is_missing() { Self::Missing(invalid.path) } else { Self::Invalid(invalid) }
    }
}

/// A failure of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names a kind of store that this program does not have.
    #[error("open a store of the kind `{0}:`; this program knows paths and `file:` only")]
    Scheme(String),
    /// There is no queue file.
    #[error("find the queue file {}", .0.display())]
    Missing(PathBuf),
    /// The queue file cannot be read; it is left as it is.
    #[error("read the queue file")]
    Invalid(#[source] Invalid),
    /// The lock was held by another for all of the allowed wait.
    #[error("lock {} within {waited:?}{}", path.display(), holder.as_deref().map(|h| format!(", held by {h}")).unwrap_or_default())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// The time waited.
        waited: std::time::Duration,
        /// The holder, where the system tells.
        holder: Option<String>,
    },
    /// Other writers changed the queue file again and again between our reading and our writing.
    #[error("change {}: other programs wrote it during each of {tries} tries", path.display())]
    Contended {
        /// The queue file.
        path: PathBuf,
        /// The number of tries.
        tries: u32,
    },
    /// A directory or file is not what it must be: a link, someone else's, writable for all.
    #[error("use {}: {reason}", path.display())]
    Unsafe {
        /// The path.
        path: PathBuf,
        /// The reason why it is not used.
        reason: String,
    },
    /// The machine or the file system cannot keep two workers apart here.
    #[error("use {}: {reason}", path.display())]
    Unfit {
        /// The project.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },
    /// The operating system said no.
    #[error("{doing} {}", path.display())]
    Io {
        /// The deed: a verb that reads after "failed to".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// Renders the error together with its source, for the log.
    fn with_source(&self) -> String {
        format!("{self}: {}", std::error::Error::source(self).map(ToString::to_string).unwrap_or_default())
    }

    /// Tells whether a file has disappeared in the meantime.
    fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_file_url_name_a_root_and_other_schemes_are_refused() {
        let root = |url: &str| root_of(OsStr::new(url)).map(Path::to_owned).map_err(|error| error.to_string());
        for (url, path) in
            [("/p", "/p"), ("a:b/c", "a:b/c"), ("file:/p q", "/p q"), ("file:///p", "/p"), ("x/y:z", "x/y:z")]
        {
            assert_eq!(root(url), Ok(path.into()), "{url}");
        }
        let refused = root("postgres://host/db").expect_err("refused");
        assert!(refused.contains("`postgres:`") && refused.contains("`file:` only"), "{refused}");
    }
}
