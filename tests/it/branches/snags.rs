//! What an agent may leave where git expects files, and git that takes long: neither holds a worker.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::*;
use crate::{
    bad_input::{ctl, once},
    support::eventually,
};

const BUILDS: &str = "[ \"$OODATCAA_ROLE\" = builder ] || exit 0\n";

/// A project whose builder does this in its worktree; A is ready.
fn scene(builder: &str) -> (Project, Trees) {
    let project = repository(&format!("{BUILDS}{builder}"), "[roles.builder]\nttl = \"3s\"\n");
    let trees = with_trees(&project);
    project.queue(json!([{"id": "A", "title": "change it", "type": "Build", "status": "ready"}]));
    (project, trees)
}

/// The next attempts do ordinary work, and it is merged.
fn goes_on(project: &Project, what: &str) {
    project.script("agent.sh", &format!("{BUILDS}mkdir -p sub; echo theirs > sub/made.txt"));
    eventually("its time to be tried again has come", || {
        once(project, "builder");
        (project.status("A") != "ready").then_some(())
    });
    for role in ["tester", "integrator"] {
        once(project, role);
    }
    assert_eq!(project.status("A"), "done", "{what}: {}", project.diagnosis());
    assert_eq!(git(project.root(), &["show", "main:sub/made.txt"]), "theirs", "{what}");
}

#[test]
fn a_pipe_or_a_device_in_gits_directory_of_a_worktree_is_no_work_and_holds_nobody() {
    let admin = "echo mine > made.txt; d=\"$OODATCAA_PROJECT/.git/worktrees/A\"; ";
    for leave in [
        "rm \"$d/index\"; mkfifo \"$d/index\"",
        "rm \"$d/index\"; ln -s /dev/zero \"$d/index\"",
        "rm \"$d/HEAD\"; mkfifo \"$d/HEAD\"",
        "rm \"$d/HEAD\"; ln -s /dev/zero \"$d/HEAD\"",
        "mkfifo \"$d/config.worktree\"",
    ] {
        let (project, _trees) = scene(&format!("{admin}{leave}"));
        let begun = Instant::now();
        let said = once(&project, "builder");
        assert!(begun.elapsed() < Duration::from_secs(60), "{leave}: {:?}: {said:#?}", begun.elapsed());
        assert_eq!(project.status("A"), "ready", "{leave}: {said:#?}");
        let finished = &project.events_of("attempt.finished")[0]["data"];
        assert_eq!(finished["class"], "no_evidence", "{leave}: {finished}");
        assert!(finished.to_string().contains("does not count as work"), "{leave}: {finished}");
        goes_on(&project, leave);
    }
}

#[test]
fn a_pipe_in_the_place_of_gits_rules_in_a_worktree_is_removed_and_git_goes_on() {
    for leave in ["rm -f .gitignore; mkfifo .gitignore", "mkdir -p sub; mkfifo sub/.gitignore sub/.gitattributes"] {
        let (project, _trees) = scene(&format!("echo mine > made.txt; {leave}"));
        let begun = Instant::now();
        let said = once(&project, "builder");
        assert!(begun.elapsed() < Duration::from_secs(60), "{leave}: {:?}: {said:#?}", begun.elapsed());
        assert!(said.err.contains("was a pipe"), "{leave}: {said:#?}");
        for role in ["tester", "integrator"] {
            once(&project, role);
        }
        assert_eq!(project.status("A"), "done", "{leave}: {}", project.diagnosis());
        assert_eq!(git(project.root(), &["show", "main:made.txt"]), "mine", "{leave}");
    }
}

