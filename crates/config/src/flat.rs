//! Values by path, each with its origin, and how fields are read from them.

use std::collections::BTreeMap;

use toml::{Table, Value};

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
pub(crate) struct Values<'a> {
    flat: &'a Flat,
    tables: Table,
}

impl<'a> Values<'a> {
    pub(crate) fn of(flat: &'a Flat) -> Self {
        let mut tables = Table::new();
        for (path, (value, _)) in flat {
            let (last, above) = path.split_last().expect("no path is empty");
            let table = above.iter().fold(&mut tables, |table, name| {
                let below = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
                if !below.is_table() {
                    // A later layer has the last word on what stands there.
                    *below = Value::Table(Table::new());
                }
                below.as_table_mut().expect("made a table")
            });
            table.insert(last.clone(), value.clone());
        }
        Self { flat, tables }
    }

    pub(crate) fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, below) = path.split_first()?;
        below.iter().try_fold(self.tables.get(*first)?, |value, name| value.get(name))
    }

    /// Returns what stands in a table, by name.
    pub(crate) fn table(&self, path: &[&str]) -> impl Iterator<Item = (&String, &Value)> {
        self.get(path).and_then(Value::as_table).into_iter().flatten()
    }

    /// Returns the texts that stand in a table, by name.
    pub(crate) fn texts(&self, path: &[&str]) -> BTreeMap<String, String> {
        self.table(path).filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// Reads a key of a table, which may have dots itself; what nobody sets has its declared default.
    pub(crate) fn take<T: FromValue>(&self, table: &[&str], key: &str, kind: Kind, default: Option<&str>) -> T {
        let path: Vec<&str> = table.iter().copied().chain(key.split('.')).collect();
        match self.get(&path) {
            Some(value) => T::from_value(kind, Some(value)),
            None => T::from_value(kind, default.map(toml_value).as_ref()),
        }
    }

    pub(crate) fn text(&self, path: &[&str]) -> Option<String> {
        Option::from_value(Kind::Maybe(Form::Any), self.get(path))
    }

    /// Returns where the user last said something about a name, to blame for what is missing.
    pub(crate) fn origin(&self, section: &str, name: &str) -> Origin {
        let own = self.flat.iter().filter(|(path, _)| path.len() > 1 && path[0] == section && path[1] == name);
        own.map(|(_, (_, origin))| origin.clone()).find(|origin| !origin.ships()).unwrap_or(Origin::Default)
    }

    /// Returns the fault of a name that does not say something it must.
    pub(crate) fn missing(&self, section: &str, name: &str, member: &str, expected: &str) -> Fault {
        let message = format!("is missing; expected {expected}");
        Fault { origin: self.origin(section, name), key: format!("{section}.{name}.{member}"), message }
    }

    pub(crate) fn fault(&self, path: &[&str], message: String) -> Fault {
        let place: Vec<String> = path.iter().map(|&part| part.into()).collect();
        let origin = self.flat.get(&place).map_or(Origin::Default, |(_, origin)| origin.clone());
        Fault { origin, key: path.join("."), message }
    }
}
