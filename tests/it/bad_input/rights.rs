//! Files and directories that a worker may not read or write, as somebody who is not root meets them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Duration};

use super::{Said, is_root, run, with_one};
use crate::support::{Project, eventually, git};

const NOBODY: &str = "65534";

/// Runs our programs as nobody where these tests are root's, else as who runs them.
struct Nobody {
    /// Copies of the programs: where they are built others may have no way to.
    programs: Option<tempfile::TempDir>,
}

impl Nobody {
    /// `None`, and the reason printed, where nobody can be nobody.
    fn new() -> Option<Self> {
        if !is_root("running as another user (it runs as this one)") {
            return Some(Self { programs: None });
        }
        if Command::new("setpriv").arg("--version").output().is_err() {
            eprintln!("skipped: there is no setpriv");
            return None;
        }
        let programs = tempfile::tempdir().expect("a directory");
        fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755)).expect("open to all");
        for (name, from) in
            [("agentctl", env!("CARGO_BIN_EXE_agentctl")), ("agent-daemon", env!("CARGO_BIN_EXE_agent-daemon"))]
        {
            fs::copy(from, programs.path().join(name)).expect("a copy");
            fs::set_permissions(programs.path().join(name), fs::Permissions::from_mode(0o755)).expect("executable");
        }
        Some(Self { programs: Some(programs) })
    }

    /// Makes a directory nobody's, with all below.
    fn owns(&self, dir: &Path) {
        if self.programs.is_some() {
            let own = Command::new("chown").args(["-R", &format!("{NOBODY}:{NOBODY}")]).arg(dir).status();
            assert!(own.expect("chown runs").success());
        }
    }

    fn command(&self, project: &Project, program: &str) -> Command {
        let Some(programs) = &self.programs else { return project.command(program) };
        let mut command = project.command("setpriv");
        command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).arg("--clear-groups");
        command.arg(programs.path().join(program));
        command
    }

    fn once(&self, project: &Project) -> Said {
        let mut daemon = self.command(project, "agent-daemon");
        daemon.args(["--role", "builder", "--once"]);
        run(daemon)
    }

    fn ctl(&self, project: &Project, line: &str) -> Said {
        let mut command = self.command(project, "agentctl");
        command.args(line.split_whitespace());
        run(command)
    }
}

fn set_mode(project: &Project, name: &str, mode: u32) {
    fs::set_permissions(project.path(name), fs::Permissions::from_mode(mode)).expect("its owner may");
}

/// What a process has used of the processors, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_directory_that_may_not_be_looked_into_is_told_and_nothing_is_lost() {
    let Some(nobody) = Nobody::new() else { return };
    for (name, can_list) in [(".leases", false), (".locks", true), (".oodatcaa/work", false)] {
        let project = with_one("exit 0");
        let before = project.text();
        for dir in [".leases", ".locks"] {
            fs::create_dir(project.path(dir)).expect("a directory");
        }
        nobody.owns(project.root());
        set_mode(&project, name, 0o000);
        nobody.once(&project).refused(77, "Permission denied").refused(77, name);
        match can_list {
            true => nobody.ctl(&project, "ls").ended(0),
            false => nobody.ctl(&project, "ls").refused(4, "Permission denied"),
        };
        nobody.ctl(&project, "task block A --reason x").refused(4, "Permission denied");
        set_mode(&project, name, 0o700);
        assert_eq!(project.text(), before, "{name}");
    }
}

#[test]
fn what_may_not_be_written_is_named_with_what_helps_and_work_goes_on_by_itself_once_it_may() {
    let Some(nobody) = Nobody::new() else { return };
    for (name, mode) in [
        (".oodatcaa/work/SPRINT_QUEUE.json", 0o000),
        (".oodatcaa/work", 0o500),
        (".oodatcaa/work/events.jsonl", 0o400),
        (".leases", 0o500),
        (".locks", 0o500),
        (".locks/queue.lock", 0o400),
    ] {
        let mut project = with_one("exit 0");
        let before = project.text();
        for dir in [".leases", ".locks"] {
            fs::create_dir(project.path(dir)).expect("a directory");
        }
        if !project.path(name).exists() {
            fs::write(project.path(name), "").expect("written");
        }
        nobody.owns(project.root());
        let open = fs::metadata(project.path(name)).expect("there").permissions().mode();
        set_mode(&project, name, mode);
        let said = nobody.once(&project);
        said.refused(77, "Permission denied").refused(77, name).refused(77, "namei -l ").refused(77, "agentctl doctor");
        let doctor = nobody.ctl(&project, "doctor");
        let told = project.path(name).display().to_string();
        assert!(doctor.ended(8).out.contains(&format!("✗ {told} cannot be read")), "{name}: {doctor:#?}");
        if name != ".leases" {
            nobody.ctl(&project, "task block A --reason x").refused(4, "Permission denied");
        }

        let mut daemon = nobody.command(&project, "agent-daemon");
        daemon.args(["--interval", "100ms"]);
        let n = project.start_as("builder", daemon);
        let errors =
            |project: &Project| project.log("builder", n).lines().filter(|line| line.contains("| ERROR |")).count();
        eventually("it is told", || (errors(&project) > 0).then_some(()));
        let used = ticks(project.pid(n));
        std::thread::sleep(Duration::from_secs(1));
        assert!(ticks(project.pid(n)) - used < 60, "{name}: it waits and does not spin");
        assert_eq!(errors(&project), 1, "{name}: told once: {}", project.log("builder", n));
        set_mode(&project, name, open);
        assert_eq!(project.text(), before, "{name}: not a byte");
        project.wait_for("A", "awaiting_test");
        assert_eq!(project.events_of("lease.acquired").len(), 1, "{name}");
        assert!(project.task("A")["attempts"].as_u64().unwrap_or(0) == 0, "{name}: nobody is charged");
    }
}

