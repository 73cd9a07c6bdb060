//! How the fleet stands.

use std::collections::BTreeMap;

use super::{Moment, PoolView, TaskView};
use crate::TaskState;
use oodatcaa_core::Role;

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
        /// Tasks that it works on.
        pub wip: u32,
        /// How many it may work on at once.
        pub wip_limit: u32,
        /// Tasks that wait for it.
        pub waiting: usize,
        /// The tasks that it works on.
        pub running: Vec<TaskView>,
    }
}
