//! Which task is claimed, and why none.

use super::*;
use crate::{
    Holder, LeaseRecord, LeaseState, Role, Status, Token,
    event::Actor,
    tests::{claimant, id, now_at, snapshot, task, with_limit},
};
use std::sync::Arc;

fn claim(snapshot: &Snapshot) -> Result<String, Idle> {
    decide(snapshot, &Workflow::shipped(), &claimant(&Role::BUILDER)).map(|(_, lease)| lease.task_id.to_string())
}

#[test]
fn the_smallest_priority_goes_first_then_the_place_in_the_file() {
    let mut tasks = vec![task("A", Status::READY), task("B", Status::READY), task("C", Status::READY)];
    tasks[1].priority = 1;
    tasks[2].priority = 1;
    assert_eq!(claim(&snapshot(tasks)), Ok("B".into()));
}

/// `A` is there for nobody; `C` waits for `B`, and the urgent `D` for `C`.
fn urgent_behind_others() -> Vec<Task> {
    let mut tasks: Vec<Task> = ["A", "B", "C", "D"].map(|name| task(name, Status::READY)).into();
    (tasks[0].priority, tasks[1].priority, tasks[2].priority, tasks[3].priority) = (3, 9, 5, 1);
    (tasks[2].dependencies, tasks[3].dependencies) = (vec!["B".into()], vec!["C".into()]);
    tasks
}

#[test]
fn what_an_urgent_task_waits_for_is_as_urgent() {
    let before = snapshot(urgent_behind_others());
    let flow = Workflow::shipped();
    assert_eq!(claim(&before), Ok("B".into()));
    let rule = claimant(&Role::BUILDER).rule;
    let names: Vec<&str> = candidates(&before, &flow, &rule).iter().map(|task| task.id.as_str()).collect();
    assert_eq!(names, ["B", "A"], "it says what the claim does");
    let why = |name: &str| crate::tests::explain(&before, &flow, before.queue.find(name).expect("there")).sentence;
    let urged = "; it goes before others because D (priority 1) waits for it";
    assert!(why("B").ends_with(urged) && !why("A").contains("before others"), "{} {}", why("A"), why("B"));
}

#[test]
fn who_is_finished_urges_nobody_and_a_circle_ends() {
    let mut tasks = urgent_behind_others();
    tasks[3].status = Status::CANCELLED;
    assert_eq!(claim(&snapshot(tasks)), Ok("A".into()));
    let mut tasks = urgent_behind_others();
    tasks[2].dependencies.push("D".into());
    let before = snapshot(tasks);
    let rank = |name: &str| before.queue.rank(before.queue.find(name).expect("there")).0;
    assert_eq!(["A", "B", "C", "D"].map(rank), [3, 1, 1, 1]);
    let mut later = before.clone();
    Arc::make_mut(&mut later.queue).edit(&id("D"), |task| task.priority = 8);
    assert_eq!(claim(&later), Ok("A".into()), "what was worked out before an edit is let go");
}

#[test]
fn a_claim_takes_task_and_lease_in_one_plan() {
    let before = snapshot(vec![task("A", Status::READY)]);
    let (changes, lease) = decide(&before, &Workflow::shipped(), &claimant(&Role::BUILDER)).expect("a claim");
    let after = before.after(&changes);
    let claimed = after.queue.get(&id("A")).expect("there");
    assert_eq!(claimed.status, Status::IN_PROGRESS);
    assert_eq!(claimed.agent.as_deref(), Some("builder"));
    assert_eq!(claimed.lease, QueueLease::Ours { owner: "w@h".into(), token: Token(1) });
    assert_eq!(after.leases[&id("A")].ours(), Some(&lease));
    assert_eq!(after.history.task(&id("A")).expect("known").token, Token(1));
}

#[test]
fn a_claim_of_a_merge_knows_what_a_dead_integrator_had_merged() {
    let landing = |role: &Role| {
        let mut one = task("A", claimant(role).rule.takes);
        one.branch = Some("feat/A".into());
        let mut before = snapshot(vec![one]);
        Arc::make_mut(&mut before.history).known(&id("A")).landed = Some("c0ffee".into());
        decide(&before, &Workflow::shipped(), &claimant(role)).expect("a claim").1.landing
    };
    assert_eq!(landing(&Role::INTEGRATOR).as_deref(), Some("c0ffee"));
    assert_eq!(landing(&Role::BUILDER), None, "it merges nothing");
}

