//! How often agents were started: per task, per day and role; and what planners made of a task (R26).
//!
//! One fold serves twice: over the journal, and over the ledger in the user's own state directory, which keeps the
//! same events where nothing that happens to the project's files reaches them. With the queue's own member that is
//! three tellers, and the greatest counts: whoever loses or edits one of them lowers nothing.
//!
//! Only a verb of ours that a human gave takes a count back, and only for the task that it named.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    Class, Event, Kind, Role, Snapshot, Status, Task, TaskId,
    outcome::{self, Policy},
};

/// So many days are remembered.
const DAYS: usize = 40;

/// The verbs by which a human lets a task start anew.
const VERBS: [&str; 3] = ["retry", "move", "unblock"];

/// How often, how deep and how many: where everything ends, whatever agents answer (R26).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Starts of agents for one task before a human is asked; 12.
    pub starts: u32,
    /// How deep planners may plan: children are the first generation; 3.
    pub generations: u32,
    /// Children, and theirs, that planners may make of one task; 30.
    pub children: u32,
    /// The first wait before a further start; `retry.backoff`.
    pub backoff: std::time::Duration,
    /// The longest; `retry.backoff_max`.
    pub backoff_max: std::time::Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        let retry = outcome::Retry::default();
        Self { starts: 12, generations: 3, children: 30, backoff: retry.backoff, backoff_max: retry.backoff_max }
    }
}

impl Bounds {
    /// The wait between a task's last start and the next after so many: none for the first half of what is allowed,
    /// then more and more, however each of them ended.
    pub fn pace(&self, starts: u32) -> std::time::Duration {
        match starts.checked_sub(self.starts.div_ceil(2)) {
            None | Some(0) => std::time::Duration::ZERO,
            Some(n) => outcome::doubled(self.backoff, self.backoff_max, n),
        }
    }
}

/// What is counted of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count {
    /// Starts since a human last allowed more.
    starts: u32,
    /// How many of them the provider turned away: its pool waits for that, and asks seldom.
    turned_away: u32,
    /// The last of them.
    last: Option<DateTime<Utc>>,
    /// What planners made of it, in all generations, since a human last allowed more.
    children: u32,
    /// Of a task that a planner made: the task that all of its family comes from, and how far from it.
    from: Option<(TaskId, u32)>,
    /// What told it from others under its id at its last start ([`Task::origin`]), and whether we have seen it to its
    /// end since: then another one under the id is another task, of the next sprint.
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

/// Whether a human who says this lets a task start anew.
pub(super) fn is_anew(verb: &str) -> bool {
    VERBS.contains(&verb)
}

/// What an event says about starts.
enum Says {
    Started,
    TurnedAway,
    Planned(TaskId),
    Allowed,
    Ended,
}

fn says(event: &Event) -> Option<Says> {
    match event.kind {
        // A merge is no start of an agent.
        Kind::LeaseAcquired => (!event.flag("merge")).then_some(Says::Started),
        Kind::AttemptFinished => {
            let class = event.text("class").and_then(|class| class.parse::<Class>().ok());
            let limited = class.is_some_and(|class| class.policy() == Policy::Quota);
            (limited || event.flag("turned_away")).then_some(Says::TurnedAway)
        }
        Kind::TaskCreated if event.actor.starts_with("worker:") => {
            event.text("parent").and_then(|parent| TaskId::parse(parent).ok()).map(Says::Planned)
        }
        Kind::TaskMoved if event.text("to").is_some_and(|to| Status::new(to).is_finished()) => Some(Says::Ended),
        Kind::TaskMoved | Kind::TaskUpdated if event.actor.starts_with("human:") && event.sealed => {
            event.text("verb").is_some_and(is_anew).then_some(Says::Allowed)
        }
        _ => None,
    }
}

