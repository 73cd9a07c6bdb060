//! A question to a human, its event, and the task that is set aside for one.

use chrono::{DateTime, Utc};

use crate::{
    Data, Edit, EventDraft, Snapshot, Status, Task, Workflow,
    event::Actor,
    event::payload::{Asked, Decided},
    state::decisions::{Decision, End, Topic},
    text,
    time::stamp,
};

/// Something to ask.
pub(super) struct Wanted<'a> {
    pub(super) topic: Topic,
    pub(super) subject: String,
    pub(super) task: Option<&'a Task>,
    pub(super) question: String,
    pub(super) asked: Asked,
}

impl Wanted<'_> {
    /// Drafts the event that asks, as the next decision of its subject.
    pub(super) fn event(&self, snapshot: &Snapshot, workflow: &Workflow, actor: Actor) -> EventDraft {
        let asked = Asked {
            decision: Some(snapshot.history.decisions.next_id(&self.subject)),
            kind: Some(self.topic.to_string()),
            question: Some(text::cut(&self.question, 4_000)),
            default: Some("deny".into()),
            deadline: deadline(snapshot, workflow).map(stamp),
            ..self.asked.clone()
        };
        let task = self.task.map(|task| task.id.clone());
        EventDraft { task, ..EventDraft::new(Data::DecisionRequested(asked), actor) }
    }
}

fn deadline(snapshot: &Snapshot, workflow: &Workflow) -> Option<DateTime<Utc>> {
    let wait = Some(workflow.policy().deadline).filter(|wait| !wait.is_zero())?;
    snapshot.now.wall.checked_add_signed(chrono::Duration::from_std(wait).ok()?)
}

/// Drafts the end of a decision.
pub(super) fn ended(decision: &Decision, how: End, actor: Actor, said: Decided) -> EventDraft {
    let decided = Decided {
        decision: Some(decision.id.clone()),
        kind: Some(decision.topic.to_string()),
        verdict: Some(how.to_string()).filter(|_| how != End::Expired),
        ..said
    };
    let data = match how {
        End::Approved | End::Rejected | End::Answered => Data::DecisionResolved(decided),
        End::Expired | End::Withdrawn => Data::DecisionExpired(decided),
    };
    let (task, role) = (decision.task.clone(), decision.role.clone());
    EventDraft { task, role, ..EventDraft::new(data, actor) }
}

/// Returns the edit that sets a task aside for a reason.
pub(super) fn aside(to: &Status, reason: &str, actor: Actor) -> Edit {
    Edit::by(actor).verb("decide").to(to).blocked(&text::cut(reason, 2_000))
}
