//! Events that the descriptor alone tells apart: codex, gemini, opencode, copilot, goose, and whatever is added.

use serde_json::Value;

use super::{Grammar, state::RunState};
use crate::descriptor::{Map, Pointer, ToolRule};

pub(super) struct Events;

impl Grammar for Events {}

/// Takes in words, tools and steps by `[map]`.
pub(super) fn read(event: &Value, map: &Map, run: &mut RunState) {
    if map.step.iter().any(|step| step.holds(event)) {
        run.step();
    }
    for rule in &map.text {
        if let Some(words) = rule.read(event) {
            run.text(&words, rule.delta);
        }
    }
    let word = |ptr: &Pointer| ptr.word(event).unwrap_or_default().into_owned();
    let begin = |rule: &ToolRule, run: &mut RunState| {
        let name = rule.name.as_ref().map(word).unwrap_or_default();
        run.tool(&word(&rule.id), &name, rule.input.as_ref().and_then(|ptr| ptr.first(event)));
    };
    for rule in map.tool_start.iter().filter(|rule| rule.when.holds(event)) {
        begin(rule, run);
    }
    for rule in map.tool_end.iter().filter(|rule| rule.when.holds(event)) {
        let id = word(&rule.id);
        if rule.name.is_some() && !run.open.contains_key(&id) {
            run.step();
            begin(rule, run);
        }
        run.tool_end(&id, rule.ok.iter().all(|guard| guard.holds(event)));
    }
}
