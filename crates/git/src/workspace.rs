//! Where an attempt works: made or found, and what is known of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use crate::{
    Config, Mode,
    evidence::Start,
    fault::{Result, WorkspaceError},
    fetch,
    git::Git,
    hooks,
    project::{Project, own_paths, shared_checkout},
    prune,
    repo::{Home, Repository, TaskTree, inside},
    save::Refs,
    screen::Copies,
    snapshot::Checkout,
    state::State,
    submodules::Stores,
    tree,
};
use oodatcaa_core::{Task, TaskId, Token, layout::Layout};

mod begin;
mod work;

/// The place where one attempt works.
#[derive(Debug)]
pub struct Workspace {
    pub(crate) task: TaskId,
    pub(crate) token: Token,
    pub(crate) path: PathBuf,
    pub(crate) top: PathBuf,
    pub(crate) branch: Option<String>,
    pub(crate) base_branch: Option<String>,
    pub(crate) checkout: Option<Checkout>,
    pub(crate) start: Start,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) copies: Copies,
    pub(crate) stores: Option<Stores>,
    pub(crate) refs: Refs,
}

impl Workspace {
    /// Makes or finds the workspace of a task, for one attempt on it.
    ///
    /// What an earlier attempt left uncommitted stays in the tree and does not count as this one's work; a git
    /// operation that it left half done is saved and ended. `stop` ends what may take long: the project's `setup` command,
    /// and all that git does here until [`Self::to_its_end`].
    pub fn prepare(
        layout: &Layout,
        config: &Config,
        task: &Task,
        token: Token,
        run_dir: &Path,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let project = match Repository::find(layout)?.map(|repo| repo.until(stop)) {
            Some(repo) if config.mode == Mode::Worktree => Project { layout, config, repo },
            found => {
                let mut workspace = Self::shared(layout, found, &task.id, token);
                workspace.begin()?;
                return Ok(workspace);
            }
        };
        if config.untrusted {
            return Err(WorkspaceError::Untrusted);
        }
        if prune::path_of(layout, &task.id)?.is_none() {
            fetch::base(&project, &task.id, token)?;
        }
        let base = tree::base(&project, task)?;
        let made = tree::prepare(&project, task, &base)?;
        let mut state = made.state;
        let mut workspace = Self::in_tree(&project, &state, &made.path, made.admin, token)?;
        // What an attempt that died left in a repository of its own.
        workspace.take_in_held(&made.home, token, config)?;
        state.handed = None;
        state.midway = State::load(&made.home, &task.id).and_then(|known| known.midway);
        // Before git writes there: an agent may have put a repository of its own in its place.
        workspace.verify()?;
        if let Some(lent) = state.lent.take() {
            workspace.put_back_to(lent)?;
            state.midway = None;
            state.save(&made.home)?;
        }
        workspace.tidy(state.midway.as_deref())?;
        if state.midway.take().is_some() {
            state.save(&made.home)?;
        }
        if let Some(checkout) = &workspace.checkout {
            checkout.leave_others_alone()?;
        }
        workspace.begin()?;
        if !state.set_up {
            let run_dir = run_dir.join("hooks").join("setup");
            let env = workspace.hook_env(layout);
            let (cwd, root) = (&workspace.path, layout.root());
            let place = hooks::Place { cwd, top: &workspace.top, root, run_dir: &run_dir, env: &env, stop };
            hooks::run("setup", &config.setup, config, &place)?;
            state.set_up = true;
            state.save(&made.home)?;
            // What the project's own command made is not the agent's work.
            workspace.begin_again()?;
        }
        // Held until now, so that nobody prunes it while it is made.
        drop(made.guard);
        Ok(workspace)
    }

    /// Returns the workspace of an earlier attempt as it stands, with nothing made, mended or run; `None` when its task
    /// has none.
    pub fn attach(layout: &Layout, config: &Config, task: &TaskId, token: Token) -> Result<Option<Self>> {
        let Some(project) = Project::find(layout, config)? else { return Ok(None) };
        if let Some(found) = project.repo.task_tree(layout, task)? {
            return Self::found(&project, &found, token).map(Some);
        }
        if config.mode == Mode::Worktree {
            return Ok(None);
        }
        let mut workspace = Self::shared(layout, Some(project.repo), task, token);
        workspace.remember()?;
        Ok(Some(workspace))
    }

