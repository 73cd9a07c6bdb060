//! What `result` must hold.

use super::*;

fn wrong(text: &str) -> String {
    parse(text).expect_err(text)
}

#[test]
fn every_outcome_has_its_meaning() {
    let outcome = |text: &str| parse(text).expect(text).into_outcome();
    let words: Vec<&str> = ["done", "no_change", "needs_adapt", "replan", "blocked", "failed"]
        .map(|word| outcome(&format!(r#"{{"outcome":"{word}","summary":"s"}}"#)).word())
        .into();
    assert_eq!(words, ["done", "no_change", "needs_adapt", "replan", "blocked", "failed"]);
    let asked = outcome(
        r#"{"outcome":"needs_input","summary":"","question":{"text":"Which?","options":["a","b"],"default":"a"}}"#,
    );
    assert_eq!(asked, Outcome::NeedsInput { question: "Which?\n1) a\n2) b\n(suggested: a)".into() });
    let limited =
        outcome(r#"{"outcome":"failed","summary":"later","class":"rate_limited","retry_at":"2026-01-05T09:00:00Z"}"#);
    assert!(matches!(limited, Outcome::Failed { class: Class::RateLimited, retry_at: Some(_), .. }));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, says) in [
        ("", "is empty"),
        ("{\n  \"outcome\": \"done\",\n}", "line 3 column 1"),
        (r#"{"outcome":"finished","summary":""}"#, "unknown variant `finished`, expected one of `done`"),
        (r#"{"outcome":"done"}"#, "missing field `summary`"),
        (r#"{"outcome":"done","summary":"","task":[]}"#, "unknown field `task`"),
        (r#"{"outcome":"done","outcome":"failed","summary":""}"#, "duplicate field `outcome`"),
        ("```json\n{}\n```", "without a Markdown fence"),
        (r#"{"outcome":"blocked","summary":" "}"#, "must say why"),
        (r#"{"outcome":"needs_input","summary":"?"}"#, "needs a `question`"),
        (r#"{"outcome":"done","summary":"","question":{"text":"?"}}"#, "`needs_input` only"),
        (r#"{"outcome":"done","summary":"","class":"timeout"}"#, "`failed` only"),
        (r#"{"outcome":"failed","summary":"x","class":"cancelled"}"#, "only we can know"),
        (r#"{"outcome":"failed","summary":"x","class":"tired"}"#, "unknown variant `tired`"),
        (r#"{"outcome":"failed","summary":"x","tasks":[{"id":"A","title":"t"}]}"#, "`done` only"),
        (r#"{"outcome":"done","summary":"","tasks":[{"title":"t"}]}"#, "`tasks[0]`: `id` is missing"),
        (r#"{"outcome":"done","summary":"","tasks":[{"id":"../x","title":"t"}]}"#, "`tasks[0]`: `id`"),
        (r#"{"outcome":"done","summary":"","tasks":[{"id":"A"}]}"#, "has no `title`"),
        (r#"{"outcome":"done","summary":"","tasks":[{"id":"A","title":"t"},{"id":"A","title":"t"}]}"#, "twice"),
        (r#"{"outcome":"done","summary":"","tasks":[{"id":"A","title":"t","dependencies":"B"}]}"#, "list of texts"),
        (r#"{"outcome":"done","summary":"","tasks":[{"id":"A","title":"t","lease":"x#1"}]}"#, "not yours to set"),
        (
            r#"{"outcome":"done","summary":"","tasks":[{"id":"A","title":7}]}"#,
            "`title` of task `A` must be a text, not `7`",
        ),
        (r#"{"outcome":"done","summary":""} trailing"#, "trailing characters at line 1"),
        ("[]", "must be one JSON object"),
    ] {
        let said = wrong(text);
        assert!(said.contains(says), "{text}: {said}");
    }
}

#[test]
fn only_a_plain_file_of_sensible_size_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("result.json");
    assert_eq!(read(&file), Ok(None));
    std::fs::write(dir.path().join("real"), r#"{"outcome":"done","summary":"s"}"#).expect("written");
    std::os::unix::fs::symlink("real", &file).expect("linked");
    assert!(read(&file).expect_err("a link").contains("symbolic link"));
    std::fs::remove_file(&file).expect("removed");
    std::fs::create_dir(&file).expect("made");
    assert!(read(&file).expect_err("a directory").contains("not a plain file"));
    std::fs::remove_dir(&file).expect("removed");
    std::fs::write(&file, vec![b' '; LARGEST as usize + 1]).expect("written");
    assert!(read(&file).expect_err("too large").contains("larger than 4 MiB"));
    std::fs::write(&file, [b'{', 0xff]).expect("written");
    assert!(read(&file).expect_err("no text").contains("not UTF-8 at byte 1"));
    rustix::fs::unlink(&file).expect("removed");
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    assert!(read(&file).expect_err("a pipe").contains("not a plain file"));
}

#[test]
fn a_model_cannot_paint_on_terminals() {
    let result = parse(r#"{"outcome":"done","summary":"\u001b[2Jall good\u0007"}"#).expect("fine");
    assert_eq!(result.into_outcome().words(), "all good\u{fffd}");
}

#[test]
fn members_without_a_value_are_left_out_of_new_tasks() {
    let text = r#"{"outcome":"done","summary":"s","tasks":[{"id":"A","title":"t","lease":null,"note":"kept"}]}"#;
    let Outcome::Done { tasks, .. } = parse(text).expect("fine").into_outcome() else { panic!("done") };
    assert_eq!(Value::Object(tasks[0].clone()), serde_json::json!({"id":"A","title":"t","note":"kept"}));
}

#[test]
fn the_published_schema_knows_the_same_words() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let words = |at: &str| -> Vec<String> {
        let list = schema.pointer(at).and_then(Value::as_array).expect(at);
        list.iter().map(|word| word.as_str().expect("a text").to_owned()).collect()
    };
    let classes: Vec<&str> = Class::ALL.iter().filter(|c| may_claim(**c)).map(|c| c.as_str()).collect();
    assert_eq!(words("/properties/class/enum"), classes);
    for word in words("/properties/outcome/enum") {
        serde_json::from_value::<Verdict>(Value::String(word)).expect("a verdict");
    }
    // serde lists the members that it knows when it meets one that it does not.
    let said = wrong(r#"{"nonsense":1}"#);
    for name in schema["properties"].as_object().expect("an object").keys() {
        assert!(said.contains(&format!("`{name}`")), "{name}: {said}");
    }
    assert_eq!(schema["properties"].as_object().map(Map::len), Some(said.matches('`').count() / 2 - 1));
    for example in schema["examples"].as_array().expect("examples") {
        parse(&example.to_string()).expect("an example of the schema");
    }
}
