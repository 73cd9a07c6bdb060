//! One reading of a project: the state of each task in one word, who works on it, and why it stands there.
//!
//! Everything that shows tasks asks here, so that all say the same of the same task.

use std::time::Duration;

use serde::Serialize;

use crate::view::{FactView, FailureView, LeaseView, Moment, TaskDetail, TaskView, WhyView};
use oodatcaa_core::{
    LeaseState, QueueLease, RoleRule, Snapshot, Status, Task, Workflow, landing, lease::LeaseHealth, why, words,
};

/// A snapshot together with the table of roles.
pub struct ReadModel<'a> {
    /// What stands there.
    pub snapshot: &'a Snapshot,
    /// Who takes what.
    pub workflow: &'a Workflow,
    explainer: why::Explainer<'a>,
}

words! {
    /// How a task stands, for people.
    #[derive(Serialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum TaskState {
        Running = "running": "A worker has it.";
        Stale = "stale": "It looks as if a worker had it, and none has.";
        NeedsYou = "needs_you": "A human must act.";
        Failed = "failed": "Attempts are used up.";
        Retry = "retry": "It waits for its time to be tried again.";
        Waiting = "waiting": "It waits for a worker, a dependency or its children.";
        Cancelled = "cancelled": "Cancelled.";
        Done = "done": "Done.";
    }
}

impl<'a> ReadModel<'a> {
    /// Returns the model of what was read.
    pub fn new(snapshot: &'a Snapshot, workflow: &'a Workflow) -> Self {
        Self { snapshot, workflow, explainer: why::Explainer::new(snapshot, workflow) }
    }

    /// Returns a task's lease and how it stands.
    pub fn held(&self, task: &Task) -> Option<(&'a LeaseState, LeaseHealth)> {
        self.snapshot.leases.get(&task.id).map(|held| (held, held.health(&self.snapshot.now)))
    }

    /// Returns the rule of the role that has to do with the task now.
    pub fn rule(&self, task: &Task) -> Option<&'a RoleRule> {
        let fits = |rule: &&RoleRule| task.role.as_deref().is_none_or(|role| role == rule.role.as_str());
        let rules = self.workflow.rules().iter();
        rules
            .clone()
            .find(|rule| rule.works == task.status)
            .or_else(|| rules.filter(|r| r.takes == task.status).find(fits))
    }

    /// Returns the name of that role, or nothing.
    pub fn role(&self, task: &Task) -> &'a str {
        self.rule(task).map_or("", |rule| rule.role.as_str())
    }

    /// Tells how the task stands.
    pub fn state(&self, task: &Task) -> TaskState {
        let now = self.snapshot.now.wall;
        let inline = matches!(&task.lease, QueueLease::Inline { until: Some(until), .. } if now < *until);
        match self.held(task) {
            Some((_, LeaseHealth::Live)) => return TaskState::Running,
            Some(_) if !task.status.is_finished() => return TaskState::Stale,
            None if inline => return TaskState::Running,
            _ => {}
        }
        let status = &task.status;
        if status.is_done() {
            TaskState::Done
        } else if *status == Status::CANCELLED {
            TaskState::Cancelled
        } else if *status == Status::FAILED {
            TaskState::Failed
        } else if self.workflow.working(status).is_some() {
            TaskState::Stale
        } else if self.needs_you(task) {
            TaskState::NeedsYou
        } else if task.not_before.is_some_and(|time| now < time) {
            TaskState::Retry
        } else {
            TaskState::Waiting
        }
    }

    /// Tells whether nothing but a person's act moves it on; the inbox says the same.
    pub fn needs_you(&self, task: &Task) -> bool {
        !task.status.is_finished() && self.explainer.briefly(task).person.is_some()
    }

    /// Returns for how long a running task has been worked on.
    fn running_for(&self, task: &Task) -> Option<Duration> {
        let (held, health) = self.held(task)?;
        let lease = held.ours().filter(|_| health == LeaseHealth::Live)?;
        Some((self.snapshot.now.wall - lease.started_at).to_std().unwrap_or_default())
    }

    /// Tells whether the simulated agent is at work on it.
    pub fn simulated(&self, task: &Task) -> bool {
        self.held(task).and_then(|(held, _)| held.ours()).is_some_and(|lease| lease.simulated)
    }

    /// Explains it in one sentence.
    pub fn sentence(&self, task: &Task) -> String {
        self.explainer.briefly(task).sentence
    }

    /// Returns the tasks in the order in which they are claimed.
    pub fn in_order(&self) -> Vec<&'a Task> {
        let mut tasks: Vec<&Task> = self.snapshot.queue.tasks().collect();
        tasks.sort_by_cached_key(|task| self.snapshot.queue.rank(task));
        tasks
    }

    /// Describes a task for a list.
    pub fn task(&self, task: &Task) -> TaskView {
        let held = self.held(task);
        let why = self.explainer.briefly(task);
        TaskView {
            id: task.id.clone(),
            title: task.title.clone(),
            status: task.status.clone(),
            state: self.state(task),
            role: self.rule(task).map(|rule| rule.role.clone()),
            kind: task.kind.clone(),
            priority: task.priority,
            agent: task.agent.clone(),
            lease: held.as_ref().map(|(held, health)| LeaseView::of(held, health)),
            running_seconds: self.running_for(task).map(|time| time.as_secs()),
            attempts: task.attempts,
            starts: self.snapshot.starts(task, &self.workflow.policy().bounds),
            not_before: task.not_before.map(Moment),
            blocked_reason: task.blocked_reason.clone(),
            dependencies: task.dependencies.clone(),
            parent: task.parent.clone(),
            nested: task.nested,
            branch: task.branch.clone(),
            gates: task.gates.clone(),
            only_role: task.role.clone(),
            updated_at: task.updated_at.map(Moment),
            simulated: self.simulated(task),
            needs_you: why.person.is_some() && !task.status.is_finished(),
            why: why.sentence,
            next: why.next,
        }
    }

    /// Describes everything that is known of a task.
    pub fn detail(&self, task: &Task) -> TaskDetail {
        let ids = |tasks: &mut dyn Iterator<Item = &Task>| tasks.map(|task| task.id.clone()).collect();
        let known = self.snapshot.history.task(&task.id);
        let depends = |other: &&Task| other.dependencies.iter().any(|name| name == task.id.as_str());
        let failures = known.map(|known| known.failures.iter()).into_iter().flatten();
        TaskDetail {
            task: self.task(task),
            description: task.description.clone(),
            acceptance_criteria: task.acceptance_criteria.clone(),
            exit_gates: task.exit_gates.clone(),
            complexity: task.complexity.clone(),
            merged_commit: landing::merged(self.snapshot, task),
            children: ids(&mut self.snapshot.queue.children(&task.id)),
            dependents: ids(&mut self.snapshot.queue.tasks().filter(depends)),
            token: known.map(|known| known.token),
            failures: failures
                .map(|(role, reason)| FailureView { role: role.clone(), reason: reason.clone() })
                .collect(),
        }
    }

    /// Explains at length why a task stands where it stands.
    pub fn why_view(&self, task: &Task) -> WhyView {
        let why = self.explainer.explain(task);
        WhyView {
            id: task.id.clone(),
            status: task.status.clone(),
            state: self.state(task),
            sentence: why.sentence,
            rule: why.rule.into(),
            facts: why.facts.into_iter().map(|fact| FactView { ok: fact.ok, text: fact.text }).collect(),
            next: why.next,
            at: self.snapshot.now.wall.into(),
        }
    }
}
