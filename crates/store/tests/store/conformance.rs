//! What any store must do, whatever it keeps its content in, and what it must do when that is JSON text: lists of checks
//! against a [`Desk`].

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use oodatcaa_core::{ChangeSet, Event, Holder, Kind, LeaseChange, Member, Snapshot, Status};
use oodatcaa_store::{Desk, StoreError, identity};

use super::{Project, QUEUE, claim, eventually, id, kinds, memory::Memory, moved, open, settle, status};

/// The status that an event moved a task to.
fn to(event: &Event) -> Option<&str> {
    event.data().task_change()?.to.as_ref().map(Status::as_str)
}

/// A project in some backend, with as many stores on it as a check asks for.
pub(crate) trait Bench: Sync {
    /// Opens one more worker's store.
    fn open(&self) -> Desk;
}

/// One that keeps its queue as JSON text, which others write without asking.
trait TextBench: Bench {
    /// Opens a store that gives up after so long.
    fn open_for(&self, lock_wait: Duration) -> Desk;
    /// Returns what stands in the queue.
    fn text(&self) -> String;
    /// Writes the queue without asking the store.
    fn edit(&self, text: &str);
}

impl Bench for Project {
    fn open(&self) -> Desk {
        Project::open(self)
    }
}

impl TextBench for Project {
    fn open_for(&self, lock_wait: Duration) -> Desk {
        open(&self.layout(), Some(identity("builder@here")), lock_wait).expect("opened")
    }

    fn text(&self) -> String {
        self.queue()
    }

    fn edit(&self, text: &str) {
        self.replace(text);
    }
}

/// What every store must do; each check gets a bench of its own, with the tasks A and B, both ready.
pub(crate) const EVERY_STORE: &[fn(&dyn Bench)] = &[
    a_claim_is_seen_by_everybody,
    an_empty_change_set_writes_nothing,
    events_are_numbered_without_a_gap,
    events_bear_the_time_of_the_decision,
    a_token_outlives_its_lease,
    a_holder_that_is_gone_is_dead,
    a_heartbeat_leaves_queue_and_journal_alone,
    no_change_is_lost_between_workers,
    what_a_failed_deed_answers_is_committed,
    a_change_set_about_nothing_fails_and_leaves_no_lease,
    a_task_is_taken_again_in_one_commit,
];

/// What a store must do besides whose queue is JSON text.
const JSON_TEXT: &[fn(&dyn TextBench)] = &[
    a_claim_changes_nothing_but_what_it_sets,
    no_byte_changes_without_a_change,
    an_edit_by_hand_is_observed_once,
    a_decision_is_made_anew_on_what_somebody_wrote,
    nobodys_endless_writing_is_overwritten,
    what_a_failed_deed_answers_is_committed_beside_one_who_writes_all_the_time,
    a_broken_queue_stops_changes_and_no_reading,
];

#[test]
fn the_file_store_does_what_every_store_must() {
    EVERY_STORE.iter().for_each(|check| check(&Project::new()));
    JSON_TEXT.iter().for_each(|check| check(&Project::new()));
}

#[test]
fn a_store_in_memory_does_what_every_store_must() {
    EVERY_STORE.iter().for_each(|check| check(&Memory::new()));
}

fn a_claim_is_seen_by_everybody(bench: &dyn Bench) {
    let (one, other) = (bench.open(), bench.open());
    let committed = one.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    assert_eq!(kinds(&committed.events), ["queue.valid", "task.moved", "lease.acquired"]);
    for store in [&one, &other] {
        let snapshot = store.read().expect("read").snapshot;
        assert_eq!(snapshot.queue.find("A").expect("there").status, Status::IN_PROGRESS);
        let held = &snapshot.leases["A"];
        assert_eq!((held.token().0, &held.holder), (1, &Holder::Alive));
        assert_eq!(snapshot.history.seq, 3);
    }
    let mut seen = None;
    other
        .transact(&mut |snapshot| {
            seen = Some(snapshot.leases["A"].holder.clone());
            ChangeSet::none()
        })
        .expect("nothing to do");
    assert_eq!(seen, Some(Holder::Alive));
}

fn a_claim_changes_nothing_but_what_it_sets(bench: &dyn TextBench) {
    let store = bench.open();
    let committed = store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let stamped = committed.changes.edits[0].set[&Member::UpdatedAt].to_string();
    let expected = QUEUE
        .replacen("\"ready\",\n      \"lease\": null", "\"in_progress\",\n      \"lease\": \"builder@here#1\"", 1)
        .replacen("[ 1,2 ]", &format!("[ 1,2 ],\n      \"updated_at\": {stamped}"), 1);
    assert_eq!(bench.text(), expected);
}

