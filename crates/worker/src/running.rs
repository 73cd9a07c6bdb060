//! Second phase: the agent, from its start to its end.

use std::time::Duration;

use crate::{
    follow::{AgentWatch, Child},
    prepare::{Prepared, cannot_write},
    prompt, resume,
    run::Run,
    sandbox::Confined,
};
use oodatcaa_agent::Watcher;
use oodatcaa_core::{Class, Outcome, budget, text};
use oodatcaa_process::{Attempt, Limits, StopCause};
use oodatcaa_sys::files;

/// An agent at work.
pub(crate) struct Running {
    child: Attempt,
    /// Its confinement.
    sandbox: Confined,
    /// Its output, where that can be understood.
    watch: Option<AgentWatch>,
    /// What the budgets leave of time, where that is less than the role's own limit.
    time_left: Option<Duration>,
}

impl Running {
    /// Writes the prompt and starts the agent.
    pub(crate) fn start(run: &mut Run, prepared: &Prepared) -> Result<Self, Outcome> {
        // First, so that the start-up of a new one overlaps with ours.
        let shim = run.shared.setup.shims.take();
        let resume = resume::open(run, prepared.workspace.as_ref())?;
        let mut sandbox = Confined::agent(run)?;
        run.assignment.confined = sandbox.is_on();
        run.assignment.sandboxed = sandbox.replaces_others();
        let shared = std::sync::Arc::clone(&run.shared);
        let letters = shared.letters();
        prompt::write(run, prepared, resume.as_ref(), sandbox.writable(), &letters.told())?;
        let out = run.assignment.out_dir();
        files::make_dir(run.shared.setup.layout.root(), &out)
            .map_err(|error| cannot_write(&out.display().to_string(), &error.into()))?;
        let agent = run.shared.agent(&run.lease().by);
        let mut invocation = agent.invocation(&run.assignment);
        invocation.env.extend(run.env.clone());
        sandbox.dress(&mut invocation)?;
        let watcher = agent.watcher(&run.assignment);
        let role = &run.shared.setup.role;
        let (wall, time_left) = wall(run, role.timeout);
        let limits = Limits {
            wall,
            silence: Some(role.idle_timeout).filter(|limit| !limit.is_zero()),
            output: role.output,
            grace: agent.grace().unwrap_or(run.shared.setup.config.fleet.grace),
            memory: role.memory,
        };
        // On disk before the agent starts, so that a crash leaves a record of what was started.
        run.record.argv = invocation.argv.clone();
        run.record.env = invocation.env.keys().cloned().collect();
        run.save();
        if !run.is_still_mine() {
            return Err(Outcome::failed(Class::Superseded, "its task was taken over before its agent was started"));
        }
        // Touched by the shim when we die, which wakes the other workers.
        let wake = run.shared.setup.layout.lease(&run.assignment.task.id);
        let child = shim
            .and_then(|shim| shim.run(&run.assignment.run_dir, &invocation, &limits, Some(&wake)))
            .map_err(|error| Outcome::failed(Class::AgentCrashed, format!("the shim cannot be started: {error}")))?;
        letters.arrive();
        let secrets = run.secrets();
        let watch = watcher.map(|watcher| AgentWatch::new(watcher, &run.assignment.run_dir, secrets));
        Ok(Self { child, sandbox, watch, time_left })
    }

    /// Waits for the agent's end, and returns what it means.
    pub(crate) fn finish(mut self, run: &mut Run) -> Outcome {
        let exit = run.follow(&self.child, Child::Agent(self.watch.as_mut()));
        run.send_mail();
        run.record.found.exit = Some(exit.clone());
        match self.sandbox.report(&exit) {
            Ok(report) => run.record.found.confined = report,
            Err(failed) => return failed,
        }
        let (mut lingered, mut ended) = (false, None);
        if let Some(watch) = &mut self.watch {
            watch.finish(run);
            (lingered, ended) = (watch.lingered, watch.ended.take());
        }
        let watcher = self.watch.as_ref().map(|watch| &watch.watcher);
        // The watcher has read all of the output already.
        let agent = || run.shared.agent(&run.lease().by).outcome(&run.assignment, &exit, watcher);
        match (ended.filter(|_| run.stopped.is_none()), self.time_left, exit.stopped) {
            (Some((class, reason)), ..) => {
                // What it had completed before its budget ended it is not thrown away.
                let completed = (class == Class::BudgetExceeded).then(agent).filter(Outcome::is_success);
                let retry_at = watcher.and_then(Watcher::retry_at);
                completed.unwrap_or(Outcome::Failed { class, reason, retry_at })
            }
            (_, Some(left), Some(StopCause::Wall)) => {
                let reason = format!("its time is used up; the budget had {} left", text::duration(left));
                Outcome::failed(Class::BudgetExceeded, reason)
            }
            // A program that does not end by itself after its last event is judged as if it had.
            (.., Some(StopCause::Asked)) if lingered && run.stopped.is_none() => agent(),
            _ => run.stopped_outcome(&exit).unwrap_or_else(agent),
        }
    }
}

/// Returns the wall-clock limit, and what the budgets leave where that is the limit.
fn wall(run: &Run, of_role: Duration) -> (Option<Duration>, Option<Duration>) {
    let left = budget::left(&run.snapshot, run.shared.workflow(), &run.assignment.task, run.shared.role()).wall;
    let of_role = Some(of_role).filter(|limit| !limit.is_zero());
    let left = left.filter(|left| of_role.is_none_or(|limit| *left < limit));
    (left.or(of_role), left)
}
