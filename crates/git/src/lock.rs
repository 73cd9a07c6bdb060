//! The one lock of a repository, under which worktrees and branches come and go.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::fault::{Result, WorkspaceError, failed};
use oodatcaa_sys::{
    files,
    lock::{self, Lock},
};

/// The lock's name in the repository's common directory.
const LOCK: &str = "oodatcaa.lock";

/// Takes the repository's lock; it lasts until every copy of the file is closed.
pub(super) fn take(common: &Path, wait: Duration) -> Result<Arc<File>> {
    Ok(Arc::new(hold(&common.join(LOCK), wait)?.into_file()))
}

/// Takes the lock of a file as soon as it is free; fails with `Busy` and who holds it after this time.
pub(super) fn hold(path: &Path, wait: Duration) -> Result<Lock> {
    let started = Instant::now();
    let lock = Lock::take(path, started + wait, || open(path)).map_err(failed("lock", path))?;
    lock.ok_or_else(|| WorkspaceError::Busy {
        path: path.into(),
        holder: lock::holder_at(path).unwrap_or_else(|| "somebody".into()),
        waited: started.elapsed(),
    })
}

/// Opens a file for a lock: a link is refused, and nobody else may open it.
fn open(path: &Path) -> io::Result<File> {
    let file = files::named::hold(path)?;
    // Whoever can open it for reading can hold a `flock` on it, and with it every worker.
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
