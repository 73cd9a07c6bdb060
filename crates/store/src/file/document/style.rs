//! How a file is written, read off from what stands beside the place of a change, and values written the same way.

use serde_json::Value;

use super::json::{self, Member};

/// The style of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// Between the opening brace and the first key.
    lead: String,
    /// Between a value and the next key.
    comma: String,
    /// Between a key and its value.
    colon: String,
    /// Between the last value and the closing brace.
    trail: String,
    /// One more level of indentation.
    unit: String,
    /// Lists of plain values are written on one line.
    flat_lists: bool,
    /// Everything but ASCII is escaped.
    ascii: bool,
}

fn indent(gap: &str) -> &str {
    gap.rsplit_once('\n').map_or("", |(_, indent)| indent)
}

fn line_end(gap: &str) -> &'static str {
    if gap.contains("\r\n") { "\r\n" } else { "\n" }
}

/// Leaves out blank lines: what is inserted follows its neighbour closely.
fn close_up(gap: &str) -> String {
    match (gap.split_once('\n'), gap.rsplit_once('\n')) {
        (Some((before, _)), Some((_, indent))) => format!("{before}\n{indent}"),
        _ => gap.into(),
    }
}

fn colon_of(object: &str, member: &Member<'_>) -> String {
    let key = json::Span::of(object, member.raw_key);
    let value = json::Span::of(object, member.value);
    object[key.end..value.start].into()
}

/// Returns the text between the last member's value and a further one, and between its key and its value.
pub(super) fn after_last(object: &str, members: &[Member<'_>]) -> (String, String) {
    let last = members.last().expect("a task has its id");
    let colon = colon_of(object, last);
    let start = json::Span::of(object, last.raw_key).start;
    let comma = match members {
        [.., before, _] => close_up(&object[json::Span::of(object, before.value).end..start]),
        _ => {
            let lead = close_up(&object[1..start]);
            let space = if lead.is_empty() && colon.ends_with(' ') { " " } else { "" };
            format!(",{lead}{space}")
        }
    };
    (comma, colon)
}

impl Style {
    /// Reads off the style of an object; `None` for an empty one.
    pub(super) fn of(object: &str, ascii: bool) -> Option<Self> {
        let members = json::members(object).ok()?;
        let (first, last) = (members.first()?, members.last()?);
        let start = json::Span::of(object, first.raw_key).start;
        let end = json::Span::of(object, last.value).end;
        let lead = close_up(&object[1..start]);
        let trail = close_up(&object[end..object.len() - 1]);
        let colon = colon_of(object, first);
        let comma = match members.as_slice() {
            _ if lead.contains('\n') => format!(",{lead}"),
            [_, second, ..] => {
                object[json::Span::of(object, first.value).end..json::Span::of(object, second.raw_key).start].into()
            }
            _ => (if colon.ends_with(' ') { ", " } else { "," }).into(),
        };
        let unit = indent(&lead).strip_prefix(indent(&trail)).filter(|unit| !unit.is_empty()).unwrap_or("  ");
        let lists = members.iter().filter(|member| member.value.starts_with('[') && member.value.len() > 2);
        let (flat, all) =
            lists.fold((0, 0), |(flat, all), list| (flat + usize::from(!list.value.contains('\n')), all + 1));
        Some(Self {
            unit: unit.into(),
            flat_lists: !lead.contains('\n') || all == 0 || flat * 2 > all,
            lead,
            comma,
            colon,
            trail,
            ascii,
        })
    }

    /// Returns the text between two objects on one line.
    pub(super) fn between(&self) -> String {
        if self.is_pretty() { format!(",{}", self.trail) } else { self.comma.clone() }
    }

    /// Returns the indentation of the object's members.
    pub(super) fn indent(&self) -> &str {
        indent(&self.lead)
    }

    /// Returns the indentation of the object itself.
    pub(super) fn outer(&self) -> &str {
        indent(&self.trail)
    }

    fn is_pretty(&self) -> bool {
        self.lead.contains('\n')
    }

    /// Writes a value in this style; `at` is the indentation of its last line.
    pub(super) fn value(&self, value: &Value, at: &str) -> String {
        let parts: Vec<String> = match value {
            Value::Array(list) if !list.is_empty() => {
                let flat = self.flat_lists && list.iter().all(|value| !value.is_array() && !value.is_object());
                if flat || !self.is_pretty() {
                    let parts: Vec<String> = list.iter().map(|value| self.value(value, at)).collect();
                    return format!("[{}]", parts.join(if self.colon.ends_with(' ') { ", " } else { "," }));
                }
                let deeper = format!("{at}{}", self.unit);
                list.iter().map(|value| self.value(value, &deeper)).collect()
            }
            Value::Object(object) if !object.is_empty() => {
                let deeper = format!("{at}{}", self.unit);
                let key = |key: &String| scalar(&Value::String(key.clone()), self.ascii);
                let member = |(name, value)| format!("{}{}{}", key(name), self.colon, self.value(value, &deeper));
                object.iter().map(member).collect()
            }
            other => return scalar(other, self.ascii),
        };
        let (open, close) = if value.is_array() { ('[', ']') } else { ('{', '}') };
        if self.is_pretty() {
            let end = line_end(&self.lead);
            let gap = format!(",{end}{at}{}", self.unit);
            format!("{open}{}{}{end}{at}{close}", &gap[1..], parts.join(&gap))
        } else {
            format!("{open}{}{}{}{close}", self.lead, parts.join(&self.comma), self.trail)
        }
    }
}

/// Tells whether the writer of a text escapes everything beyond ASCII. It goes on as such, or its next diff would touch
/// every line.
pub(super) fn is_escaped(text: &str) -> bool {
    text.is_ascii() && text.contains("\\u")
}

/// Writes a value on one line; as ASCII if the file is.
pub(super) fn scalar(value: &Value, ascii: bool) -> String {
    let text = value.to_string();
    if !ascii || text.is_ascii() {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_ascii() {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}
