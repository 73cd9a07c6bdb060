//! A lease: who works on a task, and whether somebody still stands behind it.

use super::Moment;
use oodatcaa_core::{
    LeaseRecord, LeaseState, Role, TaskId,
    lease::{LeaseHealth, StopRequest},
};

views! {
    /// A lease, as it stands in a task. What only a lease of ours tells is `null` for others.
    pub struct LeaseView {
        /// Who took it.
        pub owner: String,
        /// The role that it counts for.
        pub role: Option<Role>,
        /// Its fencing token.
        pub token: Option<u64>,
        /// `live`, `dead` or `lost`.
        pub state: &'static str,
        /// The reason why it is dead or lost.
        pub detail: Option<String>,
        /// The number of the try in its stage.
        pub attempt: Option<u32>,
        /// The time when it was taken.
        pub started_at: Option<Moment>,
        /// The time when it was renewed last.
        pub heartbeat_at: Option<Moment>,
        /// How long it lives without being renewed.
        pub ttl_seconds: Option<u64>,
        /// The owner's machine.
        pub host: Option<String>,
        /// The owner's process.
        pub pid: Option<u32>,
        /// The process group of its agent.
        pub pgid: Option<u32>,
        /// The agent that works.
        pub agent: Option<String>,
        /// True if the simulated agent works.
        pub simulated: bool,
        /// Who asked it to stop, and why.
        #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Map<String, serde_json::Value>>"))]
        pub stop: Option<StopRequest>,
        /// `ours`, `foreign` (another program's) or `broken`.
        pub dialect: &'static str,
    }

    /// A lock on a name, as helper scripts take it.
    pub struct LockView = "oodatcaa/lock.v1" {
        /// The name.
        pub name: String,
        /// Its owner; none where nobody has it.
        pub owner: Option<String>,
        /// The time until which they have it.
        pub until: Option<Moment>,
    }

    /// A lease with the task that it is for.
    pub struct LeaseEntry = "oodatcaa/lease.v1" {
        /// The task.
        pub task: TaskId,
        /// The lease.
        #[serde(flatten)]
        pub lease: LeaseView,
    }
}

impl LeaseView {
    /// Describes a lease of the given health.
    pub fn of(held: &LeaseState, health: &LeaseHealth) -> Self {
        let ours = held.ours();
        let foreign = if let LeaseRecord::Foreign(lease) = &held.record { Some(lease) } else { None };
        let (state, detail) = match health {
            LeaseHealth::Live => ("live", None),
            LeaseHealth::Dead(why) => ("dead", Some(why.clone())),
            LeaseHealth::Lost(why) => ("lost", Some(why.clone())),
        };
        Self {
            owner: held.owner().to_owned(),
            role: held.role().cloned(),
            token: Some(held.token().0).filter(|&token| token > 0),
            state,
            detail,
            attempt: ours.map(|lease| lease.attempt),
            started_at: ours.map(|lease| lease.started_at).or_else(|| foreign?.started_at).map(Into::into),
            heartbeat_at: ours.map(|lease| lease.heartbeat_at.into()),
            ttl_seconds: ours.map(|lease| lease.ttl_seconds).or_else(|| Some(foreign?.ttl?.as_secs())),
            host: ours.map(|lease| lease.host.clone()),
            pid: ours.map(|lease| lease.pid),
            pgid: ours.and_then(|lease| lease.pgid),
            agent: ours.map(|lease| lease.by.clone()).filter(|by| !by.is_empty()),
            simulated: ours.is_some_and(|lease| lease.simulated),
            stop: ours.and_then(|lease| lease.stop.clone()),
            dialect: match held.record {
                LeaseRecord::Ours(_) => "ours",
                LeaseRecord::Foreign(_) => "foreign",
                LeaseRecord::Broken { .. } => "broken",
            },
        }
    }
}
