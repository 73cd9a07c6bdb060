//! The private directories that git keeps of its worktrees, read as files: without git, which trusts them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use oodatcaa_sys::files;

/// Returns the private directories, in the order of their names.
pub(super) fn admins(common: &Path) -> Vec<PathBuf> {
    let dir = common.join("worktrees");
    files::named::directories(&dir).map(|name| dir.join(name)).collect()
}

/// Returns the private directory that names this worktree, however much of it was made.
pub(super) fn admin_for(common: &Path, tree: &Path) -> Option<PathBuf> {
    admins(common).into_iter().find(|admin| place_of(admin).as_deref() == Some(tree))
}

/// Returns where the worktree of a private directory should lie.
pub(super) fn place_of(admin: &Path) -> Option<PathBuf> {
    let link = files::named::text(admin.join("gitdir")).ok()?;
    Some(admin.join(link.trim_end()).parent()?.into())
}

/// Returns where the worktree of a private directory lies; `None` when it is half made.
pub(super) fn top_of(admin: &Path) -> Option<PathBuf> {
    let word = |name: &str| files::named::text(admin.join(name)).ok().filter(|text| !text.trim().is_empty());
    word("HEAD")?;
    word("commondir")?;
    word("gitdir")?;
    place_of(admin)
}

/// Tells whether a private directory names this worktree.
pub(super) fn names(admin: &Path, tree: &Path) -> bool {
    place_of(admin)
        .and_then(|place| place.canonicalize().ok())
        .is_some_and(|place| tree.canonicalize().ok() == Some(place))
}

/// Tells whether git finds this repository from a private directory, or from the repository itself.
pub(super) fn shares(admin: &Path, common: &Path) -> bool {
    // A `commondir` in the repository itself would send git to another one.
    if admin == common {
        return common.join("commondir").symlink_metadata().is_err();
    }
    let text = files::named::text(admin.join("commondir")).unwrap_or_default();
    !text.trim().is_empty() && admin.join(text.trim_end()).canonicalize().ok() == common.canonicalize().ok()
}

/// Returns the private directories that a git which died left half made: then git itself can make no worktree any more.
pub(super) fn half_made(common: &Path) -> Vec<PathBuf> {
    admins(common).into_iter().filter(|admin| top_of(admin).is_none()).collect()
}

/// Tells whether a worktree there is ours: it lies below the home of a project, beside its notes.
pub(super) fn is_our_place(tree: &Path) -> bool {
    let Some(dir) = tree.parent() else { return false };
    let kind = dir.file_name().is_some_and(|name| name == "wt" || name == "merge");
    kind && dir.parent().is_some_and(|home| home.join("tasks").is_dir() || home.join("merges").is_dir())
}

/// Returns where the `.git` of a linked worktree leads; `None` when it is no such file.
pub(super) fn link_of(tree: &Path) -> Option<PathBuf> {
    let link = tree.join(".git");
    if !fs::symlink_metadata(&link).ok()?.is_file() {
        return None;
    }
    tree.join(files::named::text(&link).ok()?.strip_prefix("gitdir: ")?.trim_end()).canonicalize().ok()
}
