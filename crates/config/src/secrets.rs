//! Values of variables that are kept somewhere else: `env:NAME`, `file:PATH`; resolved late, never shown.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::World;
use oodatcaa_sys::files;

/// The text that is shown in a value's place.
pub const MASK: &str = "•••";

/// The reason why a secret is not there.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable that it names is not set.
    #[error("find the secret for {name}: the variable {variable} is not set")]
    NotSet {
        /// The variable to be given to the agent.
        name: String,
        /// The variable that was named.
        variable: String,
    },
    /// The file that it names cannot be used.
    #[error("read the secret for {name} from {}: {reason}", path.display())]
    File {
        /// The variable to be given to the agent.
        name: String,
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

/// Returns a value of `set` as it may be shown: references as they are, everything else masked.
pub fn shown(value: &str) -> &str {
    match reference(value) {
        Some(_) => value,
        None if value.is_empty() => "",
        None => MASK,
    }
}

/// Replaces the references in an agent's `set` by what they stand for. Relative files are below `root`.
pub fn resolve(
    set: &BTreeMap<String, String>,
    world: &World,
    root: &Path,
) -> Result<BTreeMap<String, String>, SecretError> {
    set.iter()
        .map(|(name, value)| {
            let value = match reference(value) {
                None => value.clone(),
                Some(("env", variable)) => world
                    .var(variable)
                    .map(String::from)
                    .ok_or_else(|| SecretError::NotSet { name: name.clone(), variable: variable.into() })?,
                Some((_, path)) => {
                    let path = match (path.strip_prefix("~/"), world.home()) {
                        (Some(below), Some(home)) => home.join(below),
                        _ => root.join(path),
                    };
                    read(&path).map_err(|reason| SecretError::File { name: name.clone(), path, reason })?
                }
            };
            Ok((name.clone(), value))
        })
        .collect()
}

/// Returns the kind of a reference, `env` or `file`, and what it names.
fn reference(value: &str) -> Option<(&str, &str)> {
    value.split_once(':').filter(|(kind, _)| matches!(*kind, "env" | "file"))
}

/// Checks the form of a value; whether what it names is there is asked late.
pub(super) fn check(value: &str) -> Result<(), String> {
    match reference(value) {
        Some(("env", "")) => Err("is `env:`; expected the name of a variable after it".into()),
        Some(("file", "")) => Err("is `file:`; expected a path after it".into()),
        _ => Ok(()),
    }
}

/// No key is longer.
const LONGEST: u64 = 64 << 10;

fn read(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err("others may read it; allow only yourself (mode 600)".into());
    }
    let bytes = files::read_named(path, LONGEST).map_err(|error| error.why.to_string())?.unwrap_or_default();
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    // An editor ends a file with a line feed; no key does.
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() || text.contains('\0') {
        return Err(if text.is_empty() { "it is empty".into() } else { "it contains a NUL character".into() });
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("KEY".into(), value.into())])
    }

    #[test]
    fn references_are_replaced_by_what_they_stand_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("key");
        std::fs::write(&file, "s3cret\n").expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("changed");
        let world = World::of([("A", "x"), ("HOME", directory.path().to_str().expect("UTF-8"))]);
        let resolved = |value| resolve(&set(value), &world, directory.path()).expect("resolved")["KEY"].clone();
        assert_eq!(resolved("env:A"), "x");
        assert_eq!(resolved("file:key"), "s3cret");
        assert_eq!(resolved("file:~/key"), "s3cret");
        assert_eq!(resolved("plain"), "plain");
        assert_eq!(resolved("http://x"), "http://x");
    }

    #[test]
    fn a_secret_that_is_missing_or_open_to_all_is_told_without_its_value() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("key"), "s3cret").expect("written");
        std::fs::set_permissions(directory.path().join("key"), std::fs::Permissions::from_mode(0o644))
            .expect("changed");
        for value in ["env:NOPE", "file:key", "file:nope", "file:."] {
            let error = resolve(&set(value), &World::default(), directory.path()).expect_err(value).to_string();
            assert!(error.contains("KEY") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn values_are_shown_only_as_references() {
        assert_eq!(shown("env:A"), "env:A");
        assert_eq!(shown("sk-123"), MASK);
        assert_eq!(shown(""), "");
    }
}
