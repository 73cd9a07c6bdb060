//! `agentctl` beside a worker that works: what it shows, what it refuses, what it stops, what it follows.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};

use serde_json::{Value, json};

use super::{agentctl, command, sprint};
use crate::support::{Project, eventually};

/// A daemon that works on P002 until it is stopped.
fn at_work() -> Project {
    let mut project = Project::new("echo started; echo oops >&2; exec sleep 600");
    project.queue(json!([{"id": "P002", "title": "Build it", "status": "ready", "dependencies": ["P005"]}, {"id": "P005", "status": "done"}]));
    project.start("builder", &[]);
    project.wait_for("P002", "in_progress");
    eventually("the agent writes", || {
        let log = fs::read_to_string(project.path(".oodatcaa/runs/P002/1/stdout.log")).ok()?;
        log.contains("started").then_some(())
    });
    project
}

fn contains(environ: &[u8], variable: &str) -> bool {
    environ.split(|byte| *byte == 0).any(|line| line == variable.as_bytes())
}

#[test]
fn a_running_task_is_shown_and_kept_from_hands() {
    let project = at_work();
    let status = agentctl(&project, &["status", "--json"]).ok().json();
    let role = &status["roles"][1];
    assert_eq!(
        (&role["state"], &role["wip"], &role["running"][0]["id"]),
        (&json!("working"), &json!(1), &json!("P002"))
    );
    assert_eq!(role["running"][0]["lease"]["state"], "live");
    let leases = agentctl(&project, &["lease", "list", "--json"]).ok().json();
    assert_eq!((&leases[0]["schema"], &leases[0]["token"]), (&json!("oodatcaa/lease.v1"), &json!(1)));
    let runs = agentctl(&project, &["run", "list", "--running", "--json"]).ok().json();
    assert_eq!((&runs[0]["run"], &runs[0]["state"]), (&json!("P002/1"), &json!("running")));

    for args in [
        &["task", "move", "P002", "ready", "--force"][..],
        &["task", "retry", "P002"],
        &["task", "block", "P002", "--reason", "x"],
        &["task", "done", "P002", "--reason", "x"],
        &["task", "cancel", "P002"],
    ] {
        agentctl(&project, args).no(5, "agentctl run stop P002 --reason");
    }
    agentctl(&project, &["task", "move", "P005", "ready", "--force"])
        .no(5, "P002 is being worked on and depends on P005");
    let said = agentctl(&project, &["lease", "release", "P002"]).no(5, "is alive and renewed this lease");
    assert!(said.err.contains("insist: agentctl lease release P002 --force --reason"), "{}", said.err);
    agentctl(&project, &["run", "stop", "P002", "--reason", "x"]).no(2, "--yes");

    assert_eq!(agentctl(&project, &["logs", "P002"]).ok().out, "started\n");
    assert_eq!(agentctl(&project, &["logs", "P002/1", "--stderr"]).ok().out, "oops\n");
    agentctl(&project, &["logs", "P002", "--gate", "../../x"]).no(2, "gate's name");
}

#[test]
fn a_run_is_stopped_and_its_end_is_told() {
    let project = at_work();
    agentctl(&project, &["task", "block", "P005", "--reason", "x"]).no(5, "is `done`");
    let said =
        agentctl(&project, &["-y", "run", "stop", "P002", "--reason", "wrong way", "--wait", "30s", "--json"]).ok();
    assert_eq!((&said.json()["stopped"], &said.json()["changed"]), (&json!(true), &json!(true)));
    let shown = agentctl(&project, &["run", "show", "P002/1", "--json"]).ok().json();
    assert_eq!((&shown["outcome"], &shown["charged"]), (&json!("interrupted"), &json!(false)));
    let files: Vec<&str> =
        shown["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert!(files.contains(&"stdout.log") && files.contains(&"attempt.json"), "{files:?}");
}

#[test]
fn a_cancelled_run_is_stopped_and_stays_cancelled() {
    let project = at_work();
    let said = agentctl(&project, &["-y", "task", "cancel", "P002", "--stop", "--reason", "no longer wanted"]).ok();
    assert_eq!(said.out, "P002\tin_progress\tcancelled\n");
    eventually("the lease goes", || (!project.path(".leases/P002.json").exists()).then_some(()));
    eventually("the mark goes", || project.task("P002")["lease"].is_null().then_some(()));
    assert_eq!((project.status("P002"), project.agents()), ("cancelled".into(), Vec::new()));
}

#[test]
fn a_cancelled_run_stays_cancelled_when_another_program_writes_over_it() {
    let mut project = Project::new("trap '' TERM; echo started; while :; do sleep 0.1; done");
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).unwrap();
    let patient = config.replace("grace = \"500ms\"", "grace = \"3s\"");
    fs::write(project.path(".oodatcaa/config.toml"), patient).unwrap();
    for status in ["done", "ready", "blocked", "in_progress"] {
        let id = format!("T-{status}");
        project.queue(json!([{"id": id, "title": status, "status": "ready"}]));
        let n = project.start("builder", &[]);
        project.wait_for(&id, "in_progress");
        // What a program wrote that had read the file before, and takes its time.
        let mut before = project.json()["tasks"].clone();
        before[0]["status"] = status.into();
        agentctl(&project, &["-y", "task", "cancel", &id, "--stop", "--reason", "no"]).ok();
        project.replace_queue(before);
        assert!(!project.leases().is_empty(), "{status}: it was written while the agent still ran");
        eventually("it is settled", || project.leases().is_empty().then_some(()));
        eventually("it is cancelled", || (project.status(&id) == "cancelled").then_some(()));
        project.signal(n, rustix::process::Signal::TERM);
        assert_eq!(project.ended(n), Some(0), "{status}");
        assert_eq!(project.status(&id), "cancelled", "{status}");
    }
}

