//! What a repository must be before a branch moves in it: its objects are what their names say and lie in it, and what
//! git adds lines to is a file of its own.

use std::{ffi::OsString, os::unix::fs::MetadataExt as _, path::Path};

use super::{Git, GitError};
use oodatcaa_sys::files;

impl Git {
    /// Reads every object between two commits and compares it with its name, by which somebody may have agreed to it.
    /// What only another directory of objects has (`objects/info/alternates`) could be taken away from there, so it
    /// is packed into this repository.
    pub(crate) fn make_whole(&self, from: &str, to: &str) -> Result<(), GitError> {
        let not = format!("^{from}");
        let args = ["rev-list", "--verify-objects", "--quiet", to, &not];
        let (code, _, said) = self.call(&args)?;
        // What is wrong with a file's object it only says, and ends with 0.
        if code != 0 || said.lines().any(|line| line.starts_with("error: ")) {
            return Err(self.failed(&args, &said));
        }
        let Some(objects) = self.common().map(|common| common.join("objects")) else { return Ok(()) };
        if objects.join("info/alternates").symlink_metadata().is_err() {
            return Ok(());
        }
        let mut args = ["pack-objects", "-q", "--revs", "--non-empty"].map(OsString::from).to_vec();
        args.push(objects.join("pack/pack").into());
        self.clone().with_input(format!("{to}\n^{from}\n")).run(&args).map(drop)
    }
}

/// Returns the reflogs that a call may add to: those of the refs that it names, and that of what is checked out.
pub(super) fn logs_of<'a>(args: &'a [&'a str], input: &'a str) -> impl Iterator<Item = &'a str> {
    let moves = args.first() == Some(&"update-ref");
    let words = args.iter().copied().chain(input.split_whitespace());
    words.filter(|word| word.starts_with("refs/")).chain(["HEAD"]).filter(move |_| moves)
}

/// Refuses a reflog that is a link, lies behind one or is somebody's file elsewhere, too: git would add to that.
pub(super) fn check_log(dir: &Path, name: &str) -> Result<(), GitError> {
    let log = Path::new("logs").join(name);
    let refuse = |at: &Path, why: &str| Err(GitError::not_ours(at, format!("{why}, and git would add to it")));
    match files::look(dir, &log) {
        Ok(Some(meta)) if meta.is_symlink() => refuse(&dir.join(log), "it is a symbolic link"),
        Ok(Some(meta)) if meta.is_file() && meta.nlink() > 1 => {
            refuse(&dir.join(log), "it is a file elsewhere as well")
        }
        Err(error) if error.path.is_symlink() => refuse(&error.path, "it is a symbolic link"),
        _ => Ok(()),
    }
}
