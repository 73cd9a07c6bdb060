//! Descriptions by name: those that ship, and what a configuration lays over them.

use std::collections::BTreeMap;

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

/// Why a description cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDescriptor {
    /// Nobody described it.
    #[error("find the adapter `{name}`; there are: {known}")]
    Missing {
        /// Its name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// `extends` goes round.
    #[error("use the adapter `{0}`: what it `extends` leads back to it")]
    Loop(String),
    /// It is not of the form.
    #[error("use the adapter `{name}`: {what}")]
    Form {
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
}

/// Returns a description that ships.
pub fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

/// Returns the description in force: the one that ships, under what `own` says; `extends` names another to start from.
pub fn load(name: &str, own: &BTreeMap<String, Table>) -> Result<Descriptor, BadDescriptor> {
    let table = merged(name, own, &mut Vec::new())?;
    read(name, table)
}

/// Returns the table in force, not yet read.
pub fn table(name: &str, own: &BTreeMap<String, Table>) -> Result<Table, BadDescriptor> {
    merged(name, own, &mut Vec::new())
}

fn merged(name: &str, own: &BTreeMap<String, Table>, seen: &mut Vec<String>) -> Result<Table, BadDescriptor> {
    if seen.iter().any(|other| other == name) {
        return Err(BadDescriptor::Loop(name.into()));
    }
    seen.push(name.into());
    let ships = shipped(name);
    let form = |what: String| BadDescriptor::Form { name: name.into(), what };
    let mut base = match ships {
        Some(text) => text.parse::<Table>().map_err(|error| form(error.message().to_owned()))?,
        None => Table::new(),
    };
    let Some(over) = own.get(name) else {
        return if ships.is_some() { Ok(base) } else { Err(missing(name, own)) };
    };
    let mut over = over.clone();
    match over.remove("extends") {
        None => {}
        Some(Value::String(other)) => base = merged(&other, own, seen)?,
        Some(_) => return Err(form("`extends` is the name of another adapter".into())),
    }
    lay(&mut base, over);
    Ok(base)
}

fn missing(name: &str, own: &BTreeMap<String, Table>) -> BadDescriptor {
    let mut known: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).chain(own.keys().map(String::as_str)).collect();
    known.sort_unstable();
    known.dedup();
    BadDescriptor::Missing { name: name.into(), known: known.join(", ") }
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
pub fn read(name: &str, mut table: Table) -> Result<Descriptor, BadDescriptor> {
    let form = |what: String| BadDescriptor::Form { name: name.into(), what };
    table.insert("id".into(), Value::String(name.into()));
    let descriptor: Descriptor = table.try_into().map_err(|error: toml::de::Error| {
        let place = error.to_string().lines().find(|line| line.starts_with("in ")).unwrap_or_default().to_owned();
        form(format!("{} {place}", error.message()).trim().to_owned())
    })?;
    check::check(&descriptor).map_err(form)?;
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
        assert_eq!(load("a", &round), Err(BadDescriptor::Loop("a".into())));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrong = |text: &str| load("claude", &own("claude", text)).expect_err(text).to_string();
        assert!(wrong("[limits]\nstal_s = 1\n").contains("unknown field `stal_s`"));
        assert!(wrong("[[errors]]\nsource = \"field\"\nptr = \"x\"\n").contains("no JSON pointer"));
        assert!(wrong("dialect = \"xml\"").contains("unknown variant `xml`"));
        let missing = load("claud", &BTreeMap::new()).expect_err("missing").to_string();
        assert!(missing.starts_with("find the adapter `claud`; there are: acp, aider, amp, claude"), "{missing}");
    }
}
