//! What a worker uses, and everything that its attempts have started: processes, CPU time, memory.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{platform, sweep, tree};
use oodatcaa_sys::identity::{self, Process};

/// A worker, and where its attempts run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// The worker's process.
    pub pid: u32,
    /// The directories of its attempts: what bears their tag is its own, wherever it has gone.
    pub run_dirs: Vec<PathBuf>,
}

/// What a whole tree of processes uses at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// When the worker was started, in clock ticks since boot: it tells it from others of its number.
    pub started: u64,
    /// For how long the worker has been there.
    pub up: Duration,
    /// How many processes there are, the worker among them.
    pub processes: usize,
    /// The CPU time of all of them, and of their children that have ended.
    pub cpu: Duration,
    /// Bytes of memory that they have for themselves; `None` where the system does not tell of one of them.
    pub memory: Option<u64>,
    /// True if the worker is stopped, as by SIGSTOP.
    pub stopped: bool,
    /// The moment.
    pub at: Instant,
}

/// Measures several workers, each with its whole tree, by one look at all processes; `None` for one that is gone.
pub fn measure(roots: &[Root]) -> Vec<Option<Resources>> {
    let (all, at) = (Process::all(), Instant::now());
    roots.iter().map(|root| of(&all, root, at)).collect()
}

fn of(all: &[Process], root: &Root, at: Instant) -> Option<Resources> {
    let worker = all.iter().find(|seen| seen.pid == root.pid && !seen.dead)?;
    let mut family = vec![*worker];
    family.extend(tree::below(all, [root.pid]));
    let mut known: BTreeSet<u32> = family.iter().map(|seen| seen.pid).collect();
    for dir in &root.run_dirs {
        let more = sweep::members(all, dir);
        family.extend(more.into_iter().filter(|seen| known.insert(seen.pid)));
    }
    let memory = |seen: &Process| match platform::memory(seen.pid) {
        // What has ended since it was seen holds nothing; the kernel's own threads and zombies have none either.
        None if seen.dead || Process::look(seen.pid).is_none_or(|now| now.dead) => Some(0),
        told => told,
    };
    Some(Resources {
        started: worker.started,
        up: identity::since_boot().saturating_sub(identity::ticks(worker.started)),
        processes: family.iter().filter(|seen| !seen.dead).count(),
        cpu: identity::ticks(family.iter().map(|seen| seen.cpu).sum()),
        memory: family.iter().map(memory).sum(),
        stopped: worker.stopped,
        at,
    })
}

impl Resources {
    /// Returns the share of one CPU that was used since an earlier look at the same worker, in percent; `None` where it is
    /// another, or no time has passed.
    pub fn cpu_since(&self, before: &Self) -> Option<f64> {
        let passed = self.at.checked_duration_since(before.at).filter(|passed| !passed.is_zero())?;
        let used = self.cpu.saturating_sub(before.cpu);
        (self.started == before.started).then(|| used.as_secs_f64() / passed.as_secs_f64() * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    struct Family(Child);

    impl Family {
        fn new(script: &str) -> Self {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null());
            Self(command.spawn().expect("sh is there"))
        }

        fn seen(&self) -> Option<Resources> {
            measure(&[Root { pid: self.0.id(), run_dirs: Vec::new() }])[0]
        }

        fn until(&self, what: &str, reached: impl Fn(&Resources) -> bool) -> Resources {
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                if let Some(seen) = self.seen().filter(&reached) {
                    return seen;
                }
                assert!(Instant::now() < deadline, "in vain: {what}: {:?}", self.seen());
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    impl Drop for Family {
        fn drop(&mut self) {
            for seen in tree::descendants(self.0.id()) {
                tree::send(&seen, rustix::process::Signal::KILL);
            }
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_tree_is_measured_with_its_grandchildren() {
        let family = Family::new("sh -c 'sleep 60; :' & wait");
        let seen = family.until("three processes", |seen| seen.processes == 3);
        assert!(seen.memory.is_some_and(|memory| memory > 0), "{seen:?}");
        assert!(!seen.stopped);
    }

    #[test]
    fn what_children_used_that_have_ended_is_counted_and_shows_in_the_share() {
        let family = Family::new("read go; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done & wait; read end");
        let before = family.until("it waits", |seen| seen.processes == 1);
        assert_eq!(before.cpu_since(&before), None, "no time has passed");
        std::io::Write::write_all(&mut family.0.stdin.as_ref().expect("a pipe"), b"go\n").expect("written");
        let after = family.until("the work of an ended child", |now| now.processes == 1 && now.cpu > before.cpu);
        assert!(after.cpu_since(&before).is_some_and(|share| share > 0.0), "{before:?} {after:?}");
        let other = Resources { started: after.started + 1, ..before };
        assert_eq!(after.cpu_since(&other), None, "another process");
    }

    #[test]
    fn one_that_is_gone_is_not_measured() {
        let mut child = Command::new("true").spawn().expect("true is there");
        child.wait().expect("our own child");
        assert_eq!(measure(&[Root { pid: child.id(), run_dirs: Vec::new() }]), [None]);
    }
}
