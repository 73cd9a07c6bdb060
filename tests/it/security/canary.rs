//! Secrets that are given to an agent, and one that is not: where do they turn up?

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::json;

use super::{files, holds};
use crate::{
    bad_input::{Said, run},
    support::Project,
};

/// Given by `env:`, given by `file:`, and in the worker's environment only.
const LISTED: &str = "canary-listed-4f9a1c77e2";
const FILED: &str = "canary-filed-7be01d55a3";
const OWN: &str = "canary-own-c0ffee1234aa";

/// Says its secrets wherever an agent can say something, and looks for those that it was not given.
const SCRIPT: &str = r#"
env
tr '\0' '\n' < "/proc/$PPID/environ"
for line in /proc/[0-9]*/cmdline; do { tr '\0' ' ' < "$line"; echo; } 2>/dev/null; done > commands.txt
both="$MODEL_KEY and $SIGNING"
echo "$both"; echo "$both" >&2
say() { printf "$@" > "$OODATCAA_RESULT_FILE"; }
case $OODATCAA_TASK_ID in
red) echo "$both" > leak.txt; say '{"outcome":"done","summary":"%s"}' "$both" ;;
dies) exit 3 ;;
killed) kill -9 $$ ;;
quits) exit 0 ;;
adapt) say '{"outcome":"needs_adapt","summary":"%s"}' "$both" ;;
wrong) say '{"outcome":"%s","summary":"%s"}' "$both" "$both" ;;
asks) say '{"outcome":"needs_input","summary":"%s","question":{"text":"with %s?"}}' "$both" "$both" ;;
blocked) say '{"outcome":"blocked","summary":"%s"}' "$both" ;;
plans) say '{"outcome":"done","summary":"x","tasks":[{"id":"new","title":"%s","description":"%s"}]}' "$both" "$both" ;;
proves) say '{"outcome":"done","summary":"%s","criteria":[{"criterion":1,"met":true,"evidence":"%s"}]}' "$both" "$both" ;;
esac"#;

/// Plays a transcript, with a secret in the place of `@@`.
const PLAYER: &str = r#"
while IFS= read -r line; do
    case $line in
    *@@*) printf '%s%s%s\n' "${line%%@@*}" "$MODEL_KEY" "${line#*@@}" ;;
    *) printf '%s\n' "$line" ;;
    esac
done < "$0.jsonl"
echo "no: $MODEL_KEY" >&2"#;

fn project() -> Project {
    let project = Project::new(SCRIPT);
    let path = format!("{}:/usr/bin:/bin", project.path("bin").display());
    project.config(&format!(
        r#"set = {{ MODEL_KEY = "env:CANARY_SOURCE", SIGNING = "file:secret.key" }}
[agents.talks]
kind = "claude"
set = {{ PATH = "{path}", MODEL_KEY = "env:CANARY_SOURCE" }}
[roles.builder]
gates = ["leaks"]
[roles.tester]
criteria = true
[roles.refiner]
agent = "talks"
[gates.leaks]
argv = ["sh", "-c", "env; cat leak.txt || exit 0; exit 1"]
"#
    ));
    fs::write(project.path("secret.key"), FILED).expect("written");
    fs::set_permissions(project.path("secret.key"), fs::Permissions::from_mode(0o600)).expect("private");
    fs::create_dir(project.path("bin")).expect("a directory");
    project
}

fn daemon(project: &Project, role: &str) -> Said {
    let mut command = project.command("agent-daemon");
    command.env("CANARY_SOURCE", LISTED).env("CANARY_OWN", OWN).env("SECRET_TOKEN", OWN);
    command.args(["--role", role, "--once", "--ignore-wip", "-vv"]);
    run(command)
}

fn ctl(project: &Project, line: &str) -> Said {
    let mut command = project.command("agentctl");
    command.env("CANARY_SOURCE", LISTED).env("CANARY_OWN", OWN).args(line.split_whitespace());
    run(command)
}

/// What programs that know the secret wrote themselves, as it came; documented in SECURITY.md.
fn is_raw(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    ["stdout.log", "stderr.log", "leak.txt", "secret.key"].contains(&file) || file.starts_with("gate-")
}

