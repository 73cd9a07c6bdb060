//! Files written whole: a reader, and whoever comes after a crash, sees the old content or the new.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags, openat, renameat, renameat_with, statat, unlinkat},
    io::Errno,
};

use super::{DIRECTORY, PRIVATE, Place, Result, TEMPORARY, no_file};

/// True if what was written must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// It must: file and directory are synced.
    Yes,
    /// It means nothing after one.
    No,
}

/// Writes a file whole, for our eyes only, in the place of whatever bore the name.
pub fn write_atomic(root: &Path, path: &Path, content: &[u8], durable: Durable) -> Result<()> {
    put(root, path, content, Some(PRIVATE), durable, true)
}

/// Writes a file of a project whole and durably, with the directories above it, as any program makes them; one that is
/// there keeps its mode. Where it is not to go over what bears the name, it fails when the name is taken.
pub fn publish(root: &Path, path: &Path, content: &[u8], over: bool) -> Result<()> {
    let place = Place::new("write", root, path)?;
    let (_, above) = place.way.split_last().ok_or_else(|| place.refuse("it is a directory"))?;
    place.descend(above, Some(Mode::from_raw_mode(0o777)))?.ok_or_else(|| place.failed(Errno::NOENT))?;
    let mode = match super::look(root, path)? {
        Some(meta) if !meta.is_file() => return Err(place.refuse(no_file(&meta))),
        there => there.map(|meta| Mode::from_raw_mode(meta.mode() & 0o777)),
    };
    put(root, path, content, mode, Durable::Yes, over)
}

/// Writes a file whole, with this mode whatever the umask says, or as any program makes it; where it is not to go over
/// what bears the name, it fails when the name is taken.
pub(super) fn put(
    root: &Path,
    path: &Path,
    content: &[u8],
    mode: Option<Mode>,
    durable: Durable,
    over: bool,
) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let place = Place::new("write", root, path)?;
    let (at, name) = place.parent()?.ok_or_else(|| place.failed(Errno::NOENT))?;
    let (temporary, mut file) = loop {
        // Whoever guesses the name only makes us take the next.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = OsString::from(format!("{TEMPORARY}{}.{count}", std::process::id()));
        match place.create(
            &at,
            &temporary,
            OFlags::WRONLY,
            if mode.is_some() { PRIVATE } else { Mode::from_raw_mode(0o666) },
        ) {
            Ok(file) => break (temporary, file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(place.failed(error)),
        }
    };
    let mut write = || -> io::Result<()> {
        file.write_all(content)?;
        if let Some(mode) = mode.filter(|mode| *mode != PRIVATE) {
            rustix::fs::fchmod(&file, mode)?;
        }
        if durable == Durable::Yes {
            // Before the rename: a name that reaches the disk before its content is an empty file after a power cut.
            file.sync_all()?;
        }
        if over { renameat(&at, &temporary, &at, name) } else { move_new(&at, &temporary, &at, name) }?;
        if durable == Durable::Yes {
            File::from(openat(&at, ".", DIRECTORY | OFlags::RDONLY, Mode::empty())?).sync_all()?;
        }
        Ok(())
    };
    write().map_err(|error| {
        let _ = unlinkat(&at, &temporary, AtFlags::empty());
        place.failed(error)
    })
}

/// Gives a file or directory below a root another name below it, over what bore that name.
pub fn rename(root: &Path, from: &Path, to: &Path) -> Result<()> {
    moved(root, from, to, |old, name, new, other| renameat(old, name, new, other))
}

/// Moves a file or directory to a name that is free; fails where it is taken.
pub fn rename_new(root: &Path, from: &Path, to: &Path) -> Result<()> {
    moved(root, from, to, move_new)
}

type Fd = rustix::fd::OwnedFd;
type Name = std::ffi::OsStr;

fn moved(
    root: &Path,
    from: &Path,
    to: &Path,
    rename: impl Fn(&Fd, &Name, &Fd, &Name) -> rustix::io::Result<()>,
) -> Result<()> {
    let (from, to) = (Place::new("rename", root, from)?, Place::new("create", root, to)?);
    let missing = || from.failed(Errno::NOENT);
    let ((old, name), (new, other)) = (from.parent()?.ok_or_else(missing)?, to.parent()?.ok_or_else(missing)?);
    rename(&old, name, &new, other).map_err(|error| {
        let place = if error == Errno::EXIST { &to } else { &from };
        place.failed(error)
    })
}

fn move_new(old: &Fd, name: &Name, new: &Fd, other: &Name) -> rustix::io::Result<()> {
    match renameat_with(old, name, new, other, RenameFlags::NOREPLACE) {
        // The file system cannot promise it; then we look, and only a moment stays.
        Err(Errno::INVAL | Errno::NOSYS) if statat(new, other, AtFlags::SYMLINK_NOFOLLOW).is_err() => {
            renameat(old, name, new, other)
        }
        done => done,
    }
}
