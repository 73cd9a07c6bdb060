//! Whoever says no in time is heard: no merge lands that was stopped, cancelled or taken over before it passed, and
//! who comes too late is told so.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::*;
use crate::support::eventually;

/// A project whose task `A` waits to be merged.
struct Scene {
    project: Project,
    _trees: Trees,
    first: String,
}

impl Scene {
    fn new(more: &str) -> Self {
        let project = repository("exit 0", more);
        let trees = with_trees(&project);
        let root = project.root();
        git(root, &["checkout", "-q", "-b", "feat/A", "main"]);
        fs::write(project.path("made-A.txt"), "by A\n").unwrap();
        git(root, &["add", "made-A.txt"]);
        git(root, &["commit", "-q", "-m", "A"]);
        git(root, &["checkout", "-q", "main"]);
        project.queue(json!([
            {"id": "A", "title": "", "type": "Build", "status": "ready_for_integrator", "branch": "feat/A"}
        ]));
        let first = git(root, &["rev-parse", "main"]);
        Self { project, _trees: trees, first }
    }

    /// A git that is slow where its arguments fit, for an integrator; it tells when.
    fn slow_git(&self, pattern: &str, seconds: u32) -> String {
        let path = std::env::var("PATH").unwrap();
        let git = path.split(':').map(|dir| Path::new(dir).join("git")).find(|git| git.exists()).expect("git");
        // Beside the project: what lies in it is no git for a worker.
        let bin = self._trees.0.join("bin");
        fs::create_dir_all(&bin).unwrap();
        let body = format!(
            "case \" $* \" in {pattern}) touch '{}'; sleep {seconds};; esac\nexec '{}' \"$@\"",
            self.project.path("slow.log").display(),
            git.display()
        );
        fs::write(bin.join("git"), format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(bin.join("git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        format!("{}:{path}", bin.display())
    }

    fn integrator_with(&mut self, path: &str) -> usize {
        self.project.start_with("integrator", &["--interval", "1s"], &[("PATH", path)])
    }

    fn is_slow(&self) {
        eventually("git is slow", || self.project.path("slow.log").exists().then_some(()));
    }

    fn agentctl(&self, args: &[&str]) -> (bool, String) {
        let said = self.project.command("agentctl").args(args).output().expect("agentctl");
        let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        (said.status.success(), text)
    }

    /// A hand edit, as `jq … > tmp && mv tmp queue` makes it.
    fn set_status(&self, status: &str) {
        let mut tasks = self.project.json()["tasks"].clone();
        tasks[0]["status"] = status.into();
        self.project.replace_queue(tasks);
    }

    fn main(&self) -> String {
        git(self.project.root(), &["rev-parse", "main"])
    }

    #[track_caller]
    fn is_untouched(&self, what: &str) {
        assert_eq!(self.main(), self.first, "{what}: nothing landed: {}", self.project.diagnosis());
        assert!(!self.project.path("made-A.txt").exists(), "{what}");
        assert_eq!(git(self.project.root(), &["status", "--porcelain"]), "", "{what}");
        assert!(!git(self.project.root(), &["worktree", "list"]).contains("train-"), "{what}");
    }

    fn ends(&mut self, n: usize) {
        self.project.signal(n, Signal::TERM);
        assert_eq!(self.project.ended(n), Some(0));
    }
}

#[test]
fn a_merge_that_is_stopped_while_git_is_slow_does_not_land_and_ends_at_once() {
    for (what, status) in [("run stop", "blocked"), ("cancel --stop", "cancelled"), ("by hand", "cancelled")] {
        let mut scene = Scene::new("");
        let path = scene.slow_git("*\" worktree add \"*/train-*", 20);
        let n = scene.integrator_with(&path);
        scene.is_slow();
        let begun = Instant::now();
        match what {
            "run stop" => assert!(scene.agentctl(&["run", "stop", "A", "--reason", "no", "--yes"]).0),
            "cancel --stop" => {
                let (ok, said) = scene.agentctl(&["task", "cancel", "A", "--stop", "--reason", "no", "--yes"]);
                assert!(ok, "{said}");
            }
            _ => scene.set_status("cancelled"),
        }
        eventually("its lease is gone", || scene.project.leases().is_empty().then_some(()));
        assert!(begun.elapsed() < Duration::from_secs(15), "{what}: git is not waited for: {:?}", begun.elapsed());
        scene.ends(n);
        assert_eq!(scene.project.status("A"), status, "{what}");
        scene.is_untouched(what);
        let events = scene.project.events_of("merge.landing");
        assert!(events.is_empty(), "{what}: {events:?}");
    }
}

#[test]
fn a_worker_that_merges_with_a_slow_git_obeys_the_first_term() {
    let mut scene = Scene::new("");
    let path = scene.slow_git("*\" worktree add \"*/train-*", 30);
    let n = scene.integrator_with(&path);
    scene.is_slow();
    let begun = Instant::now();
    scene.ends(n);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(scene.project.status("A"), "ready_for_integrator");
    scene.is_untouched("term");
}

#[test]
fn a_merge_with_a_slow_git_beats_all_the_while_and_is_not_taken_over() {
    let mut scene = Scene::new("[roles.integrator]\nttl = \"2s\"\n");
    let path = scene.slow_git("*\" worktree add \"*/train-*", 5);
    let n = scene.integrator_with(&path);
    scene.is_slow();
    let other = scene.project.start("builder", &["--interval", "1s"]);
    scene.project.wait_for("A", "done");
    scene.ends(n);
    scene.ends(other);
    assert!(scene.project.events_of("lease.rescued").is_empty(), "{}", scene.project.diagnosis());
    let started = scene.project.events_of("attempt.started");
    assert_eq!(started.len(), 1, "its start is told");
    assert_eq!(scene.project.events_of("merge.landing")[0]["data"]["commit"], scene.main());
}

#[test]
fn what_an_integrator_merges_that_slept_through_its_takeover_does_not_land() {
    for cancelled in [false, true] {
        let mut scene = Scene::new("[roles.integrator]\nttl = \"1s\"\n");
        let path = scene.slow_git("*\" worktree add \"*/train-*", 3);
        let n = scene.integrator_with(&path);
        scene.is_slow();
        scene.project.stop_outside_of_the_lock(n);
        // Another role takes it back, so that who merges it then is ours to say.
        let other = scene.project.start("builder", &["--interval", "1s"]);
        eventually("it is taken back", || (!scene.project.events_of("lease.rescued").is_empty()).then_some(()));
        scene.ends(other);
        let second = match cancelled {
            true => {
                assert!(scene.agentctl(&["task", "cancel", "A", "--reason", "no"]).0);
                None
            }
            false => {
                let second = scene.project.start("integrator", &["--interval", "1s"]);
                eventually("it is claimed anew", || {
                    (scene.project.events_of("lease.acquired").len() >= 2).then_some(())
                });
                Some(second)
            }
        };
        scene.project.signal(n, Signal::CONT);
        let end = if cancelled { "attempt.finished" } else { "attempt.superseded" };
        eventually("it says what became of it", || (!scene.project.events_of(end).is_empty()).then_some(()));
        assert_ne!(scene.project.events_of(end)[0]["data"]["class"], "agent_crashed", "the agent is not to blame");
        let Some(second) = second else {
            scene.ends(n);
            scene.is_untouched("cancelled after the takeover");
            continue;
        };
        scene.project.wait_for("A", "done");
        scene.ends(n);
        scene.ends(second);
        let landed = scene.project.events_of("merge.landing");
        assert!(landed.iter().all(|event| event["token"] == 2), "{landed:?}");
        let merges = git(scene.project.root(), &["log", "--first-parent", "--merges", "--format=%s", "main"]);
        assert_eq!(merges, "Merge A");
    }
}

#[test]
fn who_stops_a_merge_that_is_being_pushed_is_told_that_it_is_too_late() {
    let mut scene = Scene::new("[merge]\npush = \"origin\"\n");
    let remote = scene._trees.0.join("origin.git");
    git(scene.project.root(), &["clone", "-q", "--bare", ".", &remote.to_string_lossy()]);
    git(scene.project.root(), &["remote", "add", "origin", &remote.to_string_lossy()]);
    let path = scene.slow_git("*\" push \"*", 3);
    let n = scene.integrator_with(&path);
    scene.is_slow();
    for verb in [
        &["run", "stop", "A", "--reason", "no", "--yes"][..],
        &["task", "cancel", "A", "--stop", "--reason", "no", "--yes"],
    ] {
        let (ok, said) = scene.agentctl(verb);
        assert!(!ok && said.contains("too late: A is being merged as "), "{verb:?}: {said}");
    }
    scene.project.wait_for("A", "done");
    scene.ends(n);
    assert_eq!(git(&remote, &["rev-parse", "main"]), scene.main());
    assert_eq!(scene.project.task("A")["merged_commit"], scene.main());
}

#[test]
fn a_task_that_was_stopped_before_its_push_began_is_not_pushed() {
    let mut scene = Scene::new(
        "[merge]\npush = \"origin\"\n[roles.integrator]\ngates = [\"slow\"]\n[gates.slow]\nargv = [\"sh\", \"-c\", \"touch \\\"$OODATCAA_PROJECT/slow.log\\\"; sleep 2\"]\n",
    );
    let remote = scene._trees.0.join("origin.git");
    git(scene.project.root(), &["clone", "-q", "--bare", ".", &remote.to_string_lossy()]);
    git(scene.project.root(), &["remote", "add", "origin", &remote.to_string_lossy()]);
    let n = scene.project.start("integrator", &["--interval", "1s"]);
    scene.is_slow();
    scene.set_status("cancelled");
    eventually("its lease is gone", || scene.project.leases().is_empty().then_some(()));
    scene.ends(n);
    scene.is_untouched("pushed");
    assert_eq!(git(&remote, &["rev-parse", "main"]), scene.first);
}

#[test]
fn a_merge_of_a_dead_integrator_that_nobody_wants_any_more_is_taken_back() {
    for step in ["locked", "files", "moved", "landed", "tagged"] {
        let mut scene = Scene::new("");
        let n = scene.project.start_with("integrator", &["--interval", "1s"], &[("OODATCAA_TRAIN_ABORT", step)]);
        scene.project.exited(n);
        scene.set_status("cancelled");
        let n = scene.project.start("integrator", &["--interval", "1s"]);
        eventually("its lease is gone", || scene.project.leases().is_empty().then_some(()));
        scene.ends(n);
        assert_eq!(scene.project.status("A"), "cancelled", "{step}");
        assert!(!scene.project.path("made-A.txt").exists(), "{step}: {}", scene.project.diagnosis());
        let root = scene.project.root();
        let trees = |commit: &str| git(root, &["rev-parse", &format!("{commit}^{{tree}}")]);
        assert_eq!(trees("main"), trees(&scene.first), "{step}");
        assert_eq!(git(root, &["tag", "--list", "*-complete*"]), "", "{step}");
        assert_eq!(git(root, &["status", "--porcelain"]), "", "{step}");
        let body = git(root, &["log", "-1", "--format=%B", "main"]);
        assert!(scene.main() == scene.first || body.contains("A: the task was cancelled"), "{step}: {body}");
    }
}

/// An integrator dies at a step of the merge, and another role gives its task back.
fn given_back(step: &str, more: &str) -> Scene {
    let mut scene = Scene::new(more);
    let n = scene.project.start_with("integrator", &["--interval", "1s"], &[("OODATCAA_TRAIN_ABORT", step)]);
    scene.project.exited(n);
    let n = scene.project.start("builder", &["--interval", "1s"]);
    eventually("it is given back", || scene.project.leases().is_empty().then_some(()));
    scene.ends(n);
    assert_eq!(scene.project.status("A"), "ready_for_integrator", "{step}");
    scene
}

#[test]
fn who_cancels_a_merge_that_landed_before_its_integrator_died_is_told_that_it_is_too_late() {
    let after = "[merge]\nafter = [\"fine\"]\n[gates.fine]\nargv = [\"true\"]\n";
    for (step, more) in [("moved", ""), ("landed", after), ("tagged", ""), ("cleaned", ""), ("ended", "")] {
        let mut scene = given_back(step, more);
        let merged = scene.main();
        assert_ne!(merged, scene.first, "{step}");
        for verb in [
            &["task", "cancel", "A", "--reason", "no"][..],
            &["task", "cancel", "A", "--stop", "--reason", "no", "--yes"],
            &["task", "block", "A", "--reason", "no"],
            &["run", "stop", "A", "--reason", "no", "--yes"],
        ] {
            let (ok, said) = scene.agentctl(verb);
            let words = format!("too late: A has been merged as {merged}");
            assert!(!ok && said.contains(&words) && said.contains("git revert -m 1"), "{step}: {verb:?}: {said}");
        }
        let n = scene.project.start("integrator", &["--interval", "1s"]);
        scene.project.wait_for("A", "done");
        scene.ends(n);
        assert_eq!(scene.project.task("A")["merged_commit"], merged.as_str(), "{step}");
        assert_eq!(scene.main(), merged, "{step}");
        assert!(scene.agentctl(&["task", "move", "A", "ready", "--force", "--reason", "more"]).0, "{step}");
        assert!(scene.agentctl(&["task", "cancel", "A", "--reason", "no"]).0, "{step}: it is free again");
    }
}

#[test]
fn what_is_put_aside_by_hand_after_it_had_landed_says_so() {
    for step in ["landed", "ended"] {
        let mut scene = given_back(step, "");
        let merged = scene.main();
        scene.set_status("cancelled");
        let n = scene.project.start("tester", &["--interval", "1s"]);
        let words = format!("merged as {merged} before it was `cancelled`; to take it back: git revert -m 1 {merged}");
        eventually("it is told", || (scene.project.task("A")["blocked_reason"] == words.as_str()).then_some(()));
        scene.ends(n);
        assert_eq!(scene.project.task("A")["merged_commit"], merged.as_str(), "{step}");
        assert_eq!(scene.project.status("A"), "cancelled", "{step}");
    }
}

#[test]
fn what_did_not_land_before_its_integrator_died_can_be_cancelled() {
    for step in ["green", "locked", "files"] {
        let mut scene = given_back(step, "");
        assert!(scene.agentctl(&["task", "cancel", "A", "--reason", "no"]).0, "{step}");
        let n = scene.project.start("integrator", &["--once"]);
        assert_eq!(scene.project.ended(n), Some(0));
        scene.is_untouched(step);
    }
}

/// Random stops, cancellations and sleeps past the TTL, while every merge is slow.
fn storm(tasks: usize, seed: u64) {
    eprintln!("storm: {tasks} tasks, seed {seed}");
    let mut random = seed;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut scene = Scene::new("[roles.integrator]\nttl = \"2s\"\n");
    let root = scene.project.root().to_owned();
    let ids: Vec<String> = (1..=tasks).map(|n| format!("S{n}")).collect();
    for id in &ids {
        git(&root, &["checkout", "-q", "-b", &format!("feat/{id}"), "main"]);
        fs::write(root.join(format!("made-{id}.txt")), id).unwrap();
        git(&root, &["add", &format!("made-{id}.txt")]);
        git(&root, &["commit", "-q", "-m", id]);
        git(&root, &["checkout", "-q", "main"]);
    }
    let task = |id: &String| json!({"id": id, "title": "", "type": "Build", "status": "ready_for_integrator", "branch": format!("feat/{id}")});
    scene.project.queue(json!(ids.iter().map(task).collect::<Vec<_>>()));
    let path = scene.slow_git("*\" worktree add \"*/train-*", 1);
    let workers: Vec<usize> = (0..2)
        .map(|n| {
            let owner = format!("w{n}");
            scene.project.start_with("integrator", &["--interval", "1s", "--owner", &owner], &[("PATH", &path)])
        })
        .collect();
    // Who was told yes by a verb, before the task was merged.
    let mut stopped: Vec<String> = Vec::new();
    let began = Instant::now();
    let over = |scene: &Scene| {
        let ended = |status: &str| ["done", "blocked", "cancelled"].contains(&status);
        ids.iter().all(|id| ended(&scene.project.status(id))) && scene.project.leases().is_empty()
    };
    while !over(&scene) && began.elapsed() < Duration::from_secs(20 + 8 * tasks as u64) {
        std::thread::sleep(Duration::from_millis(100 + next(500)));
        let id = ids[usize::try_from(next(tasks as u64)).unwrap()].clone();
        match next(8) {
            0 if scene.agentctl(&["run", "stop", &id, "--reason", "storm", "--yes"]).0 => stopped.push(id),
            1 if scene.agentctl(&["task", "cancel", &id, "--stop", "--reason", "storm", "--yes"]).0 => stopped.push(id),
            2 => {
                let at = usize::try_from(next(2)).unwrap();
                scene.project.stop_outside_of_the_lock(workers[at]);
                std::thread::sleep(Duration::from_millis(2_500));
                scene.project.signal(workers[at], Signal::CONT);
            }
            _ => {}
        }
    }
    for n in workers {
        scene.project.signal(n, Signal::TERM);
        scene.project.ended(n);
    }
    let line = git(&root, &["log", "--first-parent", "--format=%H %s", &format!("{}..main", scene.first)]);
    let landed: Vec<(String, String)> = scene
        .project
        .events_of("merge.landing")
        .iter()
        .map(|event| (event["task"].as_str().unwrap().to_owned(), event["data"]["commit"].as_str().unwrap().to_owned()))
        .collect();
    for (commit, subject) in line.lines().filter_map(|line| line.split_once(' ')) {
        let Some(id) = subject.strip_prefix("Merge ") else {
            assert!(subject.starts_with("Revert "), "{subject}");
            continue;
        };
        assert!(landed.contains(&(id.to_owned(), commit.to_owned())), "{id}: {commit} passed the fence: {landed:?}");
    }
    for id in &stopped {
        let there = root.join(format!("made-{id}.txt")).exists();
        assert!(!there, "{id} was stopped, said the verb, and is there:\n{line}\n{}", scene.project.diagnosis());
    }
    for id in &ids {
        if scene.project.status(id) == "done" {
            assert_eq!(line.lines().filter(|line| line.ends_with(&format!(" Merge {id}"))).count(), 1, "{id}:\n{line}");
        }
    }
    assert_eq!(git(&root, &["status", "--porcelain"]), "", "the checkout is whole");
}

#[test]
fn in_a_storm_of_stops_and_sleeps_every_commit_on_the_target_was_let_through() {
    storm(6, 0x00da_7caa);
}

#[test]
#[ignore = "minutes: run by `make torture`"]
fn in_a_long_storm_every_commit_on_the_target_was_let_through() {
    storm(60, u64::from(std::process::id()));
}
