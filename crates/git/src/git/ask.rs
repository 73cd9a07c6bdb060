//! Questions about refs, commits and trees, each written out once, and the changes of refs that everything is made of.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

use super::{Git, GitError};
use crate::author::Author;

/// A path that differs between two trees.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawChange {
    /// The commit that brought it, where several were compared.
    pub(crate) commit: String,
    /// Its mode before; `000000` where it was not there.
    pub(crate) old_mode: String,
    /// Its mode after; `000000` where it is gone.
    pub(crate) mode: String,
    /// Its object before.
    pub(crate) old_object: String,
    /// Its object after.
    pub(crate) object: String,
    pub(crate) path: PathBuf,
}

impl RawChange {
    /// Tells whether it is not there any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.mode == "000000"
    }

    /// Tells whether it became a link or a repository inside.
    pub(crate) fn is_odd(&self) -> bool {
        self.old_mode != self.mode && matches!(self.mode.as_str(), "120000" | "160000")
    }

    /// Returns its path as text.
    pub(crate) fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

impl Git {
    /// Returns the commit that a name stands for; `None` where it stands for none.
    pub(crate) fn commit(&self, name: &str) -> Result<Option<String>, GitError> {
        let name = format!("{name}^{{commit}}");
        let (code, commit, _) = self.call(&["rev-parse", "-q", "--verify", "--end-of-options", &name])?;
        Ok((code == 0 && !commit.is_empty()).then_some(commit))
    }

    /// Returns the commit that is checked out; `None` before the first one.
    pub(crate) fn head(&self) -> Result<Option<String>, GitError> {
        self.commit("HEAD")
    }

    /// Returns the commit that a branch points to; `None` where there is no such branch.
    pub(crate) fn tip(&self, branch: &str) -> Result<Option<String>, GitError> {
        self.commit(&format!("refs/heads/{branch}"))
    }

    /// Returns the tree of a commit.
    pub(crate) fn tree(&self, commit: &str) -> Result<String, GitError> {
        self.run(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")])
    }

    /// Returns the branch that is checked out; `None` for a detached head.
    pub(crate) fn current_branch(&self) -> Result<Option<String>, GitError> {
        let (code, name, _) = self.call(&["symbolic-ref", "-q", "HEAD"])?;
        Ok(name.strip_prefix("refs/heads/").filter(|_| code == 0).map(String::from))
    }

    /// Returns the last commit that two have in common; `None` where they have none.
    pub(crate) fn fork(&self, one: &str, other: &str) -> Result<Option<String>, GitError> {
        let (code, fork, _) = self.call(&["merge-base", one, other])?;
        Ok((code == 0).then(|| fork.lines().next().unwrap_or_default().to_owned()))
    }

    /// Tells whether a commit is in the history of another; fails where one of them is not there.
    pub fn is_ancestor(&self, old: &str, new: &str) -> Result<bool, GitError> {
        self.asks(&["merge-base", "--is-ancestor", old, new])
    }

    /// Returns the paths that a command lists with a zero byte after each.
    pub(crate) fn paths<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Result<Vec<PathBuf>, GitError> {
        let listed = self.bytes(args)?;
        let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| OsString::from_vec(name.to_vec()).into()).collect())
    }

    /// Returns the files in conflict.
    pub(crate) fn unmerged(&self) -> Result<Vec<String>, GitError> {
        let args = ["diff", "--name-only", "--no-ext-diff", "--no-textconv", "--diff-filter=U", "-z"];
        Ok(self.paths(&args)?.iter().map(|path| path.display().to_string()).collect())
    }

    /// Returns what differs, as `diff-tree` has it with these arguments: between two trees, or in each of the commits that
    /// it reads as input.
    pub(crate) fn raw_changes(&self, args: &[&str]) -> Result<Vec<RawChange>, GitError> {
        let how = ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-abbrev"];
        let listed = self.bytes(&[&how[..], args].concat())?;
        let mut fields = listed.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        let (mut commit, mut all) = (String::new(), Vec::new());
        while let Some(field) = fields.next() {
            let field = String::from_utf8_lossy(field);
            // One colon for each parent, and as many modes and objects before those of the result.
            let parents = field.bytes().take_while(|byte| *byte == b':').count();
            if parents == 0 {
                commit = field.into_owned();
                continue;
            }
            let words: Vec<&str> = field[parents..].split(' ').collect();
            let word = |at: usize| words.get(at).copied().unwrap_or_default().to_owned();
            let (old_mode, mode) = (word(0), word(parents));
            let (old_object, object) = (word(parents + 1), word(2 * parents + 1));
            let path = OsString::from_vec(fields.next().unwrap_or_default().to_vec()).into();
            all.push(RawChange { commit: commit.clone(), old_mode, mode, old_object, object, path });
        }
        Ok(all)
    }

    /// Lets a ref point to a commit. With `old` only if it points there; empty if it must not be there.
    pub(crate) fn set_ref(&self, why: &str, name: &str, to: &str, old: Option<&str>) -> Result<(), GitError> {
        let why = format!("oodatcaa: {why}");
        let mut args = vec!["update-ref", "-m", &why, name, to];
        args.extend(old);
        self.run(&args).map(drop)
    }

    /// Changes several refs or none, as `update-ref --stdin` reads it.
    pub(crate) fn change_refs(&self, changes: String) -> Result<(), GitError> {
        self.clone().with_input(changes).run(&["update-ref", "--stdin"]).map(drop)
    }

    /// Takes a branch for what is checked out, and touches neither index nor files.
    pub(crate) fn attach_head(&self, why: &str, branch: &str) -> Result<(), GitError> {
        let (why, name) = (format!("oodatcaa: {why}"), format!("refs/heads/{branch}"));
        self.run(&["symbolic-ref", "-m", &why, "HEAD", &name]).map(drop)
    }

    /// Names who commits; who wrote the content stays.
    #[must_use]
    pub(crate) fn committed_by(self, author: &Author) -> Self {
        let Author { name, email } = author.clean();
        self.with_env("GIT_COMMITTER_NAME", &name).with_env("GIT_COMMITTER_EMAIL", &email)
    }

    /// Names who writes and commits.
    #[must_use]
    pub(crate) fn by(self, author: &Author) -> Self {
        let Author { name, email } = author.clean();
        self.committed_by(author).with_env("GIT_AUTHOR_NAME", &name).with_env("GIT_AUTHOR_EMAIL", &email)
    }
}
