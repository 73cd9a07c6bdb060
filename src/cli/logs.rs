//! `agentctl logs`: what an attempt's agent or gate wrote, as it grows, and on into the next attempt.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    context::Context,
    fail::{Done, exit},
    ui::Tone,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{LeaseState, Snapshot, TaskId, Token, lease::LeaseHealth, text::many_lines};
use oodatcaa_ops::{ErrorKind, Failure, ReadModel, TaskState, runs, view::LogView};
use oodatcaa_sys::files;

/// Flags of `logs`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// TASK for its newest attempt, or TASK/TOKEN
    #[arg(value_name = "RUN")]
    run: String,
    /// Go on with what is written from now on, and into the next attempt of a TASK
    #[arg(short, long)]
    follow: bool,
    /// Standard error instead of standard output
    #[arg(long, conflicts_with = "gate")]
    stderr: bool,
    /// The log of this gate
    #[arg(long, value_name = "NAME")]
    gate: Option<String>,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<usize>,
    /// Byte for byte, control characters included
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

impl Args {
    fn file(&self) -> Result<String, Failure> {
        match &self.gate {
            None if self.stderr => Ok("stderr.log".into()),
            None => Ok("stdout.log".into()),
            // A gate's name is a part of a file's name: it must not lead anywhere else.
            Some(gate) => TaskId::parse(gate)
                .map(|gate| format!("gate-{gate}.log"))
                .map_err(|bad| Failure::new(ErrorKind::Usage, format!("the gate's name {bad}"))),
        }
    }
}

/// How often a log that grows is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// Prints a log.
pub(super) fn run(ctx: &Context, args: &Args) -> Done {
    let snapshot = ctx.read()?.snapshot;
    let (task, token) = runs::named(&ctx.project, &snapshot, &args.run)?;
    let wanted = Wanted { ctx, args, layout: ctx.project.layout()?, task, name: args.file()? };
    if args.follow {
        return wanted.follow(token);
    }
    let token = token.or_else(|| wanted.newest(&snapshot));
    wanted.once(&snapshot, token.ok_or_else(|| runs::none(wanted.layout, &wanted.task, None))?)
}

/// The log that is wanted, of whichever attempt on a task.
struct Wanted<'a> {
    ctx: &'a Context,
    args: &'a Args,
    layout: &'a Layout,
    task: TaskId,
    name: String,
}

impl Wanted<'_> {
    fn dir(&self, snapshot: &Snapshot, token: Token) -> PathBuf {
        runs::dir(self.layout, snapshot, &self.task, token)
    }

    /// Returns the last attempt that has such a log, for a merge runs no agent; else the last of all.
    fn newest(&self, snapshot: &Snapshot) -> Option<Token> {
        let tokens = runs::tokens(self.layout, &self.task);
        let has_it = |token: &&Token| self.dir(snapshot, **token).join(&self.name).is_file();
        tokens.iter().rev().find(has_it).or(tokens.last()).copied()
    }

    /// Opens the log of an attempt.
    fn open(&self, snapshot: &Snapshot, token: Token) -> Result<Option<Log>, Failure> {
        let path = self.dir(snapshot, token).join(&self.name);
        Log::open(self.layout, &path, format!("{}/{token}", self.task), self.args.tail)
    }

    fn heading(&self, token: Token) {
        if self.ctx.ui.pretty() {
            self.ctx.ui.say(&Tone::Faint.paint(&format!("── {}/{token} {} ──", self.task, self.name)));
        }
    }

    fn once(&self, snapshot: &Snapshot, token: Token) -> Done {
        let Self { ctx, args, layout, task, name } = self;
        let dir = self.dir(snapshot, token);
        if !dir.is_dir() {
            return Err(runs::none(layout, task, Some(token)));
        }
        let Some(mut log) = self.open(snapshot, token)? else {
            let there = others(layout, &dir);
            let message = format!("the attempt {task}/{token} has no {name}; it has: {there}");
            return Err(Failure::new(ErrorKind::NotFound, message).hint(format!("agentctl run show {task}/{token}")));
        };
        self.heading(token);
        if log.is_empty() {
            ctx.ui.say(&format!("nothing was written to {name}; how it ended: agentctl run show {task}/{token}"));
        }
        log.print(ctx, args.raw, true)?;
        Ok(exit::OK)
    }

    fn follow(&self, only: Option<Token>) -> Done {
        let Self { ctx, args, layout, task, .. } = self;
        let changes = ctx.project.store()?.changes()?;
        let (mut at, mut log, mut waiting) = (None, None, false);
        while !ctx.ui.closed() {
            // What is over is asked before the log is read: whatever was written is then there.
            let now = Now::look(ctx, task)?;
            if at.is_none() {
                at = only.or(now.running).or_else(|| self.newest(&now.snapshot));
                at.into_iter().for_each(|token| self.heading(token));
            }
            if let Some(token) = at {
                if log.is_none() {
                    log = self.open(&now.snapshot, token)?;
                }
                let over = now.running != Some(token);
                if let Some(log) = &mut log {
                    log.print(ctx, args.raw, over)?;
                }
                let next = (over && only.is_none()).then(|| runs::newest(layout, task)).flatten();
                if let Some(next) = next.filter(|&next| next > token) {
                    self.heading(next);
                    (at, log, waiting) = (Some(next), None, false);
                    continue;
                }
                if over && (only.is_some() || now.ended) {
                    return Ok(exit::OK);
                }
            } else if now.ended {
                return Err(runs::none(layout, task, None));
            }
            if now.running.is_none() && !waiting {
                ctx.ui.say(&Tone::Faint.paint(&format!("no attempt runs now: {}", now.why)));
            }
            waiting = now.running.is_none();
            let _ = changes.recv_timeout(LOOK);
        }
        Ok(exit::OK)
    }
}

