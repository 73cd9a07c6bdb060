//! What `agentctl` promises about its words: schemas that fit real files, hints that are commands.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{agentctl, sprint};

/// As much of JSON Schema as our files use; enough to see a value that does not fit.
pub(super) fn fits(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(root, root.pointer(name.trim_start_matches('#')).expect("a definition"), value, at);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
        _ => vec![kind],
    };
    if !kinds.contains(&kind) {
        return Err(format!("{at} is {kind}, wanted {kinds:?}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        value.get(name).ok_or_else(|| format!("{at} has no {name}"))?;
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        return Err(format!("{at} is {value}, not one of {words:?}"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{at} is {value}, not {}", schema["const"]));
    }
    if let Some(some) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        some.iter().map(|one| fits(root, one, value, at)).find(Result::is_ok).ok_or(format!("{at} fits none"))??;
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let inner = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
        fits(root, inner, value, &format!("{at}.{name}"))?;
    }
    for (n, value) in value.as_array().into_iter().flatten().enumerate() {
        fits(root, &schema["items"], value, &format!("{at}[{n}]"))?;
    }
    Ok(())
}

#[test]
fn real_queues_and_our_events_fit_their_schemas() {
    let project = sprint();
    let schema = agentctl(&project, &["queue", "schema"]).ok().json();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queues");
    let mut checked = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let Ok(queue) = serde_json::from_str::<Value>(&fs::read_to_string(&path).unwrap()) else { continue };
        fits(&schema, &schema, &queue, &path.display().to_string()).unwrap();
        checked += 1;
    }
    assert_eq!(checked, 14, "all but the one with conflict markers");
    assert!(fits(&schema, &schema, &json!({"tasks": [{"id": 1, "status": "ready"}]}), "q").is_err());
    assert!(fits(&schema, &schema, &json!({"tasks": {}}), "q").is_err());

    agentctl(&project, &["add", "x", "--accept", "y"]).ok();
    agentctl(&project, &["task", "move", "P001", "ready"]).ok();
    let schema = agentctl(&project, &["queue", "schema", "event"]).ok().json();
    for event in project.events() {
        fits(&schema, &schema, &event, "event").unwrap();
    }
    let known: Vec<&str> =
        schema["properties"]["type"]["enum"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let ours: Vec<String> = oodatcaa_core::Kind::ALL.iter().map(|kind| format!("oodatcaa.{kind}.v1")).collect();
    assert_eq!(known, ours, "schema/event.schema.json names every kind of event");
}

#[test]
fn every_hint_is_a_command_that_parses() {
    let project = sprint();
    let mut hints = Vec::new();
    for args in [
        &["show", "P9"][..],
        &["task", "move", "P002", "awaiting_test"],
        &["task", "move", "P002", "testing"],
        &["task", "move", "P002", "nope"],
        &["task", "block", "P005", "--reason", "x"],
        &["logs", "P001"],
        &["run", "stop", "P001", "--reason", "x"],
        &["add", "x", "--id", "P001"],
        &["add", "x", "--gate", "g"],
        &["ls", "is:runing"],
        &["help", "tsak"],
    ] {
        let said = agentctl(&project, args);
        assert_ne!(said.code, 0, "{said:?}");
        hints.extend(said.err.lines().filter_map(|line| line.split_once("agentctl ")).map(|(_, rest)| rest.to_owned()));
    }
    assert!(hints.len() >= 11, "{hints:?}");
    for hint in hints {
        let words: Vec<String> = hint.replace("\"…\"", "x").split_whitespace().map(String::from).collect();
        let parsed = oodatcaa::cli::command().try_get_matches_from(["agentctl".into()].into_iter().chain(words));
        assert!(parsed.is_ok(), "{hint}: {}", parsed.unwrap_err());
    }
}

/// With `UPDATE=1` the file is written instead: `make schema`.
#[test]
fn the_published_schema_is_the_one_of_our_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/cli.schema.json");
    let schema = serde_json::to_string_pretty(&oodatcaa_ops::view::schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), schema, "run: make schema");
}

/// Fails for an object of ours that its type does not describe to the last member.
pub(super) fn is_described(value: &Value) -> Result<(), String> {
    let schema = oodatcaa_ops::view::schema();
    let name = &value["schema"];
    let of = |one: &&Value| {
        let path = one["$ref"].as_str().expect("a definition").trim_start_matches('#');
        schema.pointer(path).expect("a definition")["properties"]["schema"]["const"] == *name
    };
    let known: Vec<&Value> = schema["anyOf"].as_array().expect("all of them").iter().filter(of).collect();
    let mut wrong = vec![format!("no type is called {name}")];
    for one in known {
        match fits(&schema, one, value, "it").and_then(|()| knows_all(&schema, one, value, "it")) {
            Ok(()) => return Ok(()),
            Err(error) => wrong.push(error),
        }
    }
    Err(wrong.join("; "))
}

/// Fails for a member that a definition does not name, unless it takes any.
fn knows_all(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return knows_all(root, root.pointer(name.trim_start_matches('#')).expect("a definition"), value, at);
    }
    let some = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
    if let Some(one) = some.into_iter().flatten().find(|one| fits(root, one, value, at).is_ok()) {
        return knows_all(root, one, value, at);
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let takes_any = schema.get("additionalProperties").is_some() || schema.get("properties").is_none();
        match schema["properties"].get(name) {
            Some(inner) => knows_all(root, inner, value, &format!("{at}.{name}"))?,
            None if takes_any => {}
            None => return Err(format!("{at} has {name}, which nobody describes")),
        }
    }
    for (n, value) in value.as_array().into_iter().flatten().enumerate() {
        knows_all(root, &schema["items"], value, &format!("{at}[{n}]"))?;
    }
    Ok(())
}
