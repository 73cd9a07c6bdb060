//! `agentctl` as a program: exit codes, both streams, and what it leaves in the files.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{Project, eventually};

/// What a command said and answered.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Exit code 0 and nothing to complain of.
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// This exit code, and a message that holds these words.
    #[track_caller]
    fn no(self, code: i32, words: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(words), "{self:?} does not say {words:?}");
        self
    }
}

fn command(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command(env!("CARGO_BIN_EXE_agentctl"));
    command.env("USER", "ada").args(args).stdin(Stdio::null());
    command
}

fn finish(mut command: Command) -> Said {
    let output = command.output().expect("agentctl runs");
    Said {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn agentctl(project: &Project, args: &[&str]) -> Said {
    finish(command(project, args))
}

fn sprint() -> Project {
    let project = Project::that_succeeds();
    project.queue(json!([
        {"id": "P001", "title": "Plan it", "status": "needs_plan", "priority": 2},
        {"id": "P002", "title": "Build it", "status": "ready", "priority": 1, "type": "Build", "dependencies": ["P003"]},
        {"id": "P003", "title": "Test it", "status": "awaiting_test", "priority": 1},
        {"id": "P004", "title": "Stuck", "status": "needs_manual", "attempts": 3, "blocked_reason": "no idea"},
        {"id": "P005", "title": "Was done", "status": "done"},
    ]));
    project
}

#[test]
fn a_pipe_gets_tabs_without_a_heading_and_json_gets_objects() {
    let project = sprint();
    let said = agentctl(&project, &["ls"]).ok();
    let rows: Vec<Vec<&str>> = said.out.lines().map(|line| line.split('\t').collect()).collect();
    let short: Vec<_> = rows.iter().map(|row| (row[0], row[1], row[2], row[3])).collect();
    assert_eq!(
        short,
        [
            ("P002", "ready", "builder", "1"),
            ("P003", "awaiting_test", "tester", "1"),
            ("P001", "needs_plan", "planner", "2"),
            ("P004", "needs_manual", "", "100"),
        ]
    );
    assert_eq!(rows[0][5], "it waits for P003, which is `awaiting_test`");
    assert_eq!(agentctl(&project, &["-q", "ls", "--all", "--sort", "file"]).ok().out, "P001\nP002\nP003\nP004\nP005\n");

    assert_eq!(agentctl(&project, &["ls", "-is:needs_you", "-q", "prio:<2"]).ok().out, "P002\nP003\n");
    assert_eq!(agentctl(&project, &["ls", "nothing", "--json"]).ok().json(), json!([]));
    let tasks = agentctl(&project, &["ls", "is:needs_you", "--json"]).ok().json();
    assert_eq!(tasks.as_array().map(Vec::len), Some(1));
    let task = &tasks[0];
    assert_eq!(task["schema"], "oodatcaa/task.v1");
    assert_eq!((&task["id"], &task["state"], &task["attempts"]), (&json!("P004"), &json!("needs_you"), &json!(3)));
    assert_eq!(task["lease"], Value::Null);

    let status = agentctl(&project, &["status", "--json"]).ok().json();
    assert_eq!((&status["schema"], &status["tasks"]), (&json!("oodatcaa/status.v1"), &json!(5)));
    assert_eq!(status["states"]["waiting"], 3);
    assert_eq!(status["roles"][1]["role"], "builder");
    assert_eq!(status["roles"][1]["state"], "stopped");
}

#[test]
fn reading_leaves_no_trace() {
    let project = sprint();
    let names = || {
        let mut names: Vec<String> =
            fs::read_dir(project.root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let before = (names(), project.text());
    for args in [
        &["ls"][..],
        &["status"],
        &["show", "P001"],
        &["why", "P002"],
        &["run", "list"],
        &["lease", "list"],
        &["events", "tail"],
        &["queue", "validate"],
        &["task", "move", "P001", "ready", "--dry-run"],
        &["task", "cancel", "P002", "--dry-run"],
        &["add", "x", "--accept", "y", "--dry-run"],
        &["queue", "repair", "--dry-run"],
    ] {
        agentctl(&project, args).ok();
    }
    assert_eq!((names(), project.text()), before);
    assert!(!project.path(".oodatcaa/work/events.jsonl").exists());
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let project = sprint();
    let said = agentctl(&project, &["show", "P00"]).no(3, "error: there is no task `P00`");
    assert!(said.err.contains("hint: the nearest are P001, P002, P003: agentctl show P001"), "{}", said.err);
    agentctl(&project, &["why", "../../etc/passwd"]).no(3, "there is no task");
    agentctl(&project, &["logs", "P001"]).no(3, "nobody has worked on P001 yet");
    agentctl(&project, &["run", "show", "P001/4"]).no(3, "there is no attempt P001/4");
    agentctl(&project, &["ls", "role:bilder"]).no(3, "there is no role `bilder`");
    agentctl(&project, &["ls", "is:runing"]).no(2, "agentctl ls is:running");
    agentctl(&project, &["events", "tail", "--type", "task.mooved"]).no(2, "task.moved");
    agentctl(&project, &["frobnicate"]).no(2, "unrecognized subcommand");
    let error: Value = serde_json::from_str(&agentctl(&project, &["show", "P9", "--json"]).no(3, "").err).unwrap();
    assert_eq!(error["error"]["code"], "not_found");
    let error: Value = serde_json::from_str(&agentctl(&project, &["show", "--json"]).no(2, "").err).unwrap();
    assert_eq!(error["error"]["code"], "usage");
}

#[test]
fn without_a_project_there_is_a_hint_and_help_works() {
    let elsewhere = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentctl"));
        command.env_clear().env("HOME", elsewhere.path()).current_dir(elsewhere.path()).args(args).stdin(Stdio::null());
        finish(command)
    };
    run(&["ls"]).no(3, "hint: set one up here: agentctl init");
    run(&["-C", "/nowhere", "ls"]).no(3, "/nowhere is no project");
    assert!(run(&[]).ok().out.contains("Usage: agentctl"));
    assert!(run(&["help", "exit-codes"]).ok().out.contains("  130  "));
    assert!(run(&["help", "task", "move"]).ok().out.contains("--force"));
    run(&["help", "exit-code"]).no(2, "agentctl help exit-codes");
    assert!(run(&["--version"]).ok().out.starts_with("agentctl "));
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).ok().out.contains("agentctl"));
    }
    assert!(run(&["man"]).ok().out.contains(".TH agentctl 1"));
    run(&["man", "pages"]).ok();
    assert!(elsewhere.path().join("pages/agentctl-task-add.1").is_file());
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queues/101.json");
    run(&["queue", "validate", sample.to_str().unwrap()]).ok();
}

