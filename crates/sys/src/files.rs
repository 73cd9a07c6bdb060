//! One door for files that others may have written: a clone, an agent, another user of the machine.
//!
//! Every function takes a root, the path of which is the caller's own and may lead through links, and a path
//! below it (relative, or absolute and beginning with the root). Below the root the way is gone down name by name,
//! each name opened in the directory before it, so no link is followed, also none that is swapped in meanwhile:
//! this is what `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS` does, on every kernel and in every sandbox.
//! What is opened never blocks and is a regular file that belongs to us or to root, or it is refused.
//! How much is read, the caller says.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Metadata},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat, unlinkat},
    io::Errno,
};

mod atomic;
mod error;
pub mod named;
mod place;
mod private_dir;

pub use atomic::{Durable, publish, rename, rename_new, write_atomic};
pub use error::{FileError, Why};
use place::{CAREFUL, DIRECTORY, Need, PRIVATE, Place, no_file};
pub use private_dir::{close, make_dir, make_named_dir, make_new_dir};

/// The beginning of the names of temporary files; nobody has to wake for them.
pub const TEMPORARY: &str = ".oodatcaa-tmp.";

/// Enough for every record of a few lines that we write ourselves.
pub const RECORD: u64 = 4 << 20;

/// No index of git's is longer: it has ten million files then.
pub const INDEX: u64 = 1 << 30;

type Result<T> = std::result::Result<T, FileError>;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// What bears it.
    pub kind: Kind,
}

/// The kinds of directory entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, a pipe, a device.
    Other,
}

/// Reads a whole file of at most `cap` bytes; `None` when there is none.
pub fn read(root: &Path, path: &Path, cap: u64) -> Result<Option<Vec<u8>>> {
    let place = Place::new("read", root, path)?;
    place.open(OFlags::RDONLY, Need::Nothing)?.map(|file| place.drain(file, cap)).transpose()
}

/// Reads a file that grants something as [`read`] does; it is refused where everyone may write to it.
pub fn read_granting(root: &Path, path: &Path, cap: u64) -> Result<Option<Vec<u8>>> {
    let place = Place::new("read", root, path)?;
    place.open(OFlags::RDONLY, Need::Closed)?.map(|file| place.drain(file, cap)).transpose()
}

/// Reads as [`read`] does, as text.
pub fn read_text(root: &Path, path: &Path, cap: u64) -> Result<Option<String>> {
    let place = Place::new("read", root, path)?;
    let Some(bytes) = read(root, path, cap)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| place.refuse("it is not UTF-8 text"))
}

/// Reads a file that the user named by its own path, following links and whatever its owner; it must be a regular file
/// of at most `cap` bytes. `None` when there is none.
pub fn read_named(path: &Path, cap: u64) -> Result<Option<Vec<u8>>> {
    read_at(path, OFlags::empty(), cap)
}

fn read_at(path: &Path, flags: OFlags, cap: u64) -> Result<Option<Vec<u8>>> {
    let place = Place::named("read", path);
    let file = match openat(CWD, path, OFlags::RDONLY | CAREFUL | flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(place.failed(error)),
    };
    let meta = file.metadata().map_err(|error| place.failed(error))?;
    if !meta.is_file() {
        return Err(place.refuse(no_file(&meta)));
    }
    place.drain(file, cap).map(Some)
}

/// Reads the last `bytes` of a file; `None` when there is none.
pub(crate) fn read_tail(root: &Path, path: &Path, bytes: u64) -> Result<Option<Vec<u8>>> {
    let place = Place::new("read", root, path)?;
    let Some(mut file) = place.open(OFlags::RDONLY, Need::Nothing)? else { return Ok(None) };
    let mut read = || -> io::Result<Vec<u8>> {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
        let mut tail = Vec::new();
        (&file).take(bytes).read_to_end(&mut tail)?;
        Ok(tail)
    };
    read().map(Some).map_err(|error| place.failed(error))
}

/// Opens a file to read it piece by piece; `None` when there is none.
pub fn open(root: &Path, path: &Path) -> Result<Option<File>> {
    Place::new("open", root, path)?.open(OFlags::RDONLY, Need::Nothing)
}

/// Opens a file to add to its end, made for our eyes only where there is none. One with a second name is refused:
/// what we add would be added to somebody's file elsewhere.
pub fn append(root: &Path, path: &Path) -> Result<File> {
    Place::new("append to", root, path)?.open_or_create(OFlags::WRONLY | OFlags::APPEND, Need::Alone)
}

/// Opens a file to lock it, or to write over it under its lock, made for our eyes only where there is none; its content
/// is kept. One with a second name is refused.
pub fn hold(root: &Path, path: &Path) -> Result<File> {
    Place::new("open", root, path)?.open_or_create(OFlags::RDWR, Need::Alone)
}

