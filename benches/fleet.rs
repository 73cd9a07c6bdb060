//! `make bench`: what an idle worker costs, and how long a ready task waits, as ratios against a floor
//! that is measured in the same run. Machines are shared and noisy: quote medians and ratios.

#![expect(clippy::print_stdout, reason = "its table is for people")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use fs2::FileExt;
use notify::Watcher;
use serde_json::json;

const DAEMON: &str = env!("CARGO_BIN_EXE_agent-daemon");
const CTL: &str = env!("CARGO_BIN_EXE_agentctl");

fn main() {
    let args: Vec<String> = std::env::args().collect();
    // The agent of the measurements: notes when its `main` began, in the file that it is given.
    if args.get(1).is_some_and(|arg| arg == "--stamp") {
        let now = monotonic();
        let temp = format!("{}.new", args[2]);
        fs::write(&temp, now.to_string()).expect("the stamp is written");
        fs::rename(temp, &args[2]).expect("the stamp is put");
        return;
    }
    let quick = std::env::var_os("BENCH_QUICK").is_some();
    println!("machine: {} cores, {}", std::thread::available_parallelism().map_or(0, usize::from), kernel());
    println!();
    dispatch(if quick { 10 } else { 60 });
    throughput(if quick { 40 } else { 200 });
    commands(if quick { 5 } else { 20 });
    idle(Duration::from_secs(if quick { 3 } else { 20 }));
    start(if quick { 5 } else { 20 });
}

fn kernel() -> String {
    let name = rustix::system::uname();
    format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
}

fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

struct Spread {
    all: Vec<f64>,
}

impl Spread {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self { all }
    }

    fn at(&self, share: f64) -> f64 {
        let last = self.all.len().saturating_sub(1);
        self.all.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
    }

    fn row(&self, name: &str, unit: &str) {
        println!(
            "  {name:<34} p50 {:>9.2}  p99 {:>9.2}  max {:>9.2} {unit}   (n = {})",
            self.at(0.5),
            self.at(0.99),
            self.at(1.0),
            self.all.len()
        );
    }
}

struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    fn new(argv: &[&str], more: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("oodatcaa-bench-").tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join(".oodatcaa/work")).expect("a directory");
        let argv: Vec<String> = argv.iter().map(|&arg| arg.into()).collect();
        let config = format!("fleet.agent = \"a\"\n[agents.a]\nkind = \"command\"\nargv = {argv:?}\n{more}\n");
        fs::write(dir.path().join(".oodatcaa/config.toml"), config).expect("a configuration");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn queue(&self) -> PathBuf {
        self.path(".oodatcaa/work/SPRINT_QUEUE.json")
    }

    /// As careful programs do it: a new file, put in place by a rename.
    fn put(&self, text: &str) {
        let temp = self.path(".oodatcaa/work/.bench.tmp");
        fs::write(&temp, text).expect("a queue");
        fs::rename(temp, self.queue()).expect("a queue");
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env("OODATCAA_TRUST_PROJECT", "1").env("HOME", self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn daemon(&self, role: &str, args: &[&str]) -> Daemon {
        let log = self.path(&format!("{role}.log"));
        let file = File::create(&log).expect("a log");
        let child =
            self.command(DAEMON).args(["--role", role]).args(args).stderr(file).spawn().expect("the daemon starts");
        wait(|| fs::read_to_string(&log).is_ok_and(|text| text.contains(" watches ")));
        Daemon(child)
    }
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn wait(mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < deadline, "in vain");
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn tasks(ready: usize, others: usize) -> String {
    let list: Vec<_> = (0..others)
        .map(|n| json!({"id": format!("W{n:05}"), "title": "waits for nobody in particular", "status": "blocked", "priority": 5, "agent": null, "lease": null, "dependencies": []}))
        .chain((0..ready).map(|n| json!({"id": format!("R{n:05}"), "title": "ready", "status": "ready", "priority": 1, "agent": null, "lease": null, "dependencies": []})))
        .collect();
    serde_json::to_string_pretty(&json!({"sprint": 1, "wip_limits": {"builder": 4}, "tasks": list})).expect("JSON")
}

/// From the rename that makes a task ready to the first instruction of the agent's `main`.
fn dispatch(rounds: usize) {
    println!("ready task -> agent's main, µs (the producer's own rename included)");
    let me = std::env::current_exe().expect("our own path").to_string_lossy().into_owned();
    for others in [49, 1999] {
        let project = Project::new(&[&me, "--stamp", "{run_dir}/stamp"], "");
        project.put(&tasks(0, others));
        let _daemon = project.daemon("builder", &["--interval", "1h", "--slots", "1"]);
        let floor = Floor::new(&me, &tasks(1, others));
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            // A fresh id each time, so that each round is a first attempt.
            let id = format!("N{round:05}");
            let queue = tasks(1, others).replace("R00000", &id);
            let begun = monotonic();
            project.put(&queue);
            let stamp = project.path(&format!(".oodatcaa/runs/{id}/1/stamp"));
            wait(|| stamp.exists());
            ours.push((read_stamp(&stamp) - begun) as f64 / 1000.0);
            wait(|| fs::read_to_string(project.queue()).is_ok_and(|text| text.contains("awaiting_test")));
            bare.push(floor.round() as f64 / 1000.0);
        }
        let (ours, bare) = (Spread::of(ours), Spread::of(bare));
        println!(" {} tasks in the queue", others + 1);
        ours.row("agent-daemon", "µs");
        bare.row("floor (wake, lock, commit, spawn)", "µs");
        println!("  ratio p50 {:.2}, p99 {:.2}", ours.at(0.5) / bare.at(0.5), ours.at(0.99) / bare.at(0.99));
    }
    println!();
}

fn read_stamp(path: &Path) -> u64 {
    fs::read_to_string(path).expect("a stamp").trim().parse().expect("a number")
}

/// What cannot be cheaper: inotify wake, flock, read, temporary file, fsync, rename, fsync of the directory, spawn.
struct Floor {
    dir: tempfile::TempDir,
    queue: String,
    go: mpsc::Receiver<u64>,
    _watcher: notify::RecommendedWatcher,
}

impl Floor {
    fn new(stamp: &str, queue: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("oodatcaa-floor-").tempdir().expect("a directory");
        let (wake, woken) = mpsc::channel();
        let (done, go) = mpsc::channel();
        let name = dir.path().join("queue.json");
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| event.paths.iter().any(|path| path.ends_with("queue.json"))) {
                let _ = wake.send(());
            }
        })
        .expect("a watcher");
        fs::create_dir(dir.path().join("out")).expect("a directory");
        watcher.watch(dir.path(), notify::RecursiveMode::NonRecursive).expect("watched");
        let (stamp, root) = (stamp.to_owned(), dir.path().to_owned());
        std::thread::spawn(move || {
            let lock = File::create(root.join("out/lock")).expect("a lock");
            while woken.recv().is_ok() {
                let Ok(mut text) = fs::read_to_string(&name) else { continue };
                if !text.contains("\"ready\"") {
                    continue;
                }
                lock.lock_exclusive().expect("locked");
                text = text.replace("\"ready\"", "\"taken\"");
                let temp = root.join("out/temp");
                let mut file = File::create(&temp).expect("a file");
                file.write_all(text.as_bytes()).expect("written");
                file.sync_all().expect("synced");
                fs::rename(&temp, &name).expect("renamed");
                File::open(&root).expect("a directory").sync_all().expect("synced");
                FileExt::unlock(&lock).expect("unlocked");
                let out = root.join("out/stamp");
                let _ = fs::remove_file(&out);
                Command::new(&stamp).arg("--stamp").arg(&out).stdin(Stdio::null()).status().expect("spawned");
                let _ = done.send(read_stamp(&out));
            }
        });
        Self { dir, queue: queue.to_owned(), go, _watcher: watcher }
    }

    fn round(&self) -> u64 {
        let temp = self.dir.path().join("out/new");
        let begun = monotonic();
        fs::write(&temp, &self.queue).expect("a queue");
        fs::rename(temp, self.dir.path().join("queue.json")).expect("a queue");
        self.go.recv_timeout(Duration::from_secs(10)).expect("the floor answers") - begun
    }
}

