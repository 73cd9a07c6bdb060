//! The store against a reference: any order of claims, heartbeats, settlements, rescues, commands, edits by
//! hand, broken content and crashes, on real files and on a model that is nothing but a table.
//!
//! Clocks are not among the operations: the store reads its own. What a jump does the rules' tests and the
//! model (`model::a_jump_of_the_wall_clock_takes_nothing_from_anybody`) show.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use oodatcaa_core::{
    ChangeSet, Class, Lease, LeaseChange, LeaseRecord, LeaseState, Outcome, Role, Snapshot, Status, TaskId, Token,
    Workflow,
    claim::{self, Claimant},
    event::{Actor, payload::Ended},
    manual,
    outcome::Retry,
    policy::{Bounds, Policy},
    pool::Offer,
    rescue, settle,
};
use oodatcaa_store::{Desk, StoreError};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::{Project, id};

const TASKS: [&str; 3] = ["A", "B", "C"];
const LIMIT: usize = 2;

/// Odd on purpose: everything that is not ours must stay as it is.
const FILE: &str = "{\r\n  \"note\" : 0,\n  \"wip_limits\": {\"builder\": 2},\n  \"tasks\": [\n    {\n      \"id\": \"A\",\n      \"status\": \"ready\",\n      \"x\":   [1,\t2 ],\n      \"title\": \"F\\u00fc\\/\u{df}e\"\n    },\n    {\n\t\"id\": \"B\",\n\t\"x\": 1e3, \"x\": 1E+3,\n\t\"status\": \"ready\",\n\t\"lease\": null,\n\t\"y\": {}\n    },\n    {\n      \"id\": \"C\",\n      \"priority\": 1,\n      \"status\": \"ready\",\n      \"last\": \"  \"\n    }\n  ],\n  \"after\": [ ]\n}\n\n";

/// What the reference knows of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    status: &'static str,
    /// The lease file: which worker's, and its token.
    lease: Option<(usize, u64)>,
    newest: u64,
    /// The status that the journal knows, and who set it.
    told: (&'static str, By),
    /// An attempt is at work, as far as the journal knows.
    open: bool,
    /// The greatest token whose attempt lost its right: what it says no longer counts.
    given_back: u64,
}

/// Who set a status, as far as the journal can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Us,
    Attempt,
    Others,
}

impl Known {
    fn moves(&mut self, to: &'static str) {
        if self.status != to {
            (self.status, self.told) = (to, (to, By::Us));
        }
    }

    fn gives_back(&mut self) {
        (self.lease, self.open, self.given_back) = (None, false, self.newest);
    }
}

/// A status that nobody works on.
fn holds_back(status: &str) -> bool {
    ["cancelled", "blocked", "odd"].contains(&status)
}

