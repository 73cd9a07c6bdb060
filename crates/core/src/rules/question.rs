//! A question to a human, its event, and the task that is set aside for one.

use chrono::{DateTime, Utc};

use crate::{
    ChangeSet, Data, EventDraft, Member, Snapshot, Status, Task, Workflow,
    event::{
        Actor,
        payload::{Asked, Decided, Texts},
    },
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
    pub(super) content: String,
    pub(super) commit: Option<String>,
    /// Answers to pick from.
    pub(super) options: Vec<String>,
    /// Where the task goes back to when it is answered.
    pub(super) back: Option<Status>,
}

impl Wanted<'_> {
    /// Drafts the event that asks, as the next decision of its subject.
    pub(super) fn event(&self, snapshot: &Snapshot, workflow: &Workflow, actor: Actor) -> EventDraft {
        let asked = Asked {
            decision: Some(snapshot.history.decisions.next_id(&self.subject)),
            kind: Some(self.topic.as_str().into()),
            question: Some(text::cut(&self.question, 4_000)),
            content: Some(self.content.clone()),
            commit: self.commit.clone(),
            default: Some("deny".into()),
            deadline: deadline(snapshot, workflow).map(stamp),
            options: Texts(self.options.clone()),
            back: self.back.clone(),
            ..Asked::default()
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
        kind: Some(decision.topic.as_str().into()),
        verdict: Some(how.as_str().into()).filter(|_| how != End::Expired),
        ..said
    };
    let data = match how {
        End::Approved | End::Rejected | End::Answered => Data::DecisionResolved(decided),
        End::Expired | End::Withdrawn => Data::DecisionExpired(decided),
    };
    let (task, role) = (decision.task.clone(), decision.role.clone());
    EventDraft { task, role, ..EventDraft::new(data, actor) }
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
    let event = EventDraft::change(actor).verb("decide").reason(reason);
    changes.change(&snapshot.now, task, to, &[(Member::BlockedReason, reason.into())], event);
}
