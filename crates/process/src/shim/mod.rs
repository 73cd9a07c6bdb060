//! The shim of an attempt, and then of the next: our own program in a hidden mode, between a worker and its agent.
//!
//! It has a session of its own and adopts every orphan from below, so that nothing its agent starts
//! can get away. It is one thread that waits for four things at once: an order of its worker, the
//! worker's death (the end of its standard input), the death of a child, and the next deadline.
//! What an agent is run for, it does not know.

mod events;
mod launch;
mod memory;
mod output;
mod watch;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{WaitOptions, wait},
};

use self::{events::EventSource, launch::launch, watch::Watch};
use super::{
    Ended, Exit, Report, platform,
    wire::{self, Order, Said, ShimRecord, Start},
};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files;

/// Runs as a shim until the attempt is over. Nothing but `agent-daemon` calls this.
pub fn main() -> ExitCode {
    serve().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn serve() -> io::Result<()> {
    // Fails only for the leader of a group, which a worker's child is not.
    let _ = rustix::process::setsid();
    let mut events = EventSource::new()?;
    while let Some(start) = next(&mut events)? {
        let log = Log(start.run_dir.clone());
        log.catch_panics();
        let exit = attend(&start, &mut events, &log);
        if let Err(error) = wire::write_exit(&start.run_dir, &exit, events.worker_gone()) {
            log.note(&format!("failed to write the exit: {error}"));
        }
        // Who looks into the directory of an attempt that is over must not take what follows for a part of it.
        let childless = matches!(wait(WaitOptions::NOHANG), Err(Errno::CHILD));
        let stays =
            childless && exit.stopped.is_none() && events.is_quiet() && ShimRecord::remove(&start.run_dir).is_ok();
        // A worker that cannot be told hears it by our end, and reads the exit in the directory.
        report(Report::Ended(exit), stays);
        if events.worker_gone()
            && let Some(wake) = &start.wake
            && let Err(error) = files::named::touch(wake)
            && error.kind() != io::ErrorKind::NotFound
        {
            log.note(&format!("failed to touch {}: {error}", wake.display()));
        }
        if !stays {
            break;
        }
    }
    Ok(())
}

/// Waits for work as long as it takes; a worker that leaves or a signal ends that.
fn next(events: &mut EventSource) -> io::Result<Option<Box<Start>>> {
    let order = loop {
        if let Some(order) = events.order() {
            break order;
        }
        if events.worker_gone() {
            return Ok(None);
        }
        events.wait(None)?;
    };
    match order {
        Ok(Order::Start(start)) => Ok(Some(start)),
        Ok(Order::Stop(_)) => Ok(None),
        Err(error) => {
            report(Report::Ended(not_started(format!("understand what to do: {error}"))), false);
            Ok(None)
        }
    }
}

/// Runs one attempt from start to end.
fn attend(start: &Start, events: &mut EventSource, log: &Log) -> Exit {
    // Who cannot be found again after a crash, or would lose orphans, starts nothing.
    // Both before the program: an orphan that went to `init` meanwhile would never come home.
    let ready = platform::adopt_orphans().and_then(|()| ShimRecord::of_this_process(&start.run_dir)?.write());
    if let Err(error) = ready {
        return not_started(format!("run the attempt in {}: {error}", start.run_dir.display()));
    }
    // From here on whoever sweeps finds the record. A worker that died before it was there may have
    // been swept already; its agent must not start after that.
    if events.wait(Some(Duration::ZERO)).is_err() || events.worker_gone() {
        return not_started("the worker was gone".into());
    }
    match launch(start) {
        Ok((pid, output, gateway)) => {
            report(Report::Started { pid, pgid: pid }, false);
            let exit = Watch::new(pid, output, &start.limits).watch(events, log);
            drop(gateway);
            exit
        }
        Err(ended) => Exit { ended, ..Exit::unknown() },
    }
}

fn not_started(error: String) -> Exit {
    Exit { ended: Ended::NotStarted { error, not_found: false }, ..Exit::unknown() }
}

/// Tells the worker, if there is one to hear it.
fn report(report: Report, stays: bool) {
    let said: Said = (report, stays);
    if let Ok(line) = wire::line(&said) {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
    }
}

/// `shim.log` in the attempt's directory; there only when there is something to say.
struct Log(PathBuf);

impl Log {
    fn note(&self, text: &str) {
        let path = self.0.join("shim.log");
        if let Ok(mut file) = files::append(Layout::root_of(&path), &path) {
            let _ = writeln!(file, "{text}");
        }
    }

    fn catch_panics(&self) {
        let log = Self(self.0.clone());
        std::panic::set_hook(Box::new(move |panic| log.note(&panic.to_string())));
    }
}
