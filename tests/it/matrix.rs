//! Killed, or failed, at every system call that leaves something on the disk: seen from outside, by a tracer that
//! does it to the real program (R2, R14, R15). What fails inside a commit is `store::failing`'s business.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Project, eventually,
    tools::{available, injected, traced},
    witness::Witness,
};

/// What leaves something on the disk, or decides about it.
const CALLS: [&str; 6] = [
    "fsync,fdatasync",
    "rename,renameat,renameat2",
    "unlink,unlinkat",
    "flock",
    "write,pwrite64,writev",
    "mkdir,mkdirat,ftruncate,fallocate",
];

/// The walks that are killed or failed somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    /// Claim, run and settle one task.
    Claim,
    /// Settle an attempt that ran before the tracer came.
    Settle,
    /// Renew the lease of an attempt that goes on.
    Renew,
    /// Give back what a killed worker held, and claim it.
    Rescue,
    /// A human blocks a task.
    Block,
}

impl Walk {
    const ALL: [Self; 5] = [Self::Claim, Self::Settle, Self::Renew, Self::Rescue, Self::Block];
}

struct Scene {
    witness: Witness,
    project: Project,
}

/// How a walk under the tracer ended.
struct Walked {
    /// In so many calls a fault was put.
    injected: usize,
    trace: String,
}

impl Walked {
    /// Whether some thread came to its `k`th call; each counts its own.
    fn reached(&self, k: usize) -> bool {
        let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
        for line in self.trace.lines() {
            let Some((thread, what)) = line.split_once(' ') else { continue };
            if !what.trim_start().starts_with(['<', '+', '-']) {
                *calls.entry(thread).or_default() += 1;
            }
        }
        calls.values().any(|count| *count >= k)
    }

    /// Which of some thread's calls made a file or cut one.
    fn making(&self) -> BTreeSet<usize> {
        let (mut calls, mut making) = (BTreeMap::<&str, usize>::new(), BTreeSet::new());
        for line in self.trace.lines() {
            let Some((thread, what)) = line.split_once(' ') else { continue };
            if !what.trim_start().starts_with(['<', '+', '-']) {
                let count = calls.entry(thread).or_default();
                *count += 1;
                if what.contains("O_CREAT") || what.contains("O_TRUNC") {
                    making.insert(*count);
                }
            }
        }
        making
    }
}

impl Scene {
    fn new() -> Self {
        let witness = Witness::new();
        let project = Project::new(&witness.script());
        project.queue(Witness::tasks(2));
        Self { witness, project }
    }

    fn worker(&self) -> Command {
        let mut command = self.project.command("agent-daemon");
        command.args(["--role", "builder", "--once"]);
        command
    }

    fn trace(&self) -> PathBuf {
        self.witness.path("trace")
    }

    /// A worker whose agent runs and waits.
    fn at_work(&self) -> Child {
        self.witness.hold(true);
        let worker = self.witness.run(self.worker());
        eventually("the agent runs", || (!self.witness.started().is_empty()).then_some(()));
        eventually("its start is told", || (!self.project.events_of("attempt.started").is_empty()).then_some(()));
        worker
    }

    /// A walk with a fault in it: `calls` as the tracer names them, `fault` with its `when`.
    fn walk(&self, walk: Walk, calls: &str, fault: &str) -> Walked {
        let args = [format!("--trace={calls}"), format!("--inject={calls}:{fault}")];
        match walk {
            Walk::Claim => self.end(self.witness.run(traced(&self.worker(), &self.trace(), args)), None),
            Walk::Block => {
                let mut human = self.project.command("agentctl");
                human.args(["task", "block", "T1", "--reason", "later"]);
                self.end(self.witness.run(traced(&human, &self.trace(), args)), None)
            }
            Walk::Rescue => {
                let mut worker = self.at_work();
                worker.kill().expect("killed");
                worker.wait().expect("a child");
                self.witness.hold(false);
                self.end(self.witness.run(traced(&self.worker(), &self.trace(), args)), None)
            }
            Walk::Settle | Walk::Renew => {
                self.project.config(if walk == Walk::Renew { "[roles.builder]\nttl = \"3s\"" } else { "" });
                let worker = self.at_work();
                let mut tracer = Command::new("strace");
                tracer.args(["-f", "-o"]).arg(self.trace()).args(args).args(["-p", &worker.id().to_string()]);
                let words = self.witness.path("tracer");
                let tracer = tracer.stderr(fs::File::create(&words).expect("a file")).spawn().expect("strace starts");
                eventually("the tracer is there", || {
                    fs::read_to_string(&words).is_ok_and(|text| text.contains("attached")).then_some(())
                });
                if walk == Walk::Renew {
                    // Two heartbeats go by, or the worker dies of the first.
                    let injected =
                        || fs::read_to_string(self.trace()).is_ok_and(|text| text.contains("killed by SIGKILL"));
                    let beats = || self.project.leases().first().map(|lease| lease["heartbeat_at"].clone());
                    for _ in 0..2 {
                        let before = beats();
                        let deadline = Instant::now() + Duration::from_millis(2_500);
                        while beats() == before && Instant::now() < deadline && !injected() {
                            thread::sleep(Duration::from_millis(10));
                        }
                    }
                }
                self.witness.hold(false);
                self.end(tracer, Some(worker))
            }
        }
    }

