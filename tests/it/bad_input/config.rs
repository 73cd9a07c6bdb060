//! Configurations and prompts with mistakes in them.

use std::fs;

use serde_json::json;

use super::{ctl, once, with_one};
use crate::support::{Project, eventually};

fn append(project: &Project, bytes: &[u8]) {
    let path = project.path(".oodatcaa/config.toml");
    let mut text = fs::read(&path).expect("a configuration");
    text.extend_from_slice(bytes);
    fs::write(path, text).expect("written");
}

#[test]
fn a_configuration_that_cannot_be_used_is_told_with_its_place_and_stops_the_worker() {
    let cases: [(&[u8], &str); 4] = [
        (b"[roles.builder\n", "config.toml:10:15: unclosed table"),
        (b"[roles.builder]\ntimeout = true\n", "`roles.builder.timeout` is true; expected a duration"),
        (b"[roles.builder]\nttl = [1]\n[fleet2]\nx = 1\n", "`roles.builder.ttl` is "),
        (b"x = \"\xff\"\n", "config.toml:10:6: this is not UTF-8 text"),
    ];
    for (bytes, words) in cases {
        let project = with_one("exit 0");
        let before = project.text();
        append(&project, bytes);
        once(&project, "builder").refused(78, words).refused(78, "agentctl config show --default");
        // Looking at tasks works always.
        let listed = ctl(&project, "ls");
        assert!(listed.ended(0).complaints().len() == 1 && listed.err.contains(words), "{listed:#?}");
        ctl(&project, "config show").refused(1, words);
        assert_eq!(project.text(), before);
    }
}

#[test]
fn with_a_broken_configuration_every_surface_says_that_no_worker_can_start_and_where_it_is_broken() {
    let mut project = Project::new("echo started; exec sleep 600");
    project.queue(json!([
        {"id": "A", "title": "a", "status": "ready"},
        {"id": "B", "title": "b", "status": "awaiting_test"},
        {"id": "C", "title": "c", "status": "testing"},
        {"id": "D", "title": "d", "status": "awaiting_test", "dependencies": ["A"]},
    ]));
    let n = project.start("builder", &[]);
    project.wait_for("A", "in_progress");
    append(&project, b"[gates.g]\nargvv = 3\n");
    let words = "no worker can start until the configuration is mended: ";
    let place = ".oodatcaa/config.toml:11:1: `gates.g.argvv` is not a known key";
    for verb in ["why B", "why C", "show B", "ls is:needs_you", "inbox", "status"] {
        let said = ctl(&project, verb);
        let all = said.ended(0).out.clone() + &said.err;
        assert!(all.contains(place), "{verb}: {all}");
        assert!(verb == "status" || said.out.contains(words), "{verb}: {all}");
        assert!(!all.contains("takes it next"), "{verb}: {all}");
    }
    ctl(&project, "inbox --check").ended(4);
    assert!(ctl(&project, "status --json").out.contains("\"inbox\":1"));
    assert!(ctl(&project, "why D").out.contains("it waits for A"));
    assert!(ctl(&project, "why A").out.contains("works on it"));
    assert!(ctl(&project, "doctor").out.contains("mend the configuration, then: agentctl fleet start tester"));
    // What runs can be ended all the same, and what waits cancelled.
    ctl(&project, "-y run stop A --reason no").ended(0);
    project.wait_for("A", "blocked");
    ctl(&project, "task cancel B --reason no").ended(0);
    assert_eq!(project.status("B"), "cancelled");
    ctl(&project, "task retry A").refused(1, place);
    project.signal(n, rustix::process::Signal::TERM);
    project.ended(n);
}

#[test]
fn an_unknown_key_stops_every_way_to_start_a_worker_since_it_may_have_been_meant_as_a_proof() {
    let project = with_one("exit 0");
    append(&project, b"[gates.g]\nargv = [\"false\"]\n[roles.builder]\ngate = [\"g\"]\n");
    let words = "`roles.builder.gate` is not a known key; did you mean `gates`?";
    once(&project, "builder").refused(78, words);
    let started = ctl(&project, "fleet start builder");
    assert!(started.code != Some(0) && started.err.contains(words), "{started:#?}");
    ctl(&project, "config show").refused(1, words);
    assert!(ctl(&project, "doctor").out.contains(words));
    assert_eq!(project.status("A"), "ready");
}

