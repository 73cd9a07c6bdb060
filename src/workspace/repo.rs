//! The repository around a project: where it is, what branches start from, its lock.
//!
//! Everything that adds to or takes from the list of worktrees and branches happens under one lock for each
//! repository; git's own locks fail instead of waiting when several processes come at once.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fs2::FileExt as _;

use super::{
    Config, branch,
    fault::{WorkspaceError, failed},
    git::Git,
};
use crate::layout::Layout;

/// The lock's name in the repository's common directory.
const LOCK: &str = "oodatcaa.lock";

/// A checkout takes longer than a question.
const CHECKOUT: Duration = Duration::from_secs(900);

/// The repository around a project.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    /// Calls in the main checkout, without what the repository's configuration would execute.
    pub(super) git: Git,
    /// The directory that all worktrees share.
    pub(super) common: PathBuf,
    /// The project's root below the top of its checkout.
    pub(super) prefix: PathBuf,
}

/// What a task's branch starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// The branch, where it is one.
    pub(super) branch: Option<String>,
    /// The commit.
    pub(super) commit: String,
}

/// A worktree as git lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) path: PathBuf,
    pub(super) head: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) locked: Option<String>,
}

impl Repository {
    /// Looks for the repository; `None` when the project is in no checkout.
    pub(super) fn find(layout: &Layout) -> Result<Option<Self>, WorkspaceError> {
        let git = Git::at(layout.root()).within(CHECKOUT);
        let asked =
            ["rev-parse", "--path-format=absolute", "--git-common-dir", "--show-prefix", "--is-inside-work-tree"];
        let (code, said, wrong) = git.call(&asked)?;
        let lines: Vec<&str> = said.split('\n').collect();
        match (code, lines.as_slice()) {
            (0, [common, prefix, "true"]) => Ok(Some(Self {
                git: git.guarded()?,
                common: PathBuf::from(common),
                prefix: PathBuf::from(prefix.trim_end_matches('/')),
            })),
            (0, _) => Ok(None),
            // Somebody else's repository is there and must not be passed over in silence.
            _ if wrong.contains("dubious ownership") => {
                Err(WorkspaceError::Unsafe { path: layout.root().into(), reason: one_line(&wrong) })
            }
            _ => Ok(None),
        }
    }

    /// What branches start from; `None` before the first commit.
    pub(super) fn base(&self, config: &Config) -> Result<Option<Base>, WorkspaceError> {
        if let Some(name) = &config.base {
            return match self.commit(&format!("refs/heads/{name}"))? {
                Some(commit) => Ok(Some(Base { branch: Some(name.clone()), commit })),
                None => {
                    Err(WorkspaceError::NoBase(format!("there is no branch `{name}`, which `workspace.base` names")))
                }
            };
        }
        let (code, head, _) = self.git.call(&["symbolic-ref", "-q", "HEAD"])?;
        let current = head.strip_prefix("refs/heads/").filter(|_| code == 0).map(String::from);
        if let Some(name) = current {
            let commit = self.commit(&format!("refs/heads/{name}"))?;
            return Ok(commit.map(|commit| Base { branch: Some(name), commit }));
        }
        // Nobody is on a branch: the one that such repositories usually have.
        for name in ["main", "master", "trunk", "develop"] {
            if let Some(commit) = self.commit(&format!("refs/heads/{name}"))? {
                return Ok(Some(Base { branch: Some(name.into()), commit }));
            }
        }
        Ok(self.commit("HEAD")?.map(|commit| Base { branch: None, commit }))
    }

    /// The commit that a name stands for.
    pub(super) fn commit(&self, name: &str) -> Result<Option<String>, WorkspaceError> {
        let (code, commit, _) =
            self.git.call(&["rev-parse", "-q", "--verify", "--end-of-options", &format!("{name}^{{commit}}")])?;
        Ok((code == 0 && !commit.is_empty()).then_some(commit))
    }

    /// The names of all branches.
    pub(super) fn branches(&self) -> Result<Vec<String>, WorkspaceError> {
        let listed = self.git.run(&["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/"])?;
        Ok(listed.lines().map(String::from).collect())
    }

    /// The worktrees, the main checkout first.
    pub(super) fn worktrees(&self) -> Result<Vec<Listed>, WorkspaceError> {
        let text = self.git.run(&["worktree", "list", "--porcelain", "-z"])?;
        let mut all: Vec<Listed> = Vec::new();
        for line in text.split('\0') {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match (word, all.last_mut()) {
                ("worktree", _) => all.push(Listed { path: rest.into(), ..Listed::default() }),
                ("HEAD", Some(last)) => last.head = Some(rest.into()),
                ("branch", Some(last)) => last.branch = rest.strip_prefix("refs/heads/").map(String::from),
                ("locked", Some(last)) => last.locked = Some(rest.into()),
                _ => {}
            }
        }
        Ok(all)
    }

