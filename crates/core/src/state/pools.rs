//! The pools of quota of which a provider said "not now", and when the windows of others end.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    Class, Data, Event,
    event::payload::{Ended, Quota},
};

/// A pool that was limited and has not been seen to work since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPool {
    /// The time until which nothing is asked of it.
    pub until: DateTime<Utc>,
    /// The time of its last limit.
    pub since: DateTime<Utc>,
    /// `rate_limited` or `usage_limit`.
    pub class: String,
    /// The provider's words.
    pub reason: String,
    /// Limits in a row; what the pause doubles by.
    pub limits: u32,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    /// Those that are not known to be open, by their names.
    pub closed: BTreeMap<String, ClosedPool>,
    /// The end of a pool's present window, as its provider said last.
    pub windows: BTreeMap<String, DateTime<Utc>>,
}

impl Pools {
    pub(super) fn apply(&mut self, event: &Event) {
        match event.data() {
            Data::AttemptFinished(Ended { pool: Some(pool), resets_at, .. }) => {
                self.windows.extend(resets_at.map(|ends| (pool.clone(), ends)));
            }
            Data::AgentLimited(Quota { pool: Some(pool), until: Some(until), class, limits, reason, .. }) => {
                let Ok(until) = until.parse() else { return };
                let closed = ClosedPool {
                    until,
                    since: event.time,
                    class: class.clone().unwrap_or_else(|| Class::RateLimited.as_str().into()),
                    reason: reason.clone().unwrap_or_default(),
                    limits: limits.map_or(1, |limits| u32::try_from(limits).unwrap_or(u32::MAX)),
                };
                self.closed.insert(pool.clone(), closed);
            }
            Data::AgentResumed(Quota { pool: Some(pool), .. }) if event.sealed => drop(self.closed.remove(pool)),
            _ => {}
        }
    }
}
