//! The workers: which run, whether they are of one version, and what keeps them alive.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    DoctorContext,
    check::{Check, Checks, Group},
    sentence,
};
use oodatcaa_agent::environment;
use oodatcaa_fleet::{Backend, Mode, Row, State, pidfile};

pub(super) fn check(context: &DoctorContext<'_>) -> Vec<Check> {
    let mut checks = Checks::of(Group::Service);
    manager(&mut checks, context);
    let roles: Vec<_> = context.workflow().rules().iter().map(|rule| rule.role.clone()).collect();
    match context.fleet.status(&roles) {
        Ok(rows) => workers(&mut checks, context, &rows),
        Err(error) => {
            checks.warn("workers", sentence(error), "which workers run is not known", "agentctl fleet status");
        }
    }
    others(&mut checks, context);
    for name in stale_pid_files(context) {
        let why = "it is left from a worker that was killed; nothing is ever signalled by it";
        checks.warn("stale_pid_file", format!("the pid file of {name} is stale"), why, "agentctl doctor --fix");
    }
    checks.into_vec()
}

/// Finds pid files that nobody holds.
pub(super) fn stale_pid_files(context: &DoctorContext<'_>) -> Vec<String> {
    let names = pidfile::names(context.layout).unwrap_or_default();
    let stale = |name: &String| matches!(pidfile::inspect(context.layout, name), Ok(pidfile::State::Stale(_)));
    names.into_iter().filter(stale).collect()
}

fn manager(checks: &mut Checks, context: &DoctorContext<'_>) {
    let choice = match context.fleet.found(Backend::Auto) {
        Ok(choice) => choice,
        Err(error) => return checks.warn("manager", sentence(error), "", "agentctl fleet status"),
    };
    checks.good("manager", format!("workers run in {} mode: {}", choice.mode.as_str(), choice.why));
    if choice.mode == Mode::Systemd && context.host.linger.as_ref().is_some_and(|linger| !linger.exists()) {
        let why = "the services end when you log out";
        checks.warn("linger", "the systemd user manager ends with your session", why, "loginctl enable-linger");
    }
}

fn workers(checks: &mut Checks, context: &DoctorContext<'_>, rows: &[Row]) {
    let of = |wanted: fn(&State) -> bool| -> Vec<&str> {
        rows.iter().filter(|row| wanted(&row.state)).map(|row| row.name.as_str()).collect()
    };
    let running = of(|state| matches!(state, State::Running | State::Starting | State::Stopping));
    for row in rows {
        if let State::Failed(reason) = &row.state {
            let what = format!("the worker {} has failed: {reason}", row.name);
            checks.bad(
                "worker_failed",
                what,
                "its tasks wait",
                format!("agentctl fleet start {}", pidfile::role_of(&row.name)),
            );
        }
    }
    let stopped = of(|state| *state == State::Stopped);
    let waiting: Vec<&str> = stopped.into_iter().filter(|name| waits_for(context, name)).collect();
    if waiting.is_empty() {
        let what = if running.is_empty() {
            "no worker runs; no task waits for one".into()
        } else {
            format!("running: {}", running.join(", "))
        };
        checks.good("workers", what);
    } else {
        let what = format!("tasks wait for {}, and no worker of theirs runs", waiting.join(", "));
        checks.warn(
            "workers",
            what,
            "nothing happens to those tasks",
            match context.loaded {
                Ok(_) => format!("agentctl fleet start {}", waiting.join(" ")),
                Err(_) => format!("mend the configuration, then: agentctl fleet start {}", waiting.join(" ")),
            },
        );
    }
    versions(checks, rows);
}

/// Programs of our names that a shell would start instead of those that stand beside this one.
fn others(checks: &mut Checks, context: &DoctorContext<'_>) {
    let ours = std::env::current_exe().and_then(|exe| exe.canonicalize()).unwrap_or_default();
    for name in ["agentctl", "agent-daemon"] {
        let Some(first) = environment::find_program(name, &context.host.path, Path::new("/")) else { continue };
        let mine = ours.with_file_name(name);
        if first.canonicalize().is_ok_and(|first| first != mine) {
            let what = format!("`{name}` on your PATH is {}, which is not of this installation", first.display());
            let why = format!("a shell starts that one, not {}", mine.display());
            checks.warn("other_program", what, &why, format!("command -V {name}"));
        }
    }
}

fn waits_for(context: &DoctorContext<'_>, name: &str) -> bool {
    let Some(snapshot) = context.snapshot() else { return false };
    let workflow = context.workflow();
    let Some(rule) = workflow.rules().iter().find(|rule| rule.role.as_str() == name) else { return false };
    snapshot.queue.tasks().any(|task| task.status == rule.takes && snapshot.queue.is_free(task))
}

/// Workers whose program has been replaced under them, or that are not all the same program.
fn versions(checks: &mut Checks, rows: &[Row]) {
    let mut programs = BTreeSet::new();
    for row in rows {
        let Some(program) = row.pid.and_then(program) else { continue };
        if let Some(path) = program.to_string_lossy().strip_suffix(" (deleted)") {
            let what = format!("the worker {} still runs the old {path}, which has been replaced", row.name);
            let why = "workers of two versions may disagree about the rules";
            checks.warn("old_version", what, why, format!("agentctl fleet restart {}", pidfile::role_of(&row.name)));
        } else {
            programs.insert(program);
        }
    }
    if programs.len() > 1 {
        let all: Vec<String> = programs.iter().map(|program| program.display().to_string()).collect();
        let what = format!("workers run from {}", all.join(" and "));
        checks.warn(
            "two_versions",
            what,
            "workers of two versions may disagree about the rules",
            "agentctl fleet restart",
        );
    }
}

fn program(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}
