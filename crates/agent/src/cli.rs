//! An agent CLI as its descriptor describes it: what to execute, and what its end means.

use std::{cell::LazyCell, sync::Arc, time::Duration};

use super::{
    Agent, Assignment, Watcher, command,
    descriptor::Descriptor,
    failure::Failure,
    output::{self, Outputs},
    stream::Reader,
};
use oodatcaa_core::{Class, Outcome, text};
use oodatcaa_process::{Exit, StopCause};

mod clock;
mod invoke;
pub(crate) mod judge;
pub(crate) mod sessions;

pub(crate) use invoke::{arguments, check, head, variables};

impl Agent {
    /// Returns what the exit of an agent CLI means.
    pub(super) fn cli_outcome(
        &self,
        descriptor: &Arc<Descriptor>,
        assignment: &Assignment,
        exit: &Exit,
        watched: Option<&Watcher>,
    ) -> Outcome {
        if let Some(bad) = self.problem_of(assignment) {
            return Outcome::failed(Class::Config, format!("cannot {bad}"));
        }
        let late = LazyCell::new(|| watched_late(descriptor, assignment));
        let reader = watched.unwrap_or_else(|| &late).reader();
        sessions::remember(&assignment.run_dir, descriptor, &reader.run().observation);
        // It had said its last word, lingered, and was ended for that.
        let lingered = exit.stopped == Some(StopCause::Asked) && reader.run().terminal.is_some();
        if !lingered && let Some(outcome) = self.forced(assignment, exit) {
            return outcome;
        }
        let secrets = self.secrets(assignment);
        let judged = judge::judge(reader, &exit.ended, lingered, assignment.confined).or_else(|| {
            let session = reader.run().observation.session.as_ref()?;
            let env = self.environment(assignment);
            judge::by_session(reader, || sessions::record(descriptor, session, &|name| env.get(name).cloned()))
        });
        match judged {
            Some(judged) => failed(reader, judged, &secrets, assignment.sandboxed.then_some(self.name.as_str())),
            None => self.by_result(assignment, exit).unwrap_or_else(|| done(reader, &secrets)),
        }
    }
}

/// Reads the whole output of an attempt that nobody watched; what cannot be read told nothing.
fn watched_late(descriptor: &Arc<Descriptor>, assignment: &Assignment) -> Watcher {
    let mut watcher = Watcher::new(Arc::clone(descriptor), assignment);
    Outputs::new(&assignment.run_dir).feed(&mut watcher, Duration::ZERO);
    watcher.finish(Duration::ZERO);
    watcher
}

/// The reason why a run without anything to show for it is no success.
const NOTHING: &str =
    "the program ended well, and there is no result: no result file, no message of the model, no tool that worked";

/// Returns a success without a result file: the model's last words say what was done.
fn done(reader: &Reader, secrets: &[String]) -> Outcome {
    let (seen, tools_ok) = (&reader.run().observation, reader.run().tools_ok);
    let words = seen.last_text.as_deref().unwrap_or_default();
    if words.trim().is_empty() && tools_ok == 0 {
        return Outcome::failed(Failure::NoEffect.class(), NOTHING);
    }
    let mut summary = text::cut(&output::mask(output::plain(words).trim(), secrets), 4_000);
    if seen.denials > 0 {
        summary = format!("({} tool calls were not allowed)\n{summary}", seen.denials);
    }
    Outcome::Done { summary, tasks: Vec::new() }
}

/// Returns a failure; `within` names the agent where our sandbox is around it.
fn failed(reader: &Reader, judged: judge::Judgement, secrets: &[String], within: Option<&str>) -> Outcome {
    let judge::Judgement { failure, words, retry_at } = judged;
    let mut reason = failure.words().to_owned();
    let words = output::mask(output::plain(&words).trim(), secrets);
    let tail = output::end_of(&reader.run().stderr, 8, secrets);
    if !words.is_empty() {
        reason.push_str(": ");
        reason.push_str(&text::cut(&words, 2_000));
    } else if !tail.is_empty() {
        reason.push_str(":\n");
        reason.push_str(&tail);
    }
    if failure == Failure::ToolDenied {
        // What this task needs and nobody allowed: the task waits for a person, others go on.
        reason
            .push_str("\nto allow them: `permissions` of the agent (agentctl agent show); then: agentctl task unblock");
        return Outcome::Blocked { reason };
    }
    if let Some(name) = within.filter(|_| failure == Failure::SandboxBroken) {
        reason.push_str(&command::nested(name));
    }
    reason.push_str(&reader.descriptor().how_to_sign_in(failure));
    Outcome::Failed { class: failure.class(), reason, retry_at }
}

#[cfg(test)]
mod tests;
