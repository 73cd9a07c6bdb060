//! A change of a task, made or only shown.

use super::{PoolState, TaskView};
use oodatcaa_core::{Status, TaskId};
use serde_json::{Map, Value};

views! {
    /// What a verb made of a task.
    pub struct ChangeView = "oodatcaa/change.v1" {
        /// The task.
        pub id: TaskId,
        /// The verb.
        pub verb: String,
        /// Its status before; `null` for a new one.
        pub from: Option<Status>,
        /// Its status now.
        pub to: Option<Status>,
        /// True if there was anything to change.
        pub changed: bool,
        /// True if nothing was written.
        pub dry_run: bool,
        /// The members of its entry that were written.
        pub set: Map<String, Value>,
        /// The command that takes it back.
        pub undo: Option<String>,
        /// The task as it is now.
        pub task: Option<TaskView>,
    }

    /// A pool of quota that somebody said is open again.
    pub struct ReopenView = "oodatcaa/pool.v1" {
        /// The pool.
        pub pool: String,
        /// How it stood before.
        pub was: PoolState,
        /// Until when it was closed.
        pub until: Option<super::Moment>,
        /// What the provider had said.
        pub reason: Option<String>,
        /// True if it was not open.
        pub changed: bool,
        /// True if nothing was written.
        pub dry_run: bool,
    }
}
