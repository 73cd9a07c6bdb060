//! Files as a careful program treats them: no links followed, nobody else's touched, replaced whole and durably.
//!
//! What stands in the files, others know.

use std::{
    fs::{self, File},
    io::{self, Read, Seek as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::StoreError;
use oodatcaa_sys::files::{self, FileError, Why, named};

pub(super) use oodatcaa_sys::files::TEMPORARY;

/// The file that a path led to, and its state at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Tells whether it is the same file, changed or not.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Tells whether the last change is so fresh that a further one could bear the same times.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_younger_than(Duration::from_millis(100))
    }

    /// Tells whether the last change lies less than this behind us.
    pub(super) fn is_younger_than(&self, age: Duration) -> bool {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let since = |(seconds, nanos): (i64, i64)| {
            (now.tv_sec - seconds).saturating_mul(1_000) + (now.tv_nsec - nanos) / 1_000_000
        };
        since(self.changed.max(self.modified)) < i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
    }

    /// Returns when the file got its content in this place, on the wall clock.
    pub(super) fn placed(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        chrono::DateTime::from_timestamp(self.changed.0, u32::try_from(self.changed.1).ok()?)
    }
}

/// Marks a place where tests may let a commit fail or die, between any two durable steps.
///
/// `return(28)` answers with that error of the system, `return(kill)` ends the process as SIGKILL does.
pub(super) fn point(name: &'static str) -> io::Result<()> {
    fail::fail_point!(name, |what| {
        let what = what.unwrap_or_default();
        if what == "kill" {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
        Err(what.parse().map_or_else(|_| io::Error::other(format!("failpoint {name}")), io::Error::from_raw_os_error))
    });
    let _ = name;
    Ok(())
}

/// Turns an error of the system into one of the store's.
pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| match source.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            StoreError::Unsafe { path: path.into(), reason: "it is a symbolic link".into() }
        }
        _ => StoreError::Io { doing, path: path.into(), source },
    }
}

/// Refuses to work for another user than the one that a project belongs to, also as root: what root makes there keeps
/// the owner out.
pub(super) fn check_owner(directory: &Path) -> Result<(), StoreError> {
    let me = rustix::process::geteuid().as_raw();
    let Some(owner) = look(directory)?.map(|meta| meta.uid()).filter(|owner| *owner != me) else { return Ok(()) };
    let reason = format!(
        "it belongs to user {owner}, and user {me} would keep them out of what it makes; start the worker as user {owner}"
    );
    Err(StoreError::Unsafe { path: directory.into(), reason })
}

/// Refuses what is not ours alone to write.
pub(super) fn check(path: &Path, meta: &fs::Metadata, directory: bool) -> Result<(), StoreError> {
    let refuse = |reason: String| Err(StoreError::Unsafe { path: path.into(), reason });
    let me = rustix::process::geteuid();
    if meta.is_symlink() {
        refuse("it is a symbolic link".into())
    } else if meta.is_dir() != directory || (!directory && !meta.is_file()) {
        refuse(format!("it is not a {}", if directory { "directory" } else { "regular file" }))
    } else if meta.uid() != me.as_raw() && !me.is_root() {
        refuse(format!("it belongs to user {}", meta.uid()))
    } else if meta.mode() & 0o002 != 0 {
        refuse("everyone may write to it".into())
    } else {
        Ok(())
    }
}

/// Checks a directory of ours, if it is there.
pub(super) fn check_directory(path: &Path) -> Result<bool, StoreError> {
    look(path)?.map(|meta| check(path, &meta, true)).transpose().map(|checked| checked.is_some())
}

/// Makes a directory of state, for our eyes only, unless it is there.
pub(super) fn make_directory(path: &Path) -> Result<(), StoreError> {
    if check_directory(path)? {
        return Ok(());
    }
    Ok(files::make_dir(path.parent().unwrap_or(path), path)?)
}

/// Opens a file to lock, creating it for our eyes only; its content is kept.
pub(super) fn hold(path: &Path) -> Result<File, StoreError> {
    checked(path, files::hold(path.parent().unwrap_or(path), path)?)
}

/// Opens a file to append to, creating it for our eyes only.
pub(super) fn append(path: &Path) -> Result<File, StoreError> {
    checked(path, files::append(path.parent().unwrap_or(path), path)?)
}

fn checked(path: &Path, file: File) -> Result<File, StoreError> {
    check(path, &file.metadata().map_err(failed("look at", path))?, false)?;
    Ok(file)
}

/// Opens a file to read; `None` when there is none.
pub(super) fn open(path: &Path) -> Result<Option<File>, StoreError> {
    files::open(path.parent().unwrap_or(path), path)?.map(|file| checked(path, file)).transpose()
}

