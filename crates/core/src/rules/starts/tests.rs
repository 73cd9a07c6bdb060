//! Whatever agents answer and whoever edits and loses what: starts are counted, and they end.
//!
//! A world in which the program's own rules decide, chained as a worker chains them, and everything else is
//! somebody's ill will or bad luck. What is started in it is counted by the world itself.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    ChangeSet, Class, Data, Duty, EventDraft, Holder, Lease, Member, Now, Outcome, Queue, QueueLease, Role, RoleRule,
    Status, Token, Workflow,
    claim::{self},
    coordinate,
    event::Actor,
    event::payload::{Ended, Resumed},
    external_edits, manual,
    outcome::Retry,
    policy::{Budgets, Limits, Policy},
    rescue, settle,
    tests::{claimant, id, snapshot, task},
};

const BOUNDS: Bounds = Bounds {
    checks: 3,
    starts: 4,
    generations: 2,
    children: 5,
    handoffs: 5,
    backoff: Duration::from_secs(1),
    backoff_max: Duration::from_secs(60),
};

const DAY: u32 = 20;

fn flow() -> Workflow {
    let day = Limits { starts: Some(DAY), ..Limits::default() };
    let budgets = Budgets { day, ..Budgets::default() };
    Workflow::shipped().under(Policy { bounds: BOUNDS, budgets, merges: true, ..Policy::default() })
}

/// No role pauses for its tasks' failures: the ill will of many is not to be ended by that.
fn retry() -> Retry {
    Retry { pause_after: 0, ..Retry::default() }
}

/// What an attempt comes to.
#[derive(Clone, Debug)]
enum Answer {
    Done,
    Plans(usize),
    NeedsAdapt,
    Replan,
    Blocked,
    Waits,
    Fails(Class),
}

/// What an agent, or anybody else who is no human with a verb of ours, does to the queue file.
#[derive(Clone, Debug)]
enum Edit {
    Status(usize),
    Forgets,
    Cheats,
    Orphans,
    Branch,
    Leaves,
    Adds,
}

#[derive(Clone, Debug)]
enum Step {
    Look(usize),
    Ends(usize, Answer),
    Dies(usize),
    Edits(usize, Edit),
    LosesLeases,
    LosesJournal,
    Passes(u64),
    Jumps(i64),
    /// A human mends and resumes a role.
    Resumes(usize),
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Answer::Done),
        3 => (1..4usize).prop_map(Answer::Plans),
        2 => Just(Answer::NeedsAdapt),
        2 => Just(Answer::Replan),
        1 => Just(Answer::Blocked),
        1 => Just(Answer::Waits),
        3 => prop::sample::select(Class::ALL).prop_map(Answer::Fails),
    ]
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        8 => (0..13usize).prop_map(Edit::Status),
        2 => Just(Edit::Forgets),
        1 => Just(Edit::Cheats),
        1 => Just(Edit::Orphans),
        1 => Just(Edit::Branch),
        1 => Just(Edit::Leaves),
        1 => Just(Edit::Adds),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..5usize).prop_map(Step::Look),
        10 => (0..5usize, answers()).prop_map(|(role, answer)| Step::Ends(role, answer)),
        1 => (0..5usize).prop_map(Step::Dies),
        6 => (0..12usize, edits()).prop_map(|(at, edit)| Step::Edits(at, edit)),
        1 => Just(Step::LosesLeases),
        1 => Just(Step::LosesJournal),
        5 => (0..400u64).prop_map(Step::Passes),
        1 => (-3..3i64).prop_map(Step::Jumps),
        1 => (0..5usize).prop_map(Step::Resumes),
    ]
}

/// What survives of the tellers beside the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Survives {
    Ledger,
    Journal,
}

struct World {
    now: Snapshot,
    flow: Workflow,
    survives: Survives,
    running: BTreeMap<usize, Lease>,
    /// The queue as somebody once copied it.
    starts: BTreeMap<TaskId, u32>,
    days: BTreeMap<NaiveDate, u32>,
    added: usize,
}

impl World {
    fn new(survives: Survives) -> Self {
        let tasks = vec![task("A", Status::NEEDS_PLAN), task("B", Status::READY)];
        let mut now = snapshot(tasks);
        for role in Workflow::shipped().rules() {
            Arc::make_mut(&mut now.queue).wip_limits.insert(role.role.to_string(), 9);
        }
        let (running, starts, days) = Default::default();
        Self { now, flow: flow(), survives, running, starts, days, added: 0 }
    }

