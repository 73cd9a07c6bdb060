//! What `document` must hold.

use serde_json::{Map, Value, json};

use super::*;
use oodatcaa_core::{self, ChangeSet, NewTask, QueueLease, Status, Task, TaskId};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/queues");

pub(super) fn parse(text: &str) -> Document {
    Document::parse(Path::new("q.json"), text.into()).unwrap_or_else(|invalid| panic!("{invalid}\n{text}"))
}

fn invalid(text: &str) -> String {
    Document::parse(Path::new("q.json"), text.into()).expect_err("not a queue").to_string()
}

pub(super) fn id(text: &str) -> TaskId {
    TaskId::parse(text).expect("a good id")
}

pub(super) fn set(task: &str, member: oodatcaa_core::Member, value: impl Into<Value>) -> ChangeSet {
    let mut changes = ChangeSet::none();
    changes.set(&id(task), member, value);
    changes
}

pub(super) fn adding(task: &str, members: &Value) -> ChangeSet {
    let status = Status::new(members["status"].as_str().unwrap_or_default());
    let json: Map<String, Value> = members.as_object().expect("an object").clone();
    ChangeSet { add: vec![NewTask { task: Task::new(id(task), status), json }], ..ChangeSet::none() }
}

/// The real queues that can be read, by name.
fn real() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = std::fs::read_dir(DIRECTORY)
        .expect("the directory of queues")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), std::fs::read_to_string(path).expect("text")))
        .filter(|(path, _)| !path.ends_with("092.json"))
        .collect();
    all.sort();
    assert!(all.len() >= 14, "the samples are there");
    all
}

#[test]
fn real_queues_are_read_without_complaint() {
    for (path, text) in real() {
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let document = parse(&text);
        let nested = |task: &Value| task["subtasks"].as_array().map_or(0, Vec::len);
        let tasks = value["tasks"].as_array().expect("a list");
        assert_eq!(document.queue().len(), tasks.len() + tasks.iter().map(nested).sum::<usize>(), "{path}");
        assert_eq!(document.queue().problems, [], "{path}");
    }
}

#[test]
fn a_claim_in_a_real_queue_changes_the_lines_of_its_members_only() {
    for (path, text) in real() {
        let document = parse(&text);
        for task in document.queue().tasks() {
            let mut changes = set(task.id.as_str(), oodatcaa_core::Member::Status, "in_progress");
            changes.set(&task.id, oodatcaa_core::Member::Lease, "w@h#1");
            let edited = document.edited(&changes).unwrap_or_else(|error| panic!("{path} {}: {error}", task.id));
            if task.lease != QueueLease::None || !text.contains("\"lease\": null") {
                continue;
            }
            let (old, new): (Vec<&str>, Vec<&str>) = (text.split('\n').collect(), edited.split('\n').collect());
            let differing: Vec<_> = old.iter().zip(&new).filter(|(old, new)| old != new).collect();
            assert_eq!(old.len(), new.len(), "{path} {}", task.id);
            assert!(differing.len() <= 2, "{path} {}: {differing:?}", task.id);
        }
    }
}

#[test]
fn a_conflict_is_told_with_the_line_of_its_first_marker() {
    let text = std::fs::read_to_string(format!("{DIRECTORY}/092.json")).expect("text");
    let told = invalid(&text);
    assert!(told.starts_with("q.json:708:1: a conflict marker of git (`<<<<<<< HEAD`)"), "{told}");
}

