//! The user's permission for a project: a hash of its configuration, adapters and prompts, remembered outside of it.
//!
//! All that comes with a clone of a repository; the memory of having looked at it does not. It lies in the
//! directory of the user's state that belongs to this one directory, so a copy or a new clone starts without.

use std::{collections::BTreeMap, os::unix::ffi::OsStrExt as _, path::PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ConfigError, World, layers};
use oodatcaa_core::{layout::Layout, text, time::stamp};
use oodatcaa_sys::files::{self, Durable, FileError};

/// Trusts every project for the life of a process, where it is `1` (CI).
pub const TRUST_ALL: &str = "OODATCAA_TRUST_PROJECT";

/// The largest prompt that is hashed; a larger one is refused where it is used.
const LONGEST_PROMPT: u64 = 10 << 20;

/// A user's word on a project's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The user has allowed exactly this content.
    Trusted,
    /// It holds nothing that could loosen or choose anything.
    NothingToTrust,
    /// Its files count only as far as they tighten something.
    Untrusted {
        /// Other content was trusted before.
        changed: bool,
    },
}

/// The reason why trust could not be looked up or remembered.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Neither `XDG_STATE_HOME` nor `HOME` says where.
    #[error("find where trust is remembered: neither HOME nor XDG_STATE_HOME is set")]
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
    /// The memory cannot be read or written, or somebody else could have written it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The project's configuration cannot be read.
    #[error("hash the project's configuration")]
    Config(#[source] Box<ConfigError>),
}

/// The state of a project's configuration, adapters and prompts at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    sha256: String,
    /// The hash of each prompt.
    prompts: BTreeMap<String, String>,
}

impl Fingerprint {
    /// Hashes the two files, the adapters' and the prompts' by name; an absent one differs from an empty one.
    pub(super) fn of(
        config: Option<&str>,
        local: Option<&str>,
        (adapters, refused): (&BTreeMap<String, String>, &[String]),
        prompts: BTreeMap<String, String>,
    ) -> Self {
        let mut hash = Sha256::new();
        let mut add = |mark: u8, text: Option<&str>| match text {
            None => hash.update([0]),
            Some(text) => {
                hash.update([mark]);
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
        };
        add(1, config);
        add(1, local);
        adapters.iter().flat_map(|(name, text)| [name, text]).for_each(|text| add(2, Some(text)));
        refused.iter().for_each(|text| add(4, Some(text)));
        prompts.iter().flat_map(|(name, hash)| [name, hash]).for_each(|text| add(3, Some(text)));
        Self { sha256: hex(hash), prompts }
    }

    /// Hashes a project's files as they are now.
    pub fn read(layout: &Layout) -> Result<Self, TrustError> {
        let wrong = |error| TrustError::Config(Box::new(error));
        let read = |path: PathBuf| layers::read(layout, &path).map_err(wrong);
        let (adapters, refused) = layers::adapters(layout);
        let (config, local) = (read(layout.config())?, read(layout.local_config())?);
        Ok(Self::of(config.as_deref(), local.as_deref(), (&adapters, &refused), prompts(layout)))
    }

    /// Returns the hash in hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.sha256
    }

    /// Returns the names of the prompts, without `.md`.
    pub fn prompts(&self) -> impl Iterator<Item = &str> {
        self.prompts.keys().map(String::as_str)
    }

    /// Tells whether this is the prompt of that name, byte by byte.
    pub fn holds_prompt(&self, name: &str, text: &str) -> bool {
        self.prompts.get(name).is_some_and(|hash| *hash == hex(Sha256::new_with_prefix(text)))
    }
}

fn hex(hash: Sha256) -> String {
    text::hex(&hash.finalize())
}

/// Hashes a project's prompts. What `sys::files` refuses (a link, a pipe) is never read, and counts as where it leads;
/// it is refused again where it is used.
pub(super) fn prompts(layout: &Layout) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    // A directory that cannot be listed allows no prompt in it.
    for (name, path) in layers::listed(layout, &layout.prompts(), "md").unwrap_or_default() {
        let mut hash = Sha256::new();
        if let Ok(text) = files::read(layout.root(), &path, LONGEST_PROMPT) {
            hash.update(text.unwrap_or_default());
        } else {
            hash.update([0xff]);
            hash.update(path.read_link().unwrap_or_default().as_os_str().as_bytes());
        }
        all.insert(name, hex(hash));
    }
    all
}

/// The memory of one project.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    sha256: String,
    trusted_at: String,
    /// The project's place at that time, for people.
    #[serde(default)]
    project: String,
}

/// Remembers a project's configuration as it is now.
pub fn trust(layout: &Layout) -> Result<PathBuf, TrustError> {
    remember(&World::of_process(), layout, &Fingerprint::read(layout)?)
}

/// Tells whether the user trusts the project as it is now, with this text as the prompt of that name.
pub fn allows_prompt(layout: &Layout, name: &str, text: &str) -> Result<bool, TrustError> {
    let fingerprint = Fingerprint::read(layout)?;
    Ok(fingerprint.holds_prompt(name, text) && lookup(&World::of_process(), layout, &fingerprint)? == Trust::Trusted)
}

/// Remembers one content of a project's configuration; returns where.
pub fn remember(world: &World, layout: &Layout, fingerprint: &Fingerprint) -> Result<PathBuf, TrustError> {
    let (base, path) = place(world, layout).ok_or(TrustError::NoPlace)?;
    let root = layout.root().canonicalize().unwrap_or_else(|_| layout.root().into());
    let remembered = Remembered {
        sha256: fingerprint.sha256.clone(),
        trusted_at: stamp(chrono::Utc::now()),
        project: root.to_string_lossy().into_owned(),
    };
    let mut json = serde_json::to_string_pretty(&remembered).expect("texts become JSON");
    json.push('\n');
    files::make_named_dir(&base)?;
    files::make_dir(&base, path.parent().expect("it lies in a directory of ours"))?;
    files::write_atomic(&base, &path, json.as_bytes(), Durable::Yes)?;
    Ok(path)
}

