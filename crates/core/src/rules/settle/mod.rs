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
    AttemptReport, ChangeSet, Class, Data, EventDraft, Lease, LeaseChange, Member, Outcome, QueueLease, Snapshot,
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
        changes.event(event(mine, Data::AttemptSuperseded(ended)));
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
    let actor = || Actor::Worker(mine.owner.clone());
    // What had passed and was not taken back is in the target, whatever else kept its attempt from saying so.
    let landed = || landing::passed(snapshot, &mine.task_id);
    let finished = |outcome: &Outcome| {
        let class = if let Outcome::Failed { class, .. } = outcome { Some(class.as_str().into()) } else { None };
        Ended {
            outcome: Some(outcome.word().into()),
            class,
            reason: Some(text::cut(outcome.words(), 2_000)),
            landed: matches!(outcome, Outcome::Failed { .. } | Outcome::Waits { .. }).then(landed).flatten(),
            pool: report.resets_at.map(|_| mine.pool.clone()),
            ..Ended::from(report)
        }
    };
    if snapshot.leases.contains_key(&mine.task_id) {
        changes.leases.push(LeaseChange::Drop(mine.task_id.clone()));
    }
    let (Some(task), Some(rule)) = (snapshot.queue.get(&mine.task_id), workflow.rule(&mine.role)) else {
        let ended = Ended { stands: Some("gone".into()), ..finished(outcome) };
        changes.event(event(mine, Data::AttemptFinished(ended)));
        return changes;
    };
    // Who asked for the end was told yes: what came of the attempt all the same moves the task nowhere else.
    let asked = landing::asked(snapshot, mine).filter(|_| report.commit.is_none());
    let stopped = asked.map(|stop| Outcome::failed(Class::Cancelled, stop.to_string()));
    let outcome = stopped.as_ref().unwrap_or(outcome);
    let moved = (task.status != rule.works).then(|| moved::proposed(snapshot, workflow, rule, task, mine, outcome));
    if let Some(None) = moved {
        let ended = Ended { stands: Some(task.status.to_string()), ..finished(outcome) };
        changes.event(event(mine, Data::AttemptFinished(ended)));
        let mut set: Vec<(Member, Value)> = Vec::new();
        if matches!(&task.lease, QueueLease::Ours { token, .. } if *token == mine.token) {
            set.push((Member::Lease, Value::Null));
        }
        // It was said after the merge had passed; that it came too late must not be hidden.
        if let (Some(commit), Outcome::Done { .. }) = (&report.commit, outcome) {
            set.push((Member::MergedCommit, commit.as_str().into()));
            if !task.status.is_done() {
                set.push((Member::BlockedReason, landing::too_late(workflow, commit, &task.status).into()));
            }
        }
        if !set.is_empty() {
            changes.change(&snapshot.now, task, &task.status, &set, EventDraft::change(actor()).lease(mine));
        }
        return changes;
    }
    let mut plan_children = Vec::new();
    let proposed = moved.flatten();
    let changed;
    let mut outcome = proposed.as_ref().unwrap_or(outcome);
    if let Outcome::Done { tasks, .. } = outcome {
        match children::propose(snapshot, workflow, task, tasks) {
            Ok(new) => plan_children = new,
            Err(reason) => {
                changed = Outcome::failed(Class::Protocol, format!("the proposed tasks cannot be taken: {reason}"));
                outcome = &changed;
            }
        }
    }
    let adapting = workflow.adapts(rule);
    let mut verdict = judge(&Case { snapshot, workflow, rule, task, mine, retry }, outcome, !plan_children.is_empty());
    let adapts = snapshot.history.task(&task.id).map_or(0, |known| known.adapts);
    if verdict.to == rule.failed
        && workflow.taking(&rule.failed).any(|row| workflow.adapts(row))
        && adapts >= retry.adapts
    {
        let reason = verdict.reason.clone().unwrap_or_default();
        let pause = verdict.pause;
        verdict = Verdict::held(&Status::NEEDS_MANUAL, format!("adapted {adapts} times and still: {reason}"));
        verdict.pause = pause;
    }
    let success = matches!(outcome, Outcome::Done { .. } | Outcome::NoChange { .. });
    // What the next attempt can do better is told to it; a provider's trouble is none of that.
    let is_nobodys = match outcome {
        Outcome::Failed { class, .. } => {
            matches!(class.policy(), Policy::Stop | Policy::Quota | Policy::Auth) || verdict.transient
        }
        Outcome::Waits { .. } => true,
        _ => success,
    };
    let files: &[String] = if let Outcome::Conflict { files, .. } = outcome { files } else { &[] };
    let ran_over = matches!(outcome, Outcome::Failed { class: Class::BudgetExceeded, .. });
    let ended = Ended {
        set_itself: proposed.as_ref().map(|_| task.status.to_string()),
        charged: verdict.charged,
        transient: verdict.transient,
        turned_away: verdict.turned_away,
        adapted: adapting && success,
        failure: !is_nobodys,
        files: Texts(files.iter().take(FILES).map(|file| text::cut(file, 200)).collect()),
        overrun: ran_over && budget::overran(snapshot, workflow, task, &mine.role, &report.usage),
        ..finished(outcome)
    };
    changes.event(event(mine, Data::AttemptFinished(ended)));
    if let Outcome::NeedsInput { question } = outcome {
        changes.event(decision::question(snapshot, workflow, rule, mine, question));
    }
    apply(snapshot, &mut changes, rule, task, mine, verdict, report);
    let proposed = if let Outcome::Done { tasks, .. } = outcome { tasks.as_slice() } else { &[] };
    for (new, proposal) in plan_children.into_iter().zip(proposed) {
        let left_out = Texts(proposal.keys().filter(|key| children::is_ours(key)).cloned().collect());
        let said = TaskChange { parent: Some(mine.task_id.to_string()), left_out, ..TaskChange::default() };
        changes.add(new, actor(), said);
    }
    pause_failing_role(snapshot, &mut changes, mine, retry);
    changes
}

fn event(mine: &Lease, data: Data) -> EventDraft {
    EventDraft::new(data, Actor::Worker(mine.owner.clone())).lease(mine)
}
