//! Why an attempt is stopped from outside, and what that means for it.

use std::fmt;

use oodatcaa_core::{Class, Outcome, landing::Veto};
use oodatcaa_process::Stop;

/// A worker's order to an attempt to end.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) how: Stop,
    pub(crate) why: Why,
}

/// The reason why an attempt is stopped from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The worker stops.
    Shutdown,
    /// It has lost its right.
    Lost(Veto),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("the worker was told to stop"),
            Self::Lost(veto) => veto.fmt(f),
        }
    }
}

impl Why {
    /// Returns what a stop means for the attempt.
    pub(crate) fn outcome(&self) -> Outcome {
        let class = match self {
            Self::Shutdown => Class::Interrupted,
            Self::Lost(veto) => veto.class(),
        };
        Outcome::failed(class, self.to_string())
    }
}
