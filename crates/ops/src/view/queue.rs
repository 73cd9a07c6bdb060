//! The queue file: its problems, and what can be mended.

views! {
    /// What is wrong with a queue file.
    pub struct ValidationView = "oodatcaa/validation.v1" {
        /// The file.
        pub file: String,
        /// True if nothing is.
        pub ok: bool,
        /// True if it can be read at all.
        pub readable: bool,
        /// How many tasks it has.
        pub tasks: Option<usize>,
        /// What is wrong.
        pub problems: Vec<ProblemView>,
    }

    /// One thing that is wrong.
    pub struct ProblemView {
        /// Where, from 1.
        pub line: Option<usize>,
        /// The place where in the line, from 1.
        pub column: Option<usize>,
        /// The task.
        pub task: Option<String>,
        /// A stable word.
        pub code: &'static str,
        /// What is wrong.
        pub message: String,
    }

    /// What can be mended without guessing.
    pub struct RepairView = "oodatcaa/repair.v1" {
        /// True if nothing was written.
        pub dry_run: bool,
        /// What can be mended.
        pub mends: Vec<MendView>,
    }

    /// One thing that can be mended.
    pub struct MendView {
        /// `lease`, `mark` or `old_file`.
        pub what: &'static str,
        /// The task.
        pub task: String,
        /// What would be done.
        pub message: String,
    }
}
