//! The PID-file mode and the demo, with the real programs.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::support::keeps_the_sandbox;

mod supervisor;

/// A project with a simulated agent, whose workers end with it.
struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { dir: tempfile::tempdir().expect("a directory") };
        let root = project.root();
        fs::create_dir_all(root.join(".oodatcaa/work")).expect("made");
        let prompts = Path::new(env!("CARGO_MANIFEST_DIR")).join(".oodatcaa/prompts");
        fs::create_dir(root.join(".oodatcaa/prompts")).expect("made");
        for prompt in fs::read_dir(prompts).expect("shipped").flatten() {
            fs::copy(prompt.path(), root.join(".oodatcaa/prompts").join(prompt.file_name())).expect("copied");
        }
        project.write(
            ".oodatcaa/config.toml",
            "[fleet]\nagent = \"sim\"\ninterval = \"1s\"\ndrain = \"1s\"\ngrace = \"1s\"\n",
        );
        project.write(".oodatcaa/work/SPRINT_QUEUE.json", "{\"sprint\": 1, \"tasks\": []}\n");
        project
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.root().join(path), text).expect("written");
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.root()).stdin(Stdio::null());
        // Linger and units of whoever runs the tests have no part in them; the project is trusted.
        command.env("HOME", self.root()).env_remove("XDG_RUNTIME_DIR").env_remove("XDG_CONFIG_HOME");
        command.env("OODATCAA_TRUST_PROJECT", "1").env_remove("OODATCAA_SANDBOX");
        if !keeps_the_sandbox() {
            command.env("OODATCAA_SANDBOX", "off");
        }
        command.env("OODATCAA_BIN_DIR", binary("agentctl").parent().expect("in a directory"));
        command
    }

    fn agentctl(&self, args: &[&str]) -> Said {
        Said::from(self.command(&binary("agentctl")).args(args).output().expect("agentctl runs"))
    }

    fn fleet(&self, verb: &str, args: &[&str]) -> Said {
        self.agentctl(&[&["fleet", verb, "--backend", "process"], args].concat())
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.root().join(format!(".agent-daemon-pids/{name}.pid"))
    }

    fn pid(&self, name: &str) -> u32 {
        let text = fs::read_to_string(self.pid_file(name)).expect("a pid file");
        text.lines().next().expect("a line").parse().expect("a pid")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let said = self.fleet("stop", &["--wait", "1s"]);
        if !std::thread::panicking() {
            assert_eq!(said.code, 0, "{}", said.text);
        }
    }
}

/// Both outputs and the exit code.
struct Said {
    text: String,
    out: String,
    code: i32,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
        Self { text, out, code: output.status.code().unwrap_or(-1) }
    }
}

impl Said {
    #[track_caller]
    fn says(&self, words: &str) -> &Self {
        assert!(self.text.contains(words), "no `{words}` in (exit {}):\n{}", self.code, self.text);
        self
    }

    #[track_caller]
    fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }
}

fn binary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_agentctl")).with_file_name(name)
}

fn runs(pid: u32) -> bool {
    oodatcaa_sys::identity::started(pid).is_some()
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().expect("sleep runs"))
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        // It may be gone already, and then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn starting_one_role_starts_that_one_and_starting_it_again_is_no_error() {
    let project = Project::new();
    project.fleet("start", &["builder"]).exits(0).says("builder").says("started").says("Running: 1/1");
    let pid = project.pid("builder");
    assert!(runs(pid));
    assert!(!project.pid_file("planner").exists());
    project.fleet("start", &["builder"]).exits(0).says("is already running").says(&pid.to_string());
    assert_eq!(project.pid("builder"), pid);
    project.fleet("status", &[]).exits(0).says("Running: 1/5").says("mode: PID files, because it was asked for");
    let all: serde_json::Value =
        serde_json::from_str(&project.fleet("status", &["--json"]).exits(0).out).expect("an object");
    assert_eq!(all["running"], 1);
    assert_eq!(all["workers"][1]["pid"], pid);
    project.fleet("stop", &["builder"]).exits(0).says("stopped");
    assert!(!runs(pid));
    assert!(!project.pid_file("builder").exists());
    project.fleet("stop", &["builder"]).exits(0).says("not running");
    project.fleet("start", &["painter"]).exits(3).says("painter").says("planner, builder, tester, refiner, integrator");
}

