//! The integrator's daemon is killed at every step of a merge; the next one finishes or undoes it.

use std::{os::unix::process::ExitStatusExt as _, path::PathBuf};

use super::*;

/// The gate: a change comes as a whole, and nothing bad comes at all.
const WHOLE: &str = "for one in one-*.txt; do [ ! -e \\\"$one\\\" ] || [ -e \\\"two-${one#one-}\\\" ] || exit 1; done; ! [ -e bad.txt ]";

/// A project with a branch that is to be merged, one that must not be, and a user in the middle of something.
pub(super) struct Scene {
    pub(super) project: Project,
    pub(super) trees: Trees,
    first: String,
    status: String,
}

impl Scene {
    pub(super) fn new(more: &str) -> Self {
        let project = repository(
            "exit 0",
            &format!(
                "[roles.integrator]\ngates = [\"whole\"]\n[gates.whole]\nargv = [\"sh\", \"-c\", \"{WHOLE}\"]\n{more}"
            ),
        );
        let trees = with_trees(&project);
        for name in ["mine.txt", "staged.txt", "base.txt"] {
            fs::write(project.path(name), format!("{name}\n")).unwrap();
        }
        git(project.root(), &["add", "-A"]);
        git(project.root(), &["commit", "-q", "-m", "second"]);
        for (id, files) in [("A", ["one-A.txt", "two-A.txt", "base.txt"]), ("R", ["one-R.txt", "two-R.txt", "bad.txt"])]
        {
            let branch = format!("feat/{id}");
            git(project.root(), &["checkout", "-q", "-b", &branch, "main"]);
            for file in files {
                fs::write(project.path(file), format!("by {id}\n")).unwrap();
                git(project.root(), &["add", "-A"]);
                git(project.root(), &["commit", "-q", "-m", file]);
            }
        }
        git(project.root(), &["checkout", "-q", "main"]);
        fs::write(project.path("mine.txt"), "changed by the user\n").unwrap();
        fs::write(project.path("staged.txt"), "staged by the user\n").unwrap();
        git(project.root(), &["add", "staged.txt"]);
        fs::write(project.path("untracked.txt"), "untracked\n").unwrap();
        let task = |id: &str| json!({"id": id, "title": "", "type": "Build", "status": "ready_for_integrator", "branch": format!("feat/{id}")});
        project.queue(json!([task("A"), task("R")]));
        let first = git(project.root(), &["rev-parse", "main"]);
        let status = git(project.root(), &["status", "--porcelain"]);
        assert_eq!(status.lines().count(), 3, "{status}");
        Self { project, trees, first, status }
    }

    fn root(&self) -> &Path {
        self.project.root()
    }

    /// An integrator that dies at a step.
    pub(super) fn dies_at(&mut self, step: &str) {
        let n = self.project.start_with("integrator", &["--interval", "1s"], &[("OODATCAA_MERGE_ABORT", step)]);
        let status = self.project.exited(n);
        assert_eq!(status.signal(), Some(9), "{step}: {status:?}: {}", self.project.diagnosis());
        self.is_green(step);
    }

    /// The gate says yes to every commit that `main` ever pointed to.
    pub(super) fn is_green(&self, step: &str) {
        are_green(self.root(), "main", step);
    }

