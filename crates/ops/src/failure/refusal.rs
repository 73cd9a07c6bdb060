//! What a refusal of the rules means to people: its kind, and what to do instead.

use super::{ErrorKind, Failure, missing::no_task};
use oodatcaa_core::{
    Queue, Snapshot, Workflow,
    decision::Refusal as Undecided,
    landing,
    manual::Refusal,
    text::{cut, near, one_line},
};

/// Returns the failure for a refused change of a task.
pub(crate) fn refused(refusal: &Refusal, queue: &Queue, workflow: &Workflow) -> Failure {
    let take_back = |commit: &str| landing::take_back(workflow, &commit.chars().take(12).collect::<String>());
    let work = workflow.work();
    let kind = match refusal {
        Refusal::UnknownStatus { .. } | Refusal::NeedsReason { .. } | Refusal::BadTask(_) => ErrorKind::Usage,
        Refusal::Running { .. } | Refusal::Held { .. } => ErrorKind::LeaseHeld,
        _ => ErrorKind::Refused,
    };
    let hint = match refusal {
        Refusal::Unknown(id) => return no_task(id, queue),
        Refusal::UnknownStatus { .. } => "what each means: agentctl help states".into(),
        Refusal::Running { task, .. } => format!("stop the run first: agentctl run stop {task} --reason \"…\""),
        Refusal::Landing { commit, .. } => format!("take it back when it is there: {}", take_back(commit)),
        Refusal::Landed { commit, .. } => {
            let merging = workflow.merging().map(|rule| format!(" {}", rule.role)).unwrap_or_default();
            format!("let it be marked: agentctl fleet start{merging}; take it back: {}", take_back(commit))
        }
        Refusal::Merged { commit, .. } => format!("take it back: {}", take_back(commit)),
        Refusal::Held { task, .. } => format!("insist: agentctl lease release {task} --force --reason \"…\""),
        Refusal::Abandoned { task, .. } => format!("give it back first: agentctl lease release {task}"),
        Refusal::NotRunning(task) => format!("agentctl why {task}"),
        Refusal::OnlyByClaim { role, .. } => format!("to have one claim it: agentctl fleet start {role}"),
        Refusal::Illegal { task, to, .. } => format!("insist: agentctl task move {task} {to} --force --reason \"…\""),
        Refusal::Needed { by, .. } => format!("stop that run first: agentctl run stop {by} --reason \"…\""),
        Refusal::Ended { task, .. } => {
            format!("bring it back: agentctl task move {task} {work} --force --reason \"…\"")
        }
        Refusal::Waits { task, .. } => {
            format!("it goes on by itself when that is done; insist: agentctl task unblock {task} --force")
        }
        Refusal::NeedsReason { task, to } => format!("agentctl task move {task} {to} --reason \"…\""),
        Refusal::NotClaimable { task, .. } => format!("agentctl why {task}"),
        Refusal::Superseded { task, .. } => format!("see who has it by now: agentctl show {task}"),
        Refusal::BadTask(_) => "agentctl help task".into(),
        Refusal::Taken(id) => format!("look at it: agentctl show {id}"),
    };
    let failure = said(kind, refusal).hint(hint);
    match refusal {
        Refusal::Merged { task, status, .. } if status.is_done() => {
            failure.hint(format!("to have it done again: agentctl task move {task} {work} --force --reason \"…\""))
        }
        Refusal::Merged { task, .. } => {
            failure.hint(format!("say so in the queue: agentctl task done {task} --reason \"…\""))
        }
        Refusal::OnlyByClaim { .. } | Refusal::Illegal { .. } => failure.see("states"),
        _ => failure,
    }
}

/// Returns the failure for a refused word on a decision.
pub(crate) fn undecided(snapshot: &Snapshot, refusal: &Undecided) -> Failure {
    let inbox = "see what waits: agentctl inbox";
    let kind = match refusal {
        Undecided::Unknown(_) => ErrorKind::NotFound,
        Undecided::Several { .. } | Undecided::NoOption { .. } | Undecided::Empty => ErrorKind::Usage,
        Undecided::NotHuman => ErrorKind::PermissionDenied,
        _ => ErrorKind::Refused,
    };
    said(kind, refusal).hint(match refusal {
        Undecided::Unknown(id) => {
            let open = snapshot.history.decisions.open();
            let ids = open.iter().map(|decision| decision.id.as_str());
            let near = near(id, ids.chain(snapshot.queue.tasks().map(|task| task.id.as_str())));
            if near.is_empty() { inbox.into() } else { format!("the nearest are {}", near.join(", ")) }
        }
        Undecided::Nothing(task) => format!("agentctl why {task}"),
        Undecided::Several { .. } | Undecided::OtherCommit { .. } | Undecided::Changed { newer: None, .. } => {
            inbox.into()
        }
        Undecided::Closed { .. } => "a decision counts once; what is open: agentctl inbox".into(),
        Undecided::Changed { newer: Some(newer), .. } => {
            format!("look at it again, then: agentctl approve {newer}")
        }
        Undecided::Overdue(id) => {
            let task = id.rsplit_once('.').map_or(id.as_str(), |(task, _)| task);
            format!("to be asked again: agentctl task retry {task}")
        }
        Undecided::WantsAnswer(id) => format!("agentctl answer {id} \"…\""),
        Undecided::WantsYesOrNo(id) => format!("agentctl approve {id}, or agentctl reject {id} --reason \"…\""),
        Undecided::NoOption { options, .. } => {
            let all = options.iter().enumerate().map(|(at, option)| format!("{}) {}", at + 1, one_line(option)));
            cut(&all.collect::<Vec<_>>().join("  "), 1_000)
        }
        Undecided::Empty => "agentctl help answer".into(),
        Undecided::NotHuman => "do it from a terminal of your own".into(),
    })
}

fn said(kind: ErrorKind, refusal: &impl std::fmt::Display) -> Failure {
    Failure::new(kind, cut(&one_line(&refusal.to_string()), 1_000))
}
