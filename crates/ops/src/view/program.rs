//! What the program says of itself.

views! {
    /// What `init` wrote, or would.
    pub struct InitView = "oodatcaa/init.v1" {
        /// The project's directory.
        pub project: String,
        /// True if nothing was written.
        pub dry_run: bool,
        /// The files.
        pub files: Vec<WrittenView>,
        /// The agent that will work.
        pub agent: Option<String>,
        /// The agents whose programs are there.
        pub agents_found: Vec<&'static str>,
        /// What is wrong with a queue that was there.
        pub queue_problems: Vec<String>,
    }

    /// A file that `init` writes.
    pub struct WrittenView {
        /// Its path.
        pub path: String,
        /// What it is.
        pub what: String,
    }

    /// Which program this is.
    pub struct VersionView = "oodatcaa/version.v1" {
        /// Its name.
        pub name: &'static str,
        /// Its version.
        pub version: &'static str,
    }

    /// A page of help.
    pub struct HelpView = "oodatcaa/help.v1" {
        /// What it is about.
        pub about: String,
        /// The page.
        pub text: String,
    }

    /// A script for a shell.
    pub struct CompletionsView = "oodatcaa/completions.v1" {
        /// The shell.
        pub shell: String,
        /// The script.
        pub script: String,
    }

    /// A man page, or where all of them were written.
    pub struct ManView = "oodatcaa/man.v1" {
        /// The page, in roff.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub page: Option<String>,
        /// The directory.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub directory: Option<String>,
    }

    /// A failure.
    pub struct ErrorView = "oodatcaa/error.v1" {
        /// What failed.
        pub error: ErrorBody,
    }

    /// What failed, and what helps.
    pub struct ErrorBody {
        /// The kind of failure.
        pub code: &'static str,
        /// What failed, and why.
        pub message: String,
        /// What to do first.
        pub hint: Option<String>,
        /// True if the same may succeed later by itself.
        pub retryable: bool,
        /// All that helps, where it is more than one thing.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub hints: Option<Vec<String>>,
    }
}
