//! One look of a worker at the store: what is left over is rescued, what can be coordinated is, what
//! can be claimed is claimed, in one commit; and its own attempts are told when they must stop.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    control::{Control, Why},
    proved,
    run::Run,
    sweep,
    worker::{Handle, Worker, tell_manager},
};
use oodatcaa_core::{
    ChangeSet, Kind, Lease, LeaseChange, Problem, Snapshot,
    claim::{self, Claimant, Idle},
    coordinate, external_edits, landing,
    pool::Limited,
    rescue, schedule,
    text::{self, chain},
};
use oodatcaa_process::Stop;
use oodatcaa_store::StoreError;

/// How soon is looked again when the store could not be used: a full disk tells nobody that it has room again.
const AGAIN: Duration = Duration::from_secs(5);

impl Worker {
    /// Looks at the store once: rescue, coordination, claims. Answers what went wrong, after having said it.
    pub(crate) fn reconcile(&mut self) -> Option<StoreError> {
        self.due = Some(Instant::now() + self.shared.setup.interval);
        self.look()
    }

    /// Does the same because something may have changed: the next tick stays where it was.
    pub(crate) fn look(&mut self) -> Option<StoreError> {
        match self.try_look() {
            Ok(()) => {
                self.place.is_here();
                if self.trouble.take().is_some() {
                    log::info!("the queue can be used again");
                }
                None
            }
            Err(error) => {
                self.due = Some(Instant::now() + self.shared.setup.interval.min(AGAIN));
                let words = chain(&error);
                // With `--once` it is the whole answer, and is given once, with what helps. Whoever leaves claims nothing
                // anyway, and what keeps attempts from being settled was told as that.
                let told = self.stopping.is_some() || self.again.as_ref().is_some_and(|again| again.said == words);
                if self.trouble.as_deref() != Some(&words) && !self.shared.setup.once && !told {
                    log::error!(
                        "nothing is claimed, running attempts go on: failed to {words}; find out more: agentctl doctor"
                    );
                }
                self.trouble = Some(words);
                self.leave_if_moved(error)
            }
        }
    }

    fn try_look(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        // What is to be settled is reason enough for a commit, which reads for itself.
        if self.is_settling() {
            self.prepare_shim();
        } else {
            let reading = shared.store.read()?;
            if let Some(invalid) = reading.invalid {
                // Journalled once by the store, which also knows when it is whole again.
                shared.store.transact(&mut |_| ChangeSet::none())?;
                return Err(StoreError::Invalid(invalid));
            }
            self.take_in(&reading.snapshot);
            shared.send_out(reading.snapshot.history.mail);
            if !self.has_work(&reading.snapshot) && !shared.store.owes() {
                return Ok(());
            }
        }
        let mut ended: Vec<rescue::Orphan> = Vec::new();
        // Twice: what is left over is found by the first look, ended outside of the lock, and given
        // back by the second; a third round takes in what died meanwhile.
        for _ in 0..3 {
            let left = self.commit(&ended)?;
            let more: Vec<rescue::Orphan> =
                left.into_iter().filter(|left| !ended.iter().any(|old| old.is(left))).collect();
            if more.is_empty() {
                break;
            }
            ended = sweep::end_dead(&shared.setup.layout, &shared.setup.config, &shared.store, more);
            if ended.is_empty() {
                break;
            }
        }
        if shared.store.owes() {
            self.due = Some(Instant::now() + self.shared.setup.interval.min(AGAIN));
        }
        // Nobody is kept waiting for work that may never come; an attempt may have gates to run.
        self.shared.setup.shims.keep(self.running.len());
        Ok(())
    }

    /// Heeds what a snapshot says about our own attempts and about others.
    fn take_in(&mut self, snapshot: &Snapshot) {
        self.look_after_runs(snapshot);
        self.say_problems(&snapshot.queue.problems);
        let pid = self.shared.setup.owner.pid;
        if let Some(next) = schedule::next(snapshot, self.shared.workflow()) {
            let wait = (next - snapshot.now.wall).to_std().unwrap_or_default() + Duration::from_millis(5);
            let due = Instant::now() + wait.min(self.shared.setup.interval);
            self.due = Some(self.due.map_or(due, |old| old.min(due)));
        }
        self.watching = snapshot.leases.values().any(|held| held.ours().is_none_or(|lease| lease.pid != pid));
    }

