//! One change set becomes files: leases, then the queue, then the journal, then leases that go.
//!
//! A crash between any two leaves what the next poll mends: a lease without a worker, a status without
//! its event. An error before the queue was replaced takes the leases back.

use std::{collections::BTreeMap, fs, io};

use super::{
    FileStore, State,
    disk::{self, Stamp, failed},
    document::Document,
    journal,
    leases::{self, Before},
    lock,
    look::Good,
    replace::{self, Put},
    runs::{self, Made},
};
use crate::{StoreError, Written};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{
    ChangeSet, Event, ForeignLease, Lease, LeaseChange, LeaseRecord, LeaseState, QueueLease, Snapshot, TaskId,
    state::starts,
};
use oodatcaa_sys::{files, lock::Lock};

/// No sprint is archived more often.
const MOST_VERSIONS: u32 = 999;

/// A change set on its way into the files.
pub(super) struct Commit<'a> {
    pub(super) store: &'a FileStore,
    pub(super) state: &'a mut State,
    pub(super) lock: &'a Lock,
    /// The snapshot that was decided on.
    pub(super) snapshot: Snapshot,
    pub(super) changes: ChangeSet,
}

/// The changes to leases that can still be taken back.
#[derive(Default)]
struct Undo {
    files: Vec<Before>,
    locks: Vec<TaskId>,
    runs: Vec<Made>,
    /// The previous end of the ledger.
    ledger: Option<u64>,
}

