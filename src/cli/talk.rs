//! What `init`, `doctor` and `config` need of a terminal: few enough that a test can stand in for one.

use serde_json::Value;

use super::ui::Ui;
use oodatcaa_ops::Failure;

/// Somebody to talk to.
pub trait Talk {
    /// Tells whether objects are wanted instead of words.
    fn json(&self) -> bool;
    /// Prints a line of data.
    fn line(&self, line: &str);
    /// Prints a JSON value.
    fn value(&self, value: &Value);
    /// Tells a person what was done or what to do next.
    fn say(&self, line: &str);
    /// Warns a person.
    fn warn(&self, message: &str);
    /// Asks; `Err` where nobody can answer.
    fn confirm(&self, question: &str) -> Result<bool, Failure>;
}

/// Returns a view as JSON; every view can be written.
pub fn json_of(view: &impl serde::Serialize) -> Value {
    serde_json::to_value(view).expect("a view is JSON")
}

impl Talk for Ui {
    fn json(&self) -> bool {
        self.json()
    }

    fn line(&self, line: &str) {
        self.line(line);
    }

    fn value(&self, value: &Value) {
        self.value(value);
    }

    fn say(&self, line: &str) {
        self.say(line);
    }

    fn warn(&self, message: &str) {
        self.warn(message);
    }

    fn confirm(&self, question: &str) -> Result<bool, Failure> {
        self.confirm(question)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Remembers what it was told and answers as it was told to.
    #[derive(Default)]
    pub(crate) struct FakeUi {
        pub(crate) json: bool,
        pub(crate) answer: Option<bool>,
        pub(crate) said: RefCell<Vec<String>>,
    }

    impl FakeUi {
        pub(crate) fn text(&self) -> String {
            self.said.borrow().join("\n")
        }
    }

    impl Talk for FakeUi {
        fn json(&self) -> bool {
            self.json
        }

        fn line(&self, line: &str) {
            self.said.borrow_mut().push(line.into());
        }

        fn value(&self, value: &Value) {
            self.said.borrow_mut().push(value.to_string());
        }

        fn say(&self, line: &str) {
            self.said.borrow_mut().push(line.into());
        }

        fn warn(&self, message: &str) {
            self.said.borrow_mut().push(format!("warning: {message}"));
        }

        fn confirm(&self, question: &str) -> Result<bool, Failure> {
            self.said.borrow_mut().push(format!("{question}?"));
            self.answer.ok_or_else(|| Failure::new(oodatcaa_ops::ErrorKind::NeedsConfirmation, "cannot ask"))
        }
    }
}
