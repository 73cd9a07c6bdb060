//! What one attempt has from its claim to its end: the right to work, the record, and who may stop it.
//!
//! What exists only for a while belongs to the phase that has it: [`Prepared`](crate::prepare::Prepared),
//! [`Running`](crate::running::Running), [`Proved`](crate::proved).

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, RecvError, at, never, select};

use crate::{
    control::{Control, Why},
    outgoing::Outgoing,
    setup::Shared,
};
use oodatcaa_agent::{self as agent, Assignment, record::Record};
use oodatcaa_config::Commits;
use oodatcaa_core::{
    ChangeSet, Class, Data, EventDraft, Lease, LeaseChange, LeaseRecord, Outcome, Snapshot, Task,
    event::payload::{Bare, Started},
    text::chain,
    time::stamp,
};
use oodatcaa_process::{Exit, Stop, StopCause};
use oodatcaa_sys::lock::Lock;

/// An attempt that is over sooner journals its start together with its end, in one commit.
const SOON: Duration = Duration::from_millis(30);

/// An agent that has just started, which the journal does not know yet.
pub(crate) struct AgentStart {
    pid: u32,
    pgid: u32,
    /// The time when to journal it.
    pub(crate) due: Instant,
    at: DateTime<Utc>,
}

impl AgentStart {
    pub(crate) fn now(pid: u32, pgid: u32) -> Self {
        Self { pid, pgid, due: Instant::now() + SOON, at: Utc::now() }
    }
}

/// Returns the time between two heartbeats of a lease.
fn pace(lease: &Lease) -> Duration {
    // A third, so that two may fail or come late before anybody takes over.
    (lease.ttl() / 3).min(Duration::from_secs(60)).max(Duration::from_millis(100))
}

/// An attempt from its claim to its end.
pub(crate) struct Run {
    pub(crate) shared: Arc<Shared>,
    pub(crate) assignment: Assignment,
    pub(crate) snapshot: Snapshot,
    pub(crate) control: Receiver<Control>,
    /// The reason why it has to end, once somebody wants that.
    pub(crate) stopped: Option<Why>,
    /// Set with `stopped`, for what works on other threads.
    pub(crate) halt: Arc<AtomicBool>,
    pub(crate) record: Record,
    pub(crate) beat_due: Instant,
    /// The agent's start, until the journal knows it.
    pub(crate) started: Option<AgentStart>,
    /// What the worktree adds to the environment of agent and gates.
    pub(crate) env: BTreeMap<String, String>,
    /// The directory in which programs of the attempt keep their own state and caches, and its lock: nobody else works in
    /// it meanwhile.
    pub(crate) slot: Option<(PathBuf, Lock)>,
    /// The project's part of the path in its checkout.
    pub(crate) prefix: PathBuf,
    /// The project's own git directory.
    pub(crate) git: Option<PathBuf>,
    /// The agent's messages.
    pub(crate) outgoing: Outgoing,
}

impl Run {
    /// Makes the attempt of a task that has just been claimed.
    pub(crate) fn new(
        shared: Arc<Shared>,
        task: Task,
        lease: Lease,
        snapshot: Snapshot,
        control: Receiver<Control>,
    ) -> Self {
        let layout = &shared.setup.layout;
        let assignment = Assignment {
            run_dir: layout.run(&task.id, &lease.run_name()),
            rule: shared.setup.rule.clone(),
            project: layout.root().to_owned(),
            workspace: layout.root().to_owned(),
            own_git: None,
            resume: None,
            home: None,
            confined: false,
            sandboxed: false,
            task,
            lease,
        };
        Self {
            record: Record::new(&assignment.task, &assignment.lease),
            beat_due: Instant::now() + pace(&assignment.lease),
            shared,
            assignment,
            snapshot,
            control,
            stopped: None,
            halt: Arc::default(),
            started: None,
            env: BTreeMap::new(),
            slot: None,
            prefix: PathBuf::new(),
            git: None,
            outgoing: Outgoing::new(),
        }
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.assignment.lease
    }

