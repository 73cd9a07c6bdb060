//! One JSON object, perhaps over many lines, once all is over. It is one event, and `[map]` tells what is in it.

use serde_json::Value;

use super::Grammar;

/// The text that is held back until the end.
pub(super) struct Object {
    text: String,
    most: usize,
}

impl Object {
    pub(super) fn new(most: usize) -> Self {
        Self { text: String::new(), most }
    }
}

impl Grammar for Object {
    fn event(&mut self, line: &str) -> Option<Value> {
        if self.text.len() + line.len() < self.most {
            self.text.push_str(line);
            self.text.push('\n');
        }
        None
    }

    fn rest(&mut self) -> Option<Value> {
        let text = std::mem::take(&mut self.text);
        // Some programs talk before it.
        let from = text.find('{')?;
        serde_json::from_str::<Value>(&text[from..]).ok()
    }
}
