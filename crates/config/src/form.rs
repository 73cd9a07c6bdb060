//! The forms of texts in a configuration: names, statuses, paths, branches, references to secrets.

use std::path::{Component, Path};

use serde_json::{Value as Json, json};

use super::secrets;
use oodatcaa_core::{
    Class, Guarantee, TaskId,
    hours::Span,
    schedule::{self, Times},
    text,
};

/// The form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Any text that a program can be given.
    Any,
    /// A name of a gate or an adapter.
    Name,
    /// A name of an agent, or of one of its accounts.
    Agent,
    /// A status word.
    Status,
    /// A name of a variable, or the start of names before a `*`, that an agent may inherit.
    Inherited,
    /// The value of an environment variable, or a reference to a secret.
    EnvValue,
    /// A path below the workspace.
    Path,
    /// A branch.
    Branch,
    /// A template of branch names.
    BranchTemplate,
    /// The name of a remote. No address: a project's file must not choose who gets the work.
    Remote,
    /// A class of failure.
    Class,
    /// A file or directory anywhere: absolute, below `~/`, or below the project.
    Place,
    /// A guarantee of a sandbox.
    Guarantee,
    /// Times in the form of cron.
    Times,
    /// A time zone.
    Zone,
    /// A span of hours.
    Span,
}

impl Form {
    /// Checks a text; says what is wrong with it.
    pub(crate) fn check(self, word: &str) -> Result<(), String> {
        if word.contains('\0') {
            return Err("contains a NUL character, which no program can be given".into());
        }
        let shown = text::one_line(word);
        let fits = |good: bool, expected: &str| match good {
            true => Ok(()),
            false => Err(format!("is `{shown}`; expected {expected}")),
        };
        match self {
            Self::Any => Ok(()),
            Self::Name => named(word),
            Self::Agent => match word.split_once('@') {
                Some((agent, account)) => named(agent).and_then(|()| named(account)),
                None => named(word),
            },
            Self::Status => {
                let good = word.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
                fits(good && !word.is_empty(), "a status word: letters, digits, `_`, `-` and `.`")
            }
            Self::Inherited => variable(word.strip_suffix('*').unwrap_or(word)),
            Self::EnvValue => secrets::check(word),
            Self::Path => {
                let is_below = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
                let good = !word.is_empty() && Path::new(word).components().all(is_below);
                fits(good, "a path below the workspace, without `..`")
            }
            Self::Branch => {
                let good = word.chars().all(|c| c.is_alphanumeric() || "._-/+#".contains(c));
                fits(good && !word.starts_with(['-', '.', '/']) && !word.contains(".."), "the name of a branch")
            }
            Self::BranchTemplate if !word.contains("{task}") => {
                Err(format!("is `{shown}`; without {{task}} two tasks could get the same branch"))
            }
            Self::BranchTemplate => {
                let plain =
                    ["{task}", "{slug}", "{kind}"].iter().fold(word.to_owned(), |all, known| all.replace(known, "x"));
                let good = plain.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
                    && !plain.starts_with(['-', '.'])
                    && !plain.contains("..")
                    && plain.split('/').all(|part| !part.is_empty());
                fits(good, "letters, digits, `-`, `_`, `/` and {task}, {slug}, {kind}")
            }
            Self::Remote => {
                named(word).map_err(|why| format!("{why}; expected the name of a remote, such as `origin`"))
            }
            Self::Class => word.parse::<Class>().map(drop),
            Self::Place => {
                let good = !word.is_empty() && !Path::new(word).components().any(|part| part == Component::ParentDir);
                let home = !word.starts_with('~') || word == "~" || word.starts_with("~/");
                fits(good && home, "a path without `..`: absolute, below `~/`, or below the project")
            }
            Self::Span => Span::parse(word).map(drop),
            Self::Times => Times::parse(word, "UTC").map(drop).map_err(|bad| bad.to_string()),
            Self::Zone => fits(schedule::zone(word).is_some(), "a time zone such as UTC or Europe/Berlin"),
            Self::Guarantee => word.parse::<Guarantee>().map(drop).map_err(|why| format!("contains {why}")),
        }
    }

    /// Returns the JSON schema of such a text, or of an empty one where that may be.
    pub(crate) fn schema(self, may_be_empty: bool) -> Json {
        const NAME: &str = "[A-Za-z0-9_][A-Za-z0-9._-]*";
        let pattern = match self {
            Self::Class => return json!({"enum": Class::ALL.iter().map(|class| class.as_str()).collect::<Vec<_>>()}),
            Self::Guarantee => return json!({"enum": Guarantee::ALL.map(Guarantee::as_str)}),
            Self::Place => return json!({"type": "string", "minLength": 1}),
            Self::Any | Self::EnvValue | Self::Path | Self::Branch | Self::Times | Self::Zone | Self::Span => {
                return json!({"type": "string"});
            }
            Self::Name | Self::Remote => NAME.to_owned(),
            Self::Agent => format!("{NAME}(@{NAME})?"),
            Self::Status => "[A-Za-z0-9_.-]+".into(),
            Self::Inherited => r"[A-Za-z_][A-Za-z0-9_]*\*?".into(),
            Self::BranchTemplate => r".*\{task\}.*".into(),
        };
        json!({"type": "string", "pattern": if may_be_empty { format!("^({pattern})?$") } else { format!("^{pattern}$") }})
    }
}

/// Checks a name that becomes part of a file name.
pub(crate) fn named(name: &str) -> Result<(), String> {
    TaskId::parse(name).map(drop).map_err(|why| format!("contains the name `{}`, which {why}", text::one_line(name)))
}

/// Checks a name of a variable, which is not one of ours.
pub(crate) fn variable(name: &str) -> Result<(), String> {
    let shown = text::one_line(name);
    let good = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if !good {
        return Err(format!("contains `{shown}`, which is not the name of a variable"));
    }
    if name.starts_with("OODATCAA_") {
        return Err(format!("contains `{shown}`; the names that start with OODATCAA_ are set by the worker"));
    }
    Ok(())
}