fn others(layout: &Layout, dir: &Path) -> String {
    let entries = files::list(layout.root(), dir, 1_000).ok().flatten().unwrap_or_default();
    let names: Vec<String> = entries
        .into_iter()
        .filter_map(|entry| entry.name.into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "log"))
        .collect();
    if names.is_empty() { "no logs".into() } else { names.join(", ") }
}

/// How the task stands at one look.
struct Now {
    snapshot: Snapshot,
    running: Option<Token>,
    ended: bool,
    why: String,
}

impl Now {
    fn look(ctx: &Context, task: &TaskId) -> Result<Self, Failure> {
        let snapshot = ctx.project.store()?.read()?.snapshot;
        let live = snapshot.leases.get(task).filter(|held| held.health(&snapshot.now) == LeaseHealth::Live);
        let model = ReadModel::new(&snapshot, ctx.workflow());
        let found = snapshot.queue.get(task);
        let ended =
            |state| matches!(state, TaskState::Done | TaskState::Cancelled | TaskState::NeedsYou | TaskState::Failed);
        let running = live.map(LeaseState::token);
        let over = found.is_none_or(|task| ended(model.state(task)));
        let why = found.map_or("the task has left the queue".into(), |task| model.sentence(task));
        Ok(Self { running, ended: over, why, snapshot })
    }
}

/// A log file and how far it has been printed.
pub(super) struct Log {
    /// Names the attempt, `TASK/TOKEN`, or the worker.
    run: String,
    /// The beginning of each line that is shown to a person.
    pub(super) mark: String,
    path: PathBuf,
    file: File,
    /// Counts what stands before the printed part of a log that is too long.
    left_out: u64,
    /// What has been read of a line that has not ended.
    rest: Vec<u8>,
}

/// A line longer than this is printed in parts.
const LINE: usize = 1 << 20;

/// Of a longer log only the end is printed: it is as much as an attempt may write where nobody allowed it more.
const MOST: u64 = 64 << 20;

impl Log {
    /// Opens a log, at its last lines where so many are wanted; `None` when there is none.
    pub(super) fn open(
        layout: &Layout,
        path: &Path,
        run: String,
        tail: Option<usize>,
    ) -> Result<Option<Self>, Failure> {
        let Some(mut file) = files::open(layout.root(), path)? else { return Ok(None) };
        let failed = |error: io::Error| Failure::io("read", path, &error);
        let first = file.metadata().map_err(failed)?.len().saturating_sub(MOST);
        let start = match tail {
            Some(lines) => last_lines(&mut file, lines, first).map_err(failed)?,
            None => first,
        };
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        let (left_out, mark, path) = (tail.map_or(first, |_| 0), String::new(), path.into());
        Ok(Some(Self { run, mark, path, file, left_out, rest: Vec::new() }))
    }

