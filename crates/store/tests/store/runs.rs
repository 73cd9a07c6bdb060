//! Attempts' directories and tokens: nothing that lay there before speaks for an attempt, and no number comes twice.

use std::fs;

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{RunName, Status, Token};
use oodatcaa_store::{Desk, LOCK_WAIT, identity};

use super::{Project, QUEUE, claim, id, open, settle};

fn claimed(store: &Desk, task: &str) -> (Token, RunName) {
    let committed = store.transact(&mut |snapshot| claim(snapshot, task)).expect("committed");
    let lease = committed.changes.takes().next().expect("a claim");
    (lease.token, lease.run_name())
}

#[test]
fn a_claim_makes_its_directory_and_lease_and_journal_name_it() {
    let project = Project::new();
    let (layout, store) = (project.layout(), project.open());
    let (token, name) = claimed(&store, "A");
    assert_eq!((token, name.as_str()), (Token(1), "1"));
    assert_eq!(fs::read_dir(layout.run(&id("A"), &name)).expect("made").count(), 0);
    let lease = fs::read_to_string(layout.lease(&id("A"))).expect("a lease");
    assert!(lease.contains("\"run\": \"1\""), "{lease}");
    let event =
        store.events(0).expect("events").into_iter().find_map(|event| Some(event.data().members().get("run")?.clone()));
    assert_eq!(event.expect("the claim is told"), "1");
    let snapshot = store.read().expect("read").snapshot;
    assert_eq!(snapshot.run_name(&id("A"), token), Some(name));
    assert_eq!(snapshot.run_name(&id("A"), Token(7)), None, "nobody knows of such an attempt");
}

#[test]
fn tokens_go_on_from_directories_when_the_journal_is_gone() {
    let project = Project::new();
    fs::create_dir_all(project.layout().runs().join("A/4")).expect("made");
    fs::write(project.layout().runs().join("A/6-0123456789abcdef"), "").expect("written");
    let (token, name) = claimed(&project.open(), "A");
    assert_eq!((token, name.as_str()), (Token(7), "7"));
    assert_eq!(claimed(&project.open(), "B").0, Token(1), "another task's are its own");
}

#[test]
fn tokens_go_on_from_the_users_state_when_all_of_the_project_is_new() {
    let (project, state) = (Project::new(), tempfile::tempdir().expect("a directory"));
    let open = |project: &Project| {
        let layout: Layout = project.layout().kept_in(state.path().join("p"));
        open(&layout, Some(identity("builder@here")), LOCK_WAIT).expect("opened")
    };
    let store = open(&project);
    assert_eq!(claimed(&store, "A").0, Token(1));
    store.transact(&mut |snapshot| settle(snapshot, "A", &Status::READY)).expect("settled");
    drop(store);
    for gone in [project.layout().runs(), project.layout().leases()] {
        fs::remove_dir_all(gone).expect("removed");
    }
    fs::remove_file(project.layout().journal()).expect("removed");
    project.replace(QUEUE);
    assert_eq!(claimed(&open(&project), "A").0, Token(2));
}

#[test]
fn a_number_that_nobody_has_counted_to_does_not_begin_the_tokens_anew() {
    for made_up in ["9223372036854775807", "9223372036854775806", "18446744073709551615", "1099511627777"] {
        let project = Project::with(&QUEUE.replacen("\"lease\": null", &format!("\"lease\": \"w#{made_up}\""), 1));
        fs::create_dir_all(project.layout().runs().join("A").join(made_up)).expect("made");
        fs::create_dir_all(project.layout().runs().join("A/3")).expect("made");
        let store = project.open();
        assert_eq!(claimed(&store, "A").0, Token(4), "{made_up}");
        store.transact(&mut |snapshot| settle(snapshot, "A", &Status::READY)).expect("settled");
        assert_eq!(claimed(&store, "A").0, Token(5), "{made_up}");
    }
    // The greatest that is believed does not end the counting either.
    let greatest = (1_u64 << 40).to_string();
    let project = Project::with(&QUEUE.replacen("\"lease\": null", &format!("\"lease\": \"w#{greatest}\""), 1));
    let store = project.open();
    for more in 1..4 {
        assert_eq!(claimed(&store, "A").0, Token((1 << 40) + more));
        store.transact(&mut |snapshot| settle(snapshot, "A", &Status::READY)).expect("settled");
    }
}