#[test]
fn all_five_start_restart_and_stop() {
    let project = Project::new();
    project.fleet("start", &[]).exits(0).says("Running: 5/5");
    let before = project.pid("tester");
    project.fleet("restart", &["tester"]).exits(0).says("stopped").says("started");
    assert_ne!(project.pid("tester"), before);
    assert!(!runs(before));
    project.fleet("stop", &[]).exits(0).says("Running: 0/5");
    assert_eq!(fs::read_dir(project.root().join(".agent-daemon-pids")).expect("there").count(), 0);
}

#[test]
fn a_stale_pid_file_never_costs_a_stranger_its_life() {
    let project = Project::new();
    project.fleet("start", &["tester"]).exits(0);
    let real = fs::read_to_string(project.pid_file("tester")).expect("a pid file");
    project.fleet("stop", &["tester"]).exits(0);
    let stranger = Bystander::new();
    let pid = stranger.0.id();
    // What the old script wrote, and what a daemon of ours would have written before its pid came back.
    let ours = real.replace(real.lines().next().expect("a pid"), &pid.to_string());
    for text in [format!("{pid}\n"), ours] {
        fs::write(project.pid_file("tester"), &text).expect("written");
        project.fleet("status", &["tester"]).exits(0).says("Running: 0/1");
        project.fleet("stop", &["tester"]).exits(0).says("stale pid file was removed");
        assert!(runs(pid), "the stranger lives");
        assert!(!project.pid_file("tester").exists());
        fs::write(project.pid_file("tester"), &text).expect("written");
        project.fleet("start", &["tester"]).exits(0).says("started");
        project.fleet("stop", &["tester"]).exits(0);
        assert!(runs(pid), "the stranger lives");
    }
}

#[test]
fn a_worker_that_nobody_keeps_is_seen_as_gone_when_it_was_killed_and_can_be_started_again() {
    let project = Project::new();
    let mut daemon = project.command(&binary("agent-daemon"));
    Said::from(daemon.args(["--role", "refiner", "--detach"]).output().expect("runs")).exits(0);
    let pid = project.pid("refiner");
    signal(pid, "KILL");
    eventually("it is gone", || !runs(pid));
    project.fleet("status", &["refiner"]).exits(0).says("Running: 0/1");
    project.fleet("start", &["refiner"]).exits(0).says("started");
    assert_ne!(project.pid("refiner"), pid);
}

#[test]
fn a_worker_that_does_not_stop_in_time_is_killed_and_it_is_said() {
    let project = Project::new();
    project.fleet("start", &["builder"]).exits(0);
    let pid = project.pid("builder");
    signal(pid, "STOP");
    project.fleet("stop", &["builder", "--wait", "300ms"]).exits(0).says("was killed");
    assert!(!runs(pid));
}

#[test]
fn a_worker_that_cannot_start_says_why_and_leaves_nothing() {
    let project = Project::new();
    project.write(".oodatcaa/config.toml", "[fleet]\nagent = \"nobody\"\n");
    project.fleet("start", &["builder"]).exits(4).says("nobody").says("Running: 0/1");
    assert!(!project.pid_file("builder").exists());
    project.write(".oodatcaa/config.toml", "[fleet\n");
    project.fleet("start", &["builder"]).exits(4).says("config.toml");
    project.fleet("stop", &[]).exits(0);
}

#[test]
fn a_worker_that_needs_a_person_first_answers_4_and_says_for_what() {
    let project = Project::new();
    for (config, words) in [
        ("[fleet]\n", "failed to find an agent for the role `builder`"),
        ("[fleet]\nagent = \"mine\"\n[agents.mine]\nargv = [\"no-such-agent\"]\n", "no-such-agent"),
    ] {
        project.write(".oodatcaa/config.toml", config);
        project.fleet("start", &["builder"]).exits(4).says(words).says("Running: 0/1");
    }
    let mut start = project.command(&binary("agentctl"));
    start.args(["fleet", "start", "builder", "--backend", "process"]).env_remove("OODATCAA_TRUST_PROJECT");
    Said::from(start.output().expect("agentctl runs")).exits(4).says("agentctl config trust");
}

