//! Queue files that are missing, broken, or of the wrong shape.

use std::{fmt::Write as _, fs, time::Instant};

use serde_json::json;

use super::{ctl, once, queue_refused};
use crate::support::Project;

fn with(text: &str) -> Project {
    let project = Project::that_succeeds();
    project.queue_text(text);
    project
}

#[test]
fn a_missing_queue_is_told_with_the_command_that_makes_one() {
    let project = Project::that_succeeds();
    once(&project, "builder").refused(65, "SPRINT_QUEUE.json").refused(65, "agentctl init");
    ctl(&project, "ls").refused(3, "agentctl init");
    ctl(&project, "task block A --reason x").refused(3, "agentctl init");
    assert!(!project.queue_file().exists() && !project.path(".leases").exists(), "looking creates nothing");
}

#[test]
fn an_empty_queue_file_is_told_and_kept() {
    queue_refused(&with(""), ":1:1: ");
    queue_refused(&with(" \n\t\n"), "the file is empty");
}

#[test]
fn a_queue_of_the_wrong_shape_is_told_with_its_place() {
    for (text, words) in [
        ("[]", ":1:1: "),
        (r#"{"tasks":{}}"#, ":1:10: `tasks` is an object; expected a list"),
        ("{\"tasks\":[\n\"A\"]}", ":2:1: entry 1 of `tasks` is a string; expected an object"),
        (r#"{"wip_limits":[1],"tasks":[]}"#, ":1:15: `wip_limits` is a list"),
        (r#"{"wip_limits":{"builder":"x"},"tasks":[]}"#, "`wip_limits.builder` is"),
        ("null", "the top level is null"),
    ] {
        queue_refused(&with(text), words);
    }
}

#[test]
fn a_task_with_a_status_that_is_no_word_is_skipped_and_told_everywhere() {
    let text = r#"{"tasks":[{"id":"A","title":"t","status":5},{"id":"B","title":"t","status":"ready"}]}"#;
    let project = with(text);
    let words = "task A is skipped: `status` is `5`; expected a string";
    let said = once(&project, "builder");
    said.ended(0);
    assert!(said.complaints().len() == 1 && said.complaints()[0].contains(words), "{said:#?}");
    assert_eq!(project.status("B"), "awaiting_test", "the rest goes on");
    assert!(project.text().starts_with(r#"{"tasks":[{"id":"A","title":"t","status":5},"#), "{}", project.text());
    let listed = ctl(&project, "ls");
    assert!(listed.ended(0).complaints()[0].contains(words), "{listed:#?}");
    ctl(&project, "why A").refused(3, words);
    ctl(&project, "show A").refused(3, words);
    assert!(ctl(&project, "queue validate").ended(8).out.contains(words));
    let doctor = ctl(&project, "doctor");
    assert!(doctor.out.contains(words) && !doctor.out.contains("agentctl show A"), "{doctor:#?}");
}

#[test]
fn what_does_not_decide_falls_back_to_its_default_and_is_told() {
    let project = with(r#"{"tasks":[{"id":"A","title":"t","status":"ready","priority":"high"}]}"#);
    let said = once(&project, "builder");
    assert!(
        said.ended(0).complaints()[0].contains("`priority` of task A is `\"high\"`; expected a number"),
        "{said:#?}"
    );
    assert_eq!(project.status("A"), "awaiting_test");
    assert_eq!(project.task("A")["priority"], "high", "it is not ours to mend");
    assert!(ctl(&project, "queue validate").ended(8).out.contains(": bad_type: `priority` of task A"));
}

#[test]
fn dependencies_as_one_string_are_one_dependency() {
    let project = with(r#"{"tasks":[{"id":"A","title":"t","status":"ready","dependencies":"B"}]}"#);
    let before = project.text();
    assert!(once(&project, "builder").ended(0).err.contains("none claimable yet; why: agentctl ls"));
    assert!(ctl(&project, "why A").ended(0).out.contains("it depends on `B`, which is not in the queue"));
    assert_eq!(project.text(), before);
    queue_is_kept_when(r#"{"tasks":[{"id":"A","title":"t","status":"ready","dependencies":{"B":1}}]}"#, "A is skipped");
}

/// One task cannot be used: nothing is claimed, no byte changes, `validate` tells it.
#[track_caller]
fn queue_is_kept_when(text: &str, words: &str) {
    let project = with(text);
    once(&project, "builder").ended(0);
    assert_eq!(project.text(), text, "not a byte");
    let said = ctl(&project, "queue validate");
    assert!(said.ended(8).out.contains(words), "{said:#?}");
    assert!(said.err.contains(" task") && said.err.contains("1 problem"), "{said:#?}");
}

#[test]
fn an_unknown_status_is_kept_and_never_claimed() {
    let text = r#"{"tasks":[{"id":"A","title":"t","status":"frobnicating"}]}"#;
    queue_is_kept_when(text, "task A has the unknown status `frobnicating` and will not be claimed");
    let why = ctl(&with(text), "why A");
    assert!(
        why.ended(0).out.contains("known are needs_plan, ") && why.out.contains("agentctl task move A"),
        "{why:#?}"
    );
}

#[test]
fn an_id_that_stands_twice_stops_claiming_and_names_both_lines() {
    let text = "{\"tasks\":[\n{\"id\":\"A\",\"status\":\"ready\"},\n{\"id\":\"A\",\"status\":\"ready\"}]}";
    queue_refused(&with(text), ":3:1: the id `A` is in lines 2 and 3; expected every id once");
}

#[test]
fn an_id_that_leads_out_of_the_project_is_skipped_and_never_becomes_a_path() {
    let project = Project::that_succeeds();
    let name = format!("../oodatcaa-outside-{}", std::process::id());
    let outside = project.root().join(&name);
    for id in [&*name, "../../x", "/tmp/x", "..", ".hidden", "-rf", "a/b", "", "a\u{0}b", "é"] {
        let text = json!({"tasks": [{"id": id, "title": "t", "status": "ready"}]}).to_string();
        project.queue_text(&text);
        let said = once(&project, "builder");
        assert_eq!(said.ended(0).complaints().len(), 1, "{id:?}: {said:#?}");
        assert!(said.err.contains("is skipped: the id "), "{id:?}: {said:#?}");
        assert_eq!(project.text(), text);
        let listed = ctl(&project, "ls");
        assert!(listed.ended(0).err.contains("is skipped"), "{listed:#?}");
        assert!(!listed.err.contains("the queue is empty"), "{listed:#?}");
    }
    for verb in ["show", "why", "task retry", "lease release", "logs", "run show"] {
        ctl(&project, &format!("{verb} {name}")).refused(3, "there is no ");
    }
    assert!(!outside.exists() && !project.path(".oodatcaa/runs").exists());
    assert_eq!(fs::read_dir(project.path(".leases")).expect("leases").count(), 0);
}

#[test]
fn a_cycle_is_told_with_its_way_and_nothing_is_guessed() {
    let text = r#"{"tasks":[{"id":"A","title":"t","status":"blocked","dependencies":["B"]},
        {"id":"B","title":"t","status":"ready","dependencies":["A"]}]}"#;
    let project = with(text);
    assert!(once(&project, "builder").ended(0).err.contains("1 waiting, none claimable yet; why: agentctl ls"));
    assert!(ctl(&project, "why B").ended(0).out.contains("it waits for itself: B → A → B\tagentctl task dep rm B A"));
    assert!(ctl(&project, "queue validate").ended(8).out.contains(":2:9: cycle: task B waits for itself"));
    assert_eq!(project.text(), text);
}

#[test]
fn a_missing_dependency_is_told_with_what_to_do() {
    let text = r#"{"tasks":[{"id":"A","title":"t","status":"ready","dependencies":["Z"]}]}"#;
    queue_is_kept_when(text, ":1:11: missing_dependency: task A depends on `Z`");
    assert!(ctl(&with(text), "why A").ended(0).out.contains("agentctl task dep rm A Z"));
}

#[test]
fn text_that_is_not_utf8_is_told_with_its_place_and_kept() {
    let project = Project::that_succeeds();
    fs::write(project.queue_file(), b"{\"tasks\":[\n{\"id\":\"A\",\"title\":\"\xff\",\"status\":\"ready\"}]}")
        .expect("written");
    queue_refused(&project, ":2:20: the byte 0xff is not UTF-8; expected JSON in UTF-8");
}

#[test]
fn a_hundred_thousand_brackets_are_no_danger() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    queue_refused(&with(&format!("{{\"tasks\":{}}}", deep("[", "]"))), "entry 1 of `tasks` is a list");
    queue_refused(&with(&"[".repeat(100_000)), ":1:");
    let text = format!(
        r#"{{"tasks":[{{"id":"A","title":"t","status":"ready","x":{},"subtasks":{}}}]}}"#,
        deep("[", "]"),
        deep(r#"[{"subtasks":"#, "}]").replace(r#""subtasks":}"#, r#""subtasks":[]}"#)
    );
    let project = with(&text);
    once(&project, "builder").ended(0);
    assert!(project.text().contains(r#""status":"awaiting_test""#));
    ctl(&project, "ls").ended(0);
    ctl(&project, "queue validate").ended(8);
}

#[test]
fn numbers_beyond_all_bounds_are_last_in_line_or_told() {
    let project =
        with(r#"{"tasks":[{"id":"A","title":"t","status":"ready","priority":1e999,"attempts":1e999,"x":1e999}]}"#);
    let said = once(&project, "builder");
    assert!(said.ended(0).complaints()[0].contains("`attempts` of task A is `1e999`; expected a count"), "{said:#?}");
    let text = project.text();
    assert!(text.contains(r#""priority":1e999,"attempts":1e999,"x":1e999"#), "{text}");
    assert!(text.contains(r#""status":"awaiting_test""#), "{text}");
    queue_refused(
        &with(r#"{"wip_limits":{"builder":1e999},"tasks":[]}"#),
        "`wip_limits.builder` is `1e999`; expected a count",
    );
    for bad in ["NaN", "Infinity", "-", "0x10"] {
        queue_refused(&with(&format!(r#"{{"tasks":[{{"id":"A","status":"ready","priority":{bad}}}]}}"#)), ":1:");
    }
}

#[test]
fn five_thousand_tasks_with_ten_thousand_tangled_dependencies_are_answered_at_once() {
    let mut tasks = String::new();
    for n in 0..5_000_usize {
        let (status, comma) = (if n % 2 == 0 { "blocked" } else { "ready" }, if n == 0 { "" } else { "," });
        let (a, b) = ((n * 7 + 1) % 5_000, (n * 13 + 5) % 5_000);
        write!(tasks, r#"{comma}{{"id":"T{n}","title":"t","status":"{status}","dependencies":["T{a}","T{b}"]}}"#)
            .expect("a string takes it");
    }
    let text = format!(r#"{{"wip_limits":{{"builder":5}},"tasks":[{tasks}]}}"#);
    let project = with(&text);
    let began = Instant::now();
    once(&project, "builder").ended(0);
    ctl(&project, "ls").ended(0);
    ctl(&project, "why T7").ended(0);
    ctl(&project, "status").ended(0);
    assert!(ctl(&project, "queue validate").code.is_some_and(|code| code == 0 || code == 8));
    // A search for each task took minutes; the margin is for slow machines and unoptimised programs.
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    assert_eq!(project.text(), text);
}
