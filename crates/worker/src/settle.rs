//! Settling: everything that has ended goes into one change set, and is tried until the store has it.

use std::time::{Duration, Instant};

use crate::{settlement::Again, worker::Worker};
use oodatcaa_core::{ChangeSet, EventDraft, Snapshot, TaskId, Token, text::chain};
use oodatcaa_store::StoreError;

/// The first pause before what could not be settled is tried again; each is twice the one before.
const FIRST: Duration = Duration::from_millis(50);

/// The longest of these pauses.
const LONGEST: Duration = Duration::from_secs(5);

/// A worker that leaves tries until a pause would be this long: two seconds in all.
const LEAVING: Duration = Duration::from_secs(1);

/// Settlements in one change set, and what each of them brought into it.
#[derive(Default)]
pub(crate) struct Settled(Vec<((TaskId, Token), Vec<EventDraft>)>);

impl Worker {
    /// Tells whether there is something to settle.
    pub(crate) fn is_settling(&self) -> bool {
        self.running.values().any(|running| running.settlement.is_some())
    }

    /// Puts everything that is to be settled into a change set; what is seen next has it.
    pub(crate) fn plan_settlements(&self, seen: &mut Snapshot, changes: &mut ChangeSet) -> Settled {
        let mut settled = Settled::default();
        for settlement in self.running.values().filter_map(|running| running.settlement.as_ref()) {
            // Each is decided on what the one before has made of the snapshot: as if that were committed.
            let one = settlement.decide(seen, &self.shared);
            settled.0.push((settlement.key(), one.events.clone()));
            seen.advance(&one);
            changes.then(one);
        }
        settled
    }

    /// Logs and forgets what is in the store.
    pub(crate) fn have_settled(&mut self, settled: Settled) {
        for (key, events) in settled.0 {
            if let Some(settlement) = self.running.remove(&key).and_then(|running| running.settlement) {
                settlement.report(&self.shared, &events);
            }
        }
        // Others may have ended since the change set was decided; they are tried when theirs is due.
        if !self.is_settling() {
            self.again = None;
        }
        self.tell_status();
    }

    /// Settles and does nothing else, so that nothing else can stand in the way.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        let mut settled = Settled::default();
        let shared = std::sync::Arc::clone(&self.shared);
        shared.store.transact(&mut |snapshot| {
            let mut changes = ChangeSet::none();
            settled = self.plan_settlements(&mut snapshot.clone(), &mut changes);
            changes
        })?;
        self.have_settled(settled);
        Ok(())
    }

    /// Logs once what stands in the way of settling, and waits for it.
    pub(crate) fn settle_again(&mut self, error: &StoreError) {
        let (again, words) = (self.again.take(), chain(error));
        let pause = again.as_ref().map_or(FIRST, |again| (again.pause * 2).min(LONGEST));
        let leaves = self.stopping.is_some() && pause > LEAVING;
        let said = again.is_some_and(|again| again.said == words);
        for settlement in self.running.values().filter_map(|running| running.settlement.as_ref()) {
            let (id, word) = (&settlement.lease.task_id, settlement.outcome.word());
            if leaves {
                log::warn!(task = id.as_str(); "leaving although {id} is not settled ({word}); the next worker gives it back");
            } else if !said {
                log::error!(task = id.as_str(); "cannot settle {id} yet ({word}): failed to {words}; trying again");
            }
        }
        self.again = Some(Again { at: Instant::now() + pause, pause, said: words });
        if leaves {
            self.give_up_settling();
        }
    }

    /// Tries at once, and a few times more, what is waited for: the worker leaves.
    pub(crate) fn hurry_settling(&mut self) {
        if let Some(again) = &mut self.again {
            (again.at, again.pause) = (Instant::now(), FIRST);
        }
    }

    /// Leaves without settling: the record in the attempt's directory says what came of it, and the lease is rescued by
    /// a worker that can write again.
    pub(crate) fn give_up_settling(&mut self) {
        if self.again.take().is_some() {
            self.running.retain(|_, running| running.settlement.is_none());
        }
    }
}
