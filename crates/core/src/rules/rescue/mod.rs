//! Giving back what a dead or lost owner held, and mending what a crash left half done.
//!
//! In two steps: [`find`] says what must be ended first, [`decide`] gives back what has been seen gone.

use crate::{
    ChangeSet, Data, Edit, EventDraft, LeaseChange, Member, QueueLease, Role, RoleRule, RunName, Snapshot, Task,
    TaskId, Token, Workflow,
    event::{Actor, payload::Rescued},
    landing,
    lease::LeaseHealth,
    outcome::Retry,
    settle::moved,
    state::SetBy,
};
use serde_json::Value;

/// Something that a dead or lost owner left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The task.
    pub task: TaskId,
    /// The token of the attempt whose processes must be ended first.
    pub token: Token,
    /// The directory of that attempt.
    pub run: RunName,
    /// The role that had it, if it can be told.
    pub role: Option<Role>,
    /// The proof, in words.
    pub reason: String,
    /// The owner is dead, not only silent: the task may have taken it down.
    pub died: bool,
    /// There is a lease file to remove.
    pub lease: bool,
    /// The last heartbeat in it: an owner that has beaten since may have started something since.
    pub beat: Option<u64>,
    /// The commit as which it is in the target already, although nobody has said so.
    pub landed: Option<String>,
}

impl Orphan {
    /// Tells whether it is the same owner, still gone, and gone all the while.
    pub fn is(&self, other: &Self) -> bool {
        (&self.task, self.token, self.lease, self.beat) == (&other.task, other.token, other.lease, other.beat)
    }
}

/// Finds what dead and lost owners left, and working statuses without a lease.
pub fn find(snapshot: &Snapshot, workflow: &Workflow) -> Vec<Orphan> {
    let orphan = |id: &TaskId, role: Option<&Role>, reason: String| {
        let token = snapshot.highest_token(id);
        Orphan {
            task: id.clone(),
            token,
            run: snapshot.run_name(id, token).unwrap_or_else(|| RunName::of(token)),
            role: role.cloned(),
            reason,
            died: false,
            lease: false,
            beat: None,
            landed: landing::passed(snapshot, id),
        }
    };
    let mut left: Vec<Orphan> = Vec::new();
    for (id, held) in &snapshot.leases {
        let (reason, died) = match held.health(&snapshot.now) {
            LeaseHealth::Live => continue,
            LeaseHealth::Dead(reason) => (reason, held.ours().is_some()),
            LeaseHealth::Lost(reason) => (reason, false),
        };
        let beat = held.ours().map(|lease| lease.heartbeat_mono_ms);
        left.push(Orphan { died, lease: true, beat, ..orphan(id, held.role(), reason) });
    }
    for task in snapshot.queue.tasks() {
        let Some(rule) = workflow.working(&task.status) else { continue };
        if !snapshot.leases.contains_key(&task.id) && task.lease.live_owner(snapshot.now.wall).is_none() {
            left.push(orphan(&task.id, Some(&rule.role), format!("`{}` without a lease", task.status)));
        }
    }
    left
}

/// Gives back what was found and whose processes have been ended; what has changed since is left alone.
pub fn decide(snapshot: &Snapshot, workflow: &Workflow, retry: &Retry, ended: &[Orphan], by: &str) -> ChangeSet {
    let mut changes = ChangeSet::none();
    let now_left = find(snapshot, workflow);
    for left in ended {
        // The same owner must still be gone, and must have been all the while: a claim or a settlement may have
        // come in between, or it woke, started something that nobody has ended, and only then died.
        if !now_left.iter().any(|now| now.is(left)) {
            continue;
        }
        let actor = || Actor::Worker(by.to_owned());
        if left.lease {
            changes.leases.push(LeaseChange::Drop(left.task.clone()));
        }
        if is_told(snapshot, workflow, left) {
            continue;
        }
        let held = snapshot.lease(&left.task);
        let rescued = Rescued {
            owner: held.map(|lease| lease.owner.clone()),
            reason: Some(left.reason.clone()),
            died: Some(left.died),
            landed: left.landed.clone(),
            ..Rescued::default()
        };
        let event = EventDraft::new(Data::LeaseRescued(rescued), actor()).task(&left.task);
        changes.event(match held {
            Some(lease) => event.lease(lease),
            None => {
                let token = Some(left.token).filter(|token| token.0 > 0);
                EventDraft { role: left.role.clone(), token, ..event }
            }
        });
        if let Some(task) = snapshot.queue.get(&left.task) {
            give_back(snapshot, workflow, retry, &mut changes, task, left, actor());
        }
    }
    changes
}

