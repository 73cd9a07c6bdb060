//! What others do to a project's files while workers run: locks removed, the directory away, a journal that cannot be
//! written, a worker killed in the middle of a commit.

#[cfg(feature = "failpoints")]
use std::os::unix::process::ExitStatusExt as _;
use std::{fs, sync::mpsc, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Project, eventually, tools::available};

fn ready(count: usize) -> Value {
    (0..count).map(|n| json!({"id": format!("T{n}"), "title": "t", "status": "ready"})).collect()
}

/// The journal's numbers grow one by one, and no claim is there twice.
#[track_caller]
fn the_journal_is_whole(project: &Project) {
    let events = project.events();
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let mut claims: Vec<String> = project
        .events_of("lease.acquired")
        .iter()
        .map(|event| format!("{} {}", event["task"], event["token"]))
        .collect();
    let count = claims.len();
    claims.sort();
    claims.dedup();
    assert_eq!(claims.len(), count, "no token is given out twice");
}

/// An agent that says so when another of its task lives.
const ALONE: &str = "at=\"at.$OODATCAA_TASK_ID\"; old=$(cat \"$at\" 2>/dev/null); \
    [ -z \"$old\" ] || ! kill -0 \"$old\" 2>/dev/null || echo \"$OODATCAA_TASK_ID\" >> twice; \
    echo $$ > \"$at\"; sleep 0.1; exit 0";

#[test]
fn who_removes_the_queues_lock_under_load_makes_no_number_and_no_claim_double() {
    let mut project = Project::new(ALONE);
    project.queue(ready(20));
    for owner in ["one", "two", "three"] {
        project.start("builder", &["--interval", "1s", "--owner", owner]);
    }
    let lock = project.path(".locks/queue.lock");
    std::thread::scope(|scope| {
        let (stop, stopped) = mpsc::channel::<()>();
        // Longer apart than a commit takes, or nobody would ever get to change anything.
        let pause = Duration::from_millis(40);
        scope.spawn(move || {
            while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = fs::remove_file(&lock);
            }
        });
        let added = |n: usize| {
            let add = ["add", "more", "--id", &format!("A{n}"), "--status", "needs_manual"];
            let said = project.command("agentctl").args(add).output().expect("runs");
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        };
        let adders: Vec<_> = (0..2).map(|at| scope.spawn(move || (0..5).for_each(|n| added(at * 5 + n)))).collect();
        let added = adders.into_iter().all(|adder| adder.join().is_ok());
        let all = |project: &Project| (0..20).all(|n| project.status(&format!("T{n}")) == "awaiting_test");
        eventually("all are done", || all(&project).then_some(()));
        drop(stop);
        assert!(added, "nothing was refused");
    });
    project.signal_all(Signal::TERM);
    assert!(!project.path("twice").exists(), "two agents at once");
    assert_eq!(project.tasks().len(), 30, "{}", project.text());
    the_journal_is_whole(&project);
}

#[test]
fn who_removes_leases_all_the_time_brings_no_two_agents_together() {
    let mut project = Project::new(ALONE);
    project.queue(ready(12));
    for owner in ["one", "two", "three"] {
        project.start("builder", &["--interval", "1s", "--owner", owner]);
    }
    let mut at = 0;
    eventually("all are done", || {
        at += 1;
        if at % 40 == 0
            && let Some(lease) = project.leases().first()
        {
            let _ = fs::remove_file(project.path(&format!(".leases/{}.json", lease["task_id"].as_str()?)));
        }
        project.tasks().iter().all(|task| task["status"] == "awaiting_test").then_some(())
    });
    project.signal_all(Signal::TERM);
    assert!(!project.path("twice").exists(), "two agents at once");
    the_journal_is_whole(&project);
}

#[test]
fn an_attempt_outlives_that_the_projects_directory_is_away() {
    let mut project = Project::new("touch started.$OODATCAA_TASK_ID; until [ -e go ]; do sleep 0.1; done");
    project.queue(ready(2));
    let limited = project.text().replace("\"builder\": 3", "\"builder\": 1");
    project.queue_text(&limited);
    for owner in ["one", "two"] {
        project.start_ready("builder", &["--interval", "1s", "--owner", owner]);
    }
    eventually("the agent runs", || project.path("started.T0").exists().then_some(()));
    let away = project.root().with_extension("away");
    // Once for a while, and for moments that fall between two looks of a worker.
    for millis in [3_000, 1, 5, 1, 20, 1, 5] {
        fs::rename(project.root(), &away).expect("moved");
        std::thread::sleep(Duration::from_millis(millis));
        fs::rename(&away, project.root()).expect("moved back");
    }
    fs::write(project.path("go"), "").expect("written");
    for id in ["T0", "T1"] {
        project.wait_for(id, "awaiting_test");
    }
    project.signal_all(Signal::TERM);
    let claims = project.events_of("lease.acquired");
    assert_eq!(claims.len(), 2, "nobody took it again: {:#?} {}", project.events(), project.diagnosis());
    assert!(project.leases().is_empty(), "{}", project.diagnosis());
    the_journal_is_whole(&project);
}

