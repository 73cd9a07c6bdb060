//! Cells of tables, the same in every verb: ids with their signs, durations, titles.

use std::time::Duration;

use super::ui::{Item, Tone};
use oodatcaa_core::{Task, text};
use oodatcaa_ops::TaskState;

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
pub(super) fn id_item(task: &Task, state: TaskState) -> Item {
    Item::new(format!("{} {}", glyph(state), task.id)).or_piped(task.id.as_str()).tone(tone(state))
}

/// Returns a duration for people, whole seconds for programs; empty without one.
pub(super) fn seconds_item(time: Option<Duration>) -> Item {
    match time {
        Some(time) => Item::new(text::duration(time)).or_piped(time.as_secs().to_string()),
        None => Item::default(),
    }
}

/// Returns a task's title; one that is empty says so.
pub(super) fn title(title: &str) -> &str {
    if title.trim().is_empty() { "(no title)" } else { title }
}
