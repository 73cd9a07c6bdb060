//! How one sprint ends and the next begins.
//!
//! To complete a sprint changes two words of the file. To begin the next one takes out what was finished and leaves
//! every byte of what goes on; the store archives the file as it was in the same step.

use std::collections::BTreeSet;

use chrono::Datelike as _;
use serde_json::{Map, Value, json};

use crate::{
    ChangeSet, Data, EventDraft, Queue, Snapshot, Task, TaskId, Workflow,
    claim::leased,
    coordinate::counted,
    event::{
        Actor,
        payload::{SprintChange, Texts},
    },
    external_edits,
    sprint::{Head, Progress, Sprint},
    time::stamp,
};

/// Tasks of this priority, or a smaller number, are done before a sprint is completed.
pub const CRITICAL: i64 = 3;

/// The reason why a sprint is not completed, or no new one begun; a sentence of its own.
#[expect(missing_docs, reason = "the sentence says what each field is")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The file names no number, and archive, log and tag would have no name.
    #[error("the queue file names no sprint: it has no number in `sprint`")]
    NoNumber,
    /// An old file was put back.
    #[error("an old queue file was put back: {0}")]
    Behind(String),
    /// Tasks that should be done first are open.
    #[error("{} of priority {CRITICAL} or smaller: {}", tasks_open(.0.len()), words(.0))]
    Critical(Vec<TaskId>),
    /// The sprint is not over.
    #[error("sprint {number} is not completed{}", .status.as_ref().map(|status| format!(", it is `{status}`")).unwrap_or_default())]
    NotCompleted { number: u64, status: Option<String> },
    /// Somebody works.
    #[error("{} being worked on: {}", is_are(.0.len()), words(.0))]
    Active(Vec<TaskId>),
    /// Nobody said what becomes of what is open.
    #[error("{}: {}", tasks_open(.0.len()), words(.0))]
    Open(Vec<TaskId>),
}

fn tasks_open(count: usize) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{} {verb} open", crate::text::many(count, "task"))
}

fn is_are(count: usize) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{} {verb}", crate::text::many(count, "task"))
}

fn words(ids: &[TaskId]) -> String {
    let shown: Vec<&str> = ids.iter().take(20).map(TaskId::as_str).collect();
    let more = if ids.len() > shown.len() { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// The way in which a sprint is ended.
#[derive(Clone, Debug, Default)]
pub struct End<'a> {
    /// Also where tasks are open that should be done first.
    pub force: bool,
    /// It is given up, or ends with what is open.
    pub closed: bool,
    /// The reason, for journal and retrospective.
    pub reason: Option<&'a str>,
}

/// The treatment of the tasks that are open when a new sprint begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Nobody said: there must be none.
    Unsaid,
    /// They go on in the new sprint.
    Carried,
    /// They stay behind, in the archive only.
    Left,
}

/// Returns the tasks that are not finished, in the order of the file.
pub fn open(queue: &Queue) -> impl Iterator<Item = &Task> {
    queue.tasks().filter(|task| !task.status.is_finished())
}

fn ids<'a>(tasks: impl Iterator<Item = &'a Task>) -> Vec<TaskId> {
    tasks.map(|task| task.id.clone()).collect()
}

fn texts(ids: &[TaskId]) -> Texts {
    Texts(ids.iter().map(TaskId::to_string).collect())
}

fn number(snapshot: &Snapshot) -> Result<u64, Refusal> {
    match external_edits::behind(snapshot) {
        Some(behind) => Err(Refusal::Behind(behind.reason)),
        None => snapshot.queue.sprint.number.ok_or(Refusal::NoNumber),
    }
}

