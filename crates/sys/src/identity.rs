//! Which process is which: its number and its start time within one boot of one machine.
//!
//! A number alone proves nothing, since the kernel gives it out again.

use std::{ffi::OsStr, time::Duration};

use super::files::named;

/// A process at the moment it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its session's.
    pub session: u32,
    /// Start time in clock ticks since boot.
    pub started: u64,
    /// CPU time that it has used, and those of its children that have been reaped, in clock ticks.
    pub cpu: u64,
    /// It only waits to be reaped.
    pub dead: bool,
    /// It is stopped, and hears of other signals only when continued.
    pub stopped: bool,
}

impl Process {
    /// Looks at the process with this number.
    pub fn look(pid: u32) -> Option<Self> {
        parse(pid, &named::bytes(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Looks at all processes. Not atomic: who is born or re-parented meanwhile may be missing.
    pub fn all() -> Vec<Self> {
        let pid = |name: &OsStr| name.to_str()?.parse().ok();
        named::directories("/proc").filter_map(|name| Self::look(pid(&name)?)).collect()
    }

    /// Returns what tells it from every other process of this boot.
    pub fn identity(&self) -> (u32, u64) {
        (self.pid, self.started)
    }
}

/// Reads `/proc/PID/stat`. The name in it may hold anything, also spaces and parentheses, so the fields are counted
/// from its last closing parenthesis.
fn parse(pid: u32, stat: &[u8]) -> Option<Process> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let state = *fields.first()?;
    // The kernel shows a process as a zombie as soon as its first thread has ended. While others of its threads run
    // it works on, holds its locks and must not be taken for dead.
    let threads = number(17)?;
    Some(Process {
        pid,
        parent: u32::try_from(number(1)?).ok()?,
        session: fields.get(3)?.parse().unwrap_or(0),
        started: number(19)?,
        // A child may have been given a negative time, by a kernel that corrects itself.
        cpu: (11..=14).map(|at| number(at).unwrap_or(0)).fold(0, u64::saturating_add),
        dead: matches!(state, "Z" | "X" | "x") && threads <= 1,
        stopped: matches!(state, "T" | "t"),
    })
}

/// Returns when a process was started, in clock ticks since boot; `None` when it is gone or only waits to be reaped.
pub fn started(pid: u32) -> Option<u64> {
    Process::look(pid).filter(|seen| !seen.dead).map(|seen| seen.started)
}

/// Tells whether the process with this number and start time lives. One that only waits to be reaped does not.
pub fn alive(pid: u32, started: u64) -> bool {
    self::started(pid) == Some(started)
}

/// Returns the time that so many of the kernel's clock ticks take.
pub fn ticks(count: u64) -> Duration {
    let rate = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_secs(count / rate) + Duration::from_secs(count % rate) / u32::try_from(rate).unwrap_or(u32::MAX)
}

/// Returns for how long this machine has been up, its sleep included: what start times are counted from.
pub fn since_boot() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime)).unwrap_or_default()
}

/// Returns what tells this boot of this machine from all others; empty when the system does not say.
pub fn boot_id() -> String {
    named::text("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
}

/// Returns the machine's name.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns the clocks that this process is shown differently from the rest of the machine, because it runs in a time
/// namespace: `boottime +86400 s`. `None` almost everywhere.
pub fn shifted_clocks() -> Option<String> {
    shifts(&named::text("/proc/self/timens_offsets").ok()?)
}

fn shifts(offsets: &str) -> Option<String> {
    let shifted = offsets.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (clock, seconds, nanos) = (fields.next()?, fields.next()?, fields.next()?);
        let sign = if seconds.starts_with('-') { "" } else { "+" };
        (seconds != "0" || nanos != "0").then(|| format!("{clock} {sign}{seconds} s"))
    });
    let shifted: Vec<String> = shifted.collect();
    (!shifted.is_empty()).then(|| shifted.join(", "))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_shift_the_fields() {
        let stat = b"42 (a) R 1 (b)) S 7 42 41 0 -1 4194304 1 0 0 0 5 1 30 4 20 0 3 0 889123 1 1";
        let seen = Process { pid: 42, parent: 7, session: 41, started: 889_123, cpu: 40, dead: false, stopped: false };
        assert_eq!(parse(42, stat), Some(seen));
    }

    #[test]
    fn a_zombie_is_dead_only_without_threads() {
        let zombie = b"42 (a) Z 7 42 41 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 889123 1 1";
        let threads = b"42 (a) Z 7 42 41 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 2 0 889123 1 1";
        assert!(parse(42, zombie).expect("well-formed").dead);
        assert!(!parse(42, threads).expect("well-formed").dead);
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a test that could not run says so")]
    fn a_process_whose_first_thread_has_ended_lives_on_in_the_others() {
        const SCRIPT: &str = "import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)";
        let Ok(mut child) = Command::new("python3").args(["-c", SCRIPT]).spawn() else {
            return eprintln!("skipped: there is no python3 here");
        };
        let is_zombie = || {
            let stat = named::text(format!("/proc/{}/stat", child.id())).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
        };
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while !is_zombie() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let (zombie, begun) = (is_zombie(), started(child.id()));
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        assert!(zombie, "the first thread has ended");
        assert!(begun.is_some(), "and the process has not");
    }

    #[test]
    fn a_torn_line_is_no_process() {
        assert_eq!(parse(42, b"42 (a) S 7 42"), None);
        assert_eq!(parse(42, b""), None);
    }

    #[test]
    fn this_process_is_seen_among_all_and_alive_under_its_own_start_time_only() {
        let me = Process::look(std::process::id()).expect("this process runs");
        assert!(Process::all().iter().any(|seen| seen.identity() == me.identity()));
        assert!(alive(me.pid, me.started) && !alive(me.pid, me.started + 1));
    }

    #[test]
    fn an_unreaped_child_is_not_alive() {
        let mut child = Command::new("true").spawn().expect("true is there");
        let until = std::time::Instant::now() + Duration::from_secs(10);
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

    #[test]
    fn clocks_of_another_time_namespace_are_told_and_ordinary_ones_are_not() {
        assert_eq!(shifts("monotonic           0         0\nboottime            0         0\n"), None);
        assert_eq!(shifts(""), None, "a kernel without such namespaces");
        let shifted = "monotonic          -7         500000000\nboottime        86400         0\n";
        assert_eq!(shifts(shifted).as_deref(), Some("monotonic -7 s, boottime +86400 s"));
    }
}