impl Commit<'_> {
    /// Commits; `None` when somebody wrote the queue since it was decided about.
    pub(super) fn run(&mut self) -> Result<Option<Written>, StoreError> {
        if !self.tokens_are_new() {
            return Ok(None);
        }
        let mut undo = Undo::default();
        // First of all: the directory's name is in the lease and in the event, and who makes it exclusively owns it.
        for lease in self.changes.takes().cloned().collect::<Vec<_>>() {
            let made = Made::make(&self.store.layout, &lease.task_id, lease.token);
            self.changes.name_run(&lease.task_id, &made.name);
            undo.runs.push(made);
        }
        match self.write(&mut undo) {
            Ok(Some(events)) => {
                let runs = undo.runs.into_iter().map(Made::into_name).collect();
                Ok(Some(Written { events, runs }))
            }
            other => {
                undo.run(&self.store.layout, self.state);
                other.map(|_| None)
            }
        }
    }

    /// Tells whether every token that is given out is greater than what directories and the user's state know of.
    fn tokens_are_new(&mut self) -> bool {
        let mut new = true;
        let taken = self.changes.takes().map(|lease| (&lease.task_id, lease.token));
        let is_held = |task: &TaskId, token| self.snapshot.leases.get(task).is_some_and(|held| held.token() == token);
        let lent = self.changes.leases.iter().filter_map(|change| match change {
            // One that is there is renewed, and has its token already.
            LeaseChange::Lend(lease) => Some((&lease.task_id, lease.token.filter(|t| !is_held(&lease.task_id, *t))?)),
            _ => None,
        });
        for (task, token) in taken.chain(lent) {
            let queue = self.snapshot.queue.get(task).map(|task| &task.lease);
            let held = self.snapshot.leases.get(task).map(LeaseState::token);
            let written = [held, queue.and_then(QueueLease::token)].into_iter().flatten();
            if let Some(made_up) = written.max().filter(|written| *written > token) {
                log::warn!("{task}: ignoring the token {made_up}, which no worker has issued");
            }
            let known = runs::highest_token(&self.store.layout, task);
            if known >= token {
                log::info!("{task}: the token {known} has been issued before; continuing after it");
                self.state.tokens.insert(task.clone(), known);
                new = false;
            } else {
                self.state.tokens.remove(task);
            }
        }
        new
    }

    fn write(&mut self, undo: &mut Undo) -> Result<Option<Vec<Event>>, StoreError> {
        let net = net(&self.changes.leases);
        let only_tells = !self.changes.touches_queue() && net.is_empty() && !self.changes.events.is_empty();
        // What is told of a queue must be true of what stands there now.
        if only_tells && !self.is_unchanged()? {
            return Ok(None);
        }
        let drafts = self.changes.events.iter().cloned();
        let mut events = self.state.journal.number(drafts, self.snapshot.now.wall, &self.store.source);
        if !events.is_empty() {
            // Before the queue: a full disk must refuse the change, not swallow its event.
            self.state.journal.reserve(journal::lines(&events).len())?;
        }

        undo.ledger = self.keep(&events);
        // Before the queue: a lease without an active status is swept, an active status without a lease looks like a
        // crash.
        self.put_leases(&net, undo)?;
        self.archive()?;
        if !self.put_queue()? {
            return Ok(None);
        }
        // From here on the change set is committed, and no error may say otherwise. What was decided on is let go, so that
        // what is remembered of the journal is not copied to be added to.
        self.snapshot.history = Default::default();
        if !events.is_empty()
            && let Err(error) = self.state.journal.append(&mut events, !is_news(&self.changes))
        {
            log::error!("{}; the events will be written before the next change", error.with_source());
            self.state.pending.extend(events.iter().cloned());
            let go = net.iter().filter(|(_, change)| matches!(change, LeaseChange::Drop(_)));
            let token = |task: &TaskId| self.snapshot.leases.get(task).map(LeaseState::token);
            self.state.to_drop.extend(go.filter_map(|(task, _)| Some((task.clone(), token(task)?))));
        }
        // Until the journal knows, the lease tells whose change it was.
        if self.state.pending.is_empty() {
            self.drop_leases(&net);
        }
        Ok(Some(events))
    }

    /// Writes into the ledger what it keeps of these events, before they are true: a crash may count a start too many,
    /// never one too few. Answers where it ended before. Nothing waits for the disk: after a loss of power the queue
    /// and the journal count.
    fn keep(&mut self, events: &[Event]) -> Option<u64> {
        let mut kept: Vec<Event> = events.iter().filter_map(starts::kept).collect();
        if kept.is_empty() {
            return None;
        }
        // What is remembered of it is added to, not copied.
        self.snapshot.kept = Default::default();
        self.state.with_ledger(|ledger| {
            // The ledger has fewer events, so numbers of its own.
            ledger.renumber(&mut kept);
            ledger.seal(&mut kept);
            let end = ledger.end();
            ledger.make_place()?;
            ledger.append(&mut kept, false).map(|()| end)
        })
    }

    /// Writes leases.
    fn put_leases(&mut self, net: &BTreeMap<TaskId, LeaseChange>, undo: &mut Undo) -> Result<(), StoreError> {
        for (task, change) in net {
            let path = self.store.layout.lease(task);
            let lease = match change {
                LeaseChange::Take(lease) => {
                    self.lock_task(task, undo)?;
                    lease
                }
                // Not locked anew: only its owner writes a lease again.
                LeaseChange::Write(lease) => lease,
                LeaseChange::Lend(lease) => {
                    undo.files.push(Before::of(&path)?);
                    leases::write_lent(&path, lease)?;
                    continue;
                }
                LeaseChange::Drop(_) => continue,
            };
            undo.files.push(Before::of(&path)?);
            leases::write(&path, lease)?;
        }
        Ok(())
    }

    fn lock_task(&mut self, task: &TaskId, undo: &mut Undo) -> Result<(), StoreError> {
        if self.store.me.is_none() {
            let source = io::Error::other("a store that was opened without an owner takes no leases");
            return Err(failed("take the lease", &self.store.layout.lease(task))(source));
        }
        // A task taken again by us keeps its lock: between letting go and taking it others could.
        if self.state.held.get(task).map(Lock::is_in_force).transpose()? != Some(true) {
            let lock = lock::task_lock(&self.store.layout.task_lock(task))?;
            self.state.held.insert(task.clone(), lock);
            undo.locks.push(task.clone());
        }
        Ok(())
    }

    /// Keeps the queue as it is, where what the change set takes out of it must be found again. What was kept before is
    /// never written over; the same content is kept once.
    fn archive(&mut self) -> Result<(), StoreError> {
        let Some(sprint) = self.changes.archive else { return Ok(()) };
        let layout = &self.store.layout;
        let text = self.state.good.as_ref().expect("it was decided on").document.text().as_bytes();
        for version in 1..=MOST_VERSIONS {
            let path = layout.final_queue(sprint, version);
            let same = match files::open(layout.root(), &path)? {
                Some(mut there) => disk::holds(&mut there, text).map_err(failed("read", &path))?,
                None => {
                    disk::point("store.archive").map_err(failed("archive the queue as", &path))?;
                    files::publish(layout.root(), &path, text, false)?;
                    disk::point("store.archived").map_err(failed("archive the queue as", &path))?;
                    true
                }
            };
            if same {
                return Ok(());
            }
        }
        let source = io::Error::other(format!("{MOST_VERSIONS} versions of it are there; move some of them away"));
        Err(failed("archive the queue as", &layout.final_queue(sprint, 1))(source))
    }

    /// Replaces the queue, if the change set changes it; `false` when it is not what was decided on any more.
    fn put_queue(&mut self) -> Result<bool, StoreError> {
        if !self.changes.touches_queue() {
            return Ok(true);
        }
        let path = self.store.layout.queue();
        let good = self.state.good.as_ref().expect("it was decided on");
        let next =
            good.document.apply(&self.changes).map_err(|error| failed("edit", &path)(io::Error::other(error)))?;
        // Nothing to write, but what was decided still has to be about what stands there.
        if next.text() == good.document.text() {
            return self.is_unchanged();
        }
        let (old, stamp) = (good.document.text(), good.stamp);
        let (is_put, displaced) = self.store.replace((old, next.text()), || {
            // Whose stamp is another has been written to; what stands in it is compared when it is taken away.
            let there = fs::symlink_metadata(&path).ok().map(|meta| Stamp::of(&meta));
            Ok(there == Some(stamp) && self.lock.is_in_force()?)
        })?;
        displaced.into_iter().for_each(|displaced| self.store.late.look_after(&self.store.layout, displaced));
        if !is_put {
            return Ok(false);
        }
        self.make_durable(&next)?;
        let stamp = disk::stamp(&path)?;
        self.state.good = stamp.map(|stamp| Good { document: next, stamp, fresh: true });
        Ok(true)
    }

    /// Tells whether the queue is byte for byte what was decided on, and the lock still ours.
    fn is_unchanged(&self) -> Result<bool, StoreError> {
        let good = self.state.good.as_ref().expect("it was decided on");
        let path = self.store.layout.queue();
        let Some(mut there) = disk::open(&path)? else { return Ok(false) };
        let same = disk::holds(&mut there, good.document.text().as_bytes()).map_err(failed("read", &path))?;
        Ok(same && self.lock.is_in_force()?)
    }

    /// Has the rename reach the disk. After a failure it is unknown what did, and a second sync could hide that, so the
    /// queue is written once more into a fresh file. Fails when that fails, too.
    fn make_durable(&self, next: &Document) -> Result<(), StoreError> {
        let directory = self.store.layout.work();
        let Err(error) = disk::sync_directory(&directory) else { return Ok(()) };
        log::warn!("{} could not be made durable ({error}); writing the queue once more", directory.display());
        let path = self.store.layout.queue();
        let same = next.text().as_bytes();
        let again = || match replace::replace(&path, (same, same), || Ok(true))? {
            Put::Done(_) => disk::sync_directory(&directory),
            // Somebody wrote on top of it already: theirs is what is to be kept.
            Put::Refused(_) => Ok(()),
        };
        again().map_err(failed("make durable", &path))
    }

    /// Removes what the change set drops. A lease that stays although it should go is mended by a rescue.
    fn drop_leases(&mut self, net: &BTreeMap<TaskId, LeaseChange>) {
        for (task, change) in net {
            let mut files = self.state.leases.files_of(&self.store.layout, task).into_iter();
            let dropped = match change {
                LeaseChange::Write(_) | LeaseChange::Lend(_) => continue,
                // Another's file about the task stays behind only as long as its own lease.
                LeaseChange::Take(_) => files.skip(1).try_for_each(|file| leases::remove(&file)),
                LeaseChange::Drop(_) => disk::point("store.drop")
                    .map_err(failed("remove the lease", &self.store.layout.lease(task)))
                    .and_then(|()| files.try_for_each(|file| leases::remove(&file))),
            };
            if let Err(error) = dropped {
                log::warn!("{}", error.with_source());
            }
            if matches!(change, LeaseChange::Drop(_)) {
                self.state.held.remove(task);
            }
        }
    }
}

