//! One attempt from claim to settlement, straight down: prompt, agent, evidence, verdict.
//!
//! Nothing between claim and settlement leaves this file early: whatever goes wrong becomes an
//! outcome, and the outcome is settled.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, at, never, select};

use super::{
    Shared,
    baseline::Ground,
    chain,
    control::{Control, Why},
    evidence,
    heartbeat::{News, SOON, pace},
    merge::{self, Brought},
    output::LoopDetection,
    record::Record,
    resume::{self, Slot},
    verdict::Settlement,
    watch::Watch,
};
use oodatcaa_agent::{self as agent, Assignment};
use oodatcaa_core::{Class, Lease, Outcome, Snapshot, Task, TaskId, Token, budget, outcome::Policy, text};
use oodatcaa_git::{Directory, Workspace};
use oodatcaa_process::{Attempt, Exit, Limits, Report, Shim, Stop, StopCause};
use oodatcaa_sys::files::{self, Durable};

/// So many decisions and messages of one attempt are kept.
const MOST_WORDS: usize = 20;

/// So many characters of each.
const LONGEST_WORDS: usize = 500;

/// A run's last word to the worker.
pub(super) struct Ended {
    pub(super) task: TaskId,
    pub(super) token: Token,
    /// What it came to.
    pub(super) settlement: Settlement,
    /// What only a human can mend.
    pub(super) mend: Option<Class>,
    /// Its shim, when that can serve another attempt.
    pub(super) shim: Option<Shim>,
}

/// Starts a run on a thread of its own.
pub(super) fn spawn(run: Run, ended: &Sender<Ended>) {
    let name = format!("run {}", run.lease().task_id);
    // The thread takes the run out; without a thread it is still here, to be settled.
    let slot = Arc::new(Mutex::new(Some(run)));
    let take = |slot: &Mutex<Option<Run>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let body = {
        let (slot, ended) = (Arc::clone(&slot), ended.clone());
        move || {
            if let Some(run) = take(&slot) {
                // The worker may have left after a third signal; then nobody listens.
                let _ = ended.send(run.walk());
            }
        }
    };
    if let Err(error) = thread::Builder::new().name(name.chars().take(15).collect()).stack_size(512 * 1024).spawn(body)
        && let Some(run) = take(&slot)
    {
        let words = format!("no thread could be started for it: {error}");
        let _ = ended.send(run.ended(Outcome::failed(Class::AgentCrashed, words)));
    }
}

/// An attempt under way.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) assignment: Assignment,
    pub(super) snapshot: Snapshot,
    pub(super) control: Receiver<Control>,
    pub(super) stopped: Option<Why>,
    /// Set when the attempt is to end: whatever is done beside listens to it.
    pub(super) halt: Arc<AtomicBool>,
    pub(super) record: Record,
    pub(super) beat_due: Instant,
    /// The agent's start, until it is told.
    pub(super) news: Option<News>,
    pub(super) shim: Option<Shim>,
    pub(super) watch: Option<Watch>,
    pub(super) watch_due: Instant,
    /// The agent had said its last word and was ended by us.
    pub(super) lingered: bool,
    /// It seems to go round in circles.
    pub(super) circle: Option<LoopDetection>,
    /// A probe's answer has been told.
    pub(super) answered: bool,
    /// The commit at which the task's branch stood when the attempt ended.
    pub(super) head: Option<String>,
    /// What a merge brought.
    pub(super) brought: Option<Brought>,
    pub(super) env: std::collections::BTreeMap<String, String>,
    /// Where work of earlier attempts is that is not in the worktree.
    pub(super) saved: Vec<String>,
    /// Where the agent's program keeps its own state, held while it runs.
    pub(super) slot: Option<Slot>,
    /// Where a gate that is red is tried again; nowhere without a worktree.
    pub(super) ground: Option<Ground>,
}

impl Run {
    /// Of a task that has just been claimed; `shim` is one that was started ahead.
    pub(super) fn new(
        shared: Arc<Shared>,
        task: Task,
        lease: Lease,
        snapshot: Snapshot,
        control: Receiver<Control>,
        shim: Option<Shim>,
    ) -> Self {
        let layout = &shared.setup.layout;
        let run_dir = layout.run(&task.id, &lease.run_name());
        let record = Record::new(&task, &lease);
        let beat_due = Instant::now() + pace(&lease);
        let assignment = Assignment {
            task,
            rule: shared.setup.rule.clone(),
            lease,
            project: layout.root().to_owned(),
            workspace: layout.root().to_owned(),
            run_dir,
            resume: None,
            home: None,
        };
        Self {
            shared,
            assignment,
            snapshot,
            control,
            stopped: None,
            halt: Arc::default(),
            record,
            beat_due,
            news: None,
            shim,
            watch: None,
            watch_due: Instant::now(),
            lingered: false,
            circle: None,
            answered: false,
            head: None,
            brought: None,
            env: Default::default(),
            saved: Vec::new(),
            slot: None,
            ground: None,
        }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.assignment.lease
    }

