//! What an attempt came to: the change set that settles it, and what the log says of it.

use std::time::{Duration, Instant};

use log::Level;

use crate::{merge::Landed, run::Run, setup::Shared};
use oodatcaa_core::{
    ChangeSet, Data, EventDraft, Kind, Lease, Outcome, Snapshot, Status, TaskId, Token, Usage,
    event::payload::{Ended, Mail, Sandboxed, Texts},
    outcome::Policy,
    settle, text,
};

/// Last phase: what an attempt came to. It is kept until it is in the store, because it must not be lost.
pub(crate) struct Settlement {
    pub(crate) lease: Lease,
    pub(crate) outcome: Outcome,
    report: Ended,
    /// That it started, if the journal has not been told yet.
    start: Option<EventDraft>,
    /// Its confinement, what the agent decided and wanted others to know.
    words: Vec<EventDraft>,
}

/// The time when what could not be settled is tried again.
pub(crate) struct Again {
    pub(crate) at: Instant,
    pub(crate) pause: Duration,
    /// The error that has been logged.
    pub(crate) said: String,
}

impl Settlement {
    /// Takes from an attempt what is to be settled.
    pub(crate) fn new(mut run: Run, outcome: Outcome, head: Option<String>, landed: Option<Landed>) -> Self {
        let seen = run.record.found.seen.take().unwrap_or_default();
        let (commit, tag) = landed.map(|landed| (landed.commit, landed.tag)).unzip();
        let report = Ended {
            usage: Usage { seconds: run.record.found.seconds, ..seen.usage },
            session: seen.session,
            head,
            commit,
            tag: tag.flatten(),
            resets_at: seen.resets_at,
            branch: run.assignment.task.branch.clone(),
            ..Ended::default()
        };
        let decision = |words: &String| {
            let (from, what, text) = (Some("agent".into()), Some("decision".into()), Some(words.clone()));
            let mail = Mail { from, what, text, ..Mail::default() };
            EventDraft::new(Data::MessageSent(mail), run.shared.actor()).lease(run.lease())
        };
        let confined = run.record.found.confined.as_ref().map(|report| {
            let guarantees = Texts(report.guarantees.iter().map(|one| one.as_str().to_owned()).collect());
            let applied = Sandboxed { guarantees, mechanism: Some(report.means.words()), ..Sandboxed::default() };
            EventDraft::new(Data::SandboxApplied(applied), run.shared.actor()).lease(run.lease())
        });
        let decisions = run.record.found.decisions.iter().map(decision);
        let words = confined
            .into_iter()
            .chain(decisions)
            .chain(run.record.found.mail.iter().map(|sent| run.message(sent)))
            .collect();
        Self { start: run.take_start(), lease: run.assignment.lease, outcome, report, words }
    }

    pub(crate) fn key(&self) -> (TaskId, Token) {
        (self.lease.task_id.clone(), self.lease.token)
    }

    /// Decides what settles the attempt: its start if the journal does not know it, its end, and what the agent said.
    pub(crate) fn decide(&self, snapshot: &Snapshot, shared: &Shared) -> ChangeSet {
        let retry = &shared.setup.config.retry;
        // Of an attempt that has lost its task only the end is told: it speaks for nobody any more.
        let superseded = snapshot.supersedes(&self.lease);
        let mut changes = ChangeSet::none();
        changes.events.extend(self.start.clone().filter(|_| !superseded));
        let end = settle::decide(snapshot, shared.workflow(), &self.lease, &self.outcome, retry, &self.report);
        changes.then(end);
        changes.events.extend(self.words.iter().filter(|_| !superseded).cloned());
        changes
    }

    /// Logs what became of it, by the events of its own change set.
    pub(crate) fn report(&self, shared: &Shared, events: &[EventDraft]) {
        let (id, outcome) = (&self.lease.task_id, &self.outcome);
        let words = text::cut(&text::one_line(outcome.words()), 300);
        if events.iter().any(|event| event.kind() == Kind::AttemptSuperseded) {
            let what = match &self.report.commit {
                Some(commit) => format!(" after it was merged as {commit}; the newer claim finds it there"),
                None => ", nothing of it was applied".into(),
            };
            return log::warn!(task = id.as_str(); "{id}: superseded{what}");
        }
        let moved = events.iter().filter(|event| event.task.as_ref() == Some(id)).find_map(|event| match &event.data {
            Data::TaskMoved(change) => change.to.as_ref(),
            _ => None,
        });
        let to = moved.map_or("as it stands", Status::as_str);
        let paused = events.iter().find_map(|event| match &event.data {
            Data::WorkerPaused(paused) => Some((event.role.as_ref().unwrap_or(shared.role()), paused)),
            _ => None,
        });
        if let Some((role, paused)) = paused {
            let (class, why) = (paused.class.as_deref().unwrap_or("?"), paused.reason.as_deref().unwrap_or_default());
            log::error!(
                task = id.as_str();
                "{id}: {} → {to}, and {role} is paused ({class}): {}; after mending it: agentctl fleet start {role}",
                outcome.word(), text::cut(&text::one_line(why), 1_000)
            );
            return;
        }
        let (level, word) = match outcome {
            Outcome::Failed { class, .. } if class.policy() == Policy::Stop => (Level::Info, class.to_string()),
            Outcome::Failed { class, .. } => (Level::Warn, class.to_string()),
            Outcome::Waits { .. } | Outcome::Conflict { .. } => (Level::Warn, outcome.word().into()),
            _ => (Level::Info, outcome.word().into()),
        };
        let words = if words.is_empty() { words } else { format!(": {words}") };
        log::log!(level, task = id.as_str(); "{id}: {word} → {to}{words}");
    }
}
