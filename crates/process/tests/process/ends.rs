//! Attempts that end by themselves, or never begin: what the agent gets, what is reported, what is ended after it.

use super::*;

#[test]
fn an_exit_status_is_reported_and_on_disk() {
    let place = Place::new();
    let attempt = place.sh("echo out; echo err >&2; exit 7");
    let exit = end_of(&attempt);
    assert_eq!((&exit.ended, exit.stopped, exit.leftovers, exit.output), (&Ended::Exited(7), None, 0, [4, 4]));
    assert_eq!(read_exit(place.path()), Some(exit));
    assert_eq!((place.text("stdout.log").as_str(), place.text("stderr.log").as_str()), ("out\n", "err\n"));
    assert!(!place.path().join("shim.log").exists(), "{}", place.text("shim.log"));
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
    let exit = end_of(&Attempt::start(Path::new(SHIM), place.path(), &invocation, &limits()).unwrap());
    assert!(matches!(exit.ended, Ended::NotStarted { not_found: false, .. }), "{exit:?}");
}

#[test]
fn a_missing_shim_is_an_error_at_once() {
    let place = Place::new();
    let started = Attempt::start(Path::new("/no/such/shim"), place.path(), &place.invocation(&["true"]), &limits());
    assert!(started.is_err());
}

#[test]
fn an_agent_gets_its_environment_and_nothing_else() {
    assert!(std::env::vars_os().count() > 3, "there is something that could leak");
    let place = Place::new();
    let mut invocation = place.invocation(&["env"]);
    invocation.env.insert("GIVEN".into(), "a value = with all\tsorts".into());
    let exit = end_of(&Attempt::start(Path::new(SHIM), place.path(), &invocation, &limits()).unwrap());
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
    let shims = links(attempt.shim());
    let agents = links(pid);
    assert!(!agents.contains(&lock) && !shims.contains(&lock));
    let channel = |link: &&PathBuf| link.to_string_lossy().starts_with(['p', 's']);
    let leaked: Vec<&PathBuf> =
        shims.iter().filter(channel).filter(|link| agents.contains(link) && !foreign.contains(link)).collect();
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
    end_of(&Attempt::start(Path::new(SHIM), place.path(), &invocation, &limits()).unwrap());
    assert_eq!(place.text("stdout.log"), "do it\n");
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
fn a_shim_may_wait_for_its_work() {
    let shims = Shims::new(SHIM.into());
    shims.prepare();
    let (shim, place) = (shims.take().unwrap(), Place::new());
    let attempt = shim.run(place.path(), &place.invocation(&["sh", "-c", "exit 4"]), &limits(), None).unwrap();
    assert_eq!(told_end_of(&attempt).ended, Ended::Exited(4));
}

#[test]
fn a_shim_serves_one_attempt_after_the_other_and_nothing_points_from_the_old_one_to_it() {
    let shims = Shims::new(SHIM.into());
    shims.prepare();
    let mut pid = None;
    for code in [4, 0, 7] {
        let (place, shim) = (Place::new(), shims.take().unwrap());
        assert_eq!(*pid.get_or_insert(shim.pid()), shim.pid());
        let invocation = place.invocation(&["sh", "-c", &format!("exit {code}")]);
        let attempt = shim.run(place.path(), &invocation, &limits(), None).unwrap();
        assert_eq!(told_end_of(&attempt).ended, Ended::Exited(code));
        assert!(place.text("exit.json").contains(&code.to_string()));
        assert_eq!(place.text("shim.json"), "");
        place.assert_nothing_left();
    }
    shims.keep(0);
    assert!(!Path::new(&format!("/proc/{}", pid.unwrap())).exists());
}

#[test]
fn a_shim_that_was_told_to_stop_serves_nobody_else() {
    let (place, shims) = (Place::new(), Shims::new(SHIM.into()));
    let attempt =
        shims.take().unwrap().run(place.path(), &place.invocation(&["sleep", "60"]), &limits(), None).unwrap();
    let (program, shim) = (pid_of(&attempt), attempt.shim());
    attempt.stop(Stop::Now);
    told_end_of(&attempt);
    assert_ne!(shims.take().unwrap().pid(), shim);
    drop(attempt);
    until("both are gone", || alive(&[program, shim]).is_empty());
}

#[test]
fn a_shim_that_somebody_ended_while_it_waited_is_given_to_nobody() {
    let shims = Shims::new(SHIM.into());
    shims.prepare();
    let shim = shims.take().unwrap();
    let (place, waiting) = (Place::new(), shim.pid());
    told_end_of(&shim.run(place.path(), &place.invocation(&["true"]), &limits(), None).unwrap());
    kill(waiting, "KILL");
    until("it has ended", || alive(&[waiting]).is_empty());
    assert_ne!(shims.take().unwrap().pid(), waiting);
}

#[test]
fn a_shim_without_work_leaves() {
    let shim = Shims::new(SHIM.into()).take().unwrap();
    let pid = shim.pid();
    drop(shim);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_fake_agent_can_succeed_and_fail() {
    let place = Place::new();
    assert_eq!(end_of(&place.fake("succeed.sh", &limits())).ended, Ended::Exited(0));
    assert_eq!(place.text("result.json"), "{\"outcome\":\"done\",\"summary\":\"did T-1\"}\n");
    let place = Place::new();
    assert_eq!(end_of(&place.fake("fail.sh", &limits())).ended, Ended::Exited(1));
}
