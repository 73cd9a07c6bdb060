//! Where an outcome sends a task: the table, the policies of the classes, the counts.

use chrono::{DateTime, Utc};

use crate::{
    Class, Lease, Outcome, RoleRule, Snapshot, Status, Task, Workflow, landing,
    outcome::{Policy, Retry},
    state::TaskHistory,
    text,
};

/// The status that a settlement sends a task to, and its further consequences.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) to: Status,
    pub(super) reason: Option<String>,
    pub(super) charged: bool,
    pub(super) not_before: Option<DateTime<Utc>>,
    /// Stays on the task for a human, or for the role that takes it over.
    pub(super) blocked_reason: Option<String>,
    pub(super) pause: Option<Class>,
    pub(super) transient: bool,
    /// The provider took no work, or something stood in the way before it was asked: it is no start of the task's.
    pub(super) turned_away: bool,
}

impl Verdict {
    fn to(to: &Status) -> Self {
        Self { to: to.clone(), ..Self::default() }
    }

    pub(super) fn held(to: &Status, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { reason: Some(reason.clone()), blocked_reason: Some(reason), ..Self::to(to) }
    }
}

/// An attempt to be settled.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) workflow: &'a Workflow,
    pub(super) rule: &'a RoleRule,
    pub(super) task: &'a Task,
    pub(super) mine: &'a Lease,
    pub(super) retry: &'a Retry,
}

/// Judges what follows from an outcome for its task.
pub(super) fn judge(case: Case<'_>, outcome: &Outcome, makes_children: bool) -> Verdict {
    let Case { snapshot, workflow, rule, task, mine, retry } = case;
    let seed =
        task.id.as_str().bytes().fold(mine.token.0, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let after =
        |wait: std::time::Duration| Some(snapshot.now.wall + chrono::Duration::from_std(wait).unwrap_or_default());
    match outcome {
        Outcome::Done { .. } | Outcome::NoChange { .. } => {
            let is_parent = || snapshot.queue.children(&task.id).any(|child| child.status != Status::CANCELLED);
            match &rule.done_with_children {
                Some(to) if makes_children || is_parent() => Verdict::to(to),
                _ => Verdict::to(&rule.done),
            }
        }
        Outcome::NeedsAdapt { reason } => Verdict::held(&rule.failed, reason),
        Outcome::Replan { reason } => Verdict::held(rule.replan.as_ref().unwrap_or(&rule.failed), reason),
        Outcome::Blocked { reason } => Verdict::held(&Status::BLOCKED, reason),
        Outcome::NeedsInput { question } => Verdict::held(&Status::NEEDS_MANUAL, format!("the agent asks: {question}")),
        Outcome::Conflict { reason, .. } => {
            let known = snapshot.history.task(&task.id);
            let before = known.map_or(0, |known| known.conflicts);
            match author(workflow, rule, known) {
                Some(author) if before < retry.conflicts => Verdict::held(&author.takes, reason),
                _ if before <= retry.conflicts => Verdict::held(&rule.failed, reason),
                _ => {
                    let words = format!("{} merges ended in conflicts, the last: {reason}", before + 1);
                    Verdict::held(&Status::NEEDS_MANUAL, words)
                }
            }
        }
        Outcome::Waits { reason } => {
            let waits = snapshot.history.task(&task.id).map_or(0, |known| known.waits) + 1;
            // No agent was started: what it found in the way came before that. A merge starts none anyway.
            let turned_away =
                workflow.starts_agent(rule, task) && snapshot.spares_another(task, &workflow.policy().bounds);
            Verdict { not_before: after(retry.wait(waits, seed)), turned_away, ..Verdict::held(&rule.takes, reason) }
        }
        Outcome::Failed { class, reason, retry_at } => {
            let again = Verdict { reason: Some(format!("{class}: {reason}")), ..Verdict::to(&rule.takes) };
            let streak = snapshot.history.task(&task.id).map_or(0, |known| known.transient) + 1;
            match class.policy() {
                Policy::Stop if *class == Class::Cancelled => match landing::asked(snapshot, mine) {
                    Some(stop) if stop.cancel => Verdict { reason: Some(reason.clone()), ..Verdict::to(&stop.to()) },
                    _ => Verdict::held(&Status::BLOCKED, reason),
                },
                Policy::Stop => again,
                Policy::Auth => Verdict { pause: Some(*class), ..again },
                // The pool waits, not the task: another agent of the role may take it at once.
                Policy::Quota => {
                    Verdict { turned_away: snapshot.spares_another(task, &workflow.policy().bounds), ..again }
                }
                Policy::Transient if streak <= retry.transient => {
                    let wait = retry_at.or_else(|| after(retry.wait(streak, seed)));
                    Verdict { transient: true, not_before: wait, ..again }
                }
                // Nothing would be different the next time: a red gate is what such a role has to say of a task.
                Policy::Work if rule.duty.agentless && *class == Class::GateFailed => {
                    Verdict::held(&rule.failed, format!("{class}: {reason}"))
                }
                Policy::Transient | Policy::Context | Policy::Work => {
                    let attempts = task.attempts.saturating_add(1);
                    if attempts >= retry.attempts {
                        let words = format!(
                            "{attempts} of {} failed, the last: {class}: {reason}",
                            text::many(retry.attempts as usize, "attempt")
                        );
                        return Verdict { charged: true, ..Verdict::held(&rule.failed, words) };
                    }
                    let wait = retry_at.or_else(|| after(retry.wait(attempts, seed)));
                    Verdict { charged: true, not_before: wait, ..again }
                }
            }
        }
    }
}

/// Returns the role whose work it is that a merge is about: the one that builds; else the one that handed it over, when
/// that has worked on it.
fn author<'a>(workflow: &'a Workflow, merging: &RoleRule, known: Option<&TaskHistory>) -> Option<&'a RoleRule> {
    let has_worked = |row: &&RoleRule| known.is_some_and(|known| known.work.contains_key(&row.role));
    let rows = || workflow.rules().iter().filter(|row| row.role != merging.role).filter(has_worked);
    rows().find(|row| workflow.makes(row)).or_else(|| rows().find(|row| row.done == merging.takes))
}
