//! What a task starts from is fetched first, where that is asked for; a remote that is away is waited for.

use std::path::PathBuf;

use super::*;
use crate::support::eventually;

/// A project whose base has a remote, and another clone of that.
struct Scene {
    project: Project,
    trees: Trees,
    origin: PathBuf,
    other: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let project = repository("ls > \"$OODATCAA_PROJECT/seen.log\"; echo x > made.txt; exit 0", "");
        let trees = with_trees(&project);
        let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("read");
        let config = config.replace("mode = \"worktree\"", "mode = \"worktree\"\nfetch = \"on\"");
        fs::write(project.path(".oodatcaa/config.toml"), config).expect("written");
        let (origin, other) = (trees.0.join("origin.git"), trees.0.join("other"));
        git(project.root(), &["clone", "-q", "--bare", ".", &origin.to_string_lossy()]);
        git(project.root(), &["remote", "add", "origin", &origin.to_string_lossy()]);
        git(project.root(), &["clone", "-q", &origin.to_string_lossy(), &other.to_string_lossy()]);
        project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
        Self { project, trees, origin, other }
    }

    /// Somebody else pushes a file.
    fn others_push(&self, name: &str) {
        fs::write(self.other.join(name), "theirs\n").expect("written");
        git(&self.other, &["add", name]);
        git(&self.other, &["commit", "-q", "-m", name]);
        git(&self.other, &["push", "-q", "origin", "main"]);
    }

    fn seen(&self) -> String {
        fs::read_to_string(self.project.path("seen.log")).unwrap_or_default()
    }

    fn main(&self, repo: &Path) -> String {
        git(repo, &["rev-parse", "main"])
    }
}

#[test]
fn a_task_starts_from_what_the_remote_has_by_now_and_own_words_stay() {
    let scene = Scene::new();
    scene.others_push("theirs.txt");
    fs::write(scene.project.path("README.md"), "my own uncommitted words\n").expect("written");
    scene.project.once("builder");
    assert_eq!(scene.project.status("A"), "awaiting_test", "{}", scene.project.diagnosis());
    assert!(scene.seen().contains("theirs.txt"), "{}", scene.seen());
    assert_eq!(scene.main(scene.project.root()), scene.main(&scene.origin));
    assert!(scene.project.path("theirs.txt").exists(), "the checkout went along");
    let mine = fs::read_to_string(scene.project.path("README.md")).expect("there");
    assert_eq!(mine, "my own uncommitted words\n");
    assert_eq!(git(scene.project.root(), &["for-each-ref", "refs/oodatcaa/fetched"]), "");
    let shown = scene.project.command("agentctl").args(["run", "diff", "A", "--stat"]).output().expect("agentctl");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("made.txt") && !shown.contains("theirs.txt"), "it is nobody's work here: {shown}");
}

#[test]
fn a_branch_that_has_gone_on_by_itself_stays_where_it_is() {
    let scene = Scene::new();
    scene.others_push("theirs.txt");
    git(scene.project.root(), &["commit", "-q", "--allow-empty", "-m", "mine"]);
    let mine = scene.main(scene.project.root());
    scene.project.once("builder");
    assert_eq!((scene.project.status("A").as_str(), scene.main(scene.project.root())), ("awaiting_test", mine));
    assert!(!scene.seen().contains("theirs.txt"), "{}", scene.seen());
}

#[test]
fn what_nobody_has_committed_is_not_touched_and_its_author_is_told() {
    let scene = Scene::new();
    let config = fs::read_to_string(scene.project.path(".oodatcaa/config.toml")).expect("read");
    fs::write(scene.project.path(".oodatcaa/config.toml"), config.replace("50ms", "3m")).expect("written");
    scene.others_push("README.md");
    fs::write(scene.project.path("README.md"), "my own uncommitted words\n").expect("written");
    scene.project.once("builder");
    assert_eq!(scene.project.status("A"), "ready");
    let why = scene.project.command("agentctl").args(["why", "A"]).output().expect("agentctl");
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("README.md") && why.contains("tried again"), "{why}");
    let mine = fs::read_to_string(scene.project.path("README.md")).expect("there");
    assert_eq!(mine, "my own uncommitted words\n");
}

#[test]
fn a_remote_that_is_away_is_waited_for_and_costs_nothing() {
    let mut scene = Scene::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = format!("git://127.0.0.1:{port}/none");
    let root = scene.project.root().to_owned();
    git(&root, &["remote", "set-url", "origin", &away]);
    let n = scene.project.start("builder", &["--interval", "200ms"]);
    eventually("it waits", || (scene.project.events_of("attempt.finished").len() >= 2).then_some(()));
    assert!(scene.project.events_of("attempt.finished").iter().all(|end| end["data"]["outcome"] == "waits"));
    assert!(scene.project.events_of("worker.paused").is_empty());
    // Between two tries it is claimable for a moment.
    eventually("it is told why", || {
        let why = scene.project.command("agentctl").args(["why", "A"]).output().expect("agentctl");
        String::from_utf8_lossy(&why.stdout).contains("fetch main from origin").then_some(())
    });
    assert_eq!(scene.seen(), "", "no agent was started");
    scene.project.signal(n, rustix::process::Signal::TERM);
    assert_eq!(scene.project.ended(n), Some(0));
    git(&root, &["remote", "set-url", "origin", &scene.origin.to_string_lossy()]);
    // Another address is used once a person has accepted it.
    let trust = scene.project.command("agentctl").args(["config", "trust", "--yes"]).output().expect("agentctl");
    assert!(trust.status.success(), "{trust:?}");
    eventually("it goes on", || {
        scene.project.once("builder");
        (scene.project.status("A") == "awaiting_test").then_some(())
    });
    assert_eq!(scene.project.task("A")["attempts"].as_u64().unwrap_or(0), 0);
    assert_eq!(scene.project.task("A")["starts"], 1, "what waited is no start of an agent");
}

#[test]
fn a_remote_that_moved_is_not_fetched_from_before_a_person_says_so() {
    let scene = Scene::new();
    scene.project.once("builder");
    assert_eq!(scene.project.status("A"), "awaiting_test");
    let evil = scene.trees.0.join("evil.git");
    git(&scene.other, &["commit", "-q", "--allow-empty", "-m", "evil"]);
    git(scene.project.root(), &["clone", "-q", "--bare", &scene.other.to_string_lossy(), &evil.to_string_lossy()]);
    git(scene.project.root(), &["remote", "set-url", "origin", &evil.to_string_lossy()]);
    let before = scene.main(scene.project.root());
    scene.project.queue(json!([{"id": "B", "title": "", "type": "Build", "status": "ready"}]));
    scene.project.once("builder");
    assert_eq!((scene.project.status("B").as_str(), scene.main(scene.project.root())), ("ready", before));
    let paused = &scene.project.events_of("worker.paused")[0]["data"]["reason"].to_string();
    assert!(paused.contains("evil.git") && paused.contains("agentctl config trust"), "{paused}");
}
