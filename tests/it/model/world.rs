//! What there is in the model: files, locks, clocks, workers, agents; and how a plan gets into the files.
//!
//! The steps of a commit are those of the store of files, one action each, so that a crash, a stop and a hand
//! may come between any two of them. What is decided, the program's own rules decide.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use oodatcaa::domain::{
    Event, Held, History, Holder, Lease, LeaseChange, LeaseRecord, Now, Plan, Queue, QueueLease, Snapshot, TaskId,
    Token, observe, rescue,
};

/// One process; a restarted worker is another.
pub(super) type Pid = u32;

/// A value with a fingerprint that is worked out once.
#[derive(Clone)]
pub(super) struct Marked<T> {
    pub(super) value: Arc<T>,
    mark: u64,
}

impl<T> Hash for Marked<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.mark);
    }
}

impl Marked<Queue> {
    pub(super) fn queue(value: Arc<Queue>) -> Self {
        let mut hasher = DefaultHasher::new();
        for task in value.tasks() {
            (task.id.as_str(), task.status.as_str(), task.attempts, task.priority).hash(&mut hasher);
            (task.updated_at, task.not_before, &task.blocked_reason).hash(&mut hasher);
            match &task.lease {
                QueueLease::Ours { owner, token } => (owner, token).hash(&mut hasher),
                other => format!("{other:?}").hash(&mut hasher),
            }
        }
        Self { value, mark: hasher.finish() }
    }
}

impl Marked<History> {
    /// The number of the last event is left out: no rule looks at it.
    pub(super) fn history(value: Arc<History>) -> Self {
        let mut hasher = DefaultHasher::new();
        value.baseline.hash(&mut hasher);
        let tasks: BTreeMap<_, _> = value.tasks.iter().collect();
        for (id, known) in tasks {
            (id, known.token, known.status.as_ref().map(|status| status.as_str()), known.updated_at).hash(&mut hasher);
            (known.transient, known.deaths, known.adapts, &known.replaced).hash(&mut hasher);
            for (key, value) in &known.wrote {
                (key, value.to_string()).hash(&mut hasher);
            }
        }
        Self { value, mark: hasher.finish() }
    }
}

/// What is on the disk, and who has locked what.
#[derive(Clone, Hash)]
pub(super) struct Files {
    pub(super) queue: Marked<Queue>,
    pub(super) leases: BTreeMap<TaskId, Filed>,
    /// Who holds the flock on the file that is at the path now.
    pub(super) flocks: BTreeMap<TaskId, Pid>,
    pub(super) journal: Marked<History>,
    /// The worker that holds the queue's lock.
    pub(super) lock: Option<usize>,
}

/// A lease file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Filed(pub(super) Lease);

impl Hash for Filed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let lease = &self.0;
        (lease.token, lease.pid, lease.attempt, lease.heartbeat_mono_ms, lease.heartbeat_at).hash(state);
        lease.stop.is_some().hash(state);
    }
}

/// A commit under way; its worker holds the queue's lock.
#[derive(Clone)]
pub(super) struct Commit {
    pub(super) stage: Stage,
    /// The content that was decided on.
    base: Marked<Queue>,
    /// All of it, with what was observed.
    plan: Arc<Plan>,
    mark: u64,
    pub(super) now: Now,
    /// What is taken back if the queue turns out to be another.
    undo: Vec<(TaskId, Option<Lease>, bool)>,
    pub(super) what: What,
}

impl Hash for Commit {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.stage, self.mark, &self.base).hash(state);
    }
}

/// How far a commit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Leases,
    Queue,
    Drops,
    Journal,
}

/// What a commit is for.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A look: what has been ended is given back, what can be claimed is claimed.
    Look { claimed: Option<Lease> },
    /// A settlement; `moves` when it moves the task.
    Settle { lease: Lease, moves: bool, done: bool },
}

/// Longer than a TTL, and longer ago than a race may be.
pub(super) const LONG: Duration = Duration::from_secs(61);

/// A worker process.
#[derive(Clone, Hash)]
pub(super) struct Worker {
    pub(super) pid: Pid,
    pub(super) life: Life,
    pub(super) run: Option<Run>,
    /// What it found left over.
    pub(super) left: Lefts,
    pub(super) commit: Option<Commit>,
    /// What a careless worker counted without the lock; only a mutant looks at it.
    pub(super) room: Option<bool>,
}

/// What a worker found left over, and whether it has ended what was running of it.
#[derive(Clone, Default)]
pub(super) struct Lefts {
    pub(super) all: Vec<rescue::Left>,
    pub(super) ended: bool,
}

impl Hash for Lefts {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ended.hash(state);
        for left in &self.all {
            (&left.task, left.token, left.died, left.lease).hash(state);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    Up,
    Stopped,
    Dead,
}

/// An attempt in its worker's memory.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) lease: Lease,
    pub(super) at: At,
}

