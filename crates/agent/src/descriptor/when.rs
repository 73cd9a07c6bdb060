//! Finding values in events: JSON pointers with `*`, conditions, patterns.

use std::{borrow::Cow, collections::BTreeMap};

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;

/// A JSON pointer; a part that is `*` stands for every member.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pointer(Vec<String>);

impl TryFrom<String> for Pointer {
    type Error = String;

    /// Reads `/a/*/b`.
    fn try_from(text: String) -> Result<Self, String> {
        match text.strip_prefix('/') {
            Some(rest) if !rest.is_empty() => {
                Ok(Self(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()))
            }
            _ => Err(format!("`{text}` is not a JSON pointer; write e.g. `/message/content`")),
        }
    }
}

impl Pointer {
    /// Returns every value that it points to.
    pub(crate) fn all<'a>(&self, event: &'a Value) -> Vec<&'a Value> {
        let below = |value: &'a Value, part: &str| -> Vec<&'a Value> {
            match value {
                Value::Object(members) if part == "*" => members.values().collect(),
                Value::Array(items) if part == "*" => items.iter().collect(),
                Value::Object(members) => members.get(part).into_iter().collect(),
                Value::Array(items) => part.parse().ok().and_then(|n: usize| items.get(n)).into_iter().collect(),
                _ => Vec::new(),
            }
        };
        self.0.iter().fold(vec![event], |found, part| found.into_iter().flat_map(|value| below(value, part)).collect())
    }

    /// Returns the first value that is not null.
    pub(crate) fn first<'a>(&self, event: &'a Value) -> Option<&'a Value> {
        self.all(event).into_iter().find(|value| !value.is_null())
    }

    /// Returns the first value as text; numbers and truth values as they are written.
    pub(crate) fn word<'a>(&self, event: &'a Value) -> Option<Cow<'a, str>> {
        self.first(event).and_then(word)
    }
}

/// Returns a plain value as text.
pub(crate) fn word(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(value.to_string())),
        _ => None,
    }
}

/// A regular expression.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pattern(pub(crate) Regex);

impl TryFrom<String> for Pattern {
    type Error = String;

    /// Reads one; `^` and `$` stand for the ends of lines.
    fn try_from(text: String) -> Result<Self, String> {
        RegexBuilder::new(&text).multi_line(true).size_limit(1 << 20).build().map(Self).map_err(|error| {
            // The parser draws a picture of the place first.
            let said = error.to_string();
            let what = said.lines().next_back().unwrap_or_default().trim_start_matches("error: ");
            format!("`{text}` is not a regular expression: {what}")
        })
    }
}

impl Pattern {
    /// Returns what the group `value` caught, or the whole match.
    pub(crate) fn caught<'a>(&self, word: &'a str) -> Option<&'a str> {
        let caught = self.0.captures(word)?;
        caught.name("value").or_else(|| caught.get(0)).map(|found| found.as_str())
    }

    /// Tells whether a rule's words fit: its pattern, where it has one, is found in them.
    pub(crate) fn fits(own: Option<&Self>, words: Option<&str>) -> bool {
        own.is_none_or(|own| words.is_some_and(|words| own.0.is_match(words)))
    }
}

/// A condition on an event: members (or pointers) and what they must be, one value or any of a list. The empty one always
/// holds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct When(BTreeMap<String, Value>);

impl When {
    /// Tells whether it holds.
    pub(crate) fn holds(&self, event: &Value) -> bool {
        self.0.iter().all(|(name, wanted)| {
            let value = if name.starts_with('/') { event.pointer(name) } else { event.get(name) };
            value.is_some_and(|value| match wanted {
                Value::Array(any) => any.contains(value),
                one => one == value,
            })
        })
    }

    /// Returns `true` when it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A condition on a value for a run to count as a success.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guard {
    /// Its place.
    ptr: Pointer,
    /// It is exactly this.
    eq: Option<Value>,
    /// It is a number above this.
    gt: Option<f64>,
}

impl Guard {
    /// Tells whether it holds. What is not there does not.
    pub(crate) fn holds(&self, event: &Value) -> bool {
        self.ptr.first(event).is_some_and(|value| {
            self.eq.as_ref().is_none_or(|wanted| wanted == value)
                && self.gt.is_none_or(|least| value.as_f64().is_some_and(|number| number > least))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_star_stands_for_every_member() {
        let event = json!({"usage": {"a": {"in": 1}, "b": {"in": 2}, "c": {}}, "list": [{"in": 3}], "none": null});
        let pointer = |text: &str| Pointer::try_from(text.to_owned());
        let all = |text: &str| pointer(text).expect("a pointer").all(&event).len();
        assert_eq!(all("/usage/*/in"), 2);
        assert_eq!(all("/list/0/in"), 1);
        assert_eq!(all("/list/*/in"), 1);
        assert_eq!(all("/usage/x/in"), 0);
        assert_eq!(pointer("/none").expect("a pointer").first(&event), None);
        assert!(pointer("usage").is_err() && pointer("/").is_err());
    }

    #[test]
    fn a_condition_names_members_or_pointers() {
        let when = |text: &str| toml::from_str::<When>(text).expect("a condition");
        let event = json!({"type": "item", "item": {"type": "error"}, "n": 4, "ok": true});
        assert!(when("").holds(&event));
        assert!(when("type = \"item\"\n\"/item/type\" = \"error\"").holds(&event));
        assert!(when("type = [\"x\", \"item\"]\nn = 4\nok = true").holds(&event));
        assert!(!when("type = \"other\"").holds(&event));
        assert!(!when("missing = \"x\"").holds(&event));
        assert!(!when("n = \"4\"").holds(&event));
    }

    #[test]
    fn a_broken_pattern_says_what_is_wrong() {
        let error = Pattern::try_from("(a".to_owned()).expect_err("broken");
        assert!(error.contains("`(a` is not a regular expression: unclosed group"), "{error}");
    }
}
