//! The wishes of a profile, and what a machine can give.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use oodatcaa_core::layout::Layout;
pub use oodatcaa_core::{Guarantee, Network};
use oodatcaa_sys::files::{self, Durable};

/// The profile in the directory of the program that is confined by it.
const PROFILE: &str = "sandbox.json";

/// The report beside it.
const REPORT: &str = "confined.json";

/// The rights of one program, in absolute paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The guarantees that must be given, or nothing runs.
    pub require: BTreeSet<Guarantee>,
    /// Files and directories that may be written.
    pub write: Vec<PathBuf>,
    /// Directories of its own that stand in the place of others, such as `/tmp`: its own, and the other. Only in a
    /// namespace.
    pub private: Vec<(PathBuf, PathBuf)>,
    /// Directories that may be written in their place where there is no namespace.
    #[serde(default)]
    pub shared: Vec<PathBuf>,
    /// Files and directories that may not be read.
    pub deny: Vec<PathBuf>,
    /// Directories in which other programs have their sockets. Only in a namespace; without one no socket can be made.
    pub mask: Vec<PathBuf>,
    /// Places that may be read below `deny` and `mask` all the same.
    pub read: Vec<PathBuf>,
    /// The part of the network that may be reached.
    pub network: Network,
    /// Namespaces are tried.
    pub namespace: bool,
    /// The program brings a sandbox of its own, which Landlock's rules for files would break.
    pub nested: bool,
    /// The newest version of Landlock that is used; for tests, and for kernels whose newest one is broken.
    #[serde(default)]
    pub most: Option<u32>,
    /// The path of the report.
    #[serde(default)]
    pub report: PathBuf,
}

impl Profile {
    /// Tells whether something in what may be written may not be: only mounts can say that.
    fn has_holes(&self) -> bool {
        let in_written = |path: &PathBuf| self.write.iter().any(|write| path.starts_with(write) && path != write);
        self.deny.iter().chain(&self.read).any(in_written)
    }

    /// Writes it into a directory that the program cannot write to, and sees to it that no earlier report stands there.
    /// Returns where it is.
    pub fn write(&mut self, dir: &Path) -> io::Result<PathBuf> {
        let root = Layout::root_of(dir);
        self.report = dir.join(REPORT);
        files::remove(root, &self.report)?;
        let path = dir.join(PROFILE);
        let text = serde_json::to_vec(self).expect("a profile is JSON");
        files::write_atomic(root, &path, &text, Durable::No)?;
        Ok(path)
    }
}

/// The means that a machine has for it. seccomp is always there: a kernel without it runs nothing confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    /// The version of Landlock; 0 where there is none.
    pub landlock: u32,
    /// Namespaces for users and mounts.
    pub namespace: bool,
}

impl Means {
    /// Says in words what it has, e.g. `namespace, Landlock 7, seccomp`.
    pub fn words(self) -> String {
        let landlock = (self.landlock > 0).then(|| format!("Landlock {}", self.landlock));
        let namespace = self.namespace.then(|| "namespace".to_owned());
        namespace.into_iter().chain(landlock).chain(["seccomp".to_owned()]).collect::<Vec<_>>().join(", ")
    }

    /// Tells whether sockets of other programs can be kept away only by making none.
    pub(super) fn forbids_unix(self, network: &Network) -> bool {
        let abstract_ones = self.landlock >= 6 || matches!(network, Network::None | Network::Proxy(_));
        !(self.namespace && abstract_ones)
    }
}

/// The result of it: `confined.json` in the attempt's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The program was confined, and then executed.
    pub applied: bool,
    /// The guarantees that were given.
    pub guarantees: BTreeSet<Guarantee>,
    /// The means that gave them.
    pub means: Means,
    /// The reason why there is no namespace, where one was wanted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<String>,
    /// The reason why it was not confined.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// The reason why the program could not be executed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exec: Option<String>,
}

impl Report {
    /// Reads the report of the program that was confined with its profile in this directory; `None` when there is none,
    /// so that the program did not run.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(REPORT);
        let text = files::read(Layout::root_of(&path), &path, files::RECORD)?;
        Ok(text.map(|text| serde_json::from_slice(&text)).transpose()?)
    }

    /// Reads the report of a program that has run; says why, where it did not run confined.
    pub fn ran(dir: &Path) -> Result<Self, String> {
        let report =
            Self::read(dir).map_err(|error| format!("its report cannot be read: {error}"))?.unwrap_or_default();
        report.failure().map_or(Ok(()), |why| Err(why.to_owned()))?;
        Ok(report)
    }

    /// Says why the program did not run confined; `None` when it did.
    pub fn failure(&self) -> Option<&str> {
        (!self.applied).then(|| self.error.as_deref().unwrap_or("what confines it was ended before it could"))
    }
}

