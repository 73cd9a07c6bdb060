//! What does the work of an attempt: what to execute, and what its exit means.
//!
//! Knows agents' programs: how each is called ([`descriptor`], `argv`), what its output tells while it runs
//! ([`stream`], [`Watcher`]), what it left ([`result`]), and which `failure` its end was. Does not start, limit or end
//! a process, and does not know what an outcome does to a task.
//!
//! ```text
//!   Assignment ──> Agent::invocation ──> (process runs it) ──> Watcher: output as it comes ──> Agent::outcome ──> Outcome
//!        └─ prompt, environment, home                              └─ session, tokens, a reason to end it
//! ```
//!
//! Start reading at [`Agent`], then `cli`: the kind that most programs are. A new program is a file in `adapters/`.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

use std::path::PathBuf;

use oodatcaa_core::{Lease, RoleRule, Task};

pub mod acp;
mod agent;
mod argv;
mod cli;
mod command;
#[expect(clippy::disallowed_methods, reason = "it works in a room of its own")]
pub mod conform;
pub mod descriptor;
pub mod environment;
pub mod example;
mod failure;
#[expect(
    clippy::disallowed_methods,
    reason = "it goes down from a directory of the user's state and looks at every step"
)]
mod home;
mod observation;
pub mod output;
pub mod probe;
pub mod prompt;
mod prompt_data;
pub mod record;
pub mod result;
pub mod sandbox;
mod sim;
pub mod stream;
mod watcher;

pub use agent::{Agent, BadAgent, nobody, open};
pub use environment::{environment, find_program};
pub use observation::{Observation, Stream};
pub use watcher::{Loop, Watcher};

/// The agent's directory below that of its attempt.
pub const OUT_DIR: &str = "agent";

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
    /// The agent's working directory; the project's root where there are no worktrees.
    pub workspace: PathBuf,
    /// The agent's own git repository, where it has one in the place of the project's.
    pub own_git: Option<PathBuf>,
    /// The attempt's directory.
    pub run_dir: PathBuf,
    /// The program's own session that this attempt goes on with.
    pub resume: Option<String>,
    /// The slot's directory for the program's own state; the user's own place when absent.
    pub home: Option<PathBuf>,
    /// The program is confined, so that most of the machine is read-only to it.
    pub confined: bool,
    /// Our sandbox is around the program, so that a sandbox of its own would break: `false` with `nested`, where it
    /// brings one.
    pub sandboxed: bool,
}

impl Assignment {
    /// Returns where the rendered prompt stands.
    pub fn prompt_file(&self) -> PathBuf {
        self.run_dir.join("prompt.md")
    }

    /// Returns the git directory that the agent commits to.
    pub fn git_dir(&self) -> PathBuf {
        self.own_git.clone().unwrap_or_else(|| self.project.join(".git"))
    }

    /// Returns the one directory below the attempt's own that is the agent's: it may write there, and what stands there
    /// is its word.
    pub fn out_dir(&self) -> PathBuf {
        self.run_dir.join(OUT_DIR)
    }

    /// Returns where the agent may write its result. In a directory, as programs write files by renaming another.
    pub fn result_file(&self) -> PathBuf {
        self.out_dir().join(result::FILE)
    }

    /// Returns where its result is kept for others once it has ended.
    pub fn answer_file(&self) -> PathBuf {
        self.run_dir.join(result::FILE)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use oodatcaa_config::{AgentConfig, AgentKind};
    use oodatcaa_core::{Role, Status, TaskId, Token, Workflow};

    pub(crate) fn assignment(root: &Path) -> Assignment {
        let run_dir = root.join("run");
        std::fs::create_dir_all(run_dir.join(OUT_DIR)).expect("a directory");
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
        let check = |config: &AgentConfig| open("mine", config).problem().map(ToString::to_string);
        let mut file = config(&["tool", "--print"]);
        assert_eq!(check(&file), None);
        file.prompt = oodatcaa_config::PromptVia::File;
        let words = "use agent `mine`: `prompt = \"file\"` needs `{prompt_file}` in its argv, or the program never sees its prompt";
        assert_eq!(check(&file).as_deref(), Some(words));
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
        let error = open("mine", &config).problem().expect("a bad variable").to_string();
        assert!(error.contains("`OODATCAA_TRUST_PROJECT` belongs to us"), "{error}");
    }

    #[test]
    fn an_agent_is_simulated_only_where_its_kind_says_so() {
        let mut config = config(&["agent-sim"]);
        assert!(!open("sim", &config).simulated(), "the name alone makes nothing simulated");
        config.kind = AgentKind::Sim;
        assert!(open("anything", &config).simulated());
    }
}
