//! Attempts as people see them: told by the journal, the leases and the attempts' directories together.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use crate::{
    ErrorKind, Failure, Project, no_task,
    view::{AttemptView, GateView, Moment},
};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Data, Event, Role, RunName, Snapshot, TaskId, Token, lease::LeaseHealth};

use oodatcaa_sys::files;

/// One attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The task.
    pub task: TaskId,
    /// The token; together with the task its name.
    pub token: Token,
    /// The name of its directory.
    pub run: RunName,
    /// The role that worked.
    pub role: Option<Role>,
    /// The number of the try in its stage.
    pub number: Option<u32>,
    /// The worker.
    pub owner: Option<String>,
    /// The agent.
    pub by: Option<String>,
    /// The simulated agent.
    pub simulated: bool,
    /// When it was claimed.
    pub started: Option<DateTime<Utc>>,
    /// When it was over.
    pub ended: Option<DateTime<Utc>>,
    /// `done`, `failed`, …; `rescued` when its owner died.
    pub outcome: Option<String>,
    /// The class of failure.
    pub class: Option<String>,
    /// Whether it was charged.
    pub charged: Option<bool>,
    /// What it says to people.
    pub reason: Option<String>,
    /// The gates that ran: name, and whether it let the task go.
    pub gates: Vec<(String, bool)>,
    /// A worker holds its lease now.
    pub running: bool,
}

impl Attempt {
    fn new(task: TaskId, token: Token) -> Self {
        Self {
            run: RunName::of(token),
            task,
            token,
            role: None,
            number: None,
            owner: None,
            by: None,
            simulated: false,
            started: None,
            ended: None,
            outcome: None,
            class: None,
            charged: None,
            reason: None,
            gates: Vec::new(),
            running: false,
        }
    }

    /// Returns its name, `TASK/TOKEN`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.task, self.token)
    }

    /// Returns its directory.
    pub fn dir(&self, layout: &Layout) -> PathBuf {
        layout.run(&self.task, &self.run)
    }

    /// Returns how long it took, or has taken until now.
    pub fn took(&self, now: DateTime<Utc>) -> Option<std::time::Duration> {
        let end = self.ended.or(self.running.then_some(now))?;
        (end - self.started?).to_std().ok()
    }

    /// Tells how it stands, in one word.
    pub fn state(&self) -> &str {
        match &self.outcome {
            _ if self.running => "running",
            Some(outcome) => outcome,
            None => "unknown",
        }
    }

    fn learn(&mut self, event: &Event) {
        self.role = event.role.clone().or_else(|| self.role.take());
        self.number = event.attempt.or(self.number);
        self.simulated |= event.simulated;
        match event.data() {
            Data::LeaseAcquired(claimed) => {
                self.started = Some(event.time);
                (self.owner, self.by) = (claimed.owner.clone(), claimed.by.clone());
                let named = claimed.run.as_deref().and_then(RunName::parse);
                self.run = named.filter(|name| name.token() == self.token).unwrap_or_else(|| self.run.clone());
            }
            Data::AttemptStarted(started) => {
                self.started = self.started.or(Some(event.time));
                self.by = started.by.clone().or_else(|| self.by.take());
            }
            Data::AttemptFinished(ended) => {
                (self.outcome, self.class, self.reason) =
                    (ended.outcome.clone(), ended.class.clone(), ended.reason.clone());
                self.charged = Some(ended.charged);
                self.ended = Some(event.time);
            }
            Data::AttemptSuperseded(_) => {
                self.outcome = Some("superseded".into());
                self.ended = Some(event.time);
            }
            Data::LeaseRescued(rescued) if self.outcome.is_none() => {
                (self.outcome, self.reason) = (Some("rescued".into()), rescued.reason.clone());
                self.ended = Some(event.time);
            }
            Data::GateFinished(ran) => self.gates.extend(ran.gate.clone().map(|gate| (gate, ran.ok == Some(true)))),
            _ => {}
        }
    }

    /// Describes it for programs.
    pub fn view(&self, layout: &Layout, now: DateTime<Utc>) -> AttemptView {
        AttemptView {
            run: self.name(),
            task: self.task.clone(),
            token: self.token,
            role: self.role.clone(),
            attempt: self.number,
            state: self.state().into(),
            running: self.running,
            owner: self.owner.clone(),
            agent: self.by.clone(),
            simulated: self.simulated,
            started_at: self.started.map(Moment),
            ended_at: self.ended.map(Moment),
            seconds: self.took(now).map(|time| time.as_millis() as f64 / 1000.0),
            outcome: self.outcome.clone(),
            class: self.class.clone(),
            charged: self.charged,
            reason: self.reason.clone(),
            gates: self.gates.iter().map(|(gate, ok)| GateView { gate: gate.clone(), ok: *ok }).collect(),
            dir: self.dir(layout).display().to_string(),
        }
    }
}

