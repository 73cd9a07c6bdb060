//! Wake-ups: something changed in a directory of ours. Only a hint; whoever listens polls as well.

use std::{ffi::OsStr, path::Path};

use crossbeam_channel::Receiver;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};

use super::disk::TEMPORARY;
use crate::StoreError;
use oodatcaa_core::layout::Layout;

/// Watches until the watcher is dropped. Wake-ups that nobody has taken yet are one.
pub(super) fn watch(layout: &Layout) -> Result<(RecommendedWatcher, Receiver<()>), StoreError> {
    let (wake, woken) = crossbeam_channel::bounded(1);
    let failed = |path: &Path, error: notify::Error| StoreError::Io {
        doing: "watch (the poll goes on)",
        path: path.into(),
        source: std::io::Error::other(error),
    };
    let work = layout.work();
    let mut watcher = notify::recommended_watcher(move |change: notify::Result<Event>| {
        // An error, and a note that events were lost, mean that anything may have changed.
        if change.map_or(true, |event| concerns(&event)) {
            // One is waiting already, or nobody listens any more.
            let _ = wake.try_send(());
        }
    })
    .map_err(|error| failed(&work, error))?;
    watcher.watch(&work, RecursiveMode::NonRecursive).map_err(|error| failed(&work, error))?;
    // Not recursive: each watched directory costs the user one of a few thousand watches.
    for directory in [layout.leases(), layout.runtime()] {
        if directory.is_dir() {
            watcher.watch(&directory, RecursiveMode::NonRecursive).map_err(|error| failed(&directory, error))?;
        }
    }
    Ok((watcher, woken))
}

/// Watches one file, by the directory that it lies in: it may not be there yet, and another may take its place.
pub(super) fn of_file(path: &Path) -> Result<(RecommendedWatcher, Receiver<()>), StoreError> {
    let (wake, woken) = crossbeam_channel::bounded(1);
    let failed = |error: notify::Error| StoreError::Io {
        doing: "watch (the poll goes on)",
        path: path.into(),
        source: std::io::Error::other(error),
    };
    let name = path.file_name().map(OsStr::to_owned);
    let mut watcher = notify::recommended_watcher(move |change: notify::Result<Event>| {
        let is_it = |event: Event| {
            let named = event.paths.iter().any(|path| path.file_name() == name.as_deref());
            concerns(&event) && (event.need_rescan() || named)
        };
        if change.map_or(true, is_it) {
            let _ = wake.try_send(());
        }
    })
    .map_err(failed)?;
    let dir = path.parent().unwrap_or(path);
    watcher.watch(dir, RecursiveMode::NonRecursive).map_err(failed)?;
    Ok((watcher, woken))
}

fn concerns(event: &Event) -> bool {
    let ours = |path: &std::path::PathBuf| {
        path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(TEMPORARY))
    };
    match event.kind {
        _ if event.need_rescan() => true,
        // Somebody read, we ourselves perhaps; only the end of a writing says something.
        EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write) => false,
        _ => event.paths.is_empty() || !event.paths.iter().all(ours),
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{Flag, ModifyKind, RenameMode};

    use super::*;

    #[test]
    fn reading_wakes_nobody() {
        let read = |kind| concerns(&Event::new(EventKind::Access(kind)).add_path("/p/SPRINT_QUEUE.json".into()));
        assert!(!read(AccessKind::Open(AccessMode::Any)));
        assert!(!read(AccessKind::Close(AccessMode::Read)));
        assert!(read(AccessKind::Close(AccessMode::Write)));
    }

    #[test]
    fn our_temporary_files_wake_nobody_but_the_change_does() {
        let temporary = format!("/p/{TEMPORARY}x1");
        let created = Event::new(EventKind::Create(notify::event::CreateKind::File)).add_path(temporary.clone().into());
        assert!(!concerns(&created));
        let renamed = Event::new(EventKind::Modify(ModifyKind::Name(RenameMode::Both)))
            .add_path(temporary.into())
            .add_path("/p/SPRINT_QUEUE.json".into());
        assert!(concerns(&renamed));
    }

    #[test]
    fn lost_events_wake() {
        assert!(concerns(&Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    }
}