    /// Says once what in the queue file cannot be used while the rest goes on.
    fn say_problems(&mut self, problems: &[Problem]) {
        if self.problems == problems {
            return;
        }
        self.problems = problems.to_vec();
        let Some(first) = problems.first() else { return log::info!("the queue file has no more problems") };
        let (path, first) = (self.shared.setup.layout.queue(), text::cut(&first.to_string(), 300));
        match problems.len() - 1 {
            0 => log::warn!("{}:{first}", path.display()),
            more => log::warn!(
                "{}:{first}; and {} more: agentctl queue validate",
                path.display(),
                text::many(more, "problem")
            ),
        }
    }

    /// Tells whether a commit would change anything, decided on what was read without the lock.
    fn has_work(&mut self, snapshot: &Snapshot) -> bool {
        let shared = &self.shared;
        let workflow = shared.workflow();
        let other = || {
            !rescue::find(snapshot, workflow).is_empty()
                || !external_edits::decide(snapshot).is_empty()
                || !coordinate::decide(snapshot, workflow).is_empty()
        };
        if self.free_slots(snapshot) == 0 {
            return other();
        }
        match claim::decide(snapshot, workflow, &self.claimant()) {
            Ok(_) => {
                self.prepare_shim();
                true
            }
            Err(idle) => {
                let other = other();
                self.say_idle(&idle);
                other
            }
        }
    }

    /// Has a shim wait for the next claim: its start-up overlaps with the commit, which waits for the disk.
    fn prepare_shim(&self) {
        if self.stopping.is_none() {
            self.shared.setup.shims.prepare();
        }
    }

    fn free_slots(&self, snapshot: &Snapshot) -> usize {
        if self.stopping.is_some() {
            return 0;
        }
        let setup = &self.shared.setup;
        let limit = match (setup.slots, setup.once) {
            (Some(slots), _) => slots,
            // Who asks for one thing to be done gets one, however many the limit would let start.
            (None, true) => 1,
            (None, false) => {
                self.shared.workflow().wip_limit(&snapshot.queue, &setup.rule.role).max(u32::from(setup.ignore_wip))
            }
        };
        // What only waits to be settled has no process any more.
        let busy = self.running.values().filter(|running| running.settlement.is_none()).count();
        usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(busy)
    }

    fn claimant(&self) -> Claimant {
        let setup = &self.shared.setup;
        Claimant {
            owner: setup.owner.clone(),
            rule: setup.rule.clone(),
            agents: self.shared.offers(),
            ignore_wip: setup.ignore_wip,
        }
    }

    /// Commits once: settles what has come to its end, gives back what others left, coordinates, fills the free
    /// slots; answers what is left over. What is settled is not lost when the rest cannot be done.
    fn commit(&mut self, ended: &[rescue::Orphan]) -> Result<Vec<rescue::Orphan>, StoreError> {
        let settling = self.is_settling();
        let committed = self.commit_all(ended).or_else(|error| match error {
            // A lease that cannot be taken, for instance, is no reason to keep another's result.
            StoreError::Io { .. } | StoreError::Unsafe { .. } if settling => self.settle().map(|()| Vec::new()),
            error => Err(error),
        });
        if let (Err(error), true) = (&committed, settling) {
            self.settle_again(error);
        }
        committed
    }

