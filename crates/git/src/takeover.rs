//! Merges that a dead integrator left half done: finished or undone before their tasks are given back.
//!
//! Workers and the operator's commands both do so, and tell as merged only what git says is in the target.

use std::{collections::BTreeSet, path::Path};

use crate::{
    Mode,
    merge::{self, GateFailure, Gates, MergeError, What},
};
use oodatcaa_config::Config;
use oodatcaa_core::{Snapshot, TaskId, Workflow, landing, layout::Layout, rescue, text::chain};

/// What stands in for the gates where nobody holds a task to run them for.
struct Later<'a> {
    after: bool,
    workflow: &'a Workflow,
    seen: &'a Snapshot,
}

impl Gates for Later<'_> {
    fn before(&mut self, _: &Path, _: &[TaskId]) -> Result<(), GateFailure> {
        Err(GateFailure::Stopped)
    }

    fn after(&mut self, _: &Path, _: &[TaskId]) -> Result<(), GateFailure> {
        if self.after { Err(GateFailure::Stopped) } else { Ok(()) }
    }

    fn unwanted(&mut self, task: &TaskId) -> Option<String> {
        landing::unwanted(self.seen, self.workflow, task).map(|veto| veto.to_string())
    }
}

/// What was found of the merges that a dead integrator left half done.
#[derive(Debug, Default)]
pub struct Found {
    finished: BTreeSet<TaskId>,
    /// Some of them could not be finished or undone yet.
    open: bool,
}

impl Found {
    /// Returns what is known before anybody has looked.
    pub fn unknown() -> Self {
        Self { open: true, ..Self::default() }
    }

    /// Tells whether a merge that had passed is in the target. One that cannot be told, because the remote does not answer,
    /// counts as landed: merging it twice is worse than looking again.
    pub fn has_landed(&self, layout: &Layout, config: &Config, task: &TaskId, commit: &str) -> bool {
        self.finished.contains(task)
            || (self.open && config.merge.push.is_some())
            || merge::stands(layout, &config.workspace, commit).unwrap_or_else(|error| {
                log::warn!(task = task.as_str(); "cannot tell whether {task} is merged: failed to {}", chain(&error));
                true
            })
    }
}

/// Finishes or undoes the merges that a dead integrator left half done. What needs gates is finished by the next
/// merge, and until then the checkout is whole. Without a snapshot nothing is done: nobody knows what is still wanted.
pub fn finish_dead(layout: &Layout, config: &Config, seen: Option<&Snapshot>) -> Found {
    let mut found = Found::unknown();
    if config.workspace.mode == Mode::Shared {
        // Without worktrees nothing is ever merged here, so nothing is open.
        return Found::default();
    }
    let all = match merge::all(layout, &config.workspace) {
        Ok(all) => all,
        // Unknown, not empty: a task must not be given back as unmerged because git could not be asked.
        Err(error) => {
            log::warn!("cannot look for unfinished merges: failed to {}", chain(&error));
            return found;
        }
    };
    let Some(seen) = seen else { return found };
    found.open = false;
    let mut gates = Later { after: !config.merge.after.is_empty(), workflow: &config.workflow, seen };
    for dirs in all {
        match merge::mend(layout.root(), &dirs.dir, &mut gates) {
            Ok(recovered) => recovered.iter().for_each(|one| {
                let what = match &one.what {
                    What::Finished(merged) => {
                        found.finished.insert(one.task.clone());
                        format!("finished, as {}", merged.commit)
                    }
                    What::Reverted(error) => format!("taken back: failed to {error}"),
                    What::Undone => "undone; it is merged again".into(),
                };
                log::warn!(task = one.task.as_str(); "{}: a merge that a dead integrator had left was {what}", one.task);
            }),
            Err(MergeError::Stopped) => {
                found.open = true;
                log::info!("an unfinished merge waits for its gates; the next merge runs them");
            }
            Err(error) => {
                found.open = true;
                log::warn!("an unfinished merge is left to the next one: failed to {}", chain(&error));
            }
        }
    }
    found
}

/// Asks git which of the merges of these attempts have landed, and forgets the others. Merges that they left half done are
/// finished or undone first.
pub fn see_what_landed(layout: &Layout, config: &Config, seen: Option<&Snapshot>, left: &mut [rescue::Orphan]) {
    let merges = |left: &rescue::Orphan| {
        let rule = left.role.as_ref().and_then(|role| config.workflow.rule(role));
        rule.is_none_or(|rule| rule.duty.merges)
    };
    if config.workspace.mode == Mode::Shared || !left.iter().any(merges) {
        return;
    }
    let recovered = finish_dead(layout, config, seen);
    for left in left {
        left.landed = left.landed.take().filter(|commit| recovered.has_landed(layout, config, &left.task, commit));
    }
}

/// Tells whether a merge has landed whose owner may be at work: nothing of it is finished or undone.
pub fn has_landed(layout: &Layout, config: &Config, task: &TaskId, commit: &str) -> bool {
    config.workspace.mode == Mode::Worktree && Found::unknown().has_landed(layout, config, task, commit)
}
