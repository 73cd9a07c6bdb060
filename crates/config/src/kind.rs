//! What a value must be: its check, its order, and its JSON schema.

use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::Value;

use super::{
    form::Form,
    sandbox::network,
    values::{count, duration, list, money, size, words, wrong},
};
use oodatcaa_core::text;

/// The kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text of this form.
    Text(Form),
    /// The same, or empty.
    Maybe(Form),
    /// A list of them.
    List(Form),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Program and arguments.
    Program,
    /// The same, or empty for none.
    MaybeProgram,
    /// A duration of at least this many milliseconds.
    Duration(u64),
    /// A whole number from here on.
    Count(u32),
    /// Bytes, as a number or as text with a unit, at least so many.
    Size(u64),
    /// The same, or 0 for no limit.
    MaybeSize(u64),
    /// An amount of dollars.
    Money,
    /// `true` or `false`.
    Flag,
    /// A word for all or none of the network, or a table that says which part of it.
    Network,
    /// Anything; its form is checked where it is used.
    Any,
}

impl Kind {
    /// Returns a value's size, in the smallest unit of its kind, to be compared; `None` where it has none.
    pub(crate) fn amount(self, value: &Value) -> Option<u128> {
        match self {
            Self::Duration(_) => duration(value).ok().map(|time| time.as_nanos()),
            Self::Count(_) => count(value).ok().map(u128::from),
            Self::Size(_) | Self::MaybeSize(_) => size(value).ok().map(u128::from),
            Self::Money => money(value).ok().map(u128::from),
            _ => None,
        }
    }

    /// Checks a value; says what was expected.
    pub(crate) fn check(self, value: &Value) -> Result<(), String> {
        match self {
            Self::Text(form) => form.check(words(value)?),
            Self::Maybe(_) if value.as_str() == Some("") => Ok(()),
            Self::Maybe(form) => form.check(words(value)?),
            Self::List(form) => list(value)?.into_iter().try_for_each(|word| form.check(word)),
            Self::Choice(choices) if choices.contains(&words(value)?) => Ok(()),
            Self::Choice(choices) => {
                Err(format!("is `{}`; expected one of: {}", text::one_line(words(value)?), choices.join(", ")))
            }
            Self::Program | Self::MaybeProgram => match list(value)?.as_slice() {
                [] if self == Self::Program => Err("is empty; expected a program and its arguments".into()),
                ["", ..] => Err("names no program".into()),
                all => all.iter().try_for_each(|word| Form::Any.check(word)),
            },
            Self::Duration(least) => at_least(duration(value)?, Duration::from_millis(least), text::duration),
            Self::Count(least) => at_least(count(value)?, least, |n| n.to_string()),
            Self::MaybeSize(_) if size(value)? == 0 => Ok(()),
            Self::MaybeSize(least) => Self::Size(least).check(value).map_err(|why| format!("{why}, or 0 for no limit")),
            Self::Size(least) => at_least(size(value)?, least, |n| format!("{n} bytes")),
            Self::Money => money(value).map(drop),
            Self::Flag => value.as_bool().map(drop).ok_or_else(|| wrong(value, "`true` or `false`")),
            Self::Network => network(value).map(drop),
            Self::Any => Ok(()),
        }
    }

    /// Returns its JSON schema.
    pub(crate) fn schema(self) -> Json {
        let or_number = |pattern: &str, least: u64| json!({"anyOf": [{"type": "string", "pattern": pattern}, {"type": "integer", "minimum": least}]});
        let bytes = "^[0-9]+ ?(B|kB|KiB|MB|MiB|GB|GiB)?$";
        match self {
            Self::Text(form) => form.schema(false),
            Self::Maybe(form) => form.schema(true),
            Self::List(form) => json!({"type": "array", "items": form.schema(false)}),
            Self::Choice(choices) => json!({"enum": choices}),
            Self::Program => json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
            Self::MaybeProgram => json!({"type": "array", "items": {"type": "string"}}),
            Self::Duration(_) => or_number("^([0-9]+|([0-9]+(ms|s|m|min|h|d))+)$", 0),
            Self::Count(least) => json!({"type": "integer", "minimum": least}),
            Self::Size(least) => or_number(bytes, least),
            Self::MaybeSize(_) => or_number(bytes, 0),
            Self::Money => json!({"type": "number", "minimum": 0}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Network => json!({"anyOf": [
                {"enum": ["all", "none"]},
                {"type": "object", "required": ["ports"], "additionalProperties": false, "properties": {
                    "ports": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1, "maximum": 65535}},
                }},
                {"type": "object", "required": ["proxy"], "additionalProperties": false, "properties": {
                    "proxy": {"type": "string"},
                }},
            ]}),
            Self::Any => json!({}),
        }
    }
}

fn at_least<T: PartialOrd + Copy>(value: T, least: T, shown: impl Fn(T) -> String) -> Result<(), String> {
    if value >= least { Ok(()) } else { Err(format!("is {}; at least {} is needed", shown(value), shown(least))) }
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
        assert_eq!(fails(Kind::Program, "[]"), "is empty; expected a program and its arguments");
        assert!(fails(Kind::Program, "\"claude -p\"").contains("expected a list of texts"));
        assert!(fails(Kind::List(Form::Inherited), "[\"OODATCAA_TASK_ID\"]").contains("set by the worker"));
        assert!(fails(Kind::Text(Form::Class), "\"exploded\"").contains("rate_limited"));
        for outside in ["/etc/passwd", "../x", "a/../../x", ""] {
            assert!(
                fails(Kind::List(Form::Path), &format!("[\"{outside}\"]")).contains("below the workspace"),
                "{outside}"
            );
        }
    }
}
