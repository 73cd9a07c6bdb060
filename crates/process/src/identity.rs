//! Whether a process named by number is still the one that was meant (R11).

use super::platform;

/// The start time of a process in clock ticks since boot; `None` when there is none, or it only waits to be reaped.
pub fn started(pid: u32) -> Option<u64> {
    platform::look(pid).filter(|seen| !seen.dead).map(|seen| seen.started)
}

/// Tells whether the process with this number and start time lives. One that only waits to be reaped does not.
pub fn alive(pid: u32, started: u64) -> bool {
    self::started(pid) == Some(started)
}

/// What tells this boot of this machine from all others; empty when the system does not say.
pub fn boot_id() -> String {
    platform::boot_id().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_under_its_own_start_time_only() {
        let me = std::process::id();
        let started = started(me).expect("this process runs");
        assert!(alive(me, started));
        assert!(!alive(me, started + 1));
    }

    #[test]
    fn an_unreaped_child_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().expect("true is there");
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while started(child.id()).is_some() && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        assert_eq!(started(child.id()), None);
        child.wait().expect("our own child");
    }

    #[test]
    fn a_boot_has_a_name() {
        assert_eq!(boot_id().len(), 36);
    }
}