#[track_caller]
fn is_clean(project: &Project) {
    for (name, bytes) in files(project.root()) {
        assert!(!holds(&bytes, OWN), "{name} holds what no agent was given");
        for secret in [LISTED, FILED] {
            assert!(is_raw(&name) || !holds(&bytes, secret), "{name}:\n{}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[track_caller]
fn says_none(said: &Said) {
    for secret in [LISTED, FILED, OWN] {
        assert!(!said.out.contains(secret) && !said.err.contains(secret), "{said:#?}");
    }
}

#[test]
fn a_secret_that_an_agent_says_everywhere_is_in_no_artefact_of_ours() {
    let project = project();
    let names = ["red", "dies", "killed", "quits", "adapt", "wrong", "asks", "blocked"];
    let mut tasks: Vec<_> =
        names.iter().map(|id| json!({"id": id, "title": id, "status": "ready", "priority": 1})).collect();
    tasks.push(json!({"id": "plans", "title": "p", "status": "needs_plan"}));
    let criteria = json!(["it works"]);
    tasks.push(
        json!({"id": "proves", "title": "p", "status": "awaiting_test", "priority": 1, "acceptance_criteria": criteria}),
    );
    project.queue(json!(tasks));
    for _ in 0..names.len() {
        says_none(daemon(&project, "builder").ended(0));
        let _ = fs::remove_file(project.path("leak.txt"));
    }
    says_none(daemon(&project, "planner").ended(0));
    says_none(daemon(&project, "tester").ended(0));
    assert_eq!(project.events_of("attempt.finished").len(), names.len() + 2, "each had its turn");
    assert!(project.text().contains("***"), "the task that it proposed is there, and its words are masked");
    let raw = fs::read(project.path(".oodatcaa/runs/red/1/stdout.log")).expect("its log");
    assert!(holds(&raw, LISTED) && holds(&raw, FILED), "the agent did have them");
    let gate = fs::read(project.path(".oodatcaa/runs/red/1/gate-leaks.log")).expect("a gate's log");
    assert!(!String::from_utf8_lossy(&gate).contains("MODEL_KEY"), "a gate is not given what its agent is given");
    let commands = fs::read_to_string(project.path("commands.txt")).expect("what ps would show");
    assert!(commands.contains("agent-daemon"), "{commands}");
    is_clean(&project);
    // What was said of the first attempts goes into the prompts of the second ones.
    for name in ["red", "dies"] {
        ctl(&project, &format!("task retry {name}"));
    }
    let again = |id: &str| project.path(&format!(".oodatcaa/runs/{id}/2/prompt.md"));
    for _ in 0..8 {
        daemon(&project, "builder");
    }
    assert!(again("red").exists() || again("dies").exists(), "{:?}", project.tasks());
    is_clean(&project);
    for verb in [
        "config show",
        "config show --json",
        "config show --origin",
        "doctor",
        "agent list",
        "agent show talks",
        "status",
        "ls --all",
        "inbox",
        "run list",
        "run show red",
        "run show red --json",
        "run show asks",
        "run show dies",
        "events tail",
        "show asks",
        "why red",
    ] {
        for more in ["", " --json"] {
            says_none(&ctl(&project, &format!("{verb}{more}")));
        }
    }
}

/// A transcript of a real program whose words hold a secret.
fn plays(project: &Project, transcript: &str, words: &str) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(transcript))
        .expect("a transcript");
    assert!(text.contains(words), "{transcript}");
    project.script("bin/claude", PLAYER);
    fs::write(project.path("bin/claude.jsonl"), text.replace(words, "with @@ it is")).expect("written");
}

#[test]
fn a_secret_in_the_words_of_a_model_is_in_no_artefact_of_ours() {
    for (transcript, words, outcome) in [
        ("claude-text.jsonl", "Done. The task is complete (mock).", "done"),
        ("claude-401.jsonl", "Invalid API key · Fix external API key", "failed"),
    ] {
        let project = project();
        plays(&project, transcript, words);
        project.queue(json!([{"id": "A", "title": "t", "status": "needs_adapt"}]));
        let said = daemon(&project, "refiner");
        says_none(&said);
        let finished = project.events_of("attempt.finished");
        assert_eq!(finished.last().expect("it ran")["data"]["outcome"], outcome, "{said:#?}");
        assert!(project.text().contains("A"));
        let raw = fs::read(project.path(".oodatcaa/runs/A/1/stdout.log")).expect("its log");
        assert!(holds(&raw, LISTED), "it was said");
        let told = fs::read_to_string(project.path(".oodatcaa/runs/A/1/attempt.json")).expect("a record");
        assert!(told.contains("***"), "{told}");
        is_clean(&project);
        says_none(&ctl(&project, "run show A"));
        says_none(&ctl(&project, "status"));
    }
}

#[test]
fn a_secret_that_cannot_be_had_is_told_by_its_name_only() {
    let project = project();
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    fs::set_permissions(project.path("secret.key"), fs::Permissions::from_mode(0o644)).expect("open to all");
    let said = daemon(&project, "builder");
    says_none(&said);
    assert!(said.code != Some(0) && said.err.contains("SIGNING") && said.err.contains("600"), "{said:#?}");
    assert_eq!(project.status("A"), "ready");
}
