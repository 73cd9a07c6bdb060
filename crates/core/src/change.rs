//! What the rules answer: a change set, which a store commits as one.
//!
//! An empty change set writes nothing. Change sets can be chained: the next decision sees the result of the one
//! before, so that several become one commit.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    Data, EventDraft, ForeignLease, Lease, Member, Now, Role, RunName, Status, Task, TaskId,
    event::{Actor, payload::TaskChange},
    sprint::Head,
    time::stamp,
};

/// Members to set in one task. `Value::Null` writes `null` where the member exists and nothing where it does not.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEdit {
    /// The task.
    pub task: TaskId,
    /// The members to set.
    pub set: BTreeMap<Member, Value>,
}

/// An edit of one task in the making: what is set, where the task goes, by whom and why.
#[must_use = "an edit changes nothing until a change set takes it in"]
#[derive(Clone, Debug)]
pub struct Edit {
    to: Option<Status>,
    set: BTreeMap<Member, Value>,
    said: TaskChange,
    event: EventDraft,
}

impl Edit {
    /// Begins an edit by somebody.
    pub fn by(actor: Actor) -> Self {
        let event = EventDraft::new(Data::TaskUpdated(TaskChange::default()), actor);
        Self { to: None, set: BTreeMap::new(), said: TaskChange::default(), event }
    }

    /// Begins an edit by the worker of an attempt.
    pub fn by_attempt(lease: &Lease) -> Self {
        let edit = Self::by(Actor::Worker(lease.owner.clone()));
        Self { event: edit.event.lease(lease), ..edit }
    }

    /// Moves the task to this status; one that stands there already stays.
    pub fn to(self, status: &Status) -> Self {
        Self { to: Some(status.clone()), ..self }
    }

    /// Sets a member.
    pub fn set(mut self, member: Member, value: impl Into<Value>) -> Self {
        self.set.insert(member, value.into());
        self
    }

    /// Sets a member if that makes a difference.
    pub fn set_if(self, differs: bool, member: Member, value: impl Into<Value>) -> Self {
        if differs { self.set(member, value) } else { self }
    }

    /// Says by which verb a human does it.
    pub fn verb(mut self, verb: &str) -> Self {
        self.said.verb = Some(verb.into());
        self
    }

    /// Says why.
    pub fn reason<'a>(mut self, reason: impl Into<Option<&'a str>>) -> Self {
        self.said.reason = reason.into().map(String::from);
        self
    }

    /// Says why, also in the queue, for whoever the task waits for.
    pub fn blocked(self, reason: &str) -> Self {
        self.set(Member::BlockedReason, reason).reason(reason)
    }

    /// Says that it is about this role.
    pub fn role(mut self, role: Option<&Role>) -> Self {
        self.event.role = role.cloned();
        self
    }

    /// Tells whether it leaves a task as it is.
    pub fn is_empty(&self, task: &Task) -> bool {
        self.set.is_empty() && self.to.as_ref().is_none_or(|to| *to == task.status)
    }
}

/// A task to append to the queue's `tasks`.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// The entry as the rules will see it.
    pub task: Task,
    /// The entry as it will stand in the file, members in this order.
    pub json: serde_json::Map<String, Value>,
}

/// A change to `.leases/`.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseChange {
    /// Take the task's flock and write the lease.
    Take(Lease),
    /// Write the lease again: a heartbeat, a process group, a stop request.
    Write(Lease),
    /// Write the lease of somebody who is no worker of ours: by its own words it lives for a time.
    Lend(ForeignLease),
    /// Remove the lease file and let go of the flock, if it is ours.
    Drop(TaskId),
}

/// The changes that a decision makes, committed all or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// Changes to tasks that exist.
    pub edits: Vec<TaskEdit>,
    /// Tasks to add.
    pub add: Vec<NewTask>,
    /// Entries of `tasks` that leave the queue, with the subtasks inside them.
    pub remove: Vec<TaskId>,
    /// Members of the file outside of its tasks to set.
    pub head: BTreeMap<Head, Value>,
    /// The number of the sprint under which the queue, as it was before these changes, is archived.
    pub archive: Option<u64>,
    /// `metadata` counters to put right, by their key.
    pub counters: BTreeMap<String, u64>,
    /// Changes to leases.
    pub leases: Vec<LeaseChange>,
    /// The events, in order.
    pub events: Vec<EventDraft>,
}

impl ChangeSet {
    /// Makes a change set that changes nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Makes a change set that only tells of events.
    pub(crate) fn told(events: impl IntoIterator<Item = EventDraft>) -> Self {
        Self { events: events.into_iter().collect(), ..Self::default() }
    }

