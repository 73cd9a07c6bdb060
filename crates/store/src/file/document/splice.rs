//! A change set becomes splices of text: what a change set sets is replaced or inserted, every other byte is copied.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::{
    Document, Tail, body,
    json::{self, Span},
    says,
    style::{self, Style},
};
use crate::Invalid;
use oodatcaa_core::{ChangeSet, Member, NewTask, TaskId};

/// The reason why a change set cannot be written into a queue file. Nothing has been written then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The plan sets members of a task that is not there.
    #[error("task {0} is not in the queue")]
    NoTask(TaskId),
    /// The text with the changes in it would not say what the change set wanted; this is a defect of ours.
    #[error("the edited queue would not say what was decided about {0}")]
    Unfaithful(String),
    /// The text with the changes in it would not be a queue, for instance with an id that is taken.
    #[error("the edited queue would be invalid")]
    Invalid(#[source] Invalid),
}

/// A piece of text to be replaced.
pub(super) struct Splice {
    pub(super) at: Span,
    pub(super) with: String,
}

impl Document {
    /// Renders the text with a change set's edits, additions and counters in it.
    pub fn edited(&self, changes: &ChangeSet) -> Result<String, EditError> {
        self.apply(changes).map(|document| document.text)
    }

    /// Builds the document with a change set's edits, additions and counters in it, read back and compared with the change set.
    pub fn apply(&self, changes: &ChangeSet) -> Result<Self, EditError> {
        // What stays is edited in a text in which nothing else stands.
        if !changes.remove.is_empty() {
            let rest = ChangeSet { remove: Vec::new(), ..changes.clone() };
            return self.without(&changes.remove)?.apply(&rest);
        }
        let mut edits: BTreeMap<&TaskId, BTreeMap<Member, &Value>> = BTreeMap::new();
        for edit in &changes.edits {
            edits.entry(&edit.task).or_default().extend(edit.set.iter().map(|(member, value)| (*member, value)));
        }
        let ascii = style::is_escaped(&self.text);
        let mut splices = Vec::new();
        for (task, set) in &edits {
            self.edit(task, set, ascii, &mut splices)?;
        }
        self.count(&changes.counters, &mut splices);
        self.set_head(&changes.head, ascii, &mut splices);
        if !changes.add.is_empty() {
            splices.push(self.append(changes, ascii));
        }
        // Read by the same reader as a file, so that memory and disk cannot come to mean different things.
        let next = self.reread(self.spliced(splices)).map_err(EditError::Invalid)?;
        next.verify(changes, &edits)?;
        Ok(next)
    }

    /// Renders the text with these pieces replaced.
    fn spliced(&self, mut splices: Vec<Splice>) -> String {
        // Edits come by task, not by place, and the text is copied once, from front to back.
        splices.sort_by_key(|splice| splice.at.start);
        let mut text =
            String::with_capacity(self.text.len() + splices.iter().map(|splice| splice.with.len()).sum::<usize>());
        let mut copied = 0;
        for splice in &splices {
            text.push_str(&self.text[copied..splice.at.start]);
            text.push_str(&splice.with);
            copied = splice.at.end;
        }
        text.push_str(&self.text[copied..]);
        text
    }

    /// Builds the document without some entries of `tasks`; what stays keeps every byte.
    fn without(&self, ids: &[TaskId]) -> Result<Self, EditError> {
        let list = self.parts.tasks.in_text(&self.text);
        let entries = json::elements(list).map_err(|_| EditError::Unfaithful("tasks".into()))?;
        let gone: HashSet<Span> = ids
            .iter()
            .map(|id| match self.parts.queue.get(id) {
                Some(task) if !task.nested => Ok(self.parts.entries[task.place]),
                _ => Err(EditError::NoTask(id.clone())),
            })
            .collect::<Result<_, _>>()?;
        let spans: Vec<Span> = entries.iter().map(|raw| Span::of(&self.text, raw)).collect();
        let mut splices = Vec::new();
        let mut cut = |start, end| splices.push(Splice { at: Span { start, end }, with: String::new() });
        match spans.iter().position(|span| !gone.contains(span)) {
            Some(front) => {
                // The first that stays moves to where the first stood; what goes after it takes the gap before it along.
                cut(spans[0].start, spans[front].start);
                for pair in spans[front..].windows(2).filter(|pair| gone.contains(&pair[1])) {
                    cut(pair[0].end, pair[1].end);
                }
            }
            None => cut(self.parts.tasks.start + 1, self.parts.tasks.end - 1),
        }
        self.reread(self.spliced(splices)).map_err(EditError::Invalid)
    }