/// Returns what these means can give to a profile.
pub fn given(means: Means, profile: &Profile) -> BTreeSet<Guarantee> {
    let Means { landlock, namespace } = means;
    // Landlock's rules for files forbid mounts, which a sandbox inside needs.
    let files = if profile.nested { 0 } else { landlock };
    // They only allow, and what is allowed is so with all that lies in it.
    let ruled = if profile.has_holes() { 0 } else { files };
    // A domain needs something to restrict: without rules for files that are the scopes, since version 6.
    let domain = files >= 1 || landlock >= 6;
    Guarantee::ALL
        .into_iter()
        .filter(|guarantee| match guarantee {
            // Before version 3 a file that may only be read can be truncated.
            Guarantee::Files => namespace || ruled >= 3,
            Guarantee::Metadata => namespace,
            Guarantee::Secrets => namespace || ruled >= 1,
            Guarantee::Environ => domain,
            Guarantee::Processes => landlock >= 6,
            Guarantee::Sockets => true,
            Guarantee::Network => match profile.network {
                Network::All => false,
                Network::None | Network::Ports(_) => true,
                Network::Proxy(_) => namespace,
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(landlock: u32, namespace: bool, profile: &Profile) -> String {
        let given = given(Means { landlock, namespace }, profile);
        given.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_a_machine_can_give_is_a_table() {
        let plain = Profile::default();
        let nested = Profile { nested: true, ..Profile::default() };
        let proxied = Profile { network: Network::Proxy(([127, 0, 0, 1], 3128).into()), ..Profile::default() };
        let closed = Profile { network: Network::None, ..Profile::default() };
        let hole = |path: &str| Profile { write: vec!["/p".into()], deny: vec![path.into()], ..Profile::default() };
        let (beside, holes) = (hole("/pq"), hole("/p/q"));
        for (landlock, namespace, profile, expected) in [
            (0, false, &plain, "sockets"),
            (1, false, &plain, "secrets environ sockets"),
            (2, false, &plain, "secrets environ sockets"),
            (3, false, &plain, "files secrets environ sockets"),
            (5, false, &plain, "files secrets environ sockets"),
            (6, false, &plain, "files secrets environ processes sockets"),
            (0, true, &plain, "files metadata secrets sockets"),
            (7, true, &plain, "files metadata secrets environ processes sockets"),
            (7, true, &nested, "files metadata secrets environ processes sockets"),
            (5, true, &nested, "files metadata secrets sockets"),
            (7, false, &nested, "environ processes sockets"),
            (7, false, &beside, "files secrets environ processes sockets"),
            (7, false, &holes, "environ processes sockets"),
            (7, true, &holes, "files metadata secrets environ processes sockets"),
            (7, true, &proxied, "files metadata secrets environ processes sockets network"),
            (7, false, &proxied, "files secrets environ processes sockets"),
            (7, true, &closed, "files metadata secrets environ processes sockets network"),
        ] {
            assert_eq!(words(landlock, namespace, profile), expected, "{landlock} {namespace} {profile:?}");
        }
    }

    #[test]
    fn more_means_never_give_less() {
        for profile in [Profile::default(), Profile { nested: true, ..Profile::default() }] {
            for landlock in 0..10 {
                for namespace in [false, true] {
                    let has = given(Means { landlock, namespace }, &profile);
                    assert!(has.is_subset(&given(Means { landlock: landlock + 1, namespace }, &profile)));
                    assert!(has.is_subset(&given(Means { landlock, namespace: true }, &profile)));
                }
            }
        }
    }

    #[test]
    fn without_a_namespace_no_unix_socket_is_made_rather_than_any() {
        let means = |landlock, namespace| Means { landlock, namespace };
        assert!(means(9, false).forbids_unix(&Network::All));
        assert!(means(5, true).forbids_unix(&Network::All), "abstract ones are reached");
        assert!(!means(5, true).forbids_unix(&Network::None), "a network of its own has abstract ones of its own");
        assert!(!means(6, true).forbids_unix(&Network::All));
    }
}
