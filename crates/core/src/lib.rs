//! The rules of the fleet: pure functions from what is known to what shall change.
//!
//! This crate answers for what a task, a lease and an event are, for what the journal says, and for every decision about
//! them: who may claim what, what an attempt's outcome means, what is given back, merged, asked or paid for. It reads no
//! file, asks no clock and starts no process; a store fills the [`Snapshot`], and commits the [`ChangeSet`] that a rule
//! answers with. The store does not know what is claimed, and nothing here knows how bytes get to the disk.
//!
//! ```text
//!   queue file ─┐                                                    ┌─> edits of the queue
//!   leases ─────┼─> Snapshot ──> rules::claim, settle, rescue, … ──> ChangeSet ─> leases
//!   journal ────┘      ^ │       (each sees the result of the        └─> events ──┐
//!      ^        state::History    one before: Snapshot::chain)                    │
//!      └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! From the ground up: the words (`task`, `queue`, `lease`, `workflow`, `policy`, `event`, `outcome` …); [`state`], folds
//! over the journal that decide nothing; `snapshot` and [`change`]; `rules`, one module for each decision; [`why`] and
//! [`needs`], which explain what the rules hold back. Start reading at [`claim`], then [`settle`].

#![deny(clippy::disallowed_methods, reason = "the rules see a snapshot and nothing of the world, in their tests too")]
#![deny(clippy::disallowed_types, reason = "the rules see a snapshot and nothing of the world, in their tests too")]

pub mod change;
pub mod control;
mod cycles;
pub mod environment;
pub mod event;
mod guarantee;
pub mod layout;
pub mod lease;
pub mod member;
pub mod needs;
pub mod objective;
pub mod outcome;
pub mod placeholder;
pub mod policy;
mod problems;
pub mod queue;
mod rules;
pub mod seal;
mod snapshot;
pub mod sprint;
pub mod state;
mod status;
pub mod task;
#[cfg(test)]
mod tests;
pub mod text;
pub mod time;
mod token;
pub mod why;
mod words;
pub mod workflow;

pub use change::{ChangeSet, Edit, LeaseChange, NewTask, TaskEdit};
pub use event::{Data, Event, EventDraft, Kind, Usage};
pub use guarantee::{Guarantee, Network};
pub use lease::{ForeignLease, Holder, Lease, LeaseRecord, LeaseState, Owner};
pub use member::Member;
pub use outcome::{Class, Outcome};
pub use queue::{Problem, Queue};
pub use rules::{
    budget, children, claim, coordinate, decision, deed, external_edits, handoff, hours, landing, mail, manual, pool,
    rescue, schedule, settle, succession, supervise,
};
pub use snapshot::{Beside, Snapshot};
pub use state::History;
pub use status::{Role, Status};
pub use task::{QueueLease, Task, TaskId};
pub use time::Now;
pub use token::{RunName, Token};
pub use workflow::{Duty, RoleRule, Workflow};
