//! Real agents under a real keeper: how they end, and that nothing of them stays.

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

use oodatcaa::process::{
    Attempt, Ended, Exit, Invocation, Keeper, Limits, Report, Stop, StopCause, end_leftovers, identity, leftovers,
    read_exit,
};

const KEEPER: &str = env!("CARGO_BIN_EXE_agent-daemon");
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
    Limits { wall: None, silence: None, output: 1 << 20, grace: Duration::from_millis(300) }
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
        }
    }

    fn start(&self, argv: &[&str], limits: &Limits) -> Attempt {
        Attempt::start(Path::new(KEEPER), self.path(), &self.invocation(argv), limits).unwrap()
    }

    fn sh(&self, script: &str) -> Attempt {
        self.start(&["sh", "-c", script], &limits())
    }

    /// One of the fake agents that others use as well.
    fn fake(&self, name: &str, limits: &Limits) -> Attempt {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents").join(name);
        let mut invocation = self.invocation(&[script.to_str().unwrap()]);
        let result = self.path().join("result.json").display().to_string();
        for (name, value) in [("TASK_ID", "T-1"), ("ROLE", "builder"), ("RESULT_FILE", &result)] {
            invocation.env.insert(format!("OODATCAA_{name}"), value.to_owned());
        }
        Attempt::start(Path::new(KEEPER), self.path(), &invocation, limits).unwrap()
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

/// Its end; nothing is reported after it, and its keeper is reaped.
fn end_of(attempt: &Attempt) -> Exit {
    loop {
        if let Report::Ended(exit) = attempt.reports().recv_timeout(PATIENCE).expect("an end is always reported") {
            assert!(attempt.reports().recv_timeout(PATIENCE).is_err(), "the end is the last report");
            until("the keeper is reaped", || !Path::new(&format!("/proc/{}", attempt.keeper())).exists());
            return exit;
        }
    }
}

fn alive(pids: &[u32]) -> Vec<u32> {
    pids.iter().copied().filter(|pid| identity::started(*pid).is_some()).collect()
}

#[test]
fn an_exit_status_is_reported_and_on_disk() {
    let place = Place::new();
    let attempt = place.sh("echo out; echo err >&2; exit 7");
    let exit = end_of(&attempt);
    assert_eq!((&exit.ended, exit.stopped, exit.leftovers, exit.output), (&Ended::Exited(7), None, 0, [4, 4]));
    assert_eq!(read_exit(place.path()), Some(exit));
    assert_eq!((place.text("stdout.log").as_str(), place.text("stderr.log").as_str()), ("out\n", "err\n"));
    assert!(!place.path().join("keeper.log").exists(), "{}", place.text("keeper.log"));
}

#[test]
fn a_deadly_signal_is_told_from_a_status() {
    let place = Place::new();
    assert_eq!(end_of(&place.sh("kill -SEGV $$")).ended, Ended::Signalled(11));
}

#[test]
fn a_missing_program_is_told_from_other_hindrances() {
    let not_found = |argv: &[&str]| {
        let place = Place::new();
        let exit = end_of(&place.start(argv, &limits()));
        assert_eq!(read_exit(place.path()), Some(exit.clone()));
        match exit.ended {
            Ended::NotStarted { not_found, error } => (not_found, error),
            other => panic!("it should not have started: {other:?}"),
        }
    };
    assert!(not_found(&["no-such-program-anywhere"]).0);
    assert!(not_found(&["/no/such/program"]).0);
    assert!(!not_found(&["/etc/passwd"]).0);
    assert!(!not_found(&[]).0);

    let place = Place::new();
    let mut invocation = place.invocation(&["true"]);
    invocation.cwd = place.path().join("gone");
    let exit = end_of(&Attempt::start(Path::new(KEEPER), place.path(), &invocation, &limits()).unwrap());
    assert!(matches!(exit.ended, Ended::NotStarted { not_found: false, .. }), "{exit:?}");
}

#[test]
fn a_missing_keeper_is_an_error_at_once() {
    let place = Place::new();
    let started = Attempt::start(Path::new("/no/such/keeper"), place.path(), &place.invocation(&["true"]), &limits());
    assert!(started.is_err());
}

#[test]
fn an_agent_gets_its_environment_and_nothing_else() {
    assert!(std::env::vars_os().count() > 3, "there is something that could leak");
    let place = Place::new();
    let mut invocation = place.invocation(&["env"]);
    invocation.env.insert("GIVEN".into(), "a value = with all\tsorts".into());
    let exit = end_of(&Attempt::start(Path::new(KEEPER), place.path(), &invocation, &limits()).unwrap());
    assert_eq!(exit.ended, Ended::Exited(0));
    let mut expected = invocation.env.clone();
    expected.insert(TAG.into(), place.path().display().to_string());
    let text = place.text("stdout.log");
    let found: BTreeMap<String, String> =
        text.lines().map(|line| line.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_agent_gets_no_descriptor_of_ours() {
    let links = |pid: u32| -> Vec<PathBuf> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect()
    };
    // What this process itself was given by whoever started it is not ours.
    let foreign = links(std::process::id());
    let place = Place::new();
    let lock = place.path().join("task.lock");
    let held = fs::File::create(&lock).unwrap();
    fs2::FileExt::lock_exclusive(&held).unwrap();
    let attempt = place.sh("exec sleep 600");
    let pid = pid_of(&attempt);
    until("the agent has replaced the shell", || {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.starts_with(b"sleep"))
    });
    let keepers = links(attempt.keeper());
    let agents = links(pid);
    assert!(!agents.contains(&lock) && !keepers.contains(&lock));
    let channel = |link: &&PathBuf| link.to_string_lossy().starts_with(['p', 's']);
    let leaked: Vec<&PathBuf> =
        keepers.iter().filter(channel).filter(|link| agents.contains(link) && !foreign.contains(link)).collect();
    assert_eq!(leaked, Vec::<&PathBuf>::new());
    attempt.stop(Stop::Now);
    end_of(&attempt);
}

#[test]
fn standard_input_is_a_file_or_nothing() {
    let place = Place::new();
    assert_eq!(end_of(&place.sh("cat; echo end")).ended, Ended::Exited(0));
    assert_eq!(place.text("stdout.log"), "end\n");

    let place = Place::new();
    let prompt = place.path().join("prompt.md");
    fs::write(&prompt, "do it\n").unwrap();
    let mut invocation = place.invocation(&["cat"]);
    invocation.stdin = Some(prompt);
    end_of(&Attempt::start(Path::new(KEEPER), place.path(), &invocation, &limits()).unwrap());
    assert_eq!(place.text("stdout.log"), "do it\n");
}

#[test]
fn a_polite_agent_ends_on_term() {
    let place = Place::new();
    let attempt = place.start(
        &["sh", "-c", "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done"],
        &Limits { grace: PATIENCE, ..limits() },
    );
    until("it is ready", || place.text("stdout.log") == "ready\n");
    attempt.stop(Stop::Gently);
    let exit = end_of(&attempt);
    assert_eq!((&exit.ended, exit.stopped), (&Ended::Exited(3), Some(StopCause::Asked)));
    assert_eq!(place.text("stdout.log"), "ready\nbye\n", "one TERM, not two");
}

#[test]
fn a_stopped_agent_is_woken_to_hear_its_end() {
    let place = Place::new();
    let attempt =
        place.start(&["sh", "-c", "trap 'exit 3' TERM; kill -STOP $$"], &Limits { grace: PATIENCE, ..limits() });
    let pid = pid_of(&attempt);
    until("it is stopped", || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T ")));
    attempt.stop(Stop::Gently);
    assert_eq!(end_of(&attempt).ended, Ended::Exited(3));
}

#[test]
fn a_deaf_family_is_killed_after_the_grace() {
    let place = Place::new();
    let attempt = place.fake("ignore-term.sh", &limits());
    until("it is ready", || place.text("stdout.log").ends_with('\n'));
    until("the whole family runs", || leftovers(place.path()).len() >= 5);
    let family = leftovers(place.path());
    let asked = Instant::now();
    attempt.stop(Stop::Gently);
    let exit = end_of(&attempt);
    assert!(asked.elapsed() >= limits().grace);
    assert_eq!((&exit.ended, exit.stopped), (&Ended::Signalled(9), Some(StopCause::Asked)));
    assert_eq!(alive(&family), Vec::<u32>::new());
    place.assert_nothing_left();
}

#[test]
fn the_hard_stop_does_not_wait_for_the_grace() {
    let place = Place::new();
    let attempt = place.fake("ignore-term.sh", &Limits { grace: Duration::from_secs(3600), ..limits() });
    until("it is ready", || place.text("stdout.log").ends_with('\n'));
    attempt.stop(Stop::Gently);
    attempt.stop(Stop::Now);
    assert_eq!(end_of(&attempt).ended, Ended::Signalled(9));
    place.assert_nothing_left();
}

#[test]
fn what_outlives_a_successful_agent_is_ended_and_counted() {
    let place = Place::new();
    let exit = end_of(&place.fake("leave-grandchild.sh", &limits()));
    assert_eq!((&exit.ended, exit.stopped), (&Ended::Exited(0), None));
    // The background job, the daemon's shell and its child, as far as they were born already.
    assert!((1..=4).contains(&exit.leftovers), "{exit:?}");
    place.assert_nothing_left();
}

#[test]
fn a_daemon_without_our_environment_does_not_get_away_either() {
    let place = Place::new();
    let attempt = place.sh(
        "setsid env -i sh -c 'trap \"\" TERM; echo $$ > pid; while :; do sleep 1; done' & until [ -s pid ]; do :; done",
    );
    let exit = end_of(&attempt);
    assert_eq!(exit.ended, Ended::Exited(0));
    assert!(exit.leftovers >= 1);
    assert_eq!(alive(&place.numbers("pid")), Vec::<u32>::new());
}

#[test]
fn the_last_part_of_a_pipeline_may_finish() {
    let place = Place::new();
    let exit = end_of(&place.sh("(sleep 0.02; echo late) & exit 0"));
    assert_eq!((&exit.ended, exit.leftovers), (&Ended::Exited(0), 0));
    assert_eq!(place.text("stdout.log"), "late\n");
}

#[test]
fn the_wall_limit_ends_an_agent() {
    let place = Place::new();
    let exit = end_of(&place.fake("hang.sh", &Limits { wall: Some(Duration::from_millis(300)), ..limits() }));
    assert_eq!((&exit.ended, exit.stopped), (&Ended::Signalled(15), Some(StopCause::Wall)));
    assert!((300..10_000).contains(&exit.millis), "{exit:?}");
}

#[test]
fn silence_ends_an_agent_and_words_keep_it() {
    let silence = Limits { silence: Some(Duration::from_millis(700)), ..limits() };
    let place = Place::new();
    let exit = end_of(&place.fake("hang.sh", &silence));
    assert_eq!(exit.stopped, Some(StopCause::Silence));

    let place = Place::new();
    let talks = "i=0; while [ $i -lt 15 ]; do echo .; sleep 0.1; i=$((i+1)); done";
    let exit = end_of(&place.start(&["sh", "-c", talks], &silence));
    assert_eq!((&exit.ended, exit.stopped), (&Ended::Exited(0), None));
    assert!(exit.millis > 1_000);
}

#[test]
fn a_flood_is_stopped_and_cut_at_the_cap() {
    const CAP: u64 = 64 << 10;
    let place = Place::new();
    let exit = end_of(&place.fake("flood.sh", &Limits { output: CAP, ..limits() }));
    assert_eq!(exit.stopped, Some(StopCause::Output));
    assert_eq!(exit.output, [CAP, 0]);
    assert_eq!(fs::metadata(place.path().join("stdout.log")).unwrap().len(), CAP);
}

#[test]
fn a_burst_above_the_cap_is_cut_although_the_agent_ended_in_time() {
    let place = Place::new();
    let exit = end_of(&place.start(&["sh", "-c", "head -c 5000 /dev/zero >&2"], &Limits { output: 1000, ..limits() }));
    assert_eq!((&exit.ended, exit.output), (&Ended::Exited(0), [0, 1000]));
}

#[test]
fn a_crowd_that_ignores_term_ends() {
    let place = Place::new();
    let attempt =
        place.sh("trap '' TERM; i=0; while [ $i -lt 200 ]; do sleep 600 & i=$((i+1)); done; echo ready > ready; wait");
    until("the crowd is there", || place.text("ready") == "ready\n");
    attempt.stop(Stop::Gently);
    assert_eq!(end_of(&attempt).ended, Ended::Signalled(9));
    place.assert_nothing_left();
}

#[test]
fn a_family_that_keeps_forking_while_it_is_killed_ends() {
    let place = Place::new();
    let fork = "trap \"\" TERM; i=0; while [ $i -lt 2000 ]; do (exec sleep 0.3) & i=$((i+1)); done; wait";
    let attempt = place.sh(&format!("for n in 1 2 3; do setsid sh -c '{fork}' & done; echo ready > ready; wait"));
    until("it forks", || place.text("ready") == "ready\n" && leftovers(place.path()).len() > 20);
    attempt.stop(Stop::Now);
    assert_eq!(end_of(&attempt).ended, Ended::Signalled(9));
    place.assert_nothing_left();
}

#[test]
fn twenty_attempts_run_side_by_side() {
    let places: Vec<Place> = (0..20).map(|_| Place::new()).collect();
    let attempts: Vec<Attempt> =
        places.iter().enumerate().map(|(i, place)| place.sh(&format!("sleep 600 & exit {i}"))).collect();
    for (i, (place, attempt)) in places.iter().zip(&attempts).enumerate() {
        let exit = end_of(attempt);
        assert_eq!((exit.ended, exit.leftovers), (Ended::Exited(i as i32), 1));
        place.assert_nothing_left();
    }
}

#[test]
fn a_keeper_may_wait_for_its_work() {
    let keeper = Keeper::spawn(Path::new(KEEPER), None).unwrap();
    let place = Place::new();
    let attempt = keeper.run(place.path(), &place.invocation(&["sh", "-c", "exit 4"]), &limits(), None).unwrap();
    assert_eq!(end_of(&attempt).ended, Ended::Exited(4));
}

#[test]
fn a_keeper_without_work_leaves() {
    let keeper = Keeper::spawn(Path::new(KEEPER), None).unwrap();
    let pid = keeper.pid();
    drop(keeper);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_dropped_attempt_ends_within_a_second_and_leaves_its_exit() {
    let place = Place::new();
    let attempt = place.fake("ignore-term.sh", &Limits { grace: Duration::from_secs(3600), ..limits() });
    until("the whole family runs", || leftovers(place.path()).len() >= 5);
    drop(attempt);
    let dropped = Instant::now();
    until("nothing is left", || leftovers(place.path()).is_empty());
    assert!(dropped.elapsed() < Duration::from_secs(3), "{:?}", dropped.elapsed());
    assert_eq!(read_exit(place.path()).unwrap().stopped, Some(StopCause::WorkerGone));
}

/// Not a test: the worker of the next one, run as a process of its own.
#[test]
fn worker_for_others() {
    let Some(dir) = std::env::var_os("OODATCAA_TEST_WORKER_IN").map(PathBuf::from) else { return };
    let place = Place::new();
    let script = "trap '' TERM; setsid env -i sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' > pid & wait";
    let mut invocation = place.invocation(&["sh", "-c", script]);
    invocation.cwd.clone_from(&dir);
    let grace = Limits { grace: Duration::from_secs(3600), ..limits() };
    let keeper = Keeper::spawn(Path::new(KEEPER), None).unwrap();
    let attempt = keeper.run(&dir, &invocation, &grace, Some(&dir.join("nudge"))).unwrap();
    end_of(&attempt);
}

#[test]
fn a_killed_workers_agents_end_within_a_second_and_others_are_nudged() {
    let place = Place::new();
    let nudge = place.path().join("nudge");
    fs::write(&nudge, "").unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::File::open(&nudge).unwrap().set_modified(long_ago).unwrap();
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["process::worker_for_others", "--exact", "--test-threads=1"])
        .env("OODATCAA_TEST_WORKER_IN", place.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let daemon = place.numbers("pid");
    assert_eq!(alive(&daemon), daemon);
    worker.kill().unwrap();
    let killed = Instant::now();
    until("nothing is left", || alive(&daemon).is_empty() && leftovers(place.path()).is_empty());
    assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
    worker.wait().unwrap();
    let exit = read_exit(place.path()).unwrap();
    assert_eq!((&exit.ended, exit.stopped), (&Ended::Signalled(9), Some(StopCause::WorkerGone)));
    assert!(fs::metadata(&nudge).unwrap().modified().unwrap() > long_ago + Duration::from_secs(60));
}

#[test]
fn a_killed_keeper_means_an_unknown_end_and_leaves_nothing() {
    let place = Place::new();
    let attempt = place.sh(
        "trap '' TERM; sleep 600 & setsid sleep 600 & env -i sh -c 'echo $$ > pid; exec sleep 600' & echo 12345; wait",
    );
    let pid = pid_of(&attempt);
    let bare = place.numbers("pid");
    until("the family runs", || place.text("stdout.log") == "12345\n");
    let family = leftovers(place.path());
    kill(attempt.keeper(), "KILL");
    let exit = end_of(&attempt);
    assert_eq!((&exit.ended, exit.output), (&Ended::Unknown, [6, 0]));
    assert!(exit.leftovers >= 4, "{exit:?}");
    assert_eq!((alive(&family), alive(&bare), alive(&[pid])), (vec![], vec![], vec![]));
    assert_eq!(read_exit(place.path()), None);
}

#[test]
fn a_keeper_that_its_agent_has_stopped_still_hears_its_worker() {
    let place = Place::new();
    let attempt = place.sh("kill -STOP $PPID; echo ready; exec sleep 600");
    until("it is ready", || place.text("stdout.log") == "ready\n");
    attempt.stop(Stop::Gently);
    assert_eq!(end_of(&attempt).stopped, Some(StopCause::Asked));
}

#[test]
fn a_keeper_that_is_asked_by_term_ends_its_agent_and_hears_no_other_signal() {
    let place = Place::new();
    let script = "trap 'sleep 0.2; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let attempt = place.start(&["sh", "-c", script], &Limits { grace: PATIENCE, ..limits() });
    until("it is ready", || place.text("stdout.log") == "ready\n");
    for signal in ["HUP", "INT", "TERM"] {
        kill(attempt.keeper(), signal);
    }
    let exit = end_of(&attempt);
    assert_eq!((&exit.ended, exit.stopped), (&Ended::Exited(3), Some(StopCause::Asked)), "two stops would have killed");
}

#[test]
fn a_keeper_whose_worker_died_meanwhile_starts_nothing() {
    let place = Place::new();
    let order = serde_json::json!({"start": {
        "run_dir": place.path(),
        "invocation": place.invocation(&["touch", "started"]),
        "limits": limits(),
        "nudge": null,
    }});
    let orders = place.path().join("orders");
    fs::write(&orders, format!("{order}\n")).unwrap();
    // The end of the file is all that a keeper hears of its worker's death.
    let mut keeper = Command::new(KEEPER);
    keeper.arg("keeper").stdin(fs::File::open(&orders).unwrap()).stdout(Stdio::null());
    assert!(keeper.status().unwrap().success());
    assert!(matches!(read_exit(place.path()).unwrap().ended, Ended::NotStarted { not_found: false, .. }));
    assert!(!place.path().join("started").exists());
}

fn kill(pid: u32, signal: &str) {
    assert!(Command::new("sh").args(["-c", "kill -s $0 $1", signal, &pid.to_string()]).status().unwrap().success());
}

/// A process outside of any attempt; ended with the test.
struct Stranger(Child);

impl Stranger {
    fn new(argv: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).env_clear().env("PATH", std::env::var("PATH").unwrap()).process_group(0);
        Self(command.envs(env.iter().copied()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn alive(&self) -> bool {
        identity::started(self.0.id()).is_some()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_dead_keeper_left_is_found_by_its_tag_and_nobody_else_is_touched() {
    let place = Place::new();
    let dir = place.path().to_str().unwrap();
    let pids = place.path().join("pids");
    let script = format!("trap '' TERM; env -i sleep 600 & echo $$ $! > {}; wait", pids.display());
    let planted = Stranger::new(&["sh", "-c", &script], &[(TAG, dir)]);
    let sleep: &[&str] = &["sleep", "600"];
    let strangers = [
        Stranger::new(sleep, &[(TAG, &format!("{dir}1"))]),
        Stranger::new(sleep, &[(TAG, &format!("{dir}/1"))]),
        Stranger::new(sleep, &[(TAG, &dir[..dir.len() - 1])]),
        Stranger::new(sleep, &[("MY_OODATCAA_RUN_DIR", dir)]),
        Stranger::new(sleep, &[("OTHER", &format!("{TAG}={dir}"))]),
        Stranger::new(&["sleep", "600"], &[]),
    ];
    let family = place.numbers("pids");
    let mut found = leftovers(place.path());
    found.sort_unstable();
    let mut expected = family.clone();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(end_leftovers(place.path(), PATIENCE), Ok(2));
    assert_eq!(alive(&family), Vec::<u32>::new());
    assert!(!planted.alive());
    assert!(strangers.iter().all(Stranger::alive));
    assert_eq!(end_leftovers(place.path(), PATIENCE), Ok(0));
}

#[test]
fn the_tag_is_found_by_another_path_to_the_same_directory() {
    let place = Place::new();
    let run = place.path().join("run");
    fs::create_dir(&run).unwrap();
    let link = place.path().join("link");
    symlink(&run, &link).unwrap();
    let attempt = Attempt::start(Path::new(KEEPER), &link, &place.invocation(&["sleep", "600"]), &limits()).unwrap();
    let pid = pid_of(&attempt);
    kill(attempt.keeper(), "STOP");
    assert!(leftovers(&run).contains(&pid));
    attempt.stop(Stop::Now);
    end_of(&attempt);
}

#[test]
fn a_keeper_record_that_names_somebody_else_harms_nobody() {
    let place = Place::new();
    let stranger = Stranger::new(&["sleep", "600"], &[]);
    let pid = stranger.0.id();
    let record = |pid: u32, started: u64| {
        let (boot, dir) = (identity::boot_id(), place.path().display());
        let text = format!(r#"{{"pid":{pid},"started":{started},"boot_id":"{boot}","run_dir":"{dir}"}}"#);
        fs::write(place.path().join("keeper.json"), text).unwrap();
    };
    record(pid, identity::started(pid).unwrap());
    assert_eq!(end_leftovers(place.path(), PATIENCE), Ok(0));
    assert!(stranger.alive());

    // A keeper, but started at another time than the record says: its number was given away.
    let other = Place::new();
    let attempt = other.sh("echo ready; exec sleep 600");
    until("it is ready", || other.text("stdout.log") == "ready\n");
    record(attempt.keeper(), identity::started(attempt.keeper()).unwrap() - 1);
    assert_eq!(end_leftovers(place.path(), PATIENCE), Ok(0));
    assert!(identity::started(attempt.keeper()).is_some());
    attempt.stop(Stop::Now);
    end_of(&attempt);
}

#[test]
fn the_keeper_of_a_wedged_worker_is_told_to_end() {
    let place = Place::new();
    let attempt = place.fake("ignore-term.sh", &Limits { grace: Duration::from_secs(3600), ..limits() });
    until("the whole family runs", || leftovers(place.path()).len() >= 5);
    let ended = end_leftovers(place.path(), PATIENCE).unwrap();
    assert!(ended >= 4, "{ended}");
    place.assert_nothing_left();
    let exit = end_of(&attempt);
    assert_eq!((&exit.ended, exit.stopped), (&Ended::Signalled(9), Some(StopCause::Asked)));
    assert_eq!(read_exit(place.path()), Some(exit));
}

#[test]
fn a_fake_agent_can_succeed_and_fail() {
    let place = Place::new();
    assert_eq!(end_of(&place.fake("succeed.sh", &limits())).ended, Ended::Exited(0));
    assert_eq!(place.text("result.json"), "{\"outcome\":\"done\",\"summary\":\"did T-1\"}\n");
    let place = Place::new();
    assert_eq!(end_of(&place.fake("fail.sh", &limits())).ended, Ended::Exited(1));
}
