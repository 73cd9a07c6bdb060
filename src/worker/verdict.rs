//! After the agent: the outcome is settled, and said.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::select;

use super::{
    chain,
    run::{Control, Run},
};
use crate::{
    domain::{Kind, Outcome, outcome::Policy, settle, text},
    process::Stop,
};

impl Run {
    /// Settles; what stands in the way is waited for, because the outcome must not be lost.
    pub(super) fn settle(&mut self, outcome: &Outcome) {
        let shared = Arc::clone(&self.shared);
        let (workflow, retry) = (shared.workflow(), &shared.setup.config.retry);
        let mine = self.lease().clone();
        let seen = self.record.seen.clone().unwrap_or_default();
        let facts = settle::Facts {
            tokens_in: seen.tokens_in,
            tokens_out: seen.tokens_out,
            cached: seen.tokens_cached,
            cost_usd: seen.cost_usd,
            turns: seen.turns,
            session: seen.session,
            seconds: self.record.seconds,
            commit: self.brought.as_ref().map(|brought| brought.commit.clone()),
            tag: self.brought.as_ref().and_then(|brought| brought.tag.clone()),
            branch: self.assignment.task.branch.clone(),
        };
        let mut pause = Duration::from_millis(50);
        let mut said = String::new();
        loop {
            let settled = self
                .shared
                .store
                .transact(&mut |snapshot| settle::decide(snapshot, workflow, &mine, outcome, retry, &facts));
            match settled {
                Ok(committed) => return self.say(outcome, &committed.events),
                Err(error) => {
                    let words = chain(&error);
                    if said != words {
                        log::error!(task = mine.task_id.as_str(); "cannot settle {} yet ({}): failed to {words}; trying on", mine.task_id, outcome.word());
                        said = words;
                    }
                }
            }
            select! {
                recv(self.control) -> control => match control {
                    Ok(Control::Stop(Stop::Gently, _)) => {}
                    // Told to leave: the record in the run's directory says what came of it, and
                    // the lease is rescued by whoever can write again.
                    Ok(Control::Stop(Stop::Now, _)) | Err(_) => return,
                },
                recv(crossbeam_channel::after(pause)) -> _ => pause = (pause * 2).min(Duration::from_secs(5)),
            }
        }
    }

    pub(super) fn say(&self, outcome: &Outcome, events: &[crate::domain::Event]) {
        let id = &self.lease().task_id;
        let moved = events.iter().find(|event| event.kind == Kind::TaskMoved && event.task.as_ref() == Some(id));
        let words = text::cut(&text::one_line(outcome.words()), 300);
        if events.iter().any(|event| event.kind == Kind::AttemptSuperseded) {
            log::warn!(task = id.as_str(); "{id}: superseded, nothing of it was applied");
            return;
        }
        let to = moved.and_then(|event| event.text("to")).unwrap_or("as it stands");
        if let Some(paused) = events.iter().find(|event| event.kind == Kind::WorkerPaused) {
            let role = paused.role.as_ref().unwrap_or(self.shared.role());
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