#[test]
fn what_is_no_queue_is_told_with_its_place() {
    let cases = [
        ("", "q.json:1:1: the file is empty; expected an object with a list `tasks`"),
        ("\u{feff} \n", "q.json:1:2: the file is empty; expected an object with a list `tasks`"),
        ("[]", "q.json:1:1: the top level is a list; expected an object with a list `tasks`"),
        ("\n null", "q.json:2:2: the top level is null; expected an object with a list `tasks`"),
        ("{\n  \"a\": 1\n}", "q.json:1:1: there is no `tasks`; expected a list"),
        ("{\"tasks\": {}}", "q.json:1:11: `tasks` is an object; expected a list"),
        ("{\"tasks\": [\n{}, 5]}", "q.json:2:5: entry 2 of `tasks` is a number; expected an object"),
        ("{\"wip_limits\": [],\"tasks\": []}", "q.json:1:16: `wip_limits` is a list; expected an object of counts"),
        ("{\"wip_limits\": {\"a\": \"x\"},\"tasks\": []}", "q.json:1:22: `wip_limits.a` is `\"x\"`; expected a count"),
        ("{\"wip_limits\": {\"a\": -1},\"tasks\": []}", "q.json:1:22: `wip_limits.a` is `-1`; expected a count"),
        (
            "{\"tasks\": [{\"id\": \"A\"},\n{\"id\": \"B\"},\n{\"id\": \"A\"}]}",
            "q.json:3:1: the id `A` is in lines 1 and 3; expected every id once",
        ),
        ("{\"tasks\": [}", "q.json:1:12: not JSON: expected value"),
        ("{\"tasks\": []", "q.json:1:12: not JSON: EOF while parsing an object"),
        ("{\"ä\": x}", "q.json:1:7: not JSON: expected value"),
        ("{\"tasks\": []}\0\0", "q.json:1:14: a NUL byte; expected JSON"),
        ("{\"tasks\": [],}", "q.json:1:14: not JSON: trailing comma"),
    ];
    for (text, expected) in cases {
        assert_eq!(invalid(text), expected, "{text:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_told() {
    let told = |bytes: &[u8]| Document::from_bytes(Path::new("q"), bytes.into()).expect_err("no text").to_string();
    assert_eq!(told(b"{\"a\n\": \"\xff\"}"), "q:2:5: the byte 0xff is not UTF-8; expected JSON in UTF-8");
    assert_eq!(told(b"\xff\xfe{\0"), "q:1:1: the file is UTF-16; expected UTF-8");
}

#[test]
fn one_bad_task_does_not_stop_the_others() {
    let document = parse(
        r#"{"tasks": [
            {"id": "../../x", "status": "ready"},
            {"status": "ready"},
            {"id": 7, "status": "ready"},
            {"id": "A", "status": ["ready"]},
            {"id": "B", "status": "ready", "dependencies": [1]},
            {"id": "C", "status": "ready", "not_before": "tomorrow"},
            {"id": "D", "status": "ready", "priority": {}, "title": 5, "attempts": "x"},
            {"id": "E", "status": "ready", "status": "done", "subtasks": 3},
            {"id": "F"}
        ]}"#,
    );
    let ids: Vec<&str> = document.queue().tasks().map(|task| task.id.as_str()).collect();
    assert_eq!(ids, ["D", "E", "F"]);
    assert_eq!(document.queue().find("E").expect("there").status, Status::DONE, "the last one counts");
    assert_eq!(document.queue().find("F").expect("there").status, Status::new(""));
    let told: Vec<String> = document.queue().problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "2:20: the task with the id `../../x` is skipped: the id contains '/'; allowed are letters, digits, `.`, `_` and `-`",
            "3:13: a task without `id` is skipped",
            "4:20: a task is skipped: its `id` is a number; expected a string",
            "5:35: task A is skipped: `status` is a list; expected a string",
            "6:60: task B is skipped: `dependencies` is a list; expected a list of strings",
            "7:58: task C is skipped: `not_before` is `\"tomorrow\"`; expected a time such as `2026-01-05T09:00:00Z`",
            "8:56: `priority` of task D is an object; expected a number; it is ignored",
            "8:84: `attempts` of task D is `\"x\"`; expected a count; it is ignored",
            "9:44: task E has the member `status` twice; the last one counts",
            "9:74: `subtasks` is a number; expected a list; it is skipped",
        ]
    );
}

