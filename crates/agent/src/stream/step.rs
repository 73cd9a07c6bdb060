//! opencode's dialect: steps, and no event that ends the run. A step that begins shows that the one
//! before was not the last.

use serde_json::Value;

use super::{Grammar, event, state::RunState};
use crate::descriptor::Descriptor;

pub(super) struct Steps;

impl Grammar for Steps {
    fn read(&mut self, event: &Value, descriptor: &Descriptor, state: &mut RunState) {
        if event.get("type").and_then(Value::as_str) == Some("step_start") {
            state.resumes();
        }
        event::read(event, descriptor, state);
    }
}
