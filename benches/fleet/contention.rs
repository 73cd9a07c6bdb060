//! Many at one queue: who waits how long, how long the lock is held, and what heartbeats cost.

use std::{
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{
    ChangeSet, Lease, LeaseChange, Outcome, Role, Workflow,
    claim::{self, Claimant},
    event::payload::Ended,
    outcome::Retry,
    pool::Offer,
    settle,
};
use oodatcaa_store::{Desk, identity};

use crate::{
    support::{Project, Spread, rounds, tasks},
    table::{Table, Target},
};

pub(crate) fn claimant(role: &Role, tag: &str, ignore_wip: bool) -> Claimant {
    Claimant {
        owner: identity(tag),
        rule: Workflow::shipped().rule(role).expect("a shipped role").clone(),
        agents: vec![Offer { by: "a".into(), pool: "a".into(), simulated: false }],
        ignore_wip,
    }
}

fn open(project: &Project, tag: &str) -> Desk {
    let layout = Layout::new(project.root());
    oodatcaa_store::open(layout.root(), &layout, Some(identity(tag)), Duration::from_secs(300)).expect("a store")
}

#[derive(Default)]
struct Seen {
    /// From asking for the lock until deciding.
    waits: Vec<f64>,
    /// From deciding until everything is written.
    held: Vec<f64>,
    done: usize,
}

/// Workers with a store each, as processes have, that claim and settle as fast as they can.
pub(crate) fn contention(table: &mut Table) {
    const SECTION: &str = "Fifty workers at a thousand tasks";
    let (workers, count) = (50, rounds(1_000, 150));
    let project = Project::new(&["true"]);
    project.put(&tasks(count, 0, 0));
    let start = Arc::new(Barrier::new(workers));
    let begun = Instant::now();
    let threads: Vec<_> = (0..workers)
        .map(|n| {
            let (tag, start) = (format!("w{n}@bench"), Arc::clone(&start));
            let store = open(&project, &tag);
            std::thread::spawn(move || {
                start.wait();
                work(&store, &tag)
            })
        })
        .collect();
    let all: Vec<Seen> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    let took = begun.elapsed().as_secs_f64();
    let done: usize = all.iter().map(|seen| seen.done).sum();
    assert_eq!(done, count, "each task is done once");
    let waits = Spread::of(all.iter().flat_map(|seen| seen.waits.iter().copied()).collect());
    let held = Spread::of(all.iter().flat_map(|seen| seen.held.iter().copied()).collect());
    let shares = Spread::of(all.iter().map(|seen| seen.done as f64).collect());
    table.spread(SECTION, "wait for the lock", &waits, "ms");
    let ratio = Spread::of(vec![waits.at(1.0)]);
    table.ratio(
        SECTION,
        "the longest wait",
        &ratio,
        "ms",
        ("median wait", waits.at(1.0) / waits.at(0.5)),
        Target::None,
    );
    table.spread(SECTION, "lock held", &held, "ms");
    table.spread(SECTION, "tasks for each worker (nobody goes without)", &shares, "tasks");
    table.plain(
        SECTION,
        "claims and settlements, each a commit of its own",
        2.0 * count as f64 / took,
        "/s",
        Target::None,
    );
}

fn work(store: &Desk, tag: &str) -> Seen {
    let (workflow, me) = (Workflow::shipped(), claimant(&Role::BUILDER, tag, true));
    let mut seen = Seen::default();
    loop {
        let mut lease: Option<Lease> = None;
        let mut idle = false;
        seen.commit(store, |snapshot| match claim::decide(snapshot, &workflow, &me) {
            Ok((changes, taken)) => {
                lease = Some(taken);
                changes
            }
            Err(claim::Idle::Nothing) => {
                idle = true;
                ChangeSet::none()
            }
            Err(_) => ChangeSet::none(),
        });
        if idle {
            return seen;
        }
        let Some(lease) = lease else { continue };
        let outcome = Outcome::Done { summary: String::new(), tasks: Vec::new() };
        seen.commit(store, |snapshot| {
            settle::decide(snapshot, &workflow, &lease, &outcome, &Retry::default(), &Ended::default())
        });
        seen.done += 1;
    }
}

impl Seen {
    fn commit(&mut self, store: &Desk, mut decide: impl FnMut(&oodatcaa_core::Snapshot) -> ChangeSet) {
        let asked = Instant::now();
        let mut decided = None;
        store
            .transact(&mut |snapshot| {
                decided.get_or_insert_with(Instant::now);
                decide(snapshot)
            })
            .expect("committed");
        let decided = decided.expect("it was decided");
        self.waits.push((decided - asked).as_secs_f64() * 1000.0);
        self.held.push(decided.elapsed().as_secs_f64() * 1000.0);
    }
}

/// Five hundred live leases of one store, each renewed once a minute.
pub(crate) fn heartbeats(table: &mut Table) {
    const SECTION: &str = "Heartbeats";
    let count = 500;
    let project = Project::new(&["true"]);
    project.put(&tasks(count, 0, 0));
    let store = open(&project, "w@bench");
    let (workflow, me) = (Workflow::shipped(), claimant(&Role::BUILDER, "w@bench", true));
    let mut leases = Vec::new();
    store
        .transact(&mut |snapshot| {
            leases.clear();
            let (mut seen, mut all) = (snapshot.clone(), ChangeSet::none());
            while let Ok((changes, lease)) = claim::decide(&seen, &workflow, &me) {
                seen.advance(&changes);
                all.then(changes);
                leases.push(lease);
            }
            all
        })
        .expect("claimed");
    assert_eq!(leases.len(), count);
    // As far apart as five hundred in a minute are: what has just been written is looked at more closely.
    let mut spent = 0.0;
    let beats = rounds(100, 20);
    for lease in leases.iter().take(beats) {
        std::thread::sleep(Duration::from_millis(120));
        let before = cpu();
        store
            .transact(&mut |snapshot| ChangeSet {
                leases: vec![LeaseChange::Write(lease.beaten(&snapshot.now))],
                ..ChangeSet::none()
            })
            .expect("beaten");
        spent += cpu() - before;
    }
    let each = spent / beats as f64;
    let share = each * count as f64 / 60.0 * 100.0;
    table.plain(SECTION, "500 leases, each renewed every 60 s: share of a core", share, "%", Target::AtMost(1.0));
    table.plain(SECTION, "processor time for one renewal", each * 1e6, "µs", Target::None);
}

/// Processor time of this process so far, in seconds.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
