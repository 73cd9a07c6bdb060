//! Why a branch was not merged.

use std::path::PathBuf;

use super::TRIES;
use crate::{WorkspaceError, git::GitError, remotes};
use oodatcaa_core::TaskId;

/// The result of a step of a merge.
pub(crate) type Result<T, E = MergeError> = std::result::Result<T, E>;

/// The reason why a change is not in the target.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Branch and target have changed the same lines.
    #[error("merge it: conflicts in {}", list(files))]
    Conflict {
        /// Where.
        files: Vec<String>,
        /// The commit that it was to go on top of.
        onto: String,
    },
    /// A gate is red on the result; the target was not touched.
    #[error("merge it: the gate {gate} is red on the result: {reason}")]
    GatesRed {
        /// Which.
        gate: String,
        /// What it said.
        reason: String,
    },
    /// A gate was red after the merge; the merge was reverted.
    #[error("keep the merge: the gate {gate} was red after it, it was reverted: {reason}")]
    RedAfter {
        /// Which.
        gate: String,
        /// What it said.
        reason: String,
        /// The revert, on the target.
        revert: String,
    },
    /// A gate was red after the merge, and the merge cannot be reverted; the target is red.
    #[error("revert the merge after the red gate {gate} ({reason}): {why}; a human must mend the target")]
    NotReverted {
        /// Which.
        gate: String,
        /// What it said.
        reason: String,
        /// What stands in the way.
        why: String,
    },
    /// The gates, or a git, were stopped before they could tell.
    #[error("finish the merge: it was stopped")]
    Stopped,
    /// Nobody could be asked whether the merge may still pass.
    #[error("ask whether the merge may still pass: {0}")]
    NotAsked(String),
    /// What others said of a task before its merge could pass.
    #[error("merge {task}: {why}")]
    Unwanted {
        /// The task.
        task: TaskId,
        /// The reason why not.
        why: String,
    },
    /// The branch holds another commit than the one that was approved.
    #[error("merge {branch}: it is at {found}, and {} was approved", if approved.is_empty() { "no commit of it" } else { approved })]
    NotApproved {
        /// The branch.
        branch: String,
        /// The commit that was approved; empty for none.
        approved: String,
        /// The one that it stands at.
        found: String,
    },
    /// The target moved on, again and again.
    #[error("move the target: others were faster {TRIES} times")]
    MovedOn,
    /// Something of the user's stands in the way; the target was not touched.
    #[error("update the checkout {}: {}{why}", checkout.display(), prefix(files))]
    Busy {
        /// The checkout.
        checkout: PathBuf,
        /// The files in the way.
        files: Vec<String>,
        /// A sentence for the human.
        why: String,
    },
    /// The branch has nothing that the target does not have.
    #[error("find anything to merge: {0} holds no change of its own")]
    Empty(String),
    /// There is no such branch.
    #[error("find the branch {}", oodatcaa_core::text::one_line(.0))]
    NoBranch(String),
    /// The target here and at the remote have both moved.
    #[error("put {target} on {remote}: each has commits that the other lacks; pull first")]
    Diverged {
        /// The branch.
        target: String,
        /// The remote.
        remote: String,
    },
    /// The remote does not answer.
    #[error("reach {remote}: {said}")]
    Unreachable {
        /// The remote.
        remote: String,
        /// What was said of it.
        said: String,
    },
    /// The remote does not take it.
    #[error("push to {remote}: {said}")]
    PushRefused {
        /// The remote.
        remote: String,
        /// What it said.
        said: String,
    },
    /// The remote is somewhere else than it was; a person has to say that this is right.
    #[error("use {}: {}", .0.remote, .0)]
    RemoteMoved(remotes::Moved),
    /// The push was accepted, but the remote does not hold the change.
    #[error("find the change at {0} after the push")]
    Unproven(String),
    /// The place for temporary worktrees will not do.
    #[error("make a worktree at {}: it is inside the repository or its name is not UTF-8", .0.display())]
    Place(PathBuf),
    /// Git says no to something that should have worked.
    #[error("git {command}: {said}")]
    Refused {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
    /// What goes wrong in any workspace: a call of git, a file, the project's `setup`.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

impl From<GitError> for MergeError {
    fn from(error: GitError) -> Self {
        match error {
            GitError::Stopped(_) => Self::Stopped,
            error => Self::Workspace(error.into()),
        }
    }
}

fn list(files: &[String]) -> String {
    let shown: Vec<String> = files.iter().take(10).map(|file| oodatcaa_core::text::one_line(file)).collect();
    let more = files.len().saturating_sub(shown.len());
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

fn prefix(files: &[String]) -> String {
    if files.is_empty() { String::new() } else { format!("{}: ", list(files)) }
}
