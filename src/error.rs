//! What a failure says to people and programs: the cause, a command that helps, and an exit code.
//!
//! Every code word stands in one table with its two exit codes: those of `agentctl`, made for
//! scripts, and the sysexits of `agent-daemon`, which systemd reads (contract section 7).

use std::{error::Error, io::Write as _};

use serde_json::{Value, json};

use oodatcaa_core::text::{many_lines, one_line, painted};

mod codes;
mod fleet;
mod from;
mod workspace;

pub use codes::{CODES, Code, exit, sysexit};
pub use from::quoted;

/// Prints what clap says of a command line: help on standard output, what is wrong on standard error. The latter
/// repeats words of the command line, which may paint over a terminal.
pub fn say(refused: &clap::Error) -> std::io::Result<()> {
    if !refused.use_stderr() {
        return refused.print();
    }
    write!(anstream::stderr(), "{}", painted(&refused.render().ansi().to_string()))
}

/// A failure, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A stable word for programs.
    pub code: &'static str,
    /// What failed, lower-case, without a full stop.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What to do: a command, or words, a colon and a command.
    pub hints: Vec<String>,
    /// The topic of `agentctl help` that tells more.
    pub see: Option<&'static str>,
    /// The exit code of `agentctl`.
    pub exit: u8,
}

impl Failure {
    /// A failure of a known code word; a word that is not in [`CODES`] counts as `failed`.
    pub fn new(word: &str, message: impl Into<String>) -> Self {
        let code = codes::known(word);
        Self {
            code: code.word,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            see: None,
            exit: code.exit,
        }
    }

    /// The exit code of `agent-daemon`.
    pub fn sysexit(&self) -> u8 {
        codes::known(self.code).sysexit
    }

    /// Whether the same command may succeed later without anybody doing anything.
    pub fn retryable(&self) -> bool {
        codes::known(self.code).retryable
    }

    /// "failed to" and an error of a lower floor, its sources as causes.
    pub fn of(word: &str, error: &(dyn Error + 'static)) -> Self {
        Self::new(word, format!("failed to {error}")).because_of(error.source())
    }

    /// With one more thing to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// With one more cause.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// With a chain of causes.
    #[must_use]
    pub fn because_of(mut self, mut source: Option<&(dyn Error + 'static)>) -> Self {
        while let Some(error) = source {
            let text = error.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            source = error.source();
        }
        self
    }

    /// With a topic of `agentctl help`.
    #[must_use]
    pub fn see(mut self, topic: &'static str) -> Self {
        self.see = Some(topic);
        self
    }

    /// Message and causes in one line.
    pub fn sentence(&self) -> String {
        let parts: Vec<String> =
            std::iter::once(&self.message).chain(&self.causes).map(|part| one_line(part)).collect();
        parts.join(": ")
    }

    /// For people: `error:`, `hint:`, `see:`, a line each. Causes of several lines keep them.
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

    /// For programs.
    pub fn json(&self) -> Value {
        let mut error = json!({
            "code": self.code,
            "message": self.sentence(),
            "hint": self.hints.first(),
            "retryable": self.retryable(),
        });
        if self.hints.len() > 1 {
            error["hints"] = json!(self.hints);
        }
        json!({ "schema": "oodatcaa/error.v1", "error": error })
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
        assert_eq!((failure.exit, failure.sysexit()), (1, 65));
    }

    #[test]
    fn what_the_system_said_is_told_apart() {
        use rustix::io::Errno;
        let told = |errno| {
            let failure = io(errno);
            assert!(!failure.hints.is_empty());
            (failure.code, failure.exit, failure.sysexit())
        };
        assert_eq!(told(Errno::NOSPC), ("disk_full", 1, 74));
        assert_eq!(told(Errno::ROFS), ("read_only", 1, 73));
        assert_eq!(told(Errno::ACCESS), ("permission_denied", 4, 77));
        assert_eq!(told(Errno::IO), ("io", 1, 74));
        assert!(io(Errno::NOSPC).hints[0].ends_with("df -h '/p q/.oodatcaa/work'"));
    }

    #[test]
    fn a_failure_is_json_for_programs() {
        let failure = Failure::new("lease_held", "w@h is alive").hint("agentctl run stop P1");
        assert_eq!(
            failure.json(),
            json!({"schema": "oodatcaa/error.v1", "error": {"code": "lease_held", "message": "w@h is alive", "hint": "agentctl run stop P1", "retryable": true}})
        );
        assert_eq!(Failure::new("nonsense", "x").code, "failed");
    }

    #[test]
    fn hostile_text_cannot_paint_the_terminal() {
        let failure = Failure::new("failed", "a\x1b[2Jb").cause("c\x07").hint("d\ne");
        assert_eq!(failure.human(), "error: a\u{fffd}[2Jb: c\u{fffd}\n hint: d e\n");
    }

    /// A word that is not in the table would silently become `failed`.
    #[test]
    fn every_word_in_use_is_in_the_table() {
        fn sources(at: &std::path::Path, all: &mut Vec<String>) {
            for entry in std::fs::read_dir(at).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    sources(&path, all);
                } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("src/error.rs") {
                    all.push(std::fs::read_to_string(path).expect("text"));
                }
            }
        }
        let mut all = Vec::new();
        for part in ["src", "crates"] {
            sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(part), &mut all);
        }
        let mut words = 0;
        for text in &all {
            for made in ["Failure::new(", "Failure::of("] {
                for (at, _) in text.match_indices(made) {
                    let Some(rest) = text[at + made.len()..].trim_start().strip_prefix('"') else { continue };
                    let word = rest.split('"').next().unwrap_or_default();
                    let is_word = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                    if is_word {
                        assert!(CODES.iter().any(|code| code.word == word), "{word}");
                        words += 1;
                    }
                }
            }
        }
        assert!(words > 20, "only {words} were found");
    }

    #[test]
    fn every_exit_code_is_documented() {
        for code in CODES {
            assert!(exit::ALL.iter().any(|(number, _)| *number == code.exit), "{}", code.word);
            assert!(sysexit::ALL.iter().any(|(number, _)| *number == code.sysexit), "{}", code.word);
            assert_eq!(CODES.iter().filter(|other| other.word == code.word).count(), 1, "{}", code.word);
        }
    }
}
