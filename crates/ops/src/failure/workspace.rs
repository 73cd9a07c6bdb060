//! What an error of a workspace means to people: worktrees, branches, hooks, diffs.

use super::{ErrorKind, Failure, from::io_failure, quoted};
use oodatcaa_git::{KeepReason, WorkspaceError, git::GitError};

impl From<WorkspaceError> for Failure {
    fn from(error: WorkspaceError) -> Self {
        match &error {
            WorkspaceError::Git(GitError::NotStarted(_)) => {
                Self::of(ErrorKind::Failed, &error).hint("install git, then look again: agentctl doctor")
            }
            WorkspaceError::Git(GitError::TooOld { .. }) => {
                Self::of(ErrorKind::Failed, &error).hint("install a newer git, then look again: agentctl doctor")
            }
            WorkspaceError::Git(GitError::NotOurs { at, .. }) => Self::of(ErrorKind::UnsafePath, &error)
                .hint(format!("look at it: ls -ld {}", quoted(at)))
                .see("security"),
            WorkspaceError::Git(GitError::Files { path, source, .. }) => io_failure(&error, path, source),
            WorkspaceError::Repository { path, .. } => Self::of(ErrorKind::ConfigInvalid, &error)
                .hint(format!("see what git says: git -C {} status", quoted(path))),
            WorkspaceError::Git(GitError::TimedOut { .. } | GitError::Stopped { .. }) => {
                Self::of(ErrorKind::TimedOut, &error)
            }
            WorkspaceError::Git(GitError::Failed { .. } | GitError::Killed { .. }) => {
                Self::of(ErrorKind::Failed, &error).hint("agentctl doctor")
            }
            WorkspaceError::NoBase(_) => {
                Self::of(ErrorKind::ConfigInvalid, &error).hint("see what is in force: agentctl config show --origin")
            }
            WorkspaceError::Detached => Self::of(ErrorKind::ConfigInvalid, &error)
                .hint("check a branch out: git switch BRANCH")
                .hint("or say which branch tasks start from: `base` in [workspace] of .oodatcaa/config.toml"),
            WorkspaceError::NotRebased { .. } => Self::of(ErrorKind::Refused, &error).hint(
                "begin from the base with nothing of its own, what was done is kept: agentctl task retry TASK --fresh",
            ),
            WorkspaceError::Busy { path, .. } => {
                Self::of(ErrorKind::TimedOut, &error).hint(format!("see who holds it: fuser -v {}", quoted(path)))
            }
            WorkspaceError::BranchInUse { at, .. } => Self::of(ErrorKind::Refused, &error)
                .hint(format!("check something else out there: git -C {} switch -", quoted(at))),
            WorkspaceError::Midway { tree, .. } => {
                Self::of(ErrorKind::Refused, &error).hint(format!("look at it: git -C {} status", quoted(tree)))
            }
            WorkspaceError::Unsafe { path, .. } => Self::of(ErrorKind::UnsafePath, &error)
                .hint(format!("look at it: ls -ld {}", quoted(path)))
                .see("security"),
            WorkspaceError::Hook { .. } => Self::of(ErrorKind::Failed, &error).hint(
                "correct it in [workspace] of .oodatcaa/config.toml; what is in force: agentctl config show --origin",
            ),
            WorkspaceError::Fetch { remote, .. } => Self::of(ErrorKind::Failed, &error)
                .hint(format!("try it by hand: git fetch {}", oodatcaa_core::text::one_line(remote)))
                .hint("or do without it: workspace.fetch = \"off\""),
            WorkspaceError::Untrusted => Self::of(ErrorKind::Untrusted, &error)
                .hint("look at the commands and allow them: agentctl config trust")
                .see("security"),
            WorkspaceError::DiskLow { path, .. } => Self::of(ErrorKind::DiskFull, &error)
                .hint("see what may go: agentctl gc --dry-run")
                .hint(format!("see how full the disk is: df -h {}", quoted(path))),
            WorkspaceError::Kept { task, why } => {
                let failure = match why {
                    KeepReason::InUse => Self::of(ErrorKind::LeaseHeld, &error)
                        .hint(format!("stop the run first: agentctl run stop {task} --reason \"…\"")),
                    _ => Self::of(ErrorKind::Refused, &error).hint(format!("look at it: agentctl run diff {task}")),
                };
                match why {
                    KeepReason::InUse | KeepReason::Unfinished(_) => failure,
                    _ => {
                        failure.hint(format!("insist, what can be saved is saved: agentctl worktree rm {task} --force"))
                    }
                }
            }
            WorkspaceError::Nothing(..) => Self::of(ErrorKind::NotFound, &error).hint("agentctl worktree list"),
            WorkspaceError::Io { path, source, .. } => io_failure(&error, path, source),
        }
    }
}