    fn is_empty(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.len() == 0)
    }

    /// Prints what is new: whole lines, and at the end of the attempt also the last that has no end.
    pub(super) fn print(&mut self, ctx: &Context, raw: bool, over: bool) -> Result<(), Failure> {
        let mut chunk = vec![0; 1 << 16];
        if self.left_out > 0 {
            let (bytes, path) = (std::mem::take(&mut self.left_out), self.path.display());
            ctx.ui.say(&format!("the log is too long to be printed: its first {bytes} bytes are only in {path}"));
        }
        loop {
            self.skip_hole();
            let read = self.file.read(&mut chunk).map_err(|error| Failure::io("read", &self.path, &error))?;
            if raw {
                ctx.ui.bytes(&chunk[..read]);
            } else {
                self.rest.extend_from_slice(&chunk[..read]);
                let end = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                let whole = if (read == 0 && over) || self.rest.len() > LINE { self.rest.len() } else { end };
                let lines: Vec<u8> = self.rest.drain(..whole).collect();
                self.show(ctx, &lines);
            }
            if read == 0 || ctx.ui.closed() {
                break;
            }
        }
        ctx.ui.flush();
        Ok(())
    }

    /// Tells whether another file has taken its place.
    pub(super) fn is_replaced(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let at = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let (ours, there) = (self.file.metadata().map(at), self.path.symlink_metadata().map(at));
        there.is_ok_and(|there| ours.is_ok_and(|ours| ours != there))
    }

    /// Passes over what nobody has written: `truncate -s` makes files of any length.
    fn skip_hole(&mut self) {
        let Ok(at) = self.file.stream_position() else { return };
        let data = rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(at));
        // There is nothing but a hole up to the end, or the file system does not tell.
        if matches!(data, Err(rustix::io::Errno::NXIO)) {
            let _ = self.file.seek(SeekFrom::End(0));
        }
    }

    fn show(&self, ctx: &Context, lines: &[u8]) {
        let stream = self.path.file_stem().map(|stem| stem.to_string_lossy());
        for line in String::from_utf8_lossy(lines).lines() {
            if ctx.ui.json() {
                ctx.ui.record(&LogView { run: &self.run, stream: stream.as_deref(), line });
            } else {
                ctx.ui.verbatim(&format!("{}{}", self.mark, plain(line)));
            }
        }
    }
}

/// Returns a line as a terminal may show it: colours are dropped rather than shown as rubbish; everything else that moves
/// a cursor is made visible.
pub(super) fn plain(line: &str) -> String {
    many_lines(&anstream::adapter::strip_str(line).to_string())
}

/// Finds where the last so many lines of a file begin, but not before `first`.
fn last_lines(file: &mut File, lines: usize, first: u64) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let (mut start, mut seen) = (length, 0);
    let mut chunk = vec![0; 1 << 16];
    while start > first {
        let size = (chunk.len() as u64).min(start - first);
        start -= size;
        let part = &mut chunk[..usize::try_from(size).expect("a chunk fits memory")];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        for (at, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + at as u64 + 1;
            // The line feed at the very end begins no line.
            if after < length {
                seen += 1;
                if seen == lines {
                    return Ok(after);
                }
            }
        }
    }
    Ok(if lines == 0 { length } else { first })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let mut file = tempfile::tempfile().expect("a file");
        let line = "x".repeat(999) + "\n";
        file.write_all(line.repeat(200).as_bytes()).expect("written");
        for (lines, start) in [(1, 199_000), (3, 197_000), (200, 0), (500, 0), (0, 200_000)] {
            assert_eq!(last_lines(&mut file, lines, 0).expect("read"), start, "{lines}");
        }
        file.seek(SeekFrom::End(0)).expect("there");
        file.write_all(b"no end").expect("written");
        assert_eq!(last_lines(&mut file, 1, 0).expect("read"), 200_000);
        assert_eq!(last_lines(&mut file, 2, 0).expect("read"), 199_000);
        assert_eq!(last_lines(&mut file, 500, 150_000).expect("read"), 150_000, "no further back");
    }
}
