//! While the agent works: what its output tells, and what follows from it.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, at, never};

use super::{chain, run::Run, watch};
use oodatcaa_agent::Observation;
use oodatcaa_core::{Class, budget, pool, text};
use oodatcaa_git::Workspace;
use oodatcaa_process::{Attempt, Stop};

/// Between two looks at the workspace of an agent that goes round in circles.
const CIRCLE_PACE: Duration = Duration::from_secs(15);

/// An agent that seems to go round in circles, and what its workspace held since then.
pub(super) struct LoopDetection {
    since: Instant,
    looked: Instant,
    content: Option<String>,
}

impl Run {
    pub(super) fn watch_timer(&self) -> Receiver<Instant> {
        if self.watch.is_some() { at(self.watch_due) } else { never() }
    }

    /// Has the watcher look, and ends the attempt where it says so.
    pub(super) fn look_at_output(&mut self, attempt: &Attempt) {
        self.watch_due = Instant::now() + watch::PACE;
        let Some(watch) = &mut self.watch else { return };
        if let Some((class, reason)) = watch.look() {
            log::warn!(task = self.assignment.task.id.as_str(); "{}: ending the agent: {class}: {}", self.assignment.task.id, text::one_line(&reason));
            attempt.stop(Stop::Gently);
        } else if !self.lingered && watch.lingers() {
            self.lingered = true;
            attempt.stop(Stop::Gently);
        }
        if let Some(until) = watch.waits() {
            self.tell_limit(until);
        }
        self.look_for_circles(attempt);
        let Some(watch) = &mut self.watch else { return };
        if let Some(seen) = watch.news() {
            if self.lease().probe && seen.steps > 0 && !self.answered {
                self.answered = true;
                self.tell_answer();
            }
            let over = self.over_budget(&seen);
            self.record.seen = Some(seen);
            self.save();
            if let (Some(reason), Some(watch)) = (over, &mut self.watch)
                && watch.ended.is_none()
            {
                log::warn!(task = self.assignment.task.id.as_str(); "{}: ending the agent: {reason}", self.assignment.task.id);
                watch.ended = Some((Class::BudgetExceeded, reason));
                attempt.stop(Stop::Gently);
            }
        }
    }

    /// Ends an agent that makes the same calls again and again while its workspace stays as it is.
    fn look_for_circles(&mut self, attempt: &Attempt) {
        let Some(watch) = self.watch.as_mut().filter(|watch| watch.ended.is_none()) else { return };
        let Some(circle) = watch.loops() else { return self.circle = None };
        let due = self.circle.as_ref().is_none_or(|seen| seen.looked.elapsed() >= CIRCLE_PACE.min(circle.patience));
        if !due {
            return;
        }
        let setup = &self.shared.setup;
        let attached = Workspace::attach(
            &setup.layout,
            &setup.config.workspace,
            &self.assignment.task.id,
            self.assignment.lease.token,
        );
        // What cannot be seen counts as unchanged: the limit is for agents that spend money on nothing.
        let content = attached.ok().flatten().and_then(|workspace| workspace.content().ok().flatten());
        let looked = Instant::now();
        match &mut self.circle {
            Some(seen) if seen.content == content => {
                seen.looked = looked;
                if seen.since.elapsed() >= circle.patience {
                    let reason = format!("ended: {} for {}", circle.words, text::duration(circle.patience));
                    log::warn!(task = self.assignment.task.id.as_str(); "{}: ending the agent: {reason}", self.assignment.task.id);
                    watch.ended = Some((circle.class, reason));
                    attempt.stop(Stop::Gently);
                }
            }
            seen => *seen = Some(LoopDetection { since: looked, looked, content }),
        }
    }

    /// The agent waits for its limited service by itself; nobody else need ask before (R22).
    fn tell_limit(&self, until: DateTime<Utc>) {
        let mine = self.lease().clone();
        let reason = format!("too many requests; the agent on {} waits, and goes on by itself", mine.task_id);
        let noted = self.shared.store.transact(&mut |snapshot| pool::waits(snapshot, &mine, &reason, until));
        match noted {
            Ok(_) => log::info!(task = mine.task_id.as_str(); "{}: {reason}", mine.task_id),
            Err(error) => log::warn!("cannot note that the pool is limited: failed to {}", chain(&error)),
        }
    }

    /// The provider has answered: the pool that this attempt probes is open, for everybody, now.
    pub(super) fn tell_answer(&self) {
        let mine = self.lease().clone();
        if let Err(error) = self.shared.store.transact(&mut |snapshot| pool::answered(snapshot, &mine)) {
            log::warn!("cannot note that the pool is open: failed to {}", chain(&error));
        }
    }

    /// Why the attempt has to end for what it has used up; what is not known does not count, the rest still binds.
    pub(super) fn over_budget(&self, seen: &Observation) -> Option<String> {
        let left = budget::left(&self.snapshot, self.shared.workflow(), &self.assignment.task, self.shared.role());
        let tokens = seen.tokens_in.unwrap_or_default().saturating_add(seen.tokens_out.unwrap_or_default());
        if let Some(limit) = left.tokens.filter(|limit| tokens >= *limit) {
            return Some(format!("{tokens} tokens are used up, {limit} were left"));
        }
        if let (Some(limit), Some(cost)) = (left.usd, seen.cost_usd)
            && cost >= limit
        {
            return Some(format!("${cost:.2} are used up, ${limit:.2} were left"));
        }
        let turns = seen.turns.unwrap_or(seen.steps);
        left.turns.filter(|limit| turns >= *limit).map(|limit| format!("{turns} turns are used up, {limit} were left"))
    }
}
