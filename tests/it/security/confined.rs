//! What a worker and its agents are held to by the system.

use std::{fs, process::Command};

use serde_json::json;

use crate::{
    bad_input::{once, run},
    support::{Project, eventually},
};

#[test]
fn a_worker_and_its_agents_leave_no_core_dumps() {
    let mut project = Project::new("ulimit -c > core.txt\ncat /proc/$PPID/limits > shim.txt");
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    // However generous the user's own limit is.
    let daemon = project.command("agent-daemon");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -c unlimited; exec \"$0\" --role builder --once"]).arg(daemon.get_program());
    command.current_dir(project.root()).env_clear();
    command.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(command).ended(0);
    assert_eq!(project.status("A"), "awaiting_test");
    assert_eq!(fs::read_to_string(project.path("core.txt")).expect("said").trim(), "0");
    let soft = |limits: &str| {
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit").to_owned();
        line.split_whitespace().nth(4).map(String::from)
    };
    assert_eq!(soft(&fs::read_to_string(project.path("shim.txt")).expect("said")).as_deref(), Some("0"));
    let n = project.start_ready("builder", &[]);
    let pid_file = project.path(".agent-daemon-pids/builder.pid");
    let pid = eventually("it says its pid", || fs::read_to_string(&pid_file).ok()?.lines().next()?.parse::<u32>().ok());
    assert_eq!(soft(&fs::read_to_string(format!("/proc/{pid}/limits")).expect("it lives")).as_deref(), Some("0"));
    project.signal(n, rustix::process::Signal::TERM);
    project.ended(n);
}

#[test]
fn open_files_of_whoever_started_a_worker_stay_with_it() {
    let project = Project::new("ls -l /proc/self/fd > agent.txt");
    let gate =
        "[roles.builder]\ngates = [\"g\"]\n[gates.g]\nargv = [\"sh\", \"-c\", \"ls -l /proc/self/fd > gate.txt\"]";
    project.config(gate);
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    fs::write(project.path("secret"), "s").expect("written");
    let daemon = project.command("agent-daemon");
    // A shell whose files numbers are of two digits, too.
    let mut command = Command::new("bash");
    command.args(["-c", "exec 9<secret 33<secret; exec \"$0\" --role builder --once"]).arg(daemon.get_program());
    command.current_dir(project.root()).env_clear();
    command.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(command).ended(0);
    assert_eq!(project.status("A"), "awaiting_test");
    for said in ["agent.txt", "gate.txt"] {
        let fds = fs::read_to_string(project.path(said)).expect("said");
        assert!(fds.contains(" 0 -> ") && fds.contains(" 2 -> "), "{fds}");
        let more = fds.lines().filter(|line| line.contains("secret") || line.contains(" 9 -> ")).count();
        // The directory that is listed is one, too.
        assert_eq!((more, fds.lines().filter(|line| line.contains(" -> ")).count()), (0, 4), "{said}: {fds}");
    }
}

#[test]
fn what_a_worker_was_not_told_to_hand_on_stays_with_it() {
    let project = Project::new("env > given.txt");
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    let mut command = project.command("agent-daemon");
    command.args(["--role", "builder", "--once"]);
    for name in ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "LD_PRELOAD", "BASH_ENV", "OODATCAA_X"] {
        command.env(name, if name == "LD_PRELOAD" { "" } else { "not for agents" });
    }
    run(command).ended(0);
    let given = fs::read_to_string(project.path("given.txt")).expect("what it was given");
    let names: Vec<&str> = given.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let known =
        ["PATH", "HOME", "USER", "LANG", "TERM", "NO_COLOR", "PWD", "OLDPWD", "SHLVL", "_", "LOGNAME", "SHELL", "TZ"];
    for name in &names {
        assert!(known.contains(name) || name.starts_with("OODATCAA_"), "{name} was handed on");
    }
    assert!(!given.contains("not for agents") && !names.contains(&"OODATCAA_TRUST_PROJECT"), "{given}");
}

#[test]
fn whatever_a_queue_says_is_one_argument_and_never_a_command() {
    let project = Project::new("for word in \"$@\"; do printf '<%s>' \"$word\"; done > words.txt");
    let evil = "$(touch owned) `touch owned`; touch owned\n--dangerously-skip-permissions '\"";
    let script = project.path("agent.sh").display().to_string();
    let config = format!(
        "fleet.agent = \"script\"\n[agents.script]\nkind = \"command\"\nargv = [\"{script}\", \"--title={{title}}\", \"{{task_id}}\"]\n"
    );
    fs::write(project.path(".oodatcaa/config.toml"), config).expect("written");
    project.queue(json!([{"id": "A", "title": evil, "status": "ready", "type": evil, "description": evil}]));
    once(&project, "builder").ended(0);
    let words = fs::read_to_string(project.path("words.txt")).expect("its words");
    assert_eq!(words.matches('<').count(), 2, "{words}");
    assert!(words.starts_with("<--title=$(touch owned)") && words.ends_with("<A>"), "{words}");
    assert!(!project.path("owned").exists());
}