#[test]
fn every_member_is_read_in_every_shape() {
    let document = parse(
        r#"{"sprint": 4, "wip_limits": {"builder": 3.0}, "metadata": {"total_tasks": 2, "done_tasks": "two", "x": 1},
        "tasks": [{"id": "A", "title": "T\u00e4 \ud83d\ude00", "status": "ready", "priority": "2.5", "type": "Build",
            "agent": "builder", "depends_on": ["X", {"id": "Y"}], "dependencies": "X", "parent_task": "P",
            "description": ["one", "two"], "acceptance_criteria": "works", "complexity": 3, "attempts": 2,
            "exit_gates": ["g1", {"text": "g2"}, {"odd": 1}], "not_before": "2026-01-05T09:00:00+01:00",
            "blocked_reason": null, "branch": "b", "role": "builder", "gates": ["test"],
            "updated_at": "2026-01-05T09:00:00Z", "lease": "w@h#17",
            "subtasks": ["B1", {"id": "A-1", "status": "blocked", "priority": 1.9, "lease":
                {"agent": "builder", "acquired": "2026-01-05T09:00:00Z", "ttl": 90}}]}]}"#,
    );
    let queue = document.queue();
    assert_eq!(queue.problems, []);
    assert_eq!((queue.sprint.name().as_deref(), queue.wip_limits["builder"]), (Some("4"), 3));
    assert_eq!(queue.counters, BTreeMap::from([("done_tasks".into(), None), ("total_tasks".into(), Some(2))]));
    let task = queue.find("A").expect("there");
    let expected = Task {
        title: "Tä 😀".into(),
        priority: 2,
        kind: Some("Build".into()),
        agent: Some("builder".into()),
        dependencies: vec!["X".into(), "Y".into()],
        parent: Some("P".into()),
        description: Some("one\ntwo".into()),
        acceptance_criteria: vec!["works".into()],
        exit_gates: vec!["g1".into(), "g2".into(), "{\"odd\": 1}".into()],
        complexity: Some("3".into()),
        attempts: 2,
        not_before: "2026-01-05T08:00:00Z".parse().ok(),
        branch: Some("b".into()),
        role: Some("builder".into()),
        gates: vec!["test".into()],
        updated_at: "2026-01-05T09:00:00Z".parse().ok(),
        lease: QueueLease::from_text("w@h#17"),
        ..Task::new(id("A"), Status::READY)
    };
    assert_eq!(*task, expected);
    let nested = queue.find("A-1").expect("there");
    assert_eq!((nested.nested, nested.place, nested.parent.as_deref(), nested.priority), (true, 1, Some("A"), 1));
    let until = "2026-01-05T10:30:00Z".parse().ok();
    assert_eq!(nested.lease, QueueLease::Inline { owner: "builder".into(), until });
}

#[test]
fn a_member_is_inserted_as_its_neighbours_stand() {
    let cases = [
        (
            "{\"tasks\": [\n  {\n    \"id\": \"A\",\n    \"status\": \"ready\"\n  }\n]}\n",
            "{\"tasks\": [\n  {\n    \"id\": \"A\",\n    \"status\": \"ready\",\n    \"branch\": \"b\"\n  }\n]}\n",
        ),
        (
            "{\"tasks\": [\r\n\t{\r\n\t\t\"id\" : \"A\"\r\n\t}]}",
            "{\"tasks\": [\r\n\t{\r\n\t\t\"id\" : \"A\",\r\n\t\t\"branch\" : \"b\"\r\n\t}]}",
        ),
        ("{\"tasks\":[{\"id\":\"A\"}]}", "{\"tasks\":[{\"id\":\"A\",\"branch\":\"b\"}]}"),
        ("{\"tasks\":[{\"id\": \"A\"}]}", "{\"tasks\":[{\"id\": \"A\", \"branch\": \"b\"}]}"),
        (
            "\u{feff}{\"tasks\":[ { \"id\": \"A\", \"x\": [1] } ]}",
            "\u{feff}{\"tasks\":[ { \"id\": \"A\", \"x\": [1], \"branch\": \"b\" } ]}",
        ),
        (
            "{\"tasks\":[{\n \"id\": \"A\",\n\n \"x\": 1 }]}",
            "{\"tasks\":[{\n \"id\": \"A\",\n\n \"x\": 1,\n \"branch\": \"b\" }]}",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).edited(&set("A", oodatcaa_core::Member::Branch, "b")).as_deref(), Ok(expected));
    }
}

