//! What an attempt's whole tree holds in memory, looked at now and then while a limit is set.

use std::time::{Duration, Instant};

use crate::{platform, tree};
use oodatcaa_core::text::many;

/// Between two looks. Who fills a machine faster than this, the kernel ends first.
const PACE: Duration = Duration::from_secs(1);

/// Fastest pace, near the limit.
const NEAR: Duration = Duration::from_millis(200);

/// Watches a limit.
pub(super) struct Memory {
    limit: Option<u64>,
    next: Option<Instant>,
}

impl Memory {
    /// Watches from now on; a limit of zero is none.
    pub(super) fn new(limit: Option<u64>, now: Instant) -> Self {
        let limit = limit.filter(|limit| *limit > 0);
        Self { limit, next: limit.map(|_| now + NEAR) }
    }

    /// Returns when to look again; never, without a limit.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Looks, when it is time. Answers what the tree holds, when that is too much.
    pub(super) fn look(&mut self, now: Instant) -> Option<String> {
        let limit = self.limit?;
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        // What each of the descendants of this process holds.
        let tree = tree::descendants(std::process::id());
        let held: Vec<(u64, u32)> =
            tree.iter().filter_map(|seen| Some((platform::memory(seen.pid)?, seen.pid))).collect();
        let total = held.iter().fold(0_u64, |total, (bytes, _)| total.saturating_add(*bytes));
        // To read `/proc` of a large tree costs more than it is worth while there is room.
        self.next = Some(now + if total > limit / 4 * 3 { NEAR } else { PACE });
        (total > limit).then(|| {
            let (largest, pid) = held.iter().max().copied().unwrap_or_default();
            let [total, largest, limit] = [total, largest, limit].map(|bytes| bytes >> 20);
            let processes = many(held.len(), "process");
            format!("memory: {total} MiB in {processes}, most of it {largest} MiB in process {pid}; the limit is {limit} MiB")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_nobody_looks() {
        let now = Instant::now();
        for none in [None, Some(0)] {
            assert_eq!(Memory::new(none, now).next(), None);
        }
    }

    #[test]
    fn a_family_below_its_limit_is_looked_at_once_a_second() {
        let start = Instant::now();
        let mut memory = Memory::new(Some(u64::MAX), start);
        let first = memory.next().expect("a limit is set");
        assert_eq!(memory.look(first), None);
        assert_eq!(memory.next(), Some(first + PACE));
    }

    #[test]
    fn this_process_holds_something() {
        let held = platform::memory(std::process::id()).expect("this process runs");
        assert!(held > 1 << 16, "{held}");
        assert_eq!(platform::memory(u32::MAX), None);
    }
}
