//! One worker: a process that serves one role.
//!
//! It waits for four things at once — a signal, a change, a tick, the end of a run — and after each
//! looks at the store: what is left over is rescued, what can be coordinated is, and what can be
//! claimed is claimed, in one commit. Each claim becomes a [`mod@crate::run`] on a thread of its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, never, select};

use crate::{
    control::{Control, Why},
    merge_queue::MergeQueue,
    post::Post,
    settlement::{Again, Settlement},
    setup::{Setup, Shared},
};
use oodatcaa_agent::Agent;
use oodatcaa_core::{
    ChangeSet, Class, Data, EventDraft, Lease, Outcome, Problem, TaskId, Token,
    control::Signal,
    event::payload,
    outcome::Policy,
    pool::Offer,
    text::{self, chain},
};
use oodatcaa_git::{Mode, mode_for, takeover};
use oodatcaa_process::Stop;
use oodatcaa_store::{Desk, Mailboxes, StoreError};
use oodatcaa_sys::{project::Place, socket::Call};

/// How often a worker looks whether the owners of others' leases still live; only while there are any.
const LIVENESS: Duration = Duration::from_secs(2);

/// The reason why a worker left.
#[derive(Debug)]
pub enum Exit {
    /// It was told to, or `--once` is over.
    Done,
    /// `--once`, and the store could not be used; or the project is elsewhere.
    Store(StoreError),
    /// `--once`, and the attempt failed for a reason that only a human can mend.
    Mend(Class),
    /// A third signal: at once, without settling; the next worker rescues.
    AtOnce,
}

/// What the main loop keeps of an attempt.
pub(crate) struct Handle {
    pub(crate) lease: Lease,
    pub(crate) control: Sender<Control>,
    pub(crate) told: Option<Why>,
    /// It is over, and this is not in the store yet.
    pub(crate) settlement: Option<Settlement>,
}

/// A worker.
pub struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) signals: Receiver<Signal>,
    /// The questions of other processes.
    pub(crate) calls: Receiver<Call>,
    pub(crate) changes: Receiver<()>,
    pub(crate) finished: (Sender<Settlement>, Receiver<Settlement>),
    pub(crate) running: BTreeMap<(TaskId, Token), Handle>,
    pub(crate) stopping: Option<Stopping>,
    /// The last thing said about having nothing to do, so that it is said once.
    pub(crate) said: String,
    pub(crate) trouble: Option<String>,
    /// What has been said of the queue file.
    pub(crate) problems: Vec<Problem>,
    /// The time when the next look is due although nothing happened.
    pub(crate) due: Option<Instant>,
    /// Others hold leases, so their lives are looked after.
    pub(crate) watching: bool,
    /// How it leaves once nothing runs any more.
    pub(crate) exit: Exit,
    /// The time when what could not be settled is tried again.
    pub(crate) again: Option<Again>,
    /// The place where the project lies.
    pub(crate) place: Place,
}

/// A worker that has been told to stop.
pub(crate) struct Stopping {
    /// The time when it loses patience with what runs; `None` once that has been asked to end.
    pub(crate) patience: Option<Instant>,
    /// It has been told a second time.
    pub(crate) now: bool,
    /// It waits for its attempts without a limit, and has not been told to stop.
    pub(crate) drains: bool,
}

impl Worker {
    /// Puts a worker together; nothing happens yet.
    pub fn new(
        setup: Setup,
        store: Desk,
        mail: Box<dyn Mailboxes>,
        signals: Receiver<Signal>,
        calls: Receiver<Call>,
    ) -> Self {
        Self {
            place: Place::of(setup.layout.root()),
            shared: Arc::new(Shared {
                setup,
                store,
                post: Post::new(mail),
                merge_queue: MergeQueue::default(),
                place: OnceLock::new(),
            }),
            signals,
            calls,
            changes: never(),
            finished: crossbeam_channel::unbounded(),
            running: BTreeMap::new(),
            stopping: None,
            said: String::new(),
            trouble: None,
            problems: Vec::new(),
            due: None,
            watching: false,
            exit: Exit::Done,
            again: None,
        }
    }

    /// Says at once what would keep every task of a worktree from starting.
    fn look_at_git(&self) {
        let setup = &self.shared.setup;
        let config = &setup.config.workspace;
        if config.mode == Mode::Worktree {
            match mode_for(&setup.layout, config) {
                Ok(Mode::Worktree) => {}
                // Nothing is wrong with that; `doctor` says what it costs.
                Ok(Mode::Shared) => log::info!(
                    "there is no git repository around {}, so all tasks are worked on in the project itself",
                    setup.layout.root().display()
                ),
                Err(error) => log::error!("no task can start: failed to {}", chain(&error)),
            }
        }
    }

    /// Watches for changes. Where that is not possible, the poll finds them later.
    fn watch(&mut self) {
        match self.shared.store.changes() {
            Ok(changes) => self.changes = changes,
            Err(error) => {
                let (every, why) = (text::duration(self.shared.setup.interval), chain(&error));
                log::warn!("cannot watch for changes, so the queue is looked at every {every}: failed to {why}");
            }
        }
    }

