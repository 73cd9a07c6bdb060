//! What comes after the landing, and what a killed merge left: finished when the target (or the
//! remote) has it, undone when not.

use std::path::Path;

use super::{
    Ended, GateFailure, Gates, MergeError, Merged, TRIES, batch, build, checkout, land,
    land::{IndexLock, RefChange, Repo},
    remote,
    steps::{Log, Step, point},
    tree::Tree,
    verify,
};
use oodatcaa_core::{TaskId, Token};

/// How long an index that somebody else has locked is waited for.
const INDEX_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// What became of a task on a merge that was killed.
#[derive(Debug)]
pub struct Recovered {
    /// The task.
    pub task: TaskId,
    /// The attempt that was killed.
    pub token: Token,
    /// The branch that it was merging.
    pub branch: String,
    /// Where that stood.
    pub source: String,
    /// What became of it.
    pub what: What,
}

/// How a killed merge was recovered.
#[derive(Debug)]
pub enum What {
    /// The target has it.
    Finished(Merged),
    /// The gates after the merge were red, and the merge was reverted.
    Reverted(MergeError),
    /// Nothing of it is left; it can be integrated anew.
    Undone,
}

/// Finishes or undoes every merge in this directory that nobody drives any more. The gates are asked
/// only after the merge, if that was not done yet. One that cannot be recovered keeps none of the others from it.
pub fn recover(repo: &Path, dir: &Path, gates: &mut dyn Gates) -> Result<Vec<Recovered>, MergeError> {
    recover_for(repo, dir, gates, &|_| true)
}

/// Recovers in the same way where nobody takes a task's result: that a merge was taken back is kept for the next one who has the
/// task, else it would be merged again only to be taken back again. That one was merged shows by itself.
pub fn mend(repo: &Path, dir: &Path, gates: &mut dyn Gates) -> Result<Vec<Recovered>, MergeError> {
    recover_for(repo, dir, gates, &|_| false)
}

