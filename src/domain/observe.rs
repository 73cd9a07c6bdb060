//! What others did to the queue file, told by comparing it with the journal (R3, R10, R15).
//!
//! The store runs this before every other decision. It never undoes a human's edit: it notes it. It
//! writes only where another program's "read, change, replace" wrote over a change that we had made
//! in between, so that neither edit is lost.

use std::time::Duration;

use super::{EventDraft, History, Kind, Plan, Snapshot, Status, Task, TaskId, event::Actor, history::TaskHistory};

/// How long ago a change of ours may be for an edit without it to count as a race with that change.
/// A file that lacks an older change is an old file put back, which a human must confirm (R10).
pub const RACE: Duration = Duration::from_secs(60);

/// The journal knows more than the queue file: an old file was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// One task that shows it; the first in the file.
    pub task: TaskId,
    /// What is missing from the file.
    pub reason: String,
    /// How many tasks show it.
    pub count: usize,
}

/// How a task of the file compares with the journal.
enum Found<'a> {
    /// As the journal says.
    Same,
    /// New to the journal.
    New,
    /// Somebody set another status.
    Edited(&'a Status),
    /// Somebody wrote over a change that we had just made.
    Overwritten(&'a TaskHistory),
    /// The file lacks a change that we made long ago.
    Behind(&'a TaskHistory),
}

fn compare<'a>(snapshot: &'a Snapshot, task: &'a Task) -> Found<'a> {
    let Some(known) = snapshot.history.task(&task.id).filter(|known| known.status.is_some()) else { return Found::New };
    let status = known.status.as_ref().expect("just filtered");
    let stale_token = matches!(&task.lease, super::QueueLease::Ours { token, .. } if *token < known.token);
    if let Some(ours) = known.updated_at
        && (task.updated_at.is_none_or(|file| file < ours) || stale_token)
    {
        let since = task.updated_at;
        let replaced = known.replaced.get(&task.status).is_some_and(|at| since.is_none_or(|since| *at > since));
        if task.status != *status && !replaced {
            return Found::Edited(status);
        }
        let age = (snapshot.now.wall - ours).to_std().unwrap_or_default();
        return if age <= RACE { Found::Overwritten(known) } else { Found::Behind(known) };
    }
    if task.status == *status { Found::Same } else { Found::Edited(status) }
}

/// Notes what others did, and writes again what they wrote over.
pub fn decide(snapshot: &Snapshot) -> Plan {
    let mut plan = Plan::none();
    if !snapshot.history.baseline {
        plan.event(baseline(snapshot, Actor::Policy("R24".into())));
        return plan;
    }
    for task in snapshot.queue.tasks() {
        match compare(snapshot, task) {
            Found::Same | Found::Behind(_) => {}
            Found::New => plan.event(
                EventDraft::new(Kind::TaskCreated, Actor::Outside)
                    .task(&task.id)
                    .with("to", task.status.as_str())
                    .with("title", super::text::cut(&task.title, 200)),
            ),
            Found::Edited(before) => plan.event(
                EventDraft::new(Kind::TaskObserved, Actor::Outside)
                    .task(&task.id)
                    .with("from", before.as_str())
                    .with("to", task.status.as_str()),
            ),
            Found::Overwritten(known) => {
                rewrite(snapshot, &mut plan, task, known);
            }
        }
    }
    for id in gone(&snapshot.history, snapshot) {
        let known = &snapshot.history.tasks[id];
        plan.event(
            EventDraft::new(Kind::TaskObserved, Actor::Outside)
                .task(id)
                .with("from", known.status.as_ref().map(Status::as_str))
                .with("gone", true),
        );
    }
    plan
}

fn gone<'a>(history: &'a History, snapshot: &Snapshot) -> Vec<&'a TaskId> {
    let known = history.tasks.iter().filter(|(_, known)| known.status.is_some());
    let mut gone: Vec<&TaskId> = known.map(|(id, _)| id).filter(|id| snapshot.queue.get(id).is_none()).collect();
    gone.sort();
    gone
}

fn rewrite(snapshot: &Snapshot, plan: &mut Plan, task: &Task, known: &TaskHistory) {
    use super::plan::Member as M;
    let all = [M::Agent, M::Lease, M::Attempts, M::NotBefore, M::BlockedReason, M::CompletedAt];
    let set: Vec<_> =
        all.into_iter().filter_map(|member| Some((member, known.wrote.get(member.key())?.clone()))).collect();
    let to = known.status.clone().unwrap_or_else(|| task.status.clone());
    let kind = if to == task.status { Kind::TaskUpdated } else { Kind::TaskMoved };
    let event = EventDraft::new(kind, Actor::Policy("R3".into()))
        .with("reason", "another program replaced the file with one that lacked this change; it was written again");
    plan.change(&snapshot.now, task, &to, &set, event);
}

/// The event that takes the queue as it stands for the truth from now on.
pub fn baseline(snapshot: &Snapshot, actor: Actor) -> EventDraft {
    let statuses: serde_json::Map<String, serde_json::Value> =
        snapshot.queue.tasks().map(|task| (task.id.to_string(), task.status.as_str().into())).collect();
    EventDraft::new(Kind::QueueValid, actor).with("statuses", statuses)
}

