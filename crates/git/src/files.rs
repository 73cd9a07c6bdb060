//! Copies of named untracked files and directories into a worktree, without following a link on either side.

#![expect(
    clippy::disallowed_methods,
    reason = "it goes down both sides by descriptors, without links, and waits nowhere"
)]

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};

/// How many files one worktree gets; whoever wants more wants a `setup` command.
const MOST: usize = 20_000;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

/// What was copied, below the project's root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// Files, and directories that were not there before, with all that is in them.
    pub(super) paths: Vec<PathBuf>,
    /// Every file.
    pub(super) files: Vec<PathBuf>,
}

/// Copies what a pattern names from below one directory to the same places below another: a file, a directory with
/// all that is in it, or several by `*`, `?` and, for directories of any depth, `**`. Neither a link nor `..` is
/// followed; what stands there already is not touched, nor is a path that `spare` names. Files of a copy are private.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    pattern: &str,
    spare: &dyn Fn(&Path) -> bool,
    made: &mut Made,
) -> io::Result<()> {
    let parts: Vec<&OsStr> = Path::new(pattern)
        .components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(part) => Ok(part),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path below the project")),
        })
        .collect::<io::Result<_>>()?;
    if parts.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "names no file"));
    }
    let source = rustix::fs::open(from, DIRECTORY, Mode::empty())?;
    let mut copier = Copier { to, spare, made };
    copier.find(&source, Path::new(""), &parts)
}

struct Copier<'a> {
    to: &'a Path,
    spare: &'a dyn Fn(&Path) -> bool,
    made: &'a mut Made,
}

