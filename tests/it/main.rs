//! Integration tests: real binaries, real signals, real files.
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
#![expect(clippy::print_stderr, reason = "a long test says its seed")]
#![expect(clippy::print_stdout, reason = "figures for docs/PROOF.md")]

mod adapters;
mod agents;
mod bad_input;
mod believed;
mod bounds;
mod branches;
mod cli;
mod clocks;
mod config;
mod contained;
mod contribute;
mod crash;
mod disturbed;
mod documents;

use oodatcaa_testkit::endpoint;
mod files;
mod fleet;
#[path = "../fuzz/mod.rs"]
mod fuzz;
mod house;
mod inbox;
mod matrix;
mod merge;
mod model;
mod order;
mod power;
mod proof;
mod queues;
mod real_agents;
mod report;
mod resume;
mod roles;
mod sandbox;
mod screens;
mod security;
mod sentences;
mod sprint;
mod stats;
mod storm;
mod support;
mod systemd;
mod walk;
mod workspace;
