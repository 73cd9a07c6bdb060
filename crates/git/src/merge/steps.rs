//! The steps of a merge and the file that remembers the last one, so that a killed merge can be
//! finished or undone.
//!
//! The file is written with temp + fsync + rename + fsync of the directory before the step that it
//! announces. A lock file beside it is held by the living merge: a file whose lock is free belongs
//! to nobody and is recovered.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Author, Result};
use crate::{fault::failed, lock};
use oodatcaa_core::{TaskId, Token};
use oodatcaa_sys::{files, lock::Lock};

/// How long somebody else may hold the lock of a merge that begins.
const MOMENT: Duration = Duration::from_secs(5);

/// Declares the steps, in order: what each means, its variant, and its name in the state file.
macro_rules! steps {
    ($($(#[$meaning:meta])+ $step:ident $name:literal;)+) => {
        /// The place where a merge stands. A name is also the place where a test may end the process.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Step {
            $($(#[$meaning])+ #[serde(rename = $name)] $step,)+
        }

        impl Step {
            /// Every step, in order.
            pub const ALL: &[Self] = &[$(Self::$step),+];

            /// Returns the step's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$step => $name,)+
                }
            }
        }
    };
}

steps! {
    /// The state file is there.
    Begun "begun";
    /// The temporary worktree is there.
    Tree "tree";
    /// The results are commits.
    Built "built";
    /// The gates were green.
    Green "green";
    /// The result is about to be pushed.
    Pushing "pushing";
    /// The remote holds the result.
    Pushed "pushed";
    /// The target is about to move; files of its checkout may change.
    Landing "landing";
    /// The index of the target's checkout is locked.
    Locked "locked";
    /// The files of the target's checkout are new.
    Files "files";
    /// The target has moved.
    Moved "moved";
    /// The target has moved and its checkout is whole.
    Landed "landed";
    /// The gates after the merge were red; the merge is about to be taken back.
    Reverting "reverting";
    /// The merge was taken back.
    Reverted "reverted";
    /// The gates after the merge were green, or there are none.
    Checked "checked";
    /// The results have their tags.
    Tagged "tagged";
    /// The temporary worktree is gone.
    Cleaned "cleaned";
    /// All is done, and nobody has been told.
    Ended "ended";
}

/// Marks a place where a test may end the process as SIGKILL does: `OODATCAA_MERGE_ABORT=<step>`.
/// A release build has no such place.
pub(super) fn point(step: Step) {
    die_at(step.name());
}

/// Ends the process as SIGKILL does where a test asked for the end at this place.
pub(crate) fn die_at(place: &str) {
    if cfg!(debug_assertions) && std::env::var("OODATCAA_MERGE_ABORT").is_ok_and(|name| name == place) {
        // It cannot fail on ourselves; if it did, the test that asked for it would tell.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// One task's change on the merge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MergeEntry {
    pub(super) task: TaskId,
    pub(super) title: String,
    pub(super) token: Token,
    pub(super) branch: String,
    /// The branch's head.
    pub(super) source: String,
    /// What it stands on.
    pub(super) base: String,
    /// The result.
    pub(super) commit: String,
    /// The stable patch id of `base..commit`.
    pub(super) patch: String,
    /// The tag on the old head.
    pub(super) before: Option<String>,
    /// The tag on the result.
    pub(super) after: Option<String>,
}

/// A checkout of the target branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkout {
    pub(super) path: PathBuf,
    /// The place where its index lies.
    pub(super) git_dir: PathBuf,
}

impl Checkout {
    /// Returns where its next index is made.
    pub(super) fn scratch(&self) -> PathBuf {
        self.git_dir.join("index.oodatcaa")
    }
}

/// The target on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Landing {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) checkouts: Vec<Checkout>,
}

/// A gate that was red, and what it said.
pub(super) type Red = (String, String);

/// Everything that a successor must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) format: u32,
    pub(super) id: String,
    /// The directory that the repository's worktrees share.
    pub(super) common: PathBuf,
    pub(super) target: String,
    pub(super) step: Step,
    pub(super) tree: Option<PathBuf>,
    pub(super) entries: Vec<MergeEntry>,
    pub(super) landing: Option<Landing>,
    pub(super) push: Option<String>,
    /// The directory that knows where remotes were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) remotes: Option<PathBuf>,
    pub(super) tags: bool,
    pub(super) author: Author,
    /// What a red gate after the merge said.
    pub(super) red: Option<Red>,
    /// Nobody wants it any more; `red` then says why, of no gate.
    #[serde(default)]
    pub(super) unwanted: bool,
}

