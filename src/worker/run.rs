//! One attempt from claim to settlement, straight down: prompt, agent, evidence, verdict.
//!
//! Nothing between claim and settlement leaves this file early: whatever goes wrong becomes an
//! outcome, and the outcome is settled.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, at, never, select};

use super::{
    Shared, chain, class_of, evidence,
    merge::{self, Brought},
    record::Record,
    watch::{self, Watch},
};
use crate::{
    agent::{
        self, Assignment, Observation,
        prompt::{self, PromptError},
    },
    domain::{
        Class, EventDraft, Kind, Lease, LeaseChange, LeaseRecord, Outcome, Plan, Snapshot, Task, TaskId, Token, budget,
        outcome::Policy, pool, settle, text,
    },
    process::{Attempt, Exit, Keeper, Limits, Report, Stop, StopCause},
    workspace::{self, Workspace},
};

/// What the worker tells a run.
#[derive(Clone, Debug)]
pub(super) enum Control {
    /// End the attempt.
    Stop(Stop, Why),
}

/// Why an attempt is stopped from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The worker stops.
    Shutdown,
    /// A greater token exists.
    Superseded,
    /// Somebody removed the lease file.
    LeaseGone,
    /// Somebody asked.
    Asked {
        /// Who.
        actor: String,
        /// What they said.
        reason: String,
    },
    /// The task was cancelled in the queue.
    Cancelled,
    /// The task was taken out of the queue.
    Gone,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("the worker was told to stop"),
            Self::Superseded => f.write_str("a newer claim of the task exists"),
            Self::LeaseGone => f.write_str("its lease was removed"),
            Self::Asked { actor, reason } if reason.is_empty() => write!(f, "stopped by {actor}"),
            Self::Asked { actor, reason } => write!(f, "stopped by {actor}: {}", text::one_line(reason)),
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Gone => f.write_str("the task was taken out of the queue"),
        }
    }
}

/// A run's last word to the worker.
pub(super) struct Ended {
    pub(super) task: TaskId,
    pub(super) token: Token,
    /// What only a human can mend.
    pub(super) mend: Option<Class>,
}

/// Starts a run on a thread of its own.
pub(super) fn spawn(run: Run, ended: &Sender<Ended>) {
    let (id, token) = (run.lease().task_id.clone(), run.lease().token);
    let name = format!("run {id}");
    // The thread takes the run out; without a thread it is still here, to be settled.
    let slot = Arc::new(Mutex::new(Some(run)));
    let take = |slot: &Mutex<Option<Run>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let body = {
        let (slot, ended, id) = (Arc::clone(&slot), ended.clone(), id.clone());
        move || {
            let mend = take(&slot).and_then(Run::walk);
            // The worker may have left after a third signal; then nobody listens.
            let _ = ended.send(Ended { task: id, token, mend });
        }
    };
    if let Err(error) = thread::Builder::new().name(name.chars().take(15).collect()).stack_size(512 * 1024).spawn(body)
    {
        if let Some(mut run) = take(&slot) {
            run.settle(&Outcome::failed(Class::AgentCrashed, format!("no thread could be started for it: {error}")));
        }
        let _ = ended.send(Ended { task: id, token, mend: None });
    }
}

/// An attempt under way.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) assignment: Assignment,
    snapshot: Snapshot,
    control: Receiver<Control>,
    stopped: Option<Why>,
    record: Record,
    beat_due: Instant,
    keeper: Option<Keeper>,
    watch: Option<Watch>,
    watch_due: Instant,
    /// The agent had said its last word and was ended by us.
    lingered: bool,
    /// A probe's answer has been told.
    answered: bool,
    /// What a merge brought.
    pub(super) brought: Option<Brought>,
    env: std::collections::BTreeMap<String, String>,
}

