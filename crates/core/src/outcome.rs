//! What an attempt means, and the classes of failure with their policies.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::words::words;

/// The consequence of a class of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Backoff, same session, not charged, at most five in a row.
    Transient,
    /// The agent's pool pauses; not charged.
    Quota,
    /// The role pauses and a human is told; not charged.
    Auth,
    /// A fresh session; charged.
    Context,
    /// Backoff and a fresh prompt with the failure; charged.
    Work,
    /// As the cause says; not charged.
    Stop,
}

words! {
    /// The class of an attempt's failure; bounded, everything else is `unclassified`.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Class;

    /// Returns what follows from it.
    policy: Policy {
        Overloaded = "overloaded", Transient: "The model's service is overloaded.";
        Network = "network", Transient: "The model's service cannot be reached.";
        AgentCrashed = "agent_crashed", Transient: "The agent or its shim died by a signal that we did not send.";
        RateLimited = "rate_limited", Quota: "Too many requests.";
        UsageLimit = "usage_limit", Quota: "The account's window is used up.";
        AuthExpired = "auth_expired", Auth: "The agent is not signed in.";
        AgentNotFound = "agent_not_found", Auth: "The agent's program is not there.";
        Config = "config", Auth: "Our configuration, a prompt template or an argument is wrong.";
        PermissionDenied = "permission_denied", Auth: "The agent or we may not do what is needed.";
        Environment = "environment", Auth: "The machine or the project lacks what every attempt needs: room, a program, a gate that can be green.";
        Sandbox = "sandbox", Auth: "The attempt could not be confined as it has to be, so nothing ran.";
        ContextOverflow = "context_overflow", Context: "The model's context is full.";
        SessionLost = "session_lost", Context: "The session to resume is not there.";
        GateFailed = "gate_failed", Work: "A gate said no.";
        NoEvidence = "no_evidence", Work: "The agent said done and the proof is missing.";
        AgentFailed = "agent_failed", Work: "The agent said, or its exit status says, that it failed.";
        Timeout = "timeout", Work: "The wall-clock limit passed.";
        Silent = "silent", Work: "It wrote nothing for too long.";
        Protocol = "protocol", Work: "The agent's output or result file cannot be read.";
        Interrupted = "interrupted", Stop: "We were told to stop, or the worker died.";
        Superseded = "superseded", Stop: "A greater token exists.";
        Cancelled = "cancelled", Stop: "A human stopped it.";
        BudgetExceeded = "budget_exceeded", Stop: "A budget is used up.";
        Unclassified = "unclassified", Work: "Nothing of the above.";
    }
}

impl std::str::FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of_word(text).ok_or_else(|| {
            let all: Vec<&str> = Class::ALL.iter().map(|class| class.as_str()).collect();
            format!("`{text}` is not a class of failure; there are: {}", all.join(", "))
        })
    }
}

/// The outcome of an attempt.
#[expect(missing_docs, reason = "what each field is goes without saying")]
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The work is there, as far as our code can see; a planner's `tasks` are checked before they are added.
    Done { summary: String, tasks: Vec<Map<String, Value>> },
    /// There was nothing to change; an outcome of its own.
    NoChange { summary: String },
    /// The agent asks for adaptation.
    NeedsAdapt { reason: String },
    /// The agent asks for a new plan.
    Replan { reason: String },
    /// The agent cannot go on for a reason outside of it.
    Blocked { reason: String },
    /// The agent asks a human.
    NeedsInput { question: String },
    /// The work and the branch that it goes to have changed the same lines.
    Conflict { files: Vec<String>, reason: String },
    /// Something outside of the task is in the way for the moment; it is tried again by itself, and never charged.
    Waits { reason: String },
    /// It failed; `retry_at` is when its provider said to come back.
    Failed { class: Class, reason: String, retry_at: Option<DateTime<Utc>> },
}

impl Outcome {
    /// Makes a failure without a time to come back.
    pub fn failed(class: Class, reason: impl Into<String>) -> Self {
        Self::Failed { class, reason: reason.into(), retry_at: None }
    }