fn an_empty_change_set_writes_nothing(bench: &dyn Bench) {
    let store = bench.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let seq = store.events(0).expect("read").len();
    let committed = store.transact(&mut |_| ChangeSet::none()).expect("nothing to do");
    assert!(committed.changes.is_empty() && committed.events.is_empty());
    assert_eq!(store.events(0).expect("read").len(), seq);
}

fn no_byte_changes_without_a_change(bench: &dyn TextBench) {
    let store = bench.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let text = bench.text();
    store.transact(&mut |_| ChangeSet::none()).expect("nothing to do");
    store.transact(&mut |snapshot| heartbeat(snapshot, "A")).expect("committed");
    assert_eq!(bench.text(), text);
}

/// Renews a lease.
fn heartbeat(snapshot: &Snapshot, task: &str) -> ChangeSet {
    let lease = snapshot.leases[task].ours().expect("ours").beaten(&snapshot.now);
    ChangeSet { leases: vec![LeaseChange::Write(lease)], ..ChangeSet::none() }
}

fn what_a_failed_deed_answers_is_committed(bench: &dyn Bench) {
    let (store, mut deeds) = (bench.open(), 0);
    let told = store.transact_then(&mut |snapshot| moved(snapshot, "A", &Status::BLOCKED), &mut |snapshot| {
        deeds += 1;
        assert_eq!(snapshot.queue.find("A").expect("there").status, Status::BLOCKED, "it sees the commit");
        moved(snapshot, "A", &Status::NEEDS_MANUAL)
    });
    told.expect("committed");
    assert_eq!((deeds, status(&store, "A").as_str()), (1, "needs_manual"));
}

fn events_are_numbered_without_a_gap(bench: &dyn Bench) {
    let (one, other) = (bench.open(), bench.open());
    for round in 0..3 {
        let status = if round % 2 == 0 { Status::BLOCKED } else { Status::READY };
        one.transact(&mut |snapshot| moved(snapshot, "A", &status)).expect("committed");
        other.transact(&mut |snapshot| moved(snapshot, "B", &status)).expect("committed");
    }
    let all = one.events(0).expect("read");
    let numbers: Vec<u64> = all.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=7).collect::<Vec<_>>());
    assert_eq!(other.events(5).expect("read"), all[5..]);
    assert_eq!(other.events(7).expect("read"), []);
}

fn events_bear_the_time_of_the_decision(bench: &dyn Bench) {
    let store = bench.open();
    let mut now = None;
    let decide = &mut |snapshot: &Snapshot| {
        now = Some(snapshot.now.wall);
        moved(snapshot, "A", &Status::BLOCKED)
    };
    let committed = store.transact(decide).expect("committed");
    assert!(committed.events.iter().all(|event| Some(event.time) == now));
    let snapshot = store.read().expect("read").snapshot;
    assert_eq!(snapshot.history.task(&id("A")).expect("known").updated_at, now);
    assert_eq!(snapshot.queue.find("A").expect("there").updated_at, now);
}

fn a_token_outlives_its_lease(bench: &dyn Bench) {
    let (one, other) = (bench.open(), bench.open());
    for round in 1..=3 {
        let store = if round % 2 == 0 { &one } else { &other };
        store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
        assert_eq!(one.read().expect("read").snapshot.leases["A"].token().0, round);
        store.transact(&mut |snapshot| settle(snapshot, "A", &Status::READY)).expect("committed");
        let snapshot = other.read().expect("read").snapshot;
        assert!(snapshot.leases.is_empty());
        assert_eq!(snapshot.highest_token(&id("A")).0, round);
    }
}

fn a_holder_that_is_gone_is_dead(bench: &dyn Bench) {
    let (one, other) = (bench.open(), bench.open());
    one.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    drop(one);
    eventually("it is dead", || {
        let mut dead = false;
        let decide = &mut |snapshot: &Snapshot| {
            dead = matches!(snapshot.leases["A"].holder, Holder::Dead(_));
            ChangeSet::none()
        };
        other.transact(decide).expect("nothing to do");
        dead
    });
    other.transact(&mut |snapshot| claim(snapshot, "A")).expect("taken over");
    assert_eq!(other.read().expect("read").snapshot.leases["A"].token().0, 2);
}

