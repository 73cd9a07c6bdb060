//! What is made of the declared keys for people and their editors: the JSON schema and the commented template.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::{
    declare::{Key, Section},
    keys::SECTIONS,
};
use oodatcaa_core::{Duty, RoleRule, Status, Workflow, text};

/// Returns the JSON schema of a configuration file.
pub fn schema() -> String {
    schema_of(SECTIONS)
}

pub(crate) fn schema_of(sections: &[Section]) -> String {
    let mut root = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "config.schema.json",
        "title": "oodatcaa configuration",
        "type": "object",
        "properties": {}
    });
    for key in sections.iter().flat_map(|section| section.keys) {
        let mut leaf = key.kind.schema();
        leaf["description"] = json!(key.sentence());
        if let Some(old) = key.old_path() {
            let mut leaf = leaf.clone();
            leaf["description"] = json!(format!("The old name of `{}`.", key.path));
            *at(&mut root, &old) = leaf;
        }
        *at(&mut root, key.path) = leaf;
    }
    close(&mut root);
    format!("{root:#}\n")
}

/// Returns the schema at a path, made where there is none.
fn at<'a>(root: &'a mut Json, path: &str) -> &'a mut Json {
    path.split('.').fold(root, |at, part| {
        let table = at.as_object_mut().expect("built as objects");
        table.entry("type").or_insert_with(|| json!("object"));
        if part == "*" {
            return table.entry("additionalProperties").or_insert_with(|| json!({}));
        }
        let all = table.entry("properties").or_insert_with(|| json!({}));
        all.as_object_mut().expect("built as objects").entry(part).or_insert_with(|| json!({}))
    })
}

/// Lets every table hold only what is known.
fn close(schema: &mut Json) {
    let Some(table) = schema.as_object_mut() else { return };
    if let Some(Json::Object(below)) = table.get_mut("properties") {
        below.values_mut().for_each(close);
    }
    if let Some(below) = table.get_mut("additionalProperties") {
        close(below);
    }
    if table.contains_key("properties") {
        table.entry("additionalProperties").or_insert_with(|| false.into());
    }
}

/// The head of the template: the layers, trust, the environment.
const HEAD: &str = include_str!("template_head.toml");

/// Returns the built-in configuration with a comment for every key; also a template.
pub(crate) fn template() -> String {
    template_of(SECTIONS)
}

pub(crate) fn template_of(sections: &[Section]) -> String {
    let mut out = String::from(HEAD);
    let mut open = String::new();
    // Narrower tables of the same keys are told with the widest.
    for section in sections.iter().filter(|section| !section.is_narrower()) {
        // A table below a name is shown for one name; those of the user's own making are examples.
        let (table, mark) = match section.path {
            "budget.*" => ("budget.attempt", ""),
            "roles.*" => ("roles.planner", ""),
            "agents.*" => ("agents.mine", "# "),
            "adapters.*" => ("adapters.mine", "# "),
            "gates.*" => ("gates.test", "# "),
            plain => (plain, ""),
        };
        if open != table {
            if open.starts_with("roles.") {
                out.push_str(&other_roles());
            }
            out.push('\n');
            comment(&mut out, "", section.about);
            let _ = writeln!(out, "{mark}[{table}]");
            open = table.into();
        }
        for key in section.keys {
            entry(&mut out, mark, section, key);
        }
    }
    out
}

fn comment(out: &mut String, mark: &str, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(out, "{mark}#{line}");
    }
}

fn entry(out: &mut String, mark: &str, section: &Section, key: &Key) {
    comment(out, mark, key.doc);
    let name = key.path.strip_prefix(section.path).unwrap_or(key.path).trim_start_matches('.');
    let name = match (name, name.strip_suffix(".*")) {
        // What a description of an adapter may hold is not known here.
        ("*", _) => "extends",
        (_, Some(table)) => &table.replace('*', "work"),
        (name, None) => name,
    };
    let planner = Workflow::shipped().rules().first().map(role).filter(|_| section.path == "roles.*");
    let own = planner.and_then(|all| all.into_iter().find(|(own, _)| *own == name));
    let value = own.as_ref().map(|(_, value)| value.as_str()).or(key.example).or(key.default).unwrap_or("\"\"");
    let _ = writeln!(out, "{mark}{name} = {value}");
}

/// Returns what a shipped role says of itself, as TOML.
pub(crate) fn role(rule: &RoleRule) -> Vec<(&'static str, String)> {
    let shipped = match rule.role.as_str() {
        "builder" => Some(("change", "true".to_owned())),
        "tester" => Some(("criteria", "true".to_owned())),
        _ => None,
    };
    let ttl = text::duration(rule.ttl);
    let words = [
        ("takes", Some(rule.takes.as_str())),
        ("works", Some(rule.works.as_str())),
        ("done", Some(rule.done.as_str())),
        ("done_with_children", rule.done_with_children.as_ref().map(Status::as_str)),
        ("failed", Some(rule.failed.as_str())),
        ("replan", rule.replan.as_ref().map(Status::as_str)),
        ("ttl", Some(&*ttl)),
    ];
    let Duty { merges, builds, begins, kind } = &rule.duty;
    let list = (!begins.is_empty()).then(|| toml::Value::from(begins.clone()).to_string());
    let duties = [
        ("begins", list),
        ("type", kind.as_ref().map(|kind| format!("\"{kind}\""))),
        ("builds", builds.then(|| "true".into())),
        ("merges", merges.then(|| "true".into())),
    ];
    let words = words.into_iter().filter_map(|(name, word)| Some((name, format!("\"{}\"", word?))));
    words.chain(duties.into_iter().filter_map(|(name, value)| Some((name, value?)))).chain(shipped).collect()
}

/// Returns the tables of the shipped roles but the first, and the simulated agent.
fn other_roles() -> String {
    let mut out = String::new();
    for rule in &Workflow::shipped().rules()[1..] {
        let _ = writeln!(out, "\n[roles.{}]", rule.role);
        for (name, value) in role(rule) {
            let _ = writeln!(out, "{name} = {value}");
        }
    }
    out + "\n# The simulated agent: edits files by a script, calls no model. Only where it is named.\n[agents.sim]\nkind = \"sim\"\n"
}