#[test]
fn a_new_task_gets_an_id_a_place_and_an_event() {
    let project = sprint();
    let said = agentctl(&project, &["add", "Fix", "the", "parser", "--dep", "P003", "--accept", "it parses"]).ok();
    assert_eq!(said.out, "P006\tneeds_plan\tFix the parser\n");
    assert!(said.err.contains("undo: agentctl task cancel P006"), "{}", said.err);
    let task = project.task("P006");
    assert_eq!((&task["type"], &task["dependencies"]), (&json!("Story"), &json!(["P003"])));
    let events = project.events_of("task.created");
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["actor"], &events[0]["data"]["to"]), (&json!("human:ada"), &json!("needs_plan")));

    let said = agentctl(&project, &["add", "No proof", "--ready", "--parent", "P001"]).ok();
    assert!(said.out.starts_with("P001-B01\tready\t"), "{}", said.out);
    assert!(said.err.contains("warning: no acceptance criteria"), "{}", said.err);

    let before = project.text();
    agentctl(&project, &["add", "x", "--dep", "P009"]).no(3, "there is no task `P009`");
    agentctl(&project, &["add", "x", "--id", "../x"]).no(2, "contains '/'");
    agentctl(&project, &["add", "x", "--id", "P001"]).no(5, "there is a task `P001` already");
    agentctl(&project, &["add", "x", "--status", "reddy"]).no(2, "`reddy` is no status");
    agentctl(&project, &["add", "x", "--gate", "nope"]).no(2, "there is no gate `nope`");
    agentctl(&project, &["add", &"long ".repeat(100)]).no(2, "at most 300");
    assert_eq!(project.text(), before);

    let mut child = command(&project, &["add", "From a pipe", "-F", "-", "--accept", "x"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"First line.\n\n\"second\"\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(project.task("P007")["description"], "First line.\n\n\"second\"");
}

