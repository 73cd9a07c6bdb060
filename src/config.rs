//! What a person may set: layers of TOML, environment and flags, each value with its origin.
//!
//! Built-in defaults < `$XDG_CONFIG_HOME/oodatcaa/config.toml` < `.oodatcaa/config.toml` <
//! `.oodatcaa/config.local.toml` < `OODATCAA_*` environment < flags.

use std::{collections::BTreeMap, time::Duration};

use crate::domain::{Class, Role, Workflow, outcome::Retry};

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
    /// The gates by name.
    pub gates: BTreeMap<String, GateConfig>,
    /// When to try again (R22).
    pub retry: Retry,
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
    /// Wall-clock limit of an attempt. 60 min.
    pub timeout: Duration,
    /// Longest silence of an agent. 10 min; zero turns it off.
    pub silence: Duration,
    /// Bytes per output file. 64 MiB.
    pub output: u64,
    /// Gates to run after the agent said done, by name, in order.
    pub gates: Vec<String>,
    /// Files that must be there after the attempt, below the workspace (R20).
    pub files: Vec<String>,
    /// Without a `result.json` an attempt is `no_evidence`.
    pub require_result: bool,
}

/// `[agents.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// Which implementation an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentKind {
    /// Any program.
    Command,
    /// The simulated agent that ships with us; only where it is named (R21).
    Sim,
}

/// How a prompt reaches a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptVia {
    /// On standard input.
    Stdin,
    /// By the path in an argument.
    File,
}

/// `[gates.NAME]`: a command whose exit code decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateConfig {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Wall-clock limit. 10 min.
    pub timeout: Duration,
    /// Names of variables that it inherits, besides the few that every program needs.
    pub env: Vec<String>,
}
