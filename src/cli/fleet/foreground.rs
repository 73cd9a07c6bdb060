//! `agentctl fleet run`: a supervisor in the foreground, and what it and its workers write, in one stream.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    process::{Child, ExitStatus},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use super::super::{
    context::Context,
    fail::{Done, exit},
    ui::Tone,
};
use oodatcaa_core::{Role, layout::Layout, text::many_lines};
use oodatcaa_fleet::{Fleet, pidfile, supervisor::NAME};
use oodatcaa_ops::{ErrorKind, Failure};
use oodatcaa_sys::files;

/// The time between two looks at the workers' logs.
const LOOK: Duration = Duration::from_millis(250);

/// The longest part of a line that is kept until the rest of it comes.
const LINE: usize = 64 << 10;

/// News while it runs.
enum Heard {
    /// A line of the supervisor's.
    Line(String),
    /// A signal that means stop.
    Stop,
}

/// Keeps the workers of these roles until it is told to stop.
pub(super) fn run(ctx: &Context, fleet: &Fleet, roles: &[Role]) -> Done {
    if ctx.ui.json() {
        let message = "it shows lines of logs, and has no objects for programs";
        return Err(
            Failure::new(ErrorKind::Usage, message).hint("agentctl fleet start, and agentctl events tail --json")
        );
    }
    let heard = signals().map_err(|error| Failure::of(ErrorKind::Bug, &error))?;
    let layout = ctx.project.layout()?;
    let mut logs = Logs::of(layout, roles);
    let mut child = fleet.foreground(roles)?;
    let stderr = child.stderr.take().expect("it is a pipe");
    let lines = heard.0.clone();
    let reader = thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if lines.send(Heard::Line(line)).is_err() {
                return;
            }
        }
    });
    ctx.ui.say(&format!("{} kept here; Ctrl-C stops them, a second one at once", names(roles)));
    let status = follow(ctx, &mut child, &mut logs, &heard.1)?;
    // What it said last, and what its workers did.
    let _ = reader.join();
    while let Ok(Heard::Line(line)) = heard.1.try_recv() {
        show(ctx, NAME, 0, &line);
    }
    logs.show(ctx, true);
    ctx.ui.flush();
    Ok(match status.code() {
        Some(0) => exit::OK,
        Some(78 | 77) => exit::HUMAN,
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
fn follow(ctx: &Context, child: &mut Child, logs: &mut Logs, heard: &Receiver<Heard>) -> Result<ExitStatus, Failure> {
    loop {
        match heard.recv_timeout(LOOK) {
            Ok(Heard::Line(line)) => show(ctx, NAME, 0, &line),
            Ok(Heard::Stop) => {
                // It has ended by itself meanwhile; then there is nobody to tell.
                let _ = rustix::process::kill_process(
                    rustix::process::Pid::from_child(child),
                    rustix::process::Signal::TERM,
                );
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        logs.show(ctx, false);
        ctx.ui.flush();
        if let Some(status) = child.try_wait().map_err(|error| Failure::of(ErrorKind::Failed, &error))? {
            return Ok(status);
        }
    }
}

/// Returns what is heard, and where others put it; the signals that mean stop are taken from now on.
fn signals() -> std::io::Result<(std::sync::mpsc::Sender<Heard>, Receiver<Heard>)> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let (tell, heard) = channel();
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let told = tell.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if told.send(Heard::Stop).is_err() {
                return;
            }
        }
    })?;
    Ok((tell, heard))
}

/// Shows one line of one process, with its name in front.
fn show(ctx: &Context, name: &str, at: usize, line: &str) {
    const TONES: [Tone; 5] = [Tone::Strong, Tone::Busy, Tone::Good, Tone::Warn, Tone::Plain];
    let name = TONES[at % TONES.len()].paint(&format!("{name:<12}"));
    let line = many_lines(&anstream::adapter::strip_str(line).to_string());
    ctx.ui.verbatim(&format!("{name} {} {line}", Tone::Faint.paint("│")));
}

/// The logs of the workers that are shown.
struct Logs {
    layout: Layout,
    roles: Vec<Role>,
    open: Vec<Log>,
}

/// A log, from where it has not been shown yet.
struct Log {
    name: String,
    path: PathBuf,
    file: Option<File>,
    at: u64,
    rest: Vec<u8>,
}

impl Logs {
    fn of(layout: &Layout, roles: &[Role]) -> Self {
        let mut logs = Self { layout: layout.clone(), roles: roles.to_vec(), open: Vec::new() };
        for role in roles {
            logs.add(pidfile::name(role, None));
        }
        // What they hold already is of earlier starts.
        for log in &mut logs.open {
            log.at = log.path.metadata().map_or(0, |meta| meta.len());
        }
        logs
    }

    fn add(&mut self, name: String) {
        if !self.open.iter().any(|log| log.name == name) {
            let path = pidfile::log_path(&self.layout, &name);
            self.open.push(Log { name, path, file: None, at: 0, rest: Vec::new() });
        }
    }

    /// Shows what is new. At the end also a last line that has no end.
    fn show(&mut self, ctx: &Context, is_over: bool) {
        for name in pidfile::names(&self.layout).unwrap_or_default() {
            if self.roles.iter().any(|role| role.as_str() == pidfile::role_of(&name)) {
                self.add(name);
            }
        }
        for (at, log) in self.open.iter_mut().enumerate() {
            for line in log.lines(&self.layout, is_over) {
                show(ctx, &log.name, at + 1, &line);
            }
        }
    }
}

impl Log {
    /// Returns the lines that are new. One that cannot be read has none.
    fn lines(&mut self, layout: &Layout, is_over: bool) -> Vec<String> {
        if self.file.is_none() {
            self.file = files::open(layout.root(), &self.path).ok().flatten();
        }
        let Some(file) = &mut self.file else { return Vec::new() };
        let length = file.metadata().map_or(0, |meta| meta.len());
        if length < self.at {
            // It was emptied.
            self.at = 0;
        }
        let mut new = Vec::new();
        if length > self.at && file.seek(SeekFrom::Start(self.at)).is_ok() {
            self.at += file.take(length - self.at).read_to_end(&mut new).unwrap_or(0) as u64;
        }
        self.rest.extend_from_slice(&new);
        let end = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let whole = if is_over || self.rest.len() > LINE + end { self.rest.len() } else { end };
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        if self.path.metadata().is_ok_and(|now| !is_same(&now, file)) {
            // A start put the old one aside; the new one is read from its beginning.
            (self.file, self.at) = (None, 0);
        }
        String::from_utf8_lossy(&lines).lines().map(String::from).collect()
    }
}

fn is_same(meta: &std::fs::Metadata, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().is_ok_and(|other| (meta.dev(), meta.ino()) == (other.dev(), other.ino()))
}
