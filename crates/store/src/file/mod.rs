//! The store of files: lock, read, decide, commit, and decide again when somebody wrote beside the lock (R2, R3).
//!
//! Reading the parts is here; writing them is [`commit`]. What a queue's text means is [`document`]'s business.
//!
//! | module | answers for |
//! |---|---|
//! | [`document`] | lossless text: tasks out, splices in |
//! | [`disk`] | files opened, checked, made durable |
//! | [`replace`] | a file takes another's place, and edits of that moment |
//! | [`displaced`] | edits in place of a file that has just been replaced |
//! | [`lock`] | the queue's lock, the tasks' locks, whose turn it is |
//! | [`leases`], [`dialect`], [`mod@identity`] | lease files, their dialects, who stands behind them |
//! | [`runs`] | attempts' directories and the tokens that they prove |
//! | [`journal`] | events appended and read |
//! | [`watch`] | wake-ups |

mod commit;
mod dialect;
mod disk;
mod displaced;
pub mod document;
mod identity;
mod journal;
mod leases;
mod lock;
mod replace;
mod runs;
mod seals;
mod watch;

use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::Utc;
use crossbeam_channel::Receiver;

pub use disk::LONGEST;
pub use identity::identity;

use self::{
    commit::Attempt,
    disk::Stamp,
    displaced::{Displaced, Late},
    document::Document,
    identity::Machine,
    journal::Journal,
    leases::Leases,
    lock::{Tries, Turns},
    replace::{Put, Replacement},
    seals::Seals,
};
use super::{Committed, Invalid, Reading, Store, StoreError};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{
    Beside, ChangeSet, Event, EventDraft, ForeignLease, History, Holder, Kind, LeaseRecord, LeaseState, Now, Owner,
    QueueLease, Snapshot, TaskId, Token, event::Actor, external_edits, state,
};
use oodatcaa_sys::{files, lock::Lock, project::Identity};

/// How long a reader waits for somebody who is in the middle of writing the file in place.
const PATIENCE: Duration = Duration::from_millis(150);

/// How long a change waits for the same: on a busy machine a program may be held up between emptying a file and
/// writing it, and what a person asks for is not refused for that.
const PATIENCE_TO_WRITE: Duration = Duration::from_secs(2);

/// What may be set about a [`FileStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// How long to wait for the queue lock.
    pub lock_wait: Duration,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { lock_wait: Duration::from_secs(10) }
    }
}

/// A project's files as a store.
#[derive(Debug)]
pub struct FileStore {
    layout: Layout,
    me: Option<Owner>,
    options: FileOptions,
    machine: Machine,
    source: String,
    turns: Turns,
    state: Mutex<State>,
    watchers: Mutex<Vec<notify::RecommendedWatcher>>,
    late: Late,
    /// The project's directory as it was when the store was opened.
    root: Option<Identity>,
}

/// What is remembered between two looks at the files.
#[derive(Debug)]
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
    /// Leases that go once these have been written: until then they tell whose the change was (R33).
    to_drop: Vec<(TaskId, Token)>,
    /// Tokens that are known of tasks beside queue, leases and journal; looked at by claims only.
    tokens: HashMap<TaskId, Token>,
    /// What can be checked once was checked.
    prepared: bool,
}

impl State {
    /// Does something with the ledger. One that cannot be used is complained about once and left alone: queue and
    /// journal count all the same, and work is not kept from being done.
    fn with_ledger<T>(&mut self, work: impl FnOnce(&mut Journal) -> Result<T, StoreError>) -> Option<T> {
        match work(self.ledger.as_mut()?) {
            Ok(done) => Some(done),
            Err(error) => {
                log::warn!("starts are counted in the project's own files only: failed to {}", commit::whole(&error));
                self.ledger = None;
                None
            }
        }
    }

    /// What the ledger tells.
    fn kept(&mut self) -> Arc<History> {
        let told = self.with_ledger(|ledger| ledger.refresh().map(|()| ledger.history().clone()));
        told.unwrap_or_default()
    }
}

