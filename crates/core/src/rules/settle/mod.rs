//! What an attempt's outcome does to its task.
//!
//! A result is applied only while its token is the newest and the task still stands where the attempt
//! took it; what a superseded attempt made is noted and nothing else.

pub(crate) mod moved;
#[cfg(test)]
mod tests;
mod verdict;

use serde_json::Value;

use crate::{
    ChangeSet, Class, Data, Edit, EventDraft, Lease, LeaseChange, Member, Outcome, QueueLease, Snapshot, Status,
    TaskId, Workflow, budget, children, decision,
    event::Actor,
    event::payload::{Ended, Paused, TaskChange, Texts},
    landing,
    outcome::{Policy, Retry},
    pool, text,
    time::stamp,
};
use verdict::{Case, Verdict, judge};

/// The number of files of a conflict that are written down.
const FILES: usize = 20;

/// Settles an attempt: its task, and the pool of its agent. What `report` says stands in its last event, too.
pub fn decide(
    snapshot: &Snapshot,
    workflow: &Workflow,
    mine: &Lease,
    outcome: &Outcome,
    retry: &Retry,
    report: &Ended,
) -> ChangeSet {
    if snapshot.supersedes(mine) {
        let mut changes = ChangeSet::none();
        // What superseded it may be another task under its id, which waits for this lease to go.
        if snapshot.leases.get(&mine.task_id).is_some_and(|held| held.token() == mine.token) {
            changes.leases.push(LeaseChange::Drop(mine.task_id.clone()));
        }
        let ended = Ended {
            outcome: Some(outcome.word().into()),
            newest: Some(snapshot.highest_token(&mine.task_id).0),
            ..report.clone()
        };
        changes.event(EventDraft::of(mine, Data::AttemptSuperseded(ended)));
        return changes;
    }
    snapshot.chain(&mut [
        &mut |seen| on_task(seen, workflow, mine, outcome, retry, report),
        &mut |seen| pool::settle(seen, workflow, mine, outcome),
        &mut |seen| budget::tell(seen, workflow, mine),
        &mut |seen| decision::ask(seen, workflow),
    ])
}