/// Tasks a second through claim, run and settle, every commit durable, against spawning the same program as often.
fn throughput(count: usize) {
    println!("no-op tasks through claim, run and settle, tasks a second (every commit durable)");
    for slots in [1_usize, 4] {
        let project = Project::new(&["true"], "");
        project.put(&tasks(count, 0));
        let begun = Instant::now();
        let daemon = project.daemon("builder", &["--interval", "1h", "--slots", &slots.to_string()]);
        wait(|| fs::read_to_string(project.queue()).is_ok_and(|text| text.matches("awaiting_test").count() == count));
        let ours = count as f64 / begun.elapsed().as_secs_f64();
        drop(daemon);
        let begun = Instant::now();
        let mut spawner = Command::new("xargs")
            .args(["-P", &slots.to_string(), "-n", "1", "true"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("xargs");
        {
            let mut input = spawner.stdin.take().expect("a pipe");
            for n in 0..count {
                writeln!(input, "{n}").expect("written");
            }
        }
        spawner.wait().expect("xargs ends");
        let floor = count as f64 / begun.elapsed().as_secs_f64();
        println!(
            "  {slots} slots: agent-daemon {ours:>8.1}/s   spawn floor {floor:>8.1}/s   ratio {:.3}",
            ours / floor
        );
    }
    println!();
}

/// The operator's reading commands with 2,000 tasks.
fn commands(rounds: usize) {
    println!("agentctl with 2,000 tasks and a journal of their moves, ms");
    let project = Project::new(&["true"], "");
    let mut list = Vec::new();
    for n in 0..2_000 {
        let depends: Vec<String> = if n % 10 == 0 { Vec::new() } else { vec![format!("T{:05}", n - 1)] };
        list.push(json!({"id": format!("T{n:05}"), "title": format!("task {n}"), "type": "Build", "status": if n % 3 == 0 { "done" } else { "ready" },
            "priority": n % 7, "agent": null, "lease": null, "dependencies": depends, "description": "x".repeat(400)}));
    }
    project.put(&serde_json::to_string_pretty(&json!({"wip_limits": {"builder": 3}, "tasks": list})).expect("JSON"));
    project.command(DAEMON).args(["--role", "tester", "--once"]).status().expect("a baseline");
    let floor = Spread::of((0..rounds).map(|_| timed(project.command("true").arg("x"))).collect());
    for args in [&["ls"][..], &["why", "T00100"], &["status"], &["show", "T00100"]] {
        let times = Spread::of((0..rounds).map(|_| timed(project.command(CTL).args(args))).collect());
        times.row(&format!("agentctl {}", args.join(" ")), "ms");
    }
    floor.row("floor: a process that does nothing", "ms");
    println!();
}

fn timed(command: &mut Command) -> f64 {
    let begun = Instant::now();
    command.status().expect("it runs");
    begun.elapsed().as_secs_f64() * 1000.0
}

/// Memory, wake-ups and processor time of five idle workers.
fn idle(time: Duration) {
    println!("five idle workers over {} s (interval 1 h, watching)", time.as_secs());
    let project = Project::new(&["true"], "");
    project.put(&tasks(0, 10));
    let roles = ["planner", "builder", "tester", "refiner", "integrator"];
    let daemons: Vec<Daemon> = roles.iter().map(|role| project.daemon(role, &["--interval", "1h"])).collect();
    // The workers that started first have seen the others' start; let that pass.
    std::thread::sleep(Duration::from_secs(1));
    let before: Vec<(u64, u64)> = daemons.iter().map(|daemon| activity(daemon.0.id())).collect();
    std::thread::sleep(time);
    let (mut pss, mut rss, mut wakes, mut ticks) = (0, 0, 0, 0);
    for (daemon, before) in daemons.iter().zip(before) {
        let after = activity(daemon.0.id());
        wakes += after.0 - before.0;
        ticks += after.1 - before.1;
        let memory = memory(daemon.0.id());
        pss += memory.get("Pss").copied().unwrap_or_default();
        rss = rss.max(memory.get("Rss").copied().unwrap_or_default());
    }
    println!("  PSS together {:.1} MB, greatest RSS {:.1} MB", pss as f64 / 1024.0, rss as f64 / 1024.0);
    println!("  wake-ups {wakes}, processor time {ticks} ticks of 10 ms");
    let size = fs::metadata(DAEMON).map_or(0, |meta| meta.len());
    println!("  agent-daemon is {:.1} MB on disk", size as f64 / 1e6);
    println!();
}

/// Context switches and processor ticks of all threads.
fn activity(pid: u32) -> (u64, u64) {
    let mut switches = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        switches += status
            .lines()
            .filter(|line| line.starts_with("voluntary_ctxt_switches"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum::<u64>();
    }
    let mut stat = String::new();
    let _ = File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read_to_string(&mut stat));
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = [11, 12].iter().filter_map(|&at: &usize| fields.get(at)?.parse::<u64>().ok()).sum();
    (switches, ticks)
}

fn memory(pid: u32) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            Some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
        })
        .collect()
}

/// From exec to "watches", with ten tasks.
fn start(rounds: usize) {
    println!("start of a worker with 10 tasks, ms");
    let project = Project::new(&["true"], "");
    project.put(&tasks(0, 10));
    let log = project.path("builder.log");
    let times = (0..rounds)
        .map(|_| {
            let file = File::create(&log).expect("a log");
            let begun = Instant::now();
            let child =
                project.command(DAEMON).args(["--role", "builder"]).stderr(file).spawn().expect("the daemon starts");
            let daemon = Daemon(child);
            while !fs::read_to_string(&log).is_ok_and(|text| text.contains(" watches ")) {
                std::thread::sleep(Duration::from_micros(100));
            }
            let took = begun.elapsed().as_secs_f64() * 1000.0;
            drop(daemon);
            took
        })
        .collect();
    Spread::of(times).row("exec to ready", "ms");
}
