//! Five roles with a real agent program: from a story without a plan to done, by its own tool calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use oodatcaa_agent::record::Record;
use oodatcaa_agent::{Observation, Stream, descriptor, stream::Reader};
use serde_json::json;

use super::{
    programs::{Program, home},
    setup::{agent, git, repository},
};
use crate::{
    endpoint::{Endpoint, Script, TOKENS_CACHED, TOKENS_IN, TOKENS_OUT},
    support::eventually,
};

const ROLES: [&str; 5] = ["planner", "builder", "tester", "refiner", "integrator"];

/// What the model says to each role. The first test finds something, so that every role gets to work.
const SCRIPT: &str = r#"
[[rules]]
name = "planner"
when = [", role planner"]
[[rules.steps]]
result = { outcome = "done", summary = "one part is enough", tasks = [
  { id = "P001-B01", type = "Build", title = "write the greeting", description = "src/greeting.txt says hello", acceptance_criteria = ["src/greeting.txt says hello"], complexity = "S" },
] }

[[rules]]
name = "builder"
when = [", role builder"]
[[rules.steps]]
run = "mkdir -p src && echo 'hello from {task}' >> src/greeting.txt && git add src && git commit -qm 'feat: a greeting ({task})'"
[[rules.steps]]
write = { path = "notes-{task}.txt", text = "written by a tool\n" }
[[rules.steps]]
result = { outcome = "done", summary = "src/greeting.txt says hello" }

[[rules]]
name = "first test"
when = [", role tester"]
prompts = 1
[[rules.steps]]
result = { outcome = "needs_adapt", summary = "it should say hello twice" }

[[rules]]
name = "tester"
when = [", role tester"]
[[rules.steps]]
run = "test $(grep -c hello src/greeting.txt) = 2"
[[rules.steps]]
result = { outcome = "done", summary = "grep counts 2", criteria = [{ criterion = 1, met = true, evidence = "grep -c hello says 2" }] }

[[rules]]
name = "refiner"
when = [", role refiner", "it should say hello twice"]
[[rules.steps]]
result = { outcome = "done", summary = "the builder shall say it once more" }

[[rules]]
name = "integrator"
when = [", role integrator"]
[[rules.steps]]
result = { outcome = "done", summary = "it is in" }
"#;

/// What the program said of a run, read by its adapter.
fn observed(program: Program, run: &Path) -> Observation {
    let descriptor = descriptor::load(program.name(), &BTreeMap::new()).expect("ships");
    let mut reader = Reader::new(descriptor.into());
    reader.feed(Stream::Stdout, &fs::read(run.join("stdout.log")).expect("an output"), Duration::ZERO);
    reader.finish(run, Duration::ZERO);
    reader.run().observation.clone()
}

