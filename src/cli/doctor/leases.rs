//! Leases and locks: who holds what, and whether somebody still stands behind it.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use super::{
    DoctorContext,
    check::{Check, Checks, Group},
};
use oodatcaa_core::{LeaseRecord, LeaseState, TaskId, lease::LeaseHealth, text};
use oodatcaa_sys::{files, lock};

pub(super) fn check(context: &DoctorContext<'_>) -> Vec<Check> {
    let mut checks = Checks::of(Group::Leases);
    let Some(snapshot) = context.snapshot() else { return Vec::new() };
    let mut live = 0;
    for (task, held) in &snapshot.leases {
        if snapshot.queue.get(task).is_none() {
            let why = "its attempt goes on for nothing";
            checks.warn(
                "lease_without_task",
                format!("the lease of {task} is for a task that is not in the queue"),
                why,
                release(task),
            );
        }
        match held.health(&snapshot.now) {
            LeaseHealth::Live => {
                live += 1;
                foreign(&mut checks, task, held);
            }
            LeaseHealth::Dead(reason) => {
                let why = "a worker gives the task back within seconds; when none runs, it waits";
                checks.warn(
                    "dead_lease",
                    format!("the lease of {task} is dead: {reason}"),
                    why,
                    "agentctl doctor --fix",
                );
            }
            LeaseHealth::Lost(reason) => {
                let why = "its owner lives and does not beat: stopped, or stuck; another worker takes over";
                checks.warn("lost_lease", format!("the lease of {task} is lost: {reason}"), why, release(task));
            }
        }
    }
    let workflow = context.workflow();
    for task in snapshot.queue.tasks() {
        if let Some(rule) = workflow.working(&task.status)
            && !snapshot.leases.contains_key(&task.id)
            && task.lease == oodatcaa_core::QueueLease::None
        {
            let what = format!("task {} is `{}` and nobody has a lease for it", task.id, task.status);
            let why = format!("a worker gives it back to `{}`; when none runs, it waits", rule.takes);
            checks.warn("no_lease", what, &why, "agentctl doctor --fix");
        }
    }
    locks(&mut checks, context);
    if checks.is_empty() {
        checks.good(
            "leases",
            match live {
                0 => "no lease is held".into(),
                live => format!("leases: {live} held, all by somebody who lives"),
            },
        );
    }
    checks.into_vec()
}

fn release(task: &TaskId) -> String {
    format!("agentctl lease release {task}")
}

fn foreign(checks: &mut Checks, task: &TaskId, held: &LeaseState) {
    match &held.record {
        LeaseRecord::Foreign(lease) => {
            let until = lease.until.map(|until| until.format("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default();
            let what = format!("the lease of {task} was written by `{}` and counts until {until}", lease.owner);
            checks.warn(
                "foreign_lease",
                what,
                "it has no identity: whether its owner lives cannot be proved",
                release(task),
            );
        }
        LeaseRecord::Ours(lease) if held.holder == oodatcaa_core::Holder::Unknown => {
            let what = format!("the lease of {task} belongs to the machine `{}`", lease.host);
            let why = "files keep one machine's workers apart, not those of several";
            checks.warn("other_machine", what, why, release(task));
        }
        _ => {}
    }
}

/// Checks lock files: those without a lease are harmless, unless somebody holds them.
fn locks(checks: &mut Checks, context: &DoctorContext<'_>) {
    let Some(snapshot) = context.snapshot() else { return };
    let held = lock::held_inodes();
    let dir = context.layout.locks();
    let Ok(Some(entries)) = files::list(context.layout.root(), &dir, 1_000_000) else { return };
    let mut idle = 0;
    for entry in entries {
        let (name, path) = (entry.name.to_string_lossy().into_owned(), dir.join(&entry.name));
        let Some(id) = name.strip_suffix(".lock").filter(|id| *id != "queue") else { continue };
        let Ok(task) = TaskId::parse(id) else { continue };
        if snapshot.leases.contains_key(&task) {
            continue;
        }
        if inode(&path).is_some_and(|inode| held.contains(&inode)) {
            let why = "somebody was superseded or hangs, and still holds the task's lock";
            let run = format!("fuser -v {}", oodatcaa_ops::quoted(&path));
            checks.warn("lock_held", format!("the lock of {task} is held and there is no lease"), why, run);
        } else {
            idle += 1;
        }
    }
    if idle > 0 {
        checks.good("lock_files", format!("{} of tasks that nobody works on; harmless", text::many(idle, "lock file")));
    }
}

fn inode(path: &Path) -> Option<u64> {
    Some(path.metadata().ok()?.ino())
}
