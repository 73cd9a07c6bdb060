//! The critical section: mended first, read under the lock, and given up when somebody takes the lock's file away.

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard},
    time::{Duration, Instant},
};

use super::{
    FileStore, PATIENCE, PATIENCE_TO_WRITE, State,
    commit::{self, Commit},
    disk, journal, lock,
    lock::Turn,
    replace,
};
use crate::{Invalid, Reading, StoreError, Transaction, Written};
use oodatcaa_core::{
    ChangeSet, Event, ForeignLease, Holder, LeaseRecord, LeaseState, Now, QueueLease, Snapshot, TaskId,
};
use oodatcaa_sys::{files, lock::Lock};

/// One holder of the queue's lock.
pub(super) struct FileTransaction<'a> {
    store: &'a FileStore,
    // Let go in this order: the next one finds what this one has read.
    state: MutexGuard<'a, State>,
    lock: Lock,
    _turn: Turn<'a>,
    /// The project's directory as it was before anything was read: also the journal, which is mended first.
    before: Option<[(i64, i64); 2]>,
}

impl<'a> FileTransaction<'a> {
    /// Waits for its turn and the lock, and mends what a crash left behind.
    pub(super) fn begin(store: &'a FileStore, deadline: Instant) -> Result<Self, StoreError> {
        store.prepare()?;
        let (path, started) = (store.layout.queue_lock(), Instant::now());
        let turn = store.turns.wait(deadline).ok_or_else(|| StoreError::Busy {
            path: path.clone(),
            waited: started.elapsed(),
            holder: Some("other threads of this process".into()),
        })?;
        loop {
            let lock = lock::queue_lock(&path, deadline, started)?;
            // After the lock: readers of this process are not kept waiting for other processes.
            let mut state = store.state();
            let before = store.changed_at();
            match store.mend(&mut state) {
                // Who took the lock's file away let another one sweep up what we were about to mend.
                Err(error) if error.is_missing() && !lock.is_in_force()? => {}
                mended => return mended.map(|()| Self { store, state, lock, _turn: turn, before }),
            }
        }
    }

    /// Treats an error as a concurrent change where the lock's file has been removed: its next holder may have cleared up
    /// files that this one was about to use.
    fn unless_superseded<T>(&self, done: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
        match done {
            Err(error) if error.is_missing() && !self.lock.is_in_force()? => Ok(None),
            done => done,
        }
    }

    fn look(&mut self) -> Result<Option<Reading>, StoreError> {
        let (store, state) = (self.store, &mut *self.state);
        store.is_here()?;
        let mut reading = store.reading(state, PATIENCE_TO_WRITE, true)?;
        if !store.has_stayed(self.before) {
            return Ok(None);
        }
        let snapshot = &mut reading.snapshot;
        store.proved_by_locks(snapshot, &state.held)?;
        for (task, token) in &state.tokens {
            // A journal that was taken back, or thrown away, must not make us give a token out twice.
            if snapshot.history.task(task).is_none_or(|known| known.token < *token) {
                Arc::make_mut(&mut snapshot.history).known(task).token = *token;
            }
        }
        store.fetch_records(snapshot);
        Ok(Some(reading))
    }
}

impl Transaction for FileTransaction<'_> {
    fn read(&mut self) -> Result<Option<Reading>, StoreError> {
        let looked = self.look();
        self.unless_superseded(looked)
    }

    fn commit(&mut self, on: Snapshot, changes: ChangeSet) -> Result<Option<Written>, StoreError> {
        let (store, state, lock) = (self.store, &mut *self.state, &self.lock);
        let committed = Commit { store, state, lock, snapshot: on, changes }.run();
        self.unless_superseded(committed)
    }
}

