//! `agentctl fleet run`: a supervisor in the foreground, and what it and its workers write, in one stream.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ExitStatus},
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, after, select, unbounded};
use rustix::process::{Pid, Signal, kill_process};

use super::super::{
    context::Context,
    fail::{Done, exit},
    logs::{self, Log},
    ui::Tone,
};
use crate::daemon::signals;
use oodatcaa_core::{Role, control, layout::Layout};
use oodatcaa_fleet::{Fleet, pidfile, supervisor::NAME};
use oodatcaa_ops::{ErrorKind, Failure};

/// The time between two looks at the workers' logs.
const LOOK: Duration = Duration::from_millis(250);

/// Keeps the workers of these roles until it is told to stop.
pub(super) fn run(ctx: &Context, fleet: &Fleet, roles: &[Role]) -> Done {
    if ctx.ui.json() {
        let message = "it shows lines of logs, and has no objects for programs";
        return Err(
            Failure::new(ErrorKind::Usage, message).hint("agentctl fleet start, and agentctl events tail --json")
        );
    }
    // Taken before the supervisor is there, which would not be stopped by one that comes in between.
    let signals = signals().map_err(|error| Failure::of(ErrorKind::Bug, &error))?;
    let mut logs = Logs::of(ctx.project.layout()?, roles)?;
    let mut child = fleet.foreground(roles)?;
    let stderr = child.stderr.take().expect("it is a pipe");
    let (tell, lines) = unbounded();
    let reader = thread::spawn(move || {
        // Whoever listens has left where a line cannot be told.
        BufReader::new(stderr).lines().map_while(Result::ok).all(|line| tell.send(line).is_ok());
    });
    ctx.ui.say(&format!("{} kept here; Ctrl-C stops them, a second one at once", names(roles)));
    let status = follow(ctx, &mut child, &mut logs, &lines, &signals)?;
    // What it said last, and what its workers did.
    let _ = reader.join();
    lines.try_iter().for_each(|line| show(ctx, &line));
    logs.print(ctx, true)?;
    ctx.ui.flush();
    Ok(match status.code() {
        Some(0) => exit::OK,
        Some(77 | 78) => exit::HUMAN,
        _ => exit::FAILED,
    })
}

fn names(roles: &[Role]) -> String {
    let names: Vec<&str> = roles.iter().map(Role::as_str).collect();
    match names.as_slice() {
        [one] => format!("{one} is"),
        [first @ .., last] => format!("{} and {last} are", first.join(", ")),
        [] => "nobody is".into(),
    }
}

/// Shows what comes until the supervisor has ended.
fn follow(
    ctx: &Context,
    child: &mut Child,
    logs: &mut Logs,
    lines: &Receiver<String>,
    signals: &Receiver<control::Signal>,
) -> Result<ExitStatus, Failure> {
    loop {
        select! {
            recv(lines) -> line => match line {
                Ok(line) => show(ctx, &line),
                // It has closed its output, and is about to end.
                Err(_) => thread::sleep(Duration::from_millis(5)),
            },
            // A terminal that was closed means stop as well. It may have ended by itself; then there is nobody to tell.
            recv(signals) -> _ => {
                let _ = kill_process(Pid::from_child(child), Signal::TERM);
            }
            recv(after(LOOK)) -> _ => {}
        }
        logs.print(ctx, false)?;
        ctx.ui.flush();
        if let Some(status) = child.try_wait().map_err(|error| Failure::of(ErrorKind::Failed, &error))? {
            return Ok(status);
        }
    }
}

/// Shows a line of the supervisor's.
fn show(ctx: &Context, line: &str) {
    ctx.ui.verbatim(&format!("{}{}", mark(NAME, 0), logs::plain(line)));
}

/// Returns the beginning of each line of a process.
fn mark(name: &str, at: usize) -> String {
    const TONES: [Tone; 5] = [Tone::Strong, Tone::Busy, Tone::Good, Tone::Warn, Tone::Plain];
    format!("{} {} ", TONES[at % TONES.len()].paint(&format!("{name:<12}")), Tone::Faint.paint("│"))
}

/// The logs of the workers that are shown.
struct Logs {
    layout: Layout,
    roles: Vec<Role>,
    shown: Vec<(String, Option<Log>)>,
}

impl Logs {
    fn of(layout: &Layout, roles: &[Role]) -> Result<Self, Failure> {
        let mut logs = Self { layout: layout.clone(), roles: roles.to_vec(), shown: Vec::new() };
        for role in roles {
            // What they hold already is of earlier starts.
            logs.add(pidfile::name(role, None), Some(0))?;
        }
        Ok(logs)
    }

    fn add(&mut self, name: String, tail: Option<usize>) -> Result<(), Failure> {
        if !self.shown.iter().any(|(known, _)| *known == name) {
            let log = self.open(&name, self.shown.len() + 1, tail)?;
            self.shown.push((name, log));
        }
        Ok(())
    }

    fn open(&self, name: &str, at: usize, tail: Option<usize>) -> Result<Option<Log>, Failure> {
        let mut log = Log::open(&self.layout, &pidfile::log_path(&self.layout, name), name.into(), tail)?;
        if let Some(log) = &mut log {
            log.mark = mark(name, at);
        }
        Ok(log)
    }

    /// Prints what is new. At the end also a last line that has no end.
    fn print(&mut self, ctx: &Context, is_over: bool) -> Result<(), Failure> {
        for name in pidfile::names(&self.layout)? {
            if self.roles.iter().any(|role| role.as_str() == pidfile::role_of(&name)) {
                // Of one that came meanwhile its beginning, without all that is of earlier starts.
                self.add(name, Some(20))?;
            }
        }
        for at in 0..self.shown.len() {
            let (name, mut log) = std::mem::take(&mut self.shown[at]);
            let is_replaced = log.as_ref().is_some_and(Log::is_replaced);
            if let Some(log) = &mut log {
                log.print(ctx, false, is_over || is_replaced)?;
            }
            if log.is_none() || is_replaced {
                // There is one now, or a start put the old one aside.
                log = self.open(&name, at + 1, None)?;
            }
            self.shown[at] = (name, log);
        }
        Ok(())
    }
}
