//! What pools of quota must hold.

use proptest::prelude::*;

use super::*;
use crate::{
    Holder, LeaseState, Role, Status, Workflow,
    claim::{self, Idle},
    event::payload::{Ended, Texts, Worker},
    outcome::Retry,
    rescue, settle,
    tests::{claimant, id, now_at, snapshot, task, with_limit},
};

fn flow() -> Workflow {
    Workflow::shipped()
}

fn many(count: u32) -> Snapshot {
    let tasks = (0..count).map(|n| task(&format!("T{n}"), Status::READY)).collect();
    with_limit(snapshot(tasks), &Role::BUILDER, 99)
}

fn claim(now: &mut Snapshot) -> Result<Lease, Idle> {
    claim_of(now, &["cmd"])
}

fn claim_of(now: &mut Snapshot, pools: &[&str]) -> Result<Lease, Idle> {
    let mut me = claimant(&Role::BUILDER);
    me.agents = pools.iter().map(|&pool| Offer { by: pool.into(), pool: pool.into(), simulated: false }).collect();
    let (changes, lease) = claim::decide(now, &flow(), &me)?;
    *now = now.after(&changes);
    Ok(lease)
}

fn end(now: &mut Snapshot, lease: &Lease, outcome: &Outcome) {
    let changes = settle::decide(now, &flow(), lease, outcome, &Retry::default(), &Ended::default());
    *now = now.after(&changes);
}

fn limited(until: Option<u64>) -> Outcome {
    let retry_at = until.map(|seconds| now_at(seconds).wall);
    Outcome::Failed { class: Class::RateLimited, reason: "429".into(), retry_at }
}

fn done() -> Outcome {
    Outcome::Done { summary: String::new(), tasks: Vec::new() }
}

fn until(now: &Snapshot) -> DateTime<Utc> {
    now.history.pools.closed["cmd"].until
}

#[test]
fn the_first_limit_closes_the_pool_until_the_stated_reset_and_charges_nobody() {
    let mut now = many(3);
    let lease = claim(&mut now).expect("open");
    end(&mut now, &lease, &limited(Some(2_000)));
    let first = now.queue.find("T0").expect("there");
    assert_eq!((first.status.clone(), first.attempts, first.not_before), (Status::READY, 0, None));
    let Err(Idle::Limited(told)) = claim(&mut now) else { panic!("closed") };
    assert_eq!((told.pool.as_str(), told.until), ("cmd", Some(now_at(2_000).wall)));
    now.now = now_at(1_999);
    assert!(claim(&mut now).is_err());
    now.now = now_at(2_000);
    assert!(claim(&mut now).expect("half open").probe);
}

#[test]
fn a_quota_is_tried_again_in_the_hours_for_that_and_nothing_is_claimed_outside_of_the_fleets() {
    // The clock of the tests says 8 in the morning, UTC.
    let hours = |span: &str| Hours::new(&[span.to_owned()], "UTC").expect("hours");
    let policy = |hours, resume| crate::policy::Policy { hours, resume, ..crate::policy::Policy::default() };
    let flow = flow().under(policy(None, hours("22:00-06:00")));
    let mut now = many(1);
    let lease = claim(&mut now).expect("open");
    let changes = settle::decide(&now, &flow, &lease, &limited(Some(2_000)), &Retry::default(), &Ended::default());
    assert_eq!(until(&now.after(&changes)).to_string(), "2026-01-05 22:00:00 UTC");
    let closed = Workflow::shipped().under(policy(hours("20:00-07:00"), None));
    let told = claim::decide(&many(1), &closed, &claimant(&Role::BUILDER)).expect_err("closed");
    let words = "outside of the fleet's hours (20:00-07:00 UTC); new work begins at 2026-01-05T20:00:00.000Z";
    assert_eq!(told.to_string(), words);
    let why = crate::tests::explain(&many(1), &closed, many(1).queue.find("T0").expect("there"));
    assert!(why.sentence.contains("new work begins at 2026-01-05T20:00") && why.person.is_none(), "{}", why.sentence);
    let open = Workflow::shipped().under(policy(hours("07:00-20:00"), None));
    assert!(claim::decide(&many(1), &open, &claimant(&Role::BUILDER)).is_ok());
}