/// The reference: a table, and what each of two workers believes to hold.
#[derive(Clone, Debug)]
struct Table {
    tasks: BTreeMap<&'static str, Known>,
    holds: [BTreeMap<&'static str, u64>; 2],
    note: u32,
}

#[derive(Clone, Debug)]
enum Step {
    Claim(usize),
    Renew(usize, &'static str),
    Settle(usize, &'static str, bool),
    Rescue(usize),
    Crash(usize),
    Verb(Verb, &'static str),
    /// A status by hand, in place or by rename.
    Hand(&'static str, &'static str, bool),
    /// A member that is not ours.
    Note(bool),
    /// Half of the file, for as long as a worker looks and beats; then the whole.
    Torn(usize, bool),
    /// A lease file removed by hand.
    Remove(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Done,
    Block,
    Cancel,
    Release,
}

impl Table {
    fn takes(&self) -> Option<&'static str> {
        let leases = self.tasks.values().filter(|known| known.lease.is_some() && known.status != "in_progress");
        let working = self.tasks.values().filter(|known| known.status == "in_progress");
        if leases.count() + working.count() >= LIMIT {
            return None;
        }
        let free = |id: &&&str| self.tasks[**id].status == "ready" && self.tasks[**id].lease.is_none();
        // By priority, then by place: C has the small number.
        ["C", "A", "B"].iter().find(free).copied()
    }

    /// A worker notes what others have set.
    fn observes(&mut self) {
        for task in TASKS {
            let known = &self.tasks[task];
            let live = if known.lease.is_some() { !self.is_dead(task) } else { known.open };
            let known = self.tasks.get_mut(task).expect("known");
            if known.status != known.told.0 {
                known.told = (known.status, if live { By::Attempt } else { By::Others });
            }
        }
    }

    fn is_dead(&self, id: &str) -> bool {
        self.tasks[id].lease.is_some_and(|(by, token)| self.holds[by].get(id) != Some(&token))
    }
}

impl ReferenceStateMachine for Table {
    type State = Table;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Table> {
        let told = ("ready", By::Others);
        let fresh = Known { status: "ready", lease: None, newest: 0, told, open: false, given_back: 0 };
        let tasks = TASKS.map(|id| (id, fresh.clone())).into();
        Just(Table { tasks, holds: Default::default(), note: 0 }).boxed()
    }

    fn transitions(_: &Table) -> BoxedStrategy<Step> {
        let task = || prop::sample::select(&TASKS[..]);
        let status = prop::sample::select(&["ready", "in_progress", "awaiting_test", "cancelled", "odd"][..]);
        let verb = prop_oneof![Just(Verb::Done), Just(Verb::Block), Just(Verb::Cancel), Just(Verb::Release)];
        prop_oneof![
            8 => (0..2_usize).prop_map(Step::Claim),
            2 => (0..2_usize, task()).prop_map(|(by, task)| Step::Renew(by, task)),
            6 => (0..2_usize, task(), any::<bool>()).prop_map(|(by, task, done)| Step::Settle(by, task, done)),
            4 => (0..2_usize).prop_map(Step::Rescue),
            2 => (0..2_usize).prop_map(Step::Crash),
            2 => (verb, task()).prop_map(|(verb, task)| Step::Verb(verb, task)),
            3 => (task(), status, any::<bool>()).prop_map(|(task, status, by)| Step::Hand(task, status, by)),
            2 => any::<bool>().prop_map(Step::Note),
            1 => (0..2_usize, any::<bool>()).prop_map(|(by, half)| Step::Torn(by, half)),
            1 => task().prop_map(Step::Remove),
        ]
        .boxed()
    }

    fn preconditions(table: &Table, step: &Step) -> bool {
        match step {
            Step::Renew(by, task) | Step::Settle(by, task, _) => table.holds[*by].contains_key(task),
            Step::Hand(task, status, _) => table.tasks[task].status != *status,
            _ => true,
        }
    }

    fn apply(mut table: Table, step: &Step) -> Table {
        match step {
            Step::Claim(by) => {
                table.observes();
                if let Some(task) = table.takes() {
                    let known = table.tasks.get_mut(task).expect("known");
                    known.newest += 1;
                    known.moves("in_progress");
                    (known.lease, known.open) = (Some((*by, known.newest)), true);
                    table.holds[*by].insert(task, known.newest);
                }
            }
            Step::Renew(..) => {}
            Step::Settle(by, task, done) => {
                table.observes();
                let token = table.holds[*by].remove(task).expect("a precondition");
                let known = table.tasks.get_mut(task).expect("known");
                if known.newest == token && known.lease.is_none_or(|(_, held)| held == token) {
                    // What was set meanwhile is the attempt's own word, unless it only holds the task back.
                    let by_us = known.told.1 == By::Us;
                    let stands = known.given_back >= token || by_us || holds_back(known.status);
                    let to = if *done && known.status != "ready" { "awaiting_test" } else { "ready" };
                    if known.status == "in_progress" || !stands {
                        known.moves(to);
                    }
                    (known.lease, known.open) = (None, false);
                }
            }
            Step::Rescue(_) => {
                table.observes();
                for task in TASKS {
                    let dead = table.is_dead(task);
                    let known = table.tasks.get_mut(task).expect("known");
                    let unchecked = known.told.1 == By::Attempt && !holds_back(known.status);
                    if known.status == "in_progress" && (dead || known.lease.is_none()) || dead && unchecked {
                        known.gives_back();
                        known.moves("ready");
                    } else if dead {
                        known.gives_back();
                    }
                }
            }
            Step::Crash(by) => table.holds[*by].clear(),
            Step::Verb(verb, task) => {
                let known = table.tasks.get_mut(task).expect("known");
                let finished = ["done", "cancelled"].contains(&known.status);
                let to = match (verb, known.lease.is_some()) {
                    (Verb::Release, true) if known.status == "in_progress" => "ready",
                    (Verb::Done, false) => "done",
                    (Verb::Block, false) if !finished => "blocked",
                    (Verb::Cancel, false) if known.status != "done" => "cancelled",
                    _ => known.status,
                };
                // Who commits nothing leaves it to others to note what was set.
                let releases = matches!(verb, Verb::Release) && known.lease.is_some();
                if releases || to != known.status {
                    table.observes();
                }
                let known = table.tasks.get_mut(task).expect("known");
                if releases {
                    known.gives_back();
                }
                known.moves(to);
            }
            Step::Hand(task, status, _) => table.tasks.get_mut(task).expect("known").status = status,
            Step::Note(_) => table.note += 1,
            Step::Torn(..) => table.observes(),
            Step::Remove(task) => table.tasks.get_mut(task).expect("known").lease = None,
        }
        table
    }
}

/// The files, and the two workers' stores and memories.
struct Real {
    project: Project,
    stores: [Desk; 2],
    holds: [BTreeMap<&'static str, Lease>; 2],
    /// The greatest token ever seen, per task.
    seen: BTreeMap<&'static str, u64>,
}

/// The table knows nothing of how often a task may be started.
fn flow() -> Workflow {
    let bounds = Bounds { starts: 1_000, ..Bounds::default() };
    Workflow::shipped().under(Policy { bounds, ..Policy::default() })
}

fn retry() -> Retry {
    Retry {
        deaths: 10_000,
        attempts: 10_000,
        transient: 10_000,
        backoff: Duration::ZERO,
        pause_after: 0,
        ..Retry::default()
    }
}

impl Real {
    fn open(project: &Project, by: usize) -> Desk {
        project.open_as(Some(oodatcaa_store::identity(&format!("w{by}"))))
    }

    fn claim(&mut self, by: usize) {
        let me = Claimant {
            owner: oodatcaa_store::identity(&format!("w{by}")),
            rule: flow().rule(&Role::BUILDER).expect("shipped").clone(),
            agents: vec![Offer { by: "cmd".into(), pool: "cmd".into(), simulated: false }],
            ignore_wip: false,
        };
        let mut claimed = None;
        self.stores[by]
            .transact(&mut |seen| {
                let (changes, lease) = claim::decide(seen, &flow(), &me)
                    .map_or_else(|_| (ChangeSet::none(), None), |(changes, lease)| (changes, Some(lease)));
                claimed = lease;
                changes
            })
            .expect("committed");
        if let Some(lease) = claimed {
            let task = TASKS.into_iter().find(|task| *task == lease.task_id.as_str()).expect("one of ours");
            assert!(lease.token.0 > self.seen.get(task).copied().unwrap_or_default(), "{task}: tokens only grow");
            self.seen.insert(task, lease.token.0);
            self.holds[by].insert(task, lease);
        }
    }

    fn beat(&self, by: usize, task: &str) -> Result<(), StoreError> {
        let Some(mine) = self.holds[by].get(task) else { return Ok(()) };
        let beat = |seen: &Snapshot| {
            let mut changes = ChangeSet::none();
            if let Some(LeaseRecord::Ours(lease)) = seen.leases.get(task).map(|held| &held.record)
                && !seen.supersedes(mine)
            {
                changes.leases.push(LeaseChange::Write(lease.beaten(&seen.now)));
            }
            changes
        };
        self.stores[by].transact(&mut |seen| beat(seen)).map(drop)
    }

    fn settle(&mut self, by: usize, task: &str, done: bool) {
        let mine = self.holds[by].remove(task).expect("a precondition");
        let outcome = match done {
            true => Outcome::Done { summary: String::new(), tasks: Vec::new() },
            false => Outcome::failed(Class::Interrupted, "no"),
        };
        self.stores[by]
            .transact(&mut |seen| settle::decide(seen, &flow(), &mine, &outcome, &retry(), &Ended::default()))
            .expect("committed");
    }

    fn rescue(&self, by: usize) {
        self.stores[by]
            .transact(&mut |seen| rescue::decide(seen, &flow(), &retry(), &rescue::find(seen, &flow()), "r"))
            .expect("committed");
    }

    fn verb(&self, verb: Verb, task: &TaskId) {
        let me = Actor::Human("me".into());
        let decide = |seen: &Snapshot| match verb {
            Verb::Done => manual::done(seen, task, "it is", &me),
            Verb::Block => manual::block(seen, task, "wait", &me),
            Verb::Cancel => manual::cancel(seen, task, None, false, &me),
            Verb::Release => {
                let token = seen.leases.get(task).map_or(Token(0), LeaseState::token);
                manual::release(seen, &flow(), task, token, None, "hangs", &me)
            }
        };
        self.project.open_as(None).transact(&mut |seen| decide(seen).unwrap_or_default()).expect("committed");
    }

    fn write(&self, text: &str, by_rename: bool) {
        if by_rename {
            self.project.replace(text);
        } else {
            fs::write(self.project.layout().queue(), text).expect("written");
        }
    }

    /// A hand that changes one value and no other byte.
    fn hand(&self, task: &str, status: &str, by_rename: bool) {
        let text = self.project.queue();
        let of_task = text.find(&format!("\"id\": \"{task}\"")).expect("there");
        let value = of_task + text[of_task..].find("\"status\": \"").expect("there") + "\"status\": \"".len();
        let end = value + text[value..].find('"').expect("there");
        self.write(&format!("{}{status}{}", &text[..value], &text[end..]), by_rename);
    }

    fn torn(&self, by: usize, half: bool) {
        let whole = self.project.queue();
        let cut = if half { whole.len() / 2 } else { 1 };
        self.write(&whole[..cut], half);
        let look = self.stores[by].transact(&mut |_| ChangeSet::none());
        assert!(matches!(look, Err(StoreError::Invalid(_))), "{look:?}");
        for task in self.holds[by].keys() {
            // A lease that is not there cannot be beaten; then the broken queue is the answer.
            let beaten = self.beat(by, task);
            assert!(matches!(beaten, Ok(()) | Err(StoreError::Invalid(_))), "{beaten:?}");
        }
        assert_eq!(self.project.queue(), whole[..cut], "what cannot be read is not written over");
        self.write(&whole, !half);
        self.stores[by].transact(&mut |_| ChangeSet::none()).expect("whole again");
    }
}

/// What is not ours in the file, as it is written: every line without the members that we set.
fn foreign(text: &str) -> Vec<String> {
    let ours = [
        "status",
        "agent",
        "lease",
        "attempts",
        "starts",
        "not_before",
        "updated_at",
        "blocked_reason",
        "completed_at",
    ];
    let is_ours = |line: &str| ours.iter().any(|key| line.trim_start().starts_with(&format!("\"{key}\":")));
    text.split_inclusive('\n').filter(|line| !is_ours(line)).map(|line| line.replacen(",\n", "\n", 1)).collect()
}

impl StateMachineTest for Table {
    type SystemUnderTest = Real;
    type Reference = Table;

    fn init_test(_: &Table) -> Real {
        let project = Project::with(FILE);
        let stores = [0, 1].map(|by| Real::open(&project, by));
        Real { project, stores, holds: Default::default(), seen: BTreeMap::new() }
    }

    fn apply(mut real: Real, table: &Table, step: Step) -> Real {
        match step {
            Step::Claim(by) => real.claim(by),
            Step::Renew(by, task) => real.beat(by, task).expect("committed"),
            Step::Settle(by, task, done) => real.settle(by, task, done),
            Step::Rescue(by) => real.rescue(by),
            Step::Crash(by) => {
                // The locks go with the store, as they go with a process.
                real.stores[by] = Real::open(&real.project, by);
                real.holds[by].clear();
            }
            Step::Verb(verb, task) => real.verb(verb, &id(task)),
            Step::Hand(task, status, by_rename) => real.hand(task, status, by_rename),
            Step::Note(by_rename) => {
                let text = real.project.queue();
                let note = |n: u32| format!("\"note\" : {n}");
                real.write(&text.replace(&note(table.note - 1), &note(table.note)), by_rename);
            }
            Step::Torn(by, half) => real.torn(by, half),
            // With the lock that would still prove the claim.
            Step::Remove(task) => {
                let layout = real.project.layout();
                drop(fs::remove_file(layout.lease(&id(task))));
                drop(fs::remove_file(layout.task_lock(&id(task))));
            }
        }
        real
    }

    fn check_invariants(real: &Real, table: &Table) {
        let text = real.project.queue();
        let expected = FILE.replace("\"note\" : 0", &format!("\"note\" : {}", table.note));
        assert_eq!(foreign(&text), foreign(&expected), "what is not ours stays as it is");

        let store = real.project.open_as(None);
        let reading = store.read().expect("read");
        assert_eq!(reading.invalid, None);
        let seen = reading.snapshot;
        for (task, known) in &table.tasks {
            let entry = seen.queue.find(task).expect("no task is lost");
            assert_eq!(entry.status, Status::new(known.status), "{task}");
            let lease = seen.leases.get(*task).map(|held| held.token().0);
            assert_eq!(lease, known.lease.map(|(_, token)| token), "the lease of {task}");
            assert_eq!(seen.highest_token(&id(task)).0, known.newest, "the newest token of {task}");
        }
        assert_eq!(seen.queue.len(), TASKS.len());
        let numbers: Vec<u64> = store.events(0).expect("read").iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "the journal has no gap");
    }

    fn teardown(real: Real, _: Table) {
        // Whoever polls next makes journal and queue agree.
        real.stores[0].transact(&mut |_| ChangeSet::none()).expect("committed");
        let seen = real.stores[0].read().expect("read").snapshot;
        for task in seen.queue.tasks() {
            let told = seen.history.task(&task.id).and_then(|known| known.status.clone());
            assert_eq!(told.as_ref(), Some(&task.status), "{}", task.id);
        }
    }
}

/// What a store waits for, it waits for beside the others.
const ABREAST: u32 = 16;

#[test]
fn the_store_does_what_a_table_does() {
    // More of them where there is time.
    let cases: u32 = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    let began = Instant::now();
    std::thread::scope(|scope| {
        (0..ABREAST).for_each(|_| drop(scope.spawn(move || some(cases.div_ceil(ABREAST)))));
    });
    let seconds = began.elapsed().as_secs_f64();
    println!("figure: {cases} runs of up to 24 operations beside the table, {seconds:.1} s");
}

fn some(cases: u32) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let run = |(table, steps, seen)| {
        Table::test_sequential(config.clone(), table, steps, seen);
        Ok(())
    };
    let done = TestRunner::new(config.clone()).run(&Table::sequential_strategy(1..25), run);
    done.unwrap_or_else(|failed| panic!("{failed}\n{failed:#?}"));
}
