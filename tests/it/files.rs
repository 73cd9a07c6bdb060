//! File systems and tools that do not play by the rules: deaf ones, ones whose locks keep nobody out, and git.

use std::{
    fs,
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::json;

use crate::support::{
    Project, eventually, git,
    tools::{available, traced},
    witness::Witness,
};

/// A worker in whose system calls these faults are put.
fn faulty(project: &Project, witness: &Witness, name: &str, args: &[&str], faults: &[&str]) -> Ended {
    let mut command = project.command("agent-daemon");
    command.args(["--role", "builder", "--owner", name]).args(args);
    Ended(witness.run(traced(&command, &witness.path(name), faults)), project.root().to_owned())
}

/// A traced worker; it ends with the test.
struct Ended(std::process::Child, std::path::PathBuf);

impl Drop for Ended {
    fn drop(&mut self) {
        Witness::end_all(&self.1);
        let _ = self.0.wait();
    }
}

#[test]
fn notes_of_changes_that_never_come_are_made_up_for_by_the_poll() {
    if !available(false, &["strace"]) {
        return;
    }
    // Deaf: a watch is given and nothing is ever told. Full: there are no watches, or no queues for them, left.
    for fault in ["inotify_add_watch:retval=1", "inotify_add_watch:error=ENOSPC", "inotify_init1:error=EMFILE"] {
        let witness = Witness::new();
        let project = Project::new(&witness.script());
        project.queue(json!([]));
        let faults = ["--trace=inotify_add_watch,inotify_init1", &format!("--inject={fault}")];
        let _worker = faulty(&project, &witness, "deaf", &["--interval", "1s"], &faults);
        eventually("it watches", || witness.said().contains(" watches ").then_some(()));
        project.queue(Witness::tasks(1));
        let edited = Instant::now();
        project.wait_for("T0", "awaiting_test");
        println!("figure: {fault}: an edit is seen after {:.1} s of a poll of 1 s", edited.elapsed().as_secs_f64());
    }
}

#[test]
fn an_old_queue_that_git_checks_out_under_a_running_worker_stops_claiming_with_the_reason() {
    let mut project = Project::that_succeeds();
    project.config("[workspace]\nmode = \"shared\"");
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    git(project.root(), &["init", "-q"]);
    git(project.root(), &["add", "-f", ".oodatcaa/work/SPRINT_QUEUE.json"]);
    git(project.root(), &["commit", "-qm", "the queue at the start"]);
    let old = project.text();
    let worker = project.start_ready("builder", &["--interval", "1s"]);
    project.wait_for("A", "awaiting_test");
    eventually("it rests", || project.leases().is_empty().then_some(()));
    git(project.root(), &["commit", "-qam", "the queue after a day"]);
    // A day has gone by.
    let aged: String = project
        .events()
        .into_iter()
        .map(|mut event| {
            event["time"] = json!("2026-01-05T09:00:00.000Z");
            format!("{event}\n")
        })
        .collect();
    // Another file, as after a day of work: one of the same length written in place would not be read again.
    fs::write(project.path("aged"), aged).expect("written");
    fs::rename(project.path("aged"), project.path(".oodatcaa/work/events.jsonl")).expect("renamed");
    git(project.root(), &["checkout", "-q", "HEAD~1", "--", ".oodatcaa/work/SPRINT_QUEUE.json"]);
    eventually("it is told", || {
        project.log("builder", worker).contains("an old queue file was put back").then_some(())
    });
    assert_eq!(project.text(), old, "not a byte");
    assert_eq!(project.events_of("lease.acquired").len(), 1, "nothing is claimed from an old file");
    git(project.root(), &["checkout", "-q", "HEAD", "--", ".oodatcaa/work/SPRINT_QUEUE.json"]);
    let text =
        project.text().replace("\"tasks\": [", "\"tasks\": [{\"id\": \"B\", \"title\": \"\", \"status\": \"ready\"},");
    project.queue_text(&text);
    project.wait_for("B", "awaiting_test");
}

#[test]
fn a_file_system_that_somebody_serves_is_refused() {
    if !available(true, &["bindfs", "mount", "umount"]) {
        return;
    }
    let witness = Witness::new();
    let project = Project::new(&witness.script());
    project.queue(Witness::tasks(2));
    let below = witness.path("below");
    fs::create_dir(&below).expect("a directory");
    let copied = Command::new("cp").arg("-a").arg(project.path(".")).arg(&below).status().expect("cp runs");
    assert!(copied.success());
    let mounted =
        Command::new("bindfs").args(["-o", "nonempty"]).arg(&below).arg(project.root()).stderr(Stdio::null()).status();
    if !mounted.is_ok_and(|done| done.success()) {
        eprintln!("skipped: FUSE cannot be mounted here");
        return;
    }
    let refused = project.once("builder");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let (status, leases) = (project.status("T0"), project.leases());
    let _ = Command::new("umount").arg("-l").arg(project.root()).status();
    assert!(!refused.status.success() && said.contains("it is on FUSE"), "{said}");
    assert!(said.contains("move the project to a local disk"), "{said}");
    assert_eq!((status.as_str(), leases.len()), ("ready", 0), "nothing is claimed there");
}
