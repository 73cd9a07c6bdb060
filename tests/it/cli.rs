//! `agentctl` as a program: exit codes, both streams, and what it leaves in the files.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::Project;

mod change;
pub(crate) mod json;
mod mail;
mod running;
mod sandbox;
mod schema;
mod words;

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
    agentctl(&project, &["logs", "P001"]).no(3, "P001 has had no attempt yet");
    agentctl(&project, &["run", "show", "P001/4"]).no(3, "there is no attempt P001/4");
    agentctl(&project, &["ls", "role:bilder"]).no(3, "there is no role `bilder`");
    agentctl(&project, &["ls", "rol:builder"]).no(2, "agentctl ls role:builder");
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
    run(&["-C", "/nowhere", "ls"]).no(3, "there is no directory /nowhere");
    run(&["-C", "/", "ls"]).no(3, "/ is not a project");
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
    assert!(said.out.contains("SPRINT_QUEUE.json:2:2: cycle: "), "{}", said.out);
    assert!(said.out.contains("SPRINT_QUEUE.json:3:2: unknown_status: "), "{}", said.out);
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

#[test]
fn the_version_is_told_in_the_same_words_by_verb_and_flag_and_as_an_object() {
    let project = sprint();
    let verb = agentctl(&project, &["version"]).ok().out;
    assert_eq!(verb, agentctl(&project, &["--version"]).ok().out);
    assert_eq!(agentctl(&project, &["version", "--json"]).ok().json()["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_wrong_command_line_paints_over_no_terminal() {
    let said = agentctl(&sprint(), &["ls", "--\x1b]0;owned\x07"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(!said.err.contains('\x1b') && !said.err.contains('\x07'), "{said:?}");
}
