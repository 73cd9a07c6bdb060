//! While the agent works: what follows from its output.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::{run::Run, watch::Watch};
use oodatcaa_agent::Observation;
use oodatcaa_core::{Class, budget, pool, text, text::chain};
use oodatcaa_git::Workspace;
use oodatcaa_process::{Attempt, Stop};

/// Time between two looks at the output files.
const PACE: Duration = Duration::from_millis(400);

/// Time between two looks at the workspace of an agent that repeats itself.
const LOOP_PACE: Duration = Duration::from_secs(15);

/// The output of an agent at work, and what was concluded from it.
pub(crate) struct AgentWatch {
    pub(crate) watch: Watch,
    /// When to look again.
    pub(crate) due: Instant,
    /// The agent had written its last event, did not end, and was ended by us.
    pub(crate) lingered: bool,
    repeating: Option<LoopDetection>,
    /// The store knows that the provider has answered a probe.
    answered: bool,
}

/// An agent that seems to repeat itself, and what its workspace has held since then.
struct LoopDetection {
    since: Instant,
    looked: Instant,
    content: Option<String>,
}

impl AgentWatch {
    pub(crate) fn new(watch: Watch) -> Self {
        Self { watch, due: Instant::now(), lingered: false, repeating: None, answered: false }
    }

    /// Reads what is new, and ends the attempt where that is called for.
    pub(crate) fn look(&mut self, run: &mut Run, child: &Attempt) {
        self.due = Instant::now() + PACE;
        if let Some((class, reason)) = self.watch.look() {
            self.end(run, child, class, reason);
        } else if !self.lingered && self.watch.lingers() {
            self.lingered = true;
            child.stop(Stop::Gently);
        }
        if let Some(until) = self.watch.waits() {
            note_limit(run, until);
        }
        self.look_for_loops(run, child);
        let Some(seen) = self.watch.news() else { return };
        if run.lease().probe && seen.steps > 0 && !self.answered {
            self.answered = true;
            note_answer(run);
        }
        let over = over_budget(run, &seen);
        run.record.seen = Some(seen);
        run.save();
        if let (Some(reason), None) = (over, &self.watch.ended) {
            self.end(run, child, Class::BudgetExceeded, reason);
        }
    }

    fn end(&mut self, run: &Run, child: &Attempt, class: Class, reason: String) {
        let id = &run.assignment.task.id;
        log::warn!(task = id.as_str(); "{id}: ending the agent: {class}: {}", text::one_line(&reason));
        self.watch.ended = Some((class, reason));
        child.stop(Stop::Gently);
    }

    /// Ends an agent that makes the same calls again and again while its workspace stays as it is.
    fn look_for_loops(&mut self, run: &Run, child: &Attempt) {
        if self.watch.ended.is_some() {
            return;
        }
        let Some(seen) = self.watch.loops() else { return self.repeating = None };
        // Comparing a whole worktree is dear, so it is not done at every look.
        if self.repeating.as_ref().is_some_and(|old| old.looked.elapsed() < LOOP_PACE.min(seen.patience)) {
            return;
        }
        let (setup, lease) = (&run.shared.setup, run.lease());
        let attached = Workspace::attach(&setup.layout, &setup.config.workspace, &lease.task_id, lease.token);
        // What cannot be seen counts as unchanged: the limit is for agents that spend money on nothing.
        let content = attached.ok().flatten().and_then(|workspace| workspace.content().ok().flatten());
        let looked = Instant::now();
        match &mut self.repeating {
            Some(old) if old.content == content => {
                old.looked = looked;
                if old.since.elapsed() >= seen.patience {
                    let reason = format!("ended: {} for {}", seen.words, text::duration(seen.patience));
                    self.end(run, child, seen.class, reason);
                }
            }
            old => *old = Some(LoopDetection { since: looked, looked, content }),
        }
    }
}

/// Notes that the agent waits for its limited service by itself; nobody else need ask before that time.
fn note_limit(run: &Run, until: DateTime<Utc>) {
    let mine = run.lease();
    let reason = format!("too many requests; the agent on {} waits, and goes on by itself", mine.task_id);
    match run.shared.store.transact(&mut |snapshot| pool::waits(snapshot, mine, &reason, until)) {
        Ok(_) => log::info!(task = mine.task_id.as_str(); "{}: {reason}", mine.task_id),
        Err(error) => log::warn!("cannot note that the pool is limited: failed to {}", chain(&error)),
    }
}

/// Notes that the provider has answered: the pool that this attempt probes is open, for everybody, now.
fn note_answer(run: &Run) {
    if let Err(error) = run.shared.store.transact(&mut |snapshot| pool::answered(snapshot, run.lease())) {
        log::warn!("cannot note that the pool is open: failed to {}", chain(&error));
    }
}

/// Returns why the attempt has to end for what it has used up. A figure that is not known does not count; the rest still
/// binds.
fn over_budget(run: &Run, seen: &Observation) -> Option<String> {
    let left = budget::left(&run.snapshot, run.shared.workflow(), &run.assignment.task, run.shared.role());
    let tokens = seen.usage.tokens();
    if let Some(limit) = left.tokens.filter(|limit| tokens >= *limit) {
        return Some(format!("{tokens} tokens are used up, {limit} were left"));
    }
    if let (Some(limit), Some(cost)) = (left.usd, seen.usage.cost_usd)
        && cost >= limit
    {
        return Some(format!("${cost:.2} are used up, ${limit:.2} were left"));
    }
    let turns = seen.usage.turns.unwrap_or(seen.steps);
    left.turns.filter(|limit| turns >= *limit).map(|limit| format!("{turns} turns are used up, {limit} were left"))
}
