//! What goes wrong at the provider and in the agent: nobody is asked too early, nothing is charged that is nobody's
//! fault, nothing that was made is lost, and nothing that was not made is believed.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{programs::Program, setup::git, shop::Shop};
use crate::{
    endpoint::Script,
    support::{Project, eventually},
};

mod quota;

/// A rule for a builder's task that writes a file and says so; `more` goes before the steps.
fn builds(task: &str, more: &str) -> String {
    format!(
        "[[rules]]\nname = \"{task}\"\nwhen = [\"# Task {task}, role builder\"]\n{more}\n\
         [[rules.steps]]\nwrite = {{ path = \"{task}.txt\", text = \"made\" }}\n[[rules.steps]]\ntext = \"It is made.\"\n"
    )
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().expect("a time").parse().expect("a time")
}

/// Statuses and numbers of tries: nothing was charged.
#[track_caller]
fn assert_uncharged(shop: &Shop, task: &str) {
    let attempts: BTreeSet<u64> = shop
        .project
        .events_of("lease.acquired")
        .iter()
        .filter(|event| event["task"] == task)
        .filter_map(|event| event["attempt"].as_u64())
        .collect();
    assert_eq!(attempts, BTreeSet::from([1]), "every claim of {task} is the first try: {}", shop.said());
    assert!(shop.ends(task).iter().all(|event| event["data"].get("charged").is_none()), "{}", shop.said());
    assert!(matches!(shop.project.task(task)["attempts"].as_u64(), None | Some(0)), "{}", shop.said());
}

/// Ends the workers that `fleet start` has detached.
struct Detached<'a>(&'a Shop);

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        let stop = self.0.project.command("agentctl").args(["fleet", "stop", "--backend", "process"]).output();
        if !std::thread::panicking() {
            assert!(stop.expect("agentctl runs").status.success());
        }
    }
}

#[test]
fn a_refused_key_is_told_once_and_the_role_rests_until_somebody_has_mended_it() {
    let refused: String = ["B1", "B2", "B3"].map(|task| builds(task, "faults = [{ status = 401 }]")).concat();
    let Some(shop) = Shop::open(&[Program::Claude], &refused, "") else { return };
    shop.queue(2, &["B1", "B2", "B3"]);
    let detached = Detached(&shop);
    let start = ["fleet", "start", "builder", "--backend", "process"];
    shop.agentctl(&start);
    for task in ["B1", "B2"] {
        let ends = shop.wait_for_ends(task, 1);
        assert_eq!(ends[0]["data"]["class"], "auth_expired", "{}", shop.said());
        shop.wait_for_silence(task, 1);
    }
    let asked = shop.endpoint.seen().len();
    assert!((2..=6).contains(&asked), "the program asks again by itself for a moment only: {}", shop.said());

    // Somebody looks for work, and finds that there is none for this role.
    let looked = shop.project.once("builder");
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
    assert_eq!(shop.project.events_of("worker.paused").len(), 1, "{}", shop.said());
    let log = std::fs::read_to_string(shop.project.path(".agent-daemon-logs/builder.log")).expect("a log");
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("| ERROR |")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    for words in ["auth_expired", "claude /login", "agentctl fleet start builder"] {
        assert!(errors[0].contains(words), "no `{words}` in {}", errors[0]);
    }
    for task in ["B1", "B2", "B3"] {
        let why = shop.why(task);
        assert!(
            why["sentence"].as_str().is_some_and(|sentence| sentence.contains("is paused (auth_expired)")),
            "{why}"
        );
        assert!(why["next"].as_str().is_some_and(|next| next.starts_with("agentctl fleet start builder")), "{why}");
        assert_eq!(shop.project.status(task), "ready");
    }
    assert_eq!(shop.endpoint.seen().len(), asked, "nobody asked again: {}", shop.said());

    let healed: String = ["B1", "B2", "B3"].map(|task| builds(task, "")).concat();
    shop.endpoint.play(Script::parse(&healed).expect("a script"));
    shop.agentctl(&start);
    for task in ["B1", "B2", "B3"] {
        shop.project.wait_for(task, "awaiting_test");
        assert_uncharged(&shop, task);
    }
    assert_eq!(shop.project.events_of("worker.paused").len(), 1, "{}", shop.said());
    drop(detached);
}

