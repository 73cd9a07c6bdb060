//! Attempts in worktrees of their own, from a task in the queue to a merge commit on `main`.

use std::{fs, path::Path, process::Command};

use serde_json::json;

use crate::support::{Project, git};

mod conflicts;
mod container;
mod environment;
mod evidence;
mod fetch;
mod killed;
mod own;
mod pinned;
mod remote;
mod snags;
mod stopped;
mod storm;

const ROLES: [&str; 5] = ["planner", "builder", "tester", "refiner", "integrator"];

/// A repository with one commit, worked in by worktrees.
fn repository(script: &str, more: &str) -> Project {
    let project = Project::new(script);
    project.config(&format!("[workspace]\nmode = \"worktree\"\n{more}"));
    fs::write(
        project.path(".gitignore"),
        "/.oodatcaa/\n/.leases/\n/.locks/\n/.agent-daemon-*\n/.local/\n*.log\n/agent.sh\n/.trees/\n",
    )
    .expect("written");
    fs::write(project.path("README.md"), "hello\n").expect("written");
    git(project.root(), &["init", "-q", "-b", "main"]);
    git(project.root(), &["add", "-A"]);
    git(project.root(), &["commit", "-q", "-m", "first"]);
    project
}

fn state_home(project: &Project) -> std::path::PathBuf {
    // Worktrees lie outside of the repository.
    let name = project.root().file_name().expect("a name").to_string_lossy().into_owned();
    project.root().with_file_name(format!("{name}-trees"))
}

struct Trees(std::path::PathBuf);

impl Drop for Trees {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn with_trees(project: &Project) -> Trees {
    let root = state_home(project);
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    let named = config.replace("mode = \"worktree\"", &format!("mode = \"worktree\"\nroot = \"{}\"", root.display()));
    fs::write(project.path(".oodatcaa/config.toml"), named).expect("written");
    Trees(root)
}

#[test]
fn a_task_is_built_on_its_branch_and_merged_into_main() {
    let mut project = repository(
        "[ \"$OODATCAA_ROLE\" = builder ] && echo \"by $OODATCAA_TASK_ID\" > \"made-$OODATCAA_TASK_ID.txt\"; exit 0",
        "",
    );
    let _trees = with_trees(&project);
    fs::write(project.path("README.md"), "hello, and my own uncommitted words\n").expect("written");
    project.queue(json!([
        {"id": "A", "title": "first $(touch owned) 'quoted' --flag", "type": "Build", "status": "ready"},
        {"id": "B", "title": "second", "type": "Build", "status": "ready"}
    ]));
    for role in ROLES {
        project.start(role, &[]);
    }
    for id in ["A", "B"] {
        project.wait_for(id, "done");
        let task = project.task(id);
        let commit = task["merged_commit"].as_str().expect("a commit").to_owned();
        git(project.root(), &["merge-base", "--is-ancestor", &commit, "main"]);
        assert_eq!(
            fs::read_to_string(project.path(&format!("made-{id}.txt"))).expect("in the checkout"),
            format!("by {id}\n")
        );
        assert!(task["tag"].as_str().is_some_and(|tag| tag.starts_with(&format!("{id}-complete"))), "{task}");
        assert!(task["branch"].as_str().is_some_and(|branch| branch.starts_with(&format!("feat/{id}"))), "{task}");
    }
    assert_eq!(fs::read_to_string(project.path("README.md")).expect("mine"), "hello, and my own uncommitted words\n");
    assert_eq!(git(project.root(), &["status", "--porcelain"]), " M README.md", "nothing else is dirty");
    assert!(!project.path("owned").exists());
    assert_eq!(
        git(project.root(), &["worktree", "list"]).lines().count(),
        1,
        "merged worktrees are gone, with their locks"
    );
    let body = git(project.root(), &["log", "main", "--format=%B"]);
    assert!(body.contains("Oodatcaa-Task: A"), "{body}");
}

#[test]
fn a_red_gate_on_the_result_keeps_main_as_it_was() {
    let mut project = repository(
        "[ \"$OODATCAA_ROLE\" = builder ] && echo red > made.txt; exit 0",
        "[roles.integrator]\ngates = [\"green\"]\n[roles.refiner]\nagent = \"never\"\n[gates.green]\nargv = [\"sh\", \"-c\", \"! grep -q red made.txt\"]\n[agents.never]\nkind = \"command\"\nargv = [\"false\"]",
    );
    let _trees = with_trees(&project);
    let before = git(project.root(), &["rev-parse", "main"]);
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    for role in ["builder", "tester", "integrator"] {
        project.start(role, &[]);
    }
    project.wait_for("A", "needs_adapt");
    assert_eq!(git(project.root(), &["rev-parse", "main"]), before);
    assert!(!project.path("made.txt").exists());
}

#[test]
fn work_of_an_attempt_that_is_stopped_is_kept() {
    let mut project = repository("echo half > half.txt; touch \"$OODATCAA_PROJECT/started.log\"; sleep 1000", "");
    let _trees = with_trees(&project);
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    let n = project.start("builder", &[]);
    crate::support::eventually("the agent runs", || project.path("started.log").exists().then_some(()));
    project.signal(n, rustix::process::Signal::TERM);
    assert_eq!(project.ended(n), Some(0));
    assert_eq!(project.status("A"), "ready");
    let saved = git(project.root(), &["for-each-ref", "--format=%(refname)", "refs/oodatcaa/wip/*/A/1"]);
    assert_eq!(git(project.root(), &["show", &format!("{saved}:half.txt")]), "half");
}

#[test]
fn after_a_merge_diff_and_logs_show_what_the_task_did() {
    let project =
        repository("[ \"$OODATCAA_ROLE\" = builder ] && echo two > two.txt; echo the words of $OODATCAA_ROLE", "");
    let _trees = with_trees(&project);
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    for role in ["builder", "tester", "integrator"] {
        project.once(role);
    }
    assert_eq!(project.status("A"), "done");
    let said = |args: &[&str]| {
        let done = project.command("agentctl").args(args).output().expect("agentctl");
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    for run in ["A", "A/1"] {
        assert!(said(&["run", "diff", run]).contains("+two"), "{run}");
    }
    assert!(said(&["logs", "A"]).contains("the words of tester"));
    said(&["run", "show", "A"]);
}

#[test]
fn a_task_that_is_begun_again_is_built_from_the_base_as_it_is_now() {
    let project = repository("[ \"$OODATCAA_ROLE\" = builder ] && ls > seen.log && echo x > made.txt; exit 0", "");
    let _trees = with_trees(&project);
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    project.once("builder");
    assert_eq!(project.status("A"), "awaiting_test");
    fs::write(project.path("fix.txt"), "a fix\n").expect("written");
    git(project.root(), &["add", "fix.txt"]);
    git(project.root(), &["commit", "-q", "-m", "a fix"]);
    let done = project.command("agentctl").args(["task", "retry", "A", "--fresh"]).output().expect("agentctl");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stderr).contains("refs/oodatcaa/old/"), "{done:?}");
    assert_eq!(project.status("A"), "ready");
    project.once("builder");
    let branch = project.task("A")["branch"].as_str().expect("a branch").to_owned();
    assert_eq!(git(project.root(), &["show", &format!("{branch}:fix.txt")]), "a fix");
    assert_eq!(git(project.root(), &["rev-list", "--count", &format!("main..{branch}")]), "1");
}

