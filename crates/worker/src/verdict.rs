//! After the agent: what an attempt came to is settled, together with whatever else is to be done, and said.

use std::time::{Duration, Instant};

use super::{Shared, Worker, chain, run::Run};
use oodatcaa_core::{
    ChangeSet, EventDraft, Kind, Lease, Outcome, Snapshot, TaskId, Token, Usage, outcome::Policy, settle, text,
};
use oodatcaa_store::StoreError;

/// What an attempt came to. It is kept until it is in the store, because it must not be lost.
pub(super) struct Settlement {
    lease: Lease,
    outcome: Outcome,
    facts: Usage,
    /// That it started, if the journal has not been told yet.
    start: Option<EventDraft>,
    /// What the agent decided and wanted others to know.
    words: Vec<EventDraft>,
}

/// The first pause before what could not be settled is tried again; each is twice the one before.
const FIRST: Duration = Duration::from_millis(50);

/// Whoever was told to leave tries until a pause would be this long: two seconds in all.
const LEAVING: Duration = Duration::from_secs(1);

/// When what could not be settled is tried again.
pub(super) struct Again {
    pub(super) at: Instant,
    pause: Duration,
    said: String,
}

impl Again {
    /// Whether this is what was said.
    pub(super) fn is_about(&self, words: &str) -> bool {
        self.said == words
    }
}

impl Run {
    /// The attempt's end, for the main loop to settle.
    pub(super) fn settlement(&mut self, outcome: Outcome) -> Settlement {
        let seen = self.record.seen.clone().unwrap_or_default();
        let facts = Usage {
            tokens_in: seen.tokens_in,
            tokens_out: seen.tokens_out,
            cached: seen.tokens_cached,
            cost_usd: seen.cost_usd,
            turns: seen.turns,
            session: seen.session,
            seconds: self.record.seconds,
            head: self.head.clone(),
            commit: self.brought.as_ref().map(|brought| brought.commit.clone()),
            tag: self.brought.as_ref().and_then(|brought| brought.tag.clone()),
            resets_at: seen.resets_at,
            branch: self.assignment.task.branch.clone(),
        };
        let mail = |what: &str, words: &String| {
            EventDraft::new(Kind::MessageSent, self.shared.actor())
                .lease(self.lease())
                .with("from", "agent")
                .with("what", what)
                .with("text", words.as_str())
        };
        let decisions = self.record.decisions.iter().map(|words| mail("decision", words));
        let words = decisions.chain(self.record.messages.iter().map(|words| mail("message", words))).collect();
        Settlement { start: self.start_untold(), lease: self.lease().clone(), outcome, facts, words }
    }
}

impl Settlement {
    fn key(&self) -> (TaskId, Token) {
        (self.lease.task_id.clone(), self.lease.token)
    }

    fn decide(&self, snapshot: &Snapshot, shared: &Shared) -> ChangeSet {
        let retry = &shared.setup.config.retry;
        let mut changes = ChangeSet::none();
        if let Some(start) = self.start.clone().filter(|_| !snapshot.supersedes(&self.lease)) {
            changes.event(start);
        }
        let end = settle::decide(snapshot, shared.workflow(), &self.lease, &self.outcome, retry, &self.facts);
        let superseded = snapshot.supersedes(&self.lease);
        changes.then(end);
        changes.events.extend(self.words.iter().filter(|_| !superseded).cloned());
        changes
    }

