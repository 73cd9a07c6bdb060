//! What the program says of itself.

use serde::Serialize;

/// What `init` wrote, or would.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/init.v1")]
pub struct InitView {
    /// The project's directory.
    pub project: String,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// The files.
    pub files: Vec<WrittenView>,
    /// The agent that will work.
    pub agent: Option<String>,
    /// The agents whose programs are there.
    pub agents_found: Vec<&'static str>,
    /// What is wrong with a queue that was there.
    pub queue_problems: Vec<String>,
}

/// A file that `init` writes.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WrittenView {
    /// Its path.
    pub path: String,
    /// What it is.
    pub what: String,
}

/// Which program this is.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/version.v1")]
pub struct VersionView {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// A page of help.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/help.v1")]
pub struct HelpView {
    /// What it is about.
    pub about: String,
    /// The page.
    pub text: String,
}

/// A script for a shell.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/completions.v1")]
pub struct CompletionsView {
    /// The shell.
    pub shell: String,
    /// The script.
    pub script: String,
}

/// A man page, or where all of them were written.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/man.v1")]
pub struct ManView {
    /// The page, in roff.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// The directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
}

/// A failure.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/error.v1")]
pub struct ErrorView {
    /// What failed.
    pub error: ErrorBody,
}

/// What failed, and what helps.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// The kind of failure.
    pub code: &'static str,
    /// What failed, and why.
    pub message: String,
    /// What to do first.
    pub hint: Option<String>,
    /// Whether the same may succeed later by itself.
    pub retryable: bool,
    /// All that helps, where it is more than one thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hints: Option<Vec<String>>,
}
