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
    let listed = repo.worktrees()?;
    let mut yards: Vec<MergeDirs> = listed
        .iter()
        .filter_map(|tree| Home::holding(layout, &tree.path))
        .map(|home| MergeDirs::below(&home.dir))
        .collect();
    // Before the first worktree there is nothing to find there.
    yards.extend(Home::of(layout, config)?.dir.canonicalize().ok().map(|home| MergeDirs::below(&home)));
    yards.sort();
    yards.dedup();
    Ok(yards)
}
