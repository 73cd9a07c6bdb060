//! New tasks: what a person must say, what is filled in, which id comes next.

use super::{Answer, Refusal};
use crate::{
    ChangeSet, NewTask, Snapshot, Status, Task, TaskId, Workflow,
    event::{Actor, payload::TaskChange},
    time::stamp,
};

/// A task to be added, as a person describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// One line.
    pub title: String,
    /// The work to do.
    pub description: Option<String>,
    /// The `type` member; by its status when absent.
    pub kind: Option<String>,
    /// The `priority` member.
    pub priority: Option<i64>,
    /// The id; the next free one when absent.
    pub id: Option<String>,
    /// The tasks that must be done before it.
    pub dependencies: Vec<String>,
    /// The statements that must be true afterwards.
    pub acceptance_criteria: Vec<String>,
    /// The task that it is a part of.
    pub parent: Option<String>,
    /// Its first status; where new tasks begin when absent.
    pub status: Option<Status>,
    /// Gates beside its role's.
    pub gates: Vec<String>,
    /// The task that it follows on: it is trusted no more than that.
    pub of: Option<TaskId>,
}

/// Adds a task.
pub fn add(snapshot: &Snapshot, workflow: &Workflow, wanted: &Wanted, actor: &Actor) -> Answer {
    let title = check_title(&wanted.title)?;
    let status = wanted.status.clone().unwrap_or_else(|| workflow.entry());
    if !workflow.knows(&status) {
        return Err(Refusal::UnknownStatus { asked: status.to_string(), known: workflow.statuses() });
    }
    for name in wanted.dependencies.iter().chain(&wanted.parent) {
        if snapshot.queue.find(name).is_none() {
            return Err(Refusal::Unknown(name.clone()));
        }
    }
    let kind = wanted.kind.clone().or_else(|| workflow.kind(&status).map(String::from));
    let id = match &wanted.id {
        Some(id) => TaskId::parse(id).map_err(|bad| Refusal::BadTask(format!("the id {id:?} {bad}")))?,
        None => next_id(snapshot, wanted.parent.as_deref(), kind.as_deref()),
    };
    if snapshot.queue.get(&id).is_some() {
        return Err(Refusal::Taken(id));
    }
    if let Some(rule) = workflow.working(&status) {
        return Err(Refusal::OnlyByClaim { task: id, to: status, role: rule.role.clone() });
    }

    check_criteria(&wanted.acceptance_criteria)?;
    let mut task = Task::new(id.clone(), status);
    task.title = title.into();
    task.kind = kind;
    task.priority = wanted.priority.unwrap_or(Task::DEFAULT_PRIORITY);
    task.dependencies.clone_from(&wanted.dependencies);
    task.parent.clone_from(&wanted.parent);
    task.description.clone_from(&wanted.description);
    task.acceptance_criteria.clone_from(&wanted.acceptance_criteria);
    task.gates.clone_from(&wanted.gates);
    // A human vouches for what they write; an agent hands on what it was given.
    let parent = wanted.parent.as_deref().and_then(|parent| snapshot.queue.find(parent));
    let before = wanted.of.as_ref().and_then(|id| snapshot.queue.get(id));
    let mut given = [parent, before].into_iter().flatten();
    if let Some(from) = given.find(|from| !from.trusted && !matches!(actor, Actor::Human(_))) {
        task.trusted = false;
        task.source.clone_from(&from.source);
    }
    task.updated_at = Some(snapshot.now.wall);
    task.created_at = Some(stamp(snapshot.now.wall));
    let json = task.entry();
    let mut changes = ChangeSet::none();
    changes.add(NewTask { task, json }, actor.clone(), TaskChange::default());
    Ok(changes)
}

/// Returns the title without the space around it; refuses one that is none.
pub(super) fn check_title(title: &str) -> Result<&str, Refusal> {
    let title = title.trim();
    let length = title.chars().count();
    if title.is_empty() {
        return Err(Refusal::BadTask("a task needs a title".into()));
    }
    if length > Task::LONGEST_TITLE || title.contains('\n') {
        return Err(Refusal::BadTask(format!(
            "the title is {length} characters on {} lines; a title is one line of at most {}, the rest is the description",
            title.lines().count(),
            Task::LONGEST_TITLE
        )));
    }
    Ok(title)
}

/// Refuses a criterion that says nothing: nobody could meet it.
pub(super) fn check_criteria(criteria: &[String]) -> Result<(), Refusal> {
    match criteria.iter().any(|criterion| criterion.trim().is_empty()) {
        true => Err(Refusal::BadTask("an acceptance criterion is empty".into())),
        false => Ok(()),
    }
}

/// Returns the next free id in the style of the file: after `P001 … P007` it is `P008`; of the parent `P007` it is
/// `P007-B01`, or `P007-T01` for a test. Ids that the journal knows are not given twice.
pub fn next_id(snapshot: &Snapshot, parent: Option<&str>, kind: Option<&str>) -> TaskId {
    let ids = || snapshot.queue.tasks().map(|task| task.id.as_str());
    let (prefix, width) = match parent {
        Some(parent) => {
            let test = kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("test"));
            (format!("{parent}-{}", if test { "T" } else { "B" }), 2)
        }
        None => {
            let last = ids().filter_map(numbered).filter(|(prefix, ..)| !prefix.contains('-')).last();
            last.map_or(("T".to_owned(), 3), |(prefix, width, _)| (prefix.to_owned(), width))
        }
    };
    let known = ids().chain(snapshot.history.tasks.keys().map(TaskId::as_str));
    let alike = known.filter_map(numbered).filter(|(other, ..)| *other == prefix);
    let mut number = alike.map(|(.., number)| number).max().unwrap_or_default();
    loop {
        number += 1;
        let text = format!("{prefix}{number:0width$}");
        match TaskId::parse(&text) {
            Ok(id) if snapshot.queue.get(&id).is_none() => return id,
            Ok(_) => {}
            // Only a parent whose name fills all of the room makes an id that is none.
            Err(_) => return next_id(snapshot, None, kind),
        }
    }
}

/// Takes an id apart: `P007` is `P`, three digits, 7.
fn numbered(id: &str) -> Option<(&str, usize, u32)> {
    let prefix = id.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &id[prefix.len()..];
    // Longer numbers are dates and the like, not counters.
    (!prefix.is_empty() && (1..=6).contains(&digits.len()))
        .then(|| digits.parse().ok().map(|number| (prefix, digits.len(), number)))
        .flatten()
}
