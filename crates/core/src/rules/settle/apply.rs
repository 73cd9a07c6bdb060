//! A verdict becomes changes of the queue and events.

use serde_json::Value;

use super::verdict::Verdict;
use crate::{
    AttemptReport, ChangeSet, Class, Data, Edit, EventDraft, Lease, Member, RoleRule, Snapshot, Task, TaskId,
    event::{Actor, payload::Paused},
    outcome::Retry,
    text,
    time::stamp,
};

/// Writes a verdict into the change set: the task, its move, the pause of its role.
pub(super) fn apply(
    snapshot: &Snapshot,
    changes: &mut ChangeSet,
    rule: &RoleRule,
    task: &Task,
    mine: &Lease,
    verdict: Verdict,
    report: &AttemptReport,
) {
    // Attempts are counted per stage; where a stage failed for good, `blocked_reason` says how often it was tried.
    let attempts = match verdict.to == rule.takes {
        true => task.attempts.saturating_add(u32::from(verdict.charged)),
        false => 0,
    };
    let blocked_reason = verdict.blocked_reason.map(|reason| text::cut(&reason, 2_000));
    let reason = verdict.reason.as_deref().map(|reason| text::cut(reason, 2_000));
    let is_timed = verdict.not_before.is_some() || task.not_before.is_some();
    let has_reason = blocked_reason.is_some() || task.blocked_reason.is_some();
    let is_done = verdict.to.is_done();
    // Only what our own code has merged is called merged.
    let (commit, tag) = (report.commit.as_deref(), report.tag.as_deref());
    let edit = Edit::by_attempt(mine)
        .to(&verdict.to)
        .reason(reason.as_deref())
        .set(Member::Lease, Value::Null)
        .set_if(attempts != task.attempts, Member::Attempts, attempts)
        .set_if(verdict.turned_away && task.starts > 0, Member::Starts, task.starts.saturating_sub(1))
        .set_if(is_timed, Member::NotBefore, verdict.not_before.map(stamp))
        .set_if(has_reason, Member::BlockedReason, blocked_reason)
        .set_if(is_done, Member::CompletedAt, stamp(snapshot.now.wall))
        .set_if(is_done && commit.is_some(), Member::MergedCommit, commit)
        .set_if(is_done && tag.is_some(), Member::Tag, tag)
        .set_if(report.branch.is_some() && report.branch != task.branch, Member::Branch, report.branch.as_deref());
    changes.change(&snapshot.now, task, edit);
    if let Some(class) = verdict.pause
        && snapshot.history.paused(&mine.role).is_none()
    {
        // The class stands beside it.
        let bare = reason.as_deref().map(|text| text.strip_prefix(&format!("{class}: ")).unwrap_or(text));
        changes.event(paused(mine, class, bare.map(String::from), Actor::Worker(mine.owner.clone())));
    }
}

/// Pauses a role whose tasks fail one after the other: the environment is the suspect.
pub(super) fn pause_failing_role(snapshot: &Snapshot, changes: &mut ChangeSet, mine: &Lease, retry: &Retry) {
    if retry.pause_after == 0 {
        return;
    }
    let after = snapshot.after(&ChangeSet { events: changes.events.clone(), ..ChangeSet::none() });
    let Some(role) = after.history.roles.get(&mine.role) else { return };
    if role.paused.is_none() && role.failing.len() >= retry.pause_after as usize {
        let tasks: Vec<&str> = role.failing.iter().map(TaskId::as_str).collect();
        let last = changes.events.iter().rev().find_map(|event| match &event.data {
            Data::AttemptFinished(ended) => Some((ended.class.as_deref()?, ended.reason.as_deref()?)),
            _ => None,
        });
        let word = |words: &str| text::cut(&text::one_line(words), 300);
        let last = last.map(|(class, reason)| format!("; the last: {}: {}", word(class), word(reason)));
        let reason = format!(
            "{} tasks failed one after the other ({}): suspect the environment{}",
            tasks.len(),
            tasks.join(", "),
            last.unwrap_or_default()
        );
        changes.event(paused(mine, Class::Environment, Some(reason), Actor::Policy("failure".into())));
    }
}

fn paused(mine: &Lease, class: Class, reason: Option<String>, actor: Actor) -> EventDraft {
    let paused = Paused { class: Some(class.as_str().into()), reason, ..Paused::default() };
    EventDraft::new(Data::WorkerPaused(paused), actor).role(&mine.role)
}
