//! Commits that fail or die between any two durable steps; only in builds with the feature `failpoints`.

use std::{os::unix::process::ExitStatusExt, path::Path, process::Command};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{ChangeSet, Holder, LeaseChange, Snapshot, Status};
use oodatcaa_store::{Desk, LOCK_WAIT, StoreError, identity};

use super::{Project, QUEUE, claim, id, kinds, moved, open, settle, status};

/// Before the queue was replaced, in order.
const BEFORE: [&str; 6] =
    ["store.lease", "store.lease.written", "store.temp", "store.temp.written", "store.fsync", "store.rename"];

/// After it.
const AFTER: [&str; 5] =
    ["store.renamed", "store.dirsync", "store.journal", "store.journal.written", "store.journal.synced"];

/// Runs a test in a process of its own, because what is set in a process fails for all of its threads.
fn alone(name: &str, body: impl FnOnce()) {
    const ALONE: &str = "OODATCAA_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let exe = std::env::current_exe().expect("this test");
    let test = format!("failing::{name}");
    let output = Command::new(exe).args(["--exact", &test, "--nocapture"]).env(ALONE, "1").output().expect("started");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    for line in String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with("figure: ")) {
        println!("{line}");
    }
}

/// One scenario at a time, with some history in the project, so that every file is there.
fn scenario() -> (fail::FailScenario<'static>, Project, Desk) {
    let scenario = fail::FailScenario::setup();
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| moved(snapshot, "B", &Status::BLOCKED)).expect("committed");
    (scenario, project, store)
}

fn set(point: &str, action: &str) {
    fail::cfg(point, action).expect("a good action");
}

#[test]
fn a_failure_before_the_queue_is_replaced_leaves_everything_as_it_was() {
    alone("a_failure_before_the_queue_is_replaced_leaves_everything_as_it_was", || {
        for point in BEFORE {
            let (_scenario, project, store) = scenario();
            let (queue, journal) = (project.queue(), project.journal());
            set(point, "return(5)");
            let error = store.transact(&mut |snapshot| claim(snapshot, "A")).expect_err("failed");
            assert!(matches!(error, StoreError::Io { .. }), "{point}: {error:?}");
            // What was taken is given back, in whatever way that is possible while the disk fails.
            set(point, "off");
            assert_eq!((project.queue(), project.journal()), (queue, journal), "{point}");
            let held = store.read().expect("read").snapshot.leases;
            assert!(held.is_empty(), "{point}: {held:?}");
            let left: Vec<_> =
                project.files().into_iter().filter(|(path, _)| path.display().to_string().contains("tmp.")).collect();
            assert!(left.iter().all(|(path, _)| !path.starts_with(project.layout().work())), "{point}: {left:?}");
            store.transact(&mut |snapshot| claim(snapshot, "A")).expect("goes on");
            assert_eq!(kinds(&store.events(2).expect("read")), ["task.moved", "lease.acquired"], "{point}");
        }
    });
}

#[test]
fn a_directory_that_does_not_reach_the_disk_is_tried_once_more_with_a_fresh_file() {
    alone("a_directory_that_does_not_reach_the_disk_is_tried_once_more_with_a_fresh_file", || {
        let (_scenario, project, store) = scenario();
        set("store.dirsync", "1*return(5)->off");
        store.transact(&mut |snapshot| claim(snapshot, "A")).expect("the second time");
        assert_eq!(status(&store, "A"), "in_progress");

        set("store.dirsync", "return(5)");
        let error = store.transact(&mut |snapshot| settle(snapshot, "A", &Status::READY)).expect_err("not durable");
        assert!(matches!(&error, StoreError::Io { doing: "make durable", .. }), "{error:?}");
        set("store.dirsync", "off");
        // Unknown to the disk is not unknown to us: what stands there now is what counts.
        let other = project.open();
        assert_eq!(status(&store, "A"), status(&other, "A"));
        other.transact(&mut |_| ChangeSet::none()).expect("goes on");
    });
}

#[test]
fn a_lease_that_cannot_be_removed_is_a_dead_one() {
    alone("a_lease_that_cannot_be_removed_is_a_dead_one", || {
        let (_scenario, project, store) = scenario();
        store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
        set("store.drop", "return(5)");
        store.transact(&mut |snapshot| settle(snapshot, "A", &Status::AWAITING_TEST)).expect("the queue says so");
        set("store.drop", "off");
        let mut holder = None;
        project
            .open()
            .transact(&mut |snapshot| {
                holder = snapshot.leases.get("A").map(|held| held.holder.clone());
                ChangeSet::none()
            })
            .expect("nothing to do");
        assert!(matches!(holder, Some(Holder::Dead(_))), "{holder:?}");
    });
}

