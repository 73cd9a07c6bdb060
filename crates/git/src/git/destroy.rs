//! The calls that throw something away, each in one place, and each behind the check that they can only hit what is
//! ours. Nothing else in the program resets, cleans, checks out over files, removes a worktree or deletes a ref.

use std::{fs, io, path::Path};

use super::{Git, GitError};
use oodatcaa_sys::files;

impl Git {
    /// Puts index and files at the commit that is checked out; what was changed is gone.
    pub(crate) fn reset_hard(&self) -> Result<(), GitError> {
        self.verify()?;
        self.run(&["reset", "-q", "--hard"]).map(drop)
    }

    /// Makes the index anew from the commit that is checked out; files stay as they are.
    pub(crate) fn index_anew(&self) -> Result<(), GitError> {
        self.verify()?;
        self.run(&["reset", "-q", "--mixed"]).map(drop)
    }

    /// Checks a branch out, over whatever stands there.
    pub(crate) fn check_out_over(&self, branch: &str) -> Result<(), GitError> {
        self.verify()?;
        self.run(&["checkout", "-q", "-f", branch, "--"]).map(drop)
    }

    /// Puts files and index at a commit, with nothing else beside it but what is ignored.
    pub(crate) fn be_exactly(&self, commit: &str) -> Result<(), GitError> {
        self.verify()?;
        // The checkout first: `clean` leaves what the index knows, so it must know what the commit has.
        self.run(&["checkout", "-q", "-f", "--detach", commit, "--"])?;
        self.run(&["clean", "-f", "-d", "-q"]).map(drop)
    }

    /// Puts the files at a tree, without what the index knows beyond it, and the index at what is checked out.
    pub(crate) fn be_like(&self, tree: &str) -> Result<(), GitError> {
        self.verify()?;
        // A tree has no commit that could be checked out; `-u` removes what only the index knows.
        self.run(&["read-tree", "--reset", "-u", tree])?;
        self.run(&["reset", "-q", "--mixed"]).map(drop)
    }

    /// Deletes a ref, if it still points where it did.
    pub(crate) fn delete_ref(&self, name: &str, old: &str) -> Result<(), GitError> {
        self.patiently(&["update-ref", "-d", name, old]).map(drop)
    }

    /// Removes a worktree of this repository with all that is in it, and what git knows of it. Neither may be a link,
    /// and git must know this worktree by this directory, if it knows it at all.
    pub(crate) fn remove_worktree(&self, tree: &Path, admin: &Path) -> Result<(), GitError> {
        let common = self.common().ok_or_else(|| GitError::not_ours(tree, "its repository is not known"))?;
        if !is_below(admin, &common.join("worktrees")) {
            return Err(GitError::not_ours(admin, "it is not the directory of a worktree of this repository"));
        }
        // `worktree remove` goes through a link and empties what it leads to.
        for path in [tree, admin] {
            if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_dir()) {
                return Err(GitError::not_ours(path, "it is not a directory"));
            }
        }
        // An agent may have written the way back to another worktree there.
        let known = files::named::text(admin.join("gitdir"));
        if known.is_ok_and(|known| !known.is_empty() && admin.join(known.trim_end()).parent() != Some(tree)) {
            return Err(GitError::not_ours(tree, "the repository knows this worktree at another place"));
        }
        // It refuses what is not whole; then the directories are all there is.
        let _ = self.on_itself().call(&["worktree", "remove", "--force", "--force", "--", &tree.to_string_lossy()])?;
        for path in [tree, admin] {
            remove_dir(path).map_err(|source| GitError::Files { doing: "remove", path: path.into(), source })?;
        }
        Ok(())
    }
}

fn is_below(path: &Path, dir: &Path) -> bool {
    path.parent().is_some_and(|parent| parent == dir || parent.canonicalize().ok() == dir.canonicalize().ok())
        && path.file_name().is_some()
}

/// Removes a directory with all that is in it, also what is read-only; a link is refused, and one that is gone is gone.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    files::remove_tree(path.parent().unwrap_or(path), path)?;
    Ok(())
}
