//! The machine: its clock and its limits.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use super::report::Report;
use oodatcaa_sys::files::named;

/// A worker needs a few dozen: pipes, files and watches of its attempts.
const FEW_FILES: u64 = 256;
/// A worker watches with one instance; editors and browsers take the rest.
const FEW_INSTANCES: u64 = 16;

pub(super) fn clock(report: &mut Report<'_>) {
    let now = chrono::Utc::now();
    let what = format!("the clock says {}", now.format("%Y-%m-%d %H:%M UTC"));
    // This program is younger than that.
    match now.timestamp() < 1_735_689_600 {
        true => report.found("clock", what, "date -u"),
        false => report.good("clock", what),
    }
}

pub(super) fn inotify(report: &mut Report<'_>) {
    let limit =
        |name: &str| -> Option<u64> { named::text(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse().ok() };
    let Some(most) = limit("max_user_instances") else { return };
    let (used, watches) = (instances(), limit("max_user_watches").unwrap_or(0));
    let what = format!("{used} of {most} inotify instances are used, {watches} watches are allowed");
    match most.saturating_sub(used) < FEW_INSTANCES {
        true => report.found("inotify", what, "sudo sysctl fs.inotify.max_user_instances=512"),
        false => report.good("inotify", what),
    }
}

/// Counts the inotify instances of this user's processes, as far as they can be seen.
fn instances() -> u64 {
    let me = rustix::process::geteuid().as_raw();
    let numbers = named::directories("/proc").filter(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let processes = numbers.map(|name| Path::new("/proc").join(name));
    processes
        .filter(|process| process.metadata().is_ok_and(|metadata| metadata.uid() == me))
        .map(|process| process.join("fd"))
        .flat_map(|fds| named::entries(&fds).into_iter().map(move |fd| fds.join(fd.name)))
        .filter(|fd| fd.read_link().is_ok_and(|link| link.as_os_str() == "anon_inode:inotify"))
        .count() as u64
}

pub(super) fn open_files(report: &mut Report<'_>) {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let number = limit.map_or("any number of".into(), |limit| limit.to_string());
    let what = format!("a process may have {number} files open");
    match limit.is_some_and(|limit| limit < FEW_FILES) {
        true => report.found("open_files", what, "ulimit -n 1024"),
        false => report.good("open_files", what),
    }
}
