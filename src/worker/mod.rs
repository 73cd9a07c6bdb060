//! One worker: a process that serves one role.
//!
//! It waits for four things at once — a signal, a change, a tick, the end of a run — and after each
//! looks at the store: what is left over is rescued, what can be coordinated is, and what can be
//! claimed is claimed, in one commit. Each claim becomes a [`run`] on a thread of its own.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, never, select};

use crate::{
    agent::Agent,
    config::{Config, GateConfig, RoleConfig},
    domain::{
        Class, EventDraft, Kind, Lease, Owner, Plan, QueueLease, Role, RoleRule, Snapshot, Status, Task, TaskId, Token,
        Workflow,
        claim::{self, Claimant, Idle},
        coordinate,
        event::Actor,
        observe, rescue, settle, text,
    },
    layout::Layout,
    process::{Keeper, Stop},
    store::{Store, StoreError},
};

mod evidence;
pub mod record;
mod run;
mod sweep;

use run::{Control, Ended, Why};

/// How often a worker looks whether the owners of others' leases still live; only while there are any.
const LIVENESS: Duration = Duration::from_secs(2);

/// Everything a worker is made of.
pub struct Setup {
    /// Where the project lies.
    pub layout: Layout,
    /// The configuration.
    pub config: Config,
    /// The role's row of the table.
    pub rule: RoleRule,
    /// How the role works.
    pub role: RoleConfig,
    /// Who works.
    pub agent: Box<dyn Agent>,
    /// Who we are.
    pub owner: Owner,
    /// Attempts at once; the role's WIP limit when absent.
    pub slots: Option<u32>,
    /// The fallback poll.
    pub interval: Duration,
    /// One poll, claim, run and settle, then leave.
    pub once: bool,
    /// Claim beyond the WIP limit.
    pub ignore_wip: bool,
    /// Our own program, which is the keeper as well.
    pub exe: PathBuf,
}

/// What runs and main loop share.
struct Shared {
    setup: Setup,
    store: Box<dyn Store>,
}

impl Shared {
    fn workflow(&self) -> &Workflow {
        &self.setup.config.workflow
    }

    fn role(&self) -> &Role {
        &self.setup.rule.role
    }

    fn actor(&self) -> Actor {
        Actor::Worker(self.setup.owner.tag.clone())
    }

    fn gate(&self, name: &str) -> Option<&GateConfig> {
        self.setup.config.gates.get(name)
    }
}

/// What a worker is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// TERM or INT.
    Stop,
    /// HUP: look again now.
    Wake,
}

/// Why a worker left.
#[derive(Debug)]
pub enum Left {
    /// It was told to, or `--once` is over.
    Done,
    /// `--once`, and the store could not be used.
    Store(StoreError),
    /// `--once`, and the agent's program is missing.
    AgentMissing(String),
    /// A third signal: at once, without settling; the next worker rescues.
    AtOnce,
}

/// What the main loop keeps of an attempt.
struct Running {
    lease: Lease,
    control: Sender<Control>,
    told: Option<Why>,
}

/// A worker.
pub struct Worker {
    shared: Arc<Shared>,
    signals: Receiver<Signal>,
    changes: Receiver<()>,
    ended: (Sender<Ended>, Receiver<Ended>),
    running: BTreeMap<(TaskId, Token), Running>,
    stopping: Option<Stopping>,
    /// The last thing said about having nothing to do, so that it is said once.
    said: String,
    trouble: Option<String>,
    /// When the next look is due although nothing happened.
    due: Option<Instant>,
    /// Others hold leases, so their lives are looked after.
    watching: bool,
    missing: Option<String>,
    /// A keeper whose start-up overlaps with the commit of the claim that it is for.
    spare: Option<Keeper>,
}

struct Stopping {
    signals: u32,
    deadline: Instant,
    forced: bool,
}

impl Worker {
    /// Puts a worker together; nothing happens yet.
    pub fn new(setup: Setup, store: Box<dyn Store>, signals: Receiver<Signal>) -> Self {
        Self {
            shared: Arc::new(Shared { setup, store }),
            signals,
            changes: never(),
            ended: crossbeam_channel::unbounded(),
            running: BTreeMap::new(),
            stopping: None,
            said: String::new(),
            trouble: None,
            due: None,
            watching: false,
            missing: None,
            spare: None,
        }
    }

