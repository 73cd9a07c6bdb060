//! Disks that are full, or may not be written.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use super::{ctl, is_root, once};
use crate::support::{Project, eventually};

const QUEUE: &str = r#"{"tasks":[{"id":"A","title":"t","status":"ready"}]}"#;

/// A small file system in a project; it is taken away before the project is.
struct Small {
    at: PathBuf,
    project: Project,
}

impl Small {
    /// Below `name` of a project with one task; `None`, and the reason printed, where nobody may mount.
    fn at(name: &str, script: &str) -> Option<Self> {
        Self::of("1m", name, script)
    }

    fn of(size: &str, name: &str, script: &str) -> Option<Self> {
        if !is_root("mounting a file system") {
            return None;
        }
        let project = Project::new(script);
        let at = project.path(name);
        fs::create_dir_all(&at).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "none"])
            .arg(&at)
            .output();
        match mounted {
            Ok(output) if output.status.success() => {}
            other => {
                eprintln!("skipped: a tmpfs cannot be mounted here: {other:?}");
                return None;
            }
        }
        let small = Self { at, project };
        fs::create_dir_all(small.project.path(".oodatcaa/work")).expect("a directory");
        small.project.config("");
        small.project.queue_text(QUEUE);
        Some(small)
    }

    fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).expect("a file");
        while filler.write_all(&[0; 4096]).is_ok() {}
        while filler.write_all(&[0; 64]).is_ok() {}
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).expect("removed");
    }

    fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.at).status();
        assert!(done.expect("mount runs").success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Lines of a daemon's log that complain, and say it with these words.
fn complaints(project: &Project, words: &str) -> usize {
    let log = project.log("builder", 0);
    log.lines().filter(|line| line.contains("| ERROR |") && line.contains(words)).count()
}

fn no_temporaries(dir: &Path) -> bool {
    let names = fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.file_name());
    names.into_iter().all(|name| !name.to_string_lossy().starts_with(".oodatcaa-tmp"))
}

#[test]
fn a_disk_that_is_full_at_a_claim_loses_nothing_and_the_worker_goes_on_when_there_is_room() {
    for name in [".oodatcaa/work", ".oodatcaa", ".leases"] {
        let Some(mut small) = Small::at(name, "exit 0") else { return };
        small.fill();
        once(&small.project, "builder").refused(74, "No space left on device");
        ctl(&small.project, "ls").ended(0);
        if name != ".leases" {
            ctl(&small.project, "task block A --reason x").refused(1, "nothing was lost; make room");
        }
        assert_eq!(small.project.text(), QUEUE, "{name}: not a byte");
        assert!(no_temporaries(&small.at), "{name}: nothing half-written stays");

        small.project.start("builder", &["--interval", "1"]);
        eventually("it is told", || (complaints(&small.project, "No space left") > 0).then_some(()));
        assert_eq!(small.project.text(), QUEUE, "{name}: not a byte");
        small.make_room();
        small.project.wait_for("A", "awaiting_test");
        assert_eq!(complaints(&small.project, ""), 1, "{name}: told once: {}", small.project.log("builder", 0));
        assert_eq!(small.project.events_of("lease.acquired").len(), 1, "{name}");
    }
}

#[test]
fn a_disk_that_is_full_at_a_settlement_is_waited_for() {
    let script = "cat /dev/zero > .oodatcaa/work/filler 2>/dev/null; exit 0";
    let Some(mut small) = Small::at(".oodatcaa/work", script) else { return };
    small.project.start("builder", &["--interval", "1"]);
    eventually("it is told", || (complaints(&small.project, "cannot settle A yet (done)") > 0).then_some(()));
    assert_eq!(small.project.status("A"), "in_progress");
    assert_eq!(small.project.leases().len(), 1, "nobody else may take it");
    small.make_room();
    small.project.wait_for("A", "awaiting_test");
    assert_eq!(complaints(&small.project, "cannot settle"), 1, "told once: {}", small.project.log("builder", 0));
    assert_eq!(small.project.events_of("attempt.finished").len(), 1);
    eventually("the lease goes", || small.project.leases().is_empty().then_some(()));
}

