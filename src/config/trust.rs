//! Which projects' commands the user allows to run: a hash of the project's configuration, remembered outside of it.
//!
//! Configuration comes with a clone of a repository; the memory of having looked at it does not.

use std::{
    collections::BTreeMap,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ConfigError, World, layers};
use crate::{domain::plan::stamp, layout::Layout};

/// Trusts every project for the life of a process, where it is `1` (CI).
pub const TRUST_ALL: &str = "OODATCAA_TRUST_PROJECT";

/// How a project's configuration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The user has allowed exactly this content.
    Trusted,
    /// It names no commands.
    NothingToTrust,
    /// It names commands that will not run.
    Untrusted {
        /// Other content was trusted before.
        changed: bool,
    },
}

/// Why trust could not be looked up or remembered.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Neither `XDG_STATE_HOME` nor `HOME` says where.
    #[error("find the place where trust is remembered: neither HOME nor XDG_STATE_HOME is set")]
    NoPlace,
    /// The memory is there and says nothing.
    #[error("understand {}, line {line}: {message}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The parser's words.
        message: String,
    },
    /// Somebody else could have written it.
    #[error("believe {}: {reason}", path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system said no.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// The project's configuration cannot be read.
    #[error("hash the project's configuration")]
    Config(#[source] Box<ConfigError>),
}

/// What a project's configuration was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of the two files and the adapters' by name; an absent one differs from an empty one.
    pub(super) fn of(config: Option<&str>, local: Option<&str>, adapters: &BTreeMap<String, String>) -> Self {
        let mut hash = Sha256::new();
        for text in [config, local] {
            match text {
                None => hash.update([0]),
                Some(text) => {
                    hash.update([1]);
                    hash.update((text.len() as u64).to_le_bytes());
                    hash.update(text);
                }
            }
        }
        for text in adapters.iter().flat_map(|(name, text)| [name, text]) {
            hash.update([2]);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        Self(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Of a project's files as they are now.
    pub fn read(layout: &Layout) -> Result<Self, TrustError> {
        let read = |path: PathBuf| layers::read(&path).map_err(|error| TrustError::Config(Box::new(error)));
        let adapters = layers::adapters(layout).map_err(|error| TrustError::Config(Box::new(error)))?;
        Ok(Self::of(read(layout.config())?.as_deref(), read(layout.local_config())?.as_deref(), &adapters))
    }

    /// The hash in hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is remembered.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    version: u32,
    /// By the project's root, links resolved.
    projects: BTreeMap<String, Remembered>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    sha256: String,
    trusted_at: String,
}

/// Remembers a project's configuration as it is now.
pub fn trust(layout: &Layout) -> Result<PathBuf, TrustError> {
    remember(&World::of_process(), layout, &Fingerprint::read(layout)?)
}

/// Whether a project's configuration as it is now is the one that was trusted.
pub fn state(layout: &Layout) -> Result<Trust, TrustError> {
    lookup(&World::of_process(), layout, &Fingerprint::read(layout)?)
}

/// Forgets a project; answers `false` when nothing was remembered.
pub fn forget(layout: &Layout) -> Result<bool, TrustError> {
    forget_in(&World::of_process(), layout)
}

/// Remembers one content of a project's configuration; answers where.
pub fn remember(world: &World, layout: &Layout, fingerprint: &Fingerprint) -> Result<PathBuf, TrustError> {
    let root = root(layout)?;
    let remembered = Remembered { sha256: fingerprint.0.clone(), trusted_at: stamp(chrono::Utc::now()) };
    change(world, |memory| memory.projects.insert(root, remembered)).map(|(path, _)| path)
}

/// [`forget`], in this environment.
pub fn forget_in(world: &World, layout: &Layout) -> Result<bool, TrustError> {
    let root = root(layout)?;
    change(world, |memory| memory.projects.remove(&root).is_some()).map(|(_, was)| was)
}

/// [`state`] of one content, in this environment; never `NothingToTrust`.
pub fn lookup(world: &World, layout: &Layout, fingerprint: &Fingerprint) -> Result<Trust, TrustError> {
    if world.var(TRUST_ALL) == Some("1") {
        return Ok(Trust::Trusted);
    }
    let Some(path) = world.trust_file() else { return Ok(Trust::Untrusted { changed: false }) };
    let root = root(layout)?;
    Ok(match load(&path)?.projects.get(&root) {
        Some(remembered) if remembered.sha256 == fingerprint.0 => Trust::Trusted,
        remembered => Trust::Untrusted { changed: remembered.is_some() },
    })
}

fn root(layout: &Layout) -> Result<String, TrustError> {
    let root = std::fs::canonicalize(layout.root()).map_err(|source| io("find", layout.root(), source))?;
    Ok(root.to_string_lossy().into_owned())
}

fn load(path: &Path) -> Result<Memory, TrustError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Memory::default()),
        Err(error) => return Err(io("read", path, error)),
    };
    let metadata = std::fs::metadata(path).map_err(|source| io("read", path, source))?;
    let reason = if metadata.uid() != rustix::process::geteuid().as_raw() {
        Some("it belongs to another user")
    } else if metadata.mode() & 0o022 != 0 {
        Some("others may write it")
    } else {
        None
    };
    if let Some(reason) = reason {
        return Err(TrustError::Unsafe { path: path.into(), reason: reason.into() });
    }
    serde_json::from_str(&text).map_err(|error| TrustError::Broken {
        path: path.into(),
        line: error.line(),
        message: error.to_string(),
    })
}

