//! Clocks (R13): the wall clock jumps, the machine sleeps, two workers do not agree on the year.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{
    ChangeSet, Holder, LeaseChange, Now, Role, Snapshot, Workflow,
    claim::{self, Claimant},
    lease::LeaseHealth,
    pool::Offer,
    rescue,
};
use oodatcaa_store::{LOCK_WAIT, identity};
use proptest::prelude::*;

use crate::support::{Project, eventually, tools::available, witness::Witness};

const YEAR: i64 = 366 * 24 * 3600;

fn claimant() -> Claimant {
    let rule = Workflow::shipped().rule(&Role::BUILDER).expect("a builder").clone();
    let offer = Offer { by: "script".into(), pool: "script".into(), simulated: false };
    Claimant { owner: identity("builder@here"), rule, agents: vec![offer], ignore_wip: false }
}

/// What a store shows once one of three tasks was claimed by this very process.
fn claimed() -> Snapshot {
    let project = Project::that_succeeds();
    project.queue(Witness::tasks(3));
    let layout = Layout::new(project.root());
    let store = oodatcaa_store::open(layout.root(), &layout, Some(identity("builder@here")), LOCK_WAIT)
        .expect("the store opens");
    let take = |snapshot: &Snapshot| {
        claim::decide(snapshot, &Workflow::shipped(), &claimant())
            .map_or_else(|_| ChangeSet::none(), |(changes, _)| changes)
    };
    store.transact(&mut { take }).expect("committed");
    let snapshot = store.read().expect("read").snapshot;
    assert_eq!(snapshot.leases.len(), 1);
    snapshot
}

/// The same files, looked at when the clocks show something else.
fn looked_at(snapshot: &Snapshot, wall_seconds: i64, mono: Duration) -> Snapshot {
    let wall = snapshot.now.wall + chrono::Duration::seconds(wall_seconds);
    Snapshot { now: Now::new(wall, snapshot.now.mono + mono), ..snapshot.clone() }
}

/// What would be claimed: task and token.
fn next(snapshot: &Snapshot) -> Option<(String, u64)> {
    let (changes, lease) = claim::decide(snapshot, &Workflow::shipped(), &claimant()).ok()?;
    assert!(matches!(changes.leases.as_slice(), [LeaseChange::Take(_)]));
    Some((lease.task_id.to_string(), lease.token.0))
}

/// Why each lease would be taken away, if it would.
fn taken_away(snapshot: &Snapshot) -> Vec<String> {
    rescue::find(snapshot, &Workflow::shipped()).into_iter().map(|left| left.reason).collect()
}

#[test]
fn no_jump_of_the_wall_clock_expires_or_extends_a_lease_or_changes_what_is_claimed() {
    let snapshot = claimed();
    let ttl = snapshot.leases["T0"].ours().expect("ours").ttl();
    let dead = {
        let mut dead = snapshot.clone();
        dead.leases.get_mut("T0").expect("there").holder = Holder::Dead("it is gone".into());
        dead
    };
    proptest!(ProptestConfig::with_cases(500), |(jump in -YEAR..=YEAR, seconds in 0..3 * ttl.as_secs())| {
        let mono = Duration::from_secs(seconds);
        let (plain, jumped) = (looked_at(&snapshot, seconds as i64, mono), looked_at(&snapshot, jump, mono));
        prop_assert_eq!(plain.leases["T0"].health(&plain.now), jumped.leases["T0"].health(&jumped.now));
        prop_assert_eq!(taken_away(&plain), taken_away(&jumped));
        prop_assert_eq!(taken_away(&jumped).is_empty(), mono < ttl, "only the monotonic clock counts");
        prop_assert_eq!(next(&plain), next(&jumped));
        let dead = looked_at(&dead, jump, mono);
        prop_assert_eq!(taken_away(&dead), vec!["it is gone".to_owned()]);
    });
}

#[test]
fn a_machine_that_slept_wakes_with_all_its_leases() {
    let snapshot = claimed();
    // The lid was closed for a night: the wall clock went on, the monotonic one did not.
    let woken = looked_at(&snapshot, 8 * 3600, Duration::from_millis(20));
    assert_eq!(woken.leases["T0"].health(&woken.now), LeaseHealth::Live);
    assert_eq!(taken_away(&woken), Vec::<String>::new());
    assert_eq!(next(&woken), Some(("T1".into(), 1)), "what is free is claimed as ever");
}