    /// Takes the repository's lock. Calls of the answer keep it as long as git runs, even when we die.
    pub(super) fn lock(&self, wait: Duration) -> Result<Locked<'_>, WorkspaceError> {
        let path = self.common.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).read(true).open(&path);
        let file = file.map_err(failed("open", &path))?;
        let started = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            match file.try_lock_exclusive() {
                Ok(()) => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => {}
                Err(error) => return Err(failed("lock", &path)(error)),
            }
            if started.elapsed() >= wait {
                return Err(WorkspaceError::Busy { path, waited: started.elapsed() });
            }
            thread::sleep(pause);
            pause = (pause * 3 / 2).min(Duration::from_millis(50));
        }
        let git = self.git.clone().holding(Arc::new(file));
        Ok(Locked { repo: self, git })
    }

    /// The private directory of a worktree of this repository; `None` when it is none, or a broken one.
    pub(super) fn admin_of(&self, tree: &Path) -> Option<PathBuf> {
        let link = fs::read_to_string(tree.join(".git")).ok()?;
        let admin = PathBuf::from(link.strip_prefix("gitdir: ")?.trim_end());
        let admin = if admin.is_absolute() { admin } else { tree.join(admin) };
        let ours = admin.parent()?.canonicalize().ok()? == self.common.join("worktrees").canonicalize().ok()?;
        (ours && admin.join("HEAD").is_file()).then_some(admin)
    }
}

/// The repository while we hold its lock.
pub(super) struct Locked<'a> {
    pub(super) repo: &'a Repository,
    pub(super) git: Git,
}

impl Locked<'_> {
    /// Runs a command that git refuses when somebody else changes the same files at this moment, a few times.
    pub(super) fn persist(&self, args: &[&str]) -> Result<String, WorkspaceError> {
        let mut pause = Duration::from_millis(20);
        loop {
            match self.git.run(args) {
                Err(super::git::GitError::Failed { said, .. })
                    if pause < Duration::from_secs(2)
                        && (said.contains("could not lock") || said.contains(".lock': File exists")) => {}
                other => return Ok(other?),
            }
            thread::sleep(pause);
            pause *= 2;
        }
    }
}

/// Where everything of a project lies that does not lie in it: `<root>/<name>-<hash8>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
}

impl Home {
    /// Of this project, by its configuration.
    pub(super) fn of(layout: &Layout, config: &Config) -> Result<Self, WorkspaceError> {
        let world = crate::config::World::of_process();
        let root = match config.root.as_deref() {
            Some(root) => match (root.strip_prefix("~/"), world.home()) {
                (Some(below), Some(home)) => home.join(below),
                _ => layout.root().join(root),
            },
            None => world.state_dir().ok_or_else(|| WorkspaceError::Unsafe {
                path: layout.root().into(),
                reason: "neither HOME nor XDG_STATE_HOME says where worktrees lie".into(),
            })?,
        };
        Ok(Self { dir: root.join(Self::name(layout)) })
    }

    /// The last part of its path; the same wherever the root is.
    pub(super) fn name(layout: &Layout) -> String {
        use std::os::unix::ffi::OsStrExt as _;
        let root = layout.root().canonicalize().unwrap_or_else(|_| layout.root().into());
        let name = branch::slug(&layout.name(), 32);
        let name = if name.is_empty() { "project" } else { &name };
        format!("{name}-{}", branch::hash8(root.as_os_str().as_bytes()))
    }

    /// The home that a worktree lies in, if it is one of this project's.
    pub(super) fn holding(layout: &Layout, tree: &Path) -> Option<Self> {
        let trees = tree.parent()?;
        let dir = trees.parent()?;
        let ours = trees.file_name()? == "wt" && dir.file_name()?.to_str()? == Self::name(layout);
        ours.then(|| Self { dir: dir.into() })
    }

    pub(super) fn tree(&self, task: &crate::domain::TaskId) -> PathBuf {
        self.dir.join("wt").join(task.as_str())
    }

    pub(super) fn tasks(&self) -> PathBuf {
        self.dir.join("tasks")
    }
}

fn one_line(text: &str) -> String {
    crate::domain::text::cut(&crate::domain::text::one_line(text), 300)
}
