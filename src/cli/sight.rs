//! How tasks are seen: the state of each in one word, who works on it, and its JSON form.
//!
//! Derived from one reading, so that every verb says the same of the same task.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::ui::{Item, Tone};
use oodatcaa_core::{
    LeaseRecord, LeaseState, QueueLease, RoleRule, Snapshot, Status, Task, Workflow, lease::LeaseHealth, text,
    time::stamp, why,
};

/// A snapshot together with the table of roles.
pub struct Sight<'a> {
    /// What stands there.
    pub snapshot: &'a Snapshot,
    /// Who takes what.
    pub workflow: &'a Workflow,
    explainer: why::Explainer<'a>,
}

/// How a task stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A worker has it.
    Running,
    /// It looks as if a worker had it, and none has.
    Stale,
    /// A human must act.
    NeedsYou,
    /// Attempts are used up.
    Failed,
    /// It waits for its time to be tried again.
    Retry,
    /// It waits for a worker, a dependency or its children.
    Waiting,
    /// Cancelled.
    Cancelled,
    /// Done.
    Done,
}

impl State {
    /// Every state.
    pub const ALL: [State; 8] = [
        Self::Running,
        Self::Stale,
        Self::NeedsYou,
        Self::Failed,
        Self::Retry,
        Self::Waiting,
        Self::Cancelled,
        Self::Done,
    ];

    /// The word in JSON and in filters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stale => "stale",
            Self::NeedsYou => "needs_you",
            Self::Failed => "failed",
            Self::Retry => "retry",
            Self::Waiting => "waiting",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }

    /// One column wide.
    pub fn glyph(self) -> &'static str {
        match self {
            Self::Running => "●",
            Self::Stale | Self::NeedsYou => "◆",
            Self::Failed | Self::Cancelled => "✗",
            Self::Retry => "↻",
            Self::Waiting => "○",
            Self::Done => "✓",
        }
    }

    /// Its colour.
    pub fn tone(self) -> Tone {
        match self {
            Self::Running => Tone::Busy,
            Self::Stale | Self::NeedsYou | Self::Retry => Tone::Warn,
            Self::Failed => Tone::Bad,
            Self::Waiting => Tone::Plain,
            Self::Cancelled => Tone::Faint,
            Self::Done => Tone::Good,
        }
    }
}

/// How a lease stands, in one word.
pub fn health_word(health: &LeaseHealth) -> &'static str {
    match health {
        LeaseHealth::Live => "live",
        LeaseHealth::Dead(_) => "dead",
        LeaseHealth::Lost(_) => "lost",
    }
}

impl<'a> Sight<'a> {
    /// Of what was read.
    pub fn new(snapshot: &'a Snapshot, workflow: &'a Workflow) -> Self {
        Self { snapshot, workflow, explainer: why::Explainer::new(snapshot, workflow) }
    }

    /// Of a task's lease file.
    pub fn held(&self, task: &Task) -> Option<(&'a LeaseState, LeaseHealth)> {
        self.snapshot.leases.get(&task.id).map(|held| (held, held.health(&self.snapshot.now)))
    }