#[test]
fn services_are_installed_from_where_the_scripts_lie_as_older_guides_say() {
    let project = Project::new();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["systemd/install-services.sh", "systemd/uninstall-services.sh", "scripts/agentctl"] {
        let to = project.root().join(name);
        fs::create_dir_all(to.parent().expect("a directory")).expect("made");
        fs::copy(checkout.join(name), to).expect("copied");
    }
    let run = |script: &str| {
        let mut shell = project.command(Path::new("bash"));
        Said::from(shell.arg(script).current_dir(project.root().join("systemd")).output().expect("bash runs"))
    };
    let units = project.root().join(".config/systemd/user");
    run("install-services.sh").exits(0).says("agent-builder.service").says("next:");
    let unit = fs::read_to_string(units.join("agent-builder.service")).expect("a unit");
    let place = project.root().canonicalize().expect("there").display().to_string();
    assert!(unit.contains(&format!("--project {place}")), "{unit}");
    assert!(!unit.contains("Documentation="), "nothing installs a page that it could name: {unit}");
    run("uninstall-services.sh").exits(0).says("removed agent-");
    assert!(!units.join("agent-builder.service").exists());
}

#[test]
fn a_further_instance_is_shown_beside_the_first_and_stopped_with_it() {
    let project = Project::new();
    project.fleet("start", &["builder"]).exits(0);
    let mut second = project.command(&binary("agent-daemon"));
    let second = Said::from(second.args(["--role", "builder", "--owner", "two", "--detach"]).output().expect("runs"));
    second.exits(0);
    let pid = project.pid("builder@two");
    project.fleet("status", &["builder"]).exits(0).says("builder@two").says(&pid.to_string()).says("Running: 1/1");
    let mut third = project.command(&binary("agent-daemon"));
    let third = Said::from(third.args(["--role", "builder", "--detach"]).output().expect("runs"));
    assert_ne!(third.code, 0, "a second one of the same name is refused");
    third.says("already runs").says(&project.pid("builder").to_string());
    project.fleet("stop", &["builder"]).exits(0);
    assert!(!runs(pid));
}

