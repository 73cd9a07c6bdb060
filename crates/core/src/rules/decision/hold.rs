//! What a human has to decide before a role may take a task.

use super::content;
use crate::{
    Role, Snapshot, Task, Workflow,
    state::decisions::{Decision, End, Topic},
};

/// Why a task may not be claimed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What is missing.
    pub topic: Topic,
    /// The decision; none while it has not been asked for.
    pub decision: Option<String>,
}

/// Returns what a human has to decide before this role may take the task.
pub fn hold(snapshot: &Snapshot, workflow: &Workflow, role: &Role, task: &Task) -> Option<Hold> {
    let merging = workflow.merging().is_some_and(|rule| rule.role == *role);
    let needed = [(Topic::Intake, !task.trusted), (Topic::Merge, merging && workflow.policy().merge_approval)];
    needed.into_iter().filter(|(_, needed)| *needed).find_map(|(topic, _)| {
        let decision = snapshot.history.decisions.latest(task.id.as_str(), topic);
        let same = |decision: &&Decision| decision.content == content::of(snapshot, workflow, task, topic);
        match decision {
            Some(decision) if decision.ended(End::Approved) && same(&decision) => None,
            decision => Some(Hold {
                topic,
                decision: decision.filter(|decision| decision.is_open()).map(|decision| decision.id.clone()),
            }),
        }
    })
}

/// What a merge of a task may take.
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
    let decision = snapshot.history.decisions.latest(task.id.as_str(), Topic::Merge);
    let same = |decision: &&Decision| decision.content == content::of(snapshot, workflow, task, Topic::Merge);
    let approved = decision.filter(|decision| decision.ended(End::Approved)).filter(same);
    match approved.and_then(|decision| decision.commit.clone()) {
        Some(commit) => Approved::Commit(commit),
        None => Approved::Nothing,
    }
}

/// Returns the open decision that holds a task, if one does.
pub fn open_for<'a>(snapshot: &'a Snapshot, task: &Task) -> Option<&'a Decision> {
    let latest = |topic| snapshot.history.decisions.latest(task.id.as_str(), topic);
    Topic::ALL.iter().copied().filter_map(latest).find(|decision| decision.is_open())
}