    fn commit_all(&mut self, ended: &[rescue::Orphan]) -> Result<Vec<rescue::Orphan>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let workflow = shared.workflow();
        let me = self.claimant();
        let mut decided = None;
        let committed = shared.store.transact(&mut |snapshot| {
            // Found before anything is decided: what this commit settles or gives back is nobody's orphan.
            let left = rescue::find(snapshot, workflow);
            let (mut seen, mut changes) = (snapshot.clone(), ChangeSet::none());
            let settled = self.plan_settlements(&mut seen, &mut changes);
            let rest = seen.chain(&mut [
                &mut |seen| rescue::decide(seen, workflow, &shared.setup.config.retry, ended, &me.owner.tag),
                &mut |seen| coordinate::decide(seen, workflow),
            ]);
            seen.advance(&rest);
            changes.then(rest);
            let mut idle = None;
            for _ in 0..self.free_slots(snapshot) {
                match claim::decide(&seen, workflow, &me) {
                    Ok((take, _)) => {
                        seen.advance(&take);
                        changes.then(take);
                    }
                    Err(why) => {
                        idle = Some(why);
                        break;
                    }
                }
            }
            // Set anew each time: the store decides again when somebody wrote meanwhile, and nothing of the first
            // decision may stay.
            decided = Some((left, settled, idle, seen));
            changes
        })?;
        let (left, settled, idle, snapshot) = decided.expect("the decision has run");
        self.have_settled(settled);
        self.take_in(&snapshot);
        let is_told = |back: &&rescue::Orphan| {
            let mut events = committed.changes.events.iter();
            events.any(|event| event.kind() == Kind::LeaseRescued && event.task.as_ref() == Some(&back.task))
        };
        for back in ended.iter().filter(is_told) {
            log::warn!(task = back.task.as_str(); "{} is given back: {}", back.task, back.reason);
        }
        for change in committed.changes.leases {
            // As the store took it: where something lay in the place of an attempt's directory, it has another name.
            if let LeaseChange::Take(lease) = change {
                self.start(lease, &snapshot);
            }
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
        self.running.insert(
            (lease.task_id.clone(), lease.token),
            Handle { lease: lease.clone(), control, told: None, settlement: None },
        );
        let run = Run::new(Arc::clone(&self.shared), task, lease, snapshot.clone(), controlled);
        proved::spawn(run, &self.finished.0);
        self.tell_status();
    }

    pub(crate) fn tell_status(&self) {
        let names: Vec<&str> = self.running.keys().map(|(task, _)| task.as_str()).collect();
        let words = if names.is_empty() { "idle".to_owned() } else { format!("working on {}", names.join(", ")) };
        tell_manager(&[sd_notify::NotifyState::Status(&words)]);
    }

    /// Stops attempts that have lost their right, or that a human asked to stop.
    fn look_after_runs(&mut self, snapshot: &Snapshot) {
        for running in self.running.values_mut().filter(|running| running.settlement.is_none()) {
            let why = landing::lost(snapshot, &running.lease).map(Why::Lost);
            let Some(why) = why.filter(|why| running.told.as_ref() != Some(why)) else { continue };
            log::warn!(task = running.lease.task_id.as_str(); "stopping the attempt on {}: {why}", running.lease.task_id);
            // A run that has just ended no longer listens, and its settlement is judged by the same rule.
            let _ = running.control.send(Control { how: Stop::Gently, why: why.clone() });
            running.told = Some(why);
        }
    }

    /// Says once why there is nothing to do; that there is just nothing is said at debug only.
    fn say_idle(&mut self, idle: &Idle) {
        if let Idle::Waiting { until: Some(until), .. }
        | Idle::Limited(Limited { until: Some(until), .. })
        | Idle::Closed { until, .. } = idle
        {
            let wait = (*until - chrono::Utc::now()).to_std().unwrap_or_default() + Duration::from_millis(5);
            let due = Instant::now() + wait.min(self.shared.setup.interval);
            self.due = Some(self.due.map_or(due, |old| old.min(due)));
        }
        let words = idle.to_string();
        if self.said == words {
            return;
        }
        match idle {
            Idle::Nothing if self.shared.setup.once => log::info!("{words}"),
            Idle::Waiting { .. } if self.shared.setup.once => log::info!("{words}; why: agentctl ls"),
            Idle::Nothing | Idle::Waiting { .. } => log::debug!("{words}"),
            Idle::Full { .. } | Idle::Closed { .. } => log::info!("{words}"),
            Idle::Limited(_) | Idle::Budget(_) => log::warn!("{words}"),
            Idle::Paused(_) => log::warn!("{words}; resume with: agentctl fleet start {}", self.shared.role()),
            Idle::SprintOver(_) => log::info!("{words}; begin the next one with: agentctl sprint new"),
            Idle::Behind(_) => log::error!("{words}; look at it with: agentctl queue repair"),
        }
        self.said = words;
    }
}