impl Copier<'_> {
    /// Goes down the pattern; `at` is the directory that is open.
    fn find(&mut self, dir: &OwnedFd, at: &Path, parts: &[&OsStr]) -> io::Result<()> {
        let Some((part, rest)) = parts.split_first() else { return Ok(()) };
        if !is_pattern(part) {
            let path = at.join(part);
            return match kind(dir, part)? {
                None => Ok(()),
                Some(FileType::Directory) if !rest.is_empty() => self.find(&open(dir, part)?, &path, rest),
                Some(_) if rest.is_empty() => self.take(dir, part, &path),
                // What leads on is no directory: there is nothing below it, unless it is a link.
                Some(_) => {
                    Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is no directory", path.display())))
                }
            };
        }
        let deep = *part == "**";
        if deep {
            let all = [OsStr::new("*")];
            self.find(dir, at, if rest.is_empty() { &all } else { rest })?;
        }
        for (name, kind) in entries(dir)? {
            let path = at.join(&name);
            if (self.spare)(&path) {
                continue;
            }
            match kind {
                FileType::Directory if deep => self.find(&open(dir, &name)?, &path, parts)?,
                _ if deep || !matches(part, &name) => {}
                FileType::Directory if !rest.is_empty() => self.find(&open(dir, &name)?, &path, rest)?,
                FileType::Directory | FileType::RegularFile if rest.is_empty() => self.take(dir, &name, &path)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, dir: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<()> {
        if (self.spare)(path) {
            return Ok(());
        }
        match kind(dir, name)? {
            Some(FileType::Directory) => {}
            _ => {
                return self.file(dir, name, path).map(|made| {
                    if made {
                        self.made.paths.push(path.into());
                    }
                });
            }
        }
        let Some((above, last)) = path.parent().zip(path.file_name()) else { return Ok(()) };
        let target = self.target(above)?;
        let new = match rustix::fs::mkdirat(&target, last, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        if new {
            self.made.paths.push(path.into());
        }
        let source = open(dir, name)?;
        for (inner, kind) in entries(&source)? {
            let below = path.join(&inner);
            match kind {
                FileType::Directory | FileType::RegularFile if new => self.inside(&source, &inner, &below)?,
                FileType::Directory | FileType::RegularFile => self.take(&source, &inner, &below)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Copies what lies below a directory that is a copy as a whole.
    fn inside(&mut self, dir: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<()> {
        let known = self.made.paths.len();
        self.take(dir, name, path)?;
        self.made.paths.truncate(known);
        Ok(())
    }

    /// Returns the directory of a copy, made where it is not there; a link on the way is refused.
    fn target(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut target = rustix::fs::open(self.to, DIRECTORY, Mode::empty())?;
        for part in path {
            match rustix::fs::mkdirat(&target, part, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            target = open(&target, part)?;
        }
        Ok(target)
    }

    fn file(&mut self, dir: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<bool> {
        if self.made.files.len() >= MOST {
            return Err(io::Error::other(format!("more than {MOST} files; let `workspace.setup` make them")));
        }
        // Without waiting for a writer, in case it is a pipe.
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut source = match openat(dir, name, read, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let meta = source.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"));
        }
        let (above, last) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or(name));
        let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let executable = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o100 != 0;
        let mode = if executable { Mode::RWXU } else { Mode::RUSR | Mode::WUSR };
        match openat(&self.target(above)?, last, write, mode) {
            Ok(file) => {
                io::copy(&mut source, &mut File::from(file))?;
                self.made.files.push(path.into());
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn open(dir: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(openat(dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?)
}

fn kind(dir: &OwnedFd, name: &OsStr) -> io::Result<Option<FileType>> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the names in a directory and what they stand for, in order; what git keeps for itself is no one's copy.
fn entries(dir: &OwnedFd) -> io::Result<Vec<(OsString, FileType)>> {
    let mut all = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        if matches!(name.as_bytes(), b"." | b".." | b".git") {
            continue;
        }
        if let Some(kind) = kind(dir, &name)? {
            all.push((name, kind));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

fn is_pattern(part: &OsStr) -> bool {
    part.as_bytes().iter().any(|byte| matches!(byte, b'*' | b'?'))
}

/// Tells whether one part of a path is like a pattern of `*` and `?`; a dot at its beginning must be said.
fn matches(pattern: &OsStr, name: &OsStr) -> bool {
    fn like(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                like(rest, name) || name.split_first().is_some_and(|(_, more)| like(pattern, more))
            }
            (Some((b'?', rest)), Some((_, more))) => like(rest, more),
            (Some((a, rest)), Some((b, more))) => a == b && like(rest, more),
            _ => false,
        }
    }
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    (!name.starts_with(b".") || pattern.starts_with(b".")) && like(pattern, name)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn copied(from: &Path, to: &Path, pattern: &str) -> io::Result<Vec<String>> {
        let mut made = Made::default();
        copy(from, to, pattern, &|path| path.starts_with(".oodatcaa"), &mut made)?;
        Ok(made.paths.iter().map(|path| path.display().to_string()).collect())
    }

    fn tree(dir: &Path, files: &[&str]) {
        for file in files {
            fs::create_dir_all(dir.join(file).parent().expect("below")).expect("made");
            fs::write(dir.join(file), file).expect("written");
        }
    }

    #[test]
    fn a_file_is_copied_once_and_no_link_is_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        tree(&from, &["config/.env"]);
        fs::create_dir_all(&to).expect("made");
        fs::write(dir.path().join("secret"), "s").expect("written");
        symlink("../secret", from.join("link")).expect("a link");
        symlink("..", from.join("out")).expect("a link");
        assert_eq!(copied(&from, &to, "./config/.env").expect("copied"), ["config/.env"]);
        assert_eq!(fs::read_to_string(to.join("config/.env")).expect("there"), "config/.env");
        fs::write(to.join("config/.env"), "A=2").expect("written");
        assert!(copied(&from, &to, "config/.env").expect("looked").is_empty());
        assert_eq!(fs::read_to_string(to.join("config/.env")).expect("there"), "A=2");
        assert!(copied(&from, &to, "none/x").expect("looked").is_empty());
        for bad in ["link", "out/secret", "../secret", "/etc/passwd", ""] {
            assert!(copied(&from, &to, bad).is_err(), "{bad}");
        }
        // The branch brought a directory that leads out.
        symlink("../from", to.join("away")).expect("a link");
        tree(&from, &["away/x"]);
        assert!(copied(&from, &to, "away/x").is_err());
        assert!(!from.join("x").exists());
    }

    #[test]
    fn patterns_and_directories_bring_what_is_below_the_root_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        tree(&from, &["a/.env", "b/c/.env", "b/c/x.txt", ".env.local", "keys/one.pem", "keys/deep/two.pem", "dev.cfg"]);
        tree(&from, &[".oodatcaa/homes/.env", "vendor/.git/config", "vendor/lib.a"]);
        tree(&dir.path().join("elsewhere"), &["three.pem", ".env"]);
        symlink("../../elsewhere", from.join("keys/out")).expect("a link");
        symlink("../elsewhere", from.join("out")).expect("a link");
        tree(&to, &["b/c/x.txt"]);
        assert_eq!(copied(&from, &to, "**/.env").expect("copied"), ["a/.env", "b/c/.env"]);
        assert_eq!(copied(&from, &to, ".env*").expect("copied"), [".env.local"]);
        assert_eq!(copied(&from, &to, "*.c?g").expect("copied"), ["dev.cfg"]);
        assert_eq!(copied(&from, &to, "keys").expect("copied"), ["keys"]);
        assert!(to.join("keys/deep/two.pem").is_file() && !to.join("keys/out").exists());
        assert!(copied(&from, &to, "b").expect("copied").is_empty(), "all of it is there");
        assert_eq!(copied(&from, &to, "vendor/*").expect("copied"), ["vendor/lib.a"]);
        assert!(!to.join("vendor/.git").exists());
    }
}
