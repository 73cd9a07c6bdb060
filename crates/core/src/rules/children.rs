//! Tasks that a planner proposes, checked and completed before they may enter the queue.

use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::{
    Member, NewTask, Snapshot, Status, Task, TaskId, Workflow, manual::next_id, member::Writer, queue::Waits, text,
};

/// The number of tasks that one attempt may propose.
pub const MAX: usize = 100;

/// Tells whether a member of a task is none that an agent may propose; what no rule reads, it may.
pub(crate) fn is_ours(key: &str) -> bool {
    Member::of_word(key).is_some_and(|member| member.written_by() != Writer::Author)
}

/// Checks proposals all or nothing; the error names the first that cannot be taken.
pub fn propose(
    snapshot: &Snapshot,
    workflow: &Workflow,
    parent: &Task,
    proposals: &[Map<String, Value>],
) -> Result<Vec<NewTask>, String> {
    if proposals.len() > MAX {
        return Err(format!("{} tasks at once, at most {MAX} are allowed", proposals.len()));
    }
    if proposals.is_empty() {
        return Ok(Vec::new());
    }
    within_bounds(snapshot, workflow, parent, proposals.len())?;
    // Each sees those before it.
    let mut seen = snapshot.clone();
    let mut new: Vec<NewTask> = Vec::new();
    for (at, proposal) in proposals.iter().enumerate() {
        let one = one(&seen, workflow, parent, proposal).map_err(|reason| format!("task {}: {reason}", at + 1))?;
        Arc::make_mut(&mut seen.queue).push(one.task.clone());
        new.push(one);
    }
    for NewTask { task, .. } in &new {
        if let Some(name) = task.dependencies.iter().find(|name| seen.queue.find(name).is_none()) {
            return Err(format!("{} depends on `{name}`, which is neither in the queue nor proposed", task.id));
        }
        // A cycle among the new ones would wait for ever.
        if let Waits::InCycle(way) = seen.queue.waits(task) {
            return Err(format!("{} waits for itself: {way}", task.id));
        }
    }
    Ok(new)
}

/// Refuses more tasks in a family than its bounds allow, however often its tasks are planned anew.
fn within_bounds(snapshot: &Snapshot, workflow: &Workflow, parent: &Task, more: usize) -> Result<(), String> {
    let bounds = &workflow.policy().bounds;
    let (root, generation) = snapshot.family(&parent.id);
    if generation >= bounds.generations {
        return Err(format!(
            "{} is itself planned, {generation} generations below {root}, and {} are allowed (limits.generations): answer `done` without tasks, so that it is built as one",
            parent.id, bounds.generations
        ));
    }
    let planned = snapshot.planned(&root);
    let left = usize::try_from(bounds.children.saturating_sub(planned)).unwrap_or(usize::MAX);
    if more > left {
        return Err(format!(
            "{planned} tasks were planned below {root} so far, and {} are allowed (limits.children): {left} more at most; a human allows that many again with: agentctl task retry {}",
            bounds.children, parent.id
        ));
    }
    Ok(())
}

