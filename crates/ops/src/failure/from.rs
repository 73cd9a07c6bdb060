//! What each error of the lower floors means to people: its word, its causes, what helps against it.

use std::{error::Error, io};

use super::{ErrorKind, Failure};
use oodatcaa_agent::BadAgent;
use oodatcaa_config::{ConfigError, secrets::SecretError, trust::TrustError};
use oodatcaa_core::text::{self, one_line};
use oodatcaa_store::{Invalid, StoreError};
use oodatcaa_sys::files::{FileError, Why};

/// Returns the kind for what the operating system said, or our own door for files.
fn kind_of(error: &io::Error) -> ErrorKind {
    use rustix::io::Errno;
    if Why::of(error).is_some() {
        return ErrorKind::UnsafePath;
    }
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::DQUOT) => ErrorKind::DiskFull,
        Some(Errno::ROFS) => ErrorKind::ReadOnly,
        Some(Errno::ACCESS | Errno::PERM) => ErrorKind::PermissionDenied,
        Some(Errno::MFILE | Errno::NFILE) => ErrorKind::TooManyFiles,
        _ => match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::Io,
        },
    }
}

/// Returns the failure for an error on a path, with what helps against it.
pub(super) fn io_failure(error: &(dyn Error + 'static), path: &std::path::Path, source: &io::Error) -> Failure {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(path);
    let (path, directory) = (quoted(path), quoted(directory));
    let failure = Failure::of(kind_of(source), error);
    match failure.kind {
        ErrorKind::DiskFull => failure
            .hint(format!("nothing was lost; make room, then try again: df -h {directory}"))
            .hint("old attempts take the most space: du -sh .oodatcaa/runs"),
        ErrorKind::ReadOnly => {
            failure.hint(format!("the file system is mounted read-only; see how: findmnt -T {directory}"))
        }
        ErrorKind::PermissionDenied => failure.hint(format!("see who may: namei -l {path}")).hint("agentctl doctor"),
        ErrorKind::TooManyFiles => failure.hint("see the limits and who uses them up: agentctl doctor"),
        ErrorKind::UnsafePath => {
            failure.hint(format!("look at it, then move it away or mend it: ls -ld {path}")).see("security")
        }
        _ => failure.hint("agentctl doctor"),
    }
}

impl Failure {
    /// Returns the failure for reading or writing a path; `doing` reads after "failed to".
    pub fn io(doing: &str, path: &std::path::Path, source: &io::Error) -> Self {
        let mut failure = io_failure(source, path, source);
        failure.message = format!("failed to {doing} {}", path.display());
        failure.causes = vec![source.to_string()];
        failure
    }
}

/// Returns a path as a shell reads it back.
pub fn quoted(path: &std::path::Path) -> String {
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
            .see("queue")
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing(_) => Self::of(ErrorKind::QueueMissing, &error).hint("agentctl init"),
            StoreError::Invalid(invalid) => invalid.into(),
            StoreError::Busy { .. } => Self::of(ErrorKind::QueueBusy, &error)
                .hint("try again; a lock that stays held is shown by: agentctl doctor")
                .see("locks"),
            StoreError::Contended { .. } => Self::of(ErrorKind::QueueContended, &error)
                .hint("something writes the queue file without pause; see what: agentctl events tail"),
            StoreError::Unsafe { ref path, .. } => {
                let hint = format!("look at it, then move it away or mend it: ls -ld {}", quoted(path));
                Self::of(ErrorKind::UnsafePath, &error).hint(hint).see("security")
            }
            StoreError::Unfit { .. } => Self::of(ErrorKind::UnsafePath, &error).see("security"),
            StoreError::Scheme(_) => Self::of(ErrorKind::Usage, &error).hint("name the project's root as a path"),
            StoreError::Io { ref path, ref source, .. } => io_failure(&error, path, source),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match &error {
            ConfigError::Read { path, source } => io_failure(&error, path, source),
            ConfigError::Syntax { .. } => Self::of(ErrorKind::ConfigInvalid, &error)
                .hint("every key with its default and a comment: agentctl config show --default")
                .see("config"),
            ConfigError::Invalid(faults) => {
                let lines: Vec<String> = faults.iter().map(|fault| one_line(&fault.to_string())).collect();
                let failure = Self::new(ErrorKind::ConfigInvalid, "the configuration cannot be used");
                let failure = match lines.as_slice() {
                    [one] => failure.cause(one.clone()),
                    all => failure.cause(format!("\n  {}", all.join("\n  "))),
                };
                failure.hint("every key with its default and a comment: agentctl config show --default").see("config")
            }
            ConfigError::NoAgent { role } => Self::of(ErrorKind::NoAgent, &error)
                .hint("write one down, or see what to write: agentctl init --agent NAME")
                .hint(format!("or name one in .oodatcaa/config.toml: [roles.{role}] agent = \"NAME\""))
                .hint("or try it without any model: agentctl demo")
                .see("agents"),
            ConfigError::NoGate { .. } => Self::of(ErrorKind::ConfigInvalid, &error)
                .hint("see which there are: agentctl config show")
                .see("config"),
            ConfigError::Untrusted { .. } => Self::of(ErrorKind::Untrusted, &error)
                .hint("look at the commands and allow them: agentctl config trust")
                .see("security"),
            ConfigError::NoRole { .. } => {
                Self::of(ErrorKind::NoRole, &error).hint("see how each is set up: agentctl config show").see("roles")
            }
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
        let failure = Self::of(ErrorKind::SecretMissing, &error).see("security");
        match &error {
            SecretError::NotSet { variable, .. } => {
                failure.hint(format!("set it where the worker is started from: export {variable}=…"))
            }
            SecretError::File { path, .. } => {
                failure.hint(format!("see what is wrong with it: ls -l {}", quoted(path)))
            }
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(kind_of(&error), error.to_string()).because_of(error.source()).hint("agentctl doctor")
    }
}