impl Run {
    /// Of a task that has just been claimed; `keeper` is one that was started ahead.
    pub(super) fn new(
        shared: Arc<Shared>,
        task: Task,
        lease: Lease,
        snapshot: Snapshot,
        control: Receiver<Control>,
        keeper: Option<Keeper>,
    ) -> Self {
        let layout = &shared.setup.layout;
        let run_dir = layout.run(&task.id, lease.token);
        let record = Record::new(&task, &lease);
        let beat_due = Instant::now() + beat(&lease);
        let assignment = Assignment {
            task,
            rule: shared.setup.rule.clone(),
            lease,
            project: layout.root().to_owned(),
            workspace: layout.root().to_owned(),
            run_dir,
            resume: None,
            home: None,
            model: None,
        };
        Self {
            shared,
            assignment,
            snapshot,
            control,
            stopped: None,
            record,
            beat_due,
            keeper,
            watch: None,
            watch_due: Instant::now(),
            lingered: false,
            answered: false,
            brought: None,
            env: Default::default(),
        }
    }

    fn lease(&self) -> &Lease {
        &self.assignment.lease
    }

    /// From claim to settlement. Answers the class of a failure that only a human can mend.
    fn walk(mut self) -> Option<Class> {
        let (outcome, workspace) = match self.workspace() {
            Ok(Some(workspace)) if merge::is_merging(&self) => (merge::merge(&mut self, &workspace), Some(workspace)),
            Ok(workspace) => (self.work_and_prove(workspace.as_ref()), workspace),
            Err(outcome) => (outcome, None),
        };
        if let (Some(workspace), false) =
            (&workspace, matches!(outcome, Outcome::Done { .. } | Outcome::NoChange { .. }))
        {
            // Whatever becomes of the task, what was made is kept (R23).
            match workspace.save() {
                Ok(Some(kept)) => {
                    log::info!(task = self.lease().task_id.as_str(); "{}: uncommitted work is kept as {kept}", self.lease().task_id)
                }
                Ok(None) => {}
                Err(error) => {
                    log::error!(task = self.lease().task_id.as_str(); "{}: uncommitted work could not be saved: failed to {}; it stays in {}", self.lease().task_id, chain(&error), workspace.path().display())
                }
            }
        }
        self.record.finish(&outcome);
        self.save();
        self.settle(&outcome);
        match outcome {
            Outcome::Failed { class, .. } if class.policy() == Policy::Auth => Some(class),
            _ => None,
        }
    }

    /// The task's worktree, where the project works in such; nothing is asked of git otherwise.
    fn workspace(&mut self) -> Result<Option<Workspace>, Outcome> {
        let shared = Arc::clone(&self.shared);
        let config = &shared.setup.config.workspace;
        if config.mode == workspace::Mode::Shared {
            return Ok(None);
        }
        let prepared = Workspace::prepare(&shared.setup.layout, config, &self.assignment.task, self.lease().token);
        let workspace =
            prepared.map_err(|error| Outcome::failed(error.class(), format!("failed to {}", chain(&error))))?;
        if workspace.mode() == workspace::Mode::Shared {
            return Ok(None);
        }
        self.assignment.workspace = workspace.path().to_owned();
        self.assignment.task.branch = workspace.branch().map(String::from);
        self.env = workspace.env().clone();
        Ok(Some(workspace))
    }

    fn work_and_prove(&mut self, workspace: Option<&Workspace>) -> Outcome {
        let outcome = self.work();
        if !matches!(outcome, Outcome::Done { .. } | Outcome::NoChange { .. }) {
            return outcome;
        }
        let tree = workspace.map_or(Ok(()), |workspace| evidence::check_tree(self, workspace, &outcome));
        tree.and_then(|()| evidence::check(self)).err().unwrap_or(outcome)
    }

