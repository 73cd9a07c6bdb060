//! A store in memory: the least that a store needs. It shows that the promises of the desk are no secret of files.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use chrono::Utc;
use crossbeam_channel::Receiver;
use oodatcaa_core::{ChangeSet, Event, Holder, Now, Queue, Snapshot, Status, Task};
use oodatcaa_store::{Desk, LOCK_WAIT, Reading, Store, StoreError, Transaction, Written};

use super::{conformance::Bench, id};

/// What all stores on one project share.
pub(super) struct Memory(Arc<Mutex<Content>>);

struct Content {
    snapshot: Snapshot,
    events: Vec<Event>,
    /// The stores that are open, and who of them took the lease of which task.
    open: HashSet<usize>,
    holders: Vec<(String, usize)>,
    count: usize,
}

impl Memory {
    pub(super) fn new() -> Self {
        let tasks = ["A", "B"].map(|task| Task::new(id(task), Status::READY));
        let snapshot = Snapshot::of(now(), Queue::of(tasks.into()));
        let (events, open, holders) = (Vec::new(), HashSet::new(), Vec::new());
        Self(Arc::new(Mutex::new(Content { snapshot, events, open, holders, count: 0 })))
    }
}

impl Bench for Memory {
    fn open(&self) -> Desk {
        let mut content = self.0.lock().expect("no panic");
        content.count += 1;
        let number = content.count;
        content.open.insert(number);
        Desk::new(Box::new(MemoryStore { content: Arc::clone(&self.0), number }), true, LOCK_WAIT)
    }
}

fn now() -> Now {
    let mono = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Now::new(Utc::now(), Duration::try_from(mono).expect("a time"))
}

struct MemoryStore {
    content: Arc<Mutex<Content>>,
    number: usize,
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.content.lock().expect("no panic").open.remove(&self.number);
    }
}

impl Content {
    fn reading(&mut self) -> Reading {
        self.snapshot.now = now();
        for (task, held) in &mut self.snapshot.leases {
            let by = self.holders.iter().rfind(|(of, _)| of == task.as_str()).map(|(_, by)| by);
            held.holder = match by {
                Some(by) if self.open.contains(by) => Holder::Alive,
                _ => Holder::Dead("its store was closed".into()),
            };
        }
        Reading { snapshot: self.snapshot.clone(), invalid: None }
    }
}

impl Store for MemoryStore {
    fn read(&self) -> Result<Reading, StoreError> {
        Ok(self.content.lock().expect("no panic").reading())
    }

    fn begin(&self, _: Instant) -> Result<Box<dyn Transaction + '_>, StoreError> {
        Ok(Box::new(Section { content: self.content.lock().expect("no panic"), number: self.number }))
    }

    fn changes(&self) -> Result<Receiver<()>, StoreError> {
        Ok(crossbeam_channel::never())
    }

    fn replay(&self, after: u64, take: &mut dyn FnMut(Event)) -> Result<(), StoreError> {
        let content = self.content.lock().expect("no panic");
        content.events.iter().filter(|event| event.seq > after).cloned().for_each(take);
        Ok(())
    }

    fn place(&self) -> PathBuf {
        "memory:".into()
    }
}

struct Section<'a> {
    content: MutexGuard<'a, Content>,
    number: usize,
}

impl Transaction for Section<'_> {
    fn read(&mut self) -> Result<Option<Reading>, StoreError> {
        Ok(Some(self.content.reading()))
    }

    fn commit(&mut self, on: Snapshot, changes: ChangeSet) -> Result<Option<Written>, StoreError> {
        if let Some(edit) = changes.edits.iter().find(|edit| on.queue.get(&edit.task).is_none()) {
            let source = std::io::Error::other(format!("there is no task {}", edit.task));
            return Err(StoreError::Io { doing: "edit", path: "memory:".into(), source });
        }
        let content = &mut *self.content;
        let numbered = (content.snapshot.history.seq + 1..).zip(changes.events.iter().cloned());
        let events: Vec<Event> =
            numbered.map(|(seq, draft)| Event::number(draft, seq, on.now.wall, "memory")).collect();
        content.holders.extend(changes.takes().map(|lease| (lease.task_id.to_string(), self.number)));
        content.snapshot.now = on.now;
        content.snapshot.advance(&changes);
        content.events.extend(events.iter().cloned());
        Ok(Some(Written { events, runs: Vec::new() }))
    }
}
