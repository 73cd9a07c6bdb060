//! The merge queue: takes finished branches into the target branch, in code alone.
//!
//! A result is made in a detached temporary worktree, the gates run on exactly that commit, then the
//! target moves to it by compare-and-swap, so the target only ever points to a commit whose gates
//! were green. Between any two steps the process may be killed: [`recover()`] finishes or undoes.
//!
//! It knows nothing of queues, leases and agents; what to do with a conflict or a red gate is its
//! caller's business.

mod base;
mod batch;
mod build;
mod changelog;
mod checkout;
mod dirs;
mod error;
mod finish;
mod land;
mod recover;
mod remote;
mod repo;
mod steps;
mod tree;
mod verify;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub use base::Base;
pub use dirs::{MergeDirs, all};
pub use error::MergeError;
use error::Result;
pub use recover::{Recovered, What, mend, recover};
pub use steps::Step;
pub(crate) use steps::die_at;
pub(super) use verify::holds_commit;
pub(super) use verify::used_branches;
pub use verify::{Landed, forget, holds, landed, stands};

pub use oodatcaa_config::MergePolicy as Policy;

pub use crate::author::Author;
use repo::Repo;

use crate::git::{Git, Keep};
use oodatcaa_core::{TaskId, Token};

/// How often a result is made anew because the target has moved in the meantime.
const TRIES: u32 = 8;

/// What is the same for all requests of a merge.
#[derive(Clone, Debug)]
pub struct MergeTarget {
    /// The repository: a checkout of it or a bare one.
    pub repo: PathBuf,
    /// The place where the state files lie; one directory for all merges of a repository.
    pub dir: PathBuf,
    /// The place where temporary worktrees are made; outside of the repository.
    pub place: PathBuf,
    /// The branch that takes the results.
    pub target: String,
    /// How.
    pub policy: Policy,
    /// The remote that gets the target; none keeps everything local.
    pub push: Option<String>,
    /// The directory of the user's own state that knows where remotes are; without one nobody remembers.
    pub remotes: Option<PathBuf>,
    /// Tags `pre/<task>-<UTC>` and `<task>-complete`.
    pub tags: bool,
    /// An entry in `CHANGELOG.md`.
    pub changelog: bool,
    /// Who commits and tags.
    pub author: Author,
}

/// One task's branch that waits.
#[derive(Clone, Debug)]
pub struct MergeRequest {
    /// The task.
    pub task: TaskId,
    /// Its title; anything.
    pub title: String,
    /// The attempt that integrates it.
    pub token: Token,
    /// The branch.
    pub branch: String,
    /// The only commit of it that may be merged; any where absent.
    pub commit: Option<String>,
}

impl MergeRequest {
    /// Refuses what the branch holds if somebody said yes to something else.
    fn admits(&self, found: &str) -> Result<()> {
        match &self.commit {
            Some(approved) if approved != found => Err(MergeError::NotApproved {
                branch: self.branch.clone(),
                approved: approved.clone(),
                found: found.into(),
            }),
            _ => Ok(()),
        }
    }
}

/// The reason why a gate does not let a result pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateFailure {
    /// It is red.
    Red {
        /// Its name.
        gate: String,
        /// What it said.
        reason: String,
    },
    /// It was stopped before it could tell; nothing is concluded from that.
    Stopped,
}

/// How a merge hears that it shall end, and what marks the processes that it starts meanwhile. What has passed
/// goes to its end all the same.
#[derive(Clone, Debug, Default)]
pub struct Leash {
    /// Set when the merge shall end before it has passed.
    pub stop: Arc<AtomicBool>,
    /// Set when also a push that has begun shall end.
    pub now: Arc<AtomicBool>,
    /// A variable of every git that may be ended.
    pub tag: Option<(String, String)>,
}

impl Leash {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn tie(&self, git: Git, stop: &Arc<AtomicBool>) -> Git {
        let git = git.until(Arc::clone(stop));
        match &self.tag {
            Some((name, value)) => git.with_env(name, value),
            None => git,
        }
    }
}

/// One change that is about to become part of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    /// The task.
    pub task: TaskId,
    /// The attempt that integrates it.
    pub token: Token,
    /// The commit.
    pub commit: String,
}

/// What moves the target.
pub type Deed<'a> = &'a mut dyn FnMut() -> Result<()>;

/// What a merge asks on its way. Where gates run, `tree` is the project's root in a worktree that has exactly the
/// result.
pub trait Gates {
    /// Checks before the target moves whether it may. The tasks are those that the result has more than the target.
    fn before(&mut self, tree: &Path, tasks: &[TaskId]) -> Result<(), GateFailure>;

