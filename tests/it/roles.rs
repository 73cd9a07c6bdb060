//! Roles as a configuration says them: presets, roles of a project's own, roles without an agent.

use std::{fs, path::PathBuf, process::Output};

use serde_json::{Value, json};

use crate::support::{Project, eventually, git};

/// A repository with worktrees beside it, which goes with the project.
struct Scene {
    project: Project,
    trees: PathBuf,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.trees);
    }
}

impl Scene {
    fn new(script: &str, more: &str) -> Self {
        let project = Project::new(script);
        let name = project.root().file_name().expect("a name").to_string_lossy().into_owned();
        let trees = project.root().with_file_name(format!("{name}-trees"));
        project.config(&format!("[workspace]\nmode = \"worktree\"\nroot = \"{}\"\n{more}", trees.display()));
        let ours = "/.oodatcaa/\n/.leases/\n/.locks/\n/.agent-daemon-*\n/.local/\n/.config/\n*.log\n/agent.sh\n";
        fs::write(project.path(".gitignore"), ours).expect("written");
        fs::write(project.path("README.md"), "hello\n").expect("written");
        git(project.root(), &["init", "-q", "-b", "main"]);
        git(project.root(), &["add", "-A"]);
        git(project.root(), &["commit", "-q", "-m", "first"]);
        Self { project, trees }
    }

    fn start(&mut self, preset: &str, roles: &[&str]) {
        for role in roles {
            self.project.start_with(role, &["--interval", "1s"], &[("OODATCAA_PRESET", preset)]);
        }
    }

    fn ctl(&self, args: &[&str]) -> Output {
        self.project.command("agentctl").env("OODATCAA_PRESET", "team").args(args).output().expect("agentctl runs")
    }

    /// The statuses that a task has had, in their order.
    fn way(&self, id: &str) -> Vec<String> {
        let moves = |event: &Value| event["type"].as_str().is_some_and(|kind| kind.starts_with("oodatcaa.task."));
        let moved = self.project.events().into_iter().filter(|event| event["task"] == id && moves(event));
        moved.filter_map(|event| event["data"]["to"].as_str().map(String::from)).collect()
    }
}

const TEAM: [&str; 5] = ["architect", "code_developer", "project_manager", "assistant", "integrator"];

#[test]
fn the_team_takes_a_story_from_its_specification_to_a_merge_and_sends_back_what_does_not_hold() {
    let script = r#"
say() { printf '%s\n' "$1" > "$OODATCAA_RESULT_FILE"; }
case $OODATCAA_ROLE in
architect) mkdir -p docs/specs; echo spec > docs/specs/$OODATCAA_TASK_ID.md; say '{"outcome":"done","summary":"specified"}' ;;
code_developer)
    test -f docs/specs/$OODATCAA_TASK_ID.md || exit 9
    if test -f work.txt; then echo fixed > work.txt; else echo first > work.txt; fi
    say '{"outcome":"done","summary":"implemented"}' ;;
project_manager)
    if grep -q fixed work.txt; then
        say '{"outcome":"done","summary":"verified","criteria":[{"criterion":1,"met":true,"evidence":"grep"}]}'
    else
        say '{"outcome":"needs_adapt","summary":"work.txt is not fixed"}'
    fi ;;
*) exit 9 ;;
esac"#;
    let mut scene = Scene::new(script, "[merge]\napproval = true\n");
    scene.project.queue(json!([{"id": "US-048", "title": "The work is fixed", "status": "needs_plan",
        "acceptance_criteria": ["work.txt says fixed"]}]));
    scene.start("team", &TEAM);
    eventually("a person is asked", || {
        let inbox = scene.ctl(&["inbox", "--json"]);
        String::from_utf8_lossy(&inbox.stdout).contains("US-048").then_some(())
    });
    assert_eq!(scene.project.status("US-048"), "ready_for_integrator", "{}", scene.project.diagnosis());
    assert!(scene.ctl(&["approve", "US-048", "--yes"]).status.success());
    scene.project.wait_for("US-048", "done");
    let ways = [
        "planning",
        "ready",
        "in_progress",
        "awaiting_test",
        "testing",
        "ready",
        "in_progress",
        "awaiting_test",
        "testing",
        "ready_for_integrator",
        "integrating",
        "done",
    ];
    assert_eq!(scene.way("US-048"), ways);
    let read = |name: &str| git(scene.project.root(), &["show", &format!("main:{name}")]);
    assert_eq!((read("work.txt"), read("docs/specs/US-048.md")), ("fixed".into(), "spec".into()));
    // What was sent back and mended counts as adapted once, so that it cannot go round for ever.
    let adapted = scene.project.events_of("attempt.finished").into_iter().filter(|e| e["data"]["adapted"] == true);
    assert_eq!(adapted.count(), 1);
}

