//! What there is in the model: files, locks, clocks, workers, agents.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use oodatcaa_core::{
    History, Holder, Lease, LeaseRecord, LeaseState, Now, Queue, Snapshot, Status, TaskId, Token, rescue,
};

use super::{commit::Commit, same::Outline};

/// One process; a restarted worker is another.
pub(super) type Pid = u32;

/// A value with its outline, which is worked out once.
#[derive(Clone)]
pub(super) struct Marked<T> {
    pub(super) value: Arc<T>,
    pub(super) outline: Arc<Outline>,
}

/// What is on the disk, and who has locked what.
#[derive(Clone)]
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

/// Longer than a TTL, and longer ago than a race may be.
pub(super) const LONG: Duration = Duration::from_secs(61);

/// A worker process.
#[derive(Clone)]
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
    pub(super) all: Vec<rescue::Orphan>,
    pub(super) ended: bool,
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
    pub(super) fn is_calm(&self) -> bool {
        self.crashes + self.stops + self.hands + self.restores + self.removals + self.longs + self.jumps == 0
    }
}

/// Everything; [`super::same`] says which are the same.
#[derive(Clone)]
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
    /// The orders in which the workers may stand without a difference.
    pub(super) orders: Arc<Vec<Vec<usize>>>,
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
            (id.clone(), LeaseState { record: LeaseRecord::Ours(lease.clone()), holder: holder(lease) })
        });
        Snapshot {
            now: self.now(),
            queue: Arc::clone(&self.files.queue.value),
            leases: leases.collect(),
            history: Arc::clone(&self.files.journal.value),
            beside: Default::default(),
            kept: Arc::default(),
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for task in self.files.queue.value.tasks() {
            let known = self.files.journal.value.task(&task.id);
            let held = self.files.leases.get(&task.id).map(|Filed(lease)| (lease.pid, lease.token.0));
            let said = known.and_then(|known| known.status.as_ref()).map(Status::as_str);
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
