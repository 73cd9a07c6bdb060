//! What a failure says to people and programs: its kind, the cause, and a command that helps.

use std::error::Error;

use crate::view::{ErrorBody, ErrorView};
use oodatcaa_core::text::{many_lines, one_line};

mod fleet;
mod from;
mod kind;
mod missing;
mod refusal;
mod workspace;

pub use from::quoted;
pub use kind::{ErrorKind, exit, sysexit};
pub(crate) use missing::no_task;
pub(crate) use refusal::{refused, undecided};

/// A failure, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// What failed, lower-case, without a full stop.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What to do: a command, or words, a colon and a command.
    pub hints: Vec<String>,
    /// The topic of `agentctl help` that tells more.
    pub see: Option<&'static str>,
}

impl Failure {
    /// Returns a failure without causes or hints.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), hints: Vec::new(), see: kind.topic() }
    }

    /// Returns "failed to" and an error of a lower floor, its sources as causes.
    pub fn of(kind: ErrorKind, error: &(dyn Error + 'static)) -> Self {
        Self::new(kind, format!("failed to {error}")).because_of(error.source())
    }

    /// Adds a thing to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds things to do, the best first.
    #[must_use]
    fn hints(mut self, hints: &[&str]) -> Self {
        self.hints.extend(hints.iter().map(|hint| (*hint).into()));
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds a chain of causes, outermost first.
    #[must_use]
    pub(crate) fn because_of(mut self, mut source: Option<&(dyn Error + 'static)>) -> Self {
        while let Some(error) = source {
            let text = error.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            source = error.source();
        }
        self
    }

    /// Names a topic of `agentctl help`, in place of its kind's.
    #[must_use]
    pub fn see(mut self, topic: &'static str) -> Self {
        self.see = Some(topic);
        self
    }

    /// Returns message and causes in one line.
    pub fn sentence(&self) -> String {
        let parts: Vec<String> =
            std::iter::once(&self.message).chain(&self.causes).map(|part| one_line(part)).collect();
        parts.join(": ")
    }

    /// Renders it for people: `error:`, `hint:`, `see:`, a line each. Causes of several lines keep them.
    pub fn human(&self) -> String {
        let parts: Vec<String> =
            std::iter::once(&self.message).chain(&self.causes).map(|part| many_lines(part)).collect();
        let mut text = format!("error: {}\n", parts.join(": "));
        for hint in &self.hints {
            text.push_str(&format!(" hint: {}\n", one_line(hint)));
        }
        if let Some(topic) = self.see {
            text.push_str(&format!("  see: agentctl help {topic}\n"));
        }
        text
    }

    /// Renders it for programs.
    pub fn view(&self) -> ErrorView {
        ErrorView {
            error: ErrorBody {
                code: self.kind.word(),
                message: self.sentence(),
                hint: self.hints.first().cloned(),
                retryable: self.kind.retryable(),
                hints: Some(self.hints.clone()).filter(|hints| hints.len() > 1),
            },
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sentence())
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use std::io;

    use serde_json::json;

    use super::*;
    use oodatcaa_store::{Invalid, StoreError};

    fn io(errno: rustix::io::Errno) -> Failure {
        let source = io::Error::from_raw_os_error(errno.raw_os_error());
        StoreError::Io { doing: "write", path: "/p q/.oodatcaa/work/SPRINT_QUEUE.json".into(), source }.into()
    }

    #[test]
    fn an_invalid_queue_names_its_place_and_the_next_command() {
        let invalid = Invalid { path: "q.json".into(), line: 3, column: 7, message: "conflict marker".into() };
        let failure = Failure::from(StoreError::Invalid(invalid));
        assert_eq!(
            failure.human(),
            "error: the queue file cannot be read; it is left as it is: q.json:3:7: conflict marker\n hint: agentctl queue validate\n hint: a version that can be read may be in git: git log --oneline -- q.json\n  see: agentctl help queue\n"
        );
        assert_eq!((failure.kind.exit(), failure.kind.sysexit()), (1, 65));
    }

    #[test]
    fn what_the_system_said_is_told_apart() {
        use rustix::io::Errno;
        let told = |errno| {
            let failure = io(errno);
            assert!(!failure.hints.is_empty());
            (failure.kind.word(), failure.kind.exit(), failure.kind.sysexit())
        };
        assert_eq!(told(Errno::NOSPC), ("disk_full", 1, 74));
        assert_eq!(told(Errno::ROFS), ("read_only", 1, 73));
        assert_eq!(told(Errno::ACCESS), ("permission_denied", 4, 77));
        assert_eq!(told(Errno::IO), ("io", 1, 74));
        assert!(io(Errno::NOSPC).hints[0].ends_with("df -h '/p q/.oodatcaa/work'"));
    }

    #[test]
    fn a_failure_is_json_for_programs() {
        let failure = Failure::new(ErrorKind::LeaseHeld, "w@h is alive").hint("agentctl run stop P1");
        assert_eq!(
            serde_json::to_value(failure.view()).expect("JSON"),
            json!({"schema": "oodatcaa/error.v1", "error": {"code": "lease_held", "message": "w@h is alive", "hint": "agentctl run stop P1", "retryable": true}})
        );
    }

    #[test]
    fn hostile_text_cannot_paint_the_terminal() {
        let failure = Failure::new(ErrorKind::Failed, "a\x1b[2Jb").cause("c\x07").hint("d\ne");
        assert_eq!(failure.human(), "error: a\u{fffd}[2Jb: c\u{fffd}\n hint: d e\n");
    }

    #[test]
    fn every_kind_has_a_word_of_its_own_and_documented_exit_codes() {
        for kind in ErrorKind::ALL {
            assert!(exit::ALL.iter().any(|(number, _)| *number == kind.exit()), "{kind:?}");
            assert!(sysexit::ALL.iter().any(|(number, _)| *number == kind.sysexit()), "{kind:?}");
            assert_eq!(ErrorKind::ALL.iter().filter(|other| other.word() == kind.word()).count(), 1, "{kind:?}");
        }
    }
}
