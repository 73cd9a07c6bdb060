//! Where things lie below a project's root; pure paths, nothing is opened here.

use std::path::{Path, PathBuf};

use crate::{Role, RunName, TaskId};

/// A project's root and the names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
    user: Option<PathBuf>,
}

impl Layout {
    /// The directory that makes a directory a project.
    pub const MARK: &str = ".oodatcaa";

    /// Makes the layout of the project at this root, which should be absolute.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), user: None }
    }

    /// Returns the same project, with the directory that the user's own state keeps for it: nothing that a clone brings
    /// can lie there.
    #[must_use]
    pub fn kept_in(self, user: impl Into<PathBuf>) -> Self {
        Self { user: Some(user.into()), ..self }
    }

    /// Returns where the user's own state of this project lies, `$XDG_STATE_HOME/oodatcaa/projects/<project id>`;
    /// `None` where the environment names no such place.
    pub fn user_state(&self) -> Option<&Path> {
        self.user.as_deref()
    }

    /// Returns the root of the project that one of its own files lies in; for another path the directory that holds it.
    pub fn root_of(path: &Path) -> &Path {
        let mark = path.ancestors().find(|part| part.file_name().is_some_and(|name| name == Self::MARK));
        mark.and_then(Path::parent).or_else(|| path.parent()).unwrap_or(path)
    }

    /// Returns the ledger of starts, in the user's own state.
    pub fn ledger(&self) -> Option<PathBuf> {
        Some(self.user.as_ref()?.join("starts.jsonl"))
    }

    /// Returns the project's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the project's name for people: the last part of its root.
    pub fn name(&self) -> String {
        self.root.file_name().map_or_else(|| "/".into(), |name| name.to_string_lossy().into_owned())
    }

    fn state(&self) -> PathBuf {
        self.root.join(Self::MARK)
    }

    /// Returns `.oodatcaa`.
    pub fn mark(&self) -> PathBuf {
        self.state()
    }

    /// Returns the directory of the queue and the journal.
    pub fn work(&self) -> PathBuf {
        self.state().join("work")
    }

    /// Returns the queue file: the truth about tasks.
    pub fn queue(&self) -> PathBuf {
        self.work().join("SPRINT_QUEUE.json")
    }

    /// What the extension of a file begins with that keeps an edit of a file of ours, because it could not be brought
    /// into it.
    pub const LOST_EDIT: &str = "lost-edit-";

    /// Returns the journal.
    pub fn journal(&self) -> PathBuf {
        self.work().join("events.jsonl")
    }

    /// Returns the project's configuration.
    pub fn config(&self) -> PathBuf {
        self.state().join("config.toml")
    }

    /// Returns the configuration of this checkout only.
    pub fn local_config(&self) -> PathBuf {
        self.state().join("config.local.toml")
    }

    /// Returns the directory of the project's own adapters.
    pub fn adapters(&self) -> PathBuf {
        self.state().join("adapters")
    }

    /// Returns the directory of the prompt templates.
    pub fn prompts(&self) -> PathBuf {
        self.state().join("prompts")
    }

    /// Returns the prompt template of a role.
    pub fn prompt(&self, role: &Role) -> PathBuf {
        self.prompts().join(format!("{role}.md"))
    }

    /// Returns the directory of all attempts.
    pub fn runs(&self) -> PathBuf {
        self.state().join("runs")
    }

    /// Returns the directory of the whole state of the user's own, `$XDG_STATE_HOME/oodatcaa`.
    pub fn user_base(&self) -> Option<&Path> {
        self.user.as_deref()?.parent()?.parent()
    }

    /// Returns the directories in which agents' programs keep their own state, one for each slot of a role. Programs
    /// obey what lies there, so a clone must not be able to bring it.
    pub fn homes(&self) -> Option<PathBuf> {
        Some(self.user.as_deref()?.join("homes"))
    }

    /// Returns where earlier versions kept them; not used any more.
    pub fn old_homes(&self) -> PathBuf {
        self.state().join("homes")
    }

    /// Returns the directory of one attempt, by the name that its claim gave it: the token, which is unique in a task's
    /// life (tries of a stage may share their number), or what stands for it where that name was taken.
    pub fn run(&self, task: &TaskId, name: &RunName) -> PathBuf {
        self.runs().join(task.as_str()).join(name.as_str())
    }

    /// Returns the directory of the leases.
    pub fn leases(&self) -> PathBuf {
        self.root.join(".leases")
    }

    /// Returns the lease of a task.
    pub fn lease(&self, task: &TaskId) -> PathBuf {
        self.leases().join(format!("{task}.json"))
    }

    /// Returns the directory of the flock targets.
    pub fn locks(&self) -> PathBuf {
        self.root.join(".locks")
    }

    /// Returns the flock target of every change to queue, leases and journal.
    pub fn queue_lock(&self) -> PathBuf {
        self.locks().join("queue.lock")
    }

    /// Returns the flock target that proves a task's worker alive.
    pub fn task_lock(&self, task: &TaskId) -> PathBuf {
        match task.as_str() {
            // The queue's own lock has that name; no id begins with a dot.
            "queue" => self.locks().join(".queue.lock"),
            id => self.locks().join(format!("{id}.lock")),
        }
    }

    /// Returns the directory of the logs of the PID-file mode.
    pub fn logs(&self) -> PathBuf {
        self.root.join(".agent-daemon-logs")
    }

    /// Returns the directory of the pid files.
    pub fn pids(&self) -> PathBuf {
        self.root.join(".agent-daemon-pids")
    }

    /// Sockets and other runtime state, mode 0700.
    pub fn runtime(&self) -> PathBuf {
        self.root.join(".agent-daemon-run")
    }

    /// Returns the nearest directory at or above `from` that has a `.oodatcaa`, given a way to ask.
    pub fn find(from: &Path, is_dir: impl Fn(&Path) -> bool) -> Option<Self> {
        from.ancestors().find(|dir| is_dir(&dir.join(Self::MARK))).map(Self::new)
    }
}