#[test]
fn a_bug_that_the_assistant_sees_goes_to_the_architect() {
    let script = r#"cat > "$OODATCAA_RESULT_FILE" <<'END'
{"outcome":"done","summary":"shown","tasks":[{"id":"D1-BUG1","title":"No sound","type":"Bug","description":"silence"}]}
END"#;
    let mut scene = Scene::new(script, "");
    scene.project.queue(json!([]));
    assert!(scene.ctl(&["add", "Show the notifications", "--status", "needs_demo", "--id", "D1"]).status.success());
    assert_eq!(scene.project.task("D1")["type"], "Demo");
    scene.start("team", &["assistant"]);
    scene.project.wait_for("D1", "done");
    let bug: Value = scene.project.tasks().into_iter().find(|task| task["type"] == "Bug").expect("a task");
    assert_eq!((&bug["status"], &bug["parent"]), (&json!("needs_plan"), &json!("D1")));
}

/// The first example of the document that the preset is made after: a specification, its implementation, the proof.
#[test]
fn the_team_tells_each_other_what_is_specified_implemented_and_complete() {
    let script = r#"
say() { printf '%s\n' "$1" > "$OODATCAA_RESULT_FILE"; }
case $OODATCAA_ROLE in
architect) mkdir -p docs/specs; echo spec > docs/specs/$OODATCAA_TASK_ID.md; say '{"outcome":"done","summary":"specified"}' ;;
code_developer) echo done > work.txt; say '{"outcome":"done","summary":"implemented"}' ;;
project_manager) say '{"outcome":"done","summary":"verified","criteria":[{"criterion":1,"met":true,"evidence":"cat"}]}' ;;
*) exit 9 ;;
esac"#;
    let mut scene = Scene::new(script, "");
    let story =
        json!({"id": "US-048", "title": "Sound", "status": "needs_plan", "acceptance_criteria": ["it is there"]});
    scene.project.queue(json!([]));
    scene.start("team", &TEAM);
    // A hand-off counts from when a worker has seen it.
    eventually("the hand-offs are seen", || (scene.project.events_of("handoff.set").len() == 5).then_some(()));
    scene.project.queue(json!([story]));
    scene.project.wait_for("US-048", "done");
    let told = |event: &Value| {
        let data = &event["data"];
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "oodatcaa.message.sent.v1" => Some(format!("{}: {} to {}", text("from"), text("kind"), text("to"))),
            "oodatcaa.task.moved.v1" if event["role"].is_string() => Some(format!("{} → {}", text("from"), text("to"))),
            _ => None,
        }
    };
    let way: Vec<String> = scene.project.events().iter().filter_map(told).collect();
    assert_eq!(
        way,
        [
            "needs_plan → planning",
            "planning → ready",
            "handoff specified: spec_created to code_developer",
            "ready → in_progress",
            "in_progress → awaiting_test",
            "handoff implemented: implementation_complete to project_manager",
            "awaiting_test → testing",
            "testing → ready_for_integrator",
            "ready_for_integrator → integrating",
            "integrating → done",
            "handoff complete: complete to human",
        ]
    );
    let prompt = |role: &str| {
        let of_role = |event: &&Value| event["role"] == role && event["type"] == "oodatcaa.attempt.finished.v1";
        let events = scene.project.events();
        let token = events.iter().find(of_role).expect("it worked")["token"].clone();
        fs::read_to_string(scene.project.path(&format!(".oodatcaa/runs/US-048/{token}/prompt.md"))).expect("a prompt")
    };
    assert!(prompt("code_developer").contains("US-048 is specified: Sound"));
    assert!(prompt("project_manager").contains("US-048 is implemented on "));
    let read = scene.ctl(&["msg", "read"]);
    assert!(String::from_utf8_lossy(&read.stdout).contains("US-048 is verified and merged: Sound"), "{read:?}");
}