#[test]
fn a_pipe_in_the_persons_own_repository_is_told_and_left_where_it_is() {
    let (project, _trees) =
        scene("echo mine > made.txt; rm \"$OODATCAA_PROJECT/.git/HEAD\"; mkfifo \"$OODATCAA_PROJECT/.git/HEAD\"");
    let said = once(&project, "builder");
    let head = project.path(".git/HEAD");
    assert!(said.err.contains("HEAD") && said.err.contains("a pipe"), "{said:#?}");
    let doctor = ctl(&project, "doctor");
    assert!(doctor.code != Some(0) && doctor.out.contains("HEAD"), "{doctor:#?}");
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&head.symlink_metadata().expect("there").file_type()));
    fs::remove_file(&head).expect("removed");
    fs::write(&head, "ref: refs/heads/main\n").expect("written");
    // As the inbox says.
    project.script("agent.sh", &format!("{BUILDS}mkdir -p sub; echo theirs > sub/made.txt"));
    ctl(&project, "fleet start --backend process builder").ended(0);
    eventually("the role goes on", || (project.status("A") != "ready").then_some(()));
    ctl(&project, "fleet stop --backend process").ended(0);
    goes_on(&project, "HEAD");
}

#[test]
fn a_file_that_is_too_large_to_be_committed_is_told_to_whoever_merges() {
    let (project, _trees) = scene("echo mine > made.txt; truncate -s 2G big.bin");
    let said = once(&project, "builder");
    assert!(said.err.contains("big.bin (too large"), "{said:#?}");
    assert_eq!(project.status("A"), "awaiting_test", "{said:#?}");
    let attempt: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(project.path(".oodatcaa/runs/A/1/attempt.json")).expect("there"))
            .expect("a record");
    assert!(attempt["beside"].to_string().contains("big.bin"), "{attempt}");
    assert_eq!(git(project.root(), &["ls-tree", "--name-only", "feat/A-change-it", "big.bin"]), "");
}

#[test]
fn a_lock_that_a_git_left_in_the_repository_charges_nobody_and_comes_to_a_person() {
    for lock in [".git/refs/heads/main.lock", ".git/HEAD.lock"] {
        let (project, _trees) = scene("echo mine > made.txt");
        for role in ["builder", "tester"] {
            once(&project, role);
        }
        let path = project.path(lock);
        fs::write(&path, "").expect("written");
        once(&project, "integrator");
        eventually("a person is told", || {
            if lock == ".git/HEAD.lock" {
                return Some(());
            }
            once(&project, "integrator");
            let inbox = ctl(&project, "inbox");
            (inbox.out.contains(lock) && inbox.out.contains("remove that file")).then_some(())
        });
        assert_eq!(project.status("A"), "ready_for_integrator", "{lock}: {}", project.diagnosis());
        for finished in project.events_of("attempt.finished").iter().skip(2) {
            assert_eq!(finished["data"]["outcome"], "waits", "{lock}: {finished}");
        }
        fs::remove_file(&path).expect("removed");
        ctl(&project, "task retry A").ended(0);
        once(&project, "integrator");
        assert_eq!(project.status("A"), "done", "{lock}: {}", project.diagnosis());
        ctl(&project, "inbox --check").ended(0);
    }
}

#[test]
fn an_agent_that_moves_the_target_is_told_of_also_when_its_attempt_fails() {
    let (project, _trees) = scene(
        "echo mine > made.txt; cd \"$OODATCAA_PROJECT\"; git -c user.name=x -c user.email=x@y commit -q --allow-empty -m mine; exit 3",
    );
    let said = once(&project, "builder");
    assert!(said.err.contains("main got 1 commit"), "{said:#?}");
    let record = fs::read_to_string(project.path(".oodatcaa/runs/A/1/attempt.json")).expect("there");
    assert!(record.contains("main got 1 commit"), "{record}");
    assert!(ctl(&project, "run show A").out.contains("main got 1 commit"), "{record}");
}

/// A git that sleeps where its arguments fit, once, and tells.
fn slow_git(project: &Project, trees: &Trees, pattern: &str) -> String {
    let path = std::env::var("PATH").expect("a PATH");
    let real: PathBuf = path.split(':').map(|dir| Path::new(dir).join("git")).find(|git| git.exists()).expect("git");
    let bin = trees.0.join("bin");
    fs::create_dir_all(&bin).expect("made");
    let slow = project.path("slow.log");
    let body = format!(
        "#!/bin/sh\ncase \" $* \" in {pattern}) [ -e '{slow}' ] || {{ touch '{slow}'; sleep 600; }};; esac\nexec '{}' \"$@\"\n",
        real.display(),
        slow = slow.display(),
    );
    fs::write(bin.join("git"), body).expect("written");
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).expect("executable");
    format!("{}:{path}", bin.display())
}