    fn edit(
        &self,
        id: &TaskId,
        set: &BTreeMap<Member, &Value>,
        ascii: bool,
        splices: &mut Vec<Splice>,
    ) -> Result<(), EditError> {
        let task = self.parts.queue.get(id).ok_or_else(|| EditError::NoTask(id.clone()))?;
        let span = self.parts.entries[task.place];
        let object = span.in_text(&self.text);
        let members = json::members(object).map_err(|_| EditError::Unfaithful(id.to_string()))?;
        let mut added = String::new();
        let (comma, colon) = style::after_last(object, &members);
        for (member, value) in set {
            match json::last(&members, member.as_str()) {
                // Another spelling of the same value is the author's, and stays.
                Some(present) if says(present.value, value) => {}
                Some(present) => {
                    splices.push(Splice { at: Span::of(&self.text, present.value), with: style::scalar(value, ascii) });
                }
                // To write `null` where nothing stood would only make noise in the file's history.
                None if value.is_null() => {}
                None => {
                    added.push_str(&format!("{comma}\"{}\"{colon}{}", member.as_str(), style::scalar(value, ascii)));
                }
            }
        }
        if !added.is_empty() {
            // At the end: the order above is the author's.
            let end = Span::of(&self.text, members.last().expect("a task has its id").value).end;
            splices.push(Splice { at: Span { start: end, end }, with: added });
        }
        Ok(())
    }

    /// Sets the counters that exist.
    fn count(&self, counters: &BTreeMap<String, u64>, splices: &mut Vec<Splice>) {
        let Some(metadata) = self.parts.metadata.filter(|_| !counters.is_empty()) else { return };
        let members = json::members(metadata.in_text(&self.text)).unwrap_or_default();
        for (key, count) in counters {
            // A counter that nobody keeps is not begun by us.
            if let Some(member) = json::last(&members, key)
                && member.value != count.to_string()
            {
                splices.push(Splice { at: Span::of(&self.text, member.value), with: count.to_string() });
            }
        }
    }

    /// Adds new tasks at the end of `tasks`, in the style of the last one.
    fn append(&self, changes: &ChangeSet, ascii: bool) -> Splice {
        let Tail { count, last, before } = self.parts.tail;
        let entries = changes.add.iter().map(|new| Value::Object(new.json.clone()));
        // There is no entry whose style and gap could be taken.
        if count == 0 {
            let style = Style::of(body(&self.text), ascii).expect("it has a member `tasks`");
            return Splice { at: self.parts.tasks, with: style.value(&entries.collect(), style.indent()) };
        }
        let style = Style::of(last.in_text(&self.text), ascii).expect("a task has its id");
        let gap = &self.text[before..last.start];
        // Between the last two stands the comma as well; before a single one only what follows the bracket.
        let gap = match count {
            1 if gap.is_empty() => style.between(),
            1 => format!(",{gap}"),
            _ => gap.into(),
        };
        let with = entries.fold(String::new(), |text, entry| text + &gap + &style.value(&entry, style.outer()));
        Splice { at: Span { start: last.end, end: last.end }, with }
    }

    /// Compares the text that was read back with the change set.
    fn verify(
        &self,
        changes: &ChangeSet,
        edits: &BTreeMap<&TaskId, BTreeMap<Member, &Value>>,
    ) -> Result<(), EditError> {
        let entry = |id: &TaskId| Some(self.parts.entries[self.parts.queue.get(id)?.place].in_text(&self.text));
        for (id, set) in edits {
            let members = entry(id).and_then(|object| json::members(object).ok()).unwrap_or_default();
            let is_faithful = set.iter().all(|(member, wanted)| match json::last(&members, member.as_str()) {
                Some(present) => says(present.value, wanted),
                None => wanted.is_null(),
            });
            if members.is_empty() || !is_faithful {
                return Err(EditError::Unfaithful(id.to_string()));
            }
        }
        for (key, count) in &changes.counters {
            if self.parts.queue.counters.get(key).is_some_and(|written| *written != Some(*count)) {
                return Err(EditError::Unfaithful(key.clone()));
            }
        }
        if let Some(member) = self.unfaithful_head(&changes.head) {
            return Err(EditError::Unfaithful(member.to_string()));
        }
        for NewTask { task, json } in &changes.add {
            let written = entry(&task.id).and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
            if written.as_ref() != Some(json) {
                return Err(EditError::Unfaithful(task.id.to_string()));
            }
        }
        Ok(())
    }
}
