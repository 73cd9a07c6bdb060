//! Where an attempt works: a git worktree per task, what it has done there, and what is kept of it (R20, R23).
//!
//! A worktree lies outside of the repository, has a branch of the task's own, and is locked with a reason as
//! long as the task lives. All roles of a task work in the same one. Projects without git work in their own
//! directory, behind the same calls.
//!
//! Who may work, and what follows from what was found, others know.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

pub mod branch;
mod commit;
pub mod diff;
mod directory;
mod evidence;
mod fault;
mod fetch;
mod files;
pub mod gc;
pub mod git;
mod hooks;
mod lock;
pub mod merge;
mod pins;
pub mod prune;
pub mod remotes;
mod repo;
pub mod restart;
mod save;
mod screen;
mod snapshot;
mod state;
mod submodules;
mod tree;
mod trees;

pub use commit::{Author, trailers};
pub use directory::Directory;
pub use evidence::Evidence;
pub use fault::{KeepReason, WorkspaceError};
pub use oodatcaa_config::{WorkspaceConfig as Config, WorkspaceMode as Mode};
pub use save::Refs;

use evidence::Start;
use git::Git;
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{RunName, Task, TaskId, Token};
use repo::{Home, Repository};
use screen::Copies;
use snapshot::Checkout;
use state::State;
use submodules::Stores;

/// Below a project's root: what is the main checkout's and never part of a task's change.
const OWN: [&str; 9] = [
    ".oodatcaa/work",
    ".oodatcaa/runs",
    ".oodatcaa/homes",
    ".oodatcaa/config.local.toml",
    ".leases",
    ".locks",
    ".agent-daemon-logs",
    ".agent-daemon-pids",
    ".agent-daemon-run",
];

/// Where one attempt works.
#[derive(Debug)]
pub struct Workspace {
    mode: Mode,
    task: TaskId,
    token: Token,
    path: PathBuf,
    top: PathBuf,
    branch: Option<String>,
    base_branch: Option<String>,
    checkout: Option<Checkout>,
    start: Start,
    env: BTreeMap<String, String>,
    copies: Copies,
    stores: Option<Stores>,
    refs: Refs,
}

/// How the project's attempts work here: `shared` where no directory above has a `.git`, whatever is configured. A
/// repository that cannot be used, or has no commit yet, is an error: nobody asked for the person's own directory.
pub fn mode_for(layout: &Layout, config: &Config) -> Result<Mode, WorkspaceError> {
    if config.mode == Mode::Shared {
        return Ok(Mode::Shared);
    }
    match Repository::find(layout)? {
        Some(repo) => repo.base(config).map(|_| Mode::Worktree),
        None => Ok(Mode::Shared),
    }
}

/// What is to be known of the git around a project.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The version of git.
    pub version: git::program::Version,
    /// Worktrees that a git which died left half made, and that git itself stops at.
    pub half_made: Vec<PathBuf>,
    /// Where worktrees of the project's tasks lie or would lie; `None` where its attempts share one directory.
    pub home: Option<PathBuf>,
}

/// Looks at the git around a project as a worker would; `None` where there is none.
pub fn condition(layout: &Layout, config: &Config) -> Result<Option<Condition>, WorkspaceError> {
    let Some(repo) = Repository::find(layout)? else { return Ok(None) };
    let mut home = None;
    if config.mode == Mode::Worktree {
        repo.base(config)?;
        repo.git.verify()?;
        home = Some(repo::Home::of(layout, config)?.dir);
    }
    Ok(Some(Condition { version: repo.git.new_enough()?, half_made: trees::half_made(&repo.common), home }))
}

/// Makes a repository of a project that has none, with a first commit of all that is there.
pub fn first_commit(layout: &Layout, message: &str, author: &Author) -> Result<(), WorkspaceError> {
    Git::looking(layout.root()).run(&["init", "--quiet"])?;
    let repo = Repository::find(layout)?.ok_or_else(|| WorkspaceError::NoBase("git made no repository".into()))?;
    let git = ["AUTHOR", "COMMITTER"].iter().fold(repo.git, |git, who| {
        git.with_env(&format!("GIT_{who}_NAME"), &author.name).with_env(&format!("GIT_{who}_EMAIL"), &author.mail)
    });
    git.run(&["add", "--all"])?;
    git.run(&["commit", "--quiet", "--no-verify", "--message", message])?;
    Ok(())
}

