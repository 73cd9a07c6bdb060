//! A pool of quota that several workers draw from.

use serde::Serialize;

use super::Moment;
use oodatcaa_core::{Snapshot, pool, state::pools::ClosedPool};

/// How a pool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PoolState {
    /// Nothing is known against it.
    Open,
    /// It is used up for now.
    Closed,
    /// Its time is over; one claim may try it.
    HalfOpen,
    /// That claim is at work.
    Probed,
}

impl PoolState {
    /// Returns the state of a pool of this name.
    pub fn of(snapshot: &Snapshot, name: &str) -> Self {
        match pool::state(snapshot, name) {
            pool::PoolState::Open => Self::Open,
            pool::PoolState::Closed(_) => Self::Closed,
            pool::PoolState::HalfOpen(_) => Self::HalfOpen,
            pool::PoolState::Probed(_) => Self::Probed,
        }
    }
}

views! {
    /// A pool that was used up at least once.
    pub struct PoolView {
        /// Its name.
        pub pool: String,
        /// How it stands.
        pub state: PoolState,
        /// The time when it may be tried again.
        pub until: Moment,
        /// The time when it was used up last.
        pub since: Moment,
        /// `rate_limited` or `usage_limit`.
        pub class: String,
        /// What the provider said.
        pub reason: String,
        /// How many limits in a row.
        pub limits: u32,
    }
}

impl PoolView {
    /// Returns the pools that are known, by name.
    pub fn all(snapshot: &Snapshot) -> Vec<Self> {
        let view = |(name, closed): (&String, &ClosedPool)| Self {
            pool: name.clone(),
            state: PoolState::of(snapshot, name),
            until: closed.until.into(),
            since: closed.since.into(),
            class: closed.class.clone(),
            reason: closed.reason.clone(),
            limits: closed.limits,
        };
        snapshot.history.pools.closed.iter().map(view).collect()
    }
}