#[test]
fn moves_are_checked_undone_and_journalled() {
    let project = sprint();
    agentctl(&project, &["task", "move", "P002", "ready_for_integrator"]).no(5, "skips work");
    agentctl(&project, &["task", "move", "P002", "in_progress"]).no(5, "only a claim of a builder");
    agentctl(&project, &["task", "move", "P002", "reddy"]).no(2, "needs_plan, planning");
    agentctl(&project, &["task", "move", "P002", "done"]).no(2, "needs a reason");
    agentctl(&project, &["task", "move", "P005", "ready"]).no(5, "only force brings it back");

    let said = agentctl(&project, &["task", "move", "P003", "ready", "--reason", "again"]).ok();
    assert_eq!(said.out, "P003\tawaiting_test\tready\n");
    assert!(said.err.contains("undo: agentctl task move P003 awaiting_test --force"), "{}", said.err);
    agentctl(&project, &["task", "move", "P003", "awaiting_test", "--force"]).ok();

    let change = agentctl(&project, &["task", "retry", "P004", "--json"]).ok().json();
    assert_eq!(
        (&change["schema"], &change["from"], &change["to"]),
        (&json!("oodatcaa/change.v1"), &json!("needs_manual"), &json!("needs_plan"))
    );
    let task = project.task("P004");
    assert_eq!((&task["attempts"], &task["blocked_reason"]), (&json!(0), &Value::Null));
    let said = agentctl(&project, &["task", "retry", "P004"]).ok();
    assert!(said.err.contains("nothing to change"), "{}", said.err);

    agentctl(&project, &["task", "block", "P003", "--reason", "wait for Bob's word"]).ok();
    let said = agentctl(&project, &["task", "unblock", "P003"]).ok();
    assert_eq!(said.out, "P003\tblocked\tawaiting_test\n");
    assert!(said.err.contains(r"undo: agentctl task block P003 --reason 'wait for Bob'\''s word'"), "{}", said.err);

    let said = agentctl(&project, &["task", "cancel", "P003", "--reason", "no"]).ok();
    assert!(said.err.contains("these depend on it and wait: P002"), "{}", said.err);
    assert_eq!(agentctl(&project, &["task", "retry", "P003"]).ok().out, "P003\tcancelled\tawaiting_test\n");
    agentctl(&project, &["task", "done", "P003", "--reason", "seen it work"]).ok();
    assert!(project.task("P003")["completed_at"].is_string());

    let moves = project.events_of("task.moved");
    assert!(moves.iter().all(|event| event["actor"] == "human:ada"), "{moves:?}");
    let seqs: Vec<u64> = project.events().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
}

#[test]
fn what_an_agent_starts_is_no_human() {
    let project = sprint();
    let mut command = command(&project, &["task", "move", "P001", "ready"]);
    command.env("OODATCAA_TASK_ID", "P002");
    finish(command).ok();
    assert_eq!(project.events_of("task.moved")[0]["actor"], "outside");
}

