//! Who there is and what can happen: the workers' walk, people's hands, crashes, stops and clocks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use oodatcaa_core::{
    ChangeSet, Duty, Holder, Lease, LeaseState, Member, Outcome, Owner, QueueLease, Role, RoleRule, Snapshot, Status,
    TaskId, Workflow,
    claim::{self, Claimant},
    coordinate,
    event::payload::Ended,
    external_edits,
    outcome::{Class, Retry},
    pool::Offer,
    rescue, settle,
};
use stateright::{Model, Property};

use super::commit::{Settled, What};
use super::world::{At, Budget, Files, Ghost, Lefts, Life, Marked, Pid, Run, Said, Worker, World};

/// A small fleet, and what may disturb it.
#[derive(Clone)]
pub(super) struct Fleet {
    pub(super) workers: Vec<Role>,
    pub(super) tasks: usize,
    pub(super) limit: u32,
    pub(super) budget: Budget,
    /// Tokens per task, at most.
    pub(super) tokens: u64,
    /// How often that was the end of the way.
    pub(super) beyond: Arc<AtomicUsize>,
    /// Statuses that a human sets by hand.
    pub(super) hands: Vec<Status>,
    /// From every state a fair run must drain everything.
    pub(super) fair: bool,
    pub(super) careless: Option<Careless>,
    pub(super) workflow: Workflow,
}

/// A rule that was left out on purpose, to see that its absence is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Careless {
    /// A settlement does not ask whether its token is the newest.
    Unfenced,
    /// What is in work is counted before the lock is taken.
    CountsOutside,
    /// An owner is taken for dead by the age of its lease on the wall clock alone.
    RescuesByAge,
    /// A worker that slept between its claim and the start of its agent does not ask whether the task is still its own.
    StartsUnasked,
    /// What a dead owner left running is not ended before its task is given back.
    LeavesAgents,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happens {
    /// A worker counts without the lock; only a careless one makes use of it.
    Glance(usize),
    /// A worker finds what is left over, without the lock.
    Find(usize),
    /// It ends what is running of that.
    Sweep(usize),
    /// It takes the lock and decides: settles, gives back, coordinates, claims.
    Look(usize),
    /// The next step of its commit.
    Step(usize),
    /// It starts the agent of its claim.
    Start(usize),
    /// Its agent ends.
    Over(usize, Said),
    /// It sees that its attempt has lost its right, and ends it.
    Told(usize),
    /// A heartbeat.
    Beat(usize),
    /// SIGKILL.
    Crash(usize),
    /// The shim of a dead worker has ended its agent.
    Shim(TaskId, u64),
    /// A new process in its place.
    Restart(usize),
    /// SIGSTOP.
    Stop(usize),
    /// SIGCONT.
    Cont(usize),
    /// Longer than a TTL passes, on both clocks.
    Long,
    /// The wall clock jumps, or the machine was suspended: the other clock does not count that.
    Jump(i64),
    /// A status set by hand.
    Hand(TaskId, Status),
    /// A lease file removed by hand.
    Remove(TaskId),
    /// An editor, or git, takes the queue as it stands, …
    Save,
    /// … and puts it back.
    PutBack,
    /// A human confirms a queue that was put back.
    Repair,
    /// An operator's command.
    Verb(Verb, TaskId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Cancel,
    Stop,
    Done,
    Retry,
    Release,
}

const VERBS: [Verb; 5] = [Verb::Cancel, Verb::Stop, Verb::Done, Verb::Retry, Verb::Release];
const YEAR: i64 = 365 * 24 * 3_600_000;
pub(super) const TTL: Duration = Duration::from_secs(50);

fn retry() -> Retry {
    Retry {
        attempts: 2,
        backoff: Duration::ZERO,
        transient: 1,
        deaths: 2,
        adapts: 1,
        pause_after: 0,
        ..Retry::default()
    }
}

pub(super) fn one_stage() -> Workflow {
    Workflow::new(vec![rule(Role::BUILDER, Status::READY, Status::IN_PROGRESS, Status::DONE)]).expect("a good table")
}

pub(super) fn two_stages() -> Workflow {
    Workflow::new(vec![
        rule(Role::BUILDER, Status::READY, Status::IN_PROGRESS, Status::AWAITING_TEST),
        rule(Role::TESTER, Status::AWAITING_TEST, Status::TESTING, Status::DONE),
    ])
    .expect("a good table")
}

fn rule(role: Role, takes: Status, works: Status, done: Status) -> RoleRule {
    RoleRule {
        role,
        takes,
        works,
        done,
        done_with_children: None,
        failed: Status::NEEDS_ADAPT,
        replan: None,
        ttl: TTL,
        duty: Duty::default(),
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            workers: vec![Role::BUILDER, Role::BUILDER],
            tasks: 1,
            limit: 1,
            budget: Budget::default(),
            tokens: 3,
            beyond: Arc::default(),
            hands: Vec::new(),
            fair: false,
            careless: None,
            workflow: one_stage(),
        }
    }
}