    /// From claim to what is to be settled.
    fn walk(mut self) -> Ended {
        let ready = self.has_its_directory().and_then(|()| self.workspace());
        let (outcome, workspace) = match ready {
            Ok(Some(workspace)) if self.assignment.rule.merges() => {
                (merge::merge(&mut self, &workspace), Some(workspace))
            }
            // It was claimed as a merge, so no start of an agent was counted, and none is made.
            Ok(None) if self.shared.workflow().merges(&self.assignment.rule, &self.assignment.task) => {
                let branch = self.assignment.task.branch.as_deref().unwrap_or_default();
                let reason = format!("there is no repository here in which its branch `{branch}` could be merged");
                (Outcome::Blocked { reason }, None)
            }
            Ok(workspace) => (self.work_and_prove(workspace.as_ref()), workspace),
            Err(outcome) => (outcome, None),
        };
        // What is left to do with it keeps work, and is not stopped any more.
        let workspace = workspace.map(Workspace::to_its_end);
        let secrets = self.secrets();
        let outcome = agent::output::mask_outcome(outcome, &secrets);
        self.mask_result(&secrets);
        if let (Some(workspace), false) =
            (&workspace, matches!(outcome, Outcome::Done { .. } | Outcome::NoChange { .. }))
        {
            // Whatever becomes of the task, what was made is kept (R23).
            match self.beside(|| workspace.save()) {
                Ok(Some(kept)) => {
                    log::info!(task = self.lease().task_id.as_str(); "{}: uncommitted work is kept as {} ({kept})", self.lease().task_id, workspace.refs().wip(self.lease().token));
                }
                Ok(None) => {}
                Err(error) => {
                    log::error!(task = self.lease().task_id.as_str(); "{}: uncommitted work could not be saved: failed to {}; it stays in {}", self.lease().task_id, chain(&error), workspace.path().display());
                }
            }
        }
        if let Some(workspace) = &workspace {
            self.give_back(workspace);
        }
        // Compared by the attempt that would like to go on with this one's session.
        if self.record.seen.as_ref().is_some_and(|seen| seen.session.is_some())
            && self.shared.agent(&self.lease().by).can_resume()
        {
            self.record.content = resume::content(workspace.as_ref());
        }
        self.head = workspace.as_ref().and_then(Workspace::head);
        if self.brought.is_some()
            && let Some(workspace) = workspace
        {
            let shared = Arc::clone(&self.shared);
            let (layout, config) = (&shared.setup.layout, &shared.setup.config.workspace);
            // Clean and merged, or it stays: nothing is ever thrown away with it.
            if let Err(error) = self.beside(|| workspace.remove(layout, config)) {
                log::info!(task = self.lease().task_id.as_str(); "{}: its worktree stays: failed to {}", self.lease().task_id, chain(&error));
            }
        }
        self.keep_words(&secrets);
        self.record.finish(&outcome);
        self.save();
        self.ended(outcome)
    }

    /// Leaves the worktree to whoever comes next: without what a role changed whose changes are no work.
    fn give_back(&mut self, workspace: &Workspace) {
        let shared = Arc::clone(&self.shared);
        let (task, layout) = (self.lease().task_id.clone(), &shared.setup.layout);
        let keeps = self.commits() || self.assignment.rule.merges();
        let given = self.beside(|| {
            let taken = if keeps { Ok(None) } else { workspace.take_back(layout) };
            taken.and_then(|taken| workspace.settle(layout).map(|()| taken))
        });
        match given {
            Ok(Some((files, saved))) => {
                let files = text::cut(&text::one_line(&files.join(", ")), 300);
                let role = self.shared.role();
                log::info!(task = task.as_str(); "{task}: what {role} changed is no work and not on the branch: {files}; it is kept as {saved} (`roles.{role}.commits` decides)");
            }
            Ok(None) => {}
            Err(error) => log::warn!(task = task.as_str(); "{task}: failed to {}", chain(&error)),
        }
    }

    fn ended(mut self, outcome: Outcome) -> Ended {
        let mend = match &outcome {
            Outcome::Failed { class, .. } if class.policy() == Policy::Auth => Some(*class),
            _ => None,
        };
        Ended {
            task: self.lease().task_id.clone(),
            token: self.lease().token,
            shim: self.shim.take(),
            settlement: self.settlement(outcome),
            mend,
        }
    }

