//! The words of the control sockets: what a process of ours is asked by another, and what it answers.
//!
//! One JSON object on one line each way: `{"verb":"status"}`, `{"ok":true,"status":{…}}`. An `id` comes back as it was.
//! Whoever answers does so from its main loop: so an answer is also the sign that it works, not only that it lives.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{TaskId, Token};

/// The meaning of a signal to a process of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// TERM or INT: leave.
    Stop,
    /// HUP: look again now.
    Wake,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The wish.
    #[serde(flatten)]
    pub verb: Verb,
    /// Given back with the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
}

/// A wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    /// To hear its state.
    Status,
    /// That it claims nothing more, and leaves when the last attempt has ended by itself.
    Drain,
    /// That it leaves as after a TERM.
    Shutdown,
    /// Of a supervisor: that so many workers of each of these roles run; others stay as they are.
    Want {
        /// The number of workers by role.
        roles: BTreeMap<String, u32>,
    },
}

impl Verb {
    /// Writes the line that asks for it.
    pub fn line(self) -> String {
        serde_json::to_string(&Request { verb: self, id: None }).expect("words and numbers")
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The wish has been fulfilled, or is about to be.
    pub ok: bool,
    /// The reason why not, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The `id` of the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
    /// The state of whoever answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

impl Reply {
    /// Answers that it is done.
    pub fn done() -> Self {
        Self { ok: true, ..Self::default() }
    }

    /// Answers that it cannot be done.
    pub fn refused(why: impl Into<String>) -> Self {
        Self { error: Some(why.into()), ..Self::default() }
    }

    /// Reads an answer; one that is not understood is none.
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// The state of a process of ours, by its own word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// `worker` or `supervisor`.
    pub kind: String,
    /// Its name: that of its pid file.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Its version of this program.
    pub version: String,
    /// `running` or `stopping`.
    pub state: String,
    /// The attempts that it has, of a worker.
    pub attempts: Vec<Attempt>,
    /// Its workers, of a supervisor.
    pub workers: Vec<Worker>,
}

/// An attempt of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The task.
    pub task: TaskId,
    /// Its token.
    pub token: Token,
}

/// A worker, as its supervisor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// Its name: that of its pid file.
    pub name: String,
    /// The role that it serves.
    pub role: String,
    /// The word of [`crate::supervise::State::as_str`].
    pub state: String,
    /// Its process.
    pub pid: Option<u32>,
    /// The crashes in a row.
    pub crashes: u32,
    /// The reason why it is given up, or waits.
    pub why: Option<String>,
    /// It is given up, and another start changes nothing before a person has acted.
    pub needs_person: bool,
}

/// Reads a question and answers it. What is not understood is refused with words.
pub fn answer(line: &str, act: impl FnOnce(Verb) -> Reply) -> String {
    let reply = match serde_json::from_str::<Request>(line) {
        Ok(Request { verb, id }) => Reply { id, ..act(verb) },
        Err(error) => Reply::refused(format!("the question is not understood: {error}")),
    };
    serde_json::to_string(&reply).expect("words and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_one_line_and_its_id_comes_back() {
        assert_eq!(Verb::Status.line(), r#"{"verb":"status"}"#);
        let want = Verb::Want { roles: BTreeMap::from([("builder".into(), 2)]) };
        assert_eq!(want.clone().line(), r#"{"verb":"want","roles":{"builder":2}}"#);
        let answered = answer(r#"{"verb":"drain","id":7}"#, |verb| {
            assert_eq!(verb, Verb::Drain);
            Reply::done()
        });
        assert_eq!(answered, r#"{"ok":true,"id":7}"#);
        let read = serde_json::from_str::<Request>(&want.clone().line()).expect("reads back");
        assert_eq!(read.verb, want);
    }

    #[test]
    fn what_is_not_understood_is_refused_and_nothing_is_done() {
        for line in ["", "[]", "{}", r#"{"verb":"dance"}"#, r#"{"verb":"want"}"#, "status"] {
            let answered = answer(line, |verb| unreachable!("{verb:?}"));
            let reply = Reply::read(&answered).expect("an answer");
            assert!(!reply.ok && reply.error.is_some_and(|error| error.starts_with("the question")), "{answered}");
        }
    }
}