fn on_task(
    snapshot: &Snapshot,
    workflow: &Workflow,
    mine: &Lease,
    outcome: &Outcome,
    retry: &Retry,
    report: &Ended,
) -> ChangeSet {
    let mut changes = ChangeSet::none();
    // What had passed and was not taken back is in the target, whatever else kept its attempt from saying so.
    let landed = || landing::passed(snapshot, &mine.task_id);
    let finished = |outcome: &Outcome| Ended {
        outcome: Some(outcome.word().into()),
        class: outcome.class().map(|class| class.to_string()),
        reason: Some(text::cut(outcome.words(), 2_000)),
        landed: matches!(outcome, Outcome::Failed { .. } | Outcome::Waits { .. }).then(landed).flatten(),
        pool: report.resets_at.map(|_| mine.pool.clone()),
        ..report.clone()
    };
    let stays = |outcome: &Outcome, stands: &str| {
        let ended = Ended { stands: Some(stands.into()), ..finished(outcome) };
        EventDraft::of(mine, Data::AttemptFinished(ended))
    };
    if snapshot.leases.contains_key(&mine.task_id) {
        changes.leases.push(LeaseChange::Drop(mine.task_id.clone()));
    }
    let (Some(task), Some(rule)) = (snapshot.queue.get(&mine.task_id), workflow.rule(&mine.role)) else {
        changes.event(stays(outcome, "gone"));
        return changes;
    };
    // Who asked for the end was told yes: what came of the attempt all the same moves the task nowhere else.
    let asked = landing::asked(snapshot, mine).filter(|_| report.commit.is_none());
    let stopped = asked.map(|stop| Outcome::failed(Class::Cancelled, stop.to_string()));
    let outcome = stopped.as_ref().unwrap_or(outcome);
    let moved = (task.status != rule.works).then(|| moved::proposed(snapshot, workflow, rule, task, mine, outcome));
    if let Some(None) = moved {
        changes.event(stays(outcome, task.status.as_str()));
        let is_mine = matches!(&task.lease, QueueLease::Ours { token, .. } if *token == mine.token);
        let mut edit = Edit::by_attempt(mine).set_if(is_mine, Member::Lease, Value::Null);
        // It was said after the merge had passed; that it came too late must not be hidden.
        if let (Some(commit), Outcome::Done { .. }) = (&report.commit, outcome) {
            let words = landing::too_late(workflow, commit, &task.status);
            edit = edit.set(Member::MergedCommit, commit.as_str());
            edit = edit.set_if(!task.status.is_done(), Member::BlockedReason, words);
        }
        if !edit.is_empty(task) {
            changes.change(&snapshot.now, task, edit);
        }
        return changes;
    }
    let set_itself = moved.flatten();
    let outcome = set_itself.as_ref().unwrap_or(outcome);
    let children = children::propose(snapshot, workflow, task, outcome.proposals());
    let refused = children
        .as_ref()
        .err()
        .map(|reason| Outcome::failed(Class::Protocol, format!("the proposed tasks cannot be taken: {reason}")));
    let (outcome, children) = (refused.as_ref().unwrap_or(outcome), children.unwrap_or_default());
    let case = Case { snapshot, workflow, rule, task, mine, retry };
    let mut verdict = judge(case, outcome, !children.is_empty());
    let adapts = snapshot.history.task(&task.id).map_or(0, |known| known.adapts);
    let is_adapted = verdict.to == rule.failed && workflow.taking(&rule.failed).any(|row| workflow.mends(row));
    if is_adapted && adapts >= retry.adapts {
        let reason = verdict.reason.unwrap_or_default();
        let held = Verdict::held(&Status::NEEDS_MANUAL, format!("adapted {adapts} times and still: {reason}"));
        verdict = Verdict { pause: verdict.pause, ..held };
    }
    // What the next attempt can do better is told to it; a provider's trouble is none of that.
    let is_nobodys = match outcome.class() {
        Some(class) => matches!(class.policy(), Policy::Stop | Policy::Quota | Policy::Auth) || verdict.transient,
        None => outcome.is_success() || matches!(outcome, Outcome::Waits { .. }),
    };
    let files: &[String] = if let Outcome::Conflict { files, .. } = outcome { files } else { &[] };
    let ran_over = outcome.class() == Some(Class::BudgetExceeded);
    // Where the role that builds also mends, the reason for which a task came back tells the two apart.
    let has_adapted = workflow.adapts(rule) || workflow.mends(rule) && task.blocked_reason.is_some();
    let ended = Ended {
        set_itself: set_itself.as_ref().map(|_| task.status.to_string()),
        charged: verdict.charged,
        transient: verdict.transient,
        turned_away: verdict.turned_away,
        adapted: has_adapted && outcome.is_success(),
        failure: !is_nobodys,
        files: Texts(files.iter().take(FILES).map(|file| text::cut(file, 200)).collect()),
        overrun: ran_over && budget::overran(snapshot, workflow, task, &mine.role, &report.usage),
        ..finished(outcome)
    };
    changes.event(EventDraft::of(mine, Data::AttemptFinished(ended)));
    if let Outcome::NeedsInput { question } = outcome {
        changes.event(decision::question(snapshot, workflow, rule, mine, question));
    }
    apply(case, &mut changes, verdict, report);
    for (new, proposal) in children.into_iter().zip(outcome.proposals()) {
        let left_out = Texts(proposal.keys().filter(|key| children::is_ours(key)).cloned().collect());
        let said = TaskChange { parent: Some(mine.task_id.to_string()), left_out, ..TaskChange::default() };
        changes.add(new, Actor::Worker(mine.owner.clone()), said);
    }
    pause_failing_role(case, &mut changes);
    changes
}

/// Writes a verdict into the change set: the task, its move, the pause of its role.
fn apply(case: Case<'_>, changes: &mut ChangeSet, verdict: Verdict, report: &Ended) {
    let Case { snapshot, rule, task, mine, .. } = case;
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
fn pause_failing_role(case: Case<'_>, changes: &mut ChangeSet) {
    let (mine, most) = (case.mine, case.retry.pause_after as usize);
    let after = case.snapshot.after(&ChangeSet { events: changes.events.clone(), ..ChangeSet::none() });
    let Some(role) = after.history.roles.get(&mine.role) else { return };
    if most > 0 && role.paused.is_none() && role.failing.len() >= most {
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
