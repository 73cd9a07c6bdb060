//! What a merge asks of its attempt while it is made: its gates, and whether it may land.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crossbeam_channel::{Receiver, Sender};

use crate::setup::Shared;
use oodatcaa_core::{ChangeSet, Lease, Snapshot, TaskId, landing, text::chain};
use oodatcaa_git::merge::{Deed, GateFailure, Gates, Leash, MergeError, Passing};

/// A tree, the gates to run in it, and whether the target has what is in it already.
pub(crate) type Question = (PathBuf, Vec<String>, bool);

/// Asks the run that drives the merge, and the store.
pub(crate) struct Checks {
    pub(crate) shared: Arc<Shared>,
    /// The leases of all in the batch.
    pub(crate) leases: Vec<Lease>,
    /// The gates that each task's result must pass.
    pub(crate) wanted: BTreeMap<TaskId, Vec<String>>,
    pub(crate) after: Vec<String>,
    pub(crate) leash: Leash,
    pub(crate) ask: Sender<Question>,
    pub(crate) answered: Receiver<Result<(), GateFailure>>,
}

impl Checks {
    fn check(&self, tree: &Path, names: Vec<String>, moved: bool) -> Result<(), GateFailure> {
        let asked = self.ask.send((tree.to_owned(), names, moved)).is_ok();
        self.answered.recv().ok().filter(|_| asked).unwrap_or(Err(GateFailure::Stopped))
    }

    fn merges(&self, changes: &[Passing]) -> Vec<(Lease, String)> {
        let lease = |change: &Passing| {
            let mine = |lease: &&Lease| (&lease.task_id, lease.token) == (&change.task, change.token);
            self.leases.iter().find(mine).cloned()
        };
        changes.iter().filter_map(|change| Some((lease(change)?, change.commit.clone()))).collect()
    }
}

impl Gates for Checks {
    fn before(&mut self, tree: &Path, tasks: &[TaskId]) -> Result<(), GateFailure> {
        let mut names: Vec<String> = Vec::new();
        for name in tasks.iter().filter_map(|task| self.wanted.get(task)).flatten() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        self.check(tree, names, false)
    }

    fn after(&mut self, tree: &Path, _: &[TaskId]) -> Result<(), GateFailure> {
        self.check(tree, self.after.clone(), true)
    }

    /// Moves the target under the queue's lock, if every change in it may land.
    ///
    /// Asked twice: the decision is committed first, so that a crash leaves the commit in the lease, and asked again in the
    /// same critical section, because others may have written the queue beside the lock meanwhile.
    fn pass(&mut self, changes: &[Passing], deed: Deed<'_>) -> Result<(), MergeError> {
        let merges = self.merges(changes);
        let may = |snapshot: &Snapshot| landing::pass(snapshot, self.shared.workflow(), &merges);
        let vetoed = RefCell::new(None);
        let mut done = None;
        let noted = self.shared.store.transact_then(
            &mut |snapshot| {
                let may = may(snapshot);
                *vetoed.borrow_mut() = may.as_ref().err().cloned();
                may.unwrap_or_default()
            },
            &mut |snapshot| {
                let mut vetoed = vetoed.borrow_mut();
                *vetoed = vetoed.take().or_else(|| may(snapshot).err());
                if vetoed.is_none() {
                    let did = deed();
                    let is_done = did.is_ok();
                    done = Some(did);
                    if is_done {
                        return ChangeSet::none();
                    }
                }
                landing::withdraw(snapshot, &merges)
            },
        );
        if let (Some(done), _) = (done, &noted) {
            if let Err(error) = noted {
                log::warn!("cannot note how a merge passed: failed to {}", chain(&error));
            }
            return done;
        }
        match (vetoed.into_inner(), noted) {
            (Some((task, veto)), _) => Err(MergeError::Unwanted { task, why: veto.to_string() }),
            (None, Err(error)) => Err(MergeError::NotAsked(format!("failed to {}", chain(&error)))),
            (None, Ok(_)) => Err(MergeError::NotAsked("other programs kept writing the queue".into())),
        }
    }

    fn not_passed(&mut self, changes: &[Passing]) {
        let merges = self.merges(changes);
        if let Err(error) = self.shared.store.transact(&mut |snapshot| landing::withdraw(snapshot, &merges)) {
            log::warn!("cannot note that a merge did not pass: failed to {}", chain(&error));
        }
    }

    fn unwanted(&mut self, task: &TaskId) -> Option<String> {
        let seen = self.shared.store.read().ok().filter(|seen| seen.invalid.is_none())?;
        landing::unwanted(&seen.snapshot, self.shared.workflow(), task).map(|veto| veto.to_string())
    }

    fn leash(&self) -> Leash {
        self.leash.clone()
    }
}