#[test]
fn a_queue_that_cannot_be_read_is_told_with_its_place_and_left_alone() {
    let project = sprint();
    project.queue_text("{\n  \"tasks\": [\n<<<<<<< HEAD\n");
    for args in [&["ls"][..], &["status"], &["add", "x"], &["queue", "repair"]] {
        let said = agentctl(&project, args).no(1, "SPRINT_QUEUE.json:3:1");
        assert!(said.err.contains("agentctl queue validate"), "{}", said.err);
    }
    let said = agentctl(&project, &["queue", "validate"]).no(8, "cannot be read");
    assert!(said.out.contains("SPRINT_QUEUE.json:3:1: unreadable: "), "{}", said.out);
    let found = agentctl(&project, &["queue", "validate", "--json"]).json();
    assert_eq!(
        (&found["ok"], &found["readable"], &found["problems"][0]["line"]),
        (&json!(false), &json!(false), &json!(3))
    );
    assert_eq!(project.text(), "{\n  \"tasks\": [\n<<<<<<< HEAD\n");
}

#[test]
fn problems_of_tasks_stand_where_the_tasks_do() {
    let project = sprint();
    project.queue_text(
        "{\"tasks\": [\n {\"id\": \"A\", \"status\": \"ready\", \"dependencies\": [\"B\"]},\n {\"id\": \"B\", \"status\": \"raedy\", \"dependencies\": [\"A\"]}]}",
    );
    let said = agentctl(&project, &["queue", "validate"]).no(8, "3 problems");
    assert!(said.out.contains("SPRINT_QUEUE.json:2:3: cycle: "), "{}", said.out);
    assert!(said.out.contains("SPRINT_QUEUE.json:3:3: unknown_status: "), "{}", said.out);
}

#[test]
fn hostile_titles_do_not_reach_a_terminal() {
    let project = sprint();
    project.queue(json!([{"id": "A", "title": "\u{1b}[2Jgone\r\nnext\tcolumn\u{202e}", "status": "ready"}]));
    for args in [&["ls"][..], &["show", "A"], &["why", "A"], &["status"]] {
        let said = agentctl(&project, args).ok();
        assert!(!said.out.contains(['\u{1b}', '\r', '\u{202e}']), "{said:?}");
    }
    let row = agentctl(&project, &["ls"]).out;
    assert_eq!(row.split('\t').nth(4), Some("\u{fffd}[2Jgone  next column\u{fffd}"));
}

