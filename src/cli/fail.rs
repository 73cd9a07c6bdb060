//! How a command says no: what it answers with, and what may have been meant.

use oodatcaa_ops::Failure;

pub use oodatcaa_ops::{exit, no_task};

/// What a command answers: its exit code, or why there is none.
pub type Done = Result<u8, Failure>;

/// Returns the failure for an error of the operating system.
pub fn io(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    let said = Failure::from(match error.raw_os_error() {
        Some(number) => std::io::Error::from_raw_os_error(number),
        None => std::io::Error::new(error.kind(), error.to_string()),
    });
    let mut failure = Failure::new(said.kind, format!("failed to {doing} {}", path.display()));
    failure.causes.push(said.message);
    failure
}
