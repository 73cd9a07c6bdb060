//! The rules of the fleet, on the ground floor: pure functions from what is known to what shall change.
//!
//! Nothing here reads a file, asks a clock or starts a process. Every decision takes a
//! [`Snapshot`] and answers with a [`Plan`]; a store commits the plan.

#![deny(clippy::disallowed_methods, clippy::disallowed_types, reason = "the rules touch nothing")]
#![deny(clippy::disallowed_methods, reason = "the rules see a snapshot and nothing of the world, in their tests too")]

pub mod budget;
pub mod children;
pub mod claim;
pub mod coordinate;
pub mod decision;
pub mod environment;
pub mod event;
pub mod history;
mod knots;
pub mod landing;
pub mod layout;
pub mod lease;
pub mod needs;
pub mod observe;
pub mod operate;
pub mod outcome;
pub mod plan;
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

pub use event::{Event, EventDraft, Kind};
pub use history::History;
pub use lease::{ForeignLease, Held, Holder, Lease, LeaseRecord, Owner, RunName, Token};
pub use outcome::{Class, Outcome};
pub use plan::{Beside, LeaseChange, Member, NewTask, Now, Plan, Snapshot, TaskEdit};
pub use queue::{Problem, Queue};
pub use task::{QueueLease, Task, TaskId};
pub use workflow::{Role, RoleRule, Status, Workflow};
