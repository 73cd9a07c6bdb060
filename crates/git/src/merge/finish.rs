//! The end of a merge, the same for one that lives and for one that was killed: the gates after the landing, the revert,
//! the tags, and what is cleaned away.

use super::{
    Ended, GateFailure, Gates, MergeError, Merged, Result, TRIES, build,
    land::{self, RefEdit},
    remote,
    repo::Repo,
    steps::{Log, Red, State, Step, point},
    tree::{self, Tree},
    verify,
};
use oodatcaa_core::TaskId;

/// Removes what a merge leaves beside its results.
pub(super) fn clean(repo: &Repo, log: Log) -> Result<()> {
    sweep(repo, &log)?;
    point(Step::Cleaned);
    log.close()
}

/// Removes the same, but for what it remembers.
pub(super) fn sweep(repo: &Repo, log: &Log) -> Result<()> {
    if let Some(path) = &log.state.tree {
        tree::remove(repo, path, &log.state.id)?;
    }
    remote::forget(repo, &log.state.id)
}

/// Returns what a result stands on: the target, or the remote's if that is further.
pub(super) fn onto(repo: &Repo, push: Option<&str>, target: &str, from: &str, id: &str) -> Result<String> {
    let Some(name) = push else { return Ok(from.into()) };
    // A remote without the branch gets it by the push.
    let Some(theirs) = remote::head(repo, name, target, id)? else { return Ok(from.into()) };
    if repo.git.is_ancestor(&theirs, from)? {
        Ok(from.into())
    } else if repo.git.is_ancestor(from, &theirs)? {
        Ok(theirs)
    } else {
        Err(MergeError::Diverged { target: target.into(), remote: name.into() })
    }
}

/// Returns the refs that move together with the target.
pub(super) fn landing_refs(repo: &Repo, state: &State) -> Result<Vec<RefEdit>> {
    let mut refs = Vec::new();
    for entry in &state.entries {
        refs.push(RefEdit::Set(verify::merged_ref(&entry.branch), entry.commit.clone()));
        refs.push(RefEdit::Remove(verify::reverted_ref(&entry.branch)));
        if let Some(name) = &entry.before {
            let message = format!("{} before {}", state.target, entry.task);
            let object = build::tag_object(&repo.git, name, &entry.base, &state.author, &message)?;
            refs.push(RefEdit::Create(format!("refs/tags/{name}"), object));
        }
    }
    Ok(refs)
}

/// Moves the local branch to what the remote has already; notes why it is behind, if it cannot be moved.
pub(super) fn follow(repo: &Repo, log: &mut Log, from: &str, top: &str) -> Result<()> {
    let mut from = from.to_owned();
    for _ in 0..TRIES {
        if repo.git.is_ancestor(top, &from)? {
            return log.save(Step::Landed);
        }
        if !repo.git.is_ancestor(&from, top)? {
            break;
        }
        let refs = landing_refs(repo, &log.state)?;
        match land::land(repo, log, &from, top, &refs, &mut land::open_fence) {
            Ok(()) => return Ok(()),
            Err(MergeError::MovedOn) => from = repo.head(&log.state.target)?,
            Err(error @ MergeError::Busy { .. }) => {
                log.behind = Some(error.to_string());
                return log.save(Step::Landed);
            }
            Err(error) => return Err(error),
        }
    }
    log.behind = Some(format!("{} here has commits that the remote lacks; pull", log.state.target));
    log.save(Step::Landed)
}

/// Goes from the landing to the end: the gates after the merge, the revert if they are red, the tags.
pub(super) fn settle(repo: &Repo, log: &mut Log, tree: Option<Tree>, gates: &mut dyn Gates) -> Result<Ended> {
    let tasks: Vec<TaskId> = log.state.entries.iter().map(|entry| entry.task.clone()).collect();
    if log.state.red.is_some() && log.state.step == Step::Landed {
        // It was the revert that landed.
        log.save(Step::Reverted)?;
    }
    if let (Some(red), Step::Reverted) = (&log.state.red, log.state.step) {
        return Ok(taken_back(tasks, red, repo.head(&log.state.target)));
    }
    // The gates have spoken; asked again they might say something else.
    if log.state.step >= Step::Checked {
        return tag(repo, log);
    }
    let tree = tree.map_or_else(|| fresh_tree(repo, log), Ok)?;
    if log.state.red.is_none() {
        match gates.after(&tree.project()?, &tasks) {
            Ok(()) => {
                log.save(Step::Checked)?;
                return tag(repo, log);
            }
            Err(GateFailure::Stopped) => return Err(MergeError::Stopped),
            Err(GateFailure::Red { gate, reason }) => {
                log.state.red = Some((gate, reason));
                log.save(Step::Reverting)?;
            }
        }
    }
    let red = log.state.red.clone().unwrap_or_default();
    let revert = take_back(repo, log, &tree, &red);
    Ok(taken_back(tasks, &red, revert))
}

