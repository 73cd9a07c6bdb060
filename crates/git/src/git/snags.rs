//! What git would wait for or read without end: pipes, sockets and devices where it expects files.
//!
//! Git opens what it finds under the names that it knows. An agent that leaves a pipe there holds every call that
//! looks, for as long as the call may last.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use super::error::GitError;
use oodatcaa_sys::files::{self, Kind};

/// How many names a search looks at, and how many in one directory; what lies beyond them is left to the limit of
/// the call.
const MOST: usize = 2_000_000;

/// Something that is not a file where git takes it for one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snag {
    /// The place where it is.
    pub(crate) at: PathBuf,
    kind: &'static str,
}

impl Snag {
    /// Lets whoever waits for this pipe go and removes it: it holds nothing. `false` where it is no pipe below `top`
    /// or cannot be removed.
    pub(crate) fn let_go(&self, top: &Path) -> bool {
        let removed = files::remove_pipe(top, &self.at).unwrap_or(false);
        if removed {
            log::warn!("{} was a pipe that git would wait on for ever; it is removed", self.at.display());
        }
        removed
    }

    /// Says so.
    pub(super) fn error(&self) -> GitError {
        GitError::not_ours(&self.at, format!("it is {}, and git would wait on it for ever", self.kind))
    }
}

/// Finds one directly in a directory of git's own, such as `index` or `HEAD`. It reads one directory, so that it can
/// be asked before every call.
pub(crate) fn among(dir: &Path) -> Option<Snag> {
    let entries = files::list(dir, dir, MOST).ok()??;
    entries.into_iter().filter(|entry| entry.kind == Kind::Other).find_map(|entry| snag(dir.join(entry.name)))
}

/// Finds one anywhere below: of any name in a directory of git's own, of git's names (`.gitignore`) in a worktree.
pub(super) fn below(top: &Path, is_gits: bool) -> Option<Snag> {
    // Without recursion: an agent can nest directories deeper than a stack.
    let (mut dirs, mut looked_at) = (vec![top.to_owned()], 0);
    while let Some(dir) = dirs.pop().filter(|_| looked_at < MOST) {
        let entries = files::list(top, &dir, MOST).ok().flatten().unwrap_or_default();
        looked_at += entries.len();
        for entry in entries {
            match entry.kind {
                Kind::File => {}
                Kind::Directory => dirs.push(dir.join(entry.name)),
                Kind::Other if is_gits || is_gits_name(&entry.name) => {
                    if let Some(snag) = snag(dir.join(entry.name)) {
                        return Some(snag);
                    }
                }
                Kind::Other => {}
            }
        }
    }
    None
}

fn is_gits_name(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".git")
}

/// Links are followed, as git follows most of them; one that leads nowhere is no snag.
fn snag(at: PathBuf) -> Option<Snag> {
    let kind = match fs::metadata(&at).ok()?.file_type() {
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => return None,
    };
    Some(Snag { at, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo");
        assert!(made.success(), "{}", path.display());
    }

    #[test]
    fn pipes_and_links_to_devices_are_found_and_files_directories_and_stray_links_are_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("refs/heads")).expect("directories");
        fs::write(at("index"), "").expect("a file");
        std::os::unix::fs::symlink("refs/heads/main", at("HEAD")).expect("a link to nothing");
        assert_eq!(among(dir.path()), None);
        std::os::unix::fs::symlink("/dev/zero", at("packed-refs")).expect("a link");
        assert_eq!(among(dir.path()), Some(Snag { at: at("packed-refs"), kind: "a device" }));
        fs::remove_file(at("packed-refs")).expect("it goes");
        pipe(&at("refs/heads/main"));
        // HEAD leads there now.
        assert_eq!(among(dir.path()), Some(Snag { at: at("HEAD"), kind: "a pipe" }));
        fs::remove_file(at("HEAD")).expect("it goes");
        assert_eq!(among(dir.path()), None);
        assert_eq!(below(dir.path(), true), Some(Snag { at: at("refs/heads/main"), kind: "a pipe" }));
        assert_eq!(below(dir.path(), false), None, "in a worktree git opens no file of this name by itself");
    }

    #[test]
    fn a_pipe_for_gits_rules_is_found_however_deep_it_lies() {
        let dir = tempfile::tempdir().expect("a directory");
        let deep = dir.path().join("a/b/c");
        fs::create_dir_all(&deep).expect("directories");
        pipe(&deep.join("data"));
        assert_eq!(below(dir.path(), false), None);
        pipe(&deep.join(".gitattributes"));
        assert_eq!(below(dir.path(), false), Some(Snag { at: deep.join(".gitattributes"), kind: "a pipe" }));
    }
}