fn a_heartbeat_leaves_queue_and_journal_alone(bench: &dyn Bench) {
    let store = bench.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let (queue, events) = (store.read().expect("read").snapshot.queue, store.events(0).expect("read"));
    let mut beaten = None;
    store
        .transact(&mut |snapshot| {
            let changes = heartbeat(snapshot, "A");
            beaten = match &changes.leases[0] {
                LeaseChange::Write(lease) => Some(lease.clone()),
                other => panic!("{other:?}"),
            };
            changes
        })
        .expect("committed");
    let snapshot = store.read().expect("read").snapshot;
    assert_eq!(snapshot.leases["A"].ours(), beaten.as_ref());
    assert_eq!((&*snapshot.queue, store.events(0).expect("read")), (&*queue, events));
}

fn no_change_is_lost_between_workers(bench: &dyn Bench) {
    const ROUNDS: u64 = 12;
    let stores = [bench.open(), bench.open()];
    std::thread::scope(|scope| {
        for store in &stores {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        store
                            .transact(&mut |snapshot| {
                                let attempts = snapshot.queue.find("B").expect("there").attempts;
                                let mut changes = ChangeSet::none();
                                changes.set(&id("B"), Member::Attempts, attempts + 1);
                                changes
                            })
                            .expect("committed");
                    }
                });
            }
        }
    });
    let attempts = stores[0].read().expect("read").snapshot.queue.find("B").expect("there").attempts;
    assert_eq!(u64::from(attempts), 4 * ROUNDS);
}

fn an_edit_by_hand_is_observed_once(bench: &dyn TextBench) {
    let (one, other) = (bench.open(), bench.open());
    one.transact(&mut |snapshot| moved(snapshot, "A", &Status::BLOCKED)).expect("committed");
    let edited = bench
        .text()
        .replacen("\"ready\"", "\"done\"", 1)
        .replace("\"attempts\": 0}", "\"attempts\": 0},\n    {\"id\": \"C\", \"status\": \"ready\"}");
    bench.edit(&edited);
    let mut known = None;
    let committed = one
        .transact(&mut |snapshot| {
            known = snapshot.history.task(&id("B")).and_then(|known| known.status.clone());
            ChangeSet::none()
        })
        .expect("observed");
    assert_eq!(known, Some(Status::DONE), "a decision knows what was observed");
    let told: Vec<(Kind, Option<&str>, Option<&str>, &str)> = committed
        .events
        .iter()
        .map(|event| {
            (event.kind(), event.task.as_ref().map(oodatcaa_core::TaskId::as_str), to(event), event.actor.as_str())
        })
        .collect();
    assert_eq!(
        told,
        [
            (Kind::TaskObserved, Some("B"), Some("done"), "outside"),
            (Kind::TaskCreated, Some("C"), Some("ready"), "outside")
        ]
    );
    for store in [&one, &other] {
        assert_eq!(store.transact(&mut |_| ChangeSet::none()).expect("nothing to do").events, []);
    }
    bench.edit(QUEUE);
    let committed = other.transact(&mut |_| ChangeSet::none()).expect("observed");
    let gone: Vec<bool> =
        committed.events.iter().map(|event| event.data().task_change().is_some_and(|change| change.gone)).collect();
    assert_eq!(gone, [false, false, true]);
}

fn a_decision_is_made_anew_on_what_somebody_wrote(bench: &dyn TextBench) {
    let store = bench.open();
    let mut calls = 0;
    let committed = store
        .transact(&mut |snapshot| {
            calls += 1;
            let changes = claim(snapshot, "A");
            if calls == 1 {
                // As long as before, so that only the content tells.
                bench.edit(&bench.text().replace("\"attempts\": 0", "\"attempts\": 7"));
            }
            changes
        })
        .expect("committed");
    assert_eq!(calls, 2);
    assert_eq!(store.read().expect("read").snapshot.queue.find("B").expect("there").attempts, 7);
    assert_eq!(status(&store, "A"), "in_progress");
    assert_eq!(kinds(&committed.events), ["queue.valid", "task.moved", "lease.acquired"]);
    assert_eq!(store.events(0).expect("read").len(), 3);
}

fn nobodys_endless_writing_is_overwritten(bench: &dyn TextBench) {
    let (wait, started) = (Duration::from_millis(300), Instant::now());
    let store = bench.open_for(wait);
    let mut calls = 0;
    let error = store
        .transact(&mut |snapshot| {
            calls += 1;
            bench.edit(&QUEUE.replace("Füße", &format!("edit {calls}")));
            claim(snapshot, "A")
        })
        .expect_err("contended");
    let StoreError::Contended { tries, .. } = error else { panic!("{error:?}") };
    assert_eq!(tries, calls);
    assert!(started.elapsed() >= wait && (5..500).contains(&tries), "{tries} tries");
    assert_eq!(bench.text(), QUEUE.replace("Füße", &format!("edit {calls}")));
    let snapshot = store.read().expect("read").snapshot;
    assert!(snapshot.leases.is_empty(), "what was taken for the plan is given back");
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("and can be taken");
}

