//! How a plan gets into the files: the steps of the store of files, one action each, so that a crash, a stop and
//! a hand may come between any two of them.

use std::sync::Arc;

use oodatcaa_core::{ChangeSet, Event, Lease, LeaseChange, Now, Queue, Snapshot, TaskId, external_edits};

use super::{
    same::Outlines,
    world::{Filed, Marked, World},
};

/// A commit under way; its worker holds the queue's lock.
#[derive(Clone)]
pub(super) struct Commit {
    pub(super) stage: Stage,
    /// The content that was decided on.
    pub(super) base: Marked<Queue>,
    /// All of it, with what was observed.
    changes: Arc<ChangeSet>,
    pub(super) outlines: Arc<Outlines>,
    pub(super) now: Now,
    /// What is taken back if the queue turns out to be another.
    pub(super) undo: Vec<(TaskId, Option<Lease>, bool)>,
    pub(super) what: What,
}

impl Commit {
    /// All that it is.
    pub(super) fn whole(&self) -> String {
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?}",
            self.stage, self.base.value, self.changes, self.now, self.undo, self.what
        )
    }

    /// Whether it takes this task's lease away.
    pub(super) fn drops(&self, id: &TaskId) -> bool {
        net(&self.changes.leases).any(|change| matches!(change, LeaseChange::Drop(gone) if gone == id))
    }
}

/// How far a commit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Leases,
    Queue,
    Journal,
    Drops,
}

/// What a commit is for, beside giving back and coordinating.
#[derive(Clone, Debug, Default)]
pub(super) struct What {
    pub(super) settled: Option<Settled>,
    pub(super) claimed: Option<Lease>,
}

/// A settlement; `moves` when it moves its task.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) lease: Lease,
    pub(super) moves: bool,
    pub(super) done: bool,
}

impl World {
    /// Takes the lock, observes, decides; the worker then has a commit under way. `false`: there is nothing to commit.
    pub(super) fn begin(&mut self, at: usize, decide: impl FnOnce(&Snapshot) -> (ChangeSet, What)) -> bool {
        let snapshot = self.snapshot(Some(self.workers[at].pid));
        let (changes, what) = observed(&snapshot, decide);
        if changes == ChangeSet::none() {
            return false;
        }
        let commit = Commit {
            stage: Stage::Leases,
            base: self.files.queue.clone(),
            outlines: Arc::new(Outlines::of(&changes)),
            changes: Arc::new(changes),
            now: snapshot.now,
            undo: Vec::new(),
            what,
        };
        self.pass(self.tick);
        self.files.lock = Some(at);
        self.workers[at].commit = Some(commit);
        if self.budget.is_calm() && self.saved.is_none() {
            while self.workers[at].commit.is_some() {
                self.step(at);
            }
        }
        true
    }

