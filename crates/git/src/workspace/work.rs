//! What is done with a worktree: looked at, committed, saved, lent and given back.

use super::Workspace;
use crate::{
    Mode,
    author::Author,
    commit,
    evidence::{self, Evidence, Start},
    fault::Result,
    git::RawChange,
    own,
    repo::Home,
    save::{self, Refs, Saved},
    screen,
    snapshot::Checkout,
    state::State,
};
use oodatcaa_core::{Token, layout::Layout};

impl Workspace {
    /// Returns what has changed since the attempt began.
    pub fn evidence(&self) -> Result<Evidence> {
        let Some(checkout) = &self.checkout else { return Ok(Evidence::default()) };
        let seen = checkout.snapshot()?;
        evidence::look(checkout, seen, &self.start, self.base_branch.as_deref())
    }

    /// Returns what has changed since an earlier attempt began, with which this one goes on; as for this one where nothing
    /// was noted then.
    pub fn evidence_since(&self, first: Token) -> Result<Evidence> {
        let Some(checkout) = &self.checkout else { return Ok(Evidence::default()) };
        let start = Start::noted(checkout, &self.refs, first)?.unwrap_or_else(|| self.start.clone());
        evidence::look(checkout, checkout.snapshot()?, &start, self.base_branch.as_deref())
    }

    /// Commits what is not committed on the task's branch; `None` when there is nothing, and always in the
    /// project's own directory. No hook runs. The trailers are ours: see [`crate::trailers`].
    pub fn commit_rest(&self, message: &str, trailers: &[(&str, String)], author: &Author) -> Result<Option<String>> {
        let (Some(checkout), Mode::Worktree) = (&self.checkout, self.mode()) else { return Ok(None) };
        if evidence::midway(checkout)?.is_none() {
            self.put_on_branch(checkout)?;
        }
        let fork = self.fork(checkout)?;
        commit::rest(checkout, fork.as_deref(), &commit::message(message, trailers), author)
    }

    /// Saves what is not committed, or committed on no branch, under [`Refs::wip`], without touching index or files.
    /// Answers the commit; `None` when there is nothing to save.
    pub fn save(&self) -> Result<Option<String>> {
        let Some(checkout) = &self.checkout else { return Ok(None) };
        let seen = checkout.snapshot()?;
        if !seen.left_out.is_empty() {
            log::warn!("{}: these are not saved: {}", self.task, seen.left_out.join(", "));
        }
        let head = checkout.git.head()?;
        // Commits of a detached head are in no branch and would go with the worktree.
        let is_held = |head: &str| save::holds(checkout, self.branch.as_deref(), head);
        if checkout.tree_of(head.as_deref())? == seen.tree && head.as_deref().map_or(Ok(true), is_held)? {
            return Ok(None);
        }
        let what = format!("work of {}, attempt {}, that was not committed", self.task, self.token);
        save::keep(checkout, &seen, &self.refs.wip(self.token), &what).map(Some)
    }

    /// Takes files of these patterns for what an agent's program leaves behind: they are no work, now and later.
    pub fn leave_out(&mut self, layout: &Layout, patterns: &[String]) -> Result<()> {
        let Some(checkout) = &mut self.checkout else { return Ok(()) };
        let new: Vec<String> = patterns.iter().filter(|pattern| !checkout.ignored.contains(pattern)).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        checkout.ignored.extend(new);
        let ignored = checkout.ignored.clone();
        self.note(layout, |state| state.ignored = ignored)
    }

    /// Changes what is remembered of it.
    pub(crate) fn note(&self, layout: &Layout, change: impl FnOnce(&mut State)) -> Result<()> {
        let Some(home) = Home::holding(layout, &self.top) else { return Ok(()) };
        let Some(mut state) = State::load(&home, &self.task) else { return Ok(()) };
        let before = state.clone();
        change(&mut state);
        if state == before { Ok(()) } else { state.save(&home) }
    }

    /// Notes that an attempt in it has come to an end, and that the task's entry will name its branch from now on:
    /// an entry that does not is another task of the same id.
    pub fn settle(&self, layout: &Layout) -> Result<()> {
        self.note(layout, |state| state.settled = true)
    }

    /// Gives it to somebody whose changes are no work: a tester, a reviewer. Whoever comes next finds it as it is
    /// now, also when [`Workspace::take_back`] is never reached.
    pub fn lend(&self, layout: &Layout) -> Result<()> {
        self.note(layout, |state| state.lent = Some(self.token))
    }

    /// Takes it back: everything is as it was when the attempt began. What was changed is saved; answers with the files and where they are, `None` when nothing was.
    /// What its agent has not given back yet is taken back by whoever comes next.
    pub fn take_back(&self, layout: &Layout) -> Result<Option<(Vec<String>, String)>> {
        if Home::holding(layout, &self.top).is_some_and(|home| own::is_out(&home, &self.task)) {
            return Ok(None);
        }
        let saved = self.put_back_to(self.token)?;
        self.note(layout, |state| (state.lent, state.midway) = (None, None))?;
        Ok(saved)
    }

