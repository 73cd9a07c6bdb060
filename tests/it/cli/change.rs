//! What a person changes with `agentctl`, and what the files and the journal say afterwards.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, process::Stdio};

use serde_json::{Value, json};

use super::{agentctl, command, finish, sprint};
use crate::support::{Project, me};

#[test]
fn a_new_task_gets_an_id_a_place_and_an_event() {
    let project = sprint();
    let said = agentctl(&project, &["add", "Fix", "the", "parser", "--dep", "P003", "--accept", "it parses"]).ok();
    assert_eq!(said.out, "P006\tneeds_plan\tFix the parser\n");
    assert!(said.err.contains("undo: agentctl task cancel P006"), "{}", said.err);
    let task = project.task("P006");
    assert_eq!((&task["type"], &task["dependencies"]), (&json!("Story"), &json!(["P003"])));
    let events = project.events_of("task.created");
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["actor"], &events[0]["data"]["to"]), (&json!(me()), &json!("needs_plan")));

    let said = agentctl(&project, &["add", "Fix it first", "--plan", "--dry-run", "--accept", "x", "--json"]).ok();
    assert_eq!(said.json()["to"], "needs_plan");
    let said = agentctl(&project, &["add", "No proof", "--ready", "--parent", "P001"]).ok();
    assert!(said.out.starts_with("P001-B01\tready\t"), "{}", said.out);
    assert!(said.err.contains("warning: no acceptance criteria"), "{}", said.err);

    let before = project.text();
    agentctl(&project, &["add", "x", "--dep", "P009"]).no(3, "there is no task `P009`");
    agentctl(&project, &["add", "x", "--id", "../x"]).no(2, "contains '/'");
    agentctl(&project, &["add", "x", "--id", "P001"]).no(5, "there is a task `P001` already");
    agentctl(&project, &["add", "x", "--status", "reddy"]).no(2, "`reddy` is not a status");
    agentctl(&project, &["add", "x", "--gate", "nope"]).no(2, "there is no gate `nope`");
    agentctl(&project, &["add", &"long ".repeat(100)]).no(2, "at most 300");
    assert_eq!(project.text(), before);

    let mut child = command(&project, &["add", "From a pipe", "-F", "-", "--accept", "x"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"First line.\n\n\"second\"\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(project.task("P007")["description"], "First line.\n\n\"second\"");
}

#[test]
fn moves_are_checked_undone_and_journalled() {
    let project = sprint();
    agentctl(&project, &["task", "move", "P002", "ready_for_integrator"]).no(5, "skips work");
    agentctl(&project, &["task", "move", "P002", "in_progress"]).no(5, "only a claim of a builder");
    agentctl(&project, &["task", "move", "P002", "reddy"]).no(2, "needs_plan, planning");
    agentctl(&project, &["task", "move", "P002", "done"]).no(2, "needs a reason");
    agentctl(&project, &["task", "move", "P005", "ready"]).no(5, "only force brings it back");

    let said = agentctl(&project, &["task", "move", "P003", "ready", "--reason", "again"]).ok();
    assert_eq!(said.out, "P003\tawaiting_test\tready\n");
    assert!(said.err.contains("undo: agentctl task move P003 awaiting_test --force"), "{}", said.err);
    agentctl(&project, &["task", "move", "P003", "awaiting_test", "--force"]).ok();

    let change = agentctl(&project, &["task", "retry", "P004", "--json"]).ok().json();
    assert_eq!(
        (&change["schema"], &change["from"], &change["to"]),
        (&json!("oodatcaa/change.v1"), &json!("needs_manual"), &json!("needs_plan"))
    );
    let task = project.task("P004");
    assert_eq!((&task["attempts"], &task["blocked_reason"]), (&json!(0), &Value::Null));
    let said = agentctl(&project, &["task", "retry", "P004"]).ok();
    assert!(said.err.contains("nothing to change"), "{}", said.err);
    let said = agentctl(&project, &["lease", "release", "P001"]).ok();
    assert!(said.err.contains("nobody holds P001"), "{}", said.err);
    agentctl(&project, &["queue", "validate", "none.json"]).no(3, "agentctl queue validate");

    agentctl(&project, &["task", "block", "P003", "--reason", "wait for Bob's word"]).ok();
    let said = agentctl(&project, &["task", "unblock", "P003"]).ok();
    assert_eq!(said.out, "P003\tblocked\tawaiting_test\n");
    assert!(said.err.contains(r"undo: agentctl task block P003 --reason 'wait for Bob'\''s word'"), "{}", said.err);

    let said = agentctl(&project, &["task", "cancel", "P003", "--reason", "no"]).ok();
    assert!(said.err.contains("these depend on it and wait: P002"), "{}", said.err);
    assert_eq!(agentctl(&project, &["task", "retry", "P003"]).ok().out, "P003\tcancelled\tawaiting_test\n");
    agentctl(&project, &["task", "done", "P003", "--reason", "seen it work"]).ok();
    assert!(project.task("P003")["completed_at"].is_string());

    let moves = project.events_of("task.moved");
    assert!(moves.iter().all(|event| event["actor"] == me()), "{moves:?}");
    let seqs: Vec<u64> = project.events().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
}

