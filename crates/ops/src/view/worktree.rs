//! Worktrees of tasks, and what a sweep makes of them.

use oodatcaa_core::{Status, TaskId};

views! {
    /// The worktree of a task.
    pub struct WorktreeView = "oodatcaa/worktree.v1" {
        /// The task.
        pub task: TaskId,
        /// Its status; `null` when it has left the queue.
        pub status: Option<Status>,
        /// The place where it lies.
        pub path: String,
        /// Its branch.
        pub branch: Option<String>,
        /// The branch that it started from.
        pub base: Option<String>,
        /// Commits that its base does not hold.
        pub ahead: usize,
        /// True if its base holds all of them.
        pub merged: bool,
        /// True if there is work that is not committed.
        pub dirty: bool,
        /// A merge or rebase that somebody began there.
        pub midway: Option<&'static str>,
        /// What could not be saved.
        pub left_out: Vec<String>,
        /// True if a worker is at work there.
        pub in_use: bool,
        /// True if it is there and belongs to the repository.
        pub whole: bool,
        /// The first port of its block.
        pub port_base: Option<u32>,
    }

    /// The place where the worktree of a task lies.
    pub struct WorktreePathView = "oodatcaa/worktree_path.v1" {
        /// The task.
        pub task: TaskId,
        /// The place where it lies.
        pub path: String,
    }

    /// What became of a worktree.
    pub struct WorktreeRemovalView = "oodatcaa/worktree_removal.v1" {
        /// The task.
        pub task: TaskId,
        /// The place where it lay.
        pub path: String,
        /// True if it went, or would.
        pub removed: bool,
        /// True if nothing was removed.
        pub dry_run: bool,
        /// The commit that holds what was not committed.
        pub saved: Option<String>,
        /// The merged branch that went with it.
        pub branch_deleted: Option<String>,
        /// The reason why it stays.
        pub kept_because: Option<String>,
    }

    /// What was cleared away.
    pub struct GcView = "oodatcaa/gc.v1" {
        /// True if nothing was removed.
        pub dry_run: bool,
        /// How long things stay.
        pub keep_seconds: u64,
        /// Worktrees.
        pub worktrees: Vec<WorktreeRemovalView>,
        /// Directories of attempts that went.
        pub runs: Vec<OldRunView>,
        /// Refs of saved work that went.
        pub refs: Vec<OldRefView>,
        /// What was put aside because it was no worktree.
        pub aside: Vec<String>,
        /// How much room that makes.
        pub bytes: u64,
        /// How much room there is.
        pub free_bytes: Option<u64>,
    }

    /// An old directory of an attempt.
    pub struct OldRunView {
        /// The task.
        pub task: TaskId,
        /// The place where it lay.
        pub dir: String,
        /// How old it was.
        pub age_seconds: u64,
        /// How large it was.
        pub bytes: u64,
    }

    /// An old ref of saved work.
    pub struct OldRefView {
        /// The task.
        pub task: TaskId,
        /// Its name.
        #[serde(rename = "ref")]
        pub reference: String,
        /// The commit that it named.
        pub commit: String,
        /// How old it was.
        pub age_seconds: u64,
    }

    /// What a task or an attempt changed.
    pub struct DiffView = "oodatcaa/diff.v1" {
        /// The task.
        pub task: TaskId,
        /// The attempt; `null` for all of the task.
        pub token: Option<oodatcaa_core::Token>,
        /// The commit before.
        pub from: String,
        /// The commit or tree after.
        pub to: String,
        /// What the comparison goes up to.
        pub until: &'static str,
        /// The files.
        pub files: Vec<ChangedFileView>,
        /// The patch, unless only the files were asked for.
        pub patch: Option<String>,
    }

    /// A changed file.
    pub struct ChangedFileView {
        /// Its path, from the top of the repository.
        pub path: String,
        /// Lines that came; `null` for a binary file.
        pub added: Option<u64>,
        /// Lines that went; `null` for a binary file.
        pub removed: Option<u64>,
        /// True if other programs, agents or CI obey it, or it was a test and is gone.
        pub risky: bool,
    }
}