/// Reads, changes and writes the memory under its lock; two terminals may trust two projects at once.
fn change<T>(world: &World, change: impl FnOnce(&mut Memory) -> T) -> Result<(PathBuf, T), TrustError> {
    let path = world.trust_file().ok_or(TrustError::NoPlace)?;
    let directory = path.parent().expect("it lies in a directory of ours");
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory).map_err(|source| io("create", directory, source))?;
    let lock_path = path.with_extension("lock");
    let lock = std::fs::File::options().create(true).truncate(false).write(true).open(&lock_path);
    let lock = lock.map_err(|source| io("open", &lock_path, source))?;
    fs2::FileExt::lock_exclusive(&lock).map_err(|source| io("lock", &lock_path, source))?;

    let mut memory = load(&path)?;
    memory.version = 1;
    let answer = change(&mut memory);
    let mut json = serde_json::to_string_pretty(&memory).expect("texts become JSON");
    json.push('\n');

    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".trust-")
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(directory)?;
        file.write_all(json.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(|source| io("write", &path, source))?;
    Ok((path, answer))
}

fn io(doing: &'static str, path: &Path, source: std::io::Error) -> TrustError {
    TrustError::Io { doing, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, World, Layout) {
        let directory = tempfile::tempdir().expect("a directory");
        let home = directory.path().join("home");
        let root = directory.path().join("project");
        std::fs::create_dir_all(root.join(".oodatcaa")).expect("a project");
        let world = World::of([("HOME", home.to_str().expect("UTF-8"))]);
        (directory, world, Layout::new(root))
    }

    #[test]
    fn trust_is_for_one_content_only() {
        let (_directory, world, layout) = place();
        let [first, second] = ["a", "b"].map(|text| Fingerprint::of(Some(text), None, &BTreeMap::new()));
        assert_eq!(lookup(&world, &layout, &first).expect("looked up"), Trust::Untrusted { changed: false });
        let path = remember(&world, &layout, &first).expect("remembered");
        assert_eq!(lookup(&world, &layout, &first).expect("looked up"), Trust::Trusted);
        assert_eq!(lookup(&world, &layout, &second).expect("looked up"), Trust::Untrusted { changed: true });
        assert_eq!(path.metadata().expect("a file").mode() & 0o777, 0o600);
        assert!(forget_in(&world, &layout).expect("forgotten"));
        assert!(!forget_in(&world, &layout).expect("forgotten"));
        assert_eq!(lookup(&world, &layout, &first).expect("looked up"), Trust::Untrusted { changed: false });
    }

    #[test]
    fn a_project_reached_over_a_link_is_the_same_project() {
        let (directory, world, layout) = place();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(layout.root(), &link).expect("a link");
        let content = Fingerprint::of(Some("a"), None, &BTreeMap::new());
        remember(&world, &Layout::new(link), &content).expect("remembered");
        assert_eq!(lookup(&world, &layout, &content).expect("looked up"), Trust::Trusted);
    }

    #[test]
    fn a_memory_that_others_may_write_is_not_believed() {
        let (_directory, world, layout) = place();
        let content = Fingerprint::of(Some("a"), None, &BTreeMap::new());
        let path = remember(&world, &layout, &content).expect("remembered");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("changed");
        assert!(matches!(lookup(&world, &layout, &content), Err(TrustError::Unsafe { .. })));
    }

    #[test]
    fn a_broken_memory_is_told_and_not_overwritten() {
        let (_directory, world, layout) = place();
        let content = Fingerprint::of(Some("a"), None, &BTreeMap::new());
        let path = remember(&world, &layout, &content).expect("remembered");
        std::fs::write(&path, "{\n").expect("written");
        assert!(matches!(remember(&world, &layout, &content), Err(TrustError::Broken { .. })));
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "{\n");
    }

    #[test]
    fn text_cannot_wander_between_the_two_files() {
        let hashes = [
            Fingerprint::of(Some("ab"), None, &BTreeMap::new()),
            Fingerprint::of(Some("a"), Some("b"), &BTreeMap::new()),
            Fingerprint::of(None, Some("ab"), &BTreeMap::new()),
            Fingerprint::of(Some("ab"), Some(""), &BTreeMap::new()),
            Fingerprint::of(Some("ab"), None, &BTreeMap::from([("x".into(), "y".into())])),
            Fingerprint::of(Some("ab"), None, &BTreeMap::from([("xy".into(), String::new())])),
        ];
        for (n, hash) in hashes.iter().enumerate() {
            assert!(!hashes[n + 1..].contains(hash), "{n}");
        }
    }
}
