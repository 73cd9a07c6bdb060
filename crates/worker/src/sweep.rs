//! Ending what a dead or lost owner left running, before its task is given back.

use std::{path::PathBuf, time::Duration};

use oodatcaa_config::{Config, WorkspaceConfig};
use oodatcaa_core::{
    TaskId, Token,
    layout::Layout,
    rescue,
    text::{self, chain},
};
use oodatcaa_git::{Mode, Workspace, takeover};
use oodatcaa_process as process;
use oodatcaa_store::Desk;
use oodatcaa_sys::files;

/// How long the shim of a dead worker, and then the sweep, may take.
const WAIT: Duration = Duration::from_secs(5);

/// Ends what each left running and saves what it had not committed; answers those of which nothing is left.
pub fn end_dead(layout: &Layout, config: &Config, store: &Desk, left: Vec<rescue::Orphan>) -> Vec<rescue::Orphan> {
    let mut gone: Vec<rescue::Orphan> = left.into_iter().filter(|left| end_one(layout, left)).collect();
    if config.workspace.mode == Mode::Worktree {
        // Only now: what still ran might have written into the worktree after it was saved.
        gone.iter().for_each(|left| keep(layout, &config.workspace, left));
        let seen = store.read().ok().filter(|seen| seen.invalid.is_none());
        takeover::see_what_landed(layout, config, seen.as_ref().map(|seen| &seen.snapshot), &mut gone);
    }
    gone
}

/// Saves what the attempt had not committed.
fn keep(layout: &Layout, trees: &WorkspaceConfig, left: &rescue::Orphan) {
    let id = &left.task;
    match Workspace::attach(layout, trees, id, left.token) {
        Ok(Some(workspace)) => save_work(&workspace, id, left.token),
        Ok(None) => {}
        Err(error) => {
            log::warn!(task = id.as_str(); "{id}: uncommitted work stays in its worktree only: failed to {}", chain(&error));
        }
    }
}

/// Saves what was not committed, whatever becomes of the task. The worktree stays as it is, so that nothing is lost
/// without it either.
pub(crate) fn save_work(workspace: &Workspace, id: &TaskId, token: Token) {
    match workspace.save() {
        Ok(Some(kept)) => {
            let name = workspace.refs().wip(token);
            log::info!(task = id.as_str(); "{id}: uncommitted work was saved as {name} ({kept})");
        }
        Ok(None) => {}
        Err(error) => {
            log::error!(task = id.as_str(); "{id}: uncommitted work could not be saved: failed to {}; it stays in {}", chain(&error), workspace.path().display());
        }
    }
}

fn end_one(layout: &Layout, left: &rescue::Orphan) -> bool {
    let run = layout.run(&left.task, &left.run);
    // By tag and not by pid: what an agent started may have left its group, its session and its parent.
    for dir in tags(&run) {
        match process::end_leftovers(&dir, WAIT) {
            Ok(0) => {}
            Ok(count) => {
                log::warn!(task = left.task.as_str(); "ended {} that {} had left", text::many(count as usize, "process"), left.task);
            }
            Err(pids) => {
                log::error!(
                    task = left.task.as_str();
                    "{} is still held: processes {pids:?} of its dead owner do not end; look at them with: ps -fp {}",
                    left.task,
                    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
                );
                // Two agents on one task are worse than a task that waits.
                return false;
            }
        }
    }
    true
}

/// No attempt has as many gates or hooks.
const MOST_TAGS: usize = 10_000;

/// Returns the attempt's own directory, its gates' and its hooks': each is the tag of its processes.
fn tags(run: &std::path::Path) -> Vec<PathBuf> {
    let mut tags = vec![run.to_owned()];
    for below in ["gates", "hooks"] {
        let dir = run.join(below);
        if let Ok(Some(entries)) = files::list(Layout::root_of(run), &dir, MOST_TAGS) {
            tags.extend(entries.into_iter().map(|entry| dir.join(entry.name)));
        }
    }
    tags
}
