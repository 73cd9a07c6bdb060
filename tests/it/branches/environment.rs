//! What is the environment's fault: a gate that nobody could pass, a program that is not there.

use serde_json::{Value, json};

use super::{repository, with_trees};
use crate::support::{Project, eventually, git};

const WORKS: &str = "echo more >> made.txt; exit 0";

/// A builder with one gate.
fn gated(argv: &str, more: &str) -> Project {
    let project = repository(
        WORKS,
        &format!("[roles.builder]\ngates = [\"check\"]\n[gates.check]\nargv = [\"sh\", \"-c\", \"{argv}\"]\n{more}"),
    );
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    project
}

fn last_end(project: &Project) -> Value {
    project.events_of("attempt.finished").last().expect("an attempt has ended")["data"].clone()
}

fn nobody_is_charged_and_the_role_waits(project: &Project) -> String {
    let end = last_end(project);
    assert_eq!((end["class"].as_str(), end["charged"].as_bool()), (Some("environment"), None), "{end}");
    assert_eq!((project.status("A").as_str(), project.task("A")["attempts"].as_u64().unwrap_or(0)), ("ready", 0));
    let pauses = project.events_of("worker.paused");
    assert_eq!(pauses.len(), 1, "told once");
    project.once("builder");
    assert_eq!(project.events_of("lease.acquired").len(), 1, "and nothing is tried meanwhile");
    pauses[0]["data"]["reason"].as_str().expect("a reason").to_owned()
}

#[test]
fn a_gate_that_is_red_where_nobody_worked_is_held_against_nobody() {
    let project = gated("echo pytest is not here; false", "");
    let _trees = with_trees(&project);
    project.once("builder");
    let reason = nobody_is_charged_and_the_role_waits(&project);
    for word in ["pytest is not here", "baseline = \"skip\"", "agentctl fleet start builder"] {
        assert!(reason.contains(word), "{word}: {reason}");
    }
    let tried: Vec<bool> = project.events_of("gate.finished").iter().map(|e| e["data"]["tried"].is_string()).collect();
    assert_eq!(tried, [false, true]);
    let trees = super::state_home(&project);
    let left = walk(&trees).into_iter().filter(|name| name.starts_with("merge-base-")).count();
    assert_eq!(left, 0, "the tree that it was tried in is gone");
}

#[test]
fn doctor_tries_gates_where_nobody_has_worked_when_it_is_asked_to() {
    for (argv, code, words) in [
        ("echo pytest is not here; false", 8, "gate `check` is red where nobody has worked"),
        ("true", 0, "gate `check` is green where nobody has worked"),
    ] {
        let project = gated(argv, "");
        let _trees = with_trees(&project);
        let doctor = |args: &[&str]| {
            let output = project.command("agentctl").arg("doctor").args(args).output().expect("agentctl");
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (answer, said) = doctor(&["--gates"]);
        assert_eq!(answer, Some(code), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!doctor(&[]).1.contains("where nobody has worked"), "only then");
        assert!(!project.path("made.txt").exists() && project.agents().is_empty());
    }
}

fn walk(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let own = entry.file_name().to_string_lossy().into_owned();
            let below = if entry.path().is_dir() { walk(&entry.path()) } else { Vec::new() };
            std::iter::once(own).chain(below)
        })
        .collect()
}

#[test]
fn a_gate_that_was_green_before_the_work_counts() {
    let project = gated("! test -e made.txt", "");
    let _trees = with_trees(&project);
    project.once("builder");
    let end = last_end(&project);
    assert_eq!((end["class"].as_str(), end["charged"].as_bool()), (Some("gate_failed"), Some(true)), "{end}");
    eventually("it is tried again", || {
        project.once("builder");
        (project.events_of("attempt.finished").len() == 2).then_some(())
    });
    let tried = project.events_of("gate.finished").iter().filter(|e| e["data"]["tried"].is_string()).count();
    assert_eq!(tried, 1, "green is remembered");
}

#[test]
fn of_the_many_lines_of_a_red_gate_the_one_that_says_why_is_told_first() {
    let says = "seq -f 'tests/test_%g.py ................... [ok]' 30; echo 'E   AssertionError: wanted 3, got 4'; \
                seq -f 'tests/test_%g.py ................... [ok]' 5; echo '1 failed, 35 passed'; test ! -e made.txt";
    let project = gated(says, "");
    let _trees = with_trees(&project);
    let said = project.once("builder");
    let log = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(log.contains("the gate `check` ended with exit status 1: E   AssertionError: wanted 3, got 4"), "{log}");
    let why = project.command("agentctl").args(["run", "show", "A"]).output().expect("agentctl");
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    let says = why.lines().find(|line| line.starts_with("says")).expect("it says why");
    assert!(says.find("wanted 3, got 4").is_some_and(|at| at < 100), "{says}");
    eventually("it is tried again", || {
        project.once("builder");
        (project.events_of("attempt.finished").len() == 2).then_some(())
    });
    let prompt = std::fs::read_to_string(project.path(".oodatcaa/runs/A/2/prompt.md")).expect("a prompt");
    assert!(prompt.contains("wanted 3, got 4") && prompt.contains("1 failed, 35 passed"), "{prompt}");
}

