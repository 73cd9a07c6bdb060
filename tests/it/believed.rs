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