    fn work(&mut self) -> Outcome {
        let run_dir = self.assignment.run_dir.clone();
        // Started first, so that its start-up overlaps with ours.
        let keeper = match self.keeper.take() {
            Some(keeper) => Ok(keeper),
            None => Keeper::spawn(&self.shared.setup.exe, Some(&run_dir)),
        };
        if let Err(outcome) = self.prepare() {
            return outcome;
        }
        let agent = self.shared.agent(&self.lease().by);
        let mut invocation = agent.invocation(&self.assignment);
        invocation.env.extend(self.env.clone());
        let watcher = agent.watcher(&self.assignment);
        let role = &self.shared.setup.role;
        let limits = Limits {
            wall: self.wall(role.timeout),
            silence: Some(role.silence).filter(|limit| !limit.is_zero()),
            output: role.output,
            grace: self.shared.setup.config.fleet.grace,
        };
        self.record.argv = invocation.argv.clone();
        self.record.env = invocation.env.keys().cloned().collect();
        self.save();
        let nudge = self.shared.setup.layout.lease(&self.assignment.task.id);
        let started = keeper.and_then(|keeper| keeper.run(&run_dir, &invocation, &limits, Some(&nudge)));
        let exit = match started {
            Ok(attempt) => {
                self.watch =
                    watcher.map(|watcher| Watch::new(watcher, invocation.stdout.clone(), invocation.stderr.clone()));
                self.follow(&attempt, true)
            }
            Err(error) => {
                return Outcome::failed(Class::AgentCrashed, format!("the keeper cannot be started: {error}"));
            }
        };
        self.record.exit = Some(exit.clone());
        let watched = self.watch.take().map(|mut watch| {
            watch.finish();
            self.record.seen = watch.news().or(self.record.seen.take());
            watch
        });
        if let Some((class, reason)) = watched.as_ref().and_then(|watch| watch.ended.clone())
            && self.stopped.is_none()
        {
            let retry_at = watched.as_ref().and_then(Watch::retry_at);
            return Outcome::Failed { class, reason, retry_at };
        }
        let lingered = exit.stopped == Some(StopCause::Asked) && self.stopped.is_none() && self.lingered;
        match self.verdict_of_stop(&exit).filter(|_| !lingered) {
            Some(outcome) => outcome,
            None => self.shared.agent(&self.lease().by).outcome(&self.assignment, &exit),
        }
    }