#[test]
fn events_that_could_not_be_written_are_written_first() {
    alone("events_that_could_not_be_written_are_written_first", || {
        for point in ["store.journal", "store.journal.written", "store.journal.synced"] {
            let (_scenario, project, store) = scenario();
            let journal = project.journal();
            set(point, "return(28)");
            store.transact(&mut |snapshot| claim(snapshot, "A")).expect("the queue says so");
            assert_eq!(status(&store, "A"), "in_progress");
            assert_eq!(project.journal(), journal, "{point}: half of it does not stay");

            let queue = project.queue();
            let error = store.transact(&mut |_| panic!("{point}: not before the journal can be written"));
            assert!(error.is_err(), "{point}");
            assert_eq!(project.queue(), queue, "{point}");

            set(point, "off");
            store.transact(&mut |snapshot| moved(snapshot, "B", &Status::READY)).expect("goes on");
            let events = store.events(2).expect("read");
            assert_eq!(kinds(&events), ["task.moved", "lease.acquired", "task.moved"], "{point}");
            let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
            assert_eq!(numbers, [3, 4, 5], "{point}");
            assert_eq!(project.open().read().expect("read").snapshot.history.seq, 5);
        }
    });
}

/// What may be done to a project whose task `A` is claimed, and `B` is not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Claim,
    Beat,
    Settle,
    Rescue,
}

/// The lease of `A`, written again.
fn beat(snapshot: &Snapshot) -> ChangeSet {
    let lease = snapshot.leases["A"].ours().expect("ours").beaten(&snapshot.now);
    ChangeSet { leases: vec![LeaseChange::Write(lease)], ..ChangeSet::none() }
}

#[test]
fn every_error_at_every_step_of_every_operation_loses_nothing() {
    alone("every_error_at_every_step_of_every_operation_loses_nothing", || {
        let mut count = 0;
        for point in BEFORE.into_iter().chain(["store.drop"]).chain(AFTER) {
            for error in ["EIO", "ENOSPC", "EROFS", "EINTR"] {
                for operation in [Operation::Claim, Operation::Beat, Operation::Settle, Operation::Rescue] {
                    fails_once(point, error, operation);
                    count += 1;
                }
            }
        }
        println!("figure: {count} combinations of step, error and operation: nothing lost");
    });
}

fn fails_once(point: &str, error: &str, operation: Operation) {
    let words = format!("{operation:?} with {error} at {point}");
    let code = match error {
        "EIO" => 5,
        "ENOSPC" => 28,
        "EROFS" => 30,
        _ => 4,
    };
    let (_scenario, project, store) = scenario();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    if operation == Operation::Rescue {
        // Its owner is gone, and with it its lock.
        drop(store);
    }
    let store = project.open();
    let edited = project.queue().replacen("\"sprint_id\": \"S1\"", "\"sprint_id\": \"S1\", \"mine\": [ 1,2 ]", 1);
    project.replace(&edited);

    set(point, &format!("1*return({code})->off"));
    let mut decide = |snapshot: &Snapshot| match operation {
        Operation::Claim => claim(snapshot, "B"),
        Operation::Beat => beat(snapshot),
        Operation::Settle => settle(snapshot, "A", &Status::AWAITING_TEST),
        Operation::Rescue => settle(snapshot, "A", &Status::READY),
    };
    let done = store.transact(&mut decide);
    set(point, "off");
    let is_there = match operation {
        Operation::Claim => status(&store, "B") == "in_progress",
        Operation::Beat => done.is_ok(),
        Operation::Settle => status(&store, "A") == "awaiting_test",
        Operation::Rescue => status(&store, "A") == "ready",
    };
    match &done {
        Ok(_) => assert!(is_there, "{words}: what was told as done is there"),
        Err(_) => assert!(!is_there || point == "store.renamed", "{words}: what was told as failed is not there"),
    }

    let other = project.open();
    let mut agrees = false;
    let look = |snapshot: &Snapshot| {
        agrees = snapshot
            .queue
            .tasks()
            .all(|task| snapshot.history.task(&task.id).and_then(|known| known.status.as_ref()) == Some(&task.status));
        ChangeSet::none()
    };
    let mut look = look;
    other.transact(&mut look).unwrap_or_else(|error| panic!("{words}: {error}"));
    assert!(agrees, "{words}: queue and journal agree as soon as somebody polls");
    if done.is_err() {
        store.transact(&mut decide).unwrap_or_else(|error| panic!("{words}: once more: {error}"));
    }
    assert!(project.queue().contains("\"S1\", \"mine\": [ 1,2 ]"), "{words}: nobody's edit is lost");
    let numbers: Vec<u64> = store.events(0).expect("read").iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{words}");
}

