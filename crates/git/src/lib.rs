//! A git worktree per task, what was done there, what is kept of it, and how it comes into the target branch.
//!
//! A worktree lies outside of the repository, has a branch of the task's own, and is locked with a reason as long as the
//! task lives. All roles of a task work in the same one. Projects without git work in their own directory, behind the same
//! calls. This crate does not know who may work, what a lease is, or what follows from what was found.
//!
//! Start reading at [`workspace`], where an attempt works, and at [`merge`], the merge queue. Every call of git goes through
//! [`git::Git`], which is pinned to the repository and checkout that we made.
//!
//! ```text
//!     Repository ─ tree, fetch ──► Workspace ──► evidence, commit, save ──► branch of the task
//!         │                            ▲                                        │
//!       admin, trees               begin, hooks                   merge: build, gates, land
//!                                                                               ▼
//!     prune, gc, restart ◄──────────────────────────────────────────── branch of the project
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

mod admin;
mod author;
pub mod branch;
mod commit;
pub mod diff;
mod directory;
mod evidence;
mod fault;
mod fetch;
mod files;
pub mod gc;
pub mod git;
mod hooks;
mod lock;
pub mod merge;
mod own;
mod project;
pub mod prune;
pub mod remotes;
mod repo;
pub mod restart;
mod save;
mod screen;
mod snapshot;
mod state;
mod submodules;
pub mod takeover;
mod tree;
mod trees;
mod workspace;

pub use author::Author;
pub use commit::trailers;
pub use directory::Directory;
pub use evidence::Evidence;
pub use fault::{KeepReason, WorkspaceError};
pub use oodatcaa_config::{WorkspaceConfig as Config, WorkspaceMode as Mode};
pub use own::TakenIn;
pub use project::{Condition, Tagged, condition, first_commit, mode_for, tag};
pub use save::Refs;
pub use workspace::Workspace;