#[test]
fn null_is_written_where_the_member_is_and_nowhere_else() {
    let document = parse(r#"{"tasks": [{"id": "A", "lease": {"agent": "x"}}]}"#);
    let mut changes = set("A", oodatcaa_core::Member::Lease, Value::Null);
    changes.set(&id("A"), oodatcaa_core::Member::Branch, Value::Null);
    assert_eq!(document.edited(&changes).as_deref(), Ok(r#"{"tasks": [{"id": "A", "lease": null}]}"#));
}

#[test]
fn of_a_member_that_stands_twice_the_last_is_edited() {
    let document = parse(r#"{"tasks": [{"id": "A", "status": "x", "status": "ready"}]}"#);
    let edited = document.edited(&set("A", oodatcaa_core::Member::Status, "done"));
    assert_eq!(edited.as_deref(), Ok(r#"{"tasks": [{"id": "A", "status": "x", "status": "done"}]}"#));
}

#[test]
fn a_task_that_is_not_there_cannot_be_edited() {
    let error =
        parse(r#"{"tasks": []}"#).edited(&set("A", oodatcaa_core::Member::Branch, "b")).expect_err("no such task");
    assert_eq!(error, EditError::NoTask(id("A")));
}

#[test]
fn an_ascii_file_with_escapes_stays_one() {
    let document = parse(r#"{"tasks": [{"id": "A", "title": "\u2192"}]}"#);
    let edited = document.edited(&set("A", oodatcaa_core::Member::BlockedReason, "ä😀")).expect("edited");
    assert!(edited.ends_with(r#""blocked_reason": "\u00e4\ud83d\ude00"}]}"#), "{edited}");
    let document = parse(r#"{"tasks": [{"id": "A"}]}"#);
    let edited = document.edited(&set("A", oodatcaa_core::Member::BlockedReason, "ä")).expect("edited");
    assert!(edited.ends_with(r#""blocked_reason": "ä"}]}"#), "{edited}");
}

#[test]
fn counters_that_exist_are_set() {
    let document = parse(r#"{"tasks": [], "metadata": {"done_tasks": 1, "b_tasks": null}}"#);
    let counters = [("done_tasks", 2), ("b_tasks", 3), ("c_tasks", 4)].map(|(key, n)| (key.into(), n)).into();
    let edited = document.edited(&ChangeSet { counters, ..ChangeSet::none() });
    assert_eq!(edited.as_deref(), Ok(r#"{"tasks": [], "metadata": {"done_tasks": 2, "b_tasks": 3}}"#));
}

#[test]
fn new_tasks_look_like_the_last_one() {
    let new = json!({"id": "N", "status": "ready", "dependencies": ["A", "B"], "empty": [], "deep": {"a": [{"b": 1}]}});
    let cases = [
        (
            "{\n  \"tasks\": [\n    {\n      \"id\": \"A\",\n      \"dependencies\": [\"X\"]\n    }\n  ]\n}\n",
            "{\n  \"tasks\": [\n    {\n      \"id\": \"A\",\n      \"dependencies\": [\"X\"]\n    },\n    {\n      \"id\": \"N\",\n      \
             \"status\": \"ready\",\n      \"dependencies\": [\"A\", \"B\"],\n      \"empty\": [],\n      \"deep\": {\n        \
             \"a\": [\n          {\n            \"b\": 1\n          }\n        ]\n      }\n    }\n  ]\n}\n",
        ),
        (
            "{\"tasks\": [ {\"id\": \"A\"}, {\"id\": \"B\"} ]}",
            "{\"tasks\": [ {\"id\": \"A\"}, {\"id\": \"B\"}, {\"id\": \"N\", \"status\": \"ready\", \
             \"dependencies\": [\"A\", \"B\"], \"empty\": [], \"deep\": {\"a\": [{\"b\": 1}]}} ]}",
        ),
        (
            "{\"tasks\":[]}",
            "{\"tasks\":[{\"id\":\"N\",\"status\":\"ready\",\"dependencies\":[\"A\",\"B\"],\"empty\":[],\"deep\":{\"a\":[{\"b\":1}]}}]}",
        ),
        (
            "{\n  \"tasks\": [],\n  \"x\": 1\n}",
            "{\n  \"tasks\": [\n    {\n      \"id\": \"N\",\n      \"status\": \"ready\",\n      \"dependencies\": [\"A\", \"B\"],\n      \
             \"empty\": [],\n      \"deep\": {\n        \"a\": [\n          {\n            \"b\": 1\n          }\n        ]\n      }\n    }\n  ],\n  \"x\": 1\n}",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).edited(&adding("N", &new)).as_deref(), Ok(expected));
    }
}

#[test]
fn an_id_that_is_taken_is_not_added() {
    let document = parse("{\"tasks\": [{\"id\": \"N\"}]}");
    let error = document.edited(&adding("N", &json!({"id": "N", "status": "ready"}))).expect_err("taken");
    assert!(matches!(error, EditError::Invalid(_)), "{error:?}");
}

#[test]
fn nesting_does_not_overflow_the_stack() {
    let lists = format!("{{\"tasks\": [{{\"id\": \"A\", \"x\": {}{}}}]}}", "[".repeat(300_000), "]".repeat(300_000));
    assert_eq!(parse(&lists).queue().len(), 1);
    let mut subtasks = String::from("[]");
    for n in 0..2_000 {
        subtasks = format!("[{{\"id\": \"S{n}\", \"subtasks\": {subtasks}}}]");
    }
    let document = parse(&format!("{{\"tasks\": {subtasks}}}"));
    assert_eq!(document.queue().problems.len(), 1);
    assert_eq!(document.queue().problems[0].code, "too_deep");
}

#[test]
fn a_parent_and_its_nested_task_are_edited_in_one_plan() {
    let text = r#"{"tasks": [{"id": "A", "subtasks": [{"id": "A-1", "status": "x"}, {"id": "A-2"}]}, {"id": "B"}]}"#;
    let mut changes = set("A", oodatcaa_core::Member::Status, "done");
    changes.set(&id("A-1"), oodatcaa_core::Member::Status, "longer than before");
    changes.set(&id("A-2"), oodatcaa_core::Member::Attempts, 2);
    changes.set(&id("B"), oodatcaa_core::Member::Branch, "b");
    let document = parse(text).apply(&changes).expect("edited");
    assert_eq!(
        document.text(),
        r#"{"tasks": [{"id": "A", "subtasks": [{"id": "A-1", "status": "longer than before"}, {"id": "A-2", "attempts": 2}], "status": "done"}, {"id": "B", "branch": "b"}]}"#
    );
    assert_same(&document, &parse(document.text()));
}

pub(super) fn assert_same(one: &Document, other: &Document) {
    assert_eq!(one.text, other.text);
    assert_eq!(one.parts, other.parts);
}

#[test]
fn every_problem_stands_where_its_task_does() {
    let text = "{\"tasks\": [\n  {\"id\": \"ü\"}, {\"id\": \"A\", \"status\": \"odd\"},\n {\"id\":\"B\",\"status\":\"odd\"}],\n \"wip_limits\": {\"nobody\": 1}}";
    let found = parse(text).problems(&oodatcaa_core::Workflow::shipped());
    let places: Vec<_> = found.iter().map(|problem| (problem.line, problem.column, problem.code)).collect();
    assert_eq!(
        places,
        [(0, 0, "unknown_role"), (2, 10, "bad_id"), (2, 16, "unknown_status"), (3, 2, "unknown_status")]
    );
}

#[test]
fn what_leaves_a_real_queue_takes_its_bytes_along_and_no_others() {
    for (path, text) in real() {
        let before = parse(&text);
        let entries: Vec<TaskId> =
            before.queue().tasks().filter(|task| !task.nested).map(|task| task.id.clone()).collect();
        let patterns: [&dyn Fn(usize) -> bool; 6] =
            [&|_| true, &|at| at == 0, &|at| at + 1 == entries.len(), &|at| at % 2 == 0, &|at| at % 2 == 1, &|at| {
                at > 2
            }];
        for (number, goes) in patterns.iter().enumerate() {
            let remove: Vec<TaskId> =
                entries.iter().enumerate().filter(|(at, _)| goes(*at)).map(|(_, id)| id.clone()).collect();
            let changes = ChangeSet { remove: remove.clone(), ..ChangeSet::none() };
            let after = before.apply(&changes).unwrap_or_else(|error| panic!("{path} {number}: {error}"));
            let stays: Vec<&TaskId> = entries.iter().filter(|id| !remove.contains(id)).collect();
            let left: Vec<&TaskId> = after.queue().tasks().filter(|task| !task.nested).map(|task| &task.id).collect();
            assert_eq!(left, stays, "{path} {number}");
            let bytes = |document: &Document, id: &TaskId| {
                let place = document.queue().get(id).expect("there").place;
                document.parts.entries[place].in_text(document.text()).to_owned()
            };
            for id in stays {
                assert_eq!(bytes(&after, id), bytes(&before, id), "{path} {number}: {id}");
            }
            let outside = |document: &Document| {
                let list = document.parts.tasks;
                format!("{}{}", &document.text()[..list.start], &document.text()[list.end..])
            };
            assert_eq!(outside(&after), outside(&before), "{path} {number}");
        }
    }
}

#[test]
fn members_of_the_whole_file_are_set_in_place_and_added_where_they_are_missing() {
    use oodatcaa_core::sprint::Head;
    let head = |all: &[(Head, Value)]| ChangeSet { head: all.iter().cloned().collect(), ..ChangeSet::none() };
    let text = "{\n  \"status\": \"in_progress\",\n  \"tasks\": [],\n  \"metadata\": {\n    \"x\": [ 1,2 ]\n  }\n}\n";
    let changes =
        head(&[(Head::Status, "completed".into()), (Head::CompletedAt, "now".into()), (Head::Number, 3.into())]);
    let after = parse(text).apply(&changes).expect("applied");
    assert_eq!(
        after.text(),
        "{\n  \"status\": \"completed\",\n  \"tasks\": [],\n  \"metadata\": {\n    \"x\": [ 1,2 ],\n    \"completed_at\": \"now\"\n  },\n  \"sprint\": 3\n}\n"
    );
    assert_eq!((after.queue().sprint.number, after.queue().sprint.is_completed()), (Some(3), true));
    let metadata = json!({"created": "2026-01-05T08:00:00Z", "previous_sprint": {"sprint": 2}});
    let after = parse(text).apply(&head(&[(Head::Metadata, metadata.clone())])).expect("applied");
    assert!(
        after.text().contains("\n    \"previous_sprint\": {\n      \"sprint\": 2\n    }\n  }\n}"),
        "{}",
        after.text()
    );
    for short in [r#"{"tasks":[]}"#, r#"{"tasks":[],"metadata":{}}"#, "\u{feff} {\"tasks\": [] }\n"] {
        let after = parse(short).apply(&head(&[(Head::Metadata, metadata.clone())])).expect("applied");
        assert_eq!(
            serde_json::from_str::<Value>(after.text().trim_start_matches('\u{feff}')).expect("JSON")["metadata"],
            metadata
        );
    }
    let after = parse(r#"{"tasks":[],"metadata":{}}"#).apply(&head(&[(Head::Goal, "ö".into())])).expect("applied");
    assert_eq!(after.queue().sprint.goal.as_deref(), Some("ö"));
}

#[test]
fn the_sprint_is_read_as_people_write_it_and_what_cannot_be_read_is_absent() {
    let of = |text: &str| parse(text).queue().sprint.clone();
    let sprint = of(r#"{"sprint": "4", "status": "planning", "tasks": [], "metadata": {"sprint_id": "SPRINT-2025-004",
        "sprint_goal": "g", "sprint_status": "x", "completed_at": "2026-01-05T09:00:00+01:00", "created": 7}}"#);
    assert_eq!((sprint.number, sprint.name().as_deref()), (Some(4), Some("SPRINT-2025-004")));
    assert_eq!((sprint.status.as_deref(), sprint.goal.as_deref()), (Some("planning"), Some("g")));
    assert_eq!(sprint.completed_at, "2026-01-05T08:00:00Z".parse().ok());
    let odd = of(r#"{"sprint": "alpha", "status": 7, "tasks": [], "metadata": []}"#);
    assert_eq!((odd.number, odd.name().as_deref(), odd.status, odd.has_metadata), (None, Some("alpha"), None, false));
    assert_eq!(of(r#"{"tasks": []}"#), oodatcaa_core::sprint::Sprint::default());
}