/// Tells whether it was given back already, and only its file is still there: whoever may not remove that would tell it
/// again with every look, without end.
fn is_told(snapshot: &Snapshot, workflow: &Workflow, left: &Orphan) -> bool {
    let works = |task: &Task| workflow.working(&task.status).is_some() || matches!(task.lease, QueueLease::Ours { .. });
    let known = snapshot.history.task(&left.task);
    left.lease
        && known.is_some_and(|known| known.is_given_back && known.given_back >= left.token)
        && !snapshot.queue.get(&left.task).is_some_and(works)
}

fn give_back(
    snapshot: &Snapshot,
    workflow: &Workflow,
    retry: &Retry,
    changes: &mut ChangeSet,
    task: &Task,
    left: &Orphan,
    actor: Actor,
) {
    let edit = Edit::by(actor).role(left.role.as_ref()).set(Member::Lease, Value::Null);
    let mut change = |edit| changes.change(&snapshot.now, task, edit);
    let Some(rule) = workflow.working(&task.status).or_else(|| lapsed(snapshot, workflow, task, left)) else {
        // The task has moved on; only our mark on it goes.
        if matches!(task.lease, QueueLease::Ours { .. }) {
            change(edit);
        }
        return;
    };
    // Who asked for the end was told yes: the task stays stopped, as if its owner had lived to settle it.
    let asked = snapshot.lease(&task.id).filter(|_| left.landed.is_none()).and_then(|lease| lease.stop.as_ref());
    if let Some(stop) = asked {
        let reason = stop.to_string();
        let edit = edit.to(&stop.to()).set_if(!stop.cancel, Member::BlockedReason, reason.as_str());
        return change(edit.reason(reason.as_str()));
    }
    let deaths = snapshot.history.task(&task.id).map_or(0, |known| known.deaths) + u32::from(left.died);
    let poison = left.died && deaths >= retry.deaths;
    let attempts = task.attempts.saturating_add(u32::from(poison));
    if poison && attempts >= retry.attempts {
        let reason = format!("its worker died {deaths} times in a row while working on it, the last: {}", left.reason);
        return change(edit.to(&rule.failed).set_if(task.attempts != 0, Member::Attempts, 0).blocked(&reason));
    }
    let mut reason = format!("interrupted: {}", left.reason);
    if task.status != rule.works {
        reason.push_str(&format!("; nobody has checked what made its agent set it to `{}`", task.status));
    }
    change(edit.to(&rule.takes).set_if(poison, Member::Attempts, attempts).reason(reason.as_str()));
}

/// Returns the role whose attempt set the task's status itself and did not live to have that checked: it does not
/// count.
fn lapsed<'a>(snapshot: &Snapshot, workflow: &'a Workflow, task: &Task, left: &Orphan) -> Option<&'a RoleRule> {
    let by_attempt = moved::set_by(snapshot.history.task(&task.id), task) == SetBy::Attempt;
    let rule = left.role.as_ref().and_then(|role| workflow.rule(role))?;
    let asked = snapshot.lease(&task.id).and_then(|lease| lease.stop.as_ref());
    (by_attempt && !moved::stands(workflow, &task.status, asked)).then_some(rule)
}

#[cfg(test)]
mod tests;
