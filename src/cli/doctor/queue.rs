//! The queue file: readable, without contradictions, and a role for every task.

use super::{failed_to, report::Report};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Status, Task, Workflow, external_edits, text};
use oodatcaa_sys::files::named;

/// More of a kind than this are only counted.
const MOST: usize = 10;

pub(super) fn check(report: &mut Report<'_>) {
    let validate = "agentctl queue validate";
    let reading = match &report.context.reading {
        // What keeps the store from opening has been said with the project's files.
        None => return report.found("queue", "the queue could not be read", ""),
        Some(Err(error)) => return report.found("queue", failed_to(error), validate),
        Some(Ok(reading)) => reading,
    };
    if let Some(invalid) = &reading.invalid {
        return report.found("queue", invalid.to_string(), validate);
    }
    let (queue, workflow) = (&reading.snapshot.queue, &report.context.workflow);
    let problems = queue.problems(workflow);
    for problem in problems.iter().take(MOST) {
        let task = problem.task.as_deref().and_then(|id| queue.find(id));
        let run = task.map_or(validate.into(), |task| format!("agentctl show {}", task.id));
        report.found("problem", problem.to_string(), run);
    }
    if problems.len() > MOST {
        let what = format!("and {} like these", text::many(problems.len() - MOST, "more problem"));
        report.found("problem", what, validate);
    }
    let behind = external_edits::behind(&reading.snapshot);
    if let Some(behind) = &behind {
        let what = format!("an old queue file was put back: {}", text::one_line(&behind.reason));
        report.found("old_file", what, "agentctl queue repair");
    }
    let orphans: Vec<&Task> = queue.tasks().filter(|task| nobody_takes(task, workflow)).collect();
    for task in orphans.iter().take(MOST) {
        let why = match &task.role {
            Some(role) => format!(" and only for the role `{role}`, which does not take that status"),
            None => ", which no role takes".into(),
        };
        let what = format!("task {} is `{}`{why}", task.id, task.status);
        report.found("nobody_takes.task", what, format!("agentctl why {}", task.id));
    }
    if orphans.len() > MOST {
        let what = format!("and {} that no role takes", text::many(orphans.len() - MOST, "more task"));
        report.found("nobody_takes.more", what, "agentctl ls");
    }
    if problems.is_empty() && orphans.is_empty() && behind.is_none() {
        report.good("queue", format!("queue: {}, no contradictions", text::many(queue.len(), "task")));
    }
}

/// Looks for edits that wait for a person to bring them over.
pub(super) fn lost_edits(report: &mut Report<'_>) {
    let layout = report.context.layout;
    let is_one = |name: &str| name.rsplit('.').next().is_some_and(|end| end.starts_with(Layout::LOST_EDIT));
    for entry in named::entries(layout.work()).iter().filter(|entry| is_one(&entry.name.to_string_lossy())) {
        let path = layout.work().join(&entry.name);
        let what = format!("{} holds an edit of the queue that could not be merged into it", path.display());
        report.found("lost_edit", what, format!("diff {} {}", path.display(), layout.queue().display()));
    }
}

/// Tells whether a task waits for a role that does not exist. What waits for a human or moves on by
/// itself does not count, and unknown words are reported as problems.
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
