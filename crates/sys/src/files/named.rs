//! Files by their own paths: git's, those of our own state, and what the system tells in files. The way to them may lead
//! through links; the last name is none, nothing blocks, and nothing is read without end.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, openat},
    io::Errno,
};

use super::{DIRECTORY, Durable, Entry, FileError, Kind, RECORD, Why, atomic};

/// More than there are names in any directory that is listed whole.
const MANY: usize = 1_000_000;

/// Does something with a name in the directory that holds it.
fn at<T>(path: &Path, act: impl FnOnce(&Path, &Path) -> super::Result<T>) -> io::Result<T> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    Ok(act(above.unwrap_or(Path::new(".")), path.file_name().map_or(path, Path::new))?)
}

/// Reads a small file; it fails where there is none.
pub fn bytes(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    super::read_at(path.as_ref(), OFlags::NOFOLLOW, RECORD)?.ok_or_else(|| Errno::NOENT.into())
}

/// Reads as [`bytes`] does, as text.
pub fn text(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(bytes(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Lists a directory, by name; what cannot be listed has no entries.
pub fn entries(dir: impl AsRef<Path>) -> Vec<Entry> {
    let dir = dir.as_ref();
    super::list(dir, Path::new(""), MANY).ok().flatten().unwrap_or_default()
}

/// Opens a directory as a place, e.g. to reach a socket in it by a short path; a link is none.
pub(crate) fn place(dir: &Path) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, dir, flags, Mode::empty())?.into())
}

/// Lists the names of the directories in a directory.
pub fn directories(dir: impl AsRef<Path>) -> impl Iterator<Item = std::ffi::OsString> {
    entries(dir).into_iter().filter(|entry| entry.kind == Kind::Directory).map(|entry| entry.name)
}

/// Writes a file whole, for our eyes only, in the place of whatever bore the name.
pub fn write(path: &Path, content: impl AsRef<[u8]>, durable: Durable) -> io::Result<()> {
    at(path, |above, name| super::write_atomic(above, name, content.as_ref(), durable))
}

/// Writes a file whole with a mode, in the place of whatever bore the name.
pub fn write_as(path: &Path, content: impl AsRef<[u8]>, mode: u32, durable: Durable) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode & 0o7777);
    at(path, |above, name| atomic::put(above, name, content.as_ref(), Some(mode), durable, true))
}

/// Makes a file whole and durable with a mode; fails where the name is taken.
pub fn write_new(path: &Path, content: impl AsRef<[u8]>, mode: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode & 0o7777);
    at(path, |above, name| atomic::put(above, name, content.as_ref(), Some(mode), Durable::Yes, false))
}

/// Opens a file to lock it, made for our eyes only where there is none.
pub fn hold(path: &Path) -> io::Result<File> {
    at(path, super::hold)
}

/// Opens a regular file to read it piece by piece; it fails where there is none.
pub fn open(path: &Path) -> io::Result<File> {
    at(path, super::open)?.ok_or_else(|| Errno::NOENT.into())
}

/// Removes a name that is not a directory's; `false` when there is none.
pub fn remove(path: &Path) -> io::Result<bool> {
    at(path, super::remove)
}

/// Removes an empty directory.
pub fn remove_dir(path: &Path) -> io::Result<()> {
    at(path, super::remove_dir).map(drop)
}

/// Makes a file for our eyes only; fails where the name is taken.
pub fn create_new(path: &Path) -> io::Result<File> {
    at(path, super::create_new)
}

/// Copies a regular file of at most `cap` bytes in the place of whatever bore the name, with its mode and the time of
/// its last change. It fails where there is none.
pub fn copy(from: &Path, to: &Path, cap: u64) -> io::Result<()> {
    let source = open(from)?;
    let meta = source.metadata()?;
    if meta.len() > cap {
        let why = Why::TooLong { size: meta.len(), cap };
        return Err(FileError { doing: "copy", path: from.into(), why }.into());
    }
    remove(to)?;
    let mut copy = create_new(to)?;
    io::copy(&mut io::Read::take(source, cap), &mut copy)?;
    copy.set_permissions(meta.permissions())?;
    copy.set_modified(meta.modified()?)
}

/// Renews the time of the last change of what bears a name; nothing is opened. It fails where there is none.
pub fn touch(path: &Path) -> io::Result<()> {
    let now = |nanos| Timespec { tv_sec: 0, tv_nsec: nanos };
    let times = Timestamps { last_access: now(UTIME_OMIT), last_modification: now(UTIME_NOW) };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Lets two files of one file system change their names.
pub fn exchange(one: &Path, other: &Path) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
}

/// Gives a file another name, unless something bears it.
pub fn rename_new(from: &Path, to: &Path) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}

/// Has a directory's entries reach the disk.
pub fn sync_directory(dir: &Path) -> io::Result<()> {
    File::from(openat(CWD, dir, DIRECTORY | OFlags::RDONLY, Mode::empty())?).sync_all()
}

/// Gives a file or directory another name, over what bore that name; a link for itself.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}