#[test]
#[cfg(feature = "failpoints")]
fn a_journal_that_cannot_be_written_for_a_while_lacks_nothing_and_stays_in_order() {
    let mut project = Project::new("exit 0");
    project.queue(ready(6));
    // Each worker's journal fails again and again, in the middle of what it does.
    project.slow = Some("store.journal=3*off->2*return(28)->3*off->1*return(5)->2*off->2*return(28)->off".into());
    for owner in ["one", "two"] {
        project.start("builder", &["--interval", "1s", "--owner", owner]);
    }
    for n in 0..6 {
        project.wait_for(&format!("T{n}"), "awaiting_test");
    }
    project.signal_all(Signal::TERM);
    the_journal_is_whole(&project);
    for n in 0..6 {
        let id = format!("T{n}");
        let of = |kind: &str| project.events_of(kind).iter().filter(|event| event["task"] == id.as_str()).count();
        let counts = (of("lease.acquired"), of("attempt.finished"), of("task.observed"));
        assert_eq!(counts, (1, 1, 0), "{id}: {:#?} {}", project.events(), project.diagnosis());
    }
}

#[test]
#[cfg(feature = "failpoints")]
fn a_settlement_that_was_killed_before_the_journal_heard_of_it_is_told_with_actor_cost_and_reason() {
    let mut project = Project::new("exit 0");
    let bin = tempfile::tempdir().expect("a directory");
    let script = "#!/bin/sh\n: > \"$OODATCAA_PROJECT/made.txt\"\n\
            echo '{\"outcome\":\"done\",\"summary\":\"made\"}' > \"$OODATCAA_RESULT_FILE\"\n\
            echo '{\"type\":\"bye\",\"status\":\"fine\",\"usage\":{\"in\":7,\"out\":5,\"usd\":0.25}}'\n";
    fs::write(bin.path().join("priced"), script).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bin.path().join("priced"), mode).expect("a program");
    project.config(
            "[roles.builder]\nagent = \"priced\"\n[agents.priced]\nkind = \"priced\"\n[adapters.priced]\ndialect = \"event\"\n\
             [adapters.priced.program]\nnames = [\"priced\"]\n[adapters.priced.args]\nbase = []\n[adapters.priced.map]\n\
             terminal = [{ when = { type = \"bye\" }, ok = [{ ptr = \"/status\", eq = \"fine\" }] }]\n\
             usage = [{ when = { type = \"bye\" }, input = [\"/usage/in\"], output = [\"/usage/out\"], cost = \"/usage/usd\" }]",
        );
    project.queue(ready(1));
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").expect("a path"));
    // The queue is replaced by the claim, then by the settlement.
    let env = [("PATH", path.as_str()), ("FAILPOINTS", "store.renamed=1*off->return(kill)")];
    let victim = project.start_with("builder", &["--owner", "victim"], &env);
    let end = project.exited(victim);
    assert_eq!(end.signal(), Some(9), "{end:?}: {}", project.diagnosis());
    let record = fs::read_to_string(project.path(".oodatcaa/runs/T0/1/attempt.json"));
    assert_eq!(project.status("T0"), "awaiting_test", "the queue has it: {record:?}");
    assert!(project.events_of("attempt.finished").is_empty(), "and the journal has not");
    project.once("planner");
    let actor = format!("worker:victim@{}", rustix::system::uname().nodename().to_string_lossy());
    let finished = project.events_of("attempt.finished").pop().expect("told");
    assert_eq!(finished["actor"], actor.as_str(), "{finished}");
    assert_eq!(
        (&finished["data"]["outcome"], &finished["data"]["cost_usd"], &finished["token"]),
        (&json!("done"), &json!(0.25), &json!(1)),
        "{finished}"
    );
    let moved = project.events().into_iter().rfind(|event| event["data"]["to"] == "awaiting_test").expect("told");
    assert_eq!(moved["actor"], actor.as_str(), "{moved}");
    the_journal_is_whole(&project);
}