/// Ends tasks whose merge was, or should have been, taken back.
fn taken_back(tasks: Vec<TaskId>, (gate, reason): &Red, revert: Result<String>) -> Ended {
    let revert = revert.map_err(|error| format!("failed to {error}"));
    let error = || match (gate.clone(), reason.clone(), revert.clone()) {
        (gate, reason, Ok(revert)) => MergeError::RedAfter { gate, reason, revert },
        (gate, reason, Err(why)) => MergeError::NotReverted { gate, reason, why },
    };
    tasks.into_iter().map(|task| (task, Err(error()))).collect()
}

/// Makes a worktree at the result, in the place of the one that the killed merge had.
fn fresh_tree(repo: &Repo, log: &Log) -> Result<Tree> {
    let path = log.state.tree.as_ref().ok_or_else(|| MergeError::Place(repo.common.clone()))?;
    tree::remove(repo, path, &log.state.id)?;
    Tree::add(repo, path, log.state.top().unwrap_or_default())
}

/// Reverts the merge on the target, wherever that has moved since.
fn take_back(repo: &Repo, log: &mut Log, tree: &Tree, red: &Red) -> Result<String> {
    for _ in 0..TRIES {
        let from = repo.head(&log.state.target)?;
        let push = log.state.push.clone();
        let base = onto(repo, push.as_deref(), &log.state.target, &from, &log.state.id)?;
        let commits = build::revert(tree, &log.state.entries, &base, red)?;
        let top = commits.last().cloned().unwrap_or_else(|| base.clone());
        if let Some(name) = &push
            && !remote::push(repo, name, &log.state.target, &top)?.end(name)?
        {
            continue;
        }
        let mut refs = Vec::new();
        // The last one was taken back first.
        for (entry, commit) in log.state.entries.iter().rev().zip(&commits) {
            refs.push(RefEdit::Set(verify::reverted_ref(&entry.branch), commit.clone()));
            refs.push(RefEdit::Remove(verify::merged_ref(&entry.branch)));
            refs.extend(entry.after.iter().map(|tag| RefEdit::Remove(format!("refs/tags/{tag}"))));
        }
        match land::land(repo, log, &from, &top, &refs, &mut land::open_fence) {
            Ok(()) => {
                log.save(Step::Reverted)?;
                return Ok(top);
            }
            Err(MergeError::MovedOn) => {}
            Err(error) => return Err(error),
        }
    }
    Err(MergeError::MovedOn)
}

/// Tags the results and tells of them.
fn tag(repo: &Repo, log: &mut Log) -> Result<Ended> {
    let tagged = if log.state.tags { log.state.entries.len() } else { 0 };
    for at in 0..tagged {
        let entry = log.state.entries[at].clone();
        if let Some(name) = &entry.after
            && repo.git.commit(&format!("refs/tags/{name}"))?.as_deref() == Some(entry.commit.as_str())
        {
            continue;
        }
        let message = format!("{} is in {}", build::subject_of(entry.task.as_str(), &entry.title), log.state.target);
        for _ in 0..TRIES {
            // Somebody may take the name between the question and the ref; then the next one is tried.
            let name = build::free_tag(&repo.git, &build::after_name(entry.task.as_str()))?;
            log.state.entries[at].after = Some(name.clone());
            log.write()?;
            let object = build::tag_object(&repo.git, &name, &entry.commit, &log.state.author, &message)?;
            if repo.git.change_refs(format!("create refs/tags/{name} {object}\n")).is_ok() {
                break;
            }
        }
    }
    if log.state.tags {
        log.save(Step::Tagged)?;
    } else {
        point(Step::Tagged);
    }
    let entries = &log.state.entries;
    Ok(entries
        .iter()
        .map(|entry| {
            let merged = Merged {
                commit: entry.commit.clone(),
                tag: entry.after.clone(),
                before: entry.before.clone(),
                patch_id: entry.patch.clone(),
                already: false,
                behind: log.behind.clone(),
            };
            (entry.task.clone(), Ok(merged))
        })
        .collect())
}
