//! What comes after the landing, and what a killed merge left: finished when the target (or the
//! remote) has it, undone when not.

use std::path::Path;

use super::{
    Gates, MergeError, Merged, Result, checkout, finish,
    land::{self, IndexLock},
    remote,
    repo::Repo,
    steps::{Log, MergeEntry, Step},
    verify,
};
use oodatcaa_core::{TaskId, Token};

/// What became of a task on a merge that was killed.
#[derive(Debug)]
pub struct Recovered {
    /// The task.
    pub task: TaskId,
    /// The attempt that was killed.
    pub token: Token,
    /// The branch that it was merging.
    pub branch: String,
    /// The place where that stood.
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
pub fn recover(repo: &Path, dir: &Path, gates: &mut dyn Gates) -> Result<Vec<Recovered>> {
    recover_for(repo, dir, gates, &|_| true)
}

/// Recovers in the same way where nobody takes a task's result: that a merge was taken back is kept for the next one who has the
/// task, else it would be merged again only to be taken back again. That one was merged shows by itself.
pub fn mend(repo: &Path, dir: &Path, gates: &mut dyn Gates) -> Result<Vec<Recovered>> {
    recover_for(repo, dir, gates, &|_| false)
}

/// Recovers as [`recover`] does; `listens` says whose results are taken.
pub(super) fn recover_for(
    repo: &Path,
    dir: &Path,
    gates: &mut dyn Gates,
    listens: &dyn Fn(&str) -> bool,
) -> Result<Vec<Recovered>> {
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
        // The first error is told; the others are met again by the next recovery.
        match one(&repo, log, gates, listens) {
            Ok(recovered) => found.extend(recovered),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    failed.map_or(Ok(found), Err)
}

fn one(repo: &Repo, mut log: Log, gates: &mut dyn Gates, listens: &dyn Fn(&str) -> bool) -> Result<Vec<Recovered>> {
    let entries = log.state.entries.clone();
    let told = |entry: MergeEntry, what| {
        let MergeEntry { task, token, branch, source, .. } = entry;
        Recovered { task, token, branch, source, what }
    };
    mend_landing(repo, &mut log)?;
    // From there on the target has it, and only forwards is possible.
    let landed = log.state.step >= Step::Landed;
    if log.state.red.is_none() && !landed {
        let pushed = pushed(repo, &log)?;
        if let (true, Some(top)) = (pushed, log.state.top().map(str::to_owned)) {
            let from = repo.head(&log.state.target)?;
            finish::follow(repo, &mut log, &from, &top)?;
        } else {
            undo(repo, log)?;
            return Ok(entries.into_iter().map(|entry| told(entry, What::Undone)).collect());
        }
    }
    let refused: Vec<(TaskId, String)> =
        entries.iter().filter_map(|entry| Some((entry.task.clone(), gates.unwanted(&entry.task)?))).collect();
    if let (Some((task, why)), None) = (refused.first(), &log.state.red) {
        log.state.red = Some((String::new(), format!("{task}: {why}")));
        log.state.unwanted = true;
        log.save(Step::Reverting)?;
    }
    let unwanted = log.state.unwanted;
    let was_kept = log.state.step == Step::Reverted;
    let ended = finish::settle(repo, &mut log, None, gates)?;
    if log.state.step == Step::Reverted
        && !unwanted
        && !log.state.entries.iter().any(|entry| listens(entry.task.as_str()))
    {
        if was_kept {
            return Ok(Vec::new());
        }
        finish::sweep(repo, &log)?;
    } else {
        finish::clean(repo, log)?;
    }
    let what = |task: TaskId, result| match result {
        Ok(merged) => What::Finished(merged),
        Err(MergeError::RedAfter { .. }) if unwanted => match refused.iter().find(|(other, _)| *other == task) {
            Some((_, why)) => What::Reverted(MergeError::Unwanted { task, why: why.clone() }),
            // Those who came along are merged anew.
            None => What::Undone,
        },
        Err(error) => What::Reverted(error),
    };
    // Each entry has an end of its own, and they are told in the same order.
    Ok(entries.into_iter().zip(ended).map(|(entry, (task, result))| told(entry, what(task, result))).collect())
}

/// Brings the target's checkout to where the target is, when the move was cut short.
fn mend_landing(repo: &Repo, log: &mut Log) -> Result<()> {
    let Some(landing) = log.state.landing.clone() else { return Ok(()) };
    let _lock = repo.lock()?;
    let head = repo.head(&log.state.target)?;
    let moved = repo.git.is_ancestor(&landing.to, &head)?;
    // A checkout that is gone has nothing to mend.
    for checkout in landing.checkouts.iter().filter(|checkout| checkout.path.is_dir()) {
        land::settle_scratch(checkout)?;
        let lock = IndexLock::take(checkout, &log.state.id)?;
        let (from, to) = if moved { (&landing.from, &landing.to) } else { (&landing.to, &landing.from) };
        checkout::mend(repo, checkout, from, to)?;
        if moved { lock.keep()? } else { lock.give_back()? }
    }
    log.state.landing = None;
    log.save(if moved { Step::Landed } else { Step::Green })
}

/// Returns `true` when the remote has the result, although we did not live to see it.
fn pushed(repo: &Repo, log: &Log) -> Result<bool> {
    let (Some(name), Some(top)) = (&log.state.push, log.state.top()) else { return Ok(false) };
    if log.state.step < Step::Green {
        return Ok(false);
    }
    match remote::head(repo, name, &log.state.target, &log.state.id)? {
        Some(head) => Ok(repo.git.is_ancestor(top, &head)?),
        None => Ok(false),
    }
}

/// Takes away everything of a merge whose target did not move.
fn undo(repo: &Repo, log: Log) -> Result<()> {
    // A transaction that was cut short may have made some of its refs.
    for entry in &log.state.entries {
        let merged = verify::merged_ref(&entry.branch);
        if repo.git.commit(&merged)?.as_deref() == Some(entry.commit.as_str()) {
            repo.git.delete_ref(&merged, &entry.commit)?;
        }
        if let Some(name) = entry.before.as_ref().filter(|_| log.state.step >= Step::Green) {
            let name = format!("refs/tags/{name}");
            let (code, object, _) = repo.git.call(&["show-ref", "--verify", "-s", &name])?;
            if code == 0 && repo.git.commit(&name)?.as_deref() == Some(entry.base.as_str()) {
                repo.git.delete_ref(&name, &object)?;
            }
        }
    }
    finish::clean(repo, log)
}
