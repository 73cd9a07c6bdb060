//! Values of members, read tolerantly: people and helper scripts write them in more than one shape.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{super::dialect, json};
use oodatcaa_core::{
    QueueLease,
    text::{cut, one_line},
};

/// The words that follow "expected" in a message.
pub(super) type Wrong = String;

pub(super) fn shown(raw: &str) -> String {
    if raw.starts_with(['{', '[']) { json::kind(raw).into() } else { format!("`{}`", cut(&one_line(raw), 40)) }
}

pub(super) fn string(raw: &str) -> Result<Option<String>, Wrong> {
    if raw.starts_with('"') {
        Ok(Some(json::unquoted(raw).into_owned()).filter(|text| !text.is_empty()))
    } else {
        Err("a string".into())
    }
}

pub(super) fn flag(raw: &str) -> Result<Option<bool>, Wrong> {
    match raw {
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err("`true` or `false`".into()),
    }
}

/// The origin of a task.
#[derive(Default)]
pub(super) struct Source {
    pub(super) words: Option<String>,
    pub(super) trusted: Option<bool>,
}

/// Reads a text, or an object that names kind, author and place, and says whether they are trusted.
pub(super) fn source(raw: &str) -> Result<Source, Wrong> {
    if !raw.starts_with('{') {
        return Ok(Source { words: Some(words(raw)?).filter(|words| !words.is_empty()), trusted: None });
    }
    let members = json::members(raw).map_err(|_| Wrong::from("a text or an object"))?;
    let trusted = match json::last(&members, "trusted").map(|member| member.value) {
        None | Some("null") => None,
        Some(value) => flag(value).map_err(|wrong| format!("an object whose `trusted` is {wrong}"))?,
    };
    let parts = ["kind", "author", "url", "id"].iter().filter_map(|key| {
        json::last(&members, key).filter(|member| member.value.starts_with('"')).map(|m| json::unquoted(m.value))
    });
    let said: Vec<_> = parts.collect();
    Ok(Source { words: Some(said.join(" ")).filter(|words| !words.is_empty()), trusted })
}

/// Reads text for people, in any shape that people write it.
pub(super) fn words(raw: &str) -> Result<String, Wrong> {
    match raw.as_bytes()[0] {
        b'"' => Ok(json::unquoted(raw).into_owned()),
        b'[' => statements(raw).map(|lines| lines.join("\n")),
        b'{' => Err("a text".into()),
        _ => Ok(raw.into()),
    }
}

pub(super) fn number(raw: &str) -> Result<i64, Wrong> {
    let text = if raw.starts_with('"') { json::unquoted(raw) } else { raw.into() };
    let number: f64 = text.trim().parse().map_err(|_| Wrong::from("a number"))?;
    // A float cast saturates: a priority beyond the range of i64 is the first or the last.
    if number.is_nan() { Err("a number".into()) } else { Ok(number.floor() as i64) }
}

pub(super) fn count(raw: &str) -> Result<u32, Wrong> {
    match number(raw) {
        Ok(n) if !raw.starts_with('"') => u32::try_from(n).map_err(|_| "a count".into()),
        _ => Err("a count".into()),
    }
}

pub(super) fn time(raw: &str) -> Result<Option<DateTime<Utc>>, Wrong> {
    // Scripts write an empty text for none.
    if raw == "\"\"" {
        return Ok(None);
    }
    let value: Value = serde_json::from_str(raw).unwrap_or_default();
    dialect::time(&value).map(Some).ok_or_else(|| "a time such as `2026-01-05T09:00:00Z`".into())
}

/// Reads a list of names; one bare name counts as a list of one.
pub(super) fn names(raw: &str) -> Result<Vec<String>, Wrong> {
    let wrong = || Wrong::from("a list of strings");
    match raw.as_bytes()[0] {
        b'"' => Ok(string(raw)?.into_iter().collect()),
        b'[' => json::elements(raw)
            .map_err(|_| wrong())?
            .into_iter()
            .map(|name| match name.as_bytes()[0] {
                b'"' => Ok(json::unquoted(name).into_owned()),
                b'{' => json::members(name)
                    .ok()
                    .and_then(|members| json::last(&members, "id").and_then(|id| string(id.value).ok().flatten()))
                    .ok_or_else(wrong),
                _ => Err(wrong()),
            })
            .collect(),
        _ => Err(wrong()),
    }
}

/// Reads statements for people: a text, or a list of texts or of objects that carry one.
pub(super) fn statements(raw: &str) -> Result<Vec<String>, Wrong> {
    let wrong = || Wrong::from("a list of texts");
    match raw.as_bytes()[0] {
        b'"' => Ok(string(raw)?.into_iter().collect()),
        b'[' => Ok(json::elements(raw).map_err(|_| wrong())?.into_iter().map(statement).collect()),
        b'{' => Ok(json::members(raw)
            .map_err(|_| wrong())?
            .into_iter()
            .map(|member| format!("{}: {}", member.key, statement(member.value)))
            .collect()),
        _ => Err(wrong()),
    }
}

fn statement(raw: &str) -> String {
    if raw.starts_with('"') {
        return json::unquoted(raw).into_owned();
    }
    let members = if raw.starts_with('{') { json::members(raw).unwrap_or_default() } else { Vec::new() };
    ["text", "description", "criterion", "statement", "title", "name"]
        .iter()
        .find_map(|key| json::last(&members, key).filter(|member| member.value.starts_with('"')))
        .map_or_else(|| raw.into(), |member| json::unquoted(member.value).into_owned())
}

pub(super) fn lease(raw: Option<&str>) -> QueueLease {
    let Some(raw) = raw else { return QueueLease::None };
    match raw.as_bytes()[0] {
        b'"' => QueueLease::from_text(&json::unquoted(raw)),
        b'{' => match serde_json::from_str::<Value>(raw) {
            Ok(Value::Object(object)) if object.is_empty() => QueueLease::None,
            Ok(Value::Object(object)) => {
                let lease = dialect::Loose::read(&object);
                QueueLease::Inline { owner: lease.owner.unwrap_or_else(|| "unknown".into()), until: lease.until }
            }
            _ => QueueLease::Other(raw.into()),
        },
        _ => QueueLease::Other(raw.into()),
    }
}
