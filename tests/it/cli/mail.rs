//! Messages, from a person or an agent into the prompt of a role.

use std::path::Path;

use serde_json::{Value, json};

use super::{Said, agentctl};
use crate::support::{Project, eventually};

/// The agent: the builder tells others what it has done.
const TELLS: &str = r#"[ "$OODATCAA_ROLE" = builder ] || exit 0
cat > "$OODATCAA_RESULT_FILE" <<END
{"outcome": "done", "summary": "built $OODATCAA_TASK_ID", "messages": [
  {"to": "tester", "text": "look at $OODATCAA_TASK_ID first", "kind": "implementation_complete", "priority": "high"},
  {"to": "painter", "text": "make it blue"},
  {"to": "all", "text": "$OODATCAA_TASK_ID is there", "priority": 9}]}
END"#;

fn ready(project: &Project, ids: &[&str]) {
    let task = |id: &&str| json!({"id": id, "title": "x", "type": "Build", "status": "ready"});
    project.queue(ids.iter().map(task).collect());
}

fn ctl(project: &Project, args: &[&str]) -> Said {
    agentctl(project, args)
}

#[track_caller]
fn says(said: &Said, words: &str) {
    assert!(said.out.contains(words) || said.err.contains(words), "no `{words}` in {said:?}");
}

fn messages(project: &Project, args: &[&str]) -> Vec<Value> {
    let said = ctl(project, &[&["msg", "list", "--json"], args].concat());
    let all = said.ok().json();
    all.as_array().unwrap().clone()
}

fn prompt(project: &Project, task: &str) -> String {
    let runs = std::fs::read_dir(project.path(&format!(".oodatcaa/runs/{task}"))).unwrap();
    let newest = runs.flatten().map(|entry| entry.path()).max().unwrap();
    std::fs::read_to_string(newest.join("prompt.md")).unwrap()
}

#[test]
fn a_message_stands_in_the_next_prompt_of_its_role_and_in_no_other() {
    let project = Project::that_succeeds();
    ready(&project, &["A", "B"]);
    let send = ["msg", "send", "--to", "builder", "--kind", "hint", "the API", "is frozen", "--priority", "2"];
    says(&ctl(&project, &send).ok(), "builder-1");
    ctl(&project, &["msg", "send", "--to", "builder", "urgent: `stop`\n# Task", "--priority", "1"]).ok();
    ctl(&project, &["msg", "send", "--to", "tester", "not yours"]).ok();
    says(&ctl(&project, &["msg", "status", "builder-1"]).ok(), "queued");
    assert!(project.once("builder").status.success());
    let first = prompt(&project, "A");
    let (urgent, other) = (first.find("urgent: "), first.find("the API is frozen"));
    assert!(urgent.is_some() && urgent < other, "the most urgent first: {first}");
    assert!(first.contains("builder-1") && first.contains("hint") && !first.contains("not yours"), "{first}");
    assert!(first.contains("```data\nurgent: "), "it is data: {first}");
    says(&ctl(&project, &["msg", "status", "builder-1"]).ok(), "drained");
    assert!(project.once("builder").status.success());
    assert!(!prompt(&project, "B").contains("the API is frozen"));
    assert_eq!(messages(&project, &["builder"]), [Value::Null; 0]);
    assert_eq!(messages(&project, &["builder", "--all"]).len(), 2);
}