impl Workspace {
    /// Makes or finds the workspace of a task, for one attempt on it.
    ///
    /// What an earlier attempt left uncommitted stays in the tree and does not count as this one's work; a git
    /// operation that it left half done is saved and ended.
    pub fn prepare(layout: &Layout, config: &Config, task: &Task, token: Token) -> Result<Self, WorkspaceError> {
        let run_dir = layout.run(&task.id, &RunName::of(token));
        Self::prepare_until(layout, config, task, token, &run_dir, &Arc::default())
    }

    /// The same, with a way to stop what may take long: the project's `setup` command, and all that git does here
    /// until [`Self::to_its_end`].
    pub fn prepare_until(
        layout: &Layout,
        config: &Config,
        task: &Task,
        token: Token,
        run_dir: &Path,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, WorkspaceError> {
        let found = Repository::find(layout)?.map(|repo| repo.until(stop));
        let Some(repo) = found.as_ref().filter(|_| config.mode == Mode::Worktree) else {
            let mut workspace = Self::shared(layout, found, &task.id, token)?;
            workspace.begin()?;
            return Ok(workspace);
        };
        if config.untrusted {
            return Err(WorkspaceError::Untrusted);
        }
        if prune::path_of(layout, &task.id)?.is_none() {
            fetch::base(layout, config, repo, (&task.id, token))?;
        }
        let base = tree::base(layout, config, repo, task)?;
        let made = tree::prepare(layout, config, repo, task, &base)?;
        let mut state = made.state;
        let mut workspace = Self::in_tree(layout, config, repo, &state, (&made.path, made.admin), &task.id, token)?;
        workspace.verify()?;
        if let Some(lent) = state.lent.take() {
            workspace.put_back_to(lent)?;
            state.save(&made.home)?;
        }
        workspace.tidy()?;
        if let Some(checkout) = &workspace.checkout {
            tree::leave_alone(&checkout.git, &checkout.others())?;
        }
        workspace.begin()?;
        if !state.set_up {
            let run_dir = run_dir.join("hooks").join("setup");
            let env = workspace.hook_env(layout);
            let place = hooks::Place { cwd: &workspace.path, root: layout.root(), run_dir: &run_dir };
            hooks::run("setup", &config.setup, config, place, &env, stop)?;
            state.set_up = true;
            state.save(&made.home)?;
            // What the project's own command made is not the agent's work.
            workspace.begin_again()?;
        }
        drop(made.guard);
        Ok(workspace)
    }

    /// The workspace of an earlier attempt as it stands, with nothing made, mended or run; `None` when its task
    /// has none.
    pub fn attach(
        layout: &Layout,
        config: &Config,
        task: &TaskId,
        token: Token,
    ) -> Result<Option<Self>, WorkspaceError> {
        let Some(repo) = Repository::find(layout)? else { return Ok(None) };
        let listed = repo.worktrees()?;
        let is_its = |path: &Path| {
            path.file_name().is_some_and(|name| name == task.as_str()) && Home::holding(layout, path).is_some()
        };
        let Some(found) = listed.into_iter().find(|tree| is_its(&tree.path)) else {
            if config.mode == Mode::Worktree {
                return Ok(None);
            }
            let mut workspace = Self::shared(layout, Some(repo), task, token)?;
            workspace.remember()?;
            return Ok(Some(workspace));
        };
        tree::follow(&repo, &found.path)?;
        let home = Home::holding(layout, &found.path).expect("it was found by its home");
        let state = State::load(&home, task).unwrap_or_else(|| State {
            version: 1,
            task: task.clone(),
            project: layout.root().into(),
            branch: found.branch.clone().unwrap_or_else(|| format!("oodatcaa/{}", branch::component(task))),
            made: false,
            base: repo.base(config).ok().and_then(|base| base.branch),
            ready: true,
            set_up: true,
            block: None,
            copied: Vec::new(),
            ignored: Vec::new(),
            settled: false,
            created: None,
            lent: None,
            admin: None,
        });
        let top = (found.path.as_path(), found.admin);
        let mut workspace = Self::in_tree(layout, config, &repo, &state, top, task, token)?;
        workspace.remember()?;
        Ok(Some(workspace))
    }

    /// With calls of git that nobody ends before their time.
    #[must_use]
    pub fn to_its_end(mut self) -> Self {
        self.checkout = self.checkout.map(|checkout| Checkout { git: checkout.git.to_its_end(), ..checkout });
        self.stores = self.stores.map(|stores| Stores { git: stores.git.to_its_end(), ..stores });
        self
    }

    fn in_tree(
        layout: &Layout,
        config: &Config,
        repo: &Repository,
        state: &State,
        (top, admin): (&Path, PathBuf),
        task: &TaskId,
        token: Token,
    ) -> Result<Self, WorkspaceError> {
        let path = tree::inside(top, &repo.prefix)?;
        let mut env = BTreeMap::from([("OODATCAA_BRANCH".to_owned(), state.branch.clone())]);
        if let Some(port) = state.port(config) {
            env.insert("OODATCAA_PORT_BASE".into(), port.to_string());
            env.insert("OODATCAA_PORTS".into(), config.ports.to_string());
        }
        let mut excluded = own_paths(&repo.prefix);
        excluded.extend(state.copied.iter().cloned());
        let home = top.parent().and_then(Path::parent).map(|dir| Home { dir: dir.into() });
        let mut copies = Copies::default();
        if let Some(home) = home {
            copies = Copies::load(&home, task, &state.copied);
            if let Some(list) = copies.ignore(&repo.git, &home, task)? {
                env.insert("GIT_CONFIG_COUNT".into(), "1".into());
                env.insert("GIT_CONFIG_KEY_0".into(), "core.excludesFile".into());
                env.insert("GIT_CONFIG_VALUE_0".into(), list.to_string_lossy().into_owned());
            }
        }
        let stores = Stores {
            git: repo.git.clone(),
            common: repo.common.clone(),
            admin: admin.clone(),
            label: Refs::of(layout, task).label(),
        };
        let git = repo.git.moved_to(top, &admin)?;
        let checkout = Checkout { git, admin, excluded, ignored: state.ignored.clone() };
        Ok(Self {
            mode: Mode::Worktree,
            task: task.clone(),
            token,
            path,
            top: top.into(),
            branch: Some(state.branch.clone()),
            base_branch: state.base.clone(),
            checkout: Some(checkout),
            start: Start { commit: None, tree: String::new() },
            env,
            copies,
            stores: Some(stores),
            refs: Refs::of(layout, task),
        })
    }

    /// The project's own directory, with git's help where there is git.
    fn shared(layout: &Layout, repo: Option<Repository>, task: &TaskId, token: Token) -> Result<Self, WorkspaceError> {
        let checkout = repo.map(shared_checkout);
        Ok(Self {
            mode: Mode::Shared,
            task: task.clone(),
            token,
            path: layout.root().into(),
            top: checkout.as_ref().map_or_else(|| layout.root().into(), |checkout| checkout.git.dir().into()),
            branch: None,
            base_branch: None,
            checkout,
            start: Start { commit: None, tree: String::new() },
            env: BTreeMap::new(),
            copies: Copies::default(),
            stores: None,
            refs: Refs::of(layout, task),
        })
    }

    /// How it works.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The task.
    pub fn task(&self) -> &TaskId {
        &self.task
    }

    /// Where the agent works: the project's root in the worktree, or the project itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The top of the worktree; the same as the path unless the project is a part of its repository.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// The task's branch; `None` in the project's own directory.
    pub fn branch(&self) -> Option<&str> {
        self.branch.as_deref()
    }

    /// Where the branch started and goes to.
    pub fn base_branch(&self) -> Option<&str> {
        self.base_branch.as_deref()
    }

    /// The commit where this attempt began; `None` without one.
    pub fn base(&self) -> Option<&str> {
        self.start.commit.as_deref()
    }

    /// Variables for everything that runs there: the branch, the ports.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Hardened calls of git at its top; `None` without git.
    pub fn git(&self) -> Option<&Git> {
        self.checkout.as_ref().map(|checkout| &checkout.git)
    }

    /// Makes sure that the worktree is still the one that was made: an agent may have put a repository of its own in
    /// its place, and what git says of that one is no work of the task's.
    pub fn verify(&self) -> Result<(), WorkspaceError> {
        match &self.checkout {
            Some(checkout) if self.mode == Mode::Worktree => Ok(checkout.git.verify()?),
            _ => Ok(()),
        }
    }

    /// What has changed since the attempt began.
    pub fn evidence(&self) -> Result<Evidence, WorkspaceError> {
        let Some(checkout) = &self.checkout else { return Ok(Evidence::default()) };
        let seen = checkout.snapshot()?;
        evidence::look(checkout, seen, &self.start, self.base_branch.as_deref())
    }

    /// What has changed since an earlier attempt began, with which this one goes on; as for this one where nothing
    /// was noted then.
    pub fn evidence_since(&self, first: Token) -> Result<Evidence, WorkspaceError> {
        let Some(checkout) = &self.checkout else { return Ok(Evidence::default()) };
        let start = Start::noted(checkout, &self.refs, first)?.unwrap_or_else(|| self.start.clone());
        evidence::look(checkout, checkout.snapshot()?, &start, self.base_branch.as_deref())
    }

    /// Commits what is not committed on the task's branch; `None` when there is nothing, and always in the
    /// project's own directory. No hook runs. The trailers are ours: see [`trailers`].
    pub fn commit_rest(
        &self,
        message: &str,
        trailers: &[(&str, String)],
        author: &Author,
    ) -> Result<Option<String>, WorkspaceError> {
        let (Some(checkout), Mode::Worktree) = (&self.checkout, self.mode) else { return Ok(None) };
        if evidence::midway(checkout)?.is_none() {
            self.put_on_branch(checkout)?;
        }
        let fork = self.fork(checkout)?;
        commit::rest(checkout, fork.as_deref(), &commit::message(message, trailers), author)
    }

    /// Saves what is not committed under [`Refs::wip`], without touching index or files; `None` when there is
    /// nothing to save.
    pub fn save(&self) -> Result<Option<String>, WorkspaceError> {
        let Some(checkout) = &self.checkout else { return Ok(None) };
        let seen = checkout.snapshot()?;
        if !seen.left_out.is_empty() {
            log::warn!("{}: these are not saved: {}", self.task, seen.left_out.join(", "));
        }
        save::save(checkout, &seen, self.branch.as_deref(), &self.task, (&self.refs, self.token))
    }

    /// Takes files of these patterns for what an agent's program leaves behind: they are no work, now and later.
    pub fn leave_out(&mut self, layout: &Layout, patterns: &[String]) -> Result<(), WorkspaceError> {
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
    fn note(&self, layout: &Layout, change: impl FnOnce(&mut State)) -> Result<(), WorkspaceError> {
        let Some(home) = Home::holding(layout, &self.top) else { return Ok(()) };
        let Some(mut state) = State::load(&home, &self.task) else { return Ok(()) };
        let before = state.clone();
        change(&mut state);
        if state == before { Ok(()) } else { state.save(&home) }
    }

    /// Notes that an attempt in it has come to an end, and that the task's entry will name its branch from now on:
    /// an entry that does not is another task of the same id.
    pub fn settle(&self, layout: &Layout) -> Result<(), WorkspaceError> {
        self.note(layout, |state| state.settled = true)
    }

    /// Gives it to somebody whose changes are no work: a tester, a reviewer. Whoever comes next finds it as it is
    /// now, also when [`Workspace::take_back`] is never reached.
    pub fn lend(&self, layout: &Layout) -> Result<(), WorkspaceError> {
        self.note(layout, |state| state.lent = Some(self.token))
    }

    /// Takes it back: everything is as it was when the attempt began. What was changed is saved; answers with the files and where they are, `None` when nothing was.
    pub fn take_back(&self, layout: &Layout) -> Result<Option<(Vec<String>, String)>, WorkspaceError> {
        let saved = self.put_back_to(self.token)?;
        self.note(layout, |state| state.lent = None)?;
        Ok(saved)
    }

    fn put_back_to(&self, token: Token) -> Result<Option<(Vec<String>, String)>, WorkspaceError> {
        let (Some(checkout), Mode::Worktree) = (&self.checkout, self.mode) else { return Ok(None) };
        let git = &checkout.git;
        let Some(noted) = save::read(git, &self.refs.start(token))? else { return Ok(None) };
        let began = save::read(git, &format!("{noted}^1"))?;
        let (tree, seen) = (checkout.tree_of(Some(&noted))?, checkout.snapshot()?);
        let moved = checkout.head()? != began || checkout.current()? != self.branch;
        if !moved && seen.tree == tree {
            return Ok(None);
        }
        let changed = evidence::differing(checkout, &tree, &seen.tree)?.into_iter().map(|file| file.path).collect();
        let name = format!("{}/{token}", self.refs.dir("aside"));
        let what = format!("what attempt {token} on {} changed that is not its work", self.task);
        save::keep(checkout, &seen, &name, &what)?;
        self.end_midway(checkout)?;
        if let (Some(branch), Some(began)) = (&self.branch, &began) {
            let branch = format!("refs/heads/{branch}");
            git.run(&["update-ref", "-m", "oodatcaa: put back", &branch, began])?;
            git.run(&["symbolic-ref", "-m", "oodatcaa: put back", "HEAD", &branch])?;
        }
        // What git does not know yet it would not take away.
        commit::stage(checkout)?;
        git.be_like(&tree)?;
        tree::leave_alone(git, &checkout.others())?;
        Ok(Some((changed, name)))
    }

    /// Moves a branch that has nothing of its own to where its base is by now; for whoever works on it next.
    pub fn follow_base(&mut self) -> Result<(), WorkspaceError> {
        let (Some(checkout), Some(base)) = (&self.checkout, &self.base_branch) else { return Ok(()) };
        let git = &checkout.git;
        let (head, tip) = (checkout.head()?, save::read(git, &format!("refs/heads/{base}"))?);
        let (Some(head), Some(tip)) = (head, tip) else { return Ok(()) };
        if head == tip || !git.asks(&["merge-base", "--is-ancestor", &head, &tip])? {
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
    pub fn refuses(&self, published: bool) -> Result<Option<String>, WorkspaceError> {
        let (Some(checkout), Some(stores), Some(base)) = (&self.checkout, &self.stores, &self.base_branch) else {
            return Ok(None);
        };
        stores.keep()?;
        screen::refuse(&checkout.git, stores, &self.copies, &format!("refs/heads/{base}"), published)
    }

    /// The submodules that hold changes which are not committed in them.
    pub fn unfinished_submodules(&self) -> Result<Vec<String>, WorkspaceError> {
        self.stores.as_ref().map_or(Ok(Vec::new()), |stores| stores.dirty(&self.top))
    }

    /// What earlier attempts saved and this one does not find in its tree, in words for its prompt.
    pub fn saved_before(&self) -> Result<Vec<String>, WorkspaceError> {
        let (Some(checkout), Mode::Worktree) = (&self.checkout, self.mode) else { return Ok(Vec::new()) };
        let saved = save::missing(checkout, (&self.refs, self.token), &self.start.tree)?;
        let words = |(name, files): (String, Vec<String>)| {
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

    /// The names of the task's refs.
    pub fn refs(&self) -> &Refs {
        &self.refs
    }

    /// What it holds, in a form to be compared with another moment's: commit and content; `None` without git.
    pub fn content(&self) -> Result<Option<String>, WorkspaceError> {
        let Some(checkout) = &self.checkout else { return Ok(None) };
        let head = checkout.head()?.unwrap_or_default();
        Ok(Some(format!("{head}:{}", checkout.snapshot()?.tree)))
    }

    /// The commit in which the branch left the one that it goes to; `None` without one.
    pub fn fork_commit(&self) -> Result<Option<String>, WorkspaceError> {
        self.checkout.as_ref().map_or(Ok(None), |checkout| self.fork(checkout))
    }

    /// The commit at which the branch that it goes to stands now; `None` without one.
    pub fn target_commit(&self) -> Result<Option<String>, WorkspaceError> {
        let (Some(checkout), Some(base)) = (&self.checkout, &self.base_branch) else { return Ok(None) };
        save::read(&checkout.git, &format!("refs/heads/{base}"))
    }

    /// The commit at which its branch stands; `None` where it has none of its own.
    pub fn head(&self) -> Option<String> {
        let checkout = self.checkout.as_ref().filter(|_| self.branch.is_some())?;
        checkout.head().ok().flatten()
    }

    /// The commit in which the branch left the one that it goes to.
    fn fork(&self, checkout: &Checkout) -> Result<Option<String>, WorkspaceError> {
        let Some(base) = &self.base_branch else { return Ok(None) };
        let name = format!("refs/heads/{base}");
        let (code, fork, _) = checkout.git.call(&["merge-base", &name, "HEAD"])?;
        Ok((code == 0).then(|| fork.lines().next().unwrap_or_default().to_owned()))
    }

    /// Ends what an earlier attempt left half done, with everything saved before.
    fn tidy(&mut self) -> Result<(), WorkspaceError> {
        let Some(checkout) = &self.checkout else { return Ok(()) };
        if let Some(what) = evidence::midway(checkout)? {
            let saved = self.save()?;
            let at = saved.as_deref().unwrap_or("nothing");
            log::warn!("{}: {what} was left half done; it is ended, its work is saved in {at}", self.task);
            self.end_midway(checkout)?;
            checkout.git.reset_hard()?;
        }
        self.put_on_branch(checkout)
    }

    fn end_midway(&self, checkout: &Checkout) -> Result<(), WorkspaceError> {
        for command in [["rebase", "--quit"], ["cherry-pick", "--quit"], ["revert", "--quit"], ["bisect", "reset"]] {
            // Those that are not under way say so.
            let _ = checkout.git.call(&command)?;
        }
        Ok(())
    }

    /// Makes sure that the task's branch is checked out and holds what was committed beside it.
    fn put_on_branch(&self, checkout: &Checkout) -> Result<(), WorkspaceError> {
        let Some(branch) = &self.branch else { return Ok(()) };
        if checkout.current()?.as_ref() == Some(branch) {
            return Ok(());
        }
        let name = format!("refs/heads/{branch}");
        let git = &checkout.git;
        let head = checkout.head()?;
        let tip = save::read(git, &name)?;
        let ahead = match (&head, &tip) {
            (Some(head), Some(tip)) => git.asks(&["merge-base", "--is-ancestor", tip.as_str(), head])?,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if ahead {
            let head = head.unwrap_or_default();
            git.run(&["update-ref", "-m", "oodatcaa: take in", &name, &head, &tip.unwrap_or_default()])?;
            git.run(&["symbolic-ref", "-m", "oodatcaa: take in", "HEAD", &name])?;
            return Ok(());
        }
        let saved = self.save()?;
        log::warn!(
            "{}: something else than the branch {branch} is checked out; it is saved in {}",
            self.task,
            saved.as_deref().unwrap_or("its branch")
        );
        Ok(git.check_out_over(branch)?)
    }

    /// Notes how it is now, unless this attempt has begun already.
    fn begin(&mut self) -> Result<(), WorkspaceError> {
        if !self.remember()? {
            self.begin_again()?;
        }
        Ok(())
    }

    /// Reads what was noted when the attempt began; without a note it begins with the branch.
    fn remember(&mut self) -> Result<bool, WorkspaceError> {
        let Some(checkout) = &self.checkout else { return Ok(true) };
        if let Some(start) = Start::noted(checkout, &self.refs, self.token)? {
            self.start = start;
            return Ok(true);
        }
        let commit = self.fork(checkout)?.or(checkout.head()?);
        let tree = checkout.tree_of(commit.as_deref())?;
        self.start = Start { commit, tree };
        Ok(false)
    }

    fn begin_again(&mut self) -> Result<(), WorkspaceError> {
        let Some(checkout) = &self.checkout else { return Ok(()) };
        let seen = checkout.snapshot()?;
        let head = checkout.head()?;
        // A commit of its own, also where all is clean: its time is when the attempt began.
        let parents: Vec<&str> = head.iter().map(String::as_str).collect();
        let message = format!("oodatcaa: how {} was when attempt {} began", self.task, self.token);
        let note = save::commit_tree(&checkout.git, &seen.tree, &parents, &message)?;
        checkout.git.run(&["update-ref", "-m", "oodatcaa: begin", &self.refs.start(self.token), &note])?;
        self.start = Start { commit: head, tree: seen.tree };
        Ok(())
    }

    fn hook_env(&self, layout: &Layout) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        env.insert("OODATCAA_TASK_ID".into(), self.task.to_string());
        env.insert("OODATCAA_PROJECT".into(), layout.root().to_string_lossy().into_owned());
        env.insert("OODATCAA_WORKSPACE".into(), self.path.to_string_lossy().into_owned());
        env
    }
}

/// The main checkout, of which the project is all or a part.
fn shared_checkout(repo: Repository) -> Checkout {
    let excluded = own_paths(&repo.prefix);
    Checkout { git: repo.git, admin: repo.admin, excluded, ignored: Vec::new() }
}

/// The main checkout's own paths, from the top of the repository.
fn own_paths(prefix: &Path) -> Vec<String> {
    OWN.iter().map(|path| prefix.join(path).to_string_lossy().into_owned()).collect()
}
