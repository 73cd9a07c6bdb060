//! What a person may set: layers of TOML, environment and flags, each value with its origin.
//!
//! Built-in defaults < `$XDG_CONFIG_HOME/oodatcaa/config.toml` < `.oodatcaa/config.toml` <
//! `.oodatcaa/config.local.toml` < `OODATCAA_*` environment < flags. What the project's files say
//! counts only as far as it tightens something, until the user trusts them.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

use std::{collections::BTreeMap, time::Duration};

use toml::Value;

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Class, Role, Workflow, outcome::Retry};

mod build;
mod fault;
mod keys;
mod layers;
mod load;
mod merge;
pub mod near;
pub mod secrets;
#[cfg(test)]
mod tests;
mod tighten;
pub mod trust;
mod values;
mod workspace;
mod world;

pub use fault::{ConfigError, Fault, Origin};
pub use keys::schema;
pub use merge::{MergeConfig, MergePolicy};
pub use trust::Trust;
pub use workspace::{WorkspaceConfig, WorkspaceMode};
pub use world::World;

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What holds for every worker.
    pub fleet: Fleet,
    /// The table of roles: the shipped five, changed and extended by `[roles.*]`.
    pub workflow: Workflow,
    /// How each role of the table works.
    pub roles: BTreeMap<Role, RoleConfig>,
    /// The agents by name.
    pub agents: BTreeMap<String, AgentConfig>,
    /// What the configuration says about adapters, by name.
    pub adapters: BTreeMap<String, toml::Table>,
    /// The gates by name.
    pub gates: BTreeMap<String, GateConfig>,
    /// When to try again (R22).
    pub retry: Retry,
    /// Where attempts work.
    pub workspace: WorkspaceConfig,
    /// How branches are merged.
    pub merge: MergeConfig,
    /// How the project's files stand, so what of them is in the rest.
    pub trust: Trust,
}

/// `[fleet]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The fallback poll; file changes wake a worker at once. 60 s.
    pub interval: Duration,
    /// How long running attempts may go on after the first TERM. 20 s.
    pub drain: Duration,
    /// Between TERM and KILL of an agent. 5 s.
    pub grace: Duration,
    /// How long to wait for the queue lock. 10 s.
    pub lock_wait: Duration,
}

/// `[roles.NAME]`, without what stands in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleConfig {
    /// The agent that works; the `agent` of `[fleet]` when absent; `None` when neither says one.
    pub agent: Option<String>,
    /// All agents that may work, `agent` first; the next works while the quota of those before it is used up.
    pub agents: Vec<String>,
    /// Those that work on a task that has failed before, ahead of the others; none for no difference.
    pub on_retry: Vec<String>,
    /// Wall-clock limit of an attempt. 60 min.
    pub timeout: Duration,
    /// Longest silence of an agent. 10 min; zero turns it off.
    pub silence: Duration,
    /// Bytes per output file. 64 MiB.
    pub output: u64,
    /// Bytes of memory of an agent and all that it started. No limit.
    pub memory: Option<u64>,
    /// Gates to run after the agent said done, by name, in order.
    pub gates: Vec<String>,
    /// Files that must be there after the attempt, below the workspace (R20).
    pub files: Vec<String>,
    /// Without a `result.json` an attempt is `no_evidence`.
    pub require_result: bool,
    /// The attempt must have changed files, or say `no_change` (R20).
    pub change: bool,
    /// Every acceptance criterion of the task must be answered in `result.json`, with evidence (R20).
    pub criteria: bool,
    /// Whether what it changes in a worktree becomes commits.
    pub commits: Commits,
}

/// Whether what a role changes in a worktree becomes commits of the task's branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commits {
    /// Where the role builds or mends; else it is put aside.
    #[default]
    Auto,
    /// It does.
    Always,
    /// It is saved, and taken out of the worktree again.
    Never,
}

