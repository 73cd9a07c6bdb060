//! The one lock of a repository, under which worktrees and branches come and go.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fs2::FileExt;

use oodatcaa_sys::{files, locks};

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
    let mut pause = Duration::from_millis(2);
    loop {
        match try_take(&path) {
            Ok(Some(file)) => return Ok(Arc::new(file)),
            Ok(None) => {}
            Err(error) => return Err(Refused::Io(path, error)),
        }
        if started.elapsed() >= wait {
            let holder = holder(&path);
            return Err(Refused::Held(path, started.elapsed(), holder));
        }
        thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(50));
    }
}

/// Who holds a lock file, in words.
pub(super) fn holder(path: &Path) -> String {
    open(path).ok().and_then(|file| locks::holder(&file)).unwrap_or_else(|| "somebody".into())
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

/// Takes a lock file if it is free and still the one at its path.
pub(super) fn try_take(path: &Path) -> io::Result<Option<File>> {
    let file = open(path)?;
    match FileExt::try_lock_exclusive(&file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => return Ok(None),
        Err(error) => return Err(error),
    }
    let mine = file.metadata()?;
    let same = fs::symlink_metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == (mine.dev(), mine.ino()));
    Ok(same.then_some(file))
}
