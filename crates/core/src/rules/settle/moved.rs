//! What a status means that somebody set in the queue file while an attempt was at work on the task.
//!
//! Nothing in the file says who it was, and the agent is the one who is there: what it sets is what it proposes,
//! checked and charged like its result. What only holds the task back stands, and so does what a verb of ours set.

use crate::{
    Class, Lease, Outcome, RoleRule, Snapshot, Status, Task, Workflow, landing,
    lease::StopRequest,
    state::{SetBy, TaskHistory},
};

/// Tells whether a status that holds the task back stands whatever the attempt comes to: nobody has written it over the
/// word of a person who was told that the task is cancelled.
pub(crate) fn stands(workflow: &Workflow, status: &Status, asked: Option<&StopRequest>) -> bool {
    workflow.holds_back(status) && asked.is_none_or(|stop| !stop.cancel || stop.to() == *status)
}

/// Returns who set the status that a task has now.
pub(crate) fn set_by(known: Option<&TaskHistory>, task: &Task) -> SetBy {
    known.filter(|known| known.status.as_ref() == Some(&task.status)).map_or(SetBy::Others, |known| known.set_by)
}

/// Returns what the attempt came to, the status that it set itself taken for its word; `None` where the status stands.
pub(super) fn proposed(
    snapshot: &Snapshot,
    workflow: &Workflow,
    rule: &RoleRule,
    task: &Task,
    mine: &Lease,
    outcome: &Outcome,
) -> Option<Outcome> {
    let known = snapshot.history.task(&task.id);
    let has_no_right = known.is_some_and(|known| known.given_back >= mine.token);
    if has_no_right || set_by(known, task) == SetBy::Us {
        return None;
    }
    if stands(workflow, &task.status, landing::asked(snapshot, mine)) {
        return None;
    }
    if !outcome.is_success() {
        return Some(outcome.clone());
    }
    let reason = || {
        let said = task.blocked_reason.clone().filter(|reason| !reason.trim().is_empty());
        said.unwrap_or_else(|| format!("its agent set it to `{}`", task.status))
    };
    Some(if task.status == rule.takes {
        Outcome::failed(Class::AgentFailed, format!("its agent put it back to `{}` itself", task.status))
    } else if task.status == rule.failed {
        Outcome::NeedsAdapt { reason: reason() }
    } else if rule.replan.as_ref() == Some(&task.status) {
        Outcome::Replan { reason: reason() }
    } else {
        outcome.clone()
    })
}
