//! What a human has to decide before a role may take a task, and a fingerprint of what exactly that is: an approval
//! holds for the content that was seen.

use sha2::{Digest as _, Sha256};

use crate::{
    Role, Snapshot, Task, Workflow,
    state::{
        TaskHistory, Work,
        decisions::{Decision, End, Topic},
    },
    text,
};

/// The reason why a task may not be claimed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The decision that is missing.
    pub topic: Topic,
    /// The decision; none while it has not been asked for.
    pub decision: Option<String>,
}

/// Returns what a human has to decide before this role may take the task.
pub fn hold(snapshot: &Snapshot, workflow: &Workflow, role: &Role, task: &Task) -> Option<Hold> {
    let merging = workflow.merging().is_some_and(|rule| rule.role == *role);
    let needed = [(Topic::Intake, !task.trusted), (Topic::Merge, merging && workflow.policy().merge_approval)];
    needed.into_iter().filter(|(_, needed)| *needed).find_map(|(topic, _)| {
        if approved(snapshot, workflow, task, topic).is_some() {
            return None;
        }
        let asked = snapshot.history.decisions.latest(task.id.as_str(), topic);
        let decision = asked.filter(|decision| decision.is_open()).map(|decision| decision.id.clone());
        Some(Hold { topic, decision })
    })
}

/// Returns the yes of a human to what a task is now.
fn approved<'a>(snapshot: &'a Snapshot, workflow: &Workflow, task: &Task, topic: Topic) -> Option<&'a Decision> {
    let decision = snapshot.history.decisions.latest(task.id.as_str(), topic)?;
    let is_same = || decision.content == content(snapshot, workflow, task, topic);
    (decision.ended(End::Approved) && is_same()).then_some(decision)
}

/// The rights that a merge of a task has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approved {
    /// Whatever its branch holds: nobody has to approve it.
    Anything,
    /// Exactly this commit.
    Commit(String),
    /// Nothing: what was approved names no commit, or nothing was.
    Nothing,
}

/// Returns the commit of a task's branch that may be merged.
pub fn approved_commit(snapshot: &Snapshot, workflow: &Workflow, task: &Task) -> Approved {
    if !workflow.policy().merge_approval {
        return Approved::Anything;
    }
    let decision = approved(snapshot, workflow, task, Topic::Merge);
    decision.and_then(|decision| decision.commit.clone()).map_or(Approved::Nothing, Approved::Commit)
}

/// Returns the open decision that holds a task, if one does.
pub fn open_for<'a>(snapshot: &'a Snapshot, task: &Task) -> Option<&'a Decision> {
    let latest = |topic| snapshot.history.decisions.latest(task.id.as_str(), topic);
    Topic::ALL.iter().copied().filter_map(latest).find(|decision| decision.is_open())
}

/// Returns the fingerprint of a task for a topic.
pub(super) fn content(snapshot: &Snapshot, workflow: &Workflow, task: &Task, topic: Topic) -> String {
    let mut all = Sha256::new();
    // With its length, so that no text can stand for two.
    let mut add = |text: &str| {
        all.update((text.len() as u64).to_be_bytes());
        all.update(text);
    };
    add(&task.title);
    add(task.description.as_deref().unwrap_or_default());
    for list in [&task.acceptance_criteria, &task.exit_gates, &task.gates] {
        add(&list.len().to_string());
        list.iter().for_each(|text| add(text));
    }
    if topic == Topic::Merge {
        add(task.branch.as_deref().unwrap_or_default());
        if let Some(work) = last_work(snapshot, workflow, task) {
            add(&work.token.to_string());
        }
        add(&commit(snapshot, workflow, task).unwrap_or_default());
    }
    text::hex(&all.finalize()[..16])
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