impl Hash for Run {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.lease.task_id, self.lease.token, self.lease.attempt, self.at).hash(state);
    }
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    /// Claimed, the agent is not started yet.
    Claimed,
    /// The agent was started.
    Running,
    /// It ended; its result waits to be settled.
    Over(Said),
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    Done,
    Failed,
    /// Its agent was ended by somebody.
    Killed,
    Superseded,
    Cancelled,
}

/// What is remembered for the invariants only.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Ghost {
    /// The newest token that a worker was given, per task.
    pub(super) handed: BTreeMap<TaskId, Token>,
    /// How often a result was accepted.
    pub(super) accepted: BTreeMap<(TaskId, Token), u8>,
    /// Tasks whose lease a human took away while it was held.
    pub(super) bereft: BTreeSet<TaskId>,
    /// The first thing that must never happen and did.
    pub(super) fault: Option<&'static str>,
}

/// How often something may still disturb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) crashes: u8,
    pub(super) stops: u8,
    pub(super) hands: u8,
    pub(super) verbs: u8,
    /// Saving the queue as it is, and putting it back later.
    pub(super) restores: u8,
    pub(super) removals: u8,
    pub(super) jumps: u8,
    /// Long times that pass.
    pub(super) longs: u8,
    pub(super) failures: u8,
}

impl Budget {
    /// Nobody will come between two steps of a commit.
    fn is_calm(&self) -> bool {
        self.crashes + self.stops + self.hands + self.restores + self.removals + self.longs + self.jumps == 0
    }
}

/// Everything.
#[derive(Clone, Hash)]
pub(super) struct World {
    pub(super) files: Files,
    pub(super) wall: i64,
    pub(super) mono: u64,
    /// What one commit takes; nothing where the order of the stamps cannot matter, which keeps the model small.
    pub(super) tick: Duration,
    pub(super) workers: Vec<Worker>,
    /// Running agents, by attempt, with the worker that started each.
    pub(super) agents: BTreeMap<(TaskId, Token), Pid>,
    /// The queue as an editor, or a commit of git's, has it.
    pub(super) saved: Option<Marked<Queue>>,
    pub(super) budget: Budget,
    pub(super) ghost: Ghost,
}

/// Told by the fingerprint, as the checker does.
impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let mark = |world: &Self| {
            let mut hasher = DefaultHasher::new();
            world.hash(&mut hasher);
            hasher.finish()
        };
        mark(self) == mark(other)
    }
}

impl World {
    pub(super) fn now(&self) -> Now {
        let wall = chrono::DateTime::from_timestamp_millis(1_767_600_000_000 + self.wall).expect("a time");
        Now::new(wall, Duration::from_millis(self.mono))
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let ms = time.as_millis() as u64;
        (self.wall, self.mono) = (self.wall + ms as i64, self.mono + ms);
    }

    pub(super) fn lives(&self, pid: Pid) -> bool {
        self.workers.iter().any(|worker| worker.pid == pid && worker.life != Life::Dead)
    }

    /// What a store sees; `locked` by the worker with this pid, or read without the lock.
    pub(super) fn snapshot(&self, locked: Option<Pid>) -> Snapshot {
        let holder = |lease: &Lease| {
            let by_process = || match self.lives(lease.pid) {
                true => Holder::Alive,
                false => Holder::Dead("its process is gone".into()),
            };
            match (locked, self.files.flocks.get(&lease.task_id)) {
                (None, _) => by_process(),
                (Some(me), Some(by)) if *by == me => Holder::Alive,
                (Some(_), Some(_)) => by_process(),
                (Some(_), None) => Holder::Dead("nobody holds the task's lock".into()),
            }
        };
        let leases = self.files.leases.iter().map(|(id, Filed(lease))| {
            (id.clone(), Held { record: LeaseRecord::Ours(lease.clone()), holder: holder(lease) })
        });
        Snapshot {
            now: self.now(),
            queue: Arc::clone(&self.files.queue.value),
            leases: leases.collect(),
            history: Arc::clone(&self.files.journal.value),
        }
    }

