//! What the old fleet's Negotiator prompt did by hand, in code: tasks are unblocked, parents
//! move on, counters are put right. What a human must decide is reported elsewhere, never guessed.

use crate::{
    ChangeSet, Edit, Member, Queue, RoleRule, Snapshot, Status, Task, Workflow, claim::leased, decision, event::Actor,
    landing, text, time::stamp,
};

/// Returns everything that can be coordinated now, as one change set.
pub fn decide(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    // A queue that lacks what the journal knows is not coordinated: a human must look first.
    if crate::external_edits::behind(snapshot).is_some() {
        return ChangeSet::none();
    }
    snapshot.chain(&mut [
        &mut |seen| landing::tell(seen, workflow),
        &mut |seen| decision::tidy(seen, workflow),
        &mut |seen| advance_parents(seen, workflow),
        &mut |seen| unblock(seen, workflow),
        &mut |seen| end_at_the_bound(seen, workflow),
        &mut |seen| decision::ask(seen, workflow),
        &mut |seen| super::schedule::decide(seen, workflow),
        &mut |seen| super::handoff::decide(seen, workflow),
        &mut |seen| count(seen, workflow),
    ])
}

fn policy() -> Actor {
    Actor::Policy("coordination".into())
}

/// Tells whether coordination would move this blocked task, were its dependencies done.
pub fn unblocks_itself(task: &Task) -> bool {
    task.status == Status::BLOCKED && !task.dependencies.is_empty() && !has_reason(task)
}

fn has_reason(task: &Task) -> bool {
    task.blocked_reason.as_deref().is_some_and(|reason| !reason.trim().is_empty())
}

fn unblock(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    let is_free = |task: &&Task| unblocks_itself(task) && snapshot.queue.is_free(task) && !is_leased(snapshot, task);
    let edits = snapshot.queue.tasks().filter(is_free).filter_map(|task| {
        let to = workflow.start(task, &snapshot.queue);
        workflow.knows(&to).then(|| (task, Edit::by(policy()).to(&to).reason("every dependency is done")))
    });
    ChangeSet::edited(&snapshot.now, edits)
}

fn is_leased(snapshot: &Snapshot, task: &Task) -> bool {
    leased(snapshot, task).is_some()
}

fn advance_parents(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    let planned = snapshot.queue.tasks().filter(|task| workflow.is_planned(&task.status));
    let edits = planned.filter_map(|parent| {
        let children: Vec<&Task> = snapshot.queue.children(&parent.id).collect();
        let is_over = !children.is_empty() && children.iter().all(|child| child.status.is_finished());
        if !is_over || is_leased(snapshot, parent) {
            return None;
        }
        let edit = match children.iter().filter(|child| child.status.is_done()).count() {
            0 => Edit::by(policy())
                .to(&Status::NEEDS_MANUAL)
                .blocked("all of its children were cancelled: cancel it too, or plan it again"),
            done => Edit::by(policy())
                .to(&Status::DONE)
                .set(Member::CompletedAt, stamp(snapshot.now.wall))
                .reason(format!("{done} of {} children are done, the rest are cancelled", children.len()).as_str()),
        };
        Some((parent, edit))
    });
    ChangeSet::edited(&snapshot.now, edits)
}

/// Leaves to a human what was started as often as is allowed, whatever way it came back.
fn end_at_the_bound(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    let bounds = &workflow.policy().bounds;
    let edits = snapshot.queue.tasks().filter_map(|task| {
        let (starts, checks) = (snapshot.starts(task, bounds), snapshot.checks(task));
        let takers = || workflow.taking(&task.status);
        // What some role may still do goes on.
        let may = |rule: &RoleRule| match rule.duty.agentless {
            true => checks < bounds.checks,
            false => starts < bounds.starts,
        };
        let goes_on = takers().next().is_none() || takers().any(|rule| workflow.merges(rule, task) || may(rule));
        if goes_on || is_leased(snapshot, task) {
            return None;
        }
        let spent = match takers().all(|rule| rule.duty.agentless) {
            true => format!("roles without an agent tried it {checks} times"),
            false => format!("its agents were started {starts} times"),
        };
        let last = snapshot.history.task(&task.id).and_then(|known| known.failures.last());
        let last = task.blocked_reason.as_deref().or(last.map(|(_, reason)| reason.as_str()));
        let last = last.map(|words| format!("; the last problem: {words}")).unwrap_or_default();
        let reason = format!("{spent}, which is the limit, and it is still not done{last}");
        let edit = Edit::by(Actor::Policy("bounds".into())).to(&Status::NEEDS_MANUAL);
        Some((task, edit.blocked(&text::cut(&reason, 2_000))))
    });
    ChangeSet::edited(&snapshot.now, edits)
}

