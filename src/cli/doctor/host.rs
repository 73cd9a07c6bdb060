//! The machine: its clock and its limits.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use super::{
    DoctorContext,
    check::{Check, Checks, Group},
};
use oodatcaa_sys::files::named;

/// A worker needs a few dozen: pipes, files and watches of its attempts.
const FEW_FILES: u64 = 256;
/// A worker watches with one instance; editors and browsers take the rest.
const FEW_INSTANCES: u64 = 16;

pub(super) fn check(_patient: &DoctorContext<'_>) -> Vec<Check> {
    let mut checks = Checks::of(Group::Host);
    clock(&mut checks);
    inotify(&mut checks);
    files(&mut checks);
    checks.into_vec()
}

fn clock(checks: &mut Checks) {
    let now = chrono::Utc::now();
    // This program is younger than that.
    if now.timestamp() < 1_735_689_600 {
        let what = format!("the clock says {}", now.format("%Y-%m-%d %H:%M UTC"));
        checks.bad("clock", what, "times in queue and journal are wrong, and `not_before` never passes", "date -u");
    } else {
        checks.good("clock", format!("the clock says {}", now.format("%Y-%m-%d %H:%M UTC")));
    }
}

fn inotify(checks: &mut Checks) {
    let limit =
        |name: &str| -> Option<u64> { named::text(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse().ok() };
    let Some(most) = limit("max_user_instances") else { return };
    let used = instances();
    let what = format!(
        "{used} of {most} inotify instances are used, {} watches are allowed",
        limit("max_user_watches").unwrap_or(0)
    );
    if most.saturating_sub(used) < FEW_INSTANCES {
        let why = "a worker that cannot watch the queue sees a change only at its next poll";
        checks.warn("inotify", what, why, "sudo sysctl fs.inotify.max_user_instances=512");
    } else {
        checks.good("inotify", what);
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

fn files(checks: &mut Checks) {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < FEW_FILES => {
            let what = format!("a process may have {limit} files open");
            checks.warn("open_files", what, "attempts fail when a worker runs out of them", "ulimit -n 1024");
        }
        Some(limit) => checks.good("open_files", format!("a process may have {limit} files open")),
        None => checks.good("open_files", "a process may have any number of files open"),
    }
}
