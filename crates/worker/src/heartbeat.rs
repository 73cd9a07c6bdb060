//! Signs of life of an attempt: the heartbeat of its lease, and the event that its agent has started.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::setup::Shared;
use oodatcaa_core::{
    ChangeSet, Data, EventDraft, Lease, LeaseChange, LeaseRecord, Snapshot, event::payload::Bare, text::chain,
};

/// An attempt that is over sooner journals its start together with its end, in one commit.
const SOON: Duration = Duration::from_millis(30);

/// An agent that has just started, which the journal does not know yet.
pub(crate) struct AgentStart {
    pub(crate) pid: u32,
    pub(crate) pgid: u32,
    /// When to journal it.
    pub(crate) due: Instant,
    /// When it started.
    pub(crate) at: DateTime<Utc>,
}

impl AgentStart {
    pub(crate) fn now(pid: u32, pgid: u32) -> Self {
        Self { pid, pgid, due: Instant::now() + SOON, at: Utc::now() }
    }
}

/// Returns the time between two heartbeats of a lease.
pub(crate) fn pace(lease: &Lease) -> Duration {
    (lease.ttl() / 3).min(Duration::from_secs(60)).max(Duration::from_millis(100))
}

/// Returns the lease as it stands in the store, unless a newer claim has replaced ours.
fn still_ours<'a>(snapshot: &'a Snapshot, mine: &Lease) -> Option<&'a Lease> {
    match snapshot.leases.get(&mine.task_id).map(|held| &held.record) {
        Some(LeaseRecord::Ours(lease)) if !snapshot.supersedes(mine) => Some(lease),
        _ => None,
    }
}

/// Journals the start of an attempt and writes its process group into the lease, in one commit.
pub(crate) fn note_start(shared: &Shared, mine: &Lease, event: &EventDraft) {
    let noted = shared.store.transact(&mut |snapshot| {
        if snapshot.supersedes(mine) {
            return ChangeSet::none();
        }
        let mut changes = ChangeSet { events: vec![event.clone()], ..ChangeSet::none() };
        if let Some(lease) = still_ours(snapshot, mine) {
            let lease = Lease { pgid: mine.pgid, ..lease.beaten(&snapshot.now) };
            changes.leases.push(LeaseChange::Write(lease));
        }
        changes
    });
    if let Err(error) = noted {
        log::warn!(task = mine.task_id.as_str(); "cannot note the start of {}: failed to {}", mine.task_id, chain(&error));
    }
}

/// Writes one heartbeat; returns `false` when it was refused because a newer claim exists.
///
/// A heartbeat that cannot be written is not refused: a full disk is no reason to end an attempt.
pub(crate) fn beat(shared: &Shared, mine: &Lease) -> bool {
    let (mut late, mut refused) = (false, false);
    let beaten = shared.store.transact(&mut |snapshot| {
        let lease = still_ours(snapshot, mine);
        refused = lease.is_none();
        let Some(lease) = lease else { return ChangeSet::none() };
        late = lease.silence(&snapshot.now) > lease.ttl();
        let mut changes =
            ChangeSet { leases: vec![LeaseChange::Write(lease.beaten(&snapshot.now))], ..ChangeSet::none() };
        if late {
            changes.event(EventDraft::new(Data::LeaseRenewedLate(Bare::default()), shared.actor()).lease(mine));
        }
        changes
    });
    match beaten {
        Ok(_) if late => {
            log::warn!(task = mine.task_id.as_str(); "the heartbeat of {} came late; nobody had taken over", mine.task_id);
        }
        Ok(_) => {}
        Err(error) => {
            log::warn!(task = mine.task_id.as_str(); "no heartbeat for {}: failed to {}", mine.task_id, chain(&error));
        }
    }
    !refused
}
