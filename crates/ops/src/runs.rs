//! Attempts as people see them: told by the journal, the leases and the attempts' directories together.

use std::{
    collections::BTreeMap,
    fs::Metadata,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use crate::{
    ErrorKind, Failure, Project, find_id,
    view::{AttemptDetail, AttemptView, FileView, GateView, Moment, StopView},
};
use oodatcaa_agent as agent;
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Data, Event, LeaseState, RunName, Snapshot, TaskId, Token, lease::LeaseHealth, manual};
use oodatcaa_sys::files;

impl AttemptView {
    fn new(layout: &Layout, snapshot: &Snapshot, task: &TaskId, token: Token) -> Self {
        Self {
            run: format!("{task}/{token}"),
            dir: dir(layout, snapshot, task, token).display().to_string(),
            task: task.clone(),
            token,
            role: None,
            attempt: None,
            state: "unknown".into(),
            running: false,
            owner: None,
            agent: None,
            simulated: false,
            started_at: None,
            ended_at: None,
            seconds: None,
            outcome: None,
            class: None,
            charged: None,
            reason: None,
            gates: Vec::new(),
        }
    }

    fn learn(&mut self, event: &Event) {
        let at = Some(Moment(event.time));
        self.role = event.role.clone().or_else(|| self.role.take());
        self.attempt = event.attempt.or(self.attempt);
        self.simulated |= event.simulated;
        match event.data() {
            Data::LeaseAcquired(claimed) => {
                self.started_at = at;
                (self.owner, self.agent) = (claimed.owner.clone(), claimed.by.clone());
            }
            Data::AttemptStarted(started) => {
                self.started_at = self.started_at.or(at);
                self.agent = started.by.clone().or_else(|| self.agent.take());
            }
            Data::AttemptFinished(ended) => {
                (self.outcome, self.class, self.reason) =
                    (ended.outcome.clone(), ended.class.clone(), ended.reason.clone());
                (self.charged, self.ended_at) = (Some(ended.charged), at);
            }
            Data::AttemptSuperseded(_) => (self.outcome, self.ended_at) = (Some("superseded".into()), at),
            Data::LeaseRescued(rescued) if self.outcome.is_none() => {
                (self.outcome, self.reason) = (Some("rescued".into()), rescued.reason.clone());
                self.ended_at = at;
            }
            Data::GateFinished(ran) => {
                self.gates.extend(ran.gate.clone().map(|gate| GateView { gate, ok: ran.ok == Some(true) }));
            }
            _ => {}
        }
    }

    /// Says in one word how it stands, and how long it took, or has taken until now.
    fn finish(&mut self, now: DateTime<Utc>) {
        if self.running {
            self.state = "running".into();
        } else if let Some(outcome) = &self.outcome {
            self.state.clone_from(outcome);
        }
        let end = self.ended_at.or(self.running.then_some(Moment(now)));
        let took = end.zip(self.started_at).and_then(|(end, start)| (end.0 - start.0).to_std().ok());
        self.seconds = took.map(|time| time.as_millis() as f64 / 1000.0);
    }
}

