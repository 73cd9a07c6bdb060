//! Claude Code's dialect: messages of content blocks, also spoken by qwen, amp and cursor-agent.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Grammar, event, facts::Facts, usage::Figures};
use crate::agent::descriptor::Descriptor;

#[derive(Default)]
pub(super) struct Claude {
    /// Figures by message: one message comes in several events, each with the message's figures so far.
    messages: BTreeMap<String, Figures>,
    /// What messages that were forgotten came to.
    before: Figures,
    /// The message that came last.
    last: String,
}

/// So many messages are told apart; older ones get no more events.
const MESSAGES: usize = 64;

impl Claude {
    fn figures(&mut self, id: &str, usage: &Value, facts: &mut Facts) {
        let number = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
        let cached = number("cache_read_input_tokens");
        let input = number("input_tokens") + number("cache_creation_input_tokens") + cached;
        let output = number("output_tokens");
        if input + output == 0 {
            return;
        }
        let figures = Figures { input: Some(input), output: Some(output), cached: Some(cached), ..Figures::default() };
        if !self.messages.contains_key(id)
            && self.messages.len() >= MESSAGES
            && let Some((_, old)) = self.messages.pop_first()
        {
            self.before = self.before.plus(old);
        }
        self.messages.insert(id.into(), figures);
        facts.live(self.messages.values().fold(self.before, |all, figures| all.plus(*figures)));
    }
}

impl Grammar for Claude {
    fn read(&mut self, event: &Value, descriptor: &Descriptor, facts: &mut Facts) {
        let message = event.get("message");
        let content = message.and_then(|message| message.get("content")).and_then(Value::as_array);
        let word =
            |value: &'_ Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match event.get("type").and_then(Value::as_str) {
            Some("assistant") => {
                let id = message.map(|message| word(message, "id")).unwrap_or_default();
                if let Some(usage) = message.and_then(|message| message.get("usage")) {
                    self.figures(&id, usage, facts);
                }
                // The program's own words about an error come as a message, too: no model has said anything.
                let synthetic = message.is_some_and(|message| word(message, "model") == "<synthetic>");
                if !synthetic && (id.is_empty() || id != self.last) {
                    facts.step();
                    self.last = id;
                }
                for block in content.into_iter().flatten() {
                    match block.get("type").and_then(Value::as_str) {
                        Some("text") => facts.text(&word(block, "text"), false),
                        Some("tool_use") => facts.tool(&word(block, "id"), &word(block, "name"), block.get("input")),
                        _ => {}
                    }
                }
            }
            Some("user") => {
                for block in content.into_iter().flatten() {
                    if block.get("type").and_then(Value::as_str) == Some("tool_result") {
                        let failed = block.get("is_error").and_then(Value::as_bool).unwrap_or(false);
                        facts.tool_end(&word(block, "tool_use_id"), !failed);
                    }
                }
            }
            _ => event::read(event, descriptor, facts),
        }
    }
}