/// The version of the state file.
pub(super) const FORMAT: u32 = 1;

impl State {
    pub(super) fn top(&self) -> Option<&str> {
        self.entries.last().map(|entry| entry.commit.as_str())
    }
}

/// A state and the file that holds it, locked by us.
pub(super) struct Log {
    dir: PathBuf,
    pub(super) state: State,
    /// The reason why the local branch is behind the remote, which has the result.
    pub(super) behind: Option<String>,
    lock: Lock,
}

/// What the names of merges begin with.
pub(super) const PREFIX: &str = "merge-";

/// Returns a name that no other merge has.
pub(super) fn unique(task: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos = chrono::Utc::now().timestamp_nanos_opt().unwrap_or_default();
    format!("{PREFIX}{task}-{nanos:x}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lock.release();
    }
}

impl Log {
    pub(super) fn begin(dir: &Path, state: State) -> Result<Self> {
        files::make_named_dir(dir).map_err(failed("make", dir))?;
        let path = dir.join(format!("{}.lock", state.id));
        // Whoever looks for orphans may hold it for the moment between our two calls.
        let lock = lock::hold(&path, MOMENT)?;
        let mut log = Self { dir: dir.into(), state, behind: None, lock };
        log.save(Step::Begun)?;
        Ok(log)
    }

    /// Follows a repository that lies elsewhere by now.
    pub(super) fn moved_to(&mut self, common: &Path) {
        let (from, to) = (self.state.common.clone(), common.to_owned());
        let (old_top, new_top) = (from.parent().map(Path::to_owned), to.parent().map(Path::to_owned));
        for checkout in self.state.landing.iter_mut().flat_map(|landing| &mut landing.checkouts) {
            if let Ok(below) = checkout.git_dir.strip_prefix(&from) {
                checkout.git_dir = to.join(below);
            }
            if let (Some(old), Some(new)) = (&old_top, &new_top)
                && checkout.path == *old
            {
                checkout.path.clone_from(new);
            }
        }
        self.state.common = to;
    }

    /// Announces a step.
    pub(super) fn save(&mut self, step: Step) -> Result<()> {
        self.state.step = step;
        self.write()?;
        point(step);
        Ok(())
    }

    /// Writes what has changed beside the step.
    pub(super) fn write(&self) -> Result<()> {
        let path = self.dir.join(format!("{}.json", self.state.id));
        let text = serde_json::to_vec_pretty(&self.state).expect("texts become JSON");
        Ok(files::named::write(&path, text, files::Durable::Yes).map_err(failed("write", &path))?)
    }

    /// Forgets the merge: nothing of it is left to do.
    pub(super) fn close(self) -> Result<()> {
        let path = self.dir.join(format!("{}.json", self.state.id));
        for path in [path, self.dir.join(format!("{}.lock", self.state.id))] {
            files::named::remove(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    /// Returns the merges in a directory that nobody drives any more.
    pub(super) fn orphans(dir: &Path) -> Result<Vec<Self>> {
        let listed = files::list(dir, Path::new(""), 1_000_000).map_err(failed("read", dir))?;
        // A lock without a state is of a merge that died before its first step, or of one that is just beginning.
        let mut found = Vec::new();
        for entry in listed.into_iter().flatten() {
            let name = entry.name.to_string_lossy().into_owned();
            let Some(id) = name.strip_suffix(".json").or_else(|| name.strip_suffix(".lock")) else { continue };
            if !id.starts_with(PREFIX) || found.iter().any(|log: &Self| log.state.id == id) {
                continue;
            }
            let lock_path = dir.join(format!("{id}.lock"));
            let Some(lock) = lock::try_take(&lock_path).map_err(failed("lock", &lock_path))? else { continue };
            let path = dir.join(format!("{id}.json"));
            // Read under the lock only: its driver may have ended in between.
            match files::named::text(&path) {
                Ok(text) => {
                    let state: State = serde_json::from_str(&text).map_err(failed("read", &path))?;
                    if state.format != FORMAT || state.id != id {
                        let reason =
                            format!("merge {}, format {}; this program knows {FORMAT}", state.id, state.format);
                        return Err(failed("read", &path)(io::Error::other(reason)).into());
                    }
                    found.push(Self { dir: dir.into(), state, behind: None, lock });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let _ = files::named::remove(&lock_path);
                }
                Err(error) => return Err(failed("read", &path)(error).into()),
            }
        }
        found.sort_by(|a, b| a.state.id.cmp(&b.state.id));
        Ok(found)
    }
}
