//! Leases and locks: who holds what, and whether somebody still stands behind it.

use std::os::unix::fs::MetadataExt as _;

use super::report::Report;
use oodatcaa_core::{Holder, LeaseRecord, LeaseState, QueueLease, Snapshot, TaskId, lease::LeaseHealth, text};
use oodatcaa_ops::quoted;
use oodatcaa_sys::{files, lock};

/// What gives back a task whose owner is gone.
const FIX: &str = "agentctl doctor --fix";

pub(super) fn check(report: &mut Report<'_>) {
    let (context, before) = (report.context, report.checks.len());
    let Some(snapshot) = context.snapshot() else { return };
    let mut live = 0;
    for (task, held) in &snapshot.leases {
        if snapshot.queue.get(task).is_none() {
            let what = format!("the lease of {task} is for a task that is not in the queue");
            report.found("lease_without_task", what, release(task));
        }
        match held.health(&snapshot.now) {
            LeaseHealth::Live => {
                live += 1;
                foreign(report, task, held);
            }
            LeaseHealth::Dead(reason) => {
                report.found("dead_lease", format!("the lease of {task} is dead: {reason}"), FIX);
            }
            LeaseHealth::Lost(reason) => {
                report.found("lost_lease", format!("the lease of {task} is lost: {reason}"), release(task));
            }
        }
    }
    for task in snapshot.queue.tasks() {
        let works = context.workflow.working(&task.status).is_some();
        if works && !snapshot.leases.contains_key(&task.id) && task.lease == QueueLease::None {
            let what = format!("task {} is `{}` and nobody has a lease for it", task.id, task.status);
            report.found("no_lease", what, FIX);
        }
    }
    locks(report, snapshot);
    if report.checks.len() == before {
        let what = match live {
            0 => "no lease is held".into(),
            live => format!("leases: {live} held, each by a worker that is alive"),
        };
        report.good("leases", what);
    }
}

fn release(task: &TaskId) -> String {
    format!("agentctl lease release {task}")
}

fn foreign(report: &mut Report<'_>, task: &TaskId, held: &LeaseState) {
    match &held.record {
        LeaseRecord::Foreign(lease) => {
            let until = lease.until.map(|until| until.format("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default();
            let what = format!("the lease of {task} was written by `{}` and counts until {until}", lease.owner);
            report.found("foreign_lease", what, release(task));
        }
        LeaseRecord::Ours(lease) if held.holder == Holder::Unknown => {
            let what = format!("the lease of {task} belongs to the machine `{}`", lease.host);
            report.found("other_machine", what, release(task));
        }
        _ => {}
    }
}

/// Checks lock files: those without a lease are harmless, unless somebody holds them.
fn locks(report: &mut Report<'_>, snapshot: &Snapshot) {
    let (held, dir) = (lock::held_inodes(), report.context.layout.locks());
    let Ok(Some(entries)) = files::list(report.context.layout.root(), &dir, 1_000_000) else { return };
    let mut idle = 0;
    for entry in entries {
        let path = dir.join(&entry.name);
        let name = entry.name.to_string_lossy();
        let Some(id) = name.strip_suffix(".lock").filter(|id| *id != "queue") else { continue };
        let Ok(task) = TaskId::parse(id) else { continue };
        if snapshot.leases.contains_key(&task) {
            continue;
        }
        if path.metadata().is_ok_and(|meta| held.contains(&meta.ino())) {
            let what = format!("the lock of {task} is held and there is no lease");
            report.found("lock_held", what, format!("fuser -v {}", quoted(&path)));
        } else {
            idle += 1;
        }
    }
    if idle > 0 {
        let files = text::many(idle, "lock file");
        report.good("lock_files", format!("{files} of tasks that nobody works on; harmless"));
    }
}
