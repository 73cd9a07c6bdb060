//! Why an agent CLI failed, as finely as the CLIs themselves tell, and what that is in the rules' terms.

use serde::{Deserialize, Serialize};

use oodatcaa_core::Class;

macro_rules! failures {
    ($($name:ident = $text:literal is $class:ident: $doc:literal),* $(,)?) => {
        /// Why an agent CLI failed; descriptors speak of it in these words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Failure {
            $(#[doc = $doc] $name,)*
        }

        impl Failure {
            /// Every one.
            pub const ALL: &[Failure] = &[$(Failure::$name),*];

            /// Returns the word in descriptors.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Failure::$name => $text,)*
                }
            }

            /// Returns a sentence for people.
            pub fn words(self) -> &'static str {
                match self {
                    $(Failure::$name => $doc,)*
                }
            }

            /// Returns what it is to the rules.
            pub fn class(self) -> Class {
                match self {
                    $(Failure::$name => Class::$class,)*
                }
            }
        }
    };
}

failures! {
    NotInstalled = "not_installed" is AgentNotFound: "The program is not there.",
    BadInvocation = "bad_invocation" is Config: "The program refuses its arguments or its own configuration.",
    SessionNotFound = "session_not_found" is SessionLost: "The session to resume is not there.",
    Auth = "auth" is AuthExpired: "Not signed in, or the key is refused.",
    Forbidden = "forbidden" is PermissionDenied: "Signed in, and not allowed to.",
    ModelUnavailable = "model_unavailable" is Config: "There is no such model for this account.",
    RateLimited = "rate_limited" is RateLimited: "Too many requests.",
    QuotaWindow = "quota_window" is UsageLimit: "The account's window is used up until it is reset.",
    Billing = "billing" is UsageLimit: "The account has no credit.",
    Overloaded = "overloaded" is Overloaded: "The service is overloaded.",
    ProviderError = "provider_error" is Overloaded: "The service failed, or its answer made no sense.",
    Network = "network" is Network: "The service cannot be reached.",
    ContextOverflow = "context_overflow" is ContextOverflow: "The input does not fit into the model's context.",
    OutputTruncated = "output_truncated" is ContextOverflow: "The answer was cut off at its limit.",
    Refused = "refused" is AgentFailed: "The model refused.",
    TurnLimit = "turn_limit" is AgentFailed: "More turns or steps than it may take.",
    BudgetExceeded = "budget_exceeded" is BudgetExceeded: "The program's own money limit.",
    ToolDenied = "tool_denied" is PermissionDenied: "None of its tools was allowed to work.",
    SandboxBroken = "sandbox_broken" is PermissionDenied: "The program's own sandbox does not work here.",
    NoRoom = "no_room" is Environment: "The machine has no room, or may not be written to.",
    Loop = "loop" is AgentFailed: "It did the same again and again.",
    Stalled = "stalled" is Silent: "No event of the model or a tool for too long.",
    Timeout = "timeout" is Timeout: "A time limit passed.",
    Cancelled = "cancelled" is Interrupted: "It was told to stop.",
    Killed = "killed" is AgentCrashed: "It did not end by itself.",
    Protocol = "protocol" is Protocol: "Its output ends without the event that says how it ended.",
    NoEffect = "no_effect" is NoEvidence: "It says done, and nothing has changed.",
    Unknown = "unknown" is Unclassified: "Nothing of the above.",
}

/// Returns how a program ended by a signal that we did not send.
pub fn signal(signal: i32) -> String {
    const KILL: i32 = 9;
    match signal {
        // Nobody but the kernel or a person sends it, and the kernel does so when memory runs out.
        KILL => "killed from outside (perhaps out of memory)".into(),
        signal => format!("ended by signal {signal}, which we did not send"),
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_word_of_its_own_that_reads_back() {
        for failure in Failure::ALL {
            let word = serde_json::to_value(failure).expect("a word");
            assert_eq!(word, failure.as_str());
            assert_eq!(serde_json::from_value::<Failure>(word).expect("reads back"), *failure);
        }
    }

    #[test]
    fn what_a_human_must_mend_is_never_tried_again_and_no_limit_is_charged() {
        use oodatcaa_core::outcome::Policy;
        for failure in [Failure::Auth, Failure::Forbidden, Failure::ModelUnavailable, Failure::BadInvocation] {
            assert_eq!(failure.class().policy(), Policy::Auth, "{failure}");
        }
        for failure in [Failure::RateLimited, Failure::QuotaWindow, Failure::Billing] {
            assert_eq!(failure.class().policy(), Policy::Quota, "{failure}");
        }
    }
}
