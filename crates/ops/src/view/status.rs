//! How the fleet stands.

use std::collections::BTreeMap;

use super::{Moment, PoolView, TaskView};
use crate::TaskState;
use oodatcaa_core::{Role, TaskId};

views! {
    /// The fleet and its queue at one moment.
    pub struct StatusView = "oodatcaa/status.v1" {
        /// The time when this was so.
        pub at: Moment,
        /// The project's name.
        pub project: String,
        /// The sprint that the queue file names.
        pub sprint: Option<String>,
        /// How many tasks there are.
        pub tasks: usize,
        /// How many tasks are in each state.
        pub states: BTreeMap<TaskState, usize>,
        /// How many tasks have each status.
        pub statuses: BTreeMap<String, usize>,
        /// The roles, in the order of the configuration.
        pub roles: Vec<RoleView>,
        /// How many problems the queue file has.
        pub problems: usize,
        /// How many things wait for a person.
        pub inbox: usize,
        /// Starts of agents today.
        pub starts: StartsView,
        /// Pools that were used up at least once.
        pub pools: Vec<PoolView>,
        /// The reason why nothing is claimed.
        pub claiming_stopped: Option<String>,
        /// The reason why the queue file cannot be read.
        pub invalid: Option<String>,
        /// True if the simulated agent works or would.
        pub simulated: bool,
        /// The number of the last event.
        pub seq: u64,
    }

    /// Starts of agents on one day.
    #[derive(Copy)]
    pub struct StartsView {
        /// How many there were.
        pub today: u32,
        /// How many are allowed.
        pub limit: Option<u32>,
    }

    /// A role and its workers.
    pub struct RoleView {
        /// Its name.
        pub role: Role,
        /// `working`, `paused`, `idle` or `stopped`.
        pub state: &'static str,
        /// The reason why it is paused.
        pub reason: Option<String>,
        /// The processes that serve it.
        pub workers: Vec<u32>,
        /// The same, with what each of them is and uses.
        pub processes: Vec<ProcessView>,
        /// Tasks that it works on.
        pub wip: u32,
        /// How many it may work on at once.
        pub wip_limit: u32,
        /// Tasks that wait for it.
        pub waiting: usize,
        /// The tasks that it works on.
        pub running: Vec<TaskView>,
    }

    /// A worker's process, with everything that its attempts have started.
    pub struct ProcessView {
        /// Its name: the role, or `role@instance`; its owner's tag where it has no pid file.
        pub name: String,
        /// Its process.
        pub pid: u32,
        /// `working`, `idle` or `stopped` (by a signal).
        pub state: &'static str,
        /// For how long it has been there.
        pub up_seconds: u64,
        /// The number of processes in its tree, itself among them.
        pub processes: usize,
        /// The whole tree's share of one CPU; `null` before the second look.
        pub cpu_percent: Option<f64>,
        /// Memory that the whole tree has for itself.
        pub memory_bytes: Option<u64>,
        /// The tasks that it works on.
        pub tasks: Vec<TaskId>,
        /// Its last event; `null` where that was long ago.
        pub last_event: Option<LastEventView>,
    }

    /// The last event of a worker.
    pub struct LastEventView {
        /// Its number.
        pub seq: u64,
        /// The time.
        pub at: Moment,
        /// Its kind: `attempt.started`, `worker.started`, …
        pub kind: &'static str,
        /// The task that it is about.
        pub task: Option<TaskId>,
    }
}
