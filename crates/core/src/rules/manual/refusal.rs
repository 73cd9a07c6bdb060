//! What keeps a person from changing a task; each refusal says what they need to know to go on.

use crate::{LeaseState, Role, Snapshot, Status, Task, TaskId, landing, lease::LeaseHealth};

/// The reason why something is not done; a sentence of its own.
#[expect(missing_docs, reason = "the sentence says what each field is")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such task.
    #[error("there is no task `{0}`")]
    Unknown(String),
    /// No such status.
    #[error("`{asked}` is not a status of this project; there are: {}", words(known))]
    UnknownStatus { asked: String, known: Vec<Status> },
    /// Somebody works on it.
    #[error("{owner} works on {task} (token {token})")]
    Running { task: TaskId, owner: String, token: u64 },
    /// Its merge can no longer be stopped.
    #[error("too late: {task} is being merged as {commit}")]
    Landing { task: TaskId, commit: String },
    /// Its merge has passed; its integrator ended before it could say so.
    #[error("too late: {task} has been merged as {commit}; the next integrator marks it done")]
    Landed { task: TaskId, commit: String },
    /// Its work is in the target.
    #[error("{task} has been merged as {commit}, and is `{status}`")]
    Merged { task: TaskId, commit: String, status: Status },
    /// A helper's lease, which nobody can be asked to stop.
    #[error("{owner} holds a lease on {task} that no worker of ours took")]
    Held { task: TaskId, owner: String },
    /// Its owner is gone and has not been cleared away yet.
    #[error("the lease of {owner} on {task} has not been given back yet: {reason}")]
    Abandoned { task: TaskId, owner: String, reason: String, dead: bool },
    /// Nobody works on it, so there is nothing to stop.
    #[error("nobody works on {0}")]
    NotRunning(TaskId),
    /// Only a claim puts a task there.
    #[error("only a claim of a {role} may move {task} to `{to}`")]
    OnlyByClaim { task: TaskId, to: Status, role: Role },
    /// A step that would skip work.
    #[error("{}", illegal(task, from, to, legal))]
    Illegal { task: TaskId, from: Status, to: Status, legal: Vec<Status> },
    /// Running work counts on it being done.
    #[error("{by} is being worked on and depends on {task}, which is done")]
    Needed { task: TaskId, by: TaskId },
    /// It has ended, and this verb does not bring it back.
    #[error("{task} is `{status}`")]
    Ended { task: TaskId, status: Status },
    /// It waits for something that this verb does not change.
    #[error("{task} waits for {on}")]
    Waits { task: TaskId, on: String },
    /// Needs a human's words for the journal.
    #[error("moving {task} to `{to}` needs a reason")]
    NeedsReason { task: TaskId, to: Status },
    /// A claim would not take it either.
    #[error("{task} is not to be had: {why}")]
    NotClaimable { task: TaskId, why: String },
    /// Its lease is another's by now.
    #[error("the token {token} of {task} counts no more{}", if newest > token { format!(", the newest is {newest}") } else { String::new() })]
    Superseded { task: TaskId, token: u64, newest: u64 },
    /// The new task cannot be added as it was described.
    #[error("{0}")]
    BadTask(String),
    /// The id is taken.
    #[error("there is a task `{0}` already")]
    Taken(TaskId),
}

fn words(statuses: &[Status]) -> String {
    let words: Vec<&str> = statuses.iter().map(Status::as_str).collect();
    words.join(", ")
}

fn illegal(task: &TaskId, from: &Status, to: &Status, legal: &[Status]) -> String {
    match (from.is_done(), legal) {
        (true, _) => format!("{task} is `{from}`; only force brings it back to `{to}`"),
        (false, []) => format!("{task} is `{from}`; from there only force moves it to `{to}`"),
        (false, legal) => {
            format!("{task} is `{from}`; moving it to `{to}` skips work (without force: {})", words(legal))
        }
    }
}

pub(super) fn find<'a>(snapshot: &'a Snapshot, id: &TaskId) -> Result<&'a Task, Refusal> {
    snapshot.queue.get(id).ok_or_else(|| Refusal::Unknown(id.to_string()))
}

/// Fails while somebody holds the task, or held it and has not been cleared away.
pub(super) fn free(snapshot: &Snapshot, task: &Task) -> Result<(), Refusal> {
    if let Some(held) = snapshot.leases.get(&task.id) {
        return Err(leased(snapshot, &task.id, held));
    }
    match task.lease.live_owner(snapshot.now.wall) {
        Some(owner) => Err(Refusal::Held { task: task.id.clone(), owner: owner.into() }),
        None => not_landed(snapshot, task),
    }
}

/// Says who holds a task, or held it.
pub(super) fn leased(snapshot: &Snapshot, id: &TaskId, held: &LeaseState) -> Refusal {
    let (task, owner) = (id.clone(), held.owner().to_owned());
    match (held.health(&snapshot.now), held.ours()) {
        (LeaseHealth::Live, Some(lease)) => Refusal::Running { task, owner, token: lease.token.0 },
        (LeaseHealth::Live, None) => Refusal::Held { task, owner },
        (LeaseHealth::Dead(reason), _) => Refusal::Abandoned { task, owner, reason, dead: true },
        (LeaseHealth::Lost(reason), _) => Refusal::Abandoned { task, owner, reason, dead: false },
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
