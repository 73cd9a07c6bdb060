//! How often agents were started for a task, on a day, and what planners made of a task.
//!
//! The queue's own member, the journal and the ledger in the user's own state each tell a count, and the greatest is
//! the one that holds: losing or editing one of them lowers nothing.

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    Role, Snapshot, Task, TaskId,
    policy::Bounds,
    state::starts::{Count, Starts},
};

impl Snapshot {
    fn tellers(&self) -> [&Starts; 2] {
        [&self.history.starts, &self.kept.starts]
    }

    fn counts(&self, task: &Task) -> impl Iterator<Item = &Count> {
        self.tellers().into_iter().filter_map(|told| told.of(task))
    }

    /// Returns how often agents were started for a task since a human last allowed more. Those that a provider turned
    /// away are left out, up to once more what is allowed.
    pub fn starts(&self, task: &Task, bounds: &Bounds) -> u32 {
        let told = self.counts(task).map(|count| count.starts - count.turned_away.min(bounds.starts));
        told.fold(task.starts, u32::max)
    }

    /// Returns how often roles without an agent tried a task since a human last allowed more.
    pub fn checks(&self, task: &Task) -> u32 {
        self.counts(task).map(|count| count.checks).max().unwrap_or_default()
    }

    /// Tells whether there is a count for a human to take back.
    pub(super) fn has_counted(&self, task: &Task) -> bool {
        let is_told = || self.counts(task).any(|count| count.starts > 0 || count.checks > 0);
        task.starts > 0 || is_told() || self.planned(&self.family(&task.id).0) > 0
    }

    /// Tells whether one more start that a provider turns away is left out.
    pub(super) fn spares_another(&self, task: &Task, bounds: &Bounds) -> bool {
        self.counts(task).map(|count| count.turned_away).max().unwrap_or_default() < bounds.starts
    }

    /// Returns when an agent was last started for a task.
    pub fn last_start(&self, task: &Task) -> Option<DateTime<Utc>> {
        self.counts(task).filter_map(|count| count.last).max()
    }

    /// Returns the starts of a day (UTC), of all roles or of one.
    pub fn starts_on(&self, day: NaiveDate, role: Option<&Role>) -> u32 {
        self.tellers().map(|told| told.on(day, role)).into_iter().fold(0, u32::max)
    }

    /// Returns the task that a planned task's family comes from, and its generation; a task that no planner made is its
    /// own.
    pub fn family(&self, id: &TaskId) -> (TaskId, u32) {
        self.tellers().map(|told| told.family(id)).into_iter().max_by_key(|(_, generation)| *generation).expect("two")
    }

    /// Returns what planners made of a family since a human last allowed more.
    pub fn planned(&self, root: &TaskId) -> u32 {
        self.tellers().map(|told| told.planned(root)).into_iter().fold(0, u32::max)
    }
}

#[cfg(test)]
mod tests;
