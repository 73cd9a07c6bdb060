//! Why the fleet could not do what it was asked.

use std::{
    io,
    path::{Path, PathBuf},
};

use oodatcaa_store::StoreError;
use oodatcaa_sys::files::FileError;

/// The reason why the fleet could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// There is one already.
    #[error("start {name}: it already runs{}", pid.map(|pid| format!(" as process {pid}")).unwrap_or_default())]
    Running {
        /// The worker.
        name: String,
        /// Its pid.
        pid: Option<u32>,
    },
    /// A file or directory is not what it must be.
    #[error("use {}: {reason}", path.display())]
    Unsafe {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that others may have written is not what it must be.
    #[error(transparent)]
    File(#[from] FileError),
    /// The operating system said no.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The worker's program is not there.
    #[error("find the program agent-daemon beside agentctl or on the PATH")]
    NoDaemon,
    /// The project does not define this role.
    #[error("find the role `{role}`; this project has {known}")]
    NoRole {
        /// What was asked for.
        role: String,
        /// What there is.
        known: String,
    },
    /// systemd was asked for and cannot be used.
    #[error("use systemd: {0}")]
    NoSystemd(String),
    /// A unit of this name belongs to somebody else.
    #[error("install {}: it belongs to {}", unit.display(),
        project.as_ref().map_or_else(|| "another program".into(), |p| format!("the project {}", p.display())))]
    Foreign {
        /// The unit's file.
        unit: PathBuf,
        /// The other project, where it is one of ours.
        project: Option<PathBuf>,
    },
    /// The manager did not do what it was told.
    #[error("have systemd {doing}: {answer}")]
    Manager {
        /// What it was told.
        doing: String,
        /// What it said.
        answer: String,
    },
    /// The process could not leave its terminal.
    #[error("detach from the terminal: {0}")]
    Detach(String),
    /// The supervisor did not do what it was asked.
    #[error("have the supervisor do this: {0}")]
    Refused(String),
    /// The store could not be read or written.
    #[error("clear the pause of a role")]
    Store(#[source] StoreError),
}

impl FleetError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.into(), source }
    }
}
