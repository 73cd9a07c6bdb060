//! Schedules and hand-offs, as people and programs see them.

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
        /// The title of the task that it makes; `null` where it makes none.
        pub title: Option<String>,
        /// Its deed, in words.
        pub does: String,
        /// The reason why a person paused it, may be empty; `null` where it is not paused.
        pub paused: Option<String>,
    }

    /// A hand-off: what it answers, and what it did.
    pub struct HandoffView = "oodatcaa/handoff.v1" {
        /// Its name.
        pub handoff: String,
        /// The events that it answers, in words.
        pub on: String,
        /// Its deed, in words.
        pub does: String,
        /// True once a worker has seen it: it counts from then on.
        pub counts: bool,
        /// How often it has answered.
        pub fired: u64,
        /// The time of its last answer.
        pub fired_at: Option<Moment>,
        /// The task that it answered for last.
        pub task: Option<String>,
        /// The reason why it did not do what it should have, the last time.
        pub refused: Option<String>,
    }
}