#[test]
fn starting_a_paused_role_is_a_humans_word_that_it_may_work_again() {
    let project = Project::new();
    let journal = ".oodatcaa/work/events.jsonl";
    let paused = serde_json::json!({
        "specversion": "1.0", "id": "1", "source": "//h/p", "type": "oodatcaa.worker.paused.v1", "subject": "role/builder",
        "time": "2026-01-05T09:00:00.000Z", "datacontenttype": "application/json", "seq": 1, "actor": "policy:R22",
        "role": "builder", "data": {"class": "auth_expired", "reason": "sign in again"},
    });
    project.write(journal, &format!("{paused}\n"));
    project.fleet("start", &["tester"]).exits(0);
    let read = || fs::read_to_string(project.root().join(journal)).expect("a journal");
    assert!(!read().contains("worker.resumed"));
    // The variable that trusts counts for nobody whom an agent has started.
    let mut trust = project.command(&binary("agentctl"));
    trust.env_remove("OODATCAA_TRUST_PROJECT").args(["config", "trust", "--yes"]);
    Said::from(trust.output().expect("runs")).exits(0);
    let mut by_agent = project.command(&binary("agentctl"));
    by_agent.env("OODATCAA_TASK_ID", "T1").args(["fleet", "start", "builder", "--backend", "process"]);
    Said::from(by_agent.output().expect("runs")).exits(5);
    assert!(!read().contains("worker.resumed"), "an agent is no human");
    project.fleet("restart", &["builder"]).exits(0).says("was paused and works again");
    let resumed = read().lines().filter(|line| line.contains("worker.resumed")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(resumed.len(), 1);
    assert!(resumed[0].contains("\"actor\":\"human:"), "{}", resumed[0]);
}

#[test]
fn the_shell_script_is_a_name_for_the_same_thing() {
    let project = Project::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/agents-daemon-cli.sh");
    let run = |args: &[&str]| Said::from(project.command(&script).args(args).output().expect("the script runs"));
    run(&["start", "integrator"]).exits(0).says("Running: 1/1");
    run(&["status"]).exits(0).says("Running: 1/5");
    run(&["restart", "integrator"]).exits(0);
    run(&["stop"]).exits(0).says("Running: 0/5");
    run(&["dance"]).exits(2).says("usage");
}

#[test]
fn the_demo_does_what_it_promises_and_leaves_nothing() {
    let project = Project::new();
    let dir = project.root().join("demo");
    // It trusts its own scratch project, as a user would.
    let mut demo = project.command(&binary("agentctl"));
    demo.env_remove("OODATCAA_TRUST_PROJECT").env_remove("OODATCAA_SANDBOX");
    let said = Said::from(demo.args(["demo", "--dir"]).arg(&dir).output().expect("agentctl runs"));
    // A kernel that can keep agents in a sandbox does; another says what it lacks.
    let can_keep = oodatcaa_process::confine::landlock() >= 6;
    said.says(if can_keep { "each agent and gate is confined: " } else { "; this machine cannot keep more: " });
    said.says(if can_keep { "; worked confined: " } else { "" });
    said.exits(0).says("6 of 6 tasks are done").says("D2 failed its test").says("D4 waited for D1");
    said.says("D5 lost its worker to SIGKILL").says("simulated");
    said.says("$ agentctl worktree list")
        .says("+echo Hello")
        .says("$ agentctl approve D1.1")
        .says("approved by human:");
    let log = Command::new("git").arg("-C").arg(dir.join("project")).args(["log", "--oneline"]).output();
    let log = String::from_utf8_lossy(&log.expect("git").stdout).into_owned();
    assert!(log.matches("Merge").count() >= 6 || log.lines().count() >= 13, "six tasks are merged: {log}");
    assert_eq!(fs::read_dir(dir.join("project/.agent-daemon-pids")).expect("there").count(), 0);
    assert_eq!(fs::read_dir(dir.join("project/.leases")).expect("there").count(), 0);
    project.agentctl(&["demo", "--dir", dir.to_str().expect("plain")]).exits(5).says("is not empty");
}

#[test]
fn an_interrupted_demo_takes_its_workers_with_it() {
    let project = Project::new();
    let dir = project.root().join("demo");
    let mut demo = project.command(&binary("agentctl"));
    let mut demo =
        demo.args(["demo", "--dir"]).arg(&dir).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
    eventually("a worker runs", || dir.join("project/.agent-daemon-pids/builder.pid").exists());
    signal(demo.id(), "INT");
    assert_eq!(demo.wait().expect("it ends").code(), Some(130));
    assert_eq!(fs::read_dir(dir.join("project/.agent-daemon-pids")).expect("there").count(), 0);
}

/// Stops a command that the demo shows, while it runs.
fn stop_shown(demo: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{demo}/task/{demo}/children")).ok()?;
    let read = |pid: &str, what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
    let pid = children.split_whitespace().find(|pid| read(pid, "cmdline").contains("--no-input"))?;
    let shown = Pid::from_raw(pid.parse().ok()?)?;
    kill_process(shown, Signal::STOP).ok()?;
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        match read(pid, "stat") {
            stat if stat.contains(") T ") => return Some(shown),
            // It has ended before: there is another one to come.
            stat if stat.is_empty() || stat.contains(") Z ") => return None,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    None
}

#[test]
fn ctrl_c_while_the_demo_shows_a_command_interrupts_the_demo() {
    let project = Project::new();
    let dir = project.root().join("demo");
    let mut demo = project.command(&binary("agentctl"));
    demo.env_remove("OODATCAA_TRUST_PROJECT").args(["demo", "--dir"]).arg(&dir);
    // As at a terminal: Ctrl-C goes to the whole group that the demo leads.
    let demo = demo.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("runs");
    let group = Pid::from_child(&demo);
    let deadline = Instant::now() + Duration::from_secs(60);
    let shown = loop {
        match stop_shown(demo.id()) {
            Some(shown) => break shown,
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            None => panic!("the demo shows no command"),
        }
    };
    kill_process_group(group, Signal::INT).expect("sent");
    kill_process(shown, Signal::CONT).expect("goes on");
    let said = demo.wait_with_output().expect("it ends");
    assert_eq!(said.status.code(), Some(130), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("interrupted"), "{said:?}");
    assert_eq!(fs::read_dir(dir.join("project/.agent-daemon-pids")).expect("there").count(), 0);
}
