//! Finds what a path of a configuration is among the declared keys.

use super::{declare::Key, keys::keys, kind::Kind};

/// What a path is in the table.
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

/// Returns what a path is.
pub(crate) fn place(path: &[String]) -> Place {
    let mut found = Place::Unknown;
    for key in keys() {
        let parts: Vec<&str> = key.path.split('.').collect();
        let fits = parts.iter().zip(path).all(|(part, name)| *part == "*" || part == name);
        match (fits, parts.len().cmp(&path.len())) {
            (false, _) => {}
            (true, std::cmp::Ordering::Equal) => return Place::Leaf(key),
            (true, std::cmp::Ordering::Greater) => found = Place::Table,
            (true, std::cmp::Ordering::Less) if key.kind == Kind::Any => return Place::Leaf(key),
            (true, std::cmp::Ordering::Less) => found = Place::Below(key),
        }
    }
    found
}

/// Returns the names that could stand where a path's last known table ends, for "did you mean".
pub(crate) fn siblings(above: &[String]) -> Vec<&'static str> {
    let mut names: Vec<&str> = keys()
        .filter_map(|key| {
            let mut parts = key.path.split('.');
            let fits = above.iter().all(|name| parts.next().is_some_and(|part| part == "*" || part == name));
            fits.then(|| parts.next()).flatten().filter(|part| *part != "*")
        })
        .collect();
    names.dedup();
    names
}

/// Returns the path that a key which was renamed has now.
pub(crate) fn renamed(path: &[String]) -> Option<Vec<String>> {
    let (last, table) = path.split_last()?;
    let key = keys().filter(|key| key.was == Some(last.as_str())).find(|key| {
        let parts: Vec<&str> = key.path.split('.').collect();
        parts.len() == path.len() && parts.iter().zip(table).all(|(part, name)| *part == "*" || part == name)
    })?;
    let name = key.path.rsplit('.').next()?;
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
        assert_eq!(siblings(&path("fleet")), ["agent", "interval", "shutdown_timeout", "grace", "lock_wait"]);
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
                "roles",
                "agents",
                "adapters",
                "gates"
            ]
        );
    }
}
