//! What finished tasks have left behind for long enough: directories of runs, refs of saved work.
//!
//! Worktrees are [`super::prune`]'s. Nothing of a task that may still move is touched, nor the newest run of any.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    Config, branch,
    fault::{Result, failed},
    git::destroy,
    repo::Repository,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{RunName, Snapshot, TaskId};
use oodatcaa_sys::files;

/// Something that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// What it is.
    pub what: What,
    /// The task that it is of.
    pub task: TaskId,
    /// How long it has been left alone.
    pub age: Duration,
    /// How much room it takes; refs none that can be told.
    pub bytes: u64,
}

/// What may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The directory of a run.
    Run(PathBuf),
    /// A ref of ours, and what it points to.
    Ref {
        /// Its name.
        name: String,
        /// What it points to now.
        commit: String,
    },
}

/// Finds what may go: of tasks that are finished or gone, older than `keep`.
pub fn find(layout: &Layout, snapshot: &Snapshot, keep: Duration, now: SystemTime) -> Result<Vec<Old>> {
    let may_go = |task: &TaskId, age: Duration| {
        let moves = snapshot.queue.get(task).is_some_and(|task| !task.status.is_finished());
        age >= keep && !moves && !snapshot.leases.contains_key(task)
    };
    let mut all = Vec::new();
    for (task, dir) in below(&layout.runs(), |name| TaskId::parse(name).ok()) {
        let attempts = below(&dir, RunName::parse);
        // The newest is what `run logs` and `why` show.
        let newest = attempts.iter().map(|(name, _)| name.token()).max();
        for (_, dir) in attempts.into_iter().filter(|(name, _)| Some(name.token()) != newest) {
            let age = age(&dir, now);
            // A process that outlived its attempt still writes there.
            if may_go(&task, age) && oodatcaa_process::leftovers(&dir).is_empty() {
                all.push(Old { bytes: size(&dir), what: What::Run(dir), task: task.clone(), age });
            }
        }
    }
    if let Some(repo) = Repository::find(layout)? {
        let refs = refs(layout, &repo, snapshot, now)?;
        all.extend(refs.into_iter().filter(|old| may_go(&old.task, old.age)));
    }
    Ok(all)
}

/// Returns the refs of ours that belong to a task of this project.
fn refs(layout: &Layout, repo: &Repository, snapshot: &Snapshot, now: SystemTime) -> Result<Vec<Old>> {
    let format = "--format=%(refname) %(objectname) %(committerdate:unix)";
    let kinds = ["wip", "start", "old", "aside"].map(|kind| format!("refs/oodatcaa/{kind}/"));
    let [wip, start, old, aside] = kinds.each_ref().map(String::as_str);
    let listed = repo.git.run(&["for-each-ref", format, wip, start, old, aside])?;
    let known: BTreeMap<String, TaskId> =
        snapshot.queue.tasks().map(|task| (branch::component(task.id.as_str()), task.id.clone())).collect();
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let project = super::save::project(layout);
    let mut all = Vec::new();
    for line in listed.lines() {
        let mut words = line.split(' ');
        let (Some(name), Some(commit), Some(time)) = (words.next(), words.next(), words.next()) else { continue };
        let [of, part, _] = name.split('/').skip(3).collect::<Vec<_>>()[..] else { continue };
        if of != project {
            continue;
        }
        // A name whose task has left the queue is a task id itself, or was made from one.
        let Some(task) = known.get(part).cloned().or_else(|| TaskId::parse(part).ok()) else { continue };
        let age = now.saturating_sub(Duration::from_secs(time.parse().unwrap_or(u64::MAX)));
        all.push(Old { what: What::Ref { name: name.into(), commit: commit.into() }, task, age, bytes: 0 });
    }
    Ok(all)
}

/// Removes one of them; a ref only if it still points where it did.
pub fn remove(layout: &Layout, old: &Old) -> Result<()> {
    match &old.what {
        What::Run(dir) => {
            destroy::remove_dir(dir).map_err(failed("remove", dir))?;
            // Only when it was the last one in it.
            let _ = dir.parent().map(files::named::remove_dir);
        }
        What::Ref { name, commit } => {
            if let Some(repo) = Repository::find(layout)? {
                repo.lock(Config::default().lock_wait)?.git.delete_ref(name, commit)?;
            }
        }
    }
    Ok(())
}

/// Returns the directories whose names stand for something, with that.
fn below<T>(dir: &Path, parse: impl Fn(&str) -> Option<T>) -> Vec<(T, PathBuf)> {
    let all = files::named::directories(dir);
    all.filter_map(|name| Some((parse(name.to_str()?)?, dir.join(&name)))).collect()
}

/// Returns the time since its newest file was written.
fn age(dir: &Path, now: SystemTime) -> Duration {
    let all = files::named::entries(dir).into_iter().map(|entry| dir.join(entry.name)).chain([dir.into()]);
    let newest = all.filter_map(|path| path.symlink_metadata().ok()).filter_map(|found| found.modified().ok()).max();
    newest.and_then(|newest| now.duration_since(newest).ok()).unwrap_or_default()
}

fn size(dir: &Path) -> u64 {
    let of = |entry: files::Entry| match (dir.join(entry.name), entry.kind) {
        (path, files::Kind::Directory) => size(&path),
        (path, _) => path.symlink_metadata().map(|found| found.len()).unwrap_or_default(),
    };
    files::named::entries(dir).into_iter().map(of).sum()
}
