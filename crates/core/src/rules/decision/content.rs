//! What a decision is about, as a fingerprint: an approval holds for the content that was seen.

use sha2::{Digest as _, Sha256};

use crate::{
    Snapshot, Task, Workflow,
    state::{TaskHistory, Work, decisions::Topic},
};

/// Returns the fingerprint of a task for a topic.
pub(super) fn of(snapshot: &Snapshot, workflow: &Workflow, task: &Task, topic: Topic) -> String {
    let mut all = Print::default();
    all.add(&task.title);
    all.add(task.description.as_deref().unwrap_or_default());
    all.list(&task.acceptance_criteria);
    all.list(&task.exit_gates);
    all.list(&task.gates);
    if topic == Topic::Merge {
        all.add(task.branch.as_deref().unwrap_or_default());
        if let Some(work) = last_work(snapshot, workflow, task) {
            all.add(&work.token.to_string());
        }
        all.add(&commit(snapshot, workflow, task).unwrap_or_default());
    }
    all.end()
}

/// Returns the last work on a task. Tries to merge do not change what is merged.
fn last_work<'a>(snapshot: &'a Snapshot, workflow: &Workflow, task: &Task) -> Option<&'a Work> {
    works(snapshot.history.task(&task.id)?, workflow).max_by_key(|work| work.token)
}

fn works<'a>(known: &'a TaskHistory, workflow: &Workflow) -> impl Iterator<Item = &'a Work> {
    let merging = workflow.merging().map(|rule| rule.role.clone());
    known.work.iter().filter(move |(role, _)| Some(*role) != merging.as_ref()).map(|(_, work)| work)
}

/// Returns the commit at which a task's branch stands, as far as it is known: where it was seen since the last work, or
/// where that work ended.
pub(super) fn commit(snapshot: &Snapshot, workflow: &Workflow, task: &Task) -> Option<String> {
    let known = snapshot.history.task(&task.id)?;
    let last = last_work(snapshot, workflow, task);
    match known.tip.as_ref().filter(|(token, _)| last.is_none_or(|work| work.token <= *token)) {
        Some((_, commit)) => Some(commit.clone()),
        // Not every role leaves one: a tester's work ends where the builder's did.
        None => {
            works(known, workflow).filter(|work| work.commit.is_some()).max_by_key(|work| work.token)?.commit.clone()
        }
    }
}

#[derive(Default)]
struct Print(Sha256);

impl Print {
    fn add(&mut self, text: &str) {
        // With its length, so that no text can stand for two.
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
    }

    fn list(&mut self, texts: &[String]) {
        self.add(&texts.len().to_string());
        texts.iter().for_each(|text| self.add(text));
    }

    fn end(self) -> String {
        self.0.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Returns the answers that a question offers: its lines `1) …`, `2) …`, numbered from 1 without a gap.
pub fn options(question: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in question.lines() {
        let next = format!("{}) ", found.len() + 1);
        if let Some(option) = line.trim_start().strip_prefix(&next) {
            found.push(option.trim().to_owned());
        }
    }
    found
}
