//! Values by path, each with its origin, and how fields are read from them.

use std::collections::BTreeMap;

use toml::Value;

use super::{
    Fault, Origin,
    declare::{FromValue, toml_value},
    form::Form,
    kind::Kind,
};

/// Values by path. A table appears only when it is empty; lists are values.
pub(crate) type Flat = BTreeMap<Vec<String>, (Value, Origin)>;

/// The values, read by key; they have been checked, and defaults are filled in. What is missing all the same stands for
/// a fault that has been noted, and reads as empty.
pub(crate) struct Values<'a>(pub(crate) &'a Flat);

impl<'a> Values<'a> {
    /// Returns what stands below this path, without looking through the rest.
    pub(crate) fn below(&self, path: &[&str]) -> impl Iterator<Item = (&'a Vec<String>, &'a Value)> + use<'a> {
        let from: Vec<String> = path.iter().map(|&name| name.to_owned()).collect();
        let own = self.0.range(from.clone()..).take_while(move |(path, _)| path.starts_with(&from));
        own.map(|(path, (value, _))| (path, value))
    }

    pub(crate) fn get(&self, path: &[&str]) -> Option<&(Value, Origin)> {
        let path: Vec<String> = path.iter().map(|&part| part.into()).collect();
        self.0.get(&path)
    }

    /// Reads a key of a table, which may have dots itself; what nobody sets has its declared default.
    pub(crate) fn take<T: FromValue>(&self, table: &[&str], key: &str, kind: Kind, default: Option<&str>) -> T {
        let path: Vec<&str> = table.iter().copied().chain(key.split('.')).collect();
        match (self.get(&path), default) {
            (Some((value, _)), _) => T::from_value(kind, Some(value)),
            (None, default) => T::from_value(kind, default.map(toml_value).as_ref()),
        }
    }

    pub(crate) fn text(&self, path: &[&str]) -> Option<String> {
        Option::from_value(Kind::Maybe(Form::Any), self.get(path).map(|(value, _)| value))
    }

    /// Returns where the user last said something about a name, to blame for what is missing.
    pub(crate) fn origin(&self, section: &str, name: &str) -> Origin {
        let own = self.0.iter().filter(|(path, _)| path.len() > 1 && path[0] == section && path[1] == name);
        own.map(|(_, (_, origin))| origin)
            .find(|origin| **origin != Origin::Default)
            .unwrap_or(&Origin::Default)
            .clone()
    }

    pub(crate) fn fault(&self, path: &[&str], message: String) -> Fault {
        let origin = self.get(path).map_or(Origin::Default, |(_, origin)| origin.clone());
        Fault { origin, key: path.join("."), message }
    }
}
