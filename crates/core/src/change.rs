//! What the rules see and what they answer: a snapshot in, a change set out.
//!
//! A store fills the snapshot, clock included, and commits the change set as one; an empty change set writes
//! nothing. Change sets can be chained: a change set is applied to the snapshot it was made from, and the next
//! decision sees the result, so that several become one commit.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;

use super::{
    Event, EventDraft, History, Holder, Kind, Lease, LeaseRecord, LeaseState, Queue, QueueLease, RunName, Status,
    TaskId, Token,
};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock in whole milliseconds, for people and for `not_before`.
    pub wall: DateTime<Utc>,
    /// `CLOCK_MONOTONIC`: what leases are judged by (R13).
    pub mono: Duration,
}

impl Now {
    /// Puts the two together; the wall clock is cut to milliseconds, as it stands in the files.
    pub fn new(wall: DateTime<Utc>, mono: Duration) -> Self {
        Self { wall: wall.trunc_subsecs(3), mono }
    }

    /// The monotonic clock in milliseconds.
    pub fn mono_ms(&self) -> u64 {
        u64::try_from(self.mono.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A wall-clock time as it stands in our files: UTC, milliseconds, `Z`.
pub fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Everything a decision may know.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The store's clocks.
    pub now: Now,
    /// The queue file's content.
    pub queue: Arc<Queue>,
    /// The leases by task.
    pub leases: BTreeMap<TaskId, LeaseState>,
    /// What the journal tells.
    pub history: Arc<History>,
    /// What the ledger in the user's own state tells: the same of fewer events, wherever the project's files went.
    pub kept: Arc<History>,
    /// What else the files show, for who compares queue and journal.
    pub beside: Beside,
}

/// What tells a crash and a race from a human's wish.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// When the queue file got its present content.
    pub placed: Option<DateTime<Utc>>,
    /// The records of attempts (`attempt.json`) of tasks whose status the journal does not know.
    pub records: BTreeMap<TaskId, serde_json::Map<String, Value>>,
}

/// A member of a task that we may write (contract section 3); no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the member it is named after")]
pub enum Member {
    Status,
    Agent,
    Lease,
    Attempts,
    Starts,
    NotBefore,
    UpdatedAt,
    BlockedReason,
    Branch,
    MergedCommit,
    Tag,
    CompletedAt,
    Title,
    Description,
    Kind,
    Priority,
    Dependencies,
    DependsOn,
    AcceptanceCriteria,
    Gates,
}

impl Member {
    /// Every one of them.
    pub const ALL: [Self; 12] = [
        Self::Status,
        Self::Agent,
        Self::Lease,
        Self::Attempts,
        Self::Starts,
        Self::NotBefore,
        Self::UpdatedAt,
        Self::BlockedReason,
        Self::Branch,
        Self::MergedCommit,
        Self::Tag,
        Self::CompletedAt,
    ];