#[test]
fn an_agent_that_hangs_is_ended_with_everything_it_started_and_its_work_is_kept() {
    // Never an answer; then one that breaks off, after a file was written and a child left behind; then all is well.
    let script = r##"
[[rules]]
name = "B1 never"
when = ["# Task B1, role builder"]
prompts = 1
faults = [{ hang = "before" }]

[[rules]]
name = "B1 midway"
when = ["# Task B1, role builder"]
prompts = 1
faults = [{ hang = "after", after = 2 }]
[[rules.steps]]
write = { path = "half.txt", text = "half of it" }
[[rules.steps]]
run = "(setsid tail -f /dev/null > /dev/null 2>&1 &)"

[[rules]]
name = "B1 again"
when = ["# Task B1, role builder", "no event of the model or a tool for"]
[[rules.steps]]
write = { path = "whole.txt", text = "all of it" }
"##;
    // On a busy machine the limit may also strike before the program has asked: that is one more try, and no other rule.
    let limits = "adapters.claude.limits.stall_s = 5\nretry.attempts = 9\nretry.backoff_max = \"100ms\"\n";
    let Some(mut shop) = Shop::open(&[Program::Claude], script, limits) else { return };
    shop.queue(1, &["B1"]);
    shop.project.start("builder", &[]);
    shop.project.wait_for("B1", "awaiting_test");
    let mut ends = shop.ends("B1");
    let last = ends.pop().expect("the good one");
    assert_eq!((ends.len() >= 2, &last["data"]["outcome"]), (true, &json!("done")), "{}", shop.said());
    for end in &ends {
        let reason = end["data"]["reason"].as_str().expect("a reason");
        assert_eq!((&end["data"]["class"], &end["data"]["charged"]), (&json!("silent"), &json!(true)), "{end}");
        assert_eq!(reason, "ended: no event of the model or a tool for 5s");
        shop.wait_for_silence("B1", end["token"].as_u64().expect("a token"));
    }
    eventually("the hanging connections are closed", || (shop.endpoint.open() == 0).then_some(()));
    // What was written before the hang is under a name of its own, and was there for the next attempt.
    let kept = git(&shop.project, &["for-each-ref", "--format=%(refname)", "refs/oodatcaa/wip/*/B1/*"]);
    let kept = kept.lines().next().unwrap_or_else(|| panic!("nothing is kept: {}", shop.said()));
    assert_eq!(git(&shop.project, &["show", &format!("{kept}:half.txt")]), "half of it");
    for (name, text) in [("half.txt", "half of it"), ("whole.txt", "all of it")] {
        assert_eq!(git(&shop.project, &["show", &format!("feat/B1-build-b1:{name}")]), text, "{}", shop.said());
    }
    let log = shop.project.log("builder", 0);
    assert!(log.contains(&format!("uncommitted work was saved as {kept}")), "{log}");
}

#[test]
fn an_agent_that_says_done_and_changed_nothing_is_not_believed() {
    let told = builds("B1 told", "")
        .replace("# Task B1 told, role builder\"]", "# Task B1, role builder\", \"said done and changed nothing\"]");
    let script = format!(
        "{told}[[rules]]\nname = \"B1 talks\"\nwhen = [\"# Task B1, role builder\"]\n[[rules.steps]]\ntext = \"I have done everything.\"\n"
    );
    let Some(mut shop) = Shop::open(&[Program::Claude], &script, "") else { return };
    shop.queue(1, &["B1"]);
    shop.project.start("builder", &[]);
    shop.project.wait_for("B1", "awaiting_test");
    let ends = shop.ends("B1");
    assert_eq!(ends[0]["data"]["class"], "no_evidence", "{}", shop.said());
    assert_eq!((ends.len(), &ends[0]["data"]["charged"]), (2, &json!(true)), "{}", shop.said());
    assert_eq!(shop.walked("B1"), ["in_progress", "ready", "in_progress", "awaiting_test"], "{}", shop.said());
    // The model was told why: the second prompt is another one, and is answered by another rule.
    assert_eq!((shop.asked_for("B1 talks").len(), shop.asked_for("B1 told").len()), (1, 2), "{}", shop.said());
}