#[test]
fn a_claim_tells_who_works_and_as_what() {
    for (role, merge) in [(Role::BUILDER, false), (Role::INTEGRATOR, true)] {
        let rule = claimant(&role).rule;
        let mut first = task("A", rule.takes.clone());
        (first.branch, first.attempts) = (Some("feat/A".into()), 1);
        let offer = Offer { by: "sim".into(), pool: "sim/me/m".into(), simulated: true };
        let me = Claimant { agents: vec![offer], ..claimant(&role) };
        let (changes, lease) = decide(&snapshot(vec![first.clone()]), &Workflow::shipped(), &me).expect("a claim");
        let told = Claimed {
            owner: Some("w@h".into()),
            ttl_seconds: Some(rule.ttl.as_secs()),
            by: Some("sim".into()),
            pool: Some("sim/me/m".into()),
            origin: Some(first.origin()),
            merge,
            ..Claimed::default()
        };
        let event = EventDraft {
            data: Data::LeaseAcquired(told),
            actor: Actor::Worker("w@h".into()),
            task: Some(id("A")),
            role: Some(role),
            attempt: Some(2),
            token: Some(Token(1)),
            simulated: true,
        };
        assert_eq!(changes.events[0], event);
        let said = (lease.attempt, lease.by.as_str(), lease.pool.as_str(), lease.simulated, lease.probe);
        assert_eq!(said, (2, "sim", "sim/me/m", true, false));
    }
}

#[test]
fn other_statuses_are_not_claimed() {
    for status in [Status::NEEDS_PLAN, Status::DONE, Status::BLOCKED, Status::CANCELLED, Status::new("odd")] {
        assert_eq!(claim(&snapshot(vec![task("A", status)])), Err(Idle::Nothing));
    }
}

#[test]
fn a_dependency_that_is_not_done_holds() {
    let mut tasks = vec![task("A", Status::READY), task("B", Status::IN_PROGRESS)];
    tasks[0].dependencies = vec!["B".into()];
    let before = with_limit(snapshot(tasks), &Role::BUILDER, 2);
    assert_eq!(claim(&before), Err(Idle::Waiting { tasks: 1, until: None }));
    let mut done = before.clone();
    Arc::make_mut(&mut done.queue).edit(&id("B"), |task| task.status = Status::COMPLETED);
    assert_eq!(claim(&done), Ok("A".into()));
}

#[test]
fn not_before_holds_until_then() {
    let mut tasks = vec![task("A", Status::READY)];
    let until = now_at(1_060).wall;
    tasks[0].not_before = Some(until);
    let mut before = snapshot(tasks);
    assert_eq!(claim(&before), Err(Idle::Waiting { tasks: 1, until: Some(until) }));
    before.now = now_at(1_060);
    assert_eq!(claim(&before), Ok("A".into()));
}

#[test]
fn the_limit_counts_working_tasks_of_the_role_only() {
    let tasks = vec![task("A", Status::READY), task("B", Status::TESTING), task("C", Status::PLANNING)];
    assert_eq!(claim(&snapshot(tasks.clone())), Ok("A".into()));
    let mut full = tasks;
    full.push(task("D", Status::IN_PROGRESS));
    assert_eq!(claim(&snapshot(full)), Err(Idle::Full { wip: 1, limit: 1 }));
}

#[test]
fn a_lease_on_a_task_that_has_moved_on_still_counts() {
    let mut before = snapshot(vec![task("A", Status::READY), task("B", Status::AWAITING_TEST)]);
    let lease = crate::tests::lease("B", &Role::BUILDER, 1);
    before.leases.insert(id("B"), LeaseState { record: LeaseRecord::Ours(lease), holder: Holder::Alive });
    assert_eq!(claim(&before), Err(Idle::Full { wip: 1, limit: 1 }));
}

