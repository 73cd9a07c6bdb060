//! Tells one project directory from another, also after a rename, and from a copy of it.

use std::{
    fmt, fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use sha2::{Digest as _, Sha256};

/// What a directory is to the kernel: the same after a rename, another one in a copy or a new clone.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The device; its number may change with a reboot, so [`Identity::id`] leaves it out.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// Nanoseconds since the epoch at which the inode was made; absent where the file system does not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<i64>,
}

impl Identity {
    /// Asks the kernel about a directory; links are followed.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let meta = fs::metadata(dir)?;
        let asked = rustix::fs::statx(rustix::fs::CWD, dir, AtFlags::empty(), StatxFlags::BTIME);
        let born = asked.ok().filter(|stat| stat.stx_mask & StatxFlags::BTIME.bits() != 0).map(|stat| {
            stat.stx_btime.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(stat.stx_btime.tv_nsec))
        });
        Ok(Self { dev: meta.dev(), ino: meta.ino(), born })
    }

    /// Names the directory below the user's state directory: 16 hexadecimal digits. Without a birth time the
    /// path takes its place, since inode numbers are given out again.
    pub fn id(&self, path: &Path) -> ProjectId {
        let mut hash = Sha256::new();
        hash.update(self.ino.to_le_bytes());
        match self.born {
            Some(born) => hash.update(born.to_le_bytes()),
            None => hash.update(fs::canonicalize(path).unwrap_or_else(|_| path.into()).as_os_str().as_bytes()),
        }
        ProjectId(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A directory that is held open, so that it is found again wherever somebody moves it.
#[derive(Debug)]
struct Anchor {
    dir: OwnedFd,
    at: PathBuf,
}

impl Anchor {
    /// Holds a directory.
    #[expect(clippy::disallowed_methods, reason = "nothing is read: it is held by its place in the kernel only")]
    fn of(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { dir: rustix::fs::openat(CWD, dir, flags, Mode::empty())?, at: fs::canonicalize(dir)? })
    }

    /// Returns where the directory is now, if that is another place than at first. One that is unmounted, or gone, has none.
    fn moved_to(&self) -> Option<PathBuf> {
        let held = PathBuf::from(format!("/proc/self/fd/{}", self.dir.as_raw_fd()));
        let now = fs::read_link(&held).ok().filter(|now| *now != self.at)?;
        let (ours, there) = (fs::metadata(&held).ok()?, fs::metadata(&now).ok()?);
        ((ours.dev(), ours.ino()) == (there.dev(), there.ino())).then_some(now)
    }

    /// Tells whether something else lies where it was.
    fn is_replaced(&self) -> bool {
        fs::symlink_metadata(&self.at).is_ok()
    }

    /// Tells whether somebody removed it: it has no name any more, and never will have.
    fn is_removed(&self) -> bool {
        rustix::fs::fstat(&self.dir).is_ok_and(|stat| stat.st_nlink == 0)
    }
}

/// The time for which a directory may be elsewhere before that is meant: it may come back in a moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// The end of a directory where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Somebody moved it here.
    Moved(PathBuf),
    /// Somebody removed it.
    Removed,
}

/// The place of a directory, for a process that serves it and leaves when it is gone for good.
#[derive(Debug)]
pub struct Place {
    anchor: Option<Anchor>,
    /// The time since when it has been elsewhere.
    since: Option<Instant>,
}

impl Place {
    /// Remembers where a directory is; of one that cannot be held it is never known that it is gone.
    pub fn of(dir: &Path) -> Self {
        Self { anchor: Anchor::of(dir).ok(), since: None }
    }

    /// Notes that it was just found where it belongs.
    pub fn is_here(&mut self) {
        self.since = None;
    }

    /// Returns what became of it, where it is gone for good: removed, or elsewhere for a while or with another one in its
    /// place.
    pub fn gone(&mut self) -> Option<Gone> {
        let anchor = self.anchor.as_ref()?;
        if anchor.is_removed() {
            return Some(Gone::Removed);
        }
        let Some(now) = anchor.moved_to() else {
            self.since = None;
            return None;
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        (anchor.is_replaced() || since.elapsed() >= PATIENCE).then_some(Gone::Moved(now))
    }
}

/// The name of a project below the user's state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectId(String);

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(path: &Path) -> String {
        Identity::of(path).expect("a directory").id(path).to_string()
    }

    #[test]
    fn a_directory_that_is_removed_or_replaced_is_gone_and_one_that_is_away_for_a_moment_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let (at, moved) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir(&at).expect("made");
        let mut place = Place::of(&at);
        assert_eq!(place.gone(), None);
        fs::rename(&at, &moved).expect("moved");
        assert_eq!(place.gone(), None, "it may come back");
        fs::create_dir(&at).expect("another one");
        let now = fs::canonicalize(&moved).expect("there");
        assert_eq!(place.gone(), Some(Gone::Moved(now)));
        fs::remove_dir(&at).expect("removed");
        fs::rename(&moved, &at).expect("moved back");
        assert_eq!(place.gone(), None);
        fs::remove_dir(&at).expect("removed");
        assert_eq!(place.gone(), Some(Gone::Removed));
    }

    #[test]
    fn a_renamed_directory_keeps_its_id_and_a_copy_or_a_new_one_in_its_place_has_another() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, moved) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir(&first).expect("made");
        let before = id(&first);
        fs::rename(&first, &moved).expect("renamed");
        if Identity::of(&moved).expect("there").born.is_some() {
            assert_eq!(id(&moved), before);
        }
        fs::create_dir(&first).expect("made again");
        assert_ne!(id(&first), before);
    }
}
