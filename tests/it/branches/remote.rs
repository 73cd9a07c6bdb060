//! The target is pushed with every merge, and a task is done when the remote is proven to hold it.

use super::{
    killed::{Scene, are_green},
    *,
};

/// A scene whose target goes to a bare repository with a log of its own.
fn with_remote(more: &str) -> (Scene, std::path::PathBuf) {
    let scene = Scene::new(&format!("[merge]\npush = \"origin\"\n{more}"));
    let remote = scene.trees.0.join("origin.git");
    git(scene.project.root(), &["clone", "-q", "--bare", ".", &remote.to_string_lossy()]);
    git(&remote, &["config", "core.logAllRefUpdates", "always"]);
    git(&remote, &["update-ref", "-m", "begin", "--create-reflog", "refs/heads/main", "main"]);
    git(scene.project.root(), &["remote", "add", "origin", &remote.to_string_lossy()]);
    (scene, remote)
}

fn patch_id(repo: &Path, from: &str, to: &str) -> String {
    let line = format!("git -C '{}' diff-tree -r -p --full-index {from} {to} | git patch-id --stable", repo.display());
    let output = Command::new("sh").args(["-c", &line]).output().expect("sh");
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned()
}

fn is_held(scene: &Scene, remote: &Path, step: &str) {
    let root = scene.project.root();
    assert_eq!(git(remote, &["rev-parse", "main"]), git(root, &["rev-parse", "main"]), "{step}");
    let brought = patch_id(remote, "main^1", "main");
    assert!(!brought.is_empty());
    assert_eq!(brought, patch_id(root, "main^1", "feat/A"), "{step}: what the remote got is the branch's patch");
}

#[test]
fn an_integrator_that_is_killed_around_its_push_leaves_both_sides_green_and_equal() {
    for step in ["green", "pushing", "pushed", "landing", "moved", "checked", "ended"] {
        let (mut scene, remote) = with_remote("");
        scene.dies_at(step);
        scene.settles("done");
        scene.is_merged_once(step);
        scene.is_green(step);
        if step != "green" {
            are_green(&remote, "main", step);
        }
        is_held(&scene, &remote, step);
        git(scene.project.root(), &["update-ref", "-d", "refs/remotes/origin/main"]);
        scene.is_swept(step);
    }
}

#[test]
fn what_was_merged_by_hand_and_not_pushed_is_pushed_before_the_task_is_done() {
    let (mut scene, remote) = with_remote("");
    git(scene.project.root(), &["stash", "-q", "-u"]);
    git(scene.project.root(), &["merge", "-q", "--no-ff", "-m", "by hand", "feat/A"]);
    scene.settles("done");
    is_held(&scene, &remote, "by hand");
}

#[test]
fn a_remote_that_is_away_is_waited_for() {
    let (mut scene, remote) = with_remote("");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let root = scene.project.root().to_owned();
    git(&root, &["remote", "set-url", "origin", &format!("git://127.0.0.1:{port}/none")]);
    let n = scene.project.start("integrator", &["--interval", "1s"]);
    crate::support::eventually("it waits", || {
        let waits = |event: &&serde_json::Value| event["task"] == "A" && event["data"]["outcome"] == "waits";
        (scene.project.events_of("attempt.finished").iter().filter(waits).count() >= 2).then_some(())
    });
    git(&root, &["remote", "set-url", "origin", &remote.to_string_lossy()]);
    // Another address is used once a person has accepted it.
    let trust = scene.project.command("agentctl").args(["config", "trust", "--yes"]).output().expect("agentctl");
    assert!(trust.status.success(), "{trust:?}");
    scene.project.wait_for("A", "done");
    scene.project.signal(n, rustix::process::Signal::TERM);
    assert_eq!(scene.project.ended(n), Some(0));
    is_held(&scene, &remote, "away");
}

#[test]
fn the_policies_and_the_changelog_of_the_configuration_are_followed() {
    for (policy, commits) in
        [("squash", "A\nsecond\nfirst"), ("rebase", "Changelog of A\nbase.txt\ntwo-A.txt\none-A.txt\nsecond\nfirst")]
    {
        let more = format!("[merge]\npolicy = \"{policy}\"\nchangelog = true\ntags = false");
        let mut scene = Scene::new(&more);
        scene.settles("done");
        let root = scene.project.root();
        assert_eq!(git(root, &["log", "--format=%s", "main"]), commits, "{policy}");
        assert_eq!(git(root, &["tag", "--list"]), "", "{policy}");
        assert!(git(root, &["show", "main:CHANGELOG.md"]).ends_with("\n- A"), "{policy}");
        scene.is_swept(policy);
    }
}
