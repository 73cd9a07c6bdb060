//! `agentctl sandbox …` with the real profiles: what is shown, explained, run and tried.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{Said, agentctl, command, finish};
use crate::support::{Project, git};

/// A project whose sandbox is on, in a home of its own.
fn project(config: &str) -> Project {
    let project = Project::that_succeeds();
    project.config(config);
    git(project.root(), &["init", "-q"]);
    fs::create_dir_all(project.path("home/.ssh")).unwrap();
    fs::write(project.path("home/.ssh/id"), "secret\n").unwrap();
    project
}

fn confined(project: &Project, args: &[&str]) -> Command {
    let mut command = command(project, args);
    command.env_remove("OODATCAA_SANDBOX").env("HOME", project.path("home"));
    command
}

fn run(project: &Project, args: &[&str]) -> Said {
    finish(confined(project, args))
}

/// Tells whether this machine lets us make namespaces.
fn has_namespaces() -> bool {
    Command::new("unshare").args(["-Urm", "true"]).status().is_ok_and(|status| status.success())
}

#[test]
fn every_sandbox_is_tried_and_refuses_all_that_it_must() {
    let project = project(
        "[gates.test]\nargv = [\"true\"]\n[roles.builder]\ngates = [\"test\"]\n[gates.test.sandbox]\nnetwork = \"none\"\nrequire = [\"files\", \"network\"]\n",
    );
    let said = run(&project, &["sandbox", "probe", "--json"]).ok();
    let probes = said.json();
    let probes = probes.as_array().unwrap();
    assert!(probes.len() >= 3, "agents, planners, gates: {said:?}");
    for probe in probes {
        crate::cli::schema::is_described(probe).unwrap();
        assert_eq!(probe["ok"], true, "{probe:#}");
        let forbidden: Vec<&Value> =
            probe["tries"].as_array().unwrap().iter().filter(|tried| !tried["guarantee"].is_null()).collect();
        assert!(forbidden.len() >= 12, "{probe:#}");
        for tried in forbidden {
            let promised = probe["given"].as_array().unwrap().contains(&tried["guarantee"]);
            assert!(tried["done"] == false || !promised, "{tried:#}");
        }
    }
    let gate = probes.iter().find(|probe| probe["programs"].to_string().contains("gate test")).expect("its own");
    assert!(gate["given"].to_string().contains("network"), "{gate:#}");
    assert!(gate["tries"].to_string().contains("connect to a server on this machine"), "{gate:#}");
    // Nothing of it is left.
    assert!(fs::read_dir(project.path("home/.cache/oodatcaa")).unwrap().next().is_none());
    let left: Vec<_> = fs::read_dir(project.root()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("probe")), "{left:?}");
}

#[test]
fn the_doctor_says_what_is_kept_with_its_proof_and_what_is_not() {
    let project = project("");
    let report = run(&project, &["doctor"]);
    assert!(report.out.contains("\nsandbox\n ✓ agent"), "{report:?}");
    assert!(report.out.contains("tried just now: ") && report.out.contains(" refused\n"), "{report:?}");
    assert!(report.out.contains(" ! the network is open to agents (network = \"all\")"), "{report:?}");
    let off = agentctl(&project, &["doctor"]);
    assert!(
        off.out.contains("\nsandbox\n ! nothing is confined: agents, gates and hooks can do all that you can"),
        "{off:?}"
    );

    // What this machine cannot give stops the role, and is a finding.
    project.config("[sandbox]\nmode = \"landlock\"\nrequire = [\"files\", \"metadata\"]\n");
    let report = run(&project, &["doctor"]).no(8, "");
    let words = "not to be had here: metadata: it needs a namespace";
    assert!(report.out.contains(words) && report.out.contains("✗ agent"), "{report:?}");
    let probes = run(&project, &["sandbox", "probe", "--json"]).json();
    assert_eq!(probes[0]["missing"], serde_json::json!(["metadata"]), "{probes:#}");
}