    /// Waits for the end of all of it.
    fn end(&self, mut tracer: Child, mut worker: Option<Child>) -> Walked {
        let deadline = Instant::now() + Duration::from_secs(30);
        let over = |child: &mut Child| child.try_wait().expect("a child").is_some();
        // A worker must be reaped before its tracer sees the end of it.
        while !(worker.as_mut().is_none_or(over) & over(&mut tracer)) {
            assert!(
                Instant::now() < deadline,
                "it does not end: {}\n{}",
                self.witness.said(),
                fs::read_to_string(self.trace()).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(5));
        }
        let trace = fs::read_to_string(self.trace()).unwrap_or_default();
        Walked { injected: injected(&self.trace()), trace }
    }

    /// Whose agent ran without a claim. What a rescue has just given back, the journal may not tell yet.
    fn lost(&self, walk: Walk) -> Vec<(String, u64)> {
        let mut lost = self.witness.lost(&self.project);
        if walk == Walk::Rescue {
            let claims = self.project.events_of("lease.acquired");
            lost.retain(|(task, token)| {
                !claims.iter().any(|event| event["task"] == task.as_str() && event["token"] == *token)
            });
        }
        lost
    }

    /// A human edits the file, then healthy workers end it.
    fn heal(&self, walk: Walk, words: &str) {
        if walk == Walk::Block && self.project.status("T1") == "blocked" {
            let mut human = self.project.command("agentctl");
            human.args(["task", "move", "T1", "ready"]);
            assert!(self.witness.run(human).wait().expect("a child").success(), "{words}: {}", self.witness.said());
        }
        let edited = self.project.text().replacen("\"sprint\": 1,", "\"sprint\": 1, \"by-hand\": [ 1,2 ],", 1);
        self.project.queue_text(&edited);
        self.witness.heal(&self.project);
        assert!(self.project.text().contains("\"sprint\": 1, \"by-hand\": [ 1,2 ],"), "{words}: nobody's edit is lost");
    }
}

/// Kills the walk at the `k`th of these calls; `false` when there is none.
fn killed_at(walk: Walk, calls: &str, k: usize) -> bool {
    let words = format!("{walk:?} killed at {calls} {k}");
    let scene = Scene::new();
    let walked = scene.walk(walk, calls, &format!("signal=SIGKILL:when={k}"));
    let lost = scene.lost(walk);
    assert!(lost.is_empty(), "{words}: {lost:?}");
    scene.heal(walk, &words);
    walked.reached(k)
}

/// Kills at every `step`th call from the `first` on until there are no more; answers how often.
fn kills(walk: Walk, calls: &str, first: usize, step: usize) -> usize {
    (0..).map(|n| first + n * step).take_while(|k| killed_at(walk, calls, *k)).count()
}

#[test]
fn a_program_killed_at_a_durable_call_leaves_what_the_next_worker_mends() {
    if !available(false, &["strace"]) {
        return;
    }
    let began = Instant::now();
    let mut count = 0;
    for walk in Walk::ALL {
        for calls in &CALLS[..2] {
            count += kills(walk, calls, 1, if walk == Walk::Claim { 1 } else { 2 });
        }
    }
    assert!(count >= 10, "{count}");
    println!("figure: {count} kills at system calls, every one mended, {:.1} s", began.elapsed().as_secs_f64());
}

