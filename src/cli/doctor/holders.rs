//! Names who keeps everybody from working: a lock that is held for long, files that belong to somebody else.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::report::Report;
use oodatcaa_core::{text, time::stamp};
use oodatcaa_ops::quoted;
use oodatcaa_sys::{
    files::{self, Kind},
    lock,
};

/// Others hold the queue's lock for milliseconds.
const LONG: Duration = Duration::from_millis(1_500);

/// So many entries of a directory are looked at.
const MOST: usize = 10_000;

/// Names who holds the queue's lock: a worker that was stopped with it keeps everybody else out.
pub(super) fn queue_lock(report: &mut Report<'_>) {
    let layout = report.context.layout;
    let path = layout.queue_lock();
    let Ok(Some(file)) = files::open(layout.root(), &path) else { return };
    let deadline = Instant::now() + LONG;
    while lock::is_held(&file).is_ok_and(|held| held) {
        if Instant::now() >= deadline {
            return held(report, &file, &path);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn held(report: &mut Report<'_>, file: &std::fs::File, path: &Path) {
    let pid = lock::holder_pid(file);
    let who = lock::holder(file).unwrap_or_else(|| "a process that the system does not name".into());
    let role = pid.and_then(role_of).map(|role| format!(", a worker of {role}")).unwrap_or_default();
    let since = report.context.snapshot().map(|snapshot| stamp(snapshot.history.at));
    let since = since.map(|since| format!("; the last change was {since}")).unwrap_or_default();
    let run = match pid {
        Some(pid) if lock::is_stopped(pid) => format!("kill -CONT {pid}   # or end it: kill -KILL {pid}"),
        Some(pid) => format!("ps -fp {pid}   # and, if it hangs: kill -KILL {pid}"),
        None => format!("fuser -v {}", quoted(path)),
    };
    report.found("queue_lock_held", format!("the queue's lock is held by {who}{role}{since}"), run);
}

/// Returns the role that a process serves, by its command line.
fn role_of(pid: u32) -> Option<String> {
    let line = files::named::text(format!("/proc/{pid}/cmdline")).ok()?;
    let role = line.split('\0').skip_while(|word| *word != "--role").nth(1)?;
    Some(text::cut(&text::one_line(role), 40))
}

/// Finds files of another owner: one command of ours under `sudo` leaves some that workers cannot write.
pub(super) fn owners(report: &mut Report<'_>) {
    let layout = report.context.layout;
    let Ok(root) = layout.root().metadata() else { return };
    let mut others: Vec<(PathBuf, u32)> = Vec::new();
    let ours = [layout.mark(), layout.leases(), layout.locks(), layout.pids(), layout.logs()];
    for dir in ours {
        walk(layout.root(), &dir, 2, root.uid(), &mut others);
    }
    if let (Some(base), Some(state)) = (layout.user_base(), layout.user_state()) {
        walk(base, state, 1, root.uid(), &mut others);
    }
    let Some((first, uid)) = others.first() else { return };
    let what = format!(
        "{} of the project {} to user {uid} and not to its owner, {}: {}",
        text::many(others.len(), "file"),
        if others.len() == 1 { "belongs" } else { "belong" },
        root.uid(),
        first.display()
    );
    let mut dirs: Vec<String> = others.iter().filter_map(|(path, _)| top_of(layout.root(), path)).collect();
    dirs.dedup();
    let run = format!("sudo chown -R {}:{} {}", root.uid(), root.gid(), dirs.join(" "));
    report.found("wrong_owner", what, run);
}

fn walk(root: &Path, dir: &Path, deep: usize, owner: u32, others: &mut Vec<(PathBuf, u32)>) {
    let mut look = |path: &Path| {
        if let Ok(Some(meta)) = files::look(root, path)
            && meta.uid() != owner
        {
            others.push((path.to_owned(), meta.uid()));
        }
    };
    look(dir);
    let entries = files::list(root, dir, MOST).ok().flatten().unwrap_or_default();
    let below: Vec<PathBuf> = entries.iter().filter(|e| e.kind == Kind::Directory).map(|e| dir.join(&e.name)).collect();
    entries.iter().filter(|entry| entry.kind == Kind::File).for_each(|entry| look(&dir.join(&entry.name)));
    for dir in below {
        if deep > 0 {
            walk(root, &dir, deep - 1, owner, others);
        }
    }
}

/// Shows a path by what lies directly in the project, and whole outside of it.
fn top_of(root: &Path, path: &Path) -> Option<String> {
    let top = match path.strip_prefix(root) {
        Ok(below) => root.join(below.components().next()?),
        Err(_) => path.to_owned(),
    };
    Some(quoted(&top))
}