#[test]
fn an_empty_answer_is_no_result_however_well_the_program_exits() {
    let script = r#"
[[rules]]
name = "silent"
[[rules.steps]]
text = ""
"#;
    let Some(mut shop) =
        Shop::open(&[Program::Claude, Program::Codex], script, "retry.attempts = 2\nroles.tester.agent = \"codex\"\n")
    else {
        return;
    };
    let task = |id: &str, status: &str| json!({"id": id, "title": id, "type": "Build", "status": status});
    shop.project.queue(json!([task("B1", "ready"), task("T1", "awaiting_test")]));
    for role in ["builder", "tester"] {
        shop.project.start(role, &[]);
    }
    for task in ["B1", "T1"] {
        shop.project.wait_for(task, "needs_adapt");
        let ends = shop.ends(task);
        let told: Vec<_> = ends.iter().map(|end| (end["attempt"].as_u64(), end["data"]["charged"].as_bool())).collect();
        assert_eq!(told, [(Some(1), Some(true)), (Some(2), Some(true))], "{}", shop.said());
        assert!(ends.iter().all(|end| end["data"]["class"] == "no_evidence"), "{}", shop.said());
        let reason = shop.project.task(task)["blocked_reason"].clone();
        assert!(reason.as_str().is_some_and(|reason| reason.starts_with("2 of 2 attempts failed")), "{reason}");
    }
}

#[test]
fn a_program_that_exits_with_0_and_leaves_no_result_has_failed_where_one_is_demanded() {
    let mut project = Project::that_succeeds();
    let file = project.path(".oodatcaa/config.toml");
    let config = std::fs::read_to_string(&file).expect("a configuration");
    std::fs::write(&file, format!("retry.attempts = 2\nroles.builder.require_result = true\n{config}"))
        .expect("written");
    project.queue(json!([{"id": "B1", "title": "x", "type": "Build", "status": "ready"}]));
    project.start("builder", &[]);
    project.wait_for("B1", "needs_adapt");
    let ends = project.events_of("attempt.finished");
    let told: Vec<_> =
        ends.iter().map(|end| (end["data"]["class"].as_str(), end["data"]["charged"].as_bool())).collect();
    assert_eq!(told, [(Some("no_evidence"), Some(true)); 2]);
}

#[test]
fn an_overloaded_provider_is_asked_seldom_and_nobody_pays_for_it() {
    // The program asks twice more by itself, then it is our turn to wait; after that the stream breaks off.
    let script = builds("B1", "faults = [{ status = 529, first = 3 }, { break = \"cut\", after = 3, first = 2 }]");
    let Some(mut shop) = Shop::open(&[Program::Claude], &script, "") else { return };
    shop.queue(1, &["B1"]);
    shop.project.start("builder", &[]);
    shop.project.wait_for("B1", "awaiting_test");
    assert_uncharged(&shop, "B1");
    let ends = shop.ends("B1");
    let classes: Vec<_> = ends.iter().map(|end| end["data"]["class"].as_str()).collect();
    assert_eq!(classes, [Some("overloaded"), Some("overloaded"), None], "{}", shop.said());
    let answers: Vec<String> = shop.asked_for("B1").into_iter().map(|seen| seen.answer).collect();
    assert_eq!(answers, ["529", "529", "529", "cut", "cut", "call Write", "text"], "{}", shop.said());
    // It waited in between, longer the second time, and said so.
    let waits: Vec<f64> = shop
        .project
        .events_of("task.moved")
        .iter()
        .filter(|event| event["data"]["set"]["not_before"].is_string())
        .map(|event| (time(&event["data"]["set"]["not_before"]) - time(&event["time"])).as_seconds_f64())
        .collect();
    assert!(matches!(waits[..], [first, second] if first >= 0.08 && second >= 0.16), "{waits:?} {}", shop.said());
}