#[test]
fn an_end_that_may_not_be_written_down_is_waited_for_and_said_once() {
    let Some(nobody) = Nobody::new() else { return };
    for (name, mode, status, words) in [
        (".oodatcaa/work", 0o500, "in_progress", "cannot settle A yet (done)"),
        (".oodatcaa/work/events.jsonl", 0o400, "awaiting_test", "the events will be written before the next change"),
    ] {
        let mut project = with_one(&format!("chmod {mode:o} \"$OODATCAA_PROJECT/{name}\"; exit 0"));
        nobody.owns(project.root());
        let mut daemon = nobody.command(&project, "agent-daemon");
        daemon.args(["--interval", "100ms"]);
        let n = project.start_as("builder", daemon);
        let told = project.path(name).display().to_string();
        let complaints = |project: &Project| {
            project.log("builder", n).lines().filter(|line| line.contains(words) && line.contains(&told)).count()
        };
        eventually("it is told", || (complaints(&project) > 0).then_some(()));
        assert_eq!((project.status("A").as_str(), project.leases().len()), (status, 1), "nobody else may take it");
        set_mode(&project, name, 0o700);
        project.wait_for("A", "awaiting_test");
        assert_eq!(complaints(&project), 1, "{name}: {}", project.log("builder", n));
        assert_eq!(project.events_of("attempt.finished").len(), 1, "{name}");
        eventually("the lease goes", || project.leases().is_empty().then_some(()));
    }
}

#[test]
fn a_place_for_an_attempt_that_may_not_be_made_pauses_the_role_and_charges_nobody() {
    let Some(nobody) = Nobody::new() else { return };
    for is_tree in [false, true] {
        let mut project = with_one("echo made > made.txt; exit 0");
        let trees = is_tree.then(|| repository(&nobody, &project));
        let closed = trees.as_ref().map_or_else(|| project.path(".oodatcaa/runs"), |trees| trees.path().to_owned());
        fs::create_dir_all(&closed).expect("a directory");
        nobody.owns(project.root());
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).expect("closed");
        let told = closed.display().to_string();
        let said = nobody.once(&project);
        assert_eq!(said.ended(77).complaints().len(), 1, "{said:#?}");
        for words in [told.as_str(), "Permission denied", "after mending it: agentctl fleet start builder"] {
            assert!(said.err.contains(words), "{words}: {said:#?}");
        }
        let end = project.events_of("attempt.finished")[0]["data"].clone();
        assert_eq!((end["class"].as_str(), end["charged"].as_bool()), (Some("permission_denied"), None), "{end}");
        let inbox = nobody.ctl(&project, "inbox");
        assert!(inbox.out.contains(&told) && inbox.out.contains("agentctl fleet start builder"), "{inbox:#?}");
        let doctor = nobody.ctl(&project, "doctor");
        assert!(doctor.ended(8).out.contains(&format!("✗ {told} cannot be read")), "{doctor:#?}");

        // A worker that runs on in silence goes on once a person has mended it and says so.
        let n = project.start_as("builder", nobody.command(&project, "agent-daemon"));
        eventually("it says that it is paused", || {
            project.log("builder", n).contains("| WARN  | paused").then_some(())
        });
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("open");
        assert_eq!(project.events_of("lease.acquired").len(), 1, "nothing is tried meanwhile");
        nobody.ctl(&project, "fleet start builder --backend process").ended(0);
        project.wait_for("A", "awaiting_test");
        assert_eq!(project.task("A")["attempts"].as_u64().unwrap_or(0), 0);
        nobody.ctl(&project, "fleet stop --backend process --yes").ended(0);
    }
}

#[test]
fn a_lease_that_may_not_be_removed_is_told_once_and_removed_once_it_may() {
    let Some(nobody) = Nobody::new() else { return };
    let mut project = with_one("chmod 500 \"$OODATCAA_PROJECT/.leases\"; exit 0");
    nobody.owns(project.root());
    nobody.once(&project).ended(0);
    assert_eq!((project.status("A").as_str(), project.leases().len()), ("awaiting_test", 1));
    // Another worker finds the lease of one that is gone.
    let mut daemon = nobody.command(&project, "agent-daemon");
    daemon.args(["--interval", "100ms"]);
    let n = project.start_as("refiner", daemon);
    eventually("it says that it cannot remove it", || {
        (project.log("refiner", n).matches("remove the lease").count() > 2).then_some(())
    });
    assert_eq!(project.events_of("lease.rescued").len(), 1, "{}", project.log("refiner", n));
    assert_eq!(project.log("refiner", n).matches("is given back").count(), 1);
    set_mode(&project, ".leases", 0o700);
    eventually("the lease goes", || project.leases().is_empty().then_some(()));
    assert_eq!((project.status("A").as_str(), project.events_of("lease.rescued").len()), ("awaiting_test", 1));
}

