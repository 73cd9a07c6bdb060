//! First phase: the attempt's directory and the task's worktree.

use std::{path::Path, sync::Arc};

use crate::{baseline::Baseline, run::Run};
use oodatcaa_core::{Class, Outcome, state::PATIENCE, text::chain};
use oodatcaa_git::{Mode, Workspace, WorkspaceError, git::GitError, merge::MergeDirs};
use oodatcaa_sys::files::{self, FileError, Why};

/// A claimed task that has its place to work.
pub(crate) struct Prepared {
    /// The task's worktree; none where all tasks share the project's directory.
    pub(crate) workspace: Option<Workspace>,
    /// The place where a red gate is tried again; nowhere without a worktree.
    pub(crate) baseline: Option<Baseline>,
    /// The place where work of earlier attempts is that is not in the worktree.
    pub(crate) saved: Vec<String>,
}

impl Prepared {
    /// Checks the attempt's directory, and prepares the task's worktree where the project works in such.
    pub(crate) fn new(run: &mut Run) -> Result<Self, Outcome> {
        check_directory(run)?;
        let shared = Arc::clone(&run.shared);
        let config = &shared.setup.config.workspace;
        let without = Self { workspace: None, baseline: None, saved: Vec::new() };
        // Nothing at all is asked of git then: it need not even be installed.
        if config.mode == Mode::Shared {
            return Ok(without);
        }
        let waits = run.snapshot.history.task(&run.lease().task_id).map_or(0, |known| known.waits);
        let wrong = |error: WorkspaceError| refuse(error, waits);
        let (task, token, stop) = (run.assignment.task.clone(), run.lease().token, Arc::clone(&run.halt));
        let run_dir = run.assignment.run_dir.clone();
        let layout = &shared.setup.layout;
        let (leaves, commits) = (shared.agent(&run.lease().by).leaves(), run.commits());
        let merges = run.assignment.rule.duty.merges;
        // Nothing of ours works in a repository of its own there.
        let has_agent = !merges && !run.assignment.rule.duty.agentless;
        let prepared = run.beside(|| {
            let mut workspace = Workspace::prepare(layout, config, &task, token, &run_dir, &stop)?;
            if workspace.mode() == Mode::Shared {
                return Ok(None);
            }
            workspace.leave_out(layout, leaves)?;
            if commits {
                workspace.follow_base()?;
            } else if !merges {
                workspace.lend(layout)?;
            }
            Ok(Some(workspace))
        });
        // Asked first: git that was cut short complains of that, which says nothing to anybody.
        if let Some(stopped) = run.stop_outcome() {
            return Err(stopped);
        }
        let Some(workspace) = prepared.map_err(wrong)? else { return Ok(without) };
        run.assignment.workspace = workspace.path().to_owned();
        run.git = workspace.git().and_then(|git| git.common()).map(Path::to_owned);
        run.prefix = workspace.path().strip_prefix(workspace.top()).unwrap_or(Path::new("")).to_owned();
        run.assignment.task.branch = workspace.branch().map(String::from);
        run.env = workspace.env().clone();
        let saved = workspace.saved_before().map_err(wrong)?;
        let target = workspace.target_commit().map_err(wrong)?;
        // A merge stands on its target as it is now, work on where its branch left the target.
        let commit = if merges { target.clone() } else { workspace.fork_commit().map_err(wrong)? };
        let baseline = commit.zip(MergeDirs::of(&workspace)).map(|(commit, dirs)| Baseline { commit, dirs, target });
        // Last: from here on until it is taken in, only the agent's git works in the worktree.
        if has_agent {
            run.assignment.own_git = run.beside(|| workspace.hand_out(layout, config)).map_err(wrong)?;
        }
        Ok(Self { workspace: Some(workspace), baseline, saved })
    }
}

/// Returns the outcome of an attempt whose worktree cannot be prepared; `waits` is how often its task has waited.
fn refuse(error: WorkspaceError, waits: u32) -> Outcome {
    let reason = format!("failed to {}", chain(&error));
    match error {
        WorkspaceError::Detached | WorkspaceError::Fetch { away: true, .. } => Outcome::Waits { reason },
        // It may be the network that it lacks: that passes, and pauses nobody.
        WorkspaceError::Hook { cannot: false, .. } if waits < PATIENCE => Outcome::Waits { reason },
        WorkspaceError::Git(ref git) if git.passes() => Outcome::Waits { reason: name_lock(git, reason) },
        error => Outcome::failed(error.class(), reason),
    }
}

/// Names the lock that another git holds, or has left behind, and what to do about it.
pub(crate) fn name_lock(error: &GitError, reason: String) -> String {
    match error.lock() {
        Some(lock) => format!("another git holds {lock}; if none is running, remove that file"),
        None => reason,
    }
}

/// Checks that the claim could make the attempt's directory; if not, says what stands in its way.
fn check_directory(run: &Run) -> Result<(), Outcome> {
    let run_dir = &run.assignment.run_dir;
    if run_dir.is_dir() {
        return Ok(());
    }
    // The claim makes it exclusively. Made here it might be one that somebody else has prepared, so this only finds
    // out why it could not be made.
    let above = run_dir.parent().expect("it lies below its task's");
    match files::make_dir(run.shared.setup.layout.root(), above) {
        Err(FileError { path, why: Why::Refused(what), .. }) => {
            let what = what.strip_prefix("it ").unwrap_or(&what);
            let words = format!("cannot write {}: {} {what}; move it away", run_dir.display(), path.display());
            Err(Outcome::failed(Class::PermissionDenied, words))
        }
        Err(error) => Err(cannot_write(&run_dir.display().to_string(), &error.into())),
        Ok(()) => {
            let words = format!("{} could not be made when the task was claimed", run_dir.display());
            Err(Outcome::failed(Class::AgentCrashed, words))
        }
    }
}

/// Returns the outcome of an attempt that cannot write what it must.
pub(crate) fn cannot_write(what: &str, error: &std::io::Error) -> Outcome {
    let class = match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => Class::PermissionDenied,
        _ => Class::AgentCrashed,
    };
    Outcome::failed(class, format!("cannot write {what}: {error}"))
}
