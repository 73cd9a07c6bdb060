//! What others did to the queue file, told by comparing it with the journal.
//!
//! The store runs this before every other decision. It never undoes a human's edit: it notes it. It writes only
//! where it can be shown that another program's "read, change, replace" wrote over a change that we had made in
//! between, so that neither is lost. What looks like an older file is put in front of a human.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::{
    ChangeSet, Data, Edit, EventDraft, Lease, Member, NewTask, QueueLease, Snapshot, Status, Task, TaskId, Usage,
    event::Actor,
    event::payload::{Claimed, Ended, Readable, SprintChange, TaskChange},
    lease::LeaseHealth,
    state::{TaskHistory, Write},
    time::stamp,
};

/// A program that reads the queue, changes it and puts it back takes no longer than this. A file that lacks an older
/// change of ours is an old file put back, which a human must confirm.
pub const RACE: Duration = Duration::from_secs(3);

/// The journal knows more than the queue file: an old file was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// One task that shows it, the first in the file; none where the whole file is of a sprint that is over.
    pub task: Option<TaskId>,
    /// The change that is missing from the file.
    pub reason: String,
    /// The number of tasks that show it.
    pub count: usize,
}

/// The result of comparing a task of the file with the journal.
enum Found<'a> {
    /// As the journal says.
    Same,
    /// New to the journal.
    New,
    /// Another task under an id that was used before.
    Reused,
    /// Somebody set another status.
    Edited(&'a Status),
    /// Somebody wrote over these changes, which we had just made.
    Overwritten(&'a TaskHistory, Vec<&'a Write>),
    /// The file lacks a change that we made before.
    Behind(&'a TaskHistory),
}

fn compare<'a>(snapshot: &'a Snapshot, task: &Task) -> Found<'a> {
    let Some(known) = snapshot.history.task(&task.id).filter(|known| known.status.is_some()) else { return Found::New };
    let status = known.status.as_ref().expect("just filtered");
    let as_it_is = || if task.status == *status { Found::Same } else { Found::Edited(status) };
    let stale_token = task.lease.token().is_some_and(|token| token < known.token);
    if known.updated_at.is_some() && task.updated_at >= known.updated_at && !stale_token {
        return as_it_is();
    }
    // The entry has less of ours than we wrote, or nothing of ours was there to be had.
    let Some(ours) = known.updated_at else {
        return if is_another(snapshot, known, task) && task.status != *status { Found::Reused } else { as_it_is() };
    };
    if let Some(lost) = lost(snapshot, known, task) {
        return Found::Overwritten(known, lost);
    }
    if is_another(snapshot, known, task) {
        return Found::Reused;
    }
    let replaced = known.replaced.get(&task.status);
    match task.updated_at {
        // A stamp that is missing makes nothing old; a status that we had replaced does.
        None if !stale_token && (task.status == *status || replaced.is_none()) => as_it_is(),
        Some(has) if has < ours && task.status != *status && replaced.is_none_or(|at| *at <= has) => as_it_is(),
        _ => Found::Behind(known),
    }
}

/// Tells whether the entry is another task than the one that the journal knows: it says something else of itself and
/// bears no stamp of ours.
fn is_another(snapshot: &Snapshot, known: &TaskHistory, task: &Task) -> bool {
    let stamped =
        |write: &Write| write.task == task.id && (task.updated_at == Some(write.at) || task.updated_at == write.before);
    known.origin.as_deref().is_some_and(|origin| origin != task.origin())
        && (task.updated_at.is_none() || !snapshot.history.recent.iter().any(|write| stamped(write)))
}