impl Fleet {
    pub(super) fn claimant(&self, at: usize, pid: Pid) -> Claimant {
        Claimant {
            owner: Owner { tag: format!("w{at}"), host: "h".into(), boot_id: "b".into(), pid, pid_started: pid.into() },
            rule: self.workflow.rule(&self.workers[at]).expect("a role of the table").clone(),
            agents: vec![Offer { by: "cmd".into(), pool: "cmd".into(), simulated: false }],
            ignore_wip: false,
        }
    }

    /// The orders in which the workers may stand: of one role it does not matter who is who. A fair run is told apart
    /// by who goes first.
    fn orders(&self) -> Vec<Vec<usize>> {
        let mut orders = vec![Vec::new()];
        for at in 0..self.workers.len() {
            let longer = |order: &Vec<usize>| {
                let free = (0..self.workers.len()).filter(|one| !order.contains(one));
                let alike = free.filter(|one| *one == at || !self.fair && self.workers[*one] == self.workers[at]);
                alike.map(|one| [&order[..], &[one]].concat()).collect::<Vec<_>>()
            };
            orders = orders.iter().flat_map(longer).collect();
        }
        orders
    }

    /// What a rescuer takes for the truth about who lives.
    pub(super) fn lives(&self, snapshot: &Snapshot) -> Snapshot {
        let mut seen = snapshot.clone();
        if self.careless == Some(Careless::RescuesByAge) {
            seen.leases.values_mut().for_each(|held| held.holder = Holder::Unknown);
        }
        seen
    }

    /// One look under the lock, chained as the worker chains it.
    pub(super) fn look(&self, worker: &Worker, at: usize, seen: &Snapshot) -> (ChangeSet, What) {
        let mut me = self.claimant(at, worker.pid);
        me.ignore_wip = self.careless == Some(Careless::CountsOutside) && worker.room == Some(true);
        let ended: &[rescue::Orphan] = if worker.left.ended { &worker.left.all } else { &[] };
        let (mut changes, settled) = self.settle(worker, seen);
        let mut seen = seen.after(&changes);
        let rest = seen.chain(&mut [
            &mut |seen| rescue::decide(&self.lives(seen), &self.workflow, &retry(), ended, &me.owner.tag),
            &mut |seen| coordinate::decide(seen, &self.workflow),
        ]);
        seen = seen.after(&rest);
        changes.then(rest);
        let mut claimed = None;
        if (worker.run.is_none() || settled.is_some())
            && let Ok((take, lease)) = claim::decide(&seen, &self.workflow, &me)
        {
            changes.then(take);
            claimed = Some(lease);
        }
        (changes, What { settled, claimed })
    }

