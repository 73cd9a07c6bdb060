//! Tells one project directory from another, also after a rename, and from a copy of it.

use std::{
    fmt, fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
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
pub struct Anchor {
    dir: OwnedFd,
    at: PathBuf,
}

impl Anchor {
    /// Holds a directory.
    #[expect(clippy::disallowed_methods, reason = "nothing is read: it is held by its place in the kernel only")]
    pub fn of(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { dir: rustix::fs::openat(CWD, dir, flags, Mode::empty())?, at: fs::canonicalize(dir)? })
    }

    /// Returns where the directory is now, if that is another place than at first. One that is unmounted, or gone, has none.
    pub fn moved_to(&self) -> Option<PathBuf> {
        let held = PathBuf::from(format!("/proc/self/fd/{}", self.dir.as_raw_fd()));
        let now = fs::read_link(&held).ok().filter(|now| *now != self.at)?;
        let (ours, there) = (fs::metadata(&held).ok()?, fs::metadata(&now).ok()?);
        ((ours.dev(), ours.ino()) == (there.dev(), there.ino())).then_some(now)
    }

    /// Tells whether something else lies where it was.
    pub fn is_replaced(&self) -> bool {
        fs::symlink_metadata(&self.at).is_ok()
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
