//! Directories for our eyes only.

use std::{
    fs::{DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, openat},
    io::Errno,
};

use super::{DIRECTORY, Place, Result, place::make_at};

/// Makes a directory and those above it below the root, for our eyes only, unless they are there.
pub fn make_dir(root: &Path, path: &Path) -> Result<()> {
    let place = Place::new("create", root, path)?;
    let at = place.directory(Some(Mode::RWXU))?.ok_or_else(|| place.failed(Errno::NOENT))?;
    let meta = File::from(at).metadata().map_err(|error| place.failed(error))?;
    place.check_owner(&meta)
}

/// Makes a directory that the user named by its own path, and those above it, for our eyes only, unless they are
/// there; links are followed.
pub fn make_named_dir(path: &Path) -> Result<()> {
    let place = Place::named("create", path);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| place.failed(error))
}

/// Closes a directory of ours to everybody else.
pub fn close(root: &Path, path: &Path) -> Result<()> {
    let place = Place::new("close to others", root, path)?;
    let at = place.directory(None)?.ok_or_else(|| place.failed(Errno::NOENT))?;
    let at = openat(&at, ".", DIRECTORY | OFlags::RDONLY, Mode::empty()).map_err(|error| place.failed(error))?;
    let mode = rustix::fs::fstat(&at).map_err(|error| place.failed(error))?.st_mode;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    rustix::fs::fchmod(&at, Mode::RWXU).map_err(|error| place.failed(error))
}

/// Makes a directory that was not there, for our eyes only, and those above it; fails where the name is taken.
pub fn make_new_dir(root: &Path, path: &Path) -> Result<()> {
    let place = Place::new("create", root, path)?;
    let Some((name, above)) = place.way.split_last() else { return Err(place.failed(Errno::EXIST)) };
    let at = place.descend(above, Some(Mode::RWXU))?.ok_or_else(|| place.failed(Errno::NOENT))?;
    make_at(&at, name, Mode::RWXU).map_err(|error| place.failed(error))
}
