//! The power goes out: ext4 and xfs on a loop device, cut off by their shutdown ioctl, mounted again (R2, R15).
//!
//! What the agents did stands outside of that file system, so it is known whatever the cut took.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Project, eventually,
    tools::{Seeded, available, traced},
    witness::Witness,
};

/// A file system to cut off, with the options to mount it.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    make: &'static [&'static str],
    mebibytes: u64,
    options: &'static str,
}

const EXT4: Kind = Kind { name: "ext4", make: &["mkfs.ext4", "-q", "-F"], mebibytes: 24, options: "loop" };
/// Without the heuristics that save programs which forget to sync a file before they rename it.
const EXT4_STRICT: Kind = Kind { name: "ext4, noauto_da_alloc", options: "loop,noauto_da_alloc", ..EXT4 };
const XFS: Kind = Kind { name: "xfs", make: &["mkfs.xfs", "-q", "-f"], mebibytes: 320, options: "loop" };

/// Tells whether a test is alone with its mounts; else it is run once more, by this name, in a namespace of its own.
///
/// Whoever makes a mount namespace meanwhile, every confined program for instance, copies the mounts that it finds, and a
/// file system stays as it is until the last copy is gone: to unmount it and mount it again would show the one that was
/// cut off.
fn is_alone(name: &str) -> bool {
    const MARK: &str = "OODATCAA_TEST_POWER";
    // What is missing is told by the test itself.
    if std::env::var_os(MARK).is_some() || !available(true, &["unshare"]) {
        return true;
    }
    let mut again = Command::new("unshare");
    again.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().expect("this program"));
    again.args([&format!("power::{name}"), "--exact", "--include-ignored", "--nocapture"]).env(MARK, "1");
    let output = again.output().expect("unshare runs");
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // What it says of itself as a test is said once more below.
    for line in told.lines().filter(|line| !line.starts_with("test ") && !line.starts_with("running ")) {
        println!("{line}");
    }
    eprintln!("{said}");
    assert!(output.status.success() && told.contains("1 passed"), "{name}");
    false
}

/// A project on a file system of its own that can lose its power.
struct Machine {
    kind: Kind,
    /// Outside of the file system: its image, the agents' marks, the logs.
    witness: Witness,
    project: Project,
}

impl Machine {
    /// With tasks `T0`, `T1`, … that a builder can take. `None`, and the reason printed, where that cannot be had.
    fn new(kind: Kind, tasks: usize) -> Option<Self> {
        if !available(true, &[kind.make[0], "xfs_io", "mount", "umount"]) {
            return None;
        }
        let machine = Self { kind, witness: Witness::new(), project: Project::that_succeeds() };
        let image = fs::File::create(machine.image()).expect("an image");
        image.set_len(kind.mebibytes << 20).expect("a sparse file");
        let made = Command::new(kind.make[0]).args(&kind.make[1..]).arg(machine.image()).output().expect("mkfs runs");
        assert!(made.status.success(), "{made:?}");
        if !machine.mount() {
            eprintln!("skipped: a loop device with {} cannot be mounted here", kind.name);
            return None;
        }
        let project = &machine.project;
        fs::create_dir_all(project.path(".oodatcaa/work")).expect("a directory");
        project.script("agent.sh", &machine.witness.script());
        project.config("");
        project.queue(Witness::tasks(tasks));
        machine.sync();
        Some(machine)
    }

    fn image(&self) -> PathBuf {
        self.witness.path("image")
    }

    fn mount(&self) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", self.kind.options]).arg(self.image()).arg(self.project.root());
        mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn sync(&self) {
        let root = fs::File::open(self.project.root()).expect("the root");
        rustix::fs::syncfs(root).expect("synced");
    }

    /// From here on nothing reaches the disk any more.
    fn cut(&self) {
        let cut = Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(self.project.root()).output();
        let cut = cut.expect("xfs_io runs");
        assert!(cut.status.success(), "{cut:?}");
    }

