//! Sandboxes: what a program may do, and what was tried.

use std::collections::BTreeMap;

use oodatcaa_core::Guarantee;

views! {
    /// What a program may do.
    pub struct SandboxView = "oodatcaa/sandbox.v1" {
        /// The program, in words.
        pub program: String,
        /// The means: `auto`, `landlock`, `off`, ….
        pub mode: &'static str,
        /// What must be given, or it does not run.
        pub require: Vec<Guarantee>,
        /// Where it may write.
        pub write: Vec<String>,
        /// Directories that it has of its own, by the one that they stand in the place of.
        pub own: BTreeMap<String, String>,
        /// What it may not read.
        pub deny: Vec<String>,
        /// Directories of sockets that are hidden from it.
        pub mask: Vec<String>,
        /// What it may read in what is hidden or denied.
        pub read: Vec<String>,
        /// What it may reach of the network.
        pub network: String,
        /// True if it may bring a sandbox of its own.
        pub nested: bool,
        /// Variables that it is given for it.
        pub env: BTreeMap<String, String>,
    }

    /// What a sandbox says of a path.
    pub struct VerdictView = "oodatcaa/verdict.v1" {
        /// The path, without links.
        pub path: String,
        /// `read` or `write`.
        pub what: &'static str,
        /// True if it may be done.
        pub allowed: bool,
        /// The path that the rule is about; `null` where it is for all that has none.
        pub by: Option<String>,
        /// The rule, in words.
        pub rule: String,
        /// What to set where it should be allowed.
        pub hint: Option<String>,
    }

    /// What a sandbox keeps on this machine, by trying it.
    pub struct ProbeView = "oodatcaa/probe.v1" {
        /// The programs that have this sandbox.
        pub programs: Vec<String>,
        /// True if all that is required is given, and nothing forbidden could be done.
        pub ok: bool,
        /// What the machine has for it, in words.
        pub means: String,
        /// Why there is no namespace, where one was wanted.
        pub refused: Option<String>,
        /// Why it could not be tried at all.
        pub error: Option<String>,
        /// What is kept.
        pub given: Vec<Guarantee>,
        /// What is required and cannot be kept.
        pub missing: Vec<Guarantee>,
        /// What was tried.
        pub tries: Vec<TryView>,
        /// Sockets of other programs that can be reached.
        pub reachable: Vec<String>,
    }

    /// One thing that was tried.
    pub struct TryView {
        /// What must keep it from happening; `null` for what must work.
        pub guarantee: Option<Guarantee>,
        /// What was tried.
        pub what: String,
        /// True if it could be done.
        pub done: bool,
        /// What the system said.
        pub words: Option<String>,
        /// True if this is as it must be.
        pub ok: bool,
    }

    /// A program that was run in a sandbox.
    pub struct SandboxRunView = "oodatcaa/sandbox_run.v1" {
        /// Its exit status; `null` where a signal ended it.
        pub status: Option<i32>,
        /// What was kept.
        pub given: Vec<Guarantee>,
        /// What the machine has for it, in words.
        pub means: String,
    }

    /// A profile that lets our program make namespaces where AppArmor forbids that.
    pub struct AppArmorView = "oodatcaa/apparmor.v1" {
        /// Where it belongs.
        pub path: String,
        /// Its text.
        pub text: String,
        /// True if it was written there now.
        pub installed: bool,
    }
}
