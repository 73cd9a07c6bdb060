//! What others did to the queue file: what is noted, written again, and put in front of a human.

use super::*;
use crate::{
    Event, Kind, Queue,
    tests::{now_at, snapshot},
};
use std::sync::Arc;

fn id(text: &str) -> TaskId {
    TaskId::parse(text).expect("a good id")
}

/// A queue whose task `T` we moved from ready to in_progress, and again to awaiting_test, at second 1000.
fn moved() -> (Snapshot, Snapshot) {
    let first = snapshot(vec![Task::new(id("T"), Status::READY), Task::new(id("U"), Status::READY)]);
    let first = first.after(&decide(&first));
    let mut changes = ChangeSet::none();
    let task = first.queue.get(&id("T")).expect("there").clone();
    let edit = Edit::by(Actor::Worker("w".into()));
    changes.change(&first.now, &task, edit.clone().to(&Status::IN_PROGRESS).set(Member::Lease, "w#1"));
    let second = first.after(&changes);
    let task = second.queue.get(&id("T")).expect("there").clone();
    let mut changes = ChangeSet::none();
    changes.change(&first.now, &task, edit.to(&Status::AWAITING_TEST).set(Member::Lease, Value::Null));
    (first, second.after(&changes))
}

fn kinds(changes: &ChangeSet) -> Vec<Kind> {
    changes.events.iter().map(EventDraft::kind).collect()
}

#[test]
fn the_first_look_takes_a_baseline_and_the_second_finds_nothing() {
    let first = snapshot(vec![Task::new(id("T"), Status::READY)]);
    let changes = decide(&first);
    assert_eq!(kinds(&changes), [Kind::QueueValid]);
    assert!(!changes.touches_queue());
    assert!(decide(&first.after(&changes)).is_empty());
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
    let changes = decide(&last);
    assert_eq!(kinds(&changes), [Kind::TaskObserved]);
    assert!(!changes.touches_queue());
    assert!(decide(&last.after(&changes)).is_empty());
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
    let changes = decide(&last);
    assert_eq!(kinds(&changes), [Kind::TaskCreated, Kind::TaskObserved]);
    assert!(changes.events[1].data.members()["gone"] == true);
    assert!(decide(&last.after(&changes)).is_empty());
}

#[test]
fn a_change_that_another_program_wrote_over_is_written_again() {
    let (first, mut last) = moved();
    // The other program read before our two moves, changed `U`, and replaced the file after them.
    let mut edited = (*first.queue).clone();
    edited.edit(&id("U"), |task| task.priority = 3);
    last.queue = Arc::new(edited);
    let changes = decide(&last);
    let after = last.after(&changes);
    assert_eq!(after.queue.get(&id("T")).expect("there").status, Status::AWAITING_TEST);
    assert_eq!(after.queue.get(&id("T")).expect("there").lease, crate::QueueLease::None);
    assert_eq!(after.queue.get(&id("U")).expect("there").priority, 3, "their edit stays");
    assert!(decide(&after).is_empty());
}

#[test]
fn a_decision_made_in_a_race_stands() {
    let (first, mut last) = moved();
    let mut edited = (*first.queue).clone();
    edited.edit(&id("T"), |task| task.status = Status::CANCELLED);
    last.queue = Arc::new(edited);
    let changes = decide(&last);
    assert_eq!(kinds(&changes), [Kind::TaskObserved]);
    assert!(!changes.touches_queue());
    assert!(decide(&last.after(&changes)).is_empty());
}

#[test]
fn an_old_file_put_back_later_is_not_touched_and_told() {
    let (first, mut last) = moved();
    last.queue = first.queue.clone();
    last.now = now_at(1_000 + 3_600);
    assert!(decide(&last).is_empty());
    let found = behind(&last).expect("behind");
    assert_eq!((found.task, found.count), (Some(id("T")), 1));
    // A human confirms: the file is the truth, and no token is forgotten.
    let mut changes = ChangeSet::none();
    changes.event(baseline(&last, Actor::Human("me".into())));
    let confirmed = last.after(&changes);
    assert_eq!(behind(&confirmed), None);
    assert!(decide(&confirmed).is_empty());
}

#[test]
fn an_old_token_in_the_file_is_an_old_file() {
    let (_, mut last) = moved();
    let mut event = EventDraft::new(Data::LeaseAcquired(Claimed::default()), Actor::Worker("w".into())).task(&id("T"));
    event.token = Some(crate::Token(5));
    let seq = last.history.seq + 1;
    Arc::make_mut(&mut last.history).apply(&Event::number(event, seq, last.now.wall, ""));
    Arc::make_mut(&mut last.queue).edit(&id("T"), |task| task.lease = crate::QueueLease::from_text("w#3"));
    last.now = now_at(1_000 + 3_600);
    assert!(behind(&last).is_some());
}

/// As [`moved`], and somebody put another entry for `T` into the file, so long after the last change.
fn with_entry(seconds: u64, edit: impl FnOnce(&mut Task)) -> Snapshot {
    let (first, mut last) = moved();
    let mut queue = (*first.queue).clone();
    queue.edit(&id("T"), edit);
    last.queue = Arc::new(queue);
    last.now = now_at(1_000 + seconds);
    last
}

#[test]
fn an_id_that_is_used_again_is_a_new_task_however_soon() {
    for seconds in [0, 2, 30, 3_600] {
        let seen = with_entry(seconds, |task| task.title = "rotate the keys".into());
        let changes = decide(&seen);
        assert_eq!(kinds(&changes), [Kind::TaskCreated], "after {seconds} s");
        assert!(!changes.touches_queue() && behind(&seen).is_none());
        let after = seen.after(&changes);
        assert!(decide(&after).is_empty());
        assert_eq!(after.queue.get(&id("T")).expect("there").status, Status::READY);
    }
}

