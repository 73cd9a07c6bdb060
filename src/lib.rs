//! `oodatcaa`: an unattended fleet of coding agents that works through a queue file.
//!
//! *Rules decide on a snapshot, the store commits the change set, the worker walks one task from left to right.*
//!
//! This package holds the programs: arguments, words, tables, exit codes. What they do stands in the crates below
//! `crates/`, which cargo keeps from using each other in circles:
//!
//! | floor | crates |
//! |---|---|
//! | 5 | this one |
//! | 4 | [`oodatcaa_ops`] |
//! | 3 | [`oodatcaa_worker`], [`oodatcaa_fleet`] |
//! | 2 | [`oodatcaa_agent`], [`oodatcaa_git`] |
//! | 1 | [`oodatcaa_store`], [`oodatcaa_process`], [`oodatcaa_config`] |
//! | 0 | [`oodatcaa_core`], [`oodatcaa_sys`] |
//!
//! Start reading at [`oodatcaa_core::claim`], then [`oodatcaa_store::Desk`], then [`oodatcaa_worker`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

pub mod cli;
pub mod daemon;

use std::io::Write as _;

/// Prints what clap says of a command line: help on standard output, what is wrong on standard error. The latter
/// repeats words of the command line, which may paint over a terminal.
pub fn print_refused(refused: &clap::Error) -> std::io::Result<()> {
    if !refused.use_stderr() {
        return refused.print();
    }
    write!(anstream::stderr(), "{}", oodatcaa_core::text::painted(&refused.render().ansi().to_string()))
}
