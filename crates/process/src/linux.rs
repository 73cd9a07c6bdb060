//! What only Linux answers: who runs, whose child it is, and signals that cannot hit the wrong process.
//!
//! The one seam of this floor: another platform brings a module with the same functions. Whom to
//! signal, and when, others decide.

use std::{io, path::PathBuf, process::Command, sync::OnceLock};

use rustix::{
    fd::OwnedFd,
    io::Errno,
    process::{Pid, PidfdFlags, Signal},
};

use oodatcaa_sys::files;

/// A process at the moment it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its process id.
    pub(super) pid: u32,
    /// Its parent's.
    pub(super) parent: u32,
    /// Its session's.
    pub(super) session: u32,
    /// Start time in clock ticks since boot; together with the pid its identity.
    pub(super) started: u64,
    /// It only waits to be reaped.
    pub(super) dead: bool,
    /// It is stopped, and hears of other signals only when continued.
    pub(super) stopped: bool,
}

impl Seen {
    /// What tells it from every other process of this boot.
    pub(super) fn identity(&self) -> (u32, u64) {
        (self.pid, self.started)
    }
}

/// Looks at one process.
pub(super) fn look(pid: u32) -> Option<Seen> {
    parse(pid, &files::named::bytes(format!("/proc/{pid}/stat")).ok()?)
}

/// Looks at all processes. Not atomic: who is born or re-parented meanwhile may be missing.
pub(super) fn all() -> Vec<Seen> {
    files::named::directories("/proc").filter_map(|name| look(name.to_str()?.parse().ok()?)).collect()
}

/// Reads `/proc/PID/stat`. The name in it may hold anything, also spaces and parentheses, so the
/// fields are counted from its last closing parenthesis.
fn parse(pid: u32, stat: &[u8]) -> Option<Seen> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let state = *fields.first()?;
    // A leader that has left its threads behind shows as a zombie, too, and is not dead.
    let alone = number(17)? <= 1;
    Some(Seen {
        pid,
        parent: u32::try_from(number(1)?).ok()?,
        session: fields.get(3)?.parse().unwrap_or(0),
        started: number(19)?.saturating_add_signed(-boot_shift()),
        dead: matches!(state, "Z" | "X" | "x") && alone,
        stopped: matches!(state, "T" | "t"),
    })
}

/// How many clock ticks the start times that this process is shown are ahead of the machine's: another time
/// namespace counts from another boot. What is written down is in the machine's.
fn boot_shift() -> i64 {
    static SHIFT: OnceLock<i64> = OnceLock::new();
    *SHIFT.get_or_init(|| {
        let offsets = files::named::text("/proc/self/timens_offsets").unwrap_or_default();
        let ticks = offsets.lines().find_map(|line| {
            let mut fields = line.strip_prefix("boottime")?.split_ascii_whitespace();
            let (seconds, nanos): (i64, i64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            seconds.checked_mul(100)?.checked_add(nanos / 10_000_000)
        });
        ticks.unwrap_or_default()
    })
}

/// Tells whether a process was started with exactly this `NAME=value`. `false` when it may not be asked.
pub(super) fn carries(pid: u32, variable: &[u8]) -> bool {
    files::named::bytes(format!("/proc/{pid}/environ"))
        .is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == variable))
}

/// The variables that a process was started with; none where it may not be asked.
pub(super) fn environment(pid: u32) -> Vec<Vec<u8>> {
    let all = files::named::bytes(format!("/proc/{pid}/environ")).unwrap_or_default();
    all.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// The name of the file that a process runs, also where the file has been replaced since.
pub(super) fn program(pid: u32) -> Option<String> {
    let file = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = file.file_name()?.to_string_lossy();
    Some(name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned())
}

/// The service of ours in whose control group a process is.
pub(super) fn service(pid: u32) -> Option<String> {
    let groups = files::named::text(format!("/proc/{pid}/cgroup")).ok()?;
    let ours = |part: &&str| part.starts_with("agent-") && part.ends_with(".service");
    groups.lines().flat_map(|line| line.split('/')).find(ours).map(String::from)
}

/// The name of a user by the number, where the system's own file knows it.
pub(super) fn name_of(uid: u32) -> Option<String> {
    let users = files::named::text("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
    })
}

/// Bytes of memory that a process has for itself. What it may share with others, as the pages of its program's
/// file, is left out, so that a family may be added up.
pub(super) fn memory(pid: u32) -> Option<u64> {
    let text = files::named::text(format!("/proc/{pid}/status")).ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    own.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The arguments of a process, without the program.
pub(super) fn arguments(pid: u32) -> Vec<Vec<u8>> {
    let all = files::named::bytes(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    all.split(|byte| *byte == 0).skip(1).map(<[u8]>::to_vec).collect()
}

/// The identity of this boot.
pub(super) fn boot_id() -> Option<String> {
    Some(files::named::text("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

/// A process that keeps its meaning even when its number is given to another one.
pub(super) enum Handle {
    /// The kernel's handle.
    Fd(OwnedFd),
    /// Only the number, where the kernel has no handles.
    Number(Pid),
}

impl Handle {
    /// Of the process that has this number now.
    pub(super) fn open(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Some(Self::Fd(fd)),
            Err(Errno::SRCH) => None,
            Err(_) => Some(Self::Number(pid)),
        }
    }

    /// Sends a signal; `false` when nobody got it.
    pub(super) fn send(&self, signal: Signal) -> bool {
        match self {
            Self::Fd(fd) => rustix::process::pidfd_send_signal(fd, signal).is_ok(),
            Self::Number(pid) => rustix::process::kill_process(*pid, signal).is_ok(),
        }
    }
}

/// From now on orphans from below this process become its children, not those of `init`.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

#[expect(clippy::disallowed_methods, reason = "the kernel's own file, which is no file to replace")]
/// Starts a command that the kernel ends before us when memory runs out. Best effort.
pub(super) fn spawn_first_to_go(command: &mut Command) -> io::Result<std::process::Child> {
    const MORE: i32 = 500;
    let own = PathBuf::from("/proc/self/oom_score_adj");
    let before = files::named::text(&own).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if let Some(before) = before {
        let _ = std::fs::write(&own, (before + MORE).min(1000).to_string());
    }
    let child = command.spawn();
    if let Some(before) = before {
        let _ = std::fs::write(&own, before.to_string());
    }
    child
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_shift_the_fields() {
        let stat = b"42 (a) R 1 (b)) S 7 42 41 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 889123 1 1";
        let seen = Seen { pid: 42, parent: 7, session: 41, started: 889_123, dead: false, stopped: false };
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
    fn a_torn_line_is_no_process() {
        assert_eq!(parse(42, b"42 (a) S 7 42"), None);
        assert_eq!(parse(42, b""), None);
    }

    #[test]
    fn this_process_is_seen_among_all() {
        let me = look(std::process::id()).expect("this process runs");
        assert!(!me.dead);
        assert!(all().iter().any(|seen| seen.identity() == me.identity()));
    }
}