/// Returns every attempt that is known of, the newest last; of one task only, where one is named.
pub fn all(layout: &Layout, snapshot: &Snapshot, events: &[Event], only: Option<&TaskId>) -> Vec<AttemptView> {
    let mut found: BTreeMap<(TaskId, Token), AttemptView> = BTreeMap::new();
    let mut at = |task: &TaskId, token: Token, change: &dyn Fn(&mut AttemptView)| {
        if token.0 > 0 && only.is_none_or(|only| only == task) {
            let new = || AttemptView::new(layout, snapshot, task, token);
            change(found.entry((task.clone(), token)).or_insert_with(new));
        }
    };
    for event in events {
        if let (Some(task), Some(token)) = (&event.task, event.token) {
            at(task, token, &|attempt| attempt.learn(event));
        }
    }
    for (task, run) in directories(layout, only) {
        at(&task, run.token(), &|_| {});
    }
    for (task, held) in &snapshot.leases {
        if let Some(lease) = held.ours() {
            let live = held.health(&snapshot.now) == LeaseHealth::Live;
            at(task, lease.token, &|attempt| {
                attempt.running = live && attempt.ended_at.is_none();
                attempt.role = Some(lease.role.clone());
                attempt.attempt = Some(lease.attempt);
                attempt.simulated |= lease.simulated;
                attempt.owner = Some(lease.owner.clone());
                attempt.started_at = Some(lease.started_at.into());
                attempt.agent = Some(lease.by.clone()).filter(|by| !by.is_empty());
            });
        }
    }
    let mut all: Vec<AttemptView> = found.into_values().collect();
    all.iter_mut().for_each(|attempt| attempt.finish(snapshot.now.wall));
    all.sort_by(|a, b| (a.started_at, &a.task, a.token).cmp(&(b.started_at, &b.task, b.token)));
    all
}

/// More are not looked for: of tasks, and of attempts of one task.
const MOST: usize = 1_000_000;

/// Lists the attempts that have a directory.
fn directories(layout: &Layout, only: Option<&TaskId>) -> Vec<(TaskId, RunName)> {
    let tasks = match only {
        Some(task) => vec![task.clone()],
        None => names(layout, &layout.runs()).filter_map(|name| TaskId::parse(&name).ok()).collect(),
    };
    let tokens = |task: TaskId| {
        let dir = layout.runs().join(task.as_str());
        names(layout, &dir).filter_map(move |name| Some((task.clone(), RunName::parse(&name)?)))
    };
    tasks.into_iter().flat_map(tokens).collect()
}

fn names(layout: &Layout, dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = files::list(layout.root(), dir, MOST).ok().flatten().unwrap_or_default();
    entries.into_iter().filter_map(|entry| entry.name.into_string().ok())
}

/// Returns the attempts that have a directory, in order.
pub fn tokens(layout: &Layout, task: &TaskId) -> Vec<Token> {
    let mut all: Vec<Token> = directories(layout, Some(task)).into_iter().map(|(_, run)| run.token()).collect();
    all.sort();
    all.dedup();
    all
}

/// Returns the newest attempt of a task that has a directory.
pub fn newest(layout: &Layout, task: &TaskId) -> Option<Token> {
    tokens(layout, task).pop()
}

/// Returns the directory of an attempt, as its lease or the journal names it; else the one that bears its token.
pub fn dir(layout: &Layout, snapshot: &Snapshot, task: &TaskId, token: Token) -> PathBuf {
    layout.run(task, &snapshot.run_name(task, token).unwrap_or_else(|| RunName::of(token)))
}

/// Reads what a person typed: `TASK`, or `TASK/TOKEN`.
pub fn named(project: &Project, snapshot: &Snapshot, words: &str) -> Result<(TaskId, Option<Token>), Failure> {
    let (task, token) = words.split_once('/').map_or((words, None), |(task, token)| (task, Some(token)));
    // A task that has left the queue may have left attempts.
    let left = |id: &TaskId| project.layout().is_ok_and(|layout| newest(layout, id).is_some());
    let id = find_id(&snapshot.queue, task, left)?;
    let bad = |_| Failure::new(ErrorKind::Usage, format!("`{words}` is not an attempt; write TASK or TASK/TOKEN"));
    Ok((id, token.map(|token| token.parse().map(Token)).transpose().map_err(bad)?))
}

/// Returns the failure for a task that nobody has worked on yet, or an attempt that is not there.
pub fn none(layout: &Layout, task: &TaskId, token: Option<Token>) -> Failure {
    let Some(token) = token else {
        return Failure::new(ErrorKind::NotFound, format!("{task} has had no attempt yet"))
            .hint(format!("agentctl why {task}"));
    };
    let there: Vec<String> = tokens(layout, task).iter().map(|token| format!("{task}/{token}")).collect();
    let there = if there.is_empty() { "none".into() } else { there.join(", ") };
    Failure::new(ErrorKind::NotFound, format!("there is no attempt {task}/{token}; there are: {there}"))
        .hint(format!("agentctl run list {task}"))
}

