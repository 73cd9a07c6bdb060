//! What a directory that attempts share held at one moment, to see what one of them has made of it.
//!
//! With git it is a tree of all that git does not ignore; without git the sizes, times and digests of the files.
//! Nothing is written to the project, and nothing outlives the process.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    fault::{Result, failed},
    git::RawChange,
    project::OWN,
    repo::Repository,
    snapshot::Checkout,
};
use oodatcaa_core::layout::Layout;

/// Files that are looked at without git; in a greater directory nothing is known.
const MOST: usize = 200_000;

/// Bytes that are read in all to tell a file that was written again from one that was changed.
const READ: u64 = 64 << 20;

/// A directory at one moment.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    held: Held,
    /// Patterns of files that are no work.
    ignored: Vec<String>,
}

#[derive(Debug)]
enum Held {
    Tree(Box<Checkout>, String),
    Files(BTreeMap<PathBuf, Seen>),
}

/// A file: equal where nothing was written, or the same was.
#[derive(Clone, Debug)]
struct Seen {
    length: u64,
    /// Inode, and the time of the last change of anything about it.
    stamp: (u64, i64, i64),
    mode: u32,
    digest: Option<[u8; 32]>,
}

impl Seen {
    fn differs(&self, before: &Self) -> bool {
        let written = self.stamp != before.stamp;
        let known = self.digest.is_some() && before.digest.is_some();
        self.mode != before.mode || self.length != before.length || written && (!known || self.digest != before.digest)
    }
}

impl Directory {
    /// Looks at a project's directory; `None` where it is too great to know.
    pub fn look(layout: &Layout, ignored: &[String]) -> Result<Option<Self>> {
        let (root, ignored) = (layout.root().to_owned(), ignored.to_vec());
        let held = match Repository::find(layout)? {
            Some(repo) => {
                let mut checkout = super::project::shared_checkout(repo);
                checkout.ignored.clone_from(&ignored);
                let tree = checkout.snapshot()?.tree;
                Held::Tree(Box::new(checkout), tree)
            }
            None => match files(&root, &ignored).map_err(failed("look through", &root))? {
                Some(files) => Held::Files(files),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { root, held, ignored }))
    }

    /// Returns the files that are not as they were.
    pub fn changed(&self) -> Result<Vec<String>> {
        match &self.held {
            Held::Tree(checkout, tree) => {
                let now = checkout.snapshot()?.tree;
                let files = checkout.git.raw_changes(&[tree, &now])?;
                Ok(files.iter().map(RawChange::name).filter(|name| !checkout.excludes(name)).collect())
            }
            Held::Files(before) => {
                let now = files(&self.root, &self.ignored).map_err(failed("look through", &self.root))?;
                let Some(now) = now else { return Ok(vec![".".into()]) };
                let gone = before.keys().filter(|path| !now.contains_key(*path));
                let new = now.iter().filter(|(path, seen)| before.get(*path).is_none_or(|old| seen.differs(old)));
                Ok(gone.chain(new.map(|(path, _)| path)).map(|path| path.to_string_lossy().into_owned()).collect())
            }
        }
    }
}

/// Returns every file below a directory that may be work; `None` where there are too many.
fn files(root: &Path, ignored: &[String]) -> std::io::Result<Option<BTreeMap<PathBuf, Seen>>> {
    let (mut all, mut left) = (BTreeMap::new(), READ);
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        let entries = match oodatcaa_sys::files::list(root, &dir, MOST) {
            Ok(entries) => entries.unwrap_or_default(),
            // It is not for us to read: then it is not ours to judge either.
            Err(_) if !dir.as_os_str().is_empty() => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in entries {
            let path = dir.join(&entry.name);
            let own = OWN.iter().any(|own| path == Path::new(own)) || entry.name == ".git";
            if own || ignored.iter().any(|pattern| is_ignored(pattern, &path.to_string_lossy())) {
                continue;
            }
            let Ok(found) = root.join(&path).symlink_metadata() else { continue };
            if found.is_dir() {
                open.push(path);
                continue;
            }
            if all.len() == MOST {
                return Ok(None);
            }
            let digest = digest(root, &root.join(&path), &found, &mut left);
            let stamp = (found.ino(), found.ctime(), found.ctime_nsec());
            all.insert(path, Seen { length: found.len(), stamp, mode: found.mode(), digest });
        }
    }
    Ok(Some(all))
}

/// Tells whether a path is what a pattern names, at the top: a name, or its beginning and `*`.
fn is_ignored(pattern: &str, path: &str) -> bool {
    pattern.strip_suffix('*').map_or(path == pattern, |start| path.starts_with(start))
}

/// Returns the digest of a file's content, or of where a link leads; `None` beyond the bound.
fn digest(root: &Path, path: &Path, found: &std::fs::Metadata, left: &mut u64) -> Option<[u8; 32]> {
    let content = if found.is_symlink() {
        std::fs::read_link(path).ok()?.into_os_string().into_encoded_bytes()
    } else if found.is_file() && found.len() <= *left {
        *left -= found.len();
        oodatcaa_sys::files::read(root, path, found.len()).ok()??
    } else {
        return None;
    };
    Some(Sha256::digest(content).into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn content_counts_and_what_is_only_written_again_does_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("above")).expect("made");
            fs::write(path, text).expect("written");
        };
        write("src/a", "one");
        write("b", "two");
        write(".oodatcaa/work/SPRINT_QUEUE.json", "{}");
        let layout = Layout::new(dir.path());
        let before = Directory::look(&layout, &[".aider*".into()]).expect("looked").expect("known");
        write("src/a", "one");
        write(".oodatcaa/work/SPRINT_QUEUE.json", "{} ");
        write(".oodatcaa/runs/T/1/stdout.log", "words");
        write(".aider.chat", "words");
        assert_eq!(before.changed().expect("looked"), [""; 0]);
        write("src/a", "own");
        write("new/c", "");
        fs::remove_file(dir.path().join("b")).expect("removed");
        let mut changed = before.changed().expect("looked");
        changed.sort();
        assert_eq!(changed, ["b", "new/c", "src/a"]);
    }
}
