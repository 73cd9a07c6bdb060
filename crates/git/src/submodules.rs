//! Submodules of a task's worktree: made from those of the main checkout without asking anybody, and their commits
//! kept where they outlive the worktree.
//!
//! Git keeps the repository of a worktree's submodule below the worktree's own private directory, so it goes with
//! the worktree. Objects are handed over as a pack between two of our calls: no transport, no hook, no command of
//! the submodule's configuration has a part in it.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use super::{
    fault::Result,
    git::{Git, Spot},
    repo::Repository,
    save::Refs,
};
use oodatcaa_sys::files;

/// The place where commits of submodules are kept.
#[derive(Clone, Debug)]
pub(super) struct Stores {
    /// Calls in the repository around them.
    pub(super) git: Git,
    /// Its directory.
    common: PathBuf,
    /// The private directory of the worktree.
    admin: PathBuf,
    /// What the refs that keep something are named after.
    label: String,
}

impl Stores {
    /// Returns those of a task's worktree.
    pub(super) fn of(repo: &Repository, admin: &Path, refs: &Refs) -> Self {
        Self { git: repo.git.clone(), common: repo.common.clone(), admin: admin.into(), label: refs.label() }
    }

    /// Returns the submodule's repository in the main checkout, where it is set up there.
    fn main(&self, name: &str) -> Option<PathBuf> {
        repository(&self.common.join("modules"), name)
    }

    /// Returns the one in the worktree.
    fn own(&self, name: &str) -> Option<PathBuf> {
        repository(&self.admin.join("modules"), name)
    }

    /// Calls where the commits of a submodule outlive the worktree: its repository in the main checkout, or the one
    /// around it.
    fn keeping(&self, name: &str) -> Result<Git> {
        self.main(name).map_or_else(|| Ok(self.git.clone()), |dir| self.inside(&dir, None))
    }

    /// Calls in the repository of a submodule, and in its checkout where there is one. Agents write both.
    fn inside(&self, repository: &Path, checkout: Option<&Path>) -> Result<Git> {
        let top = checkout.map(Into::into);
        Ok(self.git.beside(Spot { top, admin: repository.into(), common: repository.into() })?)
    }

    /// Tells whether a commit outlives the worktree.
    pub(super) fn have(&self, name: &str, commit: &str) -> Result<bool> {
        Ok(self.keeping(name)?.commit(commit)?.is_some() || self.git.commit(commit)?.is_some())
    }

