//! What a person may do to the queue: add, move, retry, cancel, block, unblock, finish, stop.
//!
//! Each answers with a change set or with a refusal that a person can act on. Whatever is asked, with or
//! without force: work that is running keeps its task, its lease and its finished dependencies.

use serde_json::Value;

use crate::{
    ChangeSet, Data, Edit, Event, Lease, Member, QueueLease, Snapshot, Status, Task, TaskId, Workflow, event::Actor,
    landing, seal, time::stamp,
};

mod add;
mod attempts;
mod edit;
mod lend;
mod refusal;

pub use add::{Wanted, add, next_id};
use attempts::ask_to_stop;
pub use attempts::{clear_mark, release, stop};
pub use edit::{TaskPatch, depend, edit, undepend};
pub use lend::{acquire, beat, give_back};
pub use refusal::Refusal;
use refusal::{ended, find, free, unmerged, unneeded};

/// A change set, or why there is none.
pub type Answer = Result<ChangeSet, Refusal>;

/// One task moved by hand (or only mended where it stands), with everything that belongs to its old stage cleared.
struct Hand<'a> {
    snapshot: &'a Snapshot,
    task: &'a Task,
    actor: &'a Actor,
    verb: &'static str,
    reason: Option<&'a str>,
}

impl Hand<'_> {
    fn to(&self, to: &Status, blocked_reason: Option<&str>) -> ChangeSet {
        let (snapshot, task) = (self.snapshot, self.task);
        // A human lets it start anew: only so is the count of all its starts taken back.
        let is_anew = seal::starts_anew(self.verb) && snapshot.has_counted(task);
        let completed_at = to.is_done().then(|| stamp(snapshot.now.wall));
        let edit = Edit::by(self.actor.clone())
            .verb(self.verb)
            .reason(self.reason)
            .to(to)
            .set_if(task.attempts != 0, Member::Attempts, 0)
            .set_if(is_anew, Member::Starts, 0)
            .set_if(task.not_before.is_some(), Member::NotBefore, Value::Null)
            .set_if(task.blocked_reason.as_deref() != blocked_reason, Member::BlockedReason, blocked_reason)
            .set_if(task.lease != QueueLease::None, Member::Lease, Value::Null)
            .set_if(to.is_done() || task.status.is_done(), Member::CompletedAt, completed_at)
            // What is begun anew is to be merged anew.
            .set_if(task.merged_commit.is_some() && !to.is_finished(), Member::MergedCommit, Value::Null);
        changed(snapshot, task, edit)
    }
}

/// Returns the change set of an edit, if it makes a difference.
fn changed(snapshot: &Snapshot, task: &Task, edit: Edit) -> ChangeSet {
    let mut changes = ChangeSet::none();
    if !edit.is_empty(task) {
        changes.change(&snapshot.now, task, edit);
    }
    changes
}

/// Returns where a person may move a task without force: back to be worked on again, on past planning, or aside. Never
/// forward past work that has not been done.
pub fn legal_moves(workflow: &Workflow, task: &Task) -> Vec<Status> {
    let place = |status: &Status| workflow.rules().iter().position(|rule| rule.takes == *status);
    let from = place(&task.status);
    let mut legal: Vec<Status> = Vec::new();
    let mut add = |status: &Status| {
        if *status != task.status && !legal.contains(status) {
            legal.push(status.clone());
        }
    };
    for (at, rule) in workflow.rules().iter().enumerate() {
        // What waits aside (blocked, parked, cancelled, an unknown word) may start anywhere; what is done, nowhere.
        let back = from.is_none_or(|from| at <= from || rule.failed == rule.takes);
        let planned = workflow.rules().first().is_some_and(|first| first.done == rule.takes);
        if !task.status.is_done() && (back || planned) {
            add(&rule.takes);
        }
        if rule.takes == task.status {
            add(&rule.failed);
        }
    }
    if !task.status.is_finished() {
        [Status::BLOCKED, Status::NEEDS_MANUAL, Status::CANCELLED, Status::DONE].iter().for_each(add);
    }
    legal
}

