//! Agents, gates, prompts and secrets of every role, as a worker would find them.

use std::collections::BTreeMap;

use super::{
    DoctorContext, adapters,
    check::{Check, Checks, Group},
    gates, sentence,
};
use oodatcaa_agent::{self as agent, Assignment, prompt};
use oodatcaa_config::{AgentConfig, AgentKind, ConfigError, Loaded, secrets};
use oodatcaa_core::{RoleRule, RunName, TaskId, Token, pool::agent_of};
use oodatcaa_fleet::units;
use oodatcaa_ops::quoted;
use oodatcaa_sys::files;

/// Words in the names of variables that hold secrets.
const SECRET: &[&str] = &["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"];

pub(super) fn check(context: &DoctorContext<'_>) -> Vec<Check> {
    let mut checks = Checks::of(Group::Agents);
    let Ok(loaded) = &context.loaded else { return Vec::new() };
    let unit = unit(context);
    let (path, whose) = search_path(context, unit.as_deref());
    // Roles that share an agent share its line.
    let mut by_agent: BTreeMap<&str, (&AgentConfig, Vec<&str>)> = BTreeMap::new();
    let mut without: Vec<&str> = Vec::new();
    // Roles none of whose agents is there.
    let mut idle: Vec<&str> = Vec::new();
    for rule in loaded.config.workflow.rules() {
        match loaded.agents(&rule.role) {
            // The whole chain: the last of it works as well, once.
            Ok(chain) => {
                let lacks = |agent: &AgentConfig| {
                    let unknown = secrets::resolve(&agent.set, &context.world, context.layout.root()).is_err();
                    unknown || missing(context, agent, &path).is_some()
                };
                if chain.iter().all(|(_, agent)| lacks(agent)) {
                    idle.push(rule.role.as_str());
                }
                chain.into_iter().for_each(|(name, agent)| {
                    by_agent.entry(name).or_insert((agent, Vec::new())).1.push(rule.role.as_str());
                });
            }
            Err(ConfigError::NoAgent { .. }) => without.push(rule.role.as_str()),
            // Told with the project's files.
            Err(ConfigError::Untrusted { .. }) => {}
            Err(error) => {
                checks.bad("agent", sentence(error), "the role's worker does not start", "agentctl config show roles");
            }
        }
    }
    if !without.is_empty() {
        let what = format!("no agent is named for {}", without.join(", "));
        checks.bad(
            "no_agent",
            what,
            "their workers refuse to start; nothing is ever simulated instead",
            "agentctl init --agent NAME",
        );
    }
    for (name, (agent, roles)) in by_agent {
        let is_needed = roles.iter().any(|role| idle.contains(role));
        program(&mut checks, context, (name, agent, is_needed), &roles.join(", "), (&path, whose));
        secret(&mut checks, context, name, agent, is_needed);
        if agent.kind == AgentKind::Adapter {
            adapters::check(&mut checks, context, name, agent, &path, &adapters::Unit(unit.as_deref()));
        }
    }
    gates::check(&mut checks, context, loaded, &path);
    prompts(&mut checks, context, loaded);
    checks.into_vec()
}

/// Returns the `PATH` that workers have: the units' own where they are installed, else that of this terminal.
fn search_path(context: &DoctorContext<'_>, unit: Option<&str>) -> (String, &'static str) {
    match unit.and_then(unit_path) {
        Some(path) => (path, "the services' PATH"),
        None => (context.host.path.clone(), "PATH"),
    }
}

/// Reads one of the project's units, where they are installed.
fn unit(context: &DoctorContext<'_>) -> Option<String> {
    let dir = context.host.units();
    let unit = units::of_project(&dir, context.layout.root()).unwrap_or_default().into_iter().next()?;
    files::read_text(&dir, unit.as_ref(), 1 << 20).ok().flatten()
}

fn unit_path(unit: &str) -> Option<String> {
    unit.lines().find_map(|line| {
        let value = line.strip_prefix("Environment=")?.trim().trim_matches('"');
        value.strip_prefix("PATH=").map(|path| path.replace("%%", "%"))
    })
}

/// Returns the program of an agent that is not found, looked for as its attempts would.
fn missing(context: &DoctorContext<'_>, agent: &AgentConfig, path: &str) -> Option<String> {
    let mut seen = agent.clone();
    seen.set.entry("PATH".into()).or_insert_with(|| path.into());
    agent::open("", &seen).missing_program(context.layout.root())
}