    /// The settlement of an attempt that has ended.
    fn settle(&self, worker: &Worker, seen: &Snapshot) -> (ChangeSet, Option<Settled>) {
        let Some(Run { lease, at: At::Over(said) }) = &worker.run else { return (ChangeSet::none(), None) };
        let outcome = match said {
            Said::Done => Outcome::Done { summary: String::new(), tasks: Vec::new() },
            Said::Failed => Outcome::failed(Class::AgentFailed, "no"),
            Said::Killed => Outcome::failed(Class::AgentCrashed, "killed"),
            Said::Superseded => Outcome::failed(Class::Superseded, "a newer claim exists"),
            Said::Cancelled => Outcome::failed(Class::Cancelled, "stopped"),
        };
        let mut seen = seen.clone();
        if self.careless == Some(Careless::Unfenced) {
            forget_newer(&mut seen, lease);
        }
        let changes = settle::decide(&seen, &self.workflow, lease, &outcome, &retry(), &Ended::default());
        let id = &lease.task_id;
        let moves = changes.edits.iter().any(|edit| edit.task == *id && edit.set.contains_key(&Member::Status));
        (changes, Some(Settled { lease: lease.clone(), moves, done: *said == Said::Done }))
    }

    /// Why a worker would end its attempt, as it sees the files.
    pub(super) fn trouble(world: &World, run: &Run) -> Option<Said> {
        let seen = world.snapshot(None);
        let lease = &run.lease;
        if seen.supersedes(lease) {
            return Some(Said::Superseded);
        }
        let held = seen.leases.get(&lease.task_id).and_then(LeaseState::ours);
        let task = seen.queue.get(&lease.task_id);
        let ours = QueueLease::Ours { owner: lease.owner.clone(), token: lease.token };
        match (held, task) {
            (Some(held), _) if held.stop.is_some() => Some(Said::Cancelled),
            (_, None) => Some(Said::Cancelled),
            (_, Some(task)) if task.status == Status::CANCELLED => Some(Said::Cancelled),
            (None, Some(task)) if task.lease == ours => Some(Said::Superseded),
            _ => None,
        }
    }

    /// What a single worker may do.
    pub(super) fn of_worker(&self, world: &World, at: usize, actions: &mut Vec<Happens>) {
        let worker = &world.workers[at];
        if worker.life != Life::Up {
            return;
        }
        if worker.commit.is_some() {
            actions.push(Happens::Step(at));
            return;
        }
        let unlocked = world.files.lock.is_none();
        if self.careless == Some(Careless::CountsOutside) && worker.run.is_none() && worker.room.is_none() {
            actions.push(Happens::Glance(at));
        }
        if worker.left.all.is_empty() {
            actions.push(Happens::Find(at));
        } else if !worker.left.ended {
            actions.push(Happens::Sweep(at));
        }
        if unlocked {
            actions.push(Happens::Look(at));
        }
        let Some(run) = &worker.run else { return };
        let key = (run.lease.task_id.clone(), run.lease.token);
        match run.at {
            At::Over(_) => {}
            At::Claimed | At::Running => {
                if Self::trouble(world, run).is_some() {
                    actions.push(Happens::Told(at));
                }
                if unlocked {
                    actions.push(Happens::Beat(at));
                }
                if run.at == At::Claimed {
                    actions.push(Happens::Start(at));
                } else if world.agents.contains_key(&key) {
                    actions.push(Happens::Over(at, Said::Done));
                    if world.budget.failures > 0 {
                        actions.push(Happens::Over(at, Said::Failed));
                    }
                } else {
                    actions.push(Happens::Over(at, Said::Killed));
                }
            }
        }
    }
}

pub(super) fn blank(pid: Pid) -> Worker {
    Worker { pid, life: Life::Up, run: None, left: Lefts::default(), commit: None, room: None }
}