#[test]
fn leases_of_other_roles_are_none_of_its_limit() {
    let mut before = snapshot(vec![task("A", Status::READY), task("B", Status::READY_FOR_INTEGRATOR)]);
    let lease = crate::tests::lease("B", &Role::TESTER, 1);
    before.leases.insert(id("B"), LeaseState { record: LeaseRecord::Ours(lease), holder: Holder::Alive });
    assert_eq!(wip(&before, &claimant(&Role::BUILDER).rule), 0);
    assert_eq!(wip(&before, &claimant(&Role::TESTER).rule), 1);
    assert_eq!(claim(&before), Ok("A".into()));
}

#[test]
fn the_candidates_stand_in_the_order_in_which_they_will_be_claimed() {
    let mut tasks = vec![task("A", Status::READY), task("B", Status::READY), task("C", Status::TESTING)];
    tasks.push(task("D", Status::READY));
    tasks[1].priority = 1;
    tasks[3].not_before = Some(now_at(2_000).wall);
    let before = snapshot(tasks);
    let (rule, flow) = (claimant(&Role::BUILDER).rule, Workflow::shipped());
    let names: Vec<&str> = candidates(&before, &flow, &rule).iter().map(|task| task.id.as_str()).collect();
    assert_eq!(names, ["B", "A"]);
}

#[test]
fn the_try_is_counted_from_those_that_were_charged() {
    let mut tasks = vec![task("A", Status::READY)];
    for (charged, attempt) in [(0, 1), (2, 3), (u32::MAX, u32::MAX)] {
        tasks[0].attempts = charged;
        let before = snapshot(tasks.clone());
        let (_, lease) = decide(&before, &Workflow::shipped(), &claimant(&Role::BUILDER)).expect("a claim");
        assert_eq!(lease.attempt, attempt);
    }
}

#[test]
fn a_token_that_nobody_can_have_reached_does_not_count() {
    for (made_up, token) in [(u64::MAX, 1), (u64::MAX >> 1, 1), ((1 << 40) + 1, 1), (1 << 40, (1 << 40) + 1)] {
        let mut tasks = vec![task("A", Status::READY)];
        tasks[0].lease = QueueLease::from_text(&format!("evil@h#{made_up}"));
        let (_, lease) = decide(&snapshot(tasks), &Workflow::shipped(), &claimant(&Role::BUILDER)).expect("a claim");
        assert_eq!(lease.token, Token(token));
    }
}

#[test]
fn every_reason_to_be_idle_is_said() {
    let until = now_at(0).wall;
    for (idle, words) in [
        (Idle::Full { wip: 2, limit: 1 }, "WIP limit reached (2 of 1)"),
        (Idle::Waiting { tasks: 3, until: Some(until) }, "3 waiting, none claimable yet"),
        (Idle::Nothing, "nothing to do"),
    ] {
        assert_eq!(idle.to_string(), words);
    }
}

#[test]
fn a_limit_of_zero_stops_a_role() {
    let before = with_limit(snapshot(vec![task("A", Status::READY)]), &Role::BUILDER, 0);
    assert_eq!(claim(&before), Err(Idle::Full { wip: 0, limit: 0 }));
    let mut me = claimant(&Role::BUILDER);
    me.ignore_wip = true;
    assert!(decide(&before, &Workflow::shipped(), &me).is_ok());
}

#[test]
fn tokens_grow_over_queue_lease_and_journal() {
    let mut tasks = vec![task("A", Status::READY)];
    tasks[0].lease = QueueLease::from_text("old@h#41");
    let before = snapshot(tasks);
    let (_, lease) = decide(&before, &Workflow::shipped(), &claimant(&Role::BUILDER)).expect("a claim");
    assert_eq!(lease.token, Token(42));
}

#[test]
fn a_text_in_the_lease_member_that_is_not_ours_is_respected() {
    let mut tasks = vec![task("A", Status::READY)];
    tasks[0].lease = QueueLease::from_text("bob works on this");
    assert_eq!(claim(&snapshot(tasks)), Err(Idle::Waiting { tasks: 1, until: None }));
}

#[test]
fn an_inline_lease_holds_until_its_own_ttl_is_over() {
    let mut tasks = vec![task("A", Status::READY)];
    tasks[0].lease = QueueLease::Inline { owner: "planner".into(), until: Some(now_at(1_001).wall) };
    let mut before = snapshot(tasks);
    assert!(claim(&before).is_err());
    before.now = now_at(1_001);
    assert_eq!(claim(&before), Ok("A".into()));
}

