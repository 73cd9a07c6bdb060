//! The protocol of claims, leases and settlements as a model: the program's own rules, every order of events.
//!
//! A worker's walk, the steps of a commit, people's hands and the clocks are the model's; what is decided at
//! each step, `claim`, `settle`, `rescue`, `coordinate`, `observe` and `operate` decide. Not in the model: bytes
//! (the store's tests), processes (a sweep ends an attempt's agents at once), pools, budgets and decisions.

mod commit;
mod happen;
mod proof;
mod walk;
mod world;

use std::time::Instant;

use oodatcaa::domain::{Role, Status};
use stateright::{Checker, HasDiscoveries, Model};

use self::{
    walk::{Careless, Fleet, two_stages},
    world::Budget,
};

/// Every state, or the first in which something is wrong, by its shortest way.
fn explore(name: &str, fleet: Fleet) -> impl Checker<Fleet> {
    let started = Instant::now();
    let checker = fleet.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    eprintln!(
        "model, {name}: {} states, {} different, {} steps deep, {:.1} s",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f64()
    );
    checker
}

fn holds(name: &str, fleet: Fleet) {
    explore(name, fleet).assert_properties();
}

/// Without one of its rules the model must fail, in one of these ways.
fn fails(name: &str, careless: Careless, how: &[&str], fleet: Fleet) {
    let checker = explore(name, Fleet { careless: Some(careless), ..fleet });
    let (property, path) = checker.discoveries().into_iter().find(|(name, _)| *name != FINISHED).expect("it is found");
    let fault = path.last_state().ghost.fault.unwrap_or(property);
    assert!(how.contains(&fault), "{fault}: {:?}", path.into_actions());
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
    holds("removals", Fleet { budget: Budget { removals: 1, ..Budget::default() }, fair: true, ..Fleet::default() });
}

#[test]
fn an_old_queue_file_brings_no_old_token_to_life() {
    holds("restores", Fleet { budget: Budget { restores: 1, longs: 1, ..Budget::default() }, ..Fleet::default() });
}

#[test]
fn two_stages_hand_on_what_is_done() {
    holds(
        "stages",
        Fleet {
            workers: vec![Role::BUILDER, Role::TESTER],
            workflow: two_stages(),
            budget: Budget { crashes: 1, failures: 1, ..Budget::default() },
            fair: true,
            ..Fleet::default()
        },
    );
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

#[test]
#[ignore = "minutes: run by `make torture`"]
fn model_at_full_size() {
    let more = Budget { crashes: 1, stops: 1, longs: 2, failures: 1, ..Budget::default() };
    holds("crashes and stops", Fleet { budget: more, ..Fleet::default() });
    let hand = Budget { crashes: 1, hands: 1, verbs: 1, ..Budget::default() };
    holds("crashes, hands and commands", Fleet { budget: hand, hands: hands(), fair: true, ..Fleet::default() });
    let restore = Budget { restores: 1, longs: 2, crashes: 1, ..Budget::default() };
    holds("crashes and restores", Fleet { budget: restore, ..Fleet::default() });
    let three = vec![Role::BUILDER; 3];
    let many = Budget { crashes: 1, longs: 1, ..Budget::default() };
    holds("three workers, two tasks", Fleet { workers: three, tasks: 2, budget: many, ..Fleet::default() });
}
