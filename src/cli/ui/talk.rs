//! Standard error: what a person is told beside the data, and what they are asked.

use std::io::{BufRead as _, Write as _};

use super::{Tone, Ui, table};
use oodatcaa_core::text;
use oodatcaa_ops::{ErrorKind, Failure};

impl Ui {
    /// Tells a person what was done or what to do next.
    pub(crate) fn say(&self, line: &str) {
        if !self.settings.quiet {
            self.talk(line);
        }
    }

    /// Tells a person at a terminal what to do next, below a table.
    pub(crate) fn foot(&self, line: &str) {
        if self.terminal && self.talk_terminal && !self.settings.json {
            self.say(&Tone::Faint.paint(line));
        }
    }

    /// Warns a person.
    pub(crate) fn warn(&self, message: &str) {
        self.talk(&format!("{} {message}", Tone::Warn.paint("warning:")));
    }

    /// Prints a failure: words with hints, or one object (`--json`).
    pub(crate) fn fail(&self, failure: &Failure) {
        self.flush();
        if self.settings.json {
            self.talk_raw(&text::harmless_json(
                serde_json::to_string(&failure.view()).expect("a JSON value can be written"),
            ));
            return;
        }
        for line in failure.human().lines() {
            let marks = [("error:", Tone::Bad), (" hint:", Tone::Good), ("  see:", Tone::Faint)];
            match marks.iter().find_map(|(mark, tone)| Some((mark, tone, line.strip_prefix(mark)?))) {
                Some((mark, tone, rest)) => self.talk(&format!("{}{rest}", tone.paint(mark))),
                None => self.talk(line),
            }
        }
    }

    /// Asks; `Err` where nobody can answer, so that nothing ever hangs (exit 2).
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, Failure> {
        if self.settings.yes {
            return Ok(true);
        }
        let Some(answers) = &self.answers else {
            return Err(Failure::new(ErrorKind::NeedsConfirmation, format!("cannot ask: {question}"))
                .hint("answer it beforehand with --yes"));
        };
        self.flush();
        let mut err = self.err.borrow_mut();
        let _ = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
        let mut answer = String::new();
        let read = answers.borrow_mut().read_line(&mut answer);
        Ok(read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks before something is changed, and says so when it is not.
    pub(crate) fn agreed(&self, question: &str) -> Result<bool, Failure> {
        let agreed = self.confirm(question)?;
        if !agreed {
            self.say("nothing was changed");
        }
        Ok(agreed)
    }

    fn talk(&self, line: &str) {
        let line = text::painted(line);
        let line = self.shown(&line, true);
        match self.talk_terminal {
            true => self.talk_raw(&table::wrap_line(&line, self.width())),
            false => self.talk_raw(&line),
        }
    }

    fn talk_raw(&self, line: &str) {
        self.flush();
        // Nobody is left to be told that standard error is closed.
        let _ = writeln!(self.err.borrow_mut(), "{line}");
    }
}