    /// The machine is gone with all its processes, and starts again.
    fn restart(&self, running: Option<Child>) {
        if let Some(mut child) = running {
            let _ = child.kill();
            let _ = child.wait();
        }
        eventually("all processes are gone", || self.project.agents().is_empty().then_some(()));
        eventually("it is unmounted", || {
            let done = Command::new("umount").arg(self.project.root()).stderr(Stdio::null()).status();
            done.expect("umount runs").success().then_some(())
        });
        assert!(self.mount(), "the file system is whole");
    }

    fn worker(&self, args: &[&str]) -> Command {
        let mut command = self.project.command("agent-daemon");
        command.args(["--role", "builder"]).args(args);
        command
    }

    fn once(&self) -> bool {
        self.witness.run(self.worker(&["--once"])).wait().expect("a child").success()
    }

    /// What was told as settled before the cut has survived it.
    fn check_settled(&self) {
        for line in self.witness.said().lines() {
            let settled = line.split_once(": done → awaiting_test").and_then(|(before, _)| before.rsplit(' ').next());
            if let Some(task) = settled {
                assert_eq!(
                    self.project.status(task),
                    "awaiting_test",
                    "{task} was told as settled\n{}",
                    self.witness.said()
                );
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.project.root()).stderr(Stdio::null()).status();
    }
}

/// The cut comes when the agent has just started, and never tells what it did.
fn after_a_claim(kind: Kind) -> Option<()> {
    let machine = Machine::new(kind, 2)?;
    machine.witness.hold(true);
    let worker = machine.witness.run(machine.worker(&["--once"]));
    eventually("the agent runs", || (!machine.witness.started().is_empty()).then_some(()));
    machine.cut();
    machine.restart(Some(worker));
    assert_eq!(machine.witness.lost(&machine.project), [], "{}: no agent ran for a claim that is lost", kind.name);
    machine.witness.heal(&machine.project);
    Some(())
}

/// The cut comes when a settlement, and a human's command, were just told as done.
fn after_a_settlement(kind: Kind) -> Option<()> {
    let machine = Machine::new(kind, 2)?;
    assert!(machine.once(), "{}", machine.witness.said());
    machine.cut();
    machine.restart(None);
    assert_eq!(machine.witness.lost(&machine.project), []);
    assert_eq!(machine.project.status("T0"), "awaiting_test", "{}: an acknowledged settlement survives", kind.name);
    machine.check_settled();

    let mut human = machine.project.command("agentctl");
    human.args(["task", "block", "T1", "--reason", "later"]);
    assert!(machine.witness.run(human).wait().expect("a child").success(), "{}", machine.witness.said());
    machine.cut();
    machine.restart(None);
    assert_eq!(machine.project.status("T1"), "blocked", "{}: a human's acknowledged command survives", kind.name);
    let mut human = machine.project.command("agentctl");
    human.args(["task", "unblock", "T1"]);
    assert!(machine.witness.run(human).wait().expect("a child").success(), "{}", machine.witness.said());
    machine.witness.heal(&machine.project);
    Some(())
}

/// The cut comes at some moment of work on several tasks.
fn at_any_moment(kind: Kind, random: &mut Seeded) -> Option<()> {
    let machine = Machine::new(kind, 8)?;
    let pause = Duration::from_micros(random.next(250_000));
    let worker = machine.witness.run(machine.worker(&["--interval", "1s", "--slots", "2"]));
    eventually("it works", || machine.witness.said().contains(" watches ").then_some(()));
    thread::sleep(pause);
    machine.cut();
    machine.restart(Some(worker));
    assert_eq!(machine.witness.lost(&machine.project), [], "{} after {pause:?}", kind.name);
    machine.check_settled();
    machine.witness.heal(&machine.project);
    Some(())
}

fn cuts(kind: Kind, moments: usize, seed: u64) {
    let began = Instant::now();
    let mut random = Seeded::new(&format!("power cuts on {}", kind.name), seed);
    let mut cuts = 0;
    for _ in 0..moments.div_ceil(4) {
        if after_a_claim(kind).is_none() || after_a_settlement(kind).is_none() {
            return;
        }
        cuts += 3;
    }
    for _ in 0..moments {
        if at_any_moment(kind, &mut random).is_none() {
            return;
        }
        cuts += 1;
    }
    println!("figure: {}: {cuts} power cuts, nothing lost, {:.1} s", kind.name, began.elapsed().as_secs_f64());
}

#[test]
fn a_power_cut_on_ext4_loses_nothing_that_was_told() {
    if is_alone("a_power_cut_on_ext4_loses_nothing_that_was_told") {
        cuts(EXT4, 2, 1);
    }
}

#[test]
fn a_power_cut_on_ext4_without_its_heuristics_loses_nothing_that_was_told() {
    if is_alone("a_power_cut_on_ext4_without_its_heuristics_loses_nothing_that_was_told") {
        cuts(EXT4_STRICT, 3, 2);
    }
}

#[test]
fn a_power_cut_on_xfs_loses_nothing_that_was_told() {
    if is_alone("a_power_cut_on_xfs_loses_nothing_that_was_told") {
        cuts(XFS, 3, 3);
    }
}

#[test]
#[ignore = "minutes: run by `make torture`"]
fn power_cuts_at_full_size() {
    if !is_alone("power_cuts_at_full_size") {
        return;
    }
    for (seed, kind) in [EXT4, EXT4_STRICT, XFS].into_iter().enumerate() {
        cuts(kind, 40, 1_000 + seed as u64);
    }
}

/// How many of these cuts lose a claim whose agent ran, when these calls do nothing and say that they did.
/// The journal never reaches the disk: what makes a claim durable is then the queue alone.
fn lost_without(kind: Kind, tries: usize, calls: &str, of: impl Fn(&Path) -> Vec<PathBuf>) -> Option<usize> {
    let mut lost = 0;
    for _ in 0..tries {
        let machine = Machine::new(kind, 1)?;
        machine.witness.hold(true);
        let work = machine.project.path(".oodatcaa/work");
        let mut args = vec![format!("--inject={calls}:retval=0"), format!("--trace={calls}")];
        for path in of(&work) {
            args.extend(["-P".into(), path.display().to_string()]);
        }
        let worker = traced(&machine.worker(&["--once"]), &machine.witness.path("trace"), args);
        let worker = machine.witness.run(worker);
        eventually("the agent runs", || (!machine.witness.started().is_empty()).then_some(()));
        machine.cut();
        Witness::end_all(machine.project.root());
        machine.restart(Some(worker));
        if machine.witness.lost(&machine.project).is_empty() {
            machine.witness.heal(&machine.project);
        } else {
            lost += 1;
        }
    }
    Some(lost)
}

#[test]
fn a_claim_is_durable_by_the_queue_alone_and_that_is_the_directorys_sync() {
    if !is_alone("a_claim_is_durable_by_the_queue_alone_and_that_is_the_directorys_sync") {
        return;
    }
    for kind in [EXT4, XFS] {
        if !available(true, &["strace"]) {
            return;
        }
        let journal = |work: &Path| vec![work.join("events.jsonl")];
        let Some(lost) = lost_without(kind, 1, "fsync,fdatasync", journal) else { return };
        assert_eq!(lost, 0, "{}: the directory's sync keeps the claim", kind.name);
        // Without it a power cut takes the claim of an agent that runs: these tests would see it.
        let both = |work: &Path| vec![work.join("events.jsonl"), work.to_owned()];
        let lost = lost_without(kind, 2, "fsync,fdatasync", both).expect("as before");
        assert!(lost > 0, "{}: nothing was lost without the directory's sync: the cut is not seen", kind.name);
        println!(
            "figure: {}: without the sync of the directory {lost} of 2 cuts lose a claim; with it none",
            kind.name
        );
    }
}
