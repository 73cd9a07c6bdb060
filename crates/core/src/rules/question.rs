//! A question to a human, its event, and the task that is set aside for one.

use chrono::{DateTime, Utc};

use crate::{
    ChangeSet, EventDraft, Kind, Member, Snapshot, Status, Task, Workflow,
    event::Actor,
    state::decisions::{Decision, Topic},
    text,
    time::stamp,
};

/// Something to ask.
pub(super) struct Wanted<'a> {
    pub(super) topic: Topic,
    pub(super) subject: String,
    pub(super) task: Option<&'a Task>,
    pub(super) question: String,
    pub(super) content: String,
    pub(super) commit: Option<String>,
}

impl Wanted<'_> {
    /// The event that asks, as the next decision of its subject.
    pub(super) fn event(&self, snapshot: &Snapshot, workflow: &Workflow, actor: Actor) -> EventDraft {
        let mut event = EventDraft::new(Kind::DecisionRequested, actor)
            .with("decision", snapshot.history.decisions.next_id(&self.subject))
            .with("kind", self.topic.word())
            .with("question", text::cut(&self.question, 4_000))
            .with("content", self.content.as_str())
            .with("commit", self.commit.as_deref())
            .with("default", "deny")
            .with("deadline", deadline(snapshot, workflow).map(stamp));
        event.task = self.task.map(|task| task.id.clone());
        event
    }
}

fn deadline(snapshot: &Snapshot, workflow: &Workflow) -> Option<DateTime<Utc>> {
    let wait = Some(workflow.policy().deadline).filter(|wait| !wait.is_zero())?;
    snapshot.now.wall.checked_add_signed(chrono::Duration::from_std(wait).ok()?)
}

/// An event about a decision.
pub(super) fn about(kind: Kind, actor: Actor, decision: &Decision) -> EventDraft {
    let mut event =
        EventDraft::new(kind, actor).with("decision", decision.id.as_str()).with("kind", decision.topic.word());
    event.task.clone_from(&decision.task);
    event.role.clone_from(&decision.role);
    event
}

/// Sets a task aside for a reason.
pub(super) fn aside(
    snapshot: &Snapshot,
    changes: &mut ChangeSet,
    task: &Task,
    to: &Status,
    reason: &str,
    actor: Actor,
) {
    let kind = if task.status == *to { Kind::TaskUpdated } else { Kind::TaskMoved };
    let event = EventDraft::new(kind, actor).with("verb", "decide").with("reason", reason);
    changes.change(&snapshot.now, task, to, &[(Member::BlockedReason, reason.into())], event);
}