    /// Tells whether a remote of the submodule has a commit, as far as is known here.
    pub(super) fn published(&self, name: &str, commit: &str) -> Result<bool> {
        let contains = format!("--contains={commit}");
        for dir in [self.main(name), self.own(name)].into_iter().flatten() {
            let (code, refs, _) =
                self.inside(&dir, None)?.call(&["for-each-ref", "--count=1", &contains, "refs/remotes/"])?;
            if code == 0 && !refs.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Keeps every commit that only the worktree's submodules have; safe to be called again and again.
    pub(super) fn keep(&self) -> Result<()> {
        repositories(&self.admin.join("modules")).iter().try_for_each(|(path, name)| self.keep_one(path, name))
    }

    fn keep_one(&self, own: &Path, name: &str) -> Result<()> {
        let source = self.inside(own, None)?;
        let head = source.head()?.unwrap_or_default();
        let wanted = ["for-each-ref", "--format=%(objectname)", "refs/heads/", "refs/stash", "refs/oodatcaa/"];
        let mut tips: Vec<String> = source.run(&wanted)?.lines().chain(head.lines()).map(String::from).collect();
        tips.sort();
        tips.dedup();
        let kept = self.keeping(name)?;
        let mut new = Vec::new();
        for tip in tips {
            // Nothing beyond what its refs reach: then it outlives the worktree already.
            let (code, beyond, _) = kept.call(&["rev-list", "--max-count=1", &tip, "--not", "--all"])?;
            if code != 0 || !beyond.is_empty() {
                new.push(tip);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        // The two see each other's objects for as long as it takes to tell which are missing.
        let objects = own.join("objects");
        let both = kept.clone().with_env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &objects.to_string_lossy());
        let tips: Vec<&str> = new.iter().map(String::as_str).collect();
        let missing = both.bytes(&[&["rev-list", "--objects"], &tips[..], &["--not", "--all"]].concat())?;
        let pack = both.with_input(missing).bytes(&["pack-objects", "--stdout", "-q"])?;
        kept.clone().with_input(pack).run(&["unpack-objects", "-q"])?;
        let place =
            if self.main(name).is_some() { String::new() } else { format!("/{}", name.replace("/modules/", "/")) };
        for tip in new {
            kept.run(&["update-ref", &format!("refs/oodatcaa/submodule{place}/{}/{tip}", self.label), &tip])?;
            log::info!("kept the commit {tip} of the submodule {name}");
        }
        Ok(())
    }

    /// Sets up the submodules of a worktree that the main checkout has, each at the commit that is wanted, offline.
    /// Whatever does not work is left to the project's own `setup`.
    pub(super) fn set_up(&self, tree: &Path) -> Result<()> {
        let at = self.git.moved_to(tree, &self.admin)?;
        for (path, name) in named(&at, "HEAD")? {
            let (code, wanted, _) = at.call(&["rev-parse", "-q", "--verify", &format!("HEAD:{path}")])?;
            let Some(main) = self.main(&name).filter(|_| code == 0 && self.own(&name).is_none()) else { continue };
            if let Err(error) = self.set_up_one(&main, &tree.join(&path), &name, &wanted) {
                log::warn!(
                    "the submodule {path} is not ready in {}: failed to {}",
                    tree.display(),
                    oodatcaa_core::text::chain(&error)
                );
            }
        }
        Ok(())
    }

    fn set_up_one(&self, main: &Path, target: &Path, name: &str, wanted: &str) -> Result<()> {
        let own = self.admin.join("modules").join(name);
        super::repo::make_dir(own.parent().unwrap_or(&own))?;
        let (from, to, own_dir) = (main.to_string_lossy(), target.to_string_lossy(), own.to_string_lossy());
        let into = format!("--separate-git-dir={own_dir}");
        // Refs are files there, whatever a person has for new repositories, so that an agent gets one of its own.
        let clone = [
            "-c",
            "init.defaultRefFormat=files",
            "clone",
            "-q",
            "--local",
            "--no-checkout",
            "--template=",
            &into,
            "--",
            &from,
            &to,
        ];
        self.git.looking_from(main).run(&clone)?;
        let git = self.inside(&own, Some(target))?;
        // What was copied are a person's branches; what is known of the remotes is worth more.
        let refs = git.run(&["for-each-ref", "--format=delete %(refname)", "refs/heads/", "refs/remotes/"])?;
        git.run(&["update-ref", "--no-deref", "HEAD", wanted])?;
        git.clone().with_input(format!("{refs}\n")).run(&["update-ref", "--no-deref", "--stdin"])?;
        let create = "--format=create %(refname) %(objectname)";
        let remotes = self.inside(main, None)?.run(&["for-each-ref", create, "refs/remotes/"])?;
        let whole: String =
            remotes.lines().filter(|line| !line.contains("/HEAD ")).map(|line| format!("{line}\n")).collect();
        git.change_refs(whole)?;
        let (_, url, _) = self.inside(main, None)?.call(&["config", "--get", "remote.origin.url"])?;
        if !url.is_empty() {
            git.on_itself().run(&["config", "remote.origin.url", &url])?;
        }
        git.run(&["read-tree", "--reset", "-u", "HEAD"])?;
        Ok(())
    }

    /// Returns the submodules of a worktree that hold what is not committed in them.
    pub(super) fn dirty(&self, tree: &Path) -> Result<Vec<String>> {
        let at = self.git.moved_to(tree, &self.admin)?;
        let mut all = Vec::new();
        for (path, name) in named(&at, "HEAD")? {
            let checkout = tree.join(&path);
            if let Some(own) = self.own(&name).filter(|_| checkout.join(".git").exists()) {
                let status = ["status", "--porcelain", "-uno", "--ignore-submodules=none"];
                let (code, said, _) = self.inside(&own, Some(&checkout))?.call(&status)?;
                if code == 0 && !said.is_empty() {
                    all.push(path);
                }
            }
        }
        Ok(all)
    }
}

/// Returns the repositories of submodules below a directory, also those in each other, with their names below it.
pub(super) fn repositories(modules: &Path) -> Vec<(PathBuf, String)> {
    let (mut dirs, mut all) = (vec![(modules.to_owned(), String::new())], Vec::new());
    while let Some((dir, above)) = dirs.pop() {
        for name in files::named::directories(&dir) {
            let Some(name) = name.to_str() else { continue };
            let (path, name) = (dir.join(name), format!("{above}{name}"));
            if is_repository(&path) {
                dirs.push((path.join("modules"), format!("{name}/modules/")));
                all.push((path, name));
            } else {
                dirs.push((path, format!("{name}/")));
            }
        }
    }
    all
}

/// Returns the submodules that a commit's `.gitmodules` names, by their paths.
pub(super) fn named(git: &Git, commit: &str) -> Result<BTreeMap<String, String>> {
    paths(git, &[&format!("--blob={commit}:.gitmodules")])
}

/// Returns those that the text of such a file names.
pub(super) fn named_in(git: &Git, text: &str) -> Result<BTreeMap<String, String>> {
    paths(&git.clone().with_input(text), &["--file", "-", "--no-includes"])
}

fn paths(git: &Git, of: &[&str]) -> Result<BTreeMap<String, String>> {
    let asked = [&["config"], of, &["-z", "--get-regexp", r"^submodule\..*\.path$"]].concat();
    let (code, listed, _) = git.call(&asked)?;
    if code != 0 {
        return Ok(BTreeMap::new());
    }
    let entry = |entry: &str| {
        let (key, path) = entry.split_once('\n')?;
        let name = key.strip_prefix("submodule.")?.strip_suffix(".path")?;
        (is_plain(name) && is_plain(path)).then(|| (path.to_owned(), name.to_owned()))
    };
    Ok(listed.split('\0').filter_map(entry).collect())
}

/// Tells whether a name from a file of the repository stays below where it is put.
fn is_plain(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn repository(below: &Path, name: &str) -> Option<PathBuf> {
    Some(below.join(name)).filter(|dir| is_plain(name) && is_repository(dir))
}

/// Tells whether a directory is a repository of git's.
pub(super) fn is_repository(dir: &Path) -> bool {
    dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir()
}
