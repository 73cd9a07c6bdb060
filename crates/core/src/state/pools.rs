//! The pools of quota of which a provider said "not now", and when the windows of others end.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{Event, Kind};

/// A pool that was limited and has not been seen to work since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPool {
    /// Until when nothing is asked of it.
    pub until: DateTime<Utc>,
    /// When it was limited last.
    pub since: DateTime<Utc>,
    /// `rate_limited` or `usage_limit`.
    pub class: String,
    /// What the provider said.
    pub reason: String,
    /// Limits in a row; what the pause doubles by.
    pub limits: u32,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    /// Those that are not known to be open, by their names.
    pub closed: BTreeMap<String, ClosedPool>,
    /// When the window of a pool ends that is running, as its provider said last.
    pub windows: BTreeMap<String, DateTime<Utc>>,
}

impl Pools {
    pub(super) fn apply(&mut self, event: &Event) {
        let Some(pool) = event.text("pool") else { return };
        match event.kind {
            Kind::AttemptFinished => {
                let ends = event.text("resets_at").and_then(|time| time.parse().ok());
                self.windows.extend(ends.map(|ends| (pool.to_owned(), ends)));
            }
            Kind::AgentLimited => {
                let Some(until) = event.text("until").and_then(|time| time.parse().ok()) else { return };
                let limits = event.data.get("limits").and_then(serde_json::Value::as_u64).unwrap_or(1);
                let closed = ClosedPool {
                    until,
                    since: event.time,
                    class: event.text("class").unwrap_or("rate_limited").into(),
                    reason: event.text("reason").unwrap_or_default().into(),
                    limits: u32::try_from(limits).unwrap_or(u32::MAX),
                };
                self.closed.insert(pool.into(), closed);
            }
            Kind::AgentResumed if event.sealed => drop(self.closed.remove(pool)),
            _ => {}
        }
    }
}