fn what_a_failed_deed_answers_is_committed_beside_one_who_writes_all_the_time(bench: &dyn TextBench) {
    let (store, done) = (bench.open(), AtomicBool::new(false));
    let (mut deeds, writes) = (0, AtomicU32::new(0));
    std::thread::scope(|scope| {
        let write = || {
            while !done.load(Ordering::SeqCst) {
                let text = bench.text();
                bench.edit(&format!("{} ", text.trim_end()));
                bench.edit(&text);
                writes.fetch_add(1, Ordering::SeqCst);
                // Less than a change needs, but for now and then.
                std::thread::sleep(Duration::from_millis(u64::from(writes.load(Ordering::SeqCst) % 25 == 0) * 60));
            }
        };
        let told = store.transact_then(&mut |snapshot| moved(snapshot, "A", &Status::BLOCKED), &mut |snapshot| {
            deeds += 1;
            scope.spawn(write);
            eventually("it writes", || writes.load(Ordering::SeqCst) > 0);
            moved(snapshot, "A", &Status::NEEDS_MANUAL)
        });
        done.store(true, Ordering::SeqCst);
        told.expect("the deed's word is committed");
    });
    assert_eq!(deeds, 1);
    let statuses: Vec<_> =
        store.events(0).expect("read").iter().filter_map(|event| Some(to(event)?.to_owned())).collect();
    assert_eq!(statuses.last().map(String::as_str), Some("needs_manual"), "{statuses:?}");
}

fn a_broken_queue_stops_changes_and_no_reading(bench: &dyn TextBench) {
    let (one, other) = (bench.open(), bench.open());
    one.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let whole = bench.text();
    let broken = whole.replacen("\"tasks\": [", "\"tasks\": [[", 1);
    bench.edit(&broken);
    for store in [&one, &other, &one] {
        let error = store.transact(&mut |snapshot| claim(snapshot, "B")).expect_err("broken");
        let StoreError::Invalid(invalid) = error else { panic!("{error:?}") };
        assert_eq!((invalid.line, invalid.message.starts_with("not JSON")), (15, true), "{invalid}");
    }
    one.transact(&mut |snapshot| heartbeat(snapshot, "A")).expect("who works goes on");
    let reading = one.read().expect("the last good content");
    assert_eq!((reading.snapshot.queue.len(), reading.snapshot.leases.len()), (2, 1));
    assert!(reading.invalid.is_some());
    assert_eq!(bench.text(), broken, "what cannot be read is not written");

    bench.edit(&whole);
    one.transact(&mut |snapshot| settle(snapshot, "A", &Status::AWAITING_TEST)).expect("whole again");
    assert!(one.read().expect("read").invalid.is_none());
    let told = kinds(&one.events(3).expect("read"));
    assert_eq!(told, ["queue.invalid", "queue.valid", "task.moved"]);
}

fn a_change_set_about_nothing_fails_and_leaves_no_lease(bench: &dyn Bench) {
    let store = bench.open();
    let error = store.transact(&mut |snapshot| {
        let mut changes = claim(snapshot, "A");
        changes.set(&id("Z"), Member::Branch, "b");
        changes
    });
    assert!(error.is_err());
    let snapshot = store.read().expect("read").snapshot;
    assert!(snapshot.leases.is_empty());
    assert_eq!(snapshot.history.seq, 0);
}

fn a_task_is_taken_again_in_one_commit(bench: &dyn Bench) {
    let (one, other) = (bench.open(), bench.open());
    one.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    one.transact(&mut |snapshot| {
        snapshot.chain(&mut [
            &mut |snapshot| settle(snapshot, "A", &Status::READY),
            &mut |snapshot| claim(snapshot, "A"),
            &mut |snapshot| claim(snapshot, "B"),
        ])
    })
    .expect("committed");
    let mut holders = Vec::new();
    other
        .transact(&mut |snapshot| {
            holders = snapshot.leases.values().map(|held| (held.token().0, held.holder.clone())).collect();
            ChangeSet::none()
        })
        .expect("nothing to do");
    assert_eq!(holders, [(2, Holder::Alive), (1, Holder::Alive)]);
}
