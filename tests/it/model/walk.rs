//! What can happen: the workers' walk, people's hands, crashes, stops and clocks; and a fair end to all of it.

use std::{sync::Arc, time::Duration};

use oodatcaa::domain::{
    Held, Holder, Lease, Member, Outcome, Owner, Plan, QueueLease, Role, RoleRule, Snapshot, Status, TaskId, Workflow,
    claim::{self, Claimant},
    coordinate,
    event::Actor,
    observe, operate,
    outcome::{Class, Retry},
    pool::Offer,
    rescue, settle,
};
use stateright::{Model, Property};

use super::world::{
    At, Budget, Commit, Filed, Files, Ghost, LONG, Lefts, Life, Marked, Pid, Run, Said, What, Worker, World,
};

/// A small fleet, and what may disturb it.
#[derive(Clone)]
pub(super) struct Fleet {
    pub(super) workers: Vec<Role>,
    pub(super) tasks: usize,
    pub(super) limit: u32,
    pub(super) budget: Budget,
    /// Tokens per task, at most.
    pub(super) tokens: u64,
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
    /// It takes the lock and decides: gives back, coordinates, claims.
    Look(usize),
    /// The next step of its commit.
    Step(usize),
    /// It starts the agent of its claim.
    Start(usize),
    /// Its agent ends.
    Over(usize, Said),
    /// It sees that its attempt has lost its right, and ends it.
    Told(usize),
    /// It takes the lock to settle.
    Settle(usize),
    /// A heartbeat.
    Beat(usize),
    /// SIGKILL.
    Crash(usize),
    /// The keeper of a dead worker has ended its agent.
    Keeper(TaskId, u64),
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
const TTL: Duration = Duration::from_secs(50);

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
    RoleRule { role, takes, works, done, done_with_children: None, failed: Status::NEEDS_ADAPT, replan: None, ttl: TTL }
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            workers: vec![Role::BUILDER, Role::BUILDER],
            tasks: 1,
            limit: 1,
            budget: Budget::default(),
            tokens: 3,
            hands: Vec::new(),
            fair: false,
            careless: None,
            workflow: one_stage(),
        }
    }
}

impl Fleet {
    fn claimant(&self, at: usize, pid: Pid) -> Claimant {
        Claimant {
            owner: Owner { tag: format!("w{at}"), host: "h".into(), boot_id: "b".into(), pid, pid_started: pid.into() },
            rule: self.workflow.rule(&self.workers[at]).expect("a role of the table").clone(),
            agents: vec![Offer { by: "cmd".into(), pool: "cmd".into(), simulated: false }],
            ignore_wip: false,
        }
    }

    /// What a rescuer takes for the truth about who lives.
    fn lives(&self, snapshot: &Snapshot) -> Snapshot {
        let mut seen = snapshot.clone();
        if self.careless == Some(Careless::RescuesByAge) {
            seen.leases.values_mut().for_each(|held| held.holder = Holder::Unknown);
        }
        seen
    }

    /// One look under the lock, chained as the worker chains it.
    fn look(&self, worker: &Worker, at: usize, seen: &Snapshot) -> (Plan, What) {
        let mut me = self.claimant(at, worker.pid);
        me.ignore_wip = self.careless == Some(Careless::CountsOutside) && worker.room == Some(true);
        let ended: &[rescue::Left] = if worker.left.ended { &worker.left.all } else { &[] };
        let mut plan = seen.chain(&mut [
            &mut |seen| rescue::decide(&self.lives(seen), &self.workflow, &retry(), ended, &me.owner.tag),
            &mut |seen| coordinate::decide(seen, &self.workflow),
        ]);
        let mut claimed = None;
        if worker.run.is_none()
            && let Ok((take, lease)) = claim::decide(&seen.after(&plan), &self.workflow, &me)
        {
            plan.then(take);
            claimed = Some(lease);
        }
        (plan, What::Look { claimed })
    }

