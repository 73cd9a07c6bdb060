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

/// Returns a share of one CPU; nothing where it is not known.
pub(super) fn percent(share: Option<f64>) -> Item {
    share.map_or_else(Item::default, |share| Item::new(format!("{share:.0}%")).or_piped(share))
}

/// Returns an amount of memory for people, bytes for programs; nothing where it is not known.
pub(super) fn bytes(bytes: Option<u64>) -> Item {
    bytes.map_or_else(Item::default, |bytes| Item::new(short_bytes(bytes)).or_piped(bytes))
}

/// Writes an amount of memory in three digits: `640K`, `41M`, `1.2G`.
fn short_bytes(bytes: u64) -> String {
    let (kilo, mega, giga) = (1u64 << 10, 1u64 << 20, 1u64 << 30);
    match bytes {
        0..1_024 => format!("{bytes}B"),
        _ if bytes < mega => format!("{}K", bytes / kilo),
        _ if bytes < giga => format!("{}M", bytes / mega),
        _ if bytes < 10 * giga => format!("{:.1}G", bytes as f64 / giga as f64),
        _ => format!("{}G", bytes / giga),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_are_short_and_an_unknown_one_is_empty() {
        let all = [999, 650 << 10, 41 << 20, (1 << 30) + (200 << 20), 25 << 30].map(short_bytes);
        assert_eq!(all, ["999B", "650K", "41M", "1.2G", "25G"]);
        assert_eq!(bytes(None).piped(), "");
    }
}
