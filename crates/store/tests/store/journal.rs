//! The journal's broken ends, and what it tells about a queue that others wrote.

use std::{fs, io::Write};

use oodatcaa_core::{ChangeSet, Data, EventDraft, Status, event::Actor, external_edits};
use oodatcaa_store::LOCK_WAIT;

use super::{Project, QUEUE, claim, id, kinds, moved, nothing, open, settle};

#[test]
fn a_line_that_was_not_finished_is_cut_and_told() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let whole = project.journal();
    let mut file = fs::OpenOptions::new().append(true).open(project.layout().journal()).expect("opened");
    file.write_all(br#"{"specversion":"1.0","id":"4","seq":4,"ty"#).expect("written");
    assert_eq!(store.events(0).expect("read").len(), 3, "readers do without it");
    for (store, number) in [(project.open(), 4), (store, 5)] {
        store.transact(&mut |snapshot| moved(snapshot, "B", &Status::BLOCKED)).expect("committed");
        assert!(project.journal().starts_with(&whole));
        let events = store.events(3).expect("read");
        assert_eq!(events[0].data().members()["note"], "41 bytes of an unfinished line were cut off the journal");
        assert_eq!(events.last().map(|event| event.seq), Some(number + 1));
        let lines = project.journal().lines().map(serde_json::from_str::<serde_json::Value>).all(|line| line.is_ok());
        assert!(lines, "{}", project.journal());
    }
}

#[test]
fn an_event_read_again_counts_as_this_users_by_its_seal_only() {
    let (project, state) = (Project::new(), tempfile::tempdir().expect("a directory"));
    let open = || open(&project.layout().kept_in(state.path().join("projects/p")), None, LOCK_WAIT).expect("opened");
    let sent = || EventDraft::new(Data::MessageSent(Default::default()), Actor::Human("me@tty".into()));
    let mut changes = ChangeSet::none();
    changes.event(sent());
    open().transact(&mut |_| changes.clone()).expect("committed");
    let ours = project.journal();
    fs::write(project.layout().journal(), format!("{ours}{}", ours.replace("me@tty", "who@tty"))).expect("written");
    let events = open().events(0).expect("read");
    let sent = events.iter().filter(|event| matches!(event.data(), Data::MessageSent(_)));
    assert_eq!(sent.map(|event| event.sealed).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_last_line_that_lacks_only_its_end_is_kept() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let whole = project.journal();
    fs::write(project.layout().journal(), whole.trim_end()).expect("written");
    for store in [project.open(), store] {
        store.transact(&mut |snapshot| moved(snapshot, "B", &Status::BLOCKED)).expect("committed");
    }
    assert!(project.journal().starts_with(&whole));
    assert_eq!(project.open().events(0).expect("read").len(), 5);
}

#[test]
fn an_unreadable_line_in_the_middle_is_passed_over_and_its_number_is_not_used_again() {
    let project = Project::new();
    project.open().transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let torn = project.journal() + "not an event\n{\"seq\": 40, \"type\": \"oodatcaa.of.tomorrow.v9\"}\n";
    fs::write(project.layout().journal(), &torn).expect("written");
    let store = project.open();
    let committed = store.transact(&mut |snapshot| moved(snapshot, "B", &Status::BLOCKED)).expect("committed");
    assert_eq!(committed.events[0].seq, 41);
    assert!(project.journal().starts_with(&torn));
}

#[test]
fn a_journal_that_was_written_anew_is_read_anew() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let journal = project.journal();
    let first = journal.lines().next().expect("a line").to_owned() + "\n";
    for _ in 0..2 {
        // Shrunk in place; then, longer than what was read, with another beginning.
        fs::write(project.layout().journal(), &first).expect("written");
        assert_eq!(store.read().expect("read").snapshot.history.seq, 1);
        fs::write(project.layout().journal(), journal.replace("\"seq\":3", "\"seq\":73")).expect("written");
        assert_eq!(store.read().expect("read").snapshot.history.seq, 73);
    }
    fs::remove_file(project.layout().journal()).expect("removed");
    assert_eq!(store.read().expect("read").snapshot.history.seq, 0);
}

#[test]
fn an_event_that_a_crash_swallowed_is_told_with_its_true_actor() {
    let project = Project::new();
    project.open().transact(&mut |snapshot| moved(snapshot, "A", &Status::BLOCKED)).expect("committed");
    let before = project.journal();
    project.open().transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    fs::write(project.layout().journal(), before).expect("written");
    let store = project.open();
    let committed = store.transact(&mut |_| ChangeSet::none()).expect("observed");
    assert_eq!(kinds(&committed.events), ["lease.acquired", "task.moved"]);
    assert_eq!(committed.events[1].data().members()["to"], "in_progress");
    assert!(committed.events.iter().all(|event| event.actor == "worker:builder@here"), "as the lease names it");
}

#[test]
fn a_change_that_somebody_just_wrote_over_is_written_again() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    store.transact(&mut |snapshot| settle(snapshot, "A", &Status::AWAITING_TEST)).expect("committed");
    project.replace(&QUEUE.replace("\"attempts\": 0", "\"attempts\": 3"));
    nothing(&store).expect("written again");
    let queue = store.read().expect("read").snapshot.queue;
    assert_eq!(queue.find("A").expect("there").status, Status::AWAITING_TEST);
    assert_eq!(queue.find("B").expect("there").attempts, 3, "and theirs stays");
}

#[test]
fn an_old_queue_that_was_put_back_is_left_as_it_is_and_seen() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    store.transact(&mut |snapshot| settle(snapshot, "A", &Status::AWAITING_TEST)).expect("committed");
    let long_ago: String = project
        .journal()
        .lines()
        .map(|line| {
            let mut event: serde_json::Value = serde_json::from_str(line).expect("an event");
            event["time"] = "2026-01-05T09:00:00.000Z".into();
            format!("{event}\n")
        })
        .collect();
    fs::write(project.layout().journal(), long_ago).expect("written");
    project.replace(QUEUE);
    let mut seen = None;
    store
        .transact(&mut |snapshot| {
            seen = Some((external_edits::behind(snapshot).is_some(), snapshot.highest_token(&id("A")).0));
            ChangeSet::none()
        })
        .expect("nothing to do");
    assert_eq!(seen, Some((true, 1)), "the token is not forgotten");
    assert_eq!(project.queue(), QUEUE);
}

#[test]
fn who_only_looks_does_not_journal_what_was_observed() {
    let project = Project::new();
    project.open().transact(&mut |snapshot| moved(snapshot, "A", &Status::BLOCKED)).expect("committed");
    project.replace(&project.queue().replace("blocked", "ready"));
    let before = project.journal();
    nothing(&project.open_as(None)).expect("nothing to do");
    assert_eq!(project.journal(), before);
    nothing(&project.open()).expect("observed");
    assert_ne!(project.journal(), before);
}
