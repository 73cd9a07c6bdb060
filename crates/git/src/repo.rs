//! The repository around a project: where it is, what branches start from, its lock.
//!
//! Everything that adds to or takes from the list of worktrees and branches happens under one lock for each
//! repository; git's own locks fail instead of waiting when several processes come at once.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::{
    Config, admin, branch,
    fault::{Result, WorkspaceError, failed},
    git::{Git, GitError, Keep, Spot},
    lock, trees,
};
use oodatcaa_core::{TaskId, layout::Layout};
use oodatcaa_sys::files::{self, FileError, Why};

/// A checkout takes longer than a question.
const CHECKOUT: Duration = Duration::from_secs(900);

/// The repository around a project.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    /// Calls in the main checkout, without what the repository's configuration would execute.
    pub(super) git: Git,
    /// The top of the checkout that the project is in; `None` for a bare repository.
    pub(super) top: Option<PathBuf>,
    /// The private directory of that checkout.
    pub(super) admin: PathBuf,
    /// The directory that all worktrees share.
    pub(super) common: PathBuf,
    /// The project's root below the top of its checkout.
    pub(super) prefix: PathBuf,
}

/// The worktree of a task.
pub(super) struct TaskTree {
    pub(super) task: TaskId,
    /// The home that it lies in, which may be another than the configuration says now.
    pub(super) home: Home,
    pub(super) tree: trees::Listed,
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
    pub(super) fn find(layout: &Layout) -> Result<Option<Self>> {
        let root = layout.root();
        let root = root.canonicalize().map_err(failed("find", root))?;
        if !root.ancestors().any(|dir| dir.join(".git").symlink_metadata().is_ok()) {
            return Ok(None);
        }
        let refused = |said: &str| WorkspaceError::Repository { path: layout.root().into(), reason: one_line(said) };
        let look = Git::looking(&root);
        look.new_enough()?;
        let found = Self::found_by(&look, &Keep::of(layout)).map_err(|error| match error {
            GitError::Failed(_, said) => refused(&said),
            error => error.into(),
        })?;
        if found.top.is_none() {
            return Err(refused("git takes it for a bare repository, which has no work tree; see `core.bare`"));
        }
        Ok(Some(Self { git: found.git.within(CHECKOUT), ..found }))
    }

    /// Returns the repository that git finds, which may be a bare one.
    pub(super) fn found_by(look: &Git, keep: &Keep) -> Result<Self, GitError> {
        let (spot, prefix) = Spot::found_by(look)?;
        let Spot { top, admin, common } = spot.clone();
        Ok(Self { git: Git::pinned(spot, keep)?, top, admin, common, prefix })
    }

    /// Returns the worktrees, the main checkout first.
    pub(super) fn worktrees(&self) -> Result<Vec<trees::Listed>> {
        Ok(trees::list(&self.git, &self.common)?)
    }

    /// Returns the worktrees of a project's tasks, in the order of their ids.
    pub(super) fn task_trees(&self, layout: &Layout) -> Result<Vec<TaskTree>> {
        let of_task = |tree: trees::Listed| {
            let home = Home::holding(layout, &tree.path)?;
            let task = TaskId::parse(tree.path.file_name()?.to_str()?).ok()?;
            Some(TaskTree { task, home, tree })
        };
        let mut all: Vec<TaskTree> = self.worktrees()?.into_iter().filter_map(of_task).collect();
        all.sort_by(|a, b| a.task.cmp(&b.task));
        Ok(all)
    }

    /// Returns the worktree of a task; `None` where it has none.
    pub(super) fn task_tree(&self, layout: &Layout, task: &TaskId) -> Result<Option<TaskTree>> {
        Ok(self.task_trees(layout)?.into_iter().find(|found| found.task == *task))
    }

    /// Returns what branches start from.
    pub(super) fn base(&self, config: &Config) -> Result<Base> {
        let missing = |why: String| Err(WorkspaceError::NoBase(why));
        if let Some(name) = &config.base {
            return match self.git.tip(name)? {
                Some(commit) => Ok(Base { branch: Some(name.clone()), commit }),
                None => missing(format!("there is no branch `{name}`, which `workspace.base` names")),
            };
        }
        if let Some(name) = self.git.current_branch()? {
            return match self.git.tip(&name)? {
                Some(commit) => Ok(Base { branch: Some(name), commit }),
                None => missing(format!("`{name}` has no commit yet; make the first one")),
            };
        }
        // Which branch is meant while somebody bisects or rebases is for nobody to guess.
        match self.git.commit("HEAD")? {
            Some(_) => Err(WorkspaceError::Detached),
            None => missing("nothing is checked out that has a commit".into()),
        }
    }

    /// Returns the names of all branches.
    pub(super) fn branches(&self) -> Result<Vec<String>> {
        let listed = self.git.run(&["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/"])?;
        Ok(listed.lines().map(String::from).collect())
    }

    /// Takes the repository's lock. Calls of the answer keep it as long as git runs, even when we die.
    pub(super) fn lock(&self, wait: Duration) -> Result<Locked<'_>> {
        let file = lock::take(&self.common, wait)?;
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

/// The place where everything of a project lies that does not lie in it: `<root>/<name>-<hash8>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
}

impl Home {
    /// Finds the home of this project, by its configuration.
    pub(super) fn of(layout: &Layout, config: &Config) -> Result<Self> {
        let world = oodatcaa_config::World::of_process();
        let root = match config.root.as_deref() {
            Some(root) => match (root.strip_prefix("~/"), world.home()) {
                (Some(below), Some(home)) => home.join(below),
                _ => layout.root().join(root),
            },
            None => world.state_dir().ok_or_else(|| WorkspaceError::Unsafe {
                path: layout.root().into(),
                reason: "neither HOME nor XDG_STATE_HOME says where worktrees go".into(),
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

    /// Keeps two from making or removing the same task's worktree.
    pub(super) fn guard(&self, task: &TaskId, wait: Duration) -> Result<Arc<File>> {
        make_dir(&self.tasks())?;
        Ok(Arc::new(lock::hold(&self.tasks().join(format!("{task}.lock")), wait)?.into_file()))
    }

    pub(super) fn tree(&self, task: &TaskId) -> PathBuf {
        self.dir.join("wt").join(task.as_str())
    }

    pub(super) fn tasks(&self) -> PathBuf {
        self.dir.join("tasks")
    }
}

/// Makes a directory of state and those above it, private.
pub(super) fn make_dir(dir: &Path) -> Result<()> {
    files::make_named_dir(dir).map_err(failed("create", dir))
}

/// Returns the project's root in a worktree; made where the branch does not hold it.
pub(super) fn inside(tree: &Path, prefix: &Path) -> Result<PathBuf> {
    let target = tree.join(prefix);
    match files::make_dir(tree, prefix) {
        Ok(()) => Ok(target),
        Err(error @ FileError { why: Why::Io(_), .. }) => Err(failed("create", &target)(error)),
        Err(_) => Err(WorkspaceError::Unsafe { path: target, reason: "it leads out of the worktree".into() }),
    }
}

fn one_line(text: &str) -> String {
    oodatcaa_core::text::cut(&oodatcaa_core::text::one_line(text), 300)
}