    /// The row of the role whose business the task is now.
    pub fn rule(&self, task: &Task) -> Option<&'a RoleRule> {
        let fits = |rule: &&RoleRule| task.role.as_deref().is_none_or(|role| role == rule.role.as_str());
        let rules = self.workflow.rules().iter();
        rules
            .clone()
            .find(|rule| rule.works == task.status)
            .or_else(|| rules.filter(|r| r.takes == task.status).find(fits))
    }

    /// The role's name, or nothing.
    pub fn role(&self, task: &Task) -> &'a str {
        self.rule(task).map_or("", |rule| rule.role.as_str())
    }

    /// How the task stands.
    pub fn state(&self, task: &Task) -> State {
        let now = self.snapshot.now.wall;
        let inline = matches!(&task.lease, QueueLease::Inline { until: Some(until), .. } if now < *until);
        match self.held(task) {
            Some((_, LeaseHealth::Live)) => return State::Running,
            Some(_) if !task.status.is_finished() => return State::Stale,
            None if inline => return State::Running,
            _ => {}
        }
        let status = &task.status;
        if status.is_done() {
            State::Done
        } else if *status == Status::CANCELLED {
            State::Cancelled
        } else if *status == Status::FAILED {
            State::Failed
        } else if self.workflow.working(status).is_some() {
            State::Stale
        } else if self.needs_you(task) {
            State::NeedsYou
        } else if task.not_before.is_some_and(|time| now < time) {
            State::Retry
        } else {
            State::Waiting
        }
    }

    /// Whether nothing but a person's act moves it on; the same answer as the inbox's.
    pub fn needs_you(&self, task: &Task) -> bool {
        !task.status.is_finished() && self.explainer.person(task).is_some()
    }

    /// How long a running task has been worked on.
    pub fn running_for(&self, task: &Task) -> Option<Duration> {
        let (held, health) = self.held(task)?;
        let lease = held.ours().filter(|_| health == LeaseHealth::Live)?;
        Some((self.snapshot.now.wall - lease.started_at).to_std().unwrap_or_default())
    }

    /// `true` when the simulated agent is at work on it.
    pub fn simulated(&self, task: &Task) -> bool {
        self.held(task).and_then(|(held, _)| held.ours()).is_some_and(|lease| lease.simulated)
    }

    /// The number of the try that runs, or else the one that would come next, where it is not the first.
    pub fn try_number(&self, task: &Task) -> u32 {
        let running = self.held(task).and_then(|(held, _)| held.ours()).map(|lease| lease.attempt);
        running.unwrap_or(task.attempts.saturating_add(1))
    }

    /// The one sentence that says why the task does not move (R9).
    pub fn why(&self, task: &Task) -> why::Why {
        self.explainer.explain(task)
    }

    /// The sentence alone.
    pub fn sentence(&self, task: &Task) -> String {
        self.explainer.sentence(task)
    }

    /// Tasks in the order in which they are claimed (R6).
    pub fn in_order(&self) -> Vec<&'a Task> {
        let mut tasks: Vec<&Task> = self.snapshot.queue.tasks().collect();
        tasks.sort_by_cached_key(|task| self.snapshot.queue.rank(task));
        tasks
    }

    /// Who waits for whom: the tasks that name an id among their dependencies.
    pub fn dependents(&self) -> HashMap<&'a str, Vec<&'a Task>> {
        let mut all: HashMap<&str, Vec<&Task>> = HashMap::new();
        for task in self.snapshot.queue.tasks() {
            for name in &task.dependencies {
                all.entry(name).or_default().push(task);
            }
        }
        all
    }

    /// `oodatcaa/task.v1`.
    pub fn task(&self, task: &Task) -> Value {
        let held = self.held(task);
        let why = self.explainer.briefly(task);
        json!({
            "schema": "oodatcaa/task.v1",
            "id": task.id,
            "title": task.title,
            "status": task.status,
            "state": self.state(task).word(),
            "role": self.rule(task).map(|rule| &rule.role),
            "type": task.kind,
            "priority": task.priority,
            "agent": task.agent,
            "lease": held.as_ref().map(|(held, health)| lease(held, health)),
            "running_seconds": self.running_for(task).map(|time| time.as_secs()),
            "attempts": task.attempts,
            "starts": self.snapshot.starts(task, &self.workflow.policy().bounds),
            "not_before": time(task.not_before),
            "blocked_reason": task.blocked_reason,
            "dependencies": task.dependencies,
            "parent": task.parent,
            "nested": task.nested,
            "branch": task.branch,
            "gates": task.gates,
            "only_role": task.role,
            "updated_at": time(task.updated_at),
            "simulated": self.simulated(task),
            "why": why.sentence,
            "needs_you": why.person.is_some() && !task.status.is_finished(),
            "next": why.next,
        })
    }
}

fn time(time: Option<DateTime<Utc>>) -> Option<String> {
    time.map(stamp)
}

/// The `lease` member of a task, and `oodatcaa/lease.v1` without its schema.
pub fn lease(held: &LeaseState, health: &LeaseHealth) -> Value {
    let (detail, ours) = match health {
        LeaseHealth::Live => (None, held.ours()),
        LeaseHealth::Dead(why) | LeaseHealth::Lost(why) => (Some(why), held.ours()),
    };
    json!({
        "owner": held.owner(),
        "role": held.role(),
        "token": Some(held.token().0).filter(|&token| token > 0),
        "state": health_word(health),
        "detail": detail,
        "attempt": ours.map(|lease| lease.attempt),
        "started_at": ours.map(|lease| stamp(lease.started_at)),
        "heartbeat_at": ours.map(|lease| stamp(lease.heartbeat_at)),
        "ttl_seconds": ours.map(|lease| lease.ttl_seconds),
        "host": ours.map(|lease| &lease.host),
        "pid": ours.map(|lease| lease.pid),
        "pgid": ours.and_then(|lease| lease.pgid),
        "agent": ours.map(|lease| &lease.by).filter(|by| !by.is_empty()),
        "simulated": ours.is_some_and(|lease| lease.simulated),
        "stop": ours.and_then(|lease| lease.stop.as_ref()),
        "dialect": match held.record {
            LeaseRecord::Ours(_) => "ours",
            LeaseRecord::Foreign(_) => "foreign",
            LeaseRecord::Broken { .. } => "broken",
        },
    })
}

/// A task's id with its glyph on a terminal, the id alone in a pipe.
pub fn id_item(task: &Task, state: State) -> Item {
    Item::new(format!("{} {}", state.glyph(), task.id)).or_piped(task.id.as_str()).tone(state.tone())
}

/// A duration for people, whole seconds for programs; empty without one.
pub fn seconds_item(time: Option<Duration>) -> Item {
    match time {
        Some(time) => Item::new(text::duration(time)).or_piped(time.as_secs().to_string()),
        None => Item::default(),
    }
}

/// A title; a task without one says so.
pub fn title(task: &Task) -> Cow<'_, str> {
    if task.title.trim().is_empty() { Cow::Borrowed("(no title)") } else { Cow::Borrowed(&task.title) }
}
