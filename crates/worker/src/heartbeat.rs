//! Signs of life of an attempt: that its agent has started, and the heartbeat of its lease (R10, R12).

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::{chain, run::Run};
use oodatcaa_core::{ChangeSet, EventDraft, Kind, Lease, LeaseChange, LeaseRecord, time::stamp};

/// An attempt that is over sooner tells its start together with its end, in one commit.
pub(super) const SOON: Duration = Duration::from_millis(30);

/// An agent that has just started.
pub(super) struct News {
    pub(super) pid: u32,
    pub(super) pgid: u32,
    pub(super) due: Instant,
    /// When that was, which is not when it is told.
    pub(super) at: DateTime<Utc>,
}

impl Run {
    /// That the agent has started, as the journal tells it, if that has not been told yet.
    pub(super) fn start_untold(&mut self) -> Option<EventDraft> {
        let News { pid, pgid, at, .. } = self.news.take()?;
        self.assignment.lease.pgid = Some(pgid);
        let event = EventDraft::new(Kind::AttemptStarted, self.shared.actor()).lease(self.lease());
        Some(event.with("pid", pid).with("by", self.lease().by.as_str()).with("at", stamp(at)))
    }

    pub(super) fn tell_start(&mut self) {
        if let Some(event) = self.start_untold() {
            self.note_start(&event);
        }
    }

    /// That a merge has started, which runs no agent.
    pub(super) fn tell_merge(&mut self) {
        let event = EventDraft::new(Kind::AttemptStarted, self.shared.actor()).lease(self.lease());
        self.note_start(&event.with("pid", std::process::id()).with("by", "merge"));
    }

    fn note_start(&mut self, event: &EventDraft) {
        let (mine, pgid) = (self.lease().clone(), self.lease().pgid);
        let noted = self.shared.store.renew(&mut |snapshot| {
            if snapshot.supersedes(&mine) {
                return ChangeSet::none();
            }
            let mut changes = ChangeSet { events: vec![event.clone()], ..ChangeSet::none() };
            if let Some(LeaseRecord::Ours(lease)) = snapshot.leases.get(&mine.task_id).map(|held| &held.record) {
                changes.leases.push(LeaseChange::Write(Lease { pgid, ..lease.beaten(&snapshot.now) }));
            }
            changes
        });
        self.beat_due = Instant::now() + pace(self.lease());
        if let Err(error) = noted {
            log::warn!(task = mine.task_id.as_str(); "cannot note the start of {}: failed to {}", mine.task_id, chain(&error));
        }
    }

    /// Before an agent starts: who slept since the claim may have been taken over, and hears it by beating.
    pub(super) fn is_still_mine(&mut self) -> bool {
        Instant::now() < self.beat_due || self.heartbeat()
    }

    /// One heartbeat; it is refused, and the attempt stopped, when a greater token exists (R10).
    /// Answers `false` when it was refused.
    pub(super) fn heartbeat(&mut self) -> bool {
        self.beat_due = Instant::now() + pace(self.lease());
        let mine = self.lease().clone();
        let (mut late, mut refused) = (false, false);
        let beaten = self.shared.store.renew(&mut |snapshot| {
            refused = true;
            let Some(LeaseRecord::Ours(lease)) = snapshot.leases.get(&mine.task_id).map(|held| &held.record) else {
                return ChangeSet::none();
            };
            if snapshot.supersedes(&mine) {
                return ChangeSet::none();
            }
            refused = false;
            late = lease.silence(&snapshot.now) > lease.ttl();
            let mut changes =
                ChangeSet { leases: vec![LeaseChange::Write(lease.beaten(&snapshot.now))], ..ChangeSet::none() };
            if late {
                changes.event(EventDraft::new(Kind::LeaseRenewedLate, self.shared.actor()).lease(&mine));
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
}

/// Time between heartbeats (R12).
pub(super) fn pace(lease: &Lease) -> Duration {
    (lease.ttl() / 3).min(Duration::from_secs(60)).max(Duration::from_millis(100))
}