/// Moves a task to another status.
pub fn move_to(
    snapshot: &Snapshot,
    workflow: &Workflow,
    id: &TaskId,
    to: &Status,
    reason: Option<&str>,
    force: bool,
    actor: &Actor,
) -> Answer {
    let task = find(snapshot, id)?;
    if !workflow.knows(to) {
        return Err(Refusal::UnknownStatus { asked: to.to_string(), known: workflow.statuses() });
    }
    if let Some(rule) = workflow.working(to) {
        return Err(Refusal::OnlyByClaim { task: id.clone(), to: to.clone(), role: rule.role.clone() });
    }
    if task.status == *to {
        return Ok(ChangeSet::none());
    }
    free(snapshot, task)?;
    unneeded(snapshot, task)?;
    let legal = legal_moves(workflow, task);
    if !force && !legal.contains(to) {
        return Err(Refusal::Illegal { task: id.clone(), from: task.status.clone(), to: to.clone(), legal });
    }
    if reason.is_none() && (*to == Status::DONE || *to == Status::BLOCKED) {
        return Err(Refusal::NeedsReason { task: id.clone(), to: to.clone() });
    }
    let parked = [Status::BLOCKED, Status::NEEDS_MANUAL, Status::FAILED].contains(to);
    let hand = Hand { snapshot, task, actor, verb: "move", reason };
    Ok(hand.to(to, reason.filter(|_| parked)))
}

