//! An attempt that never was, for a template, a command line or a program to show itself on.

use std::path::Path;

use super::Assignment;
use oodatcaa_core::{Lease, RoleRule, Task, TaskId, Token};

/// Makes an attempt of this role that is in no queue and no lease.
pub fn assignment(rule: &RoleRule, project: &Path, run_dir: &Path) -> Assignment {
    let id = TaskId::parse("EXAMPLE").expect("a good id");
    let now = chrono::Utc::now();
    Assignment {
        task: Task { title: "An example".into(), ..Task::new(id.clone(), rule.works.clone()) },
        rule: rule.clone(),
        lease: Lease {
            task_id: id,
            role: rule.role.clone(),
            owner: "example".into(),
            token: Token(1),
            run: String::new(),
            attempt: 1,
            started_at: now,
            ttl_seconds: rule.ttl.as_secs(),
            heartbeat_at: now,
            host: String::new(),
            boot_id: String::new(),
            pid: 0,
            pid_started: 0,
            pgid: None,
            heartbeat_mono_ms: 0,
            by: String::new(),
            simulated: false,
            pool: String::new(),
            probe: false,
            stop: None,
            landing: None,
        },
        project: project.into(),
        workspace: project.into(),
        run_dir: run_dir.into(),
        resume: None,
        home: None,
    }
}