    /// Works until it is told to stop; `ready` is called once the worker watches the queue.
    pub fn run(mut self, ready: impl FnOnce()) -> Left {
        let shared = Arc::clone(&self.shared);
        let setup = &shared.setup;
        if !setup.once {
            match shared.store.changes() {
                Ok(changes) => self.changes = changes,
                Err(error) => {
                    let every = text::duration(setup.interval);
                    log::warn!(
                        "cannot watch for changes, so the queue is looked at every {every}: failed to {}",
                        chain(&error)
                    );
                }
            }
        }
        self.note(Kind::WorkerStarted, &[("pid", setup.owner.pid.into()), ("agent", setup.agent.name().into())]);
        log::info!(
            "{} watches {} with the agent `{}`",
            shared.role(),
            setup.layout.queue().display(),
            setup.agent.name()
        );
        ready();
        let mut first = self.look();
        if setup.once {
            match first.take() {
                Some(error) => return Left::Store(error),
                None if self.running.is_empty() => {
                    log::info!("{}", if self.said.is_empty() { "nothing to do" } else { &self.said })
                }
                None => {}
            }
        }
        loop {
            if (setup.once || self.stopping.is_some()) && self.running.is_empty() {
                self.note(Kind::WorkerStopped, &[]);
                log::info!("{} stopped", shared.role());
                return self
                    .missing
                    .take()
                    .map_or(Left::Done, |why| if setup.once { Left::AgentMissing(why) } else { Left::Done });
            }
            select! {
                recv(self.signals) -> signal => match signal {
                    Ok(Signal::Wake) => drop(self.look()),
                    Ok(Signal::Stop) | Err(_) => if self.stop() { return Left::AtOnce },
                },
                recv(self.changes) -> change => {
                    if change.is_err() {
                        self.changes = never();
                    }
                    drop(self.look());
                }
                recv(self.ended.1) -> ended => {
                    if let Ok(ended) = ended {
                        self.take_back(&ended);
                        while let Ok(more) = self.ended.1.try_recv() {
                            self.take_back(&more);
                        }
                    }
                    if !setup.once {
                        drop(self.look());
                    }
                }
                recv(self.timer()) -> _ => self.tick(),
            }
        }
    }

    fn take_back(&mut self, ended: &Ended) {
        if let Some(why) = &ended.missing {
            self.missing = Some(why.clone());
        }
        self.running.remove(&(ended.task.clone(), ended.token));
    }

    fn timer(&self) -> Receiver<Instant> {
        let mut next = self.due;
        if let Some(stopping) = &self.stopping
            && !stopping.forced
        {
            next = Some(next.map_or(stopping.deadline, |due| due.min(stopping.deadline)));
        }
        if self.watching && self.stopping.is_none() {
            let look = Instant::now() + LIVENESS;
            next = Some(next.map_or(look, |due| due.min(look)));
        }
        next.map_or_else(never, crossbeam_channel::at)
    }

    fn tick(&mut self) {
        if let Some(stopping) = &mut self.stopping {
            if !stopping.forced && Instant::now() >= stopping.deadline {
                stopping.forced = true;
                log::info!("the drain time is over, stopping {} attempts", self.running.len());
                self.tell_all(Stop::Gently);
            }
            return;
        }
        drop(self.look());
    }

    /// Takes one more signal to stop; `true` means leave at once (contract section 7).
    fn stop(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let drain = shared.setup.config.fleet.drain;
        match &mut self.stopping {
            None => {
                self.stopping = Some(Stopping { signals: 1, deadline: Instant::now() + drain, forced: false });
                let extend = u32::try_from((drain + shared.setup.config.fleet.grace).as_micros()).unwrap_or(u32::MAX);
                tell_manager(&[
                    sd_notify::NotifyState::Stopping,
                    sd_notify::NotifyState::ExtendTimeoutUsec(extend.saturating_add(5_000_000)),
                ]);
                self.note(Kind::WorkerStopping, &[("running", self.running.len().into())]);
                if self.running.is_empty() {
                    log::info!("stopping");
                } else {
                    let wait = text::duration(drain);
                    log::info!(
                        "stopping: nothing more is claimed, {} attempts may end within {wait}",
                        self.running.len()
                    );
                }
            }
            Some(stopping) if stopping.signals == 1 => {
                stopping.signals = 2;
                stopping.forced = true;
                log::warn!("second signal: ending {} attempts now", self.running.len());
                self.tell_all(Stop::Now);
            }
            Some(_) => {
                log::warn!("third signal: leaving at once; the next worker gives back what is held");
                return true;
            }
        }
        false
    }

    fn tell_all(&mut self, how: Stop) {
        for running in self.running.values() {
            // A run that has just ended no longer listens, and has settled.
            let _ = running.control.send(Control::Stop(how, Why::Shutdown));
        }
    }

