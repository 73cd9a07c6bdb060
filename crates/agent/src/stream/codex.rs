//! Codex's dialect: a thread of turns, a turn of items that start and complete.

use serde_json::Value;

use super::{Grammar, state::RunState};
use crate::descriptor::Descriptor;

pub(super) struct Codex;

impl Grammar for Codex {
    fn read(&mut self, event: &Value, _: &Descriptor, state: &mut RunState) {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind == "turn.started" {
            state.resumes();
        }
        let Some(item) = event.get("item") else { return };
        let word = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
        let tool = matches!(
            word("type"),
            "command_execution" | "file_change" | "mcp_tool_call" | "web_search" | "collab_tool_call"
        );
        match (kind, word("type")) {
            ("item.completed", "agent_message") => {
                state.step();
                state.text(word("text"), false);
            }
            ("item.started", _) if tool => begin(item, state),
            ("item.completed", _) if tool => {
                // Some items only complete.
                if !state.open.contains_key(word("id")) {
                    begin(item, state);
                }
                state.tool_end(word("id"), !matches!(word("status"), "failed" | "declined"));
            }
            _ => {}
        }
    }
}

fn begin(item: &Value, state: &mut RunState) {
    let word = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
    state.step();
    let input = ["command", "changes", "arguments", "query"].into_iter().find_map(|name| item.get(name));
    let name = match word("tool") {
        "" => word("type"),
        tool => tool,
    };
    state.tool(word("id"), name, input);
}
