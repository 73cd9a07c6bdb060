//! A commit as it is, to try gates on: the temporary worktree of a merge, with the project's copies and `setup`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::{
    Author, MergeDirs, Result,
    repo::Repo,
    tree::{self, Tree},
};
use crate::{Config, Mode, hooks, repo::Repository};
use oodatcaa_config::GateConfig;
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files::named;

/// What the names of such trees begin with; a merge's own tree is swept by its log, these by the next one.
const NAME: &str = "merge-base-";

/// The tree; it goes when it is dropped.
pub struct Base {
    repo: Repo,
    path: PathBuf,
    project: PathBuf,
    id: String,
}

impl Base {
    /// Makes it. What `setup` says goes below `run_dir`.
    pub fn make(
        layout: &Layout,
        config: &Config,
        dirs: &MergeDirs,
        commit: &str,
        run_dir: &Path,
        env: &BTreeMap<String, String>,
        stop: &AtomicBool,
    ) -> Result<Self> {
        // Several workers of one process may ask for the same commit at the same moment.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let repo = Repo::open(layout.root(), &super::keep(&dirs.dir), &Author::ourselves())?;
        sweep(&repo, &dirs.place)?;
        let id = format!("{NAME}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Tree::plan(&repo, &dirs.place, &id)?;
        let mut base = Self { repo, project: path.clone(), path, id };
        base.project = Tree::add(&base.repo, &base.path, commit)?.project()?;
        // What cannot be copied was told when the task's own worktree was made.
        let _ = crate::project::copy(layout, config, &base.project);
        // For a person's questions it is a temporary directory elsewhere.
        let root = if run_dir.starts_with(layout.root()) { layout.root() } else { run_dir };
        let run_dir = &run_dir.join("hooks").join("base");
        let place = hooks::Place { cwd: &base.project, top: &base.path, root, run_dir, env, stop };
        hooks::run("setup", &config.setup, config, &place)?;
        Ok(base)
    }

    /// Makes a tree of what a project's work begins with now; `None` where attempts work in the project's own directory.
    pub fn of_project(layout: &Layout, config: &Config, run_dir: &Path) -> Result<Option<Self>> {
        let found = if config.mode == Mode::Shared { None } else { Repository::find(layout)? };
        let Some(repo) = found else { return Ok(None) };
        let base = repo.base(config)?;
        let dirs = MergeDirs::of_project(layout, config)?;
        let (env, stop) = (BTreeMap::new(), AtomicBool::new(false));
        Self::make(layout, config, &dirs, &base.commit, run_dir, &env, &stop).map(Some)
    }

    /// Runs a gate in it, for a person.
    pub fn passes(&self, config: &Config, gate: &GateConfig, run_dir: &Path) -> Result<()> {
        let limits = Config { hook_timeout: gate.timeout, hook_env: gate.env.clone(), ..config.clone() };
        let (env, stop) = (BTreeMap::new(), AtomicBool::new(false));
        let (cwd, gate_dir) = (&self.project, run_dir.join("gate"));
        let top = &self.path;
        let place = hooks::Place { cwd, top, root: run_dir, run_dir: &gate_dir, env: &env, stop: &stop };
        Ok(hooks::run("gate", &gate.argv, &limits, &place)?)
    }

    /// Returns the project's root in it.
    pub fn project(&self) -> &Path {
        &self.project
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        if let Err(error) = tree::remove(&self.repo, &self.path, &self.id) {
            log::warn!("{} stays: {error}", self.path.display());
        }
    }
}

/// Removes those whose makers are gone.
fn sweep(repo: &Repo, place: &Path) -> Result<()> {
    for name in named::directories(place) {
        let name = name.to_string_lossy().into_owned();
        let maker = name.strip_prefix(NAME).and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid);
        // A pid may be used again; then the tree goes with a later sweep.
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            tree::remove(repo, &place.join(&name), &name)?;
        }
    }
    Ok(())
}