#[test]
fn a_gate_that_is_meant_to_be_red_before_the_work_is_not_tried_there() {
    let project = gated("test -e never", "baseline = \"skip\"");
    let _trees = with_trees(&project);
    project.once("builder");
    assert_eq!(last_end(&project)["class"], "gate_failed");
    assert_eq!(project.events_of("gate.finished").len(), 1);
}

#[test]
fn a_gate_that_cannot_be_run_is_the_environments_fault_also_where_there_is_no_git() {
    for argv in ["[\"no-such-program\"]", "[\"sh\", \"-c\", \"no-such-program --all\"]"] {
        let project = Project::that_succeeds();
        project.config(&format!("[roles.builder]\ngates = [\"check\"]\n[gates.check]\nargv = {argv}"));
        project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
        project.once("builder");
        let reason = nobody_is_charged_and_the_role_waits(&project);
        assert!(reason.contains("no-such-program"), "{reason}");
    }
}

#[test]
fn an_agent_whose_own_programs_are_missing_or_whose_disk_is_full_is_not_charged() {
    for (script, class) in [
        ("no-such-interpreter x", "agent_not_found"),
        ("echo 'write error: No space left on device' >&2; exit 1", "environment"),
    ] {
        let project = Project::new(script);
        project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
        project.once("builder");
        let end = last_end(&project);
        assert_eq!((end["class"].as_str(), end["charged"].as_bool()), (Some(class), None), "{end}");
        assert_eq!(project.events_of("worker.paused").len(), 1);
    }
}

#[test]
fn a_filter_of_git_that_is_missing_charges_nobody_and_is_named_to_a_person() {
    let project = repository(WORKS, "");
    let _trees = with_trees(&project);
    std::fs::write(project.path(".gitattributes"), "*.bin filter=large -text\n").expect("written");
    std::fs::write(project.path("big.bin"), "version https://git-lfs.github.com/spec/v1\n").expect("written");
    crate::support::git(project.root(), &["add", ".gitattributes", "big.bin"]);
    crate::support::git(project.root(), &["commit", "-q", "-m", "large files"]);
    // As git-lfs sets itself up for its user, whose services do not find it.
    let set = "[filter \"large\"]\nprocess = no-git-lfs filter-process\nclean = no-git-lfs clean -- %f\n\
               smudge = no-git-lfs smudge -- %f\nrequired = true\n";
    std::fs::write(project.path(".gitconfig"), set).expect("written");
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    project.once("builder");
    let reason = nobody_is_charged_and_the_role_waits(&project);
    assert!(reason.contains("no-git-lfs: not found"), "{reason}");
    for verb in [&["why", "A"][..], &["inbox"], &["status"]] {
        let said = project.command("agentctl").args(verb).output().expect("agentctl");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("no-git-lfs"), "{verb:?}: {said}");
        assert!(verb == ["status"] || said.contains("agentctl fleet start builder"), "{verb:?}: {said}");
    }
}

#[test]
fn an_agent_for_an_interpreter_that_is_missing_charges_nobody_and_its_name_is_told() {
    for adapter in [false, true] {
        let project = Project::that_succeeds();
        let program = project.path("claude");
        std::fs::write(&program, "#!/usr/bin/env no-such-node\n").expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).expect("made executable");
        let set = format!(
            "set = {{ PATH = \"{}:/usr/bin:/bin\", ANTHROPIC_API_KEY = \"none\" }}\n",
            project.root().display()
        );
        let agent = match adapter {
            true => format!("kind = \"claude\"\n{set}"),
            false => format!("argv = [\"{}\"]\n", program.display()),
        };
        project.config(&format!("[roles.builder]\nagent = \"cli\"\n[agents.cli]\n{agent}"));
        project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
        let said = project.once("builder");
        assert!(!project.events_of("attempt.finished").is_empty(), "{said:?}");
        let end = last_end(&project);
        assert_eq!((end["class"].as_str(), end["charged"].as_bool()), (Some("agent_not_found"), None), "{end}");
        assert_eq!(project.status("A"), "ready");
        project.once("builder");
        assert_eq!(project.events_of("lease.acquired").len(), 1, "it is not tried again");
        let inbox = project.command("agentctl").arg("inbox").output().expect("agentctl");
        let inbox = String::from_utf8_lossy(&inbox.stdout).into_owned();
        assert!(inbox.contains("no-such-node") && inbox.contains("agentctl fleet start builder"), "{inbox}");
    }
}

