//! Lease files of every dialect, and who stands behind them.

use std::{
    fs,
    process::{Command, Stdio},
};

use oodatcaa_core::{ChangeSet, Holder, LeaseRecord, Status};
use oodatcaa_store::{Desk, identity};

use super::{Project, QUEUE, claim, eventually, id, moved, settle};

fn holder(store: &Desk, task: &str) -> Option<Holder> {
    let mut holder = None;
    store
        .transact(&mut |snapshot| {
            holder = snapshot.leases.get(task).map(|held| held.holder.clone());
            ChangeSet::none()
        })
        .expect("nothing to do");
    holder
}

#[test]
fn helpers_leases_are_read_in_every_dialect() {
    let project = Project::new();
    fs::create_dir(project.layout().leases()).expect("created");
    let put = |name: &str, text: &str| fs::write(project.layout().leases().join(name), text).expect("written");
    put("A.json", r#"{"agent": "builder", "acquired": "2026-01-05T09:00:00Z", "ttl": 90, "token": 5}"#);
    put(
        "B-somebody.json",
        r#"{"task_id": "B", "owner": "somebody", "started_at": "2026-01-05T09:00:00Z", "ttl_seconds": 60}"#,
    );
    put("C.json", "half a le");
    put("notes.txt", "not ours");
    put(".D.json", "{}");
    let store = project.open();
    let leases = store.read().expect("read").snapshot.leases;
    assert_eq!(leases.keys().map(oodatcaa_core::TaskId::as_str).collect::<Vec<&str>>(), ["A", "B", "C"]);
    let LeaseRecord::Foreign(lease) = &leases["A"].record else { panic!("{leases:?}") };
    assert_eq!(lease.until, "2026-01-05T10:30:00Z".parse().ok());
    assert_eq!((leases["A"].token().0, &leases["A"].holder), (5, &Holder::Unknown));
    assert_eq!(leases["B"].owner(), "somebody");
    assert!(matches!(leases["C"].record, LeaseRecord::Broken { .. }));

    let mut changes = None;
    store.transact(&mut |snapshot| changes.insert(claim(snapshot, "B")).clone()).expect("taken over");
    assert!(!project.layout().leases().join("B-somebody.json").exists(), "ours stands in its place");
    assert!(store.read().expect("read").snapshot.leases["B"].ours().is_some());
    store.transact(&mut |snapshot| settle(snapshot, "A", &Status::READY)).expect("dropped");
    assert!(!project.layout().lease(&id("A")).exists());
}

#[test]
fn a_lease_says_what_was_written_last_however_fast() {
    let project = Project::new();
    let (one, other) = (project.open(), project.open());
    one.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    for group in 1..60 {
        one.transact(&mut |snapshot| {
            let lease = snapshot.leases["A"].ours().expect("ours").clone();
            let lease = oodatcaa_core::Lease { pgid: Some(1_000 + group), ..lease };
            ChangeSet { leases: vec![oodatcaa_core::LeaseChange::Write(lease)], ..ChangeSet::none() }
        })
        .expect("committed");
        let read = other.read().expect("read").snapshot;
        assert_eq!(read.leases["A"].ours().and_then(|lease| lease.pgid), Some(1_000 + group));
    }
}

/// Makes a lease say that a process of this machine holds it.
fn give_to(project: &Project, pid: u32, started: u64) {
    let path = project.layout().lease(&id("A"));
    let mut lease: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).expect("read")).expect("JSON");
    lease["pid"] = pid.into();
    lease["pid_started"] = started.into();
    fs::write(path, lease.to_string()).expect("written");
}

#[test]
fn a_killed_holder_is_dead_at_once() {
    let project = Project::new();
    let worker = project.open();
    worker.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    drop(worker);
    let mut child = Command::new("flock")
        .arg("--no-fork")
        .arg(project.layout().task_lock(&id("A")))
        .args(["sh", "-c", "echo held; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("`flock` is there");
    let mut word = [0; 5];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut word).expect("it holds");
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it lives");
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse().ok());
    give_to(&project, child.id(), started.expect("a start time"));

    let store = project.open();
    assert_eq!(holder(&store, "A"), Some(Holder::Alive));
    assert_eq!(store.read().expect("read").snapshot.leases["A"].holder, Holder::Alive);

    give_to(&project, child.id(), started.expect("a start time") + 1);
    let another = holder(&store, "A");
    assert!(matches!(&another, Some(Holder::Dead(why)) if why.contains("another one")), "{another:?}");
    give_to(&project, child.id(), started.expect("a start time"));

    child.kill().expect("killed");
    // Not reaped yet: a process that only waits for that is dead.
    eventually("it is dead", || matches!(holder(&store, "A"), Some(Holder::Dead(_))));
    assert!(matches!(store.read().expect("read").snapshot.leases["A"].holder, Holder::Dead(_)));
    child.wait().expect("reaped");
}

#[test]
fn another_boot_is_death_and_another_machine_is_unknown() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let path = project.layout().lease(&id("A"));
    let lease = fs::read_to_string(&path).expect("read");
    let me = identity("x");
    fs::write(&path, lease.replace(&me.boot_id, "another-boot")).expect("written");
    assert!(matches!(holder(&store, "A"), Some(Holder::Dead(_))));
    fs::write(&path, lease.replace(&me.boot_id, "another-boot").replace(&format!("\"{}\"", me.host), "\"elsewhere\""))
        .expect("written");
    assert_eq!(holder(&store, "A"), Some(Holder::Unknown));
}

#[test]
fn a_superseded_holder_of_a_tasks_lock_does_not_keep_it() {
    let project = Project::new();
    let (wedged, other) = (project.open(), project.open());
    wedged.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    fs::remove_file(project.layout().lease(&id("A"))).expect("removed");
    other.transact(&mut |snapshot| claim(snapshot, "A")).expect("taken");
    drop(wedged);
    assert_eq!(holder(&project.open(), "A"), Some(Holder::Alive), "the lock of the old one was on nothing");
    drop(other);
    let store = project.open();
    eventually("it is dead", || matches!(holder(&store, "A"), Some(Holder::Dead(_))));
}

#[test]
fn an_agent_does_not_inherit_a_lock() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let mut agent = Command::new("sleep").arg("1000").spawn().expect("`sleep` is there");
    drop(store);
    let store = project.open();
    // Other tests start programs too: between fork and exec those have copies of everything.
    eventually("it is dead", || matches!(holder(&store, "A"), Some(Holder::Dead(_))));
    assert_eq!(agent.try_wait().expect("looked"), None, "the agent lives on");
    agent.kill().expect("killed");
    agent.wait().expect("reaped");
}

#[test]
fn a_store_without_an_owner_takes_no_lease() {
    let project = Project::new();
    let store = project.open_as(None);
    assert!(store.transact(&mut |snapshot| claim(snapshot, "A")).is_err());
    assert_eq!(project.queue(), QUEUE);
    store.transact(&mut |snapshot| moved(snapshot, "A", &Status::BLOCKED)).expect("but it moves tasks");
}
