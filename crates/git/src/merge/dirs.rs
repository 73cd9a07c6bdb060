//! Where the merges of a project keep what they need: beside its worktrees, outside of the repository.

use std::path::PathBuf;

use crate::{
    Config, Workspace, WorkspaceError,
    repo::{Home, Repository},
};
use oodatcaa_core::layout::Layout;

/// The directories of a project's merges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MergeDirs {
    /// The state files.
    pub dir: PathBuf,
    /// The temporary worktrees.
    pub place: PathBuf,
}

impl MergeDirs {
    fn below(home: &std::path::Path) -> Self {
        Self { dir: home.join("merges"), place: home.join("merge") }
    }

    /// Returns the one that the configuration of a project names.
    pub fn of_project(layout: &Layout, config: &Config) -> Result<Self, WorkspaceError> {
        Ok(Self::below(&Home::of(layout, config)?.dir))
    }

    /// Returns the one for a task's worktree; `None` in the project's own directory.
    pub fn of(workspace: &Workspace) -> Option<Self> {
        workspace.branch()?;
        workspace.top().parent()?.parent().map(Self::below)
    }
}

/// Lists every place of a project: that of its configuration, and those of worktrees that lie elsewhere.
pub fn all(layout: &Layout, config: &Config) -> Result<Vec<MergeDirs>, WorkspaceError> {
    let Some(repo) = Repository::find(layout)? else { return Ok(Vec::new()) };
    let mut homes: Vec<PathBuf> = repo.task_trees(layout)?.into_iter().map(|found| found.home.dir).collect();
    // Before the first worktree there is nothing to find there.
    homes.extend(Home::of(layout, config)?.dir.canonicalize());
    homes.sort();
    homes.dedup();
    Ok(homes.iter().map(|home| MergeDirs::below(home)).collect())
}
