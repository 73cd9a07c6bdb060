//! Proof by content: whether a target holds a branch, by ancestry, patch id and our own record.

use std::{collections::BTreeSet, path::Path};

use super::{Author, Order, TrainError, land::Repo, safe};
use crate::workspace::git::{Git, Keep};

/// Of a diff that decides by content: no program of the repository, nothing folded together.
const DIFF: &[&str] =
    &["-p", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index", "--binary"];

/// `true` when every patch of the branch is in the target.
///
/// That is so when the target descends from the branch, when each of its patches has its like there
/// by patch id, when all of them together have (a squash), or when the target's own line has the
/// commit that merged exactly this head of the branch. A merge that was reverted is still held by
/// this measure.
pub fn holds(repo: &Path, target: &str, branch: &str) -> Result<bool, TrainError> {
    let repo = Repo::open(repo, &Keep::Shortly, &Author { name: String::new(), email: String::new() })?;
    let (target, branch) = (repo.head(target)?, repo.head(branch)?);
    held(&repo.git, &target, &branch)
}

/// The same for commits.
pub(super) fn held(git: &Git, target: &str, source: &str) -> Result<bool, TrainError> {
    if git.asks(&["merge-base", "--is-ancestor", source, target])? {
        return Ok(true);
    }
    if by_patches(git, target, source)?.is_some() {
        return Ok(true);
    }
    Ok(record(git, target, source)?.is_some())
}

/// By patch ids alone: the newest commit of the target that has the branch's last patch, or all of them together.
pub(super) fn by_patches(git: &Git, target: &str, source: &str) -> Result<Option<String>, TrainError> {
    let merges = git.run(&["rev-list", "--count", "--merges", &format!("{target}..{source}")])?;
    let cherry = git.run(&["cherry", target, source])?;
    let all = merges == "0" && !cherry.lines().any(|line| line.starts_with('+'));
    let (code, base, _) = git.call(&["merge-base", target, source])?;
    if code != 0 {
        return Ok(None);
    }
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
    let mut args = vec!["log", "--no-merges", "--no-show-signature", "--format=commit %H"];
    args.extend(DIFF);
    let range = format!("{base}..{target}");
    args.push(&range);
    let theirs = git.bytes(&args)?;
    let ids = git.clone().with_input(theirs).run(&["patch-id", "--stable"])?;
    let mut pairs = ids.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.find(|(id, _)| mine.contains(*id)).map(|(_, commit)| commit.trim().to_owned()))
}

/// The stable patch id of all that changed between two commits; empty when nothing did.
pub(super) fn patch_id(git: &Git, from: &str, to: &str) -> Result<String, TrainError> {
    let mut args = vec!["diff-tree", "-r"];
    args.extend(DIFF);
    args.extend([from, to]);
    let diff = git.bytes(&args)?;
    let ids = git.clone().with_input(diff).run(&["patch-id", "--stable"])?;
    Ok(ids.split(' ').next().unwrap_or_default().to_owned())
}

/// The commit on the target's own line by which we merged this head of a branch.
pub(super) fn record(git: &Git, target: &str, source: &str) -> Result<Option<String>, TrainError> {
    // The words of an agent come in by the second parent, or were cleaned when they were replayed.
    let grep = format!("--grep=Oodatcaa-Source: {source}");
    let found = git.run(&["log", "--first-parent", "--fixed-strings", &grep, "-n", "1", "--format=%H", target])?;
    Ok(Some(found).filter(|commit| !commit.is_empty()))
}

/// The commit by which the order's present content is in the target already, if it is.
pub(super) fn already(git: &Git, target: &str, order: &Order, source: &str) -> Result<Option<String>, TrainError> {
    if reverted(git, order, target)?.is_some() {
        return Ok(None);
    }
    let ours = |commit: &str| -> Result<bool, TrainError> {
        let sources = trailers(git, commit, "Oodatcaa-Source")?;
        let tasks = trailers(git, commit, "Oodatcaa-Task")?;
        Ok(sources.contains(source) && tasks.contains(order.task.as_str()))
    };
    if let Some(commit) = read_ref(git, &merged_ref(order.task.as_str()))?
        && git.asks(&["merge-base", "--is-ancestor", &commit, target])?
        && ours(&commit)?
    {
        return Ok(Some(commit));
    }
    if let Some(commit) = record(git, target, source)?
        && ours(&commit)?
    {
        return Ok(Some(commit));
    }
    if git.asks(&["merge-base", "--is-ancestor", source, target])? {
        // Its branch may have gone after the merge, and been made anew for nobody knew of it.
        if let Some(commit) = read_ref(git, &merged_ref(order.task.as_str()))?
            && git.asks(&["merge-base", "--is-ancestor", &commit, target])?
        {
            return Ok(Some(commit));
        }
        // On the target's own line it is where the branch began; beside it, somebody merged it.
        let line = git.run(&["rev-list", "--first-parent", target])?;
        if line.lines().any(|commit| commit == source) {
            return Err(TrainError::Empty { branch: order.branch.clone() });
        }
        let since = git.run(&["rev-list", "--first-parent", "--ancestry-path", &format!("{source}..{target}")])?;
        return Ok(since.lines().last().map(str::to_owned));
    }
    let (code, fork, _) = git.call(&["merge-base", target, source])?;
    if code == 0 && git.asks(&["diff-tree", "-r", "--quiet", &fork, source])? {
        // Commits alone are no change.
        return Err(TrainError::Empty { branch: order.branch.clone() });
    }
    by_patches(git, target, source)
}

/// The revert of this task's last merge, if the target has it, and the heads that it took back.
pub(super) fn reverted(
    git: &Git,
    order: &Order,
    target: &str,
) -> Result<Option<(String, BTreeSet<String>)>, TrainError> {
    let Some(commit) = read_ref(git, &reverted_ref(order.task.as_str()))? else { return Ok(None) };
    if !git.asks(&["merge-base", "--is-ancestor", &commit, target])? {
        return Ok(None);
    }
    let sources = trailers(git, &commit, "Oodatcaa-Reverted-Source")?;
    Ok(Some((commit, sources)))
}

fn trailers(git: &Git, commit: &str, key: &str) -> Result<BTreeSet<String>, TrainError> {
    let message = git.run(&["log", "-1", "--no-show-signature", "--format=%B", commit])?;
    let wanted = format!("{key}: ");
    // Only the last paragraph holds trailers, and in ours every line is made by us.
    let last = message.trim_end().rsplit("\n\n").next().unwrap_or_default().to_owned();
    Ok(last.lines().filter_map(|line| line.strip_prefix(&wanted)).map(|value| value.trim().to_owned()).collect())
}

/// What a ref points to, if it is there.
pub(super) fn read_ref(git: &Git, name: &str) -> Result<Option<String>, TrainError> {
    let (code, out, _) = git.call(&["rev-parse", "-q", "--verify", &format!("{name}^{{commit}}")])?;
    Ok((code == 0 && !out.is_empty()).then_some(out))
}

/// The ref that says by which commit a task was merged.
pub(super) fn merged_ref(task: &str) -> String {
    format!("refs/oodatcaa/merged/{}", safe::ref_word(task))
}

/// The ref that says by which commit a task's merge was taken back.
pub(super) fn reverted_ref(task: &str) -> String {
    format!("refs/oodatcaa/reverted/{}", safe::ref_word(task))
}
