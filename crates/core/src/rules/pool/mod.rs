//! Pools of quota that all workers share: an (adapter, account, model) of which a provider said "not now".
//!
//! The first limit closes a pool until the stated reset, or else for five minutes, doubling up to an
//! hour. After that exactly one claim goes through, the probe. What comes of it opens the pool or
//! closes it again. A pool stands in the journal while it is closed; who probes it, in the leases.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    ChangeSet, Class, Data, EventDraft, Lease, Outcome, RoleRule, Snapshot, Task, Workflow,
    event::{Actor, payload::Quota},
    hours::Hours,
    outcome::{Policy, doubled},
    state::pools::ClosedPool,
    text,
    time::stamp,
};

/// The first pause, where nobody stated one.
const FIRST: Duration = Duration::from_secs(5 * 60);

/// The longest pause, where nobody stated one.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The longest pause that is believed; longer than a week's window.
const BELIEVED: chrono::Duration = chrono::Duration::days(8);

/// An agent that a role may work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The agent's name in the configuration.
    pub by: String,
    /// The pool that it draws from: `adapter/account/model`.
    pub pool: String,
    /// It is the simulated agent.
    pub simulated: bool,
}
/// The state of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolState<'a> {
    /// Nothing is known against it.
    Open,
    /// Nothing is asked of it yet.
    Closed(&'a ClosedPool),
    /// Its time is over; one claim may try it.
    HalfOpen(&'a ClosedPool),
    /// That claim is at work.
    Probed(&'a ClosedPool),
}

/// The reason why no agent of a role can work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The pool that is back first.
    pub pool: String,
    /// The time at which it may be tried; `None` while it is being tried.
    pub until: Option<DateTime<Utc>>,
    /// The provider's words.
    pub reason: String,
}

impl std::fmt::Display for Limited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pool, until, reason } = self;
        match until {
            Some(until) => write!(f, "the quota of `{pool}` is used up until {}", stamp(*until))?,
            None => write!(f, "the quota of `{pool}` was used up, and one attempt tries whether it is back")?,
        }
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
    }
}

/// Returns how a pool stands now.
pub fn state<'a>(snapshot: &'a Snapshot, pool: &str) -> PoolState<'a> {
    let Some(closed) = snapshot.history.pools.closed.get(pool) else { return PoolState::Open };
    if snapshot.now.wall < closed.until {
        return PoolState::Closed(closed);
    }
    // A dead prober holds the place until it is rescued: what it left running may still be asking.
    let probes = |lease: &Lease| lease.probe && lease.pool == pool;
    match snapshot.leases.values().filter_map(|held| held.ours()).any(probes) {
        true => PoolState::Probed(closed),
        false => PoolState::HalfOpen(closed),
    }
}

/// Returns the agent that a name stands for: `claude` for each of its accounts, `claude@work` and `claude@home`.
pub fn agent_of(by: &str) -> &str {
    by.split_once('@').map_or(by, |(agent, _)| agent)
}

/// Tells whether a task has failed before, and nobody has mended that yet.
pub fn is_retry(snapshot: &Snapshot, task: &Task) -> bool {
    task.attempts > 0 || snapshot.history.task(&task.id).is_some_and(|known| !known.failures.is_empty())
}

/// Returns the agents that may work on a task, in the order in which they are asked: those for what has failed before,
/// then as the role names them. Of one agent's accounts the one comes first that an unfinished session belongs to, then
/// the one whose window ends first, as what is left of it would be lost.
pub fn chain<'a>(
    snapshot: &Snapshot,
    workflow: &Workflow,
    rule: &RoleRule,
    task: &Task,
    offers: &'a [Offer],
) -> Vec<&'a Offer> {
    let special = workflow.policy().on_retry.get(&rule.role);
    let retry = is_retry(snapshot, task);
    let is_special = |offer: &&Offer| special.is_some_and(|special| special.agents.contains(&offer.by));
    let (first, rest): (Vec<&Offer>, Vec<&Offer>) = offers.iter().partition(is_special);
    let mut chain = match (retry, special) {
        (true, _) => [first, rest].concat(),
        (false, Some(special)) if special.only => rest,
        (false, _) => offers.iter().collect(),
    };
    let known = snapshot.history.task(&task.id);
    let began = known.and_then(|known| known.unjudged.as_ref().filter(|(role, _)| *role == rule.role));
    let stays = began.and_then(|(role, _)| known?.work.get(role)).map(|work| work.by.as_str());
    let place: Vec<&str> = chain.iter().map(|offer| agent_of(&offer.by)).collect();
    chain.sort_by_key(|offer| {
        let agent = place.iter().position(|name| *name == agent_of(&offer.by));
        let ends = snapshot.history.pools.windows.get(&offer.pool).filter(|ends| **ends > snapshot.now.wall);
        (agent, stays != Some(offer.by.as_str()), ends.is_none(), ends.copied())
    });
    chain
}

