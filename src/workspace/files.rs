//! Copies of named untracked files into a worktree, without following a link on either side.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Component, Path},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

/// What became of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// It was made.
    Made,
    /// There is no such file to copy.
    Missing,
    /// Something stands there already and stays.
    There,
}

/// Copies one file from below one directory to the same place below another. Neither a link nor `..`
/// is followed on the way; what stands there already is not touched. The copy is private.
pub(super) fn copy(from: &Path, to: &Path, name: &str) -> io::Result<Copied> {
    let parts: Vec<&std::ffi::OsStr> = Path::new(name)
        .components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(part) => Ok(part),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path below the project")),
        })
        .collect::<io::Result<_>>()?;
    let Some((last, above)) = parts.split_last() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "names no file"));
    };
    let directory = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let mut source = rustix::fs::open(from, directory, Mode::empty())?;
    for part in above {
        source = match rustix::fs::openat(&source, *part, directory | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOENT) => return Ok(Copied::Missing),
            Err(error) => return Err(error.into()),
        };
    }
    // Without waiting for a writer, in case it is a pipe.
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut source = match rustix::fs::openat(&source, *last, read, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(Copied::Missing),
        Err(error) => return Err(error.into()),
    };
    if !source.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"));
    }
    let mut target: OwnedFd = rustix::fs::open(to, directory, Mode::empty())?;
    for part in above {
        match rustix::fs::mkdirat(&target, *part, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        target = rustix::fs::openat(&target, *part, directory | OFlags::NOFOLLOW, Mode::empty())?;
    }
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&target, *last, write, Mode::RUSR | Mode::WUSR) {
        Ok(file) => {
            io::copy(&mut source, &mut File::from(file))?;
            Ok(Copied::Made)
        }
        Err(Errno::EXIST) => Ok(Copied::There),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_file_is_copied_once_and_no_link_is_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("config")).expect("made");
        fs::create_dir_all(&to).expect("made");
        fs::write(from.join("config/.env"), "A=1").expect("written");
        fs::write(dir.path().join("secret"), "s").expect("written");
        symlink("../secret", from.join("link")).expect("a link");
        symlink("..", from.join("out")).expect("a link");
        assert_eq!(copy(&from, &to, "./config/.env").expect("copied"), Copied::Made);
        assert_eq!(fs::read_to_string(to.join("config/.env")).expect("there"), "A=1");
        fs::write(to.join("config/.env"), "A=2").expect("written");
        assert_eq!(copy(&from, &to, "config/.env").expect("looked"), Copied::There);
        assert_eq!(fs::read_to_string(to.join("config/.env")).expect("there"), "A=2");
        assert_eq!(copy(&from, &to, "none/x").expect("looked"), Copied::Missing);
        for bad in ["link", "out/secret", "../secret", "/etc/passwd", "", "config"] {
            assert!(copy(&from, &to, bad).is_err(), "{bad}");
        }
        // The branch brought a directory that leads out.
        symlink("../from", to.join("away")).expect("a link");
        fs::create_dir_all(from.join("away")).expect("made");
        fs::write(from.join("away/x"), "x").expect("written");
        assert!(copy(&from, &to, "away/x").is_err());
        assert!(!from.join("x").exists());
    }
}