/// Completes the sprint; nothing where it is completed already.
pub fn complete(snapshot: &Snapshot, end: &End<'_>, actor: &Actor) -> Result<ChangeSet, Refusal> {
    let number = number(snapshot)?;
    let (queue, sprint) = (&snapshot.queue, &snapshot.queue.sprint);
    if sprint.is_completed() {
        return Ok(ChangeSet::none());
    }
    let critical = ids(open(queue).filter(|task| task.priority <= CRITICAL));
    if !critical.is_empty() && !end.force && !end.closed {
        return Err(Refusal::Critical(critical));
    }
    let progress = Progress::of(queue);
    let count = |count: usize| Some(count as u64);
    let said = SprintChange {
        sprint: Some(number),
        id: sprint.id.clone(),
        goal: sprint.goal.clone(),
        total: count(progress.total),
        done: count(progress.done),
        cancelled: count(progress.cancelled),
        open: texts(&ids(open(queue))),
        forced: !critical.is_empty() && !end.closed,
        closed: end.closed,
        reason: end.reason.map(String::from),
        ..SprintChange::default()
    };
    let mut changes = ChangeSet::none();
    changes.head.insert(Head::Status, Sprint::COMPLETED.into());
    let at: Value = stamp(snapshot.now.wall).into();
    if sprint.has_metadata {
        changes.head.insert(Head::CompletedAt, at);
    } else {
        changes.head.insert(Head::Metadata, json!({ Head::CompletedAt.as_str(): at }));
    }
    if sprint.told_again.is_some() {
        changes.head.insert(Head::ToldAgain, Sprint::COMPLETED.into());
    }
    changes.event(EventDraft::new(Data::SprintCompleted(said), actor.clone()));
    Ok(changes)
}

/// Begins the next sprint, once the present one is completed and nobody works.
pub fn begin(
    snapshot: &Snapshot,
    workflow: &Workflow,
    with: Open,
    goal: Option<&str>,
    actor: &Actor,
) -> Result<ChangeSet, Refusal> {
    let previous = number(snapshot)?;
    let (queue, sprint) = (&snapshot.queue, &snapshot.queue.sprint);
    if !sprint.is_completed() {
        return Err(Refusal::NotCompleted { number: previous, status: sprint.status.clone() });
    }
    let is_active = |task: &&Task| workflow.working(&task.status).is_some() || leased(snapshot, task).is_some();
    let active = ids(queue.tasks().filter(is_active));
    if !active.is_empty() {
        return Err(Refusal::Active(active));
    }
    let open_ones = ids(open(queue));
    if with == Open::Unsaid && !open_ones.is_empty() {
        return Err(Refusal::Open(open_ones));
    }
    let stays = if with == Open::Carried { staying(queue) } else { BTreeSet::new() };
    let is_gone = |task: &&Task| !stays.contains(&task.place);
    let gone = ids(queue.tasks().filter(is_gone));
    let carried: Vec<TaskId> = if with == Open::Carried { open_ones.clone() } else { Vec::new() };
    let (next, wall) = (previous.saturating_add(1), snapshot.now.wall);
    let id = format!("SPRINT-{}-{next:03}", wall.year());
    let mut changes = ChangeSet {
        // What is inside another entry goes or stays with that.
        remove: ids(queue.tasks().filter(is_gone).filter(|task| !task.nested)),
        archive: Some(previous),
        ..ChangeSet::none()
    };
    let status = if carried.is_empty() { Sprint::PLANNING } else { Sprint::IN_PROGRESS };
    let metadata = metadata(snapshot, workflow, &id, next, status, goal, &changes.remove);
    changes.head.insert(Head::Number, next.into());
    changes.head.insert(Head::Id, id.clone().into());
    changes.head.insert(Head::Status, status.into());
    changes.head.insert(Head::Metadata, Value::Object(metadata));
    let said = SprintChange {
        sprint: Some(next),
        id: Some(id),
        goal: goal.map(String::from),
        previous: Some(previous),
        open: if with == Open::Left { texts(&open_ones) } else { Texts::default() },
        carried: texts(&carried),
        gone: texts(&gone),
        ..SprintChange::default()
    };
    changes.event(EventDraft::new(Data::SprintStarted(said), actor.clone()));
    Ok(changes)
}

