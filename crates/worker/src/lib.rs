//! One worker: a process that serves one role.
//!
//! It answers for the life of an attempt, from claim to settlement. It does not know how bytes get to disk (`store`), how
//! a process tree is ended (`process`), or what a program's output means (`agent`).
//!
//! Start reading at [`worker`], the main loop, and go on with `reconcile`, one look at the store. Each claim becomes a
//! `run::Run` on a thread of its own, which `proved` takes through its phases:
//!
//! ```text
//!     worker ── reconcile ── claim ──► Run
//!       ▲                               │ prepare: directory, worktree
//!       │                               ▼
//!       │                            Prepared ───────────────┐ merge: the integrator runs no agent
//!       │                               │ resume, prompt     │
//!       │                               ▼                    │
//!       │                            Running                 │
//!       │                               │ follow             │
//!       │                               ▼                    ▼
//!     settle ◄── Settlement ◄──────── Proved ◄── evidence, gates, baseline
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

mod answer;
mod baseline;
mod control;
mod evidence;
mod follow;
mod gate;
mod merge;
mod merge_batch;
mod merge_queue;
mod moved;
mod outgoing;
mod post;
mod prepare;
mod prompt;
mod proved;
mod reconcile;
mod resume;
mod run;
mod running;
mod sandbox;
mod settle;
mod settlement;
mod setup;
mod sweep;
mod worker;

pub use setup::Setup;
pub use sweep::{end_attempt, keep_work};
pub use worker::{Exit, Worker, tell_manager};
