//! What does the work of an attempt: what to execute, and what its exit means.
//!
//! Knows agents' programs: how each is called ([`descriptor`], [`argv`]), what its output tells while it runs
//! ([`stream`], [`watcher`]), what it left ([`result`]), and which [`failure`] its end was. Does not start, limit or end
//! a process, and does not know what an outcome does to a task.
//!
//! ```text
//!   Assignment ──> Agent::invocation ──> (process runs it) ──> Watcher: output as it comes ──> Agent::outcome ──> Outcome
//!        └─ prompt, environment, home                              └─ session, tokens, a reason to end it
//! ```
//!
//! Start reading at [`Agent`], then [`cli`]: the kind that most programs are. A new program is a file in `adapters/`.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use oodatcaa_config::{AgentConfig, AgentKind};
use oodatcaa_core::{Lease, Outcome, RoleRule, Task};
use oodatcaa_process::{Exit, Invocation};

pub mod acp;
pub mod argv;
pub mod cli;
pub mod command;
#[expect(clippy::disallowed_methods, reason = "it works in a room of its own")]
pub mod conform;
pub mod descriptor;
pub mod environment;
pub mod example;
pub mod failure;
#[expect(
    clippy::disallowed_methods,
    reason = "it goes down from a directory of the user's state and looks at every step"
)]
pub mod home;
pub mod output;
pub mod probe;
pub mod prompt;
mod prompt_data;
pub mod record;
pub mod result;
pub mod sim;
pub mod stream;
pub mod watcher;

pub use cli::Watcher;
pub use environment::{environment, find_program};
pub use watcher::{Loop, Observation, Stream};

/// Everything an agent is told about its attempt.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The task as it was claimed.
    pub task: Task,
    /// The role's row.
    pub rule: RoleRule,
    /// The right to work on it.
    pub lease: Lease,
    /// The project's root.
    pub project: PathBuf,
    /// Where the agent works; the project's root in CORE.
    pub workspace: PathBuf,
    /// The attempt's directory.
    pub run_dir: PathBuf,
    /// The program's own session that this attempt goes on with.
    pub resume: Option<String>,
    /// The slot's directory for the program's own state; the user's own place when absent.
    pub home: Option<PathBuf>,
}

impl Assignment {
    /// Returns where the rendered prompt stands.
    pub fn prompt_file(&self) -> PathBuf {
        self.run_dir.join("prompt.md")
    }

    /// Returns where the agent may write its result.
    pub fn result_file(&self) -> PathBuf {
        self.run_dir.join("result.json")
    }
}

/// A program that does the work of one attempt.
pub trait Agent: Send + Sync {
    /// Returns its name in the configuration.
    fn name(&self) -> &str;

    /// Returns `true` for the simulated agent: everything that it touched says so.
    fn simulated(&self) -> bool;

    /// Returns what shares one allowance with others: adapter, account and model.
    fn pool(&self) -> String {
        self.name().into()
    }

    /// Returns what is wrong with its configuration. Each attempt would end as a `config` failure, and nothing is executed.
    fn problem(&self) -> Option<&BadAgent>;

    /// Returns its program, if that is not there: a worker looks for it before it claims anything.
    fn missing_program(&self, cwd: &Path) -> Option<String>;

    /// Returns how to install its program, where that is known.
    fn install(&self) -> Option<String>;

    /// Returns what reads the output while the agent works, where that output can be understood.
    fn watcher(&self, _assignment: &Assignment) -> Option<Watcher> {
        None
    }

    /// Returns the time between TERM and KILL, where the program needs another time than the fleet gives.
    fn grace(&self) -> Option<Duration> {
        None
    }

    /// Patterns of files that the program leaves in a workspace and that are no work.
    fn leaves(&self) -> &[String] {
        &[]
    }

    /// Returns `true` when it can go on with a session of its own: then [`Assignment::resume`] may name one.
    fn can_resume(&self) -> bool {
        false
    }

    /// Returns `true` when its own state can stand in the slot's directory: then [`Assignment::home`] may name one.
    fn wants_home(&self) -> bool {
        false
    }