#[test]
fn where_attempts_work_in_the_projects_own_directory_what_decides_is_kept_in_it_or_nothing_runs() {
    let project = project("[workspace]\nmode = \"shared\"\n");
    let probe = |mode: &str| {
        let mut command = confined(&project, &["sandbox", "probe", "--json"]);
        command.env("OODATCAA_SANDBOX", mode);
        finish(command)
    };
    if has_namespaces() {
        let said = probe("auto").ok().json();
        let tried = said[0]["tries"].to_string();
        let mark = project.path(".oodatcaa").canonicalize().unwrap();
        assert!(tried.contains(&format!("make a file in {}", mark.display())), "{said:#}");
        let explain = |path: &str| run(&project, &["sandbox", "explain", path, "--write"]).code;
        assert_eq!([explain("src/x"), explain(".oodatcaa/x"), explain(".git/x"), explain(".locks/x")], [0, 8, 8, 8]);
    }
    let said = probe("landlock").no(8, "").json();
    assert!(said[0]["missing"].to_string().contains("files"), "rules only allow: {said:#}");
}

#[test]
fn a_command_is_run_as_an_agent_would_be() {
    let project = project("");
    let work = project.path("work");
    fs::create_dir(&work).unwrap();
    let script = "echo x > made && cat made; cat ~/.ssh/id; echo x >> ../.oodatcaa/config.toml; \
                  echo x > /tmp/mine && echo $TMPDIR; exit 7";
    let mut command = confined(&project, &["sandbox", "run", "--", "sh", "-c", script]);
    command.current_dir(&work);
    let said = finish(command);
    assert_eq!(said.code, 7, "{said:?}");
    assert!(said.out.starts_with("x\n") && said.out.contains("/tmp/oodatcaa-"), "{said:?}");
    assert!(!said.out.contains("secret"), "{said:?}");
    let refused = if has_namespaces() { "Read-only file system" } else { "Permission denied" };
    assert!(said.err.contains(refused), "{said:?}");
    assert_eq!(fs::read_to_string(work.join("made")).unwrap(), "x\n");
    assert!(!Path::new("/tmp/mine").exists() || !has_namespaces());
    // In the project's own directory what decides is still kept.
    let said = run(&project, &["sandbox", "run", "--", "sh", "-c", "echo x > made; echo x >> .oodatcaa/config.toml"]);
    if has_namespaces() {
        assert!(said.code != 0 && said.err.contains("Read-only file system"), "{said:?}");
        assert!(project.path("made").exists());
    }
}

#[test]
fn a_path_is_explained_by_the_rule_that_decides() {
    let project = project("[sandbox]\nallow_write = [\"/var/tmp/x\"]\ndeny_read = [\".env\"]\n");
    fs::write(project.path(".env"), "K=v\n").unwrap();
    let tell = |args: &[&str]| run(&project, &[&["sandbox", "explain"], args].concat());
    let home = project.path("home").display().to_string();
    assert!(tell(&[&format!("{home}/.ssh/id")]).no(8, "").out.contains("it is kept secret"));
    let said = tell(&["README.md", "--write"]).no(8, "");
    assert!(said.out.starts_with("no, write ") && said.err.contains("[sandbox] allow_write = ["), "{said:?}");
    let said = tell(&[".oodatcaa/config.toml", "--write"]).no(8, "");
    assert!(!said.err.contains("allow_write"), "nobody may have it: {said:?}");
    assert!(tell(&[".env"]).no(8, "").out.contains("it is kept secret"));
    assert!(tell(&["README.md"]).ok().out.starts_with("yes, read "));
    let verdict = tell(&["/etc/passwd", "--json"]).ok().json();
    assert_eq!((&verdict["allowed"], &verdict["what"]), (&true.into(), &"read".into()));
    let shown = run(&project, &["sandbox", "show", "--role", "planner"]).ok();
    assert!(shown.out.contains("must be kept\tfiles, secrets, environ, processes, sockets"), "{shown:?}");
    assert!(run(&project, &["sandbox", "show", "--role", "nobody"]).code != 0);
    assert!(agentctl(&project, &["sandbox", "show"]).ok().out.contains("nothing is confined"));
    let said = run(&project, &["sandbox", "apparmor"]).ok();
    assert!(said.out.contains("userns,") && said.out.contains("agent-daemon"), "{said:?}");
}