/// Forgets a project, in this environment; returns `false` when nothing was remembered.
pub fn forget_in(world: &World, layout: &Layout) -> Result<bool, TrustError> {
    match place(world, layout) {
        Some((base, path)) => Ok(files::remove(&base, &path)?),
        None => Ok(false),
    }
}

/// Looks up whether one content is trusted, in this environment; never answers `NothingToTrust`.
pub fn lookup(world: &World, layout: &Layout, fingerprint: &Fingerprint) -> Result<Trust, TrustError> {
    if world.var(TRUST_ALL) == Some("1") {
        return Ok(Trust::Trusted);
    }
    let Some((base, path)) = place(world, layout) else { return Ok(Trust::Untrusted { changed: false }) };
    // `read_granting` refuses what others may write: they could have trusted a project in our name.
    let Some(bytes) = files::read_granting(&base, &path, files::RECORD)? else {
        return Ok(Trust::Untrusted { changed: false });
    };
    match serde_json::from_slice::<Remembered>(&bytes) {
        Ok(remembered) if remembered.sha256 == fingerprint.sha256 => Ok(Trust::Trusted),
        Ok(_) => Ok(Trust::Untrusted { changed: true }),
        Err(error) => Err(TrustError::Broken { path, line: error.line(), message: error.to_string() }),
    }
}

/// Returns the user's state directory, and the file in it that remembers this project.
fn place(world: &World, layout: &Layout) -> Option<(PathBuf, PathBuf)> {
    let layout = if layout.user_state().is_some() { layout.clone() } else { world.at_home(layout.clone()) };
    Some((world.state_dir()?, layout.user_state()?.join("trust.json")))
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{MetadataExt as _, PermissionsExt as _},
        path::Path,
    };

    use super::*;

    fn of(
        config: Option<&str>,
        local: Option<&str>,
        adapters: &[(&str, &str)],
        prompts: &[(&str, &str)],
    ) -> Fingerprint {
        let map = |all: &[(&str, &str)]| all.iter().map(|&(name, text)| (name.into(), text.into())).collect();
        Fingerprint::of(config, local, (&map(adapters), &[]), map(prompts))
    }

    fn place_of() -> (tempfile::TempDir, World, Layout) {
        let directory = tempfile::tempdir().expect("a directory");
        let home = directory.path().join("home");
        let root = directory.path().join("project");
        std::fs::create_dir_all(root.join(".oodatcaa")).expect("a project");
        let world = World::of([("HOME", home.to_str().expect("UTF-8"))]);
        (directory, world, Layout::new(root))
    }

    #[test]
    fn trust_is_for_one_content_only() {
        let (_directory, world, layout) = place_of();
        let [first, second] = ["a", "b"].map(|text| of(Some(text), None, &[], &[]));
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
        let (directory, world, layout) = place_of();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(layout.root(), &link).expect("a link");
        let content = of(Some("a"), None, &[], &[]);
        remember(&world, &Layout::new(link), &content).expect("remembered");
        assert_eq!(lookup(&world, &layout, &content).expect("looked up"), Trust::Trusted);
    }

    #[test]
    fn a_memory_that_others_may_write_is_not_believed() {
        let (_directory, world, layout) = place_of();
        let content = of(Some("a"), None, &[], &[]);
        let path = remember(&world, &layout, &content).expect("remembered");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("changed");
        assert!(lookup(&world, &layout, &content).is_err());
    }

    #[test]
    fn trust_goes_along_with_a_rename_and_not_with_a_copy() {
        let (directory, world, layout) = place_of();
        let content = of(Some("a"), None, &[], &[]);
        remember(&world, &layout, &content).expect("remembered");
        let moved = directory.path().join("moved");
        std::fs::rename(layout.root(), &moved).expect("renamed");
        let state = |root: &Path| lookup(&world, &Layout::new(root), &content).expect("looked up");
        assert_eq!(state(&moved), Trust::Trusted);
        std::fs::create_dir_all(layout.mark()).expect("another one in its place");
        assert_eq!(state(layout.root()), Trust::Untrusted { changed: false });
    }

    #[test]
    fn a_broken_memory_is_told_and_trusting_again_mends_it() {
        let (_directory, world, layout) = place_of();
        let content = of(Some("a"), None, &[], &[]);
        let path = remember(&world, &layout, &content).expect("remembered");
        std::fs::write(&path, "{\n").expect("written");
        assert!(matches!(lookup(&world, &layout, &content), Err(TrustError::Broken { .. })));
        remember(&world, &layout, &content).expect("remembered");
        assert_eq!(lookup(&world, &layout, &content).expect("looked up"), Trust::Trusted);
    }

    #[test]
    fn text_cannot_wander_between_the_files() {
        let hashes = [
            of(Some("ab"), None, &[], &[]),
            of(Some("a"), Some("b"), &[], &[]),
            of(None, Some("ab"), &[], &[]),
            of(Some("ab"), Some(""), &[], &[]),
            of(Some("ab"), None, &[("x", "y")], &[]),
            of(Some("ab"), None, &[("xy", "")], &[]),
            of(Some("ab"), None, &[], &[("x", "y")]),
            of(Some("ab"), None, &[], &[("xy", "")]),
        ];
        for (n, hash) in hashes.iter().enumerate() {
            assert!(!hashes[n + 1..].iter().any(|other| other.sha256 == hash.sha256), "{n}");
        }
    }
}
