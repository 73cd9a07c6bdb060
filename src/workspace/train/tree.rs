//! The temporary worktree of a train: detached, outside of the repository, removed always.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Author, TrainError, land::Repo, safe};
use crate::workspace::git::Git;

/// A temporary worktree.
pub(super) struct Tree {
    pub(super) path: PathBuf,
    pub(super) git: Git,
    prefix: PathBuf,
}

impl Tree {
    /// Where a tree of this train will be.
    pub(super) fn plan(repo: &Repo, place: &Path, id: &str) -> Result<PathBuf, TrainError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(place).map_err(|source| TrainError::Io {
            doing: "make",
            path: place.into(),
            source,
        })?;
        let place =
            fs::canonicalize(place).map_err(|source| TrainError::Io { doing: "find", path: place.into(), source })?;
        if repo.top.as_deref().is_some_and(|top| place.starts_with(top)) || place.starts_with(&repo.common) {
            return Err(TrainError::Place { place });
        }
        Ok(place.join(id))
    }

    /// Makes the worktree at a commit.
    pub(super) fn add(repo: &Repo, path: &Path, commit: &str, author: &Author) -> Result<Self, TrainError> {
        let lock = repo.lock()?;
        let at = path.to_str().ok_or_else(|| TrainError::Place { place: path.into() })?;
        repo.git.clone().holding(Arc::clone(&lock.0)).run(&[
            "worktree",
            "add",
            "-q",
            "--detach",
            "--no-checkout",
            "--",
            at,
            commit,
        ])?;
        drop(lock);
        let git = safe::open(path, author)?;
        git.run(&["read-tree", "--reset", "-u", "HEAD"])?;
        Ok(Self { path: path.into(), git, prefix: repo.prefix.clone() })
    }

    /// The project's root in it, where its gates run; made where the result does not have it.
    pub(super) fn project(&self) -> Result<PathBuf, TrainError> {
        crate::workspace::tree::inside(&self.path, &self.prefix)
            .map_err(|_| TrainError::Place { place: self.path.join(&self.prefix) })
    }

    /// Puts the worktree at a commit; whatever else is in it is thrown away, ignored files stay.
    pub(super) fn go(&self, commit: &str) -> Result<(), TrainError> {
        self.git.run(&["checkout", "-q", "-f", "--detach", commit, "--"])?;
        self.git.run(&["clean", "-f", "-d", "-q"])?;
        Ok(())
    }
}

/// Removes a train's worktree and what git knows of it, however much of it is there.
pub(super) fn remove(repo: &Repo, path: &Path, id: &str) -> Result<(), TrainError> {
    // The path comes from a file; nothing but a tree of ours is ever wiped.
    if path.file_name().is_none_or(|name| name != id) || !id.starts_with("train-") {
        return Err(TrainError::Place { place: path.into() });
    }
    let _lock = repo.lock()?;
    if let Some(at) = path.to_str() {
        // It refuses what it does not know; then the directories are all there is.
        let _ = repo.git.call(&["worktree", "remove", "--force", "--force", "--", at])?;
    }
    let failed = |path: &Path, source| TrainError::Io { doing: "remove", path: path.into(), source };
    wipe(path).map_err(|error| failed(path, error))?;
    // The name of the directory is ours alone, and so is git's directory of that name.
    if let Some(name) = path.file_name() {
        let admin = repo.common.join("worktrees").join(name);
        wipe(&admin).map_err(|error| failed(&admin, error))?;
    }
    Ok(())
}

fn wipe(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            // What a gate left may be read-only.
            open_up(path);
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_up(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    // What cannot be opened shows in the second attempt to remove it.
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