/// Returns the first agent of a chain that may work now, and whether it is a probe.
pub fn choose<'a>(snapshot: &Snapshot, offers: &[&'a Offer]) -> Result<(&'a Offer, bool), Limited> {
    for &offer in offers {
        match state(snapshot, &offer.pool) {
            PoolState::Open => return Ok((offer, false)),
            PoolState::HalfOpen(_) => return Ok((offer, true)),
            PoolState::Closed(_) | PoolState::Probed(_) => {}
        }
    }
    Err(limited(snapshot, offers.iter().map(|offer| offer.pool.as_str())).unwrap_or_else(|| Limited {
        pool: "none".into(),
        until: None,
        reason: "the role has no agent".into(),
    }))
}

/// Returns what holds all of these pools, if all are held.
pub fn limited<'p>(snapshot: &Snapshot, pools: impl Iterator<Item = &'p str>) -> Option<Limited> {
    let held = pools.map(|pool| {
        let (closed, until) = match state(snapshot, pool) {
            PoolState::Open | PoolState::HalfOpen(_) => return None,
            PoolState::Closed(closed) => (closed, Some(closed.until)),
            PoolState::Probed(closed) => (closed, None),
        };
        Some(Limited { pool: pool.into(), until, reason: text::one_line(&closed.reason) })
    });
    // `None` sorts first: a probe that runs may open its pool at any moment.
    held.collect::<Option<Vec<_>>>()?.into_iter().min_by_key(|limited| limited.until)
}

/// Returns the pool of an attempt; one that was claimed by an older worker is known by its agent's name.
fn pool_of(lease: &Lease) -> &str {
    if lease.pool.is_empty() { &lease.by } else { &lease.pool }
}

/// Returns what the end of an attempt says about its pool.
pub fn settle(snapshot: &Snapshot, workflow: &Workflow, lease: &Lease, outcome: &Outcome) -> ChangeSet {
    match outcome {
        Outcome::Failed { class, reason, retry_at } => match class.policy() {
            Policy::Quota => limit(snapshot, lease, *class, reason, *retry_at, workflow.policy().resume.as_ref()),
            // The provider has answered, whatever came of the work.
            Policy::Work | Policy::Context if !matches!(class, Class::Timeout | Class::Silent) => {
                answered(snapshot, lease)
            }
            // Nothing was learned, so another probe may go.
            Policy::Work | Policy::Context | Policy::Transient | Policy::Auth | Policy::Stop => ChangeSet::none(),
        },
        _ => answered(snapshot, lease),
    }
}

/// Closes the pool of an attempt that waits by itself until its provider lets it go on: nobody else asks before.
pub fn waits(snapshot: &Snapshot, lease: &Lease, reason: &str, until: DateTime<Utc>) -> ChangeSet {
    match snapshot.supersedes(lease) {
        true => ChangeSet::none(),
        false => limit(snapshot, lease, Class::RateLimited, reason, Some(until), None),
    }
}

fn limit(
    snapshot: &Snapshot,
    lease: &Lease,
    class: Class,
    reason: &str,
    stated: Option<DateTime<Utc>>,
    hours: Option<&Hours>,
) -> ChangeSet {
    let (pool, now) = (pool_of(lease), snapshot.now.wall);
    let known = snapshot.history.pools.closed.get(pool);
    // Attempts that were under way when the pool closed hit the same limit; only a probe finds a new one.
    let limits = known.map_or(1, |known| known.limits + u32::from(lease.probe));
    let stated = stated.filter(|until| *until > now).map(|until| until.min(now + BELIEVED));
    let closed = known.filter(|known| now < known.until).map(|known| known.until);
    let pause = || now + chrono::Duration::from_std(doubled(FIRST, LONGEST, limits)).unwrap_or(BELIEVED);
    let until = stated.max(closed).unwrap_or_else(pause);
    let until = hours.map_or(until, |hours| hours.from(until));
    let quota = Quota {
        until: Some(stamp(until)),
        class: Some(class.as_str().into()),
        stated: Some(stated.is_some()),
        limits: Some(limits.into()),
        reason: Some(text::cut(reason, 500)),
        ..of(pool)
    };
    ChangeSet::told([EventDraft::of(lease, Data::AgentLimited(quota))])
}

fn of(pool: &str) -> Quota {
    Quota { pool: Some(pool.into()), ..Quota::default() }
}

/// Opens the pool of a probe that the provider has answered. May be called as soon as the first answer is seen; nothing
/// happens for an attempt that is no probe.
pub fn answered(snapshot: &Snapshot, lease: &Lease) -> ChangeSet {
    let pool = pool_of(lease);
    let is_back = lease.probe && snapshot.history.pools.closed.contains_key(pool);
    ChangeSet::told(is_back.then(|| EventDraft::of(lease, Data::AgentResumed(of(pool)))))
}

/// Opens a pool, because a human says so.
pub fn reopen(snapshot: &Snapshot, pool: &str, actor: &Actor) -> ChangeSet {
    let is_closed = snapshot.history.pools.closed.contains_key(pool);
    ChangeSet::told(is_closed.then(|| EventDraft::new(Data::AgentResumed(of(pool)), actor.clone())))
}

#[cfg(test)]
mod tests;
