//! What agents did, noted outside of their project, so that it is known whatever becomes of the project.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use oodatcaa_core::Role;
use oodatcaa_store::LOCK_WAIT;
use serde_json::{Value, json};

use super::Project;

/// A directory in which agents leave their marks and workers their words.
pub(crate) struct Witness {
    dir: tempfile::TempDir,
}

impl Witness {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::Builder::new().prefix("oodatcaa-witness-").tempdir().expect("a directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The body of an agent that notes its start, waits while it is told to, and succeeds.
    pub(crate) fn script(&self) -> String {
        let dir = self.dir.path().display();
        format!(
            "echo $OODATCAA_TASK_ID $OODATCAA_TOKEN >> {dir}/started\n\
             while [ -e {dir}/hold ]; do sleep 0.02; done\nexit 0"
        )
    }

    /// Tasks `T0`, `T1`, … that a builder can take.
    pub(crate) fn tasks(count: usize) -> Value {
        (0..count)
            .map(|n| json!({"id": format!("T{n}"), "title": "Build it", "status": "ready", "x-mine": n}))
            .collect()
    }

    /// Whether agents that start from now on wait, and those that wait go on.
    pub(crate) fn hold(&self, hold: bool) {
        let path = self.path("hold");
        if hold { fs::write(path, "").expect("written") } else { fs::remove_file(path).unwrap_or_default() }
    }

    /// What agents were started: tasks and tokens.
    pub(crate) fn started(&self) -> Vec<(String, u64)> {
        let text = fs::read_to_string(self.path("started")).unwrap_or_default();
        let pair = |line: &str| {
            let (task, token) = line.split_once(' ')?;
            Some((task.to_owned(), token.parse().ok()?))
        };
        text.lines().filter_map(pair).collect()
    }

    /// What the workers said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn log(&self) -> fs::File {
        fs::OpenOptions::new().append(true).create(true).open(self.path("log")).expect("a log")
    }

    /// Starts a command whose words are kept.
    pub(crate) fn run(&self, mut command: Command) -> Child {
        command.stdin(Stdio::null()).stdout(self.log()).stderr(self.log()).spawn().expect("it starts")
    }

    /// What must hold after any crash: the queue is one of those that were written, and the journal can be read.
    /// Answers whose agent ran without a claim.
    pub(crate) fn lost(&self, project: &Project) -> Vec<(String, u64)> {
        let queue = fs::read_to_string(project.queue_file()).expect("the queue is there");
        assert!(!queue.is_empty(), "the queue is not empty");
        let tasks = project.tasks();
        for (n, task) in tasks.iter().enumerate() {
            assert_eq!(task["x-mine"], n, "{queue}");
        }
        let journal = fs::read(project.path(".oodatcaa/work/events.jsonl")).unwrap_or_default();
        let whole = journal.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in journal[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            serde_json::from_slice::<Value>(line).expect("only the last line may be torn");
        }
        let last =
            |name: &str| self.started().into_iter().filter(|(task, _)| task == name).map(|(_, token)| token).max();
        let survived = |(name, token): &(String, u64)| {
            let task = tasks.iter().find(|one| one["id"] == name.as_str()).expect("no task is lost");
            let lease = task["lease"].as_str().unwrap_or_default();
            match task["status"].as_str() {
                Some("in_progress") => lease.ends_with(&format!("#{token}")) || last(name) > Some(*token),
                Some("awaiting_test") => true,
                _ => project.events_of("lease.rescued").iter().any(|event| event["token"] == *token),
            }
        };
        self.started().into_iter().filter(|one| !survived(one)).collect()
    }

    /// Healthy workers bring everything to its end, and all that is told adds up.
    pub(crate) fn heal(&self, project: &Project) {
        self.hold(false);
        let deadline = Instant::now() + Duration::from_secs(60);
        while project.tasks().iter().any(|task| task["status"] != "awaiting_test") {
            assert!(Instant::now() < deadline, "{}\n{}", project.text(), self.said());
            if project.events_of("worker.paused").len() > project.events_of("worker.resumed").len() {
                let layout = oodatcaa_core::layout::Layout::new(project.root());
                let store = oodatcaa_store::open(layout.root(), &layout, None, LOCK_WAIT).expect("the store opens");
                oodatcaa_fleet::resume(&store, &Role::BUILDER, "tester").expect("resumed");
            }
            let mut command = project.command("agent-daemon");
            command.args(["--role", "builder", "--once"]);
            assert!(self.run(command).wait().expect("a child").success(), "{}", self.said());
        }
        let mut started = self.started();
        let all = started.len();
        started.sort();
        started.dedup();
        assert_eq!(started.len(), all, "no token was given twice: {started:?}");
        let numbers: Vec<u64> = project.events().iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        assert_eq!(project.leases(), Vec::<Value>::new(), "no lease is left");
        for dir in [".oodatcaa/work", ".leases"] {
            let names = fs::read_dir(project.path(dir)).expect("a directory").flatten().map(|entry| entry.file_name());
            let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(".oodatcaa-tmp")).collect();
            assert!(left.is_empty(), "{left:?}");
        }
        for task in project.tasks() {
            let id = task["id"].as_str().expect("an id");
            let done = project.events_of("attempt.finished");
            let done = done.iter().filter(|event| event["task"] == id && event["data"]["outcome"] == "done").count();
            assert!(done <= 1, "{id} was accepted {done} times");
            let tokens: Vec<u64> = self.started().into_iter().filter(|one| one.0 == id).map(|one| one.1).collect();
            assert!(tokens.is_sorted(), "{id}: tokens only grow: {tokens:?}");
            assert!(!tokens.is_empty(), "{id} was really done");
        }
    }

    /// Ends our programs that work in this directory; their tracer may be gone.
    pub(crate) fn end_all(root: &Path) {
        for entry in fs::read_dir("/proc").expect("proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let named = fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe.ends_with("agent-daemon"));
            if named && fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == root) {
                let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}
