//! The forms of texts in a configuration: names, statuses, paths, branches, references to secrets.

use std::path::{Component, Path};

use serde_json::{Value as Json, json};

use super::secrets;
use oodatcaa_core::{Class, TaskId, text};

/// What a text must look like.
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
}

impl Form {
    /// Checks a text; says what is wrong with it.
    pub(crate) fn check(self, word: &str) -> Result<(), String> {
        if word.contains('\0') {
            return Err("holds a NUL character, which no program can be given".into());
        }
        match self {
            Self::Any => Ok(()),
            Self::Name => named(word),
            Self::Agent => agent(word),
            Self::Status => status(word),
            Self::Inherited => variable(word.strip_suffix('*').unwrap_or(word)),
            Self::EnvValue => secrets::check(word),
            Self::Path => below(word),
            Self::Branch => branch(word),
            Self::BranchTemplate => branch_template(word),
            Self::Remote => {
                named(word).map_err(|why| format!("{why}; expected the name of a remote, such as `origin`"))
            }
            Self::Class => word.parse::<Class>().map(drop),
        }
    }

    /// Returns the JSON schema of such a text, or of an empty one where that may be.
    pub(crate) fn schema(self, may_be_empty: bool) -> Json {
        const NAME: &str = "[A-Za-z0-9_][A-Za-z0-9._-]*";
        let pattern = match self {
            Self::Class => return json!({"enum": Class::ALL.iter().map(|class| class.as_str()).collect::<Vec<_>>()}),
            Self::Any | Self::EnvValue | Self::Path | Self::Branch => return json!({"type": "string"}),
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
    TaskId::parse(name).map(drop).map_err(|why| format!("holds the name `{}`, which {why}", text::one_line(name)))
}

/// Checks a name of an agent, or of one of its accounts: `claude@work`.
fn agent(name: &str) -> Result<(), String> {
    match name.split_once('@') {
        Some((agent, account)) => named(agent).and_then(|()| named(account)),
        None => named(name),
    }
}

/// Checks a status word.
fn status(word: &str) -> Result<(), String> {
    if word.is_empty() {
        return Err("is empty; expected a status word".into());
    }
    if word.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
        Ok(())
    } else {
        Err(format!("is `{}`; a status word has letters, digits, `_`, `-` and `.`", text::one_line(word)))
    }
}

/// Checks a name of a variable, which is not one of ours.
pub(crate) fn variable(name: &str) -> Result<(), String> {
    let shown = text::one_line(name);
    let good = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if !good {
        return Err(format!("holds `{shown}`, which is no name of a variable"));
    }
    if name.starts_with("OODATCAA_") {
        return Err(format!("holds `{shown}`; the names that start with OODATCAA_ are set by the worker"));
    }
    Ok(())
}

/// Checks a path below the workspace.
fn below(path: &str) -> Result<(), String> {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.is_empty() || !inside {
        return Err(format!("holds `{}`; expected a path below the workspace, without `..`", text::one_line(path)));
    }
    Ok(())
}

/// Checks a template of branch names that gives every task its own.
fn branch_template(template: &str) -> Result<(), String> {
    let mut plain = template.to_owned();
    for known in ["{task}", "{slug}", "{kind}"] {
        plain = plain.replace(known, "x");
    }
    let shown = text::one_line(template);
    if !template.contains("{task}") {
        return Err(format!("is `{shown}`; without {{task}} two tasks could get the same branch"));
    }
    let good = plain.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
        && !plain.starts_with(['-', '.'])
        && !plain.contains("..")
        && plain.split('/').all(|part| !part.is_empty());
    if good {
        Ok(())
    } else {
        Err(format!("is `{shown}`; expected letters, digits, `-`, `_`, `/` and {{task}}, {{slug}}, {{kind}}"))
    }
}

/// Checks the name of a branch that is there already.
fn branch(name: &str) -> Result<(), String> {
    let good = name.chars().all(|c| c.is_alphanumeric() || "._-/+#".contains(c))
        && !name.starts_with(['-', '.', '/'])
        && !name.contains("..");
    if good { Ok(()) } else { Err(format!("is `{}`; expected the name of a branch", text::one_line(name))) }
}