#[test]
fn a_setup_that_fails_is_tried_again_for_a_while_before_its_role_pauses_and_somebody_is_told() {
    let mut project = repository(WORKS, "");
    let _trees = with_trees(&project);
    let config = std::fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("read");
    let setup =
        format!("setup = [\"sh\", \"-c\", \"echo no network; test -e '{}'\"]", project.path("online.log").display());
    let config = config.replace("mode = \"worktree\"", &format!("mode = \"worktree\"\n{setup}"));
    let config = config.replace("retry.backoff = \"50ms\"", "retry.backoff = \"50ms\"\nretry.backoff_max = \"50ms\"");
    std::fs::write(project.path(".oodatcaa/config.toml"), config).expect("written");
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    let n = project.start("builder", &["--interval", "200ms"]);
    eventually("it is tried again", || (project.events_of("attempt.finished").len() >= 2).then_some(()));
    assert!(project.events_of("worker.paused").is_empty());
    // Between two tries it is claimable for a moment.
    eventually("it is told why", || {
        let why = project.command("agentctl").args(["why", "A"]).output().expect("agentctl");
        String::from_utf8_lossy(&why.stdout).contains("no network").then_some(())
    });
    eventually("at last somebody is told", || (!project.events_of("worker.paused").is_empty()).then_some(()));
    let ends = project.events_of("attempt.finished");
    assert_eq!(ends.len(), 11);
    assert!(ends.iter().all(|end| end["data"]["charged"].is_null()), "{ends:?}");
    assert!(project.task("A")["starts"].as_u64().unwrap_or(0) <= 1, "no agent was started: {}", project.task("A"));
    project.signal(n, rustix::process::Signal::TERM);
    assert_eq!(project.ended(n), Some(0));
    std::fs::write(project.path("online.log"), "").expect("written");
    let resumed = project.command("agentctl").args(["fleet", "start", "builder"]).output().expect("agentctl");
    assert!(resumed.status.success(), "{resumed:?}");
    project.wait_for("A", "awaiting_test");
    project.command("agentctl").args(["fleet", "stop", "--yes"]).output().expect("agentctl");
}

#[test]
fn a_setup_whose_program_is_missing_is_told_at_once() {
    let project = repository(WORKS, "");
    let _trees = with_trees(&project);
    let config = std::fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("read");
    let config = config.replace("mode = \"worktree\"", "mode = \"worktree\"\nsetup = [\"no-such-installer\"]");
    std::fs::write(project.path(".oodatcaa/config.toml"), config).expect("written");
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    project.once("builder");
    let reason = nobody_is_charged_and_the_role_waits(&project);
    assert!(reason.contains("setup") && reason.contains("cannot be started"), "{reason}");
}

#[test]
fn doctor_tries_the_gates_where_nobody_has_worked_and_says_what_nothing_proves() {
    let project = gated("echo module pytest is missing; test -e nowhere", "");
    let _trees = with_trees(&project);
    let doctor = |args: &[&str]| {
        let said = project.command("agentctl").arg("doctor").args(args).output().expect("agentctl");
        (said.status.code(), String::from_utf8_lossy(&said.stdout).into_owned())
    };
    let (code, said) = doctor(&["--gates"]);
    assert_ne!(code, Some(0), "{said}");
    for words in ["is red where nobody has worked", "module pytest is missing", "baseline = \"skip\""] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.contains("the integrator has no gate"), "{said}");
    let config = std::fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("read");
    let config = config.replace("test -e nowhere", "true").replace("gates = [\"check\"]", "");
    std::fs::write(project.path(".oodatcaa/config.toml"), config).expect("written");
    let (code, said) = doctor(&["--gates"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("is green where nobody has worked") && said.contains("no role has a gate"), "{said}");
    let left = walk(&super::state_home(&project)).into_iter().filter(|name| name.contains("doctor")).count();
    assert_eq!(left, 0, "the tree that they were tried in is gone");
}

#[test]
fn every_command_that_gives_back_what_a_dead_worker_held_saves_its_work_as_a_worker_does() {
    let saved = "A: uncommitted work was saved as refs/oodatcaa/wip/";
    gives_back_and_saves(&["doctor", "--fix"], saved);
    gives_back_and_saves(&["lease", "release", "A"], saved);
    gives_back_and_saves(&["queue", "repair", "--yes"], saved);
    gives_back_and_saves(&["task", "move", "A", "ready"], saved);
}

fn gives_back_and_saves(command: &[&str], words: &str) {
    let mut project = repository("echo half > half.txt; exec sleep 1000", "");
    let _trees = with_trees(&project);
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    let n = project.start("builder", &["--interval", "1s"]);
    let half = |name: &String| name == "half.txt";
    eventually("the agent has written", || walk(&super::state_home(&project)).iter().any(half).then_some(()));
    project.signal(n, rustix::process::Signal::KILL);
    project.ended(n);
    let said = project.command("agentctl").args(command).output().expect("agentctl");
    let said =
        format!("{command:?}: {}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.contains(words), "{said}");
    assert_eq!(project.task("A")["status"], "ready", "{said}");
    let saved = git(project.root(), &["for-each-ref", "--format=%(refname)", "refs/oodatcaa/wip"]);
    assert_eq!(git(project.root(), &["show", &format!("{saved}:half.txt")]), "half", "{said}");
    assert!(project.agents().is_empty(), "nothing of it runs");
}
