//! How a command says no: what it answers with, and what may have been meant.

use oodatcaa_ops::Failure;

pub(super) use oodatcaa_ops::exit;

/// What a command answers: its exit code, or why there is none.
pub(super) type Done = Result<u8, Failure>;
