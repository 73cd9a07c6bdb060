//! The merge queue on real repositories: policies, refusals, the user's own changes, many at once,
//! death at every step.

use std::{
    cell::RefCell,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use oodatcaa_core::{TaskId, Token};
use oodatcaa_git::merge::{
    self, Author, GateFailure, Gates, MergeError, MergeRequest, MergeTarget, Merged, Policy, Report, Step, What, holds,
};

mod death;
mod hostile;
mod many;
mod refused;
mod settings;

/// A repository with a target and branches.
struct Scene {
    dir: tempfile::TempDir,
    line: MergeTarget,
}

impl Scene {
    /// A checkout of `main` with one commit.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        fs::create_dir(&repo).unwrap();
        let line = MergeTarget {
            repo: repo.clone(),
            dir: dir.path().join("state"),
            place: dir.path().join("trees"),
            target: "main".into(),
            policy: Policy::MergeCommit,
            push: None,
            remotes: None,
            tags: true,
            changelog: false,
            author: Author { name: "merge".into(), email: "merge@invalid".into() },
        };
        let scene = Self { dir, line };
        scene.git(&["init", "-q", "-b", "main"]);
        scene.commit(&repo, "base.txt", &numbered(30), "base");
        scene
    }

    fn repo(&self) -> &Path {
        &self.line.repo
    }

    fn git(&self, args: &[&str]) -> String {
        git(self.repo(), args)
    }

    fn commit(&self, at: &Path, file: &str, text: &str, message: &str) {
        let path = at.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        git(at, &["add", "-A"]);
        git(at, &["commit", "-q", "-m", message]);
    }

    /// A branch off `main` whose commits each write one file.
    fn branch(&self, name: &str, files: &[(&str, &str)]) {
        self.branch_from(name, "main", files);
    }

    fn branch_from(&self, name: &str, start: &str, files: &[(&str, &str)]) {
        let tree = tempfile::tempdir_in(self.dir.path()).unwrap();
        let at = tree.path().join("t");
        let has = Command::new("git")
            .arg("-C")
            .arg(self.repo())
            .args(["show-ref", "-q", "--verify"])
            .arg(format!("refs/heads/{name}"))
            .status()
            .unwrap();
        if has.success() {
            self.git(&["worktree", "add", "-q", at.to_str().unwrap(), name]);
        } else {
            self.git(&["worktree", "add", "-q", "-b", name, at.to_str().unwrap(), start]);
        }
        for (file, text) in files {
            self.commit(&at, file, text, &format!("{name}: {file}"));
        }
        self.git(&["worktree", "remove", "--force", at.to_str().unwrap()]);
    }

    fn head(&self, branch: &str) -> String {
        self.git(&["rev-parse", branch])
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.repo().join(file)).unwrap()
    }

    /// Nothing of a merge is left: no worktree, no state, no lock in the repository.
    #[track_caller]
    fn is_swept(&self) {
        let trees = self.git(&["worktree", "list"]);
        assert_eq!(trees.lines().count(), 1, "{trees}");
        let admin = self.common().join("worktrees");
        assert!(entries(&admin).is_empty(), "{:?}", entries(&admin));
        assert!(entries(&self.line.place).is_empty(), "{:?}", entries(&self.line.place));
        assert!(entries(&self.line.dir).is_empty(), "{:?}", entries(&self.line.dir));
        for name in ["index.lock", "index.oodatcaa", "index.oodatcaa.lock", "MERGE_HEAD"] {
            assert!(!self.common().join(name).exists(), "{name}");
        }
        assert_eq!(self.git(&["for-each-ref", "refs/oodatcaa/fetched"]), "");
    }

    fn common(&self) -> PathBuf {
        self.repo().join(self.git(&["rev-parse", "--git-common-dir"]))
    }

    #[track_caller]
    fn is_clean(&self) {
        assert_eq!(self.git(&["status", "--porcelain"]), "");
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|found| found.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

#[track_caller]
fn git(at: &Path, args: &[&str]) -> String {
    let done = Command::new("git")
        .arg("-C")
        .arg(at)
        .args(["-c", "core.hooksPath=/dev/null", "-c", "user.name=user", "-c", "user.email=user@invalid"])
        .args(["-c", "protocol.file.allow=always"])
        .args(args)
        .output()
        .unwrap();
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}

fn numbered(lines: usize) -> String {
    (1..=lines).map(|n| format!("line {n}\n")).collect()
}

fn changed(line: usize, word: &str) -> String {
    numbered(30).replace(&format!("line {line}\n"), &format!("line {line} {word}\n"))
}

fn order(task: &str, branch: &str) -> MergeRequest {
    MergeRequest {
        task: TaskId::parse(task).unwrap(),
        title: format!("the title of {task}"),
        token: Token(7),
        branch: branch.into(),
        commit: None,
    }
}

fn green(_: &Path) -> Result<(), GateFailure> {
    Ok(())
}

fn red(gate: &str) -> Result<(), GateFailure> {
    Err(GateFailure::Red { gate: gate.into(), reason: "no".into() })
}

/// Red after the merge only.
struct RedAfter;

impl Gates for RedAfter {
    fn before(&mut self, _: &Path, _: &[TaskId]) -> Result<(), GateFailure> {
        Ok(())
    }

    fn after(&mut self, tree: &Path, _: &[TaskId]) -> Result<(), GateFailure> {
        if tree.join("bad.txt").exists() { red("after") } else { Ok(()) }
    }
}

fn integrate(scene: &Scene, task: &str, branch: &str) -> Result<Merged, MergeError> {
    merge_one(&scene.line, &order(task, branch), &mut green)
}

/// Takes one branch into the target.
fn merge_one(line: &MergeTarget, order: &MergeRequest, gates: &mut dyn Gates) -> Result<Merged, MergeError> {
    let mut report = merge::batch(line, std::slice::from_ref(order), gates);
    match (report.done.pop(), report.stopped) {
        (Some((_, result)), _) => result,
        (None, Some(error)) => Err(error),
        (None, None) => Err(MergeError::MovedOn),
    }
}

#[test]
fn a_finished_branch_becomes_a_merge_commit_with_tags_and_trailers() {
    let scene = Scene::new();
    let old = scene.head("main");
    scene.branch("feat/t-1", &[("a.txt", "a\n"), ("d/b.txt", "b\n")]);
    let seen = RefCell::new(Vec::new());
    let mut gates = |tree: &Path| {
        assert!(!tree.starts_with(scene.repo()) && tree.join("d/b.txt").is_file());
        seen.borrow_mut().push(git(tree, &["rev-parse", "HEAD"]));
        assert_eq!(scene.head("main"), old, "not before the gates");
        Ok(())
    };
    let merged = merge_one(&scene.line, &order("T-1", "feat/t-1"), &mut gates).unwrap();
    assert_eq!(scene.head("main"), merged.commit);
    assert_eq!(*seen.borrow(), [merged.commit.as_str()], "the gates saw the very commit");
    assert_eq!(scene.git(&["rev-parse", "main^1"]), old);
    assert_eq!(scene.git(&["rev-parse", "main^2"]), scene.head("feat/t-1"));
    let message = scene.git(&["log", "-1", "--format=%B", "main"]);
    assert!(message.starts_with("Merge T-1: the title of T-1\n"), "{message}");
    assert!(message.contains("\nOodatcaa-Task: T-1\nOodatcaa-Attempt: 7\nOodatcaa-Source: "), "{message}");
    assert_eq!(merged.tag.as_deref(), Some("T-1-complete"));
    assert_eq!(scene.git(&["cat-file", "-t", "T-1-complete"]), "tag");
    assert_eq!(scene.git(&["rev-parse", "T-1-complete^{commit}"]), merged.commit);
    let before = merged.before.unwrap();
    assert!(before.starts_with("pre/T-1-") && !before.contains(':'), "{before}");
    assert_eq!(scene.git(&["rev-parse", &format!("{before}^{{commit}}")]), old);
    assert_eq!(scene.read("a.txt"), "a\n", "the checkout follows");
    scene.is_clean();
    scene.is_swept();
    assert!(holds(scene.repo(), "main", "feat/t-1").unwrap());
    assert!(!merged.patch_id.is_empty() && !merged.already);

    let again = integrate(&scene, "T-1", "feat/t-1").unwrap();
    assert!(again.already);
    assert_eq!((again.commit, again.tag.as_deref()), (merged.commit.clone(), Some("T-1-complete")));
    assert_eq!(scene.head("main"), merged.commit, "nothing is merged twice");
}

#[test]
fn every_policy_brings_the_same_content_its_own_way() {
    for policy in [Policy::Squash, Policy::Rebase] {
        let mut scene = Scene::new();
        scene.line.policy = policy;
        scene.branch("b", &[("one.txt", "1\n"), ("two.txt", "2\n")]);
        scene.commit(scene.repo(), "other.txt", "o\n", "other");
        let old = scene.head("main");
        let merged = integrate(&scene, "T", "b").unwrap();
        assert_eq!(scene.git(&["rev-list", "--merges", "--count", "main"]), "0");
        let count = scene.git(&["rev-list", "--count", &format!("{old}..main")]);
        assert_eq!(count, if policy == Policy::Squash { "1" } else { "2" });
        assert_eq!((scene.read("one.txt"), scene.read("other.txt")), ("1\n".into(), "o\n".into()));
        assert!(scene.git(&["log", "-1", "--format=%B", "main"]).contains("Oodatcaa-Task: T"));
        if policy == Policy::Rebase {
            assert_eq!(scene.git(&["log", "-1", "--format=%s|%an|%cn", "main"]), "b: two.txt|user|merge");
        }
        assert!(holds(scene.repo(), "main", "b").unwrap());
        assert!(integrate(&scene, "T", "b").unwrap().already);
        assert_eq!(scene.head("main"), merged.commit);
        scene.is_clean();
        scene.is_swept();
    }
}

#[test]
fn a_branch_that_merged_the_target_itself_keeps_how_it_solved_the_conflict() {
    let mut scene = Scene::new();
    scene.line.policy = Policy::Rebase;
    scene.branch("b", &[("base.txt", &changed(5, "ours"))]);
    scene.commit(scene.repo(), "base.txt", &changed(5, "theirs"), "theirs");
    let tree = scene.dir.path().join("solve");
    scene.git(&["worktree", "add", "-q", tree.to_str().unwrap(), "b"]);
    let merge = Command::new("git")
        .arg("-C")
        .arg(&tree)
        .args(["-c", "user.name=u", "-c", "user.email=u@i", "merge", "-q", "main"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(!merge.success());
    scene.commit(&tree, "base.txt", &changed(5, "both"), "solved");
    scene.git(&["worktree", "remove", "--force", tree.to_str().unwrap()]);
    // Its first commit conflicts with the target; only the merge knows how the two go together.
    let rebased = integrate(&scene, "T", "b");
    assert!(matches!(rebased, Err(MergeError::Conflict { .. })), "{rebased:?}");
    scene.line.policy = Policy::Squash;
    integrate(&scene, "T", "b").unwrap();
    assert_eq!(scene.read("base.txt"), changed(5, "both"));
}

#[test]
fn a_target_that_nobody_has_checked_out_just_moves() {
    // Another branch, a detached head, a linked worktree, a bare repository.
    let scene = Scene::new();
    scene.branch("b1", &[("1.txt", "1\n")]);
    scene.branch("b2", &[("2.txt", "2\n")]);
    scene.branch("b3", &[("3.txt", "3\n")]);
    scene.git(&["checkout", "-q", "-b", "elsewhere"]);
    integrate(&scene, "T1", "b1").unwrap();
    assert!(!scene.repo().join("1.txt").exists());
    scene.git(&["checkout", "-q", "--detach"]);
    integrate(&scene, "T2", "b2").unwrap();
    scene.is_clean();
    let linked = scene.dir.path().join("linked");
    scene.git(&["worktree", "add", "-q", linked.to_str().unwrap(), "main"]);
    integrate(&scene, "T3", "b3").unwrap();
    assert!(linked.join("3.txt").exists() && !scene.repo().join("3.txt").exists());
    assert_eq!(git(&linked, &["status", "--porcelain"]), "");
    scene.git(&["worktree", "remove", linked.to_str().unwrap()]);

    let mut bare = Scene::new();
    bare.branch("b", &[("1.txt", "1\n")]);
    let at = bare.dir.path().join("bare.git");
    bare.git(&["clone", "-q", "--bare", ".", at.to_str().unwrap()]);
    bare.line.repo = at;
    let merged = integrate(&bare, "T", "b").unwrap();
    assert_eq!(bare.head("main"), merged.commit);
    bare.is_swept();
}

#[test]
fn the_changelog_gets_its_entry_in_the_result_itself() {
    for policy in [Policy::MergeCommit, Policy::Squash, Policy::Rebase] {
        let mut scene = Scene::new();
        scene.line.policy = policy;
        scene.line.changelog = true;
        scene.branch("b", &[("a.txt", "a\n")]);
        scene.commit(scene.repo(), "CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n## [1.0.0]\n", "log");
        integrate(&scene, "T", "b").unwrap();
        let text = scene.read("CHANGELOG.md");
        assert_eq!(
            text, "# Changelog\n\n## [Unreleased]\n\n### Changed\n\n- the title of T (T)\n\n## [1.0.0]\n",
            "{policy:?}"
        );
        scene.is_clean();
    }
    // A link is not followed.
    let mut scene = Scene::new();
    scene.line.changelog = true;
    let outside = scene.dir.path().join("outside");
    fs::write(&outside, "mine\n").unwrap();
    symlink(&outside, scene.repo().join("CHANGELOG.md")).unwrap();
    scene.git(&["add", "-A"]);
    scene.git(&["commit", "-q", "-m", "link"]);
    scene.branch("b", &[("a.txt", "a\n")]);
    integrate(&scene, "T", "b").unwrap();
    assert_eq!(fs::read_to_string(outside).unwrap(), "mine\n");
}
