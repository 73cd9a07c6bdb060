//! Cells of tables, the same in every verb: ids with their signs, durations, titles.

use std::time::Duration;

use super::ui::{Item, Tone};
use oodatcaa_core::text;
use oodatcaa_ops::{TaskState, view::TaskView};

/// Returns the sign of a state, one column wide.
pub(super) fn glyph(state: TaskState) -> &'static str {
    match state {
        TaskState::Running => "●",
        TaskState::Stale | TaskState::NeedsYou => "◆",
        TaskState::Failed | TaskState::Cancelled => "✗",
        TaskState::Retry => "↻",
        TaskState::Waiting => "○",
        TaskState::Done => "✓",
    }
}

/// Returns the colour of a state.
pub(super) fn tone(state: TaskState) -> Tone {
    match state {
        TaskState::Running => Tone::Busy,
        TaskState::Stale | TaskState::NeedsYou | TaskState::Retry => Tone::Warn,
        TaskState::Failed => Tone::Bad,
        TaskState::Waiting => Tone::Plain,
        TaskState::Cancelled => Tone::Faint,
        TaskState::Done => Tone::Good,
    }
}

/// Returns a task's id with its sign on a terminal, the id alone in a pipe.
pub(super) fn id_item(task: &TaskView) -> Item {
    Item::new(format!("{} {}", glyph(task.state), task.id)).or_piped(&task.id).tone(tone(task.state))
}

/// Returns a duration for people, whole seconds for programs; empty without one.
pub(super) fn seconds_item(seconds: Option<f64>) -> Item {
    let item = |time: Duration| Item::new(text::duration(time)).or_piped(time.as_secs());
    seconds.map(Duration::from_secs_f64).map_or_else(Item::default, item)
}

/// Returns a task's title; one that is empty says so.
pub(super) fn title(title: &str) -> &str {
    if title.trim().is_empty() { "(no title)" } else { title }
}
