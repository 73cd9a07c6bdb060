//! A daemon leaves the terminal: one function over `daemonize`, and the word that its parent waits for.
//!
//! Must run before any thread exists. The parent learns whether the daemon became ready, and when it
//! did not, with which exit code and what the log says; what to print, the binary decides.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use daemonize::{Daemonize, Outcome};
use rustix::fs::Mode;

use super::{
    FleetError,
    holder::readable_by,
    pidfile::{self, State},
};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files::{self, FileError};

/// How long a daemon may take to become ready.
pub const READY_WITHIN: Duration = Duration::from_secs(30);
/// A log above this size is put aside when a daemon starts.
const LOG_LIMIT: u64 = 8 << 20;
/// How much of a log's end is shown.
const TAIL_LINES: usize = 8;
const TAIL_BYTES: u64 = 16 << 10;

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Side {
    /// The one that was started; it tells the outcome and exits.
    Parent(Verdict),
    /// The daemon.
    Child(Reporter),
}

/// What the parent learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The daemon is ready.
    Ready {
        /// Its pid.
        pid: u32,
    },
    /// The daemon has ended, or is not ready in time.
    Failed {
        /// The exit code it announced; 70 when it could not.
        code: u8,
        /// What it wrote into its log since this start, the last lines.
        tail: Vec<String>,
        /// The log.
        log: PathBuf,
    },
}

/// The daemon's end: one word to the parent. Dropped without a word it means that the daemon ended.
#[derive(Debug)]
pub struct Reporter(PipeWriter);

impl Reporter {
    /// Tells that the daemon holds its pid file and watches the queue.
    pub fn ready(mut self) {
        // A parent that was killed does not read; that is nobody's trouble.
        let _ = writeln!(self.0, "ready {}", std::process::id());
    }

    /// Tells that the daemon is about to exit with this code.
    pub fn failed(mut self, code: u8) {
        let _ = writeln!(self.0, "failed {code}");
    }
}

/// Leaves the terminal, the session and the parent; standard output and error go to the log of this name.
pub fn detach(layout: &Layout, name: &str) -> Result<Side, FleetError> {
    if let State::Running(holder) = pidfile::inspect(layout, name)? {
        return Err(FleetError::Running { name: name.into(), pid: Some(holder.pid) });
    }
    pidfile::private_dir(layout, &layout.logs())?;
    let path = pidfile::log_path(layout, name);
    let log = open_log(layout, &path)?;
    // What the log holds already is of earlier starts.
    let from = log.metadata().map_or(0, |meta| meta.len());
    let copy = log.try_clone().map_err(|source| FleetError::io("open the log", &path, source))?;
    let (reader, writer) = io::pipe().map_err(|source| FleetError::io("make a pipe for", &path, source))?;

    // What agents create later should look as if the user had: `daemonize` would set a mask of its own.
    let mask = rustix::process::umask(Mode::empty());
    rustix::process::umask(mask);
    let daemon = Daemonize::new().working_directory(layout.root()).umask(mask.bits()).stdout(log).stderr(copy);
    match daemon.execute() {
        Outcome::Parent(Ok(_)) => {
            // Else the daemon's death would be no end of file here.
            drop(writer);
            Ok(Side::Parent(listen(reader, &path, from, READY_WITHIN)))
        }
        Outcome::Child(Ok(_)) => {
            drop(reader);
            Ok(Side::Child(Reporter(writer)))
        }
        Outcome::Parent(Err(error)) | Outcome::Child(Err(error)) => Err(FleetError::Detach(error.to_string())),
    }
}

pub(super) fn open_log(layout: &Layout, path: &Path) -> Result<File, FileError> {
    if files::look(layout.root(), path)?.is_some_and(|meta| meta.is_file() && meta.len() > LOG_LIMIT) {
        files::rename(layout.root(), path, &path.with_extension("log.1"))?;
    }
    files::append(layout.root(), path)
}

fn listen(mut pipe: PipeReader, log: &Path, from: u64, within: Duration) -> Verdict {
    let failed = |code| Verdict::Failed { code, tail: tail(log, from), log: log.into() };
    let deadline = Instant::now() + within;
    let (mut line, mut bytes) = (Vec::new(), [0_u8; 64]);
    while !line.ends_with(b"\n") {
        match readable_by(&pipe, deadline) {
            Ok(true) => {}
            Ok(false) => return failed(75),
            Err(_) => return failed(70),
        }
        match pipe.read(&mut bytes) {
            Ok(0) | Err(_) => return failed(70),
            Ok(n) => line.extend_from_slice(&bytes[..n]),
        }
    }
    match String::from_utf8_lossy(&line).trim_end().split_once(' ') {
        Some(("ready", pid)) => pid.parse().map_or_else(|_| failed(70), |pid| Verdict::Ready { pid }),
        Some(("failed", code)) => failed(code.parse().unwrap_or(70)),
        _ => failed(70),
    }
}

/// Returns the last lines of a log after a position.
pub(super) fn tail(path: &Path, from: u64) -> Vec<String> {
    let root = path.ancestors().nth(2).unwrap_or(path);
    let length = files::look(root, path).ok().flatten().map_or(0, |meta| meta.len());
    let bytes = length.saturating_sub(from).min(TAIL_BYTES);
    let text = oodatcaa_sys::tail::text(root, path, bytes);
    oodatcaa_sys::tail::last(&text, TAIL_LINES, |line| !line.trim().is_empty()).into_iter().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(say: impl FnOnce(Reporter), log: &str) -> Verdict {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("builder.log");
        std::fs::write(&path, format!("of an earlier start\n{log}")).unwrap();
        let (reader, writer) = io::pipe().unwrap();
        say(Reporter(writer));
        match listen(reader, &path, 20, Duration::from_secs(10)) {
            Verdict::Failed { code, tail, .. } => Verdict::Failed { code, tail, log: PathBuf::new() },
            ready @ Verdict::Ready { .. } => ready,
        }
    }

    #[test]
    fn the_parent_hears_that_the_daemon_is_ready() {
        assert_eq!(heard(Reporter::ready, ""), Verdict::Ready { pid: std::process::id() });
    }

    #[test]
    fn the_parent_hears_the_exit_code_and_shows_only_this_starts_log() {
        let failed = |code, tail: &[&str]| Verdict::Failed {
            code,
            tail: tail.iter().map(|line| (*line).to_owned()).collect(),
            log: PathBuf::new(),
        };
        assert_eq!(heard(|r| r.failed(78), "no such role\n\n"), failed(78, &["no such role"]));
        assert_eq!(heard(drop, "a\nb\n"), failed(70, &["a", "b"]), "death without a word");
    }

    #[test]
    fn a_daemon_that_is_not_ready_in_time_is_reported() {
        let (reader, _writer) = io::pipe().unwrap();
        let verdict = listen(reader, Path::new("/nonexistent"), 0, Duration::ZERO);
        assert!(matches!(verdict, Verdict::Failed { code: 75, .. }));
    }

    #[test]
    fn a_large_log_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("builder.log");
        File::create(&path).unwrap().set_len(LOG_LIMIT + 1).unwrap();
        assert_eq!(open_log(&Layout::new(dir.path()), &path).unwrap().metadata().unwrap().len(), 0);
        assert!(dir.path().join("builder.log.1").exists());
    }
}