#[test]
fn a_worker_beats_while_git_takes_long_and_ends_when_it_is_told_to_and_the_work_is_kept() {
    // Before the attempt, while its work is looked at, and while it is committed.
    for pattern in ["*\" worktree add \"*", "*\" ls-files -o \"*", "*\" commit \"*|*\" commit-tree \"*"] {
        let (mut project, trees) = scene("echo mine > made.txt");
        let path = slow_git(&project, &trees, pattern);
        let n = project.start_with("builder", &["--interval", "1s"], &[("PATH", &path)]);
        eventually("git is slow", || project.path("slow.log").exists().then_some(()));
        let lease = |project: &Project| fs::read_to_string(project.path(".leases/A.json")).ok();
        let first = eventually("a lease", || lease(&project));
        eventually("it beats", || lease(&project).is_some_and(|now| now != first).then_some(()));
        let begun = Instant::now();
        // The first lets attempts end, the second ends them.
        project.signal(n, Signal::TERM);
        project.signal(n, Signal::TERM);
        assert_eq!(project.ended(n), Some(0), "{pattern}: {}", project.diagnosis());
        assert!(begun.elapsed() < Duration::from_secs(30), "{pattern}: git is not waited for: {:?}", begun.elapsed());
        assert_eq!(project.status("A"), "ready", "{pattern}: {}", project.diagnosis());
        assert!(project.leases().is_empty(), "{pattern}");
        project.script("agent.sh", &format!("{BUILDS}cat made.txt 2>/dev/null >> kept.txt; echo more > more.txt"));
        once(&project, "builder");
        assert_eq!(project.status("A"), "awaiting_test", "{pattern}: {}", project.diagnosis());
    }
}

#[test]
fn a_git_that_somebody_kills_is_nobodys_fault_wherever_it_is() {
    // Each call that kills itself the first time, and the role whose attempt it ends.
    for (pattern, role) in [
        ("*\" worktree add \"*", "builder"),
        ("*\" rev-parse --is-bare-repository \"*", "builder"),
        ("*\" worktree add \"*/merge-*", "integrator"),
        ("*/merge-*\" rev-parse --is-bare-repository \"*", "integrator"),
        ("*\" merge-base --is-ancestor \"*", "integrator"),
        ("*\" merge \"*", "integrator"),
        ("*\" update-ref \"*", "integrator"),
    ] {
        let (mut project, trees) = scene("echo mine > made.txt");
        if role == "integrator" {
            for role in ["builder", "tester"] {
                once(&project, role);
            }
        }
        let path = std::env::var("PATH").unwrap();
        let real = path.split(':').map(|dir| Path::new(dir).join("git")).find(|git| git.exists()).expect("git");
        let (bin, killed) = (trees.0.join("bin"), trees.0.join("killed"));
        fs::create_dir_all(&bin).unwrap();
        let body = format!(
            "#!/bin/sh\ncase \" $* \" in {pattern}) [ -e '{0}' ] || {{ touch '{0}'; kill -9 $$; }};; esac\nexec '{1}' \"$@\"\n",
            killed.display(),
            real.display()
        );
        fs::write(bin.join("git"), body).unwrap();
        fs::set_permissions(bin.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{path}", bin.display());
        let n = project.start_with(role, &["--interval", "1s"], &[("PATH", &path)]);
        let next = if role == "builder" { "awaiting_test" } else { "done" };
        eventually("it goes on", || (project.status("A") == next).then_some(()));
        project.signal(n, Signal::TERM);
        project.ended(n);
        assert!(killed.exists(), "{role}, {pattern}: such a call was made");
        assert!(project.events_of("worker.paused").is_empty(), "{role}, {pattern}: {}", project.diagnosis());
        for event in project.events_of("attempt.finished") {
            assert_ne!(event["data"]["charged"], true, "{role}, {pattern}: {event}");
        }
    }
}