/// What a killed process runs; [`a_kill_between_any_two_steps_is_mended`] starts it.
#[test]
#[ignore = "a part of another test"]
fn victim() {
    let _scenario = fail::FailScenario::setup();
    let layout = Layout::new(std::env::var_os("VICTIM_OF").expect("started by the other test"));
    let store = open(&layout, Some(identity("victim@here")), LOCK_WAIT).expect("opened");
    if let Some(edited) = std::env::var_os("VICTIM_IS_BESIDE") {
        // Somebody puts their file in the queue's place after the last look at it.
        let queue = layout.queue();
        fail::cfg_callback("store.rename", move || std::fs::rename(&edited, &queue).expect("put there")).expect("set");
    }
    let _ = store.transact(&mut |snapshot| claim(snapshot, "A"));
    unreachable!("it was to die before");
}

fn kill_at(point: &str, project: &Path) {
    kill_beside(point, project, None);
}

fn kill_beside(point: &str, project: &Path, edited: Option<&Path>) {
    let exe = std::env::current_exe().expect("this test");
    let output = Command::new(exe)
        .args(["--exact", "failing::victim", "--ignored", "--nocapture"])
        .env("VICTIM_OF", project)
        .envs(edited.map(|path| ("VICTIM_IS_BESIDE", path)))
        .env("FAILPOINTS", format!("{point}=return(kill)"))
        .output()
        .expect("started");
    assert_eq!(output.status.signal(), Some(9), "{point}: {output:?}");
}

#[test]
fn a_kill_between_any_two_steps_is_mended() {
    for point in BEFORE.into_iter().chain(AFTER) {
        let (scenario, project, store) = scenario();
        drop(scenario);
        drop(store);
        let old = project.queue();
        kill_at(point, project.directory.path());

        let new = project.queue();
        let moved = new.contains("in_progress");
        assert_eq!(moved, AFTER.contains(&point), "{point}");
        assert!(moved || new == old, "{point}: the old file or the new one, nothing between");

        let store = project.open();
        let mut seen = None;
        store
            .transact(&mut |snapshot| {
                let lease = snapshot.leases.get("A").map(|held| held.holder.clone());
                let known = snapshot.history.task(&id("A")).and_then(|known| known.status.clone());
                seen = Some((lease, known == snapshot.queue.find("A").map(|task| task.status.clone())));
                ChangeSet::none()
            })
            .unwrap_or_else(|error| panic!("{point}: {error}"));
        let (lease, agrees) = seen.expect("called");
        assert!(agrees, "{point}: queue and journal agree as soon as somebody polls");
        assert!(matches!(lease, None | Some(Holder::Dead(_))), "{point}: {lease:?}");
        assert_eq!(lease.is_some(), point != "store.lease", "{point}");
        let numbers: Vec<u64> = store.events(0).expect("read").iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{point}");

        store.transact(&mut |snapshot| claim(snapshot, "A")).unwrap_or_else(|error| panic!("{point}: {error}"));
        let token = store.read().expect("read").snapshot.leases["A"].token().0;
        assert_eq!(token, 2, "{point}: no token twice, and the directory of the dead claim keeps its number");
        let left = |what: &str| project.files().into_iter().any(|(path, _)| path.display().to_string().contains(what));
        assert!(!left("-tmp.") && !left("lost-edit"), "{point}: leftovers are swept, and none is taken for an edit");
        assert!(project.queue().len() >= QUEUE.len());
    }
}

