//! In which order the queue, the journal and the attempts' directories are believed, with real workers.

use std::fs;

use serde_json::json;

use crate::support::Project;

#[test]
fn an_old_result_in_an_attempts_place_speaks_for_nobody() {
    let project = Project::that_succeeds();
    project.config("[roles.tester]\ncriteria = true");
    let criteria = json!(["it works"]);
    project.queue(json!([{"id": "A", "title": "t", "status": "awaiting_test", "acceptance_criteria": criteria}]));
    let old = project.path(".oodatcaa/runs/A/1");
    fs::create_dir_all(&old).expect("made");
    let said = json!({"outcome": "done", "summary": "verified everything",
        "criteria": [{"criterion": 1, "met": true, "evidence": "seen"}]});
    for name in ["result.json", "attempt.json", "keeper.json", "session.json", "gate-g.log"] {
        fs::write(old.join(name), said.to_string()).expect("written");
    }
    project.once("tester");
    assert_ne!(project.status("A"), "awaiting_integration", "{}", project.diagnosis());
    let claim = &project.events_of("lease.acquired")[0];
    assert_eq!((&claim["token"], &claim["data"]["run"]), (&json!(2), &json!("2")), "what lay there is not found");
    assert!(!project.events().iter().any(|event| event.to_string().contains("verified everything")));
    assert!(project.path(".oodatcaa/runs/A/2/attempt.json").exists());
}

#[test]
fn an_id_that_is_used_again_is_worked_on() {
    let project = Project::new("echo \"$OODATCAA_TASK_ID $OODATCAA_TOKEN\" >> ran; exit 0");
    project.queue(json!([{"id": "A", "title": "say hello", "status": "ready"}]));
    project.once("builder");
    assert_eq!(project.status("A"), "awaiting_test");
    project.queue(json!([{"id": "A", "title": "rotate the production keys", "status": "ready"}]));
    project.once("builder");
    let ran = fs::read_to_string(project.path("ran")).expect("it ran");
    assert_eq!(ran.lines().collect::<Vec<_>>(), ["A 1", "A 2"]);
    assert!(project.events_of("task.created").iter().any(|event| event["data"]["reused"] == true));
}

#[test]
fn an_older_queue_that_is_put_back_waits_for_a_human_and_either_way_can_be_chosen() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    let old = project.text();
    project.once("builder");
    let done = project.task("A");
    std::thread::sleep(oodatcaa::domain::observe::RACE);
    let put_back = || fs::write(project.queue_file(), &old).expect("written");
    let ctl = |args: &[&str]| project.command("agentctl").args(args).output().expect("runs");
    put_back();
    project.once("builder");
    assert_eq!(project.status("A"), "ready", "nothing is claimed, and nothing is undone");
    assert_eq!(project.events_of("lease.acquired").len(), 1);
    for words in [&["inbox"][..], &["doctor"], &["why", "A"], &["queue", "repair", "--dry-run"]] {
        let said = String::from_utf8_lossy(&ctl(words).stdout).into_owned();
        assert!(said.contains("queue repair") || said.contains("--from-journal"), "{words:?}: {said}");
    }
    assert!(ctl(&["queue", "repair", "--from-journal", "--yes"]).status.success());
    assert_eq!((project.status("A"), &project.task("A")["attempts"]), ("awaiting_test".into(), &done["attempts"]));
    put_back();
    assert!(ctl(&["queue", "repair", "--yes"]).status.success());
    project.once("builder");
    assert_eq!(project.events_of("lease.acquired").len(), 2, "the file is the truth");
}
