//! The queue file as lossless text: read into tasks, edited by splicing, every other byte left alone.
//!
//! Usable without a store. Reading tells two kinds of trouble apart: what makes the whole file unusable
//! ([`Invalid`]), and what makes one task unusable ([`Problem`]), which is skipped while the rest goes on.

mod entry;
mod head;
mod json;
pub(crate) mod merge;
mod splice;
mod style;
mod value;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{
    entry::{Raised, Reader},
    json::{Member, Span},
};
use crate::Invalid;
use oodatcaa_core::{
    Problem, Queue, Workflow,
    text::{cut, one_line},
};

pub use splice::EditError;

/// A queue file that could be read.
#[derive(Clone, Debug)]
pub struct Document {
    path: PathBuf,
    text: String,
    parts: Parts,
}

/// The tasks of a text and the spans of its parts.
#[derive(Clone, Debug, PartialEq)]
struct Parts {
    queue: Arc<Queue>,
    /// Each task of the queue, in its order.
    entries: Vec<Span>,
    /// The value of `tasks`.
    tasks: Span,
    /// The end of `tasks`, where new ones go.
    tail: Tail,
    metadata: Option<Span>,
}

/// The last entry of `tasks`, and the end of the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tail {
    count: usize,
    last: Span,
    /// The end of the entry before the last, or of the opening bracket.
    before: usize,
}

const EXPECTED: &str = "expected an object with a list `tasks`";

impl Document {
    /// Reads a queue file's text; the path is for messages.
    pub fn parse(path: &Path, text: String) -> Result<Self, Invalid> {
        Self::build(path, text, None)
    }

    fn build(path: &Path, text: String, known: Option<&Self>) -> Result<Self, Invalid> {
        match read(&text, known) {
            Ok(parts) => Ok(Self { path: path.into(), text, parts }),
            Err(Wrong { offset, message }) => {
                let (line, column) = json::place(&text, offset);
                Err(Invalid { path: path.into(), line, column, message })
            }
        }
    }

    /// Reads a queue file's bytes.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, Invalid> {
        text_of(path, bytes).and_then(|text| Self::parse(path, text))
    }

    /// Reads the file's new text; unchanged entries of `tasks` are not read again.
    pub fn reread(&self, text: String) -> Result<Self, Invalid> {
        Self::build(&self.path, text, Some(self))
    }

    /// Reads the file's new bytes.
    pub(crate) fn reread_bytes(&self, bytes: Vec<u8>) -> Result<Self, Invalid> {
        text_of(&self.path, bytes).and_then(|text| self.reread(text))
    }

    /// Returns the tasks.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.parts.queue
    }

    /// Lists everything that is wrong, each with its place: what the reading found, and what the tasks show together.
    pub fn problems(&self, workflow: &Workflow) -> Vec<Problem> {
        let (mut all, unplaced): (Vec<_>, Vec<_>) =
            self.parts.queue.problems(workflow).into_iter().partition(|problem| problem.line > 0);
        let mut raised = Vec::with_capacity(unplaced.len());
        for problem in unplaced {
            match problem.task.as_deref().and_then(|id| self.parts.queue.find(id)) {
                Some(task) => raised.push(Raised {
                    offset: self.parts.entries[task.place].start,
                    task: problem.task,
                    code: problem.code,
                    message: problem.message,
                }),
                None => all.push(problem),
            }
        }
        all.extend(places(&self.text, raised));
        all.sort();
        all
    }

    /// Returns the text, byte for byte as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Reads the bytes of a queue file as text.
fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, Invalid> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let before = String::from_utf8_lossy(&bytes[..good]);
        let (line, column) = json::place(&before, before.len());
        let message = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            "the file is UTF-16; expected UTF-8".into()
        } else {
            format!("the byte 0x{:02x} is not UTF-8; expected JSON in UTF-8", bytes[good])
        };
        Invalid { path: path.into(), line, column, message }
    })
}

/// Tells whether a piece of text is this value already.
fn says(raw: &str, value: &serde_json::Value) -> bool {
    serde_json::from_str::<serde_json::Value>(raw).is_ok_and(|present| present == *value)
}

/// Returns the text without a byte order mark and space around the object.
fn body(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim_ascii()
}

/// The reason why a text is no queue, and the place.
struct Wrong {
    offset: usize,
    message: String,
}

impl Wrong {
    fn at(text: &str, part: &str, message: String) -> Self {
        Self { offset: Span::of(text, part).start, message }
    }
}

