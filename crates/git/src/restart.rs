//! Beginning again with a task whose branch was overtaken or led nowhere: on top of the base as it is now, or from it.
//!
//! Whatever is given up is kept: commits under [`Refs`] of the task, what was not committed as saved work.

use super::{
    Config, Workspace,
    author::Author,
    commit, evidence,
    fault::{KeepReason, Result, WorkspaceError},
    git::Git,
    merge,
    project::Project,
    prune,
    save::Refs,
    snapshot::Checkout,
    tree,
};
use oodatcaa_core::Task;
use oodatcaa_core::layout::Layout;

/// How to begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anew {
    /// The branch's own commits, on top of the base.
    Rebase,
    /// From the base, with nothing of its own.
    Fresh,
}

/// What became of the branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarted {
    /// Its name; `None` when the task had none yet.
    pub branch: Option<String>,
    /// The ref that has the commits as they were, where anything was given up.
    pub kept: Option<String>,
    /// The commit that has what was not committed.
    pub saved: Option<String>,
}

/// Begins again with a task that nobody works on.
pub fn restart(layout: &Layout, config: &Config, task: &Task, how: Anew) -> Result<Restarted> {
    let nothing = |why: &str| WorkspaceError::Nothing(task.id.to_string(), why.into());
    let project = Project::find(layout, config)?.ok_or_else(|| nothing("the project is not in a git repository"))?;
    let (repo, refs) = (&project.repo, Refs::of(layout, &task.id));
    let base = tree::base(&project, task)?;
    let found = repo.task_tree(layout, &task.id)?;
    let guard = found.as_ref().map(|found| found.home.guard(&task.id, config.lock_wait)).transpose()?;
    if prune::in_use(layout, &task.id) {
        return Err(WorkspaceError::Kept { task: task.id.clone(), why: KeepReason::InUse });
    }
    let newest = prune::newest(layout, repo, &task.id)?;
    let restarted = match &found {
        Some(found) => {
            prune::bring_home(&project, found)?;
            let workspace = Workspace::found(&project, found, newest)?;
            let restarted = workspace.begin_anew(&base.commit, how)?;
            workspace.note(layout, |state| state.midway = None)?;
            restarted
        }
        None => match (how, task.branch.as_deref()) {
            (Anew::Rebase, _) => return Err(nothing("it has no worktree; the next attempt makes one")),
            (Anew::Fresh, Some(branch)) => without_tree(&repo.git, &refs, branch, &base.commit)?,
            (Anew::Fresh, None) => Restarted::default(),
        },
    };
    drop(guard);
    Ok(restarted)
}

/// Keeps the commits of a branch that a commit does not hold; answers the ref.
fn keep(git: &Git, refs: &Refs, tip: &str, base: &str) -> Result<Option<String>> {
    if git.is_ancestor(tip, base)? {
        return Ok(None);
    }
    let name = refs.old(tip);
    git.set_ref("begin again", &name, tip, None)?;
    Ok(Some(name))
}

fn without_tree(git: &Git, refs: &Refs, branch: &str, base: &str) -> Result<Restarted> {
    let Some(tip) = git.tip(branch)?.filter(|_| super::branch::is_legal(branch)) else {
        return Ok(Restarted::default());
    };
    let kept = keep(git, refs, &tip, base)?;
    git.set_ref("begin again", &format!("refs/heads/{branch}"), base, Some(&tip))?;
    merge::forget(git, branch)?;
    Ok(Restarted { branch: Some(branch.into()), kept, saved: None })
}

impl Workspace {
    fn begin_anew(&self, base: &str, how: Anew) -> Result<Restarted> {
        let (Some(checkout), Some(branch)) = (&self.checkout, &self.branch) else { return Ok(Restarted::default()) };
        self.verify()?;
        let git = &checkout.git;
        let saved = self.save()?;
        self.end_midway(checkout)?;
        let kept = git.tip(branch)?.as_deref().map_or(Ok(None), |tip| keep(git, &self.refs, tip, base))?;
        let seen = checkout.snapshot()?;
        // What is untracked must be in the index, or nothing takes it away.
        commit::stage(checkout)?;
        git.attach_head("begin again", branch)?;
        match how {
            Anew::Fresh => {
                git.set_ref("begin again", &format!("refs/heads/{branch}"), base, None)?;
                git.be_like(&format!("{base}^{{tree}}"))?;
                merge::forget(git, branch)?;
            }
            Anew::Rebase => {
                git.be_like("HEAD^{tree}")?;
                if let Err(error) = rebase(checkout, branch, base, self.base_branch.as_deref()) {
                    commit::stage(checkout)?;
                    git.be_like(&seen.tree)?;
                    return Err(error);
                }
            }
        }
        checkout.leave_others_alone()?;
        Ok(Restarted { branch: Some(branch.clone()), kept, saved })
    }
}

fn rebase(checkout: &Checkout, branch: &str, base: &str, onto: Option<&str>) -> Result<()> {
    let git = checkout.git.clone().committed_by(&Author::ourselves());
    let (code, _, said) = git.call(&["rebase", "-q", "--no-fork-point", base])?;
    if code == 0 {
        return Ok(());
    }
    let files = git.unmerged()?;
    let conflicts = evidence::midway(checkout)?.is_some() && !files.is_empty();
    // It says so when nothing is under way.
    let _ = git.call(&["rebase", "--abort"])?;
    let onto = onto.unwrap_or(base).to_owned();
    let files = if conflicts { files } else { vec![oodatcaa_core::text::one_line(&said)] };
    Err(WorkspaceError::NotRebased { branch: branch.into(), onto, files })
}