/// Rewrites what the record of a task's attempts says of their sandbox, and plants a profile and an output.
fn say_confined(project: &Project, task: &str) {
    for entry in fs::read_dir(project.path(&format!(".oodatcaa/runs/{task}"))).unwrap().flatten() {
        let path = entry.path().join("attempt.json");
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record["confined"] = serde_json::json!({"applied": true, "guarantees": ["files", "secrets"],
            "means": {"landlock": 7, "namespace": true}});
        fs::write(&path, record.to_string()).unwrap();
        let profile = serde_json::json!({"require": [], "write": ["/wt"], "private": [], "deny": ["/home/me/.ssh"],
            "mask": [], "read": [], "network": "all", "namespace": true, "nested": false, "report": "/x"});
        fs::write(entry.path().join("sandbox.json"), profile.to_string()).unwrap();
        let said = "mkdir /home/me/.npm: Read-only file system\n/home/me/.npm: Read-only file system\n\
                    bwrap: setting up uid map: Permission denied\n";
        fs::write(entry.path().join("stderr.log"), said).unwrap();
    }
}

#[test]
fn beside_each_approval_stands_whether_the_work_was_confined() {
    let (project, _trees) = super::json::worked_in();
    let line = |text: &str| {
        let inbox = agentctl(&project, &["inbox"]).ok().out;
        let merge = inbox.lines().find(|line| line.starts_with("YES")).unwrap_or_else(|| panic!("{inbox}")).to_owned();
        assert!(merge.contains(text), "{merge}");
    };
    line("; worked unconfined");
    assert!(agentctl(&project, &["show", "YES"]).ok().out.contains("sandbox\tworked unconfined\n"));
    assert!(agentctl(&project, &["run", "show", "YES"]).ok().out.contains("sandbox\tworked unconfined\n"));
    say_confined(&project, "YES");
    line("; worked confined: files secrets");
    let needs = agentctl(&project, &["inbox", "--json"]).ok().json();
    let merge = needs.as_array().unwrap().iter().find(|need| need["task"] == "YES").expect("it waits");
    assert_eq!(merge["worked"], "worked confined: files secrets");

    // And what the sandbox refused, with what would allow it.
    let refused = "the sandbox refused writing /home/me/.npm (2×): [sandbox] allow_write = [\"/home/me/.npm\"]";
    let shown = agentctl(&project, &["run", "show", "YES"]).ok().out;
    assert!(shown.contains(refused) && shown.contains("[agents.NAME.sandbox] nested = true"), "{shown}");
    let why = agentctl(&project, &["why", "YES", "--json"]).ok().json();
    assert!(why["facts"].to_string().contains("the sandbox refused writing /home/me/.npm"), "{why:#}");
}

#[test]
fn an_ordinary_user_has_the_same_sandbox() {
    let project = project("");
    // Where these tests are root's: copies of the programs where others have a way to, and a project of theirs.
    let programs = tempfile::tempdir().unwrap();
    let ours = [("agentctl", env!("CARGO_BIN_EXE_agentctl")), ("agent-daemon", env!("CARGO_BIN_EXE_agent-daemon"))];
    for (name, from) in ours {
        fs::copy(from, programs.path().join(name)).unwrap();
    }
    let is_root = rustix::process::geteuid().is_root();
    let mut command = if is_root { Command::new("setpriv") } else { Command::new(programs.path().join("agentctl")) };
    if is_root {
        for dir in [project.root(), programs.path()] {
            assert!(Command::new("chown").args(["-R", "65534:65534"]).arg(dir).status().unwrap().success());
        }
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(programs.path().join("agentctl"));
    }
    command.current_dir(project.root()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", project.path("home")).env("OODATCAA_TRUST_PROJECT", "1");
    for mode in ["auto", "landlock"] {
        let mut probe = Command::new(command.get_program());
        probe.args(command.get_args()).args(["sandbox", "probe", "--json"]).current_dir(project.root());
        probe.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let said = finish({
            probe.env("OODATCAA_SANDBOX", mode);
            probe
        });
        let probes = said.json();
        assert_eq!((said.code, &probes[0]["ok"]), (0, &true.into()), "{mode}: {probes:#}");
        let with_namespace = probes[0]["means"].as_str().unwrap().contains("namespace");
        assert_eq!(with_namespace, mode == "auto" && has_namespaces(), "{probes:#}");
    }
}
