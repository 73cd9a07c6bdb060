//! Locks on files: flocks, which the kernel lets go when their holder dies, however it dies.
//!
//! A lock file may be removed or replaced while somebody waits for it; who locks it then holds a lock on a file that
//! nobody else will ever open. So a lock counts only while its path still leads to the file.

use std::{
    fs::{File, symlink_metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use fs2::FileExt as _;

use super::{
    files::{self, FileError, Why, named},
    identity::Process,
};

/// The shortest pause between two tries; each that follows is half as long again.
const SHORTEST: Duration = Duration::from_micros(300);

/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_millis(20);

/// A lock that is held until it is dropped, and by every process that has got its descriptor.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock on the file that `open` opens; `None` when somebody holds it.
    pub fn try_take<E: From<FileError>>(
        path: &Path,
        mut open: impl FnMut() -> Result<File, E>,
    ) -> Result<Option<Self>, E> {
        loop {
            let file = open()?;
            if !attempt(|| file.try_lock_exclusive()).map_err(failed("lock", path))? {
                return Ok(None);
            }
            let lock = Self { file, path: path.into() };
            // Its last holder may have removed it between our opening and our locking.
            if lock.is_in_force()? {
                return Ok(Some(lock));
            }
        }
    }

    /// Takes the lock, waiting until the deadline at most; `None` when somebody held it all the while.
    pub fn take<E: From<FileError>>(
        path: &Path,
        deadline: Instant,
        mut open: impl FnMut() -> Result<File, E>,
    ) -> Result<Option<Self>, E> {
        // Not a blocking flock: it has no deadline, and a signal to end it would reach the whole process.
        let mut pause = SHORTEST;
        loop {
            if let Some(lock) = Self::try_take(path, &mut open)? {
                return Ok(Some(lock));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(jittered(pause).min(left));
            pause = (pause * 3 / 2).min(LONGEST);
        }
    }

    /// Tells whether the path still leads to the file that is locked; if not, others do not wait for us.
    pub fn is_in_force(&self) -> Result<bool, FileError> {
        let ours = self.file.metadata().map_err(failed("look at", &self.path))?;
        match symlink_metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("look at", &self.path)(error)),
        }
    }

    /// Returns the locked file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns the file, which keeps the lock until all its copies are closed.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Releases the lock at once, even if others have the descriptor: a child that another thread is just starting has it
    /// until its `exec`, and would keep the lock for as long.
    pub fn release(&self) {
        // Closing it does the same a little later.
        let _ = fs2::FileExt::unlock(&self.file);
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |error| FileError { doing, path: path.into(), why: Why::Io(error) }
}

/// Opens a lock file below a root, made where there is none.
pub fn open(root: &Path, path: &Path) -> impl FnMut() -> Result<File, FileError> {
    move || files::hold(root, path)
}

/// Tells whether somebody holds the lock on a file.
pub fn is_held(file: &File) -> io::Result<bool> {
    let free = attempt(|| fs2::FileExt::try_lock_shared(file))?;
    if free {
        // Whoever wants it should not meet us in its way.
        fs2::FileExt::unlock(file)?;
    }
    Ok(!free)
}

/// Runs an attempt to lock; `false` when somebody holds the lock.
fn attempt(lock: impl Fn() -> io::Result<()>) -> io::Result<bool> {
    loop {
        match lock() {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Spreads a pause between half and one and a half of its length, so that those who wait do not come back together.
pub fn jittered(pause: Duration) -> Duration {
    // The clock's last digits are random enough.
    let digits = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_nsec;
    pause / 2 + pause.mul_f64((digits % 1_000) as f64 / 1_000.0)
}

/// Returns the process that holds a flock, where the system tells.
pub fn holder_pid(file: &File) -> Option<u32> {
    let (device, inode) = file.metadata().map(|meta| (meta.dev(), meta.ino())).ok()?;
    let locks = named::text("/proc/locks").ok()?;
    holder_in(&locks, rustix::fs::major(device), rustix::fs::minor(device), inode)
}

/// Tells whether a process is stopped, so that it does nothing until it is continued.
pub fn is_stopped(pid: u32) -> bool {
    Process::look(pid).is_some_and(|seen| seen.stopped)
}

/// Returns who holds the lock on a file, in words.
pub fn holder(file: &File) -> Option<String> {
    let pid = holder_pid(file)?;
    let name = named::text(format!("/proc/{pid}/comm")).unwrap_or_default();
    let stopped = if is_stopped(pid) { ", which is stopped" } else { "" };
    Some(match name.trim() {
        "" => format!("process {pid}"),
        name => format!("process {pid} ({}{stopped})", name.chars().filter(|c| !c.is_control()).collect::<String>()),
    })
}

/// Returns who holds the lock on the file at a path, in words.
pub fn holder_at(path: &Path) -> Option<String> {
    holder(&named::open(path).ok()?)
}

/// Lists the inodes of all files on which somebody holds a flock; looking there disturbs nobody.
pub fn held_inodes() -> Vec<u64> {
    let locks = named::text("/proc/locks").unwrap_or_default();
    held(&locks).filter_map(|(_, file)| file.rsplit(':').next()?.parse().ok()).collect()
}

/// Lists the process and the file of each flock in the kernel's list, without those that are waited for.
fn held(locks: &str) -> impl Iterator<Item = (&str, &str)> {
    locks.lines().filter_map(|line| match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
        [_, "FLOCK", _, _, pid, file, ..] => Some((*pid, *file)),
        _ => None,
    })
}

fn holder_in(locks: &str, major: u32, minor: u32, inode: u64) -> Option<u32> {
    let exact = format!("{major:02x}:{minor:02x}:{inode}");
    let by_inode = format!(":{inode}");
    let found = |fits: &dyn Fn(&str) -> bool| held(locks).find(|(_, file)| fits(file))?.0.parse().ok();
    // Some file systems show another device here than to `stat`.
    found(&|file| file == exact).or_else(|| found(&|file| file.ends_with(&by_inode)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 11 08:01:77 0 EOF
2: FLOCK  ADVISORY  WRITE 12 08:01:78 0 EOF
2: -> FLOCK  ADVISORY  WRITE 13 08:01:78 0 EOF
3: FLOCK  ADVISORY  WRITE 14 00:2a:79 0 EOF
";

    #[test]
    fn the_holder_is_named_and_not_who_waits() {
        assert_eq!(holder_in(LOCKS, 8, 1, 78), Some(12));
        assert_eq!(holder_in(LOCKS, 0, 0x99, 79), Some(14), "by inode where the device differs");
        assert_eq!(holder_in(LOCKS, 8, 1, 77), None, "that is no flock");
    }

    #[test]
    fn a_lock_that_is_held_is_waited_for_no_longer_than_allowed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let take = |wait: u64| {
            let deadline = Instant::now() + Duration::from_millis(wait);
            Lock::take(&path, deadline, open(dir.path(), &path)).expect("no error")
        };
        let held = take(0).expect("free");
        let begun = Instant::now();
        assert!(take(30).is_none());
        assert!(begun.elapsed() >= Duration::from_millis(30) && begun.elapsed() < Duration::from_secs(5));
        assert!(holder_at(&path).is_some_and(|holder| holder.contains(&std::process::id().to_string())));
        assert!(is_held(&named::open(&path).expect("there")).expect("asked"));
        drop(held);
        assert!(!is_held(&named::open(&path).expect("there")).expect("asked"));
        assert!(take(0).is_some(), "who only asks holds nothing");
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_is_not_in_force() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let take = || Lock::try_take(&path, open(dir.path(), &path)).expect("no error").expect("free");
        let old = take();
        std::fs::remove_file(&path).expect("removed");
        assert!(!old.is_in_force().expect("looked"));
        assert!(take().is_in_force().expect("looked"), "another file");
    }
}
