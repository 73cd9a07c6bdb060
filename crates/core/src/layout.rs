//! Where things lie below a project's root; pure paths, nothing is opened here.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

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

    /// The beginning of the extension of files that keep an edit of a file of ours which could not be brought into it.
    pub const LOST_EDIT: &str = "lost-edit-";

    /// Returns the prompt template of a role.
    pub fn prompt(&self, role: &Role) -> PathBuf {
        self.prompts().join(format!("{role}.md"))
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

    /// Returns the directory of one attempt, by the name that its claim gave it: the token, which is unique in a task's
    /// life (tries of a stage may share their number), or what stands for it where that name was taken.
    pub fn run(&self, task: &TaskId, name: &RunName) -> PathBuf {
        self.runs().join(task.as_str()).join(name.as_str())
    }

    /// Returns the directory of what is kept of a sprint that is over.
    pub fn sprint_archive(&self, sprint: u64) -> PathBuf {
        self.archive().join(format!("sprint_{sprint}"))
    }

    /// Returns what is kept of the queue of a sprint; further versions of it have a number from 2.
    pub fn final_queue(&self, sprint: u64, version: u32) -> PathBuf {
        let more = if version > 1 { format!("_{version:03}") } else { String::new() };
        self.sprint_archive(sprint).join(format!("SPRINT_{sprint}_FINAL{more}.json"))
    }

    /// Returns the retrospective of a sprint.
    pub fn retrospective(&self, sprint: u64) -> PathBuf {
        self.work().join(format!("SPRINT_{sprint}_RETROSPECTIVE.md"))
    }

    /// Returns the lease of a task.
    pub fn lease(&self, task: &TaskId) -> PathBuf {
        self.leases().join(format!("{task}.json"))
    }

    /// Returns the flock target that proves a task's worker alive.
    pub fn task_lock(&self, task: &TaskId) -> PathBuf {
        match task.as_str() {
            // The queue's own lock has that name; no id begins with a dot.
            "queue" => self.locks().join(".queue.lock"),
            id => self.locks().join(format!("{id}.lock")),
        }
    }

    /// Returns the control socket of a process of ours, by the name of its pid file. The address of a socket is short, so
    /// a long name has a fingerprint in the place of its end.
    pub fn socket(&self, name: &str) -> PathBuf {
        const LONGEST: usize = 64;
        let name = if name.len() <= LONGEST {
            format!("{name}.sock")
        } else {
            let digest = Sha256::digest(name.as_bytes());
            let (start, _) = name.char_indices().nth(40).unwrap_or((name.len(), ' '));
            format!("{}-{:02x}{:02x}{:02x}{:02x}.sock", &name[..start], digest[0], digest[1], digest[2], digest[3])
        };
        self.runtime().join(name)
    }

    /// Returns the nearest directory at or above `from` that has a `.oodatcaa`, given a way to ask.
    pub fn find(from: &Path, is_dir: impl Fn(&Path) -> bool) -> Option<Self> {
        from.ancestors().find(|dir| is_dir(&dir.join(Self::MARK))).map(Self::new)
    }
}

/// Makes a method of each row: a name, what it lies in, and its own part of the path.
macro_rules! places {
    ($($(#[$about:meta])* $name:ident = $above:ident / $part:expr;)*) => {
        impl Layout {
            $(
                $(#[$about])*
                pub fn $name(&self) -> PathBuf {
                    self.$above().join($part)
                }
            )*
        }
    };
}

places! {
    /// Returns `.oodatcaa`.
    mark = root / Self::MARK;
    /// Returns the directory of the queue and the journal.
    work = mark / "work";
    /// Returns the queue file: the truth about tasks.
    queue = work / "SPRINT_QUEUE.json";
    /// Returns the journal.
    journal = work / "events.jsonl";
    /// Returns what programs of the old fleet read of the sprint; written where somebody asks for it.
    sprint_status = work / "SPRINT_STATUS.json";
    /// Returns the directory of what is kept of sprints that are over.
    archive = work / "archive";
    /// Returns the directory of the reports on tasks.
    reports = work / "reports";
    /// Returns the log of the sprint, for people.
    sprint_log = work / "SPRINT_LOG.md";
    /// Returns the log of what agents did, for people.
    agent_log = work / "AGENT_LOG.md";
    /// Returns the plan of the sprint, for people.
    sprint_plan = work / "SPRINT_PLAN.md";
    /// Returns the index of the reports.
    reports_index = work / "AGENT_REPORTS.md";
    /// Returns the project's objective.
    objective = mark / "objectives/OBJECTIVE.md";
    /// Returns the goals of its sprints, for people.
    sprint_goal = mark / "objectives/SPRINT_GOAL.md";
    /// Returns the index of what was archived.
    archive_index = root / "ARCHIVE_INDEX.md";
    /// Returns what was rotated when.
    rotation_stats = root / "ROTATION_STATS.md";
    /// Returns the project's configuration.
    config = mark / "config.toml";
    /// Returns the configuration of this checkout only.
    local_config = mark / "config.local.toml";
    /// Returns the directory of the mailboxes.
    messages = mark / "messages";
    /// Returns the directory of the project's own adapters.
    adapters = mark / "adapters";
    /// Returns the directory of the prompt templates.
    prompts = mark / "prompts";
    /// Returns the directory of all attempts.
    runs = mark / "runs";
    /// Returns where a clone may bring homes along; they are never used.
    foreign_homes = mark / "homes";
    /// Returns the directory of the leases.
    leases = root / ".leases";
    /// Returns the directory of the flock targets.
    locks = root / ".locks";
    /// Returns the flock target of every change to queue, leases and journal.
    queue_lock = locks / "queue.lock";
    /// Returns the directory of the logs of the PID-file mode.
    logs = root / ".agent-daemon-logs";
    /// Returns the directory of the pid files.
    pids = root / ".agent-daemon-pids";
    /// Returns the directory of sockets and other runtime state, mode 0700.
    runtime = root / ".agent-daemon-run";
}
