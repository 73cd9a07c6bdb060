//! What reads bytes in a store's directory: lease files in three dialects, the journal.

use std::{fs, path::Path, time::Duration};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{
    ChangeSet, Class, Data, Event, EventDraft, LeaseRecord, Now, Outcome, Owner, Role, Snapshot, TaskId, Token,
    Workflow, claim, coordinate,
    event::{Actor, payload::Ended},
    outcome::Retry,
    pool::Offer,
    rescue, settle,
};
use oodatcaa_store::Desk;

use super::{Target, kind, shape};

const QUEUE: &str = r#"{"wip_limits":{"builder":2},"tasks":[
  {"id":"A","title":"t","status":"ready"},
  {"id":"B","title":"t","status":"in_progress","lease":"w@h#3"}
]}"#;

/// A directory in memory, where there is one: a durable write costs nothing there.
pub(super) fn memory() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    dir.expect("a directory")
}

fn project() -> tempfile::TempDir {
    let dir = memory();
    let layout = Layout::new(dir.path());
    fs::create_dir_all(layout.work()).expect("a directory");
    fs::create_dir(layout.leases()).expect("a directory");
    fs::write(layout.queue(), QUEUE).expect("written");
    dir
}

fn open(dir: &tempfile::TempDir) -> Desk {
    let layout = Layout::new(dir.path());
    oodatcaa_store::open(layout.root(), &layout, None, Duration::from_secs(5)).expect("it opens")
}

/// Puts a file there as others do, in one step.
fn put(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).expect("written");
    fs::rename(new, path).expect("renamed");
}

fn claimant(workflow: &Workflow) -> claim::Claimant {
    claim::Claimant {
        owner: Owner { tag: "w@h".into(), host: "h".into(), boot_id: "b".into(), pid: 7, pid_started: 9 },
        rule: workflow.rule(&Role::BUILDER).expect("ships").clone(),
        agents: vec![Offer { by: "x".into(), pool: "x".into(), simulated: false }],
        ignore_wip: false,
    }
}

/// The rules find an answer to whatever stands in a queue, and one that a store could keep.
pub(super) fn is_decided(queue: &std::sync::Arc<oodatcaa_core::Queue>, workflow: &Workflow) {
    let seen = Snapshot {
        now: Now::new(chrono::DateTime::UNIX_EPOCH + chrono::Duration::days(20_000), Duration::from_secs(9)),
        queue: std::sync::Arc::clone(queue),
        leases: Default::default(),
        history: Default::default(),
        beside: Default::default(),
        kept: Default::default(),
    };
    let seen = seen.after(&coordinate::decide(&seen, workflow));
    let left = rescue::find(&seen, workflow);
    let given = seen.after(&rescue::decide(&seen, workflow, &Retry::default(), &left, "r@h"));
    if let Ok((changes, lease)) = claim::decide(&given, workflow, &claimant(workflow)) {
        assert_eq!(changes.leases.len(), 1, "one claim, one lease");
        let taken = given.after(&changes);
        let failed = Outcome::failed(Class::AgentFailed, "x");
        let settled = settle::decide(&taken, workflow, &lease, &failed, &Retry::default(), &Ended::default());
        let after = taken.after(&settled);
        assert!(!after.leases.contains_key(&lease.task_id), "it is given back");
    }
}

/// A file `.leases/A.json`, in whatever words.
pub(super) struct LeaseText {
    dir: tempfile::TempDir,
    store: Desk,
    workflow: Workflow,
}

