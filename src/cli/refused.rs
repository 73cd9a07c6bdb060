//! A refusal of the rules, as a person meets it: code, exit code, and what to do instead.

use super::fail::{REFUSED, USAGE, failure, no_task};
use crate::{
    domain::{
        Queue,
        operate::Refusal,
        text::{cut, one_line},
    },
    error::Failure,
};

/// The failure that a refusal is.
pub fn refused(refusal: &Refusal, queue: &Queue) -> Failure {
    let (code, exit, hints): (_, _, Vec<String>) = match refusal {
        Refusal::Unknown(id) => return no_task(id, queue.tasks().map(|task| task.id.as_str())),
        Refusal::UnknownStatus { .. } => ("unknown_status", USAGE, vec!["what each means: agentctl help states".into()]),
        Refusal::Running { task, .. } => {
            ("running", REFUSED, vec![format!("stop the run first: agentctl run stop {task} --reason \"…\"")])
        }
        Refusal::Held { task, .. } => {
            ("lease_held", REFUSED, vec![format!("insist: agentctl lease release {task} --force --reason \"…\"")])
        }
        Refusal::Abandoned { task, .. } => {
            ("stale_lease", REFUSED, vec![format!("give it back first: agentctl lease release {task}")])
        }
        Refusal::NotRunning(task) => ("not_running", REFUSED, vec![format!("agentctl why {task}")]),
        Refusal::OnlyByClaim { role, .. } => {
            ("illegal_move", REFUSED, vec![format!("let one claim it: agentctl fleet start {role}")])
        }
        Refusal::Illegal { task, to, .. } => {
            ("illegal_move", REFUSED, vec![format!("insist: agentctl task move {task} {to} --force --reason \"…\"")])
        }
        Refusal::Needed { by, .. } => {
            ("needed", REFUSED, vec![format!("stop that run first: agentctl run stop {by} --reason \"…\"")])
        }
        Refusal::Ended { task, .. } => {
            ("ended", REFUSED, vec![format!("bring it back: agentctl task move {task} ready --force --reason \"…\"")])
        }
        Refusal::Waits { task, .. } => {
            let hint = format!("it goes on by itself; agentctl why {task}, or insist: agentctl task unblock {task} --force");
            ("waits", REFUSED, vec![hint])
        }
        Refusal::NeedsReason { task, to } => {
            ("usage", USAGE, vec![format!("agentctl task move {task} {to} --reason \"…\"")])
        }
        Refusal::BadTask(_) => ("usage", USAGE, vec!["agentctl help task add".into()]),
        Refusal::Taken(id) => ("taken", REFUSED, vec![format!("look at it: agentctl show {id}, or leave --id out")]),
    };
    let mut failure = failure(code, cut(&one_line(&refusal.to_string()), 1_000), exit);
    failure.hints = hints;
    failure.see = match code {
        "illegal_move" | "unknown_status" => Some("states"),
        _ => None,
    };
    failure
}
