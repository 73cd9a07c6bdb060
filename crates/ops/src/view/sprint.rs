//! Sprints: how one stands, and what its verbs did.

use std::collections::BTreeMap;

use super::Moment;
use oodatcaa_core::{Role, TaskId};

views! {
    /// The state of the queue's sprint, from its tasks alone.
    pub struct SprintView = "oodatcaa/sprint.v1" {
        /// The time when this was so.
        pub at: Moment,
        /// Its number.
        pub number: Option<u64>,
        /// Its id.
        pub id: Option<String>,
        /// Its status, as it stands in the file.
        pub status: Option<String>,
        /// Its goal.
        pub goal: Option<String>,
        /// The time at which it was completed.
        pub completed_at: Option<Moment>,
        /// The progress of its tasks.
        pub progress: ProgressView,
        /// The work in progress of each role.
        pub wip: Vec<SprintWipView>,
        /// The purposes of its tasks, by their `objective_link`.
        pub exit_criteria: Vec<CriterionView>,
        /// The tasks that were done last, the latest first.
        pub recent: Vec<SprintTaskView>,
        /// The tasks that are claimed next.
        pub next: Vec<SprintTaskView>,
    }

    /// The progress of tasks.
    pub struct ProgressView {
        /// All tasks, subtasks among them.
        pub total_tasks: usize,
        /// Those that are done.
        pub completed: usize,
        /// Those that were cancelled.
        pub cancelled: usize,
        /// Done tasks in percent of those that were not cancelled; none where there are none.
        pub percentage: Option<usize>,
        /// The number of tasks with each status.
        pub statuses: BTreeMap<String, usize>,
    }

    /// The work in progress of a role.
    pub struct SprintWipView {
        /// The role.
        pub role: Role,
        /// Tasks that it works on.
        pub current: u32,
        /// The number of tasks that it may work on.
        pub limit: u32,
        /// The one in percent of the other.
        pub utilization: Option<u32>,
    }

    /// One thing that a sprint is for.
    pub struct CriterionView {
        /// Its words.
        pub name: String,
        /// `done` where all of its tasks are, else the status of the one that is least far.
        pub status: String,
        /// The mean of its tasks: 100 done, 50 at work, 25 planned, 0 else.
        pub progress: usize,
        /// Its tasks.
        pub tasks: Vec<TaskId>,
    }

    /// A task, in short.
    pub struct SprintTaskView {
        /// Its id.
        pub id: TaskId,
        /// Its title.
        pub title: String,
        /// Its status.
        pub status: String,
        /// The time at which it was done.
        pub completed_at: Option<Moment>,
    }

    /// The results of a sprint, from its queue and the journal.
    pub struct SprintReportView = "oodatcaa/sprint-report.v1" {
        /// Its state, or that at its end.
        pub sprint: SprintView,
        /// The time since which the journal knows of it.
        pub since: Option<Moment>,
        /// Its attempts; simulated ones are counted apart.
        pub attempts: usize,
        /// Attempts that no model worked on.
        pub simulated: usize,
        /// The number of attempts that ended, by the word of their outcome.
        pub outcomes: BTreeMap<String, usize>,
        /// The number of failures, by their class.
        pub failures: BTreeMap<String, usize>,
        /// The price in US dollars, as far as it is known.
        pub cost_usd: Option<f64>,
        /// Attempts whose price nobody knows.
        pub unpriced: usize,
        /// Tokens read and written, as far as they are known.
        pub tokens: Option<u64>,
        /// Seconds of attempts.
        pub seconds: Option<f64>,
        /// The tasks that are done.
        pub done: Vec<ReportedView>,
        /// Those that are open.
        pub open: Vec<ReportedView>,
        /// Those that were cancelled.
        pub cancelled: Vec<ReportedView>,
    }

    /// A task in a report.
    pub struct ReportedView {
        /// Its id.
        pub id: TaskId,
        /// Its title.
        pub title: String,
        /// Its status.
        pub status: String,
        /// The commit as which it was merged.
        pub merged_commit: Option<String>,
        /// The reason why it is open, or the cause of a doubt that it is done.
        pub note: Option<String>,
    }

    /// The changes that a verb made to a sprint, or would make.
    pub struct SprintTurnView = "oodatcaa/sprint-turn.v1" {
        /// The verb.
        pub verb: &'static str,
        /// True if nothing was written.
        pub dry_run: bool,
        /// The number of the sprint that it was about.
        pub sprint: u64,
        /// The number of the sprint that the queue is of now.
        pub now: u64,
        /// True if the queue was, or would be, changed.
        pub changed: bool,
        /// The tasks that are open: at its end, or left behind by a new one.
        pub open: Vec<String>,
        /// The tasks that go on in the new sprint.
        pub carried: Vec<String>,
        /// The steps that were done, or would be.
        pub steps: Vec<StepView>,
    }

    /// A possible goal of a sprint, from the project's objective.
    pub struct SprintPlanView = "oodatcaa/sprint-plan.v1" {
        /// The file with the objective.
        pub objective: String,
        /// The number of success criteria that it names.
        pub criteria: usize,
        /// The number of them that are met.
        pub met: usize,
        /// The one in percent of the other; none where there are none.
        pub percentage: Option<usize>,
        /// The number of the sprint.
        pub sprint: Option<u64>,
        /// Its goal: a person's words, or those of the queue file.
        pub goal: Option<String>,
        /// Its exit criteria: open success criteria, in the words of the objective.
        pub exit_criteria: Vec<String>,
        /// The title of the task that plans it.
        pub title: String,
        /// The description of that task.
        pub description: String,
        /// That task, where there is one.
        pub task: Option<TaskId>,
        /// True if it was added now.
        pub added: bool,
    }

    /// A log that was looked at, and rotated where it was too long.
    pub struct RotationView = "oodatcaa/rotation.v1" {
        /// The log.
        pub file: String,
        /// Lines that it had.
        pub lines: usize,
        /// Lines that stay.
        pub kept: usize,
        /// Lines that went to the archive.
        pub archived: usize,
        /// The archive; none where it was not too long.
        pub archive: Option<String>,
        /// True if nothing was written.
        pub dry_run: bool,
    }

    /// A file that the journal is rendered into.
    pub struct RenderedView = "oodatcaa/rendered.v1" {
        /// The file.
        pub file: String,
        /// `written`, `there` already, `would`, or `theirs`: somebody else's, which is left alone.
        pub became: &'static str,
        /// Entries that were added to a log, attempts that a report tells of, or rows of an index.
        pub entries: usize,
        /// True if nothing was written.
        pub dry_run: bool,
    }

    /// One step of it.
    pub struct StepView {
        /// The file or tag.
        pub what: String,
        /// `written`, `there` already, `would`, or `failed`.
        pub became: &'static str,
        /// More about it.
        pub note: Option<String>,
    }
}
