//! What becomes of a task after each outcome.

use super::*;
use crate::{
    Holder, Kind, LeaseRecord, LeaseState, Now, Role, Task, Token,
    claim::{self},
    policy::Policy,
    tests::{claimant, id, now_at, snapshot, task, with_rule},
};
use std::sync::Arc;

fn flow() -> Workflow {
    Workflow::shipped().under(Policy { merges: true, ..Policy::default() })
}

/// A task whose integration is a merge of ours.
fn branched(status: Status) -> Task {
    Task { branch: Some("feat/A".into()), ..task("A", status) }
}

fn claimed(mut first: Task, role: &Role) -> (Snapshot, Lease) {
    first.status = flow().rule(role).expect("shipped").takes.clone();
    let before = snapshot(vec![first]);
    let (changes, lease) = claim::decide(&before, &flow(), &claimant(role)).expect("a claim");
    (before.after(&changes), lease)
}

fn settled(before: &Snapshot, lease: &Lease, outcome: &Outcome) -> Snapshot {
    before.after(&decide(before, &flow(), lease, outcome, &Retry::default(), &Ended::default()))
}

fn done() -> Outcome {
    Outcome::Done { summary: "did it".into(), tasks: Vec::new() }
}

fn only(snapshot: &Snapshot) -> &Task {
    snapshot.queue.tasks().next().expect("one task")
}

#[test]
fn success_moves_a_task_to_the_next_stage_and_lets_go() {
    for (role, next) in [
        (Role::PLANNER, Status::READY),
        (Role::BUILDER, Status::AWAITING_TEST),
        (Role::TESTER, Status::READY_FOR_INTEGRATOR),
        (Role::REFINER, Status::READY),
        (Role::INTEGRATOR, Status::DONE),
    ] {
        let (before, lease) = claimed(task("A", Status::READY), &role);
        let after = settled(&before, &lease, &done());
        assert_eq!(only(&after).status, next);
        assert_eq!(only(&after).lease, QueueLease::None);
        assert!(after.leases.is_empty());
    }
}

#[test]
fn a_success_mends_what_another_role_sent_back_and_nothing_else() {
    let adapted = |flow: &Workflow, role: &Role, reason: Option<&str>| {
        let rule = flow.rule(role).expect("there").clone();
        let before = snapshot(vec![Task { blocked_reason: reason.map(String::from), ..task("A", rule.takes.clone()) }]);
        let me = claim::Claimant { rule, ..claimant(&Role::BUILDER) };
        let (changes, lease) = claim::decide(&before, flow, &me).expect("a claim");
        let after = before.after(&changes);
        let changes = decide(&after, flow, &lease, &done(), &Retry::default(), &Ended::default());
        let ended = changes.events.iter().find_map(|event| match &event.data {
            Data::AttemptFinished(ended) => Some(ended.adapted),
            _ => None,
        });
        ended.expect("it ended")
    };
    // Who does nothing else, and who builds as well: the reason tells whether it came back.
    assert!(adapted(&flow(), &Role::REFINER, None));
    assert!(!adapted(&flow(), &Role::BUILDER, Some("red")), "nobody sends anything back to it");
    let change = |rule: crate::RoleRule| crate::RoleRule { failed: Status::READY, ..rule };
    let both = with_rule(&Role::TESTER, change);
    assert!(adapted(&both, &Role::BUILDER, Some("red")));
    assert!(!adapted(&both, &Role::BUILDER, None));
}

#[test]
fn a_red_gate_is_charged_and_tried_again_where_an_agent_works() {
    let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let red = Outcome::failed(crate::Class::GateFailed, "the gate `lint` ended with exit status 1");
    let after = settled(&before, &lease, &red);
    assert_eq!((&only(&after).status, only(&after).attempts), (&Status::READY, 1));
}

#[test]
fn another_failure_than_a_red_gate_is_tried_again_also_without_an_agent() {
    let change = |rule: crate::RoleRule| crate::RoleRule {
        duty: crate::Duty { agentless: true, ..rule.duty.clone() },
        ..rule.clone()
    };
    let flow = with_rule(&Role::TESTER, change);
    let before = snapshot(vec![task("A", Status::AWAITING_TEST)]);
    let me = claim::Claimant { rule: flow.rule(&Role::TESTER).expect("there").clone(), ..claimant(&Role::TESTER) };
    let (changes, lease) = claim::decide(&before, &flow, &me).expect("a claim");
    let before = before.after(&changes);
    let failed = Outcome::failed(crate::Class::AgentFailed, "it left no file");
    let after = before.after(&decide(&before, &flow, &lease, &failed, &Retry::default(), &Ended::default()));
    assert_eq!(only(&after).status, Status::AWAITING_TEST);
}

