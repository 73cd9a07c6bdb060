//! The queue file and the journal: readable, without contradictions, and somebody for every task.

use super::{
    DoctorContext,
    check::{Check, Checks, Group},
    journal, project,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Snapshot, Status, Task, Workflow, external_edits, text};
use oodatcaa_sys::files::named;

/// More of a kind than this are only counted.
const MOST: usize = 10;

pub(super) fn check(context: &DoctorContext<'_>) -> Vec<Check> {
    let mut checks = Checks::of(Group::Queue);
    let why = "nothing can be claimed";
    match &context.reading {
        // What keeps the store from opening has been told with the project's files.
        None => checks.bad("queue", "the queue could not be looked at", why, ""),
        Some(Err(error)) => {
            checks.bad("queue", project::sentence_of(error), why, "agentctl queue validate");
        }
        Some(Ok(reading)) => {
            if let Some(invalid) = &reading.invalid {
                checks.bad("queue", invalid.to_string(), why, "agentctl queue validate");
            } else {
                queue(&mut checks, &reading.snapshot, &context.workflow());
            }
        }
    }
    lost_edits(&mut checks, context.layout);
    journal::check(&mut checks, context.layout.root(), &context.layout.journal(), chrono::Utc::now());
    checks.into_vec()
}

/// Edits that wait for a person to bring them over.
fn lost_edits(checks: &mut Checks, layout: &Layout) {
    let is_one = |name: &str| name.rsplit('.').next().is_some_and(|end| end.starts_with(Layout::LOST_EDIT));
    for entry in named::entries(layout.work()).iter().filter(|entry| is_one(&entry.name.to_string_lossy())) {
        let path = layout.work().join(&entry.name);
        let what = format!("{} holds an edit of the queue that could not be brought into it", path.display());
        let run = format!("diff {} {}", path.display(), layout.queue().display());
        checks.warn("lost_edit", what, "bring over what is missing, then remove the file", run);
    }
}

fn queue(checks: &mut Checks, snapshot: &Snapshot, workflow: &Workflow) {
    let queue = &snapshot.queue;
    let problems = queue.problems(workflow);
    for problem in problems.iter().take(MOST) {
        let task = problem.task.as_deref().and_then(|id| queue.find(id));
        let run = task.map_or("agentctl queue validate".into(), |task| format!("agentctl show {}", task.id));
        checks.bad("problem", problem.to_string(), "", run);
    }
    if problems.len() > MOST {
        let what = format!("and {} like these", text::many(problems.len() - MOST, "more problem"));
        checks.bad("problem", what, "", "agentctl queue validate");
    }
    let behind = external_edits::behind(snapshot);
    if let Some(behind) = &behind {
        let what = format!("an old queue file was put back: {}", text::one_line(&behind.reason));
        checks.bad("old_file", what, "nothing is claimed until you have said which is right", "agentctl queue repair");
    }
    let orphans: Vec<&Task> = queue.tasks().filter(|task| nobody_takes(task, workflow)).collect();
    for task in orphans.iter().take(MOST) {
        let what = match &task.role {
            Some(role) => format!(
                "task {} is `{}` and only for the role `{role}`, which does not take that",
                task.id, task.status
            ),
            None => format!("task {} is `{}`, which no role takes", task.id, task.status),
        };
        checks.warn("nobody_takes", what, "it will stand there for ever", format!("agentctl why {}", task.id));
    }
    if orphans.len() > MOST {
        checks.warn(
            "nobody_takes",
            format!("and {} that no role takes", text::many(orphans.len() - MOST, "more task")),
            "",
            "agentctl ls",
        );
    }
    if problems.is_empty() && orphans.is_empty() && behind.is_none() {
        checks.good("queue", format!("queue: {}, no contradictions", text::many(queue.len(), "task")));
    }
}

/// Tells whether a task waits for a role that does not exist. What waits for a human or moves on by
/// itself does not count, and unknown words are told as problems.
fn nobody_takes(task: &Task, workflow: &Workflow) -> bool {
    let status = &task.status;
    let waits_otherwise = [Status::BLOCKED, Status::NEEDS_MANUAL, Status::FAILED].contains(status)
        || workflow.rules().iter().any(|rule| rule.done_with_children.as_ref() == Some(status));
    if status.is_finished() || waits_otherwise || workflow.working(status).is_some() || !workflow.knows(status) {
        return false;
    }
    let fits = |role: &str| task.role.as_deref().is_none_or(|wanted| wanted == role);
    !workflow.taking(status).any(|rule| fits(rule.role.as_str()))
}
