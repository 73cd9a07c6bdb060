//! Leases of those who are no workers of ours: a person, or an agent that somebody runs by hand.
//!
//! They are claimed by the rules of every claim, have a token greater than all before it, and live by their own wall
//! clock, since nothing proves their holder alive.

use std::time::Duration;

use serde_json::Value;

use super::{Answer, Refusal, find, free, refusal::leased};
use crate::{
    ChangeSet, Data, Edit, EventDraft, ForeignLease, LeaseChange, LeaseRecord, Member, RoleRule, Snapshot, Status,
    TaskId, Token, Workflow, claim,
    event::{
        Actor,
        payload::{Claimed, Rescued},
    },
    external_edits,
    lease::LONGEST,
    succession,
    why::Explainer,
};

/// Gives somebody a task for a time, as a claim of the role would take it.
pub fn acquire(
    snapshot: &Snapshot,
    workflow: &Workflow,
    id: &TaskId,
    rule: &RoleRule,
    owner: &str,
    ttl: Option<Duration>,
    actor: &Actor,
) -> Answer {
    let task = find(snapshot, id)?;
    free(snapshot, task)?;
    let limit = workflow.wip_limit(&snapshot.queue, &rule.role);
    let is_stopped = external_edits::behind(snapshot).is_some()
        || succession::is_over(snapshot)
        || snapshot.history.paused(&rule.role).is_some();
    let is_claimable = task.status == rule.takes
        && snapshot.queue.is_free(task)
        && claim::obstacle(snapshot, workflow, rule, task).is_none();
    if is_stopped || !is_claimable {
        let why = match task.status == rule.takes {
            true => Explainer::new(snapshot, workflow).briefly(task).sentence,
            false => format!("it is `{}`, and a {} takes what is `{}`", task.status, rule.role, rule.takes),
        };
        return Err(Refusal::NotClaimable { task: id.clone(), why });
    }
    let wip = claim::wip(snapshot, rule);
    if wip >= limit {
        let why = format!("the role {} works on {wip} of {limit} tasks", rule.role);
        return Err(Refusal::NotClaimable { task: id.clone(), why });
    }
    let longest = LONGEST.to_std().unwrap_or_default();
    let ttl = ttl.unwrap_or(rule.ttl).min(longest);
    let (token, now) = (snapshot.highest_token(id).next(), snapshot.now.wall);
    let lease = ForeignLease {
        task_id: id.clone(),
        owner: owner.into(),
        role: Some(rule.role.clone()),
        token: Some(token),
        until: None,
        started_at: Some(now),
        ttl: Some(ttl),
    }
    .beaten(now);
    let claimed = Claimed {
        owner: Some(owner.into()),
        ttl_seconds: Some(ttl.as_secs()),
        origin: Some(task.origin()),
        ..Claimed::default()
    };
    let said = |event: EventDraft| EventDraft { token: Some(token), ..event.task(id).role(&rule.role) };
    let mut changes = ChangeSet::none();
    changes.leases.push(LeaseChange::Lend(lease));
    changes.event(said(EventDraft::new(Data::LeaseAcquired(claimed), actor.clone())));
    let edit = Edit::by(actor.clone())
        .verb("acquire")
        .role(Some(&rule.role))
        .to(&rule.works)
        .set(Member::Agent, rule.role.as_str())
        .set(Member::Lease, format!("{owner}#{token}"))
        .set_if(task.not_before.is_some(), Member::NotBefore, Value::Null);
    changes.change(&snapshot.now, task, edit);
    Ok(changes)
}

/// Returns a lease that was given by [`acquire`], if this token is still the one that counts.
fn lent<'a>(snapshot: &'a Snapshot, id: &TaskId, token: Token) -> Result<&'a ForeignLease, Refusal> {
    let superseded = || Refusal::Superseded { task: id.clone(), token: token.0, newest: snapshot.highest_token(id).0 };
    match snapshot.leases.get(id) {
        Some(held) => match &held.record {
            LeaseRecord::Foreign(lease) if lease.token == Some(token) => {
                if snapshot.highest_token(id) > token {
                    Err(superseded())
                } else {
                    Ok(lease)
                }
            }
            _ if held.token() == token => Err(leased(snapshot, id, held)),
            _ => Err(superseded()),
        },
        None => Err(superseded()),
    }
}

/// Renews such a lease.
pub fn beat(snapshot: &Snapshot, id: &TaskId, token: Token) -> Answer {
    let lease = lent(snapshot, id, token)?.beaten(snapshot.now.wall);
    Ok(ChangeSet { leases: vec![LeaseChange::Lend(lease)], ..ChangeSet::none() })
}