/// Whether an old queue file was put back; while it is, nothing is claimed (R10).
pub fn behind(snapshot: &Snapshot) -> Option<Behind> {
    let mut found: Option<Behind> = None;
    for task in snapshot.queue.tasks() {
        let Found::Behind(known) = compare(snapshot, task) else { continue };
        match &mut found {
            Some(behind) => behind.count += 1,
            None => {
                let status = known.status.as_ref().map_or("?", Status::as_str);
                let when = known.updated_at.map(super::plan::stamp).unwrap_or_default();
                let reason = format!(
                    "the journal says that {} became `{status}` at {when} (token {}), the queue file does not have that change",
                    task.id, known.token
                );
                found = Some(Behind { task: task.id.clone(), reason, count: 1 });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Event, Queue,
        plan::{
            Member,
            tests::{now_at, snapshot},
        },
    };
    use std::sync::Arc;

    fn id(text: &str) -> TaskId {
        TaskId::parse(text).expect("a good id")
    }

    /// A queue whose task `T` we moved from ready to in_progress, and again to awaiting_test, at second 1000.
    fn moved() -> (Snapshot, Snapshot) {
        let first = snapshot(vec![Task::new(id("T"), Status::READY), Task::new(id("U"), Status::READY)]);
        let first = first.after(&decide(&first));
        let mut plan = Plan::none();
        let task = first.queue.get(&id("T")).expect("there").clone();
        let event = EventDraft::new(Kind::TaskMoved, Actor::Worker("w".into()));
        plan.change(&first.now, &task, &Status::IN_PROGRESS, &[(Member::Lease, "w#1".into())], event.clone());
        let second = first.after(&plan);
        let task = second.queue.get(&id("T")).expect("there").clone();
        let mut plan = Plan::none();
        plan.change(&first.now, &task, &Status::AWAITING_TEST, &[(Member::Lease, serde_json::Value::Null)], event);
        (first, second.after(&plan))
    }

    fn kinds(plan: &Plan) -> Vec<Kind> {
        plan.events.iter().map(|event| event.kind).collect()
    }

    #[test]
    fn the_first_look_takes_a_baseline_and_the_second_finds_nothing() {
        let first = snapshot(vec![Task::new(id("T"), Status::READY)]);
        let plan = decide(&first);
        assert_eq!(kinds(&plan), [Kind::QueueValid]);
        assert!(!plan.touches_queue());
        assert!(decide(&first.after(&plan)).is_empty());
    }

    #[test]
    fn our_own_moves_are_no_news() {
        let (_, last) = moved();
        assert!(decide(&last).is_empty());
        assert_eq!(behind(&last), None);
    }

    #[test]
    fn a_hand_edit_is_noted_and_kept() {
        let (_, mut last) = moved();
        Arc::make_mut(&mut last.queue).edit(&id("T"), |task| task.status = Status::CANCELLED);
        let plan = decide(&last);
        assert_eq!(kinds(&plan), [Kind::TaskObserved]);
        assert!(!plan.touches_queue());
        assert!(decide(&last.after(&plan)).is_empty());
    }

    #[test]
    fn tasks_that_appear_and_vanish_are_noted() {
        let (_, mut last) = moved();
        last.queue = Arc::new(Queue::of(
            last.queue
                .tasks()
                .filter(|task| task.id != id("U"))
                .cloned()
                .chain([Task::new(id("V"), Status::NEEDS_PLAN)])
                .collect(),
        ));
        let plan = decide(&last);
        assert_eq!(kinds(&plan), [Kind::TaskCreated, Kind::TaskObserved]);
        assert!(plan.events[1].data["gone"] == true);
        assert!(decide(&last.after(&plan)).is_empty());
    }

    #[test]
    fn a_change_that_another_program_wrote_over_is_written_again() {
        let (first, mut last) = moved();
        // The other program read before our two moves, changed `U`, and replaced the file after them.
        let mut edited = (*first.queue).clone();
        edited.edit(&id("U"), |task| task.priority = 3);
        last.queue = Arc::new(edited);
        let plan = decide(&last);
        let after = last.after(&plan);
        assert_eq!(after.queue.get(&id("T")).expect("there").status, Status::AWAITING_TEST);
        assert_eq!(after.queue.get(&id("T")).expect("there").lease, crate::domain::QueueLease::None);
        assert_eq!(after.queue.get(&id("U")).expect("there").priority, 3, "their edit stays");
        assert!(decide(&after).is_empty());
    }

    #[test]
    fn a_decision_made_in_a_race_stands() {
        let (first, mut last) = moved();
        let mut edited = (*first.queue).clone();
        edited.edit(&id("T"), |task| task.status = Status::CANCELLED);
        last.queue = Arc::new(edited);
        let plan = decide(&last);
        assert_eq!(kinds(&plan), [Kind::TaskObserved]);
        assert!(!plan.touches_queue());
        assert!(decide(&last.after(&plan)).is_empty());
    }

    #[test]
    fn an_old_file_put_back_later_is_not_touched_and_told() {
        let (first, mut last) = moved();
        last.queue = first.queue.clone();
        last.now = now_at(1_000 + 3_600);
        assert!(decide(&last).is_empty());
        let found = behind(&last).expect("behind");
        assert_eq!((found.task, found.count), (id("T"), 1));
        // A human confirms: the file is the truth, and no token is forgotten.
        let mut plan = Plan::none();
        plan.event(baseline(&last, Actor::Human("me".into())));
        let confirmed = last.after(&plan);
        assert_eq!(behind(&confirmed), None);
        assert!(decide(&confirmed).is_empty());
    }

    #[test]
    fn an_old_token_in_the_file_is_an_old_file() {
        let (_, mut last) = moved();
        let mut event = EventDraft::new(Kind::LeaseAcquired, Actor::Worker("w".into())).task(&id("T"));
        event.token = Some(crate::domain::Token(5));
        let seq = last.history.seq + 1;
        Arc::make_mut(&mut last.history).apply(&Event::number(event, seq, last.now.wall, ""));
        Arc::make_mut(&mut last.queue).edit(&id("T"), |task| task.lease = crate::domain::QueueLease::from_text("w#3"));
        last.now = now_at(1_000 + 3_600);
        assert!(behind(&last).is_some());
    }
}
