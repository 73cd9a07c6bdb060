//! What an attempt's outcome does to its task.
//!
//! A result is applied only while its token is the newest and the task still stands where the attempt
//! took it; what a superseded attempt made is noted and nothing else.

mod apply;
pub(crate) mod moved;
#[cfg(test)]
mod tests;
mod verdict;

use serde_json::Value;

use crate::{
    AttemptReport, ChangeSet, Class, Data, Edit, EventDraft, Lease, LeaseChange, Member, Outcome, QueueLease, Snapshot,
    Status, Workflow, budget, children, decision,
    event::{
        Actor,
        payload::{Ended, TaskChange, Texts},
    },
    landing,
    outcome::{Policy, Retry},
    pool, text,
};
use apply::{apply, pause_failing_role};
use verdict::{Case, Verdict, judge};

/// How many files of a conflict are written down.
const FILES: usize = 20;

/// Settles an attempt: its task, and the pool of its agent.
pub fn decide(
    snapshot: &Snapshot,
    workflow: &Workflow,
    mine: &Lease,
    outcome: &Outcome,
    retry: &Retry,
    report: &AttemptReport,
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
            ..Ended::from(report)
        };
        changes.event(EventDraft::of(mine, Data::AttemptSuperseded(ended)));
        return changes;
    }
    snapshot.chain(&mut [
        &mut |seen| on_task(seen, workflow, mine, outcome, retry, report),
        &mut |seen| pool::settle(seen, mine, outcome),
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
    report: &AttemptReport,
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
        ..Ended::from(report)
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
    let mut verdict = judge(&Case { snapshot, workflow, rule, task, mine, retry }, outcome, !children.is_empty());
    let adapts = snapshot.history.task(&task.id).map_or(0, |known| known.adapts);
    let is_adapted = verdict.to == rule.failed && workflow.taking(&rule.failed).any(|row| workflow.adapts(row));
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
    let ended = Ended {
        set_itself: set_itself.as_ref().map(|_| task.status.to_string()),
        charged: verdict.charged,
        transient: verdict.transient,
        turned_away: verdict.turned_away,
        adapted: workflow.adapts(rule) && outcome.is_success(),
        failure: !is_nobodys,
        files: Texts(files.iter().take(FILES).map(|file| text::cut(file, 200)).collect()),
        overrun: ran_over && budget::overran(snapshot, workflow, task, &mine.role, &report.usage),
        ..finished(outcome)
    };
    changes.event(EventDraft::of(mine, Data::AttemptFinished(ended)));
    if let Outcome::NeedsInput { question } = outcome {
        changes.event(decision::question(snapshot, workflow, rule, mine, question));
    }
    apply(snapshot, &mut changes, rule, task, mine, verdict, report);
    for (new, proposal) in children.into_iter().zip(outcome.proposals()) {
        let left_out = Texts(proposal.keys().filter(|key| children::is_ours(key)).cloned().collect());
        let said = TaskChange { parent: Some(mine.task_id.to_string()), left_out, ..TaskChange::default() };
        changes.add(new, Actor::Worker(mine.owner.clone()), said);
    }
    pause_failing_role(snapshot, &mut changes, mine, retry);
    changes
}
