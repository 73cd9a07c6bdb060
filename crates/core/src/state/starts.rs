//! How often agents were started: per task, per day and role; and what planners made of a task.
//!
//! One fold serves twice: over the journal, and over the ledger in the user's own state directory, which keeps the
//! same events where nothing that happens to the project's files reaches them. With the queue's own member that is
//! three tellers, and the greatest counts: whoever loses or edits one of them lowers nothing.
//!
//! Only a verb of ours that a human gave takes a count back, and only for the task that it named.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    Data, Event, Role, Status, Task, TaskId,
    event::payload::{Claimed, Ended, TaskChange},
    outcome::Policy,
    seal,
};

/// So many days are remembered.
const DAYS: usize = 40;

/// The counts of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Starts since a human last allowed more.
    pub(crate) starts: u32,
    /// Those of them that the provider turned away: its pool waits for that, and asks seldom.
    pub(crate) turned_away: u32,
    /// Attempts of roles without an agent, since then as well.
    pub(crate) checks: u32,
    /// The last start.
    pub(crate) last: Option<DateTime<Utc>>,
    /// Tasks that planners made of it, in all generations, since a human last allowed more.
    children: u32,
    /// Of a task that a planner made: the task that all of its family comes from, and how far from it.
    from: Option<(TaskId, u32)>,
    /// The mark that told it from others under its id at its last start ([`Task::origin`]). Once it has `ended`,
    /// another mark under the same id is another task, of the next sprint.
    origin: String,
    ended: bool,
}

