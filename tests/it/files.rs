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
fn a_file_system_that_somebody_serves_is_refused_and_used_only_when_told_so() {
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
    let mut told = project.command("agent-daemon");
    told.args(["--role", "builder", "--once"]).env("OODATCAA_UNSAFE_FS", "1");
    let worked = told.output().expect("agent-daemon runs");
    let (status, leases) = (project.status("T0"), project.leases());
    let _ = Command::new("umount").arg("-l").arg(project.root()).status();
    assert!(!refused.status.success() && said.contains("it is on FUSE"), "{said}");
    assert!(said.contains("OODATCAA_UNSAFE_FS=1"), "{said}");
    assert_eq!((status.as_str(), leases.len()), ("awaiting_test", 0), "{worked:?}");
}

/// Flock says yes to everybody and two files cannot be exchanged, as on some file systems; and who replaces a file
/// rests before it, so that all come to the same task at the same time.
#[test]
fn where_locks_keep_nobody_out_a_ticket_gives_each_claim_once() {
    if !available(false, &["strace"]) {
        return;
    }
    let faults = [
        "--trace=flock,rename,renameat2",
        "--inject=flock:retval=0",
        "--inject=renameat2:error=EINVAL",
        "--inject=rename:delay_enter=60000",
    ];
    let witness = Witness::new();
    let project = Project::new(&witness.script());
    project.queue(json!([]));
    let names = ["one", "two", "three"];
    let workers: Vec<Ended> = names
        .into_iter()
        .map(|name| {
            let mut command = project.command("agent-daemon");
            command.args(["--role", "builder", "--owner", name, "--interval", "300ms", "--slots", "1"]);
            command.env("OODATCAA_UNSAFE_FS", "1");
            Ended(witness.run(traced(&command, &witness.path(name), faults)), project.root().to_owned())
        })
        .collect();
    eventually("all watch", || (witness.said().matches(" watches ").count() == names.len()).then_some(()));
    project.replace_queue(Witness::tasks(4));
    eventually("all is done", || project.tasks().iter().all(|task| task["status"] == "awaiting_test").then_some(()));
    drop(workers);
    let mut started = witness.started();
    let all = started.len();
    started.sort();
    started.dedup();
    assert_eq!(started.len(), all, "a claim was given twice: {:?}\n{}", witness.started(), witness.said());
    assert_eq!(all, 4, "a task was given twice: {:?}\n{}", witness.started(), witness.said());
    assert!(project.events_of("lease.rescued").is_empty(), "a free lock is no death here: {}", witness.said());
    println!("figure: 4 tasks, 3 workers whose locks keep nobody out: {all} claims, nothing given twice");
}

#[test]
fn the_ticket_of_a_claim_that_was_never_written_is_passed_over() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    fs::create_dir_all(project.path(".leases")).expect("a directory");
    let ticket = fs::File::create(project.path(".leases/A.1.ticket")).expect("a ticket");
    let once = || {
        let mut command = project.command("agent-daemon");
        command.args(["--role", "builder", "--once"]).env("OODATCAA_UNSAFE_FS", "1");
        command.output().expect("agent-daemon runs")
    };
    let fresh = once();
    assert_eq!(project.status("A"), "ready", "somebody has just got it: {fresh:?}");
    ticket.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(60)).expect("aged");
    let later = once();
    assert_eq!(project.status("A"), "awaiting_test", "{later:?}");
    assert_eq!(project.events_of("lease.acquired")[0]["token"], 2, "and its token is not used");
    assert!(!project.path(".leases/A.1.ticket").exists());
}
