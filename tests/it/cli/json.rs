//! What programs read: every command with `--json`.

use serde_json::{Deserializer, Value, json};

use super::{Said, agentctl};
use crate::support::{Project, git};

/// A repository in which one task waits for a yes, one for an answer, and one has been worked on.
pub(crate) fn worked_in() -> (Project, tempfile::TempDir) {
    let project = Project::new(
        r#"[ "$OODATCAA_ROLE" = builder ] || exit 0
echo at work
case $OODATCAA_TASK_ID in
ASKS) printf '{"outcome":"needs_input","summary":"s","question":{"text":"which?"}}' > "$OODATCAA_RESULT_FILE" ;;
*) echo "$OODATCAA_TASK_ID" > "$OODATCAA_TASK_ID.txt" ;;
esac"#,
    );
    let trees = tempfile::tempdir().unwrap();
    project.config(&format!(
        "[workspace]\nmode = \"worktree\"\nroot = \"{}\"\n[roles.tester]\ncriteria = false\n[merge]\napproval = true\n[schedules.look]\nevery = \"1d\"\nthen.task.title = \"look\"\n[handoffs.tell]\nto = \"needs_manual\"\nthen.message = {{ to = \"human\", text = \"look at {{task}}\" }}\n",
        trees.path().display()
    ));
    std::fs::write(project.path(".gitignore"), "/.*\n/agent.sh\n").unwrap();
    git(project.root(), &["init", "-q", "-b", "main"]);
    git(project.root(), &["add", "-f", ".gitignore"]);
    git(project.root(), &["commit", "-q", "-m", "first"]);
    let task = |id: &str| json!({"id": id, "title": id, "status": "ready", "acceptance_criteria": ["x"]});
    project.queue(json!([task("YES"), task("NO"), task("ASKS"), task("BUILT")]));
    for role in ["builder", "builder", "builder", "builder", "tester", "tester", "integrator", "integrator"] {
        let output = project.once(role);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    (project, trees)
}

/// Each verb in a form that works, in an order in which it does; decisions by the task that they are about.
const EVERY: &[(&str, &[&str])] = &[
    ("init", &["--yes"]),
    ("doctor", &[]),
    ("status", &[]),
    ("report", &[]),
    ("stats", &[]),
    ("top", &[]),
    ("ls", &[]),
    ("show", &["BUILT"]),
    ("why", &["BUILT"]),
    ("inbox", &[]),
    ("approve", &["YES"]),
    ("reject", &["NO", "--reason", "no"]),
    ("answer", &["ASKS", "this one"]),
    ("add", &["a", "--id", "A", "--accept", "b"]),
    ("task add", &["b", "--id", "B", "--accept", "b"]),
    ("task list", &[]),
    ("task show", &["A"]),
    ("task why", &["A"]),
    ("task edit", &["A", "--title", "c"]),
    ("task prio", &["A", "3"]),
    ("task dep add", &["A", "B"]),
    ("task dep rm", &["A", "B"]),
    ("task move", &["A", "ready"]),
    ("task retry", &["A"]),
    ("task block", &["A", "--reason", "r"]),
    ("task unblock", &["A"]),
    ("task done", &["A", "--reason", "r"]),
    ("task cancel", &["B"]),
    ("fleet status", &[]),
    ("fleet stop", &[]),
    ("fleet start", &["planner"]),
    ("fleet restart", &["planner"]),
    ("fleet scale", &["planner=2"]),
    ("fleet pause", &["planner"]),
    ("fleet resume", &["planner"]),
    ("fleet drain", &["planner"]),
    ("fleet run", &["planner"]),
    ("fleet stop", &[]),
    ("fleet install", &[]),
    ("fleet uninstall", &[]),
    ("msg send", &["--to", "builder", "hello"]),
    ("msg list", &[]),
    ("msg status", &["builder-1"]),
    ("msg recall", &["builder-1"]),
    ("msg read", &["builder-1"]),
    ("logs", &["BUILT"]),
    ("run list", &[]),
    ("run show", &["BUILT"]),
    ("run diff", &["BUILT"]),
    ("run stop", &["BUILT", "--reason", "r"]),
    ("lease list", &[]),
    ("add", &["c", "--id", "D", "--accept", "b"]),
    ("lease acquire", &["D", "--role", "planner"]),
    ("lease beat", &["D", "--token", "1"]),
    ("lease release", &["D", "--token", "1"]),
    ("lease release", &["BUILT"]),
    ("lease lock", &["AGENT_LOG.md"]),
    ("lease unlock", &["AGENT_LOG.md"]),
    ("worktree list", &[]),
    ("worktree path", &["BUILT"]),
    ("worktree open", &["BUILT"]),
    ("worktree prune", &[]),
    ("worktree rm", &["BUILT", "--force", "--yes"]),
    ("gc", &["--yes"]),
    ("queue validate", &[]),
    ("queue repair", &[]),
    ("queue schema", &[]),
    ("events tail", &[]),
    ("schedule list", &[]),
    ("schedule next", &[]),
    ("schedule run", &["look"]),
    ("schedule pause", &["look"]),
    ("schedule resume", &["look"]),
    ("handoff list", &[]),
    ("role list", &[]),
    ("role show", &["tester"]),
    ("role add", &["reviewer", "--takes", "a", "--done", "awaiting_test"]),
    ("agent list", &[]),
    ("agent show", &["claude"]),
    ("agent test", &["claude"]),
    ("agent reopen", &["script"]),
    ("sandbox show", &[]),
    ("sandbox explain", &["/etc/passwd"]),
    ("sandbox run", &["--", "true"]),
    ("sandbox probe", &[]),
    ("sandbox apparmor", &[]),
    ("config show", &[]),
    ("config trust", &["--yes"]),
    ("config trust", &["--forget"]),
    ("version", &[]),
    ("completions", &["bash"]),
    ("man", &[]),
    ("man", &["pages"]),
    ("help", &[]),
    ("help", &["task", "add"]),
    ("help", &["files"]),
    ("demo", &[]),
    ("", &[]),
    ("sprint status", &["--write"]),
    ("sprint render", &[]),
    ("sprint rotate", &[]),
    ("sprint report", &[]),
    ("sprint plan", &[]),
    ("sprint close", &["--reason", "r"]),
    ("sprint complete", &[]),
    ("sprint new", &["--rollover", "--yes"]),
];

