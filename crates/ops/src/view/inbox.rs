//! What waits for a person, and what people have decided.

use super::Moment;
use oodatcaa_core::{Role, Snapshot, TaskId, needs::Need, state::decisions::Decision};

views! {
    /// A question to a person, open or answered.
    #[derive(Default)]
    pub struct Question {
        /// What to answer it by.
        pub id: String,
        /// What it is about: `merge`, `question`, `budget`, `task`, `paused`, …
        pub kind: String,
        /// The task.
        pub task: Option<TaskId>,
        /// The task's title.
        pub title: Option<String>,
        /// The role that asks.
        pub role: Option<Role>,
        /// What is asked.
        pub question: String,
        /// The answers that were offered.
        pub options: Vec<String>,
        /// The time when it was asked.
        pub asked_at: Option<Moment>,
        /// The time when it answers itself.
        pub deadline: Option<Moment>,
        /// What the answer is then.
        pub default: Option<String>,
        /// The commit that it is about.
        pub commit: Option<String>,
        /// Whose word does not count because nobody sealed it.
        pub unsigned_by: Option<String>,
        /// `open`, or how it ended.
        pub state: String,
        /// Who answered.
        pub by: Option<String>,
        /// What they said.
        pub words: Option<String>,
    }

    /// A person's word on a question, and what it changed.
    pub struct DecisionView = "oodatcaa/decision.v1" {
        /// The question.
        #[serde(flatten)]
        pub question: Question,
        /// The status of its task before.
        pub from: Option<String>,
        /// The status of its task now.
        pub to: Option<String>,
        /// True if nothing was written.
        pub dry_run: bool,
    }

    /// Something that waits for a person.
    pub struct NeedView = "oodatcaa/need.v1" {
        /// What is asked.
        #[serde(flatten)]
        pub question: Question,
        /// What to run.
        pub next: String,
        /// What deserves a look before a yes.
        pub look_at: Vec<String>,
        /// Of a merge: what was kept from the agents that worked on it, in words, or that nothing was.
        pub worked: Option<String>,
        /// The tasks that it holds.
        pub tasks: Vec<TaskId>,
    }
}

impl Question {
    fn of(snapshot: &Snapshot, decision: &Decision) -> Self {
        let task = decision.task.as_ref().and_then(|id| snapshot.queue.get(id));
        let closed = decision.closed.as_ref();
        Self {
            id: decision.id.clone(),
            kind: decision.topic.as_str().into(),
            task: decision.task.clone(),
            title: task.map(|task| task.title.clone()),
            role: decision.role.clone(),
            question: decision.question.clone(),
            options: decision.options.clone(),
            asked_at: Some(decision.asked_at.into()),
            deadline: decision.deadline.map(Moment),
            default: Some(decision.default.clone()),
            commit: decision.commit.clone(),
            unsigned_by: decision.unsigned.clone(),
            state: closed.map_or("open", |closed| closed.how.as_str()).into(),
            by: closed.map(|closed| closed.by.clone()),
            words: closed.map(|closed| closed.words.clone()),
        }
    }
}

impl DecisionView {
    /// Describes a decision and what it makes of its task.
    pub fn of(before: &Snapshot, after: &Snapshot, decision: &Decision, dry_run: bool) -> Self {
        let status = |snapshot: &Snapshot| {
            let task = decision.task.as_ref().and_then(|id| snapshot.queue.get(id));
            task.map(|task| task.status.to_string())
        };
        Self { question: Question::of(after, decision), from: status(before), to: status(after), dry_run }
    }
}

impl NeedView {
    /// Describes something that waits, with what deserves a look, and what the work on it was kept from.
    pub fn of(snapshot: &Snapshot, need: &Need<'_>, look_at: Vec<String>, worked: Option<String>) -> Self {
        let question = need.decision.map_or_else(
            || Question {
                id: need.id().clone(),
                kind: need.kind().into(),
                task: need.task().cloned(),
                title: need.task().and_then(|id| snapshot.queue.get(id)).map(|task| task.title.clone()),
                role: need.role().cloned(),
                question: need.words.clone(),
                asked_at: need.since.map(Moment),
                state: "open".into(),
                ..Question::default()
            },
            |decision| Question::of(snapshot, decision),
        );
        Self {
            question,
            next: need.next.clone(),
            look_at,
            worked,
            tasks: need.tasks.iter().map(|id| (*id).clone()).collect(),
        }
    }
}