/// Recovers as [`recover`] does; `listens` says whose results are taken.
pub(super) fn recover_for(
    repo: &Path,
    dir: &Path,
    gates: &mut dyn Gates,
    listens: &dyn Fn(&str) -> bool,
) -> Result<Vec<Recovered>, MergeError> {
    let mut found = Vec::new();
    let mut failed = None;
    for mut log in Log::orphans(dir)? {
        let repo = Repo::open(repo, &super::keep(dir), &log.state.author)?.knowing(log.state.remotes.as_deref());
        if log.state.common != repo.common {
            if log.state.common.exists() {
                // A merge of another repository.
                continue;
            }
            // The repository has been moved since.
            log.moved_to(&repo.common);
        }
        if let Err(error) = one(&repo, log, gates, listens, &mut found) {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(found), Err)
}

fn one(
    repo: &Repo,
    mut log: Log,
    gates: &mut dyn Gates,
    listens: &dyn Fn(&str) -> bool,
    found: &mut Vec<Recovered>,
) -> Result<(), MergeError> {
    let entries = log.state.entries.clone();
    let mut tell = |task: &TaskId, what| {
        let entry = entries.iter().find(|entry| entry.task == task.as_str());
        let word = |read: fn(&super::steps::MergeEntry) -> &String| entry.map(read).cloned().unwrap_or_default();
        let (branch, source) = (word(|entry| &entry.branch), word(|entry| &entry.source));
        let token = Token(entry.map_or(0, |entry| entry.token));
        found.push(Recovered { task: task.clone(), token, branch, source, what });
    };
    mend_landing(repo, &mut log)?;
    let mut behind = None;
    let landed = log.state.step >= Step::Landed;
    if log.state.red.is_none() && !landed {
        let pushed = pushed(repo, &log)?;
        if let (true, Some(top)) = (pushed, log.state.top().map(str::to_owned)) {
            let from = repo.head(&log.state.target)?;
            behind = follow(repo, &mut log, &from, &top)?;
        } else {
            undo(repo, log)?;
            for entry in &entries {
                tell(&batch::task(entry), What::Undone);
            }
            return Ok(());
        }
    }
    let refused: Vec<(TaskId, String)> =
        entries.iter().map(batch::task).filter_map(|task| gates.unwanted(&task).map(|why| (task, why))).collect();
    if let (Some((task, why)), None) = (refused.first(), &log.state.red) {
        log.state.red = Some((String::new(), format!("{task}: {why}")));
        log.state.unwanted = true;
        log.save(Step::Reverting)?;
    }
    let unwanted = log.state.unwanted;
    let was_kept = log.state.step == Step::Reverted;
    let ended = settle(repo, &mut log, None, gates, behind.as_deref())?;
    if log.state.step == Step::Reverted && !unwanted && !log.state.entries.iter().any(|entry| listens(&entry.task)) {
        if was_kept {
            return Ok(());
        }
        batch::sweep(repo, &log)?;
    } else {
        batch::clean(repo, log)?;
    }
    for (task, result) in ended {
        match result {
            Ok(merged) => tell(&task, What::Finished(merged)),
            Err(MergeError::RedAfter { .. }) if unwanted => {
                let why = refused.iter().find(|(other, _)| *other == task).map(|(_, why)| why.clone());
                // Those who came along are merged anew.
                let what = |why| What::Reverted(MergeError::Unwanted { task: task.clone(), why });
                tell(&task, why.map_or(What::Undone, what));
            }
            Err(error) => tell(&task, What::Reverted(error)),
        }
    }
    Ok(())
}

/// Brings the target's checkout to where the target is, when the move was cut short.
fn mend_landing(repo: &Repo, log: &mut Log) -> Result<(), MergeError> {
    let Some(landing) = log.state.landing.clone() else { return Ok(()) };
    let _lock = repo.lock()?;
    let head = repo.head(&log.state.target)?;
    let moved = repo.git.asks(&["merge-base", "--is-ancestor", &landing.to, &head])?;
    for checkout in landing.checkouts.iter().filter(|checkout| checkout.path.is_dir()) {
        land::settle_scratch(checkout)?;
        let lock = IndexLock::take(checkout, &log.state.id, INDEX_WAIT)?;
        let (from, to) = if moved { (&landing.from, &landing.to) } else { (&landing.to, &landing.from) };
        checkout::mend(repo, checkout, from, to)?;
        if moved { lock.keep()? } else { lock.give_back()? }
    }
    log.state.landing = None;
    log.save(if moved { Step::Landed } else { Step::Green })
}

/// Returns `true` when the remote has the result, although we did not live to see it.
fn pushed(repo: &Repo, log: &Log) -> Result<bool, MergeError> {
    let (Some(name), Some(top)) = (&log.state.push, log.state.top()) else { return Ok(false) };
    if log.state.step < Step::Green {
        return Ok(false);
    }
    match remote::head(repo, name, &log.state.target, &log.state.id)? {
        Some(head) => Ok(repo.git.asks(&["merge-base", "--is-ancestor", top, &head])?),
        None => Ok(false),
    }
}

/// Takes away everything of a merge whose target did not move.
fn undo(repo: &Repo, log: Log) -> Result<(), MergeError> {
    // A transaction that was cut short may have made some of its refs.
    for entry in &log.state.entries {
        let merged = verify::merged_ref(&entry.branch);
        if verify::read_ref(&repo.git, &merged)?.as_deref() == Some(entry.commit.as_str()) {
            repo.git.delete_ref(&merged, &entry.commit)?;
        }
        if let Some(name) = entry.before.as_ref().filter(|_| log.state.step >= Step::Green) {
            let name = format!("refs/tags/{name}");
            let (code, object, _) = repo.git.call(&["show-ref", "--verify", "-s", &name])?;
            if code == 0 && verify::read_ref(&repo.git, &name)?.as_deref() == Some(entry.base.as_str()) {
                repo.git.delete_ref(&name, &object)?;
            }
        }
    }
    batch::clean(repo, log)
}

/// Moves the local branch to what the remote has already; says why not, if it cannot be.
pub(super) fn follow(repo: &Repo, log: &mut Log, from: &str, top: &str) -> Result<Option<String>, MergeError> {
    let mut from = from.to_owned();
    for _ in 0..TRIES {
        if repo.git.asks(&["merge-base", "--is-ancestor", top, &from])? {
            log.save(Step::Landed)?;
            return Ok(None);
        }
        if !repo.git.asks(&["merge-base", "--is-ancestor", &from, top])? {
            break;
        }
        let refs = batch::landing_refs(repo, &log.state)?;
        match land::land(repo, log, (&from, top), &refs, &mut land::open_fence) {
            Ok(()) => return Ok(None),
            Err(MergeError::MovedOn) => from = repo.head(&log.state.target)?,
            Err(error @ MergeError::Busy { .. }) => {
                log.save(Step::Landed)?;
                return Ok(Some(error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    log.save(Step::Landed)?;
    Ok(Some(format!("{} here has commits that the remote has not; pull", log.state.target)))
}

/// Goes from the landing to the end: the gates after the merge, the revert if they are red, the tags.
pub(super) fn settle(
    repo: &Repo,
    log: &mut Log,
    tree: Option<&Tree>,
    gates: &mut dyn Gates,
    behind: Option<&str>,
) -> Result<Ended, MergeError> {
    let tasks: Vec<TaskId> = log.state.entries.iter().map(batch::task).collect();
    if let (Some(red), Step::Reverted) = (&log.state.red, log.state.step) {
        let revert = repo.head(&log.state.target).map_err(|error| error.to_string());
        return Ok(taken_back(tasks, red, &revert));
    }
    let own;
    let tree = match tree {
        Some(tree) => tree,
        None if log.state.step < Step::Checked => {
            own = fresh_tree(repo, log)?;
            &own
        }
        None => return tag(repo, log, behind),
    };
    if log.state.red.is_none() && log.state.step < Step::Checked {
        match gates.after(&tree.project()?, &tasks) {
            Ok(()) => {}
            Err(GateFailure::Stopped) => return Err(MergeError::Stopped),
            Err(GateFailure::Red { gate, reason }) => {
                log.state.red = Some((gate, reason));
                log.save(Step::Reverting)?;
            }
        }
    } else if log.state.red.is_some() && log.state.step == Step::Landed {
        // It was the revert that landed.
        log.save(Step::Reverted)?;
    }
    let Some((gate, reason)) = log.state.red.clone() else {
        log.save(Step::Checked)?;
        return tag(repo, log, behind);
    };
    let outcome = match log.state.step {
        Step::Reverted => repo.head(&log.state.target).map_err(|error| error.to_string()),
        _ => take_back(repo, log, tree, &(gate.clone(), reason.clone())).map_err(|error| error.to_string()),
    };
    Ok(taken_back(tasks, &(gate, reason), &outcome))
}

/// Ends tasks whose merge was, or should have been, taken back.
fn taken_back(tasks: Vec<TaskId>, (gate, reason): &(String, String), revert: &Result<String, String>) -> Ended {
    let (gate, reason) = (gate.clone(), reason.clone());
    let error = || match revert {
        Ok(revert) => MergeError::RedAfter { gate: gate.clone(), reason: reason.clone(), revert: revert.clone() },
        Err(why) => {
            MergeError::NotReverted { gate: gate.clone(), reason: reason.clone(), why: format!("failed to {why}") }
        }
    };
    tasks.into_iter().map(|task| (task, Err(error()))).collect()
}

/// Makes a worktree at the result, in the place of the one that the killed merge had.
fn fresh_tree(repo: &Repo, log: &mut Log) -> Result<Tree, MergeError> {
    let Some(path) = log.state.tree.clone() else {
        return Err(MergeError::Place { place: repo.common.clone() });
    };
    super::tree::remove(repo, &path, &log.state.id)?;
    let top = log.state.top().unwrap_or_default().to_owned();
    Tree::add(repo, &path, &top)
}

/// Reverts the merge on the target, wherever that has moved since.
fn take_back(repo: &Repo, log: &mut Log, tree: &Tree, red: &(String, String)) -> Result<String, MergeError> {
    for _ in 0..TRIES {
        let from = repo.head(&log.state.target)?;
        let push = log.state.push.clone();
        let base = batch::onto(repo, push.as_deref(), &log.state.target, &from, &log.state.id)?;
        let commits = build::revert(tree, &log.state.entries, &base, red)?;
        let top = commits.last().cloned().unwrap_or_else(|| base.clone());
        if let Some(name) = &push
            && !remote::push(repo, name, &log.state.target, &top)?.end(name)?
        {
            continue;
        }
        let mut refs = Vec::new();
        for (entry, commit) in log.state.entries.iter().rev().zip(&commits) {
            refs.push(RefChange::Set(verify::reverted_ref(&entry.branch), commit.clone()));
            refs.push(RefChange::Remove(verify::merged_ref(&entry.branch)));
            refs.extend(entry.after.iter().map(|tag| RefChange::Remove(format!("refs/tags/{tag}"))));
        }
        match land::land(repo, log, (&from, &top), &refs, &mut land::open_fence) {
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
fn tag(repo: &Repo, log: &mut Log, behind: Option<&str>) -> Result<Ended, MergeError> {
    for at in 0..log.state.entries.len() {
        if !log.state.tags {
            break;
        }
        let entry = log.state.entries[at].clone();
        if let Some(name) = &entry.after
            && verify::read_ref(&repo.git, &format!("refs/tags/{name}"))?.as_deref() == Some(entry.commit.as_str())
        {
            continue;
        }
        let message = format!("{} is in {}", build::subject_of(&entry.task, &entry.title), log.state.target);
        for _ in 0..TRIES {
            let name = build::free_tag(&repo.git, &build::after_name(&entry.task))?;
            log.state.entries[at].after = Some(name.clone());
            log.write()?;
            let object = build::tag_object(&repo.git, &name, &entry.commit, &log.state.author, &message)?;
            let create = format!("create refs/tags/{name} {object}\n");
            if repo.git.clone().with_input(create).run(&["update-ref", "--stdin"]).is_ok() {
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
                behind: behind.map(str::to_owned),
            };
            (batch::task(entry), Ok(merged))
        })
        .collect())
}
