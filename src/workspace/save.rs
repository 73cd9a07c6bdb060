//! Keeping work safe: everything that is not committed, as a commit under a ref of ours (R23).
//!
//! Neither the index nor the files are touched, so it may happen while an agent works. What was saved before
//! stays reachable from what is saved later.

use super::{
    branch,
    fault::WorkspaceError,
    git::Git,
    snapshot::{Checkout, Snapshot},
};
use crate::domain::{TaskId, Token};

/// Who makes the commits that are only there to keep something.
const KEEPER: (&str, &str) = ("oodatcaa", "oodatcaa@oodatcaa.invalid");

/// The ref of an attempt's saved work.
pub fn wip_ref(task: &TaskId, token: Token) -> String {
    format!("refs/oodatcaa/wip/{}/{token}", branch::component(task))
}

/// The ref of what an attempt began with.
pub fn start_ref(task: &TaskId, token: Token) -> String {
    format!("refs/oodatcaa/start/{}/{token}", branch::component(task))
}

/// Makes a commit of a tree; nothing points to it yet.
pub(super) fn commit_tree(git: &Git, tree: &str, parents: &[&str], message: &str) -> Result<String, WorkspaceError> {
    let git = ["AUTHOR", "COMMITTER"].iter().fold(git.clone(), |git, who| {
        git.with_env(&format!("GIT_{who}_NAME"), KEEPER.0).with_env(&format!("GIT_{who}_EMAIL"), KEEPER.1)
    });
    let mut args = vec!["commit-tree", tree, "-m", message];
    parents.iter().for_each(|parent| args.extend(["-p", parent]));
    Ok(git.run(&args)?)
}

/// The commit that a ref of ours points to.
pub(super) fn read(git: &Git, name: &str) -> Result<Option<String>, WorkspaceError> {
    let (code, commit, _) = git.call(&["rev-parse", "-q", "--verify", &format!("{name}^{{commit}}")])?;
    Ok((code == 0).then_some(commit))
}

/// Saves what a checkout holds beyond its commits, or commits that no branch holds. Answers the commit, `None`
/// when there is nothing to save.
pub(super) fn save(
    checkout: &Checkout,
    seen: &Snapshot,
    branch: Option<&str>,
    task: &TaskId,
    token: Token,
) -> Result<Option<String>, WorkspaceError> {
    let git = &checkout.git;
    let head = checkout.head()?;
    let clean = checkout.tree_of(head.as_deref())? == seen.tree;
    if clean && (head.is_none() || holds(checkout, branch, head.as_deref().unwrap_or_default())?) {
        return Ok(None);
    }
    let name = wip_ref(task, token);
    let before = read(git, &name)?;
    if let Some(before) = &before
        && checkout.tree_of(Some(before))? == seen.tree
        && read(git, &format!("{before}^1"))? == head
    {
        return Ok(Some(before.clone()));
    }
    let parents: Vec<&str> = head.iter().chain(&before).map(String::as_str).collect();
    let message = format!("oodatcaa: work of {task}, attempt {token}, that was not committed");
    let commit = commit_tree(git, &seen.tree, &parents, &message)?;
    let old = before.unwrap_or_default();
    git.run(&["update-ref", "-m", "oodatcaa: save", &name, &commit, &old])?;
    Ok(Some(commit))
}

/// Whether a branch holds a commit.
fn holds(checkout: &Checkout, branch: Option<&str>, commit: &str) -> Result<bool, WorkspaceError> {
    if checkout.current()?.is_some() {
        return Ok(true);
    }
    let Some(branch) = branch else { return Ok(true) };
    let name = format!("refs/heads/{branch}");
    Ok(read(&checkout.git, &name)?.is_some() && checkout.git.asks(&["merge-base", "--is-ancestor", commit, &name])?)
}
