//! The repository that a merge works on: calls of git that can be ended, and its lock.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Author, Leash, MergeError, Result};
use crate::{
    fault::WorkspaceError,
    git::{Git, Keep},
    lock,
    repo::Repository,
    trees,
};

/// How long the repository's lock is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// How often is listened for a stop meanwhile.
const LISTEN: Duration = Duration::from_millis(200);

/// A repository.
#[derive(Clone)]
pub(super) struct Repo {
    pub(super) git: Git,
    leash: Option<Leash>,
    /// The directory that all worktrees share.
    pub(super) common: PathBuf,
    /// The directory that knows where remotes were.
    pub(super) remotes: Option<PathBuf>,
    /// The top of the checkout that we were given; none in a bare repository.
    pub(super) top: Option<PathBuf>,
    /// The project below that top.
    pub(super) prefix: PathBuf,
}

impl Repo {
    /// Finds the repository of a checkout, or takes a bare one; what git sees of its configuration is kept in a
    /// directory of ours.
    pub(super) fn open(dir: &Path, keep: &Keep, author: &Author) -> Result<Self> {
        let Repository { git, top, common, prefix, .. } = Repository::found_by(&Git::looking(dir), keep)?;
        Ok(Self { git: git.by(author), leash: None, common, remotes: None, top, prefix })
    }

    /// Returns the same for what may be ended at any moment, because nothing of it stands in the world yet.
    pub(super) fn tied(&self, leash: &Leash) -> Self {
        Self { git: leash.tie(self.git.clone(), &leash.stop), leash: Some(leash.clone()), ..self.clone() }
    }

    /// Returns the same for a push: only who will not wait at all ends it.
    pub(super) fn tied_for_push(&self, leash: &Leash) -> Self {
        Self { git: leash.tie(self.git.clone(), &leash.now), ..self.clone() }
    }

    /// Takes the directory that knows where remotes were.
    pub(super) fn knowing(self, remotes: Option<&Path>) -> Self {
        Self { remotes: remotes.map(Into::into), ..self }
    }

    /// Returns the commit that a branch points to.
    pub(super) fn head(&self, branch: &str) -> Result<String> {
        let full = format!("refs/heads/{branch}");
        let unknown = || MergeError::NoBranch(oodatcaa_core::text::cut(branch, 200));
        if branch.contains('\0') || !self.git.asks(&["check-ref-format", &full])? {
            return Err(unknown());
        }
        self.git.commit(&full)?.ok_or_else(unknown)
    }

    /// Takes the repository's lock, as git's own commands on worktrees and configuration race; it is held until it is
    /// dropped, and by a git that has it as its input until that ends.
    pub(super) fn lock(&self) -> Result<Arc<File>> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            // In short waits, because a merge that is to end must not sit out the whole one.
            match lock::take(&self.common, LISTEN) {
                Ok(file) => {
                    trees::mend(&self.common);
                    return Ok(file);
                }
                Err(_) if self.leash.as_ref().is_some_and(Leash::is_stopped) => return Err(MergeError::Stopped),
                Err(WorkspaceError::Busy { .. }) if Instant::now() < deadline => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
