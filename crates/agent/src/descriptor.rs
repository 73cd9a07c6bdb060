//! The description of an agent CLI: what a TOML file says about its command line, environment,
//! output and failures.
//!
//! Reading and checking stand here; what is done with it stands in `agent::cli` and `agent::stream`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::failure::Failure;

mod check;
mod load;
mod rules;
pub(crate) mod when;

pub use load::{SHIPPED, load, read, table};
pub(crate) use rules::{EarlyRule, ErrorRule, Map, Pick, RetryRule, RetryUnit, Source, ToolRule, UsageMode, UsageRule};
pub(crate) use when::{Pattern, Pointer, When};

/// The form in which a program writes what it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dialect {
    /// JSON lines with messages of content blocks: Claude Code and those that took its form.
    Claude,
    /// JSON lines of events that `[map]` alone tells apart.
    #[default]
    Event,
    /// Lines of text.
    Text,
    /// One JSON object in place of lines, once all is over.
    JsonObject,
    /// The Agent Client Protocol, through our own client, whose events `[map]` tells apart.
    Acp,
}

/// The degree to which a description has been held against the real program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Measured with the real program.
    Measured,
    /// Written from its documentation only.
    #[default]
    Documented,
    /// An example of the format; not to be relied upon.
    Example,
}

/// One agent CLI.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Descriptor {
    /// Its name.
    pub(crate) id: String,
    /// The form of its output.
    pub(crate) dialect: Dialect,
    /// The degree to which this has been held against the real program.
    pub evidence: Evidence,
    /// Notes for people.
    pub(crate) notes: Vec<String>,
    /// Its executable.
    pub program: Program,
    /// Its command line.
    pub args: Args,
    /// The way in which the prompt reaches it.
    pub(crate) prompt: Prompt,
    /// Its environment.
    pub(crate) env: Env,
    /// The place of its own state.
    pub(crate) home: Home,
    /// The settings that point it at another service, for tests.
    pub(crate) endpoint: Option<Endpoint>,
    /// Its output's form.
    pub(crate) output: Output,
    /// The places of things in its events.
    pub(crate) map: Map,
    /// The conditions of success besides the event that ends the run.
    pub(crate) success: Success,
    /// The signs of failures; the first that fits wins, in the order of `source`.
    pub(crate) errors: Vec<ErrorRule>,
    /// Reasons to end the run at once.
    pub(crate) early: Vec<EarlyRule>,
    /// Places at which it says when to come back.
    pub(crate) retry: Vec<RetryRule>,
    /// Places at which it says that it waits by itself because its service limits it, and for how long.
    pub(crate) waits: Vec<RetryRule>,
    /// Limits that it does not keep by itself.
    pub(crate) limits: Limits,
    /// The way in which it is ended.
    pub(crate) kill: Kill,
    /// Its traces in a workspace.
    pub(crate) workspace: Workspace,
}

impl Descriptor {
    /// Returns a line for people on how to sign in, where that is what failed and where it is known.
    pub(crate) fn how_to_sign_in(&self, failure: Failure) -> String {
        let login = self.program.login.as_ref().filter(|_| failure == Failure::Auth);
        login.map(|login| format!("\nto sign in: {login}")).unwrap_or_default()
    }
}

/// `[program]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Program {
    /// Names to look for on `PATH`, the first that is there is taken. None at all where the agent's configuration
    /// names the program.
    pub names: Vec<String>,
    /// The arguments that make it print its version; `--version` when absent.
    pub(crate) version_args: Vec<String>,
    /// Versions that it was tested with, as printed.
    pub tested: Vec<String>,
    /// The oldest version that can work.
    pub(crate) min: Option<String>,
    /// The command that installs it.
    pub install: Option<String>,
    /// The way to sign in.
    pub login: Option<String>,
}

/// `[args]`: groups of whole arguments. A group with a placeholder that has no value is left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Always there, first.
    pub(crate) base: Vec<String>,
    /// `{model}`.
    pub(crate) model: Vec<String>,
    /// By the name of what it may do; `permissions` of the agent picks one.
    pub permissions: BTreeMap<String, Vec<String>>,
    /// The one that is picked when nobody says.
    pub(crate) permission: Option<String>,
    /// Those that lean on a sandbox of the program's own, which breaks inside ours.
    pub(crate) own_sandbox: Vec<String>,
    /// `{session}`.
    pub(crate) resume: Vec<String>,
    /// Always there, last.
    pub(crate) prompt: Vec<String>,
    /// With the dialect `acp`: the agent's own arguments; all others are our client's.
    pub(crate) agent: Vec<String>,
}

/// The permissions that are picked by themselves inside our sandbox.
const SANDBOXED: &str = "sandboxed";

/// The permissions under which nothing is changed; whoever asks for them gets nothing else in their place.
const PLAN: &str = "plan";