#[test]
fn without_a_stated_reset_the_pause_is_five_minutes_and_doubles_up_to_an_hour() {
    let mut now = many(1);
    let mut at = 1_000;
    for minutes in [5, 10, 20, 40, 60, 60] {
        let lease = claim(&mut now).expect("open, or half open");
        end(&mut now, &lease, &limited(None));
        assert_eq!(until(&now), now_at(at + minutes * 60).wall);
        at += minutes * 60;
        now.now = now_at(at);
    }
    let lease = claim(&mut now).expect("half open");
    end(&mut now, &lease, &done());
    assert!(now.history.pools.closed.is_empty(), "one success and it starts over");
}

#[test]
fn a_reset_in_the_past_or_beyond_belief_is_not_taken_at_its_word() {
    let mut now = many(2);
    let lease = claim(&mut now).expect("open");
    end(&mut now, &lease, &limited(Some(1)));
    assert_eq!(until(&now), now_at(1_300).wall);
    let mut now = many(2);
    let lease = claim(&mut now).expect("open");
    end(&mut now, &lease, &limited(Some(400 * 86_400)));
    assert_eq!(until(&now), now.now.wall + BELIEVED);
}

#[test]
fn one_probe_goes_through_and_its_success_lets_the_others() {
    let mut now = many(4);
    let lease = claim(&mut now).expect("open");
    end(&mut now, &lease, &limited(Some(2_000)));
    now.now = now_at(2_000);
    let probe = claim(&mut now).expect("the probe");
    let Err(Idle::Limited(told)) = claim(&mut now) else { panic!("one probe only") };
    assert_eq!(told.until, None);
    now = now.after(&answered(&now, &probe));
    assert!(!claim(&mut now).expect("open as soon as the provider answered").probe);
    end(&mut now, &probe, &done());
    assert!(claim(&mut now).is_ok());
}

#[test]
fn a_probe_that_fails_at_its_work_has_been_answered_and_one_that_learned_nothing_lets_another_go() {
    for (class, open) in [
        (Class::AgentFailed, true),
        (Class::NoEvidence, true),
        (Class::ContextOverflow, true),
        (Class::Network, false),
        (Class::AgentCrashed, false),
        (Class::AuthExpired, false),
        (Class::Interrupted, false),
        (Class::Silent, false),
        (Class::Timeout, false),
    ] {
        let mut now = many(4);
        let lease = claim(&mut now).expect("open");
        end(&mut now, &lease, &limited(None));
        now.now = now_at(2_000);
        let probe = claim(&mut now).expect("the probe");
        end(&mut now, &probe, &Outcome::failed(class, "x"));
        assert_eq!(matches!(state(&now, "cmd"), PoolState::Open), open, "{class}");
        assert_eq!(matches!(state(&now, "cmd"), PoolState::HalfOpen(_)), !open, "{class}");
    }
}

#[test]
fn a_probe_whose_worker_died_lets_another_go_once_it_is_rescued() {
    let mut now = many(2);
    let lease = claim(&mut now).expect("open");
    end(&mut now, &lease, &limited(None));
    now.now = now_at(2_000);
    let probe = claim(&mut now).expect("the probe");
    now.leases.get_mut(&probe.task_id).expect("held").holder = Holder::Dead("gone".into());
    assert!(matches!(claim(&mut now), Err(Idle::Limited(_))), "what it left running has not been ended yet");
    let left = rescue::find(&now, &flow());
    now = now.after(&rescue::decide(&now, &flow(), &Retry::default(), &left, "r@h"));
    assert!(claim(&mut now).expect("half open again").probe);
}

#[test]
fn attempts_that_were_under_way_neither_double_the_pause_nor_open_the_pool() {
    let mut now = many(4);
    let leases: Vec<Lease> = (0..3).map(|_| claim(&mut now).expect("open")).collect();
    end(&mut now, &leases[0], &limited(None));
    now.now = now_at(1_010);
    end(&mut now, &leases[1], &limited(None));
    assert_eq!((until(&now), now.history.pools.closed["cmd"].limits), (now_at(1_300).wall, 1));
    end(&mut now, &leases[2], &done());
    assert!(matches!(state(&now, "cmd"), PoolState::Closed(_)));
}

