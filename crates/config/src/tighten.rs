//! Takes from a project that the user has not trusted only what makes something tighter.
//!
//! The declaration of each key says what that is. Everything else is held back until the user has looked at
//! it, so a clone never chooses what runs, as what, with which words, or with less proof than the user asks for.

use toml::Value;

use super::{
    declare::UntilTrusted,
    flat::Flat,
    layers,
    lookup::{self, Place},
    sandbox,
};

/// Lays a project's layer over those of the user as far as it tightens or repeats them; returns what it would loosen or
/// choose, which does not count until the project is trusted.
pub(super) fn lay(under: &mut Flat, over: Flat) -> Flat {
    let (counts, held) = over.into_iter().partition(|(path, (value, _))| counts(under, path, value));
    layers::lay(under, counts);
    held
}

fn counts(under: &Flat, path: &[String], value: &Value) -> bool {
    if !is_known(under, path) {
        return false;
    }
    // An empty table: a name that is known, or nothing.
    let Place::Leaf(key) = lookup::place(path) else { return true };
    if let UntilTrusted::Only(word) = key.untrusted {
        return value.as_str() == Some(word) || under.get(path).is_some_and(|(below, _)| below == value);
    }
    let said = || sandbox::required_elsewhere(under, path);
    let below = under.get(path).map(|(value, _)| value.clone()).or_else(|| key.default_value()).or_else(said);
    let nothing = || (key.untrusted == UntilTrusted::Adds).then(|| Value::Array(Vec::new()));
    let Some(below) = below.or_else(nothing) else { return false };
    let amounts = || Some((key.kind.amount(value)?, key.kind.amount(&below)?));
    below == *value
        || match key.untrusted {
            UntilTrusted::Ignored | UntilTrusted::Only(_) => false,
            UntilTrusted::Smaller => amounts().is_some_and(|(new, old)| new <= old),
            UntilTrusted::Limit => amounts().is_some_and(|(new, old)| new > 0 && (old == 0 || new <= old)),
            UntilTrusted::OnlyTrue => *value == Value::Boolean(true),
            // A list that leaves out an entry of the one below it would take it away once it is trusted.
            UntilTrusted::Adds => below
                .as_array()
                .zip(value.as_array())
                .is_some_and(|(old, new)| old.iter().all(|entry| new.contains(entry))),
        }
}

/// Tells whether the user's own layers, or what ships, know the role, agent or gate that a path is about.
fn is_known(under: &Flat, path: &[String]) -> bool {
    match path {
        [section, name, ..]
            if ["roles", "agents", "adapters", "gates", "schedules", "handoffs"].contains(&section.as_str()) =>
        {
            under.keys().any(|other| other.len() > 1 && other[0] == *section && other[1] == *name)
        }
        _ => true,
    }
}
