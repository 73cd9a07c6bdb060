//! The sprint of a queue: what its file says of it, and what is counted of its tasks.
//!
//! The `metadata.*_tasks` counters of a file are never read here: in most files they are not what its tasks say.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{Queue, Status, Task, Workflow, words::words};

/// The sprint that a queue file describes; members that are missing, or of a wrong type, are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sprint {
    /// The `sprint` member.
    pub number: Option<u64>,
    /// `sprint_id`, or `metadata.sprint_id`.
    pub id: Option<String>,
    /// The `status` member.
    pub status: Option<String>,
    /// `metadata.sprint_goal`.
    pub goal: Option<String>,
    /// `metadata.created`.
    pub created: Option<DateTime<Utc>>,
    /// `metadata.completed_at`.
    pub completed_at: Option<DateTime<Utc>>,
    /// `metadata.sprint_status`, which says the same as `status` where it is kept.
    pub told_again: Option<String>,
    /// There is a `metadata` object.
    pub has_metadata: bool,
}

words! {
    /// A member of a queue file outside of its tasks that we set.
    pub enum Head;

    /// Returns where it stands.
    place: Place {
        Number = "sprint", File: "The sprint's number.";
        Status = "status", File: "How the sprint stands.";
        Id = "sprint_id", File: "The sprint's id.";
        Metadata = "metadata", File: "What people and programs want to know of the sprint.";
        Goal = "sprint_goal", Metadata: "What the sprint is for.";
        CompletedAt = "completed_at", Metadata: "The time at which it was completed.";
        ToldAgain = "sprint_status", Metadata: "Its status once more.";
    }
}

/// The object that a member stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file itself.
    File,
    /// Its `metadata`.
    Metadata,
}

impl Sprint {
    /// The status of one that is over.
    pub const COMPLETED: &str = "completed";
    /// The status of one that is at work.
    pub const IN_PROGRESS: &str = "in_progress";
    /// The status of one whose tasks are still to be planned.
    pub const PLANNING: &str = "planning";

    /// Returns its name for people: its id, or else its number.
    pub fn name(&self) -> Option<String> {
        self.id.clone().or_else(|| self.number.map(|number| number.to_string()))
    }

    /// Tells whether it is over: nothing more is claimed of it.
    pub fn is_completed(&self) -> bool {
        self.status.as_deref() == Some(Self::COMPLETED)
    }

    /// Sets a member to what will stand in the file.
    pub(crate) fn set(&mut self, member: Head, value: &serde_json::Value) {
        let text = |value: &serde_json::Value| value.as_str().map(String::from);
        let time = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse().ok());
        match member {
            Head::Number => self.number = value.as_u64(),
            Head::Status => self.status = text(value),
            Head::Id => self.id = text(value),
            Head::Goal => self.goal = text(value),
            Head::CompletedAt => self.completed_at = time(value),
            Head::ToldAgain => self.told_again = text(value),
            Head::Metadata => {
                self.has_metadata = value.is_object();
                self.goal = text(&value[Head::Goal.as_str()]);
                self.created = time(&value["created"]);
                self.completed_at = time(&value[Head::CompletedAt.as_str()]);
                self.told_again = text(&value[Head::ToldAgain.as_str()]);
            }
        }
    }
}

/// The progress of the tasks of a queue; subtasks count like any other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// All tasks.
    pub total: usize,
    /// Those that are done, also under the old name `completed`.
    pub done: usize,
    /// Those that were cancelled: nobody waits for them.
    pub cancelled: usize,
    /// The number of tasks with each status, as it stands in the file.
    pub statuses: BTreeMap<Status, usize>,
}

impl Progress {
    /// Counts the tasks of a queue.
    pub fn of(queue: &Queue) -> Self {
        let mut progress = Self { total: queue.len(), ..Self::default() };
        for task in queue.tasks() {
            progress.done += usize::from(task.status.is_done());
            progress.cancelled += usize::from(task.status == Status::CANCELLED);
            *progress.statuses.entry(task.status.clone()).or_default() += 1;
        }
        progress
    }

    /// Returns how many of the tasks that were not cancelled are done, in whole percent; `None` where there are none.
    pub fn percent(&self) -> Option<usize> {
        (self.done * 100).checked_div(self.total - self.cancelled)
    }

    /// Returns how many have a status.
    pub fn count(&self, status: &Status) -> usize {
        self.statuses.get(status).copied().unwrap_or_default()
    }
}

/// Something that a sprint is for: what tasks name in `objective_link`.
#[derive(Clone, Debug, PartialEq)]
pub struct Criterion<'a> {
    /// The words of the tasks.
    pub name: &'a str,
    /// `done` where all of its tasks are, else the status of the one that is least far.
    pub status: &'a Status,
    /// The mean of its tasks, in whole percent: 100 done, 50 at work or ready for it, 25 planned, 0 else.
    pub percent: usize,
    /// Its tasks, in the order of the file.
    pub tasks: Vec<&'a Task>,
}

impl Criterion<'_> {
    /// Tells whether it is met.
    pub fn is_met(&self) -> bool {
        self.status.is_done()
    }
}

