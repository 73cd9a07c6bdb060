//! Takes from a project that the user has not trusted only what makes something tighter.
//!
//! The declaration of each key says what that is. Everything else is held back until the user has looked at
//! it, so a clone never chooses what runs, as what, with which words, or with less proof than the user asks for.

use toml::Value;

use super::{
    Origin,
    declare::UntilTrusted,
    flat::Flat,
    lookup::{self, Place},
};

/// A value that does not count until the project is trusted.
pub(super) struct Held {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Lays a project's layer over those of the user as far as it tightens; returns what it would loosen or choose.
/// A value that stands below already is neither.
pub(super) fn lay(under: &mut Flat, over: Flat) -> Vec<Held> {
    let mut held = Vec::new();
    for (path, (value, origin)) in over {
        match tightened(under, &path, &value) {
            Counts::Same => {}
            Counts::As(value) => {
                under.insert(path, (value, origin));
            }
            Counts::Not => held.push(Held { path, value, origin }),
        }
    }
    held
}

/// What becomes of a value.
enum Counts {
    /// It says what holds anyway.
    Same,
    /// It counts, as this.
    As(Value),
    /// It does not count.
    Not,
}

fn tightened(under: &Flat, path: &[String], value: &Value) -> Counts {
    let key = match lookup::place(path) {
        Place::Leaf(key) => key,
        // An empty table: a name of its own, or nothing.
        _ if is_known(under, path) => return Counts::Same,
        _ => return Counts::Not,
    };
    if !is_known(under, path) {
        return Counts::Not;
    }
    let below = under.get(path).map(|(value, _)| value.clone()).or_else(|| key.default_value());
    if below.as_ref() == Some(value) {
        return Counts::Same;
    }
    let Some(below) = below else { return Counts::Not };
    let amounts = || Some((key.kind.amount(value)?, key.kind.amount(&below)?));
    let tighter = match key.untrusted {
        UntilTrusted::Ignored => false,
        UntilTrusted::Smaller => amounts().is_some_and(|(new, old)| new <= old),
        UntilTrusted::Limit => amounts().is_some_and(|(new, old)| new > 0 && (old == 0 || new <= old)),
        UntilTrusted::OnlyTrue => *value == Value::Boolean(true),
        UntilTrusted::Adds => return added(&below, value),
    };
    if tighter { Counts::As(value.clone()) } else { Counts::Not }
}

/// Accepts a list that holds the one below it. A list that leaves out an entry of the one below it would take it away once it is trusted.
fn added(below: &Value, value: &Value) -> Counts {
    let (Some(old), Some(new)) = (below.as_array(), value.as_array()) else { return Counts::Not };
    if old.iter().any(|entry| !new.contains(entry)) {
        return Counts::Not;
    }
    Counts::As(value.clone())
}

/// Tells whether the user's own layers, or what ships, know the role, agent or gate that a path is about.
fn is_known(under: &Flat, path: &[String]) -> bool {
    match path {
        [section, name, ..] if ["roles", "agents", "adapters", "gates"].contains(&section.as_str()) => {
            under.keys().any(|other| other.len() > 1 && other[0] == *section && other[1] == *name)
        }
        _ => true,
    }
}
