//! What only Linux answers: who runs, whose child it is, and signals that cannot hit the wrong process.
//!
//! The one seam of this floor: another platform brings a module with the same functions. Whom to
//! signal, and when, others decide.

use std::{io, path::PathBuf, process::Command};

use rustix::{
    fd::OwnedFd,
    io::Errno,
    process::{Pid, PidfdFlags, Signal},
};

use oodatcaa_sys::files;

/// Tells whether a process was started with exactly this `NAME=value`. `false` when it may not be asked.
pub(super) fn carries(pid: u32, variable: &[u8]) -> bool {
    environment(pid).iter().any(|one| one == variable)
}

/// Lists the variables that a process was started with; none where it may not be asked.
pub(super) fn environment(pid: u32) -> Vec<Vec<u8>> {
    words(pid, "environ")
}

/// Lists the arguments of a process, with the program.
pub(super) fn arguments(pid: u32) -> Vec<Vec<u8>> {
    words(pid, "cmdline")
}

fn words(pid: u32, file: &str) -> Vec<Vec<u8>> {
    let all = files::named::bytes(format!("/proc/{pid}/{file}")).unwrap_or_default();
    all.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// Returns the name of the file that a process runs, also where the file has been replaced since.
pub(super) fn program(pid: u32) -> Option<String> {
    let file = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = file.file_name()?.to_string_lossy();
    Some(name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned())
}

/// Tells whether this process may gain no rights any more, and its namespace knows one user alone: how sandboxes are.
pub(super) fn is_confined() -> bool {
    let status = files::named::text("/proc/self/status").unwrap_or_default();
    let no_new = status.lines().filter_map(|line| line.strip_prefix("NoNewPrivs:")).any(|value| value.trim() == "1");
    let users = files::named::text("/proc/self/uid_map").unwrap_or_default();
    no_new && users.lines().count() == 1 && users.split_ascii_whitespace().nth(2) == Some("1")
}

/// Returns the service of ours in whose control group a process is.
pub(super) fn service(pid: u32) -> Option<String> {
    let groups = files::named::text(format!("/proc/{pid}/cgroup")).ok()?;
    let ours = |part: &&str| part.starts_with("agent-") && part.ends_with(".service");
    groups.lines().flat_map(|line| line.split('/')).find(ours).map(String::from)
}

/// Returns the name of a user by the number, where the system's own file knows it.
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

/// A process that keeps its meaning even when its number is given to another one.
pub(super) enum Handle {
    /// The kernel's handle.
    Fd(OwnedFd),
    /// Only the number, where the kernel has no handles.
    Number(Pid),
}

impl Handle {
    /// Opens the process that has this number now.
    pub(super) fn open(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        // Kernels before 5.3 and some sandboxes have none.
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

/// Makes orphans from below this process its children from now on, not those of `init`.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

#[expect(clippy::disallowed_methods, reason = "the kernel's own file, which is not a file to replace")]
/// Starts a command that the kernel ends before us when memory runs out. Best effort.
pub(super) fn spawn_first_to_go(command: &mut Command) -> io::Result<std::process::Child> {
    const MORE: i32 = 500;
    let own = PathBuf::from("/proc/self/oom_score_adj");
    let before = files::named::text(&own).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if let Some(before) = before {
        // The child inherits the value, so it is never without it, not even between fork and exec.
        let _ = std::fs::write(&own, (before + MORE).min(1000).to_string());
    }
    let child = command.spawn();
    if let Some(before) = before {
        let _ = std::fs::write(&own, before.to_string());
    }
    child
}