/// Opens a file of a project to write over it, made with the directories above it as any program makes them; its
/// content is kept until the caller truncates it.
pub fn edit(root: &Path, path: &Path) -> Result<File> {
    let place = Place::new("write", root, path)?;
    let (name, above) = place.way.split_last().ok_or_else(|| place.refuse("it is a directory"))?;
    let at = place.descend(above, Some(Mode::from_raw_mode(0o777)))?.ok_or_else(|| place.failed(Errno::NOENT))?;
    place.open_or_create_at(&at, name, OFlags::WRONLY, Need::Nothing, Mode::from_raw_mode(0o666))
}

/// Makes a file for our eyes only; fails where the name is taken.
pub fn create_new(root: &Path, path: &Path) -> Result<File> {
    let place = Place::new("create", root, path)?;
    let (at, name) = place.parent()?.ok_or_else(|| place.failed(Errno::NOENT))?;
    place.create(&at, name, OFlags::RDWR, PRIVATE).map_err(|error| place.failed(error))
}

/// Removes a name that is not a directory's; `false` when there is none.
pub fn remove(root: &Path, path: &Path) -> Result<bool> {
    unlink(root, path, AtFlags::empty())
}

/// Removes a pipe, and wakes a reader at its other end with an end of file; `false` when there is none.
pub fn remove_pipe(root: &Path, path: &Path) -> Result<bool> {
    let place = Place::new("remove", root, path)?;
    let Some((at, name)) = place.parent()? else { return Ok(false) };
    let kind = statat(&at, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if kind != Ok(FileType::Fifo) {
        return Ok(false);
    }
    // Both ends are held until the name is gone: whoever has opened it by then reads an end when we close it.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let _ends = openat(&at, name, flags, Mode::empty());
    unlink(root, path, AtFlags::empty())
}

/// Removes an empty directory; `false` when there is none.
pub fn remove_dir(root: &Path, path: &Path) -> Result<bool> {
    unlink(root, path, AtFlags::REMOVEDIR)
}

/// Removes a directory with all below it, also what is read-only; links in it are removed, not followed. `false` when
/// there is none.
pub fn remove_tree(root: &Path, path: &Path) -> Result<bool> {
    let place = Place::new("remove", root, path)?;
    let Some((at, name)) = place.parent()? else { return Ok(false) };
    // The standard library goes down without following links; where it begins is held by its descriptor.
    let held = Path::new("/proc/self/fd").join(std::os::fd::AsRawFd::as_raw_fd(&at).to_string());
    let mut removed = std::fs::remove_dir_all(held.join(name));
    if removed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        // It must stay open: its number is the name of the second attempt, too.
        place::open_up(&at, name);
        removed = std::fs::remove_dir_all(held.join(name));
    }
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(place.failed(error)),
    }
}

/// Lists a directory of at most `cap` entries, by name; `None` when there is none.
pub fn list(root: &Path, path: &Path, cap: usize) -> Result<Option<Vec<Entry>>> {
    let place = Place::new("list", root, path)?;
    let Some(at) = place.directory(None)? else { return Ok(None) };
    let read = || -> std::result::Result<Vec<Entry>, Why> {
        let mut entries = Vec::new();
        for entry in Dir::new(openat(&at, ".", DIRECTORY | OFlags::RDONLY, Mode::empty())?)? {
            let entry = entry?;
            let name = <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() == cap {
                return Err(Why::TooMany(cap));
            }
            let kind = match entry.file_type() {
                // Some file systems do not say it here.
                FileType::Unknown => statat(&at, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                known => known,
            };
            let kind = match kind {
                FileType::RegularFile => Kind::File,
                FileType::Directory => Kind::Directory,
                _ => Kind::Other,
            };
            entries.push(Entry { name: name.into(), kind });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    };
    read().map(Some).map_err(|why| place.because(why))
}

/// Looks at what bears a name, a link for itself; `None` when there is nothing.
pub fn look(root: &Path, path: &Path) -> Result<Option<Metadata>> {
    let place = Place::new("look at", root, path)?;
    let Some((at, name)) = place.parent()? else { return Ok(None) };
    match openat(&at, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(found) => File::from(found).metadata().map(Some).map_err(|error| place.failed(error)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(place.failed(error)),
    }
}

fn unlink(root: &Path, path: &Path, flags: AtFlags) -> Result<bool> {
    let place = Place::new("remove", root, path)?;
    let Some((at, name)) = place.parent()? else { return Ok(false) };
    match unlinkat(&at, name, flags) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(place.failed(error)),
    }
}

#[cfg(test)]
mod tests;
