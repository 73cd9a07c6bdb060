//! Cells of tables, the same in every verb: ids with their signs, durations, titles.

use std::time::Duration;

use super::ui::{Item, Tone};
use oodatcaa_core::text;
use oodatcaa_ops::{TaskState, view::TaskView};

/// Returns the sign of a state, one column wide, and its colour.
pub(super) fn look(state: TaskState) -> (&'static str, Tone) {
    match state {
        TaskState::Running => ("●", Tone::Busy),
        TaskState::Stale | TaskState::NeedsYou => ("◆", Tone::Warn),
        TaskState::Failed => ("✗", Tone::Bad),
        TaskState::Cancelled => ("✗", Tone::Faint),
        TaskState::Retry => ("↻", Tone::Warn),
        TaskState::Waiting => ("○", Tone::Plain),
        TaskState::Done => ("✓", Tone::Good),
    }
}

/// Returns a task's id with its sign on a terminal, the id alone in a pipe.
pub(super) fn id_item(task: &TaskView) -> Item {
    let (sign, tone) = look(task.state);
    Item::new(format!("{sign} {}", task.id)).or_piped(&task.id).tone(tone)
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
