//! Ending what a dead or lost owner left running, before its task is given back (R14).

use std::{path::PathBuf, time::Duration};

use crate::{domain::rescue, layout::Layout, process};

/// How long the keeper of a dead worker, and then the sweep, may take.
const WAIT: Duration = Duration::from_secs(5);

/// Ends the processes of each; answers those of which nothing is left.
pub(super) fn end(layout: &Layout, left: Vec<rescue::Left>) -> Vec<rescue::Left> {
    left.into_iter().filter(|left| end_one(layout, left)).collect()
}

fn end_one(layout: &Layout, left: &rescue::Left) -> bool {
    let run = layout.run(&left.task, left.token);
    for dir in tags(&run) {
        match process::end_leftovers(&dir, WAIT) {
            Ok(0) => {}
            Ok(count) => log::warn!(task = left.task.as_str(); "ended {count} processes that {} had left", left.task),
            Err(pids) => {
                log::error!(
                    task = left.task.as_str();
                    "{} stays held: processes {pids:?} of its dead owner do not end; look at them with: ps -fp {}",
                    left.task,
                    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
                );
                return false;
            }
        }
    }
    true
}

/// The attempt's own directory and its gates': each is the tag of its processes.
fn tags(run: &std::path::Path) -> Vec<PathBuf> {
    let mut tags = vec![run.to_owned()];
    #[expect(clippy::disallowed_methods, reason = "the run's directory says which gates have run")]
    if let Ok(entries) = std::fs::read_dir(run.join("gates")) {
        tags.extend(entries.flatten().map(|entry| entry.path()));
    }
    tags
}
