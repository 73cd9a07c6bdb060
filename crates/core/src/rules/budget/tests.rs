//! Tests of budgets: what stops, what is told, and what a human may allow.

use proptest::prelude::*;

use super::*;
use crate::{
    Class, Kind, Outcome, Status,
    claim::{self, Idle},
    coordinate,
    decision::{Word, resolve},
    event::payload::Ended,
    outcome::Retry,
    policy::Policy,
    settle,
    tests::{claimant, id, now_at, snapshot, task, with_limit, with_rule},
};

fn flow(budgets: Budgets) -> Workflow {
    Workflow::shipped().under(Policy { budgets, ..Policy::default() })
}

fn tokens(limit: u64) -> Limits {
    Limits { tokens: Some(limit), ..Limits::default() }
}

fn many() -> Snapshot {
    let tasks = (0..4).map(|n| task(&format!("T{n}"), Status::READY)).collect();
    with_limit(snapshot(tasks), &Role::BUILDER, 9)
}

fn used(tokens: u64) -> Usage {
    Usage { tokens_in: Some(tokens), ..Usage::default() }
}

fn reported(usage: Usage) -> Ended {
    Ended { usage, ..Ended::default() }
}

fn run(now: &mut Snapshot, flow: &Workflow, usage: &Usage) -> Result<ChangeSet, Idle> {
    let failed = Outcome::failed(Class::Interrupted, "stop");
    run_to(now, flow, usage, &failed)
}

fn run_to(now: &mut Snapshot, flow: &Workflow, usage: &Usage, outcome: &Outcome) -> Result<ChangeSet, Idle> {
    let (changes, lease) = claim::decide(now, flow, &claimant(&Role::BUILDER))?;
    *now = now.after(&changes);
    let changes = settle::decide(now, flow, &lease, outcome, &Retry::default(), &reported(*usage));
    *now = now.after(&changes);
    Ok(changes)
}

fn levels(changes: &ChangeSet) -> Vec<String> {
    let told = changes.events.iter().filter(|event| event.kind() == Kind::BudgetExceeded);
    told.map(|event| format!("{} {}", event.data.members()["scope"], event.data.members()["level"]).replace('"', ""))
        .collect()
}

fn open(now: &Snapshot) -> Vec<String> {
    now.history.decisions.open().iter().map(|decision| decision.id.clone()).collect()
}

fn approve(now: &mut Snapshot, flow: &Workflow, id: &str) {
    let changes = resolve(now, flow, id, Word::Approve, &Actor::Human("me".into())).expect("approved");
    *now = now.after(&changes);
}

#[test]
fn what_spends_nothing_is_held_by_no_budget() {
    let all = Budgets { task: tokens(10), day: tokens(10), ..Budgets::default() };
    let change = |rule: crate::RoleRule| crate::RoleRule {
        duty: crate::Duty { agentless: true, ..rule.duty.clone() },
        ..rule.clone()
    };
    let checks = with_rule(&Role::TESTER, change).under(Policy { budgets: all, ..Policy::default() });
    let mut now = snapshot(vec![task("T", Status::READY)]);
    let done = Outcome::Done { summary: "did it".into(), tasks: Vec::new() };
    run_to(&mut now, &checks, &used(11), &done).expect("a claim");
    let me = |flow: &Workflow| {
        let rule = flow.rule(&Role::TESTER).expect("there").clone();
        claim::decide(&now, flow, &claim::Claimant { rule, ..claimant(&Role::TESTER) })
    };
    assert!(me(&checks).is_ok(), "its gates cost nothing");
    assert!(me(&flow(all)).is_err(), "an agent would");
}

#[test]
fn a_day_warns_once_at_80_percent_and_stops_at_100() {
    let flow = flow(Budgets { day: tokens(1_000), ..Budgets::default() });
    let mut now = many();
    assert_eq!(levels(&run(&mut now, &flow, &used(799)).expect("a claim")), Vec::<String>::new());
    assert_eq!(levels(&run(&mut now, &flow, &used(1)).expect("a claim")), ["day warning"]);
    assert_eq!(levels(&run(&mut now, &flow, &used(1)).expect("a claim")), Vec::<String>::new());
    assert_eq!(levels(&run(&mut now, &flow, &used(500)).expect("a claim")), ["day stop"]);
    let Err(Idle::Budget(stop)) = run(&mut now, &flow, &used(1)) else { panic!("stopped") };
    assert_eq!(stop.words, "the budget of this day is used up: 1301 tokens of 1000 tokens");
    assert_eq!(open(&now), ["day:2026-01-05.1"]);
    let told = crate::tests::explain(&now, &flow, now.queue.find("T3").expect("there"));
    assert_eq!(told.sentence, stop.words);
    assert!(told.next.starts_with("agentctl approve day:2026-01-05.1"), "{}", told.next);
}

