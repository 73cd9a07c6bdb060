//! The table of keys: what may stand in a configuration, of which kind, for what.
//!
//! Checking, `config show`, the JSON Schema and the test of the commented default all read this one table.

use std::time::Duration;

use serde_json::json;
use toml::Value;

use UntilTrusted::{Adds, Ignored, Limit, OnlyTrue, Smaller};

use super::values::{
    self, below, branch, branch_template, count, duration, inherited, list, money, named, no_nul, size, status, words,
    wrong,
};
use oodatcaa_core::{Class, text};

/// A key, or with `*` in its path all keys of that form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// With dots; `*` stands for a name.
    pub(super) path: &'static str,
    /// What a project may do with it before the user trusts the project.
    pub(super) untrusted: UntilTrusted,
    /// What its value must be.
    pub(super) kind: Kind,
    /// For people, one sentence.
    pub(super) doc: &'static str,
    /// The value, as TOML, of a key below a name that does not set it.
    pub(super) default: Option<&'static str>,
}

/// What the files of a project that the user has not trusted may do with a key. Every key decides, and whatever
/// could loosen anything is [`UntilTrusted::Ignored`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UntilTrusted {
    /// Nothing: the value of the layers below stays.
    Ignored,
    /// Make the number, the duration or the size smaller.
    Smaller,
    /// The same where 0 stands for no limit: set one, or make it smaller.
    Limit,
    /// Say `true`.
    OnlyTrue,
    /// Add entries: those of the layers below count as well.
    Adds,
}

/// The key of everything below the name of an adapter: its form is the adapter's matter.
pub(super) const ADAPTERS: &str = "adapters.*.*";

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A name of an agent; empty for none.
    Agent,
    /// A status word.
    Status,
    /// A status word; empty for none.
    NoStatus,
    /// A duration of at least this many milliseconds.
    Duration(u64),
    /// A whole number from here on.
    Count(u32),
    /// Bytes, as a number or as text with a unit.
    Size,
    /// The same, or 0 for no limit.
    Room,
    /// An amount of dollars.
    Money,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `command`, `sim` or the name of an adapter.
    Adapter,
    /// Arguments.
    Args,
    /// Anything; somebody else knows what it must be.
    Any,
    /// Program and arguments.
    Argv,
    /// Names of environment variables.
    EnvNames,
    /// Names of gates.
    Gates,
    /// Names of agents.
    Agents,
    /// Paths below the workspace.
    Paths,
    /// The value of an environment variable, or a reference to a secret.
    EnvValue,
    /// A class of failure.
    Class,
    /// Program and arguments; empty for none.
    NoArgv,
    /// A template of branch names.
    BranchTemplate,
    /// A branch; empty for a choice of ours.
    Branch,
    /// The name of a remote; empty for none. No address: a project's file must not choose who gets the work.
    Remote,
}

/// The least memory in which a program can start.
const LEAST_MEMORY: u64 = 1 << 20;

/// The least bytes of output that say anything.
const LEAST_OUTPUT: u64 = 1_024;

const fn key(path: &'static str, untrusted: UntilTrusted, kind: Kind, doc: &'static str) -> Key {
    Key { path, untrusted, kind, doc, default: None }
}

const fn with(
    path: &'static str,
    untrusted: UntilTrusted,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { path, untrusted, kind, doc, default: Some(default) }
}

