//! Finding values in events: JSON pointers with `*`, conditions, patterns.

use std::{borrow::Cow, collections::BTreeMap};

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// A JSON pointer; a part that is `*` stands for every member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Reads `/a/*/b`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix('/') {
            Some(rest) if !rest.is_empty() => {
                Ok(Self(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()))
            }
            _ => Err(format!("`{text}` is no JSON pointer; write e.g. `/message/content`")),
        }
    }

    /// Returns every value that it points to.
    pub fn all<'a>(&self, event: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![event];
        for part in &self.0 {
            found = found
                .into_iter()
                .flat_map(|value| -> Vec<&'a Value> {
                    match (value, part.as_str()) {
                        (Value::Object(members), "*") => members.values().collect(),
                        (Value::Array(items), "*") => items.iter().collect(),
                        (Value::Object(members), name) => members.get(name).into_iter().collect(),
                        (Value::Array(items), index) => {
                            index.parse().ok().and_then(|n: usize| items.get(n)).into_iter().collect()
                        }
                        _ => Vec::new(),
                    }
                })
                .collect();
        }
        found
    }

    /// Returns the first value that is not null.
    pub fn first<'a>(&self, event: &'a Value) -> Option<&'a Value> {
        self.all(event).into_iter().find(|value| !value.is_null())
    }

    /// Returns the first value as text; numbers and truth values as they are written.
    pub fn word<'a>(&self, event: &'a Value) -> Option<Cow<'a, str>> {
        self.first(event).and_then(word)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Returns a plain value as text.
pub fn word(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        _ => None,
    }
}

/// A regular expression.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl Pattern {
    /// Reads one; `^` and `$` stand for the ends of lines.
    pub fn parse(text: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(text).multi_line(true).size_limit(1 << 20).build();
        built.map(Self).map_err(|error| format!("`{text}` is no regular expression: {}", last_line(&error.to_string())))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

fn last_line(text: &str) -> &str {
    text.lines().next_back().unwrap_or_default().trim_start_matches("error: ")
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// One word or any of several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Words {
    One(Word),
    Any(Vec<Word>),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Number(i64),
    Flag(bool),
}

impl Word {
    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text(text), Value::String(other)) => text == other,
            (Self::Number(number), Value::Number(other)) => other.as_i64() == Some(*number),
            (Self::Flag(flag), Value::Bool(other)) => flag == other,
            _ => false,
        }
    }
}

/// A condition on an event: members (or pointers) and what they must be. The empty one always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct When(BTreeMap<String, Words>);

impl When {
    /// Tells whether it holds.
    pub fn holds(&self, event: &Value) -> bool {
        self.0.iter().all(|(name, words)| {
            let value = if name.starts_with('/') { event.pointer(name) } else { event.get(name) };
            value.is_some_and(|value| match words {
                Words::One(word) => word.is(value),
                Words::Any(words) => words.iter().any(|word| word.is(value)),
            })
        })
    }

    /// Returns `true` when it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a value must be for a run to count as a success.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Where it stands.
    pub ptr: Pointer,
    /// It is exactly this.
    #[serde(default)]
    pub eq: Option<toml::Value>,
    /// It is a number above this.
    #[serde(default)]
    pub gt: Option<f64>,
}

impl Guard {
    /// Tells whether it holds. What is not there does not.
    pub fn holds(&self, event: &Value) -> bool {
        let Some(value) = self.ptr.first(event) else { return false };
        let equal = self.eq.as_ref().is_none_or(|wanted| match (wanted, value) {
            (toml::Value::String(a), Value::String(b)) => a == b,
            (toml::Value::Boolean(a), Value::Bool(b)) => a == b,
            (toml::Value::Integer(a), Value::Number(b)) => b.as_i64() == Some(*a),
            _ => false,
        });
        equal && self.gt.is_none_or(|least| value.as_f64().is_some_and(|number| number > least))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_star_stands_for_every_member() {
        let event = json!({"usage": {"a": {"in": 1}, "b": {"in": 2}, "c": {}}, "list": [{"in": 3}], "none": null});
        let all = |text: &str| Pointer::parse(text).expect("a pointer").all(&event).len();
        assert_eq!(all("/usage/*/in"), 2);
        assert_eq!(all("/list/0/in"), 1);
        assert_eq!(all("/list/*/in"), 1);
        assert_eq!(all("/usage/x/in"), 0);
        assert_eq!(Pointer::parse("/none").expect("a pointer").first(&event), None);
        assert!(Pointer::parse("usage").is_err() && Pointer::parse("/").is_err());
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
        let error = Pattern::parse("(a").expect_err("broken");
        assert!(error.contains("`(a` is no regular expression: unclosed group"), "{error}");
    }
}
