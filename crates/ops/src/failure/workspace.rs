//! What an error of a workspace means to people: worktrees, branches, hooks, diffs.

use std::path::Path;

use super::{ErrorKind, Failure, from::io_failure, quoted};
use oodatcaa_core::text::one_line;
use oodatcaa_git::{KeepReason, WorkspaceError, git::GitError};

impl From<WorkspaceError> for Failure {
    fn from(error: WorkspaceError) -> Self {
        use ErrorKind::{
            ConfigInvalid, DiskFull, Failed, LeaseHeld, NotFound, Refused, TimedOut, UnsafePath, Untrusted,
        };
        use GitError as G;
        use WorkspaceError as W;
        let told = |kind, hints: &[&str]| Self::of(kind, &error).hints(hints);
        let look = |path: &Path| format!("look at it: ls -ld {}", quoted(path));
        let status = |words: &str, tree: &Path| format!("{words}: git -C {} status", quoted(tree));
        match &error {
            W::Git(G::Files { path, source, .. }) | W::Io { path, source, .. } => io_failure(&error, path, source),
            W::Git(G::NotStarted(_)) => told(Failed, &["install git, then look again: agentctl doctor"]),
            W::Git(G::TooOld { .. }) => told(Failed, &["install a newer git, then look again: agentctl doctor"]),
            W::Git(G::NotOurs { at: path, .. }) | W::Unsafe { path, .. } => told(UnsafePath, &[&look(path)]),
            W::Git(G::TimedOut { .. } | G::Stopped { .. }) => told(TimedOut, &[]),
            W::Git(G::Failed { .. } | G::Killed { .. }) => told(Failed, &["agentctl doctor"]),
            W::Repository { path, .. } => told(ConfigInvalid, &[&status("see what git says", path)]),
            W::NoBase(_) => told(ConfigInvalid, &["see what is in force: agentctl config show --origin"]),
            W::Detached => told(
                ConfigInvalid,
                &[
                    "check out a branch: git switch BRANCH",
                    "or say which branch tasks start from: `base` in [workspace] of .oodatcaa/config.toml",
                ],
            ),
            W::NotRebased { .. } => {
                told(Refused, &["start over from the base, what was done is kept: agentctl task retry TASK --fresh"])
            }
            W::Busy { path, .. } => told(TimedOut, &[&format!("see who holds it: fuser -v {}", quoted(path))]),
            W::BranchInUse { at, .. } => {
                told(Refused, &[&format!("check something else out there: git -C {} switch -", quoted(at))])
            }
            W::Midway { tree, .. } => told(Refused, &[&status("look at it", tree)]),
            W::Hook { .. } => told(
                Failed,
                &[
                    "correct it in [workspace] of .oodatcaa/config.toml; what is in force: agentctl config show --origin",
                ],
            ),
            W::Fetch { remote, .. } => {
                let by_hand = format!("try it by hand: git fetch {}", one_line(remote));
                told(Failed, &[&by_hand, "or do without it: workspace.fetch = \"off\""])
            }
            W::Untrusted => told(Untrusted, &["look at the commands and allow them: agentctl config trust"]),
            W::DiskLow { path, .. } => {
                let full = format!("see how full the disk is: df -h {}", quoted(path));
                told(DiskFull, &["see what may go: agentctl gc --dry-run", &full])
            }
            W::Kept { task, why } => {
                let diff = format!("look at it: agentctl run diff {task}");
                match why {
                    KeepReason::InUse => {
                        told(LeaseHeld, &[&format!("stop the run first: agentctl run stop {task} --reason \"…\"")])
                    }
                    KeepReason::Unfinished(_) => told(Refused, &[&diff]),
                    _ => {
                        let insist = format!("insist, what can be saved is saved: agentctl worktree rm {task} --force");
                        told(Refused, &[&diff, &insist])
                    }
                }
            }
            W::Superseded { task, .. } => told(LeaseHeld, &[&format!("see who has it: agentctl show {task}")]),
            W::Sandbox { .. } => told(Failed, &["see what this machine can keep: agentctl doctor"]),
            W::Nothing(..) => told(NotFound, &["agentctl worktree list"]),
        }
    }
}
