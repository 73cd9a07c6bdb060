//! What every store promises ([`conformance`]), and what the store of files promises beyond that.
#![expect(clippy::print_stderr, reason = "a test that could not run says so")]
#![expect(clippy::print_stdout, reason = "figures for docs/PROOF.md")]

mod conformance;
#[cfg(feature = "failpoints")]
mod failing;
mod files;
mod journal;
mod leases;
mod machine;
mod mail;
mod memory;
mod runs;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{
    ChangeSet, Data, Event, EventDraft, Lease, LeaseChange, Member, Owner, Role, RoleRule, Snapshot, Status, TaskId,
    Workflow,
    event::{Actor, payload::TaskChange},
    time::stamp,
};
use oodatcaa_store::{Desk, StoreError, identity};

const QUEUE: &str = r#"{
  "sprint_id": "S1",
  "wip_limits": {"builder": 3},
  "tasks": [
    {
      "id": "A",
      "title": "Füße",
      "status": "ready",
      "lease": null,
      "x-mine": [ 1,2 ]
    },
    {"id": "B", "status": "ready", "lease": null, "attempts": 0}
  ]
}
"#;

fn open(layout: &Layout, me: Option<Owner>, lock_wait: Duration) -> Result<Desk, StoreError> {
    oodatcaa_store::open(layout.root(), layout, me, lock_wait)
}

/// A project of its own in a directory that goes away with it.
struct Project {
    directory: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        Self::with(QUEUE)
    }

    fn with(queue: &str) -> Self {
        let project = Self { directory: tempfile::tempdir().expect("a directory") };
        fs::create_dir_all(project.layout().work()).expect("created");
        fs::write(project.layout().queue(), queue).expect("written");
        project
    }

    fn layout(&self) -> Layout {
        Layout::new(self.directory.path())
    }

    fn open(&self) -> Desk {
        self.open_as(Some(identity("builder@here")))
    }

    fn open_as(&self, me: Option<Owner>) -> Desk {
        open(&self.layout(), me, Duration::from_secs(20)).expect("opened")
    }

    fn queue(&self) -> String {
        fs::read_to_string(self.layout().queue()).expect("read")
    }

    /// As editors and git do it: another file takes the place.
    fn replace(&self, content: &str) {
        let beside = self.layout().work().join("beside");
        fs::write(&beside, content).expect("written");
        fs::rename(beside, self.layout().queue()).expect("renamed");
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.layout().journal()).unwrap_or_default()
    }

    /// Everything below a directory, with its content.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(directory: &Path, all: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(directory).expect("listed") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    walk(&path, all);
                } else {
                    all.push((path.clone(), fs::read(&path).expect("read")));
                }
            }
        }
        let mut all = Vec::new();
        walk(self.directory.path(), &mut all);
        all.sort();
        all
    }
}

fn id(text: &str) -> TaskId {
    TaskId::parse(text).expect("a good id")
}

/// The claim of a task, as the rules would plan it.
fn claim(snapshot: &Snapshot, task: &str) -> ChangeSet {
    let (task, me, now) = (id(task), identity("builder@here"), snapshot.now);
    let rule = Workflow::shipped().rule(&Role::BUILDER).expect("it ships").clone();
    let rule = RoleRule { ttl: Duration::from_secs(600), ..rule };
    let by = "cmd".into();
    let lease = Lease { by, ..Lease::new(&me, &rule, &task, snapshot.highest_token(&task).next(), &now) };
    let mut changes = moved(snapshot, task.as_str(), &Status::IN_PROGRESS);
    changes.set(&task, Member::Lease, lease.in_queue());
    changes.event(
        EventDraft::new(Data::LeaseAcquired(Default::default()), Actor::Worker(lease.owner.clone())).lease(&lease),
    );
    changes.leases.push(LeaseChange::Take(lease));
    changes
}

/// The move of a task, told and stamped.
fn moved(snapshot: &Snapshot, task: &str, to: &Status) -> ChangeSet {
    let task = id(task);
    let from = snapshot.queue.get(&task).expect("there").status.clone();
    let mut changes = ChangeSet::none();
    changes.set(&task, Member::Status, to.as_str());
    changes.set(&task, Member::UpdatedAt, stamp(snapshot.now.wall));
    let (from, to) = (Some(from.clone()), Some(to.clone()));
    let moved = TaskChange { from, to, stamped: true, ..TaskChange::default() };
    changes.event(EventDraft::new(Data::TaskMoved(moved), Actor::Worker("builder@here".into())).task(&task));
    changes
}

/// The end of a claim.
fn settle(snapshot: &Snapshot, task: &str, to: &Status) -> ChangeSet {
    let mut changes = moved(snapshot, task, to);
    changes.set(&id(task), Member::Lease, serde_json::Value::Null);
    changes.leases.push(LeaseChange::Drop(id(task)));
    changes
}

fn kinds(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.kind().to_string()).collect()
}

fn status(store: &Desk, task: &str) -> String {
    store.read().expect("read").snapshot.queue.find(task).expect("there").status.to_string()
}

fn nothing(store: &Desk) -> Result<(), StoreError> {
    store.transact(&mut |_| ChangeSet::none()).map(|_| ())
}

/// Waits for a state, at most 20 seconds.
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
