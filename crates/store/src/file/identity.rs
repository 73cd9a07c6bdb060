//! Who we are on this machine, and whether somebody whom a lease names still is (R11).

use std::collections::{BTreeMap, HashMap};

use super::{
    FileStore,
    lock::{self, TaskLock},
};
use crate::StoreError;
use oodatcaa_core::{Holder, Lease, LeaseRecord, LeaseState, Owner, TaskId};
use oodatcaa_sys::files;

/// This machine in this boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) host: String,
    pub(super) boot_id: String,
}

impl Machine {
    pub(super) fn this() -> Self {
        let boot_id = files::named::text("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { host: rustix::system::uname().nodename().to_string_lossy().into_owned(), boot_id: boot_id.trim().into() }
    }

    /// What can be said of a lease's holder by its boot alone.
    fn by_boot(&self, lease: &Lease) -> Option<Holder> {
        if lease.boot_id == self.boot_id && !lease.boot_id.is_empty() {
            None
        } else if lease.host == self.host {
            Some(Holder::Dead("the machine was started anew since".into()))
        } else {
            Some(Holder::Unknown)
        }
    }
}

/// This process, under a tag for people.
pub fn identity(tag: &str) -> Owner {
    let Machine { host, boot_id } = Machine::this();
    let pid = std::process::id();
    Owner { tag: tag.into(), host, boot_id, pid, pid_started: started(pid).unwrap_or_default() }
}

/// How far the monotonic clock and the one since boot are shifted for this process: another time namespace shows
/// other times of the same machine, and all that we write down is in those of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) monotonic: i128,
    boot: i128,
}

impl Shift {
    /// In nanoseconds, of the namespace that this process is in.
    pub(super) fn ours() -> Self {
        static OURS: std::sync::OnceLock<Shift> = std::sync::OnceLock::new();
        *OURS.get_or_init(|| Self::parse(&files::named::text("/proc/self/timens_offsets").unwrap_or_default()))
    }

    fn parse(offsets: &str) -> Self {
        let of = |clock: &str| {
            let mut fields = offsets.lines().find_map(|line| line.strip_prefix(clock))?.split_ascii_whitespace();
            let (seconds, nanos): (i128, i128) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            Some(seconds * 1_000_000_000 + nanos)
        };
        Self { monotonic: of("monotonic").unwrap_or_default(), boot: of("boottime").unwrap_or_default() }
    }

    /// A start time as this namespace shows it, in the machine's clock ticks.
    fn ticks(self, shown: u64) -> u64 {
        // The kernel shows hundredths of a second whatever it counts in.
        u64::try_from(i128::from(shown) - self.boot.div_euclid(10_000_000)).unwrap_or_default()
    }
}

/// When a process was started, in clock ticks since boot; `None` when it is gone or only waits to be reaped.
fn started(pid: u32) -> Option<u64> {
    let stat = files::named::text(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, parentheses too; what follows the last one is regular.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") { None } else { Some(Shift::ours().ticks(fields.nth(18)?.parse().ok()?)) }
}

/// Whether the process that a lease names is still that process, by the start time of the one that has its number.
fn by_start_time(lease: &Lease, started: Option<u64>) -> Holder {
    match started {
        Some(started) if started == lease.pid_started => Holder::Alive,
        Some(_) => Holder::Dead(format!("process {} is another one now", lease.pid)),
        None => Holder::Dead(format!("process {} is gone", lease.pid)),
    }
}

impl FileStore {
    /// Finds out who stands behind the leases. With the queue lock the tasks' locks are asked, which proves
    /// death; without it only the processes are looked at.
    pub(super) fn holders(
        &self,
        records: BTreeMap<TaskId, LeaseRecord>,
        held: &HashMap<TaskId, TaskLock>,
        locked: bool,
    ) -> Result<BTreeMap<TaskId, LeaseState>, StoreError> {
        // Many leases have one holder.
        let mut known = HashMap::new();
        let mut by_process = |lease: &Lease| {
            let started = *known.entry(lease.pid).or_insert_with(|| started(lease.pid));
            by_start_time(lease, started)
        };
        records
            .into_iter()
            .map(|(task, record)| {
                let holder = match &record {
                    LeaseRecord::Ours(lease) => self.holder(lease, held, locked, &mut by_process)?,
                    LeaseRecord::Foreign(_) | LeaseRecord::Broken { .. } => Holder::Unknown,
                };
                Ok((task, LeaseState { record, holder }))
            })
            .collect()
    }

    fn holder(
        &self,
        lease: &Lease,
        held: &HashMap<TaskId, TaskLock>,
        locked: bool,
        by_process_id: &mut dyn FnMut(&Lease) -> Holder,
    ) -> Result<Holder, StoreError> {
        if let Some(holder) = self.machine.by_boot(lease) {
            return Ok(holder);
        }
        // Another name in the same boot is a container: its process ids mean nothing here, its locks do.
        let mut by_process = |otherwise| {
            if lease.host == self.machine.host { by_process_id(lease) } else { otherwise }
        };
        if !locked {
            return Ok(by_process(Holder::Unknown));
        }
        if held.get(&lease.task_id).map(TaskLock::is_in_force).transpose()? == Some(true) {
            return Ok(Holder::Alive);
        }
        Ok(match lock::is_free(&self.layout.task_lock(&lease.task_id))? {
            Some(true) => Holder::Dead("nobody holds the task's lock".into()),
            Some(false) => by_process(Holder::Alive),
            None => by_process(Holder::Unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive() {
        let me = identity("me@here");
        assert!(me.pid_started > 0);
        assert_eq!(started(me.pid), Some(me.pid_started));
        assert!(!me.boot_id.is_empty());
    }

    #[test]
    fn times_of_another_namespace_become_those_of_the_machine() {
        let shift = Shift::parse("monotonic          -7         500000000\nboottime        86400         0\n");
        assert_eq!(shift, Shift { monotonic: -6_500_000_000, boot: 86_400_000_000_000 });
        assert_eq!(shift.ticks(8_640_042), 42);
        assert_eq!(Shift::parse(""), Shift::default(), "a kernel without such namespaces");
    }

    #[test]
    fn a_process_that_waits_to_be_reaped_is_gone() {
        let mut child = std::process::Command::new("true").spawn().expect("`true` starts");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while started(child.id()).is_some() {
            assert!(std::time::Instant::now() < deadline, "`true` ends");
            std::thread::yield_now();
        }
        child.wait().expect("it ended");
    }
}
