//! One queue entry: its id and the members that the rules read.
//!
//! The store knows how an entry is written in the file, byte by byte.

use std::{borrow::Borrow, fmt, sync::Arc};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::{Status, Token, text};

/// A task id that may become a file name: `[A-Za-z0-9._-]{1,128}`, no leading dot or dash.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "String"))]
pub struct TaskId(Arc<str>);

/// The reason why a text cannot be a task id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than a file name should be.
    #[error("is {0} characters long, at most {max} are allowed", max = TaskId::MAX)]
    TooLong(usize),
    /// A leading dot hides the file, a leading dash makes it an option.
    #[error("starts with `{0}`")]
    Lead(char),
    /// A character outside the allowed set.
    #[error("contains {0:?}; allowed are letters, digits, `.`, `_` and `-`")]
    Char(char),
}

impl TaskId {
    /// The longest id, in characters.
    pub const MAX: usize = 128;

    /// Reads a text as an id. Fails with what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let first = text.chars().next().ok_or(BadId::Empty)?;
        if let Some(bad) = text.chars().find(|c| !matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-')) {
            return Err(BadId::Char(bad));
        }
        if matches!(first, '.' | '-') {
            return Err(BadId::Lead(first));
        }
        if text.len() > Self::MAX {
            return Err(BadId::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for TaskId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for TaskId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for TaskId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The `lease` member of a queue entry.
#[expect(missing_docs, reason = "the variant says what each field is")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum QueueLease {
    /// `null`, an empty string, or no such member.
    #[default]
    None,
    /// Ours: `<owner>#<token>`.
    Ours { owner: String, token: Token },
    /// The old inline object, which lives until its own wall-clock TTL is over; times that cannot be read count as over.
    Inline { owner: String, until: Option<DateTime<Utc>> },
    /// Anything else; kept, and overwritten by the next claim.
    Other(String),
}

impl QueueLease {
    /// Returns the token that it names.
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::Ours { token, .. } => Some(*token),
            _ => None,
        }
    }

    /// Reads the text form, `<owner>#<token>`.
    pub fn from_text(text: &str) -> Self {
        if text.is_empty() {
            return Self::None;
        }
        match text.rsplit_once('#').map(|(owner, token)| (owner, token.parse())) {
            Some((owner, Ok(token))) if !owner.is_empty() => Self::Ours { owner: owner.into(), token: Token(token) },
            _ => Self::Other(text.into()),
        }
    }
}

/// One task, as far as the rules need it. Members that are missing have their defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The id, checked.
    pub id: TaskId,
    /// Position in the file over tasks and nested subtasks, counted from 0.
    pub place: usize,
    /// `true` for an entry of another task's `subtasks`.
    pub nested: bool,
    /// One line for people; may hold anything.
    pub title: String,
    /// The task's status.
    pub status: Status,
    /// Small numbers first; 100 when missing.
    pub priority: i64,
    /// The `type` member: `Story`, `Build`, `Test`, …
    pub kind: Option<String>,
    /// The role that acted last.
    pub agent: Option<String>,
    /// The `lease` member.
    pub lease: QueueLease,
    /// `dependencies` or `depends_on`, as written.
    pub dependencies: Vec<String>,
    /// `parent`, `parent_task`, or the task whose `subtasks` holds this one.
    pub parent: Option<String>,
    /// The work to do.
    pub description: Option<String>,
    /// The statements that must be true afterwards.
    pub acceptance_criteria: Vec<String>,
    /// The old files' list of statements to hold; text for the prompt, never a command.
    pub exit_gates: Vec<String>,
    /// `S`, `M`, `L`.
    pub complexity: Option<String>,
    /// Attempts charged in the present stage.
    pub attempts: u32,
    /// Starts of agents in all stages, as the queue tells it; [`super::Snapshot::starts`] is what counts.
    pub starts: u32,
    /// Not to be claimed before this wall-clock time.
    pub not_before: Option<DateTime<Utc>>,
    /// The reason why it waits for a human.
    pub blocked_reason: Option<String>,
    /// The branch of its work.
    pub branch: Option<String>,
    /// The commit as which it was merged last.
    pub merged_commit: Option<String>,
    /// Only this role may take it, if given.
    pub role: Option<String>,
    /// Names of configured gates that this task demands beside its role's.
    pub gates: Vec<String>,
    /// Its text comes from somebody who is trusted; any other text waits for a human first.
    pub trusted: bool,
    /// The source of its text, for people.
    pub source: Option<String>,
    /// The time at which it was made, as it stands in the file.
    pub created_at: Option<String>,
    /// The time at which we (or a human) last said it changed; a restored old file is recognised by it.
    pub updated_at: Option<DateTime<Utc>>,
    /// The part of the sprint's goal that it is for, in its author's words.
    pub objective_link: Option<String>,
    /// The time at which it was done, as far as the file says it.
    pub completed_at: Option<DateTime<Utc>>,
}