    /// Tells journal and log who begins to work.
    fn announce(&self) {
        let (shared, setup) = (&self.shared, &self.shared.setup);
        let names: Vec<&str> = setup.agents.iter().map(Agent::name).collect();
        // Those that only work on what has failed keep nobody else from waiting.
        let special = shared.workflow().policy().on_retry.get(shared.role()).filter(|special| special.only);
        let usual = |offer: &Offer| !special.is_some_and(|special| special.agents.contains(&offer.by));
        let pools: Vec<String> = shared.offers().into_iter().filter(usual).map(|offer| offer.pool).collect();
        self.note(Data::WorkerStarted(payload::Worker {
            name: Some(setup.name.clone()),
            pid: Some(setup.owner.pid),
            agent: Some(names.join(", ")),
            pools: Some(payload::Texts(pools)),
            lacks: setup.lacks.iter().map(|(name, why)| (name.clone(), why.as_str().into())).collect(),
            ..payload::Worker::default()
        }));
        let with = match setup.rule.duty.agentless {
            true => "without an agent".to_owned(),
            false => format!("with the agent `{}`", names.join("`, then `")),
        };
        log::info!("{} watches {} {with}", shared.role(), setup.layout.queue().display());
    }

    /// Works until it is told to stop; `ready` is called once the worker watches the queue.
    pub fn run(mut self, ready: impl FnOnce()) -> Exit {
        let shared = Arc::clone(&self.shared);
        let setup = &shared.setup;
        if !setup.once {
            self.watch();
        }
        self.announce();
        ready();
        self.look_at_git();
        if setup.rule.duty.merges {
            // What a killed integrator left in the checkout would stand in the way of every merge of ours.
            let seen = shared.store.read().ok().filter(|seen| seen.invalid.is_none());
            drop(takeover::finish_dead(&setup.layout, &setup.config, seen.as_ref().map(|seen| &seen.snapshot)));
        }
        let first = self.reconcile();
        if setup.once {
            if let Some(error) = first {
                return Exit::Store(error);
            }
            if self.running.is_empty() && self.said.is_empty() {
                log::info!("nothing to do");
            }
        }
        loop {
            if (setup.once || self.stopping.is_some()) && self.running.is_empty() {
                if !self.has_moved() {
                    self.send_the_last();
                    self.note(Data::WorkerStopped(payload::Worker::default()));
                    log::info!("{} stopped", shared.role());
                }
                return self.exit;
            }
            select! {
                recv(self.signals) -> signal => match signal {
                    Ok(Signal::Wake) => drop(self.reconcile()),
                    Ok(Signal::Stop) | Err(_) => if self.stop() { return Exit::AtOnce },
                },
                recv(self.calls) -> call => match call {
                    Ok(call) => self.answer(call),
                    Err(_) => self.calls = never(),
                },
                recv(self.changes) -> change => {
                    if change.is_err() {
                        // A closed channel is ready all the time and would keep a core busy; the poll goes on.
                        self.changes = never();
                    }
                    drop(self.look());
                }
                recv(self.finished.1) -> finished => {
                    if let Ok(finished) = finished {
                        self.take_back(finished);
                        // What has ended at the same moment is settled in the same commit.
                        while let Ok(more) = self.finished.1.try_recv() {
                            self.take_back(more);
                        }
                    }
                    self.go_on();
                }
                recv(self.timer()) -> _ => self.tick(),
            }
        }
    }

    fn take_back(&mut self, settlement: Settlement) {
        if let (Outcome::Failed { class, .. }, true) = (&settlement.outcome, self.shared.setup.once)
            && class.policy() == Policy::Auth
            && !self.has_moved()
        {
            self.exit = Exit::Mend(*class);
        }
        if let Some(running) = self.running.get_mut(&settlement.key()) {
            running.settlement = Some(settlement);
        }
        if self.has_moved() {
            // There is nowhere to settle it; who starts in the new place gives it back.
            self.running.retain(|_, running| running.settlement.is_none());
        }
    }

    /// Tells whether the project lies somewhere else by now, which is why the worker leaves.
    pub(crate) fn has_moved(&self) -> bool {
        matches!(self.exit, Exit::Store(_))
    }

    /// Settles what has ended; what is to be done next goes into the same commit.
    fn go_on(&mut self) {
        // With `--once` nothing more is claimed, so only the settlement is committed.
        if !self.shared.setup.once {
            drop(self.reconcile());
        } else if let Err(error) = self.settle() {
            self.settle_again(&error);
        }
    }

    fn timer(&self) -> Receiver<Instant> {
        let liveness = self.watching.then(|| Instant::now() + LIVENESS);
        let stopping = self.stopping.as_ref().map(|stopping| stopping.patience);
        let again = self.again.as_ref().map(|again| again.at);
        next_wake(self.due, liveness, stopping, again).map_or_else(never, crossbeam_channel::at)
    }

