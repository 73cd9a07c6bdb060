//! Waiting for a child of an attempt, its agent or one of its gates; and what follows from an agent's output meanwhile.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use crossbeam_channel::{at, never, select};

use crate::run::{AgentStart, Run};
use oodatcaa_agent::{
    Observation, Watcher,
    output::{self, Outputs},
};
use oodatcaa_core::{Class, budget, pool, text};
use oodatcaa_git::Workspace;
use oodatcaa_process::{Attempt, Exit, Report, Stop};

/// Time between two looks at the output files.
const PACE: Duration = Duration::from_millis(400);

/// Time between two looks at the workspace of an agent that repeats itself.
const LOOP_PACE: Duration = Duration::from_secs(15);

/// Which child is waited for.
pub(crate) enum Child<'a> {
    /// The agent, whose start is journalled and whose output is watched where it can be understood.
    Agent(Option<&'a mut AgentWatch>),
    Gate,
}

impl Run {
    /// Waits for the end of a child, renewing the lease all the while.
    ///
    /// This is the only place that waits for a process of an attempt, so every one of them hears stops, beats, and has its
    /// shim looked after.
    pub(crate) fn follow(&mut self, child: &Attempt, mut which: Child<'_>) -> Exit {
        loop {
            let start_due = self.started.as_ref().map_or_else(never, |start| at(start.due));
            let mail_due = if matches!(which, Child::Agent(_)) { at(self.outgoing.due) } else { never() };
            let output_due = match &which {
                Child::Agent(Some(watch)) => at(watch.due),
                Child::Agent(None) | Child::Gate => never(),
            };
            select! {
                recv(child.reports()) -> report => match report {
                    Ok(Report::Started { pid, pgid }) => if matches!(which, Child::Agent(_)) {
                        self.started = Some(AgentStart::now(pid, pgid));
                    },
                    Ok(Report::Ended(exit)) => return exit,
                    Err(_) => return Exit::unknown(),
                },
                recv(self.control) -> control => {
                    let how = self.hear(control);
                    child.stop(how);
                }
                recv(start_due) -> _ => self.note_start(),
                // A refused heartbeat stops nothing here: the main loop sees the newer claim as well, and says why.
                recv(at(self.beat_due)) -> _ => { self.heartbeat(); }
                recv(output_due) -> _ => if let Child::Agent(Some(watch)) = &mut which {
                    watch.look(self, child);
                },
                recv(mail_due) -> _ => self.send_mail(),
                recv(at(child.due())) -> _ => if let Some(why) = child.look() {
                    let id = &self.assignment.task.id;
                    log::warn!(task = id.as_str(); "{id}: ending the attempt from outside: {why}");
                },
            }
        }
    }
}

/// The output of an agent at work, and what was concluded from it.
pub(crate) struct AgentWatch {
    pub(crate) watcher: Watcher,
    outputs: Outputs,
    since: Instant,
    /// The time when to look again.
    due: Instant,
    /// Values that must not be shown of what the agent says.
    secrets: Vec<String>,
    seen: Observation,
    /// Until when it waits for its limited service, as far as that has been noted.
    waits: Option<DateTime<Utc>>,
    repeating: Option<LoopDetection>,
    /// The store knows that the provider has answered a probe.
    answered: bool,
    /// The agent had written its last event, did not end, and was ended by us.
    pub(crate) lingered: bool,
    /// The reason why the attempt was ended by us.
    pub(crate) ended: Option<(Class, String)>,
}

/// An agent that seems to repeat itself, and what its workspace has held since then.
struct LoopDetection {
    since: Instant,
    looked: Instant,
    content: Option<String>,
}

impl AgentWatch {
    pub(crate) fn new(watcher: Watcher, run_dir: &Path, secrets: Vec<String>) -> Self {
        Self {
            watcher,
            outputs: Outputs::new(run_dir),
            since: Instant::now(),
            due: Instant::now(),
            secrets,
            seen: Observation::default(),
            waits: None,
            repeating: None,
            answered: false,
            lingered: false,
            ended: None,
        }
    }

