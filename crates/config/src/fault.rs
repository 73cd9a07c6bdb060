//! Faults of a configuration, and origins of values.

use std::{fmt, path::PathBuf};

use oodatcaa_core::Role;
use oodatcaa_sys::files::FileError;

/// The place where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nowhere: it is built in.
    Default,
    /// In the preset of this name.
    Preset(&'static str),
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line of the key, from 1.
        line: usize,
        /// The column of the key in characters, from 1.
        column: usize,
    },
    /// In an environment variable.
    Env(String),
    /// In a flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad("default"),
            Self::Preset(name) => f.pad(&format!("preset {name}")),
            Self::File { path, line, .. } => f.pad(&format!("{}:{line}", path.display())),
            Self::Env(name) => f.pad(&format!("env {name}")),
            Self::Flag(name) => f.pad(&format!("flag {name}")),
        }
    }
}

impl Origin {
    /// Tells whether it ships: nobody wrote it here.
    pub fn ships(&self) -> bool {
        matches!(self, Self::Default | Self::Preset(_))
    }

    /// Writes it with the column, for something that is wrong there.
    fn exactly(&self) -> String {
        match self {
            Self::File { column, .. } => format!("{self}:{column}"),
            _ => self.to_string(),
        }
    }
}

/// One thing that is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: `{key}` {message}", origin.exactly())]
pub struct Fault {
    /// The place of the key.
    pub origin: Origin,
    /// The key, with dots.
    pub key: String,
    /// The value that is there and the one that was expected.
    pub message: String,
}

/// The reason why there is no configuration, or none that serves.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is there and cannot be read.
    #[error("read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// A file is not TOML.
    #[error("understand the configuration {}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// The parser's words.
        message: String,
    },
    /// Values that cannot be used; never empty.
    #[error("use the configuration: {}", list(.0))]
    Invalid(Vec<Fault>),
    /// Nobody said which agent works for the role.
    #[error("find an agent for the role `{role}`: the configuration names none")]
    NoAgent {
        /// The role.
        role: Role,
    },
    /// A task or a role demands a gate that nobody defined.
    #[error("find the gate `{gate}`: the configuration defines none of this name")]
    NoGate {
        /// Its name.
        gate: String,
    },
    /// Something that is needed stands in a project file that the user has not trusted.
    #[error("use {what} of {}: {}", project.display(), if *changed { "its configuration or its prompts have changed since you trusted it" } else { "you have not trusted it" })]
    Untrusted {
        /// The agent or gate, e.g. "the agent `claude`".
        what: String,
        /// The project's root.
        project: PathBuf,
        /// It was trusted before, with other content.
        changed: bool,
    },
    /// A role that the project does not define.
    #[error("find the role `{role}`; there are: {}", known.join(", "))]
    NoRole {
        /// The role asked for.
        role: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

/// Findings on the way.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) warnings: Vec<String>,
    pub(super) hints: Vec<String>,
    pub(super) faults: Vec<Fault>,
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The path may be a directory on the way to the file.
impl From<FileError> for ConfigError {
    fn from(error: FileError) -> Self {
        Self::Read { path: error.path.clone(), source: error.into() }
    }
}
