//! Everything a decision may know, and what a change set makes of it.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    ChangeSet, Event, History, Holder, Lease, LeaseChange, LeaseRecord, LeaseState, Now, Queue, RunName, TaskId, Token,
    state::starts,
};

/// Everything a decision may know.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The store's clocks.
    pub now: Now,
    /// The queue file's content.
    pub queue: Arc<Queue>,
    /// The leases by task.
    pub leases: BTreeMap<TaskId, LeaseState>,
    /// The history in the journal.
    pub history: Arc<History>,
    /// The history in the ledger of the user's own state: fewer events, kept wherever the project's files go.
    pub kept: Arc<History>,
    /// Further facts in the files, for comparing queue and journal.
    pub beside: Beside,
}

/// Facts that tell a crash or a race from a human's wish.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The time at which the queue file got its present content.
    pub placed: Option<DateTime<Utc>>,
    /// The records of attempts (`attempt.json`) of tasks whose status the journal does not know.
    pub records: BTreeMap<TaskId, serde_json::Map<String, Value>>,
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

    /// Returns what a change set makes of this snapshot; the store's files will say the same after the commit.
    #[must_use]
    pub fn after(&self, changes: &ChangeSet) -> Snapshot {
        let mut next = self.clone();
        next.advance(changes);
        next
    }

    /// Applies a change set in place: what only this snapshot holds is not copied.
    pub fn advance(&mut self, changes: &ChangeSet) {
        if changes.touches_queue() {
            let queue = Arc::make_mut(&mut self.queue);
            for edit in &changes.edits {
                queue.edit(&edit.task, |task| edit.set.iter().for_each(|(member, value)| task.set(*member, value)));
            }
            if !changes.remove.is_empty() {
                queue.remove(&changes.remove);
            }
            for new in &changes.add {
                queue.push(new.task.clone());
            }
            changes.head.iter().for_each(|(member, value)| queue.sprint.set(*member, value));
            for (key, value) in &changes.counters {
                queue.counters.insert(key.clone(), Some(*value));
            }
        }
        for change in &changes.leases {
            match change {
                LeaseChange::Take(lease) | LeaseChange::Write(lease) => {
                    let held = LeaseState { record: LeaseRecord::Ours(lease.clone()), holder: Holder::Alive };
                    self.leases.insert(lease.task_id.clone(), held);
                }
                LeaseChange::Lend(lease) => {
                    let held = LeaseState { record: LeaseRecord::Foreign(lease.clone()), holder: Holder::Unknown };
                    self.leases.insert(lease.task_id.clone(), held);
                }
                LeaseChange::Drop(task) => {
                    self.leases.remove(task);
                }
            }
        }
        if !changes.events.is_empty() {
            let history = Arc::make_mut(&mut self.history);
            for draft in &changes.events {
                let event = Event::number(draft.clone(), history.seq + 1, self.now.wall, "");
                history.apply(&event);
                if let Some(event) = starts::kept(&event) {
                    Arc::make_mut(&mut self.kept).apply(&event);
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

    /// Returns the lease on a task, if it is one of ours.
    pub fn lease(&self, id: &TaskId) -> Option<&Lease> {
        self.leases.get(id).and_then(LeaseState::ours)
    }

    /// Returns the greatest token ever seen for a task, in queue, lease or journal.
    pub fn highest_token(&self, id: &TaskId) -> Token {
        let queue = self.queue.get(id).and_then(|task| task.lease.token()).unwrap_or_default();
        let lease = self.leases.get(id).map(LeaseState::token).unwrap_or_default();
        let journal = self.history.task(id).map(|known| known.token).unwrap_or_default();
        Token::greatest(journal, [queue, lease])
    }

    /// Tells whether a later claim has made this lease worthless.
    pub fn supersedes(&self, mine: &Lease) -> bool {
        let other = self.leases.get(&mine.task_id).is_some_and(|held| held.token() != mine.token);
        other || self.highest_token(&mine.task_id) > mine.token
    }

    /// Returns the directory of an attempt, as its lease or the journal names it; `None` where neither knows the
    /// attempt, so that whatever lies there speaks for nobody.
    pub fn run_name(&self, id: &TaskId, token: Token) -> Option<RunName> {
        let held = self.lease(id).filter(|lease| lease.token == token);
        held.map(Lease::run_name).or_else(|| self.history.task(id)?.runs.get(&token).cloned())
    }
}