#[test]
fn a_task_is_taken_away_from_a_living_owner_by_force_only() {
    let project = at_work();
    agentctl(&project, &["lease", "release", "P002", "--force"]).no(2, "--reason");
    let said = agentctl(&project, &["-y", "lease", "release", "P002", "--force", "--reason", "it hangs"]).ok();
    assert!(said.out.starts_with("P002\t"), "{said:?}");
    eventually("it is claimed again with a greater token", || {
        let log = fs::read_to_string(project.path(".oodatcaa/runs/P002/2/stdout.log")).ok()?;
        log.contains("started").then_some(())
    });
    let first = format!("OODATCAA_RUN_DIR={}", project.path(".oodatcaa/runs/P002/1").display());
    let of_first = |pid: &u32| fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| contains(&environ, &first));
    assert_eq!(project.agents().iter().filter(|pid| of_first(pid)).count(), 0, "{}", project.diagnosis());
}

#[test]
fn following_a_log_ends_with_its_attempt() {
    let project = at_work();
    let mut child =
        command(&project, &["logs", "P002/1", "-f"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "started");
    let log = project.path(".oodatcaa/runs/P002/1/stdout.log");
    fs::OpenOptions::new().append(true).open(log).unwrap().write_all(b"more\n\x1b[31mred\x1b[0m no end").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "more");
    agentctl(&project, &["-y", "run", "stop", "P002", "--reason", "enough"]).ok();
    assert_eq!(lines.next().unwrap().unwrap(), "red no end");
    let code = eventually("the follower ends", || child.try_wait().unwrap()).code();
    assert_eq!(code, Some(0));
}

#[test]
fn events_are_followed_as_they_happen() {
    let project = sprint();
    agentctl(&project, &["task", "move", "P001", "ready"]).ok();
    let mut child = command(&project, &["events", "tail", "-f", "--json", "--type", "task.moved"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["data"]["to"].clone();
    assert_eq!(next(), "ready");
    agentctl(&project, &["task", "cancel", "P001"]).ok();
    assert_eq!(next(), "cancelled");
    child.kill().unwrap();
    child.wait().unwrap();
    let tail = agentctl(&project, &["events", "tail", "--task", "P001", "-n", "1", "--json"]).ok().json();
    assert_eq!((tail.as_array().map(Vec::len), &tail[0]["data"]["to"]), (Some(1), &json!("cancelled")));
}

#[test]
fn watching_gives_one_object_for_every_change() {
    let project = sprint();
    let mut child = command(&project, &["status", "--watch=60s", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ready =
        || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["statuses"]["ready"].clone();
    assert_eq!(ready(), 1);
    agentctl(&project, &["task", "move", "P001", "ready"]).ok();
    while ready() != 2 {}
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn status_measures_a_worker_with_everything_that_its_attempt_started() {
    let mut project =
        Project::new("sh -c 'while :; do :; done' & echo started; trap 'kill $!' TERM; while :; do sleep 0.1; done");
    project.queue(json!([{"id": "BUSY", "title": "it burns", "status": "ready"}]));
    project.start("builder", &[]);
    project.wait_for("BUSY", "in_progress");
    let of_builder = |status: &Value| {
        let roles = status["roles"].as_array().expect("roles");
        roles.iter().find(|role| role["role"] == "builder").expect("it is configured").clone()
    };
    let busy = eventually("the whole tree is measured", || {
        let role = of_builder(&agentctl(&project, &["status", "--json"]).ok().json());
        let worker = role["processes"].get(0)?.clone();
        let burns = worker["cpu_percent"].as_f64().is_some_and(|share| share > 5.0);
        (burns && worker["processes"].as_u64() >= Some(4)).then_some(worker)
    });
    assert_eq!(busy["pid"], project.pid(0));
    assert_eq!((&busy["state"], &busy["tasks"]), (&json!("working"), &json!(["BUSY"])));
    assert!(busy["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{busy}");
    assert!(busy["up_seconds"].is_u64());
    assert!(busy["last_event"]["kind"].is_string() && busy["last_event"]["seq"].is_u64(), "{busy}");
    let row = agentctl(&project, &["status", "--workers"]).ok().out;
    let cells: Vec<&str> = row.trim_end().split('\t').collect();
    assert_eq!((cells[1].to_owned(), cells[2], cells[7]), (project.pid(0).to_string(), "working", "BUSY"), "{row}");

    project.stop_outside_of_the_lock(0);
    let stopped = of_builder(&agentctl(&project, &["status", "--json"]).ok().json());
    assert_eq!(stopped["processes"][0]["state"], "stopped", "{stopped}");
    project.signal(0, rustix::process::Signal::KILL);
    project.ended(0);
    let gone = of_builder(&agentctl(&project, &["status", "--json"]).ok().json());
    assert_eq!((&gone["processes"], &gone["workers"]), (&json!([]), &json!([])));
    agentctl(&project, &["status", "--workers"]).ok();
}
