//! Tasks that come at a time.

use super::Moment;

views! {
    /// A schedule: when it fires next, and what became of its runs.
    pub struct ScheduleView = "oodatcaa/schedule.v1" {
        /// Its name.
        pub schedule: String,
        /// Its times, in words: the text in the form of cron with its zone, or an interval.
        pub times: String,
        /// The next times, the first first; of an interval they hang on when it runs.
        pub next: Vec<Moment>,
        /// The time from which it counts; `null` before a worker has seen it.
        pub counts_from: Option<Moment>,
        /// The time at which it last fired.
        pub fired_at: Option<Moment>,
        /// The task that it made last.
        pub task: Option<String>,
        /// Runs that made no task since its times were set.
        pub missed: u64,
        /// `once` or `none`: what becomes of runs that nobody was up for.
        pub catch_up: &'static str,
        /// True if it fires while its last task is not finished.
        pub overlaps: bool,
        /// The title of the task that it makes.
        pub title: String,
    }
}
