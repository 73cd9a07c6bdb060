//! Real queue files of the system that we replace: worked through as the contract allows, byte for byte untouched otherwise.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use serde_json::Value;

use crate::support::{Project, eventually};

fn samples() -> Vec<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/queues");
    let mut files: Vec<PathBuf> = fs::read_dir(dir).expect("the samples").flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "json"));
    files.sort();
    files
}

const OURS: &[&str] = &[
    "status",
    "agent",
    "lease",
    "attempts",
    "starts",
    "not_before",
    "updated_at",
    "blocked_reason",
    "branch",
    "merged_commit",
    "tag",
    "completed_at",
];

/// A value without what we may write, with the order of what is left.
fn without_ours(value: &Value) -> Value {
    fn task(value: &Value) -> Value {
        let mut task = value.as_object().expect("a task").clone();
        task.retain(|key, _| !OURS.contains(&key.as_str()));
        if let Some(Value::Array(subtasks)) = task.get_mut("subtasks") {
            for subtask in subtasks {
                *subtask = self::without_ours_task(subtask);
            }
        }
        Value::Object(task)
    }
    let mut queue = value.as_object().expect("a queue").clone();
    if let Some(Value::Array(tasks)) = queue.get_mut("tasks") {
        for one in tasks {
            *one = task(one);
        }
    }
    if let Some(Value::Object(metadata)) = queue.get_mut("metadata") {
        metadata.retain(|key, _| !key.ends_with("_tasks"));
    }
    Value::Object(queue)
}

fn without_ours_task(value: &Value) -> Value {
    let mut task = value.as_object().expect("a task").clone();
    task.retain(|key, _| !OURS.contains(&key.as_str()));
    Value::Object(task)
}

/// The lines of a text that speak of nothing that we may write, commas aside.
fn foreign_lines(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| {
            let key = line.trim_start();
            let ours = OURS.iter().any(|member| key.starts_with(&format!("\"{member}\":")));
            let inline = ["agent", "acquired", "ttl", "last_heartbeat", "owner"];
            let lease = inline.iter().any(|member| key.starts_with(&format!("\"{member}\":")));
            let counter = key.split('"').nth(1).is_some_and(|key| key.ends_with("_tasks"));
            !ours && !lease && !counter && !matches!(key, "}" | "},")
        })
        .map(|line| line.trim_end_matches(',').to_owned())
        .collect()
}

fn statuses(project: &Project) -> BTreeMap<String, String> {
    let word = |task: &Value, key: &str| task[key].as_str().unwrap_or_default().to_owned();
    project.tasks().iter().map(|task| (word(task, "id"), word(task, "status"))).collect()
}

/// Looks until the fleet has come to rest: nothing active and nothing changed for a while.
fn at_rest(project: &Project) -> BTreeMap<String, String> {
    let active = ["planning", "in_progress", "testing", "adapting", "integrating"];
    let mut before = (statuses(project), 0);
    eventually("the fleet comes to rest", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = statuses(project);
        let busy = now.values().any(|status| active.contains(&status.as_str())) || !project.leases().is_empty();
        before = if now == before.0 && !busy { (now, before.1 + 1) } else { (now, 0) };
        (before.1 > 20).then(|| before.0.clone())
    })
}