impl Count {
    fn is_of_another(&self, origin: impl FnOnce() -> String) -> bool {
        self.ended && self.origin != origin()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Day {
    all: u32,
    roles: BTreeMap<Role, u32>,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    tasks: HashMap<TaskId, Count>,
    days: BTreeMap<NaiveDate, Day>,
}

/// The meaning of an event for the count of starts.
enum Says<'a> {
    Started(Option<&'a String>),
    Checked(Option<&'a String>),
    TurnedAway,
    Planned(TaskId),
    Allowed,
    Ended,
}

fn says(event: &Event) -> Option<Says<'_>> {
    match event.data() {
        // A merge is no start of an agent.
        Data::LeaseAcquired(Claimed { merge: true, .. }) => None,
        Data::LeaseAcquired(claimed) if claimed.agentless => Some(Says::Checked(claimed.origin.as_ref())),
        Data::LeaseAcquired(claimed) => Some(Says::Started(claimed.origin.as_ref())),
        Data::AttemptFinished(ended) => {
            let limited = ended.known_class().is_some_and(|class| class.policy() == Policy::Quota);
            (limited || ended.turned_away).then_some(Says::TurnedAway)
        }
        Data::TaskCreated(change) if event.actor.starts_with("worker:") => {
            change.parent.as_ref().and_then(|parent| TaskId::parse(parent).ok()).map(Says::Planned)
        }
        Data::TaskMoved(change) if change.to.as_ref().is_some_and(Status::is_finished) => Some(Says::Ended),
        Data::TaskMoved(change) | Data::TaskUpdated(change) if event.is_by_human() && event.sealed => {
            change.verb.as_deref().is_some_and(seal::starts_anew).then_some(Says::Allowed)
        }
        _ => None,
    }
}

/// Returns what the ledger keeps of an event; nothing of most. What is told after a crash was written there before it.
pub fn kept(event: &Event) -> Option<Event> {
    says(event)?;
    let only = |change: &TaskChange| TaskChange {
        origin: change.origin.clone(),
        parent: change.parent.clone(),
        to: change.to.clone(),
        verb: change.verb.clone(),
        ..TaskChange::default()
    };
    let data = match event.data() {
        Data::LeaseAcquired(Claimed { rebuilt: true, .. })
        | Data::AttemptFinished(Ended { rebuilt: true, .. })
        | Data::TaskMoved(TaskChange { rebuilt: true, .. }) => return None,
        Data::LeaseAcquired(claimed) => {
            let (origin, agentless) = (claimed.origin.clone(), claimed.agentless);
            Data::LeaseAcquired(Claimed { origin, agentless, ..Claimed::default() })
        }
        Data::AttemptFinished(ended) => {
            let (class, turned_away) = (ended.class.clone(), ended.turned_away);
            Data::AttemptFinished(Ended { class, turned_away, ..Ended::default() })
        }
        Data::TaskCreated(change) => Data::TaskCreated(only(change)),
        Data::TaskMoved(change) => Data::TaskMoved(only(change)),
        Data::TaskUpdated(change) => Data::TaskUpdated(only(change)),
        _ => return None,
    };
    Some(event.clone().with_data(data))
}

impl Starts {
    /// Takes in one more event.
    pub(super) fn apply(&mut self, event: &Event) {
        let (Some(says), Some(id)) = (says(event), &event.task) else { return };
        match says {
            Says::Checked(origin) => {
                let count = self.begun(id, origin);
                count.checks = count.checks.saturating_add(1);
            }
            Says::Started(origin) => {
                let count = self.begun(id, origin);
                count.starts = count.starts.saturating_add(1);
                count.last = Some(event.time);
                // What is simulated costs nobody anything.
                if !event.simulated {
                    self.on_day(event);
                }
            }
            Says::TurnedAway => {
                let count = self.tasks.entry(id.clone()).or_default();
                count.turned_away = count.turned_away.saturating_add(1).min(count.starts);
            }
            Says::Planned(parent) => {
                let (root, generation) = self.family(&parent);
                let above = self.tasks.entry(root.clone()).or_default();
                above.children = above.children.saturating_add(1);
                self.tasks.entry(id.clone()).or_default().from = Some((root, generation + 1));
            }
            Says::Allowed => {
                let root = self.family(id).0;
                let count = self.tasks.entry(id.clone()).or_default();
                (count.starts, count.turned_away, count.checks, count.last) = (0, 0, 0, None);
                self.tasks.entry(root).or_default().children = 0;
            }
            Says::Ended => self.tasks.entry(id.clone()).or_default().ended = true,
        }
    }

    /// Returns the count of a task of which one more attempt begins.
    fn begun(&mut self, id: &TaskId, origin: Option<&String>) -> &mut Count {
        let count = self.tasks.entry(id.clone()).or_default();
        if let Some(origin) = origin {
            if count.is_of_another(|| origin.clone()) {
                *count = Count::default();
            }
            origin.clone_into(&mut count.origin);
        }
        count.ended = false;
        count
    }

    fn on_day(&mut self, event: &Event) {
        let day = self.days.entry(event.time.date_naive()).or_default();
        day.all = day.all.saturating_add(1);
        if let Some(role) = &event.role {
            let of_role = day.roles.entry(role.clone()).or_default();
            *of_role = of_role.saturating_add(1);
        }
        if self.days.len() > DAYS {
            self.days.pop_first();
        }
    }

    /// Returns the task that a task's family comes from, and the generation of the task.
    pub(crate) fn family(&self, id: &TaskId) -> (TaskId, u32) {
        self.tasks.get(id).and_then(|count| count.from.clone()).unwrap_or_else(|| (id.clone(), 0))
    }

    /// Returns what planners made of a family since a human last allowed more.
    pub(crate) fn planned(&self, root: &TaskId) -> u32 {
        self.tasks.get(root).map_or(0, |count| count.children)
    }

    pub(crate) fn of(&self, task: &Task) -> Option<&Count> {
        self.tasks.get(&task.id).filter(|count| !count.is_of_another(|| task.origin()))
    }

    pub(crate) fn on(&self, day: NaiveDate, role: Option<&Role>) -> u32 {
        let Some(day) = self.days.get(&day) else { return 0 };
        role.map_or(day.all, |role| day.roles.get(role).copied().unwrap_or_default())
    }
}