    /// Returns a short stable word for events and tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::NoChange { .. } => "no_change",
            Self::NeedsAdapt { .. } => "needs_adapt",
            Self::Replan { .. } => "replan",
            Self::Blocked { .. } => "blocked",
            Self::NeedsInput { .. } => "needs_input",
            Self::Conflict { .. } => "conflict",
            Self::Waits { .. } => "waits",
            Self::Failed { class, .. } if class.policy() == Policy::Stop => "interrupted",
            Self::Failed { .. } => "failed",
        }
    }

    /// Tells whether the work is there, or none was wanted.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::NoChange { .. })
    }

    /// Returns how it failed, if it did.
    pub fn class(&self) -> Option<Class> {
        if let Self::Failed { class, .. } = self { Some(*class) } else { None }
    }

    /// Returns the tasks that the agent proposes.
    pub(crate) fn proposals(&self) -> &[Map<String, Value>] {
        if let Self::Done { tasks, .. } = self { tasks } else { &[] }
    }

    /// Returns what it says to people.
    pub fn words(&self) -> &str {
        match self {
            Self::Done { summary, .. } | Self::NoChange { summary } => summary,
            Self::NeedsAdapt { reason } | Self::Replan { reason } | Self::Blocked { reason } => reason,
            Self::NeedsInput { question } => question,
            Self::Conflict { reason, .. } | Self::Waits { reason } => reason,
            Self::Failed { reason, .. } => reason,
        }
    }
}

/// The number of tries and the waits between them; from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Charged attempts per stage; 3.
    pub attempts: u32,
    /// First wait; 10 s.
    pub backoff: Duration,
    /// Longest wait; 5 min.
    pub backoff_max: Duration,
    /// Uncharged failures in a row before they are charged; 5.
    pub transient: u32,
    /// Workers that one task may take down before it is charged; 3.
    pub deaths: u32,
    /// Adapt loops before a human is asked; 3.
    pub adapts: u32,
    /// Merges of a task that may end in conflicts and go back to its author, before the refiner gets it; 2.
    pub conflicts: u32,
    /// Different tasks failing in a row before the role pauses; 3, 0 for never.
    pub pause_after: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Duration::from_secs(10),
            backoff_max: Duration::from_secs(300),
            transient: 5,
            deaths: 3,
            adapts: 3,
            conflicts: 2,
            pause_after: 3,
        }
    }
}

/// Returns `first · 2ⁿ⁻¹`, at most `longest`; n from 1.
pub(crate) fn doubled(first: Duration, longest: Duration, n: u32) -> Duration {
    let factor = 1u32.checked_shl(n.saturating_sub(1).min(31)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

impl Retry {
    /// Returns the wait after the `n`th failure in a row, from 1: `backoff · 2ⁿ⁻¹`, at most `backoff_max`, ± 20 % by
    /// `seed`.
    pub fn wait(&self, n: u32, seed: u64) -> Duration {
        let full = doubled(self.backoff, self.backoff_max, n);
        // SplitMix64: spreads neighbouring seeds, so that tasks that fail together come back apart.
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let permille = 800 + u32::try_from((z ^ (z >> 31)) % 401).expect("below 401");
        full * permille / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_survives_its_word() {
        for class in Class::ALL {
            assert_eq!(class.as_str().parse(), Ok(*class));
            assert_eq!(serde_json::to_value(class).expect("a word"), class.as_str());
        }
        assert!("exploded".parse::<Class>().is_err());
    }

    #[test]
    fn waits_double_up_to_their_limit_within_a_fifth() {
        let retry = Retry::default();
        for seed in 0..200 {
            for n in 1..40 {
                let full = Duration::from_secs(10).saturating_mul(1 << (n - 1).min(20)).min(Duration::from_secs(300));
                let wait = retry.wait(n, seed);
                assert!(wait >= full * 8 / 10 && wait <= full * 12 / 10, "{n} {seed} {wait:?}");
            }
        }
    }
}