impl Task {
    /// Makes a task with every default, for tests and for tasks about to be created.
    pub fn new(id: TaskId, status: Status) -> Self {
        Self {
            id,
            place: 0,
            nested: false,
            title: String::new(),
            status,
            priority: Self::DEFAULT_PRIORITY,
            kind: None,
            agent: None,
            lease: QueueLease::None,
            dependencies: Vec::new(),
            parent: None,
            description: None,
            acceptance_criteria: Vec::new(),
            exit_gates: Vec::new(),
            complexity: None,
            attempts: 0,
            starts: 0,
            not_before: None,
            blocked_reason: None,
            branch: None,
            merged_commit: None,
            role: None,
            gates: Vec::new(),
            trusted: true,
            source: None,
            created_at: None,
            updated_at: None,
            objective_link: None,
            completed_at: None,
        }
    }

    /// Returns what tells it from another task under the same id: when it was made, or, where that is not said, what it
    /// is about.
    pub fn origin(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: Option<&str>| {
            hash.update(part.map_or(0, |part| part.len() as u64 + 1).to_le_bytes());
            hash.update(part.unwrap_or_default());
        };
        match &self.created_at {
            Some(made) => add(Some(made)),
            None => [Some(self.title.as_str()), self.kind.as_deref(), self.description.as_deref()]
                .map(add)
                .into_iter()
                .collect(),
        }
        text::hex(&hash.finalize()[..8])
    }

    /// The longest title, in characters.
    pub const LONGEST_TITLE: usize = 300;

    /// The priority of a task that names none.
    pub const DEFAULT_PRIORITY: i64 = 100;

    /// Tells whether its `type` begins with this word, in whatever case.
    pub(crate) fn is_of(&self, kind: &str) -> bool {
        self.kind.as_ref().is_some_and(|own| own.to_ascii_lowercase().starts_with(kind))
    }

    /// Returns where its text comes from, for people.
    pub(crate) fn source_words(&self) -> String {
        text::cut(&self.source.as_deref().map_or("somebody who is not trusted".into(), text::one_line), 200)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_ids_are_accepted() {
        for id in ["P001-B03", "a", "A.b_c-9", &"x".repeat(128)] {
            assert_eq!(TaskId::parse(id).map(|id| id.to_string()), Ok(id.to_owned()));
        }
    }

    #[test]
    fn ids_that_could_leave_their_directory_are_refused() {
        for id in ["", "../../x", ".hidden", "-rf", "a/b", "a\0b", "a b", "ü", &"x".repeat(129), "a\n"] {
            assert!(TaskId::parse(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn a_queue_lease_is_read_in_its_text_form() {
        assert_eq!(QueueLease::from_text(""), QueueLease::None);
        assert_eq!(
            QueueLease::from_text("agent-daemon-builder@host#17"),
            QueueLease::Ours { owner: "agent-daemon-builder@host".into(), token: Token(17) }
        );
        assert_eq!(QueueLease::from_text("someone"), QueueLease::Other("someone".into()));
        assert_eq!(QueueLease::from_text("#3"), QueueLease::Other("#3".into()));
    }
}