/// Returns the changes that another program's replacement of the file took out of an entry, oldest first: the entry
/// stands as it stood right before the first of them, and the file was put there in the moments after it.
fn lost<'a>(snapshot: &'a Snapshot, known: &TaskHistory, task: &Task) -> Option<Vec<&'a Write>> {
    let later = |write: &&Write| write.task == task.id && task.updated_at.is_none_or(|has| write.at > has);
    let lost: Vec<&Write> = snapshot.history.recent.iter().map(AsRef::as_ref).filter(later).collect();
    let first = lost.first()?;
    let is_as_before = match first.before {
        Some(before) => task.updated_at == Some(before),
        None => known.origin.as_deref().is_none_or(|origin| origin == task.origin()),
    };
    (is_as_before && first.from.as_ref() == Some(&task.status) && is_moments_ago(snapshot, first)).then_some(lost)
}

/// Tells whether the file was put in its place so soon after a change that its writer cannot have seen it.
fn is_moments_ago(snapshot: &Snapshot, write: &Write) -> bool {
    let placed = snapshot.beside.placed.unwrap_or(snapshot.now.wall);
    (placed - write.at).to_std().unwrap_or_default() <= RACE
}

/// Notes what others did, and writes again what they wrote over.
pub fn decide(snapshot: &Snapshot) -> ChangeSet {
    if !snapshot.history.baseline {
        return ChangeSet::told([baseline(snapshot, Actor::Policy("journal".into()))]);
    }
    let mut changes = ChangeSet::none();
    changes.events.extend(sprint_begun(snapshot));
    for task in snapshot.queue.tasks() {
        match compare(snapshot, task) {
            Found::Same | Found::Behind(_) => {}
            Found::New => changes.event(created(snapshot, task, false)),
            Found::Reused => {
                // Whoever works on the task that was there before has lost the right to this one.
                let held = snapshot.leases.contains_key(&task.id);
                let token = held.then(|| snapshot.highest_token(&task.id).next());
                changes.event(EventDraft { token, ..created(snapshot, task, true) });
            }
            Found::Edited(before) => match unjournalled(snapshot, task, before) {
                Some(events) => changes.events.extend(events),
                None => {
                    let (from, to) = (Some(before.clone()), Some(task.status.clone()));
                    let said = TaskChange { from, to, origin: Some(task.origin()), ..TaskChange::default() };
                    changes.event(outside(Data::TaskObserved, snapshot, &task.id, said));
                }
            },
            Found::Overwritten(known, lost) => {
                let set = lost.iter().flat_map(|write| write.set.clone()).collect();
                let edit = Edit::by(Actor::Policy("external-edits".into())).reason(WRITTEN_OVER);
                write_again(snapshot, &mut changes, task, known, &set, edit);
            }
        }
    }
    let known = snapshot.history.tasks.iter().filter(|(_, known)| known.status.is_some());
    let mut gone: Vec<&TaskId> = known.map(|(id, _)| id).filter(|id| snapshot.queue.get(id).is_none()).collect();
    gone.sort();
    for id in gone {
        if let Some((new, event)) = added_again(snapshot, id) {
            changes.event(event);
            changes.add.push(new);
            continue;
        }
        let from = snapshot.history.tasks[id].status.clone();
        let said = TaskChange { from, gone: true, ..TaskChange::default() };
        changes.event(outside(Data::TaskObserved, snapshot, id, said));
    }
    changes
}

/// Drafts the event of a sprint that others began, or of which we could not tell any more.
fn sprint_begun(snapshot: &Snapshot) -> Option<EventDraft> {
    let (told, sprint) = (snapshot.history.sprint?, &snapshot.queue.sprint);
    let number = sprint.number.filter(|number| *number > told)?;
    let (id, goal) = (sprint.id.clone(), sprint.goal.clone());
    let begun = SprintChange { sprint: Some(number), id, goal, previous: Some(told), ..SprintChange::default() };
    Some(EventDraft::new(Data::SprintStarted(begun), Actor::Outside))
}

fn created(snapshot: &Snapshot, task: &Task, reused: bool) -> EventDraft {
    let said = TaskChange { reused, ..TaskChange::default() };
    outside(Data::TaskCreated, snapshot, &task.id, said.of_new(task))
}

