//! `agentctl init`, `doctor` and `config` as a person or a script runs them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// A home, a search path with one agent program on it, and a git project.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        for name in ["home", "bin", "p"] {
            fs::create_dir_all(place.at(name)).unwrap();
        }
        crate::support::git(&place.at("p"), &["init", "-q"]);
        crate::support::git(&place.at("p"), &["commit", "-q", "--allow-empty", "-m", "first"]);
        for name in ["claude", "cargo"] {
            fs::write(place.at("bin").join(name), "").unwrap();
            fs::set_permissions(place.at("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = std::env::var_os("PATH").unwrap();
        let git = std::env::split_paths(&path).map(|dir| dir.join("git")).find(|git| git.is_file()).expect("git");
        std::os::unix::fs::symlink(git, place.at("bin/git")).unwrap();
        fs::write(place.at("p/Cargo.toml"), "").unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_in(&self.at("p"), args, &[])
    }

    fn run_in(&self, cwd: &Path, args: &[&str], vars: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentctl"));
        command.env_clear().env("HOME", self.at("home")).env("PATH", self.at("bin")).env("LANG", "C.UTF-8");
        command.envs(vars.iter().copied()).current_dir(cwd).args(args).stdin(Stdio::null()).output().unwrap()
    }
}

#[track_caller]
fn ok(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn fails(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_newcomer_gets_from_nothing_to_a_healthy_project() {
    let place = Place::new();
    let told = fails(&place.run(&["init"]), 2);
    assert!(told.contains("--yes"), "{told}");
    assert!(!place.at("p/.oodatcaa").exists(), "nothing was written without a yes");
    let shown = ok(&place.run(&["init", "--dry-run"]));
    for words in [
        "SPRINT_QUEUE.json",
        "nothing is merged before you have approved it: agentctl inbox",
        "a git worktree and a branch of its own",
        "at most 12 starts of agents a task and 1000 a day",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!place.at("p/.oodatcaa").exists(), "nothing was written by a dry run");

    ok(&place.run(&["init", "--yes"]));
    let report = ok(&place.run(&["doctor"]));
    assert!(!report.contains('✗'), "{report}");
    // Every command that sees the project works.
    ok(&place.run(&["ls"]));
    ok(&place.run(&["queue", "validate"]));
    ok(&place.run(&["config", "trust"]));
}

#[test]
fn a_project_whose_test_tool_is_missing_gets_no_gate_and_the_reason_and_doctor_names_one_that_was_written_by_hand() {
    let place = Place::new();
    fs::remove_file(place.at("p/Cargo.toml")).unwrap();
    fs::write(place.at("p/pyproject.toml"), "").unwrap();
    fs::create_dir(place.at("p/tests")).unwrap();
    let shown = ok(&place.run(&["init", "--dry-run"]));
    assert!(shown.contains("no gate `python3 -m pytest`: `python3` is not found"), "{shown}");

    // A Python that looks for the module and does not find it.
    let python = |code: u8| {
        fs::write(place.at("bin/python3"), format!("#!/bin/sh\nexit {code}\n")).unwrap();
        fs::set_permissions(place.at("bin/python3"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    python(1);
    let shown = ok(&place.run(&["init", "--yes"]));
    for words in ["no gate `python3 -m pytest`: `python3` has no module `pytest`", "agentctl config show --default"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let config = place.at("p/.oodatcaa/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    assert!(!text.contains("pytest") && !text.contains("\ngates = "), "{text}");
    let report = ok(&place.run(&["doctor"]));
    assert!(report.contains("no role has a gate"), "{report}");

    let gate = "[gates.test]\nargv = [\"python3\", \"-m\", \"pytest\"]\n";
    fs::write(&config, text.replace("[roles.builder]\n", "[roles.builder]\ngates = [\"test\"]\n") + gate).unwrap();
    ok(&place.run(&["config", "trust", "--yes"]));
    let report = fails_with_report(&place, 8);
    assert!(report.contains("`python3` has no module `pytest`"), "{report}");
    python(0);
    ok(&place.run(&["doctor"]));
}

/// The example of the document, as somebody would copy it.
fn example_of_the_document() -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/agents.md")).unwrap();
    let (_, rest) = text.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0.into()
}

#[test]
fn what_is_appended_to_the_configuration_that_init_wrote_is_used_or_told_with_both_lines() {
    let place = Place::new();
    ok(&place.run(&["init", "--yes"]));
    let config = place.at("p/.oodatcaa/config.toml");
    let written = fs::read_to_string(&config).unwrap();

    // A further agent: what `init` prints is what can be appended.
    let shown = ok(&place.run(&["init", "--agent", "codex", "--dry-run"]));
    assert!(shown.contains("config.toml is there and stays"), "{shown}");
    let (_, block) = shown.split_once("[agents.codex]").unwrap();
    let block: Vec<&str> = block.lines().take_while(|line| !line.contains("nothing")).collect();
    fs::write(&config, format!("{written}[agents.codex]{}\n", block.join("\n"))).unwrap();
    ok(&place.run(&["config", "trust", "--yes"]));
    assert!(ok(&place.run(&["config", "show", "agents.codex"])).contains("codex"));

    // The document's example has tables that stand there already.
    let example = example_of_the_document();
    assert!(example.starts_with("[fleet]\nagent = \"mine\"") && example.contains("[gates.test]"), "{example}");
    let line = |text: &str, which: &str| text.lines().position(|line| line == which).unwrap() + 1;
    fs::write(&config, format!("{written}{example}")).unwrap();
    let told = fails(&place.run(&["config", "show"]), 1);
    let (first, second) = (line(&written, "[fleet]"), written.lines().count() + 1);
    for words in [
        format!("config.toml:{second}:"),
        "the table `[fleet]` is defined twice".into(),
        format!("it begins in line {first}: move the keys below line {second} there"),
    ] {
        assert!(told.contains(&words), "{words}: {told}");
    }
    // Alone it is a whole configuration, for the fleet of somebody who has none.
    fs::write(&config, &example).unwrap();
    ok(&place.run(&["config", "trust", "--yes"]));
    let used = ok(&place.run(&["config", "show"]));
    assert!(used.contains("mine"), "{used}");
}

#[test]
fn lines_that_are_appended_to_a_file_of_the_users_leave_what_stands_there_and_are_appended_once() {
    let place = Place::new();
    let ignore = place.at("p/.gitignore");
    fs::write(&ignore, "# mine\n/target").unwrap();
    ok(&place.run(&["init", "--yes"]));
    let once = fs::read_to_string(&ignore).unwrap();
    assert!(once.starts_with("# mine\n/target\n") && once.contains("/.oodatcaa/runs/"), "{once}");
    fs::remove_file(place.at("p/.oodatcaa/prompts/tester.md")).unwrap();
    ok(&place.run(&["init", "--yes"]));
    assert_eq!(fs::read_to_string(&ignore).unwrap(), once);
    assert!(place.at("p/.oodatcaa/prompts/tester.md").exists(), "only what is missing is added");
}

#[test]
fn of_a_chain_of_agents_doctor_names_the_one_that_is_missing_and_who_works_meanwhile() {
    let place = Place::new();
    ok(&place.run(&["init", "--yes"]));
    let config = place.at("p/.oodatcaa/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let chain = "[roles.builder]\nagents = [\"gone\", \"claude\"]\n";
    let gone = "[agents.gone]\nargv = [\"no-such-agent\"]\n";
    fs::write(&config, text.replace("[roles.builder]\n", chain) + gone).unwrap();
    ok(&place.run(&["config", "trust", "--yes"]));
    let report = ok(&place.run(&["doctor"]));
    for words in [
        " ! agent `gone` (builder): `no-such-agent` is not found",
        "its roles work with their other agents meanwhile",
        "agent `claude` (planner, builder, tester, refiner, integrator) is there",
    ] {
        assert!(report.contains(words), "{words}: {report}");
    }
    fs::remove_file(place.at("bin/claude")).unwrap();
    let report = fails_with_report(&place, 8);
    assert!(report.contains(" ✗ agent `gone` (builder): `no-such-agent` is not found"), "{report}");
    assert!(report.contains(" ✗ agent `claude` (planner, builder,"), "{report}");
}

#[test]
fn origins_are_told_for_every_layer() {
    let place = Place::new();
    ok(&place.run(&["init", "--yes"]));
    fs::write(place.at("p/.oodatcaa/config.local.toml"), "\n[fleet]\ngrace = \"9s\"\n").unwrap();
    fs::create_dir_all(place.at("home/.config/oodatcaa")).unwrap();
    fs::write(place.at("home/.config/oodatcaa/config.toml"), "[retry]\nattempts = 7\n").unwrap();
    let vars = [("OODATCAA_INTERVAL", "5s"), ("OODATCAA_TRUST_PROJECT", "1")];
    let output = place.run_in(&place.at("p"), &["config", "show", "--json"], &vars);
    ok(&output);
    let report = json(&output);
    let origin = |key: &str| {
        let all = report["settings"].as_array().unwrap();
        all.iter().find(|setting| setting["key"] == key).unwrap()["origin"].clone()
    };
    assert_eq!(origin("fleet.interval")["name"], "OODATCAA_INTERVAL");
    assert_eq!(origin("fleet.grace")["line"], 3);
    assert!(origin("retry.attempts")["path"].as_str().unwrap().starts_with(place.at("home").to_str().unwrap()));
    assert_eq!(origin("fleet.shutdown_timeout")["kind"], "default");
    assert_eq!(report["trust"], "trusted");

    let table = ok(&place.run_in(&place.at("p"), &["config", "show", "--origin", "fleet.grace"], &vars));
    assert!(table.contains("\"9s\"") && table.contains("config.local.toml:3"), "{table}");
    assert!(ok(&place.run(&["config", "show", "--default"])).contains("[roles.planner]"));
}

#[test]
fn a_cloned_project_runs_nothing_until_it_is_trusted() {
    let place = Place::new();
    ok(&place.run(&["init", "--yes"]));
    // Another user, the same clone.
    fs::remove_dir_all(place.at("home")).unwrap();
    fs::create_dir(place.at("home")).unwrap();
    let report = fails_with_report(&place, 8);
    assert!(report.contains("agentctl config trust"), "{report}");
    let told = fails(&place.run(&["config", "trust"]), 2);
    assert!(told.contains("--yes"), "{told}");
    let shown = ok(&place.run(&["config", "trust", "--yes"]));
    assert!(shown.contains("kind = \"claude\"") && shown.contains("gate test"), "{shown}");
    let projects = fs::read_dir(place.at("home/.local/state/oodatcaa/projects")).unwrap();
    let trust = projects.flatten().next().unwrap().path().join("trust.json");
    assert_eq!(trust.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    ok(&place.run(&["doctor"]));
    let mut config = fs::read_to_string(place.at("p/.oodatcaa/config.toml")).unwrap();
    config.push_str("\n# pulled from somewhere\n");
    fs::write(place.at("p/.oodatcaa/config.toml"), config).unwrap();
    assert!(fails_with_report(&place, 8).contains("changed since you trusted"));
}

fn fails_with_report(place: &Place, code: i32) -> String {
    let output = place.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_mistake_in_the_configuration_is_told_with_its_place() {
    let place = Place::new();
    ok(&place.run(&["init", "--yes"]));
    fs::write(place.at("p/.oodatcaa/config.local.toml"), "[fleet]\ninterval = \"soon\"\n").unwrap();
    let told = fails(&place.run(&["config", "show"]), 1);
    assert!(told.starts_with("error: ") && told.contains("config.local.toml:2:1: `fleet.interval`"), "{told}");
    assert!(told.contains(" hint: ") && told.contains("agentctl config show --default"), "{told}");
    fs::write(place.at("p/.oodatcaa/config.local.toml"), "[fleet]\nintervall = 5\n").unwrap();
    let told = fails(&place.run(&["config", "show"]), 1);
    assert!(told.contains("config.local.toml:2:1: ") && told.contains("did you mean `interval`?"), "{told}");
}

#[test]
fn the_old_systems_queues_are_used_as_they_are() {
    let queues = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queues");
    for entry in fs::read_dir(queues).unwrap() {
        let file = entry.unwrap().path();
        let place = Place::new();
        fs::create_dir_all(place.at("p/.oodatcaa/work")).unwrap();
        let queue = place.at("p/.oodatcaa/work/SPRINT_QUEUE.json");
        fs::copy(&file, &queue).unwrap();
        ok(&place.run(&["init", "--yes"]));
        assert_eq!(fs::read(&queue).unwrap(), fs::read(&file).unwrap(), "{}", file.display());
        assert!(place.at("p/.oodatcaa/prompts/builder.md").is_file());
    }
}
