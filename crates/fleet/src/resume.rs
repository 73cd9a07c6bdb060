//! A human pauses a role, and ends its pause. Who starts a role again has seen why it was paused, or why a worker of it
//! was given up: both end with that.

use super::FleetError;
use oodatcaa_core::{
    ChangeSet, Data, EventDraft, Role, Snapshot,
    event::{
        Actor,
        payload::{Paused, Resumed},
    },
    state::Pause,
};
use oodatcaa_store::Desk;

/// Pauses a role: its workers claim nothing until it is resumed, and what runs goes on. Answers whether it was not
/// paused yet.
pub fn pause(store: &Desk, role: &Role, human: &str, reason: Option<&str>) -> Result<bool, FleetError> {
    let committed = store.transact(&mut |snapshot| {
        let mut plan = ChangeSet::none();
        if snapshot.history.paused(role).is_none() {
            let reason = Some(reason.unwrap_or("somebody paused it").to_owned());
            let paused = Paused { class: Some(Pause::ASKED.into()), reason, ..Paused::default() };
            plan.event(EventDraft::new(Data::WorkerPaused(paused), Actor::Human(human.into())).role(role));
        }
        plan
    });
    Ok(!committed.map_err(FleetError::Store)?.changes.is_empty())
}

/// Ends the pause of a role, if it is paused or a worker of it was given up; answers whether that was so.
pub fn resume(store: &Desk, role: &Role, human: &str) -> Result<bool, FleetError> {
    let committed = store.transact(&mut |snapshot| decide(snapshot, role, human)).map_err(FleetError::Store)?;
    Ok(!committed.changes.is_empty())
}

fn decide(snapshot: &Snapshot, role: &Role, human: &str) -> ChangeSet {
    let mut plan = ChangeSet::none();
    let known = snapshot.history.roles.get(role);
    let given_up = known.and_then(|known| known.failed.values().next()).map(|failed| &failed.why);
    if let Some(reason) = snapshot.history.paused(role).map(|pause| &pause.reason).or(given_up) {
        let resumed = Resumed { paused_for: Some(reason.clone()), ..Resumed::default() };
        plan.event(EventDraft::new(Data::WorkerResumed(resumed), Actor::Human(human.into())).role(role));
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc, time::Duration};

    use chrono::DateTime;

    use super::*;
    use oodatcaa_core::{Event, History, Now, Queue, event::payload::Crash};

    fn seen(history: &History) -> Snapshot {
        Snapshot {
            now: Now::new(DateTime::UNIX_EPOCH, Duration::ZERO),
            queue: Arc::new(Queue::default()),
            leases: BTreeMap::new(),
            history: Arc::new(history.clone()),
            beside: Default::default(),
            kept: Arc::default(),
        }
    }

    #[test]
    fn only_a_paused_role_is_resumed_and_then_it_is_not_paused() {
        let mut snapshot = seen(&History::default());
        assert!(decide(&snapshot, &Role::BUILDER, "me").is_empty());

        let paused = Paused { reason: Some("agent not found".into()), ..Paused::default() };
        let pause = EventDraft::new(Data::WorkerPaused(paused), Actor::Policy("failure".into())).role(&Role::BUILDER);
        let mut history = History::default();
        history.apply(&Event::number(pause, 1, DateTime::UNIX_EPOCH, "//h/p"));
        snapshot.history = Arc::new(history.clone());
        assert!(decide(&snapshot, &Role::TESTER, "me").is_empty());
        let plan = decide(&snapshot, &Role::BUILDER, "me");
        assert!(!plan.touches_queue());
        assert_eq!(plan.events[0].actor, Actor::Human("me".into()));
        history.apply(&Event::number(plan.events[0].clone(), 2, DateTime::UNIX_EPOCH, "//h/p"));
        assert_eq!(history.paused(&Role::BUILDER), None);
    }

    #[test]
    fn a_worker_that_was_given_up_is_forgiven_by_whoever_starts_its_role_again() {
        let crash = Crash { worker: Some("builder".into()), reason: Some("it is gone".into()), ..Crash::default() };
        let failed =
            EventDraft::new(Data::WorkerFailed(crash), Actor::Policy("supervisor".into())).role(&Role::BUILDER);
        let mut history = History::default();
        history.apply(&Event::number(failed, 1, DateTime::UNIX_EPOCH, "//h/p"));
        assert_eq!(history.roles[&Role::BUILDER].failed.len(), 1);
        let snapshot = seen(&history);
        let plan = decide(&snapshot, &Role::BUILDER, "me");
        history.apply(&Event::number(plan.events[0].clone(), 2, DateTime::UNIX_EPOCH, "//h/p"));
        assert!(history.roles[&Role::BUILDER].failed.is_empty());
    }
}