#[test]
fn what_an_agent_starts_is_no_human() {
    let project = sprint();
    let mut command = command(&project, &["task", "move", "P001", "ready"]);
    command.env("OODATCAA_TASK_ID", "P002");
    finish(command).ok();
    assert_eq!(project.events_of("task.moved")[0]["actor"], "outside");
}

/// A lease whose process has gone: of this boot, with a pid that is not alive with that start time.
fn dead_lease(project: &Project, task: &str, role: &str) {
    let lease = json!({
        "task_id": task, "role": role, "owner": "w@h", "token": 3, "attempt": 1,
        "started_at": "2026-01-05T09:00:00.000Z", "ttl_seconds": 5400, "heartbeat_at": "2026-01-05T09:00:00.000Z",
        "host": rustix::system::uname().nodename().to_string_lossy(),
        "boot_id": fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim(),
        "pid": std::process::id(), "pid_started": 1,
    });
    fs::create_dir_all(project.path(".leases")).unwrap();
    fs::set_permissions(project.path(".leases"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(project.path(&format!(".leases/{task}.json")), lease.to_string()).unwrap();
}

#[test]
fn a_dead_owners_task_is_given_back() {
    let project = sprint();
    project.queue(json!([{"id": "A", "status": "in_progress", "lease": "w@h#3"}, {"id": "B", "status": "in_progress", "lease": "w@h#3"}]));
    dead_lease(&project, "A", "builder");
    dead_lease(&project, "B", "builder");
    let leases = agentctl(&project, &["lease", "list"]).ok().out;
    assert!(leases.starts_with("A\tdead\tbuilder\tw@h\t3\t"), "{leases}");
    let said = agentctl(&project, &["lease", "release", "A"]).ok();
    assert_eq!(said.out, "A\tin_progress\tready\n");
    assert!(!project.path(".leases/A.json").exists());
    assert_eq!(project.task("A")["lease"], Value::Null);
    assert_eq!(project.events_of("lease.rescued")[0]["actor"], me());
    assert_eq!(agentctl(&project, &["task", "move", "B", "needs_plan"]).ok().out, "B\tready\tneeds_plan\n");
    assert!(!project.path(".leases/B.json").exists());
}

#[test]
fn repair_mends_what_needs_no_guess_and_asks_first() {
    let project = sprint();
    project.queue(json!([{"id": "A", "status": "ready", "lease": "somebody"}, {"id": "B", "status": "testing"}]));
    dead_lease(&project, "GHOST", "builder");
    let before = project.text();
    agentctl(&project, &["queue", "repair"]).no(2, "--yes");
    let found = agentctl(&project, &["queue", "repair", "--dry-run", "--json"]).ok().json();
    let mends: Vec<(&str, &str)> = found["mends"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mend| (mend["what"].as_str().unwrap(), mend["task"].as_str().unwrap()))
        .collect();
    assert_eq!(mends, [("lease", "GHOST"), ("lease", "B"), ("mark", "A")]);
    assert_eq!(project.text(), before);
    agentctl(&project, &["-y", "queue", "repair"]).ok();
    assert_eq!((project.status("B"), &project.task("A")["lease"]), ("awaiting_test".into(), &Value::Null));
    assert!(!project.path(".leases/GHOST.json").exists());
    assert!(agentctl(&project, &["queue", "repair"]).ok().err.contains("nothing to mend"));
}

#[test]
fn an_old_file_put_back_is_confirmed_by_a_human() {
    let project = sprint();
    let old = project.text();
    agentctl(&project, &["task", "move", "P001", "ready"]).ok();
    // The change must count as an old one: the journal says that it was made an hour ago.
    let journal = project.path(".oodatcaa/work/events.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let stamp = project.task("P001")["updated_at"].as_str().unwrap().to_owned();
    fs::write(&journal, text.replace(&stamp, "2026-01-05T09:00:00.000Z")).unwrap();
    project.queue_text(&old);
    let status = agentctl(&project, &["status", "--json"]).ok().json();
    assert!(status["claiming_stopped"].as_str().is_some_and(|why| why.contains("P001")), "{status}");
    let said = agentctl(&project, &["-y", "queue", "repair"]).ok();
    assert!(said.out.starts_with("old_file\tP001\t"), "{said:?}");
    let status = agentctl(&project, &["status", "--json"]).ok().json();
    assert_eq!(status["claiming_stopped"], Value::Null);
    assert_eq!(project.events_of("queue.valid").last().unwrap()["actor"], me());
}

#[test]
fn what_is_said_of_a_task_is_changed_in_place_and_journalled() {
    let project = sprint();
    let said = agentctl(&project, &["task", "edit", "P002", "--title", "A better title", "--accept", "it works"]).ok();
    assert!(said.err.contains("title = \"A better title\""), "{}", said.err);
    let task = project.task("P002");
    assert_eq!((&task["title"], &task["acceptance_criteria"]), (&json!("A better title"), &json!(["it works"])));
    let event = project.events_of("task.updated").pop().unwrap();
    assert_eq!(event["data"]["verb"], "edit");
    agentctl(&project, &["task", "edit", "P002"]).no(2, "nothing to change was given");
    agentctl(&project, &["task", "edit", "P005", "--title", "x"]).no(5, "`done`");

    let said = agentctl(&project, &["task", "prio", "P002", "P003", "7"]).ok();
    assert_eq!((&project.task("P002")["priority"], &project.task("P003")["priority"]), (&json!(7), &json!(7)));
    assert!(said.err.contains("undo: agentctl task prio P003"), "{}", said.err);
    agentctl(&project, &["task", "prio", "P002", "high"]).no(2, "`high` is not a priority");

    agentctl(&project, &["task", "dep", "add", "P002", "P003"]).ok();
    agentctl(&project, &["task", "dep", "add", "P003", "P002"]).no(2, "wait for itself");
    let said = agentctl(&project, &["task", "dep", "rm", "P002", "P003"]).ok();
    assert!(said.err.contains("undo: agentctl task dep add P002 P003"), "{}", said.err);
    assert!(!project.task("P002")["dependencies"].as_array().unwrap().contains(&json!("P003")));
}

#[test]
fn several_tasks_and_filters_are_one_command_and_a_filter_asks_first() {
    let project = sprint();
    agentctl(&project, &["task", "block", "P002", "P003", "--reason", "later"]).ok();
    assert_eq!((project.status("P002"), project.status("P003")), ("blocked".into(), "blocked".into()));
    agentctl(&project, &["task", "unblock", "status:blocked"]).no(2, "cannot ask");
    agentctl(&project, &["task", "unblock", "status:blocked", "--yes", "--force"]).ok();
    assert_ne!(project.status("P002"), "blocked");
    agentctl(&project, &["task", "cancel", "is:nested", "prio:<-5", "--yes"]).no(3, "no task matches the filter");
    // One that fails keeps the others not from their turn.
    let said = agentctl(&project, &["task", "cancel", "P999", "P003"]);
    assert_eq!((said.code, project.status("P003")), (3, "cancelled".into()), "{said:?}");
}

#[test]
fn a_shell_that_completes_is_offered_the_ids_of_tasks() {
    let project = sprint();
    let script = agentctl(&project, &["completions", "bash"]).ok().out;
    assert!(script.contains("COMPLETE"), "{script}");
    let mut ask = command(&project, &["--", "agentctl", "task", "retry", "P0"]);
    let asked = ask.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "3").env("_CLAP_IFS", "\n");
    let output = asked.env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_COMPLETE_SPACE", "true").output().unwrap();
    let offered = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(offered.lines().any(|line| line.starts_with("P001")), "{offered}");
}