    fn work_and_prove(&mut self, workspace: Option<&Workspace>) -> Outcome {
        let before = match workspace {
            None if self.shared.setup.role.change => self.directory(),
            _ => None,
        };
        let outcome = self.work(workspace);
        if let Some(workspace) = workspace {
            evidence::tell_beside(self, workspace);
        }
        if !matches!(outcome, Outcome::Done { .. } | Outcome::NoChange { .. }) {
            return outcome;
        }
        // What the gates have to say comes after the start.
        if !evidence::gates(&self.shared, &self.assignment.task).is_empty() {
            self.tell_start();
        }
        let tree = match (workspace, before) {
            // What was cut short because the attempt is to end says that, and nothing of git.
            (Some(workspace), _) => {
                evidence::check_tree(self, workspace, &outcome).map_err(|failed| self.is_stopped().unwrap_or(failed))
            }
            (None, Some(before)) => evidence::check_directory(&before, &outcome),
            (None, None) => Ok(()),
        };
        tree.and_then(|()| evidence::check(self)).err().unwrap_or(outcome)
    }

    /// What the directory holds that all share; where that cannot be known, nothing is proved by it, and it is said.
    fn directory(&self) -> Option<Directory> {
        let setup = &self.shared.setup;
        let looked = Directory::look(&setup.layout, self.shared.agent(&self.lease().by).leaves());
        let unknown = match looked {
            Ok(Some(directory)) => return Some(directory),
            Ok(None) => "it holds too many files".to_owned(),
            Err(error) => format!("failed to {}", chain(&error)),
        };
        log::warn!(task = self.lease().task_id.as_str(); "{}: nobody can see what changes in {}: {unknown}", self.lease().task_id, setup.layout.root().display());
        None
    }