#[test]
#[ignore = "minutes: run by `make torture`"]
fn kills_at_every_call() {
    let mut count = 0;
    for walk in Walk::ALL {
        for calls in CALLS {
            let kills = kills(walk, calls, 1, 1);
            eprintln!("{walk:?}: {kills} kills at {calls}");
            count += kills;
        }
        // Most of what is opened is only read: those are called that make a file, as they are numbered in a whole walk.
        let whole = Scene::new().walk(walk, "openat", "signal=SIGKILL:when=60000");
        let making = whole.making();
        let kills = making.iter().filter(|k| killed_at(walk, "openat", **k)).count();
        eprintln!("{walk:?}: {kills} kills at openat");
        count += kills;
    }
    println!("figure: {count} kills, one at each durable call of claim, settle, renew, rescue and block: all mended");
}

/// Errors that a disk, or a signal, brings; once each, and from then on.
const ERRORS: [(&str, &str); 7] = [
    ("fsync,fdatasync", "EIO"),
    ("rename,renameat,renameat2", "ENOSPC"),
    ("rename,renameat,renameat2", "EROFS"),
    ("write,pwrite64,writev", "ENOSPC"),
    ("write,pwrite64,writev", "EINTR"),
    ("flock", "EINTR"),
    ("unlink,unlinkat", "EROFS"),
];

/// Fails the walk's `k`th call; `false` when there is none.
fn failed_at(walk: Walk, calls: &str, error: &str, k: usize) -> bool {
    let words = format!("{walk:?} with {error} at {calls} {k}");
    let scene = Scene::new();
    let walked = scene.walk(walk, calls, &format!("error={error}:when={k}"));
    let lost = scene.lost(walk);
    assert!(lost.is_empty(), "{words}: {lost:?}");
    scene.heal(walk, &words);
    walked.injected > 0
}

fn failures(walk: Walk, calls: &str, error: &str, first: usize, step: usize) -> usize {
    (0..).map(|n| first + n * step).take_while(|k| failed_at(walk, calls, error, *k)).count()
}

#[test]
fn a_call_that_fails_loses_nothing() {
    if !available(false, &["strace"]) {
        return;
    }
    let began = Instant::now();
    let mut count = 0;
    for (at, (calls, error)) in ERRORS.into_iter().enumerate() {
        count += failures(Walk::Claim, calls, error, 1 + at % 2, 2);
        count += usize::from(failed_at(Walk::Settle, calls, error, 1));
    }
    assert!(count >= 10, "{count}");
    println!("figure: {count} failed system calls, nothing lost, {:.1} s", began.elapsed().as_secs_f64());
}

#[test]
#[ignore = "minutes: run by `make torture`"]
fn failures_of_every_call() {
    let mut count = 0;
    for walk in Walk::ALL {
        for (calls, error) in ERRORS {
            let failures = failures(walk, calls, error, 1, 1);
            eprintln!("{walk:?}: {failures} times {error} at {calls}");
            count += failures;
        }
    }
    println!(
        "figure: {count} failures, one at each durable call of claim, settle, renew, rescue and block: nothing lost"
    );
}

#[test]
fn a_sync_that_failed_is_never_asked_again_on_the_same_descriptor() {
    if !available(false, &["strace"]) {
        return;
    }
    // The journal's, the queue's temporary file's, the directory's.
    for k in 1..=3 {
        let scene = Scene::new();
        let args = [
            "--trace=openat,fsync,fdatasync,rename,renameat2".into(),
            format!("--inject=fsync,fdatasync:error=EIO:when={k}"),
        ];
        let walked = scene.end(scene.witness.run(traced(&scene.worker(), &scene.trace(), args)), None);
        assert!(walked.injected > 0, "{k}");
        check_syncs(&walked.trace);
        scene.heal(Walk::Claim, &format!("sync {k} failed"));
    }
}

/// After a failed sync of a descriptor its number must be opened anew before it is synced again.
fn check_syncs(trace: &str) {
    let mut broken: Vec<(&str, &str)> = Vec::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(fd) = call.strip_prefix("fsync(").or_else(|| call.strip_prefix("fdatasync(")) {
            let fd = fd.split(|c: char| !c.is_ascii_digit()).next().expect("a number");
            assert!(!broken.contains(&(thread, fd)), "synced again: {line}\n{trace}");
            if line.contains("EIO") {
                broken.push((thread, fd));
            }
        } else if call.contains("openat")
            && let Some((_, fd)) = line.rsplit_once("= ")
        {
            broken.retain(|(_, old)| *old != fd.trim());
        }
    }
}