#[test]
fn the_next_agent_of_a_chain_works_while_the_first_is_limited() {
    let mut now = many(9);
    let chain = ["claude", "codex"];
    let first = claim_of(&mut now, &chain).expect("open");
    assert_eq!(first.by, "claude");
    end(&mut now, &first, &limited(Some(2_000)));
    assert_eq!(claim_of(&mut now, &chain).expect("the second").by, "codex");
    now.now = now_at(2_000);
    let probe = claim_of(&mut now, &chain).expect("the first again");
    assert_eq!((probe.by.as_str(), probe.probe), ("claude", true));
    let beside = claim_of(&mut now, &chain).expect("the second meanwhile");
    assert_eq!((beside.by.as_str(), beside.probe), ("codex", false));
    end(&mut now, &beside, &limited(Some(5_000)));
    end(&mut now, &probe, &limited(Some(3_000)));
    let Err(Idle::Limited(told)) = claim_of(&mut now, &chain) else { panic!("both are closed") };
    assert_eq!((told.pool.as_str(), told.until), ("claude", Some(now_at(3_000).wall)), "the first to be back");
}

#[test]
fn every_waiting_task_says_why_and_until_when() {
    let mut now = many(3);
    let mut changes = ChangeSet::none();
    let started = Worker { pools: Some(Texts(vec!["cmd".into()])), ..Worker::default() };
    changes.event(EventDraft::new(Data::WorkerStarted(started), Actor::Worker("w".into())).role(&Role::BUILDER));
    now = now.after(&changes);
    let lease = claim(&mut now).expect("open");
    end(&mut now, &lease, &limited(Some(1_600)));
    for task in now.queue.tasks() {
        let why = crate::tests::explain(&now, &flow(), task);
        assert_eq!(why.rule, "failure");
        assert_eq!(
            why.sentence,
            "no agent of `builder` can work (in 10m): the quota of `cmd` is used up until 2026-01-05T08:26:40.000Z: 429"
        );
    }
}

#[test]
fn a_human_may_open_a_pool() {
    let mut now = many(2);
    let lease = claim(&mut now).expect("open");
    end(&mut now, &lease, &limited(None));
    now = now.after(&reopen(&now, "cmd", &Actor::Human("me".into())));
    assert!(!claim(&mut now).expect("open").probe);
    assert!(reopen(&now, "cmd", &Actor::Human("me".into())).is_empty(), "twice is once");
}