    fn work(&mut self, workspace: Option<&Workspace>) -> Outcome {
        let run_dir = self.assignment.run_dir.clone();
        // Started first, so that its start-up overlaps with ours.
        let shim = match self.shim.take() {
            Some(shim) => Ok(shim),
            None => Shim::spawn_to_stay(&self.shared.setup.exe),
        };
        if let Err(outcome) = self.prepare(workspace) {
            return outcome;
        }
        let agent = self.shared.agent(&self.lease().by);
        let mut invocation = agent.invocation(&self.assignment);
        invocation.env.extend(self.env.clone());
        let watcher = agent.watcher(&self.assignment);
        let role = &self.shared.setup.role;
        let (wall, by_budget) = self.wall(role.timeout);
        let limits = Limits {
            wall,
            silence: Some(role.silence).filter(|limit| !limit.is_zero()),
            output: role.output,
            grace: agent.grace().unwrap_or(self.shared.setup.config.fleet.grace),
            memory: role.memory,
        };
        self.record.argv = invocation.argv.clone();
        self.record.env = invocation.env.keys().cloned().collect();
        self.save();
        if !self.is_still_mine() {
            return Outcome::failed(Class::Superseded, "its task was taken over before its agent was started");
        }
        let wake = self.shared.setup.layout.lease(&self.assignment.task.id);
        let started = shim.and_then(|shim| shim.run(&run_dir, &invocation, &limits, Some(&wake)));
        let exit = match started {
            Ok(attempt) => {
                let (stdout, stderr) = (invocation.stdout.clone(), invocation.stderr.clone());
                self.watch = watcher.map(|watcher| Watch::new(watcher, stdout, stderr, self.secrets()));
                let exit = self.follow(&attempt, true);
                self.shim = attempt.retire();
                exit
            }
            Err(error) => {
                return Outcome::failed(Class::AgentCrashed, format!("the shim cannot be started: {error}"));
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
            // What it had completed before its budget ended it is not thrown away.
            if class == Class::BudgetExceeded {
                let outcome = self.shared.agent(&self.lease().by).outcome(&self.assignment, &exit);
                if matches!(outcome, Outcome::Done { .. } | Outcome::NoChange { .. }) {
                    return outcome;
                }
            }
            let retry_at = watched.as_ref().and_then(Watch::retry_at);
            return Outcome::Failed { class, reason, retry_at };
        }
        if by_budget && exit.stopped == Some(StopCause::Wall) {
            let left = text::duration(wall.unwrap_or_default());
            return Outcome::failed(Class::BudgetExceeded, format!("its budget of time is used up, {left} were left"));
        }
        let lingered = exit.stopped == Some(StopCause::Asked) && self.stopped.is_none() && self.lingered;
        match self.verdict_of_stop(&exit).filter(|_| !lingered) {
            Some(outcome) => outcome,
            None => self.shared.agent(&self.lease().by).outcome(&self.assignment, &exit),
        }
    }

    /// The wall-clock limit: the role's, or what the budgets leave, if that is less; `true` for the budgets'.
    fn wall(&self, of_role: Duration) -> (Option<Duration>, bool) {
        let left = budget::left(&self.snapshot, self.shared.workflow(), &self.assignment.task, self.shared.role());
        let of_role = Some(of_role).filter(|limit| !limit.is_zero());
        match (of_role, left.wall) {
            (Some(a), Some(b)) if b < a => (Some(b), true),
            (None, Some(b)) => (Some(b), true),
            (a, _) => (a, false),
        }
    }

    /// What a stop means, if the attempt was stopped and not already at its end.
    pub(super) fn verdict_of_stop(&self, exit: &Exit) -> Option<Outcome> {
        let asked = matches!(exit.stopped, Some(StopCause::Asked | StopCause::WorkerGone));
        asked.then(|| match &self.stopped {
            Some(why) => why.outcome(),
            // Somebody signalled the shim itself, e.g. `pkill agent-daemon`.
            None => Outcome::failed(Class::Interrupted, "somebody stopped the attempt's shim"),
        })
    }

    /// Watches a child until its end, beating all the while (R12). `announce` journals its start.
    pub(super) fn follow(&mut self, attempt: &Attempt, announce: bool) -> Exit {
        loop {
            select! {
                recv(attempt.reports()) -> report => match report {
                    Ok(Report::Started { pid, pgid }) => if announce { self.news = Some(News { pid, pgid, due: Instant::now() + SOON, at: chrono::Utc::now() }) },
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
                recv(self.news.as_ref().map_or_else(never, |news| at(news.due))) -> _ => self.tell_start(),
                recv(at(self.beat_due)) -> _ => { self.heartbeat(); }
                recv(self.watch_timer()) -> _ => self.look_at_output(attempt),
                recv(at(attempt.due())) -> _ => {
                    if let Some(why) = attempt.look() {
                        let id = &self.assignment.task.id;
                        log::warn!(task = id.as_str(); "{id}: ending the attempt from outside: {why}");
                    }
                }
            }
        }
    }

    /// `true` once somebody has asked the run to stop.
    pub(super) fn is_stopped(&mut self) -> Option<Outcome> {
        while let Ok(Control::Stop(_, why)) = self.control.try_recv() {
            self.stopped.get_or_insert(why);
        }
        self.stopped.as_ref().map(Why::outcome)
    }

    pub(super) fn save(&self) {
        // Without the directory the attempt has failed already, and says why.
        if !self.assignment.run_dir.is_dir() {
            return;
        }
        if let Err(error) = self.record.save(&self.assignment.run_dir) {
            log::warn!("cannot write the record of {}: failed to {}", self.lease().task_id, chain(&error));
        }
    }

    pub(super) fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// What must not be shown of what the agent and its gates say.
    pub(super) fn secrets(&self) -> Vec<String> {
        let mut all = self.shared.agent(&self.lease().by).secrets(&self.assignment);
        for gate in self.shared.setup.config.gates.values() {
            all.extend(agent::environment::secrets(&self.environment(&gate.env), &Default::default()));
        }
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.dedup();
        all
    }

    /// Keeps what the agent decided and what it wanted others to know; its words, bounded, and no more than that.
    fn keep_words(&mut self, secrets: &[String]) {
        let Ok(Some(said)) = agent::result::read(&self.assignment.result_file()) else { return };
        let shown = |words: &str| text::cut(&agent::output::mask(&text::one_line(words), secrets), LONGEST_WORDS);
        self.record.decisions = said.decisions.iter().take(MOST_WORDS).map(|choice| shown(&choice.text)).collect();
        self.record.messages =
            said.messages.iter().take(MOST_WORDS).map(|mail| shown(&format!("{}: {}", mail.to, mail.text))).collect();
    }

    /// What the agent says of its attempt is shown to people and programs; its raw output is its own.
    fn mask_result(&self, secrets: &[String]) {
        let path = self.assignment.result_file();
        if let Some(masked) = agent::result::masked(&path, secrets)
            && let Err(error) =
                files::write_atomic(self.shared.setup.layout.root(), &path, masked.as_bytes(), Durable::No)
        {
            log::warn!("cannot mask the secrets in an answer: failed to {}", chain(&error));
        }
    }

    pub(super) fn environment(&self, inherit: &[String]) -> std::collections::BTreeMap<String, String> {
        let mut env = agent::environment(&self.assignment, inherit, &std::collections::BTreeMap::new());
        env.extend(self.env.clone());
        env
    }
}
