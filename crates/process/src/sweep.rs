//! Ends what an attempt left running when its worker, or also its shim, is dead.
//!
//! A process is the attempt's when it carries the attempt's tag in its environment, is the living
//! shim that the attempt's directory names, or descends from such a one. Nobody else is touched.

use std::{
    collections::HashSet,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    platform, tree,
    wire::{MODE, ShimRecord, TAG},
};
use oodatcaa_sys::identity::{self, Process};

/// Longest time that is spent on asking before killing.
const GENTLE: Duration = Duration::from_secs(1);

/// How often a process that was signalled is looked at.
const PACE: Duration = Duration::from_millis(5);

/// How long killed processes get before the next round.
const ROUND: Duration = Duration::from_millis(200);

/// Lists the processes that belong to the attempt with this directory.
pub fn leftovers(run_dir: &Path) -> Vec<u32> {
    let found = Scope::new(run_dir, None).find();
    found.ours.iter().chain(&found.spared).map(|seen| seen.pid).collect()
}

/// Returns those of `all` that belong to the attempt with this directory.
pub(super) fn members(all: &[Process], run_dir: &Path) -> Vec<Process> {
    let found = Scope::new(run_dir, None).find_in(all);
    found.ours.into_iter().chain(found.spared).collect()
}

/// Ends all that belongs to the attempt with this directory and sees it gone. Answers how many processes
/// (the shim not counted) were ended, or after `wait` who is still there.
///
/// A living shim is told to do it. The calling process and its ancestors are never ended, only named.
pub fn end_leftovers(run_dir: &Path, wait: Duration) -> Result<u32, Vec<u32>> {
    end(&Scope::new(run_dir, None), wait)
}

/// Does what [`end_leftovers`] does, and also ends those in the session of a dead shim, which the caller has not reaped yet, and
/// those that were seen below it while it lived.
pub(super) fn end_session(
    run_dir: &Path,
    shim: u32,
    family: HashSet<(u32, u64)>,
    wait: Duration,
) -> Result<u32, Vec<u32>> {
    end(&Scope { family, ..Scope::new(run_dir, Some(shim)) }, wait)
}

fn end(scope: &Scope, wait: Duration) -> Result<u32, Vec<u32>> {
    let begun = Instant::now();
    let gentle = (wait / 2).min(GENTLE);
    let mut met: HashSet<(u32, u64)> = HashSet::new();

    let first = scope.find();
    met.extend(first.ours.iter().map(Process::identity));
    let shim = scope.shim().and_then(|pid| first.ours.iter().find(|seen| seen.pid == pid).copied());
    if let Some(shim) = shim {
        met.remove(&shim.identity());
        // Without its worker it is ending the tree already; the second signal means "now".
        // Not killed at once: what it knows of the exit would be lost with it.
        for until in [begun + gentle, begun + gentle + gentle / 2] {
            tree::send(&shim, Signal::TERM);
            tree::send(&shim, Signal::CONT);
            if all_gone_by(&[shim], until) {
                break;
            }
        }
    } else {
        tree::terminate(&first.ours);
        all_gone_by(&first.ours, begun + gentle);
    }

    loop {
        let found = scope.find();
        if found.ours.is_empty() && found.spared.is_empty() {
            return Ok(u32::try_from(met.len()).unwrap_or(u32::MAX));
        }
        // Looked at before it is given up: the last round may have ended them.
        let late = begun.elapsed() >= wait;
        if found.ours.is_empty() || late {
            return Err(found.ours.iter().chain(&found.spared).map(|seen| seen.pid).collect());
        }
        let killed = tree::kill(|| scope.find().ours);
        met.extend(killed.iter().filter(|seen| shim.is_none_or(|k| k.pid != seen.pid)).map(Process::identity));
        all_gone_by(&killed, (begun + wait).min(Instant::now() + ROUND));
    }
}

/// Waits until none of these runs any more.
fn all_gone_by(family: &[Process], until: Instant) -> bool {
    loop {
        if !family.iter().any(|seen| identity::alive(seen.pid, seen.started)) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(PACE);
    }
}

/// How the processes of one attempt are recognised.
struct Scope {
    tags: Vec<Vec<u8>>,
    shim: Option<ShimRecord>,
    session: Option<u32>,
    /// Also these, whatever they have made of their environment and session.
    family: HashSet<(u32, u64)>,
}

/// Who was found, all alive.
#[derive(Default)]
struct Found {
    ours: Vec<Process>,
    /// Ours, too, but this process descends from them.
    spared: Vec<Process>,
}

