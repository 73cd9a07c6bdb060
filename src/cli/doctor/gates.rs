//! Gates: whether they can be run, whether they are green where nobody has worked, what nothing proves.

use super::report::Report;
use crate::cli::gate;
use oodatcaa_config::{GateConfig, Loaded, OnBase, WorkspaceConfig, WorkspaceMode};
use oodatcaa_core::{RoleRule, text};
use oodatcaa_git::{merge::Base, mode_for};

pub(super) fn check(report: &mut Report<'_>) {
    let context = report.context;
    let Ok(loaded) = &context.loaded else { return };
    let (path, _) = context.search_path();
    for (name, gate) in &loaded.config.gates {
        let argv: Vec<&str> = gate.argv.iter().map(String::as_str).collect();
        match gate::missing(&argv, &path, context.layout.root()) {
            Some(what) => report.found("gate_not_found", format!("gate `{name}`: {what}"), origin(name)),
            None if context.tries_gates => tried(report, &loaded.config.workspace, name, gate),
            None => report.good("gate", format!("gate `{name}`: {}", argv.join(" "))),
        }
    }
    let Some(snapshot) = context.snapshot() else { return };
    for task in snapshot.queue.tasks().filter(|task| !task.status.is_finished()) {
        for gate in task.gates.iter().filter(|gate| !loaded.config.gates.contains_key(*gate)) {
            let what = format!("task {} demands the gate `{gate}`, which is not defined or not trusted", task.id);
            report.found("gate.demanded", what, "agentctl config show gates");
        }
    }
}

fn origin(gate: &str) -> String {
    format!("agentctl config show --origin gates.{gate}")
}

/// Runs a gate on the commit that work begins with.
fn tried(report: &mut Report<'_>, config: &WorkspaceConfig, name: &str, gate: &GateConfig) {
    if gate.baseline == OnBase::Skip {
        return report.good("gate", format!("gate `{name}` is meant to be red before the work"));
    }
    let layout = report.context.layout;
    let run_gate = || -> Result<bool, String> {
        let place = tempfile::Builder::new().prefix("oodatcaa-doctor-").tempdir().map_err(|error| error.to_string())?;
        let base = Base::of_project(layout, config, place.path())
            .map_err(|error| format!("it cannot be tried: failed to {error}"))?;
        let Some(base) = base else { return Ok(false) };
        base.passes(config, gate, place.path()).map_err(|error| error.to_string())?;
        Ok(true)
    };
    match run_gate() {
        Ok(true) => report.good("gate", format!("gate `{name}` is green where nobody has worked")),
        Ok(false) => report.good("gate", format!("gate `{name}` is not tried: attempts work in the project itself")),
        Err(words) => {
            let words = text::cut(&text::one_line(&words), 400);
            report.found("gate_red", format!("gate `{name}` is red where nobody has worked: {words}"), origin(name));
        }
    }
}

/// Warns of what nobody would notice in this configuration.
pub(super) fn unproved(report: &mut Report<'_>) {
    let Ok(Loaded { config, .. }) = &report.context.loaded else { return };
    let of = |rule: &RoleRule| config.roles.get(&rule.role);
    let no_gate = config.roles.values().all(|role| role.gates.is_empty()) && config.merge.after.is_empty();
    let defaults = "agentctl config show --default";
    if no_gate && config.roles.values().any(|role| role.criteria) {
        report.found("unproved.criteria", "no role has a gate", defaults);
    } else if no_gate {
        report.found("unproved.gates", "no role has a gate", defaults);
    } else if let Some(rule) = config.workflow.merging()
        && of(rule).is_some_and(|role| role.gates.is_empty())
        && config.merge.after.is_empty()
    {
        let role = &rule.role;
        let run = format!("agentctl config show --origin roles.{role}");
        report.found("unproved.merges", format!("the {role} has no gate"), run);
    }
    if let Some(rule) = config.workflow.building()
        && of(rule).is_some_and(|role| !role.change)
    {
        let role = &rule.role;
        let run = format!("agentctl config show --origin roles.{role}");
        report.found("unproved.change", format!("roles.{role}.change is false"), run);
    }
    if matches!(mode_for(report.context.layout, &config.workspace), Ok(WorkspaceMode::Shared)) {
        let run = "agentctl config show --origin workspace.mode";
        report.found("unproved.shared", "all attempts work in the project's own directory", run);
    }
}
