//! The description of an agent CLI: what a TOML file says about its command line, environment,
//! output and failures.
//!
//! Reading and checking stand here; what is done with it stands in `agent::cli` and `agent::stream`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::failure::Failure;

pub mod check;
pub mod load;
pub mod rules;
pub mod when;

pub use load::{BadDescriptor, SHIPPED, load, shipped};
pub use rules::{
    EarlyRule, ErrorRule, Map, Pick, QuotaRule, RetryRule, RetryUnit, Source, TerminalRule, ToolRule, UsageMode,
    UsageRule,
};
pub use when::{Guard, Pattern, Pointer, When};

/// How a program writes what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// JSON lines with messages of content blocks: Claude Code and those that took its form.
    Claude,
    /// JSON lines of threads, turns and items: Codex.
    Codex,
    /// JSON lines of events that `[map]` alone tells apart.
    Event,
    /// JSON lines of steps without an event that ends the run: opencode.
    Step,
    /// Lines of text.
    Text,
    /// One JSON object in place of lines, once all is over.
    JsonObject,
    /// The Agent Client Protocol, through our own client, whose events `[map]` tells apart.
    Acp,
}

/// How far a description has been held against the real program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Measured with the real program.
    Measured,
    /// Written from its documentation only.
    Documented,
    /// An example of the format; not to be relied upon.
    Example,
}

/// One agent CLI.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// Its name.
    #[serde(default)]
    pub id: String,
    /// How it writes what it does.
    pub dialect: Dialect,
    /// How far this has been held against the real program.
    #[serde(default = "documented")]
    pub evidence: Evidence,
    /// What people should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Which program.
    pub program: Program,
    /// Its command line.
    #[serde(default)]
    pub args: Args,
    /// How the prompt reaches it.
    #[serde(default)]
    pub prompt: Prompt,
    /// Its environment.
    #[serde(default)]
    pub env: Env,
    /// Where it keeps its own state.
    #[serde(default)]
    pub home: Home,
    /// How to point it at another service, for tests.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
    /// Its output's form.
    #[serde(default)]
    pub output: Output,
    /// Where things stand in its events.
    #[serde(default)]
    pub map: Map,
    /// What counts as success besides the event that ends the run.
    #[serde(default)]
    pub success: Success,
    /// What failures look like; the first that fits wins, in the order of `source`.
    #[serde(default)]
    pub errors: Vec<ErrorRule>,
    /// What is reason enough to end the run at once.
    #[serde(default)]
    pub early: Vec<EarlyRule>,
    /// Where it says when to come back.
    #[serde(default)]
    pub retry: Vec<RetryRule>,
    /// Where it says that it waits by itself because the service limits it, and for how long.
    #[serde(default)]
    pub waits: Vec<RetryRule>,
    /// Limits that it does not keep by itself.
    #[serde(default)]
    pub limits: Limits,
    /// How it is ended.
    #[serde(default)]
    pub kill: Kill,
    /// What it leaves in a workspace.
    #[serde(default)]
    pub workspace: Workspace,
}

fn documented() -> Evidence {
    Evidence::Documented
}

/// `[program]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Names to look for on `PATH`, the first that is there is taken. None at all where the agent's configuration
    /// names the program.
    pub names: Vec<String>,
    /// What makes it print its version.
    #[serde(default = "version_args")]
    pub version_args: Vec<String>,
    /// Versions that it was tested with, as printed.
    #[serde(default)]
    pub tested: Vec<String>,
    /// The oldest version that can work.
    #[serde(default)]
    pub min: Option<String>,
    /// How to install it.
    #[serde(default)]
    pub install: Option<String>,
    /// How to sign in.
    #[serde(default)]
    pub login: Option<String>,
}

fn version_args() -> Vec<String> {
    vec!["--version".into()]
}

