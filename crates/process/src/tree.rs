//! Families of processes: who descends from whom, and how to signal and end them all.
//!
//! Why, and with how much patience, the shim and the sweep decide.

use std::collections::{HashMap, HashSet};

use rustix::process::Signal;

use super::platform::Handle;
use oodatcaa_sys::identity::Process;

/// How often newcomers are looked for while a family is frozen. A family that forks faster than it
/// can be listed is met again in the caller's next round.
const FREEZE_ROUNDS: u32 = 30;

/// Returns those of `all` that descend from one of `roots`, without the roots.
pub(super) fn below(all: &[Process], roots: impl IntoIterator<Item = u32>) -> Vec<Process> {
    let mut children: HashMap<u32, Vec<&Process>> = HashMap::new();
    for seen in all {
        children.entry(seen.parent).or_default().push(seen);
    }
    let mut open: Vec<u32> = roots.into_iter().collect();
    let mut known: HashSet<u32> = open.iter().copied().collect();
    let mut found = Vec::new();
    while let Some(parent) = open.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if known.insert(child.pid) {
                open.push(child.pid);
                found.push(**child);
            }
        }
    }
    found
}

/// Lists the descendants of a process, as they are now.
pub(super) fn descendants(of: u32) -> Vec<Process> {
    below(&Process::all(), [of])
}

/// Signals the process that was seen, and nobody who may have got its number since.
pub(super) fn send(seen: &Process, signal: Signal) -> bool {
    // The handle first: what is read after it belongs to the process that it holds, or nobody gets the signal.
    let Some(handle) = Handle::open(seen.pid) else { return false };
    Process::look(seen.pid).is_some_and(|now| now.started == seen.started) && handle.send(signal)
}

/// Asks processes to end; those that are stopped are woken to hear it.
pub(super) fn terminate(family: &[Process]) {
    for seen in family.iter().filter(|seen| !seen.dead) {
        send(seen, Signal::TERM);
        if seen.stopped {
            send(seen, Signal::CONT);
        }
    }
}

/// Freezes all that `find` finds until it finds nobody new, so that none can fork away, then kills them.
/// Answers whom it met alive.
pub(super) fn kill(mut find: impl FnMut() -> Vec<Process>) -> Vec<Process> {
    let mut frozen = HashSet::new();
    for _ in 0..FREEZE_ROUNDS {
        let newcomers: Vec<Process> = find().into_iter().filter(|seen| frozen.insert(seen.identity())).collect();
        if newcomers.is_empty() {
            break;
        }
        for seen in &newcomers {
            // Frozen before any is killed: a parent that sees its child die may start two.
            send(seen, Signal::STOP);
        }
    }
    let mut family = find();
    for seen in &family {
        send(seen, Signal::KILL);
    }
    family.retain(|seen| !seen.dead);
    family
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(pid: u32, parent: u32) -> Process {
        Process { pid, parent, session: 1, started: 1, cpu: 0, dead: false, stopped: false }
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_in_any_order() {
        let all = [seen(5, 4), seen(4, 3), seen(3, 2), seen(9, 8), seen(2, 1), seen(6, 3)];
        let mut pids: Vec<u32> = below(&all, [3]).iter().map(|seen| seen.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [4, 5, 6]);
    }

    proptest! {
        #[test]
        fn exactly_those_are_below_whose_line_leads_to_a_root(
            parents in proptest::collection::vec(0..12u32, 1..40),
            roots in proptest::collection::hash_set(0..40u32, 0..4),
        ) {
            // Each one's parent was born before it; 0 is nobody.
            let all: Vec<Process> = (1..).zip(&parents).map(|(pid, parent)| seen(pid, *parent % pid)).collect();
            let parent_of = |pid: u32| all.iter().find(|seen| seen.pid == pid).map(|seen| seen.parent);
            let leads = |pid: u32| std::iter::successors(parent_of(pid), |pid| parent_of(*pid)).any(|at| roots.contains(&at));
            let mut expected: Vec<u32> =
                all.iter().map(|seen| seen.pid).filter(|pid| !roots.contains(pid) && leads(*pid)).collect();
            let mut found: Vec<u32> = below(&all, roots.iter().copied()).iter().map(|seen| seen.pid).collect();
            expected.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_family_that_seems_to_be_its_own_ancestor_does_not_loop() {
        let all = [seen(2, 3), seen(3, 2)];
        assert_eq!(below(&all, [2]).len(), 1);
    }

    #[test]
    fn a_number_given_to_another_process_gets_no_signal() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep is there");
        let mut one = Process::look(child.id()).expect("it runs");
        one.started -= 1;
        assert!(!send(&one, Signal::KILL));
        assert!(Process::look(child.id()).is_some_and(|now| !now.dead));
        one.started += 1;
        assert!(send(&one, Signal::KILL));
        child.wait().expect("our own child");
    }
}
