//! An attempt that never was, for a template, a command line or a program to show itself on.

use std::{path::Path, time::Duration};

use super::Assignment;
use oodatcaa_core::{Lease, Now, Owner, RoleRule, Task, TaskId, Token};

/// Makes an attempt of this role that is in no queue and no lease.
pub fn assignment(rule: &RoleRule, project: &Path, run_dir: &Path) -> Assignment {
    let id = TaskId::parse("EXAMPLE").expect("a good id");
    let owner = Owner { tag: "example".into(), ..Owner::default() };
    Assignment {
        task: Task { title: "An example".into(), ..Task::new(id.clone(), rule.works.clone()) },
        rule: rule.clone(),
        lease: Lease::new(&owner, rule, &id, Token(1), &Now::new(chrono::Utc::now(), Duration::ZERO)),
        project: project.into(),
        workspace: project.into(),
        own_git: None,
        run_dir: run_dir.into(),
        resume: None,
        home: None,
        confined: false,
        sandboxed: false,
    }
}
