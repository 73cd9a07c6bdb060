//! What the client tells of a conversation: the events of the dialect `acp`, one JSON object a line.

use std::io::Write;

use serde_json::{Value, json};

/// Lines of an agent that are no messages are told of so often, and then no more.
const NOISE: u32 = 100;

/// The output for events.
pub(super) struct Events {
    out: Box<dyn Write + Send>,
    noise: u32,
}

impl Events {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, noise: 0 }
    }

    /// Tells an event.
    pub(super) fn tell(&mut self, event: &Value) {
        let mut line = event.to_string();
        line.push('\n');
        // Without a reader nobody is left to be told that there is none.
        let _ = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
    }

    /// Writes an error that ends the run, or does not let it begin.
    pub(super) fn error(&mut self, stage: &str, code: Option<i64>, message: &str, kind: Option<&str>) {
        self.tell(&json!({"type": "error", "stage": stage, "code": code, "message": message, "kind": kind}));
    }

    /// Writes a line that is no message.
    pub(super) fn noise(&mut self, words: &str) {
        self.noise += 1;
        if self.noise <= NOISE {
            let words: String = words.chars().take(400).collect();
            self.tell(&json!({"type": "noise", "text": words}));
        }
    }
}
