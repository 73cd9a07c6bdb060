//! Hostile names, words and repositories.

use super::*;

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
        merge_one(&line, &order, &mut green).unwrap();
        let message = scene.git(&["log", "-1", "--format=%B", "main"]);
        assert!(message.len() < 600 && !message.contains('\x1b'), "{message}");
        assert_eq!(
            scene.git(&["log", "-1", "--format=%(trailers:key=Oodatcaa-Task,valueonly)", "main"]).trim(),
            format!("T.{n}")
        );
    }
    for bad in ["main~1", "main..x", "@{-1}", "", "a b", "x:y", "a\nb", "refs/../heads", "a\0b"] {
        let error = integrate(&scene, "BAD", bad).unwrap_err();
        assert!(matches!(error, MergeError::NoBranch { .. }), "{bad:?}: {error:?}");
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
        let error = merge_one(&line, &order(task, "b"), &mut green).unwrap_err();
        assert!(matches!(error, MergeError::Conflict { .. }), "{error:?}");
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
        let merged = merge_one(&line, &order(&format!("{task}2"), &plain), &mut green).unwrap();
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
