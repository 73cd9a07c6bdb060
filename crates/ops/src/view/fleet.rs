//! The workers of a project.

use oodatcaa_core::Role;

views! {
    /// Which workers run, and how.
    pub struct FleetView = "oodatcaa/fleet.v1" {
        /// `systemd` or `process`.
        pub mode: &'static str,
        /// The reason for this way.
        pub why: String,
        /// What else to know.
        pub notes: Vec<String>,
        /// The process of the supervisor that keeps workers where systemd does not.
        pub supervisor: Option<u32>,
        /// The workers.
        pub workers: Vec<WorkerView>,
        /// How many roles are served.
        pub running: usize,
        /// How many workers run.
        pub workers_running: usize,
        /// How many roles were meant.
        pub roles: usize,
        /// What was done to each.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub results: Option<Vec<WorkerResult>>,
    }

    /// A worker.
    pub struct WorkerView {
        /// Its name: the role, or `role@instance`.
        pub name: String,
        /// The role that it serves.
        pub role: String,
        /// `running`, `starting`, `stopping`, `stopped`, `waiting` (it crashed and is started again) or `failed`.
        pub state: &'static str,
        /// The reason why it failed.
        pub reason: Option<String>,
        /// Its process.
        pub pid: Option<u32>,
        /// Since when it runs.
        pub up_seconds: Option<u64>,
        /// `systemd` or `process`.
        pub mode: Option<&'static str>,
        /// What it said last.
        pub says: Option<String>,
        /// The place where its log is: a file, or the command that shows it.
        pub log: String,
    }

    /// A role that was paused or resumed.
    pub struct PauseView = "oodatcaa/pause.v1" {
        /// The role.
        pub role: Role,
        /// True if it is paused now.
        pub paused: bool,
        /// True if it was not so before.
        pub changed: bool,
    }

    /// What was done to a worker.
    pub struct WorkerResult {
        /// Its name.
        pub name: String,
        /// `started`, `already_running`, `stopped`, `killed`, `not_running` or `failed`.
        pub result: &'static str,
        /// Its process.
        pub pid: Option<u32>,
        /// The reason why it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub error: Option<String>,
        /// The last lines of its log.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub log: Option<Vec<String>>,
    }

    /// What became of the systemd units.
    pub struct UnitsView = "oodatcaa/units.v1" {
        /// What was done.
        pub notes: Vec<String>,
        /// What was done to each worker.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub results: Option<Vec<WorkerResult>>,
    }
}
