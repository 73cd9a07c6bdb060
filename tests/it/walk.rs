//! The fleet's main job: tasks walk from `needs_plan` to `done` with real daemons and scripted agents.

use crate::support::{Project, eventually};
use rustix::process::Signal;
use serde_json::json;

const ROLES: [&str; 5] = ["planner", "builder", "tester", "refiner", "integrator"];

fn stdout_and_err(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn once_claims_runs_and_settles_one_task() {
    let project = Project::that_succeeds();
    project.queue(
        json!([{"id": "A", "title": "first", "status": "ready"}, {"id": "B", "title": "second", "status": "ready"}]),
    );
    let output = project.once("builder");
    assert_eq!(output.status.code(), Some(0), "{}", stdout_and_err(&output));
    assert_eq!((project.status("A"), project.status("B")), ("awaiting_test".into(), "ready".into()));
    assert_eq!(project.task("A")["agent"], "builder");
    assert!(project.leases().is_empty());
    let record = std::fs::read_to_string(project.path(".oodatcaa/runs/A/1/attempt.json")).expect("the record");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    assert_eq!((record["state"].as_str(), record["outcome"].as_str()), (Some("finished"), Some("done")));
}

#[test]
fn once_with_nothing_to_do_is_fine() {
    let project = Project::that_succeeds();
    project.queue(json!([]));
    let output = project.once("tester");
    assert_eq!(output.status.code(), Some(0), "{}", stdout_and_err(&output));
}

#[test]
fn five_daemons_take_a_story_with_its_children_to_done() {
    let mut project = Project::new(
        r#"[ "$OODATCAA_ROLE" = planner ] || exit 0
cat > "$OODATCAA_RESULT_FILE" <<'END'
{"outcome":"done","summary":"planned","tasks":[
 {"id":"P001-B01","title":"build","type":"Build"},
 {"id":"P001-T01","title":"verify","type":"Test","dependencies":["P001-B01"]}]}
END"#,
    );
    project.queue(json!([
        {"id": "P001", "title": "story", "type": "Story", "status": "needs_plan"},
        {"id": "P002", "title": "waits for it", "type": "Build", "status": "blocked", "dependencies": ["P001"]}
    ]));
    for role in ROLES {
        project.start(role, &[]);
    }
    project.wait_for("P002", "done");
    for id in ["P001", "P001-B01", "P001-T01"] {
        assert_eq!(project.status(id), "done", "{id}");
    }
    assert_eq!(project.task("P001-T01")["parent"], "P001");
    eventually("no lease is left", || project.leases().is_empty().then_some(()));
}

#[test]
fn a_daemon_works_through_everything_not_only_one_task() {
    let mut project = Project::that_succeeds();
    let tasks: Vec<_> = (0..12).map(|n| json!({"id": format!("T{n}"), "title": "", "status": "ready"})).collect();
    project.queue(json!(tasks));
    project.start("builder", &[]);
    for n in 0..12 {
        project.wait_for(&format!("T{n}"), "awaiting_test");
    }
}

#[test]
fn a_file_change_wakes_a_daemon_at_once() {
    let mut project = Project::that_succeeds();
    project.queue(json!([]));
    project.start_ready("builder", &["--interval", "3600"]);
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    project.wait_for("A", "awaiting_test");
}

#[test]
fn a_failing_agent_is_tried_three_times_and_then_handed_to_the_refiner() {
    let mut project = Project::new("echo the reason >&2; exit 7");
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    project.start("builder", &["--interval", "0.2"].map(|arg| if arg == "0.2" { "200ms" } else { arg }));
    project.wait_for("A", "needs_adapt");
    let reason = project.task("A")["blocked_reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("3 of 3 attempts") && reason.contains("the reason"), "{reason}");
    assert_eq!(project.events_of("attempt.finished").len(), 3);
}

#[test]
fn the_next_prompt_says_what_failed() {
    let project = Project::new("echo kaboom >&2; exit 1");
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    project.once("builder");
    eventually("the backoff is over", || {
        project.once("builder");
        project.path(".oodatcaa/runs/A/2/prompt.md").exists().then_some(())
    });
    let prompt = std::fs::read_to_string(project.path(".oodatcaa/runs/A/2/prompt.md")).expect("a prompt");
    assert!(prompt.contains("kaboom"), "{prompt}");
}

#[test]
fn a_red_gate_holds_a_task_whatever_the_agent_says() {
    let project = Project::that_succeeds();
    project.config(
        "[roles.builder]\ngates = [\"unit\"]\n[gates.unit]\nargv = [\"sh\", \"-c\", \"echo gate says no; exit 3\"]",
    );
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    project.once("builder");
    assert_eq!((project.status("A").as_str(), &project.task("A")["attempts"]), ("ready", &json!(1)));
    let finished = &project.events_of("attempt.finished")[0];
    assert_eq!(finished["data"]["class"], "gate_failed");
    assert!(finished["data"]["reason"].as_str().is_some_and(|reason| reason.contains("gate says no")), "{finished}");
    assert_eq!(project.events_of("gate.finished").len(), 1);
}

#[test]
fn a_task_may_name_a_gate_but_never_bring_a_command() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "", "status": "ready", "gates": ["touch owned"]}]));
    project.once("builder");
    assert_eq!(project.status("A"), "ready");
    assert_eq!(project.events_of("attempt.finished")[0]["data"]["class"], "config");
    assert!(!project.path("owned").exists());
}

