//! Tasks that a planner proposes, checked and completed before they may enter the queue.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::{Member, NewTask, Snapshot, Status, Task, TaskId, Workflow, time::stamp};

/// How many tasks one attempt may propose.
pub const MAX: usize = 100;

/// The members of a proposal that become a task's own; what else rules read or write is never taken from an agent.
pub const TAKEN: [&str; 9] = [
    "id",
    "title",
    "type",
    "description",
    "priority",
    "acceptance_criteria",
    "dependencies",
    "depends_on",
    "complexity",
];

/// Members that only people, rules and workers set, beside those that rules write.
const OURS: [&str; 17] = [
    "role",
    "gates",
    "exit_gates",
    "budget",
    "trusted",
    "source",
    "parent",
    "parent_task",
    "subtasks",
    "starts",
    "created_at",
    "approval",
    "approved",
    "simulated",
    "metadata",
    "wip_limits",
    "tasks",
];

/// Tells whether a member of a task is none that an agent may propose.
pub fn is_ours(key: &str) -> bool {
    Member::ALL.iter().any(|member| member.key() == key) || OURS.contains(&key)
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
    if !proposals.is_empty() {
        within_bounds(snapshot, workflow, parent, proposals.len())?;
    }
    let mut taken: HashSet<String> = HashSet::new();
    let mut new: Vec<NewTask> = Vec::new();
    for (at, proposal) in proposals.iter().enumerate() {
        let task =
            one(snapshot, workflow, parent, proposal, &taken).map_err(|reason| format!("task {}: {reason}", at + 1))?;
        taken.insert(task.task.id.to_string());
        new.push(task);
    }
    for task in &new {
        for name in &task.task.dependencies {
            if !taken.contains(name) && snapshot.queue.find(name).is_none() {
                return Err(format!(
                    "{} depends on `{name}`, which is neither in the queue nor proposed",
                    task.task.id
                ));
            }
        }
    }
    // A cycle among the new ones would wait for ever.
    let mut queue = (*snapshot.queue).clone();
    for task in &new {
        queue.push(task.task.clone());
    }
    for task in &new {
        if let crate::queue::Waits::InCycle(way) = queue.waits(&task.task) {
            return Err(format!("{} waits for itself: {way}", task.task.id));
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
            "{planned} tasks were planned below {root} so far, and {} are allowed (limits.children): {left} more at most; a human allows as many again with: agentctl task retry {}",
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
    taken: &HashSet<String>,
) -> Result<NewTask, String> {
    let text = |key: &str| match proposal.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("`{key}` must be a text, not {other}")),
    };
    let list = |key: &str| match proposal.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(String::from).ok_or_else(|| format!("`{key}` must be a list of texts")))
            .collect(),
        Some(_) => Err(format!("`{key}` must be a list of texts")),
    };
    let title = text("title")?.filter(|title| !title.trim().is_empty()).ok_or("it has no `title`")?;
    let kind = text("type")?.unwrap_or_else(|| "Build".into());
    let is_free =
        |id: &str| snapshot.queue.find(id).is_none() && !taken.contains(id) && snapshot.highest_token_of(id).0 == 0;
    let id = match text("id")? {
        Some(id) => {
            let id = TaskId::parse(&id).map_err(|bad| format!("its id {bad}"))?;
            if snapshot.queue.get(&id).is_some() || taken.contains(id.as_str()) {
                return Err(format!("the id `{id}` is taken"));
            }
            if !is_free(id.as_str()) {
                return Err(format!("the id `{id}` was used before"));
            }
            id
        }
        None => {
            let letter = if kind.to_ascii_lowercase().starts_with("test") { 'T' } else { 'B' };
            (1..)
                .map(|n| format!("{}-{letter}{n:02}", parent.id))
                .find(|id| is_free(id))
                .and_then(|id| TaskId::parse(&id).ok())
                .ok_or("no id can be made from the parent's")?
        }
    };
    let mut task = Task::new(id, Status::BLOCKED);
    task.title = crate::text::cut(&crate::text::one_line(&title), Task::LONGEST_TITLE);
    task.kind = Some(kind);
    task.parent = Some(parent.id.to_string());
    task.dependencies = match list("dependencies")? {
        none if none.is_empty() => list("depends_on")?,
        some => some,
    };
    if task.dependencies.iter().any(|name| *name == parent.id.as_str()) {
        return Err(format!("it depends on {}, whose part it is", parent.id));
    }
    task.description = text("description")?;
    task.complexity = text("complexity")?;
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
        true => workflow.start(&task, false),
        false => Status::BLOCKED,
    };
    // What an agent makes of text that is not trusted is not trusted either.
    task.trusted = parent.trusted;
    task.source.clone_from(&parent.source);
    let json = entry(snapshot, &task, proposal);
    task.created_at = json.get("created_at").and_then(Value::as_str).map(String::from);
    task.updated_at = Some(snapshot.now.wall);
    Ok(NewTask { task, json })
}

