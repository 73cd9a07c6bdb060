//! What each error of the lower floors means to people: its word, its causes, what helps against it.

use std::{error::Error, io, path::Path};

use super::{ErrorKind, Failure};
use oodatcaa_agent::BadAgent;
use oodatcaa_config::{ConfigError, secrets::SecretError, trust::TrustError};
use oodatcaa_core::text::{self, one_line};
use oodatcaa_store::{Invalid, StoreError};
use oodatcaa_sys::files::{FileError, Why};

/// Returns the kind for what the operating system said, or our own door for files.
fn kind_of(error: &io::Error) -> ErrorKind {
    use rustix::io::Errno;
    match error.kind() {
        _ if Why::of(error).is_some() => ErrorKind::UnsafePath,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        // The standard library has no kind for these two.
        _ => match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::MFILE | Errno::NFILE) => ErrorKind::TooManyFiles,
            _ => ErrorKind::Io,
        },
    }
}

/// Returns the failure for an error on a path, with what helps against it.
pub(super) fn io_failure(error: &(dyn Error + 'static), path: &Path, source: &io::Error) -> Failure {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(path);
    let (path, directory) = (quoted(path), quoted(directory));
    let told = |kind, hints: &[&str]| Failure::of(kind, error).hints(hints);
    match kind_of(source) {
        kind @ ErrorKind::DiskFull => {
            let room = format!("nothing was lost; make room, then try again: df -h {directory}");
            told(kind, &[&room, "old attempts take the most space: du -sh .oodatcaa/runs"])
        }
        kind @ ErrorKind::ReadOnly => {
            told(kind, &[&format!("the file system is mounted read-only; see how: findmnt -T {directory}")])
        }
        kind @ ErrorKind::PermissionDenied => {
            told(kind, &[&format!("see who may: namei -l {path}"), "agentctl doctor"])
        }
        kind @ ErrorKind::TooManyFiles => told(kind, &["see the limits and who uses them up: agentctl doctor"]),
        kind @ ErrorKind::UnsafePath => told(kind, &[&mend(&path)]),
        kind => told(kind, &["agentctl doctor"]),
    }
}

fn mend(path: &str) -> String {
    format!("look at it, then move or mend it: ls -ld {path}")
}

impl Failure {
    /// Returns the failure for reading or writing a path; `doing` reads after "failed to".
    pub fn io(doing: &str, path: &Path, source: &io::Error) -> Self {
        let mut failure = io_failure(source, path, source);
        failure.message = format!("failed to {doing} {}", path.display());
        failure.causes = vec![source.to_string()];
        failure
    }
}

/// Returns a path as a shell reads it back.
pub fn quoted(path: &Path) -> String {
    text::shell_word(&path.to_string_lossy())
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let (doing, path) = (error.doing, error.path.clone());
        Self::io(doing, &path, &error.into())
    }
}

impl From<BadAgent> for Failure {
    fn from(error: BadAgent) -> Self {
        Self::of(ErrorKind::ConfigInvalid, &error)
            .hint("correct it in .oodatcaa/config.toml; see what is in force: agentctl config show --origin")
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        let path = quoted(&invalid.path);
        Self::new(ErrorKind::QueueInvalid, "the queue file cannot be read; it is left as it is")
            .cause(invalid.to_string())
            .hint("agentctl queue validate")
            .hint(format!("a version that can be read may be in git: git log --oneline -- {path}"))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let told = |kind, hint: &str| Self::of(kind, &error).hint(hint);
        match error {
            StoreError::Invalid(invalid) => invalid.into(),
            StoreError::Io { ref path, ref source, .. } => io_failure(&error, path, source),
            StoreError::Missing(_) => told(ErrorKind::QueueMissing, "agentctl init"),
            StoreError::Busy { .. } => {
                told(ErrorKind::QueueBusy, "try again; to see who holds the lock: agentctl doctor")
            }
            StoreError::Contended { .. } => told(
                ErrorKind::QueueContended,
                "something writes the queue file without pause; see what: agentctl events tail",
            ),
            StoreError::Unsafe { ref path, .. } => told(ErrorKind::UnsafePath, &mend(&quoted(path))),
            StoreError::Unfit { .. } => Self::of(ErrorKind::UnfitPlace, &error),
            StoreError::Scheme(_) => told(ErrorKind::Usage, "name the project's root as a path"),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let told = |kind, hints: &[&str]| Self::of(kind, &error).hints(hints);
        let all_keys = "every key with its default and a comment: agentctl config show --default";
        match &error {
            ConfigError::Read { path, source } => io_failure(&error, path, source),
            ConfigError::Syntax { .. } => told(ErrorKind::ConfigInvalid, &[all_keys]),
            ConfigError::Invalid(faults) => {
                let lines: Vec<String> = faults.iter().map(|fault| one_line(&fault.to_string())).collect();
                let cause = match lines.as_slice() {
                    [one] => one.clone(),
                    all => format!("\n  {}", all.join("\n  ")),
                };
                Self::new(ErrorKind::ConfigInvalid, "the configuration cannot be used").cause(cause).hint(all_keys)
            }
            ConfigError::NoAgent { role } => {
                let name = format!("or name one in .oodatcaa/config.toml: [roles.{role}] agent = \"NAME\"");
                let write = "name one, or see what to write: agentctl init --agent NAME";
                told(ErrorKind::NoAgent, &[write, &name, "or try it without any model: agentctl demo"])
            }
            ConfigError::NoGate { .. } => {
                told(ErrorKind::ConfigInvalid, &["see which there are: agentctl config show"])
            }
            ConfigError::Untrusted { .. } => {
                told(ErrorKind::Untrusted, &["look at the commands and allow them: agentctl config trust"])
            }
            ConfigError::NoRole { .. } => told(ErrorKind::NoRole, &["see how each is set up: agentctl config show"]),
        }
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::NoPlace => Self::of(ErrorKind::Failed, &error)
                .hint("for this one process: OODATCAA_TRUST_PROJECT=1 agentctl status")
                .see("security"),
            TrustError::Broken { ref path, .. } => Self::of(ErrorKind::Failed, &error)
                .hint(format!("move it away, then trust the project again: mv {0} {0}.old", quoted(path))),
            TrustError::File(error) => error.into(),
            TrustError::Config(config) => (*config).into(),
        }
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        Self::of(ErrorKind::SecretMissing, &error).hint(match &error {
            SecretError::NotSet { variable, .. } => {
                format!("set it where the worker is started from: export {variable}=…")
            }
            SecretError::File { path, .. } => format!("see what is wrong with it: ls -l {}", quoted(path)),
        })
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(kind_of(&error), error.to_string()).because_of(error.source()).hint("agentctl doctor")
    }
}