/// `[agents.NAME]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentConfig {
    /// Which implementation.
    pub kind: AgentKind,
    /// Program and arguments; `{prompt_file}`, `{task_id}`, `{role}`, `{run_dir}`, `{result_file}`,
    /// `{workspace}`, `{project}`, `{attempt}` stand for whole or partial arguments.
    pub argv: Vec<String>,
    /// How the prompt reaches it.
    pub prompt: PromptVia,
    /// Names of variables that it inherits, besides the few that every program needs.
    pub env: Vec<String>,
    /// Variables that it is given.
    pub set: BTreeMap<String, String>,
    /// Exit codes with a meaning of their own.
    pub exits: BTreeMap<i32, Class>,
    /// How to install it, for the message when it is missing.
    pub install: Option<String>,
    /// The adapter, where the kind is one.
    pub adapter: Option<String>,
    /// The model to ask for.
    pub model: Option<String>,
    /// What it may do unasked, in the words of its adapter.
    pub permissions: Option<String>,
    /// The account that it uses.
    pub account: Option<String>,
    /// Further arguments for an adapter's program.
    pub args: Vec<String>,
    /// What the configuration says about adapters, by name; the form is the adapters' matter.
    pub adapters: BTreeMap<String, toml::Table>,
}

/// Which implementation an agent is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentKind {
    /// Any program.
    #[default]
    Command,
    /// A program that an adapter describes.
    Adapter,
    /// The simulated agent that ships with us; only where it is named (R21).
    Sim,
}

/// How a prompt reaches a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PromptVia {
    /// On standard input.
    #[default]
    Stdin,
    /// By the path in an argument.
    File,
}

/// `[gates.NAME]`: a command whose exit code decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateConfig {
    /// Whether it is tried on the commit that the work began with before it is held against anybody (R34).
    pub baseline: bool,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Wall-clock limit. 10 min.
    pub timeout: Duration,
    /// Names of variables that it inherits, besides the few that every program needs.
    pub env: Vec<String>,
}

/// What flags of the command line set, over everything else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    set: Vec<(String, Value, String)>,
}

impl Overrides {
    /// Sets a key, e.g. `fleet.interval`, by a flag, e.g. `--interval`; text is read as in the environment.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str, flag: &str) -> Self {
        self.set.push((key.into(), Value::String(value.into()), flag.into()));
        self
    }
}

/// What [`Config::load`] answers.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every value that is in force, by key, with its origin; secrets are masked.
    pub settings: Vec<Setting>,
    /// What the user should know: unknown keys, and commands that are not trusted.
    pub warnings: Vec<String>,
    /// How the project's configuration stands.
    pub trust: Trust,
    /// The agents and gates of the project's files, trusted or not.
    pub commands: Vec<NamedCommand>,
    /// What the project's files set beside commands and prompts that counts only once they are trusted.
    pub chosen: Vec<Setting>,
    /// The content that trust is about.
    pub fingerprint: trust::Fingerprint,
    /// The agents that were dropped because the project is not trusted.
    untrusted_agents: Vec<String>,
    /// The gates that were dropped because the project is not trusted.
    untrusted_gates: Vec<String>,
    root: std::path::PathBuf,
}

/// A value in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The key, with dots.
    pub key: String,
    /// The value; secrets are masked.
    pub value: Value,
    /// Where it was written.
    pub origin: Origin,
}

/// A command that a project's configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCommand {
    /// `agent`, `adapter` or `gate`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// Program and arguments; empty where the file leaves them to another layer.
    pub argv: Vec<String>,
    /// Variables that it inherits.
    pub env: Vec<String>,
    /// Variables that it is given; values masked.
    pub set: BTreeMap<String, String>,
    /// Everything else that is said of it, as TOML.
    pub more: BTreeMap<String, String>,
}

/// The published schema of a configuration, draft-07.
pub const SCHEMA: &str = include_str!("../../../schema/config.schema.json");

