//! The store of files: a queue that people and other programs write as well, leases, a journal.
//!
//! | module | answers for |
//! |---|---|
//! | [`transaction`], [`commit`] | the critical section: what is read in it, and how a change set becomes files |
//! | [`look`] | the queue read again and again, with patience for who is writing it |
//! | [`document`] | lossless text: tasks out, splices in |
//! | [`disk`] | files opened, checked, made durable |
//! | [`replace`] | a file takes another's place, and edits of that moment |
//! | [`displaced`] | edits in place of a file that has just been replaced |
//! | [`lock`] | the queue's lock, the tasks' locks, whose turn it is |
//! | [`leases`], [`dialect`], [`holders`] | lease files, their dialects, who stands behind them |
//! | [`runs`] | attempts' directories and the tokens that they prove |
//! | [`journal`], [`seals`] | events appended and read, and which of them this user's programs wrote |
//! | [`mailboxes`] | messages, each mailbox a file |
//! | [`watch`] | wake-ups |

mod commit;
mod dialect;
mod disk;
mod displaced;
pub mod document;
mod holders;
mod journal;
mod leases;
mod lock;
mod look;
mod mailboxes;
mod replace;
mod runs;
mod seals;
mod transaction;
mod watch;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::Utc;
use crossbeam_channel::Receiver;

pub use disk::LONGEST;
pub use holders::{identity, is_gone};
pub(crate) use mailboxes::FileMailboxes;

use self::{
    displaced::Late,
    holders::Machine,
    journal::Journal,
    leases::Leases,
    lock::Turns,
    look::{Good, PATIENCE, PATIENCE_TO_WRITE},
    seals::Seals,
    transaction::FileTransaction,
};
use super::{Invalid, Reading, Store, StoreError, Transaction};
use oodatcaa_core::{Beside, Event, History, Now, Owner, Snapshot, TaskId, Token, layout::Layout};
use oodatcaa_sys::{lock::Lock, project::Identity};

/// A project's files as a store.
#[derive(Debug)]
pub(crate) struct FileStore {
    layout: Layout,
    me: Option<Owner>,
    machine: Machine,
    source: String,
    turns: Turns,
    state: Mutex<State>,
    watchers: Mutex<Vec<notify::RecommendedWatcher>>,
    late: Late,
    /// The project's directory as it was when the store was opened.
    root: Option<Identity>,
}

/// The memory between two looks at the files.
#[derive(Debug, Default)]
struct State {
    good: Option<Good>,
    leases: Leases,
    journal: Journal,
    /// The ledger of starts, out of reach of what happens to the project's files; a journal of fewer events.
    ledger: Option<Journal>,
    /// The locks of the tasks that this store's owner works on.
    held: HashMap<TaskId, Lock>,
    /// Events of commits whose journal line could not be written; they go first.
    pending: Vec<Event>,
    /// Leases that go once these have been written: until then they tell whose the change was.
    to_drop: Vec<(TaskId, Token)>,
    /// Tokens that are known of tasks beside queue, leases and journal; looked at by claims only.
    tokens: HashMap<TaskId, Token>,
    /// The checks that are needed only once are done.
    prepared: bool,
}

impl State {
    /// Does something with the ledger. One that cannot be used is complained about once and left alone: queue and
    /// journal count all the same, and work is not kept from being done.
    fn with_ledger<T>(&mut self, work: impl FnOnce(&mut Journal) -> Result<T, StoreError>) -> Option<T> {
        match work(self.ledger.as_mut()?) {
            Ok(done) => Some(done),
            Err(error) => {
                log::warn!("starts are counted in the project's own files only: failed to {}", error.with_source());
                self.ledger = None;
                None
            }
        }
    }

    /// Returns what the ledger adds up to.
    fn kept(&mut self) -> Arc<History> {
        let told = self.with_ledger(|ledger| ledger.refresh().map(|()| ledger.history().clone()));
        told.unwrap_or_default()
    }
}

