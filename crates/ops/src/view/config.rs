//! The configuration and its trust.

use oodatcaa_config::{Origin, Setting};
use serde::Serialize;

use serde_json::Value;

views! {
    /// The settings in force.
    pub struct ConfigView = "oodatcaa/config.v1" {
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
    pub struct SettingView {
        /// Its key.
        pub key: String,
        /// Its value.
        pub value: Value,
        /// The place where it comes from.
        pub origin: OriginView,
    }

    /// What a project is trusted with.
    pub struct TrustView = "oodatcaa/trust.v1" {
        /// Its directory.
        pub project: String,
        /// `trusted`, `nothing_to_trust`, `changed` or `untrusted`.
        pub trust: &'static str,
        /// True if this was said now.
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
    pub struct ChosenView {
        /// Its key.
        pub key: String,
        /// Its value.
        pub value: Value,
    }
}

/// The place where a setting comes from.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OriginView {
    /// The program.
    Default,
    /// A preset of roles that ships.
    Preset {
        /// Its name.
        name: String,
    },
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

impl From<&Origin> for OriginView {
    fn from(origin: &Origin) -> Self {
        match origin {
            Origin::Default => Self::Default,
            Origin::Preset(name) => Self::Preset { name: (*name).into() },
            Origin::File { path, line, column } => {
                Self::File { path: path.to_string_lossy().into_owned(), line: *line, column: *column }
            }
            Origin::Env(name) => Self::Env { name: name.clone() },
            Origin::Flag(name) => Self::Flag { name: name.clone() },
        }
    }
}

impl From<&Setting> for SettingView {
    fn from(setting: &Setting) -> Self {
        Self {
            key: setting.key.clone(),
            value: serde_json::to_value(&setting.value).unwrap_or_default(),
            origin: (&setting.origin).into(),
        }
    }
}