#[test]
fn a_worker_whose_project_is_moved_ends_with_words_and_touches_nothing_at_the_old_place() {
    let mut project = Project::new("touch started.$OODATCAA_TASK_ID; sleep 1000");
    project.queue(ready(1));
    let worker = project.start("builder", &["--interval", "1s"]);
    eventually("the agent runs", || project.path("started.T0").exists().then_some(()));
    let moved = project.root().with_extension("moved");
    fs::rename(project.root(), &moved).expect("moved");
    fs::create_dir_all(project.path(".oodatcaa/work")).expect("another project");
    project.config("").queue(ready(3));
    let queue = project.text();
    assert!(project.ended(worker).is_some_and(|code| code != 0), "a service manager is told");
    let log = fs::read_to_string(moved.join("builder.0.log")).expect("its log");
    let words = format!("the project has been moved from {} to {}", project.root().display(), moved.display());
    assert!(log.contains(&words) && log.contains("agentctl fleet start builder"), "{log}");
    assert_eq!(project.text(), queue);
    let made: Vec<_> = fs::read_dir(project.root()).expect("there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(made, [".oodatcaa"], "nothing was made");
    assert!(!project.path(".oodatcaa/runs").exists());
    fs::remove_dir_all(project.root()).expect("removed");
    fs::rename(&moved, project.root()).expect("moved back");
    // Who starts in the place where it is now gives back what that one held.
    project.once("planner");
    assert_eq!(project.status("T0"), "ready");
    assert_eq!(project.agents(), Vec::<u32>::new());
}

#[test]
fn a_fleet_that_is_started_where_a_project_was_moved_to_takes_the_place_of_the_old_one() {
    let project = Project::that_succeeds();
    project.queue(json!([]));
    // No program that lies at the old place.
    project.config("[roles.builder]\nagent = \"plain\"\n[agents.plain]\nkind = \"command\"\nargv = [\"true\"]");
    let fleet = |at: &std::path::Path, args: &[&str]| {
        let mut command = project.command("agentctl");
        let said = command.current_dir(at).arg("fleet").args(args).args(["--backend", "process"]).output();
        let said = said.expect("runs");
        let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        (said.status.success(), text)
    };
    let pid = |at: &std::path::Path| fs::read_to_string(at.join(".agent-daemon-pids/builder.pid")).expect("a pid file");
    let (here, moved) = (project.root().to_owned(), project.root().with_extension("moved"));
    let said = fleet(&here, &["start", "builder"]);
    assert!(said.0, "{}", said.1);
    let first = pid(&here);
    assert_eq!(first.lines().count(), 1, "kill $(cat …) is right");
    let copy = project.root().with_extension("copy");
    std::process::Command::new("cp").arg("-a").arg(&here).arg(&copy).status().expect("cp");
    fs::rename(&here, &moved).expect("moved");
    let said = fleet(&moved, &["start", "builder"]);
    assert!(said.0 && !said.1.contains("already"), "{}", said.1);
    assert_ne!(pid(&moved), first);
    // One that has ended and was not waited for has no command line any more.
    let runs = |pid: &str| fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|line| !line.is_empty());
    assert!(!runs(&first), "no second crowd");
    // A copy is a project of its own.
    let said = fleet(&copy, &["start", "builder"]);
    assert!(said.0 && !said.1.contains("already"), "{}", said.1);
    assert!(runs(&pid(&moved)));
    for at in [&copy, &moved] {
        let said = fleet(at, &["stop"]);
        assert!(said.0, "{}", said.1);
    }
    fs::remove_dir_all(&copy).expect("removed");
    fs::rename(&moved, &here).expect("moved back");
}

#[test]
fn the_doctor_names_who_keeps_the_queues_lock_and_what_helps() {
    if !available(false, &["flock"]) {
        return;
    }
    let project = Project::that_succeeds();
    project.queue(ready(1));
    project.once("planner");
    let doctor = || {
        let said = project.command("agentctl").args(["doctor", "--json"]).output().expect("runs");
        let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
        let mut checks = said["checks"].as_array().expect("checks").clone().into_iter();
        checks.find(|check| check["id"] == "queue_lock_held")
    };
    assert_eq!(doctor(), None);
    let taken = project.path("taken");
    let lock = project.path(".locks/queue.lock");
    let mut shim = std::process::Command::new("flock")
        .arg(&lock)
        .args(["sh", "-c", "touch \"$0\"; exec sleep 1000"])
        .arg(&taken)
        .spawn()
        .expect("flock starts");
    eventually("the lock is taken", || taken.exists().then_some(()));
    let pid = rustix::process::Pid::from_child(&shim);
    rustix::process::kill_process(pid, Signal::STOP).expect("stopped");
    let said = doctor().expect("it is told").to_string();
    rustix::process::kill_process(pid, Signal::CONT).expect("goes on");
    let sleeper = fs::read_to_string(format!("/proc/{0}/task/{0}/children", shim.id())).unwrap_or_default();
    if let Some(pid) = sleeper.trim().parse().ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    shim.wait().expect("a child");
    assert!(said.contains(&format!("process {}", shim.id())) && said.contains("which is stopped"), "{said}");
    assert!(said.contains(&format!("kill -CONT {}", shim.id())), "{said}");
    assert_eq!(doctor(), None, "and no more");
}

#[test]
fn the_doctor_names_files_that_one_command_under_sudo_left_to_root() {
    if !available(true, &[]) {
        return;
    }
    let project = Project::that_succeeds();
    project.queue(ready(1));
    project.once("planner");
    let doctor = || {
        let said = project.command("agentctl").arg("doctor").output().expect("runs");
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    assert!(!doctor().contains("sudo chown"), "{}", doctor());
    std::os::unix::fs::chown(project.path(".oodatcaa/work/events.jsonl"), Some(12_345), None).expect("given away");
    let said = doctor();
    assert!(said.contains("1 file of the project belongs to user 12345") && said.contains("sudo chown -R"), "{said}");
}