#[test]
fn a_task_for_one_role_is_not_taken_by_another() {
    let mut tasks = vec![task("A", Status::READY)];
    tasks[0].role = Some("refiner".into());
    assert!(claim(&snapshot(tasks)).is_err());
}

#[test]
fn a_merge_waits_for_no_quota_tries_none_and_opens_none() {
    use crate::pool;
    let mut before = snapshot(vec![task("A", Status::READY_FOR_INTEGRATOR)]);
    let me = claimant(&Role::INTEGRATOR);
    let closed = crate::state::pools::ClosedPool {
        until: now_at(9_000).wall,
        since: now_at(0).wall,
        class: "usage_limit".into(),
        reason: String::new(),
        limits: 1,
    };
    Arc::make_mut(&mut before.history).pools.closed.insert("cmd".into(), closed);
    assert!(matches!(decide(&before, &Workflow::shipped(), &me), Err(Idle::Limited(_))));
    let said = |before: &Snapshot| {
        crate::tests::explain(before, &Workflow::shipped(), before.queue.get(&id("A")).expect("there")).sentence
    };
    let told = crate::state::RoleHistory { pools: vec!["cmd".into()], ..Default::default() };
    Arc::make_mut(&mut before.history).roles.insert(Role::INTEGRATOR, told);
    assert!(said(&before).contains("no agent of `integrator` can work"), "{}", said(&before));
    Arc::make_mut(&mut before.queue).edit(&id("A"), |task| task.branch = Some("feat/A".into()));
    assert!(said(&before).contains("takes it next"), "{}", said(&before));
    for at in [1_000, 9_000] {
        before.now = now_at(at);
        let (changes, lease) = decide(&before, &Workflow::shipped(), &me).expect("a claim");
        assert!(!lease.probe);
        let done = crate::Outcome::Done { summary: String::new(), tasks: Vec::new() };
        assert!(pool::settle(&before.after(&changes), &Workflow::shipped(), &lease, &done).events.is_empty());
    }
}

#[test]
fn a_task_whose_agents_were_started_often_waits_for_its_time_and_then_for_a_person() {
    let (flow, mine) = (Workflow::shipped(), claimant(&Role::BUILDER));
    let bounds = flow.policy().bounds;
    let mut now = snapshot(vec![task("A", Status::READY)]);
    for starts in 1..=bounds.starts {
        let (changes, _) = decide(&now, &flow, &mine).expect("a claim");
        now = now.after(&changes);
        // It comes back by whatever way, and nobody is charged.
        now.leases.clear();
        Arc::make_mut(&mut now.queue).edit(&id("A"), |task| {
            (task.status, task.lease) = (Status::READY, QueueLease::None);
        });
        let held = |now: &Snapshot| obstacle(now, &flow, &mine.rule, now.queue.find("A").expect("there"));
        let wall = now.now.wall;
        match held(&now) {
            None => assert!(starts <= bounds.starts.div_ceil(2), "after {starts}"),
            Some(Obstacle::Paced(until, told)) => {
                assert!(told == starts && until > wall, "after {starts}: {until}");
                let mut at = |wall| {
                    now.now = crate::Now::new(wall, now.now.mono);
                    held(&now)
                };
                assert!(at(until - chrono::Duration::milliseconds(1)).is_some());
                // Whose clock was put back is not held for longer.
                assert_eq!(at(wall - chrono::Duration::days(1)), None);
                assert_eq!(at(until), None);
            }
            other => assert_eq!((other, starts), (Some(Obstacle::Spent(bounds.starts)), bounds.starts)),
        }
    }
    assert!(decide(&now, &flow, &mine).is_err());
}

#[test]
fn a_claim_is_told_with_the_name_of_its_run_if_it_has_one() {
    let mut lease = crate::tests::lease("A", &Role::BUILDER, 7);
    assert_eq!(Claimed::from(&lease).run, None);
    lease.run = "7-beefbeef".into();
    assert_eq!(Claimed::from(&lease).run.as_deref(), Some("7-beefbeef"));
}