#[test]
fn a_superseded_attempt_changes_nothing_but_the_journal() {
    let (mut before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let newer = Lease { token: Token(lease.token.0 + 1), ..lease.clone() };
    before.leases.insert(id("A"), LeaseState { record: LeaseRecord::Ours(newer), holder: Holder::Alive });
    let report = Ended { session: Some("s".into()), ..Ended::default() };
    let changes = decide(&before, &flow(), &lease, &done(), &Retry::default(), &report);
    assert!(!changes.touches_queue() && changes.leases.is_empty());
    let (outcome, session) = (Some("done".into()), Some("s".into()));
    let ended = Ended { outcome, newest: Some(2), session, ..Ended::default() };
    assert_eq!(changes.events, [EventDraft::of(&lease, Data::AttemptSuperseded(ended))]);
}

#[test]
fn a_token_that_only_the_journal_remembers_supersedes_too() {
    let (mut before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    Arc::make_mut(&mut before.history).known(&id("A")).token = Token(99);
    assert!(before.supersedes(&lease));
}

#[test]
fn what_the_agent_itself_set_stands() {
    let (mut before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    Arc::make_mut(&mut before.queue).edit(&id("A"), |task| task.status = Status::NEEDS_MANUAL);
    let after = settled(&before, &lease, &done());
    assert_eq!(only(&after).status, Status::NEEDS_MANUAL);
    assert_eq!(only(&after).lease, QueueLease::None);
    assert!(after.leases.is_empty());
}

#[test]
fn a_status_that_the_agent_set_is_taken_for_its_word() {
    let itself = "its agent put it back to `ready` itself";
    for (role, set, said, to, reason) in [
        (Role::BUILDER, Status::READY, None, Status::READY, format!("agent_failed: {itself}")),
        (Role::TESTER, Status::NEEDS_ADAPT, Some("red"), Status::NEEDS_ADAPT, "red".into()),
        (
            Role::TESTER,
            Status::NEEDS_ADAPT,
            Some("  "),
            Status::NEEDS_ADAPT,
            "its agent set it to `needs_adapt`".into(),
        ),
        (Role::REFINER, Status::NEEDS_PLAN, Some("too big"), Status::NEEDS_PLAN, "too big".into()),
    ] {
        let (mut before, lease) = claimed(task("A", Status::READY), &role);
        Arc::make_mut(&mut before.queue).edit(&id("A"), |task| {
            (task.status, task.blocked_reason) = (set.clone(), said.map(String::from));
        });
        let changes = decide(&before, &flow(), &lease, &done(), &Retry::default(), &Ended::default());
        assert_eq!(only(&before.after(&changes)).status, to, "{role} {set}");
        let words = changes
            .events
            .iter()
            .filter_map(|event| event.data.members().get("reason")?.as_str().map(String::from))
            .collect::<Vec<_>>();
        assert!(words.contains(&reason), "{role} {set}: {words:?}");
    }
    // What is none of these is checked like the result that came with it.
    let (mut before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    Arc::make_mut(&mut before.queue).edit(&id("A"), |task| task.status = Status::DONE);
    assert_eq!(only(&settled(&before, &lease, &done())).status, Status::AWAITING_TEST);
}

#[test]
fn the_end_of_an_attempt_says_what_became_of_its_task() {
    let ended = |before: &Snapshot, lease: &Lease, outcome: &Outcome| {
        let changes = decide(before, &flow(), lease, outcome, &Retry::default(), &Ended::default());
        let ended = changes.events.into_iter().find_map(|event| match event.data {
            Data::AttemptFinished(ended) => Some(ended),
            _ => None,
        });
        ended.expect("its end is told")
    };
    let set = |status: Status| {
        let (mut before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
        Arc::make_mut(&mut before.queue).edit(&id("A"), |task| task.status = status);
        ended(&before, &lease, &done())
    };
    assert_eq!(set(Status::READY).set_itself.as_deref(), Some("ready"));
    assert_eq!(set(Status::IN_PROGRESS).set_itself, None);
    assert_eq!(set(Status::NEEDS_MANUAL).stands.as_deref(), Some("needs_manual"));
    let (mut gone, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    gone.queue = Arc::default();
    assert_eq!(ended(&gone, &lease, &done()).stands.as_deref(), Some("gone"));

    // A merge that had passed, whatever kept its attempt from saying so.
    let (mut before, lease) = claimed(branched(Status::READY), &Role::INTEGRATOR);
    let lease = Lease { landing: Some("c0ffee".into()), ..lease };
    before.leases.insert(id("A"), LeaseState { record: LeaseRecord::Ours(lease.clone()), holder: Holder::Alive });
    let failed = Outcome::failed(Class::AgentCrashed, "killed");
    assert_eq!(ended(&before, &lease, &failed).landed.as_deref(), Some("c0ffee"));
    assert_eq!(ended(&before, &lease, &done()).landed, None, "it says so itself");
}

#[test]
fn a_task_that_was_deleted_is_not_brought_back() {
    let (mut before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    before.queue = Arc::default();
    let after = settled(&before, &lease, &done());
    assert!(after.queue.is_empty() && after.leases.is_empty());
}

#[test]
fn a_work_failure_is_charged_waits_and_is_tried_again() {
    let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let after = settled(&before, &lease, &Outcome::failed(Class::AgentFailed, "exit status 1"));
    let again = only(&after);
    assert_eq!((again.status.clone(), again.attempts), (Status::READY, 1));
    assert!(again.not_before.is_some_and(|time| time > after.now.wall));
    assert_eq!(after.history.task(&id("A")).expect("known").failures, [(Role::BUILDER, "exit status 1".into())]);
}

#[test]
fn attempts_run_out_into_the_roles_failed_status() {
    let mut first = task("A", Status::READY);
    first.attempts = 2;
    let (before, lease) = claimed(first, &Role::BUILDER);
    let after = settled(&before, &lease, &Outcome::failed(Class::NoEvidence, "no commit"));
    assert_eq!(only(&after).status, Status::NEEDS_ADAPT);
    assert_eq!(only(&after).attempts, 0, "the refiner's stage counts for itself");
    assert!(only(&after).blocked_reason.as_deref().is_some_and(|reason| reason.contains("3 of 3 attempts")));
}

#[test]
fn an_interruption_is_not_charged_and_does_not_wait() {
    let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let after = settled(&before, &lease, &Outcome::failed(Class::Interrupted, "stopping"));
    let again = only(&after);
    assert_eq!((again.status.clone(), again.attempts, again.not_before), (Status::READY, 0, None));
}

#[test]
fn a_human_who_stops_an_attempt_keeps_the_task_from_starting_over() {
    let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let after = settled(&before, &lease, &Outcome::failed(Class::Cancelled, "stopped by human:me: wrong branch"));
    assert_eq!(only(&after).status, Status::BLOCKED);
    assert!(only(&after).blocked_reason.as_deref().is_some_and(|reason| reason.contains("wrong branch")));
}

#[test]
fn what_a_person_was_told_yes_to_holds_whatever_the_attempt_came_to_and_whoever_wrote_over_it() {
    use crate::{event::Actor, external_edits, lease::StopRequest, manual, rescue};
    let me = Actor::Human("me".into());
    let outcomes =
        [done(), Outcome::failed(Class::AgentFailed, "exit 1"), Outcome::failed(Class::Cancelled, "stopped")];
    let written =
        [None, Some(Status::DONE), Some(Status::READY), Some(Status::AWAITING_TEST), Some(Status::NEEDS_MANUAL)];
    let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let before = before.after(&external_edits::decide(&before));
    let cancel = |seen: &Snapshot| manual::cancel(seen, &id("A"), Some("no"), true, &me).expect("it runs");
    let stop = |seen: &Snapshot| manual::stop(seen, &id("A"), "no", &me).expect("it runs");
    let both = before.after(&stop(&before));
    let both = both.after(&cancel(&both));
    let cancelled: &[Status] = &[Status::CANCELLED];
    for (asked, to) in [
        (before.after(&cancel(&before)), cancelled),
        (both, cancelled),
        (before.after(&stop(&before)), &[Status::BLOCKED, Status::NEEDS_MANUAL]),
    ] {
        for written in &written {
            let mut seen = asked.clone();
            if let Some(written) = written {
                Arc::make_mut(&mut seen.queue).edit(&id("A"), |task| task.status = written.clone());
                seen = seen.after(&external_edits::decide(&seen));
            }
            for outcome in &outcomes {
                let after = settled(&seen, &lease, outcome);
                assert!(to.contains(&only(&after).status), "{written:?} {outcome:?}: {}", only(&after).status);
                assert!(after.leases.is_empty());
            }
            let mut dead = seen.clone();
            dead.leases.get_mut(&id("A")).expect("held").holder = Holder::Dead("gone".into());
            let left = rescue::find(&dead, &flow());
            let after = dead.after(&rescue::decide(&dead, &flow(), &Retry::default(), &left, "r@h"));
            assert!(to.contains(&only(&after).status), "{written:?}, dead: {}", only(&after).status);
        }
    }
    let after = settled(&before.after(&stop(&before)), &lease, &outcomes[0]);
    assert_eq!(only(&after).blocked_reason.as_deref(), Some("stopped by human:me: no"));
    let asked = |cancel| StopRequest { actor: String::new(), reason: String::new(), cancel };
    let stands = |status: &Status, cancel| moved::stands(&flow(), status, Some(&asked(cancel)));
    assert!(stands(&Status::NEEDS_MANUAL, false) && !stands(&Status::NEEDS_MANUAL, true));
    assert!(stands(&Status::CANCELLED, true) && !stands(&Status::DONE, false));
    let old: StopRequest = serde_json::from_str(r#"{"actor":"human:me","reason":"no"}"#).expect("an old lease is read");
    assert_eq!(old.to(), Status::BLOCKED);
}

#[test]
fn passing_trouble_is_free_five_times_in_a_row() {
    let (mut now, mut lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    for round in 1..=6 {
        now = settled(&now, &lease, &Outcome::failed(Class::Network, "unreachable"));
        assert_eq!(only(&now).attempts, u32::from(round > 5), "round {round}");
        now.now = now_at(10_000 * round);
        let (changes, next) = claim::decide(&now, &flow(), &claimant(&Role::BUILDER)).expect("claimed again");
        now = now.after(&changes);
        lease = next;
    }
}

#[test]
fn missing_programs_pause_the_role_once_and_cost_nothing() {
    let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let after = settled(&before, &lease, &Outcome::failed(Class::AgentNotFound, "no such program"));
    assert_eq!((only(&after).status.clone(), only(&after).attempts), (Status::READY, 0));
    assert_eq!(after.history.paused(&Role::BUILDER).expect("paused").class, "agent_not_found");
    assert!(matches!(claim::decide(&after, &flow(), &claimant(&Role::BUILDER)), Err(claim::Idle::Paused(_))));
}

#[test]
fn three_tasks_failing_in_a_row_pause_the_role() {
    let tasks = ["A", "B", "C"].map(|name| task(name, Status::READY)).to_vec();
    let mut now = crate::tests::with_limit(snapshot(tasks), &Role::BUILDER, 3);
    for round in 0..3 {
        assert_eq!(now.history.paused(&Role::BUILDER), None, "round {round}");
        let (changes, lease) = claim::decide(&now, &flow(), &claimant(&Role::BUILDER)).expect("a claim");
        now = settled(&now.after(&changes), &lease, &Outcome::failed(Class::AgentFailed, "exit status 1"));
    }
    let pause = now.history.paused(&Role::BUILDER).expect("paused");
    assert_eq!(pause.class, "environment");
    assert!(pause.reason.ends_with("; the last: agent_failed: exit status 1"), "{}", pause.reason);
}

#[test]
fn after_three_adapt_loops_a_human_is_asked() {
    let (mut now, mut lease) = claimed(task("A", Status::READY), &Role::TESTER);
    for _ in 0..3 {
        now = settled(&now, &lease, &Outcome::NeedsAdapt { reason: "red".into() });
        assert_eq!(only(&now).status, Status::NEEDS_ADAPT);
        for role in [Role::REFINER, Role::BUILDER] {
            now.now = later(&now);
            let (changes, mine) = claim::decide(&now, &flow(), &claimant(&role)).expect("a claim");
            now = settled(&now.after(&changes), &mine, &done());
        }
        now.now = later(&now);
        let (changes, mine) = claim::decide(&now, &flow(), &claimant(&Role::TESTER)).expect("a claim");
        now = now.after(&changes);
        lease = mine;
    }
    now = settled(&now, &lease, &Outcome::NeedsAdapt { reason: "still red".into() });
    assert_eq!(only(&now).status, Status::NEEDS_MANUAL);
    assert!(only(&now).blocked_reason.as_deref().is_some_and(|reason| reason.contains("still red")));
}

#[test]
fn a_role_that_cannot_sign_in_pauses_also_when_a_human_is_asked_about_its_task() {
    let mut rules = flow().rules().to_vec();
    let refiner = rules.iter_mut().find(|rule| rule.role == Role::REFINER).expect("shipped");
    // What fails there comes back to it.
    refiner.failed = refiner.takes.clone();
    let flow = Workflow::new(rules).expect("a workflow");
    let (mut now, lease) = claimed(task("A", Status::READY), &Role::REFINER);
    Arc::make_mut(&mut now.history).known(&id("A")).adapts = 3;
    let outcome = Outcome::failed(Class::AuthExpired, "sign in");
    let after = now.after(&decide(&now, &flow, &lease, &outcome, &Retry::default(), &Ended::default()));
    assert_eq!(only(&after).status, Status::NEEDS_MANUAL);
    assert_eq!(after.history.paused(&Role::REFINER).expect("paused").class, "auth_expired");
}

#[test]
fn a_refiner_may_start_over() {
    let (before, lease) = claimed(task("A", Status::READY), &Role::REFINER);
    let after = settled(&before, &lease, &Outcome::Replan { reason: "wrong plan".into() });
    assert_eq!(only(&after).status, Status::NEEDS_PLAN);
}

#[test]
fn a_planner_that_makes_subtasks_completes_planning() {
    let (before, lease) = claimed(task("A", Status::READY), &Role::PLANNER);
    let proposal = serde_json::json!({"title": "first step", "type": "Build"});
    let tasks = vec![proposal.as_object().expect("an object").clone()];
    let after = settled(&before, &lease, &Outcome::Done { summary: String::new(), tasks });
    assert_eq!(only(&after).status, Status::PLANNING_COMPLETE);
    let child = after.queue.find("A-B01").expect("the child");
    assert_eq!((child.status.clone(), child.parent.as_deref()), (Status::READY, Some("A")));
}

#[test]
fn what_a_planner_may_not_say_of_a_task_is_left_out_and_told() {
    for (status, left_out) in [(None, None), (Some("done"), Some(serde_json::json!(["status"])))] {
        let (before, lease) = claimed(task("A", Status::READY), &Role::PLANNER);
        let mut proposal = serde_json::json!({"title": "first step", "type": "Build"});
        if let Some(status) = status {
            proposal["status"] = status.into();
        }
        let tasks = vec![proposal.as_object().expect("an object").clone()];
        let outcome = Outcome::Done { summary: String::new(), tasks };
        let changes = decide(&before, &flow(), &lease, &outcome, &Retry::default(), &Ended::default());
        let created = changes.events.iter().find(|event| event.kind() == Kind::TaskCreated).expect("it is made");
        assert_eq!(created.data.members().get("left_out"), left_out.as_ref());
        assert_eq!(before.after(&changes).queue.find("A-B01").expect("the child").status, Status::READY);
    }
}

#[test]
fn a_merge_that_came_before_its_task_was_put_aside_is_told_on_the_task() {
    let (mut before, lease) = claimed(branched(Status::READY), &Role::INTEGRATOR);
    Arc::make_mut(&mut before.queue).edit(&id("A"), |task| task.status = Status::CANCELLED);
    let usage = Ended { commit: Some("c0ffee".into()), ..Ended::default() };
    let after = before.after(&decide(&before, &flow(), &lease, &done(), &Retry::default(), &usage));
    assert_eq!(only(&after).status, Status::CANCELLED);
    assert!(only(&after).blocked_reason.as_deref().is_some_and(|words| words.starts_with("merged as c0ffee")));
}

#[test]
fn a_question_waits_for_a_human() {
    let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let after = settled(&before, &lease, &Outcome::NeedsInput { question: "v1 or v2?".into() });
    assert_eq!(only(&after).status, Status::NEEDS_MANUAL);
    assert_eq!(only(&after).blocked_reason.as_deref(), Some("the agent asks: v1 or v2?"));
}

#[test]
fn settling_twice_settles_once() {
    let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let after = settled(&before, &lease, &done());
    let changes = decide(&after, &flow(), &lease, &done(), &Retry::default(), &Ended::default());
    assert!(!changes.touches_queue());
    assert_eq!(changes.events.len(), 1);
}

fn later(now: &Snapshot) -> Now {
    Now::new(now.now.wall + chrono::Duration::hours(1), now.now.mono + std::time::Duration::from_secs(3_600))
}

fn conflict() -> Outcome {
    Outcome::Conflict { files: vec!["a.txt".into()], reason: "conflicts in a.txt".into() }
}

/// Claims and settles until the integrator has the task again; every step is a while after the last.
fn back_to_the_merge(mut now: Snapshot) -> (Snapshot, Lease) {
    loop {
        now.now = later(&now);
        let status = only(&now).status.clone();
        let role = flow().taking(&status).next().expect("a role takes it").role.clone();
        let (changes, lease) = claim::decide(&now, &flow(), &claimant(&role)).expect("a claim");
        now = now.after(&changes);
        if role == Role::INTEGRATOR {
            return (now, lease);
        }
        now = settled(&now, &lease, &done());
    }
}

#[test]
fn conflicts_go_to_the_author_twice_then_to_the_refiner_then_to_a_human() {
    let (mut now, mut lease) = back_to_the_merge(snapshot(vec![branched(Status::READY)]));
    for next in [Status::READY, Status::READY, Status::NEEDS_ADAPT] {
        now = settled(&now, &lease, &conflict());
        assert_eq!((only(&now).status.clone(), only(&now).attempts), (next, 0));
        assert_eq!(only(&now).blocked_reason.as_deref(), Some("conflicts in a.txt"));
        let known = now.history.task(&id("A")).expect("known");
        assert_eq!(known.failures.last(), Some(&(Role::INTEGRATOR, "conflicts in a.txt".into())), "for the prompt");
        (now, lease) = back_to_the_merge(now);
    }
    now = settled(&now, &lease, &conflict());
    assert_eq!(only(&now).status, Status::NEEDS_MANUAL);
    assert!(
        only(&now).blocked_reason.as_deref().is_some_and(|reason| reason.starts_with("4 merges ended in conflicts"))
    );
}

#[test]
fn a_human_who_moves_a_task_gives_its_author_two_more_conflicts() {
    let (mut now, mut lease) = back_to_the_merge(snapshot(vec![branched(Status::READY)]));
    for _ in 0..4 {
        now = settled(&now, &lease, &conflict());
        if only(&now).status != Status::NEEDS_MANUAL {
            (now, lease) = back_to_the_merge(now);
        }
    }
    let me = Actor::Human("me".into());
    let changes = crate::manual::retry(&now, &flow(), &id("A"), None, &me).expect("retried");
    now = now.after(&changes);
    assert_eq!(now.history.task(&id("A")).expect("known").conflicts, 0);
}

#[test]
fn without_a_builder_a_conflict_goes_to_whoever_handed_the_task_over() {
    let (now, lease) = back_to_the_merge(snapshot(vec![branched(Status::AWAITING_TEST)]));
    assert_eq!(only(&settled(&now, &lease, &conflict())).status, Status::AWAITING_TEST);
    let (now, lease) = claimed(task("A", Status::READY), &Role::INTEGRATOR);
    assert_eq!(only(&settled(&now, &lease, &conflict())).status, Status::NEEDS_ADAPT, "nobody is known");
}

#[test]
fn what_is_in_the_way_is_waited_for_longer_and_longer_and_never_charged() {
    // A merge starts no agent, so nothing ends it but the end of what it waits for.
    let (mut now, mut lease) = claimed(branched(Status::READY), &Role::INTEGRATOR);
    let mut last = chrono::Duration::zero();
    for round in 1..=20 {
        now = settled(&now, &lease, &Outcome::Waits { reason: "commit your changes".into() });
        let waiting = only(&now);
        assert_eq!((waiting.status.clone(), waiting.attempts), (Status::READY_FOR_INTEGRATOR, 0), "round {round}");
        let wait = waiting.not_before.expect("a time") - now.now.wall;
        assert!(wait > last || wait.num_seconds() >= 240, "round {round}: {wait} after {last}");
        last = wait;
        let why = crate::tests::explain(&now, &flow(), waiting).sentence;
        assert!(why.contains("is tried again") && why.contains("commit your changes"), "{why}");
        assert!(now.history.task(&id("A")).expect("known").failures.is_empty(), "no failure of the task");
        now.now = now_at(10_000 * round);
        let (changes, next) = claim::decide(&now, &flow(), &claimant(&Role::INTEGRATOR)).expect("claimed again");
        (now, lease) = (now.after(&changes), next);
    }
}

#[test]
fn why_says_that_a_task_came_back_from_its_merge() {
    let (now, lease) = back_to_the_merge(snapshot(vec![branched(Status::READY)]));
    let changes = decide(&now, &flow(), &lease, &conflict(), &Retry::default(), &Ended::default());
    assert_eq!(changes.events[0].data.members()["files"], serde_json::json!(["a.txt"]), "the journal names them");
    let now = now.after(&changes);
    let why = crate::tests::explain(&now, &flow(), only(&now)).sentence;
    assert!(why.ends_with("; it came back from its merge: conflicts in a.txt"), "{why}");
}

#[test]
fn a_providers_trouble_is_nothing_that_the_next_attempt_is_told() {
    for class in [Class::RateLimited, Class::AuthExpired, Class::Interrupted, Class::Overloaded] {
        let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
        let after = settled(&before, &lease, &Outcome::failed(class, "x"));
        assert_eq!(after.history.task(&id("A")).expect("known").failures, [], "{class}");
    }
}

#[test]
fn a_transient_failure_waits_and_says_why() {
    let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let changes = decide(
        &before,
        &flow(),
        &lease,
        &Outcome::failed(Class::Overloaded, "529"),
        &Retry::default(),
        &Ended::default(),
    );
    let moved = changes.events.iter().find(|event| event.kind() == Kind::TaskMoved).expect("moved");
    assert_eq!(moved.data.members()["reason"], "overloaded: 529");
    assert!(only(&before.after(&changes)).not_before.is_some_and(|time| time > before.now.wall));
}

#[test]
fn the_last_attempt_is_charged_like_those_before_it() {
    for attempts in [0, 2] {
        let mut first = task("A", Status::READY);
        first.attempts = attempts;
        let (before, lease) = claimed(first, &Role::BUILDER);
        let failed = Outcome::failed(Class::AgentFailed, "x");
        let changes = decide(&before, &flow(), &lease, &failed, &Retry::default(), &Ended::default());
        let finished = changes.events.iter().find(|event| event.kind() == Kind::AttemptFinished).expect("finished");
        assert_eq!(finished.data.members().get("charged"), Some(&true.into()), "after {attempts}");
    }
}

#[test]
fn what_waits_is_tried_again_later_and_later() {
    let (mut before, lease) = claimed(task("A", Status::READY_FOR_INTEGRATOR), &Role::INTEGRATOR);
    let retry = Retry::default();
    let mut last = chrono::Duration::zero();
    for waits in [0, 2, 4] {
        Arc::make_mut(&mut before.history).known(&id("A")).waits = waits;
        let after = settled(&before, &lease, &Outcome::Waits { reason: "busy".into() });
        let wait = only(&after).not_before.expect("it waits") - before.now.wall;
        assert!(wait > last, "{wait} after {waits}");
        let expected = chrono::Duration::from_std(retry.wait(waits + 1, seed(&lease))).expect("a time");
        assert_eq!(wait.num_milliseconds() / 1_000, expected.num_milliseconds() / 1_000);
        last = wait;
    }
}

#[test]
fn a_word_that_is_written_over_is_kept_with_its_reason() {
    use crate::{event::Actor, external_edits, manual};
    let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let me = Actor::Human("me".into());
    let mut seen = before.after(&manual::cancel(&before, &id("A"), Some("not needed"), true, &me).expect("it runs"));
    Arc::make_mut(&mut seen.queue).edit(&id("A"), |task| task.status = Status::READY);
    let seen = seen.after(&external_edits::decide(&seen));
    let changes = decide(&seen, &flow(), &lease, &done(), &Retry::default(), &Ended::default());
    let event = changes.events.iter().find(|event| event.kind() == Kind::TaskMoved).expect("it moves");
    assert_eq!(
        (&event.data.members()["to"], &event.data.members()["reason"]),
        (&"cancelled".into(), &"stopped by human:me: not needed".into())
    );
}

#[test]
fn what_was_in_the_way_before_an_agent_was_started_was_no_start() {
    let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
    let starts = |now: &Snapshot| (only(now).starts, now.starts(only(now), &flow().policy().bounds));
    assert_eq!(starts(&before), (1, 1));
    let after = settled(&before, &lease, &Outcome::Waits { reason: "busy".into() });
    assert_eq!(starts(&after), (0, 0));
    // A merge starts no agent, so there is nothing to take back.
    let (before, lease) = claimed(Task { starts: 3, ..branched(Status::READY) }, &Role::INTEGRATOR);
    let after = settled(&before, &lease, &Outcome::Waits { reason: "busy".into() });
    assert_eq!((only(&before).starts, only(&after).starts), (3, 3));
}

#[test]
fn what_an_agent_was_started_for_counts_as_a_start_however_it_ends() {
    for outcome in [done(), Outcome::failed(Class::AgentFailed, "exit 1"), Outcome::failed(Class::Interrupted, "term")]
    {
        let (before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
        assert_eq!((only(&before).starts, only(&settled(&before, &lease, &outcome)).starts), (1, 1), "{outcome:?}");
    }
}

/// As the verdict makes it.
fn seed(lease: &Lease) -> u64 {
    lease.task_id.as_str().bytes().fold(lease.token.0, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()))
}

#[test]
fn children_that_were_cancelled_are_none() {
    for (status, next) in [(Status::CANCELLED, Status::READY), (Status::READY, Status::PLANNING_COMPLETE)] {
        let mut child = task("B", status);
        child.parent = Some("A".into());
        let before = snapshot(vec![task("A", Status::NEEDS_PLAN), child]);
        let (changes, lease) = claim::decide(&before, &flow(), &claimant(&Role::PLANNER)).expect("a claim");
        let after = settled(&before.after(&changes), &lease, &done());
        assert_eq!(only(&after).status, next);
    }
}

#[test]
fn the_branch_of_the_work_is_written_once_and_never_taken_away() {
    let branch = |known: Option<&str>, made: Option<&str>| {
        let mut first = task("A", Status::READY);
        first.branch = known.map(String::from);
        let (before, lease) = claimed(first, &Role::BUILDER);
        let usage = Ended { branch: made.map(String::from), ..Ended::default() };
        let changes = decide(&before, &flow(), &lease, &done(), &Retry::default(), &usage);
        let sets = changes.edits.iter().any(|edit| edit.set.contains_key(&Member::Branch));
        (only(&before.after(&changes)).branch.clone(), sets)
    };
    assert_eq!(branch(None, Some("feat/a")), (Some("feat/a".into()), true));
    assert_eq!(branch(Some("feat/a"), Some("feat/a")), (Some("feat/a".into()), false));
    assert_eq!(branch(Some("feat/a"), None), (Some("feat/a".into()), false));
    assert_eq!(branch(None, None), (None, false));
}

#[test]
fn only_what_is_done_is_called_merged_and_only_what_was_counted_is_given_back() {
    let sets = |role: &Role, outcome: &Outcome, report: &Ended| {
        let (mut before, lease) = claimed(task("A", Status::READY), role);
        // Somebody took the count out of the file.
        Arc::make_mut(&mut before.queue).edit(&id("A"), |task| task.starts = 0);
        let changes = decide(&before, &flow(), &lease, outcome, &Retry::default(), report);
        let members = [Member::MergedCommit, Member::Tag, Member::Starts];
        members.map(|member| changes.edits.iter().any(|edit| edit.set.contains_key(&member)))
    };
    let merged = Ended { commit: Some("c0ffee".into()), tag: Some("A-complete".into()), ..Ended::default() };
    assert_eq!(sets(&Role::INTEGRATOR, &done(), &merged), [true, true, false]);
    assert_eq!(sets(&Role::INTEGRATOR, &done(), &Ended::default()), [false; 3]);
    assert_eq!(sets(&Role::BUILDER, &done(), &merged), [false; 3], "a builder merges nothing");
    assert_eq!(sets(&Role::BUILDER, &Outcome::failed(Class::UsageLimit, "used up"), &Ended::default()), [false; 3]);
}
