//! What a project allows beside its table of roles: approvals, how long a human is waited for, budgets.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Role,
    budget::{Budgets, Limits},
    starts::Bounds,
};

/// What holds for every role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A task is merged only after a human approved it.
    pub merge_approval: bool,
    /// How long a human is waited for; zero means for ever.
    pub deadline: Duration,
    /// What may be spent.
    pub budgets: Budgets,
    /// No role works on more tasks at once, whatever the queue says: the queue may have come with a clone.
    pub most_at_once: u32,
    /// Where everything ends.
    pub bounds: Bounds,
    /// Branches of worktrees are merged by our own code, not by an agent.
    pub merges: bool,
    /// What a merge makes.
    pub makes: Makes,
    /// Who works on tasks that have failed before, by role.
    pub on_retry: BTreeMap<Role, OnRetry>,
    /// What is wrong with the configuration, where these roles only stand in for those of a broken one.
    pub broken: Option<String>,
}

/// What a merge makes of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Makes {
    /// A merge commit.
    MergeCommit,
    /// One commit.
    Squash,
    /// Its commits once more.
    Commits,
}

/// Who works on tasks of a role that have failed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnRetry {
    /// The names, in the order in which they are asked, ahead of the role's others.
    pub agents: Vec<String>,
    /// They work on nothing else.
    pub only: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            merge_approval: false,
            deadline: Duration::from_secs(7 * 86_400),
            budgets: Budgets { day: Limits { starts: Some(1000), ..Limits::default() }, ..Budgets::default() },
            most_at_once: u32::MAX,
            bounds: Bounds::default(),
            merges: true,
            makes: Makes::MergeCommit,
            on_retry: BTreeMap::new(),
            broken: None,
        }
    }
}
