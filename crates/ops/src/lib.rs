//! What people and programs see of a fleet, and what they can do to it.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

mod change;
mod failure;
mod project;
mod read_model;
pub mod runs;
mod status;
pub mod view;

pub use change::Changed;
pub use failure::{ErrorKind, Failure, exit, nearest, no_task, quoted, refused, sysexit, undecided};
pub use project::{Project, find_task};
pub use read_model::{ReadModel, TaskState};
