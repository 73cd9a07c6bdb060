//! What waits for a human, with real programs: approvals before a merge, questions, text of strangers, budgets.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Project, me};

fn ctl(project: &Project, args: &[&str]) -> Output {
    project.command("agentctl").args(args).output().expect("agentctl runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn good(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn refused(output: &Output, code: i32, words: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert!(said(output).contains(words), "{}", said(output));
}

fn inbox(project: &Project) -> Vec<Value> {
    let text = good(&ctl(project, &["inbox", "--json"]));
    serde_json::from_str::<Value>(&text).expect("JSON").as_array().expect("a list").clone()
}

fn ids(project: &Project) -> Vec<String> {
    inbox(project).iter().map(|decision| decision["id"].as_str().expect("an id").to_owned()).collect()
}

fn that_asks_before_merging() -> Project {
    let project = Project::that_succeeds();
    project.config("[merge]\napproval = true");
    project
}

#[test]
fn a_task_waits_for_approval_and_is_merged_after_it() {
    let project = that_asks_before_merging();
    project.queue(json!([{"id": "A", "title": "first", "status": "awaiting_test"}]));
    project.once("tester");
    project.once("integrator");
    assert_eq!(project.status("A"), "ready_for_integrator");
    let open = inbox(&project);
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!((open[0]["kind"].as_str(), open[0]["default"].as_str()), (Some("merge"), Some("deny")));
    assert!(open[0]["deadline"].is_string());
    let status = ctl(&project, &["status"]);
    assert!(said(&status).contains("1 thing needs you (1 merge): agentctl inbox"), "{}", said(&status));
    let why = good(&ctl(&project, &["why", "A"]));
    assert!(why.contains("a human must approve it before it is merged (A.1"), "{why}");
    assert!(why.contains("; without an answer it is rejected at ") && why.contains(" UTC)"), "{why}");
    assert!(why.contains("agentctl approve A.1"), "{why}");

    good(&ctl(&project, &["approve", "A.1", "--dry-run"]));
    assert_eq!(ids(&project), ["A.1"]);
    good(&ctl(&project, &["approve", "A.1"]));
    let resolved = &project.events_of("decision.resolved")[0];
    assert_eq!(
        (resolved["actor"].as_str(), resolved["data"]["verdict"].as_str()),
        (Some(me().as_str()), Some("approved"))
    );
    refused(&ctl(&project, &["approve", "A.1"]), 5, &format!("was approved by {}", me()));
    assert!(ids(&project).is_empty());
    project.once("integrator");
    assert_eq!(project.status("A"), "done");
}

#[test]
fn a_fleet_that_stands_still_is_in_the_inbox_and_every_surface_says_the_same() {
    // Its prompt cannot be rendered: the role pauses, and nobody works any more.
    let project = Project::that_succeeds();
    std::fs::create_dir_all(project.path(".oodatcaa/prompts")).unwrap();
    std::fs::write(project.path(".oodatcaa/prompts/builder.md"), "{{ no.such.thing }}\n").unwrap();
    project.queue(json!([
        {"id": "A", "title": "first", "status": "ready"},
        {"id": "B", "title": "second", "status": "ready", "not_before": "2099-01-01T00:00:00Z"},
        {"id": "C", "title": "third", "status": "needs_manual", "blocked_reason": "three tries failed"},
        {"id": "D", "title": "fourth", "status": "awaiting_test"},
    ]));
    project.once("builder");
    let needs = inbox(&project);
    let ids: Vec<&str> = needs.iter().map(|need| need["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["role:builder", "C"], "{needs:?}");
    assert_eq!(needs[0]["tasks"], json!(["A", "B"]));
    assert!(needs[0]["next"].as_str().unwrap().starts_with("agentctl fleet start builder"), "{needs:?}");
    let listed = good(&ctl(&project, &["ls", "is:needs_you", "-q"]));
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["A", "B", "C"]);
    let status: Value = serde_json::from_str(&good(&ctl(&project, &["status", "--json"]))).unwrap();
    assert_eq!(status["inbox"], 2);
    let why = good(&ctl(&project, &["why", "B"]));
    assert!(why.contains("is paused") && !why.contains("tried again"), "{why}");
    assert_eq!(ctl(&project, &["inbox", "--check"]).status.code(), Some(4));
    assert_eq!(ctl(&project, &["inbox"]).status.code(), Some(0));
}

#[test]
fn an_approval_is_for_what_was_seen() {
    let project = that_asks_before_merging();
    project.queue(json!([{"id": "A", "title": "first", "status": "ready_for_integrator"}]));
    assert_eq!(ids(&project), ["A.1"], "asked without any daemon");
    project.queue_text(&project.text().replace("\"first\"", "\"something else\""));
    refused(&ctl(&project, &["approve", "A.1"]), 5, "asked again as A.2");
    assert_eq!(ids(&project), ["A.2"]);
    good(&ctl(&project, &["approve", "A.2"]));
    project.queue_text(&project.text().replace("\"something else\"", "\"a third thing\""));
    project.once("integrator");
    assert_eq!(project.status("A"), "ready_for_integrator");
    assert_eq!(ids(&project), ["A.3"]);
}

#[test]
fn a_rejection_goes_to_the_refiner_with_its_reason_in_the_prompt() {
    let project = that_asks_before_merging();
    project.queue(json!([{"id": "A", "title": "first", "status": "ready_for_integrator"}]));
    refused(&ctl(&project, &["reject", "A"]), 2, "--reason");
    good(&ctl(&project, &["reject", "A", "--reason", "the API must stay"]));
    assert_eq!(project.status("A"), "needs_adapt");
    project.once("refiner");
    let prompt = std::fs::read_to_string(project.path(".oodatcaa/runs/A/1/prompt.md")).expect("a prompt");
    assert!(prompt.contains("the API must stay"), "{prompt}");
}

#[test]
fn an_agents_question_is_answered_and_the_answer_reaches_the_next_attempt() {
    let project = Project::new(
        r#"[ "$OODATCAA_TOKEN" = 1 ] || exit 0
echo '{"outcome":"needs_input","summary":"","question":{"text":"Which format?","options":["TOML","YAML"]}}' > "$OODATCAA_RESULT_FILE""#,
    );
    project.queue(json!([{"id": "A", "title": "first", "status": "ready"}]));
    project.once("builder");
    assert_eq!(project.status("A"), "needs_manual");
    let open = inbox(&project);
    assert_eq!(open[0]["options"], json!(["TOML", "YAML"]), "{open:?}");
    refused(&ctl(&project, &["approve", "A.1"]), 5, "is a question");
    refused(&ctl(&project, &["answer", "A.1", "7"]), 2, "none of them");
    good(&ctl(&project, &["answer", "A", "2"]));
    assert_eq!(project.status("A"), "ready");
    project.once("builder");
    assert_eq!(project.status("A"), "awaiting_test");
    let prompt = std::fs::read_to_string(project.path(".oodatcaa/runs/A/2/prompt.md")).expect("a prompt");
    assert!(prompt.contains("Which format?") && prompt.contains("YAML\n"), "{prompt}");
}

#[test]
fn an_agent_cannot_approve_its_own_work() {
    let mut project = Project::new("");
    let ctl_path = env!("CARGO_BIN_EXE_agentctl");
    project.script("agent.sh", &format!("\"{ctl_path}\" approve A > approve.log 2>&1\nexit 0"));
    project.config("[merge]\napproval = true");
    project.queue(json!([
        {"id": "A", "title": "", "status": "ready_for_integrator"},
        {"id": "B", "title": "", "status": "ready"}
    ]));
    project.start("builder", &[]);
    project.wait_for("B", "awaiting_test");
    let log = std::fs::read_to_string(project.path("approve.log")).expect("a log");
    assert!(log.contains("only a human may decide"), "{log}");
    assert_eq!(ids(&project), ["A.1"]);
}

#[test]
fn silence_denies_by_the_declared_deadline_without_a_human_being_named() {
    let project = Project::that_succeeds();
    project.config("[merge]\napproval = true\n[decisions]\ndeadline = \"1ms\"");
    project.queue(json!([{"id": "A", "title": "", "status": "ready_for_integrator"}]));
    assert_eq!(ids(&project), ["A.1"]);
    project.once("planner");
    assert_eq!(project.status("A"), "needs_manual");
    let expired = &project.events_of("decision.expired")[0];
    assert_eq!((expired["actor"].as_str(), expired["data"]["applied"].as_str()), (Some("timeout"), Some("deny")));
}

#[test]
fn no_agent_sees_text_of_a_stranger_before_a_human_let_it_in() {
    let project = Project::new("touch seen");
    project.queue(json!([
        {"id": "A", "title": "", "status": "ready", "trusted": false, "source": "issue by mallory"},
        {"id": "B", "title": "", "status": "ready", "source": {"kind": "issue", "author": "eve", "trusted": false}}
    ]));
    project.once("builder");
    assert!(!project.path("seen").exists());
    assert_eq!(ids(&project), ["A.1", "B.1"]);
    let why = good(&ctl(&project, &["why", "B"]));
    assert!(why.contains("issue eve"), "{why}");
    good(&ctl(&project, &["reject", "A", "--reason", "spam"]));
    good(&ctl(&project, &["approve", "B"]));
    project.once("builder");
    assert_eq!((project.status("A"), project.status("B")), ("cancelled".into(), "awaiting_test".into()));
}

#[test]
fn a_budget_of_turns_or_time_stops_claims_until_a_human_allows_more() {
    let project = Project::new("sleep 1000");
    project.config("[budget.role]\nwall = \"50ms\"");
    project.queue(json!([
        {"id": "A", "title": "", "status": "ready"},
        {"id": "B", "title": "", "status": "ready"}
    ]));
    project.once("builder");
    assert_eq!(
        project.events_of("attempt.finished")[0]["data"]["class"],
        "budget_exceeded",
        "ended where the budget ends"
    );
    project.once("builder");
    assert_eq!((project.status("A"), project.status("B")), ("ready".into(), "ready".into()));
    assert_eq!(project.events_of("lease.acquired").len(), 1, "nothing more is claimed");
    let told = project.events_of("budget.exceeded");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0]["data"]["level"].as_str(), told[0]["data"]["scope"].as_str()), (Some("stop"), Some("role")));
    let open = ids(&project);
    assert!(open.len() == 1 && open[0].starts_with("role:builder:"), "{open:?}");
    let why = good(&ctl(&project, &["why", "B"]));
    assert!(why.contains("the budget of `builder` for this day is used up"), "{why}");
}
