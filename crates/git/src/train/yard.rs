//! Where the trains of a project keep what they need: beside its worktrees, outside of the repository.

use std::path::PathBuf;

use crate::{
    Config, Workspace, WorkspaceError,
    repo::{Home, Repository},
};
use oodatcaa_core::layout::Layout;

/// The directories of a project's trains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Yard {
    /// The state files.
    pub dir: PathBuf,
    /// The temporary worktrees.
    pub place: PathBuf,
}

impl Yard {
    fn below(home: &std::path::Path) -> Self {
        Self { dir: home.join("merges"), place: home.join("train") }
    }

    /// The one that the configuration of a project names.
    pub fn of_project(layout: &Layout, config: &Config) -> Result<Self, WorkspaceError> {
        Ok(Self::below(&Home::of(layout, config)?.dir))
    }

    /// The one for a task's worktree; `None` in the project's own directory.
    pub fn of(workspace: &Workspace) -> Option<Self> {
        workspace.branch()?;
        workspace.top().parent()?.parent().map(Self::below)
    }
}

/// Every yard of a project: that of its configuration, and those of worktrees that lie elsewhere.
pub fn yards(layout: &Layout, config: &Config) -> Result<Vec<Yard>, WorkspaceError> {
    let Some(repo) = Repository::find(layout)? else { return Ok(Vec::new()) };
    let listed = repo.worktrees()?;
    let mut yards: Vec<Yard> =
        listed.iter().filter_map(|tree| Home::holding(layout, &tree.path)).map(|home| Yard::below(&home.dir)).collect();
    // Before the first worktree there is nothing to find there.
    yards.extend(Home::of(layout, config)?.dir.canonicalize().ok().map(|home| Yard::below(&home)));
    yards.sort();
    yards.dedup();
    Ok(yards)
}
