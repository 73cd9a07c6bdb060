//! A task: how it stands, and why it stands there.

use super::{LeaseView, Moment};
use crate::TaskState;
use oodatcaa_core::{Role, Status, TaskId, Token};

views! {
    /// A task in a list.
    pub struct TaskView = "oodatcaa/task.v1" {
        /// Its id.
        pub id: TaskId,
        /// One line.
        pub title: String,
        /// The word in the queue file.
        pub status: Status,
        /// How it stands, in one of eight words.
        pub state: TaskState,
        /// The role that has to do with it now.
        pub role: Option<Role>,
        /// Its type.
        #[serde(rename = "type")]
        pub kind: Option<String>,
        /// Small numbers first.
        pub priority: i64,
        /// Who works on it, as the queue file says.
        pub agent: Option<String>,
        /// Its lease.
        pub lease: Option<LeaseView>,
        /// For how long it has been worked on.
        pub running_seconds: Option<u64>,
        /// Tries that were charged in this stage.
        pub attempts: u32,
        /// How often an agent was started on it.
        pub starts: u32,
        /// It is not tried before this.
        pub not_before: Option<Moment>,
        /// The reason why it is blocked.
        pub blocked_reason: Option<String>,
        /// The tasks that must be done before.
        pub dependencies: Vec<String>,
        /// The task that it is a part of.
        pub parent: Option<String>,
        /// True if it stands inside another entry of the queue file.
        pub nested: bool,
        /// The branch of its work.
        pub branch: Option<String>,
        /// Gates beside its role's.
        pub gates: Vec<String>,
        /// The only role that may take it.
        pub only_role: Option<String>,
        /// The time when it was changed last.
        pub updated_at: Option<Moment>,
        /// True if the simulated agent works on it.
        pub simulated: bool,
        /// The reason why it does not move, in one sentence.
        pub why: String,
        /// True if nothing but a person's act moves it on.
        pub needs_you: bool,
        /// What to run, or `nothing to do`.
        pub next: String,
    }

    /// Everything that is known of a task.
    pub struct TaskDetail {
        /// What a list shows.
        #[serde(flatten)]
        pub task: TaskView,
        /// What is to be done, in Markdown.
        pub description: Option<String>,
        /// What must be true afterwards.
        pub acceptance_criteria: Vec<String>,
        /// What must be true before it leaves its stage.
        pub exit_gates: Vec<String>,
        /// How hard it is.
        pub complexity: Option<String>,
        /// The commit that brought it to its target.
        pub merged_commit: Option<String>,
        /// The tasks that are parts of it.
        pub children: Vec<TaskId>,
        /// The tasks that wait for it.
        pub dependents: Vec<TaskId>,
        /// The greatest token that was given out for it.
        pub token: Option<Token>,
        /// Its failures, oldest first.
        pub failures: Vec<FailureView>,
    }

    /// A failure of a task.
    pub struct FailureView {
        /// The role that failed.
        pub role: Role,
        /// Why.
        pub reason: String,
    }

    /// The reason why a task stands where it stands.
    pub struct WhyView = "oodatcaa/why.v1" {
        /// The task.
        pub id: TaskId,
        /// The word in the queue file.
        pub status: Status,
        /// How it stands.
        pub state: TaskState,
        /// The answer, in one sentence.
        pub sentence: String,
        /// The rule that holds it.
        pub rule: String,
        /// What was looked at.
        pub facts: Vec<FactView>,
        /// What to run, or `nothing to do`.
        pub next: String,
        /// The time when this was so.
        pub at: Moment,
    }

    /// One thing that was looked at.
    pub struct FactView {
        /// True if it speaks for the task; `null` when it only tells.
        pub ok: Option<bool>,
        /// What was found.
        pub text: String,
    }
}

impl TaskView {
    /// Returns the number of the try that runs, or of the one that would come next.
    pub fn try_number(&self) -> u32 {
        let running = self.lease.as_ref().and_then(|lease| lease.attempt);
        running.unwrap_or(self.attempts.saturating_add(1))
    }
}
