//! Why an agent CLI failed, as finely as the CLIs themselves tell, and what that is in the rules' terms.

use serde::Deserialize;

use oodatcaa_core::Class;

macro_rules! failures {
    ($($name:ident is $class:ident: $doc:literal),* $(,)?) => {
        /// The reason why an agent CLI failed; descriptors speak of it in these words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Failure {
            $(#[doc = $doc] $name,)*
        }

        impl Failure {
            /// Returns a sentence for people, and what it is to the rules.
            fn row(self) -> (&'static str, Class) {
                match self {
                    $(Self::$name => ($doc, Class::$class),)*
                }
            }
        }
    };
}

failures! {
    NotInstalled is AgentNotFound: "The program is not there.",
    BadInvocation is Config: "The program refuses its arguments or its own configuration.",
    SessionNotFound is SessionLost: "The session to resume is not there.",
    Auth is AuthExpired: "Not signed in, or the key is refused.",
    Forbidden is PermissionDenied: "Signed in, but not allowed to.",
    ModelUnavailable is Config: "There is no such model for this account.",
    RateLimited is RateLimited: "Too many requests.",
    QuotaWindow is UsageLimit: "The account's window is used up until it is reset.",
    Billing is UsageLimit: "The account has no credit.",
    Overloaded is Overloaded: "The service is overloaded.",
    ProviderError is Overloaded: "The service failed, or its answer made no sense.",
    Network is Network: "The service cannot be reached.",
    ContextOverflow is ContextOverflow: "The input does not fit into the model's context.",
    OutputTruncated is ContextOverflow: "The answer was cut off at its limit.",
    Refused is AgentFailed: "The model refused.",
    TurnLimit is AgentFailed: "More turns or steps than it may take.",
    BudgetExceeded is BudgetExceeded: "The program's own money limit.",
    ToolDenied is PermissionDenied: "None of its tools was allowed to work.",
    SandboxBroken is PermissionDenied: "The program's own sandbox does not work here.",
    NoRoom is Environment: "The machine has no room, or may not be written to.",
    Loop is AgentFailed: "It repeated itself.",
    Stalled is Silent: "No event of the model or a tool for too long.",
    Timeout is Timeout: "A time limit passed.",
    Cancelled is Interrupted: "It was told to stop.",
    Killed is AgentCrashed: "It did not end by itself.",
    Protocol is Protocol: "Its output ends without the event that says how it ended.",
    NoEffect is NoEvidence: "It says that it is done, and nothing has changed.",
    Unknown is Unclassified: "Nothing of the above.",
}

impl Failure {
    /// Returns words for people, without a full stop.
    pub(crate) fn words(self) -> &'static str {
        self.row().0.trim_end_matches('.')
    }

    /// Returns what it is to the rules.
    pub(crate) fn class(self) -> Class {
        self.row().1
    }
}

/// Returns how a program ended by a signal that we did not send.
pub(crate) fn signal(signal: i32) -> String {
    const KILL: i32 = 9;
    match signal {
        // Nobody but the kernel or a person sends it, and the kernel does so when memory runs out.
        KILL => "killed from outside (perhaps out of memory)".into(),
        signal => format!("ended by signal {signal}, which we did not send"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_human_must_mend_is_never_tried_again_and_no_limit_is_charged() {
        use oodatcaa_core::outcome::Policy;
        for failure in [Failure::Auth, Failure::Forbidden, Failure::ModelUnavailable, Failure::BadInvocation] {
            assert_eq!(failure.class().policy(), Policy::Auth, "{failure:?}");
        }
        for failure in [Failure::RateLimited, Failure::QuotaWindow, Failure::Billing] {
            assert_eq!(failure.class().policy(), Policy::Quota, "{failure:?}");
        }
    }
}
