//! An agent's own repository, with real workers: everything works in it, and only its branch comes out of it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::*;
use crate::bad_input::once;

const BUILDS: &str = "[ \"$OODATCAA_ROLE\" = builder ] || exit 0\n\
    own=\"git -c user.name=a -c user.email=a@invalid\"\n";

/// A project whose builder does this in its worktree; A is ready.
fn scene(builder: &str) -> (Project, Trees) {
    let project = repository(&format!("{BUILDS}{builder}"), "");
    let trees = with_trees(&project);
    project.queue(json!([{"id": "A", "title": "change it", "type": "Build", "status": "ready"}]));
    (project, trees)
}

#[test]
fn an_agent_does_all_that_git_can_in_its_repository_and_the_project_has_only_its_branch() {
    let (project, trees) = scene(
        "set -e; exec > \"$OODATCAA_PROJECT/said.log\" 2>&1\n\
         echo one > one.txt; $own add -A; $own commit -q -m one\n\
         echo two >> one.txt; $own stash -q; $own stash pop -q; $own commit -q -a -m two\n\
         $own tag mine; $own tag -a -m t noted; $own switch -q -c side; $own switch -q -\n\
         $own gc -q; $own pack-refs --all; $own notes add -m n; $own rebase -q main\n\
         $own update-ref refs/heads/main HEAD; $own fsck --no-progress --no-dangling; git rev-parse --git-common-dir > where.txt",
    );
    let before = git(project.root(), &["rev-parse", "main"]);
    once(&project, "builder");
    let said = fs::read_to_string(project.path("said.log")).expect("it ran");
    assert_eq!(said, "", "git complains of nothing");
    assert_eq!(project.status("A"), "awaiting_test", "{}", project.diagnosis());
    assert_eq!(git(project.root(), &["rev-parse", "main"]), before);
    assert_eq!(git(project.root(), &["tag"]), "");
    assert_eq!(
        git(project.root(), &["for-each-ref", "--format=%(refname)", "refs/heads", "refs/notes", "refs/stash"])
            .lines()
            .count(),
        2
    );
    assert_eq!(git(project.root(), &["show", "feat/A-change-it:one.txt"]), "one\ntwo");
    let place = git(project.root(), &["show", "feat/A-change-it:where.txt"]);
    assert!(!Path::new(&place).starts_with(project.root()) && !Path::new(&place).exists(), "{place}");
    assert_eq!(git(project.root(), &["fsck", "--no-progress", "--no-dangling"]), "");
    for role in ["tester", "integrator"] {
        once(&project, role);
    }
    assert_eq!(project.status("A"), "done", "{}", project.diagnosis());
    drop(trees);
}

#[test]
fn nothing_of_an_agents_repository_runs_outside_or_holds_the_worker() {
    let theft = "t='env > \"'\"$HOME\"'/owned.log\"; cat'; d=$(git rev-parse --absolute-git-dir); echo x > made.txt\n\
        echo '* filter=x' > .gitattributes\n\
        arm() { for k in filter.x.clean filter.x.smudge core.fsmonitor core.sshCommand core.alternateRefsCommand \
        uploadpack.packObjectsHook; do git -C \"$1\" config $k \"$t\"; done; mkdir -p \"$1/hooks\"\n\
        for h in reference-transaction post-checkout pre-commit; do printf '#!/bin/sh\\nenv > \"%s/owned.log\"\\n' \"$HOME\" \
        > \"$1/hooks/$h\"; chmod +x \"$1/hooks/$h\"; done; }\n";
    let mut longest = Duration::ZERO;
    for (does, status) in [
        // Its own repository: it counts, and nothing of it runs.
        ("$own add made.txt; $own commit -q -m x; arm \"$d\"", "awaiting_test"),
        // Another one in its place, behind the link of the worktree.
        (
            "git init -q --bare \"$d.x\"; arm \"$d.x\"; git -C \"$d.x\" config core.bare false; echo \"gitdir: $d.x\" > .git",
            "ready",
        ),
        // Another one behind the repository.
        ("git init -q --bare \"$d.x\"; arm \"$d.x\"; echo \"$d.x\" > \"$d/commondir\"", "awaiting_test"),
        // What nobody would come back from.
        ("rm -f \"$d/index\"; mkfifo \"$d/index\"", "awaiting_test"),
        ("rm -f \"$d/HEAD\"; mkfifo \"$d/HEAD\"", "ready"),
        ("mkfifo \"$d/pipe\"; git config include.path \"$d/pipe\"", "awaiting_test"),
    ] {
        let (project, trees) = scene(&format!("{theft}{does}; date +%s%N > \"$HOME/ended.log\""));
        let begun = Instant::now();
        let said = once(&project, "builder");
        assert_eq!(project.status("A"), status, "{does}: {said:#?} {}", project.diagnosis());
        let left = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        assert!(begun.elapsed() < Duration::from_secs(20), "{does}: {:?}", begun.elapsed());
        let ended: u64 =
            fs::read_to_string(project.path("ended.log")).expect("it ended").trim().parse().expect("a time");
        longest = longest.max(left.saturating_sub(Duration::from_nanos(ended)));
        assert!(project.path("ended.log").exists() && !project.path("owned.log").exists(), "{does}");
        assert_eq!(git(project.root(), &["fsck", "--no-progress", "--no-dangling"]), "", "{does}");
        drop(trees);
    }
    println!(
        "figure: a worker has settled and left {:.1} s after a hostile agent's end at the latest",
        longest.as_secs_f64()
    );
}

