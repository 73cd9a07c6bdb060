//! The merge train on real repositories: policies, refusals, the user's own changes, many at once,
//! death at every step.

use std::{
    cell::RefCell,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use oodatcaa::{
    domain::{TaskId, Token},
    workspace::train::{
        self, Author, GateFailure, Gates, Line, Merged, Order, Policy, Report, Step, TrainError, What, holds,
    },
};

/// A repository with a target and branches.
struct Scene {
    dir: tempfile::TempDir,
    line: Line,
}

impl Scene {
    /// A checkout of `main` with one commit.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        fs::create_dir(&repo).unwrap();
        let line = Line {
            repo: repo.clone(),
            dir: dir.path().join("state"),
            place: dir.path().join("trees"),
            target: "main".into(),
            policy: Policy::MergeCommit,
            push: None,
            tags: true,
            changelog: false,
            author: Author { name: "train".into(), email: "train@invalid".into() },
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

    /// Nothing of a train is left: no worktree, no state, no lock in the repository.
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

fn order(task: &str, branch: &str) -> Order {
    Order {
        task: TaskId::parse(task).unwrap(),
        title: format!("the title of {task}"),
        token: Token(7),
        branch: branch.into(),
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

fn integrate(scene: &Scene, task: &str, branch: &str) -> Result<Merged, TrainError> {
    train::integrate(&scene.line, &order(task, branch), &mut green)
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
    let merged = train::integrate(&scene.line, &order("T-1", "feat/t-1"), &mut gates).unwrap();
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
            assert_eq!(scene.git(&["log", "-1", "--format=%s|%an|%cn", "main"]), "b: two.txt|user|train");
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
    assert!(matches!(rebased, Err(TrainError::Conflict { .. })), "{rebased:?}");
    scene.line.policy = Policy::Squash;
    integrate(&scene, "T", "b").unwrap();
    assert_eq!(scene.read("base.txt"), changed(5, "both"));
}

#[test]
fn a_conflict_names_its_files_and_leaves_nothing() {
    for policy in [Policy::MergeCommit, Policy::Squash, Policy::Rebase] {
        let mut scene = Scene::new();
        scene.line.policy = policy;
        scene.branch("b", &[("base.txt", &changed(5, "ours")), ("x y.txt", "x\n")]);
        scene.commit(scene.repo(), "base.txt", &changed(5, "theirs"), "theirs");
        let refs = scene.git(&["show-ref"]);
        let error = integrate(&scene, "T", "b").unwrap_err();
        assert!(matches!(&error, TrainError::Conflict { files } if files == &["base.txt"]), "{error:?}");
        assert_eq!(error.to_string(), "merge it: conflicts in base.txt");
        assert_eq!(scene.git(&["show-ref"]), refs);
        scene.is_clean();
        scene.is_swept();
    }
}

#[test]
fn a_red_gate_leaves_the_target_alone() {
    let scene = Scene::new();
    scene.branch("b", &[("a.txt", "a\n")]);
    let refs = scene.git(&["show-ref"]);
    let mut gates = |_: &Path| red("tests");
    let error = train::integrate(&scene.line, &order("T", "b"), &mut gates).unwrap_err();
    assert!(matches!(&error, TrainError::GatesRed { gate, .. } if gate == "tests"), "{error:?}");
    let mut gates = |_: &Path| Err(GateFailure::Stopped);
    let error = train::integrate(&scene.line, &order("T", "b"), &mut gates).unwrap_err();
    assert!(matches!(error, TrainError::Stopped), "{error:?}");
    assert_eq!(scene.git(&["show-ref"]), refs);
    scene.is_clean();
    scene.is_swept();
}

#[test]
fn a_red_gate_after_the_merge_takes_it_back_and_the_mended_branch_comes_in_whole() {
    for policy in [Policy::MergeCommit, Policy::Squash, Policy::Rebase] {
        let mut scene = Scene::new();
        scene.line.policy = policy;
        let tree = scene.git(&["rev-parse", "main^{tree}"]);
        scene.branch("b", &[("good.txt", "good\n"), ("bad.txt", "bad\n")]);
        let error = train::integrate(&scene.line, &order("T", "b"), &mut RedAfter).unwrap_err();
        let TrainError::RedAfter { revert, .. } = &error else { panic!("{error:?}") };
        assert_eq!(scene.head("main"), *revert);
        assert_eq!(scene.git(&["rev-parse", "main^{tree}"]), tree, "as it was");
        assert_eq!(scene.git(&["tag", "-l", "*-complete"]), "");
        assert!(!scene.repo().join("bad.txt").exists());
        scene.is_clean();
        scene.is_swept();

        let at = scene.dir.path().join("mend");
        scene.git(&["worktree", "add", "-q", at.to_str().unwrap(), "b"]);
        git(&at, &["rm", "-q", "bad.txt"]);
        scene.commit(&at, "new.txt", "new\n", "mended");
        scene.git(&["worktree", "remove", "--force", at.to_str().unwrap()]);
        let merged = train::integrate(&scene.line, &order("T", "b"), &mut RedAfter).unwrap();
        assert!(!merged.already);
        assert_eq!(scene.read("good.txt"), "good\n", "what was reverted came again ({policy:?})");
        assert_eq!(scene.read("new.txt"), "new\n");
        assert!(!scene.repo().join("bad.txt").exists());
        scene.is_clean();
        scene.is_swept();
    }
}

#[test]
fn the_users_uncommitted_changes_are_untouched_or_the_train_waits() {
    let scene = Scene::new();
    scene.commit(scene.repo(), "mine.txt", "mine\n", "mine");
    scene.commit(scene.repo(), "staged.txt", "staged\n", "staged");
    scene.branch("b", &[("base.txt", &changed(5, "b")), ("new.txt", "new\n"), ("deep/er/x.txt", "x\n")]);
    let old = scene.head("main");
    let busy = |what: &str, file: &str| {
        let refs = scene.git(&["show-ref"]);
        let status = scene.git(&["status", "--porcelain"]);
        let error = integrate(&scene, "T", "b").unwrap_err();
        let TrainError::Busy { files, .. } = &error else { panic!("{what}: {error:?}") };
        assert_eq!(files, &[file], "{what}");
        assert_eq!((scene.git(&["show-ref"]), scene.git(&["status", "--porcelain"])), (refs, status), "{what}");
        scene.is_swept();
    };
    // The same path: changed, staged, staged for removal.
    fs::write(scene.repo().join("base.txt"), changed(20, "user")).unwrap();
    busy("changed", "base.txt");
    assert_eq!(scene.read("base.txt"), changed(20, "user"));
    scene.git(&["add", "base.txt"]);
    busy("staged", "base.txt");
    scene.git(&["checkout", "-q", "HEAD", "--", "base.txt"]);
    // An untracked file, an ignored one, a file where a directory must be.
    fs::write(scene.repo().join("new.txt"), "precious\n").unwrap();
    busy("untracked", "new.txt");
    fs::write(scene.repo().join(".git/info/exclude"), "new.txt\n").unwrap();
    busy("ignored", "new.txt");
    assert_eq!(scene.read("new.txt"), "precious\n");
    fs::remove_file(scene.repo().join("new.txt")).unwrap();
    fs::write(scene.repo().join("deep"), "a file\n").unwrap();
    busy("in the way", "deep");
    fs::remove_file(scene.repo().join("deep")).unwrap();
    symlink("/tmp", scene.repo().join("deep")).unwrap();
    busy("a link in the way", "deep");
    fs::remove_file(scene.repo().join("deep")).unwrap();
    fs::create_dir(scene.repo().join("new.txt")).unwrap();
    fs::write(scene.repo().join("new.txt/precious"), "precious\n").unwrap();
    busy("a directory in the way", "new.txt/precious");
    fs::remove_dir_all(scene.repo().join("new.txt")).unwrap();
    // A merge of the user's own under way.
    fs::write(scene.repo().join(".git/MERGE_HEAD"), format!("{old}\n")).unwrap();
    assert!(matches!(integrate(&scene, "T", "b"), Err(TrainError::Busy { .. })));
    fs::remove_file(scene.repo().join(".git/MERGE_HEAD")).unwrap();
    // Other paths: changed, staged, untracked, removed.
    fs::write(scene.repo().join("mine.txt"), "changed by the user\n").unwrap();
    fs::write(scene.repo().join("staged.txt"), "staged by the user\n").unwrap();
    scene.git(&["add", "staged.txt"]);
    fs::write(scene.repo().join("untracked.txt"), "untracked\n").unwrap();
    let status = scene.git(&["status", "--porcelain"]);
    let merged = integrate(&scene, "T", "b").unwrap();
    assert_eq!(scene.head("main"), merged.commit);
    assert_eq!(scene.git(&["status", "--porcelain"]), status);
    assert_eq!(scene.read("mine.txt"), "changed by the user\n");
    assert_eq!(scene.read("untracked.txt"), "untracked\n");
    assert_eq!(scene.read("base.txt"), changed(5, "b"));
    assert_eq!(scene.read("deep/er/x.txt"), "x\n");
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
fn several_go_upon_each_other_and_the_gates_run_once() {
    let scene = Scene::new();
    for n in 1..=5 {
        scene.branch(&format!("b{n}"), &[(&format!("{n}.txt"), "x\n")]);
    }
    let orders: Vec<Order> = (1..=5).map(|n| order(&format!("T{n}"), &format!("b{n}"))).collect();
    let mut runs = 0;
    let mut gates = |_: &Path| {
        runs += 1;
        Ok(())
    };
    let report = train::batch(&scene.line, &orders, &mut gates);
    assert_eq!(runs, 1);
    assert!(report.stopped.is_none() && report.done.len() == 5, "{report:?}");
    for (task, result) in &report.done {
        let merged = result.as_ref().unwrap();
        assert_eq!(merged.tag.as_deref(), Some(format!("{task}-complete").as_str()));
    }
    assert_eq!(scene.git(&["rev-list", "--first-parent", "--count", "main"]), "6");
    scene.is_clean();
    scene.is_swept();
}

#[test]
fn a_red_batch_is_halved_and_only_the_guilty_stay_out() {
    let scene = Scene::new();
    for n in 1..=8 {
        scene.branch(&format!("b{n}"), &[(&format!("{n}.txt"), "x\n")]);
    }
    scene.branch("clash", &[("1.txt", "other\n")]);
    let mut orders: Vec<Order> = (1..=8).map(|n| order(&format!("T{n}"), &format!("b{n}"))).collect();
    orders.push(order("T9", "clash"));
    orders.push(order("T10", "gone"));
    let mut gates =
        |tree: &Path| if tree.join("3.txt").exists() || tree.join("6.txt").exists() { red("x") } else { Ok(()) };
    let Report { done, stopped } = train::batch(&scene.line, &orders, &mut gates);
    assert!(stopped.is_none(), "{stopped:?}");
    for (task, result) in &done {
        let as_expected = match task.as_str() {
            "T3" | "T6" => matches!(result, Err(TrainError::GatesRed { .. })),
            "T9" => matches!(result, Err(TrainError::Conflict { .. })),
            "T10" => matches!(result, Err(TrainError::NoBranch { .. })),
            _ => result.is_ok(),
        };
        assert!(as_expected, "{task}: {result:?}");
    }
    assert_eq!(done.len(), 10);
    let tree = scene.git(&["ls-tree", "--name-only", "main"]);
    assert_eq!(tree.replace('\n', " "), "1.txt 2.txt 4.txt 5.txt 7.txt 8.txt base.txt");
    scene.is_clean();
    scene.is_swept();
}

#[test]
fn hostile_titles_and_names_reach_no_shell_and_no_trailer() {
    let scene = Scene::new();
    let title =
        format!("--force $(touch owned) `touch owned`\n\nOodatcaa-Task: OTHER\n\x1b[31m\"'{}", "x".repeat(1 << 20));
    let names = ["--upload-pack=touch", "a;touch$IFS'owned'", "$(touch-owned)", "-x", "häßlich/ünd/tief"];
    for (n, name) in names.iter().enumerate() {
        scene.branch("tmp", &[(&format!("{n}.txt"), "x\n")]);
        scene.git(&["update-ref", &format!("refs/heads/{name}"), "refs/heads/tmp"]);
        scene.git(&["update-ref", "-d", "refs/heads/tmp"]);
        let mut order = order(&format!("T.{n}"), name);
        order.title.clone_from(&title);
        let mut line = scene.line.clone();
        line.changelog = true;
        train::integrate(&line, &order, &mut green).unwrap();
        let message = scene.git(&["log", "-1", "--format=%B", "main"]);
        assert!(message.len() < 600 && !message.contains('\x1b'), "{message}");
        assert_eq!(
            scene.git(&["log", "-1", "--format=%(trailers:key=Oodatcaa-Task,valueonly)", "main"]).trim(),
            format!("T.{n}")
        );
    }
    for bad in ["main~1", "main..x", "@{-1}", "", "a b", "x:y", "a\nb", "refs/../heads", "a\0b"] {
        let error = integrate(&scene, "BAD", bad).unwrap_err();
        assert!(matches!(error, TrainError::NoBranch { .. }), "{bad:?}: {error:?}");
    }
    for id in ["a..b", "x.lock", "end."] {
        scene.branch(&format!("of-{}", id.replace('.', "_")), &[(&format!("f{id}x"), "x\n")]);
        let merged = integrate(&scene, id, &format!("of-{}", id.replace('.', "_"))).unwrap();
        assert_eq!(scene.git(&["rev-parse", &format!("{}^{{commit}}", merged.tag.unwrap())]), merged.commit);
    }
    assert!(!scene.repo().join("owned").exists() && !scene.line.place.join("owned").exists());
    scene.is_clean();
    scene.is_swept();
}

#[test]
fn an_agents_own_trailers_make_nothing_merged() {
    for policy in [Policy::MergeCommit, Policy::Rebase, Policy::Squash] {
        let mut scene = Scene::new();
        scene.line.policy = policy;
        scene.branch("victim", &[("v.txt", "v\n")]);
        let source = scene.head("victim");
        let at = scene.dir.path().join("evil");
        scene.git(&["worktree", "add", "-q", "-b", "evil", at.to_str().unwrap(), "main"]);
        scene.commit(&at, "e.txt", "e\n", &format!("evil\n\nOodatcaa-Task: V\nOodatcaa-Source: {source}"));
        scene.git(&["worktree", "remove", "--force", at.to_str().unwrap()]);
        integrate(&scene, "E", "evil").unwrap();
        assert!(!holds(scene.repo(), "main", "victim").unwrap(), "{policy:?}");
        assert!(!integrate(&scene, "V", "victim").unwrap().already);
        assert_eq!(scene.read("v.txt"), "v\n");
    }
}

#[test]
fn what_somebody_merged_by_hand_is_in_and_an_empty_branch_is_no_work() {
    let scene = Scene::new();
    scene.branch("merged", &[("a.txt", "a\n")]);
    scene.branch("picked", &[("b.txt", "b\n")]);
    scene.git(&["branch", "empty"]);
    scene.git(&["merge", "-q", "--no-ff", "-m", "by hand", "merged"]);
    let by_hand = scene.head("main");
    scene.git(&["cherry-pick", "picked"]);
    let head = scene.head("main");
    let merged = integrate(&scene, "M", "merged").unwrap();
    assert_eq!((merged.already, merged.commit), (true, by_hand));
    assert!(integrate(&scene, "P", "picked").unwrap().already);
    assert!(matches!(integrate(&scene, "E", "empty"), Err(TrainError::Empty { .. })));
    assert!(matches!(integrate(&scene, "G", "gone"), Err(TrainError::NoBranch { .. })));
    assert_eq!(scene.head("main"), head);
    scene.is_swept();
}

#[test]
fn gates_that_are_stopped_after_the_merge_are_made_up_for() {
    struct Stopped;
    impl Gates for Stopped {
        fn before(&mut self, _: &Path, _: &[TaskId]) -> Result<(), GateFailure> {
            Ok(())
        }
        fn after(&mut self, _: &Path, _: &[TaskId]) -> Result<(), GateFailure> {
            Err(GateFailure::Stopped)
        }
    }
    let scene = Scene::new();
    scene.branch("b", &[("bad.txt", "bad\n")]);
    let error = train::integrate(&scene.line, &order("T", "b"), &mut Stopped).unwrap_err();
    assert!(matches!(error, TrainError::Stopped), "{error:?}");
    let recovered = train::recover(scene.repo(), &scene.line.dir, &mut RedAfter).unwrap();
    assert!(matches!(&recovered[..], [one] if matches!(one.what, What::Reverted(_))), "{recovered:?}");
    assert!(!scene.repo().join("bad.txt").exists());
    scene.is_clean();
    scene.is_swept();
}

#[test]
fn tags_that_are_there_already_are_never_moved() {
    let scene = Scene::new();
    scene.git(&["tag", "T-complete"]);
    scene.git(&["tag", "T-complete-2"]);
    scene.git(&["tag", "pre"]);
    let old = scene.head("main");
    scene.branch("b", &[("a.txt", "a\n")]);
    let merged = integrate(&scene, "T", "b").unwrap();
    assert_eq!(merged.tag.as_deref(), Some("T-complete-3"));
    assert!(merged.before.unwrap().starts_with("pre-T-"), "no room below the tag `pre`");
    for tag in ["T-complete", "T-complete-2", "pre"] {
        assert_eq!(scene.head(tag), old);
    }
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

#[test]
fn nothing_that_a_repository_names_is_executed() {
    let scene = Scene::new();
    scene.commit(scene.repo(), ".gitattributes", "*.txt filter=evil merge=evil diff=evil\n", "attributes");
    scene.commit(scene.repo(), "both.txt", "1\n2\n3\n", "both");
    scene.branch("b", &[("both.txt", "1\n2\n3 b\n"), ("a.txt", "a\n")]);
    scene.commit(scene.repo(), "both.txt", "1 main\n2\n3\n", "main");
    let owned = scene.dir.path().join("owned");
    let evil = scene.dir.path().join("evil.sh");
    fs::write(&evil, format!("#!/bin/sh\ntouch {}\ncat\n", owned.display())).unwrap();
    fs::set_permissions(&evil, fs::Permissions::from_mode(0o755)).unwrap();
    let evil = evil.to_str().unwrap();
    for key in [
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "merge.evil.driver",
        "diff.evil.textconv",
        "diff.evil.command",
        "diff.external",
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "sequence.editor",
        "core.sshCommand",
        "credential.helper",
        "gpg.program",
        "core.askPass",
        "core.alternateRefsCommand",
        "trailer.x.command",
    ] {
        scene.git(&["config", key, evil]);
    }
    scene.git(&["config", "filter.evil.required", "true"]);
    scene.git(&["config", "commit.gpgSign", "true"]);
    scene.git(&["config", "tag.gpgSign", "true"]);
    for hook in [
        "pre-commit",
        "post-commit",
        "prepare-commit-msg",
        "commit-msg",
        "pre-merge-commit",
        "post-merge",
        "post-checkout",
        "reference-transaction",
        "post-index-change",
        "pre-rebase",
        "post-rewrite",
        "pre-push",
        "update",
        "pre-receive",
    ] {
        symlink(evil, scene.repo().join(".git/hooks").join(hook)).unwrap();
    }
    for (task, policy) in [("A", Policy::Rebase), ("B", Policy::Squash), ("C", Policy::MergeCommit)] {
        let mut line = scene.line.clone();
        line.policy = policy;
        // The driver of the repository's own is a conflict, not a program.
        let error = train::integrate(&line, &order(task, "b"), &mut green).unwrap_err();
        assert!(matches!(error, TrainError::Conflict { .. }), "{error:?}");
        let plain = format!("plain-{task}");
        let file = format!("{task}.md");
        let _ = fs::remove_file(&owned);
        // Made without these programs, as an agent might have.
        let blob = write_blob(scene.repo(), "text\n");
        let index = scene.dir.path().join("index");
        let plumb = |args: &[&str]| {
            let done = Command::new("git")
                .arg("-C")
                .arg(scene.repo())
                .args([
                    "-c",
                    "core.hooksPath=/dev/null",
                    "-c",
                    "core.fsmonitor=false",
                    "-c",
                    "user.name=u",
                    "-c",
                    "user.email=u@i",
                ])
                .args(args)
                .env("GIT_INDEX_FILE", &index)
                .output()
                .unwrap();
            assert!(done.status.success(), "{args:?} {done:?}");
            String::from_utf8(done.stdout).unwrap().trim().to_owned()
        };
        plumb(&["read-tree", "main"]);
        plumb(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{file}")]);
        let tree = plumb(&["write-tree"]);
        let commit = plumb(&["commit-tree", "--no-gpg-sign", "-p", "main", "-m", "x", &tree]);
        plumb(&["update-ref", &format!("refs/heads/{plain}"), &commit]);
        let merged = train::integrate(&line, &order(&format!("{task}2"), &plain), &mut green).unwrap();
        assert!(!merged.already);
        assert!(scene.repo().join(file).exists());
        assert!(!owned.exists(), "{policy:?}");
    }
    scene.is_swept();
}

fn write_blob(repo: &Path, text: &str) -> String {
    use std::io::Write;
    let mut child = Command::new("git")
        .arg("-C")
        .arg(repo)
        .args(["hash-object", "-w", "--stdin", "--no-filters"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

/// With a bare repository as `origin` that has `main`.
fn with_remote() -> (Scene, PathBuf) {
    let mut scene = Scene::new();
    let remote = scene.dir.path().join("remote.git");
    scene.git(&["clone", "-q", "--bare", ".", remote.to_str().unwrap()]);
    scene.git(&["remote", "add", "origin", remote.to_str().unwrap()]);
    scene.line.push = Some("origin".into());
    (scene, remote)
}

#[test]
fn a_push_is_proven_and_a_remote_that_is_ahead_comes_in_first() {
    let (scene, remote) = with_remote();
    scene.branch("b", &[("a.txt", "a\n")]);
    let other = scene.dir.path().join("other");
    git(scene.dir.path(), &["clone", "-q", remote.to_str().unwrap(), other.to_str().unwrap()]);
    scene.commit(&other, "theirs.txt", "t\n", "theirs");
    git(&other, &["push", "-q", "origin", "main"]);
    let merged = integrate(&scene, "T", "b").unwrap();
    assert_eq!(merged.behind, None);
    assert_eq!(git(&remote, &["rev-parse", "main"]), merged.commit);
    assert_eq!(scene.head("main"), merged.commit);
    assert_eq!((scene.read("theirs.txt"), scene.read("a.txt")), ("t\n".into(), "a\n".into()));
    scene.is_clean();
    scene.is_swept();

    // Dirty files are found before anything is pushed.
    scene.branch("c", &[("base.txt", &changed(3, "c"))]);
    fs::write(scene.repo().join("base.txt"), changed(3, "user")).unwrap();
    assert!(matches!(integrate(&scene, "U", "c"), Err(TrainError::Busy { .. })));
    assert_eq!(git(&remote, &["rev-parse", "main"]), merged.commit);
    scene.git(&["checkout", "-q", "--", "base.txt"]);

    // A remote that refuses.
    let hook = remote.join("hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\necho protected >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = integrate(&scene, "U", "c").unwrap_err();
    assert!(matches!(&refused, TrainError::PushRefused { said, .. } if said.contains("protected")), "{refused:?}");
    assert_eq!(scene.head("main"), merged.commit, "what is not pushed is not landed");
    scene.is_swept();
    fs::remove_file(hook).unwrap();

    // Both have gone their own way.
    scene.commit(&other, "more.txt", "t\n", "more");
    git(&other, &["pull", "-q", "--rebase", "origin", "main"]);
    git(&other, &["push", "-q", "origin", "main"]);
    scene.commit(scene.repo(), "local.txt", "l\n", "local");
    assert!(matches!(integrate(&scene, "U", "c"), Err(TrainError::Diverged { .. })));
    scene.is_swept();

    let mut scene = scene;
    for bad in ["--upload-pack=touch owned", "ext::sh -c touch% owned", ""] {
        scene.line.push = Some(bad.into());
        assert!(matches!(integrate(&scene, "U", "c"), Err(TrainError::PushRefused { .. })), "{bad}");
    }
}

#[test]
fn many_at_once_lose_nothing_and_double_nothing() {
    let scene = Scene::new();
    // Each edits its own line of one file and adds its own; two pairs edit the same line.
    let line_of = |n: usize| if n > 10 { n - 10 } else { n } * 2;
    for n in 1..=12_usize {
        scene.branch(
            &format!("b{n}"),
            &[("base.txt", &changed(line_of(n) + 4, &format!("of {n}"))), (&format!("f{n}.txt"), "x\n")],
        );
    }
    fs::write(scene.repo().join("untracked.txt"), "mine\n").unwrap();
    let policies = [Policy::MergeCommit, Policy::Squash, Policy::Rebase];
    let results: Vec<(usize, Result<Merged, TrainError>)> = thread::scope(|scope| {
        let threads: Vec<_> = (1..=12_usize)
            .map(|n| {
                let mut line = scene.line.clone();
                line.policy = policies[n % 3];
                scope.spawn(move || {
                    loop {
                        let result = train::integrate(&line, &order(&format!("T{n}"), &format!("b{n}")), &mut green);
                        if !matches!(result, Err(TrainError::MovedOn)) {
                            return (n, result);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (n, result) in &results {
        let merged = !scene.git(&["ls-tree", "--name-only", "main", &format!("f{n}.txt")]).is_empty();
        assert_eq!(result.is_ok(), merged, "{n}: {result:?}");
        assert_eq!(holds(scene.repo(), "main", &format!("b{n}")).unwrap(), merged, "{n}");
        let log = scene.git(&["log", "--first-parent", "--format=%(trailers:key=Oodatcaa-Source,valueonly)", "main"]);
        let source = scene.head(&format!("b{n}"));
        let commits = log.lines().filter(|line| *line == source).count();
        let each = if policies[n % 3] == Policy::Rebase { 2 } else { 1 };
        assert_eq!(commits, if merged { each } else { 0 }, "{n}");
        if let Err(error) = result {
            assert!(matches!(error, TrainError::Conflict { .. }), "{n}: {error:?}");
        }
    }
    assert_eq!(results.iter().filter(|(_, result)| result.is_ok()).count(), 10, "{results:?}");
    assert_eq!(scene.git(&["status", "--porcelain"]), "?? untracked.txt");
    scene.is_swept();
}

/// Runs one train in a process of its own that dies at a step.
fn dies_at(scene: &Scene, step: Step, after: bool) -> bool {
    let line = &scene.line;
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["train::a_process_of_its_own", "--exact", "--ignored", "--nocapture"])
        .env("TRAIN_SCENE", scene.dir.path())
        .env("TRAIN_PUSH", line.push.as_deref().unwrap_or_default())
        .env("TRAIN_RED_AFTER", if after { "1" } else { "" })
        .env("OODATCAA_TRAIN_ABORT", step.name())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

#[test]
#[ignore = "the process that the test of the deaths starts"]
fn a_process_of_its_own() {
    let dir = PathBuf::from(std::env::var_os("TRAIN_SCENE").expect("started by a test"));
    let line = Line {
        repo: dir.join("repo"),
        dir: dir.join("state"),
        place: dir.join("trees"),
        target: "main".into(),
        policy: Policy::MergeCommit,
        push: std::env::var("TRAIN_PUSH").ok().filter(|name| !name.is_empty()),
        tags: true,
        changelog: true,
        author: Author { name: "train".into(), email: "train@invalid".into() },
    };
    if let Ok(n) = std::env::var("TRAIN_TASK") {
        train::integrate(&line, &order(&format!("T{n}"), &format!("b{n}")), &mut green).unwrap();
        return;
    }
    let order = order("T", "b");
    let _ = match std::env::var("TRAIN_RED_AFTER").is_ok_and(|value| !value.is_empty()) {
        true => train::integrate(&line, &order, &mut RedAfter),
        false => train::integrate(&line, &order, &mut green),
    };
}

#[test]
fn a_train_that_is_killed_at_any_step_is_finished_or_undone() {
    for step in Step::ALL {
        if matches!(step, Step::Reverting | Step::Reverted | Step::Pushing | Step::Pushed) {
            continue;
        }
        let scene = Scene::new();
        scene.commit(scene.repo(), "gone.txt", "gone\n", "gone");
        scene.commit(scene.repo(), "mine.txt", "mine\n", "mine");
        scene.branch("b", &[("base.txt", &changed(5, "b")), ("deep/new.txt", "new\n")]);
        fs::write(scene.repo().join("mine.txt"), "changed by the user\n").unwrap();
        let old = scene.head("main");
        assert!(dies_at(&scene, step, false), "{step:?}");
        let moved = step >= Step::Moved;
        assert_eq!(scene.head("main") != old, moved, "{step:?}");
        let recovered = train::recover(scene.repo(), &scene.line.dir, &mut green).unwrap();
        scene.is_swept();
        assert_eq!(scene.git(&["status", "--porcelain"]), " M mine.txt", "{step:?}");
        assert_eq!(scene.read("mine.txt"), "changed by the user\n");
        if moved {
            let [one] = &recovered[..] else { panic!("{step:?}: {recovered:?}") };
            assert!(
                matches!(&one.what, What::Finished(merged) if merged.tag.as_deref() == Some("T-complete")),
                "{one:?}"
            );
            assert_eq!((one.task.as_str(), one.token), ("T", Token(7)));
            assert_eq!(scene.read("deep/new.txt"), "new\n");
        } else {
            assert!(recovered.iter().all(|one| matches!(one.what, What::Undone)), "{recovered:?}");
            assert_eq!(scene.head("main"), old, "{step:?}");
            assert_eq!(scene.git(&["tag"]), "", "{step:?}");
            assert!(!scene.repo().join("deep").exists(), "{step:?}");
        }
        let merged = integrate(&scene, "T", "b").unwrap();
        assert_eq!(merged.already, moved, "{step:?}");
        assert_eq!(scene.git(&["rev-list", "--first-parent", "--count", &format!("{old}..main")]), "1", "{step:?}");
        assert_eq!(scene.git(&["tag", "-l", "T-complete*"]), "T-complete");
        scene.is_swept();
    }
}

#[test]
fn a_revert_that_is_killed_at_any_step_is_finished() {
    for step in [Step::Landed, Step::Reverting, Step::Reverted] {
        let scene = Scene::new();
        let tree = scene.git(&["rev-parse", "main^{tree}"]);
        scene.branch("b", &[("bad.txt", "bad\n"), ("base.txt", &changed(5, "b"))]);
        assert!(dies_at(&scene, step, true), "{step:?}");
        let recovered = train::recover(scene.repo(), &scene.line.dir, &mut RedAfter).unwrap();
        assert!(
            matches!(&recovered[..], [one] if matches!(one.what, What::Reverted(TrainError::RedAfter { .. }))),
            "{step:?}: {recovered:?}"
        );
        assert_eq!(scene.git(&["rev-parse", "main^{tree}"]), tree, "{step:?}");
        assert_eq!(
            scene.git(&["rev-list", "--first-parent", "--count", "main"]),
            "3",
            "base, merge, revert ({step:?})"
        );
        scene.is_clean();
        scene.is_swept();
    }
}

#[test]
fn a_push_that_is_killed_at_any_step_is_finished_or_undone() {
    for step in [Step::Green, Step::Pushing, Step::Pushed, Step::Landing, Step::Files, Step::Moved, Step::Checked] {
        let (scene, remote) = with_remote();
        scene.branch("b", &[("a.txt", "a\n"), ("base.txt", &changed(5, "b"))]);
        let old = scene.head("main");
        assert!(dies_at(&scene, step, false), "{step:?}");
        let recovered = train::recover(scene.repo(), &scene.line.dir, &mut green).unwrap();
        scene.is_clean();
        scene.is_swept();
        let pushed = step > Step::Pushing;
        assert_eq!(matches!(recovered[0].what, What::Finished(_)), pushed, "{step:?}: {recovered:?}");
        let merged = integrate(&scene, "T", "b").unwrap();
        assert_eq!(merged.already, pushed, "{step:?}");
        assert_eq!((scene.head("main"), git(&remote, &["rev-parse", "main"])), (merged.commit.clone(), merged.commit));
        assert_eq!(scene.git(&["rev-list", "--first-parent", "--count", &format!("{old}..main")]), "1", "{step:?}");
    }
}

#[test]
fn files_that_are_half_on_the_way_are_mended_and_the_users_are_not() {
    for step in [Step::Files, Step::Moved] {
        let scene = Scene::new();
        for file in ["cut.txt", "old.txt", "edited.txt", "gone.txt", "mode.sh"] {
            scene.commit(scene.repo(), file, &numbered(20), file);
        }
        symlink("old.txt", scene.repo().join("link")).unwrap();
        scene.git(&["add", "-A"]);
        scene.git(&["commit", "-q", "-m", "link"]);
        let text = numbered(25);
        let files: Vec<(&str, &str)> = ["cut.txt", "old.txt", "edited.txt", "deep/a/new.txt", "deep/b.txt"]
            .map(|file| (file, text.as_str()))
            .into();
        scene.branch("b", &files);
        let at = scene.dir.path().join("more");
        scene.git(&["worktree", "add", "-q", at.to_str().unwrap(), "b"]);
        git(&at, &["rm", "-q", "gone.txt"]);
        fs::remove_file(at.join("link")).unwrap();
        symlink("new.txt", at.join("link")).unwrap();
        fs::set_permissions(at.join("mode.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        git(&at, &["add", "-A"]);
        git(&at, &["commit", "-q", "-m", "more"]);
        scene.git(&["worktree", "remove", "--force", at.to_str().unwrap()]);
        let old = scene.head("main");
        assert!(dies_at(&scene, step, false));
        // As if git itself had been killed in the middle, and the user had edited on.
        let path = |file: &str| scene.repo().join(file);
        fs::write(path("cut.txt"), &text[..40]).unwrap();
        fs::write(path("old.txt"), numbered(20)).unwrap();
        fs::write(path("edited.txt"), "edited by the user\n").unwrap();
        fs::write(path("gone.txt"), numbered(20)).unwrap();
        fs::remove_file(path("deep/b.txt")).unwrap();
        fs::remove_file(path("link")).unwrap();
        train::recover(scene.repo(), &scene.line.dir, &mut green).unwrap();
        scene.is_swept();
        assert_eq!(scene.head("main") == old, step == Step::Files);
        assert_eq!(scene.git(&["status", "--porcelain"]), " M edited.txt", "{step:?}");
        assert_eq!(scene.read("edited.txt"), "edited by the user\n");
        assert_eq!(scene.git(&["diff", "--cached", "--name-only"]), "");
    }
}

#[test]
fn many_processes_that_die_at_any_step_lose_nothing_and_double_nothing() {
    let scene = Scene::new();
    for n in 1..=12_usize {
        scene.branch(
            &format!("b{n}"),
            &[("base.txt", &changed(n * 2 + 1, &format!("of {n}"))), (&format!("f{n}.txt"), "x\n")],
        );
    }
    fs::write(scene.repo().join("untracked.txt"), "mine\n").unwrap();
    thread::scope(|scope| {
        for worker in 0..4_usize {
            let scene = &scene;
            scope.spawn(move || {
                for n in (1..=12_usize).filter(|n| n % 4 == worker) {
                    // First one that dies, at another step each; then one that lives, as often as it takes.
                    let step = Step::ALL[(n * 5) % Step::ALL.len()];
                    process(scene, n, Some(step));
                    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
                    while !process(scene, n, None) {
                        assert!(std::time::Instant::now() < deadline, "{n} in vain");
                    }
                }
            });
        }
    });
    train::recover(scene.repo(), &scene.line.dir, &mut green).unwrap();
    for n in 1..=12 {
        assert!(holds(scene.repo(), "main", &format!("b{n}")).unwrap(), "{n}");
        let merges = scene.git(&["log", "--first-parent", "--format=%s", "main"]);
        assert_eq!(merges.lines().filter(|line| line.starts_with(&format!("Merge T{n}:"))).count(), 1, "{merges}");
        assert_eq!(scene.git(&["tag", "-l", &format!("T{n}-complete*")]), format!("T{n}-complete"));
    }
    assert_eq!(scene.git(&["status", "--porcelain"]), "?? untracked.txt");
    scene.is_swept();
}

fn process(scene: &Scene, n: usize, step: Option<Step>) -> bool {
    Command::new(std::env::current_exe().unwrap())
        .args(["train::a_process_of_its_own", "--exact", "--ignored", "--nocapture"])
        .env("TRAIN_SCENE", scene.dir.path())
        .env("TRAIN_TASK", n.to_string())
        .env("OODATCAA_TRAIN_ABORT", step.map_or("", Step::name))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}
