//! A name below a root and the way down to it.

use std::{
    borrow::Cow,
    ffi::OsStr,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, mkdirat, openat, statat},
    io::Errno,
};

use super::{FileError, Result, Why};

pub(super) const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// A pipe does not hold us, a terminal does not become ours, no program that we start gets it.
pub(super) const CAREFUL: OFlags = OFlags::NONBLOCK.union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// The mode of our own files.
pub(super) const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// What is asked of a file besides being regular and ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    /// Not everyone may write to it.
    Closed,
    /// It has one name only.
    Alone,
}

/// A name below a root, and what is to be done there.
pub(super) struct Place<'a> {
    pub(super) doing: &'static str,
    pub(super) root: &'a Path,
    pub(super) shown: PathBuf,
    pub(super) way: Vec<&'a OsStr>,
}

impl<'a> Place<'a> {
    pub(super) fn new(doing: &'static str, root: &'a Path, path: &'a Path) -> Result<Self> {
        let mut place = Self { doing, root, shown: root.join(path), way: Vec::new() };
        let outside = "it is not below the directory that it should be in";
        let below = if path.is_absolute() { path.strip_prefix(root) } else { Ok(path) };
        for part in below.map_err(|_| place.refuse(outside))?.components() {
            match part {
                Component::CurDir => {}
                Component::Normal(name) => place.way.push(name),
                _ => return Err(place.refuse(outside)),
            }
        }
        Ok(place)
    }

    /// Names a file by its own path, which may lead through links.
    pub(super) fn named(doing: &'static str, path: &'a Path) -> Self {
        Self { doing, root: path, shown: path.into(), way: Vec::new() }
    }

    pub(super) fn because(&self, why: impl Into<Why>) -> FileError {
        FileError { doing: self.doing, path: self.shown.clone(), why: why.into() }
    }

    pub(super) fn refuse(&self, reason: impl Into<Cow<'static, str>>) -> FileError {
        self.because(Why::Refused(reason.into()))
    }

    pub(super) fn failed(&self, error: impl Into<io::Error>) -> FileError {
        self.because(Why::Io(error.into()))
    }

    /// Opens the directory that holds the name; `None` when it is missing.
    pub(super) fn parent(&self) -> Result<Option<(OwnedFd, &'a OsStr)>> {
        let (name, above) = self.way.split_last().ok_or_else(|| self.refuse("it is a directory"))?;
        Ok(self.descend(above, None)?.map(|at| (at, *name)))
    }

    /// Opens the directory of this name itself.
    pub(super) fn directory(&self, make: Option<Mode>) -> Result<Option<OwnedFd>> {
        self.descend(&self.way, make)
    }