impl Project {
    /// Describes an attempt as it was typed, `TASK` for the newest, with what lies in its directory.
    pub fn attempt(&self, snapshot: &Snapshot, words: &str) -> Result<AttemptDetail, Failure> {
        let layout = self.layout()?;
        let (task, token) = named(self, snapshot, words)?;
        let mut all = all(layout, snapshot, &self.store()?.events(0)?, Some(&task));
        all.retain(|attempt| token.is_none_or(|token| attempt.token == token));
        let attempt = all.into_iter().max_by_key(|attempt| attempt.token).ok_or_else(|| none(layout, &task, token))?;
        let (root, dir) = (layout.root(), dir(layout, snapshot, &task, attempt.token));
        let object =
            |name: &str| serde_json::from_slice(&files::read(root, &dir.join(name), files::RECORD).ok()??).ok();
        // What the agent left stands in a directory of its own.
        let listed = |below: &str| -> Vec<FileView> {
            let file = |entry: files::Entry| {
                let name = Path::new(below).join(&entry.name);
                let meta = files::look(root, &dir.join(&name)).ok().flatten().filter(Metadata::is_file)?;
                Some(FileView { name: name.to_string_lossy().into_owned(), bytes: meta.len() })
            };
            let there = files::list(root, &dir.join(below), 1_000).ok().flatten();
            there.unwrap_or_default().into_iter().filter_map(file).collect()
        };
        let files = ["", agent::OUT_DIR].into_iter().flat_map(listed).collect();
        Ok(AttemptDetail {
            record: object("attempt.json"),
            exit: object("exit.json"),
            result: object("result.json"),
            files,
            attempt,
        })
    }

    /// Asks that a task's attempt stop, if it is the named one; after `wait` it tells whether it has. `agree` is asked
    /// before a running one is stopped, `None` where that said no.
    pub fn stop(
        &self,
        snapshot: &Snapshot,
        (task, token): (TaskId, Option<Token>),
        reason: &str,
        wait: Option<Duration>,
        dry_run: bool,
        agree: impl FnOnce() -> Result<bool, Failure>,
    ) -> Result<Option<StopView>, Failure> {
        let running = snapshot.leases.get(&task).map(LeaseState::token);
        if let (Some(wanted), Some(running)) = (token, running)
            && wanted != running
        {
            let message = format!("{task}/{wanted} has ended; {task}/{running} runs now");
            return Err(Failure::new(ErrorKind::Refused, message)
                .hint(format!("agentctl run stop {task}/{running} --reason \"…\"")));
        }
        if !dry_run && running.is_some() && !agree()? {
            return Ok(None);
        }
        let stop = |snapshot: &Snapshot, _: &_, actor: &_| manual::stop(snapshot, &task, reason, actor);
        let changed = self.decide(dry_run, self.workflow(), stop)?;
        let token = changed.before.leases.get(&task).map(LeaseState::token).unwrap_or_default();
        let wait = wait.filter(|_| !dry_run).map(|wait| self.has_stopped(&task, token, wait));
        Ok(Some(StopView {
            run: format!("{task}/{token}"),
            token,
            changed: !changed.changes.is_empty(),
            dry_run,
            stopped: wait.transpose()?,
            at: changed.before.now.wall.into(),
            task,
        }))
    }

    /// Waits until an attempt's lease is gone; false when the time was over first.
    fn has_stopped(&self, task: &TaskId, token: Token, wait: Duration) -> Result<bool, Failure> {
        let changes = self.store()?.changes()?;
        let deadline = Instant::now() + wait;
        loop {
            let snapshot = self.store()?.read()?.snapshot;
            if snapshot.leases.get(task).is_none_or(|held| held.token() != token) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // A lease may end without a word, with its worker.
            let _ = changes.recv_timeout(left.min(Duration::from_millis(500)));
        }
    }
}
