//! The rules of the fleet, on the ground floor: pure functions from what is known to what shall change.
//!
//! Nothing here reads a file, asks a clock or starts a process. Every decision takes a
//! [`Snapshot`] and answers with a [`ChangeSet`]; a store commits the change set.

#![deny(clippy::disallowed_methods, reason = "the rules see a snapshot and nothing of the world, in their tests too")]
#![deny(clippy::disallowed_types, reason = "the rules see a snapshot and nothing of the world, in their tests too")]

pub mod budget;
pub mod change;
pub mod children;
pub mod claim;
pub mod coordinate;
mod cycles;
pub mod decision;
pub mod environment;
pub mod event;
pub mod external_edits;
pub mod history;
pub mod landing;
pub mod layout;
pub mod lease;
pub mod manual;
pub mod needs;
pub mod outcome;
pub mod policy;
pub mod pool;
pub mod queue;
pub mod rescue;
pub mod seal;
pub mod settle;
pub mod starts;
pub mod task;
pub mod text;
pub mod why;
pub mod workflow;

pub use change::{Beside, ChangeSet, LeaseChange, Member, NewTask, Now, Snapshot, TaskEdit};
pub use event::{Event, EventDraft, Kind};
pub use history::History;
pub use lease::{ForeignLease, Holder, Lease, LeaseRecord, LeaseState, Owner, RunName, Token};
pub use outcome::{Class, Outcome};
pub use queue::{Problem, Queue};
pub use task::{QueueLease, Task, TaskId};
pub use workflow::{Role, RoleRule, Status, Workflow};