#[test]
fn a_branch_that_is_rebased_at_a_retry_holds_what_its_base_got_meanwhile_and_its_own_work() {
    let project = repository("[ \"$OODATCAA_ROLE\" = builder ] && echo x >> made.txt; exit 0", "");
    let _trees = with_trees(&project);
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    project.once("builder");
    fs::write(project.path("fix.txt"), "a fix\n").expect("written");
    git(project.root(), &["add", "fix.txt"]);
    git(project.root(), &["commit", "-q", "-m", "a fix"]);
    let done = project.command("agentctl").args(["task", "retry", "A", "--rebase"]).output().expect("agentctl");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    project.once("builder");
    let branch = project.task("A")["branch"].as_str().expect("a branch").to_owned();
    assert_eq!(git(project.root(), &["show", &format!("{branch}:fix.txt")]), "a fix");
    assert_eq!(git(project.root(), &["show", &format!("{branch}:made.txt")]).lines().next(), Some("x"));
    assert_eq!(git(project.root(), &["rev-list", "--count", &format!("{branch}..main")]), "0");
}

#[test]
fn the_next_attempt_is_told_where_work_was_saved_that_its_branch_does_not_hold() {
    let project = repository(
        "[ \"$OODATCAA_ROLE\" = builder ] || exit 0\n\
         [ \"$OODATCAA_ATTEMPT\" = 1 ] || { cat > \"$OODATCAA_RUN_DIR/told\"; echo two >> README.md; exit 0; }\n\
         git checkout -q --orphan elsewhere; git rm -rq --cached .; echo work > work.txt; git add work.txt\n\
         git -c user.name=x -c user.email=x@y commit -qm work; exit 1",
        "",
    );
    let _trees = with_trees(&project);
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    project.once("builder");
    crate::support::eventually("it is tried again", || {
        project.once("builder");
        (project.events_of("attempt.finished").len() == 2).then_some(())
    });
    let refs = git(project.root(), &["for-each-ref", "--format=%(refname)", "refs/oodatcaa", "refs/heads"]);
    let holds = |name: &&str| git(project.root(), &["ls-tree", "--name-only", name]).contains("work.txt");
    let saved: Vec<&str> = refs.lines().filter(holds).collect();
    assert!(!saved.is_empty(), "{refs}");
    let told = fs::read_to_string(project.path(".oodatcaa/runs/A/2/told")).expect("the second attempt's prompt");
    assert!(saved.iter().any(|name| told.contains(name)), "{saved:?}: {told}");
}

#[test]
fn nobody_else_can_hold_the_lock_of_a_repository() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = repository("[ \"$OODATCAA_ROLE\" = builder ] && echo x > made.txt; exit 0", "");
    let _trees = with_trees(&project);
    let lock = project.path(".git/oodatcaa.lock");
    // As an earlier version left it.
    fs::write(&lock, "").expect("written");
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).expect("changed");
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    project.once("builder");
    assert_eq!(project.status("A"), "awaiting_test");
    assert_eq!(fs::metadata(&lock).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn by_products_of_a_test_run_are_not_merged() {
    let project = repository(
        "case $OODATCAA_ROLE in builder) echo x > made.txt;; tester) mkdir -p __pycache__; echo y > __pycache__/x.pyc; echo z > made.txt; git add -A; git commit -qm mine;; esac; exit 0",
        "",
    );
    let _trees = with_trees(&project);
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    for role in ["builder", "tester", "integrator"] {
        project.once(role);
    }
    assert_eq!(project.status("A"), "done");
    assert_eq!(git(project.root(), &["show", "main:made.txt"]), "x");
    assert!(!git(project.root(), &["ls-tree", "-r", "--name-only", "main"]).contains("__pycache__"));
    assert!(!git(project.root(), &["for-each-ref", "refs/oodatcaa/aside"]).is_empty(), "it is kept");
}
