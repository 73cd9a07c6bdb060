//! Many tasks at once with overlapping edits, and workers that are killed.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Writes a file of the task's own and a line into everybody's; what `main` holds by then is taken in first.
const WRITES: &str = r#"case $OODATCAA_ROLE in builder)
  git merge -q main >/dev/null 2>&1 || {
    sed -i '/^<<<<<<</d;/^=======/d;/^>>>>>>>/d' shared.txt; git add -A; git commit -qm "resolve $OODATCAA_TASK_ID"; }
  echo "by $OODATCAA_TASK_ID" > "made-$OODATCAA_TASK_ID.txt"
  grep -qx "$OODATCAA_TASK_ID" shared.txt 2>/dev/null || echo "$OODATCAA_TASK_ID" >> shared.txt ;;
esac; exit 0"#;

/// Without context: between branch and merge the neighbours' lines have come in.
fn patch_id(repo: &Path, from: &str, to: &str) -> String {
    let line =
        format!("git -C '{}' diff-tree -r -p -U0 --full-index {from} {to} | git patch-id --stable", repo.display());
    let output = Command::new("sh").args(["-c", &line]).output().expect("sh");
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned()
}

/// Every commit that some ref has in its history; nothing when a worktree is just being made.
fn commits(repo: &Path) -> BTreeSet<String> {
    let listed = Command::new("git").arg("-C").arg(repo).args(["rev-list", "--all"]).output().expect("git");
    String::from_utf8_lossy(&listed.stdout).lines().map(String::from).collect()
}

#[test]
fn twelve_tasks_with_overlapping_edits_and_killed_workers_are_each_merged_once() {
    let mut project = repository(WRITES, "").confined();
    let _trees = with_trees(&project);
    let root = project.root().to_owned();
    git(&root, &["config", "user.name", "agent"]);
    git(&root, &["config", "user.email", "agent@invalid"]);
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    let config = config
        .replace("retry.backoff", "limits.starts = 1000\nretry.deaths = 1000\nretry.conflicts = 1000\nretry.backoff");
    fs::write(project.path(".oodatcaa/config.toml"), config).expect("written");
    fs::write(project.path("README.md"), "mine, uncommitted\n").expect("written");
    let first = git(&root, &["rev-parse", "main"]);
    let ids: Vec<String> = (1..=12).map(|n| format!("T{n:02}")).collect();
    let tasks: Vec<_> =
        ids.iter().map(|id| json!({"id": id, "title": id, "type": "Build", "status": "ready"})).collect();
    project.queue(json!(tasks));
    let roles = ["builder", "tester", "refiner", "integrator"];
    let mut alive: Vec<(usize, &str)> =
        roles.iter().map(|role| (project.start(role, &["--interval", "1s"]), *role)).collect();
    let mut seen = BTreeSet::new();
    let done = |project: &Project| project.tasks().iter().filter(|task| task["status"] == "done").count();
    for kill in 0..6 {
        crate::support::eventually("some are merged", || {
            seen.extend(commits(&root));
            (done(&project) >= kill * 2).then_some(())
        });
        // The integrator twice as often as the others: it has the most to lose.
        let victim = [3, 0, 3, 2, 3, 1][kill];
        project.signal(alive[victim].0, rustix::process::Signal::KILL);
        project.ended(alive[victim].0);
        let role = alive[victim].1;
        alive[victim] = (project.start(role, &["--interval", "1s"]), role);
    }
    for id in &ids {
        project.wait_for(id, "done");
    }
    for (n, _) in &alive {
        project.signal(*n, rustix::process::Signal::TERM);
        project.ended(*n);
    }
    let shared = git(&root, &["show", "main:shared.txt"]);
    let line = git(&root, &["rev-list", "--first-parent", &format!("{first}..main")]);
    assert_eq!(line.lines().count(), ids.len(), "nothing but one merge for each: {line}");
    let mut patches = BTreeMap::new();
    for commit in line.lines() {
        let patch = patch_id(&root, &format!("{commit}^1"), commit);
        assert!(!patch.is_empty() && patches.insert(patch, commit).is_none(), "{commit} brings a patch of its own");
    }
    for id in &ids {
        assert_eq!(shared.lines().filter(|line| line == id).count(), 1, "{id} in\n{shared}");
        assert_eq!(git(&root, &["show", &format!("main:made-{id}.txt")]), format!("by {id}"));
        let task = project.task(id);
        let commit = task["merged_commit"].as_str().expect("a commit").to_owned();
        assert!(line.lines().any(|one| one == commit), "{id}: {commit} is on main's own line");
        let subject = git(&root, &["log", "-1", "--format=%(trailers:key=Oodatcaa-Task,valueonly)", &commit]);
        assert_eq!(subject, *id);
        // What the branch has beyond the target of its time is what the merge brought.
        let source = git(&root, &["rev-parse", &format!("{commit}^2")]);
        let fork = git(&root, &["merge-base", &format!("{commit}^1"), &source]);
        let brought = patch_id(&root, &format!("{commit}^1"), &commit);
        assert_eq!(brought, patch_id(&root, &fork, &source), "{id}");
        assert_eq!(
            git(&root, &["for-each-ref", "--format=%(objectname)", &format!("refs/tags/{id}-complete")])
                .lines()
                .count(),
            1
        );
        // A worker that is killed between queue and journal leaves it to the next to note the move.
        let events = project.events();
        let finished: Vec<_> = events
            .iter()
            .filter(|event| event["task"] == **id && event["data"]["to"] == "done" && event["data"]["from"] != "done")
            .collect();
        assert_eq!(finished.len(), 1, "{id} is done once");
    }
    // Whatever a ref ever pointed to is still there.
    let kept = commits(&root);
    assert!(!seen.is_empty() && !kept.is_empty());
    let dangling = git(&root, &["fsck", "--unreachable", "--no-reflogs", "--no-progress"]);
    let dangling = dangling.lines().filter_map(|line| line.strip_prefix("unreachable commit ")).map(String::from);
    for commit in seen.difference(&kept).cloned().chain(dangling) {
        let body = git(&root, &["log", "-1", "--format=%an%n%B", &commit]);
        // Results that a killed merge did not land, and notes of where an attempt began.
        let is_no_work = body.contains("Oodatcaa-Source: ") || body.starts_with("oodatcaa\noodatcaa: how ");
        assert!(is_no_work, "{commit} was made and is lost:\n{body}");
    }
    assert_eq!(git(&root, &["status", "--porcelain"]), " M README.md", "the checkout is clean but for what is mine");
    assert_eq!(fs::read_to_string(project.path("README.md")).expect("mine"), "mine, uncommitted\n");
    let trees = git(&root, &["worktree", "list"]);
    assert_eq!(trees.lines().count(), 1, "no worktree and no lock of one is left: {trees}\n{}", project.diagnosis());
    assert!(project.leases().is_empty());
}
