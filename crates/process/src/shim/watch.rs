//! From a program's start until nothing of it is left: limits, orders, and how they escalate.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, wait},
};

use super::{Log, events::EventSource, memory::Memory, output::Output};
use crate::{
    Ended, Exit, Limits, Stop, StopCause, tree,
    wire::{ORPHAN_GRACE, Order},
};
use oodatcaa_sys::identity::Process;

/// What a program leaves behind may be just about to end, like the last part of a pipeline.
const COURTESY: Duration = Duration::from_millis(100);

/// Longest grace for what outlives the program.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// Between two rounds of killing.
const ROUND: Duration = Duration::from_millis(50);

/// After this the processes that do not even die from KILL (stuck in the kernel) are left to the system.
const GIVE_UP: Duration = Duration::from_secs(30);

/// How far it has come.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The program runs and may.
    Running,
    /// It has ended by itself; the rest gets a moment to do so, too.
    Lingering { until: Instant },
    /// All were asked to end.
    Terminating { until: Instant },
    /// All are killed, again and again.
    Killing { next: Instant, since: Instant },
}

/// One running program and all that comes from it.
pub(super) struct Watch {
    program: u32,
    output: Output,
    memory: Memory,
    limits: Limits,
    began: Instant,
    phase: Phase,
    cause: Option<StopCause>,
    /// How the program ended, and when.
    status: Option<(WaitStatus, Instant)>,
    leftovers: HashSet<(u32, u64)>,
    orphaned: bool,
}

impl Watch {
    /// Watches a program that was just started.
    pub(super) fn new(program: u32, output: Output, limits: &Limits) -> Self {
        Self {
            program,
            output,
            memory: Memory::new(limits.memory, Instant::now()),
            limits: *limits,
            began: Instant::now(),
            phase: Phase::Running,
            cause: None,
            status: None,
            leftovers: HashSet::new(),
            orphaned: false,
        }
    }

    /// Watches until nothing of it is left.
    pub(super) fn watch(mut self, events: &mut EventSource, log: &Log) -> Exit {
        while self.reap() {
            let now = Instant::now();
            self.heed(events, now, log);
            self.advance(now, log);
            if let Phase::Killing { since, .. } = self.phase
                && now > since + GIVE_UP
            {
                let stuck = tree::descendants(std::process::id());
                log.note(&format!(
                    "these processes do not end: {:?}",
                    stuck.iter().map(|seen| seen.pid).collect::<Vec<_>>()
                ));
                break;
            }
            let timeout = self.next().map(|next| next.saturating_duration_since(Instant::now()));
            if let Err(error) = events.wait(timeout) {
                // Deaf, it can only make an end.
                log.note(&format!("failed to wait: {error}"));
                self.kill(Instant::now());
                std::thread::sleep(ROUND);
            }
        }
        self.exit()
    }

    /// Takes in the dead; `false` when no child is left, and so nobody below them either.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_pid().cast_unsigned() == self.program => {
                    self.program_ended(status);
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn program_ended(&mut self, status: WaitStatus) {
        let now = Instant::now();
        self.status = Some((status, now));
        match &mut self.phase {
            // Asking at once would cut off what the rest of a pipeline is just writing.
            Phase::Running => self.phase = Phase::Lingering { until: now + COURTESY.min(self.limits.grace) },
            Phase::Terminating { until } => *until = (*until).min(now + LEFTOVER_GRACE),
            Phase::Lingering { .. } | Phase::Killing { .. } => {}
        }
    }

    /// Does what orders and the worker's death demand.
    fn heed(&mut self, events: &mut EventSource, now: Instant, log: &Log) {
        while let Some(order) = events.order() {
            match order {
                Ok(Order::Stop(stop)) => self.stop(stop, StopCause::Asked, now),
                Ok(Order::Start(_)) => log.note("asked to start a second time"),
                Err(error) => log.note(&format!("failed to understand a request: {error}")),
            }
        }
        if events.worker_gone() && !self.orphaned {
            self.orphaned = true;
            self.stop(Stop::Gently, StopCause::WorkerGone, now);
            self.hurry(now + ORPHAN_GRACE);
        }
    }