/// A repository of nobody's, whose worktrees lie in the directory that is returned.
fn repository(nobody: &Nobody, project: &Project) -> tempfile::TempDir {
    let trees = tempfile::tempdir().expect("a directory");
    project.config(&format!("[workspace]\nmode = \"worktree\"\nroot = \"{}\"", trees.path().display()));
    fs::write(project.path(".gitignore"), "*\n!made.txt\n").expect("written");
    git(project.root(), &["init", "-q", "-b", "main"]);
    git(project.root(), &["commit", "-q", "--allow-empty", "-m", "first"]);
    nobody.owns(project.root());
    nobody.owns(trees.path());
    trees
}

#[test]
fn a_repository_that_may_not_be_written_charges_nobody_and_the_work_goes_in_once_it_may() {
    let Some(nobody) = Nobody::new() else { return };
    let project = with_one("echo made > made.txt; exit 0");
    let _trees = repository(&nobody, &project);
    // As one `sudo git gc` leaves it, for everybody else.
    let objects = |mode: &str| {
        let set = Command::new("chmod").args(["-R", mode]).arg(project.path(".git/objects")).status();
        assert!(set.expect("chmod runs").success());
    };
    objects("a-w");
    let said = nobody.once(&project);
    for words in ["insufficient permission", "builder is paused (environment)"] {
        assert!(said.err.contains(words), "{words}: {said:#?}");
    }
    let end = project.events_of("attempt.finished")[0]["data"].clone();
    assert_eq!((end["class"].as_str(), end["charged"].as_bool()), (Some("environment"), None), "{end}");
    assert_eq!((project.status("A").as_str(), project.task("A")["attempts"].as_u64().unwrap_or(0)), ("ready", 0));
    objects("u+w");
    nobody.ctl(&project, "fleet start builder --backend process").ended(0);
    project.wait_for("A", "awaiting_test");
    nobody.ctl(&project, "fleet stop --backend process --yes").ended(0);
    let branch = project.task("A")["branch"].as_str().expect("a branch").to_owned();
    let safe = format!("safe.directory={}", project.root().display());
    let made = git(project.root(), &["-c", &safe, "show", &format!("{branch}:made.txt")]);
    assert_eq!(made, "made");
}

#[test]
fn a_file_that_its_agent_has_closed_is_no_work_and_is_named() {
    let Some(nobody) = Nobody::new() else { return };
    let project = with_one("echo made > made.txt; chmod 000 made.txt; exit 0");
    let _trees = repository(&nobody, &project);
    nobody.once(&project);
    let end = project.events_of("attempt.finished")[0]["data"].clone();
    assert_eq!((end["class"].as_str(), end["charged"].as_bool()), (Some("no_evidence"), Some(true)), "{end}");
    let reason = end["reason"].as_str().expect("a reason");
    assert!(reason.contains("could not be taken in") && reason.contains("made.txt"), "{reason}");
}

#[test]
fn a_users_own_state_that_may_not_be_written_is_told_by_whoever_needs_it() {
    let Some(nobody) = Nobody::new() else { return };
    let project = with_one("exit 0");
    let state = project.path(".local/state/oodatcaa");
    fs::create_dir_all(&state).expect("a directory");
    nobody.owns(project.root());
    fs::set_permissions(&state, fs::Permissions::from_mode(0o500)).expect("closed");
    let told = state.display().to_string();
    let before = project.text();
    let mut trust = nobody.command(&project, "agentctl");
    trust.args(["config", "trust", "--yes"]).env_remove("OODATCAA_TRUST_PROJECT");
    let trusted = run(trust);
    assert!(trusted.code != Some(0) && trusted.err.contains(&told), "{trusted:#?}");
    assert!(trusted.err.contains("Permission denied") && trusted.err.contains(" hint: "), "{trusted:#?}");
    let doctor = nobody.ctl(&project, "doctor");
    assert!(doctor.ended(8).out.contains(&format!("✗ {told} cannot be read and written")), "{doctor:#?}");
    // Nothing is trusted: no worker starts.
    let mut daemon = nobody.command(&project, "agent-daemon");
    daemon.args(["--role", "builder", "--once"]).env_remove("OODATCAA_TRUST_PROJECT");
    run(daemon).refused(77, "agentctl config trust");
    assert_eq!(project.text(), before);
    // Who has trusted it otherwise is told that counts may be lost, and works.
    let said = nobody.once(&project);
    assert!(
        said.err.contains("starts are counted in the project's own files only") && said.err.contains(&told),
        "{said:#?}"
    );
    assert_eq!(said.ended(0).complaints().len(), 1, "{said:#?}");
    assert_eq!(project.status("A"), "awaiting_test");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("open");
}