    /// The wall-clock limit: the role's, or what the budgets leave, if that is less.
    fn wall(&self, of_role: Duration) -> Option<Duration> {
        let left = budget::left(&self.snapshot, self.shared.workflow(), &self.assignment.task, self.shared.role());
        let of_role = Some(of_role).filter(|limit| !limit.is_zero());
        match (of_role, left.wall) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// What a stop means, if the attempt was stopped and not already at its end.
    pub(super) fn verdict_of_stop(&self, exit: &Exit) -> Option<Outcome> {
        let asked = matches!(exit.stopped, Some(StopCause::Asked | StopCause::WorkerGone));
        asked.then(|| match &self.stopped {
            Some(why) => Outcome::failed(class_of(why), why.to_string()),
            // Somebody signalled the keeper itself, e.g. `pkill agent-daemon`.
            None => Outcome::failed(Class::Interrupted, "somebody stopped the attempt's keeper"),
        })
    }

    fn prepare(&mut self) -> Result<(), Outcome> {
        let write = |what: &str, error: std::io::Error| {
            let class = match error.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    Class::PermissionDenied
                }
                _ => Class::AgentCrashed,
            };
            Outcome::failed(class, format!("cannot write {what}: {error}"))
        };
        let run_dir = self.assignment.run_dir.clone();
        super::record::make_dir(&run_dir).map_err(|error| write(&run_dir.display().to_string(), error))?;
        let prompt = self.prompt()?;
        let path = self.assignment.prompt_file();
        super::record::write_private(&path, prompt.as_bytes())
            .map_err(|error| write(&path.display().to_string(), error))
    }

    fn prompt(&self) -> Result<String, Outcome> {
        let wrong = |reason: String| Outcome::failed(Class::Config, reason);
        let path = self.shared.setup.layout.prompt(self.shared.role());
        let role = self.shared.role();
        let template = match (prompt::load(&path), prompt::shipped(role)) {
            (Ok(template), _) => template,
            (Err(PromptError::Missing { .. }), Some(shipped)) => shipped.into(),
            (Err(error), _) => return Err(wrong(format!("failed to {}", chain(&error)))),
        };
        let facts = self.facts().map_err(wrong)?;
        prompt::render(&template, &self.assignment, &facts)
            .map_err(|error| wrong(format!("{}: failed to {}", path.display(), chain(&error))))
    }

    fn facts(&self) -> Result<prompt::PromptFacts, String> {
        let queue = &self.snapshot.queue;
        let layout = &self.shared.setup.layout;
        let dependencies = self
            .assignment
            .task
            .dependencies
            .iter()
            .filter_map(|name| queue.find(name))
            .map(|other| prompt::Related {
                id: other.id.to_string(),
                title: other.title.clone(),
                status: other.status.to_string(),
                summary: super::record::last_summary(layout, &other.id, self.snapshot.highest_token(&other.id))
                    .unwrap_or_default(),
            })
            .collect();
        let children = queue
            .children(&self.assignment.task.id)
            .map(|child| prompt::Related {
                id: child.id.to_string(),
                title: child.title.clone(),
                status: child.status.to_string(),
                summary: String::new(),
            })
            .collect();
        let known = self.snapshot.history.task(&self.assignment.task.id);
        let mut failures: Vec<String> = known
            .map(|known| known.failures.iter().map(|(role, reason)| format!("{role}: {reason}")).collect())
            .unwrap_or_default();
        if let Some(reason) = &self.assignment.task.blocked_reason
            && !failures.iter().any(|failure| failure.ends_with(reason.as_str()))
        {
            failures.push(reason.clone());
        }
        let mut gates = Vec::new();
        for name in evidence::gates(&self.shared, &self.assignment.task) {
            let gate = self.shared.gate(&name).ok_or_else(|| evidence::unknown_gate(&name))?;
            gates.push((name, gate.argv.join(" ")));
        }
        let answers = known.map(|known| known.answers.clone()).unwrap_or_default();
        Ok(prompt::PromptFacts { dependencies, children, failures, answers, gates })
    }

    /// Watches a child until its end, beating all the while (R12). `announce` journals its start.
    pub(super) fn follow(&mut self, attempt: &Attempt, announce: bool) -> Exit {
        loop {
            select! {
                recv(attempt.reports()) -> report => match report {
                    Ok(Report::Started { pid, pgid }) => if announce { self.started(pid, pgid) },
                    Ok(Report::Ended(exit)) => return exit,
                    Err(_) => return Exit::unknown(),
                },
                recv(self.control) -> control => match control {
                    Ok(Control::Stop(how, why)) => {
                        self.stopped.get_or_insert(why);
                        attempt.stop(how);
                    }
                    // The main loop is gone, so this process is about to be.
                    Err(_) => {
                        attempt.stop(Stop::Now);
                        self.control = never();
                    }
                },
                recv(at(self.beat_due)) -> _ => self.beat(),
                recv(self.watch_timer()) -> _ => self.look_at_output(attempt),
            }
        }
    }

    fn watch_timer(&self) -> Receiver<Instant> {
        if self.watch.is_some() { at(self.watch_due) } else { never() }
    }

    /// Has the watcher look, and ends the attempt where it says so.
    fn look_at_output(&mut self, attempt: &Attempt) {
        self.watch_due = Instant::now() + watch::PACE;
        let Some(watch) = &mut self.watch else { return };
        if let Some((class, reason)) = watch.look() {
            log::warn!(task = self.assignment.task.id.as_str(); "{}: ending the agent: {class}: {}", self.assignment.task.id, text::one_line(&reason));
            attempt.stop(Stop::Gently);
        } else if !self.lingered && watch.lingers() {
            self.lingered = true;
            attempt.stop(Stop::Gently);
        }
        if let Some(seen) = watch.news() {
            if self.lease().probe && seen.steps > 0 && !self.answered {
                self.answered = true;
                self.tell_answer();
            }
            let over = self.over_budget(&seen);
            self.record.seen = Some(seen);
            self.save();
            if let (Some(reason), Some(watch)) = (over, &mut self.watch)
                && watch.ended.is_none()
            {
                log::warn!(task = self.assignment.task.id.as_str(); "{}: ending the agent: {reason}", self.assignment.task.id);
                watch.ended = Some((Class::BudgetExceeded, reason));
                attempt.stop(Stop::Gently);
            }
        }
    }

    /// The provider has answered: the pool that this attempt probes is open, for everybody, now.
    fn tell_answer(&self) {
        let mine = self.lease().clone();
        if let Err(error) = self.shared.store.transact(&mut |snapshot| pool::answered(snapshot, &mine)) {
            log::warn!("cannot note that the pool is open: failed to {}", chain(&error));
        }
    }

    /// Why the attempt has to end for what it has used up; what is not known does not count, the rest still binds.
    fn over_budget(&self, seen: &Observation) -> Option<String> {
        let left = budget::left(&self.snapshot, self.shared.workflow(), &self.assignment.task, self.shared.role());
        let tokens = seen.tokens_in.unwrap_or_default().saturating_add(seen.tokens_out.unwrap_or_default());
        if let Some(limit) = left.tokens.filter(|limit| tokens >= *limit) {
            return Some(format!("{tokens} tokens are used up, {limit} were left"));
        }
        if let (Some(limit), Some(cost)) = (left.usd, seen.cost_usd)
            && cost >= limit
        {
            return Some(format!("${cost:.2} are used up, ${limit:.2} were left"));
        }
        let turns = seen.turns.unwrap_or(seen.steps);
        left.turns.filter(|limit| turns >= *limit).map(|limit| format!("{turns} turns are used up, {limit} were left"))
    }

    /// `true` once somebody has asked the run to stop.
    pub(super) fn is_stopped(&mut self) -> Option<Outcome> {
        while let Ok(Control::Stop(_, why)) = self.control.try_recv() {
            self.stopped.get_or_insert(why);
        }
        self.stopped.as_ref().map(|why| Outcome::failed(class_of(why), why.to_string()))
    }

    fn started(&mut self, pid: u32, pgid: u32) {
        self.assignment.lease.pgid = Some(pgid);
        let mine = self.lease().clone();
        let event = EventDraft::new(Kind::AttemptStarted, self.shared.actor())
            .lease(&mine)
            .with("pid", pid)
            .with("by", mine.by.as_str());
        let noted = self.shared.store.transact(&mut |snapshot| {
            if settle::superseded(snapshot, &mine) {
                return Plan::none();
            }
            let mut plan = Plan { events: vec![event.clone()], ..Plan::none() };
            if let Some(LeaseRecord::Ours(lease)) = snapshot.leases.get(&mine.task_id).map(|held| &held.record) {
                plan.leases.push(LeaseChange::Write(Lease { pgid: Some(pgid), ..lease.beaten(&snapshot.now) }));
            }
            plan
        });
        self.beat_due = Instant::now() + beat(self.lease());
        if let Err(error) = noted {
            log::warn!(task = mine.task_id.as_str(); "cannot note the start of {}: failed to {}", mine.task_id, chain(&error));
        }
    }

    /// One heartbeat; it is refused, and the attempt stopped, when a greater token exists (R10).
    fn beat(&mut self) {
        self.beat_due = Instant::now() + beat(self.lease());
        let mine = self.lease().clone();
        let mut late = false;
        let beaten = self.shared.store.transact(&mut |snapshot| {
            let Some(LeaseRecord::Ours(lease)) = snapshot.leases.get(&mine.task_id).map(|held| &held.record) else {
                return Plan::none();
            };
            if settle::superseded(snapshot, &mine) {
                return Plan::none();
            }
            late = lease.silence(&snapshot.now) > lease.ttl();
            let mut plan = Plan { leases: vec![LeaseChange::Write(lease.beaten(&snapshot.now))], ..Plan::none() };
            if late {
                plan.event(EventDraft::new(Kind::LeaseRenewedLate, self.shared.actor()).lease(&mine));
            }
            plan
        });
        match beaten {
            Ok(_) if late => {
                log::warn!(task = mine.task_id.as_str(); "the heartbeat of {} came late; nobody had taken over", mine.task_id);
            }
            Ok(_) => {}
            Err(error) => {
                log::warn!(task = mine.task_id.as_str(); "no heartbeat for {}: failed to {}", mine.task_id, chain(&error));
            }
        }
    }

    pub(super) fn save(&self) {
        // Without the directory the attempt has failed already, and says why.
        if !self.assignment.run_dir.is_dir() {
            return;
        }
        if let Err(error) = self.record.save(&self.assignment.run_dir) {
            log::warn!("cannot write the record of {}: {error}", self.lease().task_id);
        }
    }

    pub(super) fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Settles; what stands in the way is waited for, because the outcome must not be lost.
    fn settle(&mut self, outcome: &Outcome) {
        let shared = Arc::clone(&self.shared);
        let (workflow, retry) = (shared.workflow(), &shared.setup.config.retry);
        let mine = self.lease().clone();
        let seen = self.record.seen.clone().unwrap_or_default();
        let facts = settle::Facts {
            tokens_in: seen.tokens_in,
            tokens_out: seen.tokens_out,
            cached: seen.tokens_cached,
            cost_usd: seen.cost_usd,
            turns: seen.turns,
            session: seen.session,
            seconds: self.record.seconds,
            commit: self.brought.as_ref().map(|brought| brought.commit.clone()),
            tag: self.brought.as_ref().and_then(|brought| brought.tag.clone()),
            branch: self.assignment.task.branch.clone(),
        };
        let mut pause = Duration::from_millis(50);
        let mut said = String::new();
        loop {
            let settled = self
                .shared
                .store
                .transact(&mut |snapshot| settle::decide(snapshot, workflow, &mine, outcome, retry, &facts));
            match settled {
                Ok(committed) => return self.say(outcome, &committed.events),
                Err(error) => {
                    let words = chain(&error);
                    if said != words {
                        log::error!(task = mine.task_id.as_str(); "cannot settle {} yet ({}): failed to {words}; trying on", mine.task_id, outcome.word());
                        said = words;
                    }
                }
            }
            select! {
                recv(self.control) -> control => match control {
                    Ok(Control::Stop(Stop::Gently, _)) => {}
                    // Told to leave: the record in the run's directory says what came of it, and
                    // the lease is rescued by whoever can write again.
                    Ok(Control::Stop(Stop::Now, _)) | Err(_) => return,
                },
                recv(crossbeam_channel::after(pause)) -> _ => pause = (pause * 2).min(Duration::from_secs(5)),
            }
        }
    }

    fn say(&self, outcome: &Outcome, events: &[crate::domain::Event]) {
        let id = &self.lease().task_id;
        let moved = events.iter().find(|event| event.kind == Kind::TaskMoved && event.task.as_ref() == Some(id));
        let words = text::cut(&text::one_line(outcome.words()), 300);
        if events.iter().any(|event| event.kind == Kind::AttemptSuperseded) {
            log::warn!(task = id.as_str(); "{id}: superseded, nothing of it was applied");
            return;
        }
        let to = moved.and_then(|event| event.text("to")).unwrap_or("as it stands");
        if let Some(paused) = events.iter().find(|event| event.kind == Kind::WorkerPaused) {
            let role = paused.role.as_ref().unwrap_or(self.shared.role());
            let (class, why) = (paused.text("class").unwrap_or("?"), paused.text("reason").unwrap_or_default());
            log::error!(
                task = id.as_str();
                "{id}: {} → {to}, and {role} is paused ({class}): {}; after mending it: agentctl fleet start {role}",
                outcome.word(), text::cut(&text::one_line(why), 1_000)
            );
            return;
        }
        match outcome {
            Outcome::Done { .. } | Outcome::NoChange { .. } => {
                let words = if words.is_empty() { words } else { format!(": {words}") };
                log::info!(task = id.as_str(); "{id}: {} → {to}{words}", outcome.word());
            }
            Outcome::Failed { class, .. } if class.policy() == Policy::Stop => {
                log::info!(task = id.as_str(); "{id}: {class} → {to}: {words}");
            }
            Outcome::Failed { class, .. } => log::warn!(task = id.as_str(); "{id}: {class} → {to}: {words}"),
            _ => log::info!(task = id.as_str(); "{id}: {} → {to}: {words}", outcome.word()),
        }
    }

    pub(super) fn environment(&self, inherit: &[String]) -> std::collections::BTreeMap<String, String> {
        let mut env = agent::environment(&self.assignment, inherit, &std::collections::BTreeMap::new());
        env.extend(self.env.clone());
        env
    }
}

/// Time between heartbeats (R12).
fn beat(lease: &Lease) -> Duration {
    (lease.ttl() / 3).min(Duration::from_secs(60)).max(Duration::from_millis(100))
}