impl FileStore {
    /// Opens the store of a project; nothing is created. Without `me` it takes no leases.
    pub(crate) fn open(layout: &Layout, me: Option<Owner>) -> Result<Self, StoreError> {
        for directory in [layout.mark(), layout.work(), layout.runs(), layout.leases(), layout.locks()] {
            disk::check_directory(&directory)?;
        }
        if me.is_some() {
            disk::check_owner(&layout.mark())?;
            disk::check_filesystem(layout.root())?;
            holders::check_clocks(layout.root())?;
        }
        let machine = Machine::this();
        Ok(Self {
            source: journal::source(&machine.host, layout.root()),
            state: Mutex::new(State {
                journal: Journal::new(layout.journal(), Seals::of(layout)),
                ledger: layout.ledger().map(|path| Journal::new(path, Seals::of(layout))),
                ..State::default()
            }),
            layout: layout.clone(),
            me,
            machine,
            turns: Turns::default(),
            watchers: Mutex::default(),
            late: Late::default(),
            root: Identity::of(layout.root()).ok(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A decision that panicked left the state as it was: nothing is changed while one runs.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now() -> Now {
        let mono = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Now::new(Utc::now(), mono.try_into().unwrap_or_default())
    }

    fn read_once(&self) -> Result<Reading, StoreError> {
        let state = &mut *self.state();
        // Whoever has read it before can go on with that.
        let patience = if state.good.is_some() { PATIENCE } else { PATIENCE_TO_WRITE };
        self.reading(state, patience, false)
    }

    /// Reads all that a snapshot holds; `locked` by one who holds the queue's lock.
    fn reading(&self, state: &mut State, patience: Duration, locked: bool) -> Result<Reading, StoreError> {
        let invalid = match self.look_patiently(state, patience) {
            Ok(()) => None,
            Err(StoreError::Invalid(wrong)) => Some(wrong),
            Err(StoreError::Missing(path)) => Some(Invalid::missing(path)),
            Err(error) => return Err(error),
        };
        let now = Self::now();
        state.journal.refresh()?;
        if let Some(wrong) = &invalid {
            if locked {
                self.note_invalid(state, &now, wrong)?;
            }
            // Nothing to go on with; with the last good content leases can at least be renewed.
            if state.good.is_none() {
                return Err(wrong.clone().into());
            }
        }
        let records = state.leases.scan(&self.layout)?;
        let leases = self.holders(records, &state.held, locked)?;
        self.is_here()?;
        let good = state.good.as_ref().expect("returned above without one");
        let snapshot = Snapshot {
            now,
            queue: good.document.queue().clone(),
            leases,
            history: state.journal.history().clone(),
            beside: Beside { placed: good.stamp.placed(), ..Beside::default() },
            kept: state.kept(),
        };
        Ok(Reading { snapshot, invalid })
    }
}

impl Store for FileStore {
    fn read(&self) -> Result<Reading, StoreError> {
        let before = self.changed_at();
        let reading = self.read_once()?;
        // Once: who moves the directory again and again is told what was found.
        if self.has_stayed(before) { Ok(reading) } else { self.read_once() }
    }

    fn begin(&self, deadline: Instant) -> Result<Box<dyn Transaction + '_>, StoreError> {
        Ok(Box::new(FileTransaction::begin(self, deadline)?))
    }

    fn owes(&self) -> bool {
        !self.state().pending.is_empty()
    }

    fn changes(&self) -> Result<Receiver<()>, StoreError> {
        if self.me.is_some() {
            disk::make_directory(&self.layout.leases())?;
        }
        let (watcher, woken) = watch::watch(&self.layout)?;
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(watcher);
        Ok(woken)
    }

    fn replay(&self, after: u64, take: &mut dyn FnMut(Event)) -> Result<(), StoreError> {
        self.state().journal.replay(after, take)
    }

    fn place(&self) -> PathBuf {
        self.layout.queue()
    }
}
