//! Brings the branch that tasks start from up to date with its remote, before a task begins.
//!
//! The branch only ever goes forward, as `git pull --ff-only` would take it; one that has commits of its own stays.

use std::time::Duration;

use super::{
    fault::{Result, WorkspaceError},
    git::{Git, GitError, without_passwords},
    project::Project,
    remotes,
    repo::Repository,
    trees,
};
use oodatcaa_core::{TaskId, Token, text};

/// How long a remote may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Fetches what branches start from, where that is asked for, and takes the local branch there.
pub(super) fn base(Project { layout, config, repo }: &Project<'_>, task: &TaskId, token: Token) -> Result<()> {
    let Some(remote) = config.fetch_from.as_deref() else { return Ok(()) };
    // Where there is no branch that is said with the reason a moment later.
    let Ok(Some(branch)) = repo.base(config).map(|base| base.branch) else { return Ok(()) };
    let failed = |said: &str, away: bool| WorkspaceError::Fetch {
        remote: text::cut(&text::one_line(&without_passwords(remote)), 100),
        branch: branch.clone(),
        said: text::cut(&text::one_line(&without_passwords(said.trim())), 500),
        away,
    };
    if !remotes::is_plain(remote) {
        return Err(failed("no such remote", false));
    }
    if let Some(moved) = remotes::check(&repo.git, remote, layout.user_state())? {
        return Err(failed(&moved.to_string(), false));
    }
    let git = repo.git.clone().within(PATIENCE);
    let mine = format!("refs/oodatcaa/fetched/{}-{}", crate::branch::component(task.as_str()), token);
    let spec = format!("+refs/heads/{branch}:{mine}");
    match remotes::fetch(&git, remote, &spec) {
        Ok(_) => {}
        Err(GitError::Failed(_, said)) if said.contains("couldn't find remote ref") => {
            log::info!("{remote} has no branch `{branch}`; tasks start from the local one");
            return Ok(());
        }
        Err(GitError::Failed(_, said)) => return Err(failed(&said, remotes::is_away(&said))),
        Err(GitError::TimedOut(_)) => return Err(failed("no answer in time", true)),
        Err(error) => return Err(error.into()),
    }
    let Some(there) = repo.git.commit(&mine)? else { return Ok(()) };
    let locked = repo.lock(config.lock_wait)?;
    let here = repo.base(config)?.commit;
    let gone = forward(repo, &locked.git, &branch, (&here, &there));
    repo.git.delete_ref(&mine, &there)?;
    match gone? {
        None => Ok(()),
        Some(said) => Err(failed(&said, true)),
    }
}

/// Takes the branch to what its remote has; answers git's words where that would touch what nobody has committed.
fn forward(repo: &Repository, git: &Git, branch: &str, (here, there): (&str, &str)) -> Result<Option<String>> {
    if here == there || git.is_ancestor(there, here)? {
        return Ok(None);
    }
    if !git.is_ancestor(here, there)? {
        log::warn!("`{branch}` and its remote counterpart have diverged; tasks start from the local one");
        return Ok(None);
    }
    if git.current_branch()?.as_deref() == Some(branch) {
        let (code, _, said) = git.call(&["merge", "-q", "--ff-only", "--no-stat", there])?;
        return Ok((code != 0).then_some(said));
    }
    let is_its = |tree: &trees::Listed| tree.branch.as_deref() == Some(branch);
    if let Some(tree) = repo.worktrees()?.iter().find(|tree| is_its(tree)) {
        log::warn!("`{branch}` stays behind its remote, because it is checked out at {}", tree.path.display());
        return Ok(None);
    }
    git.set_ref("fetched", &format!("refs/heads/{branch}"), there, Some(here))?;
    Ok(None)
}
