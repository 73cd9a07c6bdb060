//! What holds for every store: external edits are taken in first, a decision is made anew on what others wrote.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;

use super::{Reading, Store, StoreError, Transaction};
use oodatcaa_core::{
    ChangeSet, Data, Event, EventDraft, LeaseChange, Queue, Snapshot,
    event::{Actor, payload::Readable},
    external_edits,
};
use oodatcaa_sys::lock;

/// A decision: from a snapshot to the changes to make.
type Decide<'a> = &'a mut dyn FnMut(&Snapshot) -> ChangeSet;

/// A store as the rest of the program uses it.
pub struct Desk {
    store: Box<dyn Store>,
    takes_leases: bool,
    lock_wait: Duration,
    /// The queue, and the number of the last event, that were last seen to agree.
    agreed: Mutex<(Weak<Queue>, u64)>,
}

/// The result of [`Desk::transact`].
#[derive(Clone, Debug)]
pub struct Committed {
    /// The change set that was decided and is committed.
    pub changes: ChangeSet,
    /// Its events, numbered, together with those that tell of external edits.
    pub events: Vec<Event>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Desk").field(&self.store.place()).finish()
    }
}

impl Desk {
    /// Puts a desk before a store. One that takes no leases leaves it to the workers to tell of external edits.
    pub fn new(store: Box<dyn Store>, takes_leases: bool, lock_wait: Duration) -> Self {
        Self { store, takes_leases, lock_wait, agreed: Mutex::default() }
    }

    /// Reads the present content; see [`Store::read`].
    pub fn read(&self) -> Result<Reading, StoreError> {
        self.store.read()
    }

    /// Opens a channel that gets a message when something may have changed; see [`Store::changes`].
    pub fn changes(&self) -> Result<Receiver<()>, StoreError> {
        self.store.changes()
    }

    /// Returns the events after the one with this number.
    pub fn events(&self, after: u64) -> Result<Vec<Event>, StoreError> {
        let mut events = Vec::new();
        self.replay(after, &mut |event| events.push(event))?;
        Ok(events)
    }

    /// Passes on the events after the one with this number, one at a time; see [`Store::replay`].
    pub fn replay(&self, after: u64, take: &mut dyn FnMut(Event)) -> Result<(), StoreError> {
        self.store.replay(after, take)
    }

    /// Tells whether something of a commit has still to be written; the next change, also an empty one, begins with it.
    pub fn owes(&self) -> bool {
        self.store.owes()
    }

    /// Runs a decision in the critical section and commits what it answers.
    ///
    /// `decide` may be called again, on newer content, when somebody wrote without the lock; the result of its last call is
    /// committed. An empty change set writes nothing, but external edits may be noted with it.
    ///
    /// While the queue cannot be read, that is the error; only a change set that does nothing but renew leases, decided
    /// on the last good content, is committed all the same, so that running attempts go on.
    pub fn transact(&self, decide: Decide<'_>) -> Result<Committed, StoreError> {
        self.run(decide, None)
    }

    /// Does the same, and then `deed` in the same critical section, for an act in the outside world that must be ordered
    /// with other changes as the commit is. The change set that the deed returns, about its failure for instance, is
    /// committed too; an error then says that this was not possible. The deed is done once, after the last call of
    /// `decide`, also when the change set was empty.
    pub fn transact_then(&self, decide: Decide<'_>, deed: Decide<'_>) -> Result<Committed, StoreError> {
        self.run(decide, Some(deed))
    }

    fn run(&self, decide: Decide<'_>, mut deed: Option<Decide<'_>>) -> Result<Committed, StoreError> {
        let deadline = Instant::now() + self.lock_wait;
        let mut tries = Tries::until(deadline);
        let (mut committed, mut amend) = (None, None);
        while tries.again() {
            // Each try has a critical section of its own, so that others get their turn while this one pauses.
            let mut transaction = self.store.begin(deadline)?;
            if committed.is_none() {
                committed = self.attempt(&mut *transaction, decide, false)?;
            }
            // The deed is done in the section of the commit, and sees what others wrote beside it meanwhile. What it
            // answers is about what has been done, so that it can be told later as well.
            let told = match &mut deed {
                Some(deed) if committed.is_some() => {
                    let mut once = |snapshot: &Snapshot| amend.get_or_insert_with(|| deed(snapshot)).clone();
                    self.attempt(&mut *transaction, &mut once, true)?.is_some()
                }
                _ => true,
            };
            if told && let Some(committed) = committed.take() {
                return Ok(committed);
            }
            log::debug!("{} changed while it was decided about; deciding again", self.store.place().display());
        }
        Err(StoreError::Contended { path: self.store.place(), tries: tries.made() })
    }

