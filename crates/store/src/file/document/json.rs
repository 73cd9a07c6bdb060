//! JSON text by spans: members and elements as slices of the text they stand in, nothing built.
//!
//! Nesting depth does not matter here: the pieces are found by `serde_json`'s scanner, which keeps no call stack.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A half-open range of bytes of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    /// Finds the place of a slice of `text` in it.
    pub(super) fn of(text: &str, part: &str) -> Self {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        debug_assert!(start + part.len() <= text.len(), "a part lies inside its text");
        Self { start, end: start + part.len() }
    }

    /// Returns the slice.
    pub(super) fn in_text(self, text: &str) -> &str {
        &text[self.start..self.end]
    }
}

/// One member of an object, as it is written.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    /// The key with its quotes.
    pub(super) raw_key: &'a str,
    /// The key as it is meant.
    pub(super) key: Cow<'a, str>,
    /// The value.
    pub(super) value: &'a str,
}

struct Members<'a>(Vec<Member<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::with_capacity(24);
                while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
                    all.push(Member { raw_key: key.get(), key: unquoted(key.get()), value: value.get() });
                }
                Ok(Members(all))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Lists the members of an object, duplicates included, in order.
pub(super) fn members(object: &str) -> serde_json::Result<Vec<Member<'_>>> {
    serde_json::from_str::<Members<'_>>(object).map(|members| members.0)
}

/// Returns the last member with this key, which is the one that counts (as `jq` sees it).
pub(super) fn last<'m, 'a>(members: &'m [Member<'a>], key: &str) -> Option<&'m Member<'a>> {
    members.iter().rev().find(|member| member.key == key)
}

/// Lists the elements of a list.
pub(super) fn elements(list: &str) -> serde_json::Result<Vec<&str>> {
    serde_json::from_str::<Vec<&RawValue>>(list).map(|all| all.into_iter().map(RawValue::get).collect())
}

/// Reads a string in quotes. Escapes that mean nothing (half of a surrogate pair) stay as they are written.
pub(super) fn unquoted(quoted: &str) -> Cow<'_, str> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if inner.contains('\\') {
        serde_json::from_str::<String>(quoted).map_or(Cow::Borrowed(inner), Cow::Owned)
    } else {
        Cow::Borrowed(inner)
    }
}

/// Names the kind of value that starts like this, for messages.
pub(super) fn kind(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Returns line and column, in characters, both from 1, of a byte offset.
pub(super) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_slices_of_their_text() {
        let text = r#" {"a" : 1, "\u0062":{"c":[1,2]}, "a":"x\"}"} "#;
        let all = members(text).expect("an object");
        let shown: Vec<(&str, &str)> = all.iter().map(|m| (&*m.key, m.value)).collect();
        assert_eq!(shown, [("a", "1"), ("b", r#"{"c":[1,2]}"#), ("a", r#""x\"}""#)]);
        assert_eq!(last(&all, "a").expect("there").value, r#""x\"}""#);
        assert_eq!(Span::of(text, all[1].value).in_text(text), all[1].value);
    }

    #[test]
    fn depth_does_not_matter() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(members(&deep).expect("an object").len(), 1);
    }

    #[test]
    fn places_count_characters() {
        assert_eq!(place("ä\nöx", 0), (1, 1));
        assert_eq!(place("ä\nöx", 5), (2, 2));
    }

    #[test]
    fn a_meaningless_escape_is_kept_as_written() {
        assert_eq!(unquoted(r#""a\ud800""#), r"a\ud800");
    }
}
