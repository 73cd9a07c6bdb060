//! Links, and directories that may not be looked into.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
};

use super::{ctl, is_root, once, run, with_one};
use crate::support::Project;

/// A directory beside the project, in which nothing of ours may appear.
fn elsewhere() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn is_empty(dir: &tempfile::TempDir) -> bool {
    fs::read_dir(dir.path()).expect("a directory").next().is_none()
}

#[test]
fn a_directory_of_ours_that_is_a_link_is_refused_and_not_followed() {
    for name in [".leases", ".locks", ".oodatcaa/runs", ".oodatcaa/work"] {
        let (project, outside) = (with_one("exit 0"), elsewhere());
        if name.ends_with("work") {
            fs::rename(project.path(name), project.path("moved")).expect("moved");
        }
        symlink(outside.path(), project.path(name)).expect("a link");
        once(&project, "builder").refused(77, &format!("{name}: it is a symbolic link"));
        ctl(&project, "ls").refused(4, "it is a symbolic link");
        ctl(&project, "task block A --reason x").refused(4, "it is a symbolic link");
        assert!(is_empty(&outside), "{name}");
    }
}

#[test]
fn a_tasks_directory_that_is_a_link_pauses_the_role_and_is_not_followed() {
    let (project, outside) = (with_one("exit 0"), elsewhere());
    fs::create_dir(project.path(".oodatcaa/runs")).expect("a directory");
    symlink(outside.path(), project.path(".oodatcaa/runs/A")).expect("a link");
    let said = once(&project, "builder");
    assert_eq!(said.ended(77).complaints().len(), 1, "{said:#?}");
    assert!(said.err.contains("runs/A is a symbolic link; move it away; after mending it: "), "{said:#?}");
    assert!(is_empty(&outside));
    assert_eq!(project.status("A"), "ready");
    assert!(project.task("A")["attempts"].is_null(), "nobody is charged for it");
}

#[test]
fn a_queue_that_is_a_link_is_refused_and_not_replaced() {
    let project = Project::that_succeeds();
    let real = project.path("real.json");
    fs::write(&real, r#"{"tasks":[{"id":"A","title":"t","status":"ready"}]}"#).expect("written");
    symlink(&real, project.queue_file()).expect("a link");
    let before = project.text();
    once(&project, "builder").refused(77, "SPRINT_QUEUE.json: it is a symbolic link");
    ctl(&project, "ls").refused(4, "it is a symbolic link");
    assert_eq!(fs::read_to_string(&real).expect("text"), before);
    assert!(fs::symlink_metadata(project.queue_file()).expect("there").is_symlink());
}

#[test]
fn a_lock_or_a_journal_that_is_a_link_is_refused_and_its_target_kept() {
    for name in [".locks/queue.lock", ".oodatcaa/work/events.jsonl"] {
        let project = with_one("exit 0");
        let precious = project.path("precious");
        fs::write(&precious, "precious\n").expect("written");
        fs::create_dir_all(project.path(".locks")).expect("a directory");
        symlink(&precious, project.path(name)).expect("a link");
        once(&project, "builder").refused(77, &format!("{name}: it is a symbolic link"));
        assert_eq!(fs::read_to_string(&precious).expect("text"), "precious\n");
        assert_eq!(project.status("A"), "ready");
    }
}

#[test]
fn a_log_that_was_replaced_by_a_link_is_not_followed() {
    let project = with_one("exit 0");
    once(&project, "builder").ended(0);
    let (log, secret) = (project.path(".oodatcaa/runs/A/1/stdout.log"), project.path("secret"));
    fs::write(&secret, "s3cret").expect("written");
    fs::remove_file(&log).expect("removed");
    symlink(&secret, &log).expect("a link");
    let said = ctl(&project, "logs A");
    assert!(said.code != Some(0) && !said.out.contains("s3cret"), "{said:#?}");
    assert_eq!(said.errors().len(), 1, "{said:#?}");
}

/// The project and our programs belong to nobody in particular, and so does who runs them.
fn unprivileged(project: &Project, program: &str) -> Command {
    let own = project.command(program);
    if !rustix::process::geteuid().is_root() {
        return own;
    }
    // Where the programs are built others may have no way to.
    let copy = project.path(program);
    if !copy.exists() {
        fs::copy(own.get_program(), &copy).expect("a copy");
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let mut command = project.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
    command
}

#[test]
fn a_directory_that_may_not_be_looked_into_is_told_and_nothing_is_lost() {
    let root = is_root("running as another user (it runs as this one)");
    if root && Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("skipped: there is no setpriv");
        return;
    }
    for (name, can_list) in [(".leases", false), (".locks", true), (".oodatcaa/work", false)] {
        let project = with_one("exit 0");
        let before = project.text();
        for dir in [".leases", ".locks"] {
            fs::create_dir(project.path(dir)).expect("a directory");
        }
        if root {
            let own = Command::new("chown").args(["-R", "65534:65534"]).arg(project.root()).status();
            assert!(own.expect("chown runs").success());
        }
        fs::set_permissions(project.path(name), fs::Permissions::from_mode(0o000)).expect("no permission");
        let mut daemon = unprivileged(&project, "agent-daemon");
        daemon.args(["--role", "builder", "--once"]);
        run(daemon).refused(77, "Permission denied").refused(77, name);
        let mut list = unprivileged(&project, "agentctl");
        list.arg("ls");
        match can_list {
            true => run(list).ended(0),
            false => run(list).refused(4, "Permission denied"),
        };
        let mut block = unprivileged(&project, "agentctl");
        block.args(["task", "block", "A", "--reason", "x"]);
        run(block).refused(4, "Permission denied");
        fs::set_permissions(project.path(name), fs::Permissions::from_mode(0o700)).expect("permission");
        assert_eq!(project.text(), before, "{name}");
    }
}
