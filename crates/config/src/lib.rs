//! The configuration: layers of TOML, environment and flags, in which every value knows where it was written.
//!
//! **Answers for**: which keys there are (`keys.rs`), what they hold, who wins, what a project's files may do before
//! the user trusts them, how secrets are named, and what people read of all this (template, JSON schema, reference).
//! **Does not know** who uses a value, and nothing of tasks beyond the words of the workflow.
//!
//! ```text
//!   keys.rs: one declaration per key
//!      │ section!  ──►  fields of Fleet, RoleConfig, …      describe: template, schema
//!      ▼
//!   built in < presets/NAME.toml < ~/.config/oodatcaa/config.toml < .oodatcaa/config.toml < config.local.toml < OODATCAA_* < flags
//!      │ layers: text to values by path, with file:line:column
//!      ▼
//!   load: old names, unknown keys, checks (lookup, kind, form) ── trust: are the project's files believed?
//!      │                                                            no: tighten lets through what tightens
//!      ▼
//!   build: fields, references between agents, gates and roles  ──►  Loaded { config, settings, warnings, trust }
//! ```
//!
//! Start reading in `keys.rs`, then [`Config::load_in`]. How to add a key: CONTRIBUTING.md.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

use std::{collections::BTreeMap, sync::LazyLock};

use toml::Value;

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Role, Workflow, outcome::Retry};

mod build;
mod confine;
mod declare;
mod describe;
mod fault;
mod flat;
mod form;
mod keys;
mod kind;
mod layers;
mod load;
mod lookup;
mod presets;
mod rules;
pub mod sandbox;
pub mod secrets;
#[cfg(test)]
mod tests;
mod tighten;
pub mod trust;
mod values;
mod world;

pub use confine::{Confine, Confined, Confinee};
pub use describe::schema;
pub use fault::{ConfigError, Fault, Origin};
pub use keys::{
    AgentConfig, AgentKind, Caches, Commits, Fetch, Fleet, GateConfig, HomeView, MergeConfig, MergePolicy, OnBase,
    Preset, PromptVia, RoleConfig, Sandbox, SandboxMode, WorkspaceConfig, WorkspaceMode,
};
pub use trust::Trust;
pub use world::World;

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The settings of every worker.
    pub fleet: Fleet,
    /// The table of roles: those of the preset, changed and extended by `[roles.*]`.
    pub workflow: Workflow,
    /// The settings of each role of the table.
    pub roles: BTreeMap<Role, RoleConfig>,
    /// The agents by name.
    pub agents: BTreeMap<String, AgentConfig>,
    /// The parts of adapters that the configuration sets, by name.
    pub adapters: BTreeMap<String, toml::Table>,
    /// The gates by name.
    pub gates: BTreeMap<String, GateConfig>,
    /// The settings of retries.
    pub retry: Retry,
    /// The workspaces of attempts.
    pub workspace: WorkspaceConfig,
    /// The merging of branches.
    pub merge: MergeConfig,
    /// The trust in the project's files, which decides what of them is in the rest.
    pub trust: Trust,
    sandboxes: sandbox::Sandboxes,
}

/// The values that flags of the command line set, over everything else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides(flat::Flat);

impl Overrides {
    /// Sets a key, e.g. `fleet.interval`, by a flag, e.g. `--interval`; text is read as in the environment.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str, flag: &str) -> Self {
        let path = key.split('.').map(Into::into).collect();
        self.0.insert(path, (Value::String(value.into()), Origin::Flag(flag.into())));
        self
    }
}

/// A configuration with all that was found on the way to it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every value that is in force, by key, with its origin; secrets are masked.
    pub settings: Vec<Setting>,
    /// Things that the user should know, such as commands that are not trusted.
    pub warnings: Vec<String>,
    /// Things that may stay as they are: keys that have a new name.
    pub hints: Vec<String>,
    /// The trust in the project's files.
    pub trust: Trust,
    /// The agents and gates of the project's files, trusted or not.
    pub commands: Vec<NamedCommand>,
    /// The values beside commands and prompts that the project's files set and that count only once these are trusted.
    pub chosen: Vec<Setting>,
    /// The content that trust is about.
    pub fingerprint: trust::Fingerprint,
    root: std::path::PathBuf,
}

/// A value in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The key, with dots.
    pub key: String,
    /// The value; secrets are masked.
    pub value: Value,
    /// The place where it was written.
    pub origin: Origin,
}

/// A command that a project's configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