    fn settle(&self, worker: &Worker, seen: &Snapshot) -> (Plan, What) {
        let run = worker.run.as_ref().expect("there is an attempt to settle");
        let At::Over(said) = run.at else { unreachable!("it has ended") };
        let outcome = match said {
            Said::Done => Outcome::Done { summary: String::new(), tasks: Vec::new() },
            Said::Failed => Outcome::failed(Class::AgentFailed, "no"),
            Said::Killed => Outcome::failed(Class::AgentCrashed, "killed"),
            Said::Superseded => Outcome::failed(Class::Superseded, "a newer claim exists"),
            Said::Cancelled => Outcome::failed(Class::Cancelled, "stopped"),
        };
        let mut seen = seen.clone();
        if self.careless == Some(Careless::Unfenced) {
            forget_newer(&mut seen, &run.lease);
        }
        let plan = settle::decide(&seen, &self.workflow, &run.lease, &outcome, &retry(), &settle::Facts::default());
        let id = &run.lease.task_id;
        let moves = plan.edits.iter().any(|edit| edit.task == *id && edit.set.contains_key(&Member::Status));
        (plan, What::Settle { lease: run.lease.clone(), moves, done: said == Said::Done })
    }

    /// Why a worker would end its attempt, as it sees the files.
    fn trouble(world: &World, run: &Run) -> Option<Said> {
        let seen = world.snapshot(None);
        let lease = &run.lease;
        if settle::superseded(&seen, lease) {
            return Some(Said::Superseded);
        }
        let held = seen.leases.get(&lease.task_id).and_then(Held::ours);
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
    fn of_worker(&self, world: &World, at: usize, actions: &mut Vec<Happens>) {
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
            At::Over(_) if unlocked => actions.push(Happens::Settle(at)),
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

    /// Does it; `false` when nothing would change.
    fn apply(&self, world: &mut World, happens: &Happens) -> bool {
        match happens {
            Happens::Glance(at) => {
                let me = self.claimant(*at, world.workers[*at].pid);
                world.workers[*at].room = Some(claim::wip(&world.snapshot(None), &me.rule) < self.limit);
            }
            Happens::Find(at) => {
                let left = rescue::find(&self.lives(&world.snapshot(None)), &self.workflow);
                if left.is_empty() {
                    return false;
                }
                world.workers[*at].left = Lefts { all: left, ended: false };
            }
            Happens::Sweep(at) => {
                let left = world.workers[*at].left.all.clone();
                if self.careless != Some(Careless::LeavesAgents) {
                    for one in left {
                        world.agents.remove(&(one.task, one.token));
                    }
                }
                world.workers[*at].left.ended = true;
            }
            Happens::Look(at) => {
                let before = world.workers[*at].clone();
                let begun = world.begin(*at, |seen| self.look(&before, *at, seen));
                world.workers[*at].room = None;
                // What was ended serves for this look only.
                let had = std::mem::take(&mut world.workers[*at].left);
                if !begun && had.all.is_empty() && before.room.is_none() {
                    return false;
                }
            }
            Happens::Step(at) => world.step(*at),
            Happens::Start(at) => {
                let pid = world.workers[*at].pid;
                let now = world.now();
                let run = world.workers[*at].run.as_mut().expect("claimed");
                // Soon after its claim nobody has taken it over; later it beats first, and hears whether anybody has.
                if self.careless != Some(Careless::StartsUnasked) && run.lease.silence(&now) > TTL / 3 {
                    if world.files.lock.is_some() {
                        return false;
                    }
                    match world.files.leases.get_mut(&run.lease.task_id) {
                        Some(Filed(lease)) if lease.token == run.lease.token => *lease = lease.beaten(&now),
                        _ => {
                            run.at = At::Over(Said::Superseded);
                            return true;
                        }
                    }
                }
                run.at = At::Running;
                world.agents.insert((run.lease.task_id.clone(), run.lease.token), pid);
            }
            Happens::Over(at, said) => {
                let run = world.workers[*at].run.as_mut().expect("running");
                run.at = At::Over(*said);
                world.agents.remove(&(run.lease.task_id.clone(), run.lease.token));
                if *said == Said::Failed {
                    world.budget.failures -= 1;
                }
            }
            Happens::Told(at) => {
                let run = world.workers[*at].run.clone().expect("running");
                let said = Self::trouble(world, &run).expect("just seen");
                world.agents.remove(&(run.lease.task_id, run.lease.token));
                world.workers[*at].run.as_mut().expect("running").at = At::Over(said);
            }
            Happens::Settle(at) => {
                let before = world.workers[*at].clone();
                world.begin(*at, |seen| self.settle(&before, seen));
            }
            Happens::Beat(at) => {
                let mine = world.workers[*at].run.as_ref().expect("running").lease.clone();
                let seen = world.snapshot(Some(world.workers[*at].pid));
                let Some(lease) = seen.leases.get(&mine.task_id).and_then(Held::ours) else { return false };
                if settle::superseded(&seen, &mine) || lease.silence(&seen.now) < TTL / 3 {
                    return false;
                }
                let beaten = lease.beaten(&seen.now);
                world.files.leases.insert(mine.task_id, Filed(beaten));
            }
            Happens::Crash(at) => {
                world.budget.crashes -= 1;
                let pid = world.workers[*at].pid;
                world.workers[*at] = Worker { life: Life::Dead, ..blank(pid) };
                world.files.flocks.retain(|_, by| *by != pid);
                if world.files.lock == Some(*at) {
                    world.files.lock = None;
                }
            }
            Happens::Keeper(task, token) => {
                world.agents.remove(&(task.clone(), oodatcaa::domain::Token(*token)));
            }
            Happens::Restart(at) => {
                let pid = world.workers[*at].pid + 10;
                world.workers[*at] = blank(pid);
            }
            Happens::Stop(at) => {
                world.budget.stops -= 1;
                world.workers[*at].life = Life::Stopped;
            }
            Happens::Cont(at) => world.workers[*at].life = Life::Up,
            Happens::Long => {
                world.budget.longs -= 1;
                world.pass(LONG);
            }
            Happens::Jump(by) => {
                world.budget.jumps -= 1;
                world.wall += by;
            }
            Happens::Hand(id, status) => {
                world.budget.hands -= 1;
                let mut queue = (*world.files.queue.value).clone();
                queue.edit(id, |task| task.status = status.clone());
                world.files.queue = Marked::queue(Arc::new(queue));
            }
            Happens::Remove(id) => {
                world.budget.removals -= 1;
                world.ghost.bereft.insert(id.clone());
                return world.files.leases.remove(id).is_some();
            }
            Happens::Save => {
                world.budget.restores -= 1;
                world.saved = Some(world.files.queue.clone());
            }
            Happens::PutBack => {
                world.files.queue = world.saved.take().expect("saved before");
            }
            Happens::Repair => {
                world.at_once(|seen| {
                    let mut plan = Plan::none();
                    if observe::behind(seen).is_some() {
                        plan.event(observe::baseline(seen, Actor::Human("me".into())));
                    }
                    plan
                });
            }
            Happens::Verb(verb, id) => {
                world.budget.verbs -= 1;
                return self.verb(world, *verb, id);
            }
        }
        true
    }

    fn verb(&self, world: &mut World, verb: Verb, id: &TaskId) -> bool {
        let me = Actor::Human("me".into());
        let token = world.files.leases.get(id).map(|Filed(lease)| lease.token);
        if verb == Verb::Release && token.is_some() {
            world.ghost.bereft.insert(id.clone());
        }
        let flow = &self.workflow;
        world.at_once(|seen| {
            let answer = match verb {
                Verb::Cancel => operate::cancel(seen, id, None, true, &me),
                Verb::Stop => operate::stop(seen, id, "enough", &me),
                Verb::Done => operate::done(seen, id, "it is", &me),
                Verb::Retry => operate::retry(seen, flow, id, Some(&flow.rules()[0].takes), &me),
                Verb::Release => operate::release(seen, flow, id, token.unwrap_or_default(), "hangs", &me),
            };
            answer.unwrap_or_default()
        })
    }

    /// Whether everything drains when nothing disturbs any more and everybody gets a turn.
    pub(super) fn drains(&self, world: &World) -> bool {
        let mut world = world.clone();
        world.budget = Budget::default();
        for _ in 0..12 {
            if self.is_drained(&world) {
                return true;
            }
            if observe::behind(&world.snapshot(None)).is_some() && world.files.lock.is_none() {
                self.apply(&mut world, &Happens::Repair);
            }
            for at in 0..world.workers.len() {
                match world.workers[at].life {
                    Life::Dead => drop(self.apply(&mut world, &Happens::Restart(at))),
                    Life::Stopped => drop(self.apply(&mut world, &Happens::Cont(at))),
                    Life::Up => {}
                }
            }
            let orphans: Vec<_> =
                world.agents.iter().filter(|(_, pid)| !world.lives(**pid)).map(|(key, _)| key.clone()).collect();
            for (task, token) in orphans {
                self.apply(&mut world, &Happens::Keeper(task, token.0));
            }
            // Whoever has the lock goes first.
            let mut order: Vec<usize> = (0..world.workers.len()).collect();
            order.sort_by_key(|at| world.files.lock != Some(*at));
            for at in order {
                self.turn(&mut world, at);
            }
            world.pass(LONG);
        }
        false
    }

    /// A worker does what it can do.
    fn turn(&self, world: &mut World, at: usize) {
        for _ in 0..30 {
            let mut can = Vec::new();
            self.of_worker(world, at, &mut can);
            can.retain(|happens| !matches!(happens, Happens::Glance(_) | Happens::Beat(_)));
            // An attempt that was told to end ends, one that can be settled is.
            can.sort_by_key(|happens| match happens {
                Happens::Told(_) => 0,
                Happens::Settle(_) => 1,
                Happens::Over(..) | Happens::Start(_) | Happens::Step(_) => 2,
                Happens::Find(_) | Happens::Sweep(_) => 3,
                _ => 4,
            });
            if !can.into_iter().any(|happens| self.apply(world, &happens)) {
                return;
            }
        }
    }

    fn is_drained(&self, world: &World) -> bool {
        let waits =
            |status: &Status| self.workflow.working(status).is_some() || self.workflow.taking(status).next().is_some();
        world.files.leases.is_empty()
            && world.agents.is_empty()
            && world.workers.iter().all(|worker| worker.run.is_none() && worker.commit.is_none())
            && !world.files.queue.value.tasks().any(|task| waits(&task.status))
    }
}

fn blank(pid: Pid) -> Worker {
    Worker { pid, life: Life::Up, run: None, left: Lefts::default(), commit: None, room: None }
}

/// Makes a stale attempt believe that its token is the newest.
fn forget_newer(seen: &mut Snapshot, mine: &Lease) {
    let id = &mine.task_id;
    if let Some(held) = seen.leases.get_mut(id) {
        held.record = oodatcaa::domain::LeaseRecord::Ours(mine.clone());
    }
    Arc::make_mut(&mut seen.queue).edit(id, |task| task.lease = QueueLease::None);
    if let Some(known) = Arc::make_mut(&mut seen.history).tasks.get_mut(id) {
        known.token = known.token.min(mine.token);
    }
}

impl World {
    /// What a commit that has just become durable in the queue does to the invariants.
    pub(super) fn look_at_change(&mut self, commit: &Commit, after: &oodatcaa::domain::Queue) {
        let before = Arc::clone(&self.files.queue.value);
        for task in before.tasks() {
            let Some(new) = after.get(&task.id) else {
                self.fault("a task is lost");
                continue;
            };
            if task.status.is_finished() && !new.status.is_finished() {
                self.fault("what was finished is not finished any more");
            }
        }
        if before.len() != after.len() {
            self.fault("a task is doubled");
        }
        if let What::Settle { lease, moves: true, done } = &commit.what {
            let id = &lease.task_id;
            if self.ghost.handed.get(id) != Some(&lease.token) {
                self.fault("a superseded attempt changed its task");
            }
            if *done {
                *self.ghost.accepted.entry((id.clone(), lease.token)).or_default() += 1;
            }
        }
    }

    /// What the removal of a lease does to the invariants.
    pub(super) fn look_at_drop(&mut self, commit: &Commit, id: &TaskId) {
        let Some(Filed(lease)) = self.files.leases.get(id).cloned() else { return };
        match &commit.what {
            What::Look { .. } => {
                let runs = self.workers.iter().any(|worker| worker.pid == lease.pid && worker.life == Life::Up);
                if runs && lease.silence(&commit.now) <= TTL {
                    self.fault("an owner that lives and beats was taken over");
                }
            }
            What::Settle { lease: mine, .. } if mine.token != lease.token => {
                self.fault("a superseded attempt removed a lease");
            }
            What::Settle { .. } => {}
        }
    }

    /// A commit is through: its worker goes on with what it has now.
    pub(super) fn done(&mut self, at: usize, commit: &Commit) {
        match &commit.what {
            What::Settle { .. } => self.workers[at].run = None,
            What::Look { claimed: None } => {}
            What::Look { claimed: Some(lease) } => {
                let id = lease.task_id.clone();
                if self.ghost.handed.get(&id).is_some_and(|newest| *newest >= lease.token) {
                    self.fault("a token was given out that is not greater than every one before");
                }
                self.ghost.handed.insert(id.clone(), lease.token);
                if self.agents.keys().any(|(task, _)| *task == id) && !self.ghost.bereft.contains(&id) {
                    self.fault("a task was claimed while an agent of an older claim was running");
                }
                self.workers[at].run = Some(Run { lease: lease.clone(), at: At::Claimed });
            }
        }
    }

    fn fault(&mut self, what: &'static str) {
        self.ghost.fault.get_or_insert(what);
    }
}

impl Model for Fleet {
    type State = World;
    type Action = Happens;

    fn init_states(&self) -> Vec<World> {
        let tasks = (0..self.tasks).map(|n| {
            let id = TaskId::parse(&format!("T{n}")).expect("a good id");
            oodatcaa::domain::Task::new(id, self.workflow.rules()[0].takes.clone())
        });
        let mut queue = oodatcaa::domain::Queue::of(tasks.collect());
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
        };
        // The baseline is taken by the first worker that starts.
        let start = world.snapshot(None);
        world.journal(&observe::decide(&start), &start.now);
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
        actions.extend(orphans.map(|((task, token), _)| Happens::Keeper(task.clone(), token.0)));
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
        if self.budget.restores > 0 && world.files.lock.is_none() && observe::behind(&world.snapshot(None)).is_some() {
            actions.push(Happens::Repair);
        }
    }

    fn next_state(&self, last: &World, happens: Happens) -> Option<World> {
        let mut next = last.clone();
        self.apply(&mut next, &happens).then_some(next)
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.ghost.handed.values().all(|token| token.0 <= self.tokens)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing forbidden happens", |_, world: &World| world.ghost.fault.is_none()),
            Property::always("a token has one accepted result at most", |_, world: &World| {
                world.ghost.accepted.values().all(|count| *count <= 1)
            }),
            Property::always("live leases of a role stay within its limit", |fleet: &Fleet, world: &World| {
                let seen = world.snapshot(Some(0));
                fleet.workflow.rules().iter().all(|rule| {
                    let live = seen.leases.values().filter(|held| {
                        held.role() == Some(&rule.role)
                            && held.standing(&seen.now) == oodatcaa::domain::lease::Standing::Live
                    });
                    live.count() <= fleet.limit as usize
                })
            }),
            Property::always("no task is lost or doubled", |fleet: &Fleet, world: &World| {
                world.files.queue.value.len() == fleet.tasks
            }),
            Property::always("every held task leaves when everybody gets a turn", |fleet: &Fleet, world: &World| {
                !fleet.fair || world.ghost.fault.is_some() || fleet.drains(world)
            }),
            Property::sometimes("a task is finished", |_, world: &World| {
                world.files.queue.value.tasks().any(|task| task.status == Status::DONE)
            }),
        ]
    }
}