    fn commit(&mut self, changes: &ChangeSet) {
        self.now.advance(changes);
        if self.survives == Survives::Journal {
            self.now.kept = Arc::default();
        }
    }

    fn role(&self, at: usize) -> Role {
        self.flow.rules()[at].role.clone()
    }

    /// A worker's look; what it starts is counted here, by nobody's books.
    fn look(&mut self, at: usize) {
        let role = self.role(at);
        self.commit(&external_edits::decide(&self.now));
        let left = rescue::find(&self.now, &self.flow);
        self.commit(&rescue::decide(&self.now, &self.flow, &retry(), &left, "w@h"));
        self.commit(&coordinate::decide(&self.now, &self.flow));
        if self.running.contains_key(&at) {
            return;
        }
        let Ok((changes, lease)) = claim::decide(&self.now, &self.flow, &claimant(&role)) else { return };
        let of = self.now.queue.get(&lease.task_id).expect("claimed");
        if !self.flow.merges(self.flow.rule(&role).expect("shipped"), of) {
            *self.starts.entry(lease.task_id.clone()).or_default() += 1;
            *self.days.entry(self.now.now.wall.date_naive()).or_default() += 1;
        }
        self.commit(&changes);
        self.running.insert(at, lease);
    }

    fn ends(&mut self, at: usize, answer: &Answer) {
        let Some(lease) = self.running.remove(&at) else { return };
        let words = || "because".to_owned();
        let outcome = match answer {
            Answer::Done => Outcome::Done { summary: words(), tasks: Vec::new() },
            Answer::Plans(n) => {
                let task = || json!({"title": "child", "type": "Story"}).as_object().cloned().expect("an object");
                Outcome::Done { summary: words(), tasks: (0..*n).map(|_| task()).collect() }
            }
            Answer::NeedsAdapt => Outcome::NeedsAdapt { reason: words() },
            Answer::Replan => Outcome::Replan { reason: words() },
            Answer::Blocked => Outcome::Blocked { reason: words() },
            Answer::Waits => Outcome::Waits { reason: words() },
            Answer::Fails(class) => Outcome::failed(*class, words()),
        };
        self.commit(&external_edits::decide(&self.now));
        let usage = Ended::default();
        let changes = settle::decide(&self.now, &self.flow, &lease, &outcome, &retry(), &usage);
        self.commit(&changes);
    }

