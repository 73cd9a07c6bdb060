//! Small words of `agentctl` that a person believes: counts, times, what is simulated, which log is meant.

use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use super::agentctl;
use crate::support::{Project, eventually};

#[test]
fn that_nothing_is_real_is_said_while_nobody_works_and_its_program_counts_as_installed() {
    let project = Project::that_succeeds();
    fs::write(project.path(".oodatcaa/config.toml"), "[fleet]\nagent = \"sim\"\n").unwrap();
    project.queue(json!([]));
    assert_eq!(agentctl(&project, &["status", "--json"]).ok().json()["simulated"], true);
    let agents = agentctl(&project, &["agent", "list", "--configured", "--json"]).ok().json();
    assert_eq!(agents[0]["name"], "sim");
    let program = agents[0]["program"].as_str().expect("the program that stands beside agentctl");
    assert!(Path::new(program).is_file(), "{program}");
    let said = agentctl(&project, &["agent", "list", "--configured"]).ok();
    assert!(said.out.contains("\tinstalled\t"), "{}", said.out);

    project.config("");
    assert_eq!(agentctl(&project, &["status", "--json"]).ok().json()["simulated"], false);
}

#[test]
fn a_time_below_a_second_is_told_and_one_attempt_is_one() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "a", "status": "ready", "attempts": 1}]));
    let event = |seq: u64, kind: &str, millis: u32, data: Value| {
        json!({
            "specversion": "1.0", "id": seq.to_string(), "source": "//h/p", "type": format!("oodatcaa.{kind}.v1"),
            "subject": "task/A", "time": format!("2026-01-05T09:00:00.{millis:03}Z"), "seq": seq, "actor": "worker:w@h",
            "task": "A", "role": "builder", "attempt": 1, "token": 1, "data": data,
        })
    };
    let journal = [
        event(1, "lease.acquired", 100, json!({"owner": "w@h", "by": "script"})),
        event(2, "attempt.finished", 706, json!({"outcome": "failed", "class": "agent_failed", "charged": true})),
    ];
    let lines: String = journal.iter().map(|event| format!("{event}\n")).collect();
    fs::write(project.path(".oodatcaa/work/events.jsonl"), lines).unwrap();
    let said = agentctl(&project, &["run", "show", "A/1"]).ok();
    assert!(said.out.contains("\ntook\t606ms\n"), "{}", said.out);
    assert!(said.out.contains("\ncharged\tyes\n"), "{}", said.out);
    let said = agentctl(&project, &["why", "A", "--json"]).ok();
    assert!(said.out.contains("\"1 attempt charged in this stage\""), "{}", said.out);
}

#[test]
fn following_a_merged_task_shows_what_its_agent_wrote() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "a", "status": "done"}, {"id": "B", "title": "b", "status": "done"}]));
    fs::create_dir_all(project.path(".oodatcaa/runs/A/1")).unwrap();
    // A merge runs no agent: it leaves no such log.
    fs::create_dir_all(project.path(".oodatcaa/runs/A/2")).unwrap();
    fs::write(project.path(".oodatcaa/runs/A/1/stdout.log"), "built\n").unwrap();
    for args in [&["logs", "A"][..], &["logs", "A", "-f"]] {
        assert_eq!(agentctl(&project, args).ok().out, "built\n");
    }
    fs::create_dir_all(project.path(".oodatcaa/runs/B/1")).unwrap();
    fs::write(project.path(".oodatcaa/runs/B/1/stdout.log"), "").unwrap();
    let said = agentctl(&project, &["logs", "B"]).ok();
    assert!(said.err.contains("nothing was written to stdout.log"), "{}", said.err);
}

#[test]
fn what_a_command_line_repeats_cannot_paint_a_terminal() {
    let project = Project::that_succeeds();
    let evil = "\u{1b}[2J\u{7}\u{9b}31m\u{202e}\u{61c}\u{200b}x";
    let flag = format!("--{evil}");
    for program in [env!("CARGO_BIN_EXE_agentctl"), env!("CARGO_BIN_EXE_agent-daemon"), env!("CARGO_BIN_EXE_agent-sim")]
    {
        for args in [&[flag.as_str()][..], &[evil], &["--color", "always", evil], &["--role", evil, "--once"]] {
            let output = project.command(program).args(args).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let colours = without_colours(&said);
            let bad = colours.chars().find(|&c| (c.is_control() && c != '\n') || "\u{202e}\u{61c}\u{200b}".contains(c));
            assert_eq!(bad, None, "{program} {args:?}: {said:?}");
        }
    }
}