/// A worker that `wrap` brings into another time; its words are kept.
fn worker(
    project: &Project,
    witness: &Witness,
    name: &str,
    role: &str,
    wrap: impl FnOnce(&Command) -> Command,
) -> Child {
    let mut command = project.command("agent-daemon");
    command.args(["--role", role, "--owner", name, "--interval", "1s", "--slots", "1"]);
    let mut command = wrap(&command);
    command.stdin(Stdio::null()).stdout(witness.log()).stderr(witness.log()).spawn().expect("it starts")
}

fn copied(command: &Command, program: &str, args: &[&str]) -> Command {
    let mut copy = Command::new(program);
    copy.args(args).arg(command.get_program()).args(command.get_args()).env_clear();
    copy.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    copy.current_dir(command.get_current_dir().expect("in the project"));
    copy
}

/// Waits until each of so many leases was renewed some more times.
fn beaten(project: &Project, leases: usize, times: usize) {
    let beats = || {
        let mut all = project.leases();
        all.sort_by_key(|lease| lease["task_id"].to_string());
        let beats: Vec<u64> = all.iter().filter_map(|lease| lease["heartbeat_mono_ms"].as_u64()).collect();
        (beats.len() == leases).then_some(beats)
    };
    let mut before = eventually("all are claimed", beats);
    for _ in 0..times {
        before = eventually("all are renewed", || {
            beats().filter(|now| now.iter().zip(&before).all(|(now, before)| now > before))
        });
    }
}

fn end(workers: Vec<Child>) {
    for mut worker in workers {
        worker.kill().expect("killed");
        worker.wait().expect("a child");
    }
}

fn faketime() -> Option<PathBuf> {
    let dirs = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let found = dirs.map(|dir| dir.join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no libfaketime here");
    }
    found
}

#[test]
fn workers_whose_wall_clocks_are_years_apart_take_nothing_from_each_other() {
    let Some(library) = faketime() else { return };
    let witness = Witness::new();
    let project = Project::new(&witness.script());
    project.config("[roles.builder]\nttl = \"6s\"\n[roles.tester]\nttl = \"6s\"");
    project.queue(Witness::tasks(3));
    witness.hold(true);
    let shifted = |by: &'static str| {
        let library = library.clone();
        move |command: &Command| {
            let mut copy = copied(command, "env", &[]);
            copy.env("LD_PRELOAD", &library).env("FAKETIME", by).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            copy
        }
    };
    let workers = vec![
        worker(&project, &witness, "now", "builder", shifted("+0")),
        worker(&project, &witness, "ahead", "builder", shifted("+366d")),
        worker(&project, &witness, "behind", "builder", shifted("-366d")),
    ];
    beaten(&project, 3, 3);
    let years: std::collections::BTreeSet<String> = project
        .events_of("lease.acquired")
        .iter()
        .map(|event| event["time"].as_str().expect("a time")[..4].to_owned())
        .collect();
    assert_eq!(years.len(), 3, "their clocks do differ: {years:?}");
    assert!(project.events_of("lease.rescued").is_empty(), "{}", witness.said());
    witness.hold(false);
    let testers = ["+366d", "-366d"].map(|by| worker(&project, &witness, by, "tester", shifted(by)));
    for n in 0..3 {
        project.wait_for(&format!("T{n}"), "ready_for_integrator");
    }
    end(workers.into_iter().chain(testers).collect());
    assert_eq!(project.events_of("lease.acquired").len(), 6, "{}", witness.said());
    assert!(project.events_of("lease.rescued").is_empty(), "{}", witness.said());
    assert!(project.events_of("lease.renewed_late").is_empty(), "{}", witness.said());
}

#[test]
fn a_worker_in_another_time_namespace_is_refused_with_what_to_do() {
    if !available(true, &["unshare"]) {
        return;
    }
    let shift = ["-T", "--boottime", "86400", "--monotonic", "7200"];
    if !Command::new("unshare").args(shift).arg("true").status().is_ok_and(|done| done.success()) {
        eprintln!("skipped: there are no time namespaces here");
        return;
    }
    let witness = Witness::new();
    let project = Project::new(&witness.script());
    project.queue(Witness::tasks(1));
    let mut worker = project.command("agent-daemon");
    worker.args(["--role", "builder", "--once"]);
    let mut shifted = copied(&worker, "unshare", &shift);
    let refused = shifted.output().expect("unshare starts");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("time namespace (monotonic +7200 s, boottime +86400 s)"), "{said}");
    assert!(said.contains("start the worker outside of it"), "{said}");
    assert!(project.events_of("lease.acquired").is_empty(), "{said}");
}