#[test]
fn every_valid_sample_is_driven_on_and_nothing_else_is_touched() {
    for file in samples() {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        if name == "092.json" {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a sample");
        let mut project = Project::that_succeeds();
        project.queue_text(&text);
        for role in ["planner", "builder", "tester", "refiner", "integrator"] {
            project.start(role, &["--interval", "500ms"]);
        }
        let after = at_rest(&project);
        let before: Value = serde_json::from_str(&text).expect("a valid sample");

        assert_eq!(without_ours(&before), without_ours(&project.json()), "{name}: members that are not ours");
        assert_eq!(foreign_lines(&text), foreign_lines(&project.text()), "{name}: lines that are not ours");
        assert_eq!(text.ends_with('\n'), project.text().ends_with('\n'), "{name}: the final newline");

        // What is left waits for something that only a human, or an unfinished task, can give.
        for task in project.tasks() {
            let id = task["id"].as_str().expect("an id");
            let status = after[id].as_str();
            match status {
                "done" | "cancelled" | "planning_complete" | "blocked" => {}
                _ => {
                    let open = task["dependencies"].as_array().is_some_and(|list| {
                        list.iter()
                            .any(|other| after.get(other.as_str().unwrap_or_default()).is_none_or(|s| s != "done"))
                    });
                    assert!(open, "{name}: {id} stays `{status}` although nothing holds it");
                }
            }
            if status == "blocked" {
                let dependencies = task["dependencies"].as_array().cloned().unwrap_or_default();
                let all_done = !dependencies.is_empty()
                    && dependencies
                        .iter()
                        .all(|other| after.get(other.as_str().unwrap_or_default()).is_some_and(|s| s == "done"));
                let reasoned = task["blocked_reason"].as_str().is_some_and(|reason| !reason.is_empty());
                assert!(!all_done || reasoned, "{name}: {id} stays blocked although its dependencies are done");
            }
        }
        the_old_guides_questions_are_answered(&project, &name);
    }
}

fn the_old_guides_questions_are_answered(project: &Project, name: &str) {
    let jq = |filter: &str| {
        let output = project.command("jq").arg("-c").arg(filter).arg(project.queue_file()).output().expect("jq");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    assert_eq!(jq("[.tasks[] | select(.agent==\"builder\" and .status==\"in_progress\")] | length"), "0", "{name}");
    let limit = jq(".wip_limits.builder");
    assert_eq!(limit, "3", "{name}");
    let ready = jq("[.tasks[] | select(.status==\"ready\" and (.lease==null or .lease==\"\")) | .id]");
    let all = jq("[.tasks[] | select(.status==\"ready\") | .id]");
    assert_eq!(ready, all, "{name}: no ready task carries a lease");
}

#[test]
fn while_an_agent_works_the_old_guides_questions_are_answered_too() {
    let mut project = Project::new("sleep 1000");
    project.queue(serde_json::json!([
        {"id": "A", "title": "", "status": "ready", "lease": null},
        {"id": "B", "title": "", "status": "ready", "lease": null}
    ]));
    project.start("builder", &["--slots", "1"]);
    project.wait_for("A", "in_progress");
    let jq = |filter: &str| {
        let output = project.command("jq").arg("-r").arg(filter).arg(project.queue_file()).output().expect("jq");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    assert_eq!(jq(".tasks[] | select(.agent==\"builder\" and .status==\"in_progress\") | .id"), "A");
    assert_eq!(jq(".tasks[] | select(.status==\"ready\" and (.lease==null or .lease==\"\")) | .id"), "B");
    let lease = project.command("jq").args(["-r", ".owner", ".leases/A.json"]).output().expect("jq");
    assert!(String::from_utf8_lossy(&lease.stdout).starts_with("agent-daemon-builder@"));
}

#[test]
fn the_sample_with_conflict_markers_is_refused_with_its_line_and_not_touched() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/queues/092.json");
    let text = fs::read_to_string(&file).expect("the sample");
    let project = Project::that_succeeds();
    project.queue_text(&text);
    let output = project.once("builder");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(65), "{said}");
    assert!(said.contains("SPRINT_QUEUE.json:708:"), "{said}");
    assert_eq!(project.text(), text);
}

#[test]
fn a_broken_queue_stops_claiming_and_work_resumes_by_itself() {
    let mut project = Project::that_succeeds();
    project.queue_text("{ \"tasks\": [ <<<");
    let n = project.start("builder", &["--interval", "300ms"]);
    eventually("it says so", || project.log("builder", n).contains("SPRINT_QUEUE.json:1:").then_some(()));
    project.queue(serde_json::json!([{"id": "A", "title": "", "status": "ready"}]));
    project.wait_for("A", "awaiting_test");
    assert_eq!(project.log("builder", n).matches("SPRINT_QUEUE.json:1:").count(), 1, "once per error");
    let kinds: Vec<_> = project.events().iter().map(|e| e["type"].as_str().unwrap_or_default().to_owned()).collect();
    assert!(
        kinds.contains(&"oodatcaa.queue.invalid.v1".into()) && kinds.contains(&"oodatcaa.queue.valid.v1".into()),
        "{kinds:?}"
    );
}

/// A command that is given so many seconds of a processor and so many MiB, and may use no more.
fn within(project: &Project, seconds: u32, mebibytes: u32, program: &str, args: &[&str]) -> String {
    let program = match program {
        "agent-daemon" => env!("CARGO_BIN_EXE_agent-daemon"),
        _ => env!("CARGO_BIN_EXE_agentctl"),
    };
    let limits = format!("ulimit -t {seconds}; ulimit -v {}; exec \"$0\" \"$@\"", mebibytes * 1024);
    let output = project.command("sh").args(["-c", &limits, program]).args(args).output().expect("sh");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let code = output.status.code();
    // 8: it works, and something is wrong with the queue, which is so.
    assert!(code.is_some_and(|code| [0, 8].contains(&code)), "{args:?}: {output:?}", output = output.stderr);
    said
}

/// A queue of so many tasks; `more` gives each the members that make its shape.
fn of_many(tasks: usize, more: impl Fn(usize) -> Value) -> Project {
    let project = Project::that_succeeds();
    let task = |at: usize| {
        let mut task = serde_json::json!({"id": format!("T{at}"), "title": format!("task {at}"), "status": "ready"});
        task.as_object_mut().expect("an object").extend(more(at).as_object().cloned().unwrap_or_default());
        task
    };
    project.queue((0..tasks).map(task).collect());
    project
}

/// What grows with the square of a queue would need a hundred times as much as it is given here.
#[test]
fn a_queue_of_any_shape_takes_no_more_than_its_size() {
    const TASKS: usize = 10_000;
    type Shape = Box<dyn Fn(usize) -> Value>;
    fn id(at: usize) -> String {
        format!("T{}", at % TASKS)
    }
    fn parent(at: usize) -> Value {
        serde_json::json!({"status": "planning_complete", "parent": id(at + 1)})
    }
    let shapes: [(&str, Shape); 5] = [
        ("a chain of dependencies", Box::new(|at| serde_json::json!({"dependencies": [id(at.max(1) - 1)]}))),
        ("a cycle of dependencies", Box::new(|at| serde_json::json!({"dependencies": [id(at + 1)]}))),
        ("a tangle", Box::new(|at| serde_json::json!({"dependencies": [id(at + 1), id(at * 7 + 2)]}))),
        ("a cycle of parents", Box::new(parent)),
        ("one parent of all", Box::new(|at| if at == 0 { parent(0) } else { serde_json::json!({"parent": "T0"}) })),
    ];
    for (name, shape) in shapes {
        let project = of_many(TASKS, shape);
        for args in [&["ls"][..], &["status"], &["inbox"], &["why", "T7"], &["queue", "validate"]] {
            within(&project, 20, 512, "agentctl", args);
        }
        within(&project, 20, 512, "agentctl", &["add", "one more", "--id", "NEW", "--accept", "it is there"]);
        within(&project, 20, 768, "agent-daemon", &["--role", "builder", "--once"]);
        assert_eq!(project.task("NEW")["title"], "one more", "{name}");
    }
}

#[test]
fn a_hundred_thousand_tasks_are_listed_and_one_of_them_is_claimed() {
    let project = of_many(100_000, |at| serde_json::json!({"status": if at % 10 == 0 { "ready" } else { "done" }}));
    let rows = within(&project, 120, 768, "agentctl", &["ls"]);
    assert_eq!(rows.lines().count(), 10_000);
    within(&project, 120, 1024, "agent-daemon", &["--role", "builder", "--once"]);
    assert_eq!(project.status("T0"), "awaiting_test");
}