    /// Makes one try: read, take in external edits, decide, commit. `None` when somebody wrote in between.
    fn attempt(
        &self,
        transaction: &mut dyn Transaction,
        decide: Decide<'_>,
        is_deed: bool,
    ) -> Result<Option<Committed>, StoreError> {
        let Some(Reading { mut snapshot, invalid }) = transaction.read()? else { return Ok(None) };
        let mut observed = ChangeSet::none();
        match &invalid {
            // A deed is never done on content that may be old.
            Some(invalid) if is_deed || !self.takes_leases => return Err(invalid.clone().into()),
            Some(_) => {}
            None => {
                observed = self.external_edits(&snapshot);
                snapshot.advance(&observed);
            }
        }
        // Also while the queue cannot be read: whether it only renews is seen by what it answers.
        let mut changes = decide(&snapshot);
        let only_renews = only_renews(&changes);
        if let Some(invalid) = invalid
            && !only_renews
        {
            return Err(invalid.into());
        }
        // Who only looked, or only renews a lease, leaves it to the workers' next commit or poll to tell of the edits.
        if only_renews || (changes.is_empty() && !self.takes_leases) {
            observed = ChangeSet::none();
        }
        observed.then(changes.clone());
        let Some(written) = transaction.commit(snapshot, observed)? else { return Ok(None) };
        for (task, name) in &written.runs {
            changes.name_run(task, name);
        }
        Ok(Some(Committed { changes, events: written.events }))
    }

    /// Compares queue and journal, unless they are those that agreed before: every heartbeat comes by here.
    fn external_edits(&self, snapshot: &Snapshot) -> ChangeSet {
        let mut agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (Arc::downgrade(&snapshot.queue), snapshot.history.seq);
        if agreed.0.ptr_eq(&now.0) && agreed.1 == now.1 {
            return ChangeSet::none();
        }
        let mut found = ChangeSet::none();
        // First of all events, so that nobody takes what follows for an edit of the broken file.
        if snapshot.history.invalid.is_some() {
            found.event(EventDraft::new(Data::QueueValid(Readable::default()), Actor::Outside));
        }
        found.then(external_edits::decide(snapshot));
        if found.is_empty() {
            *agreed = now;
        }
        found
    }
}

/// Tells whether a change set does nothing but write leases again that are there.
fn only_renews(changes: &ChangeSet) -> bool {
    !changes.leases.is_empty()
        && !changes.touches_queue()
        && changes.events.is_empty()
        && changes.leases.iter().all(|change| matches!(change, LeaseChange::Write(_)))
}

/// The tries of one change beside somebody who writes without asking: a few in any case, then until the deadline.
#[derive(Debug)]
pub(crate) struct Tries {
    made: u32,
    pause: Duration,
    deadline: Instant,
}

impl Tries {
    /// So many there are whatever the clock says.
    const LEAST: u32 = 5;

    pub(crate) fn until(deadline: Instant) -> Self {
        Self { made: 0, pause: Duration::from_millis(1), deadline }
    }

    /// Returns how often it was tried.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// Pauses before every try but the first, longer each time; `false` when it is time to give up. Not to be called by
    /// one who holds a lock.
    pub(crate) fn again(&mut self) -> bool {
        if self.made > 0 {
            if self.made >= Self::LEAST && Instant::now() >= self.deadline {
                return false;
            }
            std::thread::sleep(lock::jittered(self.pause));
            // Never in step with who writes at fixed times, and never so long that few tries are left.
            self.pause = (self.pause * 3 / 2).min(Duration::from_millis(40));
        }
        self.made += 1;
        true
    }
}
