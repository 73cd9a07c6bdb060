//! What happened in a span of time, worst first.

use serde_json::Value;

use super::{Moment, NeedView, PoolView, ScheduleView};
use crate::TaskState;
use oodatcaa_core::{Role, Status, TaskId, budget::Standing, policy::Unit, words};

words! {
    /// The kind of something odd that happened.
    pub enum OddKind {
        Rescued = "rescued": "A dead or lost owner's task was given back.";
        TakenBack = "merge_taken_back": "A merge was begun and did not stay in the target.";
        Bound = "bound": "The starts of a task's agents are used up.";
        QueueInvalid = "queue_invalid": "The queue file could not be read.";
        Edit = "edit": "An edit of the queue file was judged, undone or not taken.";
        Paused = "role_paused": "A role was paused, and works again.";
        Crashed = "worker_crashed": "A worker crashed, and was started again or given up.";
        Lacking = "agent_missing": "A worker was started without one of its agents.";
        Limited = "quota": "A pool of quota was used up.";
        Budget = "budget": "A budget was used up, or nearly.";
        Expired = "unanswered": "Nobody answered in time, and a default holds.";
        Superseded = "superseded": "An attempt ended after another had taken over.";
        Missed = "schedule_missed": "Runs of a schedule made no task.";
        Refused = "handoff_refused": "A hand-off could not do what it should have.";
        Journal = "journal": "The journal ended in the middle of a line.";
    }
}

views! {
    /// The events since a time, worst first, and the present state of things.
    pub struct ReportView = "oodatcaa/report.v1" {
        /// The time when this was so.
        pub at: Moment,
        /// The time from which on it tells.
        pub since: Moment,
        /// The project's name.
        pub project: String,
        /// The sprint that the queue file names.
        pub sprint: Option<String>,
        /// The things that wait for a person now.
        pub needs: Vec<NeedView>,
        /// Roles that have something to do and no worker.
        pub unserved: Vec<Role>,
        /// Pools of quota that are not open now.
        pub pools: Vec<PoolView>,
        /// Open tasks that failed since then, or that do not move; those that wait for a person stand in `needs` alone.
        pub failed: Vec<TroubledView>,
        /// The merged tasks.
        pub landed: Vec<LandedView>,
        /// Tasks whose agents declared that there was nothing to change.
        pub no_change: Vec<EndedView>,
        /// Tasks that were ended otherwise: nothing was merged for them, and nobody declared that there was nothing to do.
        pub unproved: Vec<EndedView>,
        /// The amounts spent since then.
        pub spent: SpentView,
        /// The limits of today, and how much of each is used up.
        pub budgets: Vec<BudgetView>,
        /// The odd things that happened.
        pub odd: Vec<OddView>,
        /// The number of further odd things.
        pub odd_left_out: usize,
        /// The tasks that are worked on now.
        pub running: Vec<NextView>,
        /// The tasks that are claimed next, a few for each role.
        pub next: Vec<NextView>,
        /// The schedules that will fire.
        pub schedules: Vec<ScheduleView>,
        /// True if any of it was simulated.
        pub simulated: bool,
    }

    /// An open task in trouble.
    pub struct TroubledView {
        /// The task.
        pub task: TaskId,
        /// Its title.
        pub title: String,
        /// Its status.
        pub status: Status,
        /// Its state.
        pub state: TaskState,
        /// The number of its attempts that failed since then.
        pub failures: u32,
        /// The role that failed last.
        pub role: Option<Role>,
        /// The class of the last failure, or its outcome where it has no class.
        pub class: Option<String>,
        /// The reason of the last failure.
        pub reason: Option<String>,
        /// The time of the last failure.
        pub at: Option<Moment>,
        /// The reason why it stands where it stands.
        pub why: String,
        /// The command to run, or `nothing to do`.
        pub next: String,
        /// True if the simulated agent worked on it.
        pub simulated: bool,
    }

    /// A task that was merged.
    pub struct LandedView {
        /// The task.
        pub task: TaskId,
        /// Its title.
        pub title: String,
        /// Its status now; `null` when it has left the queue.
        pub status: Option<Status>,
        /// The commit that brought it.
        pub commit: String,
        /// The time when it was told.
        pub at: Moment,
        /// The number of files that it changed; `null` where git does not tell.
        pub files: Option<usize>,
        /// The price of all attempts on it in US dollars; `null` where nobody knows any of it.
        pub usd: Option<f64>,
        /// The number of its attempts of unknown price.
        pub unpriced: u32,
        /// True if the simulated agent worked on it.
        pub simulated: bool,
    }

    /// A task that ended without a merge.
    pub struct EndedView {
        /// The task.
        pub task: TaskId,
        /// Its title.
        pub title: String,
        /// `no_change`, or who ended it: `person`, `file`, `rule` or `agent`.
        pub how: &'static str,
        /// The same in words.
        pub words: String,
        /// The time.
        pub at: Moment,
        /// True if the simulated agent worked on it.
        pub simulated: bool,
    }

    /// The consumption of attempts; simulated ones are counted apart and cost nothing.
    #[derive(Default)]
    pub struct SpentView {
        /// Agents that were started.
        pub starts: u32,
        /// Attempts that ended.
        pub attempts: u32,
        /// The price in US dollars, as far as it is known; `null` where nobody knows any of it.
        pub usd: Option<f64>,
        /// Attempts of unknown price.
        pub unpriced: u32,
        /// Tokens read and written, as far as they are known.
        pub tokens: u64,
        /// Time on the wall clock.
        pub seconds: f64,
        /// Attempts of the simulated agent.
        pub simulated_attempts: u32,
    }

    /// A limit of today.
    pub struct BudgetView {
        /// The day, or a role on that day.
        pub subject: String,
        /// `day` or `role`.
        pub scope: &'static str,
        /// `tokens`, `usd`, `wall` (seconds), `turns` or `starts`.
        pub unit: &'static str,
        /// The amount spent.
        pub spent: Value,
        /// The limit, with what a person has added to it.
        pub limit: Value,
        /// Both, in words.
        pub words: String,
    }

    /// Something odd, as often as it happened.
    pub struct OddView {
        /// Its kind.
        pub kind: &'static str,
        /// The task.
        pub task: Option<TaskId>,
        /// The role.
        pub role: Option<Role>,
        /// The number of times.
        pub times: u32,
        /// The last time.
        pub at: Moment,
        /// The last of them, in words.
        pub words: String,
    }

    /// A task that is worked on, or will be.
    pub struct NextView {
        /// The task.
        pub task: TaskId,
        /// Its title.
        pub title: String,
        /// The role that works on it.
        pub role: Role,
        /// The reason why it stands where it stands.
        pub why: String,
        /// True if the simulated agent works on it.
        pub simulated: bool,
    }
}

impl BudgetView {
    /// Describes a limit.
    pub(crate) fn of(standing: Standing) -> Self {
        let Standing { subject, scope, unit, spent, limit } = standing;
        let of = match unit {
            Unit::Money | Unit::Wall => unit.shown(spent),
            Unit::Tokens | Unit::Turns | Unit::Starts => spent.to_string(),
        };
        Self {
            words: format!("{of} of {}", unit.shown(limit)),
            spent: unit.json(spent),
            limit: unit.json(limit),
            unit: unit.as_str(),
            subject,
            scope,
        }
    }
}
