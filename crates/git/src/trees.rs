//! The worktrees that a repository knows, read from its own files: git's list differs between its versions, stops at
//! the first that is half made, and follows settings that lead elsewhere.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    admin::{admins, half_made, is_our_place, place_of, top_of},
    git::{Git, GitError, destroy},
};
use oodatcaa_sys::files;

/// Git needs no longer than this between the first file of a worktree and the last.
const LONG: Duration = Duration::from_secs(60);

/// A worktree as the repository knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its top.
    pub(super) path: PathBuf,
    /// Its private directory; the repository itself for the main checkout.
    pub(super) admin: PathBuf,
    /// What is checked out; `None` for a detached head.
    pub(super) branch: Option<String>,
    /// The reason why it is locked.
    pub(super) locked: Option<String>,
}

/// Returns all of them, the main checkout first. What is half made is left out.
pub(super) fn list(git: &Git, common: &Path) -> Result<Vec<Listed>, GitError> {
    let mut all = Vec::new();
    if let Some(top) = main_checkout(git, common)? {
        all.push(listed(git, top, common.into()));
    }
    for admin in admins(common) {
        if let Some(top) = top_of(&admin) {
            all.push(listed(git, top, admin));
        }
    }
    Ok(all)
}

/// Removes those that were to be ours, for whoever holds the repository's lock: a git of ours that still makes one
/// would hold it, too. Those of others go when they have stood like that for long and lead nowhere.
pub(super) fn mend(common: &Path) {
    for admin in half_made(common) {
        let ours = place_of(&admin).is_some_and(|place| is_our_place(&place));
        let age = admin.symlink_metadata().ok().and_then(|meta| meta.modified().ok()?.elapsed().ok());
        let dead = place_of(&admin).is_none() && age.is_some_and(|age| age > LONG);
        // A young one may be in the making by a git of the user's own.
        if ours || dead {
            log::warn!("{} was left unfinished by a git that died, and is removed", admin.display());
            if let Err(error) = destroy::remove_dir(&admin) {
                log::warn!("cannot remove {}: {error}", admin.display());
            }
        }
    }
}

fn listed(git: &Git, path: PathBuf, admin: PathBuf) -> Listed {
    let head = files::named::text(admin.join("HEAD")).unwrap_or_default();
    // Read and not asked for: a call of git for each of a hundred worktrees takes seconds.
    let mut branch = head.trim_end().strip_prefix("ref: refs/heads/").map(String::from);
    if branch.as_deref() == Some(".invalid") {
        // Its refs are in tables that only git reads.
        let asked = git.moved_to(&path, &admin).and_then(|git| git.call(&["symbolic-ref", "-q", "HEAD"]));
        branch = asked.ok().and_then(|(_, name, _)| name.strip_prefix("refs/heads/").map(String::from));
    }
    let locked = files::named::text(admin.join("locked")).ok().map(|reason| reason.trim_end().to_owned());
    Listed { path, admin, branch, locked }
}

/// Returns the top of the main checkout; `None` for a bare repository.
fn main_checkout(git: &Git, common: &Path) -> Result<Option<PathBuf>, GitError> {
    // The calls are pinned to it, so it was asked for when they were made.
    if let Some(top) = git.top_of(common) {
        return Ok(Some(top));
    }
    let (mut bare, mut elsewhere) = (false, None);
    for (key, value) in git.on_itself().own_settings()? {
        match key.to_ascii_lowercase().as_str() {
            "core.bare" => bare = value.as_deref().is_none_or(|value| matches!(value, "true" | "yes" | "on" | "1")),
            "core.worktree" => elsewhere = value,
            _ => {}
        }
    }
    if bare {
        return Ok(None);
    }
    Ok(match elsewhere {
        Some(path) => Some(common.join(&path).canonicalize().unwrap_or_else(|_| common.join(path))),
        None if common.file_name().is_some_and(|name| name == ".git") => common.parent().map(Into::into),
        None => None,
    })
}
