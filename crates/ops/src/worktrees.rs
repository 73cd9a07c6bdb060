//! Worktrees of tasks, and clearing away those that nobody needs any more.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::{
    ErrorKind, Failure, Project, find_id,
    view::{GcView, OldRefView, OldRunView, WorktreeRemovalView, WorktreeView},
};
use oodatcaa_core::{Snapshot, Status, TaskId, lease::LeaseHealth};
use oodatcaa_git::{
    KeepReason, WorkspaceError,
    gc::{self, What},
    prune::{self, PrunePolicy, Removed, Seen},
};

impl Project {
    /// Lists the worktrees of this project's tasks.
    pub fn worktrees(&self, snapshot: &Snapshot) -> Result<Vec<WorktreeView>, Failure> {
        let view = |seen: Seen| WorktreeView {
            status: status(snapshot, &seen.task),
            task: seen.task,
            path: seen.path.to_string_lossy().into_owned(),
            branch: seen.branch,
            base: seen.base,
            ahead: seen.ahead,
            merged: seen.merged,
            dirty: seen.dirty,
            midway: seen.midway,
            left_out: seen.left_out,
            in_use: seen.in_use,
            whole: seen.whole,
            port_base: seen.port,
        };
        Ok(self.seen()?.into_iter().map(view).collect())
    }

    /// Returns a task as somebody typed it, and its worktree; a task that has left the queue may have left one.
    pub fn worktree_of(&self, snapshot: &Snapshot, id: &str) -> Result<(TaskId, PathBuf), Failure> {
        let path = |id: &TaskId| prune::path_of(self.layout()?, id).map_err(Failure::from);
        let task = find_id(&snapshot.queue, id, |id| path(id).is_ok_and(|path| path.is_some()))?;
        match path(&task)? {
            Some(path) => Ok((task, path)),
            None => Err(Failure::new(ErrorKind::NotFound, format!("{task} has no worktree"))
                .hint(format!("agentctl why {task}"))),
        }
    }

    /// Removes the worktrees of tasks that are merged or cancelled; with `dry_run` it only says what would be.
    pub fn sweep_worktrees(&self, snapshot: &Snapshot, dry_run: bool) -> Result<Vec<WorktreeRemovalView>, Failure> {
        let sweep = |seen: Seen| {
            let policy = match status(snapshot, &seen.task) {
                Some(status) if status == Status::CANCELLED => Ok(PrunePolicy::CANCELLED),
                Some(status) if !status.is_done() => Err(KeepReason::Unfinished(status.to_string())),
                Some(_) | None => Ok(PrunePolicy::SAFE),
            };
            let done = free(snapshot, &seen).and(policy).and_then(|policy| policy.check(&seen).map(|()| policy));
            let done = match done {
                Ok(policy) if !dry_run => self.remove(&seen, policy)?,
                other => other.map(|_| Removed::default()),
            };
            Ok(removal(&seen, done, dry_run))
        };
        self.seen()?.into_iter().map(sweep).collect()
    }

    /// Removes the worktree of one task, by `force` also one with work that is nowhere else; what git can save of it is
    /// saved. Whatever goes for good then is named to `agree` first; `None` where that said no.
    pub fn remove_worktree(
        &self,
        snapshot: &Snapshot,
        task: &TaskId,
        force: bool,
        dry_run: bool,
        agree: impl FnOnce(&[String]) -> Result<bool, Failure>,
    ) -> Result<Option<WorktreeRemovalView>, Failure> {
        let policy = if force { PrunePolicy::FORCE } else { PrunePolicy::SAFE };
        let seen = self.seen()?.into_iter().find(|seen| seen.task == *task);
        let seen = seen.ok_or_else(|| Failure::new(ErrorKind::NotFound, format!("{task} has no worktree")))?;
        let kept = |why| WorkspaceError::Kept { task: task.clone(), why };
        free(snapshot, &seen).and_then(|()| policy.check(&seen)).map_err(kept)?;
        if !dry_run && PrunePolicy::SAFE.check(&seen).is_err() && !agree(&seen.left_out)? {
            return Ok(None);
        }
        let removed = if dry_run { Removed::default() } else { self.remove(&seen, policy)?.map_err(kept)? };
        Ok(Some(removal(&seen, Ok(removed), dry_run)))
    }

    /// Removes worktrees of merged and cancelled tasks, and what finished tasks left longer ago than `keep`; with `dry_run`
    /// it only says what would go.
    pub fn clear_away(&self, snapshot: &Snapshot, keep: Duration, dry_run: bool) -> Result<GcView, Failure> {
        let layout = self.layout()?;
        let (mut runs, mut refs, mut bytes) = (Vec::new(), Vec::new(), 0);
        let old = gc::find(layout, snapshot, keep, SystemTime::now())?;
        let worktrees = self.sweep_worktrees(snapshot, dry_run)?;
        for one in old {
            if !dry_run {
                gc::remove(layout, &one)?;
            }
            bytes += one.bytes;
            let (task, age_seconds) = (one.task, one.age.as_secs());
            match one.what {
                What::Run(dir) => {
                    let dir = dir.to_string_lossy().into_owned();
                    runs.push(OldRunView { task, dir, age_seconds, bytes: one.bytes });
                }
                What::Ref { name: reference, commit } => refs.push(OldRefView { task, reference, commit, age_seconds }),
            }
        }
        let quarantined = prune::quarantined(layout, &self.loaded()?.config.workspace)?;
        Ok(GcView {
            dry_run,
            keep_seconds: keep.as_secs(),
            worktrees,
            runs,
            refs,
            aside: quarantined.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            bytes,
            free_bytes: prune::free(layout.root()),
        })
    }

    fn seen(&self) -> Result<Vec<Seen>, Failure> {
        Ok(prune::list(self.layout()?, &self.loaded()?.config.workspace)?)
    }

    fn remove(&self, seen: &Seen, policy: PrunePolicy) -> Result<Result<Removed, KeepReason>, Failure> {
        match prune::remove(self.layout()?, &self.loaded()?.config.workspace, &seen.task, policy) {
            Ok(removed) => Ok(Ok(removed.unwrap_or_default())),
            // It has changed since it was looked at.
            Err(WorkspaceError::Kept { why, .. }) => Ok(Err(why)),
            Err(error) => Err(error.into()),
        }
    }
}

fn status(snapshot: &Snapshot, task: &TaskId) -> Option<Status> {
    snapshot.queue.get(task).map(|task| task.status.clone())
}

/// Checks that nobody works in a worktree.
fn free(snapshot: &Snapshot, seen: &Seen) -> Result<(), KeepReason> {
    let held = snapshot.leases.get(&seen.task).is_some_and(|held| held.health(&snapshot.now) == LeaseHealth::Live);
    if held || seen.in_use { Err(KeepReason::InUse) } else { Ok(()) }
}

fn removal(seen: &Seen, done: Result<Removed, KeepReason>, dry_run: bool) -> WorktreeRemovalView {
    let kept_because = done.as_ref().err().map(ToString::to_string);
    let removed = done.unwrap_or_default();
    WorktreeRemovalView {
        task: seen.task.clone(),
        path: seen.path.to_string_lossy().into_owned(),
        removed: kept_because.is_none(),
        dry_run,
        saved: removed.saved,
        branch_deleted: removed.branch,
        kept_because,
    }
}
