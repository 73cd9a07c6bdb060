//! `[merge]`: how finished branches come into the target. What comes of it is the business of the merge queue.

/// `[merge]`, without what is a rule for tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergeConfig {
    /// A merge commit, one commit, or the branch's own commits.
    pub policy: MergePolicy,
    /// The remote that gets the target; everything stays local when absent.
    pub push: Option<String>,
    /// An entry in `CHANGELOG.md` for every task.
    pub changelog: bool,
    /// Tags before and after every merge.
    pub tags: bool,
    /// Gates to run after the target has moved, by name; a red one takes the merge back.
    pub after: Vec<String>,
}

/// How a branch comes into the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergePolicy {
    /// A merge commit, always.
    #[default]
    MergeCommit,
    /// One commit with all of it.
    Squash,
    /// The branch's commits, one after the other on top of the target.
    Rebase,
}
