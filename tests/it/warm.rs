//! An attempt goes on with the session of the one before, where nothing has changed since; else it starts afresh.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::{Value, json};

use crate::support::{Project, git};

/// Speaks like `claude`: overloaded in its first run, done in every later one; notes how it was called.
const CLAUDE: &str = r#"#!/bin/sh
prompt=$(cat)
echo "$@" >> "$OODATCAA_PROJECT/calls.log"
echo "$CLAUDE_CONFIG_DIR" >> "$OODATCAA_PROJECT/homes.log"
session=7b3e1c1e-0d2f-4a4f-9a63-2f5d0f2a9a01
echo "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"$session\",\"model\":\"m\"}"
if [ ! -e "$OODATCAA_PROJECT/tried" ]; then
    touch "$OODATCAA_PROJECT/tried"
    echo half > half.txt
    echo "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":true,\"api_error_status\":529,\"num_turns\":1,\"result\":\"API Error: Overloaded\",\"session_id\":\"$session\"}"
    exit 1
fi
echo whole > whole.txt
echo "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"num_turns\":2,\"result\":\"done\",\"session_id\":\"$session\"}"
"#;

/// A repository whose builder is the script above, with the directory in which its worktrees lie.
fn project() -> (Project, tempfile::TempDir) {
    let project = Project::that_succeeds();
    let trees = tempfile::tempdir().expect("a directory");
    fs::create_dir(project.path("bin")).expect("made");
    fs::write(project.path("bin/claude"), CLAUDE).expect("written");
    fs::set_permissions(project.path("bin/claude"), fs::Permissions::from_mode(0o755)).expect("made executable");
    let path = format!("{}:/usr/bin:/bin", project.path("bin").display());
    let config = format!(
        "fleet.agent = \"claude\"\nretry.backoff = \"50ms\"\nfleet.interval = \"200ms\"\n\
         [workspace]\nmode = \"worktree\"\nroot = \"{}\"\n\
         [agents.claude]\nkind = \"claude\"\nset = {{ PATH = \"{path}\", ANTHROPIC_API_KEY = \"none\" }}\n",
        trees.path().display()
    );
    fs::write(project.path(".oodatcaa/config.toml"), config).expect("written");
    fs::write(project.path(".gitignore"), "/.*\n/*.log\n/bin/\n/agent.sh\n/tried\n").expect("written");
    fs::write(project.path("README.md"), "hello\n").expect("written");
    git(project.root(), &["init", "-q", "-b", "main"]);
    git(project.root(), &["add", "README.md"]);
    git(project.root(), &["commit", "-q", "-m", "first"]);
    project.queue(json!([{"id": "A", "title": "t", "type": "Build", "status": "ready"}]));
    (project, trees)
}

fn record(project: &Project, token: u64) -> Value {
    let path = project.path(&format!(".oodatcaa/runs/A/{token}/attempt.json"));
    serde_json::from_str(&fs::read_to_string(path).expect("a record")).expect("JSON")
}

#[test]
fn after_passing_trouble_the_same_session_goes_on_in_the_same_home() {
    let (mut project, _trees) = project();
    project.start("builder", &[]);
    project.wait_for("A", "awaiting_test");
    let calls = fs::read_to_string(project.path("calls.log")).expect("calls");
    let calls: Vec<&str> = calls.lines().collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(!calls[0].contains("--resume"), "{calls:?}");
    assert!(calls[1].contains("--resume 7b3e1c1e-0d2f-4a4f-9a63-2f5d0f2a9a01"), "{calls:?}");
    let homes = fs::read_to_string(project.path("homes.log")).expect("homes");
    let homes: Vec<&str> = homes.lines().collect();
    assert_eq!(homes[0], homes[1]);
    assert!(homes[0].ends_with("/homes/builder-1/claude") && homes[0].contains("/oodatcaa/projects/"), "{homes:?}");
    assert_eq!(record(&project, 2)["resumed"], "7b3e1c1e-0d2f-4a4f-9a63-2f5d0f2a9a01");
    let prompt = fs::read_to_string(project.path(".oodatcaa/runs/A/2/prompt.md")).expect("a prompt");
    assert!(prompt.contains("go on") && prompt.contains("overloaded"), "{prompt}");
    assert_eq!(project.task("A")["attempts"].as_u64().unwrap_or(0), 0, "passing trouble is not charged");
}

#[test]
fn where_somebody_worked_in_between_the_next_attempt_starts_afresh() {
    let (project, trees) = project();
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    fs::write(project.path(".oodatcaa/config.toml"), config.replace("50ms", "3m")).expect("written");
    let said = project.once("builder");
    let tree = Command::new("find").arg(trees.path()).args(["-name", "half.txt"]).output().expect("find");
    let half = String::from_utf8_lossy(&tree.stdout).trim().to_owned();
    fs::write(&half, "and my own words\n").unwrap_or_else(|error| panic!("{half}: {error}: {said:?}"));
    let mut task = project.task("A");
    task.as_object_mut().expect("a task").remove("not_before");
    project.queue(json!([task]));
    project.once("builder");
    project.wait_for("A", "awaiting_test");
    assert!(!fs::read_to_string(project.path("calls.log")).expect("calls").contains("--resume"));
    assert_eq!(record(&project, 2)["resumed"], Value::Null);
}