/// Returns what the sprint is for, in the order in which the file names it first. Tasks that were cancelled count
/// only where no other names the same.
pub fn criteria<'a>(queue: &'a Queue, workflow: &Workflow) -> Vec<Criterion<'a>> {
    let mut names: Vec<&str> = Vec::new();
    let mut of: BTreeMap<&str, Vec<&Task>> = BTreeMap::new();
    for task in queue.tasks() {
        let Some(name) = task.objective_link.as_deref() else { continue };
        of.entry(name).or_insert_with(|| {
            names.push(name);
            Vec::new()
        });
        of.entry(name).or_default().push(task);
    }
    let criterion = |name: &'a str| {
        let tasks = of.remove(name)?;
        let (cancelled, open): (Vec<&Task>, Vec<&Task>) =
            tasks.into_iter().partition(|task| task.status == Status::CANCELLED);
        let tasks = if open.is_empty() { cancelled } else { open };
        let least = tasks.iter().min_by_key(|task| far(workflow, &task.status))?;
        let sum: usize = tasks.iter().map(|task| far(workflow, &task.status)).sum();
        Some(Criterion { name, status: &least.status, percent: sum / tasks.len(), tasks })
    };
    names.into_iter().filter_map(criterion).collect()
}

/// Returns how far a task has come, in percent, by its status.
fn far(workflow: &Workflow, status: &Status) -> usize {
    let is_planning = *status == Status::PLANNING || *status == Status::PLANNING_COMPLETE;
    let at_work = *status != Status::NEEDS_PLAN
        && (workflow.working(status).is_some() || workflow.taking(status).next().is_some());
    if status.is_done() {
        100
    } else if is_planning {
        25
    } else if at_work {
        50
    } else {
        0
    }
}

/// Returns the tasks that were done last, the latest first: by the times that they say, and where they say none, those
/// that stand last in the file.
pub fn recent(queue: &Queue, most: usize) -> Vec<&Task> {
    let mut done: Vec<&Task> = queue.tasks().filter(|task| task.status.is_done()).collect();
    done.sort_by_key(|task| std::cmp::Reverse((task.completed_at, task.place)));
    done.truncate(most);
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{id, task};

    fn linked(name: &str, status: Status, link: &str) -> Task {
        Task { objective_link: Some(link.into()), ..task(name, status) }
    }

    #[test]
    fn progress_is_of_what_was_not_cancelled_and_of_nothing_there_is_none() {
        let tasks = [Status::DONE, Status::COMPLETED, Status::READY, Status::CANCELLED];
        let queue = Queue::of(tasks.into_iter().enumerate().map(|(n, of)| task(&format!("T{n}"), of)).collect());
        let progress = Progress::of(&queue);
        assert_eq!((progress.total, progress.done, progress.cancelled), (4, 2, 1));
        assert_eq!((progress.percent(), progress.count(&Status::READY)), (Some(66), 1));
        assert_eq!(Progress::of(&Queue::default()).percent(), None);
        assert_eq!(Progress::of(&Queue::of(vec![task("A", Status::CANCELLED)])).percent(), None);
    }

    #[test]
    fn a_criterion_is_met_when_all_of_its_tasks_are_done() {
        let queue = Queue::of(vec![
            linked("A", Status::DONE, "first"),
            linked("B", Status::PLANNING_COMPLETE, "second"),
            linked("C", Status::READY_FOR_INTEGRATOR, "first"),
            linked("D", Status::CANCELLED, "first"),
            linked("E", Status::CANCELLED, "third"),
            linked("F", Status::BLOCKED, "fourth"),
            task("G", Status::READY),
        ]);
        let shown: Vec<_> = criteria(&queue, &Workflow::shipped())
            .into_iter()
            .map(|found| (found.name, found.status.as_str(), found.percent, found.is_met()))
            .collect();
        assert_eq!(
            shown,
            [
                ("first", "ready_for_integrator", 75, false),
                ("second", "planning_complete", 25, false),
                ("third", "cancelled", 0, false),
                ("fourth", "blocked", 0, false),
            ]
        );
    }

    #[test]
    fn every_status_of_the_old_dashboard_counts_as_it_did_there() {
        let workflow = Workflow::shipped();
        for (status, percent) in [
            ("done", 100),
            ("completed", 100),
            ("in_progress", 50),
            ("awaiting_test", 50),
            ("ready", 50),
            ("testing", 50),
            ("integrating", 50),
            ("planning", 25),
            ("planning_complete", 25),
            ("needs_plan", 0),
            ("blocked", 0),
            ("cancelled", 0),
            ("needs_manual", 0),
            ("odd", 0),
        ] {
            assert_eq!(far(&workflow, &Status::new(status)), percent, "{status}");
        }
    }

    #[test]
    fn the_latest_is_told_by_its_time_and_else_by_its_place() {
        let at = |name: &str, time: Option<&str>| Task {
            completed_at: time.map(|time| time.parse().expect("a time")),
            ..task(name, Status::DONE)
        };
        let queue = Queue::of(vec![
            at("A", Some("2026-01-02T00:00:00Z")),
            at("B", None),
            at("C", Some("2026-01-01T00:00:00Z")),
            at("D", None),
            task("E", Status::READY),
        ]);
        let ids: Vec<_> = recent(&queue, 3).into_iter().map(|task| task.id.clone()).collect();
        assert_eq!(ids, ["A", "C", "D"].map(id));
    }
}
