//! The integrator is code first: a task's branch goes into the target by the merge train, with the gates
//! run on the result; no model is asked.

use std::path::Path;

use super::{chain, evidence, run::Run};
use crate::{
    domain::{Class, Outcome, Status},
    workspace::{
        Author, Workspace,
        train::{self, GateFailure, Line, Order, Policy, TrainError},
    },
};

/// What a merge brought, for the queue.
pub(super) struct Brought {
    pub(super) commit: String,
    pub(super) tag: Option<String>,
}

/// Whether this role's work on a task that has a branch of its own is merging it.
pub(super) fn is_merging(run: &Run) -> bool {
    run.assignment.rule.takes == Status::READY_FOR_INTEGRATOR && run.assignment.rule.done.is_done()
}

/// Merges the branch of the workspace.
pub(super) fn merge(run: &mut Run, workspace: &Workspace) -> Outcome {
    let wrong = |what: &str| Outcome::failed(Class::Config, format!("{what}: the branch cannot be merged"));
    let Some(branch) = workspace.branch().map(String::from) else { return wrong("there is no branch") };
    let Some(target) = workspace.base_branch().map(String::from) else {
        return wrong("the main checkout is on no branch, and `workspace.base` names none");
    };
    let Some(home) = workspace.top().parent().and_then(Path::parent).map(Path::to_owned) else {
        return wrong("the worktree has no place");
    };
    let author = Author::of(run.shared.setup.config.workspace.author.as_deref(), &run.assignment.rule.role);
    let line = Line {
        repo: run.shared.setup.layout.root().to_owned(),
        dir: home.join("merges"),
        place: home.join("train"),
        target: target.clone(),
        policy: Policy::MergeCommit,
        push: None,
        tags: true,
        changelog: false,
        author: train::Author { name: author.name, email: author.mail },
    };
    let order = Order {
        task: run.assignment.task.id.clone(),
        title: run.assignment.task.title.clone(),
        token: run.assignment.lease.token,
        branch: branch.clone(),
    };
    let mut other: Option<Outcome> = None;
    let merged = train::integrate(&line, &order, &mut |tree: &Path| check(run, tree, &mut other));
    match merged {
        Ok(merged) => {
            let short: String = merged.commit.chars().take(12).collect();
            let summary = match merged.already {
                true => format!("{branch} was in {target} already, as {short}"),
                false => format!("merged {branch} into {target} as {short}"),
            };
            run.brought = Some(Brought { commit: merged.commit, tag: merged.tag });
            Outcome::Done { summary, tasks: Vec::new() }
        }
        Err(TrainError::Empty { .. }) => {
            Outcome::NoChange { summary: format!("{branch} has no commit that {target} does not have") }
        }
        Err(TrainError::Stopped) => {
            other.unwrap_or_else(|| Outcome::failed(Class::Interrupted, "the gates were stopped"))
        }
        Err(error @ (TrainError::Conflict { .. } | TrainError::GatesRed { .. } | TrainError::RedAfter { .. })) => {
            Outcome::NeedsAdapt { reason: format!("failed to {}", chain(&error)) }
        }
        Err(error @ (TrainError::Busy { .. } | TrainError::NotReverted { .. } | TrainError::Diverged { .. })) => {
            Outcome::Blocked { reason: format!("failed to {}", chain(&error)) }
        }
        Err(error @ (TrainError::Place { .. } | TrainError::NoBranch { .. } | TrainError::PushRefused { .. })) => {
            Outcome::failed(Class::Config, format!("failed to {}", chain(&error)))
        }
        Err(error) => Outcome::failed(Class::AgentCrashed, format!("failed to {}", chain(&error))),
    }
}

/// The gates of the role and of the task, on the result as it would be.
fn check(run: &mut Run, tree: &Path, other: &mut Option<Outcome>) -> Result<(), GateFailure> {
    let workspace = std::mem::replace(&mut run.assignment.workspace, tree.to_owned());
    let checked = evidence::check_gates(run);
    run.assignment.workspace = workspace;
    match checked {
        Ok(()) => Ok(()),
        Err(Outcome::Failed { class: Class::GateFailed, reason, .. }) => {
            Err(GateFailure::Red { gate: "of the role".into(), reason })
        }
        Err(outcome) => {
            *other = Some(outcome);
            Err(GateFailure::Stopped)
        }
    }
}