impl Scope {
    fn new(run_dir: &Path, session: Option<u32>) -> Self {
        // In a copy of a project the record is the original's, which is nobody's business here.
        let ours = |record: &ShimRecord| record.boot_id == identity::boot_id() && record.is_of(run_dir);
        let shim = ShimRecord::read(run_dir).filter(ours);
        let real = run_dir.canonicalize().ok();
        // The worker may have reached the directory by another path than we do, and it may have been moved since.
        let theirs = shim.as_ref().map(|record| record.run_dir.clone());
        let mut paths: Vec<PathBuf> = std::path::absolute(run_dir).ok().into_iter().chain(real).chain(theirs).collect();
        paths.sort();
        paths.dedup();
        let tag = |path: &PathBuf| [TAG.as_bytes(), b"=", path.as_os_str().as_bytes()].concat();
        Self { tags: paths.iter().map(tag).collect(), shim, session, family: HashSet::new() }
    }

    /// Returns the process id of the shim, if it lives and is one. What stands in the directory the agent may have written.
    fn shim(&self) -> Option<u32> {
        let record = self.shim.as_ref()?;
        // Number and start time could be copied from any process of this boot by who writes the record.
        let is_shim = platform::arguments(record.pid).get(1).is_some_and(|word| word == MODE.as_bytes());
        (is_shim && identity::alive(record.pid, record.started)).then_some(record.pid)
    }

    fn find(&self) -> Found {
        self.find_in(&Process::all())
    }

    fn find_in(&self, all: &[Process]) -> Found {
        let me = std::process::id();
        let shim = self.shim();
        let is_root = |seen: &Process| {
            Some(seen.pid) == shim
                || Some(seen.session) == self.session
                || self.family.contains(&seen.identity())
                || self.tags.iter().any(|tag| platform::carries(seen.pid, tag))
        };
        let roots: Vec<Process> =
            all.iter().filter(|seen| !seen.dead && seen.pid != me && is_root(seen)).copied().collect();
        let below = tree::below(all, roots.iter().map(|seen| seen.pid));
        let ancestors = ancestors(all, me);
        let mut found = Found::default();
        for seen in roots.into_iter().chain(below).filter(|seen| !seen.dead && seen.pid != me) {
            let list = if ancestors.contains(&seen.pid) { &mut found.spared } else { &mut found.ours };
            list.push(seen);
        }
        found
    }
}

fn ancestors(all: &[Process], of: u32) -> HashSet<u32> {
    let mut found = HashSet::new();
    let mut next = of;
    while let Some(seen) = all.iter().find(|seen| seen.pid == next) {
        if !found.insert(seen.parent) {
            break;
        }
        next = seen.parent;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_reach_up_to_the_first_process() {
        let all = Process::all();
        let found = ancestors(&all, std::process::id());
        let parent = std::os::unix::process::parent_id();
        assert!(found.contains(&parent));
        assert!(!found.contains(&std::process::id()));
    }

    #[test]
    fn a_copy_of_an_attempts_directory_names_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, moved, copy) = (dir.path().join("1"), dir.path().join("moved"), dir.path().join("copy"));
        for dir in [&first, &copy] {
            std::fs::create_dir(dir).expect("made");
        }
        let record = ShimRecord::of_this_process(&first).expect("it is there");
        record.write().expect("written");
        std::fs::copy(first.join("shim.json"), copy.join("shim.json")).expect("copied");
        assert!(Scope::new(&first, None).shim.is_some());
        assert!(Scope::new(&copy, None).shim.is_none());
        std::fs::rename(&first, &moved).expect("moved");
        assert!(Scope::new(&moved, None).shim.is_some());
    }

    #[test]
    fn a_device_or_a_pipe_in_the_place_of_a_shims_record_names_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let record = dir.path().join("shim.json");
        for device in ["/dev/zero", "/dev/ptmx"] {
            std::os::unix::fs::symlink(device, &record).expect("a link");
            assert_eq!(end_leftovers(dir.path(), Duration::ZERO), Ok(0), "{device}");
            std::fs::remove_file(&record).expect("removed");
        }
        let made = std::process::Command::new("mkfifo").arg(&record).status().expect("mkfifo");
        assert!(made.success());
        assert_eq!(end_leftovers(dir.path(), Duration::ZERO), Ok(0));
    }

    #[test]
    fn a_directory_that_nobody_works_in_has_no_leftovers() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(leftovers(dir.path()), Vec::<u32>::new());
        assert_eq!(end_leftovers(&dir.path().join("gone"), Duration::ZERO), Ok(0));
    }
}
