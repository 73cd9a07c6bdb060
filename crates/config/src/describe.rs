//! What is made of the declared keys for people and their editors: the JSON schema and the commented template.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::{
    declare::{Key, Section},
    keys::{Preset, SECTIONS},
};

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
            "schedules.*" => ("schedules.weekly", "# "),
            "handoffs.*" => ("handoffs.verify", "# "),
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
    let shipped = Preset::default().roles();
    let own = shipped.first().filter(|_| section.path == "roles.*");
    let own = own.and_then(|(_, all)| all.iter().find(|(own, _)| *own == name));
    let value = own.map(|(_, value)| *value).or(key.example).or(key.default).unwrap_or("\"\"");
    let _ = writeln!(out, "{mark}{name} = {value}");
}

/// Returns the tables of the shipped roles but the first, and the simulated agent.
fn other_roles() -> String {
    let mut out = String::new();
    for (role, entries) in &Preset::default().roles()[1..] {
        let _ = writeln!(out, "\n[roles.{role}]");
        for (name, value) in entries {
            let _ = writeln!(out, "{name} = {value}");
        }
    }
    out + "\n# The simulated agent: edits files by a script, calls no model. Only where it is named.\n[agents.sim]\nkind = \"sim\"\n"
}
