//! A program's own directories in the place of those that everybody writes to.
//!
//! They are named after the attempt, so that whoever comes after a crash finds them, and short: the path of a socket ends
//! at 108 bytes.

use std::{
    io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use oodatcaa_core::text;
use oodatcaa_sys::files;
use sha2::{Digest as _, Sha256};

use super::{SHM, TMP};

/// The directories of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Private {
    tmp: PathBuf,
    shm: PathBuf,
}

impl Private {
    /// Names those of the attempt with this directory; nothing is made.
    pub fn of(run_dir: &Path) -> Self {
        let user = rustix::process::geteuid().as_raw();
        let name = text::hex(&Sha256::digest(run_dir.as_os_str().as_bytes())[..6]);
        let at = |above: &str| Path::new(above).join(format!("oodatcaa-{user}")).join(&name);
        Self { tmp: at(TMP), shm: at(SHM) }
    }

    /// Returns the one for `/tmp`, which is also `TMPDIR`.
    pub fn tmp(&self) -> &Path {
        &self.tmp
    }

    /// Returns each of them, and what it stands in the place of.
    pub(super) fn covers(&self) -> impl Iterator<Item = (PathBuf, &'static str)> {
        [(self.tmp.clone(), TMP), (self.shm.clone(), SHM)].into_iter()
    }

    /// Makes them, empty: what an earlier program left there goes.
    pub fn prepare(&self) -> io::Result<()> {
        self.remove()?;
        for dir in [&self.tmp, &self.shm] {
            let above = dir.parent().unwrap_or(dir);
            files::make_named_dir(above)?;
            ours(above)?;
            files::make_dir(above, dir)?;
        }
        Ok(())
    }

    /// Removes them with all that was left there.
    pub fn remove(&self) -> io::Result<()> {
        for dir in [&self.tmp, &self.shm] {
            let above = dir.parent().unwrap_or(dir);
            if above.symlink_metadata().is_ok() {
                ours(above)?;
                files::remove_tree(above, dir)?;
            }
        }
        Ok(())
    }
}

/// Checks that a directory in a place where everybody writes is ours alone.
fn ours(dir: &Path) -> io::Result<()> {
    let found = dir.symlink_metadata()?;
    let is_ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    if is_ours {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "{} is not a directory of yours alone (mode 700); somebody else may have made it: remove it",
            dir.display()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_attempt_finds_its_own_empty_and_nobody_elses_and_they_go_afterwards() {
        let place = tempfile::tempdir().expect("a directory");
        let [one, other] = ["1", "2"].map(|name| Private::of(&place.path().join(name)));
        assert_ne!(one, other);
        assert!(one.tmp().as_os_str().len() < 40, "{}", one.tmp().display());
        one.prepare().expect("made");
        std::fs::write(one.tmp().join("left"), "").expect("written");
        one.prepare().expect("made anew");
        other.prepare().expect("made");
        for dir in [&one.tmp, &one.shm, &other.tmp] {
            assert_eq!(std::fs::read_dir(dir).expect("there").count(), 0);
            assert_eq!(dir.metadata().expect("there").permissions().mode() & 0o777, 0o700);
        }
        for one in [&one, &other] {
            one.remove().expect("removed");
            assert!(!one.tmp.exists() && !one.shm.exists());
            one.remove().expect("twice is once");
        }
    }

    #[test]
    fn what_somebody_else_could_have_made_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let dir = place.path().join("x");
        std::fs::create_dir(&dir).expect("made");
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("opened");
        assert!(ours(&dir).expect_err("others look in").to_string().contains("of yours alone"));
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).expect("closed");
        ours(&dir).expect("it is ours");
        std::os::unix::fs::symlink(&dir, place.path().join("link")).expect("linked");
        ours(&place.path().join("link")).expect_err("a link leads elsewhere");
    }
}
