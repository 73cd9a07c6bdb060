//! The git around a project: whether there is one, in what condition, and what of it is the main checkout's own.

use std::path::{Path, PathBuf};

use crate::{
    Config, Mode, admin,
    author::Author,
    fault::{Result, WorkspaceError},
    files::{Copier, Made},
    git::{self, Git},
    repo::{Home, Repository},
    snapshot::Checkout,
};
use oodatcaa_core::layout::Layout;

/// A project whose attempts have worktrees: with its settings, and the repository around it.
pub(crate) struct Project<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) config: &'a Config,
    pub(crate) repo: Repository,
}

impl<'a> Project<'a> {
    /// Looks for the repository; `None` where there is none.
    pub(crate) fn find(layout: &'a Layout, config: &'a Config) -> Result<Option<Self>> {
        Ok(Repository::find(layout)?.map(|repo| Self { layout, config, repo }))
    }
}

/// Below a project's root: what is the main checkout's and never part of a task's change.
pub(crate) const OWN: [&str; 10] = [
    ".oodatcaa/work",
    ".oodatcaa/runs",
    ".oodatcaa/homes",
    ".oodatcaa/messages",
    ".oodatcaa/config.local.toml",
    ".leases",
    ".locks",
    ".agent-daemon-logs",
    ".agent-daemon-pids",
    ".agent-daemon-run",
];

/// Copies what `workspace.copy` names to the same places below another directory, but for what is the main checkout's own.
/// Returns what was copied, and the patterns for which something went wrong.
pub(crate) fn copy<'a>(layout: &Layout, config: &'a Config, to: &Path) -> (Made, Vec<(&'a str, std::io::Error)>) {
    let spare = |path: &Path| OWN.iter().any(|own| path.starts_with(own));
    let mut copier = Copier { from: layout.root(), to, spare: &spare, made: Made::default() };
    let wrong =
        config.copy.iter().filter_map(|pattern| Some((pattern.as_str(), copier.copy(pattern).err()?))).collect();
    (copier.made, wrong)
}

/// Returns how the project's attempts work here: `shared` where no directory above has a `.git`, whatever is configured. A
/// repository that cannot be used, or has no commit yet, is an error: nobody asked for the person's own directory.
pub fn mode_for(layout: &Layout, config: &Config) -> Result<Mode> {
    if config.mode == Mode::Shared {
        return Ok(Mode::Shared);
    }
    // Asked for its base as well: without a commit no worktree can be made, which is said before an attempt begins.
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
pub fn condition(layout: &Layout, config: &Config) -> Result<Option<Condition>> {
    let Some(repo) = Repository::find(layout)? else { return Ok(None) };
    let mut home = None;
    if config.mode == Mode::Worktree {
        // What a worker would stumble over is said here already.
        repo.base(config)?;
        repo.git.verify()?;
        home = Some(Home::of(layout, config)?.dir);
    }
    Ok(Some(Condition { version: repo.git.new_enough()?, half_made: admin::half_made(&repo.common), home }))
}

/// Makes a repository of a project that has none, with a first commit of all that is there.
pub fn first_commit(layout: &Layout, message: &str, author: &Author) -> Result<()> {
    Git::looking(layout.root()).run(&["init", "--quiet"])?;
    let repo = Repository::find(layout)?.ok_or_else(|| WorkspaceError::NoBase("git made no repository".into()))?;
    let git = repo.git.by(author);
    git.run(&["add", "--all"])?;
    git.run(&["commit", "--quiet", "--no-verify", "--message", message])?;
    Ok(())
}

/// Returns the main checkout, of which the project is all or a part.
pub(crate) fn shared_checkout(repo: Repository) -> Checkout {
    let excluded = own_paths(&repo.prefix);
    Checkout { git: repo.git, admin: repo.admin, excluded, ignored: Vec::new() }
}

/// Returns the main checkout's own paths, from the top of the repository.
pub(crate) fn own_paths(prefix: &Path) -> Vec<String> {
    OWN.iter().map(|path| prefix.join(path).to_string_lossy().into_owned()).collect()
}

/// The outcome for a tag that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tagged {
    /// It names this commit now.
    Made(String),
    /// It was there, and names this commit.
    There(String),
    /// There is no repository, or no commit in it.
    Nothing,
}

/// Puts an annotated tag on what is checked out; one of that name that is there stays. Whoever has told git who they
/// are is its author.
pub fn tag(layout: &Layout, name: &str, message: &str) -> Result<Tagged> {
    let Some(repo) = Repository::find(layout)? else { return Ok(Tagged::Nothing) };
    let commit = |of: &str| -> Result<Option<String>> {
        let (code, out, _) = repo.git.call(&["rev-parse", "--verify", "--quiet", &format!("{of}^{{commit}}")])?;
        Ok(Some(out).filter(|_| code == 0))
    };
    let full = format!("refs/tags/{name}");
    if let Some(there) = commit(&full)? {
        return Ok(Tagged::There(there));
    }
    let Some(head) = commit("HEAD")? else { return Ok(Tagged::Nothing) };
    let git = match repo.git.run(&["var", "GIT_COMMITTER_IDENT"]) {
        Ok(_) => repo.git.clone(),
        Err(_) => repo.git.clone().by(&Author::ourselves()),
    };
    git.run(&["tag", "--annotate", "--no-sign", "--message", message, name, &head])?;
    Ok(Tagged::Made(head))
}