    /// Takes the lock, observes, decides; the worker then has a commit under way. `false`: there is nothing to commit.
    pub(super) fn begin(&mut self, at: usize, decide: impl FnOnce(&Snapshot) -> (Plan, What)) -> bool {
        let snapshot = self.snapshot(Some(self.workers[at].pid));
        let (plan, what) = observed(&snapshot, decide);
        if plan == Plan::none() {
            return false;
        }
        let mut hasher = DefaultHasher::new();
        format!("{:?}{:?}{:?}", plan.edits, plan.leases, plan.events).hash(&mut hasher);
        let commit = Commit {
            stage: Stage::Leases,
            base: self.files.queue.clone(),
            mark: hasher.finish(),
            plan: Arc::new(plan),
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
                for change in net(&commit.plan.leases) {
                    let (LeaseChange::Take(lease) | LeaseChange::Write(lease)) = change else { continue };
                    let (id, take) = (lease.task_id.clone(), matches!(change, LeaseChange::Take(_)));
                    let before = self.files.leases.insert(id.clone(), Filed(lease.clone())).map(|filed| filed.0);
                    // A lock that a superseded owner holds is replaced, so that its own is one on nothing.
                    let new = take && self.files.flocks.insert(id.clone(), pid) != Some(pid);
                    commit.undo.push((id, before, new));
                }
                commit.stage = if commit.plan.touches_queue() { Stage::Queue } else { Stage::Drops };
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
                let whole = Plan { leases: Vec::new(), events: Vec::new(), ..(*commit.plan).clone() };
                let after = self.snapshot(None).after(&whole).queue;
                self.look_at_change(&commit, &after);
                self.files.queue = Marked::queue(after);
                commit.stage = Stage::Drops;
            }
            Stage::Drops => {
                for change in net(&commit.plan.leases) {
                    if let LeaseChange::Drop(id) = change {
                        self.look_at_drop(&commit, id);
                        self.files.leases.remove(id);
                        if self.files.flocks.get(id) == Some(&pid) {
                            self.files.flocks.remove(id);
                        }
                    }
                }
                commit.stage = Stage::Journal;
            }
            Stage::Journal => {
                self.journal(&commit.plan, &commit.now);
                self.files.lock = None;
                self.done(at, &commit);
                return;
            }
        }
        self.workers[at].commit = Some(commit);
    }

    pub(super) fn journal(&mut self, plan: &Plan, now: &Now) {
        if plan.events.is_empty() {
            return;
        }
        let mut history = (*self.files.journal.value).clone();
        for draft in &plan.events {
            let event = Event::number(draft.clone(), history.seq + 1, now.wall, "");
            history.apply(&event);
        }
        self.files.journal = Marked::history(Arc::new(history));
    }

    /// A commit as one step: what `agentctl` does.
    pub(super) fn at_once(&mut self, decide: impl FnOnce(&Snapshot) -> Plan) -> bool {
        let snapshot = self.snapshot(Some(0));
        let mut own = false;
        let (plan, _) = observed(&snapshot, |seen| {
            let plan = decide(seen);
            own = !plan.is_empty();
            (plan, What::Look { claimed: None })
        });
        if !own {
            return false;
        }
        self.files.queue = Marked::queue(snapshot.after(&Plan { leases: Vec::new(), ..plan.clone() }).queue);
        for change in net(&plan.leases) {
            match change {
                LeaseChange::Write(lease) => {
                    drop(self.files.leases.insert(lease.task_id.clone(), Filed(lease.clone())));
                }
                LeaseChange::Drop(id) => drop(self.files.leases.remove(id)),
                LeaseChange::Take(_) => unreachable!("agentctl takes no leases"),
            }
        }
        self.journal(&plan, &snapshot.now);
        self.pass(self.tick);
        true
    }
}

/// Of all changes to one lease the last one counts.
fn net(changes: &[LeaseChange]) -> impl Iterator<Item = &LeaseChange> {
    let id = |change: &LeaseChange| match change {
        LeaseChange::Take(lease) | LeaseChange::Write(lease) => lease.task_id.clone(),
        LeaseChange::Drop(id) => id.clone(),
    };
    changes
        .iter()
        .enumerate()
        .filter(move |(at, change)| changes[at + 1..].iter().all(|later| id(later) != id(change)))
        .map(|(_, change)| change)
}

/// As the store does it: what others did is noted before what is decided.
fn observed(snapshot: &Snapshot, decide: impl FnOnce(&Snapshot) -> (Plan, What)) -> (Plan, What) {
    let mut whole = observe::decide(snapshot);
    let seen = if whole.is_empty() { snapshot.clone() } else { snapshot.after(&whole) };
    let (plan, what) = decide(&seen);
    whole.then(plan);
    (whole, what)
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for task in self.files.queue.value.tasks() {
            let known = self.files.journal.value.task(&task.id);
            let held = self.files.leases.get(&task.id).map(|Filed(lease)| (lease.pid, lease.token.0));
            let said = known.and_then(|known| known.status.as_ref()).map(|status| status.as_str());
            write!(f, "{} {} {:?} lease {held:?} journal {said:?}; ", task.id, task.status, task.lease)?;
        }
        for worker in &self.workers {
            let run = worker.run.as_ref().map(|run| (run.lease.token.0, run.at));
            let stage = worker.commit.as_ref().map(|commit| commit.stage);
            write!(f, "{} {:?} {run:?} {stage:?}; ", worker.pid, worker.life)?;
        }
        write!(f, "{:?} {:?}", self.agents.keys(), self.ghost)
    }
}