    /// Reads what is new, and ends the attempt where that is called for.
    fn look(&mut self, run: &mut Run, child: &Attempt) {
        self.due = Instant::now() + PACE;
        let now = self.since.elapsed();
        self.outputs.feed(&mut self.watcher, now);
        if let (None, Some((class, reason))) = (&self.ended, self.watcher.verdict(now)) {
            let reason = output::mask(&reason, &self.secrets);
            self.end(run, child, class, reason);
        } else if !self.lingered && self.watcher.lingers(now) {
            self.lingered = true;
            child.stop(Stop::Gently);
        }
        let waits = self.watcher.waits();
        if let Some(until) = waits.filter(|_| waits != self.waits) {
            self.waits = waits;
            note_limit(run, until);
        }
        self.look_for_loops(run, child);
        if !self.record(run) {
            return;
        }
        if run.lease().probe && self.seen.steps > 0 && !self.answered {
            self.answered = true;
            // The pool that this attempt probes is open, for everybody, now.
            run.shared.note("that the pool is open", |snapshot| pool::answered(snapshot, run.lease()));
        }
        // At each look that brought something: `agentctl run show` reads it there.
        run.save();
        if let (None, Some(reason)) = (&self.ended, over_budget(run, &self.seen)) {
            self.end(run, child, Class::BudgetExceeded, reason);
        }
    }

    /// Reads the rest when both files are whole.
    pub(crate) fn finish(&mut self, run: &mut Run) {
        let now = self.since.elapsed();
        self.outputs.feed(&mut self.watcher, now);
        self.watcher.finish(now);
        self.record(run);
    }

    fn end(&mut self, run: &Run, child: &Attempt, class: Class, reason: String) {
        let id = &run.assignment.task.id;
        log::warn!(task = id.as_str(); "{id}: ending the agent: {class}: {}", text::one_line(&reason));
        self.ended = Some((class, reason));
        child.stop(Stop::Gently);
    }

    /// Puts what was seen into the record; `false` where that is no more than before.
    fn record(&mut self, run: &mut Run) -> bool {
        if *self.watcher.seen() == self.seen {
            return false;
        }
        self.seen = self.watcher.seen().clone();
        let mut seen = self.seen.clone();
        for said in [&mut seen.session, &mut seen.model, &mut seen.last_tool, &mut seen.last_text] {
            *said = said.as_deref().map(|said| output::mask(said, &self.secrets));
        }
        run.record.found.seen = Some(seen);
        true
    }

    /// Ends an agent that makes the same calls again and again while its workspace stays as it is.
    fn look_for_loops(&mut self, run: &Run, child: &Attempt) {
        if self.ended.is_some() {
            return;
        }
        let Some(seen) = self.watcher.loops() else { return self.repeating = None };
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
                    let words = output::mask(&seen.words, &self.secrets);
                    let reason = format!("ended: {words} for {}", text::duration(seen.patience));
                    self.end(run, child, seen.class, reason);
                }
            }
            old => *old = Some(LoopDetection { since: looked, looked, content }),
        }
    }
}

/// Notes that the agent waits for its limited service by itself; nobody else need ask before that time.
fn note_limit(run: &Run, until: DateTime<Utc>) {
    let (mine, id) = (run.lease(), &run.lease().task_id);
    let reason = format!("too many requests; the agent on {id} waits, and goes on by itself");
    if run.shared.note("that the pool is limited", |snapshot| pool::waits(snapshot, mine, &reason, until)) {
        log::info!(task = id.as_str(); "{id}: {reason}");
    }
}

/// Returns why the attempt has to end for what it has used up. A figure that is not known does not count; the rest still
/// binds.
fn over_budget(run: &Run, seen: &Observation) -> Option<String> {
    let left = budget::left(&run.snapshot, run.shared.workflow(), &run.assignment.task, run.shared.role());
    let (tokens, turns) = (seen.usage.tokens(), seen.usage.turns.unwrap_or(seen.steps));
    let dollars = left.micros.map(|micros| micros as f64 / 1e6);
    match (left.tokens, dollars.zip(seen.usage.cost_usd), left.turns) {
        (Some(limit), ..) if tokens >= limit => {
            Some(format!("{tokens} tokens are used up; the budget had {limit} left"))
        }
        (_, Some((limit, cost)), _) if cost >= limit => {
            Some(format!("${cost:.2} is used up; the budget had ${limit:.2} left"))
        }
        (.., Some(limit)) if turns >= limit => Some(format!("{turns} turns are used up; the budget had {limit} left")),
        _ => None,
    }
}