/// Writes a new task as it will stand in the file: the usual members in the usual order, then whatever else was given.
pub fn entry(snapshot: &Snapshot, task: &Task, given: &Map<String, Value>) -> Map<String, Value> {
    let mut json = Map::new();
    let optional = |value: &Option<String>| value.as_ref().map(|text| Value::from(text.as_str()));
    let list = |items: &[String]| (!items.is_empty()).then(|| Value::from(items.to_vec()));
    json.insert("id".into(), task.id.as_str().into());
    json.insert("title".into(), task.title.as_str().into());
    json.insert("type".into(), optional(&task.kind).unwrap_or("Story".into()));
    json.insert("status".into(), task.status.as_str().into());
    json.insert("priority".into(), task.priority.into());
    json.insert("agent".into(), Value::Null);
    json.insert("lease".into(), Value::Null);
    json.insert("dependencies".into(), task.dependencies.clone().into());
    for (key, value) in [
        ("parent", optional(&task.parent)),
        ("complexity", optional(&task.complexity)),
        ("description", optional(&task.description)),
        ("acceptance_criteria", list(&task.acceptance_criteria)),
        ("gates", list(&task.gates)),
        ("exit_gates", list(&task.exit_gates)),
    ] {
        if let Some(value) = value {
            json.insert(key.into(), value);
        }
    }
    if !task.trusted {
        json.insert("trusted".into(), false.into());
        json.extend(optional(&task.source).map(|source| ("source".to_owned(), source)));
    }
    // What no rule reads is kept as it was said.
    for (key, value) in given {
        if !json.contains_key(key) && !is_ours(key) && !TAKEN.contains(&key.as_str()) && !value.is_null() {
            json.insert(key.clone(), value.clone());
        }
    }
    json.insert(Member::UpdatedAt.key().into(), stamp(snapshot.now.wall).into());
    json
}

/// Reads an entry that we wrote back into a task.
pub fn task_of(id: &TaskId, json: &Map<String, Value>) -> Task {
    let text = |key: &str| json.get(key).and_then(Value::as_str).map(String::from);
    let list = |key: &str| -> Vec<String> {
        let items = json.get(key).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(String::from).collect()
    };
    let time = |key: &str| text(key).and_then(|time| time.parse().ok());
    let mut task = Task::new(id.clone(), Status::new(text("status").unwrap_or_default()));
    task.title = text("title").unwrap_or_default();
    task.kind = text("type");
    task.priority = json.get("priority").and_then(Value::as_i64).unwrap_or(task.priority);
    task.agent = text("agent");
    task.lease = crate::QueueLease::from_text(&text("lease").unwrap_or_default());
    task.dependencies = list("dependencies");
    task.parent = text("parent");
    task.complexity = text("complexity");
    task.description = text("description");
    task.acceptance_criteria = list("acceptance_criteria");
    task.gates = list("gates");
    task.attempts = json.get("attempts").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    task.not_before = time("not_before");
    task.blocked_reason = text("blocked_reason");
    task.branch = text("branch");
    task.trusted = json.get("trusted").and_then(Value::as_bool).unwrap_or(true);
    task.source = text("source");
    task.created_at = text("created_at");
    task.updated_at = time("updated_at");
    task
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::snapshot;
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
        for key in OURS.into_iter().chain(Member::ALL.iter().map(|member| member.key())) {
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
            (vec![json!({"title": "a", "dependencies": ["P001"]})], "whose part"),
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