/// Every key there is.
pub(super) const KEYS: &[Key] = &[
    key("fleet.agent", Ignored, Kind::Agent, "The agent of every role that names none of its own; empty for none."),
    key(
        "fleet.interval",
        Ignored,
        Kind::Duration(100),
        "The fallback poll; a change of the queue file wakes a worker at once.",
    ),
    key("fleet.drain", Ignored, Kind::Duration(0), "How long running attempts may go on after the first TERM."),
    key("fleet.grace", Ignored, Kind::Duration(0), "Between TERM and KILL of an agent."),
    key("fleet.lock_wait", Ignored, Kind::Duration(0), "How long to wait for the queue lock."),
    key("retry.attempts", Smaller, Kind::Count(1), "Charged attempts per stage before a task counts as failed."),
    key(
        "retry.backoff",
        Ignored,
        Kind::Duration(0),
        "The first wait after a failure; it doubles with every further one.",
    ),
    key("retry.backoff_max", Ignored, Kind::Duration(0), "The longest wait after a failure."),
    key("retry.transient", Smaller, Kind::Count(0), "Failures in a row that are not charged, for passing troubles."),
    key("retry.deaths", Smaller, Kind::Count(1), "Workers that one task may take down before it is charged."),
    key("retry.adapts", Smaller, Kind::Count(0), "Adapt loops of a task before a human is asked."),
    key(
        "retry.conflicts",
        Smaller,
        Kind::Count(0),
        "Merge conflicts of a task that go back to its author; the next goes to the refiner, one more to a human.",
    ),
    key(
        "retry.pause_after",
        Limit,
        Kind::Count(0),
        "Different tasks failing in a row before their role pauses; 0 for never.",
    ),
    key("limits.starts", Smaller, Kind::Count(1), "Starts of agents for one task before a human is asked."),
    key(
        "limits.generations",
        Smaller,
        Kind::Count(0),
        "How deep planners may plan: a task's children are the first generation.",
    ),
    key("limits.children", Smaller, Kind::Count(0), "Children, and theirs, that planners may make of one task."),
    key("merge.approval", OnlyTrue, Kind::Flag, "Whether a human must approve a task before it is merged."),
    key(
        "merge.policy",
        Ignored,
        Kind::Choice(&["merge", "squash", "rebase"]),
        "`merge` for a merge commit, `squash` for one commit, `rebase` for the branch's commits on top of the target.",
    ),
    key(
        "merge.push",
        Ignored,
        Kind::Remote,
        "The remote that gets the target with every merge; empty keeps everything local.",
    ),
    key("merge.changelog", Ignored, Kind::Flag, "Whether every merged task gets a line in `CHANGELOG.md`."),
    key("merge.tags", Ignored, Kind::Flag, "Whether merges are tagged `pre/<task>-<UTC>` and `<task>-complete`."),
    key("merge.after", Adds, Kind::Gates, "Gates to run after the target has moved; a red one takes the merge back."),
    key(
        "decisions.deadline",
        Limit,
        Kind::Duration(0),
        "How long a human is waited for before the answer is no; 0 for ever.",
    ),
    with("budget.*.tokens", Limit, Kind::Count(0), "0", "Tokens read and written; 0 for no limit."),
    with("budget.*.usd", Limit, Kind::Money, "0", "Dollars, as the agent reports them; 0 for no limit."),
    with("budget.*.wall", Limit, Kind::Duration(0), "0", "Time on the wall clock; 0 for no limit."),
    with("budget.*.turns", Limit, Kind::Count(0), "0", "Turns of the conversation; 0 for no limit."),
    with("budget.role.starts", Limit, Kind::Count(0), "0", "Starts of agents of one role on one day; 0 for no limit."),
    with("budget.day.starts", Limit, Kind::Count(0), "0", "Starts of agents on one day; 0 for no limit."),
    key("roles.*.takes", Ignored, Kind::Status, "The status that the role claims."),
    key("roles.*.works", Ignored, Kind::Status, "The status while it works; no other role may have it."),
    key("roles.*.done", Ignored, Kind::Status, "Where a task goes after success."),
    with(
        "roles.*.done_with_children",
        Ignored,
        Kind::NoStatus,
        r#""""#,
        "Where a task goes after success if it has children; empty for no difference.",
    ),
    key("roles.*.failed", Ignored, Kind::Status, "Where a task goes when its attempts are used up."),
    with(
        "roles.*.replan",
        Ignored,
        Kind::NoStatus,
        r#""""#,
        "Where a task goes when the agent asks for a new plan; empty for where failed ones go.",
    ),
    with("roles.*.ttl", Ignored, Kind::Duration(1_000), r#""45m""#, "How long a lease lives without a heartbeat."),
    with("roles.*.agent", Ignored, Kind::Agent, r#""""#, "The agent that works; empty for the one of `[fleet]`."),
    with(
        "roles.*.agents",
        Ignored,
        Kind::Agents,
        "[]",
        "Agents in order: the next works while the quota of those before it is used up; in place of `agent`.",
    ),
    key(
        "roles.*.on_retry.agent",
        Ignored,
        Kind::Agent,
        "The agent for a task that has failed before, e.g. a stronger one; then those of `agents`, as long as its quota is used up.",
    ),
    with("roles.*.timeout", Smaller, Kind::Duration(100), r#""60m""#, "Wall-clock limit of an attempt."),
    with(
        "roles.*.silence",
        Limit,
        Kind::Duration(0),
        r#""10m""#,
        "Longest time without a byte of output; 0 turns it off.",
    ),
    with("roles.*.output", Smaller, Kind::Size, r#""64MiB""#, "Size limit of each output file."),
    with(
        "roles.*.memory",
        Limit,
        Kind::Room,
        "0",
        "Memory of an agent and all that it started together, e.g. \"4GiB\"; 0 for no limit.",
    ),
    with("roles.*.gates", Adds, Kind::Gates, "[]", "Gates to run after the agent said done, in order."),
    with("roles.*.files", Adds, Kind::Paths, "[]", "Files that must be there after the attempt, below the workspace."),
    with(
        "roles.*.require_result",
        OnlyTrue,
        Kind::Flag,
        "false",
        "Whether an attempt without a `result.json` counts as without evidence.",
    ),
    with(
        "roles.*.change",
        OnlyTrue,
        Kind::Flag,
        "false",
        "Whether an attempt that says done must have changed files; `no_change` is an outcome of its own.",
    ),
    with(
        "roles.*.criteria",
        OnlyTrue,
        Kind::Flag,
        "false",
        "Whether `result.json` must answer every acceptance criterion of the task, with evidence.",
    ),
    with(
        "roles.*.commits",
        Ignored,
        Kind::Choice(&["auto", "always", "never"]),
        "\"auto\"",
        "Whether what the role changes in a worktree becomes commits of the task's branch, or is saved and taken out again; `auto`: of roles that build or mend.",
    ),
    key(
        "agents.*.kind",
        Ignored,
        Kind::Adapter,
        "An adapter (`claude`, `codex`, …), `command` for any program, `sim` for the simulated agent.",
    ),
    key("agents.*.adapter", Ignored, Kind::Agent, "The adapter, where `kind` names none."),
    key("agents.*.model", Ignored, Kind::Text, "The model to ask for; with an adapter."),
    key(
        "agents.*.permissions",
        Ignored,
        Kind::Text,
        "What it may do unasked, in the words of its adapter: `edits`, `all`, ….",
    ),
    key(
        "agents.*.account",
        Ignored,
        Kind::Agent,
        "The account it uses; agents of one adapter, account and model share its limits.",
    ),
    with("agents.*.args", Ignored, Kind::Args, "[]", "Further arguments; with an adapter."),
    key("agents.*.argv", Ignored, Kind::Argv, "Program and arguments; never run through a shell."),
    with(
        "agents.*.prompt",
        Ignored,
        Kind::Choice(&["stdin", "file"]),
        r#""stdin""#,
        "How the prompt reaches it: on standard input, or by `{prompt_file}` in `argv`.",
    ),
    with(
        "agents.*.env",
        Ignored,
        Kind::EnvNames,
        "[]",
        "Names of variables that it inherits, besides the few that every program needs; `NAME_*` for all that start so.",
    ),
    key("agents.*.set.*", Ignored, Kind::EnvValue, "A variable that it is given: text, `env:NAME` or `file:PATH`."),
    key(
        "agents.*.accounts.*.set.*",
        Ignored,
        Kind::EnvValue,
        "A variable of one of its accounts: text, `env:NAME` or `file:PATH`. Each account is an agent `NAME@ACCOUNT` with a pool and a home of its own; of those that are open, the one whose window ends first works.",
    ),
    key("agents.*.exits.*", Ignored, Kind::Class, "What an exit code means, as a class of failure."),
    key("agents.*.install", Ignored, Kind::Text, "How to install it, for the message when it is missing."),
    key(ADAPTERS, Ignored, Kind::Any, "What differs from the adapter that ships, or a new one; see CONTRIBUTING.md."),
    key("gates.*.argv", Ignored, Kind::Argv, "Program and arguments; exit code 0 lets the task pass."),
    with("gates.*.timeout", Ignored, Kind::Duration(100), r#""10m""#, "Wall-clock limit of a run of the gate."),
    with(
        "gates.*.baseline",
        Ignored,
        Kind::Choice(&["check", "skip"]),
        r#""check""#,
        "`check`: a red gate is tried on the commit that the work began with; `skip`: it is meant to be red there.",
    ),
    with(
        "gates.*.env",
        Ignored,
        Kind::EnvNames,
        "[]",
        "Names of variables that it inherits, besides the few that every program needs; `NAME_*` for all that start so.",
    ),
    key(
        "workspace.mode",
        Ignored,
        Kind::Choice(&["shared", "worktree"]),
        "`worktree` for a git worktree and a branch per task, `shared` for the project's own directory.",
    ),
    key("workspace.root", Ignored, Kind::Text, "Where worktrees lie; empty for `$XDG_STATE_HOME/oodatcaa`."),
    key(
        "workspace.branch",
        Ignored,
        Kind::BranchTemplate,
        "The name of a task's branch, with {task}, {slug} (of its title) and {kind}.",
    ),
    key(
        "workspace.base",
        Ignored,
        Kind::Branch,
        "What branches start from; empty for the branch of the main checkout.",
    ),
    key(
        "workspace.fetch",
        Ignored,
        Kind::Choice(&["off", "on"]),
        "`on`: what branches start from is fetched from its remote before a new worktree is made, and follows it forward.",
    ),
    key(
        "workspace.author",
        Ignored,
        Kind::Text,
        "Who commits what an agent left, as `Name <mail>`; empty for its role.",
    ),
    key(
        "workspace.copy",
        Ignored,
        Kind::Paths,
        "Untracked files and directories of the main checkout that every worktree gets a copy of, also by `*`, `?`, `**`; never merged.",
    ),
    key("workspace.setup", Ignored, Kind::NoArgv, "Program and arguments to run in a new worktree; empty for none."),
    key(
        "workspace.teardown",
        Ignored,
        Kind::NoArgv,
        "Program and arguments to run before a worktree goes; empty for none.",
    ),
    key("workspace.hook_timeout", Ignored, Kind::Duration(100), "Wall-clock limit of `setup` and of `teardown`."),
    key(
        "workspace.hook_env",
        Ignored,
        Kind::EnvNames,
        "Names of variables that hooks inherit, besides the few that every program needs; `NAME_*` for all that start so.",
    ),
    key("workspace.port_base", Ignored, Kind::Count(0), "The first port of the tasks' blocks; 0 for no ports."),
    key("workspace.ports", Ignored, Kind::Count(1), "How many ports each task has for itself."),
    key("workspace.lock_wait", Ignored, Kind::Duration(0), "How long to wait for the lock of the repository."),
    key("workspace.disk_min", Ignored, Kind::Size, "With less room than this on its disk no worktree is made."),
    key(
        "workspace.keep",
        Ignored,
        Kind::Duration(0),
        "How long runs and saved work of finished tasks stay; see `agentctl gc`.",
    ),
];

/// What a path is in the table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// A key with a value.
    Leaf(&'static Key),
    /// A table above keys.
    Table,
    /// Something below a key with a value.
    Below(&'static Key),
    /// Nothing.
    Unknown,
}

/// Looks a path up.
pub(super) fn place(path: &[String]) -> Place {
    let mut found = Place::Unknown;
    for key in KEYS {
        let parts: Vec<&str> = key.path.split('.').collect();
        let fits = parts.iter().zip(path).all(|(part, name)| *part == "*" || part == name);
        match (fits, parts.len().cmp(&path.len())) {
            (false, _) => {}
            (true, std::cmp::Ordering::Equal) => return Place::Leaf(key),
            (true, std::cmp::Ordering::Greater) => found = Place::Table,
            (true, std::cmp::Ordering::Less) if key.kind == Kind::Any => return Place::Leaf(key),
            (true, std::cmp::Ordering::Less) => found = Place::Below(key),
        }
    }
    found
}

/// The names that could stand where a path's last known table ends, for "did you mean".
pub(super) fn siblings(above: &[String]) -> Vec<&'static str> {
    let mut names: Vec<&str> = KEYS
        .iter()
        .filter_map(|key| {
            let mut parts = key.path.split('.');
            let fits = above.iter().all(|name| parts.next().is_some_and(|part| part == "*" || part == name));
            fits.then(|| parts.next()).flatten().filter(|part| *part != "*")
        })
        .collect();
    names.dedup();
    names
}

impl Key {
    /// The value of a name that does not set it.
    pub(super) fn default_value(&self) -> Option<Value> {
        let table: toml::Table = format!("v = {}", self.default?).parse().expect("defaults in the table are TOML");
        table.get("v").cloned()
    }
}

impl Kind {
    /// A value's size, in the smallest unit of its kind, to be compared; `None` where it has none.
    pub(super) fn amount(self, value: &Value) -> Option<u128> {
        match self {
            Self::Duration(_) => duration(value).ok().map(|time| time.as_nanos()),
            Self::Count(_) => count(value).ok().map(u128::from),
            Self::Size | Self::Room => size(value).ok().map(u128::from),
            Self::Money => money(value).ok().map(u128::from),
            _ => None,
        }
    }

    /// Checks a value; answers with what was expected.
    pub(super) fn check(self, value: &Value) -> Result<(), String> {
        match self {
            Self::Text => words(value).map(drop),
            Self::Agent => match words(value)? {
                "" => Ok(()),
                name => values::agent(name),
            },
            Self::Status => match words(value)? {
                "" => Err("is empty; expected a status word".into()),
                word => status(word),
            },
            Self::NoStatus => match words(value)? {
                "" => Ok(()),
                word => status(word),
            },
            Self::Duration(least) => duration(value).and_then(|time| {
                let least = Duration::from_millis(least);
                if time < least {
                    Err(format!("is {}; at least {} is needed", text::duration(time), text::duration(least)))
                } else {
                    Ok(())
                }
            }),
            Self::Count(least) => match count(value)? {
                n if n < least => Err(format!("is {n}; at least {least} is needed")),
                _ => Ok(()),
            },
            Self::Size => match size(value)? {
                n if n < LEAST_OUTPUT => Err(format!("is {n} bytes; at least {LEAST_OUTPUT} are needed")),
                _ => Ok(()),
            },
            Self::Room => match size(value)? {
                n if n > 0 && n < LEAST_MEMORY => {
                    Err(format!("is {n} bytes; at least {LEAST_MEMORY} are needed, or 0 for no limit"))
                }
                _ => Ok(()),
            },
            Self::Money => money(value).map(drop),
            Self::Flag => value.as_bool().map(drop).ok_or_else(|| wrong(value, "`true` or `false`")),
            Self::Choice(choices) => {
                let word = words(value)?;
                if choices.contains(&word) {
                    Ok(())
                } else {
                    Err(format!("is `{}`; expected one of: {}", text::one_line(word), choices.join(", ")))
                }
            }
            Self::Adapter => named(words(value)?),
            Self::Args => list(value).and_then(|_| no_nul(value)),
            Self::Any => Ok(()),
            Self::Argv => match list(value)?.first() {
                None => Err("is empty; expected a program and its arguments".into()),
                Some(&"") => Err("names no program".into()),
                Some(_) => no_nul(value),
            },
            Self::EnvNames => list(value)?.into_iter().try_for_each(inherited),
            Self::Gates => list(value)?.into_iter().try_for_each(named),
            Self::Agents => list(value)?.into_iter().try_for_each(values::agent),
            Self::Paths => list(value)?.into_iter().try_for_each(below),
            Self::EnvValue => no_nul(value),
            Self::Class => words(value)?.parse::<Class>().map(drop),
            Self::NoArgv => match list(value)?.first() {
                Some(&"") => Err("names no program".into()),
                _ => no_nul(value),
            },
            Self::BranchTemplate => branch_template(words(value)?),
            Self::Branch => branch(words(value)?),
            Self::Remote => match words(value)? {
                "" => Ok(()),
                name => named(name).map_err(|why| format!("{why}; expected the name of a remote, such as `origin`")),
            },
        }
    }

    fn schema(self) -> serde_json::Value {
        let duration = "^([0-9]+|([0-9]+(ms|s|m|min|h|d))+)$";
        let list = |items: serde_json::Value| json!({"type": "array", "items": items});
        match self {
            Self::Text | Self::EnvValue | Self::Branch => json!({"type": "string"}),
            Self::Remote => json!({"type": "string", "pattern": "^([A-Za-z0-9_][A-Za-z0-9._-]*)?$"}),
            Self::Agent => {
                json!({"type": "string", "pattern": "^([A-Za-z0-9_][A-Za-z0-9._-]*(@[A-Za-z0-9_][A-Za-z0-9._-]*)?)?$"})
            }
            Self::Status => json!({"type": "string", "minLength": 1}),
            Self::NoStatus => json!({"type": "string"}),
            Self::Duration(_) => {
                json!({"anyOf": [{"type": "string", "pattern": duration}, {"type": "integer", "minimum": 0}]})
            }
            Self::Count(least) => json!({"type": "integer", "minimum": least}),
            Self::Size => json!({"anyOf": [
                {"type": "integer", "minimum": LEAST_OUTPUT},
                {"type": "string", "pattern": "^[0-9]+ ?(B|kB|KiB|MB|MiB|GB|GiB)?$"}
            ]}),
            Self::Room => json!({"anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": "^[0-9]+ ?(B|kB|KiB|MB|MiB|GB|GiB)?$"}
            ]}),
            Self::Money => json!({"type": "number", "minimum": 0}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Choice(choices) => json!({"enum": choices}),
            Self::Adapter => json!({"type": "string", "minLength": 1}),
            Self::Args => list(json!({"type": "string"})),
            Self::Any => json!({}),
            Self::NoArgv => list(json!({"type": "string"})),
            Self::BranchTemplate => json!({"type": "string", "pattern": r"\{task\}"}),
            Self::Argv => json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
            Self::EnvNames => list(json!({"type": "string", "pattern": r"^[A-Za-z_][A-Za-z0-9_]*\*?$"})),
            Self::Gates | Self::Agents | Self::Paths => list(json!({"type": "string"})),
            Self::Class => json!({"enum": Class::ALL.iter().map(|class| class.as_str()).collect::<Vec<_>>()}),
        }
    }
}

/// The JSON Schema of a configuration file.
pub fn schema() -> serde_json::Value {
    let mut root = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "config.schema.json",
        "title": "oodatcaa configuration",
        "type": "object",
        "properties": {}
    });
    for key in KEYS {
        let mut at = &mut root;
        let parts: Vec<&str> = key.path.split('.').collect();
        for (n, part) in parts.iter().enumerate() {
            let names = if *part == "*" { "additionalProperties" } else { "properties" };
            let table = at.as_object_mut().expect("built as objects");
            table.entry("type").or_insert_with(|| json!("object"));
            let mut below = table.entry(names).or_insert_with(|| json!({}));
            if *part != "*" {
                below = below.as_object_mut().expect("built as objects").entry(*part).or_insert_with(|| json!({}));
            }
            if n + 1 == parts.len() {
                *below = key.kind.schema();
                below["description"] = json!(key.doc);
            }
            at = below;
        }
    }
    close(&mut root);
    root
}

/// Lets every table hold only what is known.
fn close(schema: &mut serde_json::Value) {
    let Some(table) = schema.as_object_mut() else { return };
    for names in ["properties", "additionalProperties"] {
        match table.get_mut(names) {
            Some(serde_json::Value::Object(below)) if names == "properties" => below.values_mut().for_each(close),
            Some(below) => close(below),
            None => {}
        }
    }
    if table.contains_key("properties") {
        table.entry("additionalProperties").or_insert_with(|| false.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(Into::into).collect()
    }

    #[test]
    fn a_path_is_found_in_the_table() {
        assert!(matches!(place(&path("fleet.interval")), Place::Leaf(key) if key.path == "fleet.interval"));
        assert!(matches!(place(&path("agents.x.set.TOKEN")), Place::Leaf(key) if key.kind == Kind::EnvValue));
        assert!(matches!(place(&path("roles.qa")), Place::Table));
        assert!(matches!(place(&path("fleet.interval.x")), Place::Below(_)));
        assert!(matches!(place(&path("fleet.colour")), Place::Unknown));
        assert_eq!(siblings(&path("fleet")), ["agent", "interval", "drain", "grace", "lock_wait"]);
        assert_eq!(
            siblings(&[]),
            [
                "fleet",
                "retry",
                "limits",
                "merge",
                "decisions",
                "budget",
                "roles",
                "agents",
                "adapters",
                "gates",
                "workspace"
            ]
        );
    }

    #[test]
    fn values_are_checked_by_their_kind() {
        let fails = |kind: Kind, toml: &str| {
            let value: toml::Table = format!("v = {toml}").parse().expect("TOML");
            kind.check(&value["v"]).expect_err("refused")
        };
        assert_eq!(fails(Kind::Duration(100), "0"), "is 0s; at least 100ms is needed");
        assert_eq!(fails(Kind::Duration(0), "-1"), "is -1; expected a duration, e.g. \"90s\" or a number of seconds");
        assert_eq!(fails(Kind::Duration(0), "\"9999d\""), "is 9999d; at most 366d is allowed");
        assert_eq!(fails(Kind::Count(1), "0"), "is 0; at least 1 is needed");
        assert_eq!(fails(Kind::Flag, "\"yes\""), "is `yes`; expected `true` or `false`");
        assert_eq!(fails(Kind::Choice(&["a", "b"]), "\"c\""), "is `c`; expected one of: a, b");
        assert_eq!(fails(Kind::Argv, "[]"), "is empty; expected a program and its arguments");
        assert!(fails(Kind::Argv, "\"claude -p\"").contains("expected a list of texts"));
        assert!(fails(Kind::EnvNames, "[\"OODATCAA_TASK_ID\"]").contains("set by the worker"));
        assert!(fails(Kind::Class, "\"exploded\"").contains("rate_limited"));
        for outside in ["/etc/passwd", "../x", "a/../../x", ""] {
            assert!(fails(Kind::Paths, &format!("[\"{outside}\"]")).contains("below the workspace"), "{outside}");
        }
    }
}
