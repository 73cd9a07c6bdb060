//! Reads the layers and lays them over each other, key by key, each value with its origin.
//!
//! It knows no key's meaning.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    ConfigError, Origin, World,
    flat::Flat,
    keys::{Preset, SCOPES, keys},
};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::text::{cut, one_line};
use oodatcaa_sys::files::{self, FileError};

/// No configuration that people write is longer.
const LONGEST: u64 = 1 << 20;

/// No directory of adapters or prompts holds more.
const MOST: usize = 200;

/// Reads the user's own file, wherever it leads; `None` when there is no such file.
pub(super) fn read_own(path: &Path) -> Result<Option<String>, ConfigError> {
    text(path, files::read_named(path, LONGEST))
}

/// Reads a file of the project; `None` when there is no such file.
pub(super) fn read(layout: &Layout, path: &Path) -> Result<Option<String>, ConfigError> {
    text(path, files::read_granting(layout.root(), path, LONGEST))
}

fn text(path: &Path, read: Result<Option<Vec<u8>>, FileError>) -> Result<Option<String>, ConfigError> {
    let Some(bytes) = read? else { return Ok(None) };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let upto = error.utf8_error().valid_up_to();
            let good = String::from_utf8_lossy(&error.as_bytes()[..upto]);
            let (line, column) = Lines::of(&good).place(&good, upto);
            Err(ConfigError::Syntax { path: path.into(), line, column, message: "this is not UTF-8 text".into() })
        }
    }
}

/// Reads the project's files of adapters, by the adapters' names, and what is not used of them, with the reason. Such
/// a file stops nothing else: whoever needs it gets the reason.
pub(super) fn adapters(layout: &Layout) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut found, mut refused, mut bytes) = (BTreeMap::new(), Vec::new(), 0);
    let directory = layout.adapters();
    let words = |error: &ConfigError| {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("failed to {error}{cause}")
    };
    let listed = listed(layout, &directory, "toml").unwrap_or_else(|error| {
        refused.push(words(&error));
        BTreeMap::new()
    });
    for (name, path) in listed {
        match read(layout, &path) {
            Ok(Some(text)) if bytes + text.len() as u64 <= LONGEST => {
                bytes += text.len() as u64;
                found.insert(name, text);
            }
            Ok(Some(_)) => refused.push(format!("{}: the adapters of a project have at most 1 MiB", path.display())),
            Ok(None) => {}
            Err(error) => refused.push(words(&error)),
        }
    }
    (found, refused)
}

/// Lists the files of a directory of the project with this ending, by their names without it.
pub(super) fn listed(
    layout: &Layout,
    directory: &Path,
    ending: &str,
) -> Result<BTreeMap<String, PathBuf>, ConfigError> {
    let entries = files::list(layout.root(), directory, MOST)?;
    let mut found = BTreeMap::new();
    for entry in entries.unwrap_or_default() {
        let path = directory.join(&entry.name);
        let name = path.file_stem().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|found| found == ending)) {
            found.insert(name.to_owned(), path.clone());
        }
    }
    Ok(found)
}

/// Reads TOML into paths; what is there is the content of the table `below`.
pub(super) fn flatten(text: &str, path: &Path, below: &[&str]) -> Result<Flat, ConfigError> {
    let lines = Lines::of(text);
    let wrong = |error: toml::de::Error| {
        let (line, column) = lines.place(text, error.span().map_or(0, |span| span.start));
        let mut message = error.message().lines().collect::<Vec<_>>().join(", ");
        if message.contains("duplicate key") {
            message = duplicate(text, line);
        }
        ConfigError::Syntax { path: path.into(), line, column, message }
    };
    // Once for the values and once for their places.
    let places = DeTable::parse(text).map_err(wrong)?;
    let values: Table = text.parse().map_err(wrong)?;
    let mut flat = Flat::new();
    let mut at = below.iter().map(|&name| name.to_owned()).collect();
    walk(places.get_ref(), &values, &mut at, &mut |names, value, at| {
        let (line, column) = lines.place(text, at);
        flat.insert(names.to_vec(), (value.clone(), Origin::File { path: path.into(), line, column }));
    });
    Ok(flat)
}

