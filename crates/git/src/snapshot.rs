//! The content of a checkout as a tree in git, without touching its index or its files.
//!
//! A copy of the index knows which files are as they were, so only what changed is read.

use std::path::Path;

use super::{
    fault::{Result, failed},
    git::{Git, words},
};
use oodatcaa_core::environment;
use oodatcaa_sys::files;

/// Files greater than this are not put into the repository on their own account.
pub(super) const LARGEST: u64 = 100 << 20;

/// What a checkout holds at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The tree.
    pub(super) tree: String,
    /// What is there and not in the tree: repositories inside, very great files, what cannot be read.
    pub(super) left_out: Vec<String>,
}

/// A checkout, and what in it is not its own.
#[derive(Clone, Debug)]
pub(super) struct Checkout {
    /// Calls at its top.
    pub(super) git: Git,
    /// Its private directory.
    pub(super) admin: std::path::PathBuf,
    /// Paths below its top that are never part of a change.
    pub(super) excluded: Vec<String>,
    /// Patterns of untracked files that are no work either.
    pub(super) ignored: Vec<String>,
}

impl Checkout {
    fn all_but<'a>(&self, paths: impl Iterator<Item = &'a String>) -> Vec<String> {
        let but = paths.map(|path| format!(":(top,exclude,literal){path}"));
        let ignored = self.ignored.iter().map(|pattern| format!(":(top,exclude,glob){pattern}"));
        std::iter::once(":(top)".to_owned()).chain(but).chain(ignored).collect()
    }

    /// Pathspecs for `git add`: everything but what is excluded, and this.
    pub(super) fn own(&self, further: &[String]) -> Result<Vec<String>> {
        // What is ignored anyhow must not be named: `add` takes that for a wish to add it, and fails.
        let asked = words(&["check-ignore", "--no-index", "--"], self.excluded.iter().cloned());
        let (_, ignored, _) = if self.excluded.is_empty() { Default::default() } else { self.git.call(&asked)? };
        let ignored: Vec<&str> = ignored.lines().collect();
        let named = self.excluded.iter().filter(|path| !ignored.contains(&path.as_str()));
        Ok(self.all_but(named.chain(further)))
    }

    /// Pathspecs for what is excluded.
    pub(super) fn others(&self) -> Vec<String> {
        self.excluded.iter().map(|path| format!(":(top,literal){path}")).collect()
    }

    /// Leaves what is excluded as the branch has it: an agent that commits everything leaves it out.
    pub(super) fn leave_others_alone(&self) -> Result<()> {
        // Only what the branch has can be marked; the rest is left out by its name.
        let known = self.git.bytes(&words(&["ls-files", "-z", "--"], self.others()))?;
        if known.is_empty() {
            return Ok(());
        }
        self.git.clone().with_input(known).run(&["update-index", "--skip-worktree", "-z", "--stdin"])?;
        Ok(())
    }

    /// Tells whether a path below the top is never part of a change.
    pub(super) fn excludes(&self, path: &str) -> bool {
        self.excluded
            .iter()
            .any(|other| path.strip_prefix(other.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// Returns the tree of a commit; the empty one before the first.
    pub(super) fn tree_of(&self, commit: Option<&str>) -> Result<String> {
        match commit {
            Some(commit) => Ok(self.git.tree(commit)?),
            None => Ok(self.git.run(&["hash-object", "-t", "tree", "/dev/null"])?),
        }
    }

    /// Returns what cannot go into a tree: repositories inside, and files that are too great.
    pub(super) fn left_out(&self) -> Result<Vec<String>> {
        let top = self.git.dir();
        let args = words(&["ls-files", "-o", "--exclude-standard", "-z", "--"], self.all_but(self.excluded.iter()));
        // Git would write it into the repository at once, where it stays for weeks after nobody needs it.
        let great =
            |name: &str| top.join(name).symlink_metadata().is_ok_and(|found| found.is_file() && found.len() > LARGEST);
        let listed = self.git.paths(&args)?;
        Ok(listed
            .iter()
            .map(|name| name.to_string_lossy())
            .filter(|name| name.ends_with('/') || great(name))
            .map(|name| name.trim_end_matches('/').to_owned())
            .collect())
    }

    /// Takes a snapshot: tracked and untracked files, not those that git ignores.
    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        let mut left_out = self.left_out()?;
        // In its private directory: on the same disk, out of the agent's sight, and gone with the worktree.
        let place = tempfile::Builder::new().prefix("oodatcaa-").tempdir_in(&self.admin);
        let place = place.map_err(failed("write in", &self.admin))?;
        let index = place.path().join("index");
        copy_index(&self.admin.join("index"), &index).map_err(failed("copy", self.admin.join("index")))?;
        // An agent may be using the real index at this moment.
        let git = self.git.clone().with_env("GIT_INDEX_FILE", &index.to_string_lossy());
        // What cannot be read does not keep the rest out.
        let add = words(&["-c", "add.ignoreErrors=true"], git.add_all(self.own(&left_out)?)?);
        let (code, _, said) = git.call(&add)?;
        if code != 0 && environment::of_git(&said).is_some() {
            // What cannot be taken in for that is work all the same.
            return Err(git.failed(&add, &said).into());
        }
        if code != 0 {
            let said = oodatcaa_core::text::cut(&oodatcaa_core::text::one_line(&said), 300);
            // Something vanished or cannot be read; the rest is in.
            left_out.push(said);
        }
        if self.git.head()?.is_some() && !self.excluded.is_empty() {
            // An agent may have added them to its index by hand.
            let is_same = git.asks(&words(&["diff-index", "--cached", "--quiet", "HEAD", "--"], self.others()))?;
            if !is_same {
                git.run(&words(&["reset", "-q", "HEAD", "--"], self.others()))?;
            }
        }
        Ok(Snapshot { tree: git.run(&["write-tree"])?, left_out })
    }
}

/// Copies an index, if there is one, together with its time: git compares that with the times of the files to know which of
/// them may have changed unseen.
pub(super) fn copy_index(from: &Path, to: &Path) -> std::io::Result<()> {
    match files::named::copy(from, to, files::INDEX) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
