//! Who a process is, besides its pid: when it started, and in which boot.

use std::{fs, io};

/// When a process started, in clock ticks since boot; `None` when there is none, or only a zombie.
pub(super) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets too.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Whether the process of this pid is the one that started then.
pub(super) fn alive(pid: u32, start: u64) -> bool {
    started(pid) == Some(start)
}

/// The id of this boot.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
