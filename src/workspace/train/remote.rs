//! The remote's side of the target: what it has, the push, the proof that it holds the change.

use super::{TrainError, land::Repo, steps::Car, verify};
use crate::domain::text;

/// The remote's head of a branch, fetched; `None` when the remote has no such branch.
pub(super) fn head(repo: &Repo, remote: &str, branch: &str, id: &str) -> Result<Option<String>, TrainError> {
    check(remote)?;
    let full = format!("refs/heads/{branch}");
    let listed = repo.git.run(&["ls-remote", "-q", "--", remote, &full])?;
    if !listed.lines().any(|line| line.ends_with(&format!("\t{full}"))) {
        return Ok(None);
    }
    let mine = own_ref(id);
    repo.git.run(&["fetch", "-q", "--no-tags", "--no-write-fetch-head", "--", remote, &format!("+{full}:{mine}")])?;
    verify::read_ref(&repo.git, &mine)
}

/// Forgets what was fetched for a train.
pub(super) fn forget(repo: &Repo, id: &str) -> Result<(), TrainError> {
    let mine = own_ref(id);
    if repo.git.asks(&["show-ref", "--verify", "-q", &mine])? {
        repo.git.run(&["update-ref", "-d", &mine])?;
    }
    Ok(())
}

fn own_ref(id: &str) -> String {
    format!("refs/oodatcaa/fetched/{}", super::safe::ref_word(id))
}

/// Pushes a commit as the branch; never by force. `false` when the remote has moved on.
pub(super) fn push(repo: &Repo, remote: &str, branch: &str, commit: &str) -> Result<bool, TrainError> {
    check(remote)?;
    let spec = format!("{commit}:refs/heads/{branch}");
    let (code, out, said) = repo.git.call(&["push", "-q", "--porcelain", "--no-verify", "--", remote, &spec])?;
    if code == 0 {
        return Ok(true);
    }
    let words = format!("{out}\n{said}");
    if ["non-fast-forward", "fetch first", "cannot lock ref"].iter().any(|sign| words.contains(sign)) {
        return Ok(false);
    }
    Err(TrainError::PushRefused { remote: remote.into(), said: text::cut(&text::many_lines(words.trim()), 2_000) })
}

/// Fetches and proves that the remote's branch holds every car; answers with its head.
pub(super) fn prove(repo: &Repo, remote: &str, branch: &str, id: &str, cars: &[Car]) -> Result<(), TrainError> {
    let unproven = || TrainError::Unproven { remote: remote.into() };
    let head = head(repo, remote, branch, id)?.ok_or_else(unproven)?;
    for car in cars {
        if !carries(repo, &head, car)? {
            return Err(unproven());
        }
    }
    Ok(())
}

/// `true` when a commit's history has the car: the very commit with the very patch, or its patches.
pub(super) fn carries(repo: &Repo, head: &str, car: &Car) -> Result<bool, TrainError> {
    let there = repo.git.asks(&["merge-base", "--is-ancestor", &car.commit, head])?;
    if there && verify::patch_id(&repo.git, &car.base, &car.commit)? == car.patch {
        return Ok(true);
    }
    verify::held(&repo.git, head, &car.source)
}

/// A remote's name or address may not be an option or a program.
fn check(remote: &str) -> Result<(), TrainError> {
    if remote.is_empty() || remote.starts_with('-') || remote.contains("::") || remote.chars().any(char::is_control) {
        return Err(TrainError::PushRefused {
            remote: text::cut(&text::one_line(remote), 100),
            said: "no such remote".into(),
        });
    }
    Ok(())
}
