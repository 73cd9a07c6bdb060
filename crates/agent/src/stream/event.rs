//! Events that the descriptor alone tells apart: gemini, copilot, goose, and whatever is added.

use serde_json::Value;

use super::{
    Grammar,
    state::{self, RunState},
};
use crate::descriptor::{Descriptor, Pointer};

pub(super) struct Events;

impl Grammar for Events {
    fn read(&mut self, event: &Value, descriptor: &Descriptor, state: &mut RunState) {
        read(event, descriptor, state);
    }
}

/// Takes in words, tools and steps by `[map]`.
pub(super) fn read(event: &Value, descriptor: &Descriptor, state: &mut RunState) {
    let map = &descriptor.map;
    if map.step.iter().any(|step| step.holds(event)) {
        state.step();
    }
    for rule in &map.text {
        if let Some(words) = state::pick(rule, event) {
            state.text(&words, rule.delta);
        }
    }
    let word = |ptr: &Pointer| ptr.word(event).unwrap_or_default().into_owned();
    for rule in map.tool_start.iter().filter(|rule| rule.when.holds(event)) {
        let name = rule.name.as_ref().map(word).unwrap_or_default();
        state.tool(&word(&rule.id), &name, rule.input.as_ref().and_then(|ptr| ptr.first(event)));
    }
    for rule in map.tool_end.iter().filter(|rule| rule.when.holds(event)) {
        state.tool_end(&word(&rule.id), rule.ok.iter().all(|guard| guard.holds(event)));
    }
}
