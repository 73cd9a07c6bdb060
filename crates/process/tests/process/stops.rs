//! Attempts that are ended: by an order, a signal or a limit.

use super::*;

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
fn a_shim_that_its_agent_has_stopped_still_hears_its_worker() {
    let place = Place::new();
    let attempt = place.sh("kill -STOP $PPID; echo ready; exec sleep 600");
    until("it is ready", || place.text("stdout.log") == "ready\n");
    attempt.stop(Stop::Gently);
    assert_eq!(end_of(&attempt).stopped, Some(StopCause::Asked));
}

#[test]
fn a_shim_that_is_asked_by_term_ends_its_agent_and_hears_no_other_signal() {
    let place = Place::new();
    let script = "trap 'sleep 0.2; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let attempt = place.start(&["sh", "-c", script], &Limits { grace: PATIENCE, ..limits() });
    until("it is ready", || place.text("stdout.log") == "ready\n");
    for signal in ["HUP", "INT", "TERM"] {
        kill(attempt.shim(), signal);
    }
    let exit = end_of(&attempt);
    assert_eq!((&exit.ended, exit.stopped), (&Ended::Exited(3), Some(StopCause::Asked)), "two stops would have killed");
}

/// Two processes that hold half of it each, with nothing to say and nothing to do.
const HOLDS_64_MIB: &str =
    "hold() { v=$(head -c 33554432 /dev/zero | tr '\\0' x); echo held; sleep 600; }; hold & hold";

#[test]
fn a_tree_that_holds_too_much_memory_is_ended_as_a_whole() {
    let place = Place::new();
    let limit = Limits { memory: Some(48 << 20), grace: Duration::from_secs(3600), ..limits() };
    let exit = end_of(&place.start(&["sh", "-c", HOLDS_64_MIB], &limit));
    assert_eq!(exit.stopped, Some(StopCause::Memory), "{exit:?}");
    assert!(place.text("shim.log").starts_with("memory: "), "{}", place.text("shim.log"));
    assert!(place.text("shim.log").contains("the limit is 48 MiB"), "{}", place.text("shim.log"));
    place.assert_nothing_left();
}

#[test]
fn a_tree_below_its_memory_limit_is_left_alone() {
    let place = Place::new();
    let small = "v=$(head -c 1048576 /dev/zero | tr '\\0' x); sleep 1.5; echo ${#v}";
    let exit = end_of(&place.start(&["sh", "-c", small], &Limits { memory: Some(256 << 20), ..limits() }));
    assert_eq!((&exit.ended, exit.stopped), (&Ended::Exited(0), None));
    assert_eq!(place.text("stdout.log"), "1048576\n");
}

#[test]
fn the_kernel_takes_the_agent_before_its_shim() {
    let place = Place::new();
    let attempt = place.sh("cat /proc/self/oom_score_adj; exec sleep 600");
    until("it has told", || place.text("stdout.log").ends_with('\n'));
    let adj = |text: String| text.trim().parse::<i32>().unwrap();
    let shim = || adj(fs::read_to_string(format!("/proc/{}/oom_score_adj", attempt.shim())).unwrap());
    // It takes its own mark off again right after the start.
    until("the agent goes first", || adj(place.text("stdout.log")) == (shim() + 500).min(1000));
}
