//! Death at every step: finished or undone, nothing lost, nothing doubled.

use super::{refused::with_remote, *};

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
    let error = merge_one(&scene.line, &order("T", "b"), &mut Stopped).unwrap_err();
    assert!(matches!(error, MergeError::Stopped), "{error:?}");
    let recovered = merge::recover(scene.repo(), &scene.line.dir, &mut RedAfter).unwrap();
    assert!(matches!(&recovered[..], [one] if matches!(one.what, What::Reverted(_))), "{recovered:?}");
    assert!(!scene.repo().join("bad.txt").exists());
    scene.is_clean();
    scene.is_swept();
}

/// Runs one merge batch in a process of its own that dies at a step.
fn dies_at(scene: &Scene, step: Step, after: bool) -> bool {
    let line = &scene.line;
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["merge::death::a_process_of_its_own", "--exact", "--ignored", "--nocapture"])
        .env("MERGE_SCENE", scene.dir.path())
        .env("MERGE_PUSH", line.push.as_deref().unwrap_or_default())
        .env("MERGE_RED_AFTER", if after { "1" } else { "" })
        .env("OODATCAA_MERGE_ABORT", step.name())
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
    let dir = PathBuf::from(std::env::var_os("MERGE_SCENE").expect("started by a test"));
    let line = MergeTarget {
        repo: dir.join("repo"),
        dir: dir.join("state"),
        place: dir.join("trees"),
        target: "main".into(),
        policy: Policy::MergeCommit,
        push: std::env::var("MERGE_PUSH").ok().filter(|name| !name.is_empty()),
        remotes: None,
        tags: true,
        changelog: true,
        author: Author { name: "merge".into(), email: "merge@invalid".into() },
    };
    if let Ok(n) = std::env::var("MERGE_TASK") {
        merge_one(&line, &order(&format!("T{n}"), &format!("b{n}")), &mut green).unwrap();
        return;
    }
    let order = order("T", "b");
    let _ = match std::env::var("MERGE_RED_AFTER").is_ok_and(|value| !value.is_empty()) {
        true => merge_one(&line, &order, &mut RedAfter),
        false => merge_one(&line, &order, &mut green),
    };
}

#[test]
fn a_merge_that_is_killed_at_any_step_is_finished_or_undone() {
    for &step in Step::ALL {
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
        let recovered = merge::recover(scene.repo(), &scene.line.dir, &mut green).unwrap();
        scene.is_swept();
        assert_eq!(scene.git(&["status", "--porcelain"]), " M mine.txt", "{step:?}");
        assert_eq!(scene.read("mine.txt"), "changed by the user\n");
        if step == Step::Ended {
            assert!(recovered.is_empty(), "nobody but its caller knew less: {recovered:?}");
        } else if moved {
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
        let recovered = merge::recover(scene.repo(), &scene.line.dir, &mut RedAfter).unwrap();
        assert!(
            matches!(&recovered[..], [one] if matches!(one.what, What::Reverted(MergeError::RedAfter { .. }))),
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
fn that_a_merge_was_taken_back_is_kept_for_whoever_has_the_task_next() {
    let scene = Scene::new();
    let tree = scene.git(&["rev-parse", "main^{tree}"]);
    scene.branch("b", &[("bad.txt", "bad\n")]);
    scene.branch("c", &[("good.txt", "good\n")]);
    assert!(dies_at(&scene, Step::Reverting, true));
    for _ in 0..2 {
        merge::mend(scene.repo(), &scene.line.dir, &mut RedAfter).unwrap();
        assert_eq!(scene.git(&["rev-parse", "main^{tree}"]), tree, "taken back at once");
        scene.is_clean();
    }
    merge_one(&scene.line, &order("U", "c"), &mut RedAfter).unwrap();
    let head = scene.head("main");
    let told = merge_one(&scene.line, &order("T", "b"), &mut RedAfter).unwrap_err();
    assert!(matches!(told, MergeError::RedAfter { .. }), "{told:?}");
    assert_eq!(scene.head("main"), head, "told, and not done once more");
    scene.is_swept();
    // Whoever insists gets it tried again.
    let again = merge_one(&scene.line, &order("T", "b"), &mut RedAfter).unwrap_err();
    assert!(matches!(again, MergeError::RedAfter { .. }), "{again:?}");
    assert_ne!(scene.head("main"), head);
    scene.is_clean();
    scene.is_swept();
}

#[test]
fn a_push_that_is_killed_at_any_step_is_finished_or_undone() {
    for step in [Step::Green, Step::Pushing, Step::Pushed, Step::Landing, Step::Files, Step::Moved, Step::Checked] {
        let (scene, remote) = with_remote();
        scene.branch("b", &[("a.txt", "a\n"), ("base.txt", &changed(5, "b"))]);
        let old = scene.head("main");
        assert!(dies_at(&scene, step, false), "{step:?}");
        let recovered = merge::recover(scene.repo(), &scene.line.dir, &mut green).unwrap();
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
        merge::recover(scene.repo(), &scene.line.dir, &mut green).unwrap();
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
    merge::recover(scene.repo(), &scene.line.dir, &mut green).unwrap();
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
        .args(["merge::death::a_process_of_its_own", "--exact", "--ignored", "--nocapture"])
        .env("MERGE_SCENE", scene.dir.path())
        .env("MERGE_TASK", n.to_string())
        .env("OODATCAA_MERGE_ABORT", step.map_or("", Step::name))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}
