//! What a person changes about a task that stays where it is: title, text, priority, dependencies, criteria, gates.

use serde_json::Value;

use super::{Answer, Refusal, changed, find};
use crate::{
    Edit, Member, Snapshot, Task, TaskId,
    event::Actor,
    manual::add::{check_criteria, check_title},
    queue::{Queue, Waits},
};

/// The members to change; `None` leaves a member as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPatch {
    /// One line.
    pub title: Option<String>,
    /// The work to do; an empty text removes it.
    pub description: Option<String>,
    /// The `type` member.
    pub kind: Option<String>,
    /// The `priority` member; small numbers first.
    pub priority: Option<i64>,
    /// The tasks that must be done before it.
    pub dependencies: Option<Vec<String>>,
    /// The statements that must be true afterwards.
    pub acceptance_criteria: Option<Vec<String>>,
    /// Gates beside its role's.
    pub gates: Option<Vec<String>>,
}

/// Changes members of a task, also while it is worked on: what runs has been told the old ones. Refuses a task that has
/// ended, an unknown dependency and a circle of dependencies.
pub fn edit(snapshot: &Snapshot, id: &TaskId, changes: &TaskPatch, actor: &Actor) -> Answer {
    let task = find(snapshot, id)?;
    if task.status.is_finished() {
        return Err(Refusal::Ended { task: id.clone(), status: task.status.clone() });
    }
    let mut edit = Edit::by(actor.clone()).verb("edit");
    let mut differs = |member: Member, was: Value, is: Value| edit = edit.clone().set_if(was != is, member, is);
    let text = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
    if let Some(title) = &changes.title {
        differs(Member::Title, task.title.as_str().into(), check_title(title)?.into());
    }
    if let Some(description) = &changes.description {
        let wanted = Some(description.trim_end().to_owned()).filter(|text| !text.is_empty());
        differs(Member::Description, text(&task.description), text(&wanted));
    }
    if let Some(kind) = &changes.kind {
        differs(Member::Kind, text(&task.kind), kind.as_str().into());
    }
    if let Some(priority) = changes.priority {
        differs(Member::Priority, task.priority.into(), priority.into());
    }
    if let Some(criteria) = &changes.acceptance_criteria {
        check_criteria(criteria)?;
        differs(Member::AcceptanceCriteria, task.acceptance_criteria.clone().into(), criteria.clone().into());
    }
    if let Some(gates) = &changes.gates {
        differs(Member::Gates, task.gates.clone().into(), gates.clone().into());
    }
    if let Some(names) = &changes.dependencies
        && *names != task.dependencies
    {
        check_dependencies(snapshot, task, names)?;
        // The other spelling of the same member would count beside it.
        edit = edit.set(Member::Dependencies, names.as_slice()).set(Member::DependsOn, Value::Null);
    }
    Ok(changed(snapshot, task, edit))
}

/// Adds dependencies to a task.
pub fn depend(snapshot: &Snapshot, id: &TaskId, on: &[String], actor: &Actor) -> Answer {
    let task = find(snapshot, id)?;
    let mut names = task.dependencies.clone();
    names.extend(on.iter().filter(|name| !task.dependencies.contains(name)).cloned());
    edit(snapshot, id, &TaskPatch { dependencies: Some(names), ..TaskPatch::default() }, actor)
}

/// Takes dependencies out of a task; one that it does not have is refused.
pub fn undepend(snapshot: &Snapshot, id: &TaskId, on: &[String], actor: &Actor) -> Answer {
    let task = find(snapshot, id)?;
    if let Some(name) = on.iter().find(|name| !task.dependencies.contains(name)) {
        return Err(Refusal::BadTask(format!("{id} does not depend on `{name}`")));
    }
    let names = task.dependencies.iter().filter(|name| !on.contains(name)).cloned().collect();
    edit(snapshot, id, &TaskPatch { dependencies: Some(names), ..TaskPatch::default() }, actor)
}

fn check_dependencies(snapshot: &Snapshot, task: &Task, names: &[String]) -> Result<(), Refusal> {
    let new = || names.iter().filter(|name| !task.dependencies.contains(name));
    if let Some(name) = new().find(|name| snapshot.queue.find(name).is_none()) {
        return Err(Refusal::Unknown(name.clone()));
    }
    if new().next().is_none() {
        return Ok(());
    }
    let mut queue: Queue = Queue::clone(&snapshot.queue);
    queue.edit(&task.id, |task| task.dependencies = names.to_vec());
    let after = queue.get(&task.id).expect("it is there");
    match queue.waits(after) {
        Waits::InCycle(way) => Err(Refusal::BadTask(format!("{} would wait for itself: {way}", task.id))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Status,
        tests::{id, snapshot, task},
    };

    fn me() -> Actor {
        Actor::Human("me".into())
    }

    #[test]
    fn only_what_differs_is_written_and_the_snapshot_shows_it() {
        let before = snapshot(vec![task("A", Status::READY), task("B", Status::READY)]);
        let wanted = TaskPatch {
            title: Some("A better title".into()),
            priority: Some(Task::DEFAULT_PRIORITY),
            acceptance_criteria: Some(vec!["it works".into()]),
            ..TaskPatch::default()
        };
        let changes = edit(&before, &id("A"), &wanted, &me()).expect("allowed");
        let members: Vec<&str> = changes.edits[0].set.keys().map(|member| member.as_str()).collect();
        assert_eq!(members, ["updated_at", "title", "acceptance_criteria"]);
        let after = before.after(&changes);
        assert_eq!(after.queue.get(&id("A")).expect("there").title, "A better title");
        assert!(edit(&after, &id("A"), &wanted, &me()).expect("allowed").is_empty());
    }

    #[test]
    fn a_circle_an_unknown_name_and_an_ended_task_are_refused() {
        let mut tasks = vec![task("A", Status::READY), task("B", Status::READY), task("C", Status::DONE)];
        tasks[0].dependencies = vec!["B".into()];
        let before = snapshot(tasks);
        let refused =
            |id: &TaskId, on: &str| depend(&before, id, &[on.into()], &me()).expect_err("refused").to_string();
        assert!(refused(&id("B"), "A").contains("wait for itself"));
        assert!(refused(&id("B"), "B").contains("wait for itself"));
        assert!(refused(&id("B"), "ghost").contains("no task `ghost`"));
        assert!(refused(&id("C"), "A").contains("`done`"));
        assert!(undepend(&before, &id("B"), &["A".into()], &me()).is_err());
        let freed = before.after(&undepend(&before, &id("A"), &["B".into()], &me()).expect("allowed"));
        assert!(freed.queue.is_free(freed.queue.get(&id("A")).expect("there")));
    }

    #[test]
    fn a_name_that_is_not_there_can_be_taken_out() {
        let mut tasks = vec![task("A", Status::READY)];
        tasks[0].dependencies = vec!["ghost".into()];
        let before = snapshot(tasks);
        assert!(undepend(&before, &id("A"), &["ghost".into()], &me()).is_ok());
    }
}
