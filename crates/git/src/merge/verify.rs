//! Proof by content: whether a target holds a branch, by ancestry, patch id and our own record.

use std::{collections::BTreeSet, path::Path};

use super::{Author, MergeError, MergeRequest, Result, repo::Repo};
use crate::{
    Config, WorkspaceError,
    git::{Git, GitError, Keep},
    repo::Repository,
};
use oodatcaa_core::layout::Layout;

/// Of a diff that decides by content: no program of the repository, nothing folded together.
const DIFF: &[&str] =
    &["-p", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index", "--binary"];

/// Returns `true` when every patch of the branch is in the target.
///
/// That is so when the target descends from the branch, when each of its patches has its like there
/// by patch id, when all of them together have (a squash), or when the target's own line has the
/// commit that merged exactly this head of the branch. A merge that was reverted is still held by
/// this measure.
pub fn holds(repo: &Path, target: &str, branch: &str) -> Result<bool> {
    let repo = Repo::open(repo, &Keep::Shortly, &Author::ourselves())?;
    let (target, branch) = (repo.head(target)?, repo.head(branch)?);
    held(&repo.git, &target, &branch)
}

/// Returns the same for commits, for the rest of the workspace.
pub(crate) fn holds_commit(git: &Git, target: &str, source: &str) -> Result<bool, WorkspaceError> {
    held(git, target, source).map_err(|error| match error {
        MergeError::Workspace(error) => error,
        other => WorkspaceError::NoBase(other.to_string()),
    })
}

/// Returns the same for commits.
pub(super) fn held(git: &Git, target: &str, source: &str) -> Result<bool> {
    Ok(git.is_ancestor(source, target)?
        || by_patches(git, target, source)?.is_some()
        || record(git, target, source)?.is_some())
}

/// Finds by patch ids alone the newest commit of the target that has the branch's last patch, or all of them together.
pub(super) fn by_patches(git: &Git, target: &str, source: &str) -> Result<Option<String>> {
    let merges = git.run(&["rev-list", "--count", "--merges", &format!("{target}..{source}")])?;
    let cherry = git.run(&["cherry", target, source])?;
    // `git cherry` leaves merges out, so with one in between it says nothing of the whole.
    let all = merges == "0" && !cherry.lines().any(|line| line.starts_with('+'));
    let Some(base) = git.fork(target, source)? else { return Ok(None) };
    let mut mine = BTreeSet::from([patch_id(git, &base, source)?]);
    if all {
        for commit in cherry.lines().filter_map(|line| line.strip_prefix("- ")) {
            mine.insert(patch_id(git, &format!("{commit}^1"), commit)?);
        }
    }
    // A commit without a change proves nothing.
    mine.remove("");
    if mine.is_empty() {
        return Ok(None);
    }
    let log = ["log", "--no-merges", "--no-show-signature", "--format=commit %H"];
    let ids = patch_ids(git, &[&log, DIFF, &[&format!("{base}..{target}")]].concat())?;
    let mut pairs = ids.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.find(|(id, _)| mine.contains(*id)).map(|(_, commit)| commit.trim().to_owned()))
}

/// Returns the stable patch id of all that changed between two commits; empty when nothing did.
pub(super) fn patch_id(git: &Git, from: &str, to: &str) -> Result<String> {
    let ids = patch_ids(git, &[&["diff-tree", "-r"], DIFF, &[from, to]].concat())?;
    Ok(ids.split(' ').next().unwrap_or_default().to_owned())
}

/// Returns the stable patch ids of what a command of git shows, one a line, each with its commit.
fn patch_ids(git: &Git, shows: &[&str]) -> Result<String> {
    let shown = git.bytes(shows)?;
    Ok(git.clone().with_input(shown).run(&["patch-id", "--stable"])?)
}

/// Returns the commit on the target's own line by which we merged this head of a branch.
pub(super) fn record(git: &Git, target: &str, source: &str) -> Result<Option<String>> {
    // The words of an agent come in by the second parent, or were cleaned when they were replayed.
    let grep = format!("--grep=Oodatcaa-Source: {source}");
    let found = git.run(&["log", "--first-parent", "--fixed-strings", &grep, "-n", "1", "--format=%H", target])?;
    Ok(Some(found).filter(|commit| !commit.is_empty()))
}

/// Returns the commit by which the order's present content is in the target already, if it is.
pub(super) fn already(git: &Git, target: &str, order: &MergeRequest, source: &str) -> Result<Option<String>> {
    if reverted(git, order, target)?.is_some() {
        return Ok(None);
    }
    let ours = |commit: &str| -> Result<bool> {
        let sources = trailers(git, commit, "Oodatcaa-Source")?;
        let tasks = trailers(git, commit, "Oodatcaa-Task")?;
        Ok(sources.contains(source) && tasks.contains(order.task.as_str()))
    };
    let merged = match git.commit(&merged_ref(&order.branch))? {
        Some(commit) if git.is_ancestor(&commit, target)? => Some(commit),
        _ => None,
    };
    for commit in merged.iter().chain(&record(git, target, source)?) {
        if ours(commit)? {
            return Ok(Some(commit.clone()));
        }
    }
    if git.is_ancestor(source, target)? {
        // Its branch may have gone after the merge, and been made anew for nobody knew of it.
        if merged.is_some() {
            return Ok(merged);
        }
        // On the target's own line it is where the branch began; beside it, somebody merged it.
        let line = git.run(&["rev-list", "--first-parent", target])?;
        if line.lines().any(|commit| commit == source) {
            return Err(MergeError::Empty(order.branch.clone()));
        }
        let since = git.run(&["rev-list", "--first-parent", "--ancestry-path", &format!("{source}..{target}")])?;
        return Ok(since.lines().last().map(str::to_owned));
    }
    if let Some(fork) = git.fork(target, source)?
        && git.asks(&["diff-tree", "-r", "--quiet", &fork, source])?
    {
        // Commits alone are no change.
        return Err(MergeError::Empty(order.branch.clone()));
    }
    by_patches(git, target, source)
}

