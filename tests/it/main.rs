//! Integration tests: real binaries, real processes.

mod agents;
mod process;