/// Tells that a sprint has got a task that plans it, with its goal where a person names one: it is at work from now on.
pub fn planned(snapshot: &Snapshot, goal: Option<&str>, actor: &Actor) -> ChangeSet {
    let sprint = &snapshot.queue.sprint;
    let mut changes = ChangeSet::none();
    if sprint.status.as_deref() == Some(Sprint::PLANNING) {
        changes.head.insert(Head::Status, Sprint::IN_PROGRESS.into());
        if sprint.told_again.is_some() {
            changes.head.insert(Head::ToldAgain, Sprint::IN_PROGRESS.into());
        }
    }
    match goal {
        Some(goal) if sprint.has_metadata => drop(changes.head.insert(Head::Goal, goal.into())),
        Some(goal) => drop(changes.head.insert(Head::Metadata, json!({ Head::Goal.as_str(): goal }))),
        None => {}
    }
    let goal = goal.map(String::from);
    let said = SprintChange { sprint: sprint.number, id: sprint.id.clone(), goal, ..SprintChange::default() };
    changes.event(EventDraft::new(Data::SprintPlanned(said), actor.clone()));
    changes
}

/// Returns the places of the entries that go on: open tasks, what they name as their parent or wait for, the children
/// of open parents, and whatever stands in one entry with these.
fn staying(queue: &Queue) -> BTreeSet<usize> {
    let place = |name: &String| queue.find(name).map(|task| task.place);
    let mut stays: BTreeSet<usize> = open(queue)
        .flat_map(|task| {
            let named = task.dependencies.iter().chain(&task.parent).filter_map(place);
            let children = queue.children(&task.id).map(|child| child.place);
            std::iter::once(task.place).chain(named).chain(children).collect::<Vec<_>>()
        })
        .collect();
    // An entry is whole: it stays with all that is inside it.
    let mut entry: Vec<usize> = Vec::new();
    let mut settle = |entry: &mut Vec<usize>| {
        if entry.iter().any(|place| stays.contains(place)) {
            stays.extend(entry.iter().copied());
        }
        entry.clear();
    };
    for task in queue.tasks() {
        if !task.nested {
            settle(&mut entry);
        }
        entry.push(task.place);
    }
    settle(&mut entry);
    stays
}

/// Returns the `metadata` of a new sprint, in the form that the old fleet gave it.
fn metadata(
    snapshot: &Snapshot,
    workflow: &Workflow,
    id: &str,
    next: u64,
    status: &str,
    goal: Option<&str>,
    gone: &[TaskId],
) -> Map<String, Value> {
    let (before, now) = (&snapshot.queue, stamp(snapshot.now.wall));
    let sprint = &before.sprint;
    let mut left = Queue::clone(before);
    left.remove(gone);
    let mut metadata = Map::new();
    let mut say = |key: String, value: Value| metadata.insert(key, value);
    say("created".into(), now.clone().into());
    say("updated".into(), now.into());
    say("sprint_id".into(), id.into());
    say("sprint_goal".into(), goal.into());
    say("sprint_status".into(), status.into());
    // Counters that were kept are kept; what we cannot count is its author's to begin anew.
    for key in before.counters.keys() {
        if let Some(count) = counted(&left, workflow, key) {
            say(key.clone(), count.into());
        }
    }
    say(format!("sprint_{next}_start"), snapshot.now.wall.format("%Y-%m-%d").to_string().into());
    let progress = Progress::of(before);
    let rate = progress.percent().map(|percent| format!("{percent}%"));
    say(
        "previous_sprint".into(),
        json!({
            "sprint": sprint.number,
            "sprint_id": sprint.id,
            "status": sprint.status,
            "completion_date": sprint.completed_at.map(stamp),
            "success_rate": rate,
            "tasks_completed": progress.done,
            "tasks_total": progress.total,
        }),
    );
    metadata
}

/// Tells whether nothing is claimed because the sprint is over.
pub fn is_over(snapshot: &Snapshot) -> bool {
    snapshot.queue.sprint.is_completed()
}

