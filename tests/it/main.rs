//! Integration tests: real binaries, real signals, real files.
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
#![expect(clippy::print_stderr, reason = "a long test says its seed")]

mod adapters;
mod agents;
mod bad_input;
mod branches;
mod cli;
mod config;
mod crash;
#[path = "../endpoint/mod.rs"]
mod endpoint;
mod fleet;
mod floors;
mod inbox;
mod model;
mod order;
mod process;
mod queues;
mod real_agents;
mod store;
mod storm;
mod support;
mod systemd;
mod train;
mod walk;
mod warm;
mod workspace;