/// Those that have nothing to say to a program here, and say so as an object.
const REFUSED: &[(&str, i32)] =
    &[("demo", 2), ("fleet run", 2), ("worktree open", 2), ("run stop", 5), ("fleet install", 1), ("sprint plan", 3)];

fn leaves(command: &clap::Command, path: &str, into: &mut Vec<String>) {
    for below in command.get_subcommands() {
        let path = format!("{path} {}", below.get_name());
        match below.has_subcommands() {
            true => leaves(below, &path, into),
            false => into.push(path.trim().to_owned()),
        }
    }
}

#[track_caller]
fn objects(said: &Said, text: &str) -> Vec<Value> {
    let all: Result<Vec<Value>, _> = Deserializer::from_str(text).into_iter().collect();
    let all = all.unwrap_or_else(|error| panic!("{error}: {said:?}"));
    all.into_iter()
        .flat_map(|value| match value {
            Value::Array(all) => all,
            other => vec![other],
        })
        .collect()
}

#[test]
fn every_command_answers_programs_with_objects_that_say_what_they_are() {
    let mut all = Vec::new();
    leaves(&oodatcaa::cli::command(), "", &mut all);
    for path in &all {
        assert!(EVERY.iter().any(|(known, _)| known == path), "`{path}` is not tried");
    }
    let (project, _trees) = worked_in();
    for (path, args) in EVERY {
        let mut words: Vec<&str> = path.split(' ').filter(|word| !word.is_empty()).collect();
        // Before what a command hands on to another program.
        words.push("--json");
        words.extend(*args);
        let said = agentctl(&project, &words);
        let refused = REFUSED.iter().find(|(known, _)| known == path).map(|(_, code)| *code);
        let told = match refused.filter(|code| *code == said.code) {
            Some(_) => objects(&said, &said.err),
            None => objects(&said, &said.out),
        };
        // 8: it works, and the answer is no, as where an agent's program is missing.
        assert!(refused == Some(said.code) || [0, 8].contains(&said.code), "{words:?}: {said:?}");
        assert!(!told.is_empty() || ["lease list", "sandbox probe"].contains(path), "{words:?}: {said:?}");
        for object in told {
            let name = ["schema", "specversion", "$schema"].iter().find_map(|member| object[member].as_str());
            assert!(name.is_some_and(|name| !name.is_empty()), "{words:?}: {object}");
            if object.get("schema").is_some() {
                super::schema::is_described(&object).unwrap_or_else(|wrong| panic!("{words:?}: {wrong}: {object}"));
            }
        }
    }
    // What clap alone refuses is an object, too, and names what is missing.
    let said = agentctl(&project, &["show", "--json"]).no(2, "<ID>");
    assert_eq!(objects(&said, &said.err)[0]["schema"], "oodatcaa/error.v1");
}
