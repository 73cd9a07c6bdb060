//! Reads the layers and lays them over each other, key by key, each value with its origin.
//!
//! What a key means is not known here.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
};

use toml::{
    Value,
    de::{DeTable, DeValue},
};

use super::{ConfigError, Origin, Overrides, World, keys::KEYS};
use crate::layout::Layout;

/// Values by path. A table appears only when it is empty; lists are values.
pub(super) type Flat = BTreeMap<Vec<String>, (Value, Origin)>;

/// No configuration that people write is longer.
const LONGEST: u64 = 1 << 20;

/// A file's content; `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let fail = |source| ConfigError::read(path, source);
    // Asked before opening: opening a pipe would wait for a writer.
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(fail(std::io::Error::other("it is not a regular file"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    }
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > LONGEST {
        return Err(fail(std::io::Error::other("it is longer than 1 MiB")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let upto = error.utf8_error().valid_up_to();
            let (line, column) = position(&String::from_utf8_lossy(&error.as_bytes()[..upto]), upto);
            Err(ConfigError::Syntax { path: path.into(), line, column, message: "this is not UTF-8 text".into() })
        }
    }
}

/// The project's files of adapters, by the adapters' names.
pub(super) fn adapters(layout: &Layout) -> Result<BTreeMap<String, String>, ConfigError> {
    let directory = layout.adapters();
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(ConfigError::read(&directory, error)),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|error| ConfigError::read(&directory, error))?.path();
        let name =
            path.file_stem().and_then(|name| name.to_str()).filter(|_| path.extension().is_some_and(|e| e == "toml"));
        if let (Some(name), Some(text)) = (name, read(&path)?) {
            found.insert(name.to_owned(), text);
        }
    }
    Ok(found)
}

/// Reads TOML into paths; `origin` tells where a line is.
pub(super) fn flatten(text: &str, path: &Path, origin: impl Fn(usize) -> Origin) -> Result<Flat, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        ConfigError::Syntax { path: path.into(), line, column, message }
    })?;
    let lines = Lines::of(text);
    let mut flat = Flat::new();
    walk(table.get_ref(), &mut Vec::new(), &mut |path, value, at| {
        flat.insert(path.to_vec(), (value, origin(lines.line(at))));
    });
    Ok(flat)
}

fn walk(table: &DeTable<'_>, path: &mut Vec<String>, put: &mut impl FnMut(&[String], Value, usize)) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(below) if !below.is_empty() => walk(below, path, put),
            other => put(path, owned(other), key.span().start),
        }
        path.pop();
    }
}

fn owned(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.as_str().into()), Value::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| Value::String(number.as_str().into()), Value::Float)
        }
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| owned(item.get_ref())).collect()),
        DeValue::Table(table) => {
            Value::Table(table.iter().map(|(key, value)| (key.get_ref().to_string(), owned(value.get_ref()))).collect())
        }
    }
}

/// Lays a later layer over an earlier one. An empty table says nothing about what is below it.
pub(super) fn lay(under: &mut Flat, over: Flat) {
    for (path, (value, origin)) in over {
        let empty = matches!(&value, Value::Table(table) if table.is_empty());
        let is_below = |other: &Vec<String>| other.len() > path.len() && other.starts_with(&path);
        if empty && under.keys().any(is_below) {
            continue;
        }
        // A value in an empty table's place, so that no path is both.
        for n in 1..path.len() {
            if matches!(under.get(&path[..n]), Some((Value::Table(_), _))) {
                under.remove(&path[..n]);
            }
        }
        under.insert(path, (value, origin));
    }
}

/// The environment's layer: `OODATCAA_` and a key of `[fleet]` or `[retry]` in capitals.
pub(super) fn environment(world: &World) -> Flat {
    let mut flat = Flat::new();
    for key in KEYS {
        let Some((section @ ("fleet" | "retry"), name)) = key.path.split_once('.') else { continue };
        let variable = format!("OODATCAA_{}", name.to_uppercase());
        if let Some(value) = world.var(&variable) {
            let value = Value::String(value.into());
            flat.insert(vec![section.into(), name.into()], (value, Origin::Env(variable)));
        }
    }
    flat
}

/// The flags' layer.
pub(super) fn flags(overrides: &Overrides) -> Flat {
    let entry = |(key, value, flag): &(String, Value, String)| {
        (key.split('.').map(Into::into).collect(), (value.clone(), Origin::Flag(flag.clone())))
    };
    overrides.set.iter().map(entry).collect()
}

/// A project file with its text.
pub(super) struct ProjectFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// The table that it is the content of.
    pub(super) below: Vec<String>,
}

/// Line and column, both from 1, of a place in a text.
fn position(text: &str, at: usize) -> (usize, usize) {
    let at = (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn line(&self, at: usize) -> usize {
        self.0.partition_point(|&newline| newline < at) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(text: &str) -> Flat {
        flatten(text, Path::new("f"), |line| Origin::File { path: "f".into(), line }).expect("TOML")
    }

    fn shown(flat: &Flat) -> Vec<String> {
        flat.iter().map(|(path, (value, origin))| format!("{} {origin} {value}", path.join("."))).collect()
    }

    #[test]
    fn every_value_knows_its_line() {
        let text =
            "[fleet]\ninterval = 5\n\n[agents.a]\nargv = [\n  \"x\",\n]\nexits = { 75 = \"network\" }\n[roles.q]\n";
        assert_eq!(
            shown(&flat(text)),
            [
                "agents.a.argv f:5 [\"x\"]",
                "agents.a.exits.75 f:8 \"network\"",
                "fleet.interval f:2 5",
                "roles.q f:9 {}",
            ]
        );
    }

    #[test]
    fn layers_are_merged_key_by_key() {
        let mut all = flat("[fleet]\ninterval = 1\ndrain = 2\n[agents.a]\nset = { A = \"1\", B = \"2\" }\n");
        lay(&mut all, flat("[fleet]\n\ndrain = 3\n[agents.a]\nset = { B = \"3\" }\n[roles.r]\n"));
        lay(&mut all, flat("[fleet]\n[roles.r]\nagent = \"a\"\n"));
        assert_eq!(
            shown(&all),
            [
                "agents.a.set.A f:5 \"1\"",
                "agents.a.set.B f:5 \"3\"",
                "fleet.drain f:3 3",
                "fleet.interval f:2 1",
                "roles.r.agent f:3 \"a\"",
            ]
        );
    }

    #[test]
    fn broken_toml_is_told_with_its_place() {
        let error = flatten("[fleet]\ninterval = \n", Path::new("c.toml"), |_| Origin::Default).expect_err("broken");
        assert!(error.to_string().starts_with("understand the configuration c.toml:2:"), "{error}");
        let error = flatten("a = 1\na = 2\n", Path::new("c.toml"), |_| Origin::Default).expect_err("twice");
        assert!(error.to_string().contains("c.toml:2:1"), "{error}");
    }
}