/// The role pauses with the class `config`, once; the next look starts nothing.
#[track_caller]
fn pauses_once(project: &Project, role: &str, words: &str) {
    let said = once(project, role);
    assert_eq!(said.ended(78).complaints().len(), 1, "{said:#?}");
    assert!(said.err.contains(words), "{words:?}: {said:#?}");
    assert!(said.err.contains(&format!("{role} is paused (config): ")), "{said:#?}");
    assert!(said.err.contains(&format!("after mending it: agentctl fleet start {role}")), "{said:#?}");
    assert_eq!(said.err.matches(words).count(), 1, "said once: {said:#?}");
    assert_eq!(project.status("A"), "ready");
    assert!(project.task("A")["attempts"].is_null(), "not charged");
    let again = once(project, role);
    assert_eq!(again.ended(0).complaints().len(), 1, "{again:#?}");
    assert!(again.err.contains("paused (config)") && again.err.contains("agentctl fleet start"), "{again:#?}");
    assert_eq!(project.events_of("lease.acquired").len(), 1, "it is not tried again");
    assert_eq!(project.events_of("worker.paused").len(), 1);
    assert!(ctl(project, "doctor").out.contains(words), "doctor tells it as well");
}

#[test]
fn a_role_of_ones_own_without_a_prompt_pauses_and_says_which_file_is_missing() {
    let project = with_one("exit 0");
    append(
        &project,
        b"[roles.reviewer]\ntakes = \"ready\"\nworks = \"reviewing\"\ndone = \"done\"\nfailed = \"needs_manual\"\n",
    );
    pauses_once(&project, "reviewer", "prompts/reviewer.md: there is no such file");
}

#[test]
fn a_prompt_with_an_unknown_variable_pauses_the_role_and_names_the_variable() {
    let project = with_one("touch started");
    fs::create_dir(project.path(".oodatcaa/prompts")).expect("a directory");
    fs::write(project.path(".oodatcaa/prompts/builder.md"), "do {{ task.title }}\n{{ task.nonsense }}")
        .expect("written");
    pauses_once(&project, "builder", "line 2: there is no `task.nonsense`");
    assert!(!project.path("started").exists(), "no agent ran");
}

#[test]
fn a_missing_program_is_told_before_anything_is_claimed() {
    let project = with_one("exit 0");
    let before = project.text();
    fs::remove_file(project.path("agent.sh")).expect("removed");
    once(&project, "builder").refused(69, "the program of the agent `script` is missing").refused(69, "agent.sh");
    assert_eq!(project.text(), before);
    assert!(!project.path(".leases").exists());
}

#[test]
fn a_program_without_its_interpreter_pauses_the_role() {
    let project = with_one("exit 0");
    fs::write(project.path("agent.sh"), "#!/no/such/interpreter\n").expect("written");
    let said = once(&project, "builder");
    assert_eq!(said.ended(69).complaints().len(), 1, "{said:#?}");
    assert!(said.err.contains("the interpreter in its first line is missing"), "{said:#?}");
    assert_eq!(project.status("A"), "ready");
}

#[test]
fn a_program_that_vanishes_under_a_worker_pauses_the_role_once_and_is_no_end_of_the_worker() {
    let mut project = Project::that_succeeds();
    project.queue_text(r#"{"tasks":[]}"#);
    let n = project.start_ready("builder", &[]);
    fs::remove_file(project.path("agent.sh")).expect("removed");
    project
        .queue_text(r#"{"tasks":[{"id":"A","title":"t","status":"ready"},{"id":"B","title":"t","status":"ready"}]}"#);
    eventually("the role pauses", || (!project.events_of("worker.paused").is_empty()).then_some(()));
    let log = eventually("it is told", || Some(project.log("builder", n)).filter(|log| log.contains("| ERROR |")));
    assert!(log.contains("agent_not_found") && log.contains("agentctl fleet start builder"), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("| ERROR |")).count(), 1, "{log}");
    project.wait_for("A", "ready");
    assert_eq!((project.status("B"), project.events_of("lease.acquired").len()), ("ready".into(), 1));
    // Mended and resumed, the same worker goes on.
    project.script("agent.sh", "exit 0");
    ctl(&project, "fleet start builder --backend process");
    project.wait_for("A", "awaiting_test");
    project.wait_for("B", "awaiting_test");
}
