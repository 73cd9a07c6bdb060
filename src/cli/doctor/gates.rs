//! Gates: whether they can be run, whether they are green where nobody has worked, what nothing proves.

use std::{collections::BTreeMap, sync::atomic::AtomicBool};

use super::{DoctorContext, check::Checks};
use crate::cli::gate;
use oodatcaa_config::{GateConfig, Loaded, OnBase, WorkspaceMode};
use oodatcaa_core::{Role, text};
use oodatcaa_git::{merge::Base, mode_for};

pub(super) fn check(checks: &mut Checks, context: &DoctorContext<'_>, loaded: &Loaded, path: &str) {
    for (name, gate) in &loaded.config.gates {
        let argv: Vec<&str> = gate.argv.iter().map(String::as_str).collect();
        let run = format!("agentctl config show --origin gates.{name}");
        match gate::missing(&argv, path, context.layout.root()) {
            Some(what) => checks.bad("gate_not_found", format!("gate `{name}`: {what}"), "no task passes it", run),
            None if context.tries_gates => tried(checks, context, loaded, name, gate),
            None => checks.good("gate", format!("gate `{name}`: {}", gate.argv.join(" "))),
        }
    }
    unproved(checks, context, loaded);
    let Some(snapshot) = context.snapshot() else { return };
    for task in snapshot.queue.tasks().filter(|task| !task.status.is_finished()) {
        for gate in task.gates.iter().filter(|gate| !loaded.config.gates.contains_key(*gate)) {
            let what = format!("task {} demands the gate `{gate}`, which is not defined or not trusted", task.id);
            checks.bad("gate", what, "the task cannot pass", "agentctl config show gates");
        }
    }
}

/// Runs a gate on the commit that work begins with.
fn tried(checks: &mut Checks, context: &DoctorContext<'_>, loaded: &Loaded, name: &str, gate: &GateConfig) {
    let run = format!("agentctl config show --origin gates.{name}");
    if gate.baseline == OnBase::Skip {
        return checks.good("gate", format!("gate `{name}` is meant to be red before the work"));
    }
    let config = &loaded.config.workspace;
    let run_gate = || -> Result<bool, String> {
        let place = tempfile::Builder::new().prefix("oodatcaa-doctor-").tempdir().map_err(|error| error.to_string())?;
        let (env, stop) = (BTreeMap::new(), AtomicBool::new(false));
        let base = Base::of_project(context.layout, config, place.path(), &env, &stop)
            .map_err(|error| format!("it cannot be tried: failed to {error}"))?;
        let Some(base) = base else { return Ok(false) };
        base.passes(config, gate, place.path(), &stop).map_err(|error| error.to_string())?;
        Ok(true)
    };
    match run_gate() {
        Ok(true) => checks.good("gate", format!("gate `{name}` is green where nobody has worked")),
        Ok(false) => checks.good("gate", format!("gate `{name}` is not tried: attempts work in the project itself")),
        Err(words) => checks.bad(
            "gate_red",
            format!("gate `{name}` is red where nobody has worked: {}", text::cut(&text::one_line(&words), 400)),
            "its role pauses at the first task: make it green, or say `baseline = \"skip\"` where red is meant",
            run,
        ),
    }
}

/// Warns of what nobody would notice in this configuration.
fn unproved(checks: &mut Checks, context: &DoctorContext<'_>, loaded: &Loaded) {
    let config = &loaded.config;
    let of = |role: &Role| config.roles.get(role);
    let any_gate = config.roles.values().any(|role| !role.gates.is_empty()) || !config.merge.after.is_empty();
    let criteria = of(&Role::TESTER).is_some_and(|role| role.criteria);
    if !any_gate {
        let why = match criteria {
            true => "a tester's words about the criteria are all that stands between a task and its end",
            false => "nothing but the word of a model stands between a task and its end",
        };
        checks.warn("unproved", "no role has a gate", why, "agentctl config show --default");
    } else if of(&Role::INTEGRATOR).is_some_and(|role| role.gates.is_empty()) && config.merge.after.is_empty() {
        let why = "work that is red together with what was merged meanwhile is merged all the same";
        checks.warn("unproved", "the integrator has no gate", why, "agentctl config show --origin roles.integrator");
    }
    if of(&Role::BUILDER).is_some_and(|role| !role.change) {
        let why = "a builder that changes nothing passes";
        checks.warn("unproved", "roles.builder.change is false", why, "agentctl config show --origin roles.builder");
    }
    if matches!(mode_for(context.layout, &config.workspace), Ok(WorkspaceMode::Shared)) {
        let what = "all attempts work in the project's own directory";
        let why = "what one of them made cannot be told from what another made, and nothing is merged";
        checks.warn("unproved", what, why, "agentctl config show --origin workspace.mode");
    }
}