/// Returns every attempt that is known of, by task and token; of one task only, where one is named.
pub fn all(layout: &Layout, snapshot: &Snapshot, events: &[Event], only: Option<&TaskId>) -> Vec<Attempt> {
    let mut found: BTreeMap<(TaskId, Token), Attempt> = BTreeMap::new();
    let mut at = |task: &TaskId, token: Token, change: &dyn Fn(&mut Attempt)| {
        if token.0 > 0 && only.is_none_or(|only| only == task) {
            change(found.entry((task.clone(), token)).or_insert_with(|| Attempt::new(task.clone(), token)));
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
                attempt.running = live && attempt.ended.is_none();
                attempt.run = lease.run_name();
                attempt.role = Some(lease.role.clone());
                attempt.number = Some(lease.attempt);
                attempt.simulated |= lease.simulated;
                attempt.owner = Some(lease.owner.clone());
                attempt.started = Some(lease.started_at);
                attempt.by = Some(lease.by.clone()).filter(|by| !by.is_empty());
            });
        }
    }
    let mut all: Vec<Attempt> = found.into_values().collect();
    all.sort_by(|a, b| (a.started, &a.task, a.token).cmp(&(b.started, &b.task, b.token)));
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

/// Returns the newest attempt of a task that has a directory.
pub fn newest(layout: &Layout, task: &TaskId) -> Option<Token> {
    directories(layout, Some(task)).into_iter().map(|(_, run)| run.token()).max()
}

/// Returns the attempts that have a directory, in order.
pub fn tokens(layout: &Layout, task: &TaskId) -> Vec<Token> {
    let mut all: Vec<Token> = directories(layout, Some(task)).into_iter().map(|(_, run)| run.token()).collect();
    all.sort();
    all.dedup();
    all
}

/// Returns the directory of an attempt, as its lease or the journal names it; else the one that bears its token.
pub fn dir(layout: &Layout, snapshot: &Snapshot, task: &TaskId, token: Token) -> PathBuf {
    layout.run(task, &snapshot.run_name(task, token).unwrap_or_else(|| RunName::of(token)))
}

/// Reads what a person typed: `TASK`, or `TASK/TOKEN`.
pub fn named(project: &Project, snapshot: &Snapshot, words: &str) -> Result<(TaskId, Option<Token>), Failure> {
    let (task, token) = match words.split_once('/') {
        Some((task, token)) => (task, Some(token)),
        None => (words, None),
    };
    let unknown = || no_task(task, snapshot.queue.tasks().map(|task| task.id.as_str()));
    let id = match snapshot.queue.find(task) {
        Some(found) => found.id.clone(),
        // A task that has left the queue may have left attempts.
        None => TaskId::parse(task)
            .ok()
            .filter(|id| project.layout().is_ok_and(|l| newest(l, id).is_some()))
            .ok_or_else(unknown)?,
    };
    let token = match token {
        None => None,
        Some(token) => {
            let parsed = token.parse().map(Token);
            let bad = |_| Failure::new(ErrorKind::Usage, format!("`{words}` is no attempt; write TASK or TASK/TOKEN"));
            Some(parsed.map_err(bad)?)
        }
    };
    Ok((id, token))
}

/// Returns the failure for a task that nobody has worked on yet, or an attempt that is not there.
pub fn none(layout: &Layout, task: &TaskId, token: Option<Token>) -> Failure {
    match token {
        None => Failure::new(ErrorKind::NotFound, format!("nobody has worked on {task} yet"))
            .hint(format!("agentctl why {task}")),
        Some(token) => {
            let mut there: Vec<Token> = directories(layout, Some(task)).iter().map(|(_, run)| run.token()).collect();
            there.sort_unstable();
            there.dedup();
            let tokens: Vec<String> = there.iter().map(|token| format!("{task}/{token}")).collect();
            let there = if tokens.is_empty() { "none".into() } else { tokens.join(", ") };
            Failure::new(ErrorKind::NotFound, format!("there is no attempt {task}/{token}; there are: {there}"))
                .hint(format!("agentctl run list {task}"))
        }
    }
}
