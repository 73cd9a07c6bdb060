//! What the journal tells the rules: a fold over events, one at a time.
//!
//! Everything here can be rebuilt by reading the journal from its start. No decision is taken here.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use crate::{Data, Event, Role, Status, TaskId, event::payload::Readable};

pub mod decisions;
pub mod handoffs;
pub mod mail;
pub mod pools;
mod roles;
pub mod schedules;
pub mod spending;
pub mod starts;
mod task;

use decisions::Decisions;
use handoffs::Handoffs;
use pools::Pools;
pub use roles::{Failed, Pause, RoleHistory};
use schedules::Schedules;
use spending::Ledger;
use starts::Starts;
pub use task::{GATE, PATIENCE, SetBy, TaskHistory, Work, Write, written_at};

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The last event's number; 0 for an empty journal.
    pub seq: u64,
    /// A baseline of statuses has been recorded.
    pub baseline: bool,
    /// Per task.
    pub tasks: HashMap<TaskId, Arc<TaskHistory>>,
    /// Per role.
    pub roles: BTreeMap<Role, RoleHistory>,
    /// The questions to humans, and their answers.
    pub decisions: Decisions,
    /// The amount spent.
    pub ledger: Ledger,
    /// The starts of agents.
    pub starts: Starts,
    /// The closed pools of quota.
    pub pools: Pools,
    /// The schedules.
    pub schedules: Schedules,
    /// The hand-offs.
    pub handoffs: Handoffs,
    /// Our last changes to the queue, oldest first.
    pub recent: VecDeque<Arc<Write>>,
    /// The number of the sprint that began, or was completed, last.
    pub sprint: Option<u64>,
    /// The time of the last event.
    pub at: DateTime<Utc>,
    /// The number of the last event by which an agent sent a message.
    pub mail: u64,
    /// The error that the last `queue.invalid` named, until a `queue.valid`.
    pub invalid: Option<String>,
}

impl History {
    /// Returns what is remembered of a task.
    pub fn task(&self, id: &TaskId) -> Option<&TaskHistory> {
        self.tasks.get(id).map(Arc::as_ref)
    }

    /// Returns the same to be changed; copies of the fold share it until one of them does.
    pub fn known(&mut self, id: &TaskId) -> &mut TaskHistory {
        Arc::make_mut(self.tasks.entry(id.clone()).or_default())
    }

    /// Says why a role is paused.
    pub fn paused(&self, role: &Role) -> Option<&Pause> {
        self.roles.get(role).and_then(|role| role.paused.as_ref())
    }

    /// Takes in one more event.
    pub fn apply(&mut self, event: &Event) {
        self.seq = self.seq.max(event.seq);
        self.at = self.at.max(event.time);
        self.apply_to_recent(event);
        self.starts.apply(event);
        if let Some(id) = &event.task {
            self.known(id).apply(event);
        }
        if let Some(role) = &event.role {
            self.roles.entry(role.clone()).or_default().apply(event);
        }
        self.pools.apply(event);
        schedules::apply(&mut self.schedules, event);
        self.handoffs.apply(event);
        self.ledger.apply(event);
        if let Some((decision, decided)) = self.decisions.apply(event)
            && let Some(task) = &decision.task
        {
            Arc::make_mut(self.tasks.entry(task.clone()).or_default()).decided(decision, decided);
        }
        match event.data() {
            Data::MessageSent(mail) if mail.to.is_some() && event.sealed => self.mail = event.seq,
            Data::QueueInvalid(unreadable) => self.invalid = Some(unreadable.message.clone().unwrap_or_default()),
            Data::QueueValid(readable) => {
                self.invalid = None;
                self.apply_baseline(event, readable);
            }
            Data::SprintCompleted(change) => self.sprint = change.sprint.or(self.sprint),
            Data::SprintStarted(change) => {
                self.sprint = change.sprint.or(self.sprint);
                let gone = change.gone.0.iter().filter_map(|id| TaskId::parse(id).ok());
                gone.for_each(|id| self.known(&id).left());
            }
            _ => {}
        }
    }

    /// The age and number up to which our own changes are remembered whole.
    const RECENT: (chrono::Duration, usize) = (chrono::Duration::seconds(15), 4_096);

    fn apply_to_recent(&mut self, event: &Event) {
        let change = event.data().task_change().filter(|change| change.stamped);
        let (Some(task), Some(change)) = (&event.task, change) else { return };
        let at = written_at(event);
        let old = |write: &Arc<Write>| write.at + Self::RECENT.0 < at;
        while self.recent.len() >= Self::RECENT.1 || self.recent.front().is_some_and(old) {
            self.recent.pop_front();
        }
        let known = self.task(task);
        self.recent.push_back(Arc::new(Write {
            task: task.clone(),
            at,
            before: known.and_then(|known| known.updated_at),
            from: known.and_then(|known| known.status.clone()),
            set: change.set.clone().unwrap_or_default(),
            entry: change.entry.clone(),
            parent: change.parent.clone(),
        }));
    }

    fn apply_baseline(&mut self, event: &Event, readable: &Readable) {
        let Some(statuses) = &readable.statuses else { return };
        // After the first, only a person may take the file for the truth.
        if self.baseline && !event.sealed {
            return;
        }
        self.baseline = true;
        self.sprint = readable.sprint.or(self.sprint);
        // A baseline that a human confirmed forgets what was written before it, and nothing of the tokens.
        for known in self.tasks.values_mut().map(Arc::make_mut) {
            (known.status, known.set_by) = (None, SetBy::Others);
            known.forget_writing();
        }
        self.recent.clear();
        for (name, status) in statuses {
            if let (Ok(id), Some(status)) = (TaskId::parse(name), status.as_str()) {
                let known = self.known(&id);
                known.status = Some(Status::new(status));
                known.origin =
                    readable.origins.as_ref().and_then(|origins| origins.get(name)?.as_str()).map(Into::into);
            }
        }
    }
}