/// Makes a stale attempt believe that its token is the newest.
fn forget_newer(seen: &mut Snapshot, mine: &Lease) {
    let id = &mine.task_id;
    if let Some(held) = seen.leases.get_mut(id) {
        held.record = oodatcaa_core::LeaseRecord::Ours(mine.clone());
    }
    Arc::make_mut(&mut seen.queue).edit(id, |task| task.lease = QueueLease::None);
    let known = Arc::make_mut(&mut seen.history).known(id);
    known.token = known.token.min(mine.token);
}

impl Model for Fleet {
    type State = World;
    type Action = Happens;

    fn init_states(&self) -> Vec<World> {
        let tasks = (0..self.tasks).map(|n| {
            let id = TaskId::parse(&format!("T{n}")).expect("a good id");
            oodatcaa_core::Task::new(id, self.workflow.rules()[0].takes.clone())
        });
        let mut queue = oodatcaa_core::Queue::of(tasks.collect());
        for rule in self.workflow.rules() {
            queue.wip_limits.insert(rule.role.to_string(), self.limit);
        }
        let files = Files {
            queue: Marked::queue(Arc::new(queue)),
            leases: Default::default(),
            flocks: Default::default(),
            journal: Marked::history(Arc::default()),
            lock: None,
        };
        let mut world = World {
            files,
            wall: 0,
            mono: 1_000_000,
            tick: Duration::from_millis(u64::from(self.budget.restores)),
            workers: (0..self.workers.len()).map(|at| blank(at as Pid + 1)).collect(),
            agents: Default::default(),
            saved: None,
            budget: self.budget,
            ghost: Ghost::default(),
            orders: Arc::new(self.orders()),
        };
        // The baseline is taken by the first worker that starts.
        let start = world.snapshot(None);
        world.journal(&external_edits::decide(&start), &start.now);
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Happens>) {
        let left = &world.budget;
        for (at, worker) in world.workers.iter().enumerate() {
            self.of_worker(world, at, actions);
            match worker.life {
                Life::Dead => actions.push(Happens::Restart(at)),
                Life::Stopped => actions.push(Happens::Cont(at)),
                Life::Up if left.stops > 0 => actions.push(Happens::Stop(at)),
                Life::Up => {}
            }
            if left.crashes > 0 && worker.life != Life::Dead {
                actions.push(Happens::Crash(at));
            }
        }
        let orphans = world.agents.iter().filter(|(_, pid)| !world.lives(**pid));
        actions.extend(orphans.map(|((task, token), _)| Happens::Shim(task.clone(), token.0)));
        if left.longs > 0 {
            actions.push(Happens::Long);
        }
        if left.jumps > 0 {
            actions.extend([Happens::Jump(YEAR), Happens::Jump(-YEAR)]);
        }
        for task in world.files.queue.value.tasks() {
            if left.hands > 0 {
                let others = self.hands.iter().filter(|status| **status != task.status);
                actions.extend(others.map(|status| Happens::Hand(task.id.clone(), status.clone())));
            }
            if left.verbs > 0 && world.files.lock.is_none() {
                actions.extend(VERBS.map(|verb| Happens::Verb(verb, task.id.clone())));
            }
            if left.removals > 0 && world.files.leases.contains_key(&task.id) {
                actions.push(Happens::Remove(task.id.clone()));
            }
        }
        if left.restores > 0 && world.saved.is_none() {
            actions.push(Happens::Save);
        }
        if world.saved.is_some() {
            actions.push(Happens::PutBack);
        }
        if self.budget.restores > 0
            && world.files.lock.is_none()
            && external_edits::behind(&world.snapshot(None)).is_some()
        {
            actions.push(Happens::Repair);
        }
    }

    fn next_state(&self, last: &World, happens: Happens) -> Option<World> {
        let mut next = last.clone();
        self.apply(&mut next, &happens).then_some(next)
    }

    fn within_boundary(&self, world: &World) -> bool {
        let is_within = world.ghost.handed.values().all(|token| token.0 <= self.tokens);
        self.beyond.fetch_add(usize::from(!is_within), Ordering::Relaxed);
        is_within
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::proof::properties()
    }
}