    pub(super) fn descend(&self, way: &[&OsStr], make: Option<Mode>) -> Result<Option<OwnedFd>> {
        let mut at = match openat(CWD, self.root, DIRECTORY | OFlags::PATH, Mode::empty()) {
            Ok(at) => at,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let mut path = self.root.to_owned();
        for name in way {
            path.push(name);
            let open = || openat(&at, *name, DIRECTORY | OFlags::PATH | OFlags::NOFOLLOW, Mode::empty());
            let next = match open() {
                Err(Errno::NOENT) if let Some(mode) = make => match make_at(&at, name, mode) {
                    Ok(()) | Err(Errno::EXIST) => open(),
                    Err(error) => Err(error),
                },
                opened => opened,
            };
            at = match next {
                Ok(next) => next,
                Err(Errno::NOENT) if make.is_none() => return Ok(None),
                Err(error) => {
                    // The place in the way is what somebody has to look at.
                    let why = match other_than(&at, name, FileType::Directory) {
                        Some(kind) => Why::Refused(kind.into()),
                        None => Why::Io(error.into()),
                    };
                    return Err(FileError { doing: self.doing, path, why });
                }
            };
        }
        Ok(Some(at))
    }

    pub(super) fn open(&self, flags: OFlags, need: Need) -> Result<Option<File>> {
        match self.parent()? {
            Some((at, name)) => self.open_at(&at, name, flags, need),
            None => Ok(None),
        }
    }

    fn open_at(&self, at: &OwnedFd, name: &OsStr, flags: OFlags, need: Need) -> Result<Option<File>> {
        let file = match openat(at, name, flags | CAREFUL | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => {
                return Err(match other_than(at, name, FileType::RegularFile) {
                    Some(kind) => self.refuse(kind),
                    None => self.failed(error),
                });
            }
        };
        let meta = file.metadata().map_err(|error| self.failed(error))?;
        if !meta.is_file() {
            return Err(self.refuse(no_file(&meta)));
        }
        self.check_owner(&meta)?;
        match need {
            Need::Closed if meta.mode() & 0o002 != 0 => Err(self.refuse("everyone may write to it")),
            Need::Alone if meta.nlink() > 1 => {
                Err(self.refuse(format!("it is a file elsewhere as well: {} hard links lead to it", meta.nlink())))
            }
            _ => {
                // Whoever inherits it should not see a flag that means nothing to a file.
                let _ = rustix::fs::fcntl_setfl(&file, flags & OFlags::APPEND);
                Ok(Some(file))
            }
        }
    }

    pub(super) fn open_or_create(&self, flags: OFlags, need: Need) -> Result<File> {
        let (at, name) = self.parent()?.ok_or_else(|| self.failed(Errno::NOENT))?;
        self.open_or_create_at(&at, name, flags, need, PRIVATE)
    }

    pub(super) fn open_or_create_at(
        &self,
        at: &OwnedFd,
        name: &OsStr,
        flags: OFlags,
        need: Need,
        mode: Mode,
    ) -> Result<File> {
        loop {
            if let Some(file) = self.open_at(at, name, flags, need)? {
                return Ok(file);
            }
            match self.create(at, name, flags, mode) {
                // Somebody made it between the two.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map_err(|error| self.failed(error)),
            }
        }
    }

    pub(super) fn create(&self, at: &OwnedFd, name: &OsStr, flags: OFlags, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | CAREFUL;
        let file = openat(at, name, flags, mode)?;
        resemble(&file, at);
        Ok(file.into())
    }

    pub(super) fn check_owner(&self, meta: &Metadata) -> Result<()> {
        let me = rustix::process::geteuid();
        if me.is_root() || meta.uid() == me.as_raw() || meta.uid() == 0 {
            return Ok(());
        }
        Err(self.refuse(format!("it belongs to user {}", meta.uid())))
    }

    pub(super) fn drain(&self, file: File, cap: u64) -> Result<Vec<u8>> {
        let long = |size| self.because(Why::TooLong { size, cap });
        let size = file.metadata().map_err(|error| self.failed(error))?.len();
        if size > cap {
            return Err(long(size));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
        // It may grow while it is read.
        file.take(cap + 1).read_to_end(&mut bytes).map_err(|error| self.failed(error))?;
        if bytes.len() as u64 > cap { Err(long(bytes.len() as u64)) } else { Ok(bytes) }
    }
}

pub(super) fn make_at(at: &OwnedFd, name: &OsStr, mode: Mode) -> rustix::io::Result<()> {
    mkdirat(at, name, mode)?;
    if let Ok(made) = openat(at, name, DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY, Mode::empty()) {
        resemble(&made, at);
    }
    Ok(())
}

/// Gives what root makes in another user's project to them, as far as the system lets us.
fn resemble(made: &OwnedFd, directory: &OwnedFd) {
    if rustix::process::geteuid().is_root()
        && let Ok(stat) = rustix::fs::fstat(directory)
    {
        let (uid, gid) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
        let _ = rustix::fs::fchown(made, Some(uid), Some(gid));
    }
}

/// Lets us into a directory and all below it. What stays closed shows when it is removed.
pub(super) fn open_up(at: &OwnedFd, name: &OsStr) {
    let Ok(at) = at.try_clone() else { return };
    // Held once for all that is below it, so that a wide tree needs few descriptors.
    let mut dirs = vec![(Rc::new(at), name.to_owned())];
    while let Some((at, name)) = dirs.pop() {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        let Ok(held) = openat(&at, &name, flags | OFlags::PATH, Mode::empty()).map(Rc::new) else { continue };
        // Only by this name may what cannot be read be changed.
        let _ = rustix::fs::chmod(format!("/proc/self/fd/{}", held.as_raw_fd()), Mode::RWXU);
        let Ok(dir) = openat(&held, ".", flags | OFlags::RDONLY, Mode::empty()).and_then(Dir::new) else { continue };
        for entry in dir.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if entry.file_type() == FileType::Directory && name != "." && name != ".." {
                dirs.push((Rc::clone(&held), name.to_owned()));
            }
        }
    }
}

/// Names in words what bears a name, unless it is what was wanted or nothing.
fn other_than(at: &OwnedFd, name: &OsStr, wanted: FileType) -> Option<String> {
    let found = FileType::from_raw_mode(statat(at, name, AtFlags::SYMLINK_NOFOLLOW).ok()?.st_mode);
    (found != wanted).then(|| words(found, wanted))
}

pub(super) fn no_file(meta: &Metadata) -> String {
    words(FileType::from_raw_mode(meta.mode()), FileType::RegularFile)
}

fn words(found: FileType, wanted: FileType) -> String {
    let is = match found {
        FileType::Symlink => return "it is a symbolic link".into(),
        FileType::Directory => "a directory",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::RegularFile => "a file",
        _ => "a device",
    };
    let not = if wanted == FileType::Directory { "a directory" } else { "a regular file" };
    format!("it is {is}, not {not}")
}
