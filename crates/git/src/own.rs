//! The repository of an agent's own, which it gets in the place of the project's: it borrows the project's objects, has
//! its branches and tags, and may be done anything to. What is good of it is taken in afterwards.
//!
//! Nothing below the project's `.git` has to be writable for an agent that commits here. The private directory of the
//! worktree stays ours; only the link in the worktree leads elsewhere while the agent works.
//!
//! Both ways are taken again after a crash. That a repository was handed out, to which attempt and at which commit, is
//! noted before it is made, and forgotten after it is gone; in between each step can be done twice. Whoever takes in
//! holds the task's guard, and leaves alone what was handed out to a later attempt.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use reader::Reader;

use super::{
    Config, admin, branch,
    fault::{Result, WorkspaceError, failed},
    git::GitError,
    merge::die_at,
    repo::{Home, make_dir},
    state::State,
    tree::quarantine,
    workspace::Workspace,
};
use oodatcaa_core::{TaskId, Token, layout::Layout, text::chain};
use oodatcaa_sys::files::{self, Durable, named};

mod check;
mod give;
mod lfs;
mod modules;
mod reader;
mod take;

/// The note of a repository that was handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handed {
    /// The attempt that has it.
    pub(super) to: Token,
    /// The commit of the branch then; `None` before its first commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tip: Option<String>,
}

/// The state that an agent has left in a repository of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenIn {
    /// An operation of git that it left half done there.
    pub midway: Option<&'static str>,
    /// The commit that it had checked out.
    pub head: Option<String>,
    /// Its deed to the repository or to the way there, so that nothing of it counts.
    pub wrong: Option<String>,
}

impl Workspace {
    /// Makes a repository of the agent's own, and lets its worktree lead there. Returns where it is; `None` in the
    /// project's own directory.
    ///
    /// What an earlier attempt left in such a repository is taken in before.
    pub fn hand_out(&self, layout: &Layout, config: &Config) -> Result<Option<PathBuf>> {
        let (Some(checkout), Some(branch), Some(home)) =
            (&self.checkout, &self.branch, Home::holding(layout, &self.top))
        else {
            return Ok(None);
        };
        let _guard = home.guard(&self.task, WAIT)?;
        self.take_in_held(&home, self.token, config)?;
        let mut state = State::load(&home, &self.task);
        if let Some(Handed { to, .. }) = state.as_ref().and_then(|state| state.handed.as_ref()) {
            return Err(WorkspaceError::Superseded { task: self.task.clone(), by: *to });
        }
        let common = checkout.git.common().unwrap_or(&checkout.admin);
        give::refuse(&checkout.git, common)?;
        let refs = give::refs(&checkout.git, &self.refs)?;
        if let Some(state) = &mut state {
            state.handed = Some(Handed { to: self.token, tip: give::tip(&refs, branch) });
            state.save(&home)?;
        }
        die_at("own-noted");
        let own = place(&home, &self.task);
        let new = beside(&own, ".new");
        make_dir(&new)?;
        let (git, head) = (&checkout.git, format!("ref: refs/heads/{branch}\n"));
        give::make(git, (&checkout.admin, common), &new, &head, &refs, false)?;
        modules::make(git, &checkout.admin, &new)?;
        die_at("own-made");
        named::rename(&new, &own).map_err(failed("make", &own))?;
        die_at("own-there");
        link(&self.top, &own)?;
        modules::link(git, &self.top, &checkout.admin, &own, 0)?;
        die_at("own-linked");
        Ok(Some(own))
    }

    /// Takes in what an agent did in a repository of its own, if the worktree has one: its branch, and what it had
    /// checked out. The worktree leads to ours again before anything is read there. Nothing of the agent may run any
    /// more, and nobody ends it before its time.
    pub fn take_in(&self, layout: &Layout, config: &Config) -> Result<Option<TakenIn>> {
        let Some(home) = Home::holding(layout, &self.top) else { return Ok(None) };
        if !is_out(&home, &self.task) {
            return Ok(None);
        }
        let _guard = home.guard(&self.task, WAIT)?;
        self.take_in_held(&home, self.token, config)
    }

