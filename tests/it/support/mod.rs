//! A project in a temporary directory, real daemons in it, and bounded waits on states.

pub(crate) mod checker;
pub(crate) mod tools;
pub(crate) mod witness;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long a state may take to come; generous, because machines are shared. `PATIENCE=5` is for a run in which
/// something is expected not to come.
pub(crate) fn patience() -> Duration {
    let seconds = std::env::var("PATIENCE").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

/// What git says in this directory; it must succeed.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=me", "-c", "user.email=me@invalid"];
    let output = Command::new("git").arg("-C").arg(dir).args(identity).args(args).output().expect("git");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// How the journal names a person whose commands a test gives.
pub(crate) fn me() -> String {
    let told = Command::new("id").arg("-un").output().expect("id is there");
    format!("human:{}@pipe", String::from_utf8_lossy(&told.stdout).trim())
}

/// Waits until `reached` answers something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut reached: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience();
    loop {
        if let Some(value) = reached() {
            return value;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A project; it goes with its directory, and its daemons are killed.
pub(crate) struct Project {
    dir: tempfile::TempDir,
    daemons: Vec<Child>,
    /// What slows the disk of daemons down, in words of the failpoints.
    pub(crate) slow: Option<String>,
    /// Agents and gates run confined.
    confined: bool,
}

/// Tells whether this machine can keep the sandbox that is asked for where nobody says anything.
pub(crate) fn keeps_the_sandbox() -> bool {
    static KEEPS: LazyLock<bool> = LazyLock::new(|| {
        let daemon = Path::new(env!("CARGO_BIN_EXE_agent-daemon"));
        oodatcaa_agent::sandbox::unable(&oodatcaa_config::Sandbox::default(), daemon).is_none()
    });
    *KEEPS
}

impl Project {
    /// An empty project whose five roles work with the agent `script`, a shell script.
    pub(crate) fn new(script: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("oodatcaa-").tempdir().expect("a temporary directory");
        let project = Self { dir, daemons: Vec::new(), slow: None, confined: false };
        fs::create_dir_all(project.path(".oodatcaa/work")).expect("a directory");
        project.script("agent.sh", script);
        project.config("");
        project
    }

    /// The same project as a person has it: agents and gates run confined, where this machine can keep that. Most tests
    /// do without, because their agents leave marks where only an unconfined one can write.
    pub(crate) fn confined(mut self) -> Self {
        self.confined = keeps_the_sandbox();
        self
    }

    /// The scripted agent that says done.
    pub(crate) fn that_succeeds() -> Self {
        Self::new("exit 0")
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes an executable shell script into the project. The agent leaves a file behind where it works in the
    /// project's own directory, so that a builder has done something; without a call of `write`, for those are counted by who fails them.
    pub(crate) fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        let made = "[ \"$OODATCAA_WORKSPACE\" != \"$OODATCAA_PROJECT\" ] || \
                    : > \"made-$OODATCAA_TASK_ID.$OODATCAA_ROLE.$$\"\n";
        let body = if name == "agent.sh" { format!("{made}{body}") } else { body.to_owned() };
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("an executable script");
        path
    }

    /// Writes the configuration: the agent `script`, short waits, and what is given.
    pub(crate) fn config(&self, more: &str) -> &Self {
        let script = self.path("agent.sh");
        let base = format!(
            "fleet.agent = \"script\"\nfleet.grace = \"500ms\"\nfleet.shutdown_timeout = \"1s\"\nretry.backoff = \"50ms\"\nretry.pause_after = 0\n\
             [agents.script]\nkind = \"command\"\nargv = [\"{}\"]\n{more}\n",
            script.display()
        );
        fs::write(self.path(".oodatcaa/config.toml"), base).expect("a configuration");
        self
    }

    /// Writes a queue of these tasks, pretty, with a generous limit for every role.
    #[expect(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
    pub(crate) fn queue(&self, tasks: Value) -> &Self {
        let limits = json!({"planner": 3, "builder": 3, "tester": 3, "refiner": 3, "integrator": 3});
        self.queue_text(
            &serde_json::to_string_pretty(&json!({"sprint": 1, "wip_limits": limits, "tasks": tasks})).expect("JSON"),
        )
    }

    pub(crate) fn queue_text(&self, text: &str) -> &Self {
        fs::write(self.queue_file(), text).expect("a queue");
        self
    }

    /// Another file takes the queue's place, as editors and git do it.
    pub(crate) fn replace_queue(&self, tasks: Value) {
        let beside = self.path(".oodatcaa/work/beside");
        let mut queue = self.json();
        queue["tasks"] = tasks;
        fs::write(&beside, serde_json::to_string_pretty(&queue).expect("JSON")).expect("written");
        fs::rename(beside, self.queue_file()).expect("renamed");
    }

    pub(crate) fn queue_file(&self) -> PathBuf {
        self.path(".oodatcaa/work/SPRINT_QUEUE.json")
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.queue_file()).expect("the queue")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text()).expect("the queue is valid JSON at every instant")
    }

    /// All tasks, nested ones included.
    pub(crate) fn tasks(&self) -> Vec<Value> {
        fn walk(list: &Value, into: &mut Vec<Value>) {
            for task in list.as_array().into_iter().flatten() {
                into.push(task.clone());
                walk(&task["subtasks"], into);
            }
        }
        let mut all = Vec::new();
        walk(&self.json()["tasks"], &mut all);
        all
    }

    pub(crate) fn task(&self, id: &str) -> Value {
        self.tasks().into_iter().find(|task| task["id"] == id).unwrap_or_else(|| panic!("no task {id}"))
    }

    pub(crate) fn status(&self, id: &str) -> String {
        self.task(id)["status"].as_str().expect("a status").into()
    }

    /// Waits until a task has a status, in the queue and, right after it, in the journal.
    #[track_caller]
    pub(crate) fn wait_for(&self, id: &str, status: &str) {
        let what = || format!("{id} becomes {status}: {}", self.diagnosis());
        let told = |project: &Self| {
            let moves = |event: &Value| event["type"].as_str().is_some_and(|kind| kind.starts_with("oodatcaa.task."));
            let is_it = |event: &Value| event["task"] == id && moves(event) && event["data"]["to"].is_string();
            let last = project.events().into_iter().rev().find(is_it);
            last.is_some_and(|event| event["data"]["to"] == status)
        };
        let deadline = Instant::now() + patience();
        while self.status(id) != status || !told(self) {
            assert!(Instant::now() < deadline, "in vain: {}", what());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The journal.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path(".oodatcaa/work/events.jsonl")).unwrap_or_default();
        // The last line may be on its way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a journal line is JSON")).collect()
    }

    /// The journal's events of one kind, `noun.verb`.
    pub(crate) fn events_of(&self, kind: &str) -> Vec<Value> {
        let kind = format!("oodatcaa.{kind}.v1");
        self.events().into_iter().filter(|event| event["type"] == kind.as_str()).collect()
    }

    /// The lease files.
    pub(crate) fn leases(&self) -> Vec<Value> {
        let Ok(entries) = fs::read_dir(self.path(".leases")) else { return Vec::new() };
        let files = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|ext| ext == "json"));
        files.filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()).collect()
    }

    /// A command of ours in this project, with a hermetic environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let program = match program {
            "agent-daemon" => env!("CARGO_BIN_EXE_agent-daemon"),
            "agentctl" => env!("CARGO_BIN_EXE_agentctl"),
            other => other,
        };
        let mut command = Command::new(program);
        command
            .current_dir(self.root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.root())
            .env("USER", "tester")
            .env("LANG", "C.UTF-8")
            .env("OODATCAA_TRUST_PROJECT", "1")
            .stdin(Stdio::null());
        if !self.confined {
            command.env("OODATCAA_SANDBOX", "off");
        }
        command
    }

    /// One look of a role, to its end.
    pub(crate) fn once(&self, role: &str) -> Output {
        self.command("agent-daemon").args(["--role", role, "--once"]).output().expect("agent-daemon runs")
    }

    /// Starts a daemon; it is killed with the project. Its log goes to `<role>.<n>.log`.
    pub(crate) fn start(&mut self, role: &str, args: &[&str]) -> usize {
        self.start_with(role, args, &[])
    }

    /// Starts a daemon with further variables.
    pub(crate) fn start_with(&mut self, role: &str, args: &[&str], env: &[(&str, &str)]) -> usize {
        let mut command = self.command("agent-daemon");
        command.args(args).envs(env.iter().copied());
        command.envs(self.slow.as_ref().map(|points| ("FAILPOINTS", points)));
        self.start_as(role, command)
    }

    /// Starts a daemon by a command of its own.
    pub(crate) fn start_as(&mut self, role: &str, mut command: Command) -> usize {
        let n = self.daemons.len();
        let log = fs::File::create(self.path(&format!("{role}.{n}.log"))).expect("a log");
        let command = command.args(["--role", role]).stdout(log.try_clone().expect("a log")).stderr(log);
        self.daemons.push(command.spawn().expect("agent-daemon starts"));
        n
    }

    /// Starts a daemon and waits until it watches the queue.
    pub(crate) fn start_ready(&mut self, role: &str, args: &[&str]) -> usize {
        let n = self.start(role, args);
        let log = self.path(&format!("{role}.{n}.log"));
        eventually("the daemon watches", || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains(" watches ")).then_some(())
        });
        n
    }

    pub(crate) fn log(&self, role: &str, n: usize) -> String {
        fs::read_to_string(self.path(&format!("{role}.{n}.log"))).unwrap_or_default()
    }

    pub(crate) fn pid(&self, n: usize) -> u32 {
        self.daemons[n].id()
    }

    pub(crate) fn signal(&self, n: usize, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.daemons[n]);
        rustix::process::kill_process(pid, signal).expect("the daemon can be signalled");
    }

    /// Stops a daemon where it does not keep all others from working: not while it holds the queue's lock.
    #[track_caller]
    pub(crate) fn stop_outside_of_the_lock(&self, n: usize) {
        use rustix::{fs::FlockOperation, process::Signal};
        let stat = format!("/proc/{}/stat", self.daemons[n].id());
        eventually("the daemon is stopped outside of the lock", || {
            self.signal(n, Signal::STOP);
            eventually("it is stopped", || {
                let stat = fs::read_to_string(&stat).expect("it lives");
                stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T')).then_some(())
            });
            // Others have it for milliseconds only.
            let free = (0..30).any(|_| {
                // Before the first of them has made its file, nobody has it.
                let lock = fs::File::open(self.path(".locks/queue.lock"));
                let free = lock
                    .is_ok_and(|lock| rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok())
                    || !self.path(".locks/queue.lock").exists();
                if !free {
                    thread::sleep(Duration::from_millis(10));
                }
                free
            });
            if !free {
                self.signal(n, Signal::CONT);
            }
            free.then_some(())
        });
    }

    /// Signals every daemon and waits for the end of each.
    pub(crate) fn signal_all(&mut self, signal: rustix::process::Signal) {
        for n in 0..self.daemons.len() {
            if self.daemons[n].try_wait().expect("a child").is_none() {
                self.signal(n, signal);
                self.ended(n);
            }
        }
    }

    /// Waits for a daemon's end; answers its exit code.
    #[track_caller]
    pub(crate) fn ended(&mut self, n: usize) -> Option<i32> {
        self.exited(n).code()
    }

    /// Waits for a daemon's end; answers how it ended.
    #[track_caller]
    pub(crate) fn exited(&mut self, n: usize) -> std::process::ExitStatus {
        let child = &mut self.daemons[n];
        eventually("the daemon ends", || child.try_wait().expect("a child"))
    }

    /// Processes whose environment carries this project's run directories.
    pub(crate) fn agents(&self) -> Vec<u32> {
        let tag = format!("OODATCAA_RUN_DIR={}", self.path(".oodatcaa/runs").display());
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environ.split(|byte| *byte == 0).any(|line| line.starts_with(tag.as_bytes()))
            })
            .collect()
    }

    /// Everything that helps to understand a failed wait.
    pub(crate) fn diagnosis(&self) -> String {
        let logs = self.daemons.iter().enumerate().flat_map(|(n, _)| {
            ["planner", "builder", "tester", "refiner", "integrator"].map(|role| {
                let log = self.log(role, n);
                if log.is_empty() { String::new() } else { format!("--- {role}.{n}\n{log}") }
            })
        });
        format!("{}\n{}", self.text(), logs.collect::<String>())
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        for child in &mut self.daemons {
            let _ = child.kill();
            let _ = child.wait();
        }
        // A shim that has just lost its worker still writes into the directory.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.agents().is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}
