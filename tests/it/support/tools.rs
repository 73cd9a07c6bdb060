//! What a test needs of the machine, and tracing of our programs with faults put into their system calls.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// `true` when this process is root, if it must be, and the programs are there; else the reason is printed.
pub(crate) fn available(root: bool, programs: &[&str]) -> bool {
    if root && !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root may do this");
        return false;
    }
    let missing: Vec<&&str> = programs.iter().filter(|program| find(program).is_none()).collect();
    if !missing.is_empty() {
        eprintln!("skipped: there is no {missing:?} here");
    }
    missing.is_empty()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// Puts `strace` and its arguments in front of a command. What is traced goes to `log`.
pub(crate) fn traced(command: &Command, log: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-q", "-o"]).arg(log).args(args).arg("--").arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        traced.current_dir(dir);
    }
    traced.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            traced.env(name, value);
        }
    }
    traced.stdin(std::process::Stdio::null());
    traced
}

/// The lines of a trace in which a fault was put.
pub(crate) fn injected(log: &Path) -> usize {
    fs::read_to_string(log).unwrap_or_default().lines().filter(|line| line.contains("(INJECTED)")).count()
}

/// Numbers that look random and are the same for the same seed.
pub(crate) struct Seeded(u64);

impl Seeded {
    /// With the seed from `SEED`, else this one; it is printed, so that a run can be repeated.
    pub(crate) fn new(what: &str, seed: u64) -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(seed);
        eprintln!("{what}: seed {seed}");
        Self(seed)
    }

    /// Below `below`.
    pub(crate) fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}