/// `[args]`: groups of whole arguments. A group with a placeholder that has no value is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Always there, first.
    pub base: Vec<String>,
    /// `{model}`.
    pub model: Vec<String>,
    /// By the name of what it may do; `permissions` of the agent picks one.
    pub permissions: BTreeMap<String, Vec<String>>,
    /// The one that is picked when nobody says.
    pub permission: Option<String>,
    /// `{session}`.
    pub resume: Vec<String>,
    /// Always there, last.
    pub prompt: Vec<String>,
    /// With the dialect `acp`: the agent's own arguments; all others are our client's.
    pub agent: Vec<String>,
}

/// How a prompt travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// On standard input, which is closed behind it.
    #[default]
    Stdin,
    /// By `{prompt_file}` in an argument.
    File,
}

/// `[prompt]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prompt {
    /// How it travels.
    pub via: Via,
}

/// `[env]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Env {
    /// Names of variables that it inherits.
    pub allow: Vec<String>,
    /// Variables that it is given.
    pub set: BTreeMap<String, String>,
    /// Variables that it is given when we are root.
    pub if_root: BTreeMap<String, String>,
    /// Of each list one variable must be there, or a login file: else it is not signed in.
    pub requires_any: Vec<Vec<String>>,
    /// Files that a login leaves, below the home directory or `{VARIABLE}`.
    pub login_files: Vec<String>,
    /// Variables whose values are never shown.
    pub secret: Vec<String>,
}

/// Where a program keeps its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HomeMode {
    /// In the user's own place.
    #[default]
    Own,
    /// In the slot's directory, where that does not lose a sign-in: see `links`.
    PerSlot,
}

/// `[home]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Home {
    /// Where.
    pub mode: HomeMode,
    /// Variables that move it; `{slot}` is the slot's directory.
    pub redirect: BTreeMap<String, String>,
    /// Files that must be there, below the slot's directory.
    pub files: BTreeMap<String, String>,
    /// What is linked in while the user is signed in by a file: by its name below the slot's directory, where
    /// it may stand below the home directory or `{VARIABLE}`.
    pub links: BTreeMap<String, Vec<String>>,
    /// Places where it does not work.
    pub forbid_under: Vec<String>,
}

/// `[endpoint]`: variables that point it at `{url}`, without a real key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// Variables; `{url}` is the service's address without a path.
    pub set: BTreeMap<String, String>,
    /// Further arguments; `{url}` as above.
    pub args: Vec<String>,
    /// The model to ask for.
    pub model: Option<String>,
}

/// `[output]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// A line that is longer is dropped.
    pub max_line: usize,
    /// Text is wrapped at this column.
    pub wrap: Option<usize>,
    /// A JSON file below the attempt's directory that the program leaves at its end: one more event, of the type
    /// `file`, with the file's content as `content`.
    pub file: Option<String>,
}

impl Default for Output {
    fn default() -> Self {
        Self { max_line: 16 << 20, wrap: None, file: None }
    }
}

/// `[success]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Success {
    /// Exit codes of a success.
    pub rc: Vec<i32>,
}

impl Default for Success {
    fn default() -> Self {
        Self { rc: vec![0] }
    }
}

/// `[limits]`; 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Seconds to the first event.
    pub first_output_s: u64,
    /// Seconds without an event of model or tool, while no tool is open.
    pub stall_s: u64,
    /// Names the failure that such a stall is, where the program waits without a word when its service limits it.
    pub stall: Failure,
    /// Seconds that one tool may be open.
    pub tool_s: u64,
    /// Steps of the model.
    pub steps: u32,
    /// Steps in a row without a tool and without words that the one before had not said.
    pub idle_steps: u32,
    /// The same tool call in a row, for at least `repeat_s`.
    pub repeats: u32,
    /// Seconds.
    pub repeat_s: u64,
    /// Seconds that it may run on after the event that ends the run.
    pub linger_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_output_s: 120,
            stall_s: 300,
            stall: Failure::Stalled,
            tool_s: 1800,
            steps: 500,
            idle_steps: 5,
            repeats: 20,
            repeat_s: 300,
            linger_s: 15,
        }
    }
}

/// `[kill]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kill {
    /// Seconds between TERM and KILL; the fleet's when absent.
    pub grace_s: Option<u64>,
}

/// `[workspace]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workspace {
    /// What it leaves that is no work.
    pub ignore: Vec<String>,
}
