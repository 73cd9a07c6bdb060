//! Lines of text. Each becomes an event `{"type": "line", "text": …}`, wrapped ones put together
//! again, so that the descriptor's rules serve here, too.

use serde_json::{Value, json};

use super::{Grammar, event, state::RunState};
use crate::{descriptor::Descriptor, output};

pub(super) struct Text {
    wrap: Option<usize>,
    held: Option<Held>,
}

/// A line that may go on in the next one.
struct Held {
    text: String,
    /// The length of its last row.
    row: usize,
}

/// No line that people write goes on for longer.
const ROWS: usize = 16_384;

impl Text {
    pub(super) fn new(wrap: Option<usize>) -> Self {
        Self { wrap, held: None }
    }
}

fn line(text: &str) -> Value {
    json!({"type": "line", "text": text})
}

impl Grammar for Text {
    fn event(&mut self, row: &str) -> Option<Value> {
        let row = output::plain(row);
        let row = row.trim_end();
        let Some(wrap) = self.wrap else { return Some(line(row)) };
        let length = row.chars().count();
        let first = row.split_whitespace().next().map_or(0, |word| word.chars().count());
        if let Some(held) = &mut self.held {
            // It would have fitted, so the break is the writer's.
            let wrapped = first > 0 && !row.starts_with(' ') && held.row + 1 + first >= wrap;
            if wrapped && held.text.len() + row.len() < ROWS {
                held.text.push(' ');
                held.text.push_str(row);
                held.row = length;
                return None;
            }
        }
        let before = self.held.replace(Held { text: row.into(), row: length });
        before.map(|held| line(&held.text))
    }

    fn rest(&mut self) -> Option<Value> {
        self.held.take().map(|held| line(&held.text))
    }

    fn read(&mut self, event: &Value, descriptor: &Descriptor, state: &mut RunState) {
        event::read(event, descriptor, state);
    }
}