    /// Returns the workspace in a worktree that was found.
    pub(crate) fn found(project: &Project<'_>, found: &TaskTree, token: Token) -> Result<Self> {
        let Project { layout, config, repo } = project;
        let TaskTree { task, home, tree } = found;
        // Its repository may have been moved since.
        tree::follow(repo, &tree.path)?;
        let state = State::load(home, task).unwrap_or_else(|| {
            let base = repo.base(config).ok().and_then(|base| base.branch);
            State::new(layout, task, tree.branch.clone(), base)
        });
        let mut workspace = Self::in_tree(project, &state, &tree.path, tree.admin.clone(), token)?;
        workspace.remember()?;
        Ok(workspace)
    }

    /// Lets nobody end calls of git before their time.
    #[must_use]
    pub fn to_its_end(mut self) -> Self {
        let gits = [self.checkout.as_mut().map(|of| &mut of.git), self.stores.as_mut().map(|of| &mut of.git)];
        gits.into_iter().flatten().for_each(|git| *git = git.clone().to_its_end());
        self
    }

    fn in_tree(project: &Project<'_>, state: &State, top: &Path, admin: PathBuf, token: Token) -> Result<Self> {
        let Project { layout, config, repo } = project;
        let task = &state.task;
        let path = inside(top, &repo.prefix)?;
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
        let refs = Refs::of(layout, task);
        // Submodules of a worktree lie in its private directory, not in the repository's.
        let stores = Stores::of(repo, &admin, &refs);
        let git = repo.git.moved_to(top, &admin)?;
        let checkout = Checkout { git, admin, excluded, ignored: state.ignored.clone() };
        Ok(Self {
            task: task.clone(),
            token,
            path,
            top: top.into(),
            branch: Some(state.branch.clone()),
            base_branch: state.base.clone(),
            checkout: Some(checkout),
            start: Start::default(),
            env,
            copies,
            stores: Some(stores),
            refs,
        })
    }

    /// Returns the project's own directory, with git's help where there is git.
    fn shared(layout: &Layout, repo: Option<Repository>, task: &TaskId, token: Token) -> Self {
        let checkout = repo.map(shared_checkout);
        Self {
            task: task.clone(),
            token,
            path: layout.root().into(),
            top: checkout.as_ref().map_or_else(|| layout.root().into(), |checkout| checkout.git.dir().into()),
            branch: None,
            base_branch: None,
            checkout,
            start: Start::default(),
            env: BTreeMap::new(),
            copies: Copies::default(),
            stores: None,
            refs: Refs::of(layout, task),
        }
    }

    /// Returns how it works.
    pub fn mode(&self) -> Mode {
        if self.stores.is_some() { Mode::Worktree } else { Mode::Shared }
    }

    /// Returns the task.
    pub fn task(&self) -> &TaskId {
        &self.task
    }

    /// Returns where the agent works: the project's root in the worktree, or the project itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the top of the worktree; the same as the path unless the project is a part of its repository.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Returns the task's branch; `None` in the project's own directory.
    pub fn branch(&self) -> Option<&str> {
        self.branch.as_deref()
    }

    /// Returns where the branch started and goes to.
    pub fn base_branch(&self) -> Option<&str> {
        self.base_branch.as_deref()
    }

    /// Returns the commit where this attempt began; `None` without one.
    pub fn base(&self) -> Option<&str> {
        self.start.commit.as_deref()
    }

    /// Variables for everything that runs there: the branch, the ports.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Returns hardened calls of git at its top; `None` without git.
    pub fn git(&self) -> Option<&Git> {
        self.checkout.as_ref().map(|checkout| &checkout.git)
    }

    /// Makes sure that the worktree is still the one that was made: an agent may have put a repository of its own in
    /// its place, and what git says of that one is no work of the task's.
    pub fn verify(&self) -> Result<()> {
        match &self.checkout {
            Some(checkout) if self.mode() == Mode::Worktree => Ok(checkout.git.verify()?),
            _ => Ok(()),
        }
    }

    pub(crate) fn hook_env(&self, layout: &Layout) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        env.insert("OODATCAA_TASK_ID".into(), self.task.to_string());
        env.insert("OODATCAA_PROJECT".into(), layout.root().to_string_lossy().into_owned());
        env.insert("OODATCAA_WORKSPACE".into(), self.path.to_string_lossy().into_owned());
        env
    }
}