#[test]
fn required_files_and_results_are_asked_for() {
    let project = Project::that_succeeds();
    project.config("[roles.builder]\nfiles = [\"made.txt\"]\n[roles.tester]\nrequire_result = true");
    project.queue(json!([
        {"id": "A", "title": "", "status": "ready"},
        {"id": "B", "title": "", "status": "awaiting_test"}
    ]));
    project.once("builder");
    project.once("tester");
    let classes: Vec<_> = project.events_of("attempt.finished").iter().map(|e| e["data"]["class"].clone()).collect();
    assert_eq!(classes, ["no_evidence", "no_evidence"]);
    assert_eq!((project.status("A"), project.status("B")), ("ready".into(), "awaiting_test".into()));
}

#[test]
fn a_tester_that_asks_for_adaptation_gets_it_and_the_refiner_hands_back() {
    let mut project = Project::new(
        r#"case "$OODATCAA_ROLE$OODATCAA_TOKEN" in
  tester2) echo '{"outcome":"needs_adapt","summary":"criterion 2 fails"}' > "$OODATCAA_RESULT_FILE" ;;
esac"#,
    );
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    for role in ROLES {
        project.start(role, &[]);
    }
    project.wait_for("A", "done");
    let moves: Vec<String> = project
        .events_of("task.moved")
        .iter()
        .filter_map(|event| Some(event["data"]["to"].as_str()?.to_owned()))
        .collect();
    assert_eq!(
        moves,
        [
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
            "done"
        ]
    );
}

#[test]
fn what_the_agent_sets_itself_in_the_queue_stands() {
    let project = Project::new(
        r#"f="$OODATCAA_PROJECT/.oodatcaa/work/SPRINT_QUEUE.json"
sed 's/"in_progress"/"needs_manual"/' "$f" > "$f.mine" && mv "$f.mine" "$f""#,
    );
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    project.once("builder");
    assert_eq!(project.status("A"), "needs_manual");
    assert!(project.leases().is_empty());
}

