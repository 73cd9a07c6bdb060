//! The words about each worker while a fleet is started and stopped, and what they come to.

use std::collections::BTreeSet;

use super::super::{
    context::Context,
    fail::{Done, exit},
    ui::Tone,
};
use super::{READY, STOP_AFTER, Which, pauses, state};
use oodatcaa_core::{
    LeaseState, Role,
    text::{self, one_line},
};
use oodatcaa_fleet::{Backend, Choice, Fleet, Happened, Mode, Report};
use oodatcaa_ops::{
    Failure,
    view::{FleetView, WorkerResult},
};

/// Says why a stop may take a while. What cannot be read is no reason not to stop.
fn tell_attempts(ctx: &Context, roles: &[Role]) {
    let Ok(reading) = ctx.project.store().and_then(|store| Ok(store.read()?)) else { return };
    let held = reading.snapshot.leases.values().filter_map(LeaseState::ours);
    let running = held.filter(|lease| roles.contains(&lease.role)).count();
    let drain = ctx.project.loaded().map_or(STOP_AFTER, |loaded| loaded.config.fleet.shutdown_timeout);
    if running > 0 {
        let (attempts, drain) = (text::many(running, "attempt"), text::duration(drain));
        ctx.ui.say(&format!("{attempts} may end within {drain}; what has not ended by then is stopped and given back"));
    }
}

pub(super) fn tell_choice(ctx: &Context, choice: &Choice) {
    let mode = match choice.mode {
        Mode::Systemd => "systemd user units",
        Mode::PidFile => "PID files",
    };
    ctx.ui.say(&format!("mode: {mode}, because {}", choice.why));
    for note in &choice.notes {
        ctx.ui.say(&format!("note: {note}"));
    }
}

/// What has been told so far, for the end.
#[derive(Default)]
pub(super) struct Told {
    pub(super) failed: usize,
    /// One of them waits for a human.
    human: bool,
    /// Hints that were given for one that failed, without its name.
    hints: BTreeSet<String>,
    pub(super) workers: Vec<WorkerResult>,
}

impl Told {
    pub(super) fn start(
        mut self,
        ctx: &Context,
        fleet: &Fleet,
        which: &Which,
        choice: &Choice,
        roles: &[Role],
    ) -> Done {
        pauses::forgive(ctx, roles);
        fleet.start(choice.mode, roles, which.wait.unwrap_or(READY), &mut |report| self.take(ctx, report))?;
        self.end(ctx, fleet, choice, roles)
    }

    pub(super) fn stop(
        mut self,
        ctx: &Context,
        fleet: &Fleet,
        backend: Backend,
        which: &Which,
        roles: &[Role],
    ) -> Result<Self, Failure> {
        tell_attempts(ctx, roles);
        fleet.stop(backend, roles, which.wait, &mut |report| self.take(ctx, report))?;
        Ok(self)
    }

    pub(super) fn take(&mut self, ctx: &Context, report: &Report) {
        let (tone, result, pid, words) = match &report.what {
            Happened::Started { pid } => (Tone::Good, "started", Some(*pid), format!("started, process {pid}")),
            Happened::RunsAlready { pid, mode } => {
                let process = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
                (Tone::Good, "already_running", *pid, format!("is already running ({}){process}", mode.as_str()))
            }
            Happened::Draining { attempts } => {
                let left = text::many(*attempts, "attempt");
                (Tone::Good, "draining", None, format!("claims nothing more; {left} may end"))
            }
            Happened::Stopped { killed: false } => (Tone::Good, "stopped", None, "stopped".into()),
            Happened::Stopped { killed: true } => {
                (Tone::Warn, "killed", None, "did not stop in time and was killed".into())
            }
            Happened::NotRunning { stale } => {
                let removed = if *stale { "; a stale pid file was removed" } else { "" };
                (Tone::Plain, "not_running", None, format!("not running{removed}"))
            }
            Happened::Failed { why, .. } => (Tone::Bad, "failed", None, one_line(why)),
        };
        let sign = match tone {
            Tone::Good => '✓',
            Tone::Warn => '!',
            Tone::Bad => '✗',
            _ => '·',
        };
        ctx.ui.say(&tone.paint(&format!("{sign} {:<12} {words}", report.name)));
        let mut worker = WorkerResult { name: report.name.clone(), result, pid, error: None, log: None };
        if let Happened::Failed { why, lines, human } = &report.what {
            self.failed += 1;
            self.human |= human;
            (worker.error, worker.log) = (Some(why.clone()), Some(lines.clone()));
            for line in lines {
                // What helps is the same for all that fail in the same way.
                if !is_hint(line) || self.hints.insert(line.replace(&report.name, "ROLE")) {
                    ctx.ui.say(&format!("    {}", one_line(line)));
                }
            }
        }
        self.workers.push(worker);
    }

    pub(super) fn end(self, ctx: &Context, fleet: &Fleet, choice: &Choice, roles: &[Role]) -> Done {
        let rows = fleet.status(roles)?;
        if ctx.ui.json() {
            ctx.ui.value(&FleetView { results: Some(self.workers), ..state::view(fleet, choice, &rows, roles)? });
        } else {
            ctx.ui.say(&state::summary(&rows, roles));
        }
        Ok(match (self.human, self.failed) {
            (true, _) => exit::HUMAN,
            (false, 0) => exit::OK,
            (false, _) => exit::FAILED,
        })
    }
}

fn is_hint(line: &str) -> bool {
    ["hint:", "see:"].iter().any(|word| line.trim_start().starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_is_told_apart_from_what_happened() {
        assert!(is_hint(" hint: agentctl init") && is_hint("  see: agentctl help agents"));
        assert!(!is_hint("error: failed to see: a hint"));
    }
}
