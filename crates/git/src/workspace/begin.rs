//! The beginning of an attempt in a worktree: what an earlier one left half done is ended, and how it was is noted.

use super::Workspace;
use crate::{
    evidence::{self, Start},
    fault::Result,
    save,
    snapshot::Checkout,
};

impl Workspace {
    /// Ends what an earlier attempt left half done, with everything saved before.
    /// What was half done in a repository of the agent's own is not half done here.
    pub(super) fn tidy(&mut self, left: Option<&str>) -> Result<()> {
        let Some(checkout) = &self.checkout else { return Ok(()) };
        if let Some(what) = evidence::midway(checkout)?.or(left) {
            let saved = self.save()?;
            let at = saved.as_deref().unwrap_or("nothing");
            log::warn!("{}: {what} was left unfinished; it is ended, its work is saved in {at}", self.task);
            // Ended, never aborted: an abort would put back what stood before and throw the work away.
            self.end_midway(checkout)?;
            checkout.git.reset_hard()?;
        }
        self.put_on_branch(checkout)
    }

    pub(crate) fn end_midway(&self, checkout: &Checkout) -> Result<()> {
        for command in [["rebase", "--quit"], ["cherry-pick", "--quit"], ["revert", "--quit"], ["bisect", "reset"]] {
            // Those that are not under way say so.
            let _ = checkout.git.call(&command)?;
        }
        Ok(())
    }

    /// Makes sure that the task's branch is checked out and holds what was committed beside it.
    pub(super) fn put_on_branch(&self, checkout: &Checkout) -> Result<()> {
        let Some(branch) = &self.branch else { return Ok(()) };
        if checkout.git.current_branch()?.as_ref() == Some(branch) {
            return Ok(());
        }
        let git = &checkout.git;
        let (head, tip) = (checkout.git.head()?, git.tip(branch)?);
        let ahead = match (&head, &tip) {
            (Some(head), Some(tip)) => git.is_ancestor(tip.as_str(), head)?,
            (Some(_), None) => true,
            (None, _) => false,
        };
        // The agent worked beside the branch: its commits are taken in, as nothing of the branch is lost by that.
        if ahead {
            let head = head.unwrap_or_default();
            let name = format!("refs/heads/{branch}");
            git.set_ref("take in", &name, &head, Some(&tip.unwrap_or_default()))?;
            git.attach_head("take in", branch)?;
            return Ok(());
        }
        let saved = self.save()?;
        log::warn!(
            "{}: something other than the branch {branch} is checked out; it is saved in {}",
            self.task,
            saved.as_deref().unwrap_or("its branch")
        );
        Ok(git.check_out_over(branch)?)
    }

    /// Notes how it is now, unless this attempt has begun already.
    pub(super) fn begin(&mut self) -> Result<()> {
        if !self.remember()? {
            self.begin_again()?;
        }
        Ok(())
    }

    /// Reads what was noted when the attempt began; without a note it begins with the branch.
    pub(super) fn remember(&mut self) -> Result<bool> {
        let Some(checkout) = &self.checkout else { return Ok(true) };
        if let Some(start) = Start::noted(checkout, &self.refs, self.token)? {
            self.start = start;
            return Ok(true);
        }
        // A crash before the note, or a note that somebody removed: all that the branch has counts as this attempt's.
        // The fork and not the tip: an attempt that died may have committed already.
        let commit = self.fork(checkout)?.or(checkout.git.head()?);
        let tree = checkout.tree_of(commit.as_deref())?;
        self.start = Start { commit, tree };
        Ok(false)
    }

    pub(super) fn begin_again(&mut self) -> Result<()> {
        let Some(checkout) = &self.checkout else { return Ok(()) };
        let seen = checkout.snapshot()?;
        let head = checkout.git.head()?;
        // A commit of its own, also where all is clean: its time is when the attempt began.
        let parents: Vec<&str> = head.iter().map(String::as_str).collect();
        let message = format!("oodatcaa: how {} was when attempt {} began", self.task, self.token);
        let note = save::commit_tree(&checkout.git, &seen.tree, &parents, &message)?;
        checkout.git.set_ref("begin", &self.refs.start(self.token), &note, None)?;
        self.start = Start { commit: head, tree: seen.tree };
        Ok(())
    }
}
