//! What an attempt's outcome does to its task (R10, R19, R20, R22).
//!
//! A result is applied only while its token is the newest and the task still stands where the attempt
//! took it; what a superseded attempt made is noted and nothing else.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Class, Event, EventDraft, Kind, Lease, LeaseChange, Member, Outcome, Plan, QueueLease, RoleRule, Snapshot, Status,
    Task, Workflow, budget, children, decision,
    event::Actor,
    outcome::{Policy, Retry},
    plan::stamp,
    pool, text,
};

/// What an attempt used up, as far as it is known; what is not known is not 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Tokens that the model read, those from its cache included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    /// Tokens that the model wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<u64>,
    /// How many of the tokens read came from its cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// The price as the agent reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Turns of the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
    /// The session's name, by which it can be resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How long it took on the wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The commit at which the work stood when it ended; of a merge, the one that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The tag on a merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The branch of the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

impl Facts {
    /// Notes everything that is known on an event.
    fn on(&self, event: EventDraft) -> EventDraft {
        let known = serde_json::to_value(self).unwrap_or_default();
        let known = known.as_object().cloned().unwrap_or_default();
        known.into_iter().fold(event, |event, (key, value)| event.with(&key, value))
    }

    /// Reads them back from an event of the journal.
    pub fn of(event: &Event) -> Self {
        serde_json::from_value(Value::Object(event.data.clone())).unwrap_or_default()
    }
}

/// Where a settlement sends a task, and what else it says.
struct Verdict {
    to: Status,
    reason: Option<String>,
    charged: bool,
    not_before: Option<DateTime<Utc>>,
    /// Stays on the task for a human, or for the role that takes it over.
    blocked_reason: Option<String>,
    pause: Option<Class>,
    transient: bool,
}

impl Verdict {
    fn to(to: &Status) -> Self {
        Self {
            to: to.clone(),
            reason: None,
            charged: false,
            not_before: None,
            blocked_reason: None,
            pause: None,
            transient: false,
        }
    }

    fn held(to: &Status, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { reason: Some(reason.clone()), blocked_reason: Some(reason), ..Self::to(to) }
    }
}

/// Whether a later claim has made this lease worthless.
pub fn superseded(snapshot: &Snapshot, mine: &Lease) -> bool {
    let other = snapshot.leases.get(&mine.task_id).is_some_and(|held| held.token() != mine.token);
    other || snapshot.highest_token(&mine.task_id) > mine.token
}

/// Settles an attempt: its task, and the pool of its agent.
pub fn decide(
    snapshot: &Snapshot,
    workflow: &Workflow,
    mine: &Lease,
    outcome: &Outcome,
    retry: &Retry,
    facts: &Facts,
) -> Plan {
    if superseded(snapshot, mine) {
        let mut plan = Plan::none();
        let event = EventDraft::new(Kind::AttemptSuperseded, Actor::Worker(mine.owner.clone()))
            .lease(mine)
            .with("outcome", outcome.word())
            .with("newest", snapshot.highest_token(&mine.task_id).0);
        plan.event(facts.on(event));
        return plan;
    }
    snapshot.chain(&mut [
        &mut |seen| on_task(seen, workflow, mine, outcome, retry, facts),
        &mut |seen| pool::settle(seen, mine, outcome),
        &mut |seen| budget::tell(seen, workflow, mine),
        &mut |seen| decision::ask(seen, workflow),
    ])
}