impl FileStore {
    /// Checks and makes what a commit needs; only for one who is about to take the lock.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        self.is_here()?;
        let deadline = Instant::now() + PATIENCE;
        while disk::stamp(&self.layout.queue())?.is_none() && self.state().good.is_none() {
            if !self.is_being_replaced(PATIENCE) || Instant::now() >= deadline {
                return Err(StoreError::Missing(self.layout.queue()));
            }
            std::thread::sleep(Duration::from_millis(15));
        }
        for directory in [self.layout.mark(), self.layout.work()] {
            disk::check_directory(&directory)?;
        }
        if !self.state().prepared {
            disk::check_filesystem(self.layout.root())?;
        }
        disk::make_directory(&self.layout.locks())?;
        disk::make_directory(&self.layout.leases())
    }

    /// Mends what a crash or an earlier failure left behind; only for the holder of the lock.
    fn mend(&self, state: &mut State) -> Result<(), StoreError> {
        self.is_here()?;
        // Once is enough: later leftovers are of those who die while we live, and the next store finds them.
        if !state.prepared {
            replace::recover(&self.layout.queue()).map_err(disk::failed("mend", &self.layout.queue()))?;
            disk::sweep(&self.layout.work());
            disk::sweep(&self.layout.leases());
            state.prepared = true;
        }
        // Before anything is read: what is decided must know all that was told.
        let cut = state.journal.mend()?;
        if cut > 0 {
            state.pending.push(Event::number(journal::cut(cut), 0, Self::now().wall, &self.source));
        }
        Self::flush(state)?;
        commit::drop_late(&self.layout, state)?;
        state.with_ledger(|ledger| ledger.mend().map(drop));
        Ok(())
    }

    /// Writes the events that an earlier commit could not, with their own time; nothing else goes before them.
    fn flush(state: &mut State) -> Result<(), StoreError> {
        // Others may have looked meanwhile, and told what they found.
        let history = Arc::clone(state.journal.history());
        state.pending.retain(|event| !journal::is_told(&history, event));
        if state.pending.is_empty() {
            return Ok(());
        }
        // Numbers are given anew, since others have used theirs; the time stays true, or later than what stands
        // there.
        state.journal.renumber(&mut state.pending);
        state.pending.iter_mut().for_each(|event| event.time = event.time.max(history.at));
        drop(history);
        state.journal.seal(&mut state.pending);
        state.journal.append(&mut state.pending, true)?;
        state.pending.clear();
        Ok(())
    }

    /// Proves claims whose lease file was taken away by the task's lock: while that is held, its worker lives
    /// and nobody else gets the task.
    fn proved_by_locks(&self, snapshot: &mut Snapshot, held: &HashMap<TaskId, Lock>) -> Result<(), StoreError> {
        for task in snapshot.queue.tasks() {
            if snapshot.leases.contains_key(&task.id) {
                continue;
            }
            let QueueLease::Ours { owner, token } = &task.lease else { continue };
            let ours = held.get(&task.id).map(Lock::is_in_force).transpose()? == Some(true);
            if ours || lock::is_free(&self.layout.task_lock(&task.id))? == Some(false) {
                // A minute: it is looked at anew long before, and a holder that dies frees its lock.
                let until = snapshot.now.wall.checked_add_signed(chrono::Duration::seconds(60));
                let lease = ForeignLease {
                    task_id: task.id.clone(),
                    owner: owner.clone(),
                    role: None,
                    token: Some(*token),
                    until,
                    started_at: None,
                    ttl: None,
                };
                let state = LeaseState { record: LeaseRecord::Foreign(lease), holder: Holder::Alive };
                snapshot.leases.insert(task.id.clone(), state);
            }
        }
        Ok(())
    }

    /// Reads the records of attempts whose end the queue shows and the journal does not.
    fn fetch_records(&self, snapshot: &mut Snapshot) {
        for (task, lease) in snapshot.leases.iter().filter_map(|(task, held)| Some((task, held.ours()?))) {
            let told = snapshot.history.task(task).and_then(|known| known.status.as_ref());
            if snapshot.queue.get(task).is_none_or(|task| Some(&task.status) == told) {
                continue;
            }
            let path = self.layout.run(task, &lease.run_name()).join("attempt.json");
            let bytes = files::read(self.layout.root(), &path, files::RECORD).ok().flatten();
            if let Some(record) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                snapshot.beside.records.insert(task.clone(), record);
            }
        }
    }

    /// Journals a queue that cannot be read, once for each different trouble.
    pub(super) fn note_invalid(&self, state: &mut State, now: &Now, wrong: &Invalid) -> Result<(), StoreError> {
        if !wrong.is_missing() && state.journal.history().invalid.as_deref() != Some(wrong.message.as_str()) {
            let mut events = state.journal.number([journal::invalid(wrong)], now.wall, &self.source);
            state.journal.append(&mut events, true)?;
        }
        Ok(())
    }
}