/// Drafts the event of what others did to a task. While an attempt is at work on it, nobody can tell them from its
/// agent.
fn outside(kind: fn(TaskChange) -> Data, snapshot: &Snapshot, id: &TaskId, said: TaskChange) -> EventDraft {
    let during_attempt = match snapshot.leases.get(id) {
        Some(held) => held.ours().is_some() && held.health(&snapshot.now) == LeaseHealth::Live,
        None => snapshot.history.task(id).is_some_and(|known| known.live),
    };
    EventDraft::new(kind(TaskChange { during_attempt, ..said }), Actor::Outside).task(id)
}

const WRITTEN_OVER: &str = "another program replaced the file with one that lacked this change; it was written again";

/// Sets members to what we had written, and the status to the one that the journal knows.
fn write_again(
    snapshot: &Snapshot,
    changes: &mut ChangeSet,
    task: &Task,
    known: &TaskHistory,
    set: &Map<String, Value>,
    edit: Edit,
) {
    let own = Member::of_rules().filter(|member| !matches!(member, Member::Status | Member::UpdatedAt));
    let ours = own.filter_map(|member| Some((member, set.get(member.as_str())?.clone())));
    let edit = ours.fold(edit, |edit, (member, value)| edit.set(member, value));
    changes.change(&snapshot.now, task, edit.to(known.status.as_ref().unwrap_or(&task.status)));
}

/// Returns a task of ours that a file lacks which was made from the state before we added it. Whoever had it before
/// their eyes, because a later change of ours is in their file, has deleted it.
fn added_again(snapshot: &Snapshot, id: &TaskId) -> Option<(NewTask, EventDraft)> {
    let recent = &snapshot.history.recent;
    let at = recent.iter().rposition(|write| write.task == *id && write.entry.is_some())?;
    let added = &recent[at];
    let mut json = added.entry.clone()?;
    let in_file = |write: &Write| {
        snapshot.queue.get(&write.task).is_some_and(|task| task.updated_at.is_some_and(|has| has >= write.at))
    };
    let of_same_commit = |write: &Write| write.at == added.at && added.parent.as_deref() == Some(write.task.as_str());
    let was_seen = recent.iter().any(|write| (write.at > added.at || of_same_commit(write)) && in_file(write));
    if was_seen || !is_moments_ago(snapshot, added) {
        return None;
    }
    for write in recent.iter().skip(at + 1).filter(|write| write.task == *id) {
        json.extend(write.set.clone());
    }
    json.insert("updated_at".into(), stamp(snapshot.now.wall).into());
    let task = Task::of_entry(id, &json);
    let said = TaskChange {
        stamped: true,
        origin: Some(task.origin()),
        parent: added.parent.clone(),
        reason: Some("another program replaced the file with one that lacked this task; it was added again".into()),
        entry: Some(json.clone()),
        ..TaskChange::default()
    };
    let event = EventDraft::new(Data::TaskUpdated(said), Actor::Policy("external-edits".into())).task(id);
    Some((NewTask { task, json }, event))
}

/// Drafts what the journal would have said of a change of a worker's that died before it could say it: told by what was
/// written before, the lease and the attempt's record.
fn unjournalled(snapshot: &Snapshot, task: &Task, before: &Status) -> Option<Vec<EventDraft>> {
    let lease = snapshot.leases.get(&task.id)?.ours()?;
    let known = snapshot.history.task(&task.id)?;
    let stamp_of_ours = task.updated_at.filter(|has| known.updated_at.is_none_or(|told| *has > told))?;
    let event = |data| EventDraft::of(lease, data);
    let mut events = Vec::new();
    if task.lease.token() == Some(lease.token) && !known.runs.contains_key(&lease.token) {
        events.push(event(Data::LeaseAcquired(Claimed { rebuilt: true, ..Claimed::from(lease) })));
    } else if task.lease == QueueLease::None && known.ended < lease.token {
        events.push(event(Data::AttemptFinished(finished(lease, task, snapshot.beside.records.get(&task.id)?)?)));
    } else {
        return None;
    }
    let mut set = Map::new();
    set.insert("status".into(), task.status.as_str().into());
    set.insert("updated_at".into(), stamp(stamp_of_ours).into());
    set.insert("attempts".into(), task.attempts.into());
    set.insert("blocked_reason".into(), task.blocked_reason.clone().into());
    let text = task.lease.token().map(|_| lease.in_queue());
    set.insert("lease".into(), text.into());
    events.push(event(Data::TaskMoved(TaskChange {
        from: Some(before.clone()),
        to: Some(task.status.clone()),
        reason: task.blocked_reason.clone(),
        stamped: true,
        origin: Some(task.origin()),
        set: Some(set),
        rebuilt: true,
        ..TaskChange::default()
    })));
    Some(events)
}