/// Without the colours that clap itself paints with.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.find(|c: char| !c.is_ascii_digit() && c != ';').filter(|&at| part[at..].starts_with('m')) {
            Some(at) => kept.push_str(&part[at + 1..]),
            None => kept.push_str(&format!("\u{1b}[{part}")),
        }
    }
    kept
}

#[test]
fn the_service_manager_is_told_when_a_worker_has_nothing_to_do_any_more() {
    let mut project = Project::new("while [ ! -e go ]; do sleep 0.1; done");
    project.queue(json!([{"id": "A", "title": "a", "status": "ready"}]));
    let path = project.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    project.start_with("builder", &[], &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let mut told = Vec::new();
    let mut buffer = [0; 4096];
    let mut until = |words: &str| {
        eventually(words, || {
            let size = socket.recv(&mut buffer).ok()?;
            told.push(String::from_utf8_lossy(&buffer[..size]).into_owned());
            told.last().is_some_and(|last| last.contains(words)).then_some(())
        });
    };
    until("STATUS=working on A");
    fs::write(project.path("go"), "").unwrap();
    until("STATUS=idle");
}

#[test]
fn a_project_that_nobody_has_trusted_has_not_changed_since() {
    let project = Project::that_succeeds();
    project.queue(json!([]));
    let said = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentctl"));
        command.current_dir(project.root()).env_clear().env("HOME", project.root()).args(args);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let doctor = said(&["doctor"]);
    assert!(doctor.contains("you have not trusted"), "{doctor}");
    for args in [&["doctor"][..], &["fleet", "start", "builder"], &["config", "trust"], &["config", "show"]] {
        let said = said(args);
        assert!(!said.contains("since you trusted"), "{args:?}: {said}");
    }
    said(&["config", "trust", "--yes"]);
    project.config("[gates.g]\nargv = [\"true\"]");
    let doctor = said(&["doctor"]);
    assert!(doctor.contains("changed since you trusted"), "{doctor}");
}

#[test]
fn what_says_nothing_is_refused_with_what_to_say() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "a", "status": "ready"}, {"id": "B", "title": "b", "status": "odd"}]));
    for (args, code, words) in [
        (&["add", "x", "--accept", ""][..], 2, "an acceptance criterion is empty"),
        (&["task", "edit", "A", "--accept", " "], 2, "an acceptance criterion is empty"),
        (&["task", "block", "A", "--reason", ""], 2, "hint: say why: --reason"),
        (&["task", "done", "A", "--reason", " "], 2, "hint: say why: --reason"),
        (&["task", "dep", "add", "A", "A"], 2, "hint: agentctl help task"),
        (&["ls", "is:"], 2, "`is:` needs a value"),
        (&["ls", "role:"], 2, "`role:` needs a value"),
        (&["ls", "status:,"], 2, "`status:` needs a value"),
        (&["ls", "status:redy"], 3, "hint: agentctl ls status:ready"),
        (&["ls", "--status", "zzz"], 3, "no role knows the status `zzz`"),
        (&["task", "retry", "status:zzz"], 3, "no role knows the status `zzz`"),
    ] {
        agentctl(&project, args).no(code, words);
    }
    assert_eq!(agentctl(&project, &["ls", "-q", "status:odd"]).ok().out, "B\n");
    assert_eq!(project.tasks().len(), 2);
}

#[test]
fn outside_of_a_project_a_verb_says_so_once() {
    let project = Project::that_succeeds();
    let elsewhere = tempfile::tempdir().expect("a directory");
    for args in [&["ls"][..], &["inbox"], &["status"], &["why", "A"], &["show", "A"]] {
        let mut command = project.command("agentctl");
        command.current_dir(elsewhere.path()).arg("-C").arg(elsewhere.path()).args(args);
        let said = command.output().expect("agentctl");
        let err = String::from_utf8_lossy(&said.stderr);
        assert_eq!((said.status.code(), err.matches("is not a project").count()), (Some(3), 1), "{args:?}: {err}");
        assert!(!err.contains("warning"), "{args:?}: {err}");
    }
}
