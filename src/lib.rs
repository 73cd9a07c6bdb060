//! `oodatcaa`: an unattended fleet of coding agents that works through a queue file.
//!
//! *Rules decide on a snapshot, the store commits the plan, the worker walks one task from left to right.*
//!
//! Floors (an arrow only ever points down; `tests/it/floors.rs` reads the imports and fails otherwise):
//!
//! | floor | modules | may use |
//! |---|---|---|
//! | 4 | `bin/*` | everything below |
//! | 3 | [`cli`], [`error`] | all below |
//! | 2 | [`worker`], [`fleet`] | [`agent`], [`workspace`], [`process`], [`store`], [`config`], [`domain`], [`layout`], [`sys`] |
//! | 1b | [`agent`], [`workspace`] | [`process`], [`config`], [`domain`], [`layout`], [`sys`] |
//! | 1 | [`store`], [`process`], [`config`] | [`domain`], [`layout`], [`sys`] |
//! | 0 | [`domain`], [`layout`], [`sys`] | nothing of ours |
//!
//! Start reading at [`domain::claim`], then [`store::Store`], then [`worker`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

pub mod agent;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod error;
pub mod fleet;
pub mod layout;
pub mod process;
pub mod store;
pub mod sys;
pub mod worker;
pub mod workspace;