    /// Takes in as [`Self::take_in`] does what was handed out to this attempt or to one before it, for a caller that holds
    /// the task's guard.
    pub(crate) fn take_in_held(&self, home: &Home, fence: Token, config: &Config) -> Result<Option<TakenIn>> {
        let (Some(checkout), Some(branch)) = (&self.checkout, &self.branch) else { return Ok(None) };
        if !is_out(home, &self.task) {
            return Ok(None);
        }
        let handed = handed(home, &self.task);
        if let Some(Handed { to, .. }) = handed.as_ref().filter(|handed| handed.to > fence) {
            log::info!("{}: its worktree is attempt {to}'s by now, so attempt {fence} takes nothing in", self.task);
            return Ok(None);
        }
        let own = place(home, &self.task);
        let gone = beside(&own, ".gone");
        for half in [&gone, &beside(&own, ".new"), &beside(&own, ".read")] {
            files::remove_tree(&home.dir, half).map_err(failed("remove", half))?;
        }
        let mut taken =
            TakenIn { wrong: link_back(home, &self.top, &self.task, &checkout.admin)?, ..TakenIn::default() };
        die_at("own-back");
        let common = checkout.git.common().unwrap_or(&checkout.admin);
        if own.symlink_metadata().is_ok() {
            let reader = Reader::of(config, home, &own)?;
            let from = take::From { own: &own, branch, handed: handed.as_ref(), reader: &reader };
            let plain = check::plain(&own).map_err(|wrong| wrong.to_string());
            let modules = match plain {
                Ok(()) => modules::receive(&checkout.git, &checkout.admin, &own, &reader)?,
                wrong => wrong,
            };
            // Before git looks at the worktree, where it would go into them.
            modules::link(&checkout.git, &self.top, &checkout.admin, &checkout.admin, 0)?;
            let received = match modules {
                Ok(()) => {
                    lfs::receive(&own, common)?;
                    take::receive(checkout, &self.refs, &from)?
                }
                Err(words) => Err(words),
            };
            match received {
                Ok(received) => (taken.midway, taken.head) = (received.midway, received.head),
                Err(words) => {
                    let kept = quarantine(home, &own)?;
                    let words = format!("{words}; its repository is kept as {}", kept.display());
                    log::warn!("{}: {words}", self.task);
                    taken.wrong.get_or_insert(words);
                }
            }
            die_at("own-received");
            if let (Some(what), Some(mut state)) = (taken.midway, State::load(home, &self.task)) {
                state.midway = Some(what.into());
                state.save(home)?;
            }
            // Under another name first: from here on nothing of it is taken for anything.
            if own.symlink_metadata().is_ok() {
                named::rename(&own, &gone).map_err(failed("remove", &own))?;
                die_at("own-gone");
                files::remove_tree(&home.dir, &gone).map_err(failed("remove", &gone))?;
            }
        } else if handed.is_some() {
            taken.wrong.get_or_insert(format!("use {}: it is gone", own.display()));
        }
        modules::link(&checkout.git, &self.top, &checkout.admin, &checkout.admin, 0)?;
        if let Some(mut state) = State::load(home, &self.task).filter(|state| state.handed.is_some()) {
            state.handed = None;
            state.save(home)?;
        }
        die_at("own-forgotten");
        Ok(Some(taken))
    }
}

/// The time that somebody else may take who makes, removes or takes in the same worktree.
const WAIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Tells whether a task's agent has a repository of its own, or had one that was not taken in.
pub(super) fn is_out(home: &Home, task: &TaskId) -> bool {
    handed(home, task).is_some() || place(home, task).symlink_metadata().is_ok()
}

fn handed(home: &Home, task: &TaskId) -> Option<Handed> {
    State::load(home, task)?.handed
}

/// Returns where a task's agent has its own repository.
fn place(home: &Home, task: &TaskId) -> PathBuf {
    home.dir.join("git").join(branch::component(task.as_str()))
}

/// Returns a name beside it that no task has.
fn beside(own: &Path, kind: &str) -> PathBuf {
    own.with_file_name(format!("{kind}-{}", own.file_name().unwrap_or_default().to_string_lossy()))
}

/// Lets a worktree lead to a repository. As one step: git never sees half of it.
fn link(top: &Path, to: &Path) -> Result<()> {
    let path = top.join(".git");
    let text = format!("gitdir: {}\n", to.display());
    files::write_atomic(top, &path, text.as_bytes(), Durable::No).map_err(failed("write", &path))
}

/// Lets a worktree lead to our private directory again. Says what is wrong where somebody let it lead elsewhere.
pub(super) fn link_back(home: &Home, top: &Path, task: &TaskId, admin: &Path) -> Result<Option<String>> {
    let (path, own) = (top.join(".git"), place(home, task));
    let leads = |to: &Path| named::text(&path).is_ok_and(|text| text == format!("gitdir: {}\n", to.display()));
    if leads(admin) {
        return Ok(None);
    }
    let wrong = if leads(&own) || admin::link_of(top) == admin.canonicalize().ok() {
        None
    } else {
        let why = "it has been replaced and does not lead to the repository any more";
        Some(chain(&GitError::not_ours(&path, why)))
    };
    if path.symlink_metadata().is_ok_and(|meta| !meta.is_file()) {
        quarantine(home, &path)?;
    }
    link(top, admin)?;
    Ok(wrong)
}