#[test]
fn the_first_term_drains_and_the_attempt_may_end() {
    let mut project = Project::new("touch started; while [ ! -e go ]; do sleep 0.02; done");
    project
        .config("")
        .queue(json!([{"id": "A", "title": "", "status": "ready"}, {"id": "B", "title": "", "status": "ready"}]));
    let config = std::fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    std::fs::write(
        project.path(".oodatcaa/config.toml"),
        config.replace("fleet.shutdown_timeout = \"1s\"", "fleet.shutdown_timeout = \"60s\""),
    )
    .expect("written");
    let n = project.start("builder", &["--slots", "1"]);
    eventually("the agent runs", || project.path("started").exists().then_some(()));
    project.signal(n, Signal::TERM);
    eventually("the daemon says so", || project.log("builder", n).contains("nothing more is claimed").then_some(()));
    std::fs::write(project.path("go"), "").expect("written");
    assert_eq!(project.ended(n), Some(0));
    assert_eq!((project.status("A"), project.status("B")), ("awaiting_test".into(), "ready".into()));
}

#[test]
fn an_attempt_that_outlasts_the_drain_is_interrupted_and_not_charged() {
    let mut project = Project::new("trap '' TERM; touch started; sleep 1000 & setsid sleep 1000 & wait; sleep 1000");
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    let n = project.start("builder", &[]);
    eventually("the agent runs", || project.path("started").exists().then_some(()));
    project.signal(n, Signal::TERM);
    assert_eq!(project.ended(n), Some(0));
    assert_eq!(project.status("A"), "ready");
    assert!(project.task("A")["attempts"].is_null());
    assert_eq!(project.events_of("attempt.finished")[0]["data"]["class"], "interrupted");
    assert_eq!(project.agents(), Vec::<u32>::new(), "nothing of the agent is left");
    assert!(project.leases().is_empty());
}

#[test]
fn the_second_term_kills_and_settles_and_the_third_leaves() {
    let mut project = Project::new("trap '' TERM; touch started; sleep 1000");
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    let config = std::fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    std::fs::write(
        project.path(".oodatcaa/config.toml"),
        config.replace("fleet.shutdown_timeout = \"1s\"", "fleet.shutdown_timeout = \"600s\""),
    )
    .expect("written");
    let n = project.start("builder", &[]);
    eventually("the agent runs", || project.path("started").exists().then_some(()));
    project.signal(n, Signal::TERM);
    eventually("the first is heard", || project.log("builder", n).contains("nothing more is claimed").then_some(()));
    project.signal(n, Signal::TERM);
    assert_eq!(project.ended(n), Some(0));
    assert_eq!(project.status("A"), "ready");
    assert_eq!(project.agents(), Vec::<u32>::new());
}

#[test]
fn a_missing_program_is_said_with_its_own_exit_code_and_nothing_is_claimed() {
    let project = Project::that_succeeds();
    std::fs::write(
        project.path(".oodatcaa/config.toml"),
        "fleet.agent = \"ghost\"\n[agents.ghost]\nkind = \"command\"\nargv = [\"no-such-program-here\"]\ninstall = \"npm install -g ghost\"\n",
    )
    .expect("written");
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    let output = project.once("builder");
    let said = stdout_and_err(&output);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("no-such-program-here") && said.contains("npm install -g ghost"), "{said}");
    assert_eq!(project.status("A"), "ready");
}

#[test]
fn an_unknown_role_is_refused_with_the_list() {
    let project = Project::that_succeeds();
    project.queue(json!([]));
    let output = project.once("bilder");
    let said = stdout_and_err(&output);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("builder") && said.contains("integrator"), "{said}");
}

#[test]
fn the_wip_limit_holds_over_several_workers() {
    let mut project = Project::new("sleep 0.05");
    let tasks: Vec<_> = (0..10).map(|n| json!({"id": format!("T{n}"), "title": "", "status": "ready"})).collect();
    project.queue_text(&json!({"wip_limits": {"builder": 2}, "tasks": tasks}).to_string());
    for _ in 0..4 {
        project.start("builder", &["--slots", "4"]);
    }
    for n in 0..10 {
        project.wait_for(&format!("T{n}"), "awaiting_test");
    }
    let mut working = 0_i32;
    for event in project.events_of("task.moved") {
        match event["data"]["to"].as_str() {
            Some("in_progress") => working += 1,
            _ if event["data"]["from"] == "in_progress" => working -= 1,
            _ => {}
        }
        assert!(working <= 2, "{event}");
    }
}