    /// Tells whether what the role changes in a worktree becomes commits of the task's branch.
    pub(crate) fn commits(&self) -> bool {
        if self.assignment.rule.duty.agentless {
            return false;
        }
        match self.shared.setup.role.commits {
            Commits::Always => true,
            Commits::Never => false,
            Commits::Auto => self.shared.setup.role.change || self.shared.workflow().builds(&self.assignment.rule),
        }
    }

    /// Takes the event of the agent's start, if the journal does not know it yet.
    pub(crate) fn take_start(&mut self) -> Option<EventDraft> {
        let AgentStart { pid, pgid, at, .. } = self.started.take()?;
        self.assignment.lease.pgid = Some(pgid);
        Some(self.started(pid, &self.lease().by, Some(stamp(at))))
    }

    /// Journals the agent's start, if that has not been done yet.
    pub(crate) fn note_start(&mut self) {
        if let Some(event) = self.take_start() {
            self.note_start_as(&event);
        }
    }

    /// Journals the start of what runs no agent: a `merge`, or gates alone.
    pub(crate) fn note_without_agent(&mut self, what: &str) {
        self.note_start_as(&self.started(std::process::id(), what, None));
    }

    fn started(&self, pid: u32, by: &str, at: Option<String>) -> EventDraft {
        let started = Started { pid: Some(pid), by: Some(by.into()), at, ..Started::default() };
        EventDraft::new(Data::AttemptStarted(started), self.shared.actor()).lease(self.lease())
    }

    /// Journals the start and writes the agent's process group into the lease, in one commit.
    fn note_start_as(&mut self, event: &EventDraft) {
        let mine = self.lease();
        self.shared.note(&format!("the start of {}", mine.task_id), |snapshot| {
            if snapshot.supersedes(mine) {
                return ChangeSet::none();
            }
            let lease = still_ours(snapshot, mine);
            // Beaten as well, since the file is written anyway: the next heartbeat is that much later.
            let lease = lease.map(|lease| Lease { pgid: mine.pgid, ..lease.beaten(&snapshot.now) });
            ChangeSet {
                events: vec![event.clone()],
                leases: lease.into_iter().map(LeaseChange::Write).collect(),
                ..ChangeSet::none()
            }
        });
        self.beat_due = Instant::now() + pace(self.lease());
    }

    /// Renews the lease; returns `false` when a newer claim exists.
    ///
    /// A heartbeat that cannot be written is not refused: a full disk is no reason to end an attempt.
    pub(crate) fn heartbeat(&mut self) -> bool {
        // Counted from before the write, which may have to wait for the lock.
        self.beat_due = Instant::now() + pace(self.lease());
        let (shared, mine, id) = (&self.shared, self.lease(), &self.lease().task_id);
        let (mut late, mut refused) = (false, false);
        let beaten = shared.store.transact(&mut |snapshot| {
            let lease = still_ours(snapshot, mine);
            refused = lease.is_none();
            let Some(lease) = lease else { return ChangeSet::none() };
            late = lease.silence(&snapshot.now) > lease.ttl();
            let mut changes = ChangeSet::none();
            changes.leases.push(LeaseChange::Write(lease.beaten(&snapshot.now)));
            if late {
                changes.event(EventDraft::new(Data::LeaseRenewedLate(Bare::default()), shared.actor()).lease(mine));
            }
            changes
        });
        match beaten {
            Ok(_) if late => {
                log::warn!(task = id.as_str(); "the heartbeat of {id} came late; no other worker had taken over");
            }
            Ok(_) => {}
            Err(error) => log::warn!(task = id.as_str(); "no heartbeat for {id}: failed to {}", chain(&error)),
        }
        !refused
    }

