//! What the tests of the rules begin with.

use std::{sync::Arc, time::Duration};

use chrono::DateTime;

use crate::{
    Lease, Now, Owner, Queue, Role, RoleRule, Snapshot, Status, Task, TaskId, Token, Workflow,
    claim::Claimant,
    pool::Offer,
    why::{Explainer, Why},
};

pub(crate) fn now_at(seconds: u64) -> Now {
    let wall = DateTime::from_timestamp(1_767_600_000 + seconds as i64, 0).expect("a time");
    Now::new(wall, Duration::from_secs(seconds))
}

pub(crate) fn snapshot(tasks: Vec<Task>) -> Snapshot {
    Snapshot::of(now_at(1_000), Queue::of(tasks))
}

pub(crate) fn id(text: &str) -> TaskId {
    TaskId::parse(text).expect("a good id")
}

pub(crate) fn task(name: &str, status: Status) -> Task {
    Task::new(id(name), status)
}

fn owner(tag: &str) -> Owner {
    Owner { tag: tag.into(), host: "h".into(), boot_id: "b".into(), pid: 7, pid_started: 9 }
}

pub(crate) fn claimant(role: &Role) -> Claimant {
    Claimant {
        owner: owner("w@h"),
        rule: Workflow::shipped().rule(role).expect("shipped").clone(),
        agents: vec![Offer { by: "cmd".into(), pool: "cmd".into(), simulated: false }],
        ignore_wip: false,
    }
}

/// The shipped workflow, in which one role's row is another.
pub(crate) fn with_rule(role: &Role, change: impl Fn(RoleRule) -> RoleRule) -> Workflow {
    let shipped = Workflow::shipped();
    let row = |rule: &RoleRule| if rule.role == *role { change(rule.clone()) } else { rule.clone() };
    Workflow::new(shipped.rules().iter().map(row).collect()).expect("a workflow")
}

pub(crate) fn with_limit(mut snapshot: Snapshot, role: &Role, limit: u32) -> Snapshot {
    Arc::make_mut(&mut snapshot.queue).wip_limits.insert(role.to_string(), limit);
    snapshot
}

pub(crate) fn lease(task: &str, role: &Role, token: u64) -> Lease {
    let rule = RoleRule { ttl: Duration::from_secs(600), ..claimant(role).rule };
    let by = "cmd".into();
    Lease { by, ..Lease::new(&owner("w@h"), &rule, &id(task), Token(token), &now_at(1_000)) }
}

pub(crate) fn explain(snapshot: &Snapshot, workflow: &Workflow, task: &Task) -> Why {
    Explainer::new(snapshot, workflow).explain(task)
}
