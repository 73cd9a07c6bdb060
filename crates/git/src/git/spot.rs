//! A checkout and its repository: where they are, and whether they still belong together.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Git, GitError};
use oodatcaa_sys::files;

/// A checkout of a repository, told by directories alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The top of the checkout; none in a bare repository.
    pub top: Option<PathBuf>,
    /// The checkout's private directory.
    pub admin: PathBuf,
    /// The directory that all worktrees share.
    pub common: PathBuf,
}

impl Spot {
    /// Verifies the checkout: see [`Git::verify`].
    pub(super) fn verify(&self, git: &Git) -> Result<(), GitError> {
        let Some(top) = &self.top else { return Ok(()) };
        let wrong = |at: &Path, why: String| Err(GitError::not_ours(at, why));
        if !fs::symlink_metadata(top).is_ok_and(|meta| meta.is_dir()) {
            return wrong(top, "it is not a directory any more".into());
        }
        if !fs::symlink_metadata(&self.admin).is_ok_and(|meta| meta.is_dir()) {
            return wrong(top, format!("the repository does not know it any more: {} is gone", self.admin.display()));
        }
        self.check_common()?;
        // A commit adds to both.
        super::whole::check_log(&self.admin, "HEAD")?;
        let head = files::named::text(self.admin.join("HEAD")).unwrap_or_default();
        if let Some(branch) = head.trim_end().strip_prefix("ref: ") {
            super::whole::check_log(&self.common, branch)?;
        }
        // The main checkout's `.git` is the repository itself and leads nowhere.
        if self.admin != self.common {
            let link = top.join(".git");
            if crate::admin::link_of(top) != self.admin.canonicalize().ok() {
                return wrong(&link, "it has been replaced and does not lead to the repository any more".into());
            }
            let back = self.admin.join("gitdir");
            let read = |file: &Path| files::named::text(file).unwrap_or_default().trim_end().to_owned();
            // Git takes a relative path there from the private directory, since 2.48 by choice of the user.
            if self.admin.join(read(&back)).parent().and_then(|dir| dir.canonicalize().ok()) != top.canonicalize().ok()
            {
                return wrong(&back, format!("it has been changed and does not name {} any more", top.display()));
            }
        }
        self.as_git_sees_it(&git.looking_from(top), top)
    }

    /// Checks that the private directory leads to the repository: where refs are, git takes from there whatever it is told.
    pub(super) fn check_common(&self) -> Result<(), GitError> {
        if crate::admin::shares(&self.admin, &self.common) {
            return Ok(());
        }
        let file = self.admin.join("commondir");
        Err(GitError::not_ours(&file, "it has been changed and does not lead to the repository any more"))
    }

    /// Asks git what it finds when nobody tells it; a setting like `core.worktree` may send it elsewhere.
    fn as_git_sees_it(&self, look: &Git, top: &Path) -> Result<(), GitError> {
        let (found, _) = Self::found_by(look).map_err(|error| match error {
            GitError::Failed(_, said) => GitError::not_ours(top, format!("git says there: {said}")),
            other => other,
        })?;
        // By what they lead to: git resolves links on the way, and `/tmp` may be one.
        let same =
            |a: &Path, b: &Path| a == b || a.canonicalize().ok().is_some_and(|a| b.canonicalize().ok() == Some(a));
        if !found.top.as_deref().is_some_and(|found| same(found, top)) {
            let other = found.top.unwrap_or_default();
            let why = format!(
                "git works on {} there, not on this worktree; `git -C {} config --show-origin core.worktree` says why",
                other.display(),
                top.display()
            );
            return Err(GitError::not_ours(top, why));
        }
        if !same(&found.admin, &self.admin) || !same(&found.common, &self.common) {
            let why =
                format!("git uses the repository {} there, not {}", found.common.display(), self.common.display());
            return Err(GitError::not_ours(top, why));
        }
        Ok(())
    }

    /// Returns the checkout that git itself finds, or the bare repository, and the way from its top to where it looks.
    pub(crate) fn found_by(look: &Git) -> Result<(Self, PathBuf), GitError> {
        let facts =
            ["--is-bare-repository", "--absolute-git-dir", "--git-common-dir", "--show-prefix", "--show-toplevel"];
        let asked = [&["rev-parse"], &facts[..]].concat();
        let (code, found, said) = look.call(&asked)?;
        let lines: Vec<&str> = found.split('\n').collect();
        let (top, admin, common, prefix) = match (code, lines.as_slice()) {
            (0, ["false", admin, common, prefix, top]) => (Some(top.into()), admin, common, prefix),
            // It has no top, so git fails at the last question after it has answered the others.
            (_, ["true", admin, common, ..]) => (None, admin, common, &""),
            (0, _) => return Err(GitError::not_ours(look.dir(), "a name on the way to it has a line feed")),
            _ => return Err(look.failed(&asked, &said)),
        };
        let common = look.dir().join(common);
        let common = common.canonicalize().unwrap_or(common);
        Ok((Self { top, admin: admin.into(), common }, prefix.trim_end_matches('/').into()))
    }
}
