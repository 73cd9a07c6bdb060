//! Finds what a path of a configuration is among the declared keys.

use std::cmp::Ordering;

use super::{declare::Key, keys::keys, kind::Kind};
use oodatcaa_core::text::near;

/// The place of a path among the declared keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// A key with a value.
    Leaf(&'static Key),
    /// A table above keys.
    Table,
    /// Something below a key with a value.
    Below(&'static Key),
    /// Nothing.
    Unknown,
}

/// Tells whether a path goes along with a key's, as far as both go.
fn fits(key: &Key, path: &[String]) -> bool {
    key.path.split('.').zip(path).all(|(part, name)| part == "*" || part == name)
}

fn depth(key: &Key) -> usize {
    key.path.split('.').count()
}

/// Returns what a path is.
pub(crate) fn place(path: &[String]) -> Place {
    let mut found = Place::Unknown;
    for key in keys().filter(|key| fits(key, path)) {
        match depth(key).cmp(&path.len()) {
            Ordering::Equal => return Place::Leaf(key),
            Ordering::Less if key.kind == Kind::Any => return Place::Leaf(key),
            Ordering::Less => found = Place::Below(key),
            Ordering::Greater => found = Place::Table,
        }
    }
    found
}

/// Returns the names that could stand where a path's last known table ends.
pub(crate) fn siblings(above: &[String]) -> Vec<&'static str> {
    let below = keys().filter(|key| fits(key, above)).filter_map(|key| key.path.split('.').nth(above.len()));
    let mut names = Vec::new();
    for name in below.filter(|part| *part != "*") {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Says which of the known names was probably meant, or which there are; `None` where there are none.
pub(crate) fn meant(word: &str, known: &[&str]) -> Option<String> {
    match near(word, known.iter().copied()).first() {
        Some(word) => Some(format!("did you mean `{word}`?")),
        None => (!known.is_empty()).then(|| format!("there are: {}", known.join(", "))),
    }
}

/// Returns the path that a key which was renamed has now.
pub(crate) fn renamed(path: &[String]) -> Option<Vec<String>> {
    let (last, table) = path.split_last()?;
    let was = |key: &&Key| key.was == Some(last.as_str()) && depth(key) == path.len() && fits(key, table);
    let name = keys().find(was)?.path.rsplit('.').next()?;
    Some(table.iter().cloned().chain([name.to_owned()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(Into::into).collect()
    }

    #[test]
    fn a_path_is_found_in_the_table() {
        assert!(matches!(place(&path("fleet.interval")), Place::Leaf(key) if key.path == "fleet.interval"));
        assert!(
            matches!(place(&path("agents.x.set.TOKEN")), Place::Leaf(key) if key.kind == Kind::Text(crate::form::Form::EnvValue))
        );
        assert!(matches!(place(&path("roles.qa")), Place::Table));
        assert!(matches!(place(&path("fleet.interval.x")), Place::Below(_)));
        assert!(matches!(place(&path("fleet.colour")), Place::Unknown));
        assert_eq!(
            siblings(&path("fleet")),
            [
                "agent",
                "preset",
                "interval",
                "shutdown_timeout",
                "grace",
                "lock_wait",
                "restarts",
                "healthy",
                "hours",
                "resume_window",
                "tz"
            ]
        );
        assert_eq!(
            siblings(&[]),
            [
                "fleet",
                "retry",
                "limits",
                "merge",
                "decisions",
                "budget",
                "workspace",
                "sandbox",
                "roles",
                "agents",
                "adapters",
                "gates",
                "schedules",
                "handoffs"
            ]
        );
    }
}