fn on_task(
    snapshot: &Snapshot,
    workflow: &Workflow,
    mine: &Lease,
    outcome: &Outcome,
    retry: &Retry,
    facts: &Facts,
) -> Plan {
    let mut plan = Plan::none();
    let actor = || Actor::Worker(mine.owner.clone());
    let finished = |outcome: &Outcome| facts.on(finished(mine, outcome));
    if snapshot.leases.contains_key(&mine.task_id) {
        plan.leases.push(LeaseChange::Drop(mine.task_id.clone()));
    }
    let (Some(task), Some(rule)) = (snapshot.queue.get(&mine.task_id), workflow.rule(&mine.role)) else {
        plan.event(finished(outcome).with("stands", "gone"));
        return plan;
    };
    if task.status != rule.works {
        // The agent, or a human, has moved the task itself: that stands (R19).
        plan.event(finished(outcome).with("stands", task.status.as_str()));
        if matches!(&task.lease, QueueLease::Ours { token, .. } if *token == mine.token) {
            let event = EventDraft::new(Kind::TaskUpdated, actor()).lease(mine);
            plan.change(&snapshot.now, task, &task.status, &[(Member::Lease, Value::Null)], event);
        }
        return plan;
    }
    let mut plan_children = Vec::new();
    let changed;
    let mut outcome = outcome;
    if let Outcome::Done { tasks, .. } = outcome {
        match children::propose(snapshot, workflow, task, tasks) {
            Ok(new) => plan_children = new,
            Err(reason) => {
                changed = Outcome::failed(Class::Protocol, format!("the proposed tasks cannot be taken: {reason}"));
                outcome = &changed;
            }
        }
    }
    let adapting = workflow.adapts(rule);
    let mut verdict = judge(snapshot, rule, task, mine, outcome, retry, !plan_children.is_empty());
    let adapts = snapshot.history.task(&task.id).map_or(0, |known| known.adapts);
    if verdict.to == rule.failed
        && workflow.taking(&rule.failed).any(|row| workflow.adapts(row))
        && adapts >= retry.adapts
    {
        let reason = verdict.reason.clone().unwrap_or_default();
        let pause = verdict.pause;
        verdict = Verdict::held(&Status::NEEDS_MANUAL, format!("adapted {adapts} times and still: {reason}"));
        verdict.pause = pause;
    }
    let success = matches!(outcome, Outcome::Done { .. } | Outcome::NoChange { .. });
    let mut event = finished(outcome);
    if verdict.charged {
        event = event.with("charged", true);
    }
    if verdict.transient {
        event = event.with("transient", true);
    }
    if adapting && success {
        event = event.with("adapted", true);
    }
    if !success && !matches!(outcome, Outcome::Failed { class, .. } if class.policy() == Policy::Stop) {
        event = event.with("failure", true);
    }
    if let Outcome::Failed { class: Class::BudgetExceeded, .. } = outcome {
        let overran = budget::overran(snapshot, workflow, task, &mine.role, facts);
        event = event.with("overrun", Some(true).filter(|_| overran));
    }
    plan.event(event);
    if let Outcome::NeedsInput { question } = outcome {
        plan.event(decision::question(snapshot, workflow, rule, mine, question));
    }
    apply(snapshot, &mut plan, rule, task, mine, verdict, facts);
    for new in plan_children {
        plan.event(
            EventDraft::new(Kind::TaskCreated, actor())
                .task(&new.task.id)
                .with("to", new.task.status.as_str())
                .with("title", text::cut(&new.task.title, 200))
                .with("parent", mine.task_id.as_str())
                .with("stamped", new.json.contains_key(Member::UpdatedAt.key())),
        );
        plan.add.push(new);
    }
    pause_failing_role(snapshot, &mut plan, mine, retry);
    plan
}

fn finished(mine: &Lease, outcome: &Outcome) -> EventDraft {
    let class = match outcome {
        Outcome::Failed { class, .. } => Some(class.as_str()),
        _ => None,
    };
    EventDraft::new(Kind::AttemptFinished, Actor::Worker(mine.owner.clone()))
        .lease(mine)
        .with("outcome", outcome.word())
        .with("class", class)
        .with("reason", text::cut(outcome.words(), 2_000))
}