    /// Makes the slot's directory ready for it, its sign-in included: before each run in one.
    fn prepare_home(&self, _home: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Returns the values that it is given and that must not be shown, the longest first.
    fn secrets(&self, _assignment: &Assignment) -> Vec<String> {
        Vec::new()
    }

    /// Returns what to execute for this attempt. The prompt has been written to [`Assignment::prompt_file`].
    fn invocation(&self, assignment: &Assignment) -> Invocation;

    /// Returns what its exit means, by exit status, output and result file. Gates and other evidence are asked for afterwards,
    /// by the worker. Without the watcher that has read the output, the output files are read.
    fn outcome(&self, assignment: &Assignment, exit: &Exit, watched: Option<&Watcher>) -> Outcome;
}

/// Why an agent cannot be used as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAgent {
    /// The argv template is wrong.
    #[error("use agent `{name}`: {what}")]
    Argv {
        /// The agent's name in the configuration.
        name: String,
        /// What is wrong with it.
        what: argv::BadArgv,
    },
    /// The prompt would not reach the program.
    #[error(
        "use agent `{0}`: `prompt = \"file\"` needs `{{prompt_file}}` in its argv, or the program never sees its prompt"
    )]
    PromptUnseen(String),
    /// Its adapter cannot be used.
    #[error("use agent `{name}`: cannot {what}")]
    Descriptor {
        /// The agent's name in the configuration.
        name: String,
        /// What is wrong with the adapter.
        what: descriptor::BadDescriptor,
    },
    /// A setting that its adapter does not know.
    #[error("use agent `{name}`: {what}")]
    Setting {
        /// The agent's name in the configuration.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A variable that only we may set.
    #[error(
        "use agent `{name}`: variable `{variable}` belongs to us; names that start with `OODATCAA_` cannot be set or inherited"
    )]
    OurVariable {
        /// The agent's name in the configuration.
        name: String,
        /// The variable.
        variable: String,
    },
}

/// Opens the agent of this name. A configuration that cannot be used opens as well: see [`Agent::problem`].
pub fn open(name: &str, config: &AgentConfig) -> Box<dyn Agent> {
    match config.kind {
        AgentKind::Command => Box::new(command::Command::new(name, config)),
        AgentKind::Sim => Box::new(sim::Sim::new(name, config)),
        AgentKind::Adapter => Box::new(cli::Cli::new(name, config)),
    }
}

/// Checks that nobody else sets our variables.
fn check_variables(name: &str, config: &AgentConfig) -> Result<(), BadAgent> {
    let names = config.env.iter().chain(config.set.keys());
    match names.into_iter().find(|variable| variable.starts_with(environment::OURS)) {
        Some(variable) => Err(BadAgent::OurVariable { name: name.into(), variable: variable.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use oodatcaa_core::{Role, Status, TaskId, Token, Workflow};

    pub(crate) fn assignment(root: &Path) -> Assignment {
        let run_dir = root.join("run");
        std::fs::create_dir_all(&run_dir).expect("a directory");
        let mut assignment =
            example::assignment(Workflow::shipped().rule(&Role::BUILDER).expect("ships"), root, &run_dir);
        assignment.task = Task::new(TaskId::parse("P001-B03").expect("a good id"), Status::READY);
        assignment.lease = Lease {
            task_id: assignment.task.id.clone(),
            owner: "agent-daemon-builder@host".into(),
            token: Token(17),
            attempt: 2,
            by: "mine".into(),
            ..assignment.lease
        };
        assignment
    }

    pub(crate) fn config(argv: &[&str]) -> AgentConfig {
        AgentConfig { argv: argv.iter().map(|&arg| arg.into()).collect(), ..AgentConfig::default() }
    }

    #[test]
    fn a_prompt_by_file_must_be_named_in_the_argv() {
        let check = |config: &AgentConfig| open("mine", config).problem().cloned();
        let mut file = config(&["tool", "--print"]);
        assert_eq!(check(&file), None);
        file.prompt = oodatcaa_config::PromptVia::File;
        assert_eq!(check(&file), Some(BadAgent::PromptUnseen("mine".into())));
        file.argv.push("--prompt={prompt_file}".into());
        assert_eq!(check(&file), None);
    }

    #[test]
    fn a_missing_program_is_found_out_before_there_is_a_task() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = |argv: &[&str]| open("mine", &config(argv)).missing_program(dir.path());
        assert_eq!(missing(&["sh", "{title}"]), None);
        assert_eq!(missing(&["no-such-agent"]), Some("no-such-agent".into()));
        let expected = dir.path().join("agent").display().to_string();
        assert_eq!(missing(&["{project}/agent"]), Some(expected));
        let mut elsewhere = config(&["sh"]);
        elsewhere.set.insert("PATH".into(), "/nonexistent".into());
        assert_eq!(open("mine", &elsewhere).missing_program(dir.path()), Some("sh".into()));
    }

    #[test]
    fn our_own_variables_are_nobody_elses() {
        let mut config = config(&["tool"]);
        config.env.push("OODATCAA_TRUST_PROJECT".into());
        assert!(matches!(open("mine", &config).problem(), Some(BadAgent::OurVariable { .. })));
    }

    #[test]
    fn an_agent_is_simulated_only_where_its_kind_says_so() {
        let mut config = config(&["agent-sim"]);
        assert!(!open("sim", &config).simulated(), "the name alone makes nothing simulated");
        config.kind = AgentKind::Sim;
        assert!(open("anything", &config).simulated());
    }
}
