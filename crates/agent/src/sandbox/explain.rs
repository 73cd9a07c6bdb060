//! Which rule of a profile allows or denies a path.

use std::path::{Path, PathBuf};

use oodatcaa_process::confine::Profile;

/// The word of a profile about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `true` where it may be done.
    pub allowed: bool,
    /// The path that the rule is about; nothing where the rule is for all that has none of its own.
    pub by: Option<PathBuf>,
    /// The rule, in words.
    pub rule: &'static str,
}

/// The rule for what is hidden by something of the program's own.
pub(super) const OWN: &str = "it has one of its own there";

/// Says whether a program with this profile may read or write a path, and which rule says so. With a namespace the
/// innermost rule counts, as the mounts do.
pub fn explain(profile: &Profile, path: &Path, write: bool) -> Verdict {
    let private = profile.private.iter().map(|(_, at)| at);
    let rules = [
        (Rule::Write, profile.write.iter().collect::<Vec<_>>()),
        (Rule::Private, private.collect()),
        (Rule::Shared, if profile.namespace { Vec::new() } else { profile.shared.iter().collect() }),
        (Rule::Deny, profile.deny.iter().collect()),
        (Rule::Mask, profile.mask.iter().filter(|_| profile.namespace).collect()),
        (Rule::Read, profile.read.iter().collect()),
    ];
    let said = rules.iter().flat_map(|(rule, paths)| paths.iter().map(move |path| (*rule, *path)));
    let innermost = said.filter(|(_, at)| path.starts_with(at)).max_by_key(|(rule, at)| (at.as_os_str().len(), *rule));
    let verdict = |allowed, by: Option<&PathBuf>, rule| Verdict { allowed, by: by.cloned(), rule };
    match innermost {
        Some((Rule::Write, at)) => verdict(true, Some(at), "it may be written"),
        Some((Rule::Private, at)) => verdict(true, Some(at), OWN),
        Some((Rule::Shared, at)) => verdict(true, Some(at), "everybody writes there"),
        Some((Rule::Deny, at)) => verdict(false, Some(at), "it is kept secret"),
        Some((Rule::Mask, at)) => verdict(false, Some(at), "sockets of other programs are there"),
        Some((Rule::Read, at)) if write => verdict(false, Some(at), "it may only be read"),
        Some((Rule::Read, at)) => verdict(true, Some(at), "it may be read"),
        None if write && DEVICES.iter().any(|device| path.starts_with(device)) => {
            verdict(true, None, "everybody needs it")
        }
        None if write => verdict(false, None, "only what is named may be written"),
        None => verdict(true, None, "everything may be read that is not kept secret"),
    }
}

/// The kinds of rules; of two about the same path the later one counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    Private,
    Shared,
    Mask,
    Deny,
    Read,
    Write,
}

/// Devices that every program writes to.
const DEVICES: [&str; 8] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"];