    /// Whatever the merge came to, nothing of it lies about, and what is the user's is as it was.
    pub(super) fn is_swept(&self, step: &str) {
        let root = self.root();
        for (file, text) in [("mine.txt", "changed by"), ("staged.txt", "staged by"), ("untracked.txt", "untracked")] {
            assert!(fs::read_to_string(self.project.path(file)).unwrap().starts_with(text), "{step}: {file}");
        }
        assert_eq!(git(root, &["status", "--porcelain"]), self.status, "{step}");
        let trees = git(root, &["worktree", "list"]);
        assert!(!trees.contains("merge-") && !trees.contains("/wt/A "), "{step}: {trees}");
        for name in ["index.lock", "index.oodatcaa", "index.oodatcaa.lock", "MERGE_HEAD"] {
            assert!(!root.join(".git").join(name).exists(), "{step}: {name}");
        }
        for home in fs::read_dir(&self.trees.0).unwrap().flatten() {
            for yard in ["merges", "merge"] {
                let left: Vec<PathBuf> = fs::read_dir(home.path().join(yard))
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path())
                    .collect();
                assert!(left.is_empty(), "{step}: {left:?}");
            }
        }
        assert_eq!(git(root, &["for-each-ref", "refs/oodatcaa/fetched"]), "", "{step}");
        assert!(self.project.leases().is_empty(), "{step}");
        assert_eq!(git(root, &["fsck", "--connectivity-only", "--no-dangling"]), "", "{step}");
    }

    fn moves(&self, id: &str, to: &str) -> usize {
        let moved = |event: &serde_json::Value| event["task"] == id && event["data"]["to"] == to;
        self.project.events_of("task.moved").iter().filter(|event| moved(event)).count()
    }

    /// `A` is in `main` exactly once, with its tags; `R` is not.
    pub(super) fn is_merged_once(&self, step: &str) {
        let root = self.root();
        assert_eq!(self.moves("A", "done"), 1, "{step}");
        assert_eq!(self.moves("R", "needs_adapt"), 1, "{step}");
        let task = self.project.task("A");
        let commit = task["merged_commit"].as_str().expect("a commit");
        assert_eq!(git(root, &["rev-parse", "main"]), commit, "{step}");
        assert_eq!(git(root, &["rev-parse", "main^1"]), self.first, "{step}");
        assert_eq!(git(root, &["log", "--first-parent", "--merges", "--format=%s", "main"]), "Merge A", "{step}");
        assert_eq!(task["tag"], "A-complete", "{step}");
        let tags = git(root, &["tag", "--list"]);
        assert_eq!(tags.lines().count(), 2, "{step}: {tags}");
        assert_eq!(git(root, &["rev-parse", "A-complete^{commit}"]), commit, "{step}");
        let before = tags.lines().find(|tag| tag.starts_with("pre/A-")).expect("the tag before");
        assert_eq!(git(root, &["rev-parse", &format!("{before}^{{commit}}")]), self.first, "{step}");
        assert_eq!(fs::read_to_string(self.project.path("base.txt")).unwrap(), "by A\n", "{step}");
        assert_eq!(
            (task["attempts"].as_u64().unwrap_or_default(), &task["blocked_reason"]),
            (0, &json!(null)),
            "{step}"
        );
    }

    pub(super) fn settles(&mut self, a: &str) {
        let n = self.project.start("integrator", &["--interval", "1s"]);
        self.project.wait_for("A", a);
        self.project.wait_for("R", "needs_adapt");
        self.project.signal(n, rustix::process::Signal::TERM);
        assert_eq!(self.project.ended(n), Some(0));
    }
}

/// The gate says yes to every commit that a branch ever pointed to.
pub(super) fn are_green(repo: &Path, branch: &str, step: &str) {
    let listed = git(repo, &["reflog", "show", "--format=%H", &format!("refs/heads/{branch}")]);
    assert!(!listed.is_empty(), "{step}: there is a log");
    for commit in listed.lines() {
        let dir = tempfile::tempdir().unwrap();
        let line = format!(
            "git -C '{}' archive {commit} | tar -x -C '{}' && cd '{}' && {}",
            repo.display(),
            dir.path().display(),
            dir.path().display(),
            WHOLE.replace("\\\"", "\"")
        );
        let checked = Command::new("sh").args(["-c", &line]).status().expect("sh");
        assert!(checked.success(), "{step}: {branch} pointed to {commit}, which is red");
    }
}

#[test]
fn an_integrator_that_is_killed_at_any_step_leaves_nothing_that_the_next_does_not_finish_or_undo() {
    for step in
        ["begun", "tree", "built", "green", "landing", "locked", "files", "moved", "landed", "checked", "tagged"]
    {
        walk(step);
    }
    for step in ["cleaned", "ended"] {
        walk(step);
    }
}

fn walk(step: &str) {
    let mut scene = Scene::new("");
    scene.dies_at(step);
    scene.settles("done");
    scene.is_green(step);
    scene.is_merged_once(step);
    scene.is_swept(step);
}

#[test]
fn a_worker_of_another_role_mends_what_a_killed_integrator_left_in_the_checkout() {
    for step in ["files", "moved"] {
        let mut scene = Scene::new("");
        scene.dies_at(step);
        assert!(scene.root().join(".git/index.lock").exists(), "{step}: the user's git is locked out");
        let n = scene.project.start("tester", &["--interval", "1s"]);
        scene.project.wait_for("A", "ready_for_integrator");
        crate::support::eventually("the checkout is whole", || {
            (!scene.root().join(".git/index.lock").exists()).then_some(())
        });
        scene.project.signal(n, rustix::process::Signal::TERM);
        assert_eq!(scene.project.ended(n), Some(0));
        assert_eq!(git(scene.root(), &["status", "--porcelain"]), scene.status, "{step}");
        scene.is_green(step);
        scene.settles("done");
        scene.is_merged_once(step);
        scene.is_swept(step);
    }
}