#[test]
fn the_limits_of_a_day_stand_with_what_is_spent_and_what_a_human_added() {
    let flow = flow(Budgets { day: tokens(100), role: tokens(1_000), ..Budgets::default() });
    let mut now = many();
    run(&mut now, &flow, &used(100)).expect("a claim");
    let of = |now: &Snapshot, subject: &str| {
        let all = standing(now, &flow);
        let found = all.iter().find(|standing| standing.subject == subject).expect("it has a limit");
        (found.scope, found.unit, found.spent, found.limit)
    };
    assert_eq!(of(&now, "day:2026-01-05"), ("day", Unit::Tokens, 100, 100));
    assert_eq!(of(&now, "role:builder:2026-01-05"), ("role", Unit::Tokens, 100, 1_000));
    approve(&mut now, &flow, "day:2026-01-05.1");
    assert_eq!(of(&now, "day:2026-01-05"), ("day", Unit::Tokens, 100, 200));
    assert_eq!(standing(&now, &flow).len(), 1 + flow.rules().len(), "one for the day, one for each role");
}

#[test]
fn a_human_allows_the_same_amount_again_for_the_day_and_the_next_day_starts_at_nothing() {
    let flow = flow(Budgets { day: tokens(100), ..Budgets::default() });
    let mut now = many();
    run(&mut now, &flow, &used(100)).expect("a claim");
    approve(&mut now, &flow, "day:2026-01-05.1");
    assert_eq!(left(&now, &flow, now.queue.find("T0").expect("there"), &Role::BUILDER).tokens, Some(100));
    run(&mut now, &flow, &used(100)).expect("allowed");
    assert_eq!(open(&now), ["day:2026-01-05.2"]);
    assert!(run(&mut now, &flow, &used(1)).is_err());
    now.now = now_at(86_400);
    now = now.after(&coordinate::decide(&now, &flow));
    assert!(open(&now).is_empty(), "nothing to decide any more");
    run(&mut now, &flow, &used(100)).expect("a new day");
    assert!(run(&mut now, &flow, &used(1)).is_err(), "the raise was for yesterday");
}

#[test]
fn a_no_about_money_is_not_asked_again() {
    let flow = flow(Budgets { role: tokens(100), ..Budgets::default() });
    let mut now = many();
    run(&mut now, &flow, &used(100)).expect("a claim");
    let no = resolve(&now, &flow, "role:builder:2026-01-05.1", Word::Reject("enough"), &Actor::Human("me".into()));
    now = now.after(&no.expect("rejected"));
    assert!(coordinate::decide(&now, &flow).is_empty());
    let told = crate::tests::explain(&now, &flow, now.queue.find("T0").expect("there"));
    assert!(told.next.starts_with("raise [budget.role]"), "{}", told.next);
    assert!(matches!(run(&mut now, &flow, &used(1)), Err(Idle::Budget(_))));
}

#[test]
fn the_budget_of_a_task_stops_that_task_only_and_of_a_role_that_role_only() {
    let flow = flow(Budgets { task: tokens(100), ..Budgets::default() });
    let mut now = many();
    run(&mut now, &flow, &used(100)).expect("a claim");
    let (_, lease) = claim::decide(&now, &flow, &claimant(&Role::BUILDER)).expect("another task");
    assert_eq!(lease.task_id, id("T1"));
    assert_eq!(open(&now), ["T0.1"]);
    approve(&mut now, &flow, "T0");
    let (_, lease) = claim::decide(&now, &flow, &claimant(&Role::BUILDER)).expect("a claim");
    assert_eq!(lease.task_id, id("T0"));

    let flow = self::flow(Budgets { role: tokens(100), ..Budgets::default() });
    let mut now = snapshot(vec![task("T0", Status::READY), task("T1", Status::AWAITING_TEST)]);
    run(&mut now, &flow, &used(100)).expect("a claim");
    assert!(matches!(run(&mut now, &flow, &used(1)), Err(Idle::Budget(_))));
    assert!(claim::decide(&now, &flow, &claimant(&Role::TESTER)).is_ok());
}

#[test]
fn with_an_unknown_price_the_tokens_still_bind() {
    let day = Limits { tokens: Some(100), micros: Some(5_000_000), ..Limits::default() };
    let flow = flow(Budgets { day, ..Budgets::default() });
    let mut now = many();
    run(&mut now, &flow, &Usage { cost_usd: None, ..used(100) }).expect("a claim");
    let Err(Idle::Budget(stop)) = run(&mut now, &flow, &used(1)) else { panic!("stopped") };
    assert!(stop.words.contains("100 tokens of 100"), "{stop}");
    let mut now = many();
    run(&mut now, &flow, &Usage::default()).expect("a claim");
    run(&mut now, &flow, &Usage { cost_usd: Some(5.0), ..Usage::default() }).expect("a claim");
    let Err(Idle::Budget(stop)) = run(&mut now, &flow, &used(1)) else { panic!("stopped") };
    assert_eq!(stop.words, "the budget of this day is used up: $5.00 of $5.00 (and 1 attempt of unknown price)");
}

