//! Who holds a lock.

use std::{fs::File, os::unix::fs::MetadataExt as _};

/// The process that holds a flock, where the system tells.
pub fn holder_pid(file: &File) -> Option<u32> {
    let (device, inode) = file.metadata().map(|meta| (meta.dev(), meta.ino())).ok()?;
    let locks = super::files::named::text("/proc/locks").ok()?;
    holder_in(&locks, rustix::fs::major(device), rustix::fs::minor(device), inode)
}

/// Whether somebody has stopped a process, so that it does nothing until it is told to go on.
pub fn is_stopped(pid: u32) -> bool {
    super::files::named::text(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T')))
}

/// Who holds a flock, in words.
pub fn holder(file: &File) -> Option<String> {
    let pid = holder_pid(file)?;
    let name = super::files::named::text(format!("/proc/{pid}/comm")).unwrap_or_default();
    let stopped = if is_stopped(pid) { ", which is stopped" } else { "" };
    Some(match name.trim() {
        "" => format!("process {pid}"),
        name => format!("process {pid} ({}{stopped})", name.chars().filter(|c| !c.is_control()).collect::<String>()),
    })
}

fn holder_in(locks: &str, major: u32, minor: u32, inode: u64) -> Option<u32> {
    let exact = format!("{major:02x}:{minor:02x}:{inode}");
    let by_inode = format!(":{inode}");
    let found = |fits: &dyn Fn(&str) -> bool| {
        locks.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().filter(|field| *field != "->").collect();
            match fields.as_slice() {
                [_, "FLOCK", _, _, pid, file, ..] if !line.contains("->") && fits(file) => pid.parse().ok(),
                _ => None,
            }
        })
    };
    // Some file systems show another device here than to `stat`.
    found(&|file| file == exact).or_else(|| found(&|file| file.ends_with(&by_inode)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 11 08:01:77 0 EOF
2: FLOCK  ADVISORY  WRITE 12 08:01:78 0 EOF
2: -> FLOCK  ADVISORY  WRITE 13 08:01:78 0 EOF
3: FLOCK  ADVISORY  WRITE 14 00:2a:79 0 EOF
";

    #[test]
    fn the_holder_is_named_and_not_who_waits() {
        assert_eq!(holder_in(LOCKS, 8, 1, 78), Some(12));
        assert_eq!(holder_in(LOCKS, 0, 0x99, 79), Some(14), "by inode where the device differs");
        assert_eq!(holder_in(LOCKS, 8, 1, 77), None, "that is no flock");
    }
}
