//! Agents and their descriptions.

views! {
    /// An agent that could work here.
    pub struct AgentView = "oodatcaa/agent.v1" {
        /// Its name.
        pub name: String,
        /// Its description.
        pub adapter: String,
        /// True if the configuration names it.
        pub configured: bool,
        /// `measured` or `documented`.
        pub evidence: &'static str,
        /// Its program.
        pub program: Option<String>,
        /// Its version.
        pub version: Option<String>,
        /// True if this version was tested.
        pub tested: Option<bool>,
        /// True if it is signed in, as far as can be seen.
        pub signed_in: Option<bool>,
        /// The pool of quota that it draws from.
        pub pool: String,
        /// Its fault, in words.
        pub problem: Option<String>,
    }

    /// The description of an agent's program.
    pub struct AdapterView = "oodatcaa/adapter.v1" {
        /// Its tables, as in TOML.
        #[serde(flatten)]
        pub description: serde_json::Map<String, serde_json::Value>,
    }

    /// One case of `agent test`.
    pub struct CaseView = "oodatcaa/case.v1" {
        /// Its name.
        pub case: String,
        /// `ok`, `broken`, `note` or `not tried`.
        pub verdict: &'static str,
        /// What was seen.
        pub words: String,
    }
}
