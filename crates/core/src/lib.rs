//! The rules of the fleet, on the ground floor: pure functions from what is known to what shall change.
//!
//! Nothing here reads a file, asks a clock or starts a process. Every decision takes a
//! [`Snapshot`] and answers with a [`ChangeSet`]; a store commits the change set.

#![deny(clippy::disallowed_methods, reason = "the rules see a snapshot and nothing of the world, in their tests too")]
#![deny(clippy::disallowed_types, reason = "the rules see a snapshot and nothing of the world, in their tests too")]

pub mod change;
mod cycles;
pub mod environment;
pub mod event;
pub mod layout;
pub mod lease;
mod member;
pub mod needs;
pub mod outcome;
pub mod policy;
mod problems;
pub mod queue;
mod rules;
pub mod seal;
mod snapshot;
pub mod state;
mod status;
pub mod task;
#[cfg(test)]
mod testing;
pub mod text;
pub mod time;
mod token;
pub mod why;
pub mod workflow;

pub use change::{ChangeSet, LeaseChange, NewTask, TaskEdit};
pub use event::{AttemptReport, Data, Event, EventDraft, Kind, Usage};
pub use lease::{ForeignLease, Holder, Lease, LeaseRecord, LeaseState, Owner};
pub use member::Member;
pub use outcome::{Class, Outcome};
pub use queue::{Problem, Queue};
pub use rules::{budget, children, claim, coordinate, decision, external_edits, landing, manual, pool, rescue, settle};
pub use snapshot::{Beside, Snapshot};
pub use state::History;
pub use status::{Role, Status};
pub use task::{QueueLease, Task, TaskId};
pub use time::Now;
pub use token::{RunName, Token};
pub use workflow::{RoleRule, Workflow};