impl Target for LeaseText {
    const NAME: &'static str = "lease";
    const WORDS: &'static [&'static [u8]] = &[
        b"\"task_id\":\"A\"",
        b"\"task_id\":\"B\"",
        b"\"role\":\"builder\"",
        b"\"owner\":\"x\"",
        b"\"token\":",
        b"\"token\":18446744073709551615",
        b"\"attempt\":1",
        b"\"ttl_seconds\":",
        b"\"ttl\":",
        b"\"acquired\":\"2026-01-01 09:00:00\"",
        b"\"last_heartbeat\":\"2026-01-01T09:00:00Z\"",
        b"\"heartbeat_at\":\"2026-01-01T09:00:00.000Z\"",
        b"\"started_at\":",
        b"\"boot_id\":\"b\"",
        b"\"pid\":1",
        b"\"heartbeat_mono_ms\":18446744073709551615",
        b"\"expires_at\":",
    ];

    fn new() -> Self {
        let dir = project();
        Self { store: open(&dir), dir, workflow: Workflow::shipped() }
    }

    fn run(&mut self, input: &[u8]) -> u64 {
        put(&Layout::new(self.dir.path()).leases().join("A.json"), input);
        let seen = self.store.read().expect("a lease file never stands in the way").snapshot;
        // It may say that it is another task's.
        let Some((id, held)) = seen.leases.iter().next() else { panic!("it is told") };
        // A time before the file's, and one far behind.
        for days in [-400_000, 0, 400_000] {
            let mut seen = seen.clone();
            seen.now.wall += chrono::Duration::days(days);
            let left = rescue::find(&seen, &self.workflow);
            let given = seen.after(&rescue::decide(&seen, &self.workflow, &Retry::default(), &left, "r@h"));
            if let Ok((changes, lease)) = claim::decide(&given, &self.workflow, &claimant(&self.workflow)) {
                let known = if lease.task_id.as_str() == "B" { Token(3) } else { Token(0) };
                let before = if lease.task_id == *id { held.token().max(known) } else { known };
                assert!(lease.token > before || !before.is_plausible(known), "a token only grows");
                assert!(lease.token > Token(0));
                let after = given.after(&changes);
                assert_eq!(after.leases.get(&lease.task_id).and_then(|held| held.ours()), Some(&lease));
            }
        }
        if let LeaseRecord::Ours(lease) = &held.record {
            let text = serde_json::to_vec(lease).expect("a lease is JSON");
            assert_eq!(serde_json::from_slice::<oodatcaa_core::Lease>(&text).expect("reads back"), *lease);
        }
        let health = held.health(&seen.now);
        let known = match &held.record {
            LeaseRecord::Broken { reason, .. } => shape(reason),
            LeaseRecord::Foreign(lease) => format!("{} {}", lease.until.is_some(), lease.owner.is_empty()),
            LeaseRecord::Ours(lease) => format!("{} {}", lease.stop.is_some(), lease.probe),
        };
        let token = held.token().0.leading_zeros() / 16;
        let record = std::mem::discriminant(&held.record);
        kind((
            record,
            std::mem::discriminant(&health),
            held.role().is_some(),
            seen.leases.contains_key("A"),
            token,
            known,
        ))
    }
}

/// The journal, with whatever lines.
pub(super) struct JournalText(tempfile::TempDir);

/// The numbers of the events in it.
fn numbers(bytes: &[u8]) -> Vec<u64> {
    let events = bytes.split(|byte| *byte == b'\n').filter_map(|line| Event::parse(line).ok());
    events.map(|event| event.seq).collect()
}

impl Target for JournalText {
    const NAME: &'static str = "journal";
    const WORDS: &'static [&'static [u8]] = &[
        b"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"//h/p\",\"type\":\"oodatcaa.task.moved.v1\",\"subject\":\"task/A\",\"time\":\"2026-01-01T00:00:00.000Z\",\"datacontenttype\":\"application/json\",\"seq\":1,\"actor\":\"worker:w@h\",\"task\":\"A\",\"data\":{}}\n",
        b"\"seq\":18446744073709551615",
        b"\"seq\":",
        b"\"token\":",
        b"\"type\":\"oodatcaa.lease.acquired.v1\"",
        b"\"type\":\"oodatcaa.attempt.finished.v1\"",
        b"\"type\":\"oodatcaa.agent.limited.v1\"",
        b"\"type\":\"oodatcaa.decision.requested.v1\"",
        b"\"type\":\"oodatcaa.queue.valid.v1\"",
        b"\"data\":{\"statuses\":{\"A\":\"ready\"}}",
        b"\"data\":{\"from\":\"ready\",\"to\":\"done\",\"stamped\":true}",
        b"\"data\":{\"tokens_in\":",
        b"\"data\":{\"pool\":\"x\",\"until\":\"9999-12-31T00:00:00Z\"}",
        b"\"role\":\"builder\"",
        b"\n",
    ];

    fn new() -> Self {
        Self(project())
    }

    fn run(&mut self, input: &[u8]) -> u64 {
        let layout = Layout::new(self.0.path());
        put(&layout.queue(), QUEUE.as_bytes());
        put(&layout.journal(), input);
        let store = open(&self.0);
        let before = store.read().expect("a journal never stands in the way").snapshot;
        let workflow = Workflow::shipped();
        let claimed = claim::decide(&before, &workflow, &claimant(&workflow));
        let event = EventDraft::new(Data::WorkerStarted(Default::default()), Actor::Worker("w@h".into()));
        let done = store.transact(&mut |_| ChangeSet { events: vec![event.clone()], ..ChangeSet::none() });
        let done = done.expect("a journal can be added to");
        // A jump to a number that nobody can have counted to is passed over, so the greatest one says nothing.
        let (given, counted) = (numbers(input), before.history.seq);
        for event in &done.events {
            assert!(event.seq > counted, "{} is not after {counted}", event.seq);
            assert!(!given.contains(&event.seq), "{} was given out before", event.seq);
        }
        let after = fs::read(layout.journal()).expect("a journal");
        let whole = input.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        assert!(after.starts_with(&input[..whole]), "a line is lost");
        let lines = after[whole..].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for line in lines {
            Event::parse(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        }
        let history = store.read().expect("readable").snapshot.history;
        assert_eq!(history.seq, done.events.last().expect("one").seq);
        let known = (
            history.roles.len().min(2),
            history.pools.closed.len().min(2),
            history.task(&TaskId::parse("A").expect("a good id")).is_some(),
        );
        kind((known, done.events.len().min(4), claimed.is_ok(), whole == input.len()))
    }
}
