//! Looking at all worktrees of a project, and removing those that nobody needs any more.
//!
//! A worktree goes only by `git worktree remove`, and never while somebody works there, while it holds work that
//! is nowhere else, or before its branch is merged; insisting saves that work first.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::Duration,
};

use super::{
    Config, Workspace, evidence,
    fault::{KeepReason, Result, WorkspaceError, failed},
    git::Git,
    hooks, merge, own,
    project::Project,
    repo::{Home, Repository, TaskTree},
    save::Refs,
    screen::Copies,
    state::State,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{TaskId, Token};
use oodatcaa_sys::{files, lock};

/// How long somebody else may take who makes or removes the same worktree.
const WAIT: Duration = Duration::from_secs(30);

/// A worktree as it stands.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The task.
    pub task: TaskId,
    /// The place where it lies.
    pub path: PathBuf,
    /// What is checked out; `None` for a detached head.
    pub branch: Option<String>,
    /// The place where it goes to.
    pub base: Option<String>,
    /// Commits that its base does not hold.
    pub ahead: usize,
    /// Its base holds all of its work.
    pub merged: bool,
    /// There is work that is not committed.
    pub dirty: bool,
    /// What cannot be saved.
    pub left_out: Vec<String>,
    /// A git operation that is half done.
    pub midway: Option<&'static str>,
    /// A worker holds the task.
    pub in_use: bool,
    /// Its directory is there and belongs to the repository.
    pub whole: bool,
    /// The first port of its block.
    pub port: Option<u32>,
}

/// What somebody who wants a worktree removed puts up with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrunePolicy {
    /// Its commits stay on its branch only.
    pub unmerged: bool,
    /// What is not committed is saved under a ref of ours and goes.
    pub dirty: bool,
    /// What cannot be saved goes for good.
    pub unsaved: bool,
}

impl PrunePolicy {
    /// Everything.
    pub const FORCE: Self = Self { unmerged: true, dirty: true, unsaved: true };
    /// Nothing that is only there.
    pub const SAFE: Self = Self { unmerged: false, dirty: false, unsaved: false };
    /// For a task that was cancelled: its work is kept in refs.
    pub const CANCELLED: Self = Self { unmerged: true, dirty: true, unsaved: false };

    /// Checks whether a worktree that nobody works in may go.
    pub fn check(self, seen: &Seen) -> Result<(), KeepReason> {
        if !seen.whole {
            return Ok(());
        }
        if (seen.dirty || seen.midway.is_some()) && !self.dirty {
            return Err(KeepReason::Dirty);
        }
        if !seen.left_out.is_empty() && !self.unsaved {
            return Err(KeepReason::Unsaved(seen.left_out.clone()));
        }
        if !seen.merged && !self.unmerged {
            let branch = seen.branch.clone().unwrap_or_else(|| "a detached head".into());
            let base = seen.base.clone().unwrap_or_else(|| "no branch".into());
            return Err(KeepReason::Unmerged { branch, base, commits: seen.ahead });
        }
        Ok(())
    }
}

/// What became of a worktree that was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The place where it lay.
    pub path: PathBuf,
    /// The commit that holds what was not committed.
    pub saved: Option<String>,
    /// Its branch, which was merged and made for the task, and is gone as well.
    pub branch: Option<String>,
}

/// Tells whether the disk has room for a worktree.
pub fn room(dir: &Path, wanted: u64) -> Result<()> {
    match free(dir) {
        Some(free) if free < wanted => Err(WorkspaceError::DiskLow { path: dir.into(), free, wanted }),
        _ => Ok(()),
    }
}