fn walk(places: &DeTable<'_>, values: &Table, path: &mut Vec<String>, put: &mut impl FnMut(&[String], &Value, usize)) {
    for (key, place) in places {
        path.push(key.get_ref().to_string());
        match (place.get_ref(), &values[key.get_ref().as_ref()]) {
            (DeValue::Table(places), Value::Table(values)) if !values.is_empty() => walk(places, values, path, put),
            (_, value) => put(path, value, key.span().start),
        }
        path.pop();
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

/// Returns the roles of a preset, and the agents that ship.
pub(super) fn shipped(preset: Preset) -> Result<Flat, ConfigError> {
    let mut all = preset.layer()?;
    let path = ["agents", "sim", "kind"].map(String::from).to_vec();
    all.insert(path, (Value::String("sim".into()), Origin::Default));
    Ok(all)
}

/// Returns the preset that a layer names.
pub(super) fn preset(layer: &Flat) -> Option<Preset> {
    let (value, _) = layer.get(&["fleet", "preset"].map(String::from)[..])?;
    Preset::ALL.into_iter().find(|preset| value.as_str() == Some(preset.as_str()))
}

/// Fills in what nobody sets, as the keys are declared; below `*` for every name that there is.
pub(super) fn fill_in_defaults(all: &mut Flat) {
    let mut known: BTreeMap<&str, BTreeSet<Vec<String>>> = BTreeMap::new();
    known.insert("budget", SCOPES.map(|scope| vec!["budget".into(), scope.into()]).into());
    for (default, key) in keys().filter_map(|key| Some((key.default_value()?, key))) {
        let (section, member) = key.path.split_once(".*.").unwrap_or(("", key.path));
        let tables = known.entry(section).or_insert_with(|| match section {
            "" => [Vec::new()].into(),
            _ => {
                all.keys().filter(|path| path.len() > 1 && path[0] == section).map(|path| path[..2].to_vec()).collect()
            }
        });
        for table in tables.iter() {
            let path = table.iter().cloned().chain(member.split('.').map(Into::into)).collect();
            all.entry(path).or_insert_with(|| (default.clone(), Origin::Default));
        }
    }
}

/// The variable of `sandbox.mode`, for machines that confine everything already (CI in a container).
pub(super) const SANDBOX: &str = "OODATCAA_SANDBOX";

/// Returns the environment's layer: `OODATCAA_` and a key of `[fleet]` or `[retry]` in capitals, and [`SANDBOX`].
pub(super) fn environment(world: &World) -> Flat {
    let mut flat = Flat::new();
    if let Some(mode) = world.var(SANDBOX) {
        let value = Value::String(mode.into());
        flat.insert(vec!["sandbox".into(), "mode".into()], (value, Origin::Env(SANDBOX.into())));
    }
    for key in keys() {
        let Some((section @ ("fleet" | "retry"), name)) = key.path.split_once('.') else { continue };
        for name in key.was.into_iter().chain([name]) {
            let variable = format!("OODATCAA_{}", name.to_uppercase());
            if let Some(value) = world.var(&variable) {
                let value = Value::String(value.into());
                flat.insert(vec![section.into(), name.into()], (value, Origin::Env(variable)));
            }
        }
    }
    flat
}

/// The offsets of a text's line feeds, by which line and column are found without reading the text again.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// Returns line and column, both from 1.
    fn place(&self, text: &str, at: usize) -> (usize, usize) {
        let before = self.0.partition_point(|&newline| newline < at);
        let start = before.checked_sub(1).map_or(0, |newline| self.0[newline] + 1);
        (before + 1, text[start..text.floor_char_boundary(at)].chars().count() + 1)
    }
}

/// Says of a key or table that is there twice where it was first, and what to do.
fn duplicate(text: &str, line: usize) -> String {
    let head = |line: &'_ str| line.split(['=', '#']).next().unwrap_or_default().trim().to_owned();
    let lines: Vec<String> = text.lines().map(head).collect();
    let (above, second) = (&lines[..line - 1], &lines[line - 1]);
    let first = above.iter().rposition(|other| other == second).map(|first| first + 1);
    let shown = one_line(&cut(second, 80));
    match (second.starts_with('['), first) {
        (true, Some(first)) => format!(
            "the table `{shown}` is defined twice; it begins in line {first}: move the keys below line {line} there and delete line {line}"
        ),
        (true, None) => format!("the table `{shown}` is defined above already: write its keys there"),
        (false, Some(first)) => format!("`{shown}` is set twice, first in line {first}: keep one of them"),
        (false, None) => format!("`{shown}` has a value already: keep one of them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(text: &str) -> Flat {
        flatten(text, Path::new("f"), &[]).expect("TOML")
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
        let error = flatten("[fleet]\ninterval = \n", Path::new("c.toml"), &[]).expect_err("broken");
        assert!(error.to_string().starts_with("understand the configuration c.toml:2:"), "{error}");
        let error = flatten("a = 1\na = 2\n", Path::new("c.toml"), &[]).expect_err("twice");
        let words = error.to_string();
        assert!(words.ends_with("c.toml:2:1: `a` is set twice, first in line 1: keep one of them"), "{words}");
        let twice = "[fleet]\nagent = \"a\"\n\n[fleet] # again\n";
        let words = flatten(twice, Path::new("c.toml"), &[]).expect_err("twice").to_string();
        assert!(words.contains("c.toml:4:") && words.contains("begins in line 1: move the keys"), "{words}");
    }
}