    /// Makes a change set that applies edits.
    pub(crate) fn edited<'a>(now: &Now, edits: impl IntoIterator<Item = (&'a Task, Edit)>) -> Self {
        let mut changes = Self::default();
        edits.into_iter().for_each(|(task, edit)| changes.change(now, task, edit));
        changes
    }

    /// Tells whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Tells whether the queue file has to be written.
    pub fn touches_queue(&self) -> bool {
        !(self.edits.is_empty()
            && self.add.is_empty()
            && self.remove.is_empty()
            && self.head.is_empty()
            && self.counters.is_empty())
    }

    /// Sets one member of a task; the last word of a change set on a member counts.
    pub fn set(&mut self, task: &TaskId, member: Member, value: impl Into<Value>) {
        let at = self.edits.iter().position(|edit| edit.task == *task).unwrap_or_else(|| {
            self.edits.push(TaskEdit { task: task.clone(), set: BTreeMap::new() });
            self.edits.len() - 1
        });
        self.edits[at].set.insert(member, value.into());
    }

    /// Applies an edit to a task, together with our stamp, and notes the event that says so. The event carries what was
    /// written, so that the journal alone can tell.
    pub fn change(&mut self, now: &Now, task: &Task, edit: Edit) {
        let Edit { to, mut set, said, event } = edit;
        let to = to.filter(|to| *to != task.status);
        set.extend(to.as_ref().map(|to| (Member::Status, to.as_str().into())));
        set.insert(Member::UpdatedAt, stamp(now.wall).into());
        let written = set.iter().map(|(member, value)| (member.as_str().into(), value.clone())).collect();
        let change = TaskChange { stamped: true, origin: Some(task.origin()), set: Some(written), ..said };
        let data = match to {
            None => Data::TaskUpdated(change),
            Some(to) => Data::TaskMoved(TaskChange { from: Some(task.status.clone()), to: Some(to), ..change }),
        };
        self.event(EventDraft { data, ..event.task(&task.id) });
        for (member, value) in set {
            self.set(&task.id, member, value);
        }
    }

    /// Returns the claims in it.
    pub fn takes(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter().filter_map(|change| if let LeaseChange::Take(lease) = change { Some(lease) } else { None })
    }

    /// Writes the name of an attempt's directory into its claim.
    pub fn name_run(&mut self, task: &TaskId, name: &RunName) {
        for change in &mut self.leases {
            if let LeaseChange::Take(lease) | LeaseChange::Write(lease) = change
                && (&lease.task_id, lease.token) == (task, name.token())
            {
                lease.run = name.to_string();
            }
        }
        for event in &mut self.events {
            if let Data::LeaseAcquired(claimed) = &mut event.data
                && (event.task.as_ref(), event.token) == (Some(task), Some(name.token()))
            {
                claimed.run = Some(name.to_string());
            }
        }
    }

    /// Adds a task and tells it, with all of its entry, so that it can be added again.
    pub fn add(&mut self, new: NewTask, actor: Actor, said: TaskChange) {
        let stamped = new.json.contains_key(Member::UpdatedAt.as_str());
        let created = TaskChange { stamped, entry: Some(new.json.clone()), ..said.of_new(&new.task) };
        self.event(EventDraft::new(Data::TaskCreated(created), actor).task(&new.task.id));
        self.add.push(new);
    }

    /// Notes an event.
    pub fn event(&mut self, event: EventDraft) {
        self.events.push(event);
    }

    /// Takes in a change set that was decided on this one's result.
    pub fn then(&mut self, later: ChangeSet) {
        for edit in later.edits {
            for (member, value) in edit.set {
                self.set(&edit.task, member, value);
            }
        }
        self.add.extend(later.add);
        self.remove.extend(later.remove);
        self.head.extend(later.head);
        self.archive = later.archive.or(self.archive);
        self.counters.extend(later.counters);
        self.leases.extend(later.leases);
        self.events.extend(later.events);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::tests::snapshot;

    #[test]
    fn a_later_plan_has_the_last_word_on_a_member() {
        let id = TaskId::parse("T1").expect("a good id");
        let mut first = ChangeSet::none();
        first.set(&id, Member::Status, "in_progress");
        first.set(&id, Member::Agent, "builder");
        let mut second = ChangeSet::none();
        second.set(&id, Member::Status, "awaiting_test");
        first.then(second);
        assert_eq!(first.edits.len(), 1);
        assert_eq!(first.edits[0].set[&Member::Status], "awaiting_test");
        assert_eq!(first.edits[0].set[&Member::Agent], "builder");
    }

    #[test]
    fn chained_decisions_see_each_other() {
        let id = TaskId::parse("T1").expect("a good id");
        let before = snapshot(vec![Task::new(id.clone(), Status::READY)]);
        let mut seen = None;
        let changes = before.chain(&mut [
            &mut |_| {
                let mut changes = ChangeSet::none();
                changes.set(&id, Member::Status, "in_progress");
                let moved = TaskChange { to: Some(Status::IN_PROGRESS), ..TaskChange::default() };
                changes.event(EventDraft::new(Data::TaskMoved(moved), Actor::Timeout).task(&id));
                changes
            },
            &mut |snapshot| {
                seen = Some((snapshot.queue.get(&id).expect("there").status.clone(), snapshot.history.seq));
                ChangeSet::none()
            },
        ]);
        assert_eq!(seen, Some((Status::IN_PROGRESS, 1)));
        assert_eq!(changes.edits.len(), 1);
    }
}