#[test]
fn a_red_gate_after_the_merge_takes_it_back_also_when_the_integrator_is_killed_at_it() {
    let more = "[merge]\nafter = [\"later\"]\n[gates.later]\nargv = [\"sh\", \"-c\", \"! [ -e one-A.txt ]\"]";
    for step in ["", "landed", "reverting", "reverted"] {
        let mut scene = Scene::new(more);
        let tree = git(scene.root(), &["rev-parse", "main^{tree}"]);
        if !step.is_empty() {
            scene.dies_at(step);
        }
        scene.settles("needs_adapt");
        scene.is_green(step);
        assert_eq!(git(scene.root(), &["rev-parse", "main^{tree}"]), tree, "{step}");
        let line = git(scene.root(), &["log", "--first-parent", "--format=%s", "-3", "main"]);
        assert_eq!(line, "Revert A\nMerge A\nsecond", "{step}");
        assert_eq!(git(scene.root(), &["tag", "--list", "*-complete*"]), "", "{step}");
        assert_eq!(scene.moves("A", "needs_adapt"), 1, "{step}");
        let reason = scene.project.task("A")["blocked_reason"].as_str().expect("a reason").to_owned();
        assert!(reason.contains("the gate later was red after it"), "{step}: {reason}");
        let trees = git(scene.root(), &["worktree", "list"]);
        assert!(!trees.contains("merge-"), "{step}: {trees}");
        assert_eq!(git(scene.root(), &["status", "--porcelain"]), scene.status, "{step}");
    }
}

#[test]
fn what_the_user_has_not_committed_is_waited_for_and_then_the_merge_goes_on_by_itself() {
    let mut scene = Scene::new("");
    fs::write(scene.root().join("base.txt"), "mine as well\n").unwrap();
    let n = scene.project.start("integrator", &["--interval", "1s"]);
    crate::support::eventually("it waits", || {
        let waits = |event: &&serde_json::Value| event["task"] == "A" && event["data"]["outcome"] == "waits";
        (scene.project.events_of("attempt.finished").iter().filter(waits).count() >= 2).then_some(())
    });
    // Between two tries; in the middle of one it is being worked on.
    crate::support::eventually("why says so", || {
        let why = scene.project.command("agentctl").args(["why", "A"]).output().expect("agentctl");
        let why = String::from_utf8_lossy(&why.stdout).into_owned();
        (why.contains("base.txt") && why.contains("commit, stash or move them")).then_some(())
    });
    assert_eq!(fs::read_to_string(scene.root().join("base.txt")).unwrap(), "mine as well\n");
    assert_eq!(git(scene.root(), &["rev-parse", "main"]), scene.first);
    git(scene.root(), &["checkout", "--", "base.txt"]);
    scene.project.wait_for("A", "done");
    scene.project.wait_for("R", "needs_adapt");
    scene.project.signal(n, rustix::process::Signal::TERM);
    assert_eq!(scene.project.ended(n), Some(0));
    scene.is_merged_once("busy");
    scene.is_swept("busy");
}

#[test]
fn merges_that_wait_ride_together_and_a_red_one_among_them_is_found() {
    // Slow enough that the others arrive while the first one's gate runs.
    let more = "[roles.integrator]\ngates = [\"whole\"]\n[gates.whole]\nargv = [\"sh\", \"-c\", \"sleep 1; ! [ -e bad.txt ]\"]";
    let mut project = repository("exit 0", more);
    let trees = with_trees(&project);
    let ids = ["A", "B", "C", "D", "R"];
    for id in ids {
        let branch = format!("feat/{id}");
        git(project.root(), &["checkout", "-q", "-b", &branch, "main"]);
        let file = if id == "R" { "bad.txt".to_owned() } else { format!("one-{id}.txt") };
        fs::write(project.path(&file), format!("by {id}\n")).unwrap();
        git(project.root(), &["add", "-A"]);
        git(project.root(), &["commit", "-q", "-m", &file]);
        git(project.root(), &["checkout", "-q", "main"]);
    }
    let task = |id: &str| json!({"id": id, "title": "", "type": "Build", "status": "ready_for_integrator", "branch": format!("feat/{id}")});
    let tasks: Vec<serde_json::Value> = ids.iter().map(|id| task(id)).collect();
    let queue = json!({"sprint": 1, "wip_limits": {"integrator": 5}, "tasks": tasks});
    project.queue_text(&serde_json::to_string_pretty(&queue).unwrap());
    let n = project.start("integrator", &["--interval", "1s"]);
    for id in &ids[..4] {
        project.wait_for(id, "done");
    }
    project.wait_for("R", "needs_adapt");
    project.signal(n, rustix::process::Signal::TERM);
    assert_eq!(project.ended(n), Some(0));
    let log = project.log("integrator", n);
    assert!(log.lines().any(|line| line.contains("merging ") && line.contains(" together")), "{log}");
    let merges = git(project.root(), &["log", "--first-parent", "--merges", "--format=%s", "main"]);
    assert_eq!(merges.lines().collect::<std::collections::BTreeSet<_>>().len(), 4, "{merges}");
    assert_eq!(merges.lines().count(), 4, "{merges}");
    assert!(!project.path("bad.txt").exists());
    for id in &ids[..4] {
        let commit = project.task(id)["merged_commit"].as_str().expect("a commit").to_owned();
        assert_eq!(git(project.root(), &["log", "-1", "--format=%s", &commit]), format!("Merge {id}"));
    }
    assert_eq!(git(project.root(), &["status", "--porcelain"]), "");
    assert!(project.leases().is_empty());
    drop(trees);
}
