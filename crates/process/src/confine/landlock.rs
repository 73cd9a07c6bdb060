//! Landlock: what may be written and read, whom it may signal, where it may connect to.

#![expect(clippy::disallowed_methods, reason = "what lies beside a secret is listed, and only that")]

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};

use super::{Failed, Means, Network, Profile};

/// The newest version whose rights we ask for.
const NEWEST: u32 = 7;

/// Devices that programs write to.
const DEVICES: [&str; 8] = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts"];

/// Returns the version of Landlock that this kernel has, at most `most`; 0 where there is none.
///
/// Asked for by what is refused: a ruleset restricts nobody before it is applied.
pub(super) fn version(most: Option<u32>) -> u32 {
    let most = most.unwrap_or(NEWEST).min(NEWEST);
    (1..=most).rev().find(|version| rules(*version, true, false).is_ok()).unwrap_or(0)
}

/// Begins a ruleset that handles all rights of a version, every one of them or none at all.
fn rules(version: u32, files: bool, ports: bool) -> Result<RulesetCreated, landlock::RulesetError> {
    let abi = ABI::from(i32::try_from(version).unwrap_or_default());
    let mut rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if files {
        rules = rules.handle_access(AccessFs::from_all(abi))?;
    }
    if ports {
        rules = rules.handle_access(AccessNet::ConnectTcp)?;
    }
    if version >= 6 {
        rules = rules.scope(Scope::AbstractUnixSocket | Scope::Signal)?;
    }
    rules.create()
}

/// Applies to this process what the profile says and the version has.
pub(super) fn restrict(profile: &Profile, means: Means) -> Result<(), Failed> {
    let version = means.landlock;
    let ports = match &profile.network {
        Network::Ports(ports) if version >= 4 => Some(ports),
        _ => None,
    };
    let files = version >= 1 && !profile.nested;
    if !files && ports.is_none() && version < 6 {
        // There is nothing that a domain could restrict.
        return rustix::thread::set_no_new_privs(true).map_err(Failed::to("give up new rights"));
    }
    let failed = |error: &dyn std::error::Error| Failed {
        step: "restrict itself by Landlock".into(),
        error: io::Error::other(error.to_string()),
    };
    let mut rules = rules(version, files, ports.is_some()).map_err(|error| failed(&error))?;
    if files {
        let abi = ABI::from(i32::try_from(version).unwrap_or_default());
        let (all, read) = (AccessFs::from_all(abi), AccessFs::from_read(abi));
        let devices = DEVICES.iter().map(|name| Path::new("/dev").join(name));
        // Without a namespace everybody's own would be everybody's.
        let common: Vec<PathBuf> = match means.namespace {
            true => profile.private.iter().map(|(_, to)| to.clone()).collect(),
            false => profile.shared.clone(),
        };
        let written = profile.write.iter().cloned().chain(common).chain(devices).map(|path| (path, all));
        let readable = readable(&profile.read, &profile.deny).into_iter().map(|path| (path, read));
        for (path, access) in written.chain(readable) {
            // What is not there gives nobody anything.
            let Ok(opened) = PathFd::new(&path) else { continue };
            // A file cannot be given what only a directory has.
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(abi) };
            rules = rules.add_rule(PathBeneath::new(opened, access)).map_err(|error| failed(&error))?;
        }
    }
    for port in ports.into_iter().flatten() {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp)).map_err(|error| failed(&error))?;
    }
    rules.restrict_self().map(drop).map_err(|error| failed(&error))
}

/// Lists what may be read: everything but what is denied, and below that what is named. A rule allows and never denies,
/// so what lies beside each denied path is named instead, from the root down to it.
fn readable(named: &[PathBuf], deny: &[PathBuf]) -> Vec<PathBuf> {
    // By what they are: a rule holds for the directory that a link leads to.
    let deny: BTreeSet<PathBuf> = deny.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let mut all = Vec::new();
    let named = named.iter().filter_map(|path| path.canonicalize().ok()).filter(|path| !deny.contains(path));
    let mut open: Vec<PathBuf> = named.chain([PathBuf::from("/")]).collect();
    while let Some(at) = open.pop() {
        match deny.range(at.clone()..).next() {
            Some(next) if *next == at => {}
            Some(next) if next.starts_with(&at) => {
                // One that cannot be listed gives nothing to read either.
                let entries = fs::read_dir(&at).into_iter().flatten().flatten();
                let real = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
                open.extend(real.map(|entry| entry.path()));
            }
            _ => all.push(at),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_read_is_all_but_what_is_denied() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().canonicalize().expect("there").join(name);
        for dir in ["home/.ssh", "home/work", "home/.config/gh", "home/.config/git"] {
            fs::create_dir_all(at(dir)).expect("made");
        }
        fs::write(at("home/.netrc"), "").expect("written");
        fs::write(at("home/.netrc.old"), "").expect("written");
        fs::write(at("home/.config/gh/hosts"), "").expect("written");
        std::os::unix::fs::symlink(at("home/.ssh"), at("home/link")).expect("linked");
        let deny = ["home/.ssh", "home/.config/gh", "home/.netrc", "home/gone"].map(at);
        let all = readable(&[at("home/.config/gh/hosts")], &deny);
        for readable in ["home/work", "home/.config/git", "home/.netrc.old", "home/.config/gh/hosts"] {
            assert!(all.contains(&at(readable)), "{readable}: {all:?}");
        }
        // Neither they nor anything above them, nor a link that leads there.
        for path in &all {
            assert!(!deny.iter().any(|denied| denied.starts_with(path)), "{}", path.display());
            assert_ne!(*path, at("home/link"));
        }
        assert_eq!(readable(&[], &[]), [Path::new("/")]);
    }
}
