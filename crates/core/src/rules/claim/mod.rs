//! Which task an owner gets now, or the reason why none.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    ChangeSet, Data, Edit, EventDraft, Lease, LeaseChange, LeaseState, Member, Owner, QueueLease, RoleRule, Snapshot,
    Task, Workflow,
    budget::{self, Stop},
    decision::{self, Hold},
    event::payload::Claimed,
    external_edits::{self, Behind},
    hours, landing,
    pool::{self, Limited, Offer},
    queue::Waits,
    state::Pause,
    succession,
    time::stamp,
};

/// A worker that wants work.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// The worker.
    pub owner: Owner,
    /// The role's row.
    pub rule: RoleRule,
    /// The agents that may work, the preferred one first; the first whose pool is open does.
    pub agents: Vec<Offer>,
    /// Claim beyond the WIP limit (for tests).
    pub ignore_wip: bool,
}

/// The reason why nothing was claimed.
#[expect(missing_docs, reason = "what each field is goes without saying")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Idle {
    /// The role is paused.
    #[error("paused ({}): {}", .0.class, .0.reason)]
    Paused(Pause),
    /// An old queue file was put back.
    #[error("an old queue file was put back: {}", .0.reason)]
    Behind(Behind),
    /// The sprint is completed.
    #[error("{0}")]
    SprintOver(String),
    /// It is outside of the fleet's hours.
    #[error("outside of the fleet's hours ({hours}); new work begins at {}", stamp(*.until))]
    Closed { hours: String, until: DateTime<Utc> },
    /// The WIP limit is reached.
    #[error("WIP limit reached ({wip} of {limit})")]
    Full { wip: u32, limit: u32 },
    /// The quota of every agent of the role is used up.
    #[error("{0}")]
    Limited(Limited),
    /// The budget of the role, or of the day, is used up.
    #[error("{0}")]
    Budget(Stop),
    /// Tasks in the role's status are held by something; `until` is the earliest time that one of them waits for.
    #[error("{tasks} waiting, none claimable yet")]
    Waiting { tasks: usize, until: Option<DateTime<Utc>> },
    /// No task is in the role's status.
    #[error("nothing to do")]
    Nothing,
}

/// The reason why a role that takes a task's status cannot claim the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Somebody holds a lease on it.
    Leased(String),
    /// Its `lease` member says something that is not ours to ignore.
    Marked(String),
    /// It is for another role.
    OtherRole(String),
    /// A dependency.
    Waits(Waits),
    /// A human has to decide first.
    Decision(Hold),
    /// Its budget is used up.
    Budget(Stop),
    /// Its agents were started as often as is allowed.
    Spent(u32),
    /// Roles without an agent tried it as often as is allowed.
    Checked(u32),
    /// Not yet.
    NotBefore(DateTime<Utc>),
    /// Its agents were started so often that the next start waits, however the last one ended.
    Paced(DateTime<Utc>, u32),
}

/// Returns the lease on a task, while it is one.
pub fn leased(snapshot: &Snapshot, task: &Task) -> Option<String> {
    // A dead owner's lease holds as well, until what it left running has been ended.
    let held = snapshot.leases.get(&task.id).map(LeaseState::owner);
    held.or_else(|| task.lease.live_owner(snapshot.now.wall)).map(String::from)
}

/// Returns the first thing that holds a task whose status the role takes.
pub fn obstacle(snapshot: &Snapshot, workflow: &Workflow, rule: &RoleRule, task: &Task) -> Option<Obstacle> {
    let marked = || if let QueueLease::Other(text) = &task.lease { Some(text.clone()) } else { None };
    let other = || task.role.clone().filter(|role| role != rule.role.as_str());
    let waits = || Some(snapshot.queue.waits(task)).filter(|waits| *waits != Waits::No);
    let later = || task.not_before.filter(|time| snapshot.now.wall < *time);
    leased(snapshot, task)
        .map(Obstacle::Leased)
        .or_else(|| marked().map(Obstacle::Marked))
        .or_else(|| other().map(Obstacle::OtherRole))
        .or_else(|| waits().map(Obstacle::Waits))
        .or_else(|| decision::hold(snapshot, workflow, &rule.role, task).map(Obstacle::Decision))
        .or_else(|| spends(rule).and_then(|()| budget::of_task_stop(snapshot, workflow, task)).map(Obstacle::Budget))
        .or_else(|| of_starts(snapshot, workflow, rule, task))
        .or_else(|| later().map(Obstacle::NotBefore))
}

/// Tells whether an attempt of a role spends anything: without an agent it does not.
fn spends(rule: &RoleRule) -> Option<()> {
    (!rule.duty.agentless).then_some(())
}

/// Tells how the starts of a task's agents hold it: for good at the bound, and before it for longer and longer.
fn of_starts(snapshot: &Snapshot, workflow: &Workflow, rule: &RoleRule, task: &Task) -> Option<Obstacle> {
    let bounds = &workflow.policy().bounds;
    if workflow.merges(rule, task) {
        return None;
    }
    if rule.duty.agentless {
        let checks = snapshot.checks(task);
        return (checks >= bounds.checks).then_some(Obstacle::Checked(checks));
    }
    let starts = snapshot.starts(task, bounds);
    if starts >= bounds.starts {
        return Some(Obstacle::Spent(starts));
    }
    let last = snapshot.last_start(task)?;
    let next = last + chrono::Duration::from_std(bounds.pace(starts)).unwrap_or_default();
    // A last start that is still to come tells of a clock that was put back; the bound holds all the same.
    (last <= snapshot.now.wall && snapshot.now.wall < next).then_some(Obstacle::Paced(next, starts))
}

