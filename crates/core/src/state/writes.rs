//! Our last changes to the queue: what another program may have written over.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::{Event, Status, TaskId};

/// Returns the stamp that a change of ours left in the file; what was told late has it in its data.
pub fn written_at(event: &Event) -> DateTime<Utc> {
    let of = |members: &Option<Map<String, Value>>| members.as_ref()?.get("updated_at")?.as_str()?.parse().ok();
    let written = event.data().task_change().and_then(|change| of(&change.set).or_else(|| of(&change.entry)));
    written.map_or(event.time, |written: DateTime<Utc>| written.min(event.time))
}

/// A change of ours to the queue that was made just now: what another program may have written over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The task.
    pub task: TaskId,
    /// The stamp that it left.
    pub at: DateTime<Utc>,
    /// The stamp of ours that stood there before.
    pub before: Option<DateTime<Utc>>,
    /// The status that stood there before; none for a task that was added.
    pub from: Option<Status>,
    /// The members that it set.
    pub set: Map<String, Value>,
    /// The whole entry of a task that it added.
    pub entry: Option<Map<String, Value>>,
    /// The task that it was added for.
    pub parent: Option<String>,
}