#[test]
fn an_untrusted_project_runs_nothing() {
    let project = Project::new("touch owned");
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    let output = project
        .command("agent-daemon")
        .env_remove("OODATCAA_TRUST_PROJECT")
        .args(["--role", "builder", "--once"])
        .output()
        .expect("it runs");
    let said = stdout_and_err(&output);
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(said.contains("agentctl config trust"), "{said}");
    assert!(!project.path("owned").exists());
}

#[test]
fn a_limit_closes_the_pool_for_every_worker_until_its_reset_and_work_resumes_by_itself() {
    let mut project = Project::new(
        r#"[ -e "$OODATCAA_PROJECT/good" ] && exit 0
echo asked >> "$OODATCAA_PROJECT/asked"
at=$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)
touch "$OODATCAA_PROJECT/good"
printf '{"outcome":"failed","class":"rate_limited","summary":"429","retry_at":"%s"}' "$at" > "$OODATCAA_RESULT_FILE"
exit 1"#,
    );
    let tasks: Vec<_> = (0..4).map(|n| json!({"id": format!("T{n}"), "title": "", "status": "ready"})).collect();
    project.queue_text(&json!({"wip_limits": {"builder": 1}, "tasks": tasks}).to_string());
    for _ in 0..2 {
        project.start("builder", &["--interval", "3600s"]);
    }
    for n in 0..4 {
        project.wait_for(&format!("T{n}"), "awaiting_test");
        assert!(project.task(&format!("T{n}"))["attempts"].is_null(), "T{n} is not charged");
    }
    let asked = std::fs::read_to_string(project.path("asked")).expect("the agent was asked");
    assert_eq!(asked.lines().count(), 1, "one limit, and nobody asked again before the reset");
    let (limited, resumed) = (project.events_of("agent.limited"), project.events_of("agent.resumed"));
    assert_eq!((limited.len(), resumed.len()), (1, 1), "{limited:?} {resumed:?}");
    let until = limited[0]["data"]["until"].as_str().expect("a time");
    let probe = project.events_of("lease.acquired").into_iter().find(|event| event["data"]["probe"] == true);
    assert!(probe.expect("a probe")["time"].as_str().expect("a time") >= until);
}

#[test]
fn the_second_agent_of_a_chain_works_while_the_first_is_limited() {
    let project = Project::that_succeeds();
    let limited = project.script(
        "limited.sh",
        r#"echo '{"outcome":"failed","class":"usage_limit","summary":"limit reached","retry_at":"2026-01-01T00:00:00Z"}' > "$OODATCAA_RESULT_FILE""#,
    );
    project.config(&format!(
        "[agents.limited]\nargv = [\"{}\"]\n[roles.builder]\nagents = [\"limited\", \"script\"]",
        limited.display()
    ));
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    project.once("builder");
    assert_eq!(project.status("A"), "ready");
    project.once("builder");
    assert_eq!(project.status("A"), "awaiting_test");
    let by: Vec<_> = project.events_of("lease.acquired").iter().map(|event| event["data"]["by"].clone()).collect();
    assert_eq!(by, ["limited", "script"]);
}

#[test]
fn a_short_run_is_told_with_the_time_at_which_it_started() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    project.once("builder");
    let record = std::fs::read_to_string(project.path(".oodatcaa/runs/A/1/attempt.json")).expect("a record");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    let time = |value: &serde_json::Value| -> chrono::DateTime<chrono::Utc> {
        value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("a time: {value}"))
    };
    let started = &project.events_of("attempt.started")[0];
    let at = time(&started["data"]["at"]);
    assert!(time(&record["started_at"]) <= at && at <= time(&started["time"]), "{started} {record}");
}