    fn tick(&mut self) {
        if self.again.as_ref().is_some_and(|again| Instant::now() >= again.at) {
            return self.go_on();
        }
        let Some(stopping) = &mut self.stopping else { return drop(self.reconcile()) };
        if stopping.patience.take_if(|patience| Instant::now() >= *patience).is_some() {
            log::info!("the shutdown timeout is over, stopping {}", text::many(self.running.len(), "attempt"));
            self.tell_all(Stop::Gently);
        }
    }

    /// Takes one more signal to stop; `true` means leave at once.
    pub(crate) fn stop(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let drain = shared.setup.config.fleet.shutdown_timeout;
        let drained = self.stopping.is_some();
        match &mut self.stopping {
            None | Some(Stopping { drains: true, .. }) => {
                self.stopping = Some(Stopping { patience: Some(Instant::now() + drain), now: false, drains: false });
                let extend = u32::try_from((drain + shared.setup.config.fleet.grace).as_micros()).unwrap_or(u32::MAX);
                // Its own timeout knows nothing of how long attempts may still run, and ends in SIGKILL.
                tell_manager(&[
                    sd_notify::NotifyState::Stopping,
                    sd_notify::NotifyState::ExtendTimeoutUsec(extend.saturating_add(5_000_000)),
                ]);
                if !drained {
                    self.claim_nothing_more();
                }
                match (self.running.len(), text::duration(drain)) {
                    (0, _) => log::info!("stopping"),
                    (runs, wait) => {
                        log::info!("stopping: nothing more is claimed; what runs ({runs}) may end within {wait}");
                    }
                }
            }
            Some(stopping) if !stopping.now => {
                *stopping = Stopping { patience: None, now: true, drains: false };
                log::warn!("second signal: ending what is running ({}) now", self.running.len());
                self.tell_all(Stop::Now);
                self.give_up_settling();
            }
            Some(_) => {
                log::warn!("third signal: leaving at once; the next worker gives back what is held");
                return true;
            }
        }
        false
    }

    /// Sends what the last attempts wanted sent.
    fn send_the_last(&self) {
        if let Ok(reading) = self.shared.store.read() {
            self.shared.send_out(reading.snapshot.history.mail);
        }
    }

    /// Tells the journal that nothing more is claimed.
    fn claim_nothing_more(&mut self) {
        let running = Some(self.running.len() as u64);
        self.note(Data::WorkerStopping(payload::Worker { running, ..payload::Worker::default() }));
        self.hurry_settling();
    }

    /// Claims nothing more, and leaves once the last attempt has ended by itself.
    pub(crate) fn drain(&mut self) {
        if self.stopping.is_none() {
            self.stopping = Some(Stopping { patience: None, now: false, drains: true });
            self.claim_nothing_more();
            log::info!("draining: nothing more is claimed; what runs ({}) may end by itself", self.running.len());
        }
    }

    pub(crate) fn tell_all(&mut self, how: Stop) {
        for running in self.running.values() {
            // A run that has just ended no longer listens, and has settled.
            let _ = running.control.send(Control { how, why: Why::Shutdown });
        }
    }

    /// Notes an event of the worker itself; a store that cannot be written has been complained about elsewhere.
    fn note(&self, data: Data) {
        let (shared, kind) = (&self.shared, data.kind());
        let mut draft = EventDraft::new(data, shared.actor()).role(shared.role());
        draft.simulated = shared.setup.agents.first().is_some_and(Agent::simulated);
        let noted = shared.store.transact(&mut |_| ChangeSet { events: vec![draft.clone()], ..ChangeSet::none() });
        if let Err(error) = noted {
            log::debug!("cannot note {kind}: failed to {}", chain(&error));
        }
    }
}

/// Returns when there is something to do although nothing happens. A tick moves it on; a time that stayed in the past
/// would keep a core busy.
///
/// A worker that stops (`stopping`: when it loses patience, if that is still to come) takes no looks any more.
fn next_wake(
    due: Option<Instant>,
    liveness: Option<Instant>,
    stopping: Option<Option<Instant>>,
    again: Option<Instant>,
) -> Option<Instant> {
    let of_work = stopping.unwrap_or_else(|| due.into_iter().chain(liveness).min());
    of_work.into_iter().chain(again).min()
}

/// Speaks to systemd, where it listens.
pub fn tell_manager(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("cannot speak to the service manager: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_drains_does_not_wake_for_looks_that_it_no_longer_takes() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let (due, liveness, soon) = (Some(now), Some(at(2)), Some(at(1)));
        assert_eq!(next_wake(due, liveness, None, None), due);
        assert_eq!(next_wake(due, liveness, Some(Some(at(20))), None), Some(at(20)), "its patience");
        assert_eq!(next_wake(due, liveness, Some(None), None), None, "it only waits for its attempts");
        assert_eq!(next_wake(due, liveness, Some(None), soon), soon);
        assert_eq!(next_wake(None, liveness, None, soon), soon);
    }
}
