//! What a worker tells an attempt that runs, and what follows for it.

use std::fmt;

use crate::{
    domain::{Class, text},
    process::Stop,
};

/// What the worker tells a run.
#[derive(Clone, Debug)]
pub(super) enum Control {
    /// End the attempt.
    Stop(Stop, Why),
}

/// Why an attempt is stopped from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The worker stops.
    Shutdown,
    /// A greater token exists.
    Superseded,
    /// Somebody removed the lease file.
    LeaseGone,
    /// Somebody asked.
    Asked {
        /// Who.
        actor: String,
        /// What they said.
        reason: String,
    },
    /// The task was cancelled in the queue.
    Cancelled,
    /// The task was taken out of the queue.
    Gone,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("the worker was told to stop"),
            Self::Superseded => f.write_str("a newer claim of the task exists"),
            Self::LeaseGone => f.write_str("its lease was removed"),
            Self::Asked { actor, reason } if reason.is_empty() => write!(f, "stopped by {actor}"),
            Self::Asked { actor, reason } => write!(f, "stopped by {actor}: {}", text::one_line(reason)),
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Gone => f.write_str("the task was taken out of the queue"),
        }
    }
}

impl Why {
    /// The class of failure that a stop means.
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Shutdown => Class::Interrupted,
            Self::Superseded | Self::LeaseGone => Class::Superseded,
            Self::Asked { .. } | Self::Cancelled | Self::Gone => Class::Cancelled,
        }
    }
}
