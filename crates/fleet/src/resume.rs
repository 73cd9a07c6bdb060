//! A human who starts a role again has seen why it was paused: the pause ends with that.

use super::FleetError;
use oodatcaa_core::{
    ChangeSet, Data, EventDraft, Role, Snapshot,
    event::{Actor, payload::Resumed},
};
use oodatcaa_store::Desk;

/// Ends the pause of a role, if it is paused; answers whether it was.
pub fn resume(store: &Desk, role: &Role, human: &str) -> Result<bool, FleetError> {
    let committed = store.transact(&mut |snapshot| decide(snapshot, role, human)).map_err(FleetError::Store)?;
    Ok(!committed.changes.is_empty())
}

fn decide(snapshot: &Snapshot, role: &Role, human: &str) -> ChangeSet {
    let mut plan = ChangeSet::none();
    if let Some(pause) = snapshot.history.paused(role) {
        let resumed = Resumed { paused_for: Some(pause.reason.clone()), ..Resumed::default() };
        plan.event(EventDraft::new(Data::WorkerResumed(resumed), Actor::Human(human.into())).role(role));
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc, time::Duration};

    use chrono::DateTime;

    use super::*;
    use oodatcaa_core::{Event, History, Now, Queue, event::payload::Paused};

    #[test]
    fn only_a_paused_role_is_resumed_and_then_it_is_not_paused() {
        let now = Now::new(DateTime::UNIX_EPOCH, Duration::ZERO);
        let mut snapshot = Snapshot {
            now,
            queue: Arc::new(Queue::default()),
            leases: BTreeMap::new(),
            history: Arc::default(),
            beside: Default::default(),
            kept: Arc::default(),
        };
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
}