    /// Checks after the target has moved whether it may stay; else the merge is reverted.
    fn after(&mut self, _tree: &Path, _tasks: &[TaskId]) -> Result<(), GateFailure> {
        Ok(())
    }

    /// Does the deed right before the target moves, or the push begins, if all of these still may pass; what others
    /// say must not come between the answer and the deed. [`MergeError::Unwanted`] names one that may not.
    fn pass(&mut self, _changes: &[Passing], deed: Deed<'_>) -> Result<()> {
        deed()
    }

    /// Hears that what had passed could not be brought to the target.
    fn not_passed(&mut self, _changes: &[Passing]) {}

    /// Returns why what a killed merge has brought to the target shall not stay there.
    fn unwanted(&mut self, _task: &TaskId) -> Option<String> {
        None
    }

    /// Returns the leash by which it can be ended.
    fn leash(&self) -> Leash {
        Leash::default()
    }
}

impl<F: FnMut(&Path) -> Result<(), GateFailure>> Gates for F {
    fn before(&mut self, tree: &Path, _: &[TaskId]) -> Result<(), GateFailure> {
        self(tree)
    }
}

/// A change that is in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The commit that brought it.
    pub commit: String,
    /// The tag on it.
    pub tag: Option<String>,
    /// The tag on what was there before.
    pub before: Option<String>,
    /// The stable patch id of what it brought.
    pub patch_id: String,
    /// `true` when the target had it before this call.
    pub already: bool,
    /// The reason why the local branch is behind the remote, which has the change.
    pub behind: Option<String>,
}

/// Orders that have an end of their own.
type Ended = Vec<(TaskId, Result<Merged>)>;

/// What came of several requests.
#[derive(Debug, Default)]
pub struct Report {
    /// The requests that have an end of their own, in the order of their ends.
    pub done: Ended,
    /// What stopped the merge, if something did; requests that are not in `done` were not reached.
    pub stopped: Option<MergeError>,
}

/// Takes several branches into the target, one upon the other: the gates run once on the top; when
/// they are red, the longest green beginning is found by halving and merged, and the one after it
/// is refused. A branch that conflicts with another of the batch is tried again after it.
pub fn batch(line: &MergeTarget, orders: &[MergeRequest], gates: &mut dyn Gates) -> Report {
    let report = merge_batch(line, orders, gates);
    steps::point(Step::Ended);
    report
}

fn merge_batch(line: &MergeTarget, orders: &[MergeRequest], gates: &mut dyn Gates) -> Report {
    let mut report = Report::default();
    let listens = |task: &str| orders.iter().any(|order| order.task.as_str() == task);
    match recover::recover_for(&line.repo, &line.dir, gates, &listens) {
        // What was taken back would only be merged to be taken back again, unless it has been worked on.
        Ok(recovered) => recovered.into_iter().for_each(|one| {
            let stands = || Repo::open(&line.repo, &keep(&line.dir), &line.author)?.head(&one.branch);
            let order = orders.iter().find(|order| order.task == one.task && order.branch == one.branch);
            if let (What::Reverted(error), Some(_), Ok(source)) = (one.what, order, stands())
                && source == one.source
            {
                report.done.push((one.task, Err(error)));
            }
        }),
        Err(error) => {
            report.stopped = Some(error);
            return report;
        }
    }
    let is_done = |report: &Report, order: &MergeRequest| report.done.iter().any(|(task, _)| *task == order.task);
    let mut waiting: Vec<&MergeRequest> = orders.iter().filter(|order| !is_done(&report, order)).collect();
    let mut tries = 0;
    let mut single = false;
    while let Some(first) = waiting.first() {
        let now: Vec<&MergeRequest> = if single { vec![first] } else { waiting.clone() };
        match batch::batch(line, &now, gates, &mut report) {
            Ok(()) => tries = 0,
            Err(MergeError::MovedOn) if tries + 1 < TRIES => tries += 1,
            // One order's file may be in the way of all.
            Err(MergeError::Busy { .. }) if now.len() > 1 => single = true,
            Err(MergeError::Unwanted { task, why }) => {
                report.done.push((task.clone(), Err(MergeError::Unwanted { task, why })));
            }
            Err(error) if now.len() == 1 && is_own(&error) => report.done.push((first.task.clone(), Err(error))),
            Err(error) => {
                report.stopped = Some(error);
                return report;
            }
        }
        waiting.retain(|order| !is_done(&report, order));
    }
    report
}

/// Returns where what git sees of the repository's configuration lies for the merges of a directory.
fn keep(dir: &Path) -> Keep {
    Keep::In(dir.with_file_name("git"))
}

/// Returns `true` for what concerns one request and not the merge.
fn is_own(error: &MergeError) -> bool {
    matches!(error, MergeError::Busy { .. } | MergeError::Refused { .. })
}
