//! The one lock of a repository, under which worktrees and branches come and go.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use oodatcaa_sys::{
    files,
    lock::{self, Lock},
};

/// The lock's name in the repository's common directory.
const LOCK: &str = "oodatcaa.lock";

/// Why it was not to be had.
#[derive(Debug)]
pub(super) enum Refused {
    /// Somebody holds it for all of the wait: the file, how long, who.
    Held(PathBuf, Duration, String),
    /// The system says no.
    Io(PathBuf, io::Error),
}

/// Takes the repository's lock; it lasts until every copy of the file is closed.
pub(super) fn take(common: &Path, wait: Duration) -> Result<Arc<File>, Refused> {
    let path = common.join(LOCK);
    let started = Instant::now();
    match Lock::take(&path, started + wait, || open(&path)) {
        Ok(Some(lock)) => Ok(Arc::new(lock.into_file())),
        Ok(None) => {
            let holder = holder(&path);
            Err(Refused::Held(path, started.elapsed(), holder))
        }
        Err(error) => Err(Refused::Io(path, error)),
    }
}

/// Returns who holds a lock file, in words.
pub(super) fn holder(path: &Path) -> String {
    lock::holder_at(path).unwrap_or_else(|| "somebody".into())
}

/// Opens a file for a lock: a link is refused, and nobody else may open it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = files::named::hold(path)?;
    let meta = file.metadata()?;
    if meta.mode() & 0o077 != 0 && meta.uid() == rustix::process::geteuid().as_raw() {
        // An earlier version let everybody read it, and so hold it.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Takes a lock file if it is free.
pub(super) fn try_take(path: &Path) -> io::Result<Option<Lock>> {
    Lock::try_take(path, || open(path))
}
