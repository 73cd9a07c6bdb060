//! Ending what a dead or lost owner left running, before its task is given back.

use std::{path::PathBuf, time::Duration};

use crate::setup::Shared;
use oodatcaa_core::{
    layout::Layout,
    rescue,
    text::{self, chain},
};
use oodatcaa_git::{Config, Mode, Workspace, takeover};
use oodatcaa_process as process;
use oodatcaa_sys::files;

/// How long the shim of a dead worker, and then the sweep, may take.
const WAIT: Duration = Duration::from_secs(5);

/// Ends the processes of each; answers those of which nothing is left.
pub(crate) fn end(shared: &Shared, left: Vec<rescue::Orphan>) -> Vec<rescue::Orphan> {
    let setup = &shared.setup;
    let (layout, trees) = (&setup.layout, &setup.config.workspace);
    let mut gone: Vec<rescue::Orphan> = left.into_iter().filter(|left| end_one(layout, left)).collect();
    if trees.mode == Mode::Worktree {
        gone.iter().for_each(|left| keep(layout, trees, left));
        let seen = shared.store.read().ok().filter(|seen| seen.invalid.is_none());
        takeover::see_what_landed(layout, &setup.config, seen.as_ref().map(|seen| &seen.snapshot), &mut gone);
    }
    gone
}

/// Saves what the attempt had not committed. The worktree stays as it is, so that nothing is lost without it either.
fn keep(layout: &Layout, trees: &Config, left: &rescue::Orphan) {
    let saved = Workspace::attach(layout, trees, &left.task, left.token)
        .and_then(|workspace| workspace.map_or(Ok(None), |workspace| workspace.save()));
    match saved {
        Ok(Some(name)) => log::info!(task = left.task.as_str(); "{}: uncommitted work is kept as {name}", left.task),
        Ok(None) => {}
        Err(error) => {
            log::warn!(task = left.task.as_str(); "{}: uncommitted work stays in its worktree only: failed to {}", left.task, chain(&error));
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
                    "{} stays held: processes {pids:?} of its dead owner do not end; look at them with: ps -fp {}",
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
