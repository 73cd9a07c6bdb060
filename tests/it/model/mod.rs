//! The protocol of claims, leases and settlements as a model: the program's own rules, every order of events.
//!
//! A worker's walk, the steps of a commit, people's hands and the clocks are the model's; what is decided at
//! each step, `claim`, `settle`, `rescue`, `coordinate`, `external_edits` and `manual` decide. Not in the model: bytes
//! (the store's tests), processes (a sweep ends an attempt's agents at once), pools, budgets and decisions.

mod commit;
mod compare;
mod happen;
mod proof;
mod same;
mod walk;
mod world;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use oodatcaa_core::{Role, Status};
use stateright::{Checker, HasDiscoveries, Model};

use self::{
    compare::Compared,
    walk::{Careless, Fleet, two_stages},
    world::Budget,
};

/// Every state that no more claims than [`Fleet::tokens`] lead to, or the first in which something is wrong.
fn explore(threads: usize, fleet: Fleet) -> impl Checker<Fleet> {
    fleet.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join()
}

fn holds(name: &str, fleet: Fleet) {
    let started = Instant::now();
    let (claims, beyond) = (fleet.tokens, Arc::clone(&fleet.beyond));
    let checker = explore(2, fleet);
    let beyond = match beyond.load(Ordering::Relaxed) {
        0 => String::new(),
        times => format!(", no further than {claims} claims of a task ({times} times)"),
    };
    println!(
        "figure: model, {name}: {} states, {} different, {} steps deep{beyond}, {:.1} s",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f64()
    );
    checker.assert_properties();
}

/// Without one of its rules the model must fail, in one of these ways.
fn fails(name: &str, careless: Careless, how: &[&str], fleet: Fleet) {
    // One thread alone goes the shortest way first.
    let checker = explore(1, Fleet { careless: Some(careless), ..fleet });
    let found = checker.discoveries().into_iter().filter(|(property, _)| *property != FINISHED);
    let faults: Vec<_> = found
        .map(|(property, path)| (path.last_state().ghost.fault.unwrap_or(property), path.into_actions()))
        .collect();
    assert!(faults.iter().any(|(fault, _)| how.contains(fault)), "{faults:?}");
    println!("figure: model, {name}: found in {} different states", checker.unique_state_count());
}

/// The one property that is a wish.
const FINISHED: &str = "a task is finished";

const OLDER: &str = "a task was claimed while an agent of an older claim was running";

fn hands() -> Vec<Status> {
    vec![Status::READY, Status::CANCELLED, Status::DONE, Status::IN_PROGRESS]
}

fn crashing() -> Fleet {
    Fleet { budget: Budget { crashes: 2, ..Budget::default() }, ..Fleet::default() }
}

fn stopping() -> Fleet {
    Fleet { budget: Budget { stops: 1, longs: 1, ..Budget::default() }, ..Fleet::default() }
}

fn contending() -> Fleet {
    Fleet { tasks: 2, budget: Budget { crashes: 1, ..Budget::default() }, ..Fleet::default() }
}

fn jumping() -> Fleet {
    Fleet { budget: Budget { jumps: 1, crashes: 1, ..Budget::default() }, ..Fleet::default() }
}

fn removing() -> Fleet {
    Fleet { budget: Budget { removals: 1, ..Budget::default() }, ..Fleet::default() }
}

fn staged() -> Fleet {
    Fleet {
        workers: vec![Role::BUILDER, Role::TESTER],
        workflow: two_stages(),
        budget: Budget { crashes: 1, failures: 1, ..Budget::default() },
        ..Fleet::default()
    }
}

#[test]
fn a_crash_between_any_two_steps_loses_and_doubles_nothing() {
    holds("crashes", Fleet { fair: true, ..crashing() });
}

#[test]
fn a_stopped_worker_that_wakes_after_the_takeover_changes_nothing() {
    holds("stops", Fleet { fair: true, ..stopping() });
}

#[test]
fn a_limit_of_one_holds_for_two_tasks() {
    holds("limit", contending());
}

#[test]
fn a_jump_of_the_wall_clock_takes_nothing_from_anybody() {
    holds("jumps", jumping());
}

