//! Links in the place of our files and directories.

use std::{fs, os::unix::fs::symlink};

use super::{ctl, once, with_one};
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
