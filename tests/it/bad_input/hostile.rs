//! Text that is too long, or made to paint over a terminal.

use std::{process::Command, time::Instant};

use serde_json::json;

use super::{Said, ctl, once, run};
use crate::support::Project;

/// What a terminal would obey: escape sequences, a bell, the one-character CSI, a reordering mark.
const EVIL: &str = "\u{1b}[2J\u{7}\u{9b}31m\u{202e}\u{1b}]0;x\r\n";

/// Agents say it as well: on both streams, and in the result file.
const SCRIPT: &str = r#"printf '\033[2J\007\302\23331m\n'; printf '\033]0;evil\007' >&2
printf '{"outcome":"failed","summary":"s\\u001b[2J\\u0007\\u009b31m\\u202e"}' > "$OODATCAA_RESULT_FILE""#;

pub(crate) fn hostile() -> Project {
    let project = Project::new(SCRIPT);
    let evil = |text: &str| format!("{text}{EVIL}");
    project.queue_text(
        &json!({
            "sprint": evil("s"),
            "wip_limits": {evil("w"): 1},
            "metadata": {evil("m"): 1},
            "tasks": [
                {"id": "A", "title": evil("t"), "status": "ready", "type": evil("k"), "branch": evil("b"),
                 "description": evil("d"), "acceptance_criteria": [evil("a")], "agent": evil("g"), "complexity": evil("c")},
                {"id": evil("B"), "title": "t", "status": "ready"},
                {"id": "D", "title": "t", "status": evil("u")},
                {"id": "E", "title": "t", "status": "ready", "dependencies": [evil("n")], "parent": evil("p")},
                {"id": "F", "title": "t", "status": "blocked", "blocked_reason": evil("why")},
                {"id": "G", "title": "t", "status": "ready", "lease": evil("own#1"), "role": evil("r"), "gates": [evil("x")]},
                {"id": "H", "title": "t", "status": "ready", "role": evil("r")},
            ],
        })
        .to_string(),
    );
    project
}

/// Nothing but text, line ends, tabs, and (where it is a terminal) our own colours.
#[track_caller]
pub(crate) fn harmless(said: &Said, colours: bool) {
    for text in [&said.out, &said.err] {
        let mut rest = text.replace("\r\n", "\n");
        if colours {
            for colour in ["0", "1", "2", "31", "32", "33", "36"] {
                rest = rest.replace(&format!("\u{1b}[{colour}m"), "");
            }
        }
        let bad = rest.chars().find(|c| (c.is_control() && !"\n\t".contains(*c)) || *c == '\u{202e}');
        assert_eq!(bad, None, "{said:#?}");
    }
}

const VERBS: &[&str] = &[
    "ls --all",
    "show A",
    "show D",
    "show E",
    "show F",
    "show G",
    "why A",
    "why D",
    "why E",
    "why F",
    "why G",
    "why H",
    "status",
    "logs A",
    "logs A --stderr",
    "queue validate",
    "queue repair --dry-run",
    "events tail",
    "run list",
    "run show A",
    "lease list",
    "doctor",
];

#[test]
fn no_control_character_of_others_reaches_a_pipe_or_a_log() {
    let project = hostile();
    let said = once(&project, "builder");
    assert!(said.ended(0).err.contains("claimed A"), "{said:#?}");
    harmless(&said, false);
    for format in ["text", "json"] {
        let mut command = project.command("agent-daemon");
        command.args(["--role", "builder", "--once", "-vv", "--log-format", format]);
        harmless(&run(command), false);
    }
    for verb in VERBS {
        harmless(&ctl(&project, verb), false);
        harmless(&ctl(&project, &format!("{verb} --json")), false);
    }
    harmless(&ctl(&project, &format!("show X{}", EVIL.trim())), false);
}

#[test]
fn no_control_character_of_others_reaches_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: there is no script(1) to make a terminal");
        return;
    }
    let project = hostile();
    once(&project, "builder").ended(0);
    for verb in VERBS {
        for more in ["", " --json"] {
            let mut command = project.command("script");
            let line = format!("{} {verb}{more}", env!("CARGO_BIN_EXE_agentctl"));
            command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env("COLUMNS", "200");
            let said = run(command);
            assert!(!said.out.is_empty(), "{verb}");
            harmless(&said, true);
        }
    }
}

#[test]
fn a_title_of_ten_megabytes_is_told_and_does_no_harm() {
    let project = Project::that_succeeds();
    let title = "x".repeat(10_000_000);
    project.queue_text(&json!({"tasks": [{"id": "A", "title": title, "status": "ready"}]}).to_string());
    let began = Instant::now();
    let said = once(&project, "builder");
    assert_eq!(said.ended(0).complaints().len(), 1, "{said:#?}");
    assert!(said.err.contains("the title of task A has 10000000 characters"), "it is told");
    assert!(said.err.contains("move the rest to `description`"), "and what to do");
    assert!(said.err.len() < 5_000, "{}", said.err.len());
    assert_eq!(project.status("A"), "awaiting_test");
    assert_eq!(project.task("A")["title"].as_str().map(str::len), Some(title.len()), "not a character is lost");
    for file in ["prompt.md", "attempt.json"] {
        let size = std::fs::metadata(project.path(".oodatcaa/runs/A/1").join(file)).expect("a file").len();
        assert!(size < 100_000, "{file}: {size}");
    }
    let journal = std::fs::metadata(project.path(".oodatcaa/work/events.jsonl")).expect("a journal").len();
    assert!(journal < 100_000, "{journal}");
    assert!(ctl(&project, "queue validate").ended(8).out.contains("too_long"));
    ctl(&project, "status").ended(0);
    ctl(&project, "why A").ended(0);
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}