#[test]
fn an_attempt_is_given_the_least_that_is_left() {
    let budgets = Budgets {
        attempt: Limits { tokens: Some(60), turns: Some(9), ..Limits::default() },
        task: Limits { tokens: Some(100), wall: Some(Duration::from_secs(90)), ..Limits::default() },
        day: Limits { micros: Some(2_500_000), ..Limits::default() },
        ..Budgets::default()
    };
    let flow = flow(budgets);
    let mut now = many();
    let left = |now: &Snapshot| super::left(now, &flow, now.queue.find("T0").expect("there"), &Role::BUILDER);
    let limits = |tokens, micros, seconds| Limits {
        tokens: Some(tokens),
        micros: Some(micros),
        wall: Some(Duration::from_secs(seconds)),
        turns: Some(9),
        starts: None,
    };
    assert_eq!(left(&now), limits(60, 2_500_000, 90));
    let usage = Usage { cost_usd: Some(1.0), seconds: Some(30.0), turns: Some(4), ..used(55) };
    run(&mut now, &flow, &usage).expect("a claim");
    assert_eq!(left(&now), limits(45, 1_500_000, 60));
    assert_eq!(
        super::left(&now, &Workflow::shipped(), now.queue.find("T0").expect("there"), &Role::BUILDER),
        Limits::default()
    );
}

#[test]
fn an_attempt_that_used_up_its_own_budget_waits_for_a_human_instead_of_starting_over() {
    let flow = flow(Budgets { attempt: tokens(100), ..Budgets::default() });
    let mut now = snapshot(vec![task("T0", Status::READY)]);
    let stopped = Outcome::failed(Class::BudgetExceeded, "100 of 100 tokens");
    run_to(&mut now, &flow, &used(100), &stopped).expect("a claim");
    let only = |now: &Snapshot| now.queue.find("T0").expect("there").clone();
    assert_eq!((only(&now).status, only(&now).attempts), (Status::READY, 0));
    assert!(matches!(claim::decide(&now, &flow, &claimant(&Role::BUILDER)), Err(Idle::Waiting { .. })));
    assert_eq!(open(&now), ["T0.1"]);
    approve(&mut now, &flow, "T0.1");
    assert_eq!(left(&now, &flow, &only(&now), &Role::BUILDER).tokens, Some(200));
    run_to(&mut now, &flow, &used(200), &stopped).expect("allowed once more");
    let no = resolve(&now, &flow, "T0", Word::Reject("split it"), &Actor::Human("me".into())).expect("rejected");
    now = now.after(&no);
    assert_eq!(only(&now).status, Status::NEEDS_MANUAL);
}

#[test]
fn what_was_simulated_costs_nothing_and_what_was_superseded_does() {
    let flow = flow(Budgets { day: tokens(100), ..Budgets::default() });
    let mut now = many();
    let mut me = claimant(&Role::BUILDER);
    me.agents[0].simulated = true;
    let (changes, lease) = claim::decide(&now, &flow, &me).expect("a claim");
    now = now.after(&changes);
    let stop = Outcome::failed(Class::Interrupted, "stop");
    now = now.after(&settle::decide(&now, &flow, &lease, &stop, &Retry::default(), &reported(used(500))));
    assert_eq!(now.history.ledger.on(now.now.wall.date_naive()), Spent::default());
    let (changes, lease) = claim::decide(&now, &flow, &claimant(&Role::BUILDER)).expect("a claim");
    now = now.after(&changes);
    let old = Lease { token: crate::Token(lease.token.0 - 1), ..lease };
    now = now.after(&settle::decide(&now, &flow, &old, &stop, &Retry::default(), &reported(used(500))));
    assert_eq!(now.history.ledger.on(now.now.wall.date_naive()).tokens, 500);
}

proptest! {
    #[test]
    fn nothing_is_claimed_from_a_budget_that_is_used_up(
        spends in prop::collection::vec((0u64..400, prop::option::of(0.0f64..3.0), 0u64..40_000), 1..40),
        limit in 1u64..1_500,
        cents in 1u64..500,
    ) {
        let day = Limits { tokens: Some(limit), micros: Some(cents * 10_000), ..Limits::default() };
        let flow = flow(Budgets { day, task: tokens(limit / 2 + 1), ..Budgets::default() });
        let mut now = many();
        let mut at = 1_000;
        let mut warned = 0;
        for (amount, price, later) in spends {
            at += later;
            now.now = now_at(at);
            now = now.after(&coordinate::decide(&now, &flow));
            let spent = now.history.ledger.on(now.now.wall.date_naive());
            let over = spent.tokens >= limit || spent.micros >= cents * 10_000;
            match run(&mut now, &flow, &Usage { cost_usd: price, ..used(amount) }) {
                Ok(changes) => {
                    prop_assert!(!over);
                    warned += levels(&changes).iter().filter(|level| *level == "day warning").count();
                }
                Err(Idle::Budget(_)) => prop_assert!(over),
                Err(Idle::Waiting { .. } | Idle::Nothing) => {}
                Err(other) => prop_assert!(false, "{other:?}"),
            }
            // Whoever is asked is asked once for each thing.
            let mut ids = open(&now);
            ids.dedup_by_key(|id| id.rsplit_once('.').map(|(subject, _)| subject.to_owned()));
            prop_assert_eq!(ids.len(), open(&now).len());
        }
        let days = usize::try_from(at / 86_400).expect("few") + 2;
        prop_assert!(warned <= 2 * days, "each unit warns once a day");
    }
}
