//! What people and programs see of a fleet, and what they can do to it.
//!
//! Answers for the read model (how a task stands, who works on it, what waits for a person), for changes that a person
//! makes, and for what a failure means: its kind, its causes, the command that helps. `agentctl` calls it, and whatever
//! else shows or drives a fleet will. Does not know tables, colours, command lines or HTTP.
//!
//! ```text
//!   Project ── layout, configuration, store, who asks
//!      │
//!      ├─ read ──> Snapshot ──> ReadModel ──> view::{TaskView, StatusView, NeedView, …} ──> --json, tables, pages
//!      │
//!      ├─ decide(|snapshot, workflow, actor| …) ──> Changed ──> view::ChangeView, with the command that undoes it
//!      │
//!      └─ ask resolve · retry · stop · release · mend · sweep_worktrees clear_away ──> what became of it, as a view
//!                  └────> Failure: ErrorKind, causes, hints, wherever one cannot be had
//! ```
//!
//! Start reading at [`Project`], then [`ReadModel`] and [`view`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

mod change;
mod failure;
mod inbox;
mod leases;
mod locks;
pub mod mail;
mod project;
mod read_model;
mod repair;
mod report;
pub mod roles;
pub mod runs;
pub mod sandbox;
mod schedules;
pub mod sprint;
pub mod stats;
mod status;
pub mod view;
mod workers;
mod worktrees;

pub use change::Changed;
pub use failure::{ErrorKind, Failure, exit, quoted, sysexit};
pub(crate) use failure::{no_task, refused, undecided};
pub use project::{Project, find_id, find_task};
pub use read_model::{ReadModel, TaskState};
pub use repair::Mends;
pub use workers::Meter;
