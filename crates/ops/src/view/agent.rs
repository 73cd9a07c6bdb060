//! Agents and their descriptions.

use serde::Serialize;

/// An agent that could work here.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/agent.v1")]
pub struct AgentView {
    /// Its name.
    pub name: String,
    /// Its description.
    pub adapter: String,
    /// Whether the configuration names it.
    pub configured: bool,
    /// `measured` or `documented`.
    pub evidence: &'static str,
    /// Its program.
    pub program: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Whether this version was tested.
    pub tested: Option<bool>,
    /// Whether it is signed in, as far as can be seen.
    pub signed_in: Option<bool>,
    /// The pool of quota that it draws from.
    pub pool: String,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// The description of an agent's program.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/adapter.v1")]
pub struct AdapterView {
    /// Its tables, as in TOML.
    #[serde(flatten)]
    pub description: serde_json::Map<String, serde_json::Value>,
}

/// One case of `agent test`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "schema", rename = "oodatcaa/case.v1")]
pub struct CaseView {
    /// Its name.
    pub case: String,
    /// `ok`, `broken`, `note` or `not tried`.
    pub verdict: &'static str,
    /// What was seen.
    pub words: String,
}