fn read(text: &str, known: Option<&Document>) -> Result<Parts, Wrong> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let first = body.trim_ascii_start();
    if first.is_empty() {
        return Err(Wrong::at(text, body, format!("the file is empty; {EXPECTED}")));
    }
    let members = json::members(body).map_err(|error| syntax(text, body, &error))?;
    let mut reader = Reader::new(text, known);
    note_duplicates(text, &members, &mut reader.problems);

    let Some(tasks) = json::last(&members, "tasks") else {
        return Err(Wrong::at(text, first, "there is no `tasks`; expected a list".into()));
    };
    // Only the brackets of `tasks` and of its entries must be whole for the rest to be used.
    let listed =
        (tasks.value.starts_with('[')).then(|| json::elements(tasks.value).ok()).flatten().ok_or_else(|| {
            Wrong::at(text, tasks.value, format!("`tasks` is {}; expected a list", json::kind(tasks.value)))
        })?;
    let span = Span::of(text, tasks.value);
    let mut tail = Tail { count: listed.len(), last: Span::default(), before: span.start + 1 };
    for (at, raw) in listed.iter().enumerate() {
        if !raw.starts_with('{') {
            let message = format!("entry {} of `tasks` is {}; expected an object", at + 1, json::kind(raw));
            return Err(Wrong::at(text, raw, message));
        }
        if at > 0 {
            tail.before = tail.last.end;
        }
        tail.last = Span::of(text, raw);
        reader.top(raw);
    }
    // Not one of the two is right by itself, and to work on the wrong one is worse than to wait.
    if let Some((id, first, second)) = reader.duplicate {
        let line = |offset| json::place(text, offset).0;
        let message = format!("the id `{id}` is in lines {} and {}; expected every id once", line(first), line(second));
        return Err(Wrong { offset: second, message });
    }

    let mut queue = reader.queue;
    queue.wip_limits = limits(text, &members)?;
    let metadata = json::last(&members, "metadata").map(|member| member.value).filter(|raw| raw.starts_with('{'));
    let of_metadata = metadata.map(json::members).transpose().map_err(|error| syntax(text, body, &error))?;
    let of_metadata = of_metadata.unwrap_or_default();
    queue.counters = of_metadata
        .iter()
        .filter(|member| member.key.ends_with("_tasks"))
        .map(|member| (member.key.to_string(), member.value.parse().ok()))
        .collect();
    queue.sprint = head::read(&members, &of_metadata, metadata.is_some());
    queue.problems = places(text, reader.problems);
    let metadata = metadata.map(|raw| Span::of(text, raw));
    Ok(Parts { queue: Arc::new(queue), entries: reader.spans, tasks: span, tail, metadata })
}

fn note_duplicates(text: &str, members: &[Member<'_>], problems: &mut Vec<Raised>) {
    for key in ["tasks", "wip_limits", "metadata", "sprint", "sprint_id"] {
        if let Some(second) = members.iter().filter(|member| member.key == key).nth(1) {
            problems.push(Raised {
                offset: Span::of(text, second.raw_key).start,
                task: None,
                code: "duplicate_member",
                message: format!("the file has the member `{key}` twice; the last one counts"),
            });
        }
    }
}

fn limits(text: &str, members: &[Member<'_>]) -> Result<BTreeMap<String, u32>, Wrong> {
    let Some(value) = json::last(members, "wip_limits").map(|member| member.value).filter(|raw| *raw != "null") else {
        return Ok(BTreeMap::new());
    };
    let wrong =
        || Wrong::at(text, value, format!("`wip_limits` is {}; expected an object of counts", json::kind(value)));
    if !value.starts_with('{') {
        return Err(wrong());
    }
    let members = json::members(value).map_err(|_| wrong())?;
    members
        .iter()
        .map(|member| {
            let limit = value::count(member.value).map_err(|expected| {
                let shown = cut(&one_line(member.value), 40);
                let message = format!("`wip_limits.{}` is `{shown}`; expected {expected}", member.key);
                Wrong::at(text, member.value, message)
            })?;
            Ok((member.key.to_string(), limit))
        })
        .collect()
}

/// Gives the problems their lines, in one pass over the text.
fn places(text: &str, mut raised: Vec<Raised>) -> Vec<Problem> {
    // To count lines from the beginning for each would be quadratic in a file of which all is wrong.
    raised.sort_by_key(|problem| problem.offset);
    let (mut line, mut column, mut seen) = (1, 1, 0);
    raised
        .into_iter()
        .map(|Raised { offset, task, code, message }| {
            let passed = &text[seen..offset];
            match passed.rsplit_once('\n') {
                Some((before, after)) => {
                    line += before.matches('\n').count() + 1;
                    column = after.chars().count() + 1;
                }
                None => column += passed.chars().count(),
            }
            seen = offset;
            Problem { line, column, task, code, message }
        })
        .collect()
}

/// Explains why a text is not JSON; an unfinished merge of git is named as such.
fn syntax(text: &str, body: &str, error: &serde_json::Error) -> Wrong {
    let marker = |line: &str| {
        let bare = |mark: &str| line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        bare("<<<<<<<") || bare("|||||||") || bare(">>>>>>>") || line == "======="
    };
    if let Some(line) = text.lines().map(str::trim_end).find(|line| marker(line)) {
        let shown = cut(&one_line(line), 60);
        let message = format!("a conflict marker of git (`{shown}`); expected JSON without unresolved conflicts");
        return Wrong::at(text, line, message);
    }
    if let Some(at) = text.find('\0') {
        return Wrong { offset: at, message: "a NUL byte; expected JSON".into() };
    }
    if serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok() {
        let first = body.trim_ascii_start();
        return Wrong::at(text, first, format!("the top level is {}; {EXPECTED}", json::kind(first)));
    }
    let words = error.to_string();
    let words = words.rsplit_once(" at line ").map_or(&*words, |(words, _)| words);
    // serde_json counts lines, and bytes in them.
    let lines = body.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let offset = text.len() - body.len() + lines + error.column().saturating_sub(1);
    Wrong { offset, message: format!("not JSON: {words}") }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
