//! Why a workspace could not be made, saved or removed, and which class of failure that is.

use std::{path::PathBuf, time::Duration};

use super::git::GitError;
use oodatcaa_core::{Class, TaskId, Token, text};

/// The result of what is done to a workspace.
pub(crate) type Result<T, E = WorkspaceError> = std::result::Result<T, E>;

/// The reason why a workspace could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// Git said no, or there is none.
    #[error(transparent)]
    Git(#[from] GitError),
    /// There is no repository with a commit to branch from.
    #[error("find a commit to branch from: {0}")]
    NoBase(String),
    /// Nobody is on a branch, so nobody knows where a task would go.
    #[error(
        "find the branch that tasks start from: the main checkout is on none (a bisection, a rebase or a detached head); check a branch out, or name one as `workspace.base`"
    )]
    Detached,
    /// Somebody else held the repository's lock for all of the allowed wait.
    #[error("lock {} within {}; it is held by {holder}", path.display(), text::duration(*waited))]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, where the system tells.
        holder: String,
        /// How long was waited.
        waited: Duration,
    },
    /// There is a `.git`, and git cannot use it.
    #[error("use the git repository of {}: {reason}", path.display())]
    Repository {
        /// The place where the project is.
        path: PathBuf,
        /// What git says.
        reason: String,
    },
    /// The task's branch is checked out elsewhere.
    #[error("use the branch {branch}: it is checked out at {}", at.display())]
    BranchInUse {
        /// The branch.
        branch: String,
        /// The place where it is checked out.
        at: PathBuf,
    },
    /// An operation of git is half done in the tree and only its author can end it.
    #[error("commit in {}: {what} is not finished", tree.display())]
    Midway {
        /// The worktree.
        tree: PathBuf,
        /// `a rebase`, `a merge with conflicts`, …
        what: &'static str,
    },
    /// Nothing of ours may be written there.
    #[error("use {}: {reason}", path.display())]
    Unsafe {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A hook of the project did not end well.
    #[error("prepare the workspace: `{hook}` {words}")]
    Hook {
        /// `setup` or `teardown`.
        hook: &'static str,
        /// How it ended, and its last lines.
        words: String,
        /// It cannot be run at all; else it may go well another time.
        cannot: bool,
    },
    /// A hook of the project could not be confined, so it did not run.
    #[error("confine `{hook}`: {words}")]
    Sandbox {
        /// `setup` or `teardown`.
        hook: &'static str,
        /// The reason.
        words: String,
    },
    /// What branches start from could not be brought up to date.
    #[error("fetch {branch} from {remote}: {said}")]
    Fetch {
        /// The remote.
        remote: String,
        /// The branch.
        branch: String,
        /// What git said.
        said: String,
        /// Nobody is there at the moment; else a person has to do something.
        away: bool,
    },
    /// The project names hooks that its user has not allowed.
    #[error("prepare the workspace: its `setup` and `teardown` are not trusted")]
    Untrusted,
    /// Another attempt has the worktree by now.
    #[error("hand out the worktree of {task}: attempt {by} has it by now")]
    Superseded {
        /// The task.
        task: TaskId,
        /// The attempt that has it.
        by: Token,
    },
    /// The disk is nearly full.
    #[error("make a workspace in {}: {} MiB are free, and `workspace.disk_min` wants {} MiB", path.display(), free >> 20, wanted >> 20)]
    DiskLow {
        /// Where.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that should be.
        wanted: u64,
    },
    /// The workspace stays, because something would be lost or somebody works there.
    #[error("remove the workspace of {task}: {why}")]
    Kept {
        /// The task.
        task: TaskId,
        /// What stands against it.
        why: KeepReason,
    },
    /// A branch cannot be put on top of another as it is.
    #[error("put {branch} on top of {onto}: {}", .files.join(", "))]
    NotRebased {
        /// The branch.
        branch: String,
        /// The other.
        onto: String,
        /// The files in conflict, or what git said.
        files: Vec<String>,
    },
    /// There is nothing to show of it.
    #[error("find what {0} changed: {1}")]
    Nothing(String, String),
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

/// What stands against the removal of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeepReason {
    /// A worker holds the task.
    #[error("a worker is at work there")]
    InUse,
    /// There is work that is not committed.
    #[error("it holds work that is not committed")]
    Dirty,
    /// The branch is not merged.
    #[error("{branch} has {} that {base} does not hold", oodatcaa_core::text::many(*commits, "commit"))]
    Unmerged {
        /// The branch.
        branch: String,
        /// The place where it should be merged.
        base: String,
        /// How many commits would be left behind.
        commits: usize,
    },
    /// There are things that cannot be saved.
    #[error("these cannot be saved: {}", .0.join(", "))]
    Unsaved(Vec<String>),
    /// Its task is neither done nor cancelled.
    #[error("its task is {0}")]
    Unfinished(String),
}

impl WorkspaceError {
    /// Returns what follows for an attempt.
    pub fn class(&self) -> Class {
        match self {
            Self::Git(error) => error.class(),
            Self::Repository { .. } | Self::Unsafe { .. } | Self::Untrusted | Self::NoBase(_) => Class::Config,
            Self::Hook { cannot: true, .. } => Class::Environment,
            Self::Sandbox { .. } => Class::Sandbox,
            Self::Fetch { away: true, .. } => Class::Network,
            Self::BranchInUse { .. } | Self::Hook { .. } | Self::Fetch { .. } => Class::Config,
            Self::DiskLow { .. } => Class::Environment,
            Self::Superseded { .. } => Class::Superseded,
            Self::Io { source, .. } if is_no_room(source) => Class::Environment,
            Self::Midway { .. } => Class::NoEvidence,
            Self::Io { source, .. }
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                Class::PermissionDenied
            }
            Self::Nothing(..)
            | Self::NotRebased { .. }
            | Self::Detached
            | Self::Busy { .. }
            | Self::Kept { .. }
            | Self::Io { .. } => Class::AgentCrashed,
        }
    }
}

/// Tells whether a disk is full or a quota used up.
fn is_no_room(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Makes for `map_err` an error of what was tried on which path.
pub(super) fn failed<E: Into<std::io::Error>>(
    doing: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(E) -> WorkspaceError {
    let path = path.into();
    move |error| WorkspaceError::Io { doing, path, source: error.into() }
}
