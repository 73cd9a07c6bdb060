//! What worker and shim say to each other, and what the shim leaves in the attempt's directory.
//!
//! One JSON object a line: orders on the shim's standard input, reports on its standard output.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Exit, Invocation, Limits, Stop};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::{
    files::{self, Durable},
    identity,
    project::Identity,
};

/// The argument that makes a program of ours a shim.
pub(super) const MODE: &str = "shim";

/// The variable that marks every process of an attempt: the attempt's directory, absolute.
pub(super) const TAG: &str = "OODATCAA_RUN_DIR";

/// Returns the variable, with its value, that makes a process part of the attempt with this directory: what ends an attempt's
/// leftovers finds it by that.
pub fn tag(run_dir: &Path) -> (String, String) {
    let dir = std::path::absolute(run_dir).unwrap_or_else(|_| run_dir.to_owned());
    (TAG.into(), dir.to_string_lossy().into_owned())
}

/// The shim's identity in the attempt's directory.
const SHIM_FILE: &str = "shim.json";

/// The attempt's end in its directory.
const EXIT_FILE: &str = "exit.json";

/// How much time a tree has to end by itself once its worker is gone.
pub(super) const ORPHAN_GRACE: Duration = Duration::from_millis(300);

/// What the worker orders.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// The first: what to do.
    Start(Box<Start>),
    /// Any later one.
    Stop(Stop),
}

/// What to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    /// The attempt's directory, absolute.
    pub(super) run_dir: PathBuf,
    /// What to execute.
    pub(super) invocation: Invocation,
    /// How long and how much.
    pub(super) limits: Limits,
    /// A file to touch when the tree is gone and nobody is there to be told.
    pub(super) wake: Option<PathBuf>,
}

/// What the shim reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The program runs.
    Started {
        /// Its process id.
        pid: u32,
        /// Its process group.
        pgid: u32,
    },
    /// It has ended, and with it everything that it had started. The last report.
    Ended(Exit),
}

/// One line of a shim: the report, and with the last one whether the shim waits for another attempt.
pub(super) type Said = (Report, bool);

/// The shim of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShimRecord {
    pub(super) pid: u32,
    /// Clock ticks since boot.
    pub(super) started: u64,
    pub(super) boot_id: String,
    /// The attempt's directory in the words of the tag.
    pub(super) run_dir: PathBuf,
    /// That directory's own identity: a copy of it names the shim of another attempt.
    dir: Identity,
}

impl ShimRecord {
    /// Describes this process.
    pub(super) fn of_this_process(run_dir: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        let started = identity::started(pid).unwrap_or_default();
        let dir = Identity::of(run_dir)?;
        Ok(Self { pid, started, boot_id: identity::boot_id(), run_dir: run_dir.to_owned(), dir })
    }

    /// Tells whether it is about this very directory. By what that is, since it may have been moved, and a path may name
    /// a copy.
    pub(super) fn is_of(&self, run_dir: &Path) -> bool {
        Identity::of(run_dir).is_ok_and(|here| here == self.dir)
    }

    /// Leaves it in the attempt's directory. It means nothing after a power cut, so it need not survive one.
    pub(super) fn write(&self) -> io::Result<()> {
        write(&self.run_dir, SHIM_FILE, self, false)
    }

    /// Reads it from an attempt's directory.
    pub(super) fn read(run_dir: &Path) -> Option<Self> {
        read(run_dir, SHIM_FILE)
    }

    /// Takes it out of the attempt's directory: no shim serves that attempt any more.
    pub(super) fn remove(run_dir: &Path) -> io::Result<()> {
        let path = run_dir.join(SHIM_FILE);
        Ok(files::remove(Layout::root_of(&path), &path).map(drop)?)
    }
}

/// Leaves the end of an attempt in its directory. It has to survive a power cut only when no worker
/// hears of it: one that does settles it, and that lasts.
pub(super) fn write_exit(run_dir: &Path, exit: &Exit, durable: bool) -> io::Result<()> {
    write(run_dir, EXIT_FILE, exit, durable)
}

/// Reads the end of an attempt from its directory; `None` while it runs, or when its shim died.
pub fn read_exit(run_dir: &Path) -> Option<Exit> {
    read(run_dir, EXIT_FILE)
}

/// Reads a record. The directory is an agent's to write in, and a clone may bring one: no links, no pipes, no end of bytes.
fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Option<T> {
    let path = dir.join(name);
    serde_json::from_slice(&files::read(Layout::root_of(&path), &path, files::RECORD).ok()??).ok()
}

fn write(dir: &Path, name: &str, value: &impl Serialize, durable: bool) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    let durable = if durable { Durable::Yes } else { Durable::No };
    // An agent may have put a link in the directory's own place.
    let path = dir.join(name);
    Ok(files::write_atomic(Layout::root_of(&path), &path, &text, durable)?)
}

/// Renders one line of the conversation.
pub(super) fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ended;

    #[test]
    fn a_line_is_one_line_whatever_it_carries() {
        let invocation = Invocation {
            argv: vec!["a\nb".into(), "\u{2028}".into()],
            env: [("K".to_owned(), "v\nw".to_owned())].into(),
            cwd: "/".into(),
            stdin: None,
            stdout: "/o".into(),
            stderr: "/e".into(),
            confine: None,
        };
        let limits =
            Limits { wall: None, silence: None, output: 1, memory: Some(7), grace: Duration::from_millis(1500) };
        let start = Start { run_dir: "/r".into(), invocation: invocation.clone(), limits, wake: None };
        let line = line(&Order::Start(Box::new(start))).expect("plain text");
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let Ok(Order::Start(back)) = serde_json::from_slice(&line) else { panic!("a start") };
        assert_eq!((back.invocation, back.limits), (invocation, limits));
    }

    #[test]
    fn an_exit_is_read_back_as_it_was_left() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(read_exit(dir.path()), None);
        let ended = Ended::NotStarted { error: "no".into(), not_found: true };
        let exit = Exit { ended, stopped: None, millis: 3, leftovers: 1, output: [4, 5] };
        write_exit(dir.path(), &exit, true).expect("a writable directory");
        assert_eq!(read_exit(dir.path()), Some(exit));
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 1, "no temporary file stays");
    }
}
