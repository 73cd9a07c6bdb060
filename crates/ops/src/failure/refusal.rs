//! What a refusal of the rules means to people: its kind, and what to do instead.

use super::{ErrorKind, Failure, missing::no_task};
use oodatcaa_core::{
    Queue, Snapshot, Workflow, decision, landing,
    manual::Refusal,
    text::{cut, near, one_line},
};

/// Returns the failure for a refused change of a task.
pub fn refused(refusal: &Refusal, queue: &Queue, workflow: &Workflow) -> Failure {
    let take_back = |commit: &str| {
        let short: String = commit.chars().take(12).collect();
        landing::take_back(workflow, &short)
    };
    let (kind, hint) = match refusal {
        Refusal::Unknown(id) => return no_task(id, queue.tasks().map(|task| task.id.as_str())),
        Refusal::UnknownStatus { .. } => (ErrorKind::Usage, "what each means: agentctl help states".into()),
        Refusal::Running { task, .. } => {
            (ErrorKind::LeaseHeld, format!("stop the run first: agentctl run stop {task} --reason \"…\""))
        }
        Refusal::Landing { commit, .. } => {
            (ErrorKind::Refused, format!("take it back when it is there: {}", take_back(commit)))
        }
        Refusal::Landed { commit, .. } => {
            let take_back = take_back(commit);
            (
                ErrorKind::Refused,
                format!("let it be marked: agentctl fleet start integrator; take it back: {take_back}"),
            )
        }
        Refusal::Merged { commit, .. } => (ErrorKind::Refused, format!("take it back: {}", take_back(commit))),
        Refusal::Held { task, .. } => {
            (ErrorKind::LeaseHeld, format!("insist: agentctl lease release {task} --force --reason \"…\""))
        }
        Refusal::Abandoned { task, .. } => {
            (ErrorKind::Refused, format!("give it back first: agentctl lease release {task}"))
        }
        Refusal::NotRunning(task) => (ErrorKind::Refused, format!("agentctl why {task}")),
        Refusal::OnlyByClaim { role, .. } => {
            (ErrorKind::Refused, format!("let one claim it: agentctl fleet start {role}"))
        }
        Refusal::Illegal { task, to, .. } => {
            (ErrorKind::Refused, format!("insist: agentctl task move {task} {to} --force --reason \"…\""))
        }
        Refusal::Needed { by, .. } => {
            (ErrorKind::Refused, format!("stop that run first: agentctl run stop {by} --reason \"…\""))
        }
        Refusal::Ended { task, .. } => {
            (ErrorKind::Refused, format!("bring it back: agentctl task move {task} ready --force --reason \"…\""))
        }
        Refusal::Waits { task, .. } => (
            ErrorKind::Refused,
            format!("it goes on by itself when that is done; insist: agentctl task unblock {task} --force"),
        ),
        Refusal::NeedsReason { task, to } => {
            (ErrorKind::Usage, format!("agentctl task move {task} {to} --reason \"…\""))
        }
        Refusal::BadTask(_) => (ErrorKind::Usage, "agentctl help task".into()),
        Refusal::Taken(id) => (ErrorKind::Refused, format!("look at it: agentctl show {id}")),
    };
    let failure = Failure::new(kind, cut(&one_line(&refusal.to_string()), 1_000)).hint(hint);
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

/// Returns the failure for a refused word on a decision.
pub fn undecided(snapshot: &Snapshot, refusal: &decision::Refusal) -> Failure {
    let inbox = || "see what waits: agentctl inbox".to_owned();
    let (kind, hint) = match refusal {
        decision::Refusal::Unknown(id) => {
            let open = snapshot.history.decisions.open();
            let ids = open.iter().map(|decision| decision.id.as_str());
            let near = near(id, ids.chain(snapshot.queue.tasks().map(|task| task.id.as_str())));
            let near = if near.is_empty() { inbox() } else { format!("the nearest are {}", near.join(", ")) };
            (ErrorKind::NotFound, near)
        }
        decision::Refusal::Nothing(task) => (ErrorKind::Refused, format!("agentctl why {task}")),
        decision::Refusal::Several { .. } => (ErrorKind::Usage, inbox()),
        decision::Refusal::Closed { .. } => {
            (ErrorKind::Refused, "a decision counts once; what is open: agentctl inbox".into())
        }
        decision::Refusal::OtherCommit { .. } => (ErrorKind::Refused, inbox()),
        decision::Refusal::Changed { newer: Some(newer), .. } => {
            (ErrorKind::Refused, format!("look at it again, then: agentctl approve {newer}"))
        }
        decision::Refusal::Changed { newer: None, .. } => (ErrorKind::Refused, inbox()),
        decision::Refusal::Overdue(id) => {
            let task = id.rsplit_once('.').map_or(id.as_str(), |(task, _)| task);
            (ErrorKind::Refused, format!("to be asked again: agentctl task retry {task}"))
        }
        decision::Refusal::WantsAnswer(id) => (ErrorKind::Refused, format!("agentctl answer {id} \"…\"")),
        decision::Refusal::WantsYesOrNo(id) => {
            (ErrorKind::Refused, format!("agentctl approve {id}, or agentctl reject {id} --reason \"…\""))
        }
        decision::Refusal::NoOption { options, .. } => {
            let all: Vec<String> =
                options.iter().enumerate().map(|(at, option)| format!("{}) {}", at + 1, one_line(option))).collect();
            (ErrorKind::Usage, cut(&all.join("  "), 1_000))
        }
        decision::Refusal::Empty => (ErrorKind::Usage, "agentctl help answer".into()),
        decision::Refusal::NotHuman => (ErrorKind::PermissionDenied, "say it from a terminal of your own".into()),
    };
    Failure::new(kind, cut(&one_line(&refusal.to_string()), 1_000)).hint(hint)
}
