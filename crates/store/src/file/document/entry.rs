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
use oodatcaa_core::{
    Member, Queue, Status, Task, TaskId,
    text::{cut, one_line},
};

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
    /// The span of each task.
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

/// The members of one entry.
struct Fields<'m, 'a> {
    members: &'m [json::Member<'a>],
    /// The problems that stop nothing: place, code and message.
    minor: Vec<(&'a str, &'static str, String)>,
}

impl<'a> Fields<'_, 'a> {
    fn get(&self, member: Member) -> Option<&'a str> {
        json::last(self.members, member.as_str()).map(|member| member.value).filter(|raw| *raw != "null")
    }

    /// Reads a member without which, unless it is absent, the task cannot be used.
    fn hard<T: Default>(&self, member: Member, read: fn(&str) -> Result<T, Wrong>) -> Result<T, (&'a str, Wrong)> {
        let Some(value) = self.get(member) else { return Ok(T::default()) };
        read(value).map_err(|wrong| (value, format!("`{member}` is {}; expected {wrong}", shown(value))))
    }

    /// Reads a member that counts only where it is understood.
    fn soft<T>(&mut self, id: &TaskId, member: Member, read: fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let value = self.get(member)?;
        let wrong = match read(value) {
            Ok(read) => return Some(read),
            Err(wrong) => wrong,
        };
        let message = format!("`{member}` of task {id} is {}; expected {wrong}; it is ignored", shown(value));
        self.minor.push((value, "bad_type", message));
        None
    }

    fn task(&mut self, id: &TaskId, parent: Option<&str>, nested: bool) -> Result<Task, (&'a str, Wrong)> {
        let status = Status::new(self.hard(Member::Status, string)?.unwrap_or_default());
        let mut task = Task { nested, ..Task::new(id.clone(), status) };
        task.dependencies = self.hard(Member::Dependencies, names)?;
        for name in self.hard(Member::DependsOn, names)? {
            if !task.dependencies.contains(&name) {
                task.dependencies.push(name);
            }
        }
        task.not_before = self.hard(Member::NotBefore, time)?;
        task.role = self.hard(Member::Role, string)?;
        task.gates = self.hard(Member::Gates, names)?;
        let source = self.hard(Member::Source, source)?;
        task.trusted = self.hard(Member::Trusted, flag)?.unwrap_or(true) && source.trusted != Some(false);
        task.source = source.words;
        task.lease = lease(self.get(Member::Lease));

        task.title = self.soft(id, Member::Title, words).unwrap_or_default();
        if let (Some(raw), Some(_)) = (self.get(Member::Title), task.title.char_indices().nth(LONGEST)) {
            let message = format!(
                "the title of task {id} has {} characters; people and prompts see its beginning only, expected at most {LONGEST}: move the rest to `description`",
                task.title.chars().count()
            );
            self.minor.push((raw, "too_long", message));
        }
        task.priority = self.soft(id, Member::Priority, number).unwrap_or(Task::DEFAULT_PRIORITY);
        task.kind = self.soft(id, Member::Kind, string).flatten();
        task.agent = self.soft(id, Member::Agent, string).flatten();
        let named = self.soft(id, Member::Parent, string).flatten();
        let named = named.or_else(|| self.soft(id, Member::ParentTask, string).flatten());
        task.parent = named.or_else(|| parent.map(Into::into));
        task.description = self.soft(id, Member::Description, words);
        task.acceptance_criteria = self.soft(id, Member::AcceptanceCriteria, statements).unwrap_or_default();
        task.exit_gates = self.soft(id, Member::ExitGates, statements).unwrap_or_default();
        task.complexity = self.soft(id, Member::Complexity, words);
        task.attempts = self.soft(id, Member::Attempts, count).unwrap_or_default();
        task.starts = self.soft(id, Member::Starts, count).unwrap_or_default();
        task.blocked_reason = self.soft(id, Member::BlockedReason, words);
        task.branch = self.soft(id, Member::Branch, string).flatten();
        task.merged_commit = self.soft(id, Member::MergedCommit, string).flatten();
        task.created_at = self.get(Member::CreatedAt).map(|raw| match raw.as_bytes()[0] {
            b'"' => json::unquoted(raw).into_owned(),
            _ => raw.into(),
        });
        task.updated_at = self.soft(id, Member::UpdatedAt, time).flatten();
        task.objective_link = self.get(Member::ObjectiveLink).and_then(|raw| string(raw).ok().flatten());
        // Nothing depends on these, so that what cannot be read of them is no problem of the file's.
        let ends = [Member::CompletedAt.as_str(), "completed", "integration_completed_at"].into_iter();
        let moments = ends.filter_map(|key| time(json::last(self.members, key)?.value).ok().flatten());
        task.completed_at = moments.max();
        Ok(task)
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

    /// Takes in an entry of `tasks`. Most writers change a few of many: an unchanged one is not read again.
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
        let mut fields = Fields { members: &members, minor: Vec::new() };
        let mut seen: Vec<&str> = Vec::with_capacity(members.len());
        for member in members.iter().filter(|member| Member::of_word(&member.key).is_some()) {
            if seen.contains(&&*member.key) {
                // As `jq` and most parsers see it; an editor's user may have meant the other.
                let id = fields.get(Member::Id).map(json::unquoted).unwrap_or_default();
                let message = format!("task {id} has the member `{}` twice; the last one counts", member.key);
                self.raise(member.raw_key, Some(&id), "duplicate_member", message);
            } else {
                seen.push(&member.key);
            }
        }
        let id = self.identify(raw, fields.get(Member::Id));
        if let Some(id) = &id {
            match fields.task(id, parent, depth > 0) {
                Ok(task) => self.push(task, Span::of(self.text, raw)),
                Err((at, wrong)) => fields.minor.push((at, "bad_type", format!("task {id} is skipped: {wrong}"))),
            }
            for (at, code, message) in fields.minor.drain(..) {
                self.raise(at, Some(id.as_str()), code, message);
            }
        }
        if let Some(nested) = fields.get(Member::Subtasks) {
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

    fn identify(&mut self, raw: &'a str, written: Option<&'a str>) -> Option<TaskId> {
        let id = written.filter(|written| written.starts_with('"')).map(json::unquoted);
        let (at, code, message) = match (written, id.as_deref().map(TaskId::parse)) {
            (_, Some(Ok(id))) => return Some(id),
            (None, _) => (raw, "missing_id", "a task without `id` is skipped".into()),
            (Some(at), None) => {
                (at, "bad_id", format!("a task is skipped: its `id` is {}; expected a string", json::kind(at)))
            }
            (Some(at), Some(Err(why))) => {
                let shown = cut(&one_line(id.as_deref().unwrap_or_default()), 60);
                (at, "bad_id", format!("the task with the id `{shown}` is skipped: the id {why}"))
            }
        };
        self.raise(at, id.as_deref(), code, message);
        None
    }
}