/// Reads the end of an attempt from its own record.
fn finished(lease: &Lease, task: &Task, record: &Map<String, Value>) -> Option<Ended> {
    let text = |key: &str| record.get(key).and_then(Value::as_str).map(String::from);
    if text("state").as_deref() != Some("finished")
        || record.get("token").and_then(Value::as_u64) != Some(lease.token.0)
    {
        return None;
    }
    let seen = record.get("seen").and_then(|seen| serde_json::from_value(seen.clone()).ok());
    let seen: Ended = seen.unwrap_or_default();
    let seconds = record.get("seconds").and_then(Value::as_f64);
    let charged = task.attempts >= lease.attempt;
    Some(Ended {
        outcome: text("outcome"),
        class: text("class"),
        reason: text("summary"),
        charged,
        failure: charged,
        rebuilt: true,
        session: seen.session,
        resets_at: seen.resets_at,
        usage: Usage { seconds, ..seen.usage },
        ..Ended::default()
    })
}

/// Drafts the event that takes the queue as it stands for the truth from now on.
pub fn baseline(snapshot: &Snapshot, actor: Actor) -> EventDraft {
    let each = |what: &dyn Fn(&Task) -> String| -> Map<String, Value> {
        snapshot.queue.tasks().map(|task| (task.id.to_string(), what(task).into())).collect()
    };
    let readable = Readable {
        statuses: Some(each(&|task| task.status.to_string())),
        origins: Some(each(&Task::origin)),
        sprint: snapshot.queue.sprint.number,
        ..Readable::default()
    };
    EventDraft::new(Data::QueueValid(readable), actor)
}

/// Takes the journal for the truth instead: what an old file lacks is written into it.
pub fn restore(snapshot: &Snapshot, actor: &Actor) -> ChangeSet {
    let mut changes = ChangeSet::none();
    for (task, known) in old(snapshot) {
        let edit = Edit::by(actor.clone()).reason("an old queue file was put back");
        write_again(snapshot, &mut changes, task, known, &known.wrote, edit);
    }
    changes
}

/// Tells whether an old queue file was put back; while it is, nothing is claimed.
pub fn behind(snapshot: &Snapshot) -> Option<Behind> {
    if let (Some(told), Some(number)) = (snapshot.history.sprint, snapshot.queue.sprint.number)
        && number < told
    {
        let reason = format!("the journal says that sprint {told} has begun, the queue file is of sprint {number}");
        return Some(Behind { task: None, reason, count: snapshot.queue.len() });
    }
    let mut old = old(snapshot);
    let (task, known) = old.next()?;
    let status = known.status.as_ref().map_or("?", Status::as_str);
    let when = known.updated_at.map(stamp).unwrap_or_default();
    let reason = format!(
        "the journal says that {} became `{status}` at {when} (token {}), the queue file does not have that change",
        task.id, known.token
    );
    Some(Behind { task: Some(task.id.clone()), reason, count: 1 + old.count() })
}

/// Finds the tasks of which the file lacks a change that we made before.
fn old(snapshot: &Snapshot) -> impl Iterator<Item = (&Task, &TaskHistory)> {
    snapshot.queue.tasks().filter_map(|task| match compare(snapshot, task) {
        Found::Behind(known) => Some((task, known)),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
