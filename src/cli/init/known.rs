//! The agent programs that `init` recognises, and what each may do unasked when it is set up.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

use oodatcaa_agent::descriptor;

/// A program; what its members mean is said in `known.toml`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    /// Its name, also that of its program and of its adapter.
    pub(crate) name: String,
    pub(super) permissions: Option<String>,
    pub(super) rights: String,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default = "can_write")]
    pub(super) result: bool,
}

fn can_write() -> bool {
    true
}

impl Known {
    /// Returns how it is installed.
    pub(super) fn install(&self) -> String {
        let adapter = descriptor::load(&self.name, &BTreeMap::new()).ok();
        adapter.and_then(|adapter| adapter.program.install).unwrap_or_default()
    }
}

/// Every program that we know, the one to take first first.
pub(super) static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let all: Result<BTreeMap<String, Vec<Known>>, _> = toml::from_str(include_str!("known.toml"));
    all.expect("a test has read it").remove("program").expect("it has programs")
});

/// Finds a program by its name.
pub(super) fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_an_adapter_that_knows_its_permissions() {
        for known in KNOWN.iter() {
            let adapter = descriptor::load(&known.name, &BTreeMap::new()).expect("ships");
            assert_eq!(adapter.program.install, Some(known.install()));
            assert_eq!(adapter.program.names[0], known.name);
            if let Some(permissions) = &known.permissions {
                assert!(adapter.args.permissions.contains_key(permissions), "{}", known.name);
            }
        }
        assert!(find("claude").is_some() && find("sim").is_none());
    }
}
