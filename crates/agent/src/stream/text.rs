//! Lines of text. Each becomes an event `{"type": "line", "text": …}`, wrapped ones put together
//! again, so that the descriptor's rules serve here, too.

use serde_json::{Value, json};

use super::Grammar;
use crate::output;

pub(super) struct Text {
    wrap: Option<usize>,
    /// A line that may go on in the next one, and the length of its last row.
    held: Option<(String, usize)>,
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
        if let Some((text, last)) = &mut self.held {
            // It would have fitted, so the break is the writer's.
            let wrapped = first > 0 && !row.starts_with(' ') && *last + 1 + first >= wrap;
            if wrapped && text.len() + row.len() < ROWS {
                text.push(' ');
                text.push_str(row);
                *last = length;
                return None;
            }
        }
        self.held.replace((row.into(), length)).map(|(before, _)| line(&before))
    }

    fn rest(&mut self) -> Option<Value> {
        self.held.take().map(|(text, _)| line(&text))
    }
}
