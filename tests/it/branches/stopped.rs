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
        // Beside the project: what lies in it is not git for a worker.
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
        self.set_status_of("A", status);
    }

    fn set_status_of(&self, id: &str, status: &str) {
        let mut tasks = self.project.json()["tasks"].clone();
        let found = tasks.as_array_mut().unwrap().iter_mut().find(|task| task["id"] == id).unwrap();
        found["status"] = status.into();
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
        assert!(!git(self.project.root(), &["worktree", "list"]).contains("merge-"), "{what}");
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
        let path = scene.slow_git("*\" worktree add \"*/merge-*", 20);
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
    let path = scene.slow_git("*\" worktree add \"*/merge-*", 30);
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
    let path = scene.slow_git("*\" worktree add \"*/merge-*", 5);
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
        let path = scene.slow_git("*\" worktree add \"*/merge-*", 3);
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
        let n = scene.project.start_with("integrator", &["--interval", "1s"], &[("OODATCAA_MERGE_ABORT", step)]);
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
    let n = scene.project.start_with("integrator", &["--interval", "1s"], &[("OODATCAA_MERGE_ABORT", step)]);
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
fn who_gives_a_task_back_whose_integrator_died_is_told_the_truth_about_its_merge() {
    let ways: [&[&str]; 4] = [
        &["lease", "release", "A"],
        &["task", "cancel", "A", "--reason", "no"],
        &["doctor", "--fix", "--yes"],
        &["queue", "repair", "--yes"],
    ];
    for (step, landed) in [("green", false), ("files", false), ("moved", true), ("landed", true), ("ended", true)] {
        for way in ways {
            let mut scene = Scene::new("");
            let n = scene.project.start_with("integrator", &["--interval", "1s"], &[("OODATCAA_MERGE_ABORT", step)]);
            scene.project.exited(n);
            let (ok, said) = scene.agentctl(way);
            let merged = scene.main();
            assert_eq!(merged != scene.first, landed, "{step}: {way:?}: {said}");
            let told = said.contains(&format!("A has been merged as {merged}"));
            if ["lease", "task"].contains(&way[0]) {
                assert_eq!(told, landed, "{step}: {way:?}: {said}");
            }
            assert_eq!(ok || way[0] == "doctor", !(landed && way[0] == "task"), "{step}: {way:?}: {said}");
            assert!(scene.project.leases().is_empty(), "{step}: {way:?}: {said}");
            let (ok, said) = scene.agentctl(&["task", "cancel", "A", "--reason", "no"]);
            assert_eq!(ok, !landed, "{step}: {way:?}: {said}");
            assert_eq!(git(scene.project.root(), &["status", "--porcelain"]), "", "{step}: {way:?}");
        }
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
fn a_task_that_was_merged_and_then_cancelled_by_hand_is_told_as_merged_by_every_verb() {
    for journal in [true, false] {
        let mut scene = Scene::new("");
        let n = scene.project.start("integrator", &["--interval", "1s"]);
        scene.project.wait_for("A", "done");
        scene.ends(n);
        let merged = scene.main();
        scene.set_status("cancelled");
        if !journal {
            fs::remove_file(scene.project.path(".oodatcaa/work/events.jsonl")).unwrap();
        }
        let says = format!("A has been merged as {merged}, and is `cancelled`");
        for verb in [
            &["task", "cancel", "A", "--reason", "no"][..],
            &["task", "cancel", "A", "--stop", "--reason", "no", "--yes"],
            &["task", "block", "A", "--reason", "no"],
            &["task", "retry", "A"],
            &["task", "retry", "A", "--fresh"],
            &["run", "stop", "A", "--reason", "no", "--yes"],
        ] {
            let (ok, said) = scene.agentctl(verb);
            assert!(!ok && said.contains(&says) && said.contains("git revert -m 1"), "{verb:?}: {said}");
        }
        for verb in [&["why", "A"][..], &["show", "A"], &["ls", "is:cancelled"]] {
            let said = scene.agentctl(verb).1;
            assert!(said.contains(&format!("merged as {merged}")), "{verb:?}: {said}");
        }
        assert_eq!(scene.project.status("A"), "cancelled");
        assert!(scene.agentctl(&["task", "move", "A", "ready", "--reason", "once more"]).0);
        assert!(scene.project.task("A")["merged_commit"].is_null(), "it is to be merged anew");
        for _ in 0..2 {
            assert!(scene.agentctl(&["task", "cancel", "A", "--reason", "no"]).0, "nothing of it is merged");
        }
    }
}

#[test]
fn how_to_take_a_merge_back_is_told_by_what_the_merge_made() {
    for (policy, parents) in [("squash", 1), ("merge", 2)] {
        let mut scene = Scene::new(&format!("[merge]\npolicy = \"{policy}\"\n"));
        let n = scene.project.start("integrator", &["--interval", "1s"]);
        scene.project.wait_for("A", "done");
        scene.ends(n);
        let said = scene.agentctl(&["task", "cancel", "A", "--reason", "no"]).1;
        let command = said.lines().find_map(|line| line.split_once("take it back: git ")).expect(&said).1;
        let root = scene.project.root();
        assert_eq!(git(root, &["log", "-1", "--format=%P"]).split(' ').count(), parents);
        let args: Vec<&str> = command.split(' ').chain(["--no-edit"]).collect();
        git(root, &args);
        assert!(!scene.project.path("made-A.txt").exists(), "{policy}: {said}");
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

/// Random stops, cancellations, deaths and sleeps past the TTL, while every merge is slow.
struct Storm {
    scene: Scene,
    ids: Vec<String>,
    path: String,
    workers: [usize; 2],
    random: u64,
    ttl: Duration,
    /// Who was told yes by a verb, before the task was merged.
    stopped: Vec<String>,
    /// How many claims and landings there were at the last blow.
    progress: usize,
}

impl Storm {
    fn new(tasks: usize, seed: u64, (slow, ttl): (u32, u64)) -> Self {
        eprintln!("storm: {tasks} tasks, seed {seed}");
        let mut scene = Scene::new(&format!(
            "[roles.integrator]\nttl = \"{ttl}s\"\ngates = [\"slow\"]\n[gates.slow]\nargv = [\"sleep\", \"0.2\"]\n"
        ));
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
        let path = scene.slow_git("*\" worktree add \"*/merge-*", slow);
        let workers = [0, 1].map(|n| worker(&mut scene, n, &path));
        let ttl = Duration::from_secs(ttl);
        Self { scene, ids, path, workers, random: seed, ttl, stopped: Vec::new(), progress: 0 }
    }

    fn next(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.random >> 33) % below as u64).unwrap()
    }

    fn is_over(&self) -> bool {
        let tasks = self.scene.project.tasks();
        let ended = |task: &serde_json::Value| {
            ["done", "blocked", "cancelled", "needs_adapt"].contains(&task["status"].as_str().unwrap())
        };
        tasks.iter().all(ended) && self.scene.project.leases().is_empty()
    }

    /// Waits until the workers have come on since the last blow, at times not at all: on a busy machine a storm that
    /// goes by the clock would let nobody merge anything.
    fn lull(&mut self) {
        let count = |storm: &Self| {
            let journal =
                fs::read_to_string(storm.scene.project.path(".oodatcaa/work/events.jsonl")).unwrap_or_default();
            journal.matches("oodatcaa.lease.acquired.").count() + journal.matches("oodatcaa.merge.landing.").count()
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        let patient = self.next(4) > 0;
        while patient && count(self) <= self.progress && !self.is_over() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.progress = count(self);
        let pause = self.next(500);
        std::thread::sleep(Duration::from_millis(pause as u64));
    }

    /// One thing that happens to them.
    fn blow(&mut self) {
        let (id, at) = (self.next(self.ids.len()), self.next(2));
        let id = self.ids[id].clone();
        match self.next(12) {
            0 if self.scene.agentctl(&["run", "stop", &id, "--reason", "storm", "--yes"]).0 => {
                self.stopped.push(id);
            }
            1 if self.scene.agentctl(&["task", "cancel", &id, "--stop", "--reason", "storm", "--yes"]).0 => {
                self.stopped.push(id);
            }
            2 => {
                self.scene.project.stop_outside_of_the_lock(self.workers[at]);
                std::thread::sleep(self.ttl + Duration::from_millis(500));
                self.scene.project.signal(self.workers[at], Signal::CONT);
            }
            3 | 4 => {
                self.scene.project.signal(self.workers[at], Signal::KILL);
                self.scene.project.exited(self.workers[at]);
                self.workers[at] = worker(&mut self.scene, at, &self.path);
            }
            5 => self.kill_one("git"),
            6 => self.kill_one("agent-daemon"),
            7 => self.scene.set_status_of(&id, "cancelled"),
            _ => {}
        }
    }

    /// Kills one git of theirs, or one shim.
    fn kill_one(&mut self, name: &str) {
        let workers = self.workers.map(|n| self.scene.project.pid(n));
        let root = self.scene.project.root().to_string_lossy().into_owned();
        let ours = |pid: &u32| {
            let read = |what: &str| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            let has = |bytes: &[u8], word: &str| String::from_utf8_lossy(bytes).contains(word);
            !workers.contains(pid) && has(&read("comm"), name) && has(&read("environ"), &root)
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids: Vec<u32> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect();
        if !pids.is_empty() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pids[self.next(pids.len())]).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    /// Every commit on the target against the journal and what people said.
    fn is_true(&self) {
        let (project, root) = (&self.scene.project, self.scene.project.root());
        let line = git(root, &["log", "--first-parent", "--format=%H %s", &format!("{}..main", self.scene.first)]);
        let told = || format!("{line}\n{}", project.diagnosis());
        let word = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let landed: Vec<(String, String)> = project
            .events_of("merge.landing")
            .iter()
            .map(|event| (word(event, "task"), word(&event["data"], "commit")))
            .collect();
        for (commit, subject) in line.lines().filter_map(|line| line.split_once(' ')) {
            let Some(id) = subject.strip_prefix("Merge ") else {
                assert!(subject.starts_with("Revert "), "{subject}");
                continue;
            };
            assert!(landed.contains(&(id.to_owned(), commit.to_owned())), "{id}: {commit} did not pass: {}", told());
        }
        for task in project.tasks() {
            let id = task["id"].as_str().unwrap();
            let told = || {
                let events = project.events().into_iter().filter(|event| event["task"] == id);
                format!("{task}\n{}\n{}", events.map(|event| format!("{event}\n")).collect::<String>(), told())
            };
            let there = root.join(format!("made-{id}.txt")).exists();
            assert!(
                !there || !self.stopped.iter().any(|other| other == id),
                "{id} was stopped, and is there: {}",
                told()
            );
            let says_so = task["merged_commit"].is_string();
            assert!(there == (task["status"] == "done") || there && says_so, "{id}: both in silence: {}", told());
            if task["status"] == "done" {
                let merges = line.lines().filter(|line| line.ends_with(&format!(" Merge {id}"))).count();
                let reverts = line.lines().filter(|line| line.ends_with(&format!(" Revert {id}"))).count();
                assert_eq!(merges, reverts + 1, "{id}: {}", told());
            }
        }
        assert_eq!(git(root, &["status", "--porcelain"]), "", "the checkout is whole");
        let count = |kind: &str| project.events_of(kind).len();
        println!(
            "figure: {} tasks, {} merged, {} heard a no in time; {} claims, {} rescues, {} starts of workers",
            self.ids.len(),
            project.tasks().iter().filter(|task| task["status"] == "done").count(),
            self.stopped.len(),
            count("lease.acquired"),
            count("lease.rescued"),
            count("worker.started"),
        );
        let seqs: Vec<u64> = project.events().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert!(seqs.windows(2).all(|two| two[0] < two[1]), "the journal's numbers grow: {seqs:?}");
    }
}

fn worker(scene: &mut Scene, n: usize, path: &str) -> usize {
    let owner = format!("w{n}");
    scene.project.start_with("integrator", &["--interval", "1s", "--owner", &owner], &[("PATH", path)])
}

fn storm(tasks: usize, seed: u64, slowness: (u32, u64)) {
    let mut storm = Storm::new(tasks, seed, slowness);
    let deadline = Instant::now() + Duration::from_secs(30 + (8 + 6 * u64::from(slowness.0)) * tasks as u64);
    while !storm.is_over() && Instant::now() < deadline {
        storm.lull();
        storm.blow();
    }
    for n in storm.workers {
        storm.scene.project.signal(n, Signal::TERM);
        storm.scene.project.ended(n);
    }
    // What the last of them left is finished or undone by the next.
    let n = storm.scene.project.start("integrator", &["--once"]);
    storm.scene.project.ended(n);
    storm.is_true();
}

#[test]
fn in_a_storm_of_stops_deaths_and_sleeps_every_commit_on_the_target_was_let_through() {
    storm(6, 0x00da_7caa, (1, 2));
}

#[test]
#[ignore = "minutes: run by `make torture`"]
fn in_a_long_storm_every_commit_on_the_target_was_let_through() {
    storm(60, u64::from(std::process::id()), (1, 2));
    storm(12, u64::from(std::process::id()), (6, 3));
}

#[test]
#[ignore = "run with SEEDS='1 2 3' and TASKS=60: the storms of these seeds, for one that went wrong"]
fn storms_of_seeds() {
    let tasks = std::env::var("TASKS").map_or(6, |tasks| tasks.parse().expect("a number of tasks"));
    for seed in std::env::var("SEEDS").unwrap_or_default().split_whitespace() {
        storm(tasks, seed.parse().expect("a number"), (1, 2));
    }
}

#[test]
fn an_approval_that_is_withdrawn_while_the_merge_is_made_keeps_it_from_landing() {
    let mut scene = Scene::new("[merge]\napproval = true");
    assert!(scene.agentctl(&["inbox"]).1.contains("approve A"));
    assert!(scene.agentctl(&["approve", "A"]).0);
    let path = scene.slow_git("*\" worktree add \"*/merge-*", 5);
    let n = scene.integrator_with(&path);
    scene.is_slow();
    // What the yes was for is not what it was any more.
    let mut tasks = scene.project.json()["tasks"].clone();
    tasks[0]["title"] = "something else than what was approved".into();
    scene.project.replace_queue(tasks);
    eventually("its lease is gone", || scene.project.leases().is_empty().then_some(()));
    eventually("it was told", || (!scene.project.events_of("attempt.finished").is_empty()).then_some(()));
    scene.ends(n);
    scene.is_untouched("withdrawn");
    assert!(scene.project.events_of("merge.landing").is_empty());
    assert_ne!(scene.project.status("A"), "done");
    let inbox = scene.agentctl(&["inbox"]).1;
    assert!(inbox.contains("something else") && !inbox.contains("approve A.1"), "it is asked again: {inbox}");
}