#[test]
fn an_edit_that_was_displaced_when_its_displacer_died_is_not_lost() {
    for (point, others_went_on) in [("store.exchanged", false), ("store.putback", false), ("store.exchanged", true)] {
        let (scenario, project, store) = scenario();
        drop(scenario);
        let edited = project.directory.path().join("edited");
        let edit = project.queue().replacen("\"sprint_id\": \"S1\"", "\"sprint_id\": \"S1\", \"by_hand\": 1", 1);
        std::fs::write(&edited, &edit).expect("written");
        kill_beside(point, project.directory.path(), Some(&edited));
        assert!(!project.queue().contains("by_hand"), "{point}: it is displaced");
        if others_went_on {
            project.replace(&project.queue().replacen("\"sprint_id\": \"S1\"", "\"sprint_id\": \"S2\"", 1));
        }
        // Whoever writes next finds it, started before or after.
        for store in [&store, &project.open()] {
            store.transact(&mut |snapshot| moved(snapshot, "B", &Status::READY)).expect("goes on");
            let kept = project.files().into_iter().find(|(path, _)| path.display().to_string().contains("lost-edit"));
            let held = if others_went_on { kept.expect("kept").1 } else { project.queue().into_bytes() };
            assert!(String::from_utf8_lossy(&held).contains("\"by_hand\": 1"), "{point}: the edit is there");
        }
        assert_eq!(status(&store, "A"), if others_went_on { "in_progress" } else { "ready" }, "{point}");
        assert_eq!(status(&store, "B"), "ready", "{point}");
    }
}

/// How somebody writes the queue who read it while ours stood in the place of an edit, and where it has gone meanwhile.
#[derive(Clone, Copy, Debug)]
enum Stale {
    Replaces,
    Truncates,
    /// The old file becomes a backup before the edit is put back.
    BacksUp,
    /// The file is put away, written there, and put back.
    PutsAway,
}

#[test]
fn an_edit_that_stood_aside_for_a_moment_outlives_whoever_read_the_queue_then() {
    alone("an_edit_that_stood_aside_for_a_moment_outlives_whoever_read_the_queue_then", || {
        for how in [Stale::Replaces, Stale::Truncates, Stale::BacksUp, Stale::PutsAway] {
            let (_scenario, project, store) = scenario();
            let queue = project.layout().queue();
            let (beside, backup) = (queue.with_extension("beside"), queue.with_extension("json~"));
            let mark = |text: &str, name: &str| text.replacen('{', &format!("{{\"{name}\": 1,"), 1);
            let first = mark(&project.queue(), "first");
            let stale = std::sync::Arc::new(std::sync::Mutex::new(None::<String>));
            let once = |point: &str, body: Box<dyn FnMut() + Send>| {
                let done = std::sync::atomic::AtomicBool::new(false);
                let body = std::sync::Mutex::new(body);
                fail::cfg_callback(point, move || {
                    if !done.swap(true, std::sync::atomic::Ordering::SeqCst) {
                        (body.lock().expect("once"))();
                    }
                })
                .expect("set");
            };
            let (at, from) = (queue.clone(), beside.clone());
            once(
                "store.rename",
                Box::new(move || {
                    std::fs::write(&from, &first).expect("written");
                    std::fs::rename(&from, &at).expect("put there");
                }),
            );
            let (at, to, read) = (queue.clone(), backup.clone(), stale.clone());
            once(
                "store.putback",
                Box::new(move || {
                    *read.lock().expect("once") = Some(std::fs::read_to_string(&at).expect("read"));
                    if matches!(how, Stale::BacksUp | Stale::PutsAway) {
                        std::fs::rename(&at, &to).expect("moved away");
                    }
                }),
            );
            let (at, from, away, read) = (queue.clone(), beside.clone(), backup.clone(), stale.clone());
            let write = move || {
                let Some(text) = read.lock().expect("once").take() else { return };
                assert!(!text.contains("first"), "{how:?}: it was read in the moment");
                let text = text.replacen('{', "{\"second\": 1,", 1);
                match how {
                    Stale::Truncates | Stale::BacksUp => std::fs::write(&at, text).expect("written"),
                    Stale::Replaces | Stale::PutsAway => {
                        let from = if matches!(how, Stale::PutsAway) { &away } else { &from };
                        std::fs::write(from, text).expect("written");
                        std::fs::rename(from, &at).expect("put there");
                    }
                }
            };
            // When the change is tried again, they are done with it.
            fail::cfg_callback("store.temp", write).expect("set");
            store.transact(&mut |snapshot| moved(snapshot, "B", &Status::READY)).expect("goes on");
            assert!(stale.lock().expect("once").is_none(), "{how:?}: it was written");
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            let both = || ["first", "second"].iter().all(|name| project.queue().contains(&format!("\"{name}\": 1")));
            while !both() && std::time::Instant::now() < deadline {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            assert!(both(), "{how:?}: {}", project.queue());
            assert_eq!(status(&store, "B"), "ready", "{how:?}");
        }
    });
}
