//! The project's own commands around a worktree: `setup` and `teardown`, with bounded time and a short environment.

use std::{
    collections::BTreeMap,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    Config,
    fault::{Result, WorkspaceError, failed},
};
use oodatcaa_config::Confinee;
use oodatcaa_core::{environment, text};
use oodatcaa_process::{self as process, confine};
use oodatcaa_sys::{command, files, tail};

/// Variables that every program needs.
const ALWAYS: &str = "PATH HOME USER LOGNAME SHELL LANG LC_ALL LC_CTYPE TZ TERM TMPDIR XDG_CACHE_HOME";

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);

/// The surroundings of a hook: its directory and variables, and where its output and its tag are.
pub(super) struct Place<'a> {
    pub(super) cwd: &'a Path,
    /// The worktree that it lies in, which the hook may write to.
    pub(super) top: &'a Path,
    /// A directory of ours, below which nothing is a link.
    pub(super) root: &'a Path,
    /// A directory below it for this run of the hook alone.
    pub(super) run_dir: &'a Path,
    pub(super) env: &'a BTreeMap<String, String>,
    /// Set when it shall end before its time.
    pub(super) stop: &'a AtomicBool,
}

/// Runs a hook in a directory and waits for its end; what it leaves running is ended with it.
pub(super) fn run(hook: &'static str, argv: &[String], config: &Config, place: &Place<'_>) -> Result<()> {
    let Some((program, args)) = argv.split_first() else { return Ok(()) };
    let Place { cwd, top, root, run_dir, env, stop } = *place;
    files::make_dir(root, run_dir).map_err(failed("create", run_dir))?;
    let log = run_dir.join("output.log");
    let out = files::append(root, &log).map_err(failed("write", &log))?;
    // Of an earlier run of the same attempt, which was interrupted.
    out.set_len(0).map_err(failed("write", &log))?;
    let also = out.try_clone().map_err(failed("write", &log))?;
    let confined = config
        .confine
        .confine(Confinee::Hook(top), run_dir)
        .map_err(|words| WorkspaceError::Sandbox { hook, words })?;
    let mut hooked = match &confined {
        Some(confined) => confine::command(&confined.profile, program),
        None => Command::new(program),
    };
    // A group of its own, so that one signal reaches all that it starts.
    hooked.args(args).current_dir(cwd).stdin(Stdio::null()).stdout(out).stderr(also).process_group(0).env_clear();
    hooked
        .envs(inherited(&config.hook_env))
        .envs(confined.iter().flat_map(|confined| &confined.env))
        .envs(env)
        .env("OODATCAA_RUN_DIR", run_dir);
    let wrong = |words: String, cannot: bool| WorkspaceError::Hook { hook, words, cannot };
    let mut child = hooked.spawn().map_err(|error| wrong(format!("cannot be started: {error}"), true))?;
    let stopped = || stop.load(Ordering::Relaxed);
    let lost = |error: std::io::Error| wrong(format!("cannot be waited for: {error}"), false);
    let mut ended = command::wait(&mut child, Instant::now() + config.hook_timeout, stopped).map_err(lost)?;
    let cut_short = ended.is_none();
    let mut signal = Signal::TERM;
    while ended.is_none() {
        command::signal_group(&child, signal);
        ended = command::wait(&mut child, Instant::now() + GRACE, || false).map_err(lost)?;
        // Again and again: a process that the kernel holds in a call dies only after it.
        signal = Signal::KILL;
    }
    // By the tag in their environment: what has left the group (`setsid`, `nohup`) is found, too.
    if let Err(pids) = process::end_leftovers(run_dir, GRACE) {
        log::warn!("`{hook}` left processes that do not end: {pids:?}");
    }
    let code = ended.and_then(|status| status.code());
    if confined.is_some() && !cut_short {
        confine::Report::ran(run_dir).map_err(|words| WorkspaceError::Sandbox { hook, words })?;
    }
    let how = match code {
        _ if cut_short && stopped() => "was stopped".into(),
        _ if cut_short => format!("ran longer than {}", text::duration(config.hook_timeout)),
        Some(0) => return Ok(()),
        Some(code) => format!("ended with exit status {code}"),
        None => "was ended by a signal".into(),
    };
    let tail = text::many_lines(&tail::last(&tail::text(root, &log, 2_000), 20, |_| true).join("\n"));
    let cannot = !cut_short && code.is_some_and(|code| environment::CANNOT_RUN.contains(&code));
    let words = if tail.is_empty() { how } else { format!("{how}; its last lines:\n{tail}") };
    Err(wrong(words, cannot))
}

fn inherited(names: &[String]) -> Vec<(String, String)> {
    let wanted = |name: &str| {
        ALWAYS.split(' ').chain(names.iter().map(String::as_str)).any(|wanted| match wanted.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => wanted == name,
        })
    };
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| wanted(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oodatcaa_config::Confine;

    fn hook(script: &str, timeout: Duration) -> (tempfile::TempDir, Result<()>) {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config { hook_timeout: timeout, confine: Confine::Nothing, ..Config::default() };
        let argv = ["sh", "-c", script].map(String::from);
        let env = BTreeMap::from([("OODATCAA_TASK_ID".into(), "T1".into())]);
        let done = run(
            "setup",
            &argv,
            &config,
            &Place {
                cwd: dir.path(),
                top: dir.path(),
                root: dir.path(),
                run_dir: &dir.path().join("home/teardown/T1"),
                env: &env,
                stop: &AtomicBool::new(false),
            },
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
        assert!(oodatcaa_sys::identity::started(pid).is_none());
    }
}