/// Bytes that are free for us where a directory lies.
pub fn free(dir: &Path) -> Option<u64> {
    let found = dir.ancestors().find_map(|dir| rustix::fs::statvfs(dir).ok())?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// Returns every worktree of the project's tasks.
pub fn list(layout: &Layout, config: &Config) -> Result<Vec<Seen>> {
    let Some(project) = Project::find(layout, config)? else { return Ok(Vec::new()) };
    let trees = project.repo.task_trees(layout)?.into_iter();
    trees.map(|found| Ok(look(&project, &found)?.0)).collect()
}

/// Returns where a task's worktree lies; `None` when it has none.
pub fn path_of(layout: &Layout, task: &TaskId) -> Result<Option<PathBuf>> {
    let Some(repo) = Repository::find(layout)? else { return Ok(None) };
    Ok(repo.task_tree(layout, task)?.map(|found| found.tree.path.join(&repo.prefix)))
}

/// Looks at a task's worktree, and returns the workspace in it where there is one.
fn look(project: &Project<'_>, found: &TaskTree) -> Result<(Seen, Option<Workspace>)> {
    let Project { layout, config, repo } = project;
    let TaskTree { task, home, tree } = found;
    let mut seen = Seen {
        task: task.clone(),
        path: tree.path.clone(),
        branch: tree.branch.clone(),
        base: None,
        ahead: 0,
        merged: false,
        dirty: false,
        left_out: Vec::new(),
        midway: None,
        in_use: in_use(layout, task),
        // Without its directory there is nothing that could be lost.
        whole: tree.path.symlink_metadata().is_ok_and(|meta| meta.is_dir()),
        port: State::load(home, task).and_then(|state| state.port(config)),
    };
    if !seen.whole {
        return Ok((seen, None));
    }
    let workspace = Workspace::found(project, found, newest(layout, repo, task)?)?;
    if let Some(checkout) = &workspace.checkout {
        let (now, head) = (checkout.snapshot()?, checkout.git.head()?);
        seen.dirty = checkout.tree_of(head.as_deref())? != now.tree;
        seen.left_out = now.left_out;
        seen.left_out.extend(workspace.unfinished_submodules()?);
        seen.midway = evidence::midway(checkout)?;
        seen.base.clone_from(&workspace.base_branch);
        let is_out = own::is_out(home, task);
        if let Some(head) = &head {
            (seen.ahead, seen.merged) = ahead(&repo.git, head, seen.base.as_deref())?;
            // What an agent has committed since is in a repository of its own.
            seen.merged &= !is_out;
        }
    }
    Ok((seen, Some(workspace)))
}

/// Returns how many commits a base does not hold, and whether it holds their work all the same: merged, squashed,
/// rebased or picked.
fn ahead(git: &Git, head: &str, base: Option<&str>) -> Result<(usize, bool)> {
    let Some(base) = base else { return Ok((0, false)) };
    let Some(base) = git.tip(base)? else { return Ok((0, false)) };
    let count = git.run(&["rev-list", "--count", head, &format!("^{base}")])?;
    let count = count.trim().parse().unwrap_or(usize::MAX);
    if count == 0 {
        return Ok((0, true));
    }
    // Merging it would change nothing.
    let (code, tree, _) = git.call(&["merge-tree", "--write-tree", &base, head])?;
    let same = code == 0 && git.tree(&base)? == tree.trim();
    // An older git cannot merge in memory; then by patches.
    Ok((count, same || (code != 0 && code != 1 && merge::holds_commit(git, &base, head)?)))
}

/// Tells whether a worker holds the task's own lock.
pub fn in_use(layout: &Layout, task: &TaskId) -> bool {
    let Ok(Some(file)) = files::open(layout.root(), &layout.task_lock(task)) else { return false };
    lock::is_held(&file).unwrap_or(false)
}

/// Takes in what a dead attempt left in a repository of its own, for a caller that holds the task's guard and knows that
/// nobody works on it.
pub(super) fn bring_home(project: &Project<'_>, found: &TaskTree) -> Result<()> {
    if own::is_out(&found.home, &found.task) && found.tree.path.is_dir() {
        let newest = newest(project.layout, &project.repo, &found.task)?;
        Workspace::found(project, found, newest)?.take_in_held(&found.home, Token(u64::MAX), project.config)?;
    }
    Ok(())
}

/// Returns the newest attempt that began in a task's workspace.
pub(super) fn newest(layout: &Layout, repo: &Repository, task: &TaskId) -> Result<Token> {
    Ok(Refs::of(layout, task).tokens(&repo.git, "start")?.last().copied().unwrap_or_default())
}

/// Removes the worktree of a task that no worker holds; `None` when it has none.
pub fn remove(layout: &Layout, config: &Config, task: &TaskId, policy: PrunePolicy) -> Result<Option<Removed>> {
    evict(layout, config, task, policy, false)
}

/// Removes the worktree of an earlier task of the same id as the caller holds; its branch stays, what is not
/// committed is saved.
pub(super) fn clear(layout: &Layout, config: &Config, task: &TaskId) -> Result<()> {
    evict(layout, config, task, PrunePolicy::CANCELLED, true).map(drop)
}

impl Workspace {
    /// Removes the worktree of the task that the caller holds, clean and merged.
    pub fn remove(self, layout: &Layout, config: &Config) -> Result<Option<Removed>> {
        evict(layout, config, &self.task, PrunePolicy::SAFE, true)
    }
}

/// Removes a worktree; `mine` says that the caller holds its task.
fn evict(layout: &Layout, config: &Config, task: &TaskId, policy: PrunePolicy, mine: bool) -> Result<Option<Removed>> {
    let Some(project) = Project::find(layout, config)? else { return Ok(None) };
    let Some(found) = project.repo.task_tree(layout, task)? else { return Ok(None) };
    let home = &found.home;
    // First the task's lock, then the repository's: as whoever makes a worktree takes them.
    let guard = home.guard(task, WAIT)?;
    let locked = project.repo.lock(config.lock_wait)?;
    let kept = |why: KeepReason| Err(WorkspaceError::Kept { task: task.clone(), why });
    if !mine && in_use(layout, task) {
        return kept(KeepReason::InUse);
    }
    bring_home(&project, &found)?;
    let (seen, workspace) = look(&project, &found)?;
    if let Err(why) = policy.check(&seen) {
        return kept(why);
    }
    let mut removed = Removed { path: seen.path.clone(), ..Removed::default() };
    if let Some(workspace) = &workspace {
        if !config.teardown.is_empty() && !config.untrusted {
            let run_dir = home.dir.join("teardown").join(task.as_str());
            let (env, stop) = (workspace.hook_env(layout), AtomicBool::new(false));
            let (cwd, root) = (&workspace.path, &home.dir);
            let top = &workspace.top;
            let place = hooks::Place { cwd, top, root, run_dir: &run_dir, env: &env, stop: &stop };
            if let Err(error) = hooks::run("teardown", &config.teardown, config, &place) {
                log::warn!("{task}: failed to {error}");
            }
        }
        // After the hook, which may have changed something.
        removed.saved = workspace.save()?;
        if let Some(stores) = &workspace.stores {
            stores.keep()?;
        }
    }
    locked.git.remove_worktree(&seen.path, &found.tree.admin)?;
    let state = State::load(home, task);
    State::forget(home, task)?;
    Copies::forget(home, task)?;
    if let (Some(state), Some(branch)) = (state.filter(|state| state.made), &seen.branch)
        && state.branch == *branch
        && seen.merged
        && seen.ahead == 0
    {
        let name = format!("refs/heads/{branch}");
        if let Some(tip) = locked.git.commit(&name)? {
            locked.git.delete_ref(&name, &tip)?;
            removed.branch = Some(branch.clone());
        }
    }
    drop((locked, guard));
    Ok(Some(removed))
}

/// Returns the directories that were put aside because they were no worktrees; nothing removes them.
pub fn quarantined(layout: &Layout, config: &Config) -> Result<Vec<PathBuf>> {
    let dir = Home::of(layout, config)?.dir.join("aside");
    let listed = files::list(&dir, Path::new(""), 1_000_000).map_err(failed("list", &dir))?;
    Ok(listed.into_iter().flatten().map(|entry| dir.join(entry.name)).collect())
}