#[test]
fn an_older_file_is_never_undone_and_a_human_is_asked() {
    // Our last change is young, but the first that the file lacks is not.
    for seconds in [4, 30, 61] {
        let seen = with_entry(seconds, |_| {});
        assert!(decide(&seen).is_empty(), "after {seconds} s");
        assert!(behind(&seen).is_some());
        let restored = seen.after(&restore(&seen, &Actor::Human("me".into())));
        assert_eq!(restored.queue.get(&id("T")).expect("there").status, Status::AWAITING_TEST);
        assert!(behind(&restored).is_none() && decide(&restored).is_empty());
    }
}

#[test]
fn when_a_file_was_put_in_its_place_counts_and_not_when_somebody_looks() {
    let mut seen = with_entry(3_600, |_| {});
    seen.beside.placed = Some(now_at(1_001).wall);
    assert_eq!(kinds(&decide(&seen)), [Kind::TaskMoved], "nobody had looked since");
}

#[test]
fn a_stamp_that_is_missing_makes_nothing_old() {
    let seen = with_entry(3_600, |task| task.status = Status::AWAITING_TEST);
    assert!(decide(&seen).is_empty() && behind(&seen).is_none(), "it says what the journal says");
    let seen = with_entry(3_600, |task| task.status = Status::CANCELLED);
    assert_eq!(kinds(&decide(&seen)), [Kind::TaskObserved], "nobody but a human has set that");
}

fn added() -> (Snapshot, Snapshot) {
    let before = snapshot(vec![Task::new(id("P"), Status::PLANNING), Task::new(id("U"), Status::READY)]);
    let before = before.after(&decide(&before));
    let mut changes = ChangeSet::none();
    for name in ["P-1", "P-2"] {
        let json = serde_json::json!({"id": name, "title": name, "status": "ready", "x": [1],
            "updated_at": stamp(before.now.wall)});
        let json = json.as_object().expect("an object").clone();
        let said = TaskChange { parent: Some("P".into()), ..TaskChange::default() };
        let new = NewTask { task: Task::of_entry(&id(name), &json), json };
        changes.add(new, Actor::Worker("w".into()), said);
    }
    let parent = before.queue.get(&id("P")).expect("there");
    let edit = Edit::by(Actor::Worker("w".into())).to(&Status::new("planning_complete"));
    changes.change(&before.now, parent, edit);
    let after = before.after(&changes);
    (before, after)
}

#[test]
fn tasks_of_ours_that_a_replaced_file_lacks_are_added_again_whole() {
    let (before, mut last) = added();
    let mut edited = (*before.queue).clone();
    edited.edit(&id("U"), |task| task.priority = 3);
    last.queue = Arc::new(edited);
    let changes = decide(&last);
    assert_eq!(changes.add.len(), 2);
    assert!(changes.add.iter().all(|new| new.json["x"] == serde_json::json!([1])));
    let after = last.after(&changes);
    assert!(decide(&after).is_empty());
    assert_eq!(after.queue.get(&id("P")).expect("there").status.as_str(), "planning_complete");
    // And once more, in the next race.
    let mut again = after.clone();
    again.queue = before.queue.clone();
    assert_eq!(decide(&again).add.len(), 2);
}

#[test]
fn a_task_that_a_human_deletes_stays_deleted() {
    let (_, last) = added();
    let without = |snapshot: &Snapshot| {
        let rest = snapshot.queue.tasks().filter(|task| task.id != id("P-2")).cloned();
        Snapshot { queue: Arc::new(Queue::of(rest.collect())), ..snapshot.clone() }
    };
    // They had it before their eyes: what was written together with it is in their file.
    assert_eq!(kinds(&decide(&without(&last))), [Kind::TaskObserved]);
    let mut later = without(&last);
    later.now = now_at(1_010);
    assert_eq!(kinds(&decide(&later)), [Kind::TaskObserved]);
}

#[test]
fn a_worker_that_died_before_it_could_tell_is_told_by_lease_and_record() {
    let before = snapshot(vec![Task::new(id("T"), Status::READY)]);
    let before = before.after(&decide(&before));
    let me = crate::tests::claimant(&crate::Role::BUILDER);
    let (changes, lease) = crate::claim::decide(&before, &crate::Workflow::shipped(), &me).expect("a claim");
    let claimed = before.after(&changes);
    // The claim stands in queue and lease, and the journal knows nothing of it.
    let untold = Snapshot { history: before.history.clone(), ..claimed.clone() };
    let changes = decide(&untold);
    assert_eq!(kinds(&changes), [Kind::LeaseAcquired, Kind::TaskMoved]);
    assert!(changes.events.iter().all(|event| event.actor == Actor::Worker(lease.owner.clone())));
    assert!(decide(&untold.after(&changes)).is_empty());
    // And so its end.
    let mut ended = claimed.clone();
    ended.now = now_at(1_060);
    Arc::make_mut(&mut ended.queue).edit(&id("T"), |task| {
        (task.status, task.lease) = (Status::AWAITING_TEST, QueueLease::None);
        task.updated_at = Some(now_at(1_050).wall);
    });
    let record = serde_json::json!({"state": "finished", "token": 1, "outcome": "done", "summary": "made it",
        "seconds": 1.5, "seen": {"cost_usd": 0.25}});
    ended.beside.records.insert(id("T"), record.as_object().expect("an object").clone());
    let changes = decide(&ended);
    assert_eq!(kinds(&changes), [Kind::AttemptFinished, Kind::TaskMoved]);
    assert_eq!(changes.events[0].data.members()["cost_usd"], 0.25);
    assert_eq!(changes.events[0].data.members()["reason"], "made it");
    assert!(decide(&ended.after(&changes)).is_empty());
}
