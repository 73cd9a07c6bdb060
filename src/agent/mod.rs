//! What does the work of an attempt: what to execute, and what its exit means.

use std::path::PathBuf;

use crate::{
    domain::{Lease, Outcome, RoleRule, Task},
    process::{Exit, Invocation},
};

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
}

impl Assignment {
    /// Where the rendered prompt stands.
    pub fn prompt_file(&self) -> PathBuf {
        self.run_dir.join("prompt.md")
    }

    /// Where the agent may write its result (R19).
    pub fn result_file(&self) -> PathBuf {
        self.run_dir.join("result.json")
    }
}

/// A program that does the work of one attempt.
pub trait Agent: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// `true` for the simulated agent: everything that it touched says so (R21).
    fn simulated(&self) -> bool;

    /// What to execute for this attempt. The prompt has been written to [`Assignment::prompt_file`].
    fn invocation(&self, assignment: &Assignment) -> Invocation;

    /// What its exit means, from exit status, output files and result file (R19). Gates and other
    /// evidence (R20) are asked for afterwards, by the worker.
    fn outcome(&self, assignment: &Assignment, exit: &Exit) -> Outcome;
}
