//! The real agent programs against the scripted model provider: no key, no network.
//!
//! `scripts/install-agents.sh` puts them into `target/agents`. A program that is not there skips its tests and says
//! why; `OODATCAA_NEED_AGENTS="claude codex"` makes that a failure.

mod confined;
mod faults;
mod fleet;
mod guide;
mod programs;
mod raw;
mod setup;
mod shop;
