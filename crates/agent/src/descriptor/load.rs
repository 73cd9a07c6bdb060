//! Descriptions by name: those that ship, and what a configuration lays over them.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::{Descriptor, check};

/// The descriptions that ship with us.
pub const SHIPPED: &[(&str, &str)] = &[
    ("claude", include_str!("../adapters/claude.toml")),
    ("codex", include_str!("../adapters/codex.toml")),
    ("gemini", include_str!("../adapters/gemini.toml")),
    ("opencode", include_str!("../adapters/opencode.toml")),
    ("qwen", include_str!("../adapters/qwen.toml")),
    ("copilot", include_str!("../adapters/copilot.toml")),
    ("cursor-agent", include_str!("../adapters/cursor-agent.toml")),
    ("aider", include_str!("../adapters/aider.toml")),
    ("acp", include_str!("../adapters/acp.toml")),
    ("amp", include_str!("../adapters/amp.toml")),
    ("goose", include_str!("../adapters/goose.toml")),
];

/// Returns a description that ships.
fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

/// Returns the description in force: the one that ships, under what `own` says; `extends` names another to start from.
pub fn load(name: &str, own: &BTreeMap<String, Table>) -> Result<Descriptor, String> {
    read(name, table(name, own)?)
}

/// Returns the table in force, not yet read.
pub fn table(name: &str, own: &BTreeMap<String, Table>) -> Result<Table, String> {
    merged(name, own, &mut Vec::new())
}

fn merged(name: &str, own: &BTreeMap<String, Table>, seen: &mut Vec<String>) -> Result<Table, String> {
    if seen.iter().any(|other| other == name) {
        return Err(format!("use the adapter `{name}`: its `extends` leads back to itself"));
    }
    seen.push(name.into());
    let mut base = match shipped(name) {
        Some(text) => text.parse().map_err(|error: toml::de::Error| cannot_use(name, error.message()))?,
        None if !own.contains_key(name) => return Err(missing(name, own)),
        None => Table::new(),
    };
    let mut over = own.get(name).cloned().unwrap_or_default();
    match over.remove("extends") {
        None => {}
        Some(Value::String(other)) => base = merged(&other, own, seen)?,
        Some(_) => return Err(cannot_use(name, "`extends` is the name of another adapter")),
    }
    lay(&mut base, over);
    Ok(base)
}

fn cannot_use(name: &str, what: &str) -> String {
    format!("use the adapter `{name}`: {what}")
}

fn missing(name: &str, own: &BTreeMap<String, Table>) -> String {
    let known: BTreeSet<&str> = SHIPPED.iter().map(|(name, _)| *name).chain(own.keys().map(String::as_str)).collect();
    format!("find the adapter `{name}`; there are: {}", known.into_iter().collect::<Vec<_>>().join(", "))
}

/// Tables are merged, anything else is replaced.
fn lay(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay(below, above),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

/// Reads and checks one.
pub fn read(name: &str, mut table: Table) -> Result<Descriptor, String> {
    table.insert("id".into(), Value::String(name.into()));
    let descriptor: Descriptor = table.try_into().map_err(|error: toml::de::Error| {
        let place = error.to_string().lines().find(|line| line.starts_with("in ")).unwrap_or_default().to_owned();
        cannot_use(name, format!("{} {place}", error.message()).trim())
    })?;
    check::check(&descriptor).map_err(|what| cannot_use(name, &what))?;
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::Evidence;

    fn own(name: &str, text: &str) -> BTreeMap<String, Table> {
        BTreeMap::from([(name.to_owned(), text.parse().expect("TOML"))])
    }

    #[test]
    fn everything_that_ships_can_be_read() {
        for (name, _) in SHIPPED {
            let descriptor = load(name, &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(descriptor.id, *name);
            let honest = descriptor.program.tested.is_empty() != (descriptor.evidence == Evidence::Measured);
            assert!(honest, "{name}: a version is tested when, and only when, it was measured");
        }
    }

    #[test]
    fn a_field_of_what_ships_can_be_changed_and_the_rest_stays() {
        let own = own("claude", "limits = { stall_s = 7 }\n[env.set]\nX = \"1\"\n");
        let claude = load("claude", &own).expect("loads");
        assert_eq!(claude.limits.stall_s, 7);
        assert_eq!(claude.env.set["X"], "1");
        assert_eq!(claude.env.set["CLAUDE_CODE_MAX_RETRIES"], "2");
    }

    #[test]
    fn another_can_start_from_one_that_ships() {
        let mine =
            load("mine", &own("mine", "extends = \"claude\"\nprogram = { names = [\"mine\"] }\n")).expect("loads");
        assert_eq!((mine.id.as_str(), mine.program.names[0].as_str()), ("mine", "mine"));
        assert!(!mine.map.terminal.is_empty());
        let round = own("a", "extends = \"a\"");
        let error = load("a", &round).expect_err("it goes round");
        assert_eq!(error, "use the adapter `a`: its `extends` leads back to itself");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrong = |text: &str| load("claude", &own("claude", text)).expect_err(text);
        assert!(wrong("[limits]\nstal_s = 1\n").contains("unknown field `stal_s`"));
        assert!(wrong("[[errors]]\nsource = \"field\"\nptr = \"x\"\n").contains("not a JSON pointer"));
        assert!(wrong("dialect = \"xml\"").contains("unknown variant `xml`"));
        let missing = load("claud", &BTreeMap::new()).expect_err("missing");
        assert!(missing.starts_with("find the adapter `claud`; there are: acp, aider, amp, claude"), "{missing}");
    }
}
