//! What is not merged and what is taken back; the user's own changes; the push.

use super::*;

#[test]
fn a_conflict_names_its_files_and_leaves_nothing() {
    for policy in [Policy::MergeCommit, Policy::Squash, Policy::Rebase] {
        let mut scene = Scene::new();
        scene.line.policy = policy;
        scene.branch("b", &[("base.txt", &changed(5, "ours")), ("x y.txt", "x\n")]);
        scene.commit(scene.repo(), "base.txt", &changed(5, "theirs"), "theirs");
        let refs = scene.git(&["show-ref"]);
        let error = integrate(&scene, "T", "b").unwrap_err();
        assert!(
            matches!(&error, MergeError::Conflict { files, onto } if files == &["base.txt"] && *onto == scene.head("main")),
            "{error:?}"
        );
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
    let error = merge_one(&scene.line, &order("T", "b"), &mut gates).unwrap_err();
    assert!(matches!(&error, MergeError::GatesRed { gate, .. } if gate == "tests"), "{error:?}");
    let mut gates = |_: &Path| Err(GateFailure::Stopped);
    let error = merge_one(&scene.line, &order("T", "b"), &mut gates).unwrap_err();
    assert!(matches!(error, MergeError::Stopped), "{error:?}");
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
        let error = merge_one(&scene.line, &order("T", "b"), &mut RedAfter).unwrap_err();
        let MergeError::RedAfter { revert, .. } = &error else { panic!("{error:?}") };
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
        let merged = merge_one(&scene.line, &order("T", "b"), &mut RedAfter).unwrap();
        assert!(!merged.already);
        assert_eq!(scene.read("good.txt"), "good\n", "what was reverted came again ({policy:?})");
        assert_eq!(scene.read("new.txt"), "new\n");
        assert!(!scene.repo().join("bad.txt").exists());
        scene.is_clean();
        scene.is_swept();
    }
}

#[test]
fn the_users_uncommitted_changes_are_untouched_or_the_merge_waits() {
    let scene = Scene::new();
    scene.commit(scene.repo(), "mine.txt", "mine\n", "mine");
    scene.commit(scene.repo(), "staged.txt", "staged\n", "staged");
    scene.branch("b", &[("base.txt", &changed(5, "b")), ("new.txt", "new\n"), ("deep/er/x.txt", "x\n")]);
    let old = scene.head("main");
    let busy = |what: &str, file: &str| {
        let refs = scene.git(&["show-ref"]);
        let status = scene.git(&["status", "--porcelain"]);
        let error = integrate(&scene, "T", "b").unwrap_err();
        let MergeError::Busy { files, .. } = &error else { panic!("{what}: {error:?}") };
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
    assert!(matches!(integrate(&scene, "T", "b"), Err(MergeError::Busy { .. })));
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
    assert!(matches!(integrate(&scene, "E", "empty"), Err(MergeError::Empty { .. })));
    assert!(matches!(integrate(&scene, "G", "gone"), Err(MergeError::NoBranch { .. })));
    assert_eq!(scene.head("main"), head);
    scene.is_swept();
}

/// With a bare repository as `origin` that has `main`.
pub(super) fn with_remote() -> (Scene, PathBuf) {
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
    assert!(matches!(integrate(&scene, "U", "c"), Err(MergeError::Busy { .. })));
    assert_eq!(git(&remote, &["rev-parse", "main"]), merged.commit);
    scene.git(&["checkout", "-q", "--", "base.txt"]);

    // A remote that refuses.
    let hook = remote.join("hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\necho protected >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = integrate(&scene, "U", "c").unwrap_err();
    assert!(matches!(&refused, MergeError::PushRefused { said, .. } if said.contains("protected")), "{refused:?}");
    assert_eq!(scene.head("main"), merged.commit, "what is not pushed is not landed");
    scene.is_swept();
    fs::remove_file(hook).unwrap();

    // Both have gone their own way.
    scene.commit(&other, "more.txt", "t\n", "more");
    git(&other, &["pull", "-q", "--rebase", "origin", "main"]);
    git(&other, &["push", "-q", "origin", "main"]);
    scene.commit(scene.repo(), "local.txt", "l\n", "local");
    assert!(matches!(integrate(&scene, "U", "c"), Err(MergeError::Diverged { .. })));
    scene.is_swept();

    let mut scene = scene;
    for bad in ["--upload-pack=touch owned", "ext::sh -c touch% owned", ""] {
        scene.line.push = Some(bad.into());
        assert!(matches!(integrate(&scene, "U", "c"), Err(MergeError::PushRefused { .. })), "{bad}");
    }
}

#[test]
fn what_was_taken_back_from_one_task_is_not_brought_by_another_of_the_same_id() {
    let mut scene = Scene::new();
    scene.branch("feat/T-first", &[("bad.txt", "b\n")]);
    let red = merge_one(&scene.line, &order("T", "feat/T-first"), &mut RedAfter);
    assert!(matches!(red, Err(MergeError::RedAfter { .. })), "{red:?}");
    scene.branch("feat/T-second", &[("good.txt", "g\n")]);
    integrate(&scene, "T", "feat/T-second").unwrap();
    assert!(scene.repo().join("good.txt").exists() && !scene.repo().join("bad.txt").exists());
    // A third that has nothing of its own is not taken for one of the two.
    scene.git(&["branch", "feat/T-third", "main"]);
    let empty = integrate(&scene, "T", "feat/T-third");
    assert!(matches!(empty, Err(MergeError::Empty { .. })), "{empty:?}");
    // The first one goes on, and what was taken back comes with it.
    scene.branch("feat/T-first", &[("mended.txt", "m\n")]);
    scene.line.policy = Policy::MergeCommit;
    integrate(&scene, "T", "feat/T-first").unwrap();
    assert!(scene.repo().join("bad.txt").exists() && scene.repo().join("mended.txt").exists());
    assert!(integrate(&scene, "T", "feat/T-first").unwrap().already);
}
