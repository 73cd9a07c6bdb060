//! One moment on both clocks, and how a time stands in our files.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock in whole milliseconds, for people and for `not_before`.
    pub wall: DateTime<Utc>,
    /// `CLOCK_MONOTONIC`: what leases are judged by.
    pub mono: Duration,
}

impl Now {
    /// Puts the two together; the wall clock is cut to milliseconds, as it stands in the files.
    pub fn new(wall: DateTime<Utc>, mono: Duration) -> Self {
        Self { wall: wall.trunc_subsecs(3), mono }
    }

    /// Returns the monotonic clock in milliseconds.
    pub fn mono_ms(&self) -> u64 {
        u64::try_from(self.mono.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Returns a wall-clock time as it stands in our files: UTC, milliseconds, `Z`.
pub fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
