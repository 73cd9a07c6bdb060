//! Why a file was not read or written.

use std::{borrow::Cow, io, path::PathBuf};

/// A file that could not be used. "failed to" goes before it, the reason after it.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}", path.display())]
pub struct FileError {
    /// The deed: a verb that reads after "failed to".
    pub doing: &'static str,
    /// The path to look at: the file, or what is in the way to it.
    pub path: PathBuf,
    /// The reason.
    #[source]
    pub why: Why,
}

/// The reason.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It is not a file that we use: a link, a pipe, a device, or another user's.
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// It is longer than anything that belongs there.
    #[error("it has {size} bytes; no more than {cap} are read")]
    TooLong {
        /// Its length.
        size: u64,
        /// The most that is read.
        cap: u64,
    },
    /// The directory holds more than anything that belongs there.
    #[error("it has more than {0} entries")]
    TooMany(usize),
    /// The operating system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for Why {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

impl Why {
    /// Returns the reason inside a system error, where it is one of ours.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl FileError {
    /// Tells whether the name was taken by something else.
    pub fn is_taken(&self) -> bool {
        matches!(&self.why, Why::Io(error) if error.kind() == io::ErrorKind::AlreadyExists)
    }
}

/// For callers that name the path themselves.
impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error.why {
            Why::Io(error) => error,
            why => Self::new(io::ErrorKind::InvalidInput, why),
        }
    }
}
