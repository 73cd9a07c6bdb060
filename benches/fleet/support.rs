//! Projects, daemons and clocks of the measurements.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

pub(crate) const DAEMON: &str = env!("CARGO_BIN_EXE_agent-daemon");
pub(crate) const CTL: &str = env!("CARGO_BIN_EXE_agentctl");

pub(crate) fn quick() -> bool {
    std::env::var_os("BENCH_QUICK").is_some_and(|value| value != "0")
}

/// So many rounds, or the few of a quick run.
pub(crate) fn rounds(all: usize, quickly: usize) -> usize {
    if quick() { quickly } else { all }
}

pub(crate) fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

/// Cores, processor, kernel, file system, load, and the commit that is measured.
pub(crate) fn machine() -> String {
    let first = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim_start_matches([' ', '\t', ':']).to_owned()))
    };
    let out = |program: &str, args: &[&str]| {
        let out = Command::new(program).args(args).stderr(Stdio::null()).output();
        out.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
    };
    let name = rustix::system::uname();
    let place = std::env::temp_dir();
    let kind = out("stat", &["-f", "-c", "%T", &place.to_string_lossy()]);
    let commit = out("git", &["describe", "--always", "--dirty", "--abbrev=12"]);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "Measured on {} cores ({}), {} {}, {kind}, load {} at the end; commit {commit}, {}.",
        std::thread::available_parallelism().map_or(0, usize::from),
        first("/proc/cpuinfo", "model name").unwrap_or_else(|| name.machine().to_string_lossy().into_owned()),
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy(),
        load.split(' ').next().unwrap_or("?"),
        chrono::Utc::now().format("%Y-%m-%d %H:%M UTC"),
    )
}

/// Measured values, sorted.
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    pub(crate) fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    /// The value below which this share of all lies.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A directory with a queue and an agent.
pub(crate) struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    pub(crate) fn new(argv: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("oodatcaa-bench-").tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join(".oodatcaa/work")).expect("a directory");
        let argv: Vec<String> = argv.iter().map(|&arg| arg.into()).collect();
        // Its agents change nothing: what is measured is everything around them.
        let config = format!(
            "fleet.agent = \"a\"\n[agents.a]\nkind = \"command\"\nargv = {argv:?}\n[roles.builder]\nchange = false\n"
        );
        fs::write(dir.path().join(".oodatcaa/config.toml"), config).expect("a configuration");
        Self { dir }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn queue(&self) -> PathBuf {
        self.path(".oodatcaa/work/SPRINT_QUEUE.json")
    }

    /// As careful programs do it: a new file, put in place by a rename.
    pub(crate) fn put(&self, text: &str) {
        self.prepare(text);
        self.put_prepared();
    }

    /// The new file beside the old one, so that its writing is not a part of what is measured.
    pub(crate) fn prepare(&self, text: &str) {
        fs::write(self.path(".oodatcaa/.bench.tmp"), text).expect("a queue");
    }

    pub(crate) fn put_prepared(&self) {
        fs::rename(self.path(".oodatcaa/.bench.tmp"), self.queue()).expect("a queue");
    }

    pub(crate) fn says(&self, word: &str) -> bool {
        fs::read_to_string(self.queue()).is_ok_and(|text| text.contains(word))
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env("OODATCAA_TRUST_PROJECT", "1")
            .env("OODATCAA_SANDBOX", "off")
            .env("HOME", self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// A worker that watches.
    pub(crate) fn daemon(&self, role: &str, args: &[&str]) -> Running {
        let log = self.path(&format!("{role}.log"));
        let file = File::create(&log).expect("a log");
        let child =
            self.command(DAEMON).args(["--role", role]).args(args).stderr(file).spawn().expect("the daemon starts");
        let running = Running(child);
        wait(|| fs::read_to_string(&log).is_ok_and(|text| text.contains(" watches ")));
        running
    }
}

/// A process that is asked to end when it is not needed any more.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Waits for a state, looking often.
pub(crate) fn wait(mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < deadline, "in vain");
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// A queue: tasks that wait for nobody, then tasks that are ready.
pub(crate) fn tasks(ready: usize, others: usize, description: usize) -> String {
    let task = |id: String, status: &str, priority: u32| {
        let mut task = json!({"id": id, "title": format!("a task that is {status}"), "status": status, "priority": priority,
            "agent": null, "lease": null, "dependencies": []});
        if description > 0 {
            task["description"] = "what is to be done here, and why ".repeat(description / 33 + 1).into();
        }
        task
    };
    let others = (0..others).map(|n| task(format!("W{n:06}"), "blocked", 5));
    let list: Vec<_> = others.chain((0..ready).map(|n| task(format!("R{n:06}"), "ready", 1))).collect();
    serde_json::to_string_pretty(&json!({"sprint": 1, "wip_limits": {"builder": 4}, "tasks": list})).expect("JSON")
}

pub(crate) fn read_stamp(path: &Path) -> u64 {
    fs::read_to_string(path).expect("a stamp").trim().parse().expect("a number")
}

/// How long a command takes, in milliseconds.
pub(crate) fn timed(command: &mut Command) -> f64 {
    let begun = Instant::now();
    command.status().expect("it runs");
    begun.elapsed().as_secs_f64() * 1000.0
}