#[derive(Clone, Debug)]
enum Step {
    Claim,
    End(usize, u8),
    Die(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Claim),
        3 => (any::<usize>(), 0u8..4).prop_map(|(at, how)| Step::End(at, how)),
        1 => any::<usize>().prop_map(Step::Die),
        2 => (1u64..2_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_a_closed_pool_is_asked_by_one_probe_at_most(steps in prop::collection::vec(step(), 1..60)) {
        let mut now = many(20);
        let mut at = 1_000;
        let mut running: Vec<Lease> = Vec::new();
        for step in steps {
            match step {
                Step::Claim => {
                    let before = state(&now, "cmd");
                    let (may, probes) = (
                        matches!(before, PoolState::Open | PoolState::HalfOpen(_)),
                        matches!(before, PoolState::HalfOpen(_)),
                    );
                    match claim(&mut now) {
                        Ok(lease) => {
                            prop_assert!(may);
                            prop_assert_eq!(lease.probe, probes);
                            running.push(lease);
                        }
                        Err(Idle::Limited(_)) => prop_assert!(!may),
                        Err(_) => {}
                    }
                }
                Step::End(which, how) if !running.is_empty() => {
                    let lease = running.remove(which % running.len());
                    let outcome = match how {
                        0 => done(),
                        1 => limited(None),
                        2 => limited(Some(at + 700)),
                        _ => Outcome::failed(Class::Interrupted, "stop"),
                    };
                    end(&mut now, &lease, &outcome);
                }
                Step::Die(which) if !running.is_empty() => {
                    let lease = running.remove(which % running.len());
                    now.leases.get_mut(&lease.task_id).expect("held").holder = Holder::Dead("gone".into());
                    let left = rescue::find(&now, &flow());
                    now = now.after(&rescue::decide(&now, &flow(), &Retry::default(), &left, "r@h"));
                }
                Step::Wait(seconds) => {
                    at += seconds;
                    now.now = now_at(at);
                    for held in now.leases.values_mut() {
                        beat(held, at);
                    }
                }
                Step::End(..) | Step::Die(_) => {}
            }
            if now.history.pools.closed.contains_key("cmd") {
                let probes = now.leases.values().filter_map(LeaseState::ours).filter(|lease| lease.probe);
                prop_assert!(probes.count() <= 1);
            }
        }
    }
}

fn beat(held: &mut LeaseState, at: u64) {
    if let crate::LeaseRecord::Ours(lease) = &mut held.record {
        *lease = lease.beaten(&now_at(at));
    }
}

#[test]
fn the_journal_alone_tells_how_pools_stand() {
    let mut now = many(2);
    let lease = claim(&mut now).expect("open");
    end(&mut now, &lease, &limited(Some(2_000)));
    assert_eq!(now.history.pools.closed["cmd"].class, "rate_limited");
    assert_eq!(now.history.task(&id("T0")).expect("known").transient, 0);
}

fn offer(by: &str) -> Offer {
    Offer { by: by.into(), pool: by.into(), simulated: false }
}

/// The names in the order in which they are asked for T0.
fn asked(now: &Snapshot, workflow: &Workflow, names: &[&str]) -> Vec<String> {
    let offers: Vec<Offer> = names.iter().map(|name| offer(name)).collect();
    let (rule, task) = (workflow.rule(&Role::BUILDER).expect("ships"), now.queue.find("T0").expect("there"));
    chain(now, workflow, rule, task, &offers).into_iter().map(|offer| offer.by.clone()).collect()
}

#[test]
fn of_an_agents_accounts_the_one_comes_first_whose_window_ends_first() {
    let mut now = many(3);
    let names = ["c@a", "c@b", "c@d", "x"];
    assert_eq!(asked(&now, &flow(), &names), names, "where nothing is known the order is the person's");
    for (name, ends) in [("c@a", 9_000), ("c@b", 5_000), ("x", 2_000)] {
        let lease = claim_of(&mut now, &[name]).expect("open");
        let facts = Ended { resets_at: Some(now_at(ends).wall), ..Ended::default() };
        let changes = settle::decide(&now, &flow(), &lease, &done(), &Retry::default(), &facts);
        now = now.after(&changes);
    }
    let mut now = Snapshot { queue: many(3).queue, ..now };
    assert_eq!(asked(&now, &flow(), &names), ["c@b", "c@a", "c@d", "x"], "and another agent is not asked before");
    now.now = now_at(6_000);
    assert_eq!(asked(&now, &flow(), &names), ["c@a", "c@b", "c@d", "x"], "a window that is over says nothing");
}

#[test]
fn an_unfinished_session_stays_with_its_account_while_that_is_open() {
    let mut now = many(1);
    let lease = claim_of(&mut now, &["c@b"]).expect("open");
    end(&mut now, &lease, &Outcome::failed(Class::Interrupted, "the machine was turned off"));
    assert_eq!(asked(&now, &flow(), &["c@a", "c@b"]), ["c@b", "c@a"]);
    let lease = claim_of(&mut now, &["c@a", "c@b"]).expect("open");
    assert_eq!(lease.by, "c@b");
    end(&mut now, &lease, &limited(Some(9_000)));
    assert_eq!(claim_of(&mut now, &["c@a", "c@b"]).expect("one is open").by, "c@a");
}

#[test]
fn what_has_failed_before_goes_to_the_agent_for_that_and_nothing_else_does() {
    let special = |only| crate::policy::OnRetry { agents: vec!["strong".into()], only };
    let under = |only| {
        let on_retry = [(Role::BUILDER, special(only))].into();
        Workflow::shipped().under(crate::policy::Policy { on_retry, ..Default::default() })
    };
    let mut now = many(1);
    assert_eq!(asked(&now, &under(true), &["weak", "strong"]), ["weak"]);
    assert_eq!(asked(&now, &under(false), &["weak", "strong"]), ["weak", "strong"]);
    let lease = claim_of(&mut now, &["weak"]).expect("open");
    end(&mut now, &lease, &Outcome::failed(Class::AgentFailed, "it gave up"));
    for only in [true, false] {
        assert_eq!(asked(&now, &under(only), &["weak", "strong"]), ["strong", "weak"]);
    }
    let task = now.queue.find("T0").expect("there");
    let told = crate::tests::explain(&now, &under(true), task);
    assert!(told.facts.iter().any(|fact| fact.text.contains("strong works on it next")), "{told:?}");
}