    /// Shortens the time that those who were asked to end have left.
    fn hurry(&mut self, latest: Instant) {
        if let Phase::Terminating { until } = &mut self.phase {
            *until = (*until).min(latest);
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Instant, log: &Log) {
        match self.phase {
            Phase::Running => {
                if self.deadline().is_some_and(|deadline| now >= deadline) {
                    self.stop(Stop::Gently, StopCause::Wall, now);
                } else if let Some(cause) = self.output.look(now) {
                    self.stop(Stop::Gently, cause, now);
                } else if let Some(held) = self.memory.look(now) {
                    log.note(&held);
                    self.stop(Stop::Gently, StopCause::Memory, now);
                    // Who takes too much is not given time to take more.
                    self.hurry(now + LEFTOVER_GRACE);
                }
            }
            Phase::Lingering { until } if now >= until => self.terminate(now),
            Phase::Terminating { until } if now >= until => self.kill(now),
            Phase::Killing { next, since } if now >= next => self.kill(since),
            // What is still written is cut all the same.
            Phase::Terminating { .. } => {
                self.output.look(now);
            }
            Phase::Lingering { .. } | Phase::Killing { .. } => {}
        }
    }

    /// Returns when something will be due.
    fn next(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => [self.deadline(), self.output.next(), self.memory.next()].into_iter().flatten().min(),
            Phase::Lingering { until } => Some(until),
            Phase::Terminating { until } => Some(self.output.next().map_or(until, |look| look.min(until))),
            Phase::Killing { next, .. } => Some(next),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.limits.wall().map(|wall| self.began + wall)
    }

    fn stop(&mut self, stop: Stop, cause: StopCause, now: Instant) {
        if matches!(self.phase, Phase::Running) {
            self.cause = Some(cause);
        }
        match (stop, self.phase) {
            (_, Phase::Killing { .. }) | (Stop::Gently, Phase::Terminating { .. }) => {}
            (Stop::Gently, Phase::Running | Phase::Lingering { .. }) => self.terminate(now),
            (Stop::Now, _) => self.kill(now),
        }
    }

    fn terminate(&mut self, now: Instant) {
        let family = tree::descendants(std::process::id());
        self.count(&family);
        tree::terminate(&family);
        if family.is_empty() {
            self.signal_group(Signal::TERM);
        }
        let grace = if self.status.is_some() { self.limits.grace.min(LEFTOVER_GRACE) } else { self.limits.grace };
        self.phase = Phase::Terminating { until: now + grace };
    }

    /// Kills all that is there, for the first time or once more `since` then.
    fn kill(&mut self, since: Instant) {
        self.signal_group(Signal::KILL);
        // Also those that left the group by `setsid`: as orphans they are our children.
        let met = tree::kill(|| tree::descendants(std::process::id()));
        self.count(&met);
        self.phase = Phase::Killing { next: Instant::now() + ROUND, since };
    }

    /// Reaches the program also where processes cannot be listed, as when descriptors have run out. While it
    /// is not reaped, its number is nobody else's.
    fn signal_group(&self, signal: Signal) {
        if let (None, Some(group)) = (self.status, i32::try_from(self.program).ok().and_then(Pid::from_raw)) {
            let _ = kill_process_group(group, signal);
        }
    }

    /// Counts those that live although the program does not.
    fn count(&mut self, family: &[Process]) {
        if self.status.is_some() {
            self.leftovers.extend(family.iter().filter(|seen| !seen.dead).map(Process::identity));
        }
    }

    fn exit(mut self) -> Exit {
        let (ended, end) = match self.status {
            Some((status, end)) => (ended(status), end),
            None => (Ended::Unknown, Instant::now()),
        };
        Exit {
            ended,
            stopped: self.cause,
            millis: u64::try_from((end - self.began).as_millis()).unwrap_or(u64::MAX),
            leftovers: u32::try_from(self.leftovers.len()).unwrap_or(u32::MAX),
            output: self.output.finish(),
        }
    }
}

fn ended(status: WaitStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, Some(signal)) => Ended::Signalled(signal),
        (None, None) => Ended::Unknown,
    }
}
