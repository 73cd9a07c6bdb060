//! What a person does about a running attempt, and about what is left of one.

use serde_json::Value;

use super::{
    Answer, Refusal, changed, find, free,
    refusal::{leased, not_landed},
    unmerged,
};
use crate::{
    ChangeSet, Data, Edit, EventDraft, Lease, LeaseChange, Member, QueueLease, Snapshot, TaskId, Token, Workflow,
    event::{Actor, payload::Rescued},
    landing,
    lease::{LeaseHealth, StopRequest},
};

pub(super) fn ask_to_stop(lease: &Lease, reason: &str, cancel: bool, actor: &Actor) -> ChangeSet {
    let stop = StopRequest { actor: actor.to_string(), reason: reason.to_owned(), cancel };
    let mut changes = ChangeSet::none();
    // The first word counts, and that the task is cancelled is more than that its attempt stops.
    if lease.stop.as_ref().is_none_or(|said| cancel && !said.cancel) {
        changes.leases.push(LeaseChange::Write(Lease { stop: Some(stop), ..lease.clone() }));
    }
    changes
}

/// Asks the worker of a running attempt to stop it. Asking twice changes nothing.
pub fn stop(snapshot: &Snapshot, id: &TaskId, reason: &str, actor: &Actor) -> Answer {
    let Some(at) = snapshot.leases.get(id) else {
        let task = find(snapshot, id)?;
        not_landed(snapshot, task)?;
        unmerged(snapshot, task)?;
        return Err(Refusal::NotRunning(id.clone()));
    };
    match (at.health(&snapshot.now), at.ours()) {
        (LeaseHealth::Live, Some(lease)) => match &lease.landing {
            Some(commit) => Err(Refusal::Landing { task: id.clone(), commit: commit.clone() }),
            None => Ok(ask_to_stop(lease, reason, false, actor)),
        },
        _ => Err(leased(snapshot, id, at)),
    }
}

/// Takes a task away from an owner who still lives, and gives it back: for a worker that hangs.
/// Its token stays the greatest seen, so that nothing it says later counts. A merge of it that had passed is
/// forgotten where git has said of its commit that it is `not_landed`.
pub fn release(
    snapshot: &Snapshot,
    workflow: &Workflow,
    id: &TaskId,
    token: Token,
    not_landed: Option<&str>,
    reason: &str,
    actor: &Actor,
) -> Answer {
    let Some(held) = snapshot.leases.get(id).filter(|held| held.token() == token) else {
        return Ok(ChangeSet::none());
    };
    let mut changes = ChangeSet::none();
    changes.leases.push(LeaseChange::Drop(id.clone()));
    let rescued = Rescued {
        owner: Some(held.owner().into()),
        reason: Some(reason.into()),
        died: Some(false),
        landed: landing::passed(snapshot, id).filter(|commit| Some(commit.as_str()) != not_landed),
        forced: true,
        ..Rescued::default()
    };
    let event = EventDraft::new(Data::LeaseRescued(rescued), actor.clone()).task(id);
    changes.event(held.ours().map_or(event.clone(), |lease| event.lease(lease)));
    if let Some(task) = snapshot.queue.get(id) {
        let back = workflow.working(&task.status).map_or(&task.status, |rule| &rule.takes);
        let edit = Edit::by(actor.clone()).verb("release").to(back).set(Member::Lease, Value::Null);
        changes.change(&snapshot.now, task, edit.reason(reason));
    }
    Ok(changes)
}

/// Clears a task's `lease` member that no lease file stands behind.
pub fn clear_mark(snapshot: &Snapshot, id: &TaskId, force: bool, reason: Option<&str>, actor: &Actor) -> Answer {
    let task = find(snapshot, id)?;
    if task.lease == QueueLease::None {
        return Ok(ChangeSet::none());
    }
    if !force || snapshot.leases.contains_key(id) {
        free(snapshot, task)?;
    }
    let edit = Edit::by(actor.clone()).verb("release").set(Member::Lease, Value::Null);
    Ok(changed(snapshot, task, edit.reason(reason)))
}
