//! Ending what a dead or lost owner left running, before its task is given back.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use oodatcaa_agent::sandbox::Private;
use oodatcaa_config::{Config, WorkspaceConfig};
use oodatcaa_core::{
    TaskId, Token,
    layout::Layout,
    rescue::Orphan,
    text::{self, chain},
};
use oodatcaa_git::{Mode, Workspace, takeover};
use oodatcaa_process as process;
use oodatcaa_store::Desk;
use oodatcaa_sys::files;

/// How long the shim of a dead worker, and then the sweep, may take.
const WAIT: Duration = Duration::from_secs(5);

/// Ends what each left running and saves what it had not committed; answers those of which nothing is left.
pub(crate) fn end_dead(layout: &Layout, config: &Config, store: &Desk, left: Vec<Orphan>) -> Vec<Orphan> {
    let mut gone: Vec<Orphan> = left.into_iter().filter(|left| end_one(layout, left)).collect();
    keep_work(layout, config, store, &mut gone);
    gone
}

/// Saves what each attempt had not committed, once nothing of it runs that could write into its worktree, and sees
/// whether its merge has landed. Says where work was saved.
pub fn keep_work(layout: &Layout, config: &Config, store: &Desk, gone: &mut [Orphan]) -> Vec<String> {
    if config.workspace.mode != Mode::Worktree {
        return Vec::new();
    }
    let saved = gone.iter().filter_map(|left| keep(layout, &config.workspace, left)).collect();
    let seen = store.read().ok().filter(|seen| seen.invalid.is_none());
    takeover::see_what_landed(layout, config, seen.as_ref().map(|seen| &seen.snapshot), gone);
    saved
}

fn keep(layout: &Layout, trees: &WorkspaceConfig, left: &Orphan) -> Option<String> {
    let id = &left.task;
    match Workspace::attach(layout, trees, id, left.token) {
        Ok(workspace) => {
            let workspace = workspace?;
            if let Err(error) = workspace.take_in(layout, trees) {
                log::warn!(task = id.as_str(); "{id}: what its agent committed is not taken in yet: failed to {}", chain(&error));
            }
            save_work(&workspace, id, left.token)
        }
        Err(error) => {
            log::warn!(task = id.as_str(); "{id}: uncommitted work stays in its worktree only: failed to {}", chain(&error));
            None
        }
    }
}

/// Saves what was not committed, whatever becomes of the task, and says where. The worktree stays as it is, so that
/// nothing is lost without it either.
pub(crate) fn save_work(workspace: &Workspace, id: &TaskId, token: Token) -> Option<String> {
    match workspace.save() {
        Ok(kept) => {
            let saved = format!("{id}: uncommitted work was saved as {} ({})", workspace.refs().wip(token), kept?);
            log::info!(task = id.as_str(); "{saved}");
            Some(saved)
        }
        Err(error) => {
            log::error!(task = id.as_str(); "{id}: uncommitted work could not be saved: failed to {}; it stays in {}", chain(&error), workspace.path().display());
            None
        }
    }
}

fn end_one(layout: &Layout, left: &Orphan) -> bool {
    match end_attempt(&layout.run(&left.task, &left.run), WAIT) {
        Ok(0) => true,
        Ok(count) => {
            log::warn!(task = left.task.as_str(); "ended {} that {} had left", text::many(count as usize, "process"), left.task);
            true
        }
        Err(pids) => {
            log::error!(
                task = left.task.as_str();
                "{} is still held: processes {pids:?} of its dead owner do not end; look at them with: ps -fp {}",
                left.task,
                pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
            );
            // Two agents on one task are worse than a task that waits.
            false
        }
    }
}

/// Ends what an attempt, its gates and its hooks left running. Answers how many processes that were, or who is still
/// there after `wait`.
pub fn end_attempt(run: &Path, wait: Duration) -> Result<u32, Vec<u32>> {
    // By tag and not by pid: what an agent started may have left its group, its session and its parent.
    tags(run).iter().try_fold(0, |ended, dir| {
        let more = process::end_leftovers(dir, wait)?;
        if let Err(error) = Private::of(dir).remove() {
            log::warn!("failed to remove {}: {error}", Private::of(dir).tmp().display());
        }
        Ok(ended + more)
    })
}

/// No attempt has as many gates or hooks.
const MOST_TAGS: usize = 10_000;

/// Returns the attempt's own directory, its gates' and its hooks': each is the tag of its processes.
fn tags(run: &Path) -> Vec<PathBuf> {
    let mut tags = vec![run.to_owned()];
    for below in ["gates", "hooks"] {
        let dir = run.join(below);
        if let Ok(Some(entries)) = files::list(Layout::root_of(run), &dir, MOST_TAGS) {
            tags.extend(entries.into_iter().map(|entry| dir.join(entry.name)));
        }
    }
    tags
}
