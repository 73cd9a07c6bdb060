//! From the moment at which a task becomes ready to the first instruction of its agent's `main`.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use fs2::FileExt;
use notify::Watcher;

use crate::{
    peers,
    support::{Project, Running, Spread, monotonic, read_stamp, rounds, tasks, wait},
    table::{Table, Target},
};

/// Something that starts the stamping program once it is told to, and waits until it has.
pub(crate) trait Rig {
    /// From telling to the stamp, in nanoseconds.
    fn round(&mut self, n: usize) -> u64;
}

pub(crate) fn dispatch(table: &mut Table) {
    const SECTION: &str = "Ready task to the agent's `main`";
    let me = std::env::current_exe().expect("our own path").to_string_lossy().into_owned();
    for (others, p50, p99) in [(49, 1.5, 3.0), (1999, 2.0, 3.0)] {
        let small = others == 49;
        let mut rigs: Vec<(&str, Box<dyn Rig>)> = vec![
            ("agent-daemon", Box::new(Ours::new(&me, others))),
            ("floor", Box::new(Floor::new(&me, &tasks(1, others, 0)))),
        ];
        if small {
            rigs.extend(peers::rigs(&me, table));
        }
        let count = rounds(80, 12);
        let mut times: Vec<Vec<f64>> = rigs.iter().map(|_| Vec::new()).collect();
        // Each round asks everybody once, so that all meet the same machine. The slow ones are asked less often.
        for n in 0..count {
            for ((name, rig), times) in rigs.iter_mut().zip(&mut times) {
                if name.starts_with("the original") && n % 8 != 0 {
                    continue;
                }
                times.push(rig.round(n) as f64 / 1e6);
            }
        }
        let all: Vec<Spread> = times.into_iter().map(Spread::of).collect();
        let floor = &all[1];
        let words = format!("{} tasks", others + 1);
        table.spread(
            SECTION,
            format!("floor, {words}: wake, flock, read, write, fsync, rename, fsync, spawn"),
            floor,
            "ms",
        );
        for ((name, _), spread) in rigs.iter().zip(&all).filter(|((name, _), _)| *name != "floor") {
            let ours = *name == "agent-daemon";
            let target = |limit| if ours { Target::AtMost(limit) } else { Target::None };
            let ratio = spread.at(0.5) / floor.at(0.5);
            table.ratio(SECTION, format!("{name}, {words}"), spread, "ms", ("floor", ratio), target(p50));
            if ours {
                let ends = Spread::of(vec![spread.at(0.99)]);
                let ratio = spread.at(0.99) / floor.at(0.99);
                table.ratio(SECTION, format!("{name}, {words}, p99"), &ends, "ms", ("floor's p99", ratio), target(p99));
            }
        }
    }
}

struct Ours {
    project: Project,
    others: usize,
    _daemon: Running,
}

impl Ours {
    fn new(me: &str, others: usize) -> Self {
        let project = Project::new(&[me, "--stamp", "{run_dir}/stamp"]);
        project.put(&tasks(0, others, 0));
        let daemon = project.daemon("builder", &["--interval", "1h", "--slots", "1"]);
        Self { project, others, _daemon: daemon }
    }
}

impl Rig for Ours {
    fn round(&mut self, n: usize) -> u64 {
        // A fresh id each time, so that each round is a first attempt.
        let id = format!("N{n:05}");
        self.project.prepare(&tasks(1, self.others, 0).replace("R000000", &id));
        let begun = monotonic();
        self.project.put_prepared();
        let stamp = self.project.path(&format!(".oodatcaa/runs/{id}/1/stamp"));
        wait(|| stamp.exists());
        wait(|| self.project.says("awaiting_test"));
        read_stamp(&stamp) - begun
    }
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
                durably(&root.join("out/temp"), &name, &text);
                FileExt::unlock(&lock).expect("unlocked");
                let out = root.join("out/stamp");
                let _ = fs::remove_file(&out);
                Command::new(&stamp).arg("--stamp").arg(&out).stdin(Stdio::null()).status().expect("spawned");
                let _ = done.send(read_stamp(&out));
            }
        });
        Self { dir, queue: queue.to_owned(), go, _watcher: watcher }
    }
}

impl Rig for Floor {
    fn round(&mut self, _: usize) -> u64 {
        let temp = self.dir.path().join("out/new");
        fs::write(&temp, &self.queue).expect("a queue");
        let begun = monotonic();
        fs::rename(temp, self.dir.path().join("queue.json")).expect("a queue");
        self.go.recv_timeout(Duration::from_secs(60)).expect("the floor answers") - begun
    }
}

/// One durable write of a file: temporary, fsync, rename, fsync of the directory.
pub(crate) fn durably(temp: &PathBuf, name: &PathBuf, text: &str) {
    let mut file = File::create(temp).expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file.sync_all().expect("synced");
    fs::rename(temp, name).expect("renamed");
    File::open(name.parent().expect("a directory")).expect("a directory").sync_all().expect("synced");
}