    /// The member's key in the file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Agent => "agent",
            Self::Lease => "lease",
            Self::Attempts => "attempts",
            Self::Starts => "starts",
            Self::NotBefore => "not_before",
            Self::UpdatedAt => "updated_at",
            Self::BlockedReason => "blocked_reason",
            Self::Branch => "branch",
            Self::MergedCommit => "merged_commit",
            Self::Tag => "tag",
            Self::CompletedAt => "completed_at",
            Self::Title => "title",
            Self::Description => "description",
            Self::Kind => "type",
            Self::Priority => "priority",
            Self::Dependencies => "dependencies",
            Self::DependsOn => "depends_on",
            Self::AcceptanceCriteria => "acceptance_criteria",
            Self::Gates => "gates",
        }
    }
}

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
    pub task: super::Task,
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
    /// A change set that changes nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// `true` when there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// `true` when the queue file has to be written.
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
    /// the journal alone can tell (R10, R24).
    pub fn change(&mut self, now: &Now, task: &super::Task, to: &Status, set: &[(Member, Value)], event: EventDraft) {
        let mut set: BTreeMap<Member, Value> = set.iter().cloned().collect();
        if task.status != *to {
            set.insert(Member::Status, to.as_str().into());
        }
        set.insert(Member::UpdatedAt, stamp(now.wall).into());
        let written: serde_json::Map<String, Value> =
            set.iter().map(|(member, value)| (member.key().into(), value.clone())).collect();
        let mut event = event.task(&task.id).with("stamped", true).with("origin", task.origin()).with("set", written);
        if task.status == *to {
            event.kind = Kind::TaskUpdated;
        } else {
            event = event.with("from", task.status.as_str()).with("to", to.as_str());
        }
        self.event(event);
        for (member, value) in set {
            self.set(&task.id, member, value);
        }
    }

    /// The claims in it.
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
        let claims = self.events.iter_mut().filter(|event| event.kind == Kind::LeaseAcquired);
        for event in claims.filter(|event| event.task.as_ref() == Some(task) && event.token == Some(name.token())) {
            event.data.insert("run".into(), name.as_str().into());
        }
    }

    /// Adds a task and tells it, with all of its entry, so that it can be added again (R33).
    pub fn add(&mut self, new: NewTask, event: EventDraft) {
        let title = super::text::cut(&new.task.title, 200);
        self.event(
            event
                .task(&new.task.id)
                .with("to", new.task.status.as_str())
                .with("title", title)
                .with("stamped", new.json.contains_key(Member::UpdatedAt.key()))
                .with("origin", new.task.origin())
                .with("entry", new.json.clone()),
        );
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

impl Snapshot {
    /// Returns what is known of a queue that nobody has worked on yet.
    pub fn of(now: Now, queue: Queue) -> Self {
        Self {
            now,
            queue: Arc::new(queue),
            leases: BTreeMap::new(),
            history: Arc::default(),
            kept: Arc::default(),
            beside: Beside::default(),
        }
    }

    /// What a change set makes of this snapshot; the store's files will say the same after the commit.
    #[must_use]
    pub fn after(&self, changes: &ChangeSet) -> Snapshot {
        let mut next = self.clone();
        next.advance(changes);
        next
    }

    /// Whether nothing but time has passed between the two.
    pub fn shows_the_same(&self, other: &Snapshot) -> bool {
        Arc::ptr_eq(&self.queue, &other.queue)
            && Arc::ptr_eq(&self.history, &other.history)
            && Arc::ptr_eq(&self.kept, &other.kept)
            && self.leases == other.leases
    }

    /// The same in place: what only this snapshot holds is not copied.
    pub fn advance(&mut self, changes: &ChangeSet) {
        let next = self;
        if changes.touches_queue() {
            let queue = Arc::make_mut(&mut next.queue);
            for edit in &changes.edits {
                queue.edit(&edit.task, |task| {
                    for (member, value) in &edit.set {
                        apply(task, *member, value);
                    }
                });
            }
            for new in &changes.add {
                queue.push(new.task.clone());
            }
            for (key, value) in &changes.counters {
                queue.counters.insert(key.clone(), Some(*value));
            }
        }
        for change in &changes.leases {
            match change {
                LeaseChange::Take(lease) | LeaseChange::Write(lease) => {
                    let held = LeaseState { record: LeaseRecord::Ours(lease.clone()), holder: Holder::Alive };
                    next.leases.insert(lease.task_id.clone(), held);
                }
                LeaseChange::Drop(task) => {
                    next.leases.remove(task);
                }
            }
        }
        if !changes.events.is_empty() {
            let history = Arc::make_mut(&mut next.history);
            for draft in &changes.events {
                let event = Event::number(draft.clone(), history.seq + 1, next.now.wall, "");
                history.apply(&event);
                if let Some(event) = super::starts::kept(&event) {
                    Arc::make_mut(&mut next.kept).apply(&event);
                }
            }
        }
    }

    /// Runs several decisions as if each had been committed before the next, and answers with all of them as one change set.
    pub fn chain(&self, decisions: &mut [&mut dyn FnMut(&Snapshot) -> ChangeSet]) -> ChangeSet {
        let mut all = ChangeSet::none();
        let mut current: Option<Snapshot> = None;
        for decide in decisions {
            let changes = decide(current.as_ref().unwrap_or(self));
            if !changes.is_empty() {
                current.get_or_insert_with(|| self.clone()).advance(&changes);
                all.then(changes);
            }
        }
        all
    }

    /// The same for an id as somebody wrote it; 0 for one that is none.
    pub fn highest_token_of(&self, id: &str) -> Token {
        TaskId::parse(id).map(|id| self.highest_token(&id)).unwrap_or_default()
    }

    /// The greatest token ever seen for a task, in queue, lease or journal (R10).
    pub fn highest_token(&self, id: &TaskId) -> Token {
        let queue = self.queue.get(id).and_then(|task| task.lease.token()).unwrap_or_default();
        let lease = self.leases.get(id).map(LeaseState::token).unwrap_or_default();
        let journal = self.history.task(id).map(|known| known.token).unwrap_or_default();
        Token::greatest(journal, [queue, lease])
    }

    /// The directory of an attempt, as its lease or the journal names it; `None` where neither knows the attempt, so
    /// that whatever lies there speaks for nobody (R27).
    pub fn run_name(&self, id: &TaskId, token: Token) -> Option<RunName> {
        let held = self.leases.get(id).and_then(LeaseState::ours).filter(|lease| lease.token == token);
        held.map(Lease::run_name).or_else(|| self.history.task(id)?.runs.get(&token).cloned())
    }
}

fn apply(task: &mut super::Task, member: Member, value: &Value) {
    let text = || value.as_str().map(String::from);
    let time = || value.as_str().and_then(|t| t.parse().ok());
    let texts = || {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(|text| text.as_str().map(String::from)).collect::<Vec<_>>()
    };
    let count = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
    match member {
        Member::Status => task.status = Status::new(text().unwrap_or_default()),
        Member::Agent => task.agent = text(),
        Member::Lease => task.lease = QueueLease::from_text(value.as_str().unwrap_or_default()),
        Member::Attempts => task.attempts = count(value),
        Member::Starts => task.starts = count(value),
        Member::NotBefore => task.not_before = time(),
        Member::UpdatedAt => task.updated_at = time(),
        Member::BlockedReason => task.blocked_reason = text(),
        Member::Branch => task.branch = text(),
        Member::Title => task.title = text().unwrap_or_default(),
        Member::Description => task.description = text(),
        Member::Kind => task.kind = text(),
        Member::Priority => task.priority = value.as_i64().unwrap_or(super::Task::DEFAULT_PRIORITY),
        Member::Dependencies => task.dependencies = texts(),
        Member::AcceptanceCriteria => task.acceptance_criteria = texts(),
        Member::Gates => task.gates = texts(),
        Member::MergedCommit => task.merged_commit = text(),
        Member::DependsOn | Member::Tag | Member::CompletedAt => {}
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Task, event::Actor};

    pub(crate) fn now_at(seconds: u64) -> Now {
        let wall = DateTime::from_timestamp(1_767_600_000 + seconds as i64, 0).expect("a time");
        Now::new(wall, Duration::from_secs(seconds))
    }

    pub(crate) fn snapshot(tasks: Vec<Task>) -> Snapshot {
        Snapshot::of(now_at(1_000), Queue::of(tasks))
    }

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
                changes.event(EventDraft::new(Kind::TaskMoved, Actor::Timeout).task(&id).with("to", "in_progress"));
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
