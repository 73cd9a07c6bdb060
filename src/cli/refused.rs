//! A refusal of the rules, as a person meets it: code word, and what to do instead.

use super::fail::no_task;
use crate::error::Failure;
use oodatcaa_core::{
    Queue, Workflow, landing,
    manual::Refusal,
    text::{cut, one_line},
};

/// The failure that a refusal is.
pub fn refused(refusal: &Refusal, queue: &Queue, workflow: &Workflow) -> Failure {
    let take_back = |commit: &str| {
        let short: String = commit.chars().take(12).collect();
        landing::take_back(workflow, &short)
    };
    let (word, hint) = match refusal {
        Refusal::Unknown(id) => return no_task(id, queue.tasks().map(|task| task.id.as_str())),
        Refusal::UnknownStatus { .. } => ("usage", "what each means: agentctl help states".into()),
        Refusal::Running { task, .. } => {
            ("lease_held", format!("stop the run first: agentctl run stop {task} --reason \"…\""))
        }
        Refusal::Landing { commit, .. } => ("refused", format!("take it back when it is there: {}", take_back(commit))),
        Refusal::Landed { commit, .. } => {
            let take_back = take_back(commit);
            ("refused", format!("let it be marked: agentctl fleet start integrator; take it back: {take_back}"))
        }
        Refusal::Merged { commit, .. } => ("refused", format!("take it back: {}", take_back(commit))),
        Refusal::Held { task, .. } => {
            ("lease_held", format!("insist: agentctl lease release {task} --force --reason \"…\""))
        }
        Refusal::Abandoned { task, .. } => ("refused", format!("give it back first: agentctl lease release {task}")),
        Refusal::NotRunning(task) => ("refused", format!("agentctl why {task}")),
        Refusal::OnlyByClaim { role, .. } => ("refused", format!("let one claim it: agentctl fleet start {role}")),
        Refusal::Illegal { task, to, .. } => {
            ("refused", format!("insist: agentctl task move {task} {to} --force --reason \"…\""))
        }
        Refusal::Needed { by, .. } => {
            ("refused", format!("stop that run first: agentctl run stop {by} --reason \"…\""))
        }
        Refusal::Ended { task, .. } => {
            ("refused", format!("bring it back: agentctl task move {task} ready --force --reason \"…\""))
        }
        Refusal::Waits { task, .. } => {
            ("refused", format!("it goes on by itself when that is done; insist: agentctl task unblock {task} --force"))
        }
        Refusal::NeedsReason { task, to } => ("usage", format!("agentctl task move {task} {to} --reason \"…\"")),
        Refusal::BadTask(_) => ("usage", "agentctl help task".into()),
        Refusal::Taken(id) => ("refused", format!("look at it: agentctl show {id}")),
    };
    let failure = Failure::new(word, cut(&one_line(&refusal.to_string()), 1_000)).hint(hint);
    match refusal {
        Refusal::Merged { task, status, .. } if status.is_done() => {
            failure.hint(format!("have it done anew: agentctl task move {task} ready --force --reason \"…\""))
        }
        Refusal::Merged { task, .. } => {
            failure.hint(format!("say so in the queue: agentctl task done {task} --reason \"…\""))
        }
        Refusal::UnknownStatus { .. } | Refusal::OnlyByClaim { .. } | Refusal::Illegal { .. } => failure.see("states"),
        _ => failure,
    }
}