/// Gives such a lease back; the task goes to where it was taken from, or on to this status, which its role may reach.
pub fn give_back(
    snapshot: &Snapshot,
    workflow: &Workflow,
    id: &TaskId,
    token: Token,
    to: Option<&Status>,
    actor: &Actor,
) -> Answer {
    let lease = lent(snapshot, id, token)?;
    let mut changes = ChangeSet::none();
    changes.leases.push(LeaseChange::Drop(id.clone()));
    let said = Rescued {
        owner: Some(lease.owner.clone()),
        reason: Some("its owner gave it back".into()),
        died: Some(false),
        ..Rescued::default()
    };
    let event = EventDraft::new(Data::LeaseRescued(said), actor.clone()).task(id);
    changes.event(EventDraft { role: lease.role.clone(), token: Some(token), ..event });
    let Some(task) = snapshot.queue.get(id) else { return Ok(changes) };
    let rule = workflow.working(&task.status);
    let reachable: Vec<Status> = rule
        .into_iter()
        .flat_map(|rule| {
            [
                Some(&rule.takes),
                Some(&rule.done),
                Some(&rule.failed),
                rule.done_with_children.as_ref(),
                rule.replan.as_ref(),
            ]
        })
        .flatten()
        .cloned()
        .collect();
    let to = match (to, rule) {
        (Some(to), Some(_)) if !reachable.contains(to) => {
            let (task, from) = (id.clone(), task.status.clone());
            return Err(Refusal::Illegal { task, from, to: to.clone(), legal: reachable });
        }
        (Some(to), Some(_)) => to,
        (_, Some(rule)) => &rule.takes,
        // Somebody has moved it on meanwhile; that stands.
        (_, None) => &task.status,
    };
    let edit = Edit::by(actor.clone()).verb("release").role(lease.role.as_ref()).to(to).set(Member::Lease, Value::Null);
    changes.change(&snapshot.now, task, edit.reason("its owner gave it back"));
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{id, snapshot, task, with_limit};
    use crate::{LeaseState, Role, lease::LeaseHealth};

    fn actor() -> Actor {
        Actor::Human("ada".into())
    }

    fn builder() -> RoleRule {
        Workflow::shipped().rule(&Role::BUILDER).expect("shipped").clone()
    }

    fn taken(before: &Snapshot, name: &str) -> Answer {
        acquire(before, &Workflow::shipped(), &id(name), &builder(), "ada", Some(Duration::from_secs(600)), &actor())
    }

    fn held(all: &Snapshot) -> LeaseState {
        all.leases.get(&id("A")).expect("held").clone()
    }

    #[test]
    fn a_lease_is_given_as_a_claim_would_take_the_task_and_lives_by_its_own_clock() {
        let before = snapshot(vec![task("A", Status::READY), task("B", Status::READY)]);
        let after = before.after(&taken(&before, "A").expect("given"));
        assert_eq!(after.queue.get(&id("A")).map(|task| task.status.clone()), Some(Status::IN_PROGRESS));
        assert_eq!((held(&after).token(), held(&after).health(&after.now)), (Token(1), LeaseHealth::Live));
        assert!(matches!(taken(&after, "A"), Err(Refusal::Held { .. })));
        assert!(matches!(taken(&after, "B"), Err(Refusal::NotClaimable { .. })), "the limit is one");
        let roomy = with_limit(after.clone(), &Role::BUILDER, 2);
        assert!(taken(&roomy, "B").is_ok());
        let mut later = after.clone();
        later.now.wall += chrono::Duration::seconds(601);
        assert!(matches!(held(&later).health(&later.now), LeaseHealth::Lost(_)));
        let beaten = later.after(&beat(&later, &id("A"), Token(1)).expect("beaten"));
        assert_eq!(held(&beaten).health(&beaten.now), LeaseHealth::Live);
    }

    #[test]
    fn what_a_claim_would_not_take_is_not_given_and_it_is_said_why() {
        let mut tasks = vec![task("A", Status::READY), task("B", Status::NEEDS_PLAN), task("C", Status::READY)];
        tasks[2].dependencies = vec!["B".into()];
        let before = snapshot(tasks);
        let why = |name: &str| taken(&before, name).expect_err("refused").to_string();
        assert_eq!(why("B"), "B is not to be had: it is `needs_plan`, and a builder takes what is `ready`");
        assert_eq!(why("C"), "C is not to be had: it waits for B, which is `needs_plan`");
        assert_eq!(why("ghost"), "there is no task `ghost`");
    }

    #[test]
    fn a_token_that_is_not_the_newest_neither_beats_nor_gives_back() {
        let before = snapshot(vec![task("A", Status::READY)]);
        let first = before.after(&taken(&before, "A").expect("given"));
        let workflow = Workflow::shipped();
        let back = |all: &Snapshot, token, to: Option<&Status>| {
            give_back(all, &workflow, &id("A"), Token(token), to, &actor())
        };
        let free = first.after(&back(&first, 1, None).expect("given back"));
        assert_eq!(free.queue.get(&id("A")).map(|task| task.status.clone()), Some(Status::READY));
        assert!(free.leases.is_empty());
        let second = free.after(&taken(&free, "A").expect("given again"));
        assert_eq!(held(&second).token(), Token(2));
        for refused in [beat(&second, &id("A"), Token(1)), back(&second, 1, None), beat(&free, &id("A"), Token(1))] {
            assert!(matches!(refused, Err(Refusal::Superseded { token: 1, .. })), "{refused:?}");
        }
        let done = second.after(&back(&second, 2, Some(&Status::AWAITING_TEST)).expect("handed on"));
        assert_eq!(done.queue.get(&id("A")).map(|task| task.status.clone()), Some(Status::AWAITING_TEST));
        assert!(matches!(back(&second, 2, Some(&Status::DONE)), Err(Refusal::Illegal { .. })));
    }
}
