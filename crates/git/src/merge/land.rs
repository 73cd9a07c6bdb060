//! Moves the target branch by compare-and-swap, together with the files of its checkout.
//!
//! While the target moves, the index of its checkout is locked the way git itself locks it, so that
//! no commit of the user can fall between the files and the branch. The files come first: a branch
//! that moved under old files would look as if the user had taken the merge back.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    Deed, MergeError, Result, checkout,
    repo::Repo,
    steps::{Checkout, Landing, Log, Step, point},
};
use crate::{fault::failed, git::Git, snapshot::copy_index, trees};
use oodatcaa_sys::files;

/// How long an index that another git has locked is waited for.
const INDEX_WAIT: Duration = Duration::from_secs(5);

/// A change of a ref in the same transaction as the target's.
pub(super) enum RefEdit {
    /// Points there, wherever it pointed before.
    Set(String, String),
    /// Must not have been there.
    Create(String, String),
    /// Is removed, if it is there.
    Remove(String),
}

/// What stands between the files of the checkouts and the branch: does the deed, or says why not.
pub(super) type Fence<'a> = &'a mut dyn FnMut(Deed<'_>) -> Result<()>;

/// Does the deed at once, as a fence for what has been decided already.
pub(super) fn open_fence(deed: Deed<'_>) -> Result<()> {
    deed()
}

/// Moves the target from one commit to another, if it still is where it should be and the fence lets it.
pub(super) fn land(repo: &Repo, log: &mut Log, from: &str, to: &str, refs: &[RefEdit], fence: Fence<'_>) -> Result<()> {
    // Before the lock, because it reads every new object.
    repo.git.make_whole(from, to)?;
    let lock = repo.lock()?;
    let target = log.state.target.clone();
    if repo.head(&target)? != from {
        return Err(MergeError::MovedOn);
    }
    let checkouts = of_branch(repo, &target)?;
    // Written before the first file changes, so that whoever comes after a crash knows both ends.
    log.state.landing = Some(Landing { from: from.into(), to: to.into(), checkouts: checkouts.clone() });
    log.save(Step::Landing)?;
    let (mut held, mut is_begun) = (Vec::new(), false);
    let mut bring = || {
        for checkout in &checkouts {
            held.push(IndexLock::take(checkout, &log.state.id)?);
            checkout::probe(repo, checkout, from, to)?;
        }
        point(Step::Locked);
        is_begun = true;
        checkouts.iter().try_for_each(|checkout| checkout::forward(repo, &lock, checkout, from, to))?;
        point(Step::Files);
        // All that takes time comes before the fence.
        let transaction = transaction(repo, &target, from, to, refs)?;
        fence(&mut || Ok(transaction.run(&["update-ref", "-m", "oodatcaa: integrate", "--stdin"]).map(drop)?))
    };
    if let Err(error) = bring() {
        for (checkout, lock) in checkouts.iter().zip(held) {
            if is_begun {
                checkout::mend(repo, checkout, to, from)?;
            }
            lock.give_back()?;
        }
        log.state.landing = None;
        log.save(Step::Green)?;
        // Whoever moves branches without our lock was quicker.
        return Err(if repo.head(&target)? == from { error } else { MergeError::MovedOn });
    }
    point(Step::Moved);
    for lock in held {
        lock.keep()?;
    }
    log.state.landing = None;
    log.save(Step::Landed)
}

/// Asks whether the target could move now, without moving anything.
pub(super) fn ready(repo: &Repo, log: &Log, from: &str, to: &str) -> Result<()> {
    let _lock = repo.lock()?;
    for checkout in of_branch(repo, &log.state.target)? {
        let lock = IndexLock::take(&checkout, &log.state.id)?;
        let free = checkout::probe(repo, &checkout, from, to);
        lock.give_back()?;
        free?;
    }
    Ok(())
}

/// Returns the change of the target and of the refs that go with it.
fn transaction(repo: &Repo, target: &str, from: &str, to: &str, refs: &[RefEdit]) -> Result<Git> {
    let mut input = format!("update refs/heads/{target} {to} {from}\n");
    for change in refs {
        match change {
            RefEdit::Set(name, commit) => input.push_str(&format!("update {name} {commit}\n")),
            RefEdit::Create(name, commit) => input.push_str(&format!("create {name} {commit}\n")),
            RefEdit::Remove(name) => {
                if repo.git.asks(&["show-ref", "--verify", "-q", name])? {
                    input.push_str(&format!("delete {name}\n"));
                }
            }
        }
    }
    Ok(repo.git.clone().with_input(input))
}

/// Returns the checkouts of a branch; one in the middle of something of the user's own is busy.
pub(super) fn of_branch(repo: &Repo, target: &str) -> Result<Vec<Checkout>> {
    let full = format!("refs/heads/{target}");
    let busy = |path: &Path, what: &str| MergeError::Busy {
        checkout: path.into(),
        files: Vec::new(),
        why: format!("a {what} of yours is in progress there; finish or abort it"),
    };
    let mut found = Vec::new();
    for tree in trees::list(&repo.git, &repo.common)? {
        if tree.branch.as_deref() != Some(target) || !tree.path.is_dir() {
            continue;
        }
        for (file, what) in [("MERGE_HEAD", "merge"), ("CHERRY_PICK_HEAD", "cherry-pick"), ("REVERT_HEAD", "revert")] {
            if tree.admin.join(file).exists() {
                return Err(busy(&tree.path, what));
            }
        }
        found.push(Checkout { path: tree.path, git_dir: tree.admin });
    }
    // A rebase of the target has left the branch for the time being and comes back to it.
    // Git keeps the name of the branch in the state of the rebase, wherever that runs.
    let mut dirs = vec![repo.common.clone()];
    dirs.extend(crate::admin::admins(&repo.common));
    for dir in dirs {
        for state in ["rebase-merge", "rebase-apply"] {
            if files::named::text(dir.join(state).join("head-name")).is_ok_and(|name| name.trim() == full) {
                return Err(busy(repo.top.as_deref().unwrap_or(&repo.common), "rebase"));
            }
        }
    }
    Ok(found)
}

/// The lock of a checkout's index, held as git holds it, and the index that is being made beside it.
#[derive(Debug)]
pub(super) struct IndexLock {
    lock: PathBuf,
    index: PathBuf,
    scratch: PathBuf,
}

/// Our name in a lock, by which a successor knows it.
const MARK: &str = "oodatcaa ";

impl IndexLock {
    /// Takes it; when it is free, the scratch index is a copy of the index.
    pub(super) fn take(checkout: &Checkout, id: &str) -> Result<Self> {
        let (lock, index) = (checkout.git_dir.join("index.lock"), checkout.git_dir.join("index"));
        let this = Self { lock, index, scratch: checkout.scratch() };
        let deadline = Instant::now() + INDEX_WAIT;
        loop {
            // As git itself takes it: by the name, exclusively.
            let made = files::named::create_new(&this.lock)
                .and_then(|mut file| file.write_all(format!("{MARK}{id}\n").as_bytes()));
            match made {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("lock", &this.lock)(error).into()),
            }
            // The same merge, before it was killed.
            if files::named::text(&this.lock).is_ok_and(|text| text.trim() == format!("{MARK}{id}")) {
                break;
            }
            if Instant::now() >= deadline {
                return Err(MergeError::Busy {
                    checkout: checkout.path.clone(),
                    files: Vec::new(),
                    why: format!("another git holds {}; if none is running, remove that file", this.lock.display()),
                });
            }
            thread::sleep(Duration::from_millis(20));
        }
        if let Err(error) = copy_index(&this.index, &this.scratch) {
            let error = failed("copy the index to", &this.scratch)(error);
            this.give_back()?;
            return Err(error.into());
        }
        Ok(this)
    }

    /// Puts the scratch index in the place of the index.
    pub(super) fn keep(self) -> Result<()> {
        files::named::rename(&self.scratch, &self.index).map_err(failed("replace", &self.index))?;
        self.unlock()
    }

    /// Gives the lock back; everything stays as it was.
    pub(super) fn give_back(self) -> Result<()> {
        let _ = files::named::remove(&self.scratch);
        self.unlock()
    }

    fn unlock(&self) -> Result<()> {
        files::named::remove(&self.lock).map_err(failed("remove", &self.lock))?;
        Ok(())
    }
}

/// Waits for a git that a killed merge has left behind, then removes what it may have left.
pub(super) fn settle_scratch(checkout: &Checkout) -> Result<()> {
    let lock = checkout.git_dir.join("index.oodatcaa.lock");
    let deadline = Instant::now() + INDEX_WAIT;
    while lock.exists() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    for path in [lock, checkout.scratch()] {
        files::named::remove(&path).map_err(failed("remove", &path))?;
    }
    Ok(())
}