#[test]
fn eight_workers_on_a_full_disk_leave_at_the_first_term_and_nobody_is_charged() {
    let script = "[ ! -e go ] || exit 0\ntouch started.$OODATCAA_TASK_ID; sleep 600";
    let Some(mut small) = Small::of("8m", ".oodatcaa", script) else { return };
    let ids: Vec<String> = (0..8).map(|n| format!("T{n}")).collect();
    let tasks: Vec<_> = ids.iter().map(|id| json!({"id": id, "title": "t", "status": "ready"})).collect();
    small.project.queue(tasks.into());
    for n in 0..8 {
        small
            .project
            .start("builder", &["--interval", "1", "--owner", &format!("w{n}"), "--slots", "1", "--ignore-wip"]);
    }
    let started = |project: &Project, id: &String| project.path(&format!("started.{id}")).exists();
    eventually("all work", || ids.iter().all(|id| started(&small.project, id)).then_some(()));
    eventually("all is told", || (small.project.events_of("attempt.started").len() == 8).then_some(()));
    small.fill();
    // What shims take away makes room for a moment; somebody else needs that, too.
    let (filler, over) = (small.filler(), Arc::new(AtomicBool::new(false)));
    let others = thread::spawn({
        let (path, over) = (filler, Arc::clone(&over));
        move || {
            let mut filler = fs::OpenOptions::new().append(true).open(path).expect("a file");
            while !over.load(Ordering::Relaxed) {
                while filler.write_all(&[0; 4096]).is_ok() {}
                thread::yield_now();
            }
        }
    });
    (0..8).for_each(|n| small.project.signal(n, Signal::TERM));
    let begun = Instant::now();
    for n in 0..8 {
        assert_eq!(small.project.ended(n), Some(0), "{}", small.project.log("builder", n));
    }
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    over.store(true, Ordering::Relaxed);
    others.join().expect("it fills");
    for n in 0..8 {
        let log = small.project.log("builder", n);
        let told = log.lines().filter(|line| line.contains("No space left") && line.contains("| ERROR |")).count();
        assert!(told <= 1, "told once: {log}");
    }
    small.make_room();
    fs::write(small.project.path("go"), "").expect("written");
    small.project.start("builder", &["--interval", "1"]);
    for id in &ids {
        small.project.wait_for(id, "awaiting_test");
        let charged = |event: &serde_json::Value| event["task"] == id.as_str() && event["data"]["charged"] == true;
        let ended = small.project.events_of("attempt.finished");
        assert!(ended.iter().filter(|event| charged(event)).count() <= 1, "{ended:#?}");
    }
}

#[test]
fn a_file_system_that_may_not_be_written_is_told_before_anything_is_started() {
    for name in [".oodatcaa/work", ".oodatcaa", ".leases", ".locks"] {
        let Some(small) = Small::at(name, "touch started") else { return };
        small.remount("ro");
        once(&small.project, "builder").refused(73, "Read-only file system").refused(73, "findmnt -T");
        ctl(&small.project, "ls").ended(0);
        ctl(&small.project, "why A").ended(0);
        if name != ".leases" {
            ctl(&small.project, "task block A --reason x").refused(1, "Read-only file system");
        }
        if name != ".leases" {
            assert_eq!(small.project.text(), QUEUE, "{name}: not a byte");
        }
        assert!(!small.project.path("started").exists(), "{name}: no agent ran");
    }
}

#[test]
fn a_file_system_that_becomes_read_only_under_a_worker_is_waited_for() {
    let script = "touch started; while [ ! -e go ]; do sleep 0.02; done";
    let Some(mut small) = Small::at(".oodatcaa/work", script) else { return };
    small.project.start("builder", &["--interval", "1"]);
    eventually("the agent runs", || small.project.path("started").exists().then_some(()));
    eventually("its start is noted", || (!small.project.events_of("attempt.started").is_empty()).then_some(()));
    eventually("nothing is being written", || {
        let done = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(&small.at)
            .stderr(std::process::Stdio::null())
            .status();
        done.expect("mount runs").success().then_some(())
    });
    let before = small.project.text();
    fs::write(small.project.path("go"), "").expect("written");
    eventually("it is told", || (complaints(&small.project, "cannot settle A yet (done)") > 0).then_some(()));
    assert_eq!(small.project.text(), before);
    small.remount("rw");
    small.project.wait_for("A", "awaiting_test");
    assert_eq!(small.project.events_of("lease.acquired").len(), 1, "the same attempt, to its end");
}
