//! The project's own commands around a worktree: `setup` and `teardown`, with bounded time and a short environment.

use std::{
    collections::BTreeMap,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{
    Config,
    fault::{WorkspaceError, failed},
};
use oodatcaa_core::{environment, text};
use oodatcaa_process as process;
use oodatcaa_sys::files;

/// Variables that every program needs.
const ALWAYS: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TERM",
    "TMPDIR",
    "XDG_CACHE_HOME",
];

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);

/// Where a hook runs, and where its output and its tag are.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) cwd: &'a Path,
    /// A directory of ours, below which nothing is a link.
    pub(super) root: &'a Path,
    /// A directory below it for this run of the hook alone.
    pub(super) run_dir: &'a Path,
}

/// Runs a hook in a directory and waits for its end; what it leaves running is ended with it.
pub(super) fn run(
    hook: &'static str,
    argv: &[String],
    config: &Config,
    place: Place<'_>,
    env: &BTreeMap<String, String>,
    stop: &AtomicBool,
) -> Result<(), WorkspaceError> {
    let Some((program, args)) = argv.split_first() else { return Ok(()) };
    let Place { cwd, root, run_dir } = place;
    files::make_dir(root, run_dir).map_err(|error| failed("create", run_dir)(error.into()))?;
    let log = run_dir.join("output.log");
    let out = files::append(root, &log).map_err(|error| failed("write", &log)(error.into()))?;
    out.set_len(0).map_err(failed("write", &log))?;
    let also = out.try_clone().map_err(failed("write", &log))?;
    let mut command = Command::new(program);
    command.args(args).current_dir(cwd).stdin(Stdio::null()).stdout(out).stderr(also).process_group(0).env_clear();
    command.envs(inherited(&config.hook_env)).envs(env).env("OODATCAA_RUN_DIR", run_dir);
    let wrong = |words: String, cannot: bool| WorkspaceError::Hook { hook, words, cannot };
    let mut child = command.spawn().map_err(|error| wrong(format!("cannot be started: {error}"), true))?;
    let group = Pid::from_child(&child);
    let deadline = Instant::now() + config.hook_timeout;
    let stopped = || stop.load(Ordering::Relaxed);
    let mut asked: Option<Instant> = None;
    let mut pause = Duration::from_millis(1);
    let status = loop {
        match child.try_wait().map_err(|error| wrong(format!("cannot be waited for: {error}"), false))? {
            Some(status) => break status,
            None if asked.is_none() && (stopped() || Instant::now() >= deadline) => {
                asked = Some(Instant::now());
                // Not reaped yet, so the number is still its own.
                let _ = kill_process_group(group, Signal::TERM);
            }
            None if asked.is_some_and(|asked| asked.elapsed() >= GRACE) => {
                let _ = kill_process_group(group, Signal::KILL);
            }
            None => {}
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    if let Err(pids) = process::end_leftovers(run_dir, GRACE) {
        log::warn!("`{hook}` left processes that do not end: {pids:?}");
    }
    let how = match (asked, status.code()) {
        (Some(_), _) if stopped() => "was stopped".into(),
        (Some(_), _) => format!("ran longer than {}", text::duration(config.hook_timeout)),
        (None, Some(0)) => return Ok(()),
        (None, Some(code)) => format!("ended with exit status {code}"),
        (None, None) => "was ended by a signal".into(),
    };
    let tail = tail(root, &log);
    let cannot = asked.is_none() && status.code().is_some_and(|code| environment::CANNOT_RUN.contains(&code));
    Err(wrong(
        if tail.is_empty() {
            how
        } else {
            format!(
                "{how}; its last lines:
{tail}"
            )
        },
        cannot,
    ))
}

fn inherited(names: &[String]) -> Vec<(String, String)> {
    let wanted = |name: &str| {
        ALWAYS.contains(&name)
            || names.iter().any(|wanted| match wanted.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => wanted == name,
            })
    };
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| wanted(name))
        .collect()
}

fn tail(root: &Path, log: &Path) -> String {
    let bytes = files::read_tail(root, log, 2_000).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    text::many_lines(&lines[lines.len().saturating_sub(20)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, timeout: Duration) -> (tempfile::TempDir, Result<(), WorkspaceError>) {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config { hook_timeout: timeout, ..Config::default() };
        let argv = ["sh", "-c", script].map(String::from);
        let env = BTreeMap::from([("OODATCAA_TASK_ID".into(), "T1".into())]);
        let done = run(
            "setup",
            &argv,
            &config,
            Place { cwd: dir.path(), root: dir.path(), run_dir: &dir.path().join("home/teardown/T1") },
            &env,
            &AtomicBool::new(false),
        );
        (dir, done)
    }

    #[test]
    fn a_hook_runs_in_the_tree_with_a_short_environment() {
        let (dir, done) = hook("echo $OODATCAA_TASK_ID$CARGO_MANIFEST_DIR > made", Duration::from_secs(60));
        done.expect("it ends well");
        assert_eq!(std::fs::read_to_string(dir.path().join("made")).expect("there"), "T1\n");
    }

    #[test]
    fn a_hook_that_fails_or_never_ends_is_told_with_its_last_lines() {
        let (_dir, done) = hook("echo no such thing >&2; exit 3", Duration::from_secs(60));
        let said = done.expect_err("it fails").to_string();
        assert!(said.contains("ended with exit status 3; its last lines:\nno such thing"), "{said}");
        let (dir, done) = hook("sleep 1000 & echo $! > pid; sleep 1000", Duration::from_millis(300));
        assert!(done.expect_err("it is ended").to_string().contains("ran longer than 300ms"));
        let pid: u32 = std::fs::read_to_string(dir.path().join("pid")).expect("there").trim().parse().expect("a pid");
        assert!(process::identity::started(pid).is_none_or(|started| !process::identity::alive(pid, started)));
    }
}
