//! What keeps a person from changing a task.

use super::Refusal;
use crate::{
    QueueLease, Snapshot, Task, TaskId, landing,
    lease::{LeaseHealth, lasts},
};

pub(super) fn find<'a>(snapshot: &'a Snapshot, id: &TaskId) -> Result<&'a Task, Refusal> {
    snapshot.queue.get(id).ok_or_else(|| Refusal::Unknown(id.to_string()))
}

/// Fails while somebody holds the task, or held it and has not been cleared away.
pub(super) fn free(snapshot: &Snapshot, task: &Task) -> Result<(), Refusal> {
    if let Some(held) = snapshot.leases.get(&task.id) {
        let (task, owner) = (task.id.clone(), held.owner().to_owned());
        return Err(match (held.health(&snapshot.now), held.ours()) {
            (LeaseHealth::Live, Some(lease)) => Refusal::Running { task, owner, token: lease.token.0 },
            (LeaseHealth::Live, None) => Refusal::Held { task, owner },
            (LeaseHealth::Dead(reason), _) => Refusal::Abandoned { task, owner, reason, dead: true },
            (LeaseHealth::Lost(reason), _) => Refusal::Abandoned { task, owner, reason, dead: false },
        });
    }
    match &task.lease {
        QueueLease::Inline { owner, until: Some(until) } if lasts(snapshot.now.wall, *until) => {
            Err(Refusal::Held { task: task.id.clone(), owner: owner.clone() })
        }
        _ => not_landed(snapshot, task),
    }
}

/// Says why a task that has ended is not changed: its work may be in the target, whatever its status says.
pub(super) fn ended(snapshot: &Snapshot, task: &Task) -> Refusal {
    let (id, status) = (task.id.clone(), task.status.clone());
    match landing::merged(snapshot, task) {
        Some(commit) => Refusal::Merged { task: id, commit, status },
        None => Refusal::Ended { task: id, status },
    }
}

/// Fails when the task's work is in the target: to put the task aside does not take that back.
pub(super) fn unmerged(snapshot: &Snapshot, task: &Task) -> Result<(), Refusal> {
    match ended(snapshot, task) {
        merged @ Refusal::Merged { .. } => Err(merged),
        _ => Ok(()),
    }
}

/// Fails when the task's merge is in the target and only waits for an integrator to say so.
pub(super) fn not_landed(snapshot: &Snapshot, task: &Task) -> Result<(), Refusal> {
    match landing::passed(snapshot, &task.id) {
        Some(_) if task.status.is_finished() => Err(ended(snapshot, task)),
        Some(commit) => Err(Refusal::Landed { task: task.id.clone(), commit }),
        None => Ok(()),
    }
}

/// Fails when the task is done and running work depends on it.
pub(super) fn unneeded(snapshot: &Snapshot, task: &Task) -> Result<(), Refusal> {
    if !task.status.is_done() {
        return Ok(());
    }
    let running = |other: &&Task| free(snapshot, other).is_err();
    let depends = |other: &&Task| other.dependencies.iter().any(|name| name == task.id.as_str());
    match snapshot.queue.tasks().filter(depends).find(running) {
        Some(by) => Err(Refusal::Needed { task: task.id.clone(), by: by.id.clone() }),
        None => Ok(()),
    }
}