/// Returns the stage whose failure parked the task, from its journal: the status that the role which failed last takes.
pub fn failed_stage(workflow: &Workflow, id: &TaskId, events: &[Event]) -> Option<Status> {
    let of_task = events.iter().rev().filter(|event| event.task.as_ref() == Some(id));
    for event in of_task {
        match event.data() {
            Data::AttemptFinished(ended) if ended.class.is_some() || ended.failure => {
                return event.role.as_ref().and_then(|role| workflow.rule(role)).map(|rule| rule.takes.clone());
            }
            Data::TaskMoved(change) | Data::TaskObserved(change) => {
                if let Some(stage) = stage_of(workflow, change.from.as_ref()?) {
                    return Some(stage);
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns the status that is taken where a task is in this one; `None` where no role has to do with it.
fn stage_of(workflow: &Workflow, status: &Status) -> Option<Status> {
    match workflow.working(status) {
        Some(rule) => Some(rule.takes.clone()),
        None => workflow.taking(status).next().map(|_| status.clone()),
    }
}

/// Returns a task that may begin anew: nobody holds it, and its work is not in the target.
fn idle<'a>(snapshot: &'a Snapshot, id: &TaskId) -> Result<&'a Task, Refusal> {
    let task = find(snapshot, id)?;
    if task.status.is_done() {
        return Err(ended(snapshot, task));
    }
    free(snapshot, task)?;
    if task.status.is_finished() {
        unmerged(snapshot, task)?;
    }
    Ok(task)
}

/// Tries a task again: forgets its failures and takes it back to where the failed stage starts.
pub fn retry(snapshot: &Snapshot, workflow: &Workflow, id: &TaskId, stage: Option<&Status>, actor: &Actor) -> Answer {
    let task = idle(snapshot, id)?;
    // What waits to be mended goes back to what failed; what waits for any other role only waits no longer.
    let waits_for_its_role = workflow.taking(&task.status).any(|rule| !workflow.adapts(rule));
    let stays = waits_for_its_role || workflow.is_planned(&task.status);
    let to = match (stays, stage.filter(|stage| workflow.knows(stage))) {
        (true, _) => task.status.clone(),
        (false, Some(stage)) => stage.clone(),
        (false, None) => workflow.start(task, &snapshot.queue),
    };
    Ok(Hand { snapshot, task, actor, verb: "retry", reason: None }.to(&to, None))
}

/// Takes a task back to where its work begins, with its failures forgotten: what was done is to be done anew.
pub fn begin_again(snapshot: &Snapshot, workflow: &Workflow, id: &TaskId, actor: &Actor) -> Answer {
    let task = idle(snapshot, id)?;
    let planned = task.status == workflow.entry() || workflow.is_planned(&task.status);
    let to = match planned {
        true => task.status.clone(),
        false if workflow.taking(&workflow.work()).next().is_some() => workflow.work(),
        false => workflow.start(task, &snapshot.queue),
    };
    Ok(Hand { snapshot, task, actor, verb: "retry", reason: None }.to(&to, None))
}

/// Cancels a task; one that is being worked on only with `stop`, which asks its worker to end the attempt.
pub fn cancel(snapshot: &Snapshot, id: &TaskId, reason: Option<&str>, stop: bool, actor: &Actor) -> Answer {
    let task = find(snapshot, id)?;
    if task.status.is_done() {
        return Err(ended(snapshot, task));
    }
    match (free(snapshot, task), snapshot.lease(id)) {
        (Err(Refusal::Running { .. }), Some(Lease { landing: Some(commit), .. })) => {
            Err(Refusal::Landing { task: id.clone(), commit: commit.clone() })
        }
        (Err(Refusal::Running { .. }), Some(lease)) if stop => {
            let mut changes = ask_to_stop(lease, reason.unwrap_or("the task was cancelled"), true, actor);
            if task.status != Status::CANCELLED {
                // The lease stands until its worker has ended the attempt; only the status says so at once.
                let edit = Edit::by(actor.clone()).verb("cancel").reason(reason).to(&Status::CANCELLED);
                changes.change(&snapshot.now, task, edit);
            }
            Ok(changes)
        }
        (Err(merged @ Refusal::Merged { .. }), _) => Err(merged),
        (Ok(()), _) if landing::merged(snapshot, task).is_some() => Err(ended(snapshot, task)),
        _ if task.status == Status::CANCELLED => Ok(ChangeSet::none()),
        (Err(refusal), _) => Err(refusal),
        (Ok(()), _) => {
            let hand = Hand { snapshot, task, actor, verb: "cancel", reason };
            Ok(hand.to(&Status::CANCELLED, task.blocked_reason.as_deref()))
        }
    }
}

/// Sets a task aside until somebody unblocks it.
pub fn block(snapshot: &Snapshot, id: &TaskId, reason: &str, actor: &Actor) -> Answer {
    let task = find(snapshot, id)?;
    if task.status.is_finished() {
        return Err(ended(snapshot, task));
    }
    free(snapshot, task)?;
    let hand = Hand { snapshot, task, actor, verb: "block", reason: Some(reason) };
    Ok(hand.to(&Status::BLOCKED, Some(reason)))
}

/// Returns the status that a task was blocked from, from its journal.
pub fn blocked_from(workflow: &Workflow, id: &TaskId, events: &[Event]) -> Option<Status> {
    let of_task = events.iter().rev().filter(|event| event.task.as_ref() == Some(id));
    let mut moves = of_task.filter_map(|event| match event.data() {
        Data::TaskMoved(change) | Data::TaskObserved(change) => Some(change),
        _ => None,
    });
    stage_of(workflow, moves.find(|change| change.to.as_ref() == Some(&Status::BLOCKED))?.from.as_ref()?)
}

/// Lets a blocked task go on: at once when every dependency is done, else as soon as they are.
/// With `force` it leaves `blocked` now; a claim still waits for its dependencies.
pub fn unblock(
    snapshot: &Snapshot,
    workflow: &Workflow,
    id: &TaskId,
    before: Option<&Status>,
    reason: Option<&str>,
    force: bool,
    actor: &Actor,
) -> Answer {
    let task = find(snapshot, id)?;
    if task.status.is_finished() {
        return Err(ended(snapshot, task));
    }
    if task.status != Status::BLOCKED {
        return Ok(ChangeSet::none());
    }
    free(snapshot, task)?;
    let hand = Hand { snapshot, task, actor, verb: "unblock", reason };
    if force || snapshot.queue.is_free(task) {
        let to =
            before.filter(|to| workflow.knows(to)).cloned().unwrap_or_else(|| workflow.start(task, &snapshot.queue));
        return Ok(hand.to(&to, None));
    }
    if task.blocked_reason.is_none() {
        let open = |name: &&String| snapshot.queue.find(name).is_none_or(|other| !other.status.is_done());
        let on: Vec<&str> = task.dependencies.iter().filter(open).map(String::as_str).collect();
        return Err(Refusal::Waits { task: id.clone(), on: on.join(", ") });
    }
    Ok(hand.to(&Status::BLOCKED, None))
}

/// Marks a task as done, because a human says so.
pub fn done(snapshot: &Snapshot, id: &TaskId, reason: &str, actor: &Actor) -> Answer {
    let task = find(snapshot, id)?;
    if task.status.is_done() {
        return Ok(ChangeSet::none());
    }
    free(snapshot, task)?;
    Ok(Hand { snapshot, task, actor, verb: "done", reason: Some(reason) }.to(&Status::DONE, None))
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