/// Says so, where tasks wait.
pub fn over(snapshot: &Snapshot) -> String {
    let name = snapshot.queue.sprint.number.map(|number| format!("sprint {number}"));
    format!("{} is completed, and nothing more of it is claimed", name.unwrap_or_else(|| "the sprint".into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tests::{id, lease, snapshot, task};
    use crate::{Holder, LeaseRecord, LeaseState, Role, Status};

    fn actor() -> Actor {
        Actor::Human("ada".into())
    }

    fn prio(name: &str, status: Status, priority: i64) -> Task {
        Task { priority, ..task(name, status) }
    }

    fn sprint(tasks: Vec<Task>) -> Snapshot {
        let mut all = snapshot(tasks);
        Arc::make_mut(&mut all.queue).sprint =
            Sprint { number: Some(2), status: Some("in_progress".into()), has_metadata: true, ..Sprint::default() };
        all
    }

    fn completed(tasks: Vec<Task>) -> Snapshot {
        let all = sprint(tasks);
        all.after(&complete(&all, &End { force: true, ..End::default() }, &actor()).expect("forced"))
    }

    fn begun(before: &Snapshot, with: Open) -> Result<ChangeSet, Refusal> {
        begin(before, &Workflow::shipped(), with, None, &actor())
    }

    fn said(changes: &ChangeSet) -> &SprintChange {
        match &changes.events[0].data {
            Data::SprintCompleted(said) | Data::SprintStarted(said) => said,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sprint_is_not_completed_while_what_should_be_done_first_is_open() {
        let all = sprint(vec![
            prio("A", Status::DONE, 1),
            prio("B", Status::READY, 3),
            prio("C", Status::BLOCKED, 2),
            prio("D", Status::READY, 4),
            prio("E", Status::CANCELLED, 1),
        ]);
        let refused = complete(&all, &End::default(), &actor());
        assert_eq!(refused, Err(Refusal::Critical(vec![id("B"), id("C")])));
        let words = refused.unwrap_err().to_string();
        assert_eq!(words, "2 tasks are open of priority 3 or smaller: B, C");
        for (end, forced, closed) in [
            (End { force: true, ..End::default() }, true, false),
            (End { closed: true, reason: Some("given up"), ..End::default() }, false, true),
        ] {
            let changes = complete(&all, &end, &actor()).expect("completed");
            assert_eq!((said(&changes).forced, said(&changes).closed), (forced, closed));
            assert_eq!(said(&changes).open.0, ["B", "C", "D"]);
            assert_eq!((said(&changes).done, said(&changes).total), (Some(1), Some(5)));
            let after = all.after(&changes);
            assert!(after.queue.sprint.is_completed() && after.queue.sprint.completed_at.is_some());
            assert_eq!(after.history.sprint, Some(2));
            assert_eq!(complete(&after, &end, &actor()), Ok(ChangeSet::none()), "it can be said again");
        }
    }

    #[test]
    fn an_empty_sprint_is_completed_and_one_without_a_number_is_not() {
        let mut all = sprint(Vec::new());
        assert_eq!(said(&complete(&all, &End::default(), &actor()).expect("completed")).total, Some(0));
        Arc::make_mut(&mut all.queue).sprint.number = None;
        assert_eq!(complete(&all, &End::default(), &actor()), Err(Refusal::NoNumber));
    }

    #[test]
    fn a_status_that_is_told_twice_is_told_twice_and_where_nothing_is_told_little_is_begun() {
        let mut all = sprint(Vec::new());
        let head = |all: &Snapshot| {
            let changes = complete(all, &End::default(), &actor()).expect("completed");
            changes.head.keys().copied().collect::<Vec<_>>()
        };
        assert_eq!(head(&all), [Head::Status, Head::CompletedAt]);
        Arc::make_mut(&mut all.queue).sprint.told_again = Some("in_progress".into());
        assert_eq!(head(&all), [Head::Status, Head::CompletedAt, Head::ToldAgain]);
        Arc::make_mut(&mut all.queue).sprint = Sprint { number: Some(1), ..Sprint::default() };
        assert_eq!(head(&all), [Head::Status, Head::Metadata]);
    }

    #[test]
    fn a_new_sprint_needs_one_that_is_completed_and_nobody_at_work() {
        let open = sprint(vec![task("A", Status::READY)]);
        assert!(matches!(begun(&open, Open::Carried), Err(Refusal::NotCompleted { number: 2, .. })));
        let active = completed(vec![task("A", Status::IN_PROGRESS), task("B", Status::READY)]);
        assert_eq!(begun(&active, Open::Carried), Err(Refusal::Active(vec![id("A")])));
        let mut held = completed(vec![task("B", Status::READY)]);
        let record = LeaseRecord::Ours(lease("B", &Role::BUILDER, 1));
        held.leases.insert(id("B"), LeaseState { record, holder: Holder::Alive });
        assert_eq!(begun(&held, Open::Left), Err(Refusal::Active(vec![id("B")])));
        let unsaid = completed(vec![task("A", Status::DONE), task("B", Status::READY)]);
        assert_eq!(begun(&unsaid, Open::Unsaid), Err(Refusal::Open(vec![id("B")])));
    }

    #[test]
    fn what_is_open_goes_on_with_what_it_waits_for_and_the_rest_leaves_the_queue() {
        let mut tasks = vec![
            task("A", Status::DONE),
            task("B", Status::DONE),
            task("C", Status::READY),
            task("D", Status::PLANNING_COMPLETE),
            task("D-1", Status::DONE),
            task("E", Status::CANCELLED),
        ];
        tasks[2].dependencies = vec!["A".into()];
        tasks[4].parent = Some("D".into());
        let before = completed(tasks);
        let changes = begun(&before, Open::Carried).expect("begun");
        assert_eq!(changes.remove, [id("B"), id("E")]);
        assert_eq!((changes.archive, changes.head[&Head::Number].as_u64()), (Some(2), Some(3)));
        assert_eq!((said(&changes).carried.0.join(" "), said(&changes).gone.0.join(" ")), ("C D".into(), "B E".into()));
        let after = before.after(&changes);
        let names: Vec<&str> = after.queue.tasks().map(|task| task.id.as_str()).collect();
        assert_eq!(names, ["A", "C", "D", "D-1"]);
        assert_eq!((after.queue.sprint.status.as_deref(), after.history.sprint), (Some("in_progress"), Some(3)));
        assert_eq!(after.queue.waits(after.queue.find("C").expect("there")), crate::queue::Waits::No);

        let changes = begun(&before, Open::Left).expect("begun");
        assert_eq!((changes.remove.len(), said(&changes).open.0.join(" ")), (6, "C D".into()));
        let after = before.after(&changes);
        assert!(after.queue.is_empty());
        assert_eq!(after.queue.sprint.status.as_deref(), Some("planning"));
        let told = external_edits::decide(&Snapshot {
            history: Arc::new(crate::History { baseline: true, ..(*after.history).clone() }),
            ..after
        });
        assert!(told.is_empty(), "nobody else took them away: {told:?}");
    }

    #[test]
    fn a_sprint_that_is_planned_is_at_work_and_has_the_goal_that_a_person_named() {
        let mut all = sprint(Vec::new());
        let told = |all: &Snapshot, goal| all.after(&planned(all, goal, &actor())).queue.sprint.clone();
        Arc::make_mut(&mut all.queue).sprint.status = Some("planning".into());
        let now = told(&all, None);
        assert_eq!((now.status.as_deref(), now.goal), (Some("in_progress"), None), "nothing is invented");
        assert_eq!(told(&all, Some("fast")).goal.as_deref(), Some("fast"));
        Arc::make_mut(&mut all.queue).sprint = Sprint { status: Some("completed".into()), ..Sprint::default() };
        let now = told(&all, Some("fast"));
        assert_eq!((now.status.as_deref(), now.goal.as_deref()), (Some("completed"), Some("fast")));
    }

    #[test]
    fn an_entry_stays_whole_where_a_part_of_it_is_open() {
        let mut tasks = vec![task("A", Status::DONE), task("A-1", Status::READY), task("B", Status::DONE)];
        (tasks[1].nested, tasks[1].parent) = (true, Some("A".into()));
        let changes = begun(&completed(tasks), Open::Carried).expect("begun");
        assert_eq!(changes.remove, [id("B")]);
    }

    #[test]
    fn the_file_of_a_sprint_that_is_over_stops_every_claim_when_it_is_put_back() {
        let before = completed(vec![task("A", Status::READY)]);
        let mut after = before.after(&begun(&before, Open::Carried).expect("begun"));
        assert!(external_edits::behind(&after).is_none());
        after.queue = sprint(vec![task("A", Status::READY)]).queue;
        let behind = external_edits::behind(&after).expect("it is of sprint 2");
        assert_eq!(behind.reason, "the journal says that sprint 3 has begun, the queue file is of sprint 2");
        assert!(matches!(complete(&after, &End::default(), &actor()), Err(Refusal::Behind(_))));
    }
}
