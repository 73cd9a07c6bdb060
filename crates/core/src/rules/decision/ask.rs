//! When a human is asked, and when a question ends without one.

use super::hold::{commit, content, hold};
use crate::{
    ChangeSet, EventDraft, Lease, RoleRule, Snapshot, Status, Task, TaskId, Workflow, budget,
    event::Actor,
    event::payload::{Asked, Decided, Texts},
    rules::question::{Wanted, aside, ended},
    state::decisions::{Decision, End, Topic},
    text,
    time::stamp,
};

/// Asks for everything that waits for a human and has not been asked yet. What has been asked is
/// expected to be tidy.
pub fn ask(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    for task in snapshot.queue.tasks() {
        let Some(topic) = missing(snapshot, workflow, task) else { continue };
        let title = text::cut(&text::one_line(&task.title), 200);
        let question = match topic {
            Topic::Intake => {
                format!("let agents work on {} \"{title}\", which comes from {}?", task.id, task.source_words())
            }
            _ => format!("merge {} \"{title}\"?", task.id),
        };
        let content = Some(content(snapshot, workflow, task, topic));
        let commit = commit(snapshot, workflow, task).filter(|_| topic == Topic::Merge);
        let asked = Asked { content, commit, ..Asked::default() };
        wanted.push(Wanted { topic, subject: task.id.to_string(), task: Some(task), question, asked });
    }
    wanted.extend(budget::wanted(snapshot, workflow));
    wanted.retain(|wanted| {
        let before = snapshot.history.decisions.latest(&wanted.subject, wanted.topic);
        before.is_none_or(|before| again(before, wanted))
    });
    let asked = wanted.iter().map(|wanted| wanted.event(snapshot, workflow, Actor::Policy(wanted.topic.to_string())));
    ChangeSet::told(asked)
}

/// Tells whether something is asked again that has been asked before.
fn again(before: &Decision, wanted: &Wanted<'_>) -> bool {
    match before.closed.as_ref().map(|closed| closed.how) {
        None => false,
        // Nobody is asked a second time for the same money; a task that was turned down was set
        // aside, so it has been brought back.
        Some(End::Rejected | End::Expired) if wanted.topic == Topic::Budget && wanted.task.is_none() => {
            Some(&before.content) != wanted.asked.content.as_ref()
        }
        Some(_) => true,
    }
}

/// Returns what must be decided before any role may take a task where it stands.
fn missing(snapshot: &Snapshot, workflow: &Workflow, task: &Task) -> Option<Topic> {
    if snapshot.leases.contains_key(&task.id) {
        return None;
    }
    workflow.taking(&task.status).find_map(|rule| hold(snapshot, workflow, &rule.role, task)).map(|h| h.topic)
}

/// Drafts the event that asks an agent's question; its task has just been set aside.
pub(crate) fn question(
    snapshot: &Snapshot,
    workflow: &Workflow,
    rule: &RoleRule,
    mine: &Lease,
    words: &str,
) -> EventDraft {
    let options = options(words).iter().map(|option| text::cut(option, 500)).collect();
    let back = Some(rule.takes.clone());
    let asked = Asked { content: Some(String::new()), options: Texts(options), back, ..Asked::default() };
    let (subject, question) = (mine.task_id.to_string(), words.into());
    let wanted = Wanted { topic: Topic::Question, subject, task: None, question, asked };
    wanted.event(snapshot, workflow, Actor::Worker(mine.owner.clone())).lease(mine)
}

/// Ends what is overdue by its default, and withdraws what is no longer a question.
pub fn tidy(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    let mut changes = ChangeSet::none();
    for decision in snapshot.history.decisions.open() {
        if let Some(why) = moot(snapshot, workflow, decision) {
            let said = Decided { reason: Some(why.into()), ..Decided::default() };
            changes.event(ended(decision, End::Withdrawn, Actor::Policy("withdrawn".into()), said));
        } else if decision.deadline.is_some_and(|deadline| deadline <= snapshot.now.wall) {
            expire(snapshot, &mut changes, decision);
        }
    }
    changes
}

/// Says why an open decision is no longer one.
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
        Some(_) if decision.content != content(snapshot, workflow, task, decision.topic) => {
            Some("the task has changed since")
        }
        Some(_) => None,
    }
}

fn expire(snapshot: &Snapshot, changes: &mut ChangeSet, decision: &Decision) {
    let said = Decided { applied: Some(decision.default.clone()), ..Decided::default() };
    changes.event(ended(decision, End::Expired, Actor::Timeout, said));
    let Some(task) = decision.task.as_ref().and_then(|id| snapshot.queue.get(id)) else { return };
    let until = decision.deadline.map(stamp).unwrap_or_default();
    let reason = match decision.topic {
        Topic::Merge => format!("nobody approved the merge until {until}"),
        Topic::Intake => format!("nobody admitted it until {until}; it comes from {}", task.source_words()),
        Topic::Question => format!("nobody answered until {until}: {}", decision.question),
        Topic::Budget => format!("nobody allowed more until {until}: {}", decision.question),
    };
    changes.change(&snapshot.now, task, aside(&Status::NEEDS_MANUAL, &reason, Actor::Timeout));
}

/// Notes that a task's branch stands at another commit than its approval is about, and asks again for that one.
pub fn moved(snapshot: &Snapshot, workflow: &Workflow, task: &TaskId, commit: &str) -> ChangeSet {
    let Some(decision) = snapshot.history.decisions.latest(task.as_str(), Topic::Merge) else {
        return ChangeSet::none();
    };
    let settled = decision.closed.as_ref().is_some_and(|closed| closed.how != End::Approved);
    if decision.commit.as_deref() == Some(commit) || settled {
        return ChangeSet::none();
    }
    let short: String = commit.chars().take(12).collect();
    let (reason, commit) = (Some(format!("its branch is at {short} now")), Some(commit.into()));
    let said = Decided { reason, commit, ..Decided::default() };
    let withdrawn = ended(decision, End::Withdrawn, Actor::Policy("withdrawn".into()), said);
    snapshot.chain(&mut [&mut |_| ChangeSet::told([withdrawn.clone()]), &mut |seen| ask(seen, workflow)])
}

/// Returns the answers that a question offers: its lines `1) …`, `2) …`, numbered from 1 without a gap.
pub fn options(question: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in question.lines() {
        let next = format!("{}) ", found.len() + 1);
        if let Some(option) = line.trim_start().strip_prefix(&next) {
            found.push(option.trim().to_owned());
        }
    }
    found
}
