//! The repository around a project: where it is, what branches start from, its lock.
//!
//! Everything that adds to or takes from the list of worktrees and branches happens under one lock for each
//! repository; git's own locks fail instead of waiting when several processes come at once.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::{
    Config, admin, branch,
    fault::{WorkspaceError, failed},
    git::{Git, Keep, Spot},
    lock, trees,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files;

/// A checkout takes longer than a question.
const CHECKOUT: Duration = Duration::from_secs(900);

/// The repository around a project.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    /// Calls in the main checkout, without what the repository's configuration would execute.
    pub(super) git: Git,
    /// The private directory of the checkout that the project is in.
    pub(super) admin: PathBuf,
    /// The directory that all worktrees share.
    pub(super) common: PathBuf,
    /// The project's root below the top of its checkout.
    pub(super) prefix: PathBuf,
}

/// What a task's branch starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// The branch, where it is one.
    pub(super) branch: Option<String>,
    /// The commit.
    pub(super) commit: String,
}

impl Repository {
    /// Ends calls of git as soon as this is set.
    pub(super) fn until(self, stop: &Arc<AtomicBool>) -> Self {
        Self { git: self.git.until(Arc::clone(stop)), ..self }
    }

    /// Looks for the repository; `None` only where no directory above has a `.git`. Whatever else stands in the way,
    /// a setting, an owner, a git that is too old, is said in git's own words and never passed over.
    pub(super) fn find(layout: &Layout) -> Result<Option<Self>, WorkspaceError> {
        let root = layout.root();
        let root = root.canonicalize().map_err(failed("find", root))?;
        if !root.ancestors().any(|dir| dir.join(".git").symlink_metadata().is_ok()) {
            return Ok(None);
        }
        let refused = |reason: String| WorkspaceError::Repository { path: layout.root().into(), reason };
        let look = Git::looking(&root);
        look.new_enough()?;
        let asked = [
            "rev-parse",
            "--is-inside-work-tree",
            "--show-toplevel",
            "--absolute-git-dir",
            "--git-common-dir",
            "--show-prefix",
        ];
        let (code, said, wrong) = look.call(&asked)?;
        let lines: Vec<&str> = said.split('\n').collect();
        let (top, admin, common, prefix) = match (code, lines.as_slice()) {
            (0, ["true", top, admin, common, prefix]) => (top, admin, common, prefix),
            (0, ["true", top, admin, common]) => (top, admin, common, &""),
            (0, _) => return Err(refused("git does not take it for the inside of a checkout".into())),
            _ => return Err(refused(one_line(&wrong))),
        };
        let common = root.join(common);
        let common = common.canonicalize().map_err(failed("find", &common))?;
        let spot = Spot { top: Some(top.into()), admin: admin.into(), common: common.clone() };
        let git = Git::pinned(spot, &Keep::of(layout))?.within(CHECKOUT);
        Ok(Some(Self { git, admin: admin.into(), common, prefix: PathBuf::from(prefix.trim_end_matches('/')) }))
    }

    /// Returns the worktrees, the main checkout first.
    pub(super) fn worktrees(&self) -> Result<Vec<trees::Listed>, WorkspaceError> {
        Ok(trees::list(&self.git, &self.common)?)
    }

    /// Returns what branches start from.
    pub(super) fn base(&self, config: &Config) -> Result<Base, WorkspaceError> {
        let missing = |why: String| Err(WorkspaceError::NoBase(why));
        if let Some(name) = &config.base {
            return match self.commit(&format!("refs/heads/{name}"))? {
                Some(commit) => Ok(Base { branch: Some(name.clone()), commit }),
                None => missing(format!("there is no branch `{name}`, which `workspace.base` names")),
            };
        }
        let (code, head, _) = self.git.call(&["symbolic-ref", "-q", "HEAD"])?;
        let current = head.strip_prefix("refs/heads/").filter(|_| code == 0).map(String::from);
        if let Some(name) = current {
            return match self.commit(&format!("refs/heads/{name}"))? {
                Some(commit) => Ok(Base { branch: Some(name), commit }),
                None => missing(format!("`{name}` has no commit yet; make the first one")),
            };
        }
        // Which branch is meant while somebody bisects or rebases is for nobody to guess.
        match self.commit("HEAD")? {
            Some(_) => Err(WorkspaceError::Detached),
            None => missing("nothing is checked out that has a commit".into()),
        }
    }

