//! Copies of named untracked files and directories into a worktree, without following a link on either side.

use std::{
    ffi::OsStr,
    io,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Component, Path, PathBuf},
};

use oodatcaa_sys::files::{self, Kind};

/// How many files one worktree gets; whoever wants more wants a `setup` command.
const MOST: usize = 20_000;

/// What was copied, below the project's root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// Files, and directories that were not there before, with all that is in them.
    pub(super) paths: Vec<PathBuf>,
    /// Every file.
    pub(super) files: Vec<PathBuf>,
}

/// Copies from below one directory to the same places below another, but for the paths that `spare` names.
pub(super) struct Copier<'a> {
    pub(super) from: &'a Path,
    pub(super) to: &'a Path,
    pub(super) spare: &'a dyn Fn(&Path) -> bool,
    pub(super) made: Made,
}

impl Copier<'_> {
    /// Copies what a pattern names: a file, a directory with all that is in it, or several by `*`, `?` and, for
    /// directories of any depth, `**`. Neither a link nor `..` is followed; what stands there already is not touched.
    /// Files of a copy are private.
    pub(super) fn copy(&mut self, pattern: &str) -> io::Result<()> {
        let invalid = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
        let parts = Path::new(pattern).components().filter(|part| *part != Component::CurDir);
        let parts: Vec<&OsStr> = parts
            .map(|part| match part {
                Component::Normal(part) => Ok(part),
                _ => Err(invalid("not a path below the project")),
            })
            .collect::<io::Result<_>>()?;
        if parts.is_empty() {
            return Err(invalid("names no file"));
        }
        self.find(Path::new(""), &parts)
    }

    /// Goes down the pattern from a directory below the root.
    fn find(&mut self, at: &Path, parts: &[&OsStr]) -> io::Result<()> {
        // The end of the pattern names what is taken.
        let Some((part, rest)) = parts.split_first() else { return self.take(at) };
        if !part.as_bytes().iter().any(|byte| matches!(byte, b'*' | b'?')) {
            return self.find(&at.join(part), rest);
        }
        let deep = *part == "**";
        if deep {
            let all = [OsStr::new("*")];
            // `**` is also no directory at all.
            self.find(at, if rest.is_empty() { &all } else { rest })?;
        }
        for (path, name, kind) in self.entries(at)? {
            match kind {
                Kind::Directory if deep && !(self.spare)(&path) => self.find(&path, parts)?,
                Kind::Directory if !deep && matches(part, &name) && !(self.spare)(&path) => self.find(&path, rest)?,
                Kind::File if !deep && matches(part, &name) && rest.is_empty() => self.take(&path)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns what lies in a directory, but for links, pipes and what git keeps for itself, which are no one's copy.
    fn entries(&self, dir: &Path) -> io::Result<Vec<(PathBuf, std::ffi::OsString, Kind)>> {
        let all = files::list(self.from, dir, MOST)?.unwrap_or_default().into_iter();
        let all = all.filter(|entry| entry.kind != Kind::Other && entry.name != ".git");
        Ok(all.map(|entry| (dir.join(&entry.name), entry.name, entry.kind)).collect())
    }

    fn take(&mut self, path: &Path) -> io::Result<()> {
        let Some(found) = files::look(self.from, path)?.filter(|_| !(self.spare)(path)) else { return Ok(()) };
        if !found.is_dir() {
            if self.file(path)? {
                self.made.paths.push(path.into());
            }
            return Ok(());
        }
        // A directory of the branch's own is filled up; its files are the branch's.
        let is_new = files::look(self.to, path)?.is_none();
        files::make_dir(self.to, path)?;
        if is_new {
            self.made.paths.push(path.into());
        }
        let known = self.made.paths.len();
        for (inner, ..) in self.entries(path)? {
            self.take(&inner)?;
        }
        if is_new {
            // What lies below is named by the directory.
            self.made.paths.truncate(known);
        }
        Ok(())
    }

    /// Copies one file; `false` where something bears its name already.
    fn file(&mut self, path: &Path) -> io::Result<bool> {
        if self.made.files.len() >= MOST {
            return Err(io::Error::other(format!("more than {MOST} files; let `workspace.setup` make them")));
        }
        let Some(mut source) = files::open(self.from, path)? else { return Ok(false) };
        // The branch may have a link there that leads out: this refuses to go through it.
        files::make_dir(self.to, path.parent().unwrap_or(Path::new("")))?;
        let mut copy = match files::create_new(self.to, path) {
            Ok(copy) => copy,
            Err(error) if error.is_taken() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        io::copy(&mut source, &mut copy)?;
        let mut mode = source.metadata()?.permissions();
        // Private, and as executable as it was.
        mode.set_mode(if mode.mode() & 0o100 == 0 { 0o600 } else { 0o700 });
        copy.set_permissions(mode)?;
        self.made.files.push(path.into());
        Ok(true)
    }
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
        let spare = |path: &Path| path.starts_with(".oodatcaa");
        let mut copier = Copier { from, to, spare: &spare, made: Made::default() };
        copier.copy(pattern)?;
        Ok(copier.made.paths.iter().map(|path| path.display().to_string()).collect())
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