/// Tells whether most of a long file has never been written: what `truncate -s` makes.
pub(super) fn is_mostly_hole(path: &Path, size: u64) -> bool {
    size > 16 << 20 && fs::symlink_metadata(path).is_ok_and(|meta| meta.blocks().saturating_mul(512) < size / 2)
}

/// No queue file has more bytes: a million tasks have a quarter of it.
pub const LONGEST: u64 = 1 << 30;

/// Reads a whole file of at most so many bytes; `None` when there is none.
pub(super) fn read(path: &Path, cap: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let bytes = whole(&mut file, cap + 1).map_err(failed("read", path))?;
    if bytes.len() as u64 > cap {
        let why = Why::TooLong { size: file.metadata().map_or(cap, |meta| meta.len()), cap };
        return Err(FileError { doing: "read", path: path.into(), why }.into());
    }
    Ok(Some(bytes))
}

/// Tells whether a file holds exactly this. It is compared piece by piece: nothing of its size is built.
pub(super) fn holds(file: &mut File, expected: &[u8]) -> io::Result<bool> {
    let mut piece = [0; 64 * 1024];
    for part in expected.chunks(piece.len()) {
        let piece = &mut piece[..part.len()];
        match file.read_exact(piece) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if piece != part {
            return Ok(false);
        }
    }
    Ok(file.take(1).read_to_end(&mut Vec::new())? == 0)
}

/// Reads a file from its beginning, and no more bytes of it than these.
pub(super) fn whole(file: &mut File, most: u64) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let size = file.metadata()?.len().min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    // It may grow while it is read.
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the stamp of what a path leads to; `None` when there is nothing.
pub(super) fn stamp(path: &Path) -> Result<Option<Stamp>, StoreError> {
    Ok(look(path)?.map(|meta| Stamp::of(&meta)))
}

/// Looks at what a path leads to, a link for itself; `None` when there is nothing.
fn look(path: &Path) -> Result<Option<fs::Metadata>, StoreError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some).map_err(failed("look at", path)),
    }
}

/// Has a directory's entries reach the disk.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    point("store.dirsync")?;
    named::sync_directory(path)
}

/// Removes temporary files that a crash left behind; only for one who holds the queue lock.
pub(super) fn sweep(directory: &Path) {
    leftovers(directory).iter().for_each(|path| discard(path));
}

/// Lists the temporary files in a directory.
pub(super) fn leftovers(directory: &Path) -> Vec<PathBuf> {
    let names = named::entries(directory).into_iter().map(|entry| entry.name);
    names.filter(|name| name.to_string_lossy().starts_with(TEMPORARY)).map(|name| directory.join(name)).collect()
}

/// Removes a leftover; if it cannot be removed now, the next sweep tries again.
pub(super) fn discard(path: &Path) {
    if let Err(error) = named::remove(path) {
        log::debug!("a leftover stays: {}: {error}", path.display());
    }
}

/// Refuses file systems on which a lock does not keep everybody else out.
pub(super) fn check_filesystem(path: &Path) -> Result<(), StoreError> {
    // Magic numbers of 32 bits, in a type whose size and sign depend on the machine.
    let Some(kind) = rustix::fs::statfs(path).ok().and_then(|found| shared(found.f_type as u32)) else { return Ok(()) };
    let reason = format!(
        "it is on {kind}, where a lock may not keep others out, so that two workers could take one task; \
         move the project to a local disk (ext4, xfs, btrfs, tmpfs)"
    );
    Err(StoreError::Unfit { path: path.into(), reason })
}

/// Returns the name of a file system that other machines or programs may serve, by its magic number.
fn shared(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517b => "SMB",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x0102_1997 => "9P",
        0x6573_5546 => "FUSE",
        0x5346_414f => "AFS",
        0x00c3_6400 => "Ceph",
        0x7375_7245 => "Coda",
        0x564c => "NCP",
        0x0bd0_0bd0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x7461_636f => "OCFS2",
        0x6b41_4653 => "AFS",
        0x0116_1970 => "GFS2",
        0x1983_0326 => "BeeGFS",
        0x2003_0528 => "OrangeFS",
        0xaad7_aaea => "PanFS",
        0x786f_4256 => "VirtualBox shared folders",
        0xbacb_acbc => "VMware shared folders",
        0x7c7c_6673 => "Parallels shared folders",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_others_are_known_and_local_ones_pass() {
        assert_eq!((shared(0x6969), shared(0xff53_4d42)), (Some("NFS"), Some("CIFS")));
        assert_eq!(shared(0x6573_5546), Some("FUSE"), "and VirtioFS, which says so");
        assert_eq!(shared(0x0102_1997), Some("9P"), "and the drives of Windows");
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(shared(local), None, "ext4, xfs, btrfs, tmpfs, overlay");
        }
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_holds_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("queue");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("made");
        assert!(matches!(read(&path, 9), Err(StoreError::Unsafe { .. })));
    }
}