    /// Looks at the store once: rescue, coordination, claims. Answers what went wrong, after having said it.
    fn look(&mut self) -> Option<StoreError> {
        self.due = Some(Instant::now() + self.shared.setup.interval);
        match self.try_look() {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    log::info!("the queue can be used again");
                }
                None
            }
            Err(error) => {
                let words = chain(&error);
                if self.trouble.as_deref() != Some(&words) {
                    log::error!("claiming is stopped, running attempts go on: failed to {words}");
                    self.trouble = Some(words);
                }
                Some(error)
            }
        }
    }

    fn try_look(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let reading = shared.store.read()?;
        if let Some(invalid) = reading.invalid {
            // Journalled once by the store, which also knows when it is whole again.
            shared.store.transact(&mut |_| Plan::none())?;
            return Err(StoreError::Invalid(invalid));
        }
        self.look_after_runs(&reading.snapshot);
        let pid = shared.setup.owner.pid;
        self.watching = reading.snapshot.leases.values().any(|held| held.ours().is_none_or(|lease| lease.pid != pid));
        if !self.has_work(&reading.snapshot) {
            return Ok(());
        }
        let mut ended: Vec<rescue::Left> = Vec::new();
        // Twice: what is left over is found by the first look, ended outside of the lock, and given
        // back by the second; a third round takes in what died meanwhile.
        for _ in 0..3 {
            let left = self.commit(&ended)?;
            let more: Vec<rescue::Left> = left.into_iter().filter(|left| !ended.contains(left)).collect();
            if more.is_empty() {
                break;
            }
            ended = sweep::end(&shared.setup.layout, more);
            if ended.is_empty() {
                break;
            }
        }
        self.spare = None;
        Ok(())
    }

    /// Whether a commit would change anything, decided on what was read without the lock.
    fn has_work(&mut self, snapshot: &Snapshot) -> bool {
        let shared = &self.shared;
        let workflow = shared.workflow();
        let other = !rescue::find(snapshot, workflow).is_empty()
            || !observe::decide(snapshot).is_empty()
            || !coordinate::decide(snapshot, workflow).is_empty();
        if self.free_slots(snapshot) == 0 {
            return other;
        }
        match claim::decide(snapshot, workflow, &self.claimant()) {
            Ok(_) => {
                if self.spare.is_none() {
                    self.spare = Keeper::spawn(&shared.setup.exe, None).ok();
                }
                true
            }
            Err(idle) => {
                self.say_idle(&idle);
                other
            }
        }
    }

    fn free_slots(&self, snapshot: &Snapshot) -> usize {
        if self.stopping.is_some() {
            return 0;
        }
        let setup = &self.shared.setup;
        let limit = match (setup.slots, setup.once) {
            (Some(slots), _) => slots,
            (None, true) => 1,
            (None, false) => snapshot.queue.wip_limit(&setup.rule.role).max(u32::from(setup.ignore_wip)),
        };
        usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(self.running.len())
    }

    fn claimant(&self) -> Claimant {
        let setup = &self.shared.setup;
        Claimant {
            owner: setup.owner.clone(),
            rule: setup.rule.clone(),
            by: setup.agent.name().into(),
            simulated: setup.agent.simulated(),
            ignore_wip: setup.ignore_wip,
        }
    }

    /// One commit: gives back what has been ended, coordinates, fills the free slots; answers what is left over.
    fn commit(&mut self, ended: &[rescue::Left]) -> Result<Vec<rescue::Left>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let workflow = shared.workflow();
        let me = self.claimant();
        let mut left = Vec::new();
        let mut claimed: Vec<Lease> = Vec::new();
        let mut idle = None;
        let mut last: Option<Snapshot> = None;
        shared.store.transact(&mut |snapshot| {
            left = rescue::find(snapshot, workflow);
            claimed.clear();
            idle = None;
            let mut slots = self.free_slots(snapshot);
            let mut plan = snapshot.chain(&mut [
                &mut |seen| rescue::decide(seen, workflow, &shared.setup.config.retry, ended, &me.owner.tag),
                &mut |seen| coordinate::decide(seen, workflow),
            ]);
            let mut seen = snapshot.after(&plan);
            while slots > 0 {
                match claim::decide(&seen, workflow, &me) {
                    Ok((take, lease)) => {
                        seen = seen.after(&take);
                        plan.then(take);
                        claimed.push(lease);
                        slots -= 1;
                    }
                    Err(why) => {
                        idle = Some(why);
                        break;
                    }
                }
            }
            last = Some(seen);
            plan
        })?;
        for back in ended {
            log::warn!(task = back.task.as_str(); "{} is given back: {}", back.task, back.reason);
        }
        let snapshot = last.expect("the decision has run");
        for lease in claimed {
            self.start(lease, &snapshot);
        }
        if let Some(idle) = idle
            && self.running.is_empty()
        {
            self.say_idle(&idle);
        }
        Ok(left)
    }

    fn start(&mut self, lease: Lease, snapshot: &Snapshot) {
        let Some(task) = snapshot.queue.get(&lease.task_id).cloned() else { return };
        let simulated = if lease.simulated { " (simulated)" } else { "" };
        log::info!(
            task = task.id.as_str(), token = lease.token.0, attempt = lease.attempt;
            "claimed {} \"{}\", attempt {}, token {}{simulated}",
            task.id, text::cut(&text::one_line(&task.title), 80), lease.attempt, lease.token
        );
        self.said.clear();
        let (control, controlled) = crossbeam_channel::unbounded();
        self.running
            .insert((lease.task_id.clone(), lease.token), Running { lease: lease.clone(), control, told: None });
        let run = run::Run::new(Arc::clone(&self.shared), task, lease, snapshot.clone(), controlled, self.spare.take());
        run::spawn(run, &self.ended.0);
        self.tell_status();
    }

    fn tell_status(&self) {
        let names: Vec<&str> = self.running.keys().map(|(task, _)| task.as_str()).collect();
        let words = if names.is_empty() { "idle".to_owned() } else { format!("working on {}", names.join(", ")) };
        tell_manager(&[sd_notify::NotifyState::Status(&words)]);
    }

    /// Stops attempts that have lost their right, or that a human asked to stop.
    fn look_after_runs(&mut self, snapshot: &Snapshot) {
        for running in self.running.values_mut() {
            let why = trouble_of(snapshot, &running.lease);
            let Some(why) = why.filter(|why| running.told.as_ref() != Some(why)) else { continue };
            log::warn!(task = running.lease.task_id.as_str(); "stopping the attempt on {}: {why}", running.lease.task_id);
            let _ = running.control.send(Control::Stop(Stop::Gently, why.clone()));
            running.told = Some(why);
        }
    }

    /// Says once why there is nothing to do; that there is just nothing is said at debug only.
    fn say_idle(&mut self, idle: &Idle) {
        if let Idle::Waiting { until: Some(until), .. } = idle {
            let wait = (*until - chrono::Utc::now()).to_std().unwrap_or_default() + Duration::from_millis(5);
            let due = Instant::now() + wait.min(self.shared.setup.interval);
            self.due = Some(self.due.map_or(due, |old| old.min(due)));
        }
        let words = idle.to_string();
        if self.said == words {
            return;
        }
        match idle {
            Idle::Nothing | Idle::Waiting { .. } => log::debug!("{words}"),
            Idle::Full { .. } => log::info!("{words}"),
            Idle::Paused(_) => log::warn!("{words}; resume with: agentctl fleet start {}", self.shared.role()),
            Idle::Behind(_) => log::error!("{words}; look at it with: agentctl queue repair"),
        }
        self.said = words;
    }

    /// Notes an event of the worker itself; a store that cannot be written has been complained about elsewhere.
    fn note(&self, kind: Kind, data: &[(&str, serde_json::Value)]) {
        let shared = &self.shared;
        let mut draft = EventDraft::new(kind, shared.actor()).role(shared.role());
        draft.simulated = shared.setup.agent.simulated();
        for (key, value) in data {
            draft = draft.with(key, value.clone());
        }
        let noted = shared.store.transact(&mut |_| Plan { events: vec![draft.clone()], ..Plan::none() });
        if let Err(error) = noted {
            log::debug!("cannot note {kind}: failed to {}", chain(&error));
        }
    }
}