fn one(
    snapshot: &Snapshot,
    workflow: &Workflow,
    parent: &Task,
    proposal: &Map<String, Value>,
) -> Result<NewTask, String> {
    let string = |key: &str| match proposal.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("`{key}` must be a text, not {other}")),
    };
    let list = |key: &str| match proposal.get(key).filter(|value| !value.is_null()) {
        None => Ok(Vec::new()),
        Some(value) => Vec::<String>::deserialize(value).map_err(|_| format!("`{key}` must be a list of texts")),
    };
    let title = string("title")?.filter(|title| !title.trim().is_empty()).ok_or("it has no `title`")?;
    let kind = string("type")?.unwrap_or_else(|| "Build".into());
    let id = match string("id")? {
        Some(id) => {
            let id = TaskId::parse(&id).map_err(|bad| format!("its id {bad}"))?;
            if snapshot.queue.get(&id).is_some() {
                return Err(format!("the id `{id}` is taken"));
            }
            if snapshot.highest_token(&id).0 > 0 {
                return Err(format!("the id `{id}` was used before"));
            }
            id
        }
        None => next_id(snapshot, Some(parent.id.as_str()), Some(&kind)),
    };
    let mut task = Task::new(id, Status::BLOCKED);
    task.title = text::cut(&text::one_line(&title), Task::LONGEST_TITLE);
    task.kind = Some(kind);
    task.parent = Some(parent.id.to_string());
    task.dependencies = match list("dependencies")? {
        none if none.is_empty() => list("depends_on")?,
        some => some,
    };
    if task.dependencies.iter().any(|name| *name == parent.id.as_str()) {
        return Err(format!("it depends on {}, of which it is a part", parent.id));
    }
    task.description = string("description")?;
    task.complexity = string("complexity")?;
    task.acceptance_criteria = list("acceptance_criteria")?;
    // What a person demands of the whole is demanded of its parts.
    task.gates.clone_from(&parent.gates);
    task.exit_gates.clone_from(&parent.exit_gates);
    task.priority = match proposal.get("priority") {
        None | Some(Value::Null) => parent.priority,
        // Nothing gets ahead of others by being split.
        Some(value) => value.as_i64().ok_or("`priority` must be a whole number")?.max(parent.priority),
    };
    // With dependencies it waits as `blocked`; coordination moves it to its start when they are done.
    task.status = match task.dependencies.is_empty() {
        true => workflow.start(&task, &snapshot.queue),
        false => Status::BLOCKED,
    };
    // What an agent makes of text that is not trusted is not trusted either.
    task.trusted = parent.trusted;
    task.source.clone_from(&parent.source);
    task.updated_at = Some(snapshot.now.wall);
    let mut json = task.entry();
    // What no rule reads is kept as it was said.
    let more = proposal.iter().filter(|(key, value)| Member::of_word(key).is_none() && !value.is_null());
    json.extend(more.map(|(key, value)| (key.clone(), value.clone())));
    Ok(NewTask { task, json })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::snapshot;
    use serde_json::json;

    fn proposed(proposals: &[Value]) -> Result<Vec<NewTask>, String> {
        let parent = Task::new(TaskId::parse("P001").expect("id"), Status::PLANNING);
        let before = snapshot(vec![parent.clone()]);
        let proposals: Vec<_> = proposals.iter().map(|p| p.as_object().expect("an object").clone()).collect();
        propose(&before, &Workflow::shipped(), &parent, &proposals)
    }

    #[test]
    fn ids_and_starts_follow_the_type() {
        let new = proposed(&[
            json!({"title": "a"}),
            json!({"title": "b", "type": "Build", "dependencies": ["P001-B01"]}),
            json!({"title": "c", "type": "Test", "dependencies": ["P001-B02"]}),
            json!({"title": "d", "type": "Test"}),
        ])
        .expect("good proposals");
        let rows: Vec<String> = new.iter().map(|n| format!("{} {}", n.task.id, n.task.status)).collect();
        assert_eq!(rows, ["P001-B01 ready", "P001-B02 blocked", "P001-T01 blocked", "P001-T02 awaiting_test"]);
    }

    #[test]
    fn what_is_not_ours_to_read_is_kept_and_what_is_ours_to_write_is_not_taken() {
        let new = proposed(&[json!({"title": "a", "estimated_time": "75 min", "lease": "me#9", "attempts": 7})])
            .expect("good");
        assert_eq!(new[0].json["estimated_time"], "75 min");
        assert_eq!(new[0].json["lease"], Value::Null);
        assert!(!new[0].json.contains_key("attempts"));
    }

    #[test]
    fn a_proposal_carries_nothing_that_a_rule_reads_but_what_is_named() {
        for member in Member::ALL.iter().filter(|member| member.written_by() != Writer::Author) {
            let key = member.as_str();
            let plain = proposed(&[json!({"title": "a"})]).expect("good");
            let new = proposed(&[json!({"title": "a", key: "integrator"})]).expect("good");
            assert_eq!(new, plain, "{key}");
        }
        let new = proposed(&[json!({"title": "a", "status": "ready_for_integrator", "branch": "feat/zz",
            "gates": [], "exit_gates": ["none"], "priority": 1})])
        .expect("good");
        assert_eq!((&new[0].task.status, new[0].task.priority), (&Status::READY, Task::DEFAULT_PRIORITY));
        assert_eq!((&new[0].task.branch, new[0].task.gates.len()), (&None, 0));
    }

    #[test]
    fn what_a_person_demands_of_the_whole_is_demanded_of_its_parts() {
        let mut parent = Task::new(TaskId::parse("P001").expect("id"), Status::PLANNING);
        (parent.gates, parent.exit_gates) = (vec!["lint".into()], vec!["no warnings".into()]);
        let before = snapshot(vec![parent.clone()]);
        let proposal = json!({"title": "a", "gates": ["other"]}).as_object().expect("an object").clone();
        let new = propose(&before, &Workflow::shipped(), &parent, &[proposal]).expect("good");
        assert_eq!(new[0].task.gates, ["lint"]);
        assert_eq!(new[0].json["gates"], json!(["lint"]));
        assert_eq!(new[0].json["exit_gates"], json!(["no warnings"]));
    }

    #[test]
    fn bad_proposals_are_refused_with_their_number() {
        for (proposals, word) in [
            (vec![json!({})], "title"),
            (vec![json!({"title": "a", "id": "../../x"})], "id"),
            (vec![json!({"title": "a", "id": "P001"})], "taken"),
            (vec![json!({"title": "a", "id": "X"}), json!({"title": "b", "id": "X"})], "task 2"),
            (vec![json!({"title": "a", "dependencies": ["ghost"]})], "ghost"),
            (vec![json!({"title": "a", "dependencies": ["P001"]})], "is a part"),
            (vec![json!({"title": "a", "priority": "high"})], "priority"),
            (
                vec![
                    json!({"title": "a", "id": "X", "dependencies": ["Y"]}),
                    json!({"title": "b", "id": "Y", "dependencies": ["X"]}),
                ],
                "waits for itself",
            ),
        ] {
            let refused = proposed(&proposals).expect_err("refused");
            assert!(refused.contains(word), "{refused}");
        }
    }
}
