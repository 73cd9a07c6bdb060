//! What a decision is about, as a fingerprint: an approval holds for the content that was seen.

use sha2::{Digest as _, Sha256};

use super::Topic;
use crate::domain::{Snapshot, Task, Workflow};

/// The fingerprint of a task for a topic.
pub(super) fn of(snapshot: &Snapshot, workflow: &Workflow, task: &Task, topic: Topic) -> String {
    let mut all = Print::default();
    all.add(&task.title);
    all.add(task.description.as_deref().unwrap_or_default());
    all.list(&task.acceptance_criteria);
    all.list(&task.exit_gates);
    all.list(&task.gates);
    if topic == Topic::Merge {
        all.add(task.branch.as_deref().unwrap_or_default());
        let merging = workflow.merging().map(|rule| &rule.role);
        let work = snapshot.history.task(&task.id).into_iter().flat_map(|known| &known.work);
        // Tries to merge do not change what is merged.
        let last = work.filter(|(role, _)| Some(*role) != merging).map(|(_, work)| work).max_by_key(|work| work.token);
        if let Some(work) = last {
            all.add(&work.token.to_string());
            all.add(work.commit.as_deref().unwrap_or_default());
        }
    }
    all.end()
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

/// The answers that a question offers: its lines `1) …`, `2) …`, numbered from 1 without a gap.
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