    /// The next step of a worker's commit; a step without anything to do is passed over.
    pub(super) fn step(&mut self, at: usize) {
        let mut commit = self.workers[at].commit.take().expect("a commit is under way");
        let pid = self.workers[at].pid;
        match commit.stage {
            Stage::Leases => {
                for change in net(&commit.changes.leases) {
                    let (LeaseChange::Take(lease) | LeaseChange::Write(lease)) = change else { continue };
                    let (id, take) = (lease.task_id.clone(), matches!(change, LeaseChange::Take(_)));
                    let settles = commit.what.settled.as_ref().is_some_and(|settled| settled.lease.task_id == id);
                    if take && !settles {
                        self.look_at_drop(&commit, &id);
                    }
                    let before = self.files.leases.insert(id.clone(), Filed(lease.clone())).map(|filed| filed.0);
                    // A lock that a superseded owner holds is replaced, so that its own is one on nothing.
                    let new = take && self.files.flocks.insert(id.clone(), pid) != Some(pid);
                    commit.undo.push((id, before, new));
                }
                commit.stage = if commit.changes.touches_queue() { Stage::Queue } else { Stage::Journal };
            }
            Stage::Queue => {
                if *self.files.queue.value != *commit.base.value {
                    for (id, before, locked) in commit.undo.into_iter().rev() {
                        match before {
                            Some(lease) => drop(self.files.leases.insert(id.clone(), Filed(lease))),
                            None => drop(self.files.leases.remove(&id)),
                        }
                        if locked {
                            self.files.flocks.remove(&id);
                        }
                    }
                    self.files.lock = None;
                    return;
                }
                let whole = ChangeSet { leases: Vec::new(), events: Vec::new(), ..(*commit.changes).clone() };
                let after = self.snapshot(None).after(&whole).queue;
                self.look_at_change(&commit, &after);
                self.files.queue = Marked::queue(after);
                commit.stage = Stage::Journal;
            }
            Stage::Drops => {
                for change in net(&commit.changes.leases) {
                    if let LeaseChange::Drop(id) = change {
                        self.look_at_drop(&commit, id);
                        self.files.leases.remove(id);
                        if self.files.flocks.get(id) == Some(&pid) {
                            self.files.flocks.remove(id);
                        }
                    }
                }
                self.files.lock = None;
                self.done(at, &commit);
                return;
            }
            Stage::Journal => {
                self.journal(&commit.changes, &commit.now);
                commit.stage = Stage::Drops;
            }
        }
        self.workers[at].commit = Some(commit);
    }

    pub(super) fn journal(&mut self, changes: &ChangeSet, now: &Now) {
        if changes.events.is_empty() {
            return;
        }
        let mut history = (*self.files.journal.value).clone();
        for draft in &changes.events {
            let event = Event::number(draft.clone(), history.seq + 1, now.wall, "");
            history.apply(&event);
        }
        self.files.journal = Marked::history(Arc::new(history));
    }

    /// A commit as one step: what `agentctl` does.
    pub(super) fn at_once(&mut self, decide: impl FnOnce(&Snapshot) -> ChangeSet) -> bool {
        let snapshot = self.snapshot(Some(0));
        let mut own = false;
        let (changes, _) = observed(&snapshot, |seen| {
            let changes = decide(seen);
            own = !changes.is_empty();
            (changes, What::default())
        });
        if !own {
            return false;
        }
        self.files.queue = Marked::queue(snapshot.after(&ChangeSet { leases: Vec::new(), ..changes.clone() }).queue);
        for change in net(&changes.leases) {
            match change {
                LeaseChange::Write(lease) => {
                    drop(self.files.leases.insert(lease.task_id.clone(), Filed(lease.clone())));
                }
                LeaseChange::Drop(id) => drop(self.files.leases.remove(id)),
                LeaseChange::Take(_) | LeaseChange::Lend(_) => unreachable!("agentctl takes no leases here"),
            }
        }
        self.journal(&changes, &snapshot.now);
        self.pass(self.tick);
        true
    }
}

/// Of all changes to one lease the last one counts.
fn net(changes: &[LeaseChange]) -> impl Iterator<Item = &LeaseChange> {
    let id = |change: &LeaseChange| match change {
        LeaseChange::Take(lease) | LeaseChange::Write(lease) => lease.task_id.clone(),
        LeaseChange::Lend(lease) => lease.task_id.clone(),
        LeaseChange::Drop(id) => id.clone(),
    };
    changes
        .iter()
        .enumerate()
        .filter(move |(at, change)| changes[at + 1..].iter().all(|later| id(later) != id(change)))
        .map(|(_, change)| change)
}

/// As the store does it: what others did is noted before what is decided.
fn observed(snapshot: &Snapshot, decide: impl FnOnce(&Snapshot) -> (ChangeSet, What)) -> (ChangeSet, What) {
    let mut whole = external_edits::decide(snapshot);
    let seen = if whole.is_empty() { snapshot.clone() } else { snapshot.after(&whole) };
    let (changes, what) = decide(&seen);
    whole.then(changes);
    (whole, what)
}
