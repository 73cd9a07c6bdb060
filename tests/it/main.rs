//! Integration tests: real binaries, real processes.

mod process;
