//! Agents, prompts and secrets of every role, as a worker would find them.

use std::collections::BTreeMap;

use super::{DoctorContext, adapters, failed_to, report::Report, sentence};
use oodatcaa_agent::{self as agent, prompt};
use oodatcaa_config::{
    AgentConfig, AgentKind, ConfigError, SandboxMode,
    secrets::{self, SecretError},
};
use oodatcaa_core::{Role, RunName, TaskId, Token, pool::agent_of};
use oodatcaa_ops::quoted;

/// Words in the names of variables that hold secrets.
const SECRET: &[&str] = &["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"];

/// An agent that roles use.
struct Used<'a> {
    name: &'a str,
    agent: &'a AgentConfig,
    roles: Vec<&'a str>,
}

pub(super) fn check(report: &mut Report<'_>) {
    let context = report.context;
    let Ok(loaded) = &context.loaded else { return };
    let (path, whose) = context.search_path();
    // Roles that share an agent share its line.
    let mut used: BTreeMap<&str, Used<'_>> = BTreeMap::new();
    let mut without: Vec<&str> = Vec::new();
    // Roles none of whose agents is there: the whole chain, since the last of it works as well, once.
    let mut idle: Vec<&str> = Vec::new();
    for rule in loaded.config.workflow.rules() {
        let role = rule.role.as_str();
        match loaded.agents(&rule.role) {
            Ok(_) if rule.duty.agentless => {
                let gates = loaded.config.roles.get(&rule.role).map(|config| config.gates.join(", "));
                let gates = gates.filter(|gates| !gates.is_empty()).map(|gates| format!(", its gates are {gates}"));
                let what = format!("{role} works without an agent{}", gates.unwrap_or_default());
                report.good("agent", what);
            }
            Ok(chain) => {
                let lacks = |agent: &AgentConfig| {
                    unresolved(context, agent).is_some() || missing(context, agent, &path).is_some()
                };
                if chain.iter().all(|(_, agent)| lacks(agent)) {
                    idle.push(role);
                }
                for (name, agent) in chain {
                    used.entry(name).or_insert(Used { name, agent, roles: Vec::new() }).roles.push(role);
                }
            }
            Err(ConfigError::NoAgent { .. }) => without.push(role),
            // Said with the project's files.
            Err(ConfigError::Untrusted { .. }) => {}
            Err(error) => report.found("agent.chain", sentence(error), "agentctl config show roles"),
        }
    }
    if !without.is_empty() {
        let what = format!("no agent is named for {}", without.join(", "));
        report.found("no_agent", what, "agentctl init --agent NAME");
    }
    for used in used.values() {
        let is_needed = used.roles.iter().any(|role| idle.contains(role));
        program(report, used, is_needed, (&path, whose));
        secret(report, used, is_needed);
        if used.agent.kind == AgentKind::Adapter {
            adapters::check(report, used.name, used.agent, &path);
        }
    }
}

/// Returns why a secret of an agent is not there.
fn unresolved(context: &DoctorContext<'_>, agent: &AgentConfig) -> Option<SecretError> {
    secrets::resolve(&agent.set, &context.world, context.layout.root()).err()
}

/// Returns the program of an agent that is not found, looked for as its attempts would.
fn missing(context: &DoctorContext<'_>, agent: &AgentConfig, path: &str) -> Option<String> {
    let mut seen = agent.clone();
    seen.set.entry("PATH".into()).or_insert_with(|| path.into());
    agent::open("", &seen).missing_program(context.layout.root())
}

fn origin(name: &str) -> String {
    format!("agentctl config show --origin agents.{}", agent_of(name))
}

fn program(report: &mut Report<'_>, used: &Used<'_>, is_needed: bool, (path, whose): (&str, &str)) {
    let opened = agent::open(used.name, used.agent);
    // A role alone may have a sandbox in which its permissions cannot be kept.
    let inside = report.context.loaded.as_ref().is_ok_and(|loaded| {
        let roles = used.roles.iter().map(|role| Role::new(*role));
        let mut sandboxes = roles.map(|role| loaded.config.sandbox(used.name, &role));
        sandboxes.any(|sandbox| sandbox.mode != SandboxMode::Off && !sandbox.nested)
    });
    let bad = if inside { opened.problem_sandboxed() } else { opened.problem().cloned() };
    if let Some(error) = bad {
        return report.found("agent.config", sentence(error), origin(used.name));
    }
    let who = format!("agent `{}` ({})", used.name, used.roles.join(", "));
    match (missing(report.context, used.agent, path), used.agent.kind) {
        (Some(program), _) => {
            let key = if is_needed { "agent_not_found.only" } else { "agent_not_found" };
            let run = opened.install().unwrap_or_else(|| format!("command -v {program}"));
            report.found(key, format!("{who}: `{program}` is not found on {whose}"), run);
        }
        (None, AgentKind::Sim) => {
            let run = "agentctl config show --origin fleet.agent";
            report.found("simulated", format!("{who} is the simulated one"), run);
        }
        (None, AgentKind::Adapter) => report.good("agent", format!("{who} is there")),
        (None, AgentKind::Command) => {
            let program = used.agent.argv.first().map_or("", String::as_str);
            report.good("agent", format!("{who}: `{program}` is found"));
        }
    }
}

fn secret(report: &mut Report<'_>, used: &Used<'_>, is_needed: bool) {
    if let Some(error) = unresolved(report.context, used.agent) {
        let key = if is_needed { "secret.only" } else { "secret" };
        report.found(key, format!("agent `{}`: {}", used.name, sentence(error)), origin(used.name));
    }
    for (variable, value) in &used.agent.set {
        let sounds_secret = SECRET.iter().any(|word| variable.to_ascii_uppercase().contains(word));
        if sounds_secret && value.len() >= 8 && secrets::shown(value) == secrets::MASK {
            let what = format!("`agents.{}.set.{variable}` is a secret in plain text", used.name);
            report.found("plain_secret", what, origin(used.name));
        }
    }
}

pub(super) fn prompts(report: &mut Report<'_>) {
    let context = report.context;
    let Ok(loaded) = &context.loaded else { return };
    // An attempt that was made up, for a template to show itself on.
    let id = TaskId::parse("EXAMPLE").expect("a good id");
    let run = context.layout.run(&id, &RunName::of(Token(1)));
    let mut good = 0;
    for rule in loaded.config.workflow.rules().iter().filter(|rule| !rule.duty.agentless) {
        let path = context.layout.prompt(&rule.role);
        let rendered = match prompt::load(&path) {
            Err(prompt::PromptError::Missing(_)) if prompt::shipped(&rule.role).is_some() => Ok(()),
            Err(error) => Err(error),
            Ok(template) => {
                let example = agent::example::assignment(rule, context.layout.root(), &run);
                prompt::render(&template, &example, &prompt::PromptFacts::default()).map(drop)
            }
        };
        match rendered {
            Ok(()) => good += 1,
            Err(error) => {
                let look = if path.exists() { "sed -n 1,20p" } else { "$EDITOR" };
                report.found("prompt", failed_to(&error), format!("{look} {}", quoted(&path)));
            }
        }
    }
    if good > 0 {
        report.good("prompt", format!("{good} prompt templates render"));
    }
}