impl Config {
    /// Returns the built-in configuration with a comment for every key; also a template.
    pub fn commented_default() -> &'static str {
        static TEXT: LazyLock<String> = LazyLock::new(describe::template);
        &TEXT
    }

    /// Reads all layers in the environment of this process.
    pub fn load(layout: &Layout, overrides: &Overrides) -> Result<Loaded, ConfigError> {
        Self::load_in(&World::of_process(), layout, overrides)
    }

    /// Reads all layers as if the project's file held this text, and the user trusted the project.
    pub fn would_load(world: &World, layout: &Layout, text: &str) -> Result<Loaded, ConfigError> {
        load::load(&world.with(trust::TRUST_ALL, "1"), layout, &Overrides::default(), Some(text))
    }

    /// Reads all layers in this environment.
    pub fn load_in(world: &World, layout: &Layout, overrides: &Overrides) -> Result<Loaded, ConfigError> {
        load::load(world, layout, overrides, None)
    }

    /// Returns the name of the agent that works for a role, whether or not it is defined.
    pub fn agent_name(&self, role: &Role) -> Option<&str> {
        self.roles.get(role).and_then(|role| role.agent.as_deref())
    }

    /// Tells whether a role works without an agent.
    pub fn works_alone(&self, role: &Role) -> bool {
        self.workflow.rule(role).is_some_and(|rule| rule.duty.agentless)
    }

    /// Returns the roles by name, in the order of the table.
    pub fn role_names(&self) -> Vec<String> {
        self.workflow.rules().iter().map(|rule| rule.role.to_string()).collect()
    }
}

impl Loaded {
    /// Returns the role of this name.
    pub fn role(&self, name: &str) -> Result<Role, ConfigError> {
        let role = Role::new(name);
        match self.config.workflow.rule(&role) {
            Some(_) => Ok(role),
            None => Err(ConfigError::NoRole { role: name.into(), known: self.config.role_names() }),
        }
    }

    /// Returns the agent that works for a role; without one, or without trust, nothing may be claimed.
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
        self.named(name)
    }

    fn named(&self, name: &str) -> Result<(&str, &AgentConfig), ConfigError> {
        let found = self.config.agents.get_key_value(name).map(|(name, agent)| (name.as_str(), agent));
        found.ok_or_else(|| self.untrusted(format!("the agent `{name}`")))
    }

    /// Returns all agents that work for a role, the preferred one first, those for what has failed last; none only of a
    /// role that works without.
    pub fn agents(&self, role: &Role) -> Result<Vec<(&str, &AgentConfig)>, ConfigError> {
        if self.config.works_alone(role) {
            return Ok(Vec::new());
        }
        let mut found = vec![self.agent(role)?];
        let config = self.config.roles.get(role);
        for name in config.into_iter().flat_map(|config| config.agents.iter().chain(&config.on_retry)) {
            if !found.iter().any(|(other, _)| other == name) {
                found.push(self.named(name)?);
            }
        }
        Ok(found)
    }

    /// Returns the gates of a role and of the further names that a task demands, in order. A gate that is
    /// not trusted is an error: what it guards must not pass without it.
    pub fn gates<'a>(&'a self, role: &Role, further: &[String]) -> Result<Vec<(&'a str, &'a GateConfig)>, ConfigError> {
        let own = self.config.roles.get(role).map(|role| role.gates.as_slice()).unwrap_or_default();
        let mut found: Vec<(&str, &GateConfig)> = Vec::new();
        for name in own.iter().chain(further) {
            match self.config.gates.get_key_value(name) {
                Some((name, _)) if found.iter().any(|(other, _)| other == name) => {}
                Some((name, gate)) => found.push((name, gate)),
                None if self.is_untrusted("gate", name) => return Err(self.untrusted(format!("the gate `{name}`"))),
                None => return Err(ConfigError::NoGate { gate: name.clone() }),
            }
        }
        Ok(found)
    }

    /// Tells whether this `agent` or `gate` was dropped because the project is not trusted.
    pub fn is_untrusted(&self, what: &str, name: &str) -> bool {
        let dropped = matches!(self.trust, Trust::Untrusted { .. });
        dropped && self.commands.iter().any(|command| command.what == what && command.name == name)
    }

    fn untrusted(&self, what: String) -> ConfigError {
        let changed = self.trust == Trust::Untrusted { changed: true };
        ConfigError::Untrusted { what, project: self.root.clone(), changed }
    }
}
