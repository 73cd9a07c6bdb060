//! Who we are on this machine, and whether somebody whom a lease names still is (R11).

use std::fs;

use crate::domain::{Holder, Lease, Owner};

/// This machine in this boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) host: String,
    pub(super) boot_id: String,
}

impl Machine {
    pub(super) fn this() -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { host: rustix::system::uname().nodename().to_string_lossy().into_owned(), boot_id: boot_id.trim().into() }
    }

    /// What can be said of a lease's holder by its boot alone.
    pub(super) fn by_boot(&self, lease: &Lease) -> Option<Holder> {
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

/// When a process was started, in clock ticks since boot; `None` when it is gone or only waits to be reaped.
pub(super) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, parentheses too; what follows the last one is regular.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") { None } else { fields.nth(18)?.parse().ok() }
}

/// Whether the process that a lease names is still that process.
pub(super) fn by_process(lease: &Lease) -> Holder {
    match started(lease.pid) {
        Some(started) if started == lease.pid_started => Holder::Alive,
        Some(_) => Holder::Dead(format!("process {} is another one now", lease.pid)),
        None => Holder::Dead(format!("process {} is gone", lease.pid)),
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