impl Args {
    /// Lists the words that a configuration may use for its permissions.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.permissions.keys().map(String::as_str).filter(|word| *word != SANDBOXED)
    }

    /// Returns the arguments for the permissions that a configuration asks for, if for any. Fails with the word where
    /// it cannot be kept inside our sandbox.
    ///
    /// Inside our sandbox the program's own gives way: what it kept in, ours keeps in. A word that only says what the
    /// program has to ask for stays as it was written.
    pub(crate) fn permitted(&self, asked: Option<&str>, sandboxed: bool) -> Result<&[String], String> {
        let freed = self.permissions.get(SANDBOXED).filter(|_| sandboxed);
        let leans = |word: &str| self.own_sandbox.iter().any(|own| own == word);
        let word = asked.or(self.permission.as_deref());
        match (word, freed) {
            (Some(PLAN), Some(_)) if leans(PLAN) => Err(PLAN.into()),
            (word, Some(freed)) if asked.is_none() || word.is_some_and(leans) => Ok(freed),
            (word, _) => Ok(word.and_then(|word| self.permissions.get(word)).map_or(&[], Vec::as_slice)),
        }
    }
}

/// The way of a prompt to the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Via {
    /// On standard input, which is closed behind it.
    #[default]
    Stdin,
    /// By `{prompt_file}` in an argument.
    File,
}

/// `[prompt]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Prompt {
    /// The way of the prompt.
    pub(crate) via: Via,
}

/// `[env]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Env {
    /// Names of variables that it inherits.
    pub(crate) allow: Vec<String>,
    /// Variables that it is given.
    pub(crate) set: BTreeMap<String, String>,
    /// Variables that it is given when we are root.
    pub(crate) if_root: BTreeMap<String, String>,
    /// Of each list one variable must be there, or a login file: else it is not signed in.
    pub(crate) requires_any: Vec<Vec<String>>,
    /// Files that a login leaves, below the home directory or `{VARIABLE}`.
    pub(crate) login_files: Vec<String>,
    /// Variables whose values are never shown.
    pub(crate) secret: Vec<String>,
}

/// The place of a program's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HomeMode {
    /// In the user's own place.
    #[default]
    Own,
    /// In the slot's directory, where that does not lose a sign-in: see `links`.
    PerSlot,
}

/// `[home]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Home {
    /// The place of the program's state.
    pub(crate) mode: HomeMode,
    /// Variables that move it; `{slot}` is the slot's directory.
    pub(crate) redirect: BTreeMap<String, String>,
    /// Files that must be there, below the slot's directory.
    pub(crate) files: BTreeMap<String, String>,
    /// Files that are linked in while the user is signed in by a file: by its name below the slot's directory, where
    /// it may stand below the home directory or `{VARIABLE}`.
    pub(crate) links: BTreeMap<String, Vec<String>>,
    /// Places where it does not work.
    pub(crate) forbid_under: Vec<String>,
    /// Files that it makes in the user's own place when it first starts, and cannot do without: inside our sandbox it
    /// cannot make them.
    pub(crate) first: Vec<First>,
}

/// `[[home.first]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct First {
    /// Its place, below the home directory or `{VARIABLE}`; the first that is known.
    pub(crate) at: Vec<String>,
    /// The content that the program writes.
    pub(crate) text: String,
}

/// `[endpoint]`: variables that point it at `{url}`, without a real key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Endpoint {
    /// Variables; `{url}` is the service's address without a path.
    pub(crate) set: BTreeMap<String, String>,
    /// Further arguments; `{url}` as above.
    pub(crate) args: Vec<String>,
    /// The model to ask for.
    pub(crate) model: Option<String>,
}

/// `[output]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Output {
    /// A line that is longer is dropped.
    pub(crate) max_line: usize,
    /// Text is wrapped at this column.
    pub(crate) wrap: Option<usize>,
    /// A JSON file below the attempt's directory that the program leaves at its end: one more event, of the type
    /// `file`, with the file's content as `content`.
    pub(crate) file: Option<String>,
    /// Directories, below the home directory or `{VARIABLE}`, that hold its own record of each session: JSON lines in a
    /// file whose name ends with the session's.
    pub(crate) sessions: Vec<String>,
    /// Events in it with which a run begins; what stands before them is another's.
    pub(crate) begins: Vec<When>,
}

impl Default for Output {
    fn default() -> Self {
        Self { max_line: 16 << 20, wrap: None, file: None, sessions: Vec::new(), begins: Vec::new() }
    }
}

/// `[success]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Success {
    /// Exit codes of a success; 0 when absent.
    pub(crate) rc: Vec<i32>,
}

/// `[limits]`; 0 for none.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Seconds to the first event.
    pub(crate) first_output_s: u64,
    /// Seconds without an event of model or tool, while no tool is open.
    pub(crate) stall_s: u64,
    /// Names the failure that such a stall is, where the program waits without a word when its service limits it.
    pub(crate) stall: Failure,
    /// Seconds that one tool may be open.
    pub(crate) tool_s: u64,
    /// Steps of the model.
    pub(crate) steps: u32,
    /// Steps in a row without a tool and without words that the one before had not said.
    pub(crate) idle_steps: u32,
    /// The same tool call in a row, for at least `repeat_s`.
    pub(crate) repeats: u32,
    /// Seconds.
    pub(crate) repeat_s: u64,
    /// Seconds that it may run on after the event that ends the run.
    pub(crate) linger_s: u64,
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
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Kill {
    /// Seconds between TERM and KILL; the fleet's when absent.
    pub(crate) grace_s: Option<u64>,
}

/// `[workspace]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Workspace {
    /// Patterns of files that it leaves and that are no work.
    pub(crate) ignore: Vec<String>,
}