#[test]
fn colour_follows_the_flag_and_the_environment() {
    let project = sprint();
    project.queue_text("{}x");
    let coloured = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = command(&project, args);
        command.envs(env.iter().copied());
        finish(command).err.contains("\u{1b}[31merror:")
    };
    assert!(!coloured(&["ls"], &[]), "a pipe");
    assert!(coloured(&["ls", "--color", "always"], &[]));
    assert!(coloured(&["ls"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&["ls"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!coloured(&["ls", "--color=never"], &[("CLICOLOR_FORCE", "1")]));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let project = sprint();
    let tasks: Vec<Value> =
        (0..3000).map(|n| json!({"id": format!("T{n}"), "title": "x".repeat(100), "status": "ready"})).collect();
    project.queue(Value::Array(tasks));
    let mut child = command(&project, &["ls"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    assert!(first.starts_with("T0\t"), "{first}");
}

#[test]
fn standard_output_that_cannot_be_written_is_a_failure() {
    let project = sprint();
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let output = command(&project, &["ls"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"));
}

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
fn a_task_is_taken_away_from_a_living_owner_by_force_only() {
    let project = at_work();
    agentctl(&project, &["lease", "release", "P002", "--force"]).no(2, "--reason");
    let said = agentctl(&project, &["-y", "lease", "release", "P002", "--force", "--reason", "it hangs"]).ok();
    assert!(said.out.starts_with("P002\t"), "{said:?}");
    eventually("it is claimed again with a greater token", || {
        project.path(".oodatcaa/runs/P002/2/stdout.log").exists().then_some(())
    });
    assert_eq!(project.agents().len(), 1, "{}", project.diagnosis());
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

/// A lease whose process has gone: of this boot, with a pid that is not alive with that start time.
fn dead_lease(project: &Project, task: &str, role: &str) {
    let lease = json!({
        "task_id": task, "role": role, "owner": "w@h", "token": 3, "attempt": 1,
        "started_at": "2026-01-05T09:00:00.000Z", "ttl_seconds": 5400, "heartbeat_at": "2026-01-05T09:00:00.000Z",
        "host": rustix::system::uname().nodename().to_string_lossy(),
        "boot_id": fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim(),
        "pid": std::process::id(), "pid_started": 1,
    });
    fs::create_dir_all(project.path(".leases")).unwrap();
    fs::set_permissions(project.path(".leases"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(project.path(&format!(".leases/{task}.json")), lease.to_string()).unwrap();
}

#[test]
fn a_dead_owners_task_is_given_back() {
    let project = sprint();
    project.queue(json!([{"id": "A", "status": "in_progress", "lease": "w@h#3"}, {"id": "B", "status": "in_progress", "lease": "w@h#3"}]));
    dead_lease(&project, "A", "builder");
    dead_lease(&project, "B", "builder");
    let leases = agentctl(&project, &["lease", "list"]).ok().out;
    assert!(leases.starts_with("A\tdead\tbuilder\tw@h\t3\t"), "{leases}");
    let said = agentctl(&project, &["lease", "release", "A"]).ok();
    assert_eq!(said.out, "A\tin_progress\tready\n");
    assert!(!project.path(".leases/A.json").exists());
    assert_eq!(project.task("A")["lease"], Value::Null);
    assert_eq!(project.events_of("lease.rescued")[0]["actor"], "human:ada");
    assert_eq!(agentctl(&project, &["task", "move", "B", "needs_plan"]).ok().out, "B\tready\tneeds_plan\n");
    assert!(!project.path(".leases/B.json").exists());
}

#[test]
fn repair_mends_what_needs_no_guess_and_asks_first() {
    let project = sprint();
    project.queue(json!([{"id": "A", "status": "ready", "lease": "somebody"}, {"id": "B", "status": "testing"}]));
    dead_lease(&project, "GHOST", "builder");
    let before = project.text();
    agentctl(&project, &["queue", "repair"]).no(2, "--yes");
    let found = agentctl(&project, &["queue", "repair", "--dry-run", "--json"]).ok().json();
    let mends: Vec<(&str, &str)> = found["mends"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mend| (mend["what"].as_str().unwrap(), mend["task"].as_str().unwrap()))
        .collect();
    assert_eq!(mends, [("lease", "GHOST"), ("lease", "B"), ("mark", "A")]);
    assert_eq!(project.text(), before);
    agentctl(&project, &["-y", "queue", "repair"]).ok();
    assert_eq!((project.status("B"), &project.task("A")["lease"]), ("awaiting_test".into(), &Value::Null));
    assert!(!project.path(".leases/GHOST.json").exists());
    assert!(agentctl(&project, &["queue", "repair"]).ok().err.contains("nothing to mend"));
}

#[test]
fn an_old_file_put_back_is_confirmed_by_a_human() {
    let project = sprint();
    let old = project.text();
    agentctl(&project, &["task", "move", "P001", "ready"]).ok();
    // The change must count as an old one: the journal says that it was made an hour ago.
    let journal = project.path(".oodatcaa/work/events.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let stamp = project.task("P001")["updated_at"].as_str().unwrap().to_owned();
    fs::write(&journal, text.replace(&stamp, "2026-01-05T09:00:00.000Z")).unwrap();
    project.queue_text(&old);
    let status = agentctl(&project, &["status", "--json"]).ok().json();
    assert!(status["claiming_stopped"].as_str().is_some_and(|why| why.contains("P001")), "{status}");
    let said = agentctl(&project, &["-y", "queue", "repair"]).ok();
    assert!(said.out.starts_with("old_file\tP001\t"), "{said:?}");
    let status = agentctl(&project, &["status", "--json"]).ok().json();
    assert_eq!(status["claiming_stopped"], Value::Null);
    assert_eq!(project.events_of("queue.valid").last().unwrap()["actor"], "human:ada");
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

/// As much of JSON Schema as our two files use; enough to see a file that does not fit.
fn fits(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(root, root.pointer(name.trim_start_matches('#')).expect("a definition"), value, at);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
        _ => vec![kind],
    };
    if !kinds.contains(&kind) {
        return Err(format!("{at} is {kind}, wanted {kinds:?}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        value.get(name).ok_or_else(|| format!("{at} has no {name}"))?;
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        return Err(format!("{at} is {value}, not one of {words:?}"));
    }
    if let Some(some) = schema["anyOf"].as_array() {
        some.iter().map(|one| fits(root, one, value, at)).find(Result::is_ok).ok_or(format!("{at} fits none"))??;
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let inner = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
        fits(root, inner, value, &format!("{at}.{name}"))?;
    }
    for (n, value) in value.as_array().into_iter().flatten().enumerate() {
        fits(root, &schema["items"], value, &format!("{at}[{n}]"))?;
    }
    Ok(())
}

#[test]
fn real_queues_and_our_events_fit_their_schemas() {
    let project = sprint();
    let schema = agentctl(&project, &["queue", "schema"]).ok().json();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queues");
    let mut checked = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let Ok(queue) = serde_json::from_str::<Value>(&fs::read_to_string(&path).unwrap()) else { continue };
        fits(&schema, &schema, &queue, &path.display().to_string()).unwrap();
        checked += 1;
    }
    assert_eq!(checked, 14, "all but the one with conflict markers");
    assert!(fits(&schema, &schema, &json!({"tasks": [{"id": 1, "status": "ready"}]}), "q").is_err());
    assert!(fits(&schema, &schema, &json!({"tasks": {}}), "q").is_err());

    agentctl(&project, &["add", "x", "--accept", "y"]).ok();
    agentctl(&project, &["task", "move", "P001", "ready"]).ok();
    let schema = agentctl(&project, &["queue", "schema", "event"]).ok().json();
    for event in project.events() {
        fits(&schema, &schema, &event, "event").unwrap();
    }
    let known: Vec<&str> =
        schema["properties"]["type"]["enum"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let ours: Vec<String> = oodatcaa::domain::Kind::ALL.iter().map(|kind| format!("oodatcaa.{kind}.v1")).collect();
    assert_eq!(known, ours, "schema/event.schema.json names every kind of event");
}

#[test]
fn every_hint_is_a_command_that_parses() {
    let project = sprint();
    let mut hints = Vec::new();
    for args in [
        &["show", "P9"][..],
        &["task", "move", "P002", "awaiting_test"],
        &["task", "move", "P002", "testing"],
        &["task", "move", "P002", "nope"],
        &["task", "block", "P005", "--reason", "x"],
        &["logs", "P001"],
        &["run", "stop", "P001", "--reason", "x"],
        &["add", "x", "--id", "P001"],
        &["add", "x", "--gate", "g"],
        &["ls", "is:runing"],
        &["help", "tsak"],
    ] {
        let said = agentctl(&project, args);
        assert_ne!(said.code, 0, "{said:?}");
        hints.extend(said.err.lines().filter_map(|line| line.split_once("agentctl ")).map(|(_, rest)| rest.to_owned()));
    }
    assert!(hints.len() >= 11, "{hints:?}");
    for hint in hints {
        let words: Vec<String> = hint.replace("\"…\"", "x").split_whitespace().map(String::from).collect();
        let parsed = oodatcaa::cli::command().try_get_matches_from(["agentctl".into()].into_iter().chain(words));
        assert!(parsed.is_ok(), "{hint}: {}", parsed.unwrap_err());
    }
}
