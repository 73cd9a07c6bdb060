//! A file that somebody else has written anew, read where it differs from what is known.
//!
//! Most writers change a few tasks of many. What stands before and behind the first and the last changed
//! byte has been read already, and read from there on it would be read the same.

use super::{
    Document, Tail,
    entry::Reader,
    json::{self, Span},
};
use crate::Invalid;

/// Stands for the tasks that are known, where the ones between them are read.
const KNOWN: &str = "null";

impl Document {
    /// Reads the file's new text.
    pub fn reread(&self, text: String) -> Result<Self, Invalid> {
        self.reread_between(text).or_else(|text| Self::parse(&self.path, text))
    }

    /// Reads it if only tasks have changed; gives the text back if it has to be read as a whole.
    fn reread_between(&self, text: String) -> Result<Self, String> {
        // Lines move under the problems.
        if !self.queue.problems.is_empty() {
            return Err(text);
        }
        // Bytes and not lines: many queues are one line. Compared in chunks, which the processor does in wide steps.
        let (old, new) = (self.text.as_bytes(), text.as_bytes());
        let before = common(old.chunks(CHUNK), new.chunks(CHUNK), |one, other| {
            one.iter().zip(other).take_while(|(one, other)| one == other).count()
        });
        let shortest = old.len().min(new.len());
        let behind = common(old.rchunks(CHUNK), new.rchunks(CHUNK), |one, other| {
            one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count()
        });
        // The two runs of equal bytes may overlap, as when `aa` becomes `aaa`.
        let changed = Span { start: before, end: old.len() - behind.min(shortest - before) };
        match self.between(changed, &text) {
            Some(parts) => Ok(Self { path: self.path.clone(), text, ..parts }),
            None => Err(text),
        }
    }

    fn between(&self, changed: Span, text: &str) -> Option<Self> {
        let inside = Span { start: self.tasks.start + 1, end: self.tasks.end - 1 };
        if changed.start < inside.start || changed.end > inside.end {
            return None;
        }
        // Where the entries of `tasks` stand among those of all tasks; nested ones follow theirs.
        let tops: Vec<usize> =
            self.queue.tasks().enumerate().filter(|(_, task)| !task.nested).map(|(at, _)| at).collect();
        // An entry that was skipped has no place among the tasks, so it cannot be counted past.
        if tops.len() != self.tail.count {
            return None;
        }
        let left = tops.partition_point(|&at| self.entries[at].end <= changed.start);
        let right = tops.partition_point(|&at| self.entries[at].start < changed.end).max(left);
        let (first, last) = (left > 0, right < tops.len());
        let start = if first { self.entries[tops[left - 1]].end } else { inside.start };
        let end = if last { self.entries[tops[right]].start } else { inside.end };
        let moved = |offset: usize| (offset + text.len()).checked_sub(self.text.len());

        let (open, close) = (format!("[{}", if first { KNOWN } else { "" }), if last { KNOWN } else { "" });
        // Between two `null`s the commas at both ends are where JSON wants them, and the parser proves that they are.
        let list = format!("{open}{}{close}]", text.get(start..moved(end)?)?);
        let mut found = json::elements(&list).ok()?;
        if (first && found.first() != Some(&KNOWN)) || (last && found.pop() != Some(KNOWN)) {
            return None;
        }
        let mut reader = Reader::new(text);
        let mut entries = Vec::with_capacity(found.len());
        for raw in found.into_iter().skip(usize::from(first)) {
            if !raw.starts_with('{') {
                return None;
            }
            let at = Span::of(&list, raw);
            let span = Span { start: at.start + start - open.len(), end: at.end + start - open.len() };
            entries.push(span);
            reader.entry(span.in_text(text), None, 0);
        }
        // Whoever has to say a line number reads the whole.
        if reader.duplicate.is_some() || !reader.problems.is_empty() {
            return None;
        }
        let all = self.queue.len();
        let place = |top: usize| tops.get(top).copied().unwrap_or(all);
        let (from, to) = (place(left), place(right));
        let queue = self.queue.with(from..to, std::mem::take(&mut reader.tasks))?;

        let shift = |span: &Span| Some(Span { start: moved(span.start)?, end: moved(span.end)? });
        let mut spans = Vec::with_capacity(queue.len());
        spans.extend_from_slice(&self.entries[..from]);
        spans.append(&mut reader.spans);
        for span in &self.entries[to..] {
            spans.push(shift(span)?);
        }
        let count = left + entries.len() + (tops.len() - right);
        let mut tail = Tail { count, last: Span::default(), before: inside.start };
        let known = |top: usize| self.entries[tops[top]];
        let lasts = (right..tops.len()).rev().take(2).map(|top| shift(&known(top)));
        let lasts =
            lasts.chain(entries.iter().rev().copied().map(Some)).chain((0..left).rev().map(|top| Some(known(top))));
        let mut lasts = lasts.take(2);
        if let Some(span) = lasts.next() {
            tail.last = span?;
        }
        if let Some(span) = lasts.next() {
            tail.before = span?.end;
        }
        let metadata = match self.metadata {
            Some(span) if span.start > self.tasks.start => Some(shift(&span)?),
            other => other,
        };
        Some(Self {
            path: Default::default(),
            text: String::new(),
            queue: queue.into(),
            entries: spans,
            tasks: Span { start: self.tasks.start, end: moved(self.tasks.end)? },
            tail,
            metadata,
        })
    }
}

/// Compared as a whole as long as they are the same.
const CHUNK: usize = 16 * 1024;

/// Counts the bytes that two texts have in common, going through both piece by piece.
fn common<'a>(
    one: impl Iterator<Item = &'a [u8]>,
    other: impl Iterator<Item = &'a [u8]>,
    within: impl Fn(&[u8], &[u8]) -> usize,
) -> usize {
    let mut length = 0;
    for (one, other) in one.zip(other) {
        if one == other {
            length += one.len();
        } else {
            return length + within(one, other);
        }
    }
    length
}