fn judge(
    snapshot: &Snapshot,
    rule: &RoleRule,
    task: &Task,
    mine: &Lease,
    outcome: &Outcome,
    retry: &Retry,
    makes_children: bool,
) -> Verdict {
    let seed =
        task.id.as_str().bytes().fold(mine.token.0, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let after =
        |wait: std::time::Duration| Some(snapshot.now.wall + chrono::Duration::from_std(wait).unwrap_or_default());
    match outcome {
        Outcome::Done { .. } | Outcome::NoChange { .. } => {
            let is_parent = || snapshot.queue.children(&task.id).any(|child| child.status != Status::CANCELLED);
            match &rule.done_with_children {
                Some(to) if makes_children || is_parent() => Verdict::to(to),
                _ => Verdict::to(&rule.done),
            }
        }
        Outcome::NeedsAdapt { reason } => Verdict::held(&rule.failed, reason),
        Outcome::Replan { reason } => Verdict::held(rule.replan.as_ref().unwrap_or(&rule.failed), reason),
        Outcome::Blocked { reason } => Verdict::held(&Status::BLOCKED, reason),
        Outcome::NeedsInput { question } => Verdict::held(&Status::NEEDS_MANUAL, format!("the agent asks: {question}")),
        Outcome::Failed { class, reason, retry_at } => {
            let again = Verdict { reason: Some(format!("{class}: {reason}")), ..Verdict::to(&rule.takes) };
            let streak = snapshot.history.task(&task.id).map_or(0, |known| known.transient) + 1;
            match class.policy() {
                Policy::Stop if *class == Class::Cancelled => Verdict::held(&Status::BLOCKED, reason),
                Policy::Stop => again,
                Policy::Auth => Verdict { pause: Some(*class), ..again },
                // The pool waits, not the task: another agent of the role may take it at once.
                Policy::Quota => again,
                Policy::Transient if streak <= retry.transient => {
                    let wait = retry_at.or_else(|| after(retry.wait(streak, seed)));
                    Verdict { transient: true, not_before: wait, ..again }
                }
                Policy::Transient | Policy::Context | Policy::Work => {
                    let attempts = task.attempts + 1;
                    if attempts >= retry.attempts {
                        let words =
                            format!("{} of {} attempts failed, the last: {class}: {reason}", attempts, retry.attempts);
                        return Verdict { charged: true, ..Verdict::held(&rule.failed, words) };
                    }
                    let wait = retry_at.or_else(|| after(retry.wait(attempts, seed)));
                    Verdict { charged: true, not_before: wait, ..again }
                }
            }
        }
    }
}

fn apply(
    snapshot: &Snapshot,
    plan: &mut Plan,
    rule: &RoleRule,
    task: &Task,
    mine: &Lease,
    verdict: Verdict,
    facts: &Facts,
) {
    let actor = || Actor::Worker(mine.owner.clone());
    let mut set: Vec<(Member, Value)> = vec![(Member::Lease, Value::Null)];
    // Attempts are counted per stage; where a stage failed for good, `blocked_reason` says how often it was tried.
    let attempts = match verdict.to == rule.takes {
        true => task.attempts + u32::from(verdict.charged),
        false => 0,
    };
    if attempts != task.attempts {
        set.push((Member::Attempts, attempts.into()));
    }
    if verdict.not_before.is_some() || task.not_before.is_some() {
        set.push((Member::NotBefore, verdict.not_before.map_or(Value::Null, |time| stamp(time).into())));
    }
    let blocked_reason = verdict.blocked_reason.map(|reason| text::cut(&reason, 2_000));
    if blocked_reason.is_some() || task.blocked_reason.is_some() {
        set.push((Member::BlockedReason, blocked_reason.map_or(Value::Null, Value::from)));
    }
    if verdict.to.is_done() {
        set.push((Member::CompletedAt, stamp(snapshot.now.wall).into()));
        // Only what our own code has merged is called merged.
        let merged = [(Member::MergedCommit, &facts.commit), (Member::Tag, &facts.tag)];
        set.extend(merged.into_iter().filter_map(|(member, value)| Some((member, value.as_deref()?.into()))));
    }
    if facts.branch.is_some() && facts.branch != task.branch {
        set.push((Member::Branch, facts.branch.as_deref().into()));
    }
    let reason = verdict.reason.as_deref().map(|reason| text::cut(reason, 2_000));
    let event = EventDraft::new(Kind::TaskMoved, actor()).lease(mine).with("reason", reason.clone());
    plan.change(&snapshot.now, task, &verdict.to, &set, event);
    if let Some(class) = verdict.pause
        && snapshot.history.paused(&mine.role).is_none()
    {
        // The class stands beside it.
        let bare = reason.as_deref().map(|text| text.strip_prefix(&format!("{class}: ")).unwrap_or(text));
        plan.event(
            EventDraft::new(Kind::WorkerPaused, actor())
                .role(&mine.role)
                .with("class", class.as_str())
                .with("reason", bare),
        );
    }
}

/// Different tasks failing one after the other make the environment the suspect (R22).
fn pause_failing_role(snapshot: &Snapshot, plan: &mut Plan, mine: &Lease, retry: &Retry) {
    if retry.pause_after == 0 {
        return;
    }
    let after = snapshot.after(&Plan { events: plan.events.clone(), ..Plan::none() });
    let Some(role) = after.history.roles.get(&mine.role) else { return };
    if role.paused.is_none() && role.failing.len() >= retry.pause_after as usize {
        let tasks: Vec<&str> = role.failing.iter().map(super::TaskId::as_str).collect();
        plan.event(
            EventDraft::new(Kind::WorkerPaused, Actor::Policy("R22".into()))
                .role(&mine.role)
                .with("class", "environment")
                .with(
                    "reason",
                    format!(
                        "{} tasks failed one after the other ({}): suspect the environment",
                        tasks.len(),
                        tasks.join(", ")
                    ),
                ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Held, Holder, LeaseRecord, Role, Token,
        claim::{
            self,
            tests::{claimant, id, task},
        },
        plan::tests::{now_at, snapshot},
    };
    use std::sync::Arc;

    fn flow() -> Workflow {
        Workflow::shipped()
    }

    fn claimed(mut first: Task, role: &Role) -> (Snapshot, Lease) {
        first.status = flow().rule(role).expect("shipped").takes.clone();
        let before = snapshot(vec![first]);
        let (plan, lease) = claim::decide(&before, &flow(), &claimant(role)).expect("a claim");
        (before.after(&plan), lease)
    }

    fn settled(before: &Snapshot, lease: &Lease, outcome: &Outcome) -> Snapshot {
        before.after(&decide(before, &flow(), lease, outcome, &Retry::default(), &Facts::default()))
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
    fn a_superseded_attempt_changes_nothing_but_the_journal() {
        let (mut before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
        let newer = Lease { token: Token(lease.token.0 + 1), ..lease.clone() };
        before.leases.insert(id("A"), Held { record: LeaseRecord::Ours(newer), holder: Holder::Alive });
        let plan = decide(&before, &flow(), &lease, &done(), &Retry::default(), &Facts::default());
        assert!(!plan.touches_queue() && plan.leases.is_empty());
        assert_eq!(plan.events.len(), 1);
        assert_eq!(plan.events[0].kind, Kind::AttemptSuperseded);
    }

    #[test]
    fn a_token_that_only_the_journal_remembers_supersedes_too() {
        let (mut before, lease) = claimed(task("A", Status::READY), &Role::BUILDER);
        Arc::make_mut(&mut before.history).tasks.get_mut(&id("A")).expect("known").token = Token(99);
        assert!(superseded(&before, &lease));
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
    fn passing_trouble_is_free_five_times_in_a_row() {
        let (mut now, mut lease) = claimed(task("A", Status::READY), &Role::BUILDER);
        for round in 1..=6 {
            now = settled(&now, &lease, &Outcome::failed(Class::Network, "unreachable"));
            assert_eq!(only(&now).attempts, u32::from(round > 5), "round {round}");
            now.now = now_at(10_000 * round);
            let (plan, next) = claim::decide(&now, &flow(), &claimant(&Role::BUILDER)).expect("claimed again");
            now = now.after(&plan);
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
        let mut now = claim::tests::with_limit(snapshot(tasks), &Role::BUILDER, 3);
        for round in 0..3 {
            assert_eq!(now.history.paused(&Role::BUILDER), None, "round {round}");
            let (plan, lease) = claim::decide(&now, &flow(), &claimant(&Role::BUILDER)).expect("a claim");
            now = settled(&now.after(&plan), &lease, &Outcome::failed(Class::AgentFailed, "exit status 1"));
        }
        assert_eq!(now.history.paused(&Role::BUILDER).expect("paused").class, "environment");
    }

    #[test]
    fn after_three_adapt_loops_a_human_is_asked() {
        let (mut now, mut lease) = claimed(task("A", Status::READY), &Role::TESTER);
        for _ in 0..3 {
            now = settled(&now, &lease, &Outcome::NeedsAdapt { reason: "red".into() });
            assert_eq!(only(&now).status, Status::NEEDS_ADAPT);
            for role in [Role::REFINER, Role::BUILDER] {
                let (plan, mine) = claim::decide(&now, &flow(), &claimant(&role)).expect("a claim");
                now = settled(&now.after(&plan), &mine, &done());
            }
            let (plan, mine) = claim::decide(&now, &flow(), &claimant(&Role::TESTER)).expect("a claim");
            now = now.after(&plan);
            lease = mine;
        }
        now = settled(&now, &lease, &Outcome::NeedsAdapt { reason: "still red".into() });
        assert_eq!(only(&now).status, Status::NEEDS_MANUAL);
        assert!(only(&now).blocked_reason.as_deref().is_some_and(|reason| reason.contains("still red")));
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
        let plan = decide(&after, &flow(), &lease, &done(), &Retry::default(), &Facts::default());
        assert!(!plan.touches_queue());
        assert_eq!(plan.events.len(), 1);
    }
}
