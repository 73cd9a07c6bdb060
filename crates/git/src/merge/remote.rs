//! The remote's side of the target: what it has, the push, the proof that it holds the change.

use super::{MergeError, Result, repo::Repo, steps::MergeEntry, verify};
use crate::{
    git::{GitError, Started, without_passwords},
    remotes,
};
use oodatcaa_core::text;

/// Returns the remote's head of a branch, fetched; `None` when the remote has no such branch.
pub(super) fn head(repo: &Repo, remote: &str, branch: &str, id: &str) -> Result<Option<String>> {
    check(repo, remote)?;
    let full = format!("refs/heads/{branch}");
    let listed =
        answer(remote, repo.git.run(&["ls-remote", "-q", "--upload-pack=git-upload-pack", "--", remote, &full]))?;
    if !listed.lines().any(|line| line.ends_with(&format!("\t{full}"))) {
        return Ok(None);
    }
    let mine = own_ref(id);
    let spec = format!("+{full}:{mine}");
    answer(remote, remotes::fetch(&repo.git, remote, &spec))?;
    Ok(repo.git.commit(&mine)?)
}

/// Forgets what was fetched for a merge.
pub(super) fn forget(repo: &Repo, id: &str) -> Result<()> {
    let mine = own_ref(id);
    match repo.git.commit(&mine)? {
        Some(commit) => Ok(repo.git.delete_ref(&mine, &commit)?),
        None => Ok(()),
    }
}

fn own_ref(id: &str) -> String {
    format!("refs/oodatcaa/fetched/{}", crate::branch::component(id))
}

/// A push that has begun.
pub(super) struct Push(Started);

/// Begins to push a commit as the branch; never by force. Whoever pushes has asked for the remote's head before, with
/// the same calls: they go where that one came from, whatever is configured by now.
pub(super) fn push(repo: &Repo, remote: &str, branch: &str, commit: &str) -> Result<Push> {
    let spec = format!("{commit}:refs/heads/{branch}");
    let receive = "--receive-pack=git-receive-pack";
    let push = ["push", "-q", "--porcelain", "--no-verify", receive, "--", remote, &spec];
    Ok(Push(answer(remote, repo.git.start(&push))?))
}

impl Push {
    /// Waits for its end; `false` when the remote has moved on.
    pub(super) fn end(self, remote: &str) -> Result<bool> {
        let (code, out, said) = answer(remote, self.0.call())?;
        if code == 0 {
            return Ok(true);
        }
        let words = format!("{out}\n{said}");
        if ["non-fast-forward", "fetch first", "cannot lock ref"].iter().any(|sign| words.contains(sign)) {
            return Ok(false);
        }
        Err(refused(remote, &words))
    }
}

/// Returns what git said of a remote that it could not use: nobody is there, or it does not want us.
fn refused(remote: &str, words: &str) -> MergeError {
    let remote = named(remote);
    let said = text::cut(&text::many_lines(&without_passwords(words.trim())), 2_000);
    match remotes::is_away(&said) {
        true => MergeError::Unreachable { remote, said },
        false => MergeError::PushRefused { remote, said },
    }
}

/// Writes a remote's name or address for people.
fn named(remote: &str) -> String {
    text::cut(&text::one_line(&without_passwords(remote)), 100)
}

fn answer<T>(remote: &str, called: Result<T, GitError>) -> Result<T> {
    called.map_err(|error| match error {
        GitError::Failed(_, said) => refused(remote, &said),
        GitError::TimedOut(_) => MergeError::Unreachable { remote: named(remote), said: "no answer in time".into() },
        error => error.into(),
    })
}

/// Fetches and proves that the remote's branch holds every entry; answers with its head.
pub(super) fn prove(repo: &Repo, remote: &str, branch: &str, id: &str, entries: &[MergeEntry]) -> Result<()> {
    let unproven = || MergeError::Unproven(remote.into());
    let head = head(repo, remote, branch, id)?.ok_or_else(unproven)?;
    for entry in entries {
        if !carries(repo, &head, entry)? {
            return Err(unproven());
        }
    }
    Ok(())
}

/// Tells whether the remote's branch holds what the target holds of a branch already. It may not: somebody merged by
/// hand, or an earlier merge stayed local.
pub(super) fn holds(repo: &Repo, remote: &str, branch: &str, id: &str, source: &str) -> Result<bool> {
    match head(repo, remote, branch, id)? {
        Some(head) => verify::held(&repo.git, &head, source),
        None => Ok(false),
    }
}

/// Returns `true` when a commit's history has the entry: the very commit, or its patches.
pub(super) fn carries(repo: &Repo, head: &str, entry: &MergeEntry) -> Result<bool> {
    Ok(repo.git.is_ancestor(&entry.commit, head)? || verify::held(&repo.git, head, &entry.source)?)
}

/// Checks that the remote is where it was.
fn check(repo: &Repo, remote: &str) -> Result<()> {
    if !remotes::is_plain(remote) {
        return Err(MergeError::PushRefused { remote: named(remote), said: "no such remote".into() });
    }
    let moved = remotes::check(&repo.git, remote, repo.remotes.as_deref())?;
    moved.map_or(Ok(()), |moved| Err(MergeError::RemoteMoved(moved)))
}
