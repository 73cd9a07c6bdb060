//! The workers: which run, whether they are of one version, and what keeps them alive.

use std::{collections::BTreeSet, path::Path};

use super::{DoctorContext, report::Report, sentence};
use oodatcaa_agent::environment;
use oodatcaa_core::layout::Layout;
use oodatcaa_fleet::{Backend, Mode, Row, State, pidfile};

/// Finds pid files that nobody holds.
pub(super) fn stale_pid_files(layout: &Layout) -> Vec<String> {
    let names = pidfile::names(layout).unwrap_or_default();
    let stale = |name: &String| matches!(pidfile::inspect(layout, name), Ok(pidfile::State::Stale(_)));
    names.into_iter().filter(stale).collect()
}

pub(super) fn pid_files(report: &mut Report<'_>) {
    for name in stale_pid_files(report.context.layout) {
        report.found("stale_pid_file", format!("the pid file of {name} is stale"), "agentctl doctor --fix");
    }
}

pub(super) fn manager(report: &mut Report<'_>) {
    let choice = match report.context.fleet.found(Backend::Auto) {
        Ok(choice) => choice,
        Err(error) => return report.found("manager", sentence(error), "agentctl fleet status"),
    };
    report.good("manager", format!("workers run in {} mode: {}", choice.mode.as_str(), choice.why));
    if choice.mode == Mode::Systemd && report.context.host.linger.as_ref().is_some_and(|linger| !linger.exists()) {
        report.found("linger", "the systemd user manager ends with your session", "loginctl enable-linger");
    }
}

pub(super) fn workers(report: &mut Report<'_>) {
    let context = report.context;
    let roles: Vec<_> = context.workflow.rules().iter().map(|rule| rule.role.clone()).collect();
    let rows = match context.fleet.status(&roles) {
        Ok(rows) => rows,
        Err(error) => return report.found("workers.unknown", sentence(error), "agentctl fleet status"),
    };
    for row in &rows {
        if let State::Failed(reason) = &row.state {
            let what = format!("the worker {} has failed: {reason}", row.name);
            report.found("worker_failed", what, format!("agentctl fleet start {}", pidfile::role_of(&row.name)));
        }
    }
    let of =
        |wanted: fn(&State) -> bool| rows.iter().filter(move |row| wanted(&row.state)).map(|row| row.name.as_str());
    let running: Vec<&str> = of(|state| matches!(state, State::Running | State::Starting | State::Stopping)).collect();
    let waiting: Vec<&str> = of(|state| *state == State::Stopped).filter(|name| waits_for(context, name)).collect();
    if !waiting.is_empty() {
        let first = if context.loaded.is_ok() { "" } else { "mend the configuration, then: " };
        let run = format!("{first}agentctl fleet start {}", waiting.join(" "));
        let what = format!("tasks wait for {}, and none of their workers runs", waiting.join(", "));
        report.found("workers", what, run);
    } else if running.is_empty() {
        report.good("workers", "no worker runs; no task waits for one");
    } else {
        report.good("workers", format!("running: {}", running.join(", ")));
    }
    versions(report, &rows);
}

/// Finds programs of our names that a shell would start instead of those that lie beside this one.
pub(super) fn other_programs(report: &mut Report<'_>) {
    let ours = std::env::current_exe().and_then(|exe| exe.canonicalize()).unwrap_or_default();
    for name in ["agentctl", "agent-daemon"] {
        let Some(first) = environment::find_program(name, &report.context.host.path, Path::new("/")) else { continue };
        let mine = ours.with_file_name(name);
        if first.canonicalize().is_ok_and(|first| first != mine) {
            let what = format!("`{name}` on your PATH is {}, which is not from this installation", first.display());
            let what = format!("{what}: {}", mine.display());
            report.found("other_program", what, format!("command -V {name}"));
        }
    }
}

fn waits_for(context: &DoctorContext<'_>, name: &str) -> bool {
    let Some(snapshot) = context.snapshot() else { return false };
    let Some(rule) = context.workflow.rules().iter().find(|rule| rule.role.as_str() == name) else { return false };
    snapshot.queue.tasks().any(|task| task.status == rule.takes && snapshot.queue.is_free(task))
}

/// Finds workers whose program has been replaced under them, or that are not all the same program.
fn versions(report: &mut Report<'_>, rows: &[Row]) {
    let mut programs = BTreeSet::new();
    for row in rows {
        let Some(program) = row.pid.and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok()) else {
            continue;
        };
        let program = program.to_string_lossy().into_owned();
        if let Some(path) = program.strip_suffix(" (deleted)") {
            let what = format!("the worker {} still runs the old {path}, which has been replaced", row.name);
            report.found("old_version", what, format!("agentctl fleet restart {}", pidfile::role_of(&row.name)));
        } else {
            programs.insert(program);
        }
    }
    if programs.len() > 1 {
        let all: Vec<String> = programs.into_iter().collect();
        report.found("two_versions", format!("workers run from {}", all.join(" and ")), "agentctl fleet restart");
    }
}
