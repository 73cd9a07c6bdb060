//! What a value must be: its check, its order, its JSON schema and its words for people.

use std::time::Duration;

use serde_json::json;
use toml::Value;

use super::values::{
    self, below, branch, branch_template, count, duration, inherited, list, money, named, no_nul, size, status, words,
    wrong,
};
use oodatcaa_core::{Class, text};

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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

impl Kind {
    /// Returns a value's size, in the smallest unit of its kind, to be compared; `None` where it has none.
    pub(crate) fn amount(self, value: &Value) -> Option<u128> {
        match self {
            Self::Duration(_) => duration(value).ok().map(|time| time.as_nanos()),
            Self::Count(_) => count(value).ok().map(u128::from),
            Self::Size | Self::Room => size(value).ok().map(u128::from),
            Self::Money => money(value).ok().map(u128::from),
            _ => None,
        }
    }

    /// Checks a value; answers with what was expected.
    pub(crate) fn check(self, value: &Value) -> Result<(), String> {
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

    /// Returns its JSON schema.
    pub(crate) fn schema(self) -> serde_json::Value {
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

#[cfg(test)]
mod tests {
    use super::*;

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