    /// Tells whether the attempt still holds its task; asks the store only when a heartbeat is late, because the machine
    /// may have slept since the claim and others have taken over.
    pub(crate) fn is_still_mine(&mut self) -> bool {
        Instant::now() < self.beat_due || self.heartbeat()
    }

    /// Takes in what the main loop says, and returns how the attempt is to end.
    pub(crate) fn hear(&mut self, control: Result<Control, RecvError>) -> Stop {
        match control {
            Ok(Control { how, why }) => {
                // The first reason counts: what follows is only more haste.
                self.stopped.get_or_insert(why);
                how
            }
            // The main loop is gone, so this process is about to be.
            Err(RecvError) => {
                self.control = never();
                Stop::Now
            }
        }
    }

    /// Returns the outcome of a stop, once somebody has asked for one.
    pub(crate) fn stop_outcome(&mut self) -> Option<Outcome> {
        while let Ok(Control { why, .. }) = self.control.try_recv() {
            self.stopped.get_or_insert(why);
        }
        self.stopped.as_ref().map(Why::outcome)
    }

    /// Returns the outcome of a process of ours that was stopped before its own end.
    pub(crate) fn stopped_outcome(&self, exit: &Exit) -> Option<Outcome> {
        let asked = matches!(exit.stopped, Some(StopCause::Asked | StopCause::WorkerGone));
        asked.then(|| match &self.stopped {
            Some(why) => why.outcome(),
            // Somebody signalled the shim itself, e.g. `pkill agent-daemon`.
            None => Outcome::failed(Class::Interrupted, "the attempt's shim was stopped from outside"),
        })
    }

    /// Does something that may take long on another thread, and renews the lease all the while; `halt` is set when
    /// somebody asks for the end.
    ///
    /// Git on a large repository, or a `setup` command, takes longer than a lease lives: without heartbeats the task would
    /// be taken over in the middle of it.
    pub(crate) fn beside<T: Send>(&mut self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let (done, is_done) = crossbeam_channel::bounded::<()>(1);
            let work = scope.spawn(move || {
                let result = work();
                drop(done);
                result
            });
            loop {
                select! {
                    recv(is_done) -> _ => break,
                    recv(self.control) -> control => {
                        self.halt.store(true, Ordering::Relaxed);
                        self.hear(control);
                    }
                    // A refusal is found again by whoever acts next, under the lock.
                    recv(at(self.beat_due)) -> _ => { self.heartbeat(); }
                }
            }
            work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Writes `attempt.json`.
    pub(crate) fn save(&self) {
        // Without the directory the attempt has failed already, and says why.
        if !self.assignment.run_dir.is_dir() {
            return;
        }
        if let Err(error) = self.record.save(&self.assignment.run_dir) {
            log::warn!("cannot write the record of {}: failed to {}", self.lease().task_id, chain(&error));
        }
    }

    /// Returns the values that must not be shown of what the agent and its gates write, the longest first.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let mut all = self.shared.agent(&self.lease().by).secrets(&self.assignment);
        for gate in self.shared.setup.config.gates.values() {
            all.extend(agent::environment::secrets(&self.environment(&gate.env), &Default::default(), &[]));
        }
        // One secret may be the beginning of another, whose rest would stay to be read.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.dedup();
        all
    }

    /// Returns the environment of a gate that inherits these names.
    pub(crate) fn environment(&self, inherit: &[String]) -> BTreeMap<String, String> {
        let mut env = agent::environment(&self.assignment, inherit, &BTreeMap::new());
        env.extend(self.env.clone());
        env
    }
}

/// Returns the lease as it stands in the store, unless a newer claim has replaced ours.
fn still_ours<'a>(snapshot: &'a Snapshot, mine: &Lease) -> Option<&'a Lease> {
    match snapshot.leases.get(&mine.task_id).map(|held| &held.record) {
        Some(LeaseRecord::Ours(lease)) if !snapshot.supersedes(mine) => Some(lease),
        _ => None,
    }
}
