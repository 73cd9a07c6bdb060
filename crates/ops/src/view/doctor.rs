//! What `doctor` found.

views! {
    /// All that was looked at.
    pub struct DoctorView = "oodatcaa/doctor.v1" {
        /// True if everything works.
        pub ok: bool,
        /// How much does not work.
        pub problems: usize,
        /// How much should be known.
        pub warnings: usize,
        /// What was looked at.
        pub checks: Vec<CheckView>,
    }

    /// One thing that was looked at.
    pub struct CheckView {
        /// The place where it belongs.
        pub group: &'static str,
        /// A stable word.
        pub id: &'static str,
        /// `ok`, `warning` or `problem`.
        pub state: &'static str,
        /// What was found.
        pub what: String,
        /// The reason why it matters.
        pub why: Option<String>,
        /// A command that helps.
        pub run: Option<String>,
    }
}
