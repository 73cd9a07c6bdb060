//! From an entry of `tasks` to a domain task: every member that we know, tolerant in its types.
//!
//! A member that decides whether a task may run (`id`, `status`, `dependencies`, `not_before`, `role`, `gates`,
//! `trusted`) and cannot be understood makes the task invisible; any other falls back to its default. Both are told.

use std::sync::Arc;

use super::{
    Document,
    json::{self, Span},
    value::{Wrong, count, flag, lease, names, number, shown, source, statements, string, time, words},
};
use oodatcaa_core::{Queue, Status, Task, TaskId};

/// Entries inside entries are followed this deep.
const DEPTH: usize = 32;

/// A title of more characters than this is a mistake.
const LONGEST: usize = 1_000;

/// Collects tasks and what is wrong with them.
#[derive(Default)]
pub(super) struct Reader<'a> {
    text: &'a str,
    /// The text as it was read before, and the place in its queue that the next entry may have had.
    known: Option<(&'a Document, usize)>,
    pub(super) queue: Queue,
    /// Where each of the tasks stands.
    pub(super) spans: Vec<Span>,
    pub(super) problems: Vec<Raised>,
    /// The first two offsets with the same id.
    pub(super) duplicate: Option<(TaskId, usize, usize)>,
}

/// A problem, before its line is known.
pub(super) struct Raised {
    pub(super) offset: usize,
    pub(super) task: Option<String>,
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// The members that we read.
const KEYS: [&str; 28] = [
    "id",
    "title",
    "status",
    "priority",
    "type",
    "agent",
    "lease",
    "dependencies",
    "depends_on",
    "parent",
    "parent_task",
    "subtasks",
    "description",
    "acceptance_criteria",
    "exit_gates",
    "complexity",
    "attempts",
    "not_before",
    "blocked_reason",
    "branch",
    "role",
    "gates",
    "updated_at",
    "trusted",
    "source",
    "created_at",
    "starts",
    "merged_commit",
];

/// Returns the place of a member among those that we read.
fn slot(key: &str) -> Option<usize> {
    KEYS.iter().position(|known| *known == key)
}

/// The value of each known member; of one that is written twice the last.
struct Known<'a>([Option<&'a str>; KEYS.len()]);