fn from_a_story_to_done(program: Program) {
    let Some(path) = program.find() else { return };
    let endpoint = Endpoint::start(Script::parse(SCRIPT).expect("a script"), None).expect("an endpoint");
    let home = home();
    let mut project = repository();
    let agent = agent(program, &path, &endpoint.url(), program.environment(&endpoint.url(), home.path()));
    let trees = tempfile::tempdir().expect("a place for worktrees");
    let config = format!(
        "workspace.mode = \"worktree\"\nworkspace.root = \"{}\"\nfleet.agent = \"{}\"\nretry.backoff = \"100ms\"\nroles.builder.gates = [\"greets\"]\nroles.integrator.gates = [\"greets\"]\n\
         {agent}[gates.greets]\nargv = [\"grep\", \"-q\", \"hello from P001-B01\", \"src/greeting.txt\"]\n",
        trees.path().display(),
        program.name()
    );
    fs::write(project.path(".oodatcaa/config.toml"), config).expect("a configuration");
    project.queue(json!([{"id": "P001", "title": "say hello", "type": "Story", "status": "needs_plan"}]));
    for role in ROLES {
        project.start(role, &[]);
    }
    project.wait_for("P001", "done");
    assert_eq!(project.status("P001-B01"), "done");
    eventually("no lease is left", || project.leases().is_empty().then_some(()));
    eventually("no process is left", || project.agents().is_empty().then_some(()));

    let said = || format!("{:#?}\n{}", endpoint.seen(), project.diagnosis());
    let greeting = fs::read_to_string(project.path("src/greeting.txt")).expect("the model's edit");
    assert_eq!(greeting, "hello from P001-B01\nhello from P001-B01\n", "{}", said());
    assert!(project.path("notes-P001-B01.txt").is_file(), "{}", said());
    assert_eq!(git(&project, &["log", "--format=%s", "--", "src"]).matches("feat: a greeting (P001-B01)").count(), 2);
    let task = project.task("P001-B01");
    let merged = task["merged_commit"].as_str().expect("the merge");
    assert_eq!(git(&project, &["rev-parse", "main"]).trim(), merged, "a merge commit on main");
    assert_eq!(
        git(&project, &["rev-list", "--parents", "-n", "1", merged]).split_whitespace().count(),
        3,
        "two parents"
    );
    let tag = task["tag"].as_str().expect("a tag");
    assert_eq!(git(&project, &["rev-parse", &format!("{tag}^{{commit}}")]).trim(), merged);
    let moves: Vec<String> = project
        .events_of("task.moved")
        .iter()
        .filter(|event| event["task"] == "P001-B01")
        .map(|event| event["data"]["to"].as_str().expect("a status").to_owned())
        .collect();
    let walked = [
        "in_progress",
        "awaiting_test",
        "testing",
        "needs_adapt",
        "adapting",
        "ready",
        "in_progress",
        "awaiting_test",
        "testing",
        "ready_for_integrator",
        "integrating",
        "done",
    ];
    assert_eq!(moves, walked, "{}", said());
    let finished = project.events_of("attempt.finished");
    assert_eq!(finished.len(), 7, "{finished:#?}");
    let (mut sessions, mut resumed, mut told) = (BTreeSet::new(), BTreeSet::new(), 0);
    for event in &finished {
        let (task, token) = (event["task"].as_str().expect("a task"), event["token"].as_u64().expect("a token"));
        let run = project.path(".oodatcaa/runs").join(task).join(token.to_string());
        let record = Record::load(&run).unwrap_or_else(|| panic!("no record in {}", run.display()));
        let gates: Vec<(&str, bool)> = record.found.gates.iter().map(|gate| (gate.name.as_str(), gate.ok)).collect();
        let gated = matches!(record.role.as_str(), "builder" | "integrator");
        assert_eq!(gates, if gated { vec![("greets", true)] } else { vec![] }, "{run:?}");
        if record.role.as_str() == "integrator" {
            // Merging is code: no model is asked.
            assert_eq!((record.found.seen, record.found.exit), (None, None), "{run:?}");
            continue;
        }
        let seen = observed(program, &run);
        let noted = record.found.seen.clone().unwrap_or_default();
        let session = noted.session.clone().unwrap_or_else(|| panic!("no session in {}", run.display()));
        assert_eq!(Some(&session), seen.session.as_ref(), "attempt.json says it");
        // The builder's tree is as it left it when the task comes back: it goes on in its session.
        match &record.found.resumed {
            Some(before) => assert_eq!((before, resumed.insert(session.clone())), (&session, true), "{run:?}"),
            None => assert!(sessions.insert(session), "{run:?} {seen:?}"),
        }
        // The endpoint counts the same for each of its answers; what a session had used before is not told again.
        let answers = noted.usage.tokens_out.expect("tokens") / TOKENS_OUT;
        assert_eq!(
            (noted.usage.tokens_in, noted.usage.cached),
            (Some(answers * TOKENS_IN), Some(answers * TOKENS_CACHED))
        );
        told += answers;
        assert_eq!((record.by.as_str(), record.simulated), (program.name(), false));
    }
    let asked = |rule: &str| endpoint.seen().iter().filter(|seen| seen.rule == rule).count();
    let requests = ["planner", "builder", "first test", "tester", "refiner", "integrator"].map(asked);
    assert_eq!(requests, [2, 8, 2, 3, 2, 0], "{}", said());
    assert_eq!((resumed.len(), resumed.is_subset(&sessions)), (1, true), "{resumed:?} {sessions:?}");
    assert_eq!(told, 17, "every answer is in somebody's figures");
    assert_eq!(endpoint.outside(), Vec::<String>::new(), "nothing left the machine");
}

#[test]
fn five_roles_with_claude_take_a_story_to_done() {
    from_a_story_to_done(Program::Claude);
}

#[test]
fn five_roles_with_codex_take_a_story_to_done() {
    from_a_story_to_done(Program::Codex);
}
