//! The worktrees that a repository knows, read from its own files: git's list differs between its versions, stops at
//! the first that is half made, and follows settings that lead elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::git::{Git, GitError, destroy};
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
    /// Why it is locked.
    pub(super) locked: Option<String>,
}

/// All of them, the main checkout first. What is half made is left out.
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

/// The private directories, in the order of their names.
pub(super) fn admins(common: &Path) -> Vec<PathBuf> {
    let dir = common.join("worktrees");
    files::named::directories(&dir).map(|name| dir.join(name)).collect()
}

/// The private directory that names this worktree, however much of it was made.
pub(super) fn admin_for(common: &Path, tree: &Path) -> Option<PathBuf> {
    admins(common).into_iter().find(|admin| place_of(admin).as_deref() == Some(tree))
}

fn place_of(admin: &Path) -> Option<PathBuf> {
    let link = files::named::text(admin.join("gitdir")).ok()?;
    Some(admin.join(link.trim_end()).parent()?.into())
}

/// Where the worktree of a private directory lies; `None` when it is half made.
pub(super) fn top_of(admin: &Path) -> Option<PathBuf> {
    let word = |name: &str| files::named::text(admin.join(name)).ok().filter(|text| !text.trim().is_empty());
    word("HEAD")?;
    word("commondir")?;
    word("gitdir")?;
    place_of(admin)
}

/// Whether a private directory names this worktree.
pub(super) fn names(admin: &Path, tree: &Path) -> bool {
    place_of(admin)
        .and_then(|place| place.canonicalize().ok())
        .is_some_and(|place| tree.canonicalize().ok() == Some(place))
}

/// Whether git finds this repository from a private directory, or from the repository itself.
pub(super) fn shares(admin: &Path, common: &Path) -> bool {
    if admin == common {
        return common.join("commondir").symlink_metadata().is_err();
    }
    let text = files::named::text(admin.join("commondir")).unwrap_or_default();
    !text.trim().is_empty() && admin.join(text.trim_end()).canonicalize().ok() == common.canonicalize().ok()
}

/// The private directories that a git which died left half made: then git itself can make no worktree any more.
pub(super) fn half_made(common: &Path) -> Vec<PathBuf> {
    admins(common).into_iter().filter(|admin| top_of(admin).is_none()).collect()
}

/// Removes those that were to be ours, for whoever holds the repository's lock: a git of ours that still makes one
/// would hold it, too. Those of others go when they have stood like that for long and lead nowhere.
pub(super) fn mend(common: &Path) {
    for admin in half_made(common) {
        let ours = place_of(&admin).is_some_and(|place| is_our_place(&place));
        let age = admin.symlink_metadata().ok().and_then(|meta| meta.modified().ok()?.elapsed().ok());
        let dead = place_of(&admin).is_none() && age.is_some_and(|age| age > LONG);
        if ours || dead {
            log::warn!("{} was left half made by a git that died, and is removed", admin.display());
            if let Err(error) = destroy::remove_dir(&admin) {
                log::warn!("cannot remove {}: {error}", admin.display());
            }
        }
    }
}

/// Whether a worktree there is ours: it lies below the home of a project, beside its notes.
pub(super) fn is_our_place(tree: &Path) -> bool {
    let Some(dir) = tree.parent() else { return false };
    let kind = dir.file_name().is_some_and(|name| name == "wt" || name == "merge" || name == "train");
    kind && dir.parent().is_some_and(|home| home.join("tasks").is_dir() || home.join("merges").is_dir())
}

/// Where the `.git` of a linked worktree leads; `None` when it is no such file.
pub(super) fn link_of(tree: &Path) -> Option<PathBuf> {
    let link = tree.join(".git");
    if !fs::symlink_metadata(&link).ok()?.is_file() {
        return None;
    }
    tree.join(files::named::text(&link).ok()?.strip_prefix("gitdir: ")?.trim_end()).canonicalize().ok()
}

fn listed(git: &Git, path: PathBuf, admin: PathBuf) -> Listed {
    let head = files::named::text(admin.join("HEAD")).unwrap_or_default();
    let mut branch = head.trim_end().strip_prefix("ref: refs/heads/").map(String::from);
    if branch.as_deref() == Some(".invalid") {
        // Its refs are in tables that only git reads.
        let asked = git.moved_to(&path, &admin).and_then(|git| git.call(&["symbolic-ref", "-q", "HEAD"]));
        branch = asked.ok().and_then(|(_, name, _)| name.strip_prefix("refs/heads/").map(String::from));
    }
    let locked = files::named::text(admin.join("locked")).ok().map(|reason| reason.trim_end().to_owned());
    Listed { path, admin, branch, locked }
}

/// The top of the main checkout; `None` for a bare repository.
fn main_checkout(git: &Git, common: &Path) -> Result<Option<PathBuf>, GitError> {
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
