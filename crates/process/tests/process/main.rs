//! Real agents under a real shim: how they end, and that nothing of them stays.

#![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use oodatcaa_process::{
    Attempt, Ended, Exit, Invocation, Limits, Report, Shims, Stop, StopCause, end_leftovers, leftovers, read_exit,
};
use oodatcaa_sys::{identity, project::Identity};

mod confined;
mod ends;
mod gone;
mod proxied;
mod stops;
mod toolchains;

const SHIM: &str = env!("CARGO_BIN_EXE_shim");
const TAG: &str = "OODATCAA_RUN_DIR";

/// Long enough for a busy machine; nothing waits for it that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a state is reached.
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < end, "in vain waited until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn limits() -> Limits {
    Limits { wall: None, silence: None, output: 1 << 20, memory: None, grace: Duration::from_millis(300) }
}

/// A directory of an attempt.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn invocation(&self, argv: &[&str]) -> Invocation {
        Invocation {
            argv: argv.iter().map(ToString::to_string).collect(),
            env: BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]),
            cwd: self.path().to_owned(),
            stdin: None,
            stdout: self.path().join("stdout.log"),
            stderr: self.path().join("stderr.log"),
            confine: None,
        }
    }

    fn start(&self, argv: &[&str], limits: &Limits) -> Attempt {
        Attempt::start(Path::new(SHIM), self.path(), &self.invocation(argv), limits).unwrap()
    }

    fn sh(&self, script: &str) -> Attempt {
        self.start(&["sh", "-c", script], &limits())
    }

    /// One of the fake agents that others use as well.
    fn fake(&self, name: &str, limits: &Limits) -> Attempt {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/agents").join(name);
        let mut invocation = self.invocation(&[script.to_str().unwrap()]);
        let result = self.path().join("result.json").display().to_string();
        for (name, value) in [("TASK_ID", "T-1"), ("ROLE", "builder"), ("RESULT_FILE", &result)] {
            invocation.env.insert(format!("OODATCAA_{name}"), value.to_owned());
        }
        Attempt::start(Path::new(SHIM), self.path(), &invocation, limits).unwrap()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    /// Waits for a line in a file and answers the numbers in it.
    fn numbers(&self, name: &str) -> Vec<u32> {
        until(name, || self.text(name).ends_with('\n'));
        self.text(name).split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    fn assert_nothing_left(&self) {
        assert_eq!(leftovers(self.path()), Vec::<u32>::new());
    }
}

fn pid_of(attempt: &Attempt) -> u32 {
    match attempt.reports().recv_timeout(PATIENCE).unwrap() {
        Report::Started { pid, pgid } => {
            assert_eq!(pid, pgid, "a process group of its own");
            pid
        }
        other => panic!("it should have started: {other:?}"),
    }
}

/// Its end; nothing is reported after it.
fn told_end_of(attempt: &Attempt) -> Exit {
    loop {
        if let Report::Ended(exit) = attempt.reports().recv_timeout(PATIENCE).expect("an end is always reported") {
            assert!(attempt.reports().recv_timeout(PATIENCE).is_err(), "the end is the last report");
            return exit;
        }
    }
}

/// Its end, after which its shim is reaped.
fn end_of(attempt: &Attempt) -> Exit {
    let exit = told_end_of(attempt);
    until("the shim is reaped", || !Path::new(&format!("/proc/{}", attempt.shim())).exists());
    exit
}

fn alive(pids: &[u32]) -> Vec<u32> {
    pids.iter().copied().filter(|pid| identity::started(*pid).is_some()).collect()
}

fn kill(pid: u32, signal: &str) {
    assert!(Command::new("sh").args(["-c", "kill -s $0 $1", signal, &pid.to_string()]).status().unwrap().success());
}