fn program(
    checks: &mut Checks,
    context: &DoctorContext<'_>,
    (name, agent, is_needed): (&str, &AgentConfig, bool),
    roles: &str,
    (path, whose): (&str, &str),
) {
    let opened = agent::open(name, agent);
    if let Some(error) = opened.problem() {
        let why = "every attempt would end as a `config` failure";
        return checks.bad(
            "agent",
            sentence(error.clone()),
            why,
            format!("agentctl config show --origin agents.{}", agent_of(name)),
        );
    }
    match missing(context, agent, path) {
        Some(program) => {
            let what = format!("agent `{name}` ({roles}): `{program}` is not found on {whose}");
            let run = opened.install().unwrap_or_else(|| format!("command -v {program}"));
            match is_needed {
                true => checks.bad("agent_not_found", what, "its roles pause until a human acts", run),
                false => checks.warn("agent_not_found", what, "its roles work with their other agents meanwhile", run),
            }
        }
        None if agent.kind == AgentKind::Sim => {
            let why = "it calls no model and its work is nonsense; everything it touches is marked";
            checks.warn(
                "simulated",
                format!("agent `{name}` ({roles}) is the simulated one"),
                why,
                "agentctl config show --origin fleet.agent",
            );
        }
        None => checks.good(
            "agent",
            match agent.kind {
                AgentKind::Adapter => format!("agent `{name}` ({roles}) is there"),
                _ => {
                    let program = agent.argv.first().map_or("", String::as_str);
                    format!("agent `{name}` ({roles}): `{program}` is found")
                }
            },
        ),
    }
}

fn secret(checks: &mut Checks, context: &DoctorContext<'_>, name: &str, agent: &AgentConfig, is_needed: bool) {
    if let Err(error) = secrets::resolve(&agent.set, &context.world, context.layout.root()) {
        let what = format!("agent `{name}`: {}", sentence(error));
        let run = format!("agentctl config show --origin agents.{}", agent_of(name));
        let service = "a service sees only the variables of its unit";
        if is_needed {
            let why = format!("workers of its roles do not start without it; {service}");
            checks.bad("secret", what, &why, run);
        } else {
            let why = format!("its roles work with their other agents meanwhile; {service}");
            checks.warn("secret", what, &why, run);
        }
    }
    for (variable, value) in &agent.set {
        let sounds_secret = SECRET.iter().any(|word| variable.to_ascii_uppercase().contains(word));
        if sounds_secret && value.len() >= 8 && secrets::shown(value) == secrets::MASK {
            let what = format!("`agents.{name}.set.{variable}` is a secret in plain text");
            let why = "who reads the file has it, and git keeps it; write env:NAME or file:PATH";
            checks.warn("plain_secret", what, why, format!("agentctl config show --origin agents.{}", agent_of(name)));
        }
    }
}

fn prompts(checks: &mut Checks, context: &DoctorContext<'_>, loaded: &Loaded) {
    let mut good = 0;
    for rule in loaded.config.workflow.rules() {
        let path = context.layout.prompt(&rule.role);
        let rendered = match prompt::load(&path) {
            Err(prompt::PromptError::Missing(_)) if prompt::shipped(&rule.role).is_some() => {
                good += 1;
                continue;
            }
            Err(error) => Err(error),
            Ok(template) => prompt::render(&template, &example(context, rule), &prompt::PromptFacts::default()),
        };
        match rendered {
            Ok(_) => good += 1,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                let why = "every attempt of the role would end as a `config` failure, and the role would pause";
                let run = if path.exists() {
                    format!("sed -n 1,20p {}", quoted(&path))
                } else {
                    format!("$EDITOR {}", quoted(&path))
                };
                checks.bad("prompt", format!("failed to {error}{cause}"), why, run);
            }
        }
    }
    if good > 0 {
        checks.good("prompt", format!("{good} prompt templates render"));
    }
}

/// Makes up an attempt for a template to show itself on.
fn example(context: &DoctorContext<'_>, rule: &RoleRule) -> Assignment {
    let id = TaskId::parse("EXAMPLE").expect("a good id");
    agent::example::assignment(rule, context.layout.root(), &context.layout.run(&id, &RunName::of(Token(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_path_is_read_from_their_unit() {
        let unit = "[Service]\nEnvironment=\"PATH=/a b:/c%%d\"\nExecStart=x\n";
        assert_eq!(unit_path(unit).as_deref(), Some("/a b:/c%d"));
        assert_eq!(unit_path("[Service]\nEnvironment=FOO=1\n"), None);
    }
}