/// Returns the revert of the last merge of the order's branch, if the target has it, and the heads that it took back.
pub(super) fn reverted(git: &Git, order: &MergeRequest, target: &str) -> Result<Option<(String, BTreeSet<String>)>> {
    let Some(commit) = git.commit(&reverted_ref(&order.branch))? else { return Ok(None) };
    if !git.is_ancestor(&commit, target)? {
        return Ok(None);
    }
    let sources = trailers(git, &commit, "Oodatcaa-Reverted-Source")?;
    Ok(Some((commit, sources)))
}

/// Tells whether one of these commits is in the history of another.
pub(super) fn any_in(git: &Git, commits: &BTreeSet<String>, of: &str) -> Result<bool> {
    for commit in commits {
        match git.is_ancestor(commit, of) {
            // One that is not there any more is in none.
            Ok(false) | Err(GitError::Failed(..)) => {}
            found => return Ok(found?),
        }
    }
    Ok(false)
}

fn trailers(git: &Git, commit: &str, key: &str) -> Result<BTreeSet<String>> {
    let message = git.run(&["log", "-1", "--no-show-signature", "--format=%B", commit])?;
    let wanted = format!("{key}: ");
    // Only the last paragraph holds trailers, and in ours every line is made by us.
    let last = message.trim_end().rsplit("\n\n").next().unwrap_or_default().to_owned();
    Ok(last.lines().filter_map(|line| line.strip_prefix(&wanted)).map(|value| value.trim().to_owned()).collect())
}

/// Returns the ref that says by which commit a branch was merged.
pub(super) fn merged_ref(branch: &str) -> String {
    format!("{MERGED}{}", branch_word(branch))
}

/// Returns the ref that says by which commit a branch's merge was taken back.
pub(super) fn reverted_ref(branch: &str) -> String {
    format!("{REVERTED}{}", branch_word(branch))
}

/// Forgets that a branch was merged or taken back: it begins anew.
pub fn forget(git: &Git, branch: &str) -> Result<(), crate::git::GitError> {
    for name in [merged_ref(branch), reverted_ref(branch)] {
        if let Some(old) = git.commit(&name)? {
            git.delete_ref(&name, &old)?;
        }
    }
    Ok(())
}

/// What a merge brought into its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landed {
    /// The target before it.
    pub from: String,
    /// And after it.
    pub to: String,
    /// The head of the branch that was merged.
    pub source: Option<String>,
}

/// Returns how a branch was merged, also when it is gone by now.
pub fn landed(git: &Git, branch: &str) -> Result<Option<Landed>> {
    let Some(to) = git.commit(&merged_ref(branch))? else { return Ok(None) };
    let source = trailers(git, &to, "Oodatcaa-Source")?.into_iter().next();
    let mut from = to.clone();
    // A replayed branch is several commits.
    while let Some(parent) = git.commit(&format!("{from}^1"))? {
        from = parent;
        if source
            .as_ref()
            .is_none_or(|source| !trailers(git, &from, "Oodatcaa-Source").is_ok_and(|all| all.contains(source)))
        {
            break;
        }
    }
    Ok(Some(Landed { from, to, source }))
}

/// Tells whether a commit by which something was merged is in a project's target, and was not taken back there since.
pub fn stands(layout: &Layout, config: &Config, commit: &str) -> Result<bool, WorkspaceError> {
    let Some(repo) = Repository::find(layout)? else { return Ok(false) };
    let (git, target) = (&repo.git, repo.base(config)?.commit);
    if git.commit(commit)?.is_none() || !git.is_ancestor(commit, &target)? {
        return Ok(false);
    }
    let grep = format!("--grep=Oodatcaa-Reverts: {commit}");
    let range = format!("{commit}..{target}");
    Ok(git.run(&["log", "--first-parent", "--fixed-strings", &grep, "-n", "1", "--format=%H", &range])?.is_empty())
}

const MERGED: &str = "refs/oodatcaa/merges/";
const REVERTED: &str = "refs/oodatcaa/reverts/";

/// Returns a branch's name as one part of the name of a ref.
fn branch_word(branch: &str) -> String {
    branch.replace('%', "%25").replace('/', "%2F")
}

/// Returns the branches that were merged or taken back, whether they are still there or not.
pub(crate) fn used_branches(git: &Git) -> Result<BTreeSet<String>, crate::git::GitError> {
    let listed = git.run(&["for-each-ref", "--format=%(refname:lstrip=3)", MERGED, REVERTED])?;
    Ok(listed.lines().map(|word| word.replace("%2F", "/").replace("%25", "%")).collect())
}