impl<'a> Known<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        slot(key).and_then(|at| self.0[at]).filter(|raw| *raw != "null")
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, known: Option<&'a Document>) -> Self {
        // Problems tell lines, which move.
        let known = known.filter(|known| known.queue().problems.is_empty()).map(|known| (known, 0));
        Self { text, known, ..Self::default() }
    }

    fn raise(&mut self, at: &str, task: Option<&str>, code: &'static str, message: String) {
        let offset = Span::of(self.text, at).start;
        self.problems.push(Raised { offset, task: task.map(Into::into), code, message });
    }

    /// Takes in an entry of `tasks`. Most writers change a few of many: one that stands as it stood is not read again.
    pub(super) fn top(&mut self, raw: &'a str) {
        let Some((known, place)) = self.known else { return self.entry(raw, None, 0) };
        let (tasks, entries) = (known.queue(), &known.parts.entries);
        // The entries inside it follow it.
        let is_inside = |at: &usize| tasks.at(*at).is_some_and(|task| task.nested);
        let behind = |place: usize| place + 1 + (place + 1..).take_while(is_inside).count();
        let old = if entries.get(place).is_some_and(|span| span.in_text(&known.text) == raw) {
            let (from, to) = (entries[place].start, Span::of(self.text, raw).start);
            for (at, span) in (place..behind(place)).zip(&entries[place..]) {
                let span = Span { start: span.start - from + to, end: span.end - from + to };
                tasks.at(at).into_iter().for_each(|task| self.push(Arc::clone(task), span));
            }
            Some(place)
        } else {
            let first = self.spans.len();
            self.entry(raw, None, 0);
            // Where another entry was added or removed, the same id tells where to go on.
            self.queue.at(first).and_then(|task| Some(tasks.get(&task.id)?.place))
        };
        self.known = Some((known, old.map_or(place, behind)));
    }

    fn push(&mut self, task: impl Into<Arc<Task>>, span: Span) {
        let task = task.into();
        if let Some(first) = self.queue.get(&task.id) {
            self.duplicate.get_or_insert((task.id.clone(), self.spans[first.place].start, span.start));
        } else {
            self.queue.push(task);
            self.spans.push(span);
        }
    }

    /// Takes in one entry and the entries inside it.
    fn entry(&mut self, raw: &'a str, parent: Option<&str>, depth: usize) {
        // The list was split before, so this entry alone is broken.
        let Ok(members) = json::members(raw) else {
            return self.raise(raw, None, "bad_type", "an entry cannot be read and is skipped".into());
        };
        let mut known = Known([None; KEYS.len()]);
        for member in &members {
            if let Some(at) = slot(&member.key) {
                // As `jq` and most parsers see it; an editor's user may have meant the other.
                if known.0[at].is_some() {
                    let id = known.0[0].map(json::unquoted).unwrap_or_default();
                    let message = format!("task {id} has the member `{}` twice; the last one counts", member.key);
                    self.raise(member.raw_key, Some(&id), "duplicate_member", message);
                }
                known.0[at] = Some(member.value);
            }
        }
        let id = self.identify(raw, &known);
        if let Some(id) = &id {
            match self.task(&known, id, parent, depth > 0) {
                Ok(task) => self.push(task, Span::of(self.text, raw)),
                Err((at, wrong)) => {
                    let message = format!("task {id} is skipped: {wrong}");
                    self.raise(at, Some(id.as_str()), "bad_type", message);
                }
            }
        }
        if let Some(nested) = known.get("subtasks") {
            self.nested(nested, id.as_ref().map(TaskId::as_str).or(parent), depth);
        }
    }

    fn nested(&mut self, raw: &'a str, parent: Option<&str>, depth: usize) {
        let Ok(entries) = json::elements(raw) else {
            let message = format!("`subtasks` is {}; expected a list; it is skipped", json::kind(raw));
            return self.raise(raw, parent, "bad_type", message);
        };
        if depth >= DEPTH && entries.iter().any(|entry| entry.starts_with('{')) {
            let message = format!("`subtasks` are nested more than {DEPTH} deep; what is deeper is skipped");
            return self.raise(raw, parent, "too_deep", message);
        }
        for entry in entries {
            match entry.as_bytes()[0] {
                b'{' => self.entry(entry, parent, depth + 1),
                // The id of a task that stands elsewhere.
                b'"' | b'n' => {}
                _ => {
                    let message =
                        format!("an entry of `subtasks` is {}; expected an object; it is skipped", json::kind(entry));
                    self.raise(entry, parent, "bad_type", message);
                }
            }
        }
    }

    fn identify(&mut self, raw: &'a str, known: &Known<'a>) -> Option<TaskId> {
        let Some(written) = known.get("id") else {
            self.raise(raw, None, "missing_id", "a task without `id` is skipped".into());
            return None;
        };
        if !written.starts_with('"') {
            let message = format!("a task is skipped: its `id` is {}; expected a string", json::kind(written));
            self.raise(written, None, "bad_id", message);
            return None;
        }
        let id = json::unquoted(written);
        match TaskId::parse(&id) {
            Ok(id) => Some(id),
            Err(why) => {
                let shown = oodatcaa_core::text::cut(&oodatcaa_core::text::one_line(&id), 60);
                let message = format!("the task with the id `{shown}` is skipped: the id {why}");
                self.raise(written, Some(&id), "bad_id", message);
                None
            }
        }
    }

    fn task(
        &mut self,
        known: &Known<'a>,
        id: &TaskId,
        parent: Option<&str>,
        nested: bool,
    ) -> Result<Task, (&'a str, Wrong)> {
        fn hard<'a, T: Default>(
            known: &Known<'a>,
            key: &'static str,
            read: fn(&str) -> Result<T, Wrong>,
        ) -> Result<T, (&'a str, Wrong)> {
            known.get(key).map_or_else(
                || Ok(T::default()),
                |value| read(value).map_err(|wrong| (value, format!("`{key}` is {}; expected {wrong}", shown(value)))),
            )
        }
        let status = Status::new(hard(known, "status", string)?.unwrap_or_default());
        let mut task = Task::new(id.clone(), status);
        task.nested = nested;
        task.dependencies = hard(known, "dependencies", names)?;
        for name in hard(known, "depends_on", names)? {
            if !task.dependencies.contains(&name) {
                task.dependencies.push(name);
            }
        }
        task.not_before = hard(known, "not_before", time)?;
        task.role = hard(known, "role", string)?;
        task.gates = hard(known, "gates", names)?;
        let source = hard(known, "source", source)?;
        task.trusted = hard(known, "trusted", flag)?.unwrap_or(true) && source.trusted != Some(false);
        task.source = source.words;
        task.lease = lease(known.get("lease"));

        task.title = self.soft(known, id, "title", words).unwrap_or_default();
        if let (Some(raw), Some(_)) = (known.get("title"), task.title.char_indices().nth(LONGEST)) {
            let message = format!(
                "the title of task {id} has {} characters; people and prompts see its beginning only, expected at most {LONGEST}: move the rest to `description`",
                task.title.chars().count()
            );
            self.raise(raw, Some(id.as_str()), "too_long", message);
        }
        task.priority = self.soft(known, id, "priority", number).unwrap_or(Task::DEFAULT_PRIORITY);
        task.kind = self.soft(known, id, "type", string).flatten();
        task.agent = self.soft(known, id, "agent", string).flatten();
        task.parent = self
            .soft(known, id, "parent", string)
            .flatten()
            .or_else(|| self.soft(known, id, "parent_task", string).flatten())
            .or_else(|| parent.map(Into::into));
        task.description = self.soft(known, id, "description", words);
        task.acceptance_criteria = self.soft(known, id, "acceptance_criteria", statements).unwrap_or_default();
        task.exit_gates = self.soft(known, id, "exit_gates", statements).unwrap_or_default();
        task.complexity = self.soft(known, id, "complexity", words);
        task.attempts = self.soft(known, id, "attempts", count).unwrap_or_default();
        task.starts = self.soft(known, id, "starts", count).unwrap_or_default();
        task.blocked_reason = self.soft(known, id, "blocked_reason", words);
        task.branch = self.soft(known, id, "branch", string).flatten();
        task.merged_commit = self.soft(known, id, "merged_commit", string).flatten();
        task.created_at = known.get("created_at").map(|raw| match raw.as_bytes()[0] {
            b'"' => json::unquoted(raw).into_owned(),
            _ => raw.into(),
        });
        task.updated_at = self.soft(known, id, "updated_at", time).flatten();
        Ok(task)
    }

    fn soft<T>(
        &mut self,
        known: &Known<'a>,
        id: &TaskId,
        key: &'static str,
        read: fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = known.get(key)?;
        read(value)
            .map_err(|wrong| {
                let message = format!("`{key}` of task {id} is {}; expected {wrong}; it is ignored", shown(value));
                self.raise(value, Some(id.as_str()), "bad_type", message);
            })
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oodatcaa_core::Member;

    /// Whoever has a rule read one more member says here whether an agent may propose it.
    #[test]
    fn every_member_that_is_read_is_either_proposable_or_ours() {
        for key in KEYS {
            assert!(Member::of_word(key).is_some(), "{key}");
        }
    }
}
