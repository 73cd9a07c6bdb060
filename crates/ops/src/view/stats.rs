//! Figures over a span of time: how much was done, how long it took and waited, what it cost.

use super::Moment;
use oodatcaa_core::{Role, TaskId};

views! {
    /// Figures of the tasks and attempts that ended in a span of time.
    pub struct StatsView = "oodatcaa/stats.v1" {
        /// The end of the span.
        pub at: Moment,
        /// Its beginning: the time that was asked for, or that of the first event where that is later.
        pub since: Moment,
        /// The project's name.
        pub project: String,
        /// True if simulated work is counted in.
        pub simulated_included: bool,
        /// Attempts of the simulated agent that are left out.
        pub simulated_left_out: u32,
        /// Tasks that came to be done.
        pub done: usize,
        /// The same for each day of the span; `null` for less than a day.
        pub done_per_day: Option<f64>,
        /// From a task's first claim to its end.
        pub cycle: SpreadView,
        /// From a task's appearance to its end; of those only whose appearance is in the journal.
        pub lead: SpreadView,
        /// From when a task came into a role's status to when that role claimed it.
        pub waiting: SpreadView,
        /// The property that makes the groups: `role`, `agent`, `day` or `class`.
        pub by: &'static str,
        /// The attempts, in groups.
        pub groups: Vec<GroupView>,
        /// Failures by their class, the most frequent first.
        pub failures: Vec<ClassView>,
        /// The roles that tasks wait for, the longest wait in all first.
        pub bottlenecks: Vec<BottleneckView>,
        /// The tasks that took longest from their first claim to their end.
        pub slowest: Vec<SlowView>,
    }

    /// The spread of durations. Of fewer than five nothing is said.
    #[derive(Copy, Default)]
    pub struct SpreadView {
        /// The number of durations.
        pub n: usize,
        /// Half of them are no longer than this.
        pub p50_seconds: Option<f64>,
        /// 95 of 100 are no longer than this.
        pub p95_seconds: Option<f64>,
        /// 99 of 100 are no longer than this.
        pub p99_seconds: Option<f64>,
        /// The longest.
        pub max_seconds: Option<f64>,
    }

    /// Attempts of one role, agent, day or class.
    pub struct GroupView {
        /// Its name.
        pub name: String,
        /// Attempts that ended.
        pub attempts: u32,
        /// Those that did what they were to do, or found that there is nothing to do.
        pub ok: u32,
        /// Those that failed.
        pub failed: u32,
        /// The durations of these attempts.
        pub took: SpreadView,
        /// Tokens read and written, as far as they are known.
        pub tokens: u64,
        /// The price in US dollars, as far as it is known; `null` where nobody knows any of it.
        pub usd: Option<f64>,
        /// Attempts of unknown price.
        pub unpriced: u32,
    }

    /// Failures of one class.
    pub struct ClassView {
        /// The class, or the outcome where it has none.
        pub class: String,
        /// The number of failures.
        pub count: u32,
    }

    /// The time that tasks wait for a role.
    pub struct BottleneckView {
        /// The role.
        pub role: Role,
        /// From when a task came into the role's status to when the role claimed it.
        pub waiting: SpreadView,
        /// The sum of those, and of the tasks that wait now.
        pub total_seconds: f64,
        /// Tasks that wait for it now.
        pub waiting_now: usize,
        /// For how long the first of those has waited; `null` where the journal does not tell.
        pub oldest_seconds: Option<f64>,
    }

    /// A task that took long.
    pub struct SlowView {
        /// The task.
        pub task: TaskId,
        /// Its title, where it is still in the queue.
        pub title: Option<String>,
        /// From its first claim to its end.
        pub seconds: f64,
        /// The number of attempts that it took.
        pub attempts: u32,
    }
}
