//! Which git is called, and with which environment: an absolute path that no project can have put there, and a list
//! of variables that it may see.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use super::{error::GitError, listed};

/// The oldest git that does all that is asked of it.
pub(crate) const OLDEST: Version = Version(2, 30, 0);

/// A version of git.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// Reads what `git --version` says: `git version 2.39.5 (Apple Git-154)`.
    fn parse(said: &str) -> Option<Self> {
        let number = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
        Some(Self(parts.next()?, parts.next()?, parts.next().unwrap_or(0)))
    }
}

/// Variables that git and the programs of the user's own configuration may see; nothing else goes to them.
const HANDED_ON: &str = include_str!("environment.txt");

/// Returns a call of git that finds nothing else than it must: the program, its `PATH`, the variables of the list.
pub(super) fn command(fences: &[PathBuf]) -> Result<Command, GitError> {
    let mut command = Command::new(find(fences)?);
    command.env_clear().env("PATH", path(fences));
    let is_handed_on = |name: &str| name.starts_with("XDG_") || listed(HANDED_ON).any(|listed| listed == name);
    command.envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_handed_on)));
    Ok(command)
}

/// Finds git: the first one in an absolute entry of `PATH` that does not lie beneath a fence.
pub(super) fn find(fences: &[PathBuf]) -> Result<PathBuf, GitError> {
    static ALL: OnceLock<Vec<PathBuf>> = OnceLock::new();
    // Looked for once: a `git` that is put into PATH while we run is not called.
    let all = ALL.get_or_init(|| {
        let runs = |file: &PathBuf| {
            fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        entries().into_iter().map(|dir| dir.join("git")).filter(runs).collect()
    });
    let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "no absolute entry of PATH has git");
    all.iter().find(|file| is_outside(file, fences)).cloned().ok_or_else(|| GitError::NotStarted(missing()))
}

fn entries() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect()
}

fn path(fences: &[PathBuf]) -> OsString {
    // Git looks for its helpers (`git-remote-https`, `git-lfs`, `ssh`) there as well.
    let kept = entries().into_iter().filter(|dir| is_outside(dir, fences));
    std::env::join_paths(kept).unwrap_or_default()
}

/// Tells whether neither a path nor what it leads to lies beneath a fence.
fn is_outside(path: &Path, fences: &[PathBuf]) -> bool {
    // Both ways: a link outside that leads in, and a link inside that leads out, are the project's to change.
    let real = path.canonicalize();
    let beneath = |fence: &PathBuf| path.starts_with(fence) || real.as_ref().is_ok_and(|real| real.starts_with(fence));
    !fences.iter().any(|fence| beneath(fence) || fence.canonicalize().is_ok_and(|fence| beneath(&fence)))
}

/// Returns the version of the git that is called; asked once for each program.
pub fn version(fences: &[PathBuf]) -> Result<Version, GitError> {
    static KNOWN: Mutex<BTreeMap<PathBuf, Version>> = Mutex::new(BTreeMap::new());
    let program = find(fences)?;
    if let Some(version) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&program) {
        return Ok(*version);
    }
    // Without any configuration: one that is broken is told by the calls that need it.
    let mut command = Command::new(&program);
    command.env_clear().env("PATH", path(fences)).env("GIT_CONFIG_NOSYSTEM", "1");
    command.arg("--version").current_dir("/").stdin(Stdio::null());
    let output = command.output().map_err(GitError::NotStarted)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let strange = || GitError::NotStarted(std::io::Error::other(format!("{} is not git", program.display())));
    let version = Version::parse(&said).filter(|_| output.status.success()).ok_or_else(strange)?;
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(program, version);
    Ok(version)
}

/// Refuses a git that is too old.
pub fn check(fences: &[PathBuf]) -> Result<Version, GitError> {
    match version(fences)? {
        found if found < OLDEST => Err(GitError::TooOld(find(fences)?, found)),
        found => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_whatever_stands_around_it() {
        assert_eq!(Version::parse("git version 2.39.5 (Apple Git-154)"), Some(Version(2, 39, 5)));
        assert_eq!(Version::parse("git version 2.47.GIT"), Some(Version(2, 47, 0)));
        assert_eq!(Version::parse("git version 2.30.2.windows.1"), Some(Version(2, 30, 2)));
        assert_eq!(Version::parse("not a git"), None);
        assert!(Version(2, 9, 9) < OLDEST && Version(2, 30, 0) >= OLDEST && Version(10, 0, 0) > OLDEST);
    }

    #[test]
    fn what_lies_beneath_the_project_is_never_called_also_through_a_link() {
        let dir = tempfile::tempdir().expect("a directory");
        let bin = dir.path().join("project/bin");
        fs::create_dir_all(&bin).expect("made");
        std::os::unix::fs::symlink("/bin/sh", bin.join("git")).expect("a link");
        std::os::unix::fs::symlink(&bin, dir.path().join("tools")).expect("a link");
        let fences = [dir.path().join("project")];
        assert!(!is_outside(&bin.join("git"), &fences));
        assert!(!is_outside(&dir.path().join("tools/git"), &fences) || !is_outside(&dir.path().join("tools"), &fences));
        assert!(is_outside(Path::new("/usr/bin"), &fences));
    }
}