#[test]
fn what_an_agent_committed_before_its_worker_was_killed_is_on_its_branch_for_the_next() {
    let (mut project, _trees) = scene(
        "if [ -e half.txt ]; then echo rest > rest.txt; exit; fi\n\
         echo half > half.txt; $own add -A; $own commit -q -m half; echo loose > loose.txt\n\
         touch \"$OODATCAA_PROJECT/started.log\"; sleep 1000",
    );
    let n = project.start("builder", &[]);
    crate::support::eventually("the agent runs", || project.path("started.log").exists().then_some(()));
    // Whoever looks at it meanwhile is shown the files, and takes nothing away from the agent.
    let shown = crate::bad_input::ctl(&project, "run diff A");
    assert!(shown.out.contains("+half") && shown.out.contains("+loose"), "{shown:#?}");
    crate::bad_input::ctl(&project, "worktree list").ended(0);
    project.signal(n, rustix::process::Signal::KILL);
    project.exited(n);
    once(&project, "builder");
    assert_eq!(project.status("A"), "awaiting_test", "{}", project.diagnosis());
    let files = git(project.root(), &["ls-tree", "--name-only", "feat/A-change-it"]);
    assert!(["half.txt", "loose.txt", "rest.txt"].iter().all(|name| files.contains(name)), "{files}");
    assert!(git(project.root(), &["log", "--format=%s", "feat/A-change-it"]).contains("half"));
}

#[test]
fn a_worker_that_is_killed_at_any_step_around_an_agents_repository_loses_no_commit_and_doubles_none() {
    for step in
        ["noted", "made", "there", "linked", "back", "fetched", "moved", "attached", "received", "gone", "forgotten"]
    {
        let (mut project, trees) =
            scene("[ -e one.txt ] || { echo one > one.txt; $own add -A; $own commit -q -m one; }; echo two >> two.txt");
        let abort = format!("own-{step}");
        let n = project.start_with("builder", &["--interval", "1s"], &[("OODATCAA_MERGE_ABORT", &abort)]);
        let ended = std::os::unix::process::ExitStatusExt::signal(&project.exited(n));
        assert_eq!(ended, Some(9), "{step}: {}", project.diagnosis());
        once(&project, "builder");
        assert_eq!(project.status("A"), "awaiting_test", "{step}: {}", project.diagnosis());
        let commits = git(project.root(), &["log", "--format=%s", "main..feat/A-change-it"]);
        assert_eq!(commits.lines().filter(|subject| *subject == "one").count(), 1, "{step}: {commits}");
        assert!(git(project.root(), &["show", "feat/A-change-it:two.txt"]).starts_with("two"), "{step}");
        let home = fs::read_dir(&trees.0).expect("there").flatten().find(|home| home.path().join("git").is_dir());
        let left = fs::read_dir(home.expect("a home").path().join("git")).expect("there").count();
        assert_eq!((left, git(project.root(), &["for-each-ref", "refs/oodatcaa/in"]).as_str()), (0, ""), "{step}");
        assert_eq!(git(project.root(), &["fsck", "--no-progress", "--no-dangling"]), "", "{step}");
    }
}