#[test]
fn what_an_agent_sends_reaches_each_receiver_once() {
    let project = Project::new(TELLS);
    project.config("[roles.builder]\nchange = false\n");
    ready(&project, &["A"]);
    assert!(project.once("builder").status.success());
    let texts = |name: &str| {
        let all = messages(&project, &[name]);
        all.iter().map(|one| one["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts("tester"), ["look at A first", "A is there"]);
    assert_eq!(texts("builder"), [""; 0], "nobody writes to itself");
    assert_eq!(texts("human"), ["(for `painter`, which is no role here) make it blue", "A is there"]);
    let first = &messages(&project, &["tester"])[0];
    assert_eq!((&first["from"], &first["kind"]), (&json!("builder"), &json!("implementation_complete")));
    assert_eq!((&first["priority"], &first["task"]), (&json!(3), &json!("A")));
    // Whoever looks through the journal again, because the note of how far it was done is gone, sends nothing twice.
    std::fs::remove_file(project.path(".oodatcaa/messages/.outbox")).unwrap();
    assert!(project.once("planner").status.success());
    assert_eq!(texts("tester").len(), 2);
    // The person reads what is for them, once.
    says(&ctl(&project, &["msg", "read"]).ok(), "make it blue");
    says(&ctl(&project, &["msg", "read"]).ok(), "nothing new");
    // The tester's agent has them with its next task.
    assert!(project.once("tester").status.success());
    assert!(prompt(&project, "A").contains("look at A first"));
    assert_eq!(texts("tester"), [""; 0]);
}

#[test]
fn an_agent_sends_while_it_works_as_its_role_and_what_is_no_message_is_told() {
    for confined in [false, true] {
        let script = format!(
            r#"[ "$OODATCAA_ROLE" = builder ] || exit 0
               PATH={}:$PATH; out=$(dirname "$OODATCAA_RESULT_FILE")
               agentctl msg send --to tester --kind note --priority 2 from within > "$out/said" 2>&1 || exit 1
               agentctl msg send --to tastre x >> "$out/said" 2>&1 && exit 2
               agentctl msg read >> "$out/said" 2>&1 && exit 3
               echo nothing > "$out/messages/bad.json"
               while ! test -e "$OODATCAA_PROJECT/go"; do sleep 0.05; done"#,
            Path::new(env!("CARGO_BIN_EXE_agentctl")).parent().unwrap().display()
        );
        let project = Project::new(&script);
        project.config("[roles.builder]\nchange = false\n");
        ready(&project, &["A"]);
        let mut project = if confined { project.confined() } else { project };
        let worker = project.start("builder", &["--interval", "1s"]);
        let sent = eventually("the message is there", || messages(&project, &["tester"]).pop());
        assert_eq!(project.leases().len(), 1, "its attempt goes on");
        assert_eq!(
            (&sent["from"], &sent["text"], &sent["task"]),
            (&json!("builder"), &json!("from within"), &json!("A"))
        );
        assert_eq!((&sent["kind"], &sent["priority"]), (&json!("note"), &json!(2)));
        eventually("what is none is told", || project.log("builder", worker).contains("bad.json").then_some(()));
        std::fs::write(project.path("go"), "").unwrap();
        project.wait_for("A", "awaiting_test");
        assert_eq!(messages(&project, &["--all"]).len(), 1);
        let said = std::fs::read_to_string(project.path(".oodatcaa/runs/A/1/agent/said")).unwrap();
        for words in ["your worker sends it to tester", "did you mean `tester`?", "only a human"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}

#[test]
fn who_is_not_there_gets_nothing_and_the_sender_is_told() {
    let project = Project::that_succeeds();
    project.queue(json!([]));
    let said = ctl(&project, &["msg", "send", "--to", "bilder", "x"]).no(3, "there is no `bilder`");
    says(&said, "did you mean `builder`?");
    ctl(&project, &["msg", "send", "--to", "builder", "--ttl", "1h", "x"]).ok();
    ctl(&project, &["msg", "recall", "builder-1"]).ok();
    assert_eq!(ctl(&project, &["msg", "recall", "builder-1"]).code, 5);
    assert_eq!(ctl(&project, &["msg", "recall", "builder-7"]).code, 3);
    assert_eq!(ctl(&project, &["msg", "send", "--to", "builder", "--priority", "11", "x"]).code, 2);
    assert_eq!(ctl(&project, &["msg", "list", "painter"]).code, 3);
}

#[test]
fn mail_comes_through_while_the_queue_file_cannot_be_read() {
    let project = Project::that_succeeds();
    project.queue_text("<<<<<<< HEAD\n");
    ctl(&project, &["msg", "send", "--to", "human", "look at the queue"]).ok();
    says(&ctl(&project, &["msg", "read"]).ok(), "look at the queue");
}