impl Undo {
    fn run(self, layout: &Layout, state: &mut State) {
        for before in self.files {
            before.restore();
        }
        for task in self.locks {
            state.held.remove(&task);
        }
        if let (Some(end), Some(ledger)) = (self.ledger, &mut state.ledger) {
            ledger.cut_back(end);
        }
        for made in self.runs {
            made.undo(layout);
        }
    }
}

/// Removes the leases that had to wait for the journal, if they are still the same.
pub(super) fn drop_late(layout: &Layout, state: &mut State) -> Result<(), StoreError> {
    if state.to_drop.is_empty() {
        return Ok(());
    }
    let now = state.leases.scan(layout)?;
    for (task, token) in std::mem::take(&mut state.to_drop) {
        if now.get(&task).is_some_and(|there| matches!(there, LeaseRecord::Ours(lease) if lease.token == token)) {
            state.leases.files_of(layout, &task).iter().try_for_each(|file| leases::remove(file))?;
        }
        state.held.remove(&task);
    }
    Ok(())
}

/// Tells whether a change set only says what goes on: nobody builds on it, so it reaches the disk with the next change.
fn is_news(changes: &ChangeSet) -> bool {
    !changes.touches_queue()
        && changes.events.iter().all(|event| event.kind().is_news())
        && changes.leases.iter().all(|change| matches!(change, LeaseChange::Write(_)))
}

/// Takes all changes of a change set to one lease together: the last word counts, and a write after a taking is part of it.
fn net(changes: &[LeaseChange]) -> BTreeMap<TaskId, LeaseChange> {
    let mut net = BTreeMap::new();
    for change in changes {
        let (LeaseChange::Take(Lease { task_id, .. })
        | LeaseChange::Write(Lease { task_id, .. })
        | LeaseChange::Lend(ForeignLease { task_id, .. })
        | LeaseChange::Drop(task_id)) = change;
        let change = match change {
            // Its lock has still to be taken.
            LeaseChange::Write(lease) if matches!(net.get(task_id), Some(LeaseChange::Take(_))) => {
                LeaseChange::Take(lease.clone())
            }
            change => change.clone(),
        };
        net.insert(task_id.clone(), change);
    }
    net
}
