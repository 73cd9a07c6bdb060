//! What the rules answer: a change set, which a store commits as one.
//!
//! An empty change set writes nothing. Change sets can be chained: the next decision sees the result of the one
//! before, so that several become one commit.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    Data, EventDraft, Lease, Member, Now, RunName, Status, Task, TaskId,
    event::{Actor, payload::TaskChange},
    text,
    time::stamp,
};

/// Members to set in one task. `Value::Null` writes `null` where the member exists and nothing where it does not.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEdit {
    /// Which task.
    pub task: TaskId,
    /// What to set.
    pub set: BTreeMap<Member, Value>,
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
    /// Remove the lease file and let go of the flock, if it is ours.
    Drop(TaskId),
}

/// What a decision wants committed, all or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// Changes to tasks that exist.
    pub edits: Vec<TaskEdit>,
    /// Tasks to add.
    pub add: Vec<NewTask>,
    /// `metadata` counters to put right, by their key.
    pub counters: BTreeMap<String, u64>,
    /// Changes to leases.
    pub leases: Vec<LeaseChange>,
    /// What happened, in order.
    pub events: Vec<EventDraft>,
}

impl ChangeSet {
    /// Makes a change set that changes nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Tells whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Tells whether the queue file has to be written.
    pub fn touches_queue(&self) -> bool {
        !(self.edits.is_empty() && self.add.is_empty() && self.counters.is_empty())
    }

    /// Sets one member of a task; the last word of a change set on a member counts.
    pub fn set(&mut self, task: &TaskId, member: Member, value: impl Into<Value>) {
        let edit = match self.edits.iter_mut().position(|edit| edit.task == *task) {
            Some(at) => &mut self.edits[at],
            None => {
                self.edits.push(TaskEdit { task: task.clone(), set: BTreeMap::new() });
                self.edits.last_mut().expect("just pushed")
            }
        };
        edit.set.insert(member, value.into());
    }

    /// Moves a task, or (from and to being equal) only updates it: sets the members together with
    /// `updated_at`, and notes the event that says so. The event carries what was written, so that
    /// the journal alone can tell.
    pub fn change(&mut self, now: &Now, task: &Task, to: &Status, set: &[(Member, Value)], event: EventDraft) {
        let mut set: BTreeMap<Member, Value> = set.iter().cloned().collect();
        if task.status != *to {
            set.insert(Member::Status, to.as_str().into());
        }
        set.insert(Member::UpdatedAt, stamp(now.wall).into());
        let written: serde_json::Map<String, Value> =
            set.iter().map(|(member, value)| (member.as_str().into(), value.clone())).collect();
        let said = event.data.task_change().cloned().unwrap_or_default();
        let change = TaskChange { stamped: true, origin: Some(task.origin()), set: Some(written), ..said };
        let data = match task.status == *to {
            true => Data::TaskUpdated(change),
            false => Data::TaskMoved(TaskChange { from: Some(task.status.clone()), to: Some(to.clone()), ..change }),
        };
        self.event(EventDraft { data, ..event.task(&task.id) });
        for (member, value) in set {
            self.set(&task.id, member, value);
        }
    }

    /// Returns the claims in it.
    pub fn takes(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter().filter_map(|change| match change {
            LeaseChange::Take(lease) => Some(lease),
            _ => None,
        })
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
        let created = TaskChange {
            to: Some(new.task.status.clone()),
            title: Some(text::cut(&new.task.title, 200)),
            stamped: new.json.contains_key(Member::UpdatedAt.as_str()),
            origin: Some(new.task.origin()),
            entry: Some(new.json.clone()),
            ..said
        };
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
        self.counters.extend(later.counters);
        self.leases.extend(later.leases);
        self.events.extend(later.events);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::snapshot;

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
