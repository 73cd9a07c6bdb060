//! The agent programs that `init` recognises, and what each may do unasked.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

use oodatcaa_agent::descriptor;

/// A program; what its members mean is said in `known.toml`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    /// Its name, also that of its program and of its adapter.
    pub(crate) name: String,
    #[serde(default = "everything")]
    pub(super) rights: String,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default = "can_write")]
    pub(super) result: bool,
}

fn everything() -> String {
    "inside the sandbox it may do everything without asking (agentctl help sandbox)".into()
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
    fn every_entry_has_an_adapter_that_does_what_is_said_of_its_rights() {
        for known in KNOWN.iter() {
            let adapter = descriptor::load(&known.name, &BTreeMap::new()).expect("ships");
            assert_eq!(adapter.program.install, Some(known.install()));
            assert_eq!(adapter.program.names[0], known.name);
            let is_freed = adapter.args.permissions.contains_key("sandboxed");
            assert_eq!(known.rights == everything(), is_freed, "{}", known.name);
        }
        assert!(find("claude").is_some() && find("sim").is_none());
    }
}