    pub(super) fn put_back_to(&self, token: Token) -> Result<Option<(Vec<String>, String)>> {
        let (Some(checkout), Mode::Worktree) = (&self.checkout, self.mode()) else { return Ok(None) };
        let git = &checkout.git;
        let Some(noted) = git.commit(&self.refs.start(token))? else { return Ok(None) };
        let began = git.commit(&format!("{noted}^1"))?;
        let (tree, seen) = (checkout.tree_of(Some(&noted))?, checkout.snapshot()?);
        // Also where all files are as they were: a commit or another branch is a change, too.
        let moved = checkout.git.head()? != began || checkout.git.current_branch()? != self.branch;
        if !moved && seen.tree == tree {
            return Ok(None);
        }
        let changed = git.raw_changes(&[&tree, &seen.tree])?.iter().map(RawChange::name).collect();
        let name = format!("{}/{token}", self.refs.dir("aside"));
        let what = format!("what attempt {token} on {} changed that is not its work", self.task);
        save::keep(checkout, &seen, &name, &what)?;
        self.end_midway(checkout)?;
        if let (Some(branch), Some(began)) = (&self.branch, &began) {
            git.set_ref("put back", &format!("refs/heads/{branch}"), began, None)?;
            git.attach_head("put back", branch)?;
        }
        // What git does not know yet it would not take away.
        commit::stage(checkout)?;
        git.be_like(&tree)?;
        checkout.leave_others_alone()?;
        Ok(Some((changed, name)))
    }

    /// Moves a branch that has nothing of its own to where its base is by now; for whoever works on it next.
    pub fn follow_base(&mut self) -> Result<()> {
        let (Some(checkout), Some(base)) = (&self.checkout, &self.base_branch) else { return Ok(()) };
        let git = &checkout.git;
        let (head, tip) = (checkout.git.head()?, git.tip(base)?);
        let (Some(head), Some(tip)) = (head, tip) else { return Ok(()) };
        // Only a branch that is behind and nothing else: whoever has work of its own rebases when it merges.
        if head == tip || !git.is_ancestor(&head, &tip)? {
            return Ok(());
        }
        // Beside the base's own line it is work that was merged there.
        let since = git.run(&["rev-list", "--first-parent", "--parents", &tip, &format!("^{head}")])?;
        let began_there = since.lines().last().and_then(|line| line.split(' ').nth(1)) == Some(head.as_str());
        if !began_there || checkout.tree_of(Some(&head))? != checkout.snapshot()?.tree {
            return Ok(());
        }
        let (code, _, said) = git.call(&["merge", "-q", "--ff-only", "--no-stat", &tip])?;
        if code != 0 {
            log::info!("{}: its branch stays where it began: {}", self.task, oodatcaa_core::text::one_line(&said));
            return Ok(());
        }
        self.begin_again()
    }

    /// Says what of the branch must not come into its target, in words for whoever mends it; `None` when all of it
    /// may. Commits of submodules are kept where they outlive the worktree, as they are what a merge would point to;
    /// with `published` a remote must have them as well.
    pub fn refuses(&self, published: bool) -> Result<Option<String>> {
        let (Some(checkout), Some(stores), Some(base)) = (&self.checkout, &self.stores, &self.base_branch) else {
            return Ok(None);
        };
        stores.keep()?;
        screen::refuse(&checkout.git, stores, &self.copies, &format!("refs/heads/{base}"), published)
    }

    /// Returns the submodules that hold changes which are not committed in them.
    pub fn unfinished_submodules(&self) -> Result<Vec<String>> {
        self.stores.as_ref().map_or(Ok(Vec::new()), |stores| stores.dirty(&self.top))
    }

    /// Returns what earlier attempts saved and this one does not find in its tree, in words for its prompt.
    pub fn saved_before(&self) -> Result<Vec<String>> {
        let (Some(checkout), Mode::Worktree) = (&self.checkout, self.mode()) else { return Ok(Vec::new()) };
        let saved = save::missing(checkout, &self.refs, self.token, &self.start.tree)?;
        let words = |(name, files): Saved| {
            let shown: Vec<&str> = files.iter().take(8).map(String::as_str).collect();
            let more = if files.len() > shown.len() { ", …" } else { "" };
            format!(
                "work of an earlier attempt that is not in this worktree is saved as {name} ({}{more}). Look at it with \
                 `git show --stat {name}`, and take what is good: `git checkout {name} -- FILE`",
                shown.join(", ")
            )
        };
        Ok(saved.into_iter().rev().map(words).collect())
    }

    /// Returns the names of the task's refs.
    pub fn refs(&self) -> &Refs {
        &self.refs
    }

    /// Returns what it holds, in a form to be compared with another moment's: commit and content; `None` without git.
    pub fn content(&self) -> Result<Option<String>> {
        let Some(checkout) = &self.checkout else { return Ok(None) };
        let head = checkout.git.head()?.unwrap_or_default();
        Ok(Some(format!("{head}:{}", checkout.snapshot()?.tree)))
    }

    /// Returns the commit in which the branch left the one that it goes to; `None` without one.
    pub fn fork_commit(&self) -> Result<Option<String>> {
        self.checkout.as_ref().map_or(Ok(None), |checkout| self.fork(checkout))
    }

    /// Returns the commit at which the branch that it goes to stands now; `None` without one.
    pub fn target_commit(&self) -> Result<Option<String>> {
        let (Some(checkout), Some(base)) = (&self.checkout, &self.base_branch) else { return Ok(None) };
        Ok(checkout.git.tip(base)?)
    }

    /// Returns the commit at which its branch stands; `None` where it has none of its own.
    pub fn head(&self) -> Option<String> {
        let checkout = self.checkout.as_ref().filter(|_| self.branch.is_some())?;
        checkout.git.head().ok().flatten()
    }

    /// Returns the commit in which the branch left the one that it goes to.
    pub(super) fn fork(&self, checkout: &Checkout) -> Result<Option<String>> {
        let Some(base) = &self.base_branch else { return Ok(None) };
        Ok(checkout.git.fork(&format!("refs/heads/{base}"), "HEAD")?)
    }
}