#[test]
fn a_hand_in_the_queue_file_stands_and_everything_still_drains() {
    holds(
        "hands",
        Fleet { budget: Budget { hands: 1, ..Budget::default() }, hands: hands(), fair: true, ..Fleet::default() },
    );
}

#[test]
fn an_operators_command_loses_nothing() {
    holds(
        "verbs",
        Fleet { budget: Budget { verbs: 1, crashes: 1, ..Budget::default() }, fair: true, ..Fleet::default() },
    );
}

#[test]
fn a_lease_file_removed_by_hand_dooms_the_attempt_and_not_the_task() {
    holds("removals", Fleet { fair: true, ..removing() });
}

#[test]
fn an_old_queue_file_brings_no_old_token_to_life() {
    holds("restores", Fleet { budget: Budget { restores: 1, longs: 1, ..Budget::default() }, ..Fleet::default() });
}

#[test]
fn two_stages_hand_on_what_is_done() {
    holds("stages", Fleet { fair: true, ..staged() });
}

#[test]
fn without_the_fencing_check_the_model_fails() {
    fails("unfenced", Careless::Unfenced, &["a superseded attempt changed its task"], stopping());
}

#[test]
fn with_a_limit_that_is_counted_outside_of_the_lock_the_model_fails() {
    let how = ["live leases of a role stay within its limit", "agents at work stay within the limits"];
    fails("counted outside", Careless::CountsOutside, &how, contending());
}

#[test]
fn with_a_rescue_by_age_alone_the_model_fails() {
    let how = ["an owner that lives and beats was taken over", OLDER];
    fails("by age", Careless::RescuesByAge, &how, jumping());
}

#[test]
fn with_agents_that_are_not_ended_first_the_model_fails() {
    fails("agents left", Careless::LeavesAgents, &[OLDER], crashing());
}

#[test]
fn with_an_agent_started_by_a_sleeper_that_does_not_ask_the_model_fails() {
    fails("unasked", Careless::StartsUnasked, &[OLDER], stopping());
}

/// In any order, of each fleet so many.
fn states_are_the_same(most: usize) {
    let mut fleets = vec![
        ("jumps", jumping()),
        ("removals", Fleet { budget: Budget { crashes: 1, ..removing().budget }, ..removing() }),
        ("stages", staged()),
    ];
    fleets.extend(at_full_size());
    let mut all = Compared { states: 0, others: 0 };
    for (name, fleet) in fleets {
        let Compared { states, others } = compare::compare(&fleet, most);
        assert!(others > states / 10, "{name}: {others} were compared with {states}");
        (all.states, all.others) = (all.states + states, all.others + others);
    }
    println!("figure: {} states compared with {} that count as the same", all.others, all.states);
}

#[test]
fn states_that_count_as_the_same_go_on_the_same() {
    states_are_the_same(150);
}

#[test]
#[ignore = "a minute: run by `make torture`"]
fn states_that_count_as_the_same_in_the_model_at_full_size() {
    states_are_the_same(20_000);
}

/// Each part ends with all of its states, up to the claims that are said with it. Two minutes and 1.2 GiB together.
fn at_full_size() -> [(&'static str, Fleet); 4] {
    let more = Budget { crashes: 1, stops: 1, longs: 2, failures: 1, ..Budget::default() };
    let hand = Budget { crashes: 1, hands: 1, verbs: 1, ..Budget::default() };
    let restore = Budget { restores: 1, longs: 2, crashes: 1, ..Budget::default() };
    let many = Budget { crashes: 1, longs: 1, ..Budget::default() };
    let three = vec![Role::BUILDER; 3];
    [
        ("crashes and stops", Fleet { budget: more, ..Fleet::default() }),
        ("crashes, hands and commands", Fleet { budget: hand, hands: hands(), fair: true, ..Fleet::default() }),
        ("crashes and restores", Fleet { budget: restore, ..Fleet::default() }),
        ("three workers, two tasks", Fleet { workers: three, tasks: 2, budget: many, ..Fleet::default() }),
    ]
}

#[test]
#[ignore = "minutes: run by `make torture`"]
fn model_at_full_size() {
    for (name, fleet) in at_full_size() {
        holds(name, fleet);
    }
}
