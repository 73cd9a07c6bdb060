//! Merges that a dead integrator left half done: finished, or undone, and what of them is in the target.

use std::{collections::BTreeSet, path::Path};

use oodatcaa_config::Config;
use oodatcaa_core::{RoleRule, Snapshot, TaskId, Workflow, landing, layout::Layout, rescue, text::chain};
use oodatcaa_git::{
    Mode,
    merge::{self, GateFailure, Gates, MergeError, What},
};

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

/// What was found of merges that a dead integrator left half done.
#[derive(Default)]
pub(crate) struct Found {
    finished: BTreeSet<TaskId>,
    /// Some of them could not be finished or undone yet.
    open: bool,
}

impl Found {
    /// Nobody has looked.
    pub(crate) fn unknown() -> Self {
        Self { open: true, ..Self::default() }
    }

    /// Whether a merge that had passed is in the target. What nobody can tell, because the remote does not answer,
    /// may be.
    pub(crate) fn has_landed(&self, layout: &Layout, config: &Config, task: &TaskId, commit: &str) -> bool {
        self.finished.contains(task)
            || (self.open && config.merge.push.is_some())
            || merge::stands(layout, &config.workspace, commit).unwrap_or_else(|error| {
                log::warn!(task = task.as_str(); "cannot tell whether {task} is merged: failed to {}", chain(&error));
                true
            })
    }
}

/// Finishes or undoes the merges that a dead integrator left half done. What needs gates is finished by the next
/// merge, and until then the checkout is whole. Who cannot read what is wanted leaves it to the next.
pub(crate) fn recover(layout: &Layout, config: &Config, seen: Option<&Snapshot>) -> Found {
    let mut found = Found::unknown();
    if config.workspace.mode == Mode::Shared {
        return Found::default();
    }
    let all = match merge::all(layout, &config.workspace) {
        Ok(all) => all,
        Err(error) => {
            log::warn!("cannot look for half done merges: failed to {}", chain(&error));
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
                log::warn!(task = one.task.as_str(); "{}: a merge that a dead integrator had left is {what}", one.task);
            }),
            Err(MergeError::Stopped) => {
                found.open = true;
                log::info!("a half done merge waits for its gates; the next merge runs them");
            }
            Err(error) => {
                found.open = true;
                log::warn!("a half done merge is left to the next one: failed to {}", chain(&error));
            }
        }
    }
    found
}

/// Asks git whether what had passed of what these attempts merged has landed, and forgets what has not. Merges that
/// they left half done are finished or undone first.
pub fn see_what_landed(layout: &Layout, config: &Config, seen: Option<&Snapshot>, left: &mut [rescue::Orphan]) {
    let merges = |left: &rescue::Orphan| {
        let rule = left.role.as_ref().and_then(|role| config.workflow.rule(role));
        rule.is_none_or(RoleRule::merges)
    };
    if config.workspace.mode == Mode::Shared || !left.iter().any(merges) {
        return;
    }
    let recovered = recover(layout, config, seen);
    for left in left {
        left.landed = left.landed.take().filter(|commit| recovered.has_landed(layout, config, &left.task, commit));
    }
}

/// The same of one whose owner may be at work: nothing of it is finished or undone.
pub fn has_landed(layout: &Layout, config: &Config, task: &TaskId, commit: &str) -> bool {
    config.workspace.mode == Mode::Worktree && Found::unknown().has_landed(layout, config, task, commit)
}