/// The last queue that could be read.
#[derive(Debug)]
struct Good {
    document: Document,
    stamp: Stamp,
    /// So fresh that another change could hide behind the same stamp.
    fresh: bool,
    /// The journal agreed with it when it had this many events.
    agreed: Option<u64>,
}

/// What a look under the lock is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Whatever is decided; the holders' locks are asked.
    Whole,
    /// One's own lease.
    Renewal,
    /// A deed that follows a commit; never on content that may be old.
    Deed,
}

/// Why there is no new queue to look at.
enum Bad {
    Missing,
    Invalid(Invalid),
    Failed(StoreError),
}

impl FileStore {
    /// Opens the store of a project; nothing is created. Without `me` it takes no leases.
    pub fn open(layout: &Layout, me: Option<Owner>, options: FileOptions) -> Result<Self, StoreError> {
        for directory in [layout.mark(), layout.work(), layout.runs(), layout.leases(), layout.locks()] {
            disk::check_directory(&directory)?;
        }
        if me.is_some() {
            disk::check_owner(&layout.mark())?;
            disk::check_filesystem(layout.root())?;
            identity::check_clocks(layout.root())?;
        }
        let machine = Machine::this();
        Ok(Self {
            source: journal::source(&machine.host, layout.root()),
            state: Mutex::new(State {
                good: None,
                leases: Leases::default(),
                journal: Journal::new(layout.journal(), Seals::of(layout)),
                ledger: layout.ledger().map(|path| Journal::new(path, Seals::of(layout))),
                held: HashMap::new(),
                pending: Vec::new(),
                to_drop: Vec::new(),
                tokens: HashMap::new(),
                prepared: false,
            }),
            layout: layout.clone(),
            me,
            options,
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

    /// Reads the queue, or finds that it is as it was.
    fn look(&self, state: &mut State) -> Result<(), Bad> {
        let path = self.layout.queue();
        let stamp = disk::stamp(&path).map_err(Bad::Failed)?.ok_or(Bad::Missing)?;
        if let Some(good) = &state.good
            && good.stamp == stamp
            && !good.fresh
        {
            return Ok(());
        }
        if let Some(good) = &mut state.good
            && stamp.size == good.document.text().len() as u64
        {
            let (mut file, stamp) = disk::open(&path).map_err(Bad::Failed)?.ok_or(Bad::Missing)?;
            let fresh = stamp.is_fresh();
            if disk::holds(&mut file, good.document.text().as_bytes()).is_ok_and(|same| same) {
                (good.stamp, good.fresh) = (stamp, fresh);
                return Ok(());
            }
        }
        if stamp.size > LONGEST || disk::is_mostly_hole(&path, stamp.size) {
            let message =
                format!("the file has {} bytes, most of which nobody has written; expected a queue", stamp.size);
            return Err(Bad::Invalid(Invalid { path, line: 1, column: 1, message }));
        }
        let (bytes, stamp) = disk::read(&path).map_err(Bad::Failed)?.ok_or(Bad::Missing)?;
        let fresh = stamp.is_fresh();
        let document = match &state.good {
            Some(good) => good.document.reread_bytes(bytes),
            None => Document::from_bytes(&path, bytes),
        };
        let document = document.map_err(Bad::Invalid)?;
        state.good = Some(Good { document, stamp, fresh, agreed: None });
        Ok(())
    }

    /// The same, with patience for somebody who is writing in place or replacing the file.
    fn look_patiently(&self, state: &mut State, patience: Duration) -> Result<(), Bad> {
        let deadline = Instant::now() + patience;
        loop {
            let bad = match self.look(state) {
                Ok(()) => return Ok(()),
                Err(bad) => bad,
            };
            let changing = match (&bad, disk::stamp(&self.layout.queue())) {
                (Bad::Missing, _) => state.good.is_some() || self.is_being_replaced(patience),
                (Bad::Invalid(_), Ok(stamp)) => stamp.is_none_or(|stamp| stamp.is_younger_than(patience)),
                _ => false,
            };
            if !changing || Instant::now() >= deadline {
                return Err(bad);
            }
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    /// Whether a queue that is missing may have been moved away just now, by an editor that writes it anew.
    fn is_being_replaced(&self, patience: Duration) -> bool {
        std::fs::symlink_metadata(self.layout.work()).is_ok_and(|meta| Stamp::of(&meta).is_younger_than(patience))
    }

    /// That the project's directory is there and the same. While it is away (moved, not mounted) nothing that is
    /// missing below it means anything.
    fn is_here(&self) -> Result<(), StoreError> {
        let Some(then) = &self.root else { return Ok(()) };
        let away = |what: &str| {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, format!("{what}; it is waited for"));
            Err(disk::failed("find the project's directory", self.layout.root())(source))
        };
        match Identity::of(self.layout.root()) {
            Ok(now) if (now.ino, now.born) == (then.ino, then.born) => Ok(()),
            Ok(_) => away("another directory is in its place"),
            Err(_) => away("it is away"),
        }
    }

    /// When the project's directory was last changed itself, and when what is in it.
    fn changed_at(&self) -> Option<[(i64, i64); 2]> {
        let meta = std::fs::symlink_metadata(self.layout.root()).ok()?;
        Some([(meta.ctime(), meta.ctime_nsec()), (meta.mtime(), meta.mtime_nsec())])
    }

    /// Whether the directory has been here all the while. Who moves it away and back changes it and nothing in it, and
    /// what was read meanwhile may have been missing.
    fn has_stayed(&self, before: Option<[(i64, i64); 2]>) -> bool {
        match (before, self.changed_at()) {
            (Some([then, within]), Some([now, within_now])) => then == now || within != within_now,
            (before, now) => before == now,
        }
    }

    /// Puts an edit into the queue that was made in a file which was no longer it; `base` is what that had held.
    /// `displaced` gets the files that this displaces; `false` when the queue holds the edit already.
    fn merge(&self, base: &str, theirs: &str, displaced: &mut Vec<Displaced>) -> Result<bool, StoreError> {
        self.prepare()?;
        let (path, started) = (self.layout.queue(), Instant::now());
        let deadline = started + self.options.lock_wait;
        let mut tries = Tries::until(deadline);
        while tries.again() {
            let lock = lock::queue_lock(&self.layout.queue_lock(), deadline, started)?;
            let state = &mut *self.state();
            match self.look_patiently(state, PATIENCE_TO_WRITE) {
                Ok(()) => {}
                Err(Bad::Failed(error)) => return Err(error),
                Err(Bad::Missing) => return Err(StoreError::Missing(path)),
                Err(Bad::Invalid(wrong)) => return Err(StoreError::Invalid(wrong)),
            }
            let now = state.good.as_ref().expect("looked at just now").document.text().to_owned();
            let wrong = |error: serde_json::Error| disk::failed("edit", &path)(std::io::Error::other(error));
            let Some(text) = document::merge::merged(base, theirs, &now).map_err(wrong)? else { return Ok(false) };
            let old = std::fs::symlink_metadata(&path).ok();
            let put = || -> std::io::Result<Put> {
                let contents = (now.as_bytes(), text.as_bytes());
                let refused = Put::Refused(None);
                let Some(replacement) = Replacement::write(&path, contents, old.as_ref())? else { return Ok(refused) };
                replacement.sync()?;
                if lock.is_in_force().is_ok_and(|held| held) {
                    replacement.put(&path, now.as_bytes())
                } else {
                    Ok(refused)
                }
            };
            match put().map_err(disk::failed("save", &path))? {
                Put::Done(file) => {
                    displaced.push(Displaced::new(file, now));
                    return Ok(true);
                }
                Put::Refused(moment) => displaced.extend(Displaced::in_a(moment, &now, &text)),
            }
        }
        Err(StoreError::Contended { path, tries: tries.made() })
    }

    /// A claim whose lease file somebody took away is proved by the task's lock: while that is held, its worker lives
    /// and nobody else gets the task (R11).
    fn proved_by_locks(
        &self,
        queue: &oodatcaa_core::Queue,
        held: &HashMap<TaskId, Lock>,
        leases: &mut std::collections::BTreeMap<TaskId, LeaseState>,
        now: &Now,
    ) -> Result<(), StoreError> {
        for task in queue.tasks().filter(|task| !leases.contains_key(&task.id)).collect::<Vec<_>>() {
            let QueueLease::Ours { owner, token } = &task.lease else { continue };
            let ours = held.get(&task.id).map(Lock::is_in_force).transpose()? == Some(true);
            if ours || lock::is_free(&self.layout.task_lock(&task.id))? == Some(false) {
                let until = now.wall.checked_add_signed(chrono::Duration::seconds(60));
                let lease = ForeignLease {
                    task_id: task.id.clone(),
                    owner: owner.clone(),
                    role: None,
                    token: Some(*token),
                    until,
                };
                leases
                    .insert(task.id.clone(), LeaseState { record: LeaseRecord::Foreign(lease), holder: Holder::Alive });
            }
        }
        Ok(())
    }

    /// Checks and makes what a commit needs; only for one who is about to take the lock.
    fn prepare(&self) -> Result<(), StoreError> {
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
}

impl Store for FileStore {
    fn read(&self) -> Result<Reading, StoreError> {
        let before = self.changed_at();
        let reading = self.read_once()?;
        if self.has_stayed(before) { Ok(reading) } else { self.read_once() }
    }

    fn transact(&self, decide: &mut dyn FnMut(&Snapshot) -> ChangeSet) -> Result<Committed, StoreError> {
        self.run(decide, None, How::Whole)
    }

    fn renew(&self, decide: &mut dyn FnMut(&Snapshot) -> ChangeSet) -> Result<Committed, StoreError> {
        self.run(decide, None, How::Renewal)
    }

    fn transact_then(
        &self,
        decide: &mut dyn FnMut(&Snapshot) -> ChangeSet,
        deed: &mut dyn FnMut(&Snapshot) -> ChangeSet,
    ) -> Result<Committed, StoreError> {
        self.run(decide, Some(deed), How::Whole)
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

    fn events(&self, after: u64) -> Result<Vec<Event>, StoreError> {
        self.state().journal.events(after)
    }
}

impl FileStore {
    fn read_once(&self) -> Result<Reading, StoreError> {
        let state = &mut *self.state();
        // Whoever has read it before can go on with that.
        let patience = if state.good.is_some() { PATIENCE } else { PATIENCE_TO_WRITE };
        let mut invalid = None;
        match self.look_patiently(state, patience) {
            Ok(()) => {}
            Err(Bad::Failed(error)) => return Err(error),
            Err(Bad::Missing) if state.good.is_none() => return Err(StoreError::Missing(self.layout.queue())),
            Err(Bad::Invalid(wrong)) if state.good.is_none() => return Err(StoreError::Invalid(wrong)),
            Err(Bad::Invalid(wrong)) => invalid = Some(wrong),
            Err(Bad::Missing) => invalid = Some(missing(&self.layout)),
        }
        state.journal.refresh()?;
        let records = state.leases.scan(&self.layout)?;
        let leases = self.holders(records, &state.held, false)?;
        self.is_here()?;
        let good = state.good.as_ref().expect("returned above without one");
        let snapshot = Snapshot {
            now: Self::now(),
            queue: good.document.queue().clone(),
            leases,
            history: state.journal.history().clone(),
            beside: Beside { placed: good.stamp.placed(), ..Beside::default() },
            kept: state.kept(),
        };
        Ok(Reading { snapshot, invalid })
    }

    /// Looks, decides and commits, again and again while others write in between; then the deed.
    fn run(
        &self,
        decide: &mut dyn FnMut(&Snapshot) -> ChangeSet,
        mut deed: Option<&mut dyn FnMut(&Snapshot) -> ChangeSet>,
        how: How,
    ) -> Result<Committed, StoreError> {
        let started = Instant::now();
        let deadline = started + self.options.lock_wait;
        self.prepare()?;
        let path = self.layout.queue_lock();
        let mut tries = Tries::until(deadline);
        let (mut committed, mut amend) = (None, None);
        while tries.again() {
            // Each try is a turn of its own, so that others get theirs while this one pauses.
            let _turn = self.turns.wait(deadline).ok_or_else(|| StoreError::Busy {
                path: path.clone(),
                waited: started.elapsed(),
                holder: Some("other threads of this process".into()),
            })?;
            let lock = lock::queue_lock(&path, deadline, started)?;
            let state = &mut *self.state();
            if committed.is_none() {
                committed = match self.attempt(state, &lock, decide, how) {
                    // Who took the lock's file away let another one sweep up what we had begun to write.
                    Err(error) if error.is_missing() && !lock.is_in_force()? => None,
                    tried => tried?,
                };
            }
            // The deed is done under the lock of the commit, and sees what others wrote beside it while the change set went
            // to the disk. What it answers is about what has been done, so that it can be told later as well.
            let told = match &mut deed {
                Some(deed) if committed.is_some() => {
                    let mut once = |snapshot: &Snapshot| amend.get_or_insert_with(|| deed(snapshot)).clone();
                    self.attempt(state, &lock, &mut once, How::Deed)?.is_some()
                }
                _ => true,
            };
            if told && let Some(committed) = committed.take() {
                return Ok(committed);
            }
            log::debug!("{} changed while it was decided about; deciding again", self.layout.queue().display());
        }
        Err(StoreError::Contended { path: self.layout.queue(), tries: tries.made() })
    }

    /// One try: look, decide, commit. `None` when somebody wrote in between.
    fn attempt(
        &self,
        state: &mut State,
        lock: &Lock,
        decide: &mut dyn FnMut(&Snapshot) -> ChangeSet,
        how: How,
    ) -> Result<Option<Committed>, StoreError> {
        let (now, before) = (Self::now(), self.changed_at());
        self.is_here()?;
        if !state.prepared {
            replace::recover(&self.layout.queue()).map_err(disk::failed("mend", &self.layout.queue()))?;
            disk::sweep(&self.layout.work());
            disk::sweep(&self.layout.leases());
            state.prepared = true;
        }
        let cut = state.journal.mend()?;
        if cut > 0 {
            state.pending.push(Event::number(journal::cut(cut), 0, now.wall, &self.source));
        }
        Self::flush(state)?;
        commit::drop_late(&self.layout, state)?;
        state.with_ledger(|ledger| ledger.mend().map(drop));
        match self.look_patiently(state, PATIENCE_TO_WRITE) {
            Ok(()) => {}
            Err(Bad::Failed(error)) => return Err(error),
            Err(Bad::Missing) if how == How::Deed => return Err(StoreError::Missing(self.layout.queue())),
            Err(Bad::Invalid(wrong)) if how == How::Deed => return Err(StoreError::Invalid(wrong)),
            Err(Bad::Missing) => {
                return self.heartbeat(state, lock, now, decide, StoreError::Missing(self.layout.queue()));
            }
            Err(Bad::Invalid(wrong)) => {
                let error = self.note_invalid(state, &now, wrong)?;
                return self.heartbeat(state, lock, now, decide, error);
            }
        }
        let records = state.leases.scan(&self.layout)?;
        let mut leases = self.holders(records, &state.held, how == How::Whole)?;
        self.is_here()?;
        if !self.has_stayed(before) {
            return Ok(None);
        }

        let kept = state.kept();
        let good = state.good.as_mut().expect("looked at just now");
        let queue = good.document.queue().clone();
        if how == How::Whole {
            self.proved_by_locks(&queue, &state.held, &mut leases, &now)?;
        }
        let mut history = state.journal.history().clone();
        for (task, token) in &state.tokens {
            if history.task(task).is_none_or(|known| known.token < *token) {
                Arc::make_mut(&mut history).tasks.entry(task.clone()).or_default().token = *token;
            }
        }
        let placed = good.stamp.placed();
        let mut snapshot =
            Snapshot { now, queue, leases, history, kept, beside: Beside { placed, ..Beside::default() } };
        self.fetch_records(&mut snapshot);
        let mut observed = ChangeSet::none();
        if good.agreed != Some(snapshot.history.seq) {
            if snapshot.history.invalid.is_some() {
                observed.event(EventDraft::new(Kind::QueueValid, Actor::Outside));
            }
            observed.then(external_edits::decide(&snapshot));
        }
        if observed.is_empty() {
            good.agreed = Some(snapshot.history.seq);
        } else {
            snapshot = snapshot.after(&observed);
        }
        let changes = decide(&snapshot);
        Attempt { store: self, state, lock, snapshot, observed, changes }.commit()
    }

    /// Without a queue that can be read, running attempts go on (R4): leases are renewed, on the last good
    /// content, and nothing else is done.
    fn heartbeat(
        &self,
        state: &mut State,
        lock: &Lock,
        now: Now,
        decide: &mut dyn FnMut(&Snapshot) -> ChangeSet,
        error: StoreError,
    ) -> Result<Option<Committed>, StoreError> {
        let Some(good) = state.good.as_ref().filter(|_| self.me.is_some()) else { return Err(error) };
        let (queue, history) = (good.document.queue().clone(), state.journal.history().clone());
        let records = state.leases.scan(&self.layout)?;
        let leases = self.holders(records, &state.held, true)?;
        self.is_here()?;
        let snapshot = Snapshot { now, queue, leases, history, kept: state.kept(), beside: Beside::default() };
        let changes = decide(&snapshot);
        if !commit::is_beat(&changes) {
            return Err(error);
        }
        Attempt { store: self, state, lock, snapshot, observed: ChangeSet::none(), changes }.commit()
    }

    /// Writes the events that an earlier commit could not, with their own time; nothing else goes before them.
    fn flush(state: &mut State) -> Result<(), StoreError> {
        // Others may have looked meanwhile, and told what they found.
        let history = Arc::clone(state.journal.history());
        state.pending.retain(|event| !is_told(&history, event));
        if state.pending.is_empty() {
            return Ok(());
        }
        for (seq, event) in (history.seq + 1..).zip(&mut state.pending) {
            (event.seq, event.id, event.time) = (seq, seq.to_string(), event.time.max(history.at));
        }
        drop(history);
        state.journal.seal(&mut state.pending);
        state.journal.append(&mut state.pending, true)?;
        state.pending.clear();
        Ok(())
    }

    /// What the attempts noted of themselves whose end the queue shows and the journal does not.
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

    fn numbered(&self, state: &mut State, drafts: impl IntoIterator<Item = EventDraft>, now: &Now) -> Vec<Event> {
        state.journal.number(drafts, now.wall, &self.source)
    }

    /// Journals a queue that cannot be read, once for each different trouble (R4).
    fn note_invalid(&self, state: &mut State, now: &Now, wrong: Invalid) -> Result<StoreError, StoreError> {
        if state.journal.history().invalid.as_deref() != Some(wrong.message.as_str()) {
            let mut events = self.numbered(state, [journal::invalid(&wrong)], now);
            state.journal.append(&mut events, true)?;
        }
        Ok(StoreError::Invalid(wrong))
    }
}

/// Whether the journal knows of this without its event.
fn is_told(history: &History, event: &Event) -> bool {
    let Some(known) = event.task.as_ref().and_then(|task| history.task(task)) else { return false };
    let token = event.token.unwrap_or_default();
    match event.kind {
        _ if event.flag("stamped") => known.updated_at.is_some_and(|told| told >= state::written_at(event)),
        Kind::LeaseAcquired => known.runs.contains_key(&token),
        Kind::AttemptStarted | Kind::AttemptFinished | Kind::AttemptSuperseded => known.ended >= token,
        _ => false,
    }
}

fn missing(layout: &Layout) -> Invalid {
    Invalid { path: layout.queue(), line: 1, column: 1, message: "there is no queue file".into() }
}
