//! When a human is asked, and when a question ends without one.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Decision, End, Topic, about, content};
use crate::{
    ChangeSet, EventDraft, Kind, Lease, Member, RoleRule, Snapshot, Status, Task, Workflow, budget, change::stamp,
    event::Actor, text,
};

/// Something to ask.
pub(crate) struct Wanted<'a> {
    pub(crate) topic: Topic,
    pub(crate) subject: String,
    pub(crate) task: Option<&'a Task>,
    pub(crate) question: String,
    pub(crate) content: String,
    pub(crate) commit: Option<String>,
}

impl Wanted<'_> {
    /// The event that asks, as the next decision of its subject.
    fn event(&self, snapshot: &Snapshot, workflow: &Workflow, actor: Actor) -> EventDraft {
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

/// Asks for everything that waits for a human and has not been asked yet. What has been asked is
/// expected to be tidy.
pub fn ask(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    let mut changes = ChangeSet::none();
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    for task in snapshot.queue.tasks() {
        let Some(topic) = missing(snapshot, workflow, task) else { continue };
        let title = text::cut(&text::one_line(&task.title), 200);
        let question = match topic {
            Topic::Intake => format!("let agents work on {} \"{title}\", which comes from {}?", task.id, origin(task)),
            _ => format!("merge {} \"{title}\"?", task.id),
        };
        let content = content::of(snapshot, workflow, task, topic);
        let commit = content::commit(snapshot, workflow, task).filter(|_| topic == Topic::Merge);
        wanted.push(Wanted { topic, subject: task.id.to_string(), task: Some(task), question, content, commit });
    }
    wanted.extend(budget::wanted(snapshot, workflow));
    for wanted in wanted {
        let before = snapshot.history.decisions.latest(&wanted.subject, wanted.topic);
        if before.is_none_or(|before| again(before, &wanted)) {
            changes.event(wanted.event(snapshot, workflow, Actor::Policy(wanted.topic.word().into())));
        }
    }
    changes
}

/// Whether something is asked again that has been asked before.
fn again(before: &Decision, wanted: &Wanted<'_>) -> bool {
    match before.closed.as_ref().map(|closed| closed.how) {
        None => false,
        // Nobody is asked a second time for the same money; a task that was turned down was set
        // aside, so it has been brought back.
        Some(End::Rejected | End::Expired) if wanted.topic == Topic::Budget && wanted.task.is_none() => {
            before.content != wanted.content
        }
        Some(_) => true,
    }
}

/// Where the text of a task comes from.
pub(crate) fn origin(task: &Task) -> String {
    let origin = task.source.as_deref().map_or("somebody who is not trusted".into(), text::one_line);
    text::cut(&origin, 200)
}

/// What must be decided before any role may take a task where it stands.
fn missing(snapshot: &Snapshot, workflow: &Workflow, task: &Task) -> Option<Topic> {
    if snapshot.leases.contains_key(&task.id) {
        return None;
    }
    workflow.taking(&task.status).find_map(|rule| super::hold(snapshot, workflow, &rule.role, task)).map(|h| h.topic)
}

/// The event that asks an agent's question; its task has just been set aside.
pub fn question(snapshot: &Snapshot, workflow: &Workflow, rule: &RoleRule, mine: &Lease, words: &str) -> EventDraft {
    let wanted = Wanted {
        topic: Topic::Question,
        subject: mine.task_id.to_string(),
        task: None,
        question: words.into(),
        content: String::new(),
        commit: None,
    };
    let options: Vec<Value> =
        content::options(words).into_iter().map(|option| text::cut(&option, 500).into()).collect();
    wanted
        .event(snapshot, workflow, Actor::Worker(mine.owner.clone()))
        .lease(mine)
        .with("options", Some(options).filter(|options| !options.is_empty()))
        .with("back", rule.takes.as_str())
}

/// Ends what is overdue by its default, and withdraws what is no longer a question.
pub fn tidy(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    let mut changes = ChangeSet::none();
    for decision in snapshot.history.decisions.open() {
        if let Some(why) = moot(snapshot, workflow, decision) {
            let event = about(Kind::DecisionExpired, Actor::Policy("withdrawn".into()), decision);
            changes.event(event.with("verdict", End::Withdrawn.word()).with("reason", why));
        } else if decision.deadline.is_some_and(|deadline| deadline <= snapshot.now.wall) {
            expire(snapshot, &mut changes, decision);
        }
    }
    changes
}

/// Why an open decision is no longer one.
fn moot(snapshot: &Snapshot, workflow: &Workflow, decision: &Decision) -> Option<&'static str> {
    if decision.topic == Topic::Budget {
        return budget::moot(snapshot, workflow, decision).then_some("the budget is no longer used up");
    }
    let Some(task) = decision.task.as_ref().and_then(|id| snapshot.queue.get(id)) else {
        return Some("the task is gone");
    };
    if decision.topic == Topic::Question {
        return (task.status != Status::NEEDS_MANUAL).then_some("the task has been moved on");
    }
    match missing(snapshot, workflow, task) {
        Some(topic) if topic != decision.topic => Some("something else must be decided first"),
        None => Some("the task has been moved on"),
        Some(_) if decision.content != content::of(snapshot, workflow, task, decision.topic) => {
            Some("the task has changed since")
        }
        Some(_) => None,
    }
}

fn expire(snapshot: &Snapshot, changes: &mut ChangeSet, decision: &Decision) {
    let event = about(Kind::DecisionExpired, Actor::Timeout, decision).with("applied", decision.default.as_str());
    changes.event(event);
    let Some(task) = decision.task.as_ref().and_then(|id| snapshot.queue.get(id)) else { return };
    let until = decision.deadline.map(stamp).unwrap_or_default();
    let reason = match decision.topic {
        Topic::Merge => format!("nobody approved the merge until {until}"),
        Topic::Intake => format!("nobody let it in until {until}; it comes from {}", origin(task)),
        Topic::Question => format!("nobody answered until {until}: {}", decision.question),
        Topic::Budget => format!("nobody allowed more until {until}: {}", decision.question),
    };
    aside(snapshot, changes, task, &Status::NEEDS_MANUAL, &text::cut(&reason, 2_000), Actor::Timeout);
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
