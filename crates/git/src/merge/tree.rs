//! The temporary worktree of a merge: detached, outside of the repository, removed always.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{MergeError, Result, repo::Repo, steps};
use crate::{fault::failed, git::Git};
use oodatcaa_sys::files;

/// A temporary worktree.
pub(super) struct Tree {
    pub(super) path: PathBuf,
    pub(super) git: Git,
    prefix: PathBuf,
}

impl Tree {
    /// Returns where a tree of this merge will be.
    pub(super) fn plan(repo: &Repo, place: &Path, id: &str) -> Result<PathBuf> {
        files::make_named_dir(place).map_err(failed("make", place))?;
        let place = fs::canonicalize(place).map_err(failed("find", place))?;
        if repo.top.as_deref().is_some_and(|top| place.starts_with(top)) || place.starts_with(&repo.common) {
            return Err(MergeError::Place(place));
        }
        Ok(place.join(id))
    }

    /// Makes the worktree at a commit.
    pub(super) fn add(repo: &Repo, path: &Path, commit: &str) -> Result<Self> {
        // Git prepares a worktree in several files, and others that list worktrees meanwhile fail.
        let lock = repo.lock()?;
        let at = path.to_str().ok_or_else(|| MergeError::Place(path.into()))?;
        let args = ["worktree", "add", "-q", "--detach", "--no-checkout", "--", at, commit];
        repo.git.on_itself().holding(Arc::clone(&lock)).run(&args)?;
        drop(lock);
        let git = repo.git.moved_to(path, &admin(repo, path)?)?;
        git.verify()?;
        // Outside of the lock: a great checkout takes minutes.
        git.run(&["read-tree", "--reset", "-u", "HEAD"])?;
        Ok(Self { path: path.into(), git, prefix: repo.prefix.clone() })
    }

    /// Returns the project's root in it, where its gates run; made where the result does not have it.
    pub(super) fn project(&self) -> Result<PathBuf> {
        crate::repo::inside(&self.path, &self.prefix).map_err(|_| MergeError::Place(self.path.join(&self.prefix)))
    }

    /// Returns the same for what may not be ended.
    pub(super) fn firm(&self) -> Self {
        Self { path: self.path.clone(), git: self.git.clone().to_its_end(), prefix: self.prefix.clone() }
    }

    /// Puts the worktree at a commit; whatever else is in it is thrown away, ignored files stay.
    pub(super) fn go(&self, commit: &str) -> Result<()> {
        Ok(self.git.be_exactly(commit)?)
    }
}

/// Returns git's own directory of a merge's tree. Git cleans the names that it gives; where it knows nothing of the tree, it is
/// the tree's own name, which is ours alone.
fn admin(repo: &Repo, path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| MergeError::Place(path.into()))?;
    Ok(crate::admin::admin_for(&repo.common, path).unwrap_or_else(|| repo.common.join("worktrees").join(name)))
}

/// Removes a merge's worktree and what git knows of it, however much of it is there.
pub(super) fn remove(repo: &Repo, path: &Path, id: &str) -> Result<()> {
    // The path comes from a file; nothing but a tree of ours is ever wiped.
    if path.file_name().is_none_or(|name| name != id) || !id.starts_with(steps::PREFIX) {
        return Err(MergeError::Place(path.into()));
    }
    let _lock = repo.lock()?;
    Ok(repo.git.remove_worktree(path, &admin(repo, path)?)?)
}