/// Returns what a counter of `metadata` should say; `None` for counters whose meaning is the author's own.
pub(super) fn counted(queue: &Queue, workflow: &Workflow, key: &str) -> Option<u64> {
    let status = Status::new(key.strip_suffix("_tasks")?);
    let counts: &dyn Fn(&Task) -> bool = match status.as_str() {
        "total" => &|_| true,
        "done" | "completed" => &|task| task.status.is_done(),
        _ if workflow.knows(&status) => &|task| task.status == status,
        _ => return None,
    };
    Some(queue.tasks().filter(|task| !task.nested && counts(task)).count() as u64)
}

fn count(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    let counters = snapshot.queue.counters.iter().filter_map(|(key, then)| {
        let now = counted(&snapshot.queue, workflow, key)?;
        then.is_some_and(|then| now != then).then(|| (key.clone(), now))
    });
    ChangeSet { counters: counters.collect(), ..ChangeSet::none() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{snapshot, task};
    use std::sync::Arc;

    fn typed(id: &str, status: Status, kind: &str, dependencies: &[&str]) -> Task {
        let mut task = task(id, status);
        task.kind = Some(kind.into());
        task.dependencies = dependencies.iter().map(|&d| d.into()).collect();
        task
    }

    fn coordinated(tasks: Vec<Task>) -> Snapshot {
        let before = snapshot(tasks);
        let before = before.after(&crate::external_edits::decide(&before));
        let after = before.after(&decide(&before, &Workflow::shipped()));
        assert!(decide(&after, &Workflow::shipped()).is_empty(), "once is enough");
        after
    }

    fn status(snapshot: &Snapshot, id: &str) -> Status {
        snapshot.queue.find(id).expect("there").status.clone()
    }

    #[test]
    fn a_blocked_task_starts_where_its_work_starts() {
        let after = coordinated(vec![
            typed("D", Status::DONE, "Build", &[]),
            typed("B", Status::BLOCKED, "Build", &["D"]),
            typed("I", Status::BLOCKED, "Implementation", &["D"]),
            typed("T", Status::BLOCKED, "Testing", &["D"]),
            typed("S", Status::BLOCKED, "Story", &["D"]),
        ]);
        assert_eq!(
            ["B", "I", "T", "S"].map(|id| status(&after, id)),
            [Status::READY, Status::READY, Status::AWAITING_TEST, Status::NEEDS_PLAN]
        );
    }

    #[test]
    fn a_reason_a_missing_list_or_an_open_dependency_keep_it_blocked() {
        let mut reasoned = typed("R", Status::BLOCKED, "Build", &["D"]);
        reasoned.blocked_reason = Some("waits for the vendor".into());
        let after = coordinated(vec![
            typed("D", Status::DONE, "Build", &[]),
            typed("O", Status::READY, "Build", &[]),
            reasoned,
            typed("N", Status::BLOCKED, "Build", &[]),
            typed("W", Status::BLOCKED, "Build", &["D", "O"]),
            typed("G", Status::BLOCKED, "Build", &["ghost"]),
        ]);
        for id in ["R", "N", "W", "G"] {
            assert_eq!(status(&after, id), Status::BLOCKED, "{id}");
        }
    }

    #[test]
    fn a_parent_is_done_when_its_children_are_and_who_waits_for_it_is_unblocked() {
        let mut first = task("P-B01", Status::DONE);
        first.parent = Some("P".into());
        let mut second = task("P-T01", Status::CANCELLED);
        second.parent = Some("P".into());
        let after = coordinated(vec![
            task("P", Status::PLANNING_COMPLETE),
            first,
            second,
            typed("Q", Status::BLOCKED, "Build", &["P"]),
        ]);
        assert_eq!((status(&after, "P"), status(&after, "Q")), (Status::DONE, Status::READY));
    }

    #[test]
    fn a_parent_whose_children_were_all_cancelled_asks_a_human() {
        let mut child = task("P-B01", Status::CANCELLED);
        child.parent = Some("P".into());
        let after = coordinated(vec![task("P", Status::PLANNING_COMPLETE), child]);
        assert_eq!(status(&after, "P"), Status::NEEDS_MANUAL);
    }

    #[test]
    fn counters_that_exist_are_put_right_and_others_are_not_invented() {
        let mut before = snapshot(vec![task("A", Status::READY), task("B", Status::DONE)]);
        Arc::make_mut(&mut before.queue).counters = [
            ("total_tasks", Some(7)),
            ("ready_tasks", Some(1)),
            ("completed_tasks", Some(0)),
            ("story_tasks", Some(5)),
            ("done_tasks", None),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let changes = decide(&before, &Workflow::shipped());
        let fixed: Vec<String> = changes.counters.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(fixed, ["completed_tasks=1", "total_tasks=2"]);
    }
}