    /// Says what became of it, by the events of its own plan.
    fn say(&self, shared: &Shared, events: &[EventDraft]) {
        let (id, outcome) = (&self.lease.task_id, &self.outcome);
        let words = text::cut(&text::one_line(outcome.words()), 300);
        if events.iter().any(|event| event.kind == Kind::AttemptSuperseded) {
            match &self.facts.commit {
                Some(commit) => {
                    log::warn!(task = id.as_str(); "{id}: superseded after it was merged as {commit}; the newer claim finds it there");
                }
                None => log::warn!(task = id.as_str(); "{id}: superseded, nothing of it was applied"),
            }
            return;
        }
        let moved = events.iter().find(|event| event.kind == Kind::TaskMoved && event.task.as_ref() == Some(id));
        let to = moved.and_then(|event| event.text("to")).unwrap_or("as it stands");
        if let Some(paused) = events.iter().find(|event| event.kind == Kind::WorkerPaused) {
            let role = paused.role.as_ref().unwrap_or(shared.role());
            let (class, why) = (paused.text("class").unwrap_or("?"), paused.text("reason").unwrap_or_default());
            log::error!(
                task = id.as_str();
                "{id}: {} → {to}, and {role} is paused ({class}): {}; after mending it: agentctl fleet start {role}",
                outcome.word(), text::cut(&text::one_line(why), 1_000)
            );
            return;
        }
        match outcome {
            Outcome::Done { .. } | Outcome::NoChange { .. } => {
                let words = if words.is_empty() { words } else { format!(": {words}") };
                log::info!(task = id.as_str(); "{id}: {} → {to}{words}", outcome.word());
            }
            Outcome::Failed { class, .. } if class.policy() == Policy::Stop => {
                log::info!(task = id.as_str(); "{id}: {class} → {to}: {words}");
            }
            Outcome::Failed { class, .. } => log::warn!(task = id.as_str(); "{id}: {class} → {to}: {words}"),
            Outcome::Waits { .. } | Outcome::Conflict { .. } => {
                log::warn!(task = id.as_str(); "{id}: {} → {to}: {words}", outcome.word());
            }
            _ => log::info!(task = id.as_str(); "{id}: {} → {to}: {words}", outcome.word()),
        }
    }
}

/// Settlements in one change set, and what each of them brought into it.
#[derive(Default)]
pub(super) struct Settled(Vec<((TaskId, Token), Vec<EventDraft>)>);

impl Worker {
    /// `true` while there is something to settle.
    pub(super) fn is_settling(&self) -> bool {
        self.running.values().any(|running| running.settlement.is_some())
    }

    /// Puts everything that is to be settled into a change set; what is seen next has it.
    pub(super) fn plan_settlements(&self, seen: &mut Snapshot, changes: &mut ChangeSet) -> Settled {
        let mut settled = Settled::default();
        for settlement in self.running.values().filter_map(|running| running.settlement.as_ref()) {
            let one = settlement.decide(seen, &self.shared);
            settled.0.push((settlement.key(), one.events.clone()));
            seen.advance(&one);
            changes.then(one);
        }
        settled
    }

    /// They are in the store: each is said and forgotten.
    pub(super) fn have_settled(&mut self, settled: Settled) {
        for (key, events) in settled.0 {
            if let Some(settlement) = self.running.remove(&key).and_then(|running| running.settlement) {
                settlement.say(&self.shared, &events);
            }
        }
        if !self.is_settling() {
            self.again = None;
        }
        self.tell_status();
    }

    /// Settles and does nothing else, so that nothing else can stand in the way.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
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

    /// What stands in the way of settling is said once and waited for.
    pub(super) fn settle_again(&mut self, error: &StoreError) {
        let words = chain(error);
        let (pause, said) = self
            .again
            .take()
            .map_or((FIRST, String::new()), |again| ((again.pause * 2).min(Duration::from_secs(5)), again.said));
        if self.stopping.is_some() && pause > LEAVING {
            for settlement in self.running.values().filter_map(|running| running.settlement.as_ref()) {
                let (id, word) = (&settlement.lease.task_id, settlement.outcome.word());
                log::warn!(task = id.as_str(); "leaving although {id} is not settled ({word}); the next worker gives it back");
            }
            self.again = Some(Again { at: Instant::now(), pause, said });
            return self.give_up_settling();
        }
        if said != words {
            for settlement in self.running.values().filter_map(|running| running.settlement.as_ref()) {
                let (id, word) = (&settlement.lease.task_id, settlement.outcome.word());
                log::error!(task = id.as_str(); "cannot settle {id} yet ({word}): failed to {words}; trying on");
            }
        }
        self.again = Some(Again { at: Instant::now() + pause, pause, said: words });
    }

    /// Told to leave: what is waited for is tried at once, a few times more.
    pub(super) fn hurry_settling(&mut self) {
        if let Some(again) = &mut self.again {
            (again.at, again.pause) = (Instant::now(), FIRST);
        }
    }

    /// Told to leave: the record in the run's directory says what came of it, and the lease is rescued by
    /// whoever can write again.
    pub(super) fn give_up_settling(&mut self) {
        if self.again.take().is_some() {
            self.running.retain(|_, running| running.settlement.is_none());
        }
    }
}
