//! The words of the queue file: statuses and roles.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// A status word of the queue file. Any word is kept; only those in the [`crate::Workflow`] are acted on.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Status(Cow<'static, str>);

/// A role's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Role(Cow<'static, str>);

macro_rules! word {
    ($type:ident { $($name:ident = $text:literal),* $(,)? }) => {
        #[expect(missing_docs, reason = "each constant is the word it is named after")]
        impl $type {
            $(pub const $name: $type = $type(Cow::Borrowed($text));)*
        }

        impl $type {
            /// Wraps a word as it stands in a file.
            pub fn new(word: impl Into<String>) -> Self {
                let word = word.into();
                match word.as_str() {
                    $($text => Self::$name,)*
                    _ => Self(Cow::Owned(word)),
                }
            }

            /// Returns the word itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

word!(Status {
    NEEDS_PLAN = "needs_plan",
    PLANNING = "planning",
    PLANNING_COMPLETE = "planning_complete",
    READY = "ready",
    IN_PROGRESS = "in_progress",
    AWAITING_TEST = "awaiting_test",
    TESTING = "testing",
    NEEDS_ADAPT = "needs_adapt",
    ADAPTING = "adapting",
    READY_FOR_INTEGRATOR = "ready_for_integrator",
    INTEGRATING = "integrating",
    BLOCKED = "blocked",
    NEEDS_MANUAL = "needs_manual",
    FAILED = "failed",
    CANCELLED = "cancelled",
    DONE = "done",
    COMPLETED = "completed",
});

word!(Role {
    PLANNER = "planner",
    BUILDER = "builder",
    TESTER = "tester",
    REFINER = "refiner",
    INTEGRATOR = "integrator",
});

impl Status {
    /// Tells whether it is `done`, also under its old name `completed`.
    pub fn is_done(&self) -> bool {
        *self == Self::DONE || *self == Self::COMPLETED
    }

    /// Tells whether nothing more will happen to the task unless a human says so.
    pub fn is_finished(&self) -> bool {
        self.is_done() || *self == Self::CANCELLED
    }
}
