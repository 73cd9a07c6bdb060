//! Claude Code's dialect: messages of content blocks, also spoken by qwen, amp and cursor-agent.

use std::collections::HashMap;

use serde_json::Value;

use super::{Grammar, event, state::RunState};
use crate::descriptor::Map;
use oodatcaa_core::Usage;

#[derive(Default)]
pub(super) struct Claude {
    /// Figures by message: one message comes in several events, each with the message's figures so far.
    messages: HashMap<String, Usage>,
    /// The sum of all of them.
    all: Usage,
    /// The message that came last.
    last: String,
}

/// So many messages are told apart; of further ones the first event counts.
const MESSAGES: usize = 100_000;

/// A name of more bytes than this is cut.
const NAME: usize = 100;

impl Claude {
    fn figures(&mut self, id: &str, usage: &Value, run: &mut RunState) {
        let number = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
        let cached = number("cache_read_input_tokens");
        let input = number("input_tokens").saturating_add(number("cache_creation_input_tokens")).saturating_add(cached);
        let output = number("output_tokens");
        if input == 0 && output == 0 {
            return;
        }
        let figures =
            Usage { tokens_in: Some(input), tokens_out: Some(output), cached: Some(cached), ..Usage::default() };
        let id: String = id.chars().take(NAME).collect();
        let before = match self.messages.len() < MESSAGES || self.messages.contains_key(&id) {
            true => self.messages.insert(id, figures),
            false if id == self.last => return,
            false => None,
        };
        self.all = self.all.without_tokens_of(before.unwrap_or_default()).plus(figures);
        run.live(self.all);
    }
}

impl Grammar for Claude {
    fn read(&mut self, event: &Value, map: &Map, run: &mut RunState) {
        let message = event.get("message");
        let content = message.and_then(|message| message.get("content")).and_then(Value::as_array);
        let word =
            |value: &'_ Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match event.get("type").and_then(Value::as_str) {
            Some("assistant") => {
                let id = message.map(|message| word(message, "id")).unwrap_or_default();
                if let Some(usage) = message.and_then(|message| message.get("usage")) {
                    self.figures(&id, usage, run);
                }
                // The program's own words about an error come as a message, too: no model has said anything.
                let synthetic = message.is_some_and(|message| word(message, "model") == "<synthetic>");
                if !synthetic && (id.is_empty() || id != self.last) {
                    run.step();
                    self.last = id;
                }
                for block in content.into_iter().flatten() {
                    match block.get("type").and_then(Value::as_str) {
                        Some("text") => run.text(&word(block, "text"), false),
                        Some("tool_use") => run.tool(&word(block, "id"), &word(block, "name"), block.get("input")),
                        _ => {}
                    }
                }
            }
            Some("user") => {
                for block in content.into_iter().flatten() {
                    if block.get("type").and_then(Value::as_str) == Some("tool_result") {
                        let failed = block.get("is_error").and_then(Value::as_bool).unwrap_or(false);
                        run.tool_end(&word(block, "tool_use_id"), !failed);
                    }
                }
            }
            _ => event::read(event, map, run),
        }
    }
}
