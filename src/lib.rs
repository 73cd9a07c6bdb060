//! `oodatcaa`: an unattended fleet of coding agents that works through a queue file.
//!
//! *Rules decide on a snapshot, the store commits the change set, the worker walks one task from left to right.*
//!
//! This package holds the programs: arguments, words, tables, exit codes. What they do stands in the crates below
//! `crates/`, which cargo keeps from using each other in circles:
//!
//! | floor | crates |
//! |---|---|
//! | 4 | this one |
//! | 3 | [`oodatcaa_worker`], [`oodatcaa_fleet`] |
//! | 2 | [`oodatcaa_agent`], [`oodatcaa_git`] |
//! | 1 | [`oodatcaa_store`], [`oodatcaa_process`], [`oodatcaa_config`] |
//! | 0 | [`oodatcaa_core`], [`oodatcaa_sys`] |
//!
//! Start reading at [`oodatcaa_core::claim`], then [`oodatcaa_store::Store`], then [`oodatcaa_worker`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

pub mod cli;
pub mod daemon;
pub mod error;
