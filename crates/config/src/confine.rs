//! The confinement of the project's own commands around a worktree.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Writes the profile of a command into the directory of its run, the second argument; says why where there can be none.
type Confines = dyn Fn(Confinee<'_>, &Path) -> Result<Confined, String> + Send + Sync;

/// The program that is confined.
#[derive(Clone, Copy, Debug)]
pub enum Confinee<'a> {
    /// A command of the project's in this worktree.
    Hook(&'a Path),
    /// Our own git, which reads this repository of an agent's.
    Git(&'a Path),
}

/// The confinement of `setup`, `teardown` and whatever else runs in a worktree. Who loads a configuration says it: a
/// configuration does not know what confines.
#[derive(Clone, Default)]
pub enum Confine {
    /// Nobody has said it: nothing runs.
    #[default]
    Unknown,
    /// By nothing, as the user has said.
    Nothing,
    /// By profiles.
    By(Arc<Confines>),
}

/// The confinement of one command.
pub struct Confined {
    /// The path of its profile.
    pub profile: PathBuf,
    /// Variables that belong to it.
    pub env: BTreeMap<String, String>,
    /// The things that are removed with this, after the command's end.
    pub until: Box<dyn Any>,
}

impl fmt::Debug for Confine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "Unknown",
            Self::Nothing => "Nothing",
            Self::By(_) => "By(..)",
        })
    }
}

impl PartialEq for Confine {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::By(one), Self::By(other)) => Arc::ptr_eq(one, other),
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        }
    }
}

impl Confine {
    /// Confines a command that is about to run; `None` where it runs with every right of its user.
    pub fn confine(&self, what: Confinee<'_>, run_dir: &Path) -> Result<Option<Confined>, String> {
        match self {
            Self::Unknown => Err("nobody has said how it is confined".into()),
            Self::Nothing => Ok(None),
            Self::By(confine) => confine(what, run_dir).map(Some),
        }
    }
}
