//! The configuration and its trust.

use serde::Serialize;

use serde_json::Value;

/// The settings in force.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/config.v1")]
pub struct ConfigView {
    /// `trusted`, `nothing_to_trust`, `changed` or `untrusted`.
    pub trust: &'static str,
    /// The settings.
    pub settings: Vec<SettingView>,
    /// What to know about them.
    pub warnings: Vec<String>,
    /// What could be said in newer words.
    pub hints: Vec<String>,
}

/// A setting.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SettingView {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Where it comes from.
    pub origin: OriginView,
}

/// Where a setting comes from.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OriginView {
    /// The program.
    Default,
    /// A file.
    File {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A variable of the environment.
    Env {
        /// Its name.
        name: String,
    },
    /// A flag of the command line.
    Flag {
        /// Its name.
        name: String,
    },
}

/// What a project is trusted with.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/trust.v1")]
pub struct TrustView {
    /// Its directory.
    pub project: String,
    /// `trusted`, `nothing_to_trust`, `changed` or `untrusted`.
    pub trust: &'static str,
    /// Whether this was said now.
    pub changed: bool,
    /// The hash of what is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The commands that its files may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<CommandView>>,
    /// The settings that its files choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Vec<ChosenView>>,
    /// The roles whose prompts it brings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Vec<String>>,
}

/// A command of a project.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CommandView {
    /// What runs it: `agent`, `gate`, `hook`, ….
    pub what: String,
    /// Its name.
    pub name: String,
    /// Its words.
    pub argv: Vec<String>,
    /// Whatever else decides what it does.
    pub more: std::collections::BTreeMap<String, String>,
}

/// A setting that a project chooses.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChosenView {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Value,
}