/// What the ledger keeps of an event; nothing of most.
pub fn kept(event: &Event) -> Option<Event> {
    // What is told after a crash was written here before it.
    says(event).filter(|_| !event.flag("rebuilt"))?;
    let mut event = event.clone();
    event.data.retain(|key, _| ["class", "origin", "parent", "to", "turned_away", "verb"].contains(&key.as_str()));
    Some(event)
}

impl Starts {
    /// Takes in one more event.
    pub(super) fn apply(&mut self, event: &Event) {
        let (Some(says), Some(id)) = (says(event), &event.task) else { return };
        match says {
            Says::Started => {
                let count = self.tasks.entry(id.clone()).or_default();
                if let Some(origin) = event.text("origin") {
                    if count.is_of_another(|| origin.into()) {
                        *count = Count::default();
                    }
                    origin.clone_into(&mut count.origin);
                }
                count.starts = count.starts.saturating_add(1);
                (count.last, count.ended) = (Some(event.time), false);
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
                (count.starts, count.turned_away, count.last) = (0, 0, None);
                self.tasks.entry(root).or_default().children = 0;
            }
            Says::Ended => self.tasks.entry(id.clone()).or_default().ended = true,
        }
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

    /// The task that a task's family comes from, and the generation of the task.
    fn family(&self, id: &TaskId) -> (TaskId, u32) {
        self.tasks.get(id).and_then(|count| count.from.clone()).unwrap_or_else(|| (id.clone(), 0))
    }

    fn of(&self, task: &Task) -> Option<&Count> {
        self.tasks.get(&task.id).filter(|count| !count.is_of_another(|| task.origin()))
    }

    fn on(&self, day: NaiveDate, role: Option<&Role>) -> u32 {
        let Some(day) = self.days.get(&day) else { return 0 };
        role.map_or(day.all, |role| day.roles.get(role).copied().unwrap_or_default())
    }
}

impl Snapshot {
    fn tellers(&self) -> [&Starts; 2] {
        [&self.history.starts, &self.kept.starts]
    }

    /// How often agents were started for a task since a human last allowed more. Those that a provider turned away
    /// are left out, up to once more what is allowed.
    pub fn starts(&self, task: &Task, bounds: &Bounds) -> u32 {
        let told = self.tellers().into_iter().filter_map(|told| told.of(task));
        told.map(|count| count.starts - count.turned_away.min(bounds.starts)).fold(task.starts, u32::max)
    }

    /// Whether there is a count for a human to take back.
    pub(super) fn has_counted(&self, task: &Task) -> bool {
        let counted = |told: &&Starts| told.of(task).is_some_and(|count| count.starts > 0);
        let root = self.family(&task.id).0;
        task.starts > 0 || self.tellers().iter().any(counted) || self.planned(&root) > 0
    }

    /// Whether one more start that a provider turns away is left out.
    pub(super) fn spares_another(&self, task: &Task, bounds: &Bounds) -> bool {
        let told = self.tellers().into_iter().filter_map(|told| told.of(task));
        told.map(|count| count.turned_away).max().unwrap_or_default() < bounds.starts
    }

    /// When an agent was last started for a task.
    pub fn last_start(&self, task: &Task) -> Option<DateTime<Utc>> {
        self.tellers().into_iter().filter_map(|told| told.of(task)?.last).max()
    }

    /// The starts of a day (UTC), of all roles or of one.
    pub fn starts_on(&self, day: NaiveDate, role: Option<&Role>) -> u32 {
        self.tellers().map(|told| told.on(day, role)).into_iter().fold(0, u32::max)
    }

    /// The task that a planned task's family comes from, and its generation; a task that no planner made is its own.
    pub fn family(&self, id: &TaskId) -> (TaskId, u32) {
        self.tellers().map(|told| told.family(id)).into_iter().max_by_key(|(_, generation)| *generation).expect("two")
    }

    /// What planners made of a family since a human last allowed more.
    pub fn planned(&self, root: &TaskId) -> u32 {
        self.tellers().map(|told| told.tasks.get(root).map_or(0, |count| count.children)).into_iter().fold(0, u32::max)
    }
}

#[cfg(test)]
mod tests;
