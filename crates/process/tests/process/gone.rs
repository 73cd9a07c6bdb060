//! Worker or shim is dead: the tree ends all the same, and nobody else is touched.

use super::*;

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
    let shim = Shims::new(SHIM.into()).take().unwrap();
    let attempt = shim.run(&dir, &invocation, &grace, Some(&dir.join("woken"))).unwrap();
    end_of(&attempt);
}

#[test]
fn a_killed_workers_agents_end_within_a_second_and_others_are_woken() {
    let place = Place::new();
    let wake = place.path().join("woken");
    fs::write(&wake, "").unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::File::open(&wake).unwrap().set_modified(long_ago).unwrap();
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["gone::worker_for_others", "--exact", "--test-threads=1"])
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
    assert!(fs::metadata(&wake).unwrap().modified().unwrap() > long_ago + Duration::from_secs(60));
}

#[test]
fn a_killed_shim_means_an_unknown_end_and_leaves_nothing() {
    let place = Place::new();
    let attempt = place.sh(
        "trap '' TERM; sleep 600 & setsid sleep 600 & env -i sh -c 'echo $$ > pid; exec sleep 600' & echo 12345; wait",
    );
    let pid = pid_of(&attempt);
    let bare = place.numbers("pid");
    until("the family runs", || place.text("stdout.log") == "12345\n");
    let family = leftovers(place.path());
    kill(attempt.shim(), "KILL");
    let exit = end_of(&attempt);
    assert_eq!((&exit.ended, exit.output), (&Ended::Unknown, [6, 0]));
    assert!(exit.leftovers >= 4, "{exit:?}");
    assert_eq!((alive(&family), alive(&bare), alive(&[pid])), (vec![], vec![], vec![]));
    assert_eq!(read_exit(place.path()), None);
}

#[test]
fn a_shim_whose_worker_died_meanwhile_starts_nothing() {
    let place = Place::new();
    let order = serde_json::json!({"start": {
        "run_dir": place.path(),
        "invocation": place.invocation(&["touch", "started"]),
        "limits": limits(),
        "wake": null,
    }});
    let orders = place.path().join("orders");
    fs::write(&orders, format!("{order}\n")).unwrap();
    // The end of the file is all that a shim hears of its worker's death.
    let mut shim = Command::new(SHIM);
    shim.arg("shim").stdin(fs::File::open(&orders).unwrap()).stdout(Stdio::null());
    assert!(shim.status().unwrap().success());
    assert!(matches!(read_exit(place.path()).unwrap().ended, Ended::NotStarted { not_found: false, .. }));
    assert!(!place.path().join("started").exists());
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
fn what_a_dead_shim_left_is_found_by_its_tag_and_nobody_else_is_touched() {
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
    let attempt = Attempt::start(Path::new(SHIM), &link, &place.invocation(&["sleep", "600"]), &limits()).unwrap();
    let pid = pid_of(&attempt);
    kill(attempt.shim(), "STOP");
    assert!(leftovers(&run).contains(&pid));
    attempt.stop(Stop::Now);
    end_of(&attempt);
}

#[test]
fn a_shim_record_that_names_somebody_else_harms_nobody() {
    let place = Place::new();
    let stranger = Stranger::new(&["sleep", "600"], &[]);
    let pid = stranger.0.id();
    let record = |pid: u32, started: u64| {
        let (boot, path) = (identity::boot_id(), place.path().display());
        let dir = serde_json::to_string(&Identity::of(place.path()).unwrap()).unwrap();
        let text = format!(r#"{{"pid":{pid},"started":{started},"boot_id":"{boot}","run_dir":"{path}","dir":{dir}}}"#);
        fs::write(place.path().join("shim.json"), text).unwrap();
    };
    record(pid, identity::started(pid).unwrap());
    assert_eq!(end_leftovers(place.path(), PATIENCE), Ok(0));
    assert!(stranger.alive());

    // A shim, but started at another time than the record says: its number was given away.
    let other = Place::new();
    let attempt = other.sh("echo ready; exec sleep 600");
    until("it is ready", || other.text("stdout.log") == "ready\n");
    record(attempt.shim(), identity::started(attempt.shim()).unwrap() - 1);
    assert_eq!(end_leftovers(place.path(), PATIENCE), Ok(0));
    assert!(identity::started(attempt.shim()).is_some());
    attempt.stop(Stop::Now);
    end_of(&attempt);
}

#[test]
fn the_shim_of_a_wedged_worker_is_told_to_end() {
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