impl Config {
    /// The built-in configuration with a comment for every key; also a template.
    pub fn commented_default() -> &'static str {
        include_str!("default.toml")
    }

    /// Reads all layers in the environment of this process.
    pub fn load(layout: &Layout, overrides: &Overrides) -> Result<Loaded, ConfigError> {
        Self::load_in(&World::of_process(), layout, overrides)
    }

    /// Reads all layers in this environment.
    pub fn load_in(world: &World, layout: &Layout, overrides: &Overrides) -> Result<Loaded, ConfigError> {
        load::load(world, layout, overrides)
    }

    /// The name of the agent that works for a role, whether or not it is defined.
    pub fn agent_name(&self, role: &Role) -> Option<&str> {
        self.roles.get(role).and_then(|role| role.agent.as_deref())
    }

    /// The roles by name, in the order of the table.
    pub fn role_names(&self) -> Vec<String> {
        self.workflow.rules().iter().map(|rule| rule.role.to_string()).collect()
    }
}

impl Loaded {
    /// The role of this name, which somebody asked for.
    pub fn role(&self, name: &str) -> Result<Role, ConfigError> {
        let role = Role::new(name);
        match self.config.workflow.rule(&role) {
            Some(rule) => Ok(rule.role.clone()),
            None => Err(ConfigError::NoRole { role: name.into(), known: self.config.role_names() }),
        }
    }

    /// The agent that works for a role; without one, or without trust, nothing may be claimed (R21).
    pub fn agent(&self, role: &Role) -> Result<(&str, &AgentConfig), ConfigError> {
        let chosen = ["fleet.agent".to_owned(), format!("roles.{role}.agent"), format!("roles.{role}.agents")];
        let is_chosen = || self.chosen.iter().any(|setting| chosen.contains(&setting.key));
        let name = match self.config.agent_name(role) {
            Some(name) => name,
            None if matches!(self.trust, Trust::Untrusted { .. }) && is_chosen() => {
                return Err(self.untrusted(format!("the agent that the configuration names for `{role}`")));
            }
            None => return Err(ConfigError::NoAgent { role: role.clone() }),
        };
        match self.config.agents.get_key_value(name) {
            Some((name, agent)) => Ok((name, agent)),
            None => Err(self.untrusted(format!("the agent `{name}`"))),
        }
    }

    /// All agents that work for a role, the preferred one first, those for what has failed last; never empty.
    pub fn agents(&self, role: &Role) -> Result<Vec<(&str, &AgentConfig)>, ConfigError> {
        let first = self.agent(role)?;
        let config = self.config.roles.get(role);
        let chain = config.into_iter().flat_map(|config| config.agents.iter().chain(&config.on_retry));
        let mut found = vec![first];
        for name in chain {
            if found.iter().any(|(other, _)| other == name) {
                continue;
            }
            match self.config.agents.get_key_value(name) {
                Some((name, agent)) => found.push((name, agent)),
                None => return Err(self.untrusted(format!("the agent `{name}`"))),
            }
        }
        Ok(found)
    }

    /// The gates of a role and of the further names that a task demands, in order. A gate that is
    /// not trusted is an error: what it guards must not pass without it.
    pub fn gates<'a>(&'a self, role: &Role, further: &[String]) -> Result<Vec<(&'a str, &'a GateConfig)>, ConfigError> {
        let own = self.config.roles.get(role).map(|role| role.gates.as_slice()).unwrap_or_default();
        let mut found: Vec<(&str, &GateConfig)> = Vec::new();
        for name in own.iter().chain(further) {
            match self.config.gates.get_key_value(name) {
                Some((name, _)) if found.iter().any(|(other, _)| other == name) => {}
                Some((name, gate)) => found.push((name, gate)),
                None if self.untrusted_gates.contains(name) => {
                    return Err(self.untrusted(format!("the gate `{name}`")));
                }
                None => return Err(ConfigError::NoGate { gate: name.clone() }),
            }
        }
        Ok(found)
    }

    /// Whether this agent was dropped because the project is not trusted.
    pub fn agent_is_untrusted(&self, name: &str) -> bool {
        self.untrusted_agents.iter().any(|other| other == name)
    }

    fn untrusted(&self, what: String) -> ConfigError {
        let changed = self.trust == Trust::Untrusted { changed: true };
        ConfigError::Untrusted { what, project: self.root.clone(), changed }
    }
}