/// The second: a bug, its priority, the person who is told.
#[test]
fn a_bug_that_is_reported_by_a_message_becomes_a_task_as_urgent_as_that_and_a_person_is_told() {
    let script = r#"cat > "$OODATCAA_RESULT_FILE" <<'END'
{"outcome":"done","summary":"shown","messages":[{"to":"project_manager","kind":"bug_report","priority":1,
 "text":"Notifications play no sound"}]}
END"#;
    let mut scene = Scene::new(script, "");
    let demo =
        json!({"id": "D1", "title": "Show it", "type": "Demo", "status": "blocked", "blocked_reason": "not yet"});
    scene.project.queue(json!([demo]));
    scene.start("team", &["assistant"]);
    eventually("the hand-offs are seen", || (scene.project.events_of("handoff.set").len() == 5).then_some(()));
    assert!(scene.ctl(&["task", "move", "D1", "needs_demo"]).status.success());
    scene.project.wait_for("D1", "done");
    let bug = eventually("the bug is a task", || scene.project.tasks().into_iter().find(|task| task["type"] == "Bug"));
    assert_eq!((&bug["id"], &bug["status"], &bug["priority"]), (&json!("bug-D1"), &json!("needs_plan"), &json!(10)));
    assert_eq!(bug["title"], "Notifications play no sound");
    eventually("the person is told", || {
        let read = scene.ctl(&["msg", "list", "human", "--json"]);
        String::from_utf8_lossy(&read.stdout).contains("bug-D1 is a bug: Notifications play no sound").then_some(())
    });
    let shown = scene.ctl(&["handoff", "list", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let bug = shown.as_array().expect("a list").iter().find(|rule| rule["handoff"] == "bug").expect("the rule");
    assert_eq!((&bug["fired"], &bug["task"], &bug["refused"]), (&json!(1), &json!("D1"), &Value::Null));
}

#[test]
fn where_a_value_of_a_role_comes_from_a_preset_it_is_named() {
    let scene = Scene::new("exit 0", "");
    let shown = scene.ctl(&["config", "show", "--origin", "roles.project_manager"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("roles.project_manager.takes")).unwrap_or_default();
    assert!(line.contains("awaiting_test") && line.trim_end().ends_with("preset team"), "{text}");
}

#[test]
fn a_role_is_added_without_touching_another_byte_and_works_at_once() {
    let scene = Scene::new(r#"echo '{"outcome":"done","summary":"looked"}' > "$OODATCAA_RESULT_FILE""#, "# mine\n");
    let ctl = |args: &[&str]| scene.project.command("agentctl").args(args).output().expect("agentctl runs");
    let config = scene.project.path(".oodatcaa/config.toml");
    scene.project.queue(json!([{"id": "A", "title": "a", "status": "awaiting_review"}]));
    let before = fs::read_to_string(&config).expect("there");
    let add = ["role", "add", "reviewer", "--takes", "awaiting_review", "--done", "awaiting_test"];
    let dry = ctl(&[&add[..], &["--dry-run"]].concat());
    assert!(dry.status.success() && String::from_utf8_lossy(&dry.stderr).contains("nothing was written"), "{dry:?}");
    assert_eq!(fs::read_to_string(&config).expect("there"), before);

    let added = ctl(&[&add[..], &["--about", "Read the diff, and say what is wrong with it."]].concat());
    let said = String::from_utf8_lossy(&added.stderr).into_owned();
    assert!(added.status.success(), "{said}");
    assert!(
        said.contains("no role sends tasks to `awaiting_review` yet") && said.contains("agentctl fleet start reviewer"),
        "{said}"
    );
    let table = "[roles.reviewer]\ntakes = \"awaiting_review\"\nworks = \"reviewer_works\"\ndone = \"awaiting_test\"\nfailed = \"needs_manual\"\n";
    assert_eq!(fs::read_to_string(&config).expect("there"), format!("{before}\n{table}"));
    let prompt = fs::read_to_string(scene.project.path(".oodatcaa/prompts/reviewer.md")).expect("there");
    assert!(prompt.contains("Read the diff, and say what is wrong with it."), "{prompt}");

    let shown = String::from_utf8(ctl(&["role", "show", "reviewer"]).stdout).expect("text");
    for words in ["from\tthis configuration", "prompt\t.oodatcaa/prompts/reviewer.md", "config.toml:"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(scene.project.once("reviewer").status.success());
    assert_eq!(scene.project.status("A"), "awaiting_test");
}

#[test]
fn a_role_that_cannot_work_is_refused_and_nothing_is_written() {
    let scene = Scene::new("exit 0", "");
    scene.project.queue(json!([]));
    let ctl = |args: &[&str]| scene.project.command("agentctl").args(args).output().expect("agentctl runs");
    let config = scene.project.path(".oodatcaa/config.toml");
    let before = fs::read_to_string(&config).expect("there");
    let add = |name: &str, more: &[&str]| {
        let said = ctl(&[&["role", "add", name], more].concat());
        (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned())
    };
    for (name, more, code, words) in [
        ("builder", &["--takes", "a", "--done", "done"][..], 5, "there is a role `builder` already"),
        (
            "x",
            &["--takes", "a", "--works", "testing", "--done", "done"],
            5,
            "roles `tester` and `x` both work as `testing`",
        ),
        ("x", &["--takes", "a", "--done", "seen"], 5, "tasks would stay there"),
        ("x", &["--takes", "a", "--done", "a"], 5, "its own tasks again and again"),
        (
            "x",
            &["--takes", "a", "--done", "done", "--gate", "ghost"],
            1,
            "names the gate `ghost`, which is not defined",
        ),
        ("x", &["--takes", "a b", "--done", "done"], 1, "expected a status word"),
        ("a/b", &["--takes", "a", "--done", "done"], 2, "the name `a/b`"),
        ("human", &["--takes", "a", "--done", "done"], 5, "means somebody else"),
        ("x", &["--takes", "a", "--done", "done", "--about", "{{ nothing }}"], 2, "there is no `nothing`"),
    ] {
        let (found, said) = add(name, more);
        assert!(said.contains(words), "{name} {more:?}: {said}");
        assert_eq!(found, Some(code), "{name} {more:?}: {said}");
    }
    assert_eq!(fs::read_to_string(&config).expect("there"), before);
    assert!(!scene.project.path(".oodatcaa/prompts/x.md").exists());
}

#[test]
fn a_role_without_an_agent_is_its_gates_and_costs_nothing() {
    let script = r#"
[ "$OODATCAA_ROLE" = builder ] || exit 9
echo "$OODATCAA_TASK_ID" > work.txt
[ "$OODATCAA_TASK_ID" = GOOD ] || echo TODO >> work.txt"#;
    let mut scene = Scene::new(
        script,
        r#"[roles.builder]
done = "awaiting_check"
[roles.checker]
takes = "awaiting_check"
works = "checking"
done = "awaiting_test"
failed = "needs_adapt"
agent = "none"
gates = ["no-todo"]
[budget.role]
starts = 2
[gates.no-todo]
argv = ["sh", "-c", "touch seen; ! grep -n TODO work.txt"]"#,
    );
    let ctl = |scene: &Scene, args: &[&str]| {
        let output = scene.project.command("agentctl").args(args).output().expect("agentctl runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let task = |id: &str| json!({"id": id, "title": id, "status": "ready"});
    scene.project.queue(json!([task("GOOD"), task("BAD")]));
    scene.start("sprint", &["builder"]);
    for id in ["GOOD", "BAD"] {
        scene.project.wait_for(id, "awaiting_check");
    }
    assert!(ctl(&scene, &["why", "GOOD"]).contains("runs its gates next, without an agent"));
    scene.start("sprint", &["checker"]);
    scene.project.wait_for("GOOD", "awaiting_test");
    scene.project.wait_for("BAD", "needs_adapt");
    let bad = scene.project.task("BAD");
    let reason = bad["blocked_reason"].as_str().expect("a reason");
    assert!(reason.contains("gate_failed: the gate `no-todo`") && reason.contains("TODO"), "{reason}");
    // One start each: the builder's.
    assert_eq!((&bad["starts"], &scene.project.task("GOOD")["starts"]), (&json!(1), &json!(1)));
    let of_checker = |kind: &str| -> Vec<Value> {
        scene.project.events_of(kind).into_iter().filter(|event| event["role"] == "checker").collect()
    };
    let claims = of_checker("lease.acquired");
    assert!(claims.len() == 2 && claims.iter().all(|event| event["data"]["agentless"] == true), "{claims:?}");
    let ended = of_checker("attempt.finished");
    let classes: Vec<&Value> = ended.iter().map(|event| &event["data"]["class"]).collect();
    assert!(
        ended.len() == 2 && classes.contains(&&json!("gate_failed")) && classes.contains(&&Value::Null),
        "{ended:?}"
    );
    assert!(ended.iter().all(|event| event["data"]["charged"].is_null()), "nothing is charged: {ended:?}");
    // The red one is tried on the commit that the work began with as well.
    let tried = of_checker("gate.finished").into_iter().filter(|event| event["data"]["tried"].is_null());
    assert_eq!(tried.count(), 2);
    let shown = ctl(&scene, &["run", "show", "GOOD"]);
    for words in ["agent\tnone: the attempt is its gates", "gates\t✓ no-todo", "green are no-todo"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(ctl(&scene, &["role", "show", "checker"]).contains("none: an attempt is its gates, and costs nothing"));
    assert!(ctl(&scene, &["doctor"]).contains("checker works without an agent, its gates are no-todo"));
    assert!(!ctl(&scene, &["doctor"]).contains("checker.md"), "it needs no prompt");
    // What a gate left lying about is no work of anybody's.
    let branch = scene.project.task("GOOD")["branch"].as_str().expect("a branch").to_owned();
    assert!(!git(scene.project.root(), &["ls-tree", "--name-only", &branch]).contains("seen"));
}

#[test]
fn a_role_without_an_agent_that_could_prove_nothing_is_refused() {
    let scene = Scene::new("exit 0", "[roles.tester]\nagent = \"none\"\n[agents.none]\nargv = [\"x\"]\n");
    let said = scene.project.once("tester");
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    for part in [
        "`roles.tester.agent` is `none`, and the role has no `gates`",
        "`roles.tester.criteria` is true, which only an agent can keep",
        "`agents.none` is the name that stands for no agent",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert_eq!(said.status.code(), Some(78));
}

#[test]
fn a_schedule_makes_its_task_once_whoever_of_many_workers_looks_first_and_a_restart_makes_no_second() {
    let mut project = Project::that_succeeds();
    project.config("[schedules.look]\nevery = \"1m\"\nthen.task = { title = \"Look\", status = \"awaiting_test\" }\n");
    project.queue(json!([]));
    let ctl = |project: &Project, args: &[&str]| {
        let output = project.command("agentctl").args(args).output().expect("agentctl runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let before: Value = serde_json::from_str(&ctl(&project, &["schedule", "list", "--json"])).expect("JSON");
    assert_eq!((&before[0]["times"], &before[0]["counts_from"]), (&json!("every 1m"), &Value::Null));
    assert_eq!(before[0]["next"].as_array().map(Vec::len), Some(3));
    assert!(ctl(&project, &["schedule", "next"]).contains("look\tmakes \"Look\""));
    assert!(ctl(&project, &["schedule", "run", "look", "--dry-run"]).contains("awaiting_test"));
    project.once("builder");
    assert_eq!(project.events_of("schedule.set").len(), 1);
    // As if it had been seen two minutes ago: the clock of a test does not wait.
    let journal = project.path(".oodatcaa/work/events.jsonl");
    let text = fs::read_to_string(&journal).expect("there");
    let then = chrono::Utc::now() - chrono::Duration::seconds(90);
    let stamp = oodatcaa_core::time::stamp(then);
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in &mut lines {
        line["time"] = json!(stamp);
    }
    let old: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&journal, old).expect("written");
    for role in ["builder", "builder", "refiner", "planner"] {
        project.start(role, &["--interval", "1s"]);
    }
    eventually("it fired", || (!project.events_of("schedule.fired").is_empty()).then_some(()));
    project.signal_all(rustix::process::Signal::TERM);
    project.once("builder");
    assert_eq!((project.events_of("schedule.fired").len(), project.tasks().len()), (1, 1), "{}", project.text());
    let fired = &project.events_of("schedule.fired")[0];
    assert_eq!(fired["data"]["made"], project.tasks()[0]["id"]);
    let shown: Value = serde_json::from_str(&ctl(&project, &["schedule", "list", "--json"])).expect("JSON");
    assert_eq!(shown[0]["task"], project.tasks()[0]["id"]);
}