    fn edits(&mut self, at: usize, edit: &Edit) {
        let ids: Vec<TaskId> = self.now.queue.tasks().map(|task| task.id.clone()).collect();
        let Some(id) = ids.get(at % ids.len().max(1)).cloned() else { return };
        let statuses = self.flow.statuses();
        let queue = Arc::make_mut(&mut self.now.queue);
        match edit {
            Edit::Status(to) => queue.edit(&id, |task| {
                task.status = statuses[to % statuses.len()].clone();
                (task.lease, task.not_before, task.blocked_reason) = (QueueLease::None, None, None);
            }),
            Edit::Forgets => queue.edit(&id, |task| (task.starts, task.attempts, task.updated_at) = (0, 0, None)),
            Edit::Cheats => queue.edit(&id, |task| task.lease = QueueLease::from_text("w@h#7")),
            Edit::Orphans => queue.edit(&id, |task| (task.parent, task.dependencies) = (None, Vec::new())),
            Edit::Branch => queue.edit(&id, |task| task.branch = Some("feat/x".into())),
            Edit::Leaves => {
                let limits = queue.wip_limits.clone();
                *queue = Queue::of(queue.tasks().filter(|task| task.id != id).cloned().collect());
                queue.wip_limits = limits;
            }
            Edit::Adds => {
                self.added += 1;
                let again = ids.iter().all(|other| other.as_str() != "B");
                queue.push(task(if again { "B" } else { "N" }, Status::READY));
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Look(at) => self.look(*at),
            Step::Ends(at, answer) => self.ends(*at, answer),
            Step::Dies(at) => {
                if let Some(lease) = self.running.remove(at)
                    && let Some(held) = self.now.leases.get_mut(&lease.task_id)
                {
                    held.holder = Holder::Dead("killed".into());
                }
            }
            Step::Edits(at, edit) => self.edits(*at, edit),
            Step::LosesLeases => self.now.leases.clear(),
            Step::LosesJournal if self.survives == Survives::Ledger => self.now.history = Arc::default(),
            Step::LosesJournal => {}
            Step::Passes(minutes) => {
                let Now { wall, mono } = self.now.now;
                let passed = Duration::from_secs(minutes * 60);
                self.now.now = Now::new(wall + chrono::Duration::from_std(passed).expect("short"), mono + passed);
            }
            Step::Resumes(at) => {
                let role = self.role(*at);
                let mut changes = ChangeSet::none();
                changes.event(
                    EventDraft::new(Data::WorkerResumed(Resumed::default()), Actor::Human("me".into())).role(&role),
                );
                self.commit(&changes);
            }
            Step::Jumps(days) => {
                let Now { wall, mono } = self.now.now;
                self.now.now = Now::new(wall + chrono::Duration::days(*days), mono);
            }
        }
    }

    /// Everything that has ended at its bound waits for a human, who is told what to run.
    fn is_told(&mut self) -> Result<(), TestCaseError> {
        self.running.clear();
        self.now.leases.clear();
        (0..3).for_each(|_| self.commit(&coordinate::decide(&self.now, &self.flow)));
        if external_edits::behind(&self.now).is_some() {
            return Ok(());
        }
        for task in self.now.queue.tasks() {
            let taken = self.flow.taking(&task.status).any(|rule| !self.flow.merges(rule, task));
            if self.now.starts(task, &BOUNDS) < BOUNDS.starts || !taken {
                continue;
            }
            return Err(TestCaseError::fail(format!("{} is `{}`, and nobody is asked", task.id, task.status)));
        }
        Ok(())
    }

    fn is_bounded(&self) -> Result<(), TestCaseError> {
        for (id, starts) in &self.starts {
            // Once more for those that a provider turned away.
            prop_assert!(*starts <= 2 * BOUNDS.starts, "{id} was started {starts} times");
        }
        for (day, starts) in &self.days {
            prop_assert!(*starts <= DAY, "{starts} starts on {day}");
        }
        let mut families: BTreeMap<TaskId, u32> = BTreeMap::new();
        for id in self.starts.keys() {
            let (root, generation) = self.now.family(id);
            prop_assert!(generation <= BOUNDS.generations, "{id} is of generation {generation}");
            *families.entry(root).or_default() += 1;
        }
        for (root, members) in families {
            prop_assert!(members <= BOUNDS.children + 1, "{members} tasks of {root} were started");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn starts_end_whatever_agents_answer_and_whoever_edits_and_loses_what(
        survives in prop::sample::select(&[Survives::Ledger, Survives::Journal][..]),
        steps in prop::collection::vec(steps(), 1..300),
    ) {
        let mut world = World::new(survives);
        for step in &steps {
            world.step(step);
            world.is_bounded()?;
        }
        world.is_told()?;
    }
}

/// A world that goes on until nothing is claimed for a month.
fn worn_out(world: &mut World, each: impl Fn(&mut World, usize)) {
    for _ in 0..3_000 {
        for at in 0..5 {
            world.look(at);
            if world.running.contains_key(&at) {
                each(world, at);
            }
        }
        world.step(&Step::Passes(30));
    }
}

fn said(world: &World, name: &str) -> (Status, String, String) {
    let task = world.now.queue.find(name).expect("there");
    let why = crate::tests::explain(&world.now, &world.flow, task);
    (task.status.clone(), why.sentence, why.next)
}

#[test]
fn a_refiner_that_answers_replan_for_ever_ends_with_a_human() {
    let mut world = World::new(Survives::Ledger);
    worn_out(&mut world, |world, at| {
        let answer = match world.role(at).as_str() {
            "builder" => Answer::NeedsAdapt,
            "refiner" => Answer::Replan,
            _ => Answer::Done,
        };
        world.ends(at, &answer);
    });
    assert_eq!((world.starts[&id("A")], world.starts[&id("B")]), (4, 4));
    let (status, why, next) = said(&world, "A");
    assert_eq!(status, Status::NEEDS_MANUAL);
    assert!(why.contains("started 4 times, which is the limit") && why.contains("because"), "{why}");
    assert!(next.contains("agentctl task retry A"), "{next}");
}

#[test]
fn a_planner_that_plans_for_ever_ends_with_few_generations_and_children() {
    let mut world = World::new(Survives::Ledger);
    worn_out(&mut world, |world, at| {
        let answer = match world.role(at).as_str() {
            "planner" => Answer::Plans(2),
            "refiner" => Answer::Replan,
            _ => Answer::NeedsAdapt,
        };
        world.ends(at, &answer);
    });
    let planned = world.now.queue.tasks().filter(|task| task.parent.is_some()).count();
    assert!((3..=10).contains(&planned), "five of each of two families at most: {planned}");
    let open = world.now.queue.tasks().filter(|task| world.flow.taking(&task.status).next().is_some());
    assert_eq!(open.count(), 0, "everything waits for a human");
}

#[test]
fn an_agent_that_puts_its_own_task_back_is_charged_and_ends_with_a_human() {
    let mut world = World::new(Survives::Ledger);
    worn_out(&mut world, |world, at| {
        let mine = world.running[&at].task_id.clone();
        Arc::make_mut(&mut world.now.queue).edit(&mine, |task| {
            (task.status, task.lease, task.attempts, task.starts) = (Status::READY, QueueLease::None, 0, 0);
        });
        world.ends(at, &Answer::Done);
    });
    assert_eq!((world.starts[&id("B")], said(&world, "B").0), (4, Status::NEEDS_MANUAL));
}

#[test]
fn only_a_humans_verb_takes_a_count_back() {
    let mut world = World::new(Survives::Ledger);
    worn_out(&mut world, |world, at| world.ends(at, &Answer::Fails(Class::AgentFailed)));
    let parked = said(&world, "B");
    assert_eq!(parked.0, Status::NEEDS_MANUAL);
    // An editor's hand frees nothing for good, and neither does what an agent runs.
    world.edits(1, &Edit::Status(0));
    world.edits(1, &Edit::Forgets);
    world.look(0);
    assert_eq!(said(&world, "B").0, Status::NEEDS_MANUAL);
    for (actor, counted) in [(Actor::Outside, 4), (Actor::Human("me".into()), 0)] {
        let changes = manual::retry(&world.now, &world.flow, &id("B"), Some(&Status::READY), &actor).expect("retried");
        world.commit(&changes);
        let task = world.now.queue.find("B").expect("there");
        assert_eq!(world.now.starts(task, &BOUNDS), counted, "{actor}");
        world.commit(&coordinate::decide(&world.now, &world.flow));
    }
    assert_eq!(said(&world, "B").0, Status::READY);
}

#[test]
fn the_first_half_of_the_starts_comes_at_once_and_the_rest_later_and_later() {
    let bounds = Bounds::default();
    let waits: Vec<u64> = (1..13).map(|n| bounds.pace(n).as_secs()).collect();
    assert_eq!(waits, [0, 0, 0, 0, 0, 0, 10, 20, 40, 80, 160, 300]);
}

#[test]
fn starts_that_a_provider_turned_away_are_left_out_and_not_for_ever() {
    let mut world = World::new(Survives::Ledger);
    world.edits(0, &Edit::Leaves);
    worn_out(&mut world, |world, at| world.ends(at, &Answer::Fails(Class::UsageLimit)));
    assert_eq!(world.starts[&id("B")], 8);
    assert_eq!(said(&world, "B").0, Status::NEEDS_MANUAL);
}

#[test]
fn the_starts_of_a_day_end_and_go_on_the_next_day() {
    let mut world = World::new(Survives::Ledger);
    for n in 0..40 {
        Arc::make_mut(&mut world.now.queue).push(task(&format!("T{n}"), Status::READY));
    }
    let first = world.now.now.wall.date_naive();
    for _ in 0..60 {
        world.look(1);
        world.ends(1, &Answer::Done);
        world.now.history = Arc::default();
    }
    assert_eq!(world.days, BTreeMap::from([(first, DAY)]));
    let waits = claim::decide(&world.now, &world.flow, &claimant(&Role::BUILDER)).expect_err("the day is over");
    assert!(waits.to_string().contains("20 starts of 20 starts"), "{waits}");
    world.step(&Step::Jumps(1));
    world.look(1);
    assert_eq!(world.days.len(), 2);
}

#[test]
fn another_title_under_an_id_that_was_done_is_another_task() {
    let mut world = World::new(Survives::Ledger);
    worn_out(&mut world, |world, at| world.ends(at, &Answer::Done));
    assert_eq!((world.starts[&id("B")], said(&world, "B").0), (3, Status::DONE));
    let counted = |world: &World| world.now.starts(world.now.queue.find("B").expect("there"), &BOUNDS);
    assert_eq!(counted(&world), 3);
    let queue = Arc::make_mut(&mut world.now.queue);
    queue.edit(&id("B"), |task| *task = Task { title: "the next sprint".into(), ..Task::new(id("B"), Status::READY) });
    assert_eq!(counted(&world), 0);
}

#[test]
fn a_task_that_was_started_before_starts_were_counted_is_counted_from_the_journal() {
    let mut world = World::new(Survives::Journal);
    world.look(1);
    world.ends(1, &Answer::Fails(Class::AgentFailed));
    world.edits(1, &Edit::Forgets);
    assert_eq!(world.now.starts(world.now.queue.find("B").expect("there"), &BOUNDS), 1);
}

#[test]
fn a_claim_says_in_the_queue_how_often_agents_were_started() {
    let mut before = snapshot(vec![task("B", Status::READY)]);
    Arc::make_mut(&mut before.queue).edit(&id("B"), |task| task.starts = 2);
    let (changes, lease) = claim::decide(&before, &flow(), &claimant(&Role::BUILDER)).expect("a claim");
    assert_eq!((changes.edits[0].set[&Member::Starts].clone(), lease.token), (json!(3), Token(1)));
}

#[test]
fn what_goes_round_between_roles_without_an_agent_ends_and_is_no_start_of_any() {
    let rule = |name: &str, takes: &str, done: &str, failed: &str| RoleRule {
        role: Role::new(name),
        takes: Status::new(takes),
        works: Status::new(format!("{name}_works")),
        done: Status::new(done),
        done_with_children: None,
        failed: Status::new(failed),
        duty: Duty { agentless: true, ..Duty::default() },
        ..claimant(&Role::PLANNER).rule
    };
    let rules = vec![rule("one", "first", "second", "first"), rule("two", "second", "done", "first")];
    let spent = Budgets { day: Limits { starts: Some(1), ..Limits::default() }, ..Budgets::default() };
    let policy = Policy { bounds: BOUNDS, budgets: spent, ..Policy::default() };
    let flow = Workflow::new(rules).expect("a workflow").under(policy);
    let mut now = snapshot(vec![task("A", Status::new("first"))]);
    let red = Outcome::failed(Class::GateFailed, "the gate `lint` ended with exit status 1");
    let mut ways = Vec::new();
    for (rule, outcome) in
        flow.rules().iter().zip([Outcome::Done { summary: String::new(), tasks: vec![] }, red]).cycle()
    {
        let me = claim::Claimant { rule: rule.clone(), ..claimant(&Role::PLANNER) };
        let Ok((changes, lease)) = claim::decide(&now, &flow, &me) else { break };
        now = now.after(&changes);
        now = now.after(&settle::decide(&now, &flow, &lease, &outcome, &retry(), &Ended::default()));
        ways.push(now.queue.get(&id("A")).expect("there").status.to_string());
        now.now.wall += chrono::Duration::seconds(1);
        assert!(ways.len() < 10, "it ends");
    }
    // A red gate is the role's answer: it is not tried three times, and nothing is charged.
    assert_eq!(ways, ["second", "first", "second"]);
    let seen = now.queue.get(&id("A")).expect("there");
    assert_eq!((now.checks(seen), now.starts(seen, &BOUNDS), seen.starts, seen.attempts), (3, 0, 0, 0));
    let why = crate::tests::explain(&now, &flow, seen);
    assert!(why.sentence.contains("roles without an agent tried it 3 times, which is the limit"), "{why:?}");
    now = now.after(&coordinate::decide(&now, &flow));
    let seen = now.queue.get(&id("A")).expect("there");
    assert_eq!(seen.status, Status::NEEDS_MANUAL);
    assert!(
        seen.blocked_reason
            .as_deref()
            .is_some_and(|reason| reason.starts_with("roles without an agent tried it 3 times"))
    );
    let again = manual::retry(&now, &flow, &id("A"), Some(&Status::new("first")), &Actor::Human("me".into()));
    let verb = again.expect("may be tried again").events.into_iter().find_map(|event| match event.data {
        Data::TaskMoved(moved) => moved.verb,
        _ => None,
    });
    assert!(verb.is_some_and(|verb| crate::seal::starts_anew(&verb)), "which takes the count back");
}