    /// Returns the commit that a name stands for.
    pub(super) fn commit(&self, name: &str) -> Result<Option<String>, WorkspaceError> {
        let (code, commit, _) =
            self.git.call(&["rev-parse", "-q", "--verify", "--end-of-options", &format!("{name}^{{commit}}")])?;
        Ok((code == 0 && !commit.is_empty()).then_some(commit))
    }

    /// Returns the names of all branches.
    pub(super) fn branches(&self) -> Result<Vec<String>, WorkspaceError> {
        let listed = self.git.run(&["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/"])?;
        Ok(listed.lines().map(String::from).collect())
    }

    /// Takes the repository's lock. Calls of the answer keep it as long as git runs, even when we die.
    pub(super) fn lock(&self, wait: Duration) -> Result<Locked<'_>, WorkspaceError> {
        let file = lock::take(&self.common, wait).map_err(|refused| match refused {
            lock::Refused::Held(path, waited, holder) => WorkspaceError::Busy { path, holder, waited },
            lock::Refused::Io(path, source) => failed("lock", path)(source),
        })?;
        trees::mend(&self.common);
        Ok(Locked { repo: self, git: self.git.clone().holding(file) })
    }

    /// Returns the private directory of a worktree of this repository whose `.git` leads there; `None` for any other.
    pub(super) fn admin_of(&self, tree: &Path) -> Option<PathBuf> {
        let admin =
            admin::admins(&self.common).into_iter().find(|admin| admin::top_of(admin).as_deref() == Some(tree))?;
        (admin::link_of(tree)? == admin.canonicalize().ok()?).then_some(admin)
    }
}

/// The repository while we hold its lock.
pub(super) struct Locked<'a> {
    pub(super) repo: &'a Repository,
    pub(super) git: Git,
}

/// Where everything of a project lies that does not lie in it: `<root>/<name>-<hash8>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
}

impl Home {
    /// Finds the home of this project, by its configuration.
    pub(super) fn of(layout: &Layout, config: &Config) -> Result<Self, WorkspaceError> {
        let world = oodatcaa_config::World::of_process();
        let root = match config.root.as_deref() {
            Some(root) => match (root.strip_prefix("~/"), world.home()) {
                (Some(below), Some(home)) => home.join(below),
                _ => layout.root().join(root),
            },
            None => world.state_dir().ok_or_else(|| WorkspaceError::Unsafe {
                path: layout.root().into(),
                reason: "neither HOME nor XDG_STATE_HOME says where worktrees lie".into(),
            })?,
        };
        let there = files::named::directories(&root).map(|name| root.join(name));
        let mut there: Vec<Self> = there.map(|dir| Self { dir }).filter(|home| home.is_of(layout)).collect();
        there.sort_by(|a, b| a.dir.cmp(&b.dir));
        Ok(there.into_iter().next().unwrap_or_else(|| Self { dir: root.join(Self::name(layout)) }))
    }

    /// Returns the last part of its path, which is the same wherever the root is. The project may be renamed later.
    fn name(layout: &Layout) -> String {
        let name = branch::slug(&layout.name(), 32);
        let name = if name.is_empty() { "project" } else { &name };
        format!("{name}-{}", super::save::project(layout))
    }

    /// Tells whether a directory is this project's home.
    fn is_of(&self, layout: &Layout) -> bool {
        let name = self.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_suffix(&super::save::project(layout)).is_some_and(|rest| rest.ends_with('-'))
    }

    /// Returns the home that a worktree lies in, if it is one of this project's.
    pub(super) fn holding(layout: &Layout, tree: &Path) -> Option<Self> {
        let trees = tree.parent()?;
        let home = Self { dir: trees.parent()?.into() };
        (trees.file_name()? == "wt" && home.is_of(layout)).then_some(home)
    }

    pub(super) fn tree(&self, task: &oodatcaa_core::TaskId) -> PathBuf {
        self.dir.join("wt").join(task.as_str())
    }

    pub(super) fn tasks(&self) -> PathBuf {
        self.dir.join("tasks")
    }
}

fn one_line(text: &str) -> String {
    oodatcaa_core::text::cut(&oodatcaa_core::text::one_line(text), 300)
}