/// Why an attempt must stop, seen from outside of it.
fn trouble_of(snapshot: &Snapshot, lease: &Lease) -> Option<Why> {
    if settle::superseded(snapshot, lease) {
        return Some(Why::Superseded);
    }
    let held = snapshot.leases.get(&lease.task_id).and_then(|held| held.ours());
    if let Some(stop) = held.and_then(|lease| lease.stop.as_ref()) {
        return Some(Why::Asked { actor: stop.actor.clone(), reason: stop.reason.clone() });
    }
    match snapshot.queue.get(&lease.task_id) {
        None => Some(Why::Gone),
        Some(Task { status, .. }) if *status == Status::CANCELLED => Some(Why::Cancelled),
        // Without the file, but not settled: somebody removed it.
        Some(task)
            if held.is_none()
                && task.lease == (QueueLease::Ours { owner: lease.owner.clone(), token: lease.token }) =>
        {
            Some(Why::LeaseGone)
        }
        Some(_) => None,
    }
}

/// Speaks to systemd, where it listens.
pub fn tell_manager(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("cannot speak to the service manager: {error}");
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words.push_str(": ");
        words.push_str(&inner.to_string());
        cause = inner.source();
    }
    words
}

/// The class of failure that a stop means.
fn class_of(why: &Why) -> Class {
    match why {
        Why::Shutdown => Class::Interrupted,
        Why::Superseded | Why::LeaseGone => Class::Superseded,
        Why::Asked { .. } | Why::Cancelled | Why::Gone => Class::Cancelled,
    }
}