/// Returns what counts against a role's limit: tasks in its working status, and leases of the role on other tasks.
pub fn wip(snapshot: &Snapshot, rule: &RoleRule) -> u32 {
    let working = snapshot.queue.tasks().filter(|task| task.status == rule.works).count();
    let elsewhere = snapshot.leases.iter().filter(|(id, held)| {
        held.role() == Some(&rule.role) && snapshot.queue.get(id).is_none_or(|task| task.status != rule.works)
    });
    u32::try_from(working + elsewhere.count()).unwrap_or(u32::MAX)
}

/// Returns the tasks that a role could claim now, the most urgent first ([`crate::Queue::rank`]).
pub fn candidates<'a>(snapshot: &'a Snapshot, workflow: &Workflow, rule: &'a RoleRule) -> Vec<&'a Task> {
    let mut tasks: Vec<&Task> = claimable(snapshot, workflow, rule).collect();
    tasks.sort_by_cached_key(|task| snapshot.queue.rank(task));
    tasks
}

fn claimable<'a>(snapshot: &'a Snapshot, workflow: &Workflow, rule: &RoleRule) -> impl Iterator<Item = &'a Task> {
    snapshot.queue.tasks().filter(move |task| {
        let is_taken = task.status == rule.takes && snapshot.queue.is_free(task);
        is_taken && obstacle(snapshot, workflow, rule, task).is_none()
    })
}

/// Claims one task for one owner: returns the change set and the lease.
pub fn decide(snapshot: &Snapshot, workflow: &Workflow, me: &Claimant) -> Result<(ChangeSet, Lease), Idle> {
    let rule = &me.rule;
    if let Some(pause) = snapshot.history.paused(&rule.role) {
        return Err(Idle::Paused(pause.clone()));
    }
    let mut waiting = snapshot.queue.tasks().filter(|task| task.status == rule.takes).peekable();
    if waiting.peek().is_none() {
        return Err(Idle::Nothing);
    }
    if succession::is_over(snapshot) {
        return Err(Idle::SprintOver(succession::over(snapshot)));
    }
    if let Some(behind) = external_edits::behind(snapshot) {
        return Err(Idle::Behind(behind));
    }
    let hours = workflow.policy().hours.as_ref();
    if let Some((until, hours)) = hours::closed(hours, snapshot.now.wall).zip(hours) {
        return Err(Idle::Closed { hours: hours.to_string(), until });
    }
    let (wip, limit) = (wip(snapshot, rule), workflow.wip_limit(&snapshot.queue, &rule.role));
    if wip >= limit && !me.ignore_wip {
        return Err(Idle::Full { wip, limit });
    }
    debug_assert!(workflow.rule(&rule.role).is_some(), "a claimant's role is in the table");
    let best = claimable(snapshot, workflow, rule).min_by_key(|task| snapshot.queue.rank(task));
    let Some(task) = best else {
        let tasks: Vec<&Task> = waiting.collect();
        let until = tasks
            .iter()
            .filter(|task| snapshot.queue.is_free(task))
            .filter_map(|task| match obstacle(snapshot, workflow, rule, task) {
                Some(Obstacle::NotBefore(time) | Obstacle::Paced(time, _)) => Some(time),
                _ => None,
            })
            .min();
        return Err(Idle::Waiting { tasks: tasks.len(), until });
    };
    if let Some(stop) = spends(rule).and_then(|()| budget::of_role_stop(snapshot, workflow, &rule.role)) {
        return Err(Idle::Budget(stop));
    }
    let (offer, probe) = match me.agents.first() {
        // No agent is asked, so no quota holds a merge, and nothing is tried by it.
        Some(first) if !workflow.starts_agent(rule, task) => (first, false),
        _ => {
            let chain = pool::chain(snapshot, workflow, rule, task, &me.agents);
            pool::choose(snapshot, &chain).map_err(Idle::Limited)?
        }
    };
    Ok(take(snapshot, workflow, me, task, offer, probe))
}

fn take(
    snapshot: &Snapshot,
    workflow: &Workflow,
    me: &Claimant,
    task: &Task,
    offer: &Offer,
    probe: bool,
) -> (ChangeSet, Lease) {
    let merge = workflow.merges(&me.rule, task);
    let token = snapshot.highest_token(&task.id).next();
    let lease = Lease {
        attempt: task.attempts.saturating_add(1),
        by: offer.by.clone(),
        simulated: offer.simulated,
        pool: offer.pool.clone(),
        probe,
        landing: landing::passed(snapshot, &task.id).filter(|_| merge),
        ..Lease::new(&me.owner, &me.rule, &task.id, token, &snapshot.now)
    };
    let mut changes = ChangeSet::none();
    changes.leases.push(LeaseChange::Take(lease.clone()));
    let starts_agent = workflow.starts_agent(&me.rule, task);
    let agentless = !merge && !starts_agent;
    let claimed = Claimed { origin: Some(task.origin()), merge, agentless, ..Claimed::from(&lease) };
    changes.event(EventDraft::of(&lease, Data::LeaseAcquired(claimed)));
    let starts = snapshot.starts(task, &workflow.policy().bounds).saturating_add(1);
    let edit = Edit::by_attempt(&lease)
        .to(&me.rule.works)
        .set(Member::Agent, lease.role.as_str())
        .set(Member::Lease, lease.in_queue())
        .set_if(starts_agent, Member::Starts, starts)
        .set_if(task.not_before.is_some(), Member::NotBefore, Value::Null);
    changes.change(&snapshot.now, task, edit);
    (changes, lease)
}

#[cfg(test)]
mod tests;
