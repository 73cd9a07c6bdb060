//! Worktrees in real repositories: hostile names, many at once, crashes in the middle, nothing lost.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Lease, Role, RunName, Status, Task, TaskId, Token};
use oodatcaa_git::{
    Author, Config, KeepReason, Mode, Refs, Workspace, WorkspaceError, diff, mode_for,
    prune::{self, PrunePolicy},
    restart::{self, Anew},
    trailers,
};

use crate::support::{eventually, git};

mod again;
mod own;
mod private;

/// A repository with a project in it, and a place for its worktrees.
struct Repo {
    dir: tempfile::TempDir,
    config: Config,
}

impl Repo {
    /// One commit, the queue tracked, work of the user's that is not committed.
    fn new() -> Self {
        let repo = Self::empty();
        repo.write("src/lib.rs", "one\n");
        repo.write(".gitignore", "target/\n.env\n/.locks/\n");
        repo.write(".oodatcaa/work/SPRINT_QUEUE.json", "{\"tasks\": []}\n");
        repo.git(&["add", "-A"]);
        repo.git(&["commit", "-q", "-m", "first"]);
        repo
    }

    fn empty() -> Self {
        let dir = tempfile::Builder::new().prefix("oodatcaa-ws-").tempdir().unwrap();
        fs::create_dir_all(dir.path().join("project/.oodatcaa/work")).unwrap();
        let root = dir.path().join("state");
        let config = worktrees(&root.to_string_lossy());
        let repo = Self { dir, config };
        repo.git(&["init", "-q", "-b", "main"]);
        repo
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    fn layout(&self) -> Layout {
        Layout::new(self.root())
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.root(), name, text);
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.root(), args)
    }

    fn prepare(&self, task: &Task, token: u64) -> Workspace {
        prepare(&self.layout(), &self.config, task, Token(token)).unwrap()
    }

    fn status(&self) -> String {
        self.git(&["status", "--porcelain"])
    }

    /// Where a child says where its worktree is.
    fn said(&self, task: &str) -> PathBuf {
        self.dir.path().join(format!("{task}.said"))
    }

    fn child(&self, task: &str, token: u64) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["workspace::a_child_prepares", "--exact", "--nocapture"])
            .env(
                "OODATCAA_TEST_PREPARE",
                format!(
                    "{}\n{}\n{task}\n{token}\n{}",
                    self.root().display(),
                    self.dir.path().join("state").display(),
                    self.said(task).display()
                ),
            )
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap()
    }
}

/// A worktree for each task, below this directory.
fn worktrees(root: &str) -> Config {
    Config {
        mode: Mode::Worktree,
        root: Some(root.into()),
        disk_min: 0,
        confine: oodatcaa_config::Confine::Nothing,
        ..Config::default()
    }
}

/// Makes or finds a task's workspace, with nothing that could stop it.
fn prepare(layout: &Layout, config: &Config, task: &Task, token: Token) -> Result<Workspace, WorkspaceError> {
    let run_dir = layout.run(&task.id, &RunName::of(token));
    Workspace::prepare(layout, config, task, token, &run_dir, &Arc::default())
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn task(id: &str, title: &str) -> Task {
    let mut task = Task::new(TaskId::parse(id).unwrap(), Status::READY);
    task.title = title.into();
    task
}

fn builder() -> Author {
    Author::of(None, &Role::BUILDER)
}

/// Not a test of its own: what other processes of the tests below do.
#[test]
fn a_child_prepares() {
    let Ok(words) = std::env::var("OODATCAA_TEST_PREPARE") else { return };
    let words: Vec<&str> = words.split('\n').collect();
    let config = worktrees(words[1]);
    let token = Token(words[3].parse().unwrap());
    let made = prepare(&Layout::new(words[0]), &config, &task(words[2], "the same title"), token);
    fs::write(words[4], made.unwrap().path().display().to_string()).unwrap();
}

#[test]
fn a_task_has_a_worktree_and_a_branch_until_it_is_merged() {
    let repo = Repo::new();
    repo.write("src/lib.rs", "the user's own\n");
    repo.write("notes.txt", "the user's own\n");
    let before = repo.status();
    let one = task("T1", "Add a parser");
    let workspace = repo.prepare(&one, 1);
    assert_eq!(workspace.branch(), Some("feat/T1-add-a-parser"));
    assert!(!workspace.path().starts_with(repo.root()));
    assert_eq!(fs::read_to_string(workspace.path().join("src/lib.rs")).unwrap(), "one\n");
    assert!(repo.git(&["worktree", "list", "--porcelain"]).contains("locked oodatcaa T1"));
    assert_eq!(workspace.base(), Some(repo.git(&["rev-parse", "main"]).as_str()));
    let nothing = workspace.evidence().unwrap();
    assert!(nothing.known && !nothing.is_work() && !nothing.dirty, "{nothing:?}");

    write(workspace.path(), "src/parser.rs", "two\n");
    write(workspace.path(), ".claude/settings.json", "{}\n");
    write(workspace.path(), ".oodatcaa/work/SPRINT_QUEUE.json", "{\"tasks\": [1]}\n");
    write(workspace.path(), ".leases/T1.json", "{}\n");
    write(workspace.path(), "target/x", "built\n");
    let seen = workspace.evidence().unwrap();
    assert_eq!(seen.changed, [".claude/settings.json", "src/parser.rs"]);
    assert_eq!(seen.risky, [".claude/settings.json"]);
    assert!(seen.dirty && seen.commits.is_empty());

    let lease = lease(&one.id, 1);
    let commit =
        workspace.commit_rest("feat: a parser\n\n$(touch owned)", &trailers(&lease), &builder()).unwrap().unwrap();
    let message = git(workspace.path(), &["log", "-1", "--format=%an <%ae>%n%B", &commit]);
    assert_eq!(
        message,
        "builder (agent) <builder@oodatcaa.invalid>\nfeat: a parser\n\n$(touch owned)\n\nOodatcaa-Task: T1\nOodatcaa-Role: builder\nOodatcaa-Attempt: 1\nOodatcaa-Agent: sim\nOodatcaa-Simulated: true"
    );
    let held = git(workspace.path(), &["show", "--name-only", "--format=", &commit]);
    assert_eq!(held, ".claude/settings.json\nsrc/parser.rs");
    assert_eq!(workspace.commit_rest("again", &[], &builder()).unwrap(), None);
    let seen = workspace.evidence().unwrap();
    assert!(!seen.dirty && seen.commits == [commit.clone()] && seen.is_work());

    // The next role of the same task works in the same tree, and begins where the last one ended.
    let path = workspace.path().to_owned();
    let tester = repo.prepare(&one, 2);
    assert_eq!((tester.path(), tester.base()), (path.as_path(), Some(commit.as_str())));
    assert!(!tester.evidence().unwrap().is_work());
    let range = diff::range(&repo.layout(), &repo.config, &one.id, None, Some(Token(1))).unwrap();
    assert_eq!(range.files().unwrap().len(), 2);

    let kept = prune::remove(&repo.layout(), &repo.config, &one.id, PrunePolicy::SAFE).unwrap_err();
    assert!(matches!(kept, WorkspaceError::Kept { why: KeepReason::Unmerged { commits: 1, .. }, .. }), "{kept}");
    assert_eq!(repo.status(), before);
    // Squashed: another commit with the same content.
    repo.git(&["stash", "-q", "-u"]);
    repo.git(&["merge", "-q", "--squash", "feat/T1-add-a-parser"]);
    repo.git(&["commit", "-q", "-m", "squashed"]);
    let removed = prune::remove(&repo.layout(), &repo.config, &one.id, PrunePolicy::SAFE).unwrap().unwrap();
    assert_eq!((removed.saved, removed.branch), (None, None));
    assert!(!path.exists());
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
}

fn lease(task: &TaskId, token: u64) -> Lease {
    serde_json::from_value(serde_json::json!({
        "task_id": task, "role": "builder", "owner": "w@h", "token": token, "attempt": 1,
        "started_at": "2026-01-05T09:00:00.000Z", "ttl_seconds": 60, "heartbeat_at": "2026-01-05T09:00:00.000Z",
        "host": "h", "boot_id": "b", "pid": 1, "pid_started": 1, "by": "sim", "simulated": true
    }))
    .unwrap()
}

#[test]
fn no_title_and_no_branch_of_an_entry_can_do_harm() {
    let repo = Repo::new();
    let long = "x".repeat(1 << 20);
    let titles = [
        "\"'`$(touch owned)`\"",
        "a\n\n--force\0",
        "--upload-pack=touch owned",
        "../../../etc",
        "\x1b[2J",
        "HEAD",
        &long,
    ];
    for (n, title) in titles.iter().enumerate() {
        let workspace = repo.prepare(&task(&format!("T{n}"), title), 1);
        let branch = workspace.branch().unwrap().to_owned();
        assert!(branch.starts_with(&format!("feat/T{n}")) && branch.len() < 80, "{branch}");
        write(workspace.path(), "x", title);
        workspace.commit_rest(title, &[("Oodatcaa-Task", (*title).into())], &builder()).unwrap().unwrap();
    }
    let names = ["-f", "main", "a..b", "$(touch owned)", "x\ny", "HEAD", "refs/heads/x", "@{-1}", &long];
    for (n, name) in names.iter().enumerate() {
        let mut task = task(&format!("B{n}"), "branch");
        task.branch = Some((*name).into());
        assert_eq!(repo.prepare(&task, 1).branch(), Some(format!("feat/B{n}-branch").as_str()), "{name}");
    }
    let mut good = task("G1", "good");
    good.branch = Some("feat/P001-step-01".into());
    assert_eq!(repo.prepare(&good, 1).branch(), Some("feat/P001-step-01"));
    // The entries of one story may name the same branch; two worktrees cannot.
    let mut other = task("G2", "other");
    other.branch = good.branch;
    assert_eq!(repo.prepare(&other, 1).branch(), Some("feat/G2-other"));
    // Ids that git would not take as a part of a ref.
    for id in ["a..b", "x.lock", "end."] {
        let workspace = repo.prepare(&task(id, ""), 1);
        write(workspace.path(), "x", "x");
        assert!(workspace.save().unwrap().is_some());
    }
    for place in [repo.root(), repo.dir.path().into()] {
        assert!(!place.join("owned").exists());
    }
    assert_eq!(repo.git(&["rev-parse", "--abbrev-ref", "HEAD"]), "main");
}

#[test]
fn branches_that_are_there_already_are_not_taken_over() {
    let repo = Repo::new();
    repo.git(&["branch", "feat/T1-x"]);
    repo.git(&["branch", "feat/T2-x/deeper"]);
    assert_eq!(repo.prepare(&task("T1", "x"), 1).branch(), Some("feat/T1-x-2"));
    assert_eq!(repo.prepare(&task("T2", "x"), 1).branch(), Some("feat-T2-x"));
    // A branch in the way of every name of the template.
    repo.git(&["branch", "fix"]);
    let mut fix = task("T3", "x");
    fix.kind = Some("Bug".into());
    let config = Config { branch: "{kind}/{task}".into(), ..repo.config.clone() };
    let workspace = prepare(&repo.layout(), &config, &fix, Token(1)).unwrap();
    assert_eq!(workspace.branch(), Some("fix-T3"));
    // Checked out by the user.
    repo.git(&["switch", "-q", "-c", "feat/mine"]);
    let mut mine = task("T4", "x");
    mine.branch = Some("feat/mine".into());
    repo.git(&["switch", "-q", "main"]);
    repo.git(&["worktree", "add", "-q", "../elsewhere", "feat/mine"]);
    let refused = prepare(&repo.layout(), &repo.config, &mine, Token(1)).unwrap_err();
    assert!(matches!(refused, WorkspaceError::BranchInUse { .. }), "{refused}");
}

#[test]
fn a_repository_without_a_commit_is_said_and_never_worked_on_in_place() {
    let repo = Repo::empty();
    let refused = mode_for(&repo.layout(), &repo.config).unwrap_err();
    assert!(matches!(&refused, WorkspaceError::NoBase(why) if why.contains("no commit yet")), "{refused:?}");
    prepare(&repo.layout(), &repo.config, &task("T1", "x"), Token(1)).unwrap_err();
}

#[test]
fn without_a_repository_the_project_is_worked_on_in_place() {
    let repo = Repo::empty();
    let plain = tempfile::tempdir().unwrap();
    let layout = Layout::new(plain.path());
    let workspace = prepare(&layout, &repo.config, &task("T1", "x"), Token(1)).unwrap();
    assert_eq!((workspace.mode(), workspace.path()), (Mode::Shared, plain.path()));
    assert!(!workspace.evidence().unwrap().known);
    assert_eq!(workspace.save().unwrap(), None);

    let bare = tempfile::tempdir().unwrap();
    git(bare.path(), &["init", "-q", "--bare"]);
    assert_eq!(mode_for(&Layout::new(bare.path()), &repo.config).unwrap(), Mode::Shared);
}

#[test]
fn twelve_processes_at_once_get_twelve_worktrees() {
    let repo = Repo::new();
    let children: Vec<Child> = (0..12).map(|n| repo.child(&format!("T{n}"), 1)).collect();
    let mut paths = BTreeSet::new();
    for (n, mut child) in children.into_iter().enumerate() {
        assert!(child.wait().unwrap().success());
        paths.insert(fs::read_to_string(repo.said(&format!("T{n}"))).unwrap());
    }
    assert_eq!(paths.len(), 12);
    let all = prune::list(&repo.layout(), &repo.config).unwrap();
    assert!(all.len() == 12 && all.iter().all(|seen| seen.whole && !seen.dirty), "{all:?}");
    let ports: BTreeSet<_> = all.iter().map(|seen| seen.port.unwrap()).collect();
    assert_eq!(ports.len(), 12);
    assert_eq!(repo.status(), "");
}

#[test]
fn a_crash_while_a_worktree_is_made_leaves_nothing_that_the_next_one_cannot_mend() {
    let repo = Repo::new();
    for n in 0..300 {
        repo.write(&format!("many/{n}.txt"), &"line\n".repeat(500));
    }
    repo.git(&["add", "-A"]);
    repo.git(&["commit", "-q", "-m", "many"]);
    for round in 0..12 {
        let id = format!("T{round}");
        let mut child = repo.child(&id, 1);
        let group = rustix::process::Pid::from_child(&child);
        // Not to wait for anything: every moment is as good as another to be killed in.
        thread::sleep(Duration::from_millis(10 + round * 12));
        if round % 2 == 0 {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        } else {
            // Only us: a git that we started goes on.
            child.kill().unwrap();
        }
        child.wait().unwrap();
        let workspace = repo.prepare(&task(&id, "the same title"), 2);
        assert_eq!(workspace.branch(), Some(format!("feat/{id}-the-same-title").as_str()), "round {round}");
        assert_eq!(git(workspace.path(), &["status", "--porcelain"]), "", "round {round}");
        assert!(workspace.path().join("many/299.txt").exists());
        assert!(!workspace.evidence().unwrap().is_work());
    }
}

#[test]
fn locks_that_a_killed_git_left_on_a_tasks_branch_stop_nobody() {
    let repo = Repo::new();
    repo.write("file", "text");
    repo.git(&["add", "-A"]);
    repo.git(&["commit", "-q", "-m", "first"]);
    let lock = repo.root().join(".git/refs/heads/feat/T1-x.lock");
    let leave_lock = || {
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        fs::File::create(&lock).unwrap().set_modified(long_ago).unwrap();
    };
    leave_lock();
    assert_eq!(repo.prepare(&task("T1", "x"), 1).branch(), Some("feat/T1-x"));
    leave_lock();
    let workspace = repo.prepare(&task("T1", "x"), 2);
    write(workspace.path(), "more", "text");
    git(workspace.path(), &["add", "-A"]);
    git(workspace.path(), &["commit", "-q", "-m", "more"]);
}

#[test]
fn half_made_and_broken_trees_are_told_apart() {
    let repo = Repo::new();
    let one = task("T1", "x");
    let first = repo.prepare(&one, 1);
    let path = first.path().to_owned();
    write(&path, "work", "precious");
    let note = path.parent().unwrap().parent().unwrap().join("tasks/T1.json");
    let text = fs::read_to_string(&note).unwrap();

    // The note is lost: the tree is as it was.
    fs::remove_file(&note).unwrap();
    assert_eq!(repo.prepare(&one, 2).branch(), Some("feat/T1-x"));
    assert_eq!(fs::read_to_string(path.join("work")).unwrap(), "precious");

    // The link to the repository is lost.
    fs::write(&note, &text).unwrap();
    fs::write(path.join(".git"), "nonsense").unwrap();
    repo.prepare(&one, 3);
    assert_eq!(fs::read_to_string(path.join("work")).unwrap(), "precious");
    fs::remove_file(path.join(".git")).unwrap();
    git(&path, &["init", "-q"]);
    assert_eq!(repo.prepare(&one, 3).evidence().unwrap().changed, Vec::<String>::new());
    assert_eq!(fs::read_to_string(path.join("work")).unwrap(), "precious");
    assert_eq!(git(&path, &["symbolic-ref", "--short", "HEAD"]), "feat/T1-x");

    // The directory is lost.
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(repo.prepare(&one, 4).branch(), Some("feat/T1-x"));
    assert!(path.join("src/lib.rs").exists());

    // Somebody else's directory stands there: it is put aside, not removed.
    write(&path, "../T2/precious", "x");
    let two = repo.prepare(&task("T2", "x"), 1);
    assert!(!two.path().join("precious").exists());
    let aside = prune::quarantined(&repo.layout(), &repo.config).unwrap();
    assert!(aside.iter().any(|path| path.join("precious").exists()), "{aside:?}");

    // Never whole: nobody can have worked there.
    fs::write(&note, text.replace("\"ready\": true", "\"ready\": false")).unwrap();
    write(&path, "half", "x");
    assert!(!repo.prepare(&one, 5).path().join("half").exists());

    // A killed git's lock.
    let admin = git(&path, &["rev-parse", "--absolute-git-dir"]);
    fs::write(Path::new(&admin).join("index.lock"), "").unwrap();
    let workspace = repo.prepare(&one, 6);
    write(&path, "y", "y");
    assert!(workspace.commit_rest("y", &[], &builder()).unwrap().is_some());
}

#[test]
fn everything_uncommitted_is_saved_and_nothing_is_touched() {
    let repo = Repo::new();
    let one = task("T1", "x");
    let workspace = repo.prepare(&one, 7);
    assert_eq!(workspace.save().unwrap(), None);
    let path = workspace.path();
    write(path, "src/lib.rs", "changed\n");
    write(path, "staged", "s\n");
    git(path, &["add", "staged"]);
    write(path, "untracked/é file", "u\n");
    write(path, "target/ignored", "i\n");
    write(path, ".leases/T1.json", "{}");
    fs::create_dir_all(path.join("nested")).unwrap();
    git(&path.join("nested"), &["init", "-q"]);
    write(path, "nested/file", "n\n");
    let before = git(path, &["status", "--porcelain"]);
    let saved = workspace.save().unwrap().unwrap();
    assert_eq!(git(path, &["status", "--porcelain"]), before);
    assert_eq!(workspace.save().unwrap(), Some(saved.clone()), "the same again is the same");
    assert_eq!(repo.git(&["rev-parse", &Refs::of(&repo.layout(), &one.id).wip(Token(7))]), saved);
    let held = repo.git(&["-c", "core.quotePath=false", "diff", "--name-only", "main", &saved]);
    assert_eq!(held, "src/lib.rs\nstaged\nuntracked/é file");

    // What was saved before stays reachable from what is saved later.
    git(path, &["reset", "-q", "--hard"]);
    fs::remove_dir_all(path.join("untracked")).unwrap();
    write(path, "other", "o\n");
    let later = workspace.save().unwrap().unwrap();
    repo.git(&["merge-base", "--is-ancestor", &saved, &later]);
    repo.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(repo.git(&["show", &format!("{saved}:staged")]), "s");

    // Commits beside the branch are kept as well, and taken in where they are ahead of it.
    fs::remove_dir_all(path.join("nested")).unwrap();
    git(path, &["checkout", "-q", "--detach"]);
    let commit = workspace.commit_rest("beside", &[], &builder()).unwrap().unwrap();
    assert_eq!(git(path, &["rev-parse", "feat/T1-x"]), commit);
    assert_eq!(git(path, &["symbolic-ref", "--short", "HEAD"]), "feat/T1-x");
}

#[test]
fn a_tree_that_holds_work_goes_only_when_insisted_on_and_then_it_is_saved() {
    let repo = Repo::new();
    let one = task("T1", "x");
    let workspace = repo.prepare(&one, 3);
    let path = workspace.path().to_owned();
    write(&path, "new", "n\n");
    let layout = repo.layout();
    let why = |policy: PrunePolicy| match prune::remove(&layout, &repo.config, &one.id, policy) {
        Err(WorkspaceError::Kept { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(PrunePolicy::SAFE), KeepReason::Dirty);
    git(&path, &["init", "-q", "nested"]);
    assert_eq!(why(PrunePolicy::CANCELLED), KeepReason::Unsaved(vec!["nested".into()]));
    // Somebody works there: not even when insisted on.
    fs::create_dir_all(layout.locks()).unwrap();
    let lock = fs::File::create(layout.task_lock(&one.id)).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    assert_eq!(why(PrunePolicy::FORCE), KeepReason::InUse);
    drop(lock);
    let removed = prune::remove(&layout, &repo.config, &one.id, PrunePolicy::FORCE).unwrap().unwrap();
    let saved = removed.saved.unwrap();
    assert!(!path.exists());
    assert_eq!(repo.git(&["show", &format!("{saved}:new")]), "n");
    assert_eq!(prune::remove(&layout, &repo.config, &one.id, PrunePolicy::FORCE).unwrap(), None);
    // Merged, clean, made for it: the branch goes as well.
    let two = task("T2", "x");
    drop(repo.prepare(&two, 1));
    let removed = prune::remove(&layout, &repo.config, &two.id, PrunePolicy::SAFE).unwrap().unwrap();
    assert_eq!(removed.branch.as_deref(), Some("feat/T2-x"));
}

#[test]
fn what_an_earlier_attempt_left_is_kept_and_is_not_this_ones_work() {
    let repo = Repo::new();
    let one = task("T1", "x");
    let first = repo.prepare(&one, 1);
    write(first.path(), "left", "l\n");
    let second = repo.prepare(&one, 2);
    assert!(second.path().join("left").exists());
    let seen = second.evidence().unwrap();
    assert!(seen.dirty && !seen.is_work(), "{seen:?}");
    write(second.path(), "mine", "m\n");
    assert_eq!(second.evidence().unwrap().changed, ["mine"]);
    second.commit_rest("both", &[], &builder()).unwrap().unwrap();
    assert_eq!(second.evidence().unwrap().changed, ["mine"]);

    // A rebase that was left half done is saved and ended.
    repo.write("src/lib.rs", "main's\n");
    repo.git(&["commit", "-q", "-am", "main's"]);
    write(second.path(), "src/lib.rs", "mine\n");
    second.commit_rest("conflict", &[], &builder()).unwrap().unwrap();
    let halted = Command::new("git")
        .arg("-C")
        .arg(second.path())
        .args(["-c", "user.name=t", "-c", "user.email=t@t"])
        .args(["rebase", "-q", "main"])
        .output()
        .unwrap();
    assert!(!halted.status.success());
    let seen = second.evidence().unwrap();
    assert_eq!(seen.midway, Some("a rebase"));
    assert!(matches!(second.commit_rest("x", &[], &builder()), Err(WorkspaceError::Midway { .. })));
    let third = repo.prepare(&one, 3);
    assert_eq!(git(third.path(), &["symbolic-ref", "--short", "HEAD"]), "feat/T1-x");
    assert_eq!(git(third.path(), &["status", "--porcelain"]), "");
    assert!(!git(third.path(), &["for-each-ref", "refs/oodatcaa/wip/"]).is_empty());

    // What comes in from the base branch is nobody's work.
    git(third.path(), &["reset", "-q", "--hard", "HEAD~1"]);
    let fourth = repo.prepare(&one, 4);
    git(fourth.path(), &["rebase", "-q", "main"]);
    let seen = fourth.evidence().unwrap();
    assert!(!seen.is_work(), "{seen:?}");
}

#[test]
fn the_queue_of_a_worktree_stays_as_the_branch_has_it() {
    let repo = Repo::new();
    let workspace = repo.prepare(&task("T1", "x"), 1);
    let path = workspace.path();
    let queue = ".oodatcaa/work/SPRINT_QUEUE.json";
    write(path, queue, "{\"tasks\": [\"agent's\"]}\n");
    write(path, "work", "w\n");
    // An agent that commits everything, and one that insists.
    git(path, &["add", "-A"]);
    git(path, &["commit", "-q", "-m", "all"]);
    assert_eq!(git(path, &["show", "--name-only", "--format=", "HEAD"]), "work");
    git(path, &["update-index", "--no-skip-worktree", queue]);
    git(path, &["add", "-f", queue]);
    git(path, &["commit", "-q", "-m", "insists"]);
    assert_eq!(workspace.evidence().unwrap().changed, ["work"]);
    workspace.commit_rest("put back", &[], &builder()).unwrap().unwrap();
    assert_eq!(repo.git(&["diff", "--name-only", "main", "feat/T1-x"]), "work");
}

#[test]
fn a_hostile_repository_executes_nothing() {
    let repo = Repo::new();
    let owned = repo.dir.path().join("owned");
    let touch = format!("touch {}", owned.display());
    for hook in
        ["post-checkout", "pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-index-change"]
    {
        let path = repo.root().join(".git/hooks").join(hook);
        fs::write(&path, format!("#!/bin/sh\n{touch}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    repo.write(".gitattributes", "* filter=evil=x merge=evil diff=evil\n");
    repo.write(
        ".gitmodules",
        "[submodule \"s\"]\n\tpath = s\n\turl = ext::sh -c touch%20owned\n\tupdate = !touch owned\n",
    );
    repo.git(&["-c", "core.hooksPath=/dev/null", "add", "-A"]);
    repo.git(&["-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "evil"]);
    for (key, value) in [
        ("filter.evil=x.clean", &touch),
        ("filter.evil=x.smudge", &touch),
        ("filter.evil=x.required", &"true".into()),
        ("merge.evil.driver", &touch),
        ("diff.evil.textconv", &touch),
        ("diff.evil.command", &touch),
        ("diff.external", &touch),
        ("core.fsmonitor", &touch),
        ("core.hooksPath", &".git/hooks".into()),
        ("core.editor", &touch),
        ("core.pager", &touch),
        ("gpg.program", &touch),
        ("commit.gpgSign", &"true".into()),
        ("core.sshCommand", &touch),
        ("submodule.recurse", &"true".into()),
    ] {
        git(repo.dir.path(), &["config", "-f", &repo.root().join(".git/config").to_string_lossy(), key, value]);
    }
    let one = task("T1", "x");
    let workspace = repo.prepare(&one, 1);
    write(workspace.path(), "src/lib.rs", "changed\n");
    workspace.evidence().unwrap();
    workspace.save().unwrap().unwrap();
    workspace.commit_rest("x", &[], &builder()).unwrap().unwrap();
    let range = diff::range(&repo.layout(), &repo.config, &one.id, None, None).unwrap();
    assert!(String::from_utf8(range.patch().unwrap()).unwrap().contains("+changed"));
    prune::list(&repo.layout(), &repo.config).unwrap();
    prune::remove(&repo.layout(), &repo.config, &one.id, PrunePolicy::FORCE).unwrap().unwrap();
    assert!(!owned.exists());
}

#[test]
fn named_files_are_copied_hooks_run_once_and_secrets_stay_out() {
    let mut repo = Repo::new();
    repo.write("secret.txt", "token\n");
    repo.write(".env", "A=1\n");
    repo.config.copy = vec![".env".into(), "secret.txt".into(), "missing".into()];
    repo.config.setup =
        ["sh", "-c", "echo ran >> setup.txt; echo $OODATCAA_PORT_BASE > port.txt"].map(String::from).into();
    let one = task("T1", "x");
    let workspace = repo.prepare(&one, 1);
    let path = workspace.path().to_owned();
    assert_eq!(fs::read_to_string(path.join(".env")).unwrap(), "A=1\n");
    assert_eq!(fs::read_to_string(path.join("setup.txt")).unwrap(), "ran\n");
    let port = &workspace.env()["OODATCAA_PORT_BASE"];
    assert_eq!(fs::read_to_string(path.join("port.txt")).unwrap().trim(), port);
    assert!(!workspace.evidence().unwrap().is_work());
    repo.prepare(&one, 2);
    assert_eq!(fs::read_to_string(path.join("setup.txt")).unwrap(), "ran\n");
    workspace.commit_rest("x", &[], &builder()).unwrap().unwrap();
    assert_eq!(repo.git(&["diff", "--name-only", "main", "feat/T1-x"]), "port.txt\nsetup.txt");

    // A hook that fails is tried again by the next attempt.
    repo.config.setup = ["sh", "-c", "test -e ../../ok"].map(String::from).into();
    let two = task("T2", "x");
    let failed = prepare(&repo.layout(), &repo.config, &two, Token(1)).unwrap_err();
    assert!(matches!(failed, WorkspaceError::Hook { hook: "setup", .. }), "{failed}");
    fs::write(path.parent().unwrap().parent().unwrap().join("ok"), "").unwrap();
    repo.prepare(&two, 2);

    repo.config.untrusted = true;
    let refused = prepare(&repo.layout(), &repo.config, &one, Token(3)).unwrap_err();
    assert!(matches!(refused, WorkspaceError::Untrusted));
}

#[test]
fn a_project_in_a_part_of_its_repository_works_in_that_part() {
    let repo = Repo::new();
    let part = repo.root().join("services/api");
    write(&part, ".oodatcaa/work/SPRINT_QUEUE.json", "{}\n");
    write(&part, "main.py", "one\n");
    repo.git(&["add", "-A"]);
    repo.git(&["commit", "-q", "-m", "part"]);
    let workspace = prepare(&Layout::new(&part), &repo.config, &task("T1", "x"), Token(1)).unwrap();
    assert!(workspace.path().ends_with("services/api") && workspace.path().join("main.py").exists());
    write(workspace.path(), ".oodatcaa/work/SPRINT_QUEUE.json", "{\"x\": 1}\n");
    write(workspace.top(), "README", "r\n");
    assert_eq!(workspace.evidence().unwrap().changed, ["README"]);
}

#[test]
fn agentctl_lists_shows_and_clears_away() {
    let repo = Repo::new();
    let state = repo.dir.path().join("xdg");
    let ctl = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_agentctl"))
            .args(args)
            .current_dir(repo.root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", repo.dir.path())
            .env("XDG_STATE_HOME", &state)
            .env("OODATCAA_TRUST_PROJECT", "1")
            .env("OODATCAA_SANDBOX", "off")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    repo.write(".oodatcaa/config.toml", "[workspace]\nmode = \"worktree\"\ndisk_min = 1024\n");
    let queue = |one: &str, two: &str| {
        let tasks = serde_json::json!({"tasks": [{"id": "T1", "title": "x", "status": one}, {"id": "T2", "title": "x", "status": two}]});
        repo.write(".oodatcaa/work/SPRINT_QUEUE.json", &tasks.to_string());
    };
    queue("ready", "ready");
    let config = Config { root: Some(state.join("oodatcaa").to_string_lossy().into_owned()), ..repo.config.clone() };
    let prepare = |id: &str| prepare(&repo.layout(), &config, &task(id, "x"), Token(1)).unwrap();
    let (one, two) = (prepare("T1"), prepare("T2"));
    write(one.path(), "new", "n\n");
    write(two.path(), "new", "n\n");

    let (code, out, _) = ctl(&["worktree", "list", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, all[0]["task"].as_str(), all[0]["dirty"].as_bool()), (0, Some("T1"), Some(true)), "{out}");
    assert_eq!(ctl(&["worktree", "path", "T1"]).1.trim_end(), one.path().to_str().unwrap());
    assert_eq!(ctl(&["worktree", "path", "T9"]).0, 3);
    let (code, out, _) = ctl(&["run", "diff", "T1"]);
    assert!(code == 0 && out.contains("+n"), "{out}");
    assert_eq!(ctl(&["run", "diff", "T1/1", "--stat"]).1, "new\t1\t0\t\n");
    assert_eq!(ctl(&["worktree", "rm", "T1"]).0, 5);
    let (code, _, said) = ctl(&["worktree", "rm", "T1", "--force", "--no-input"]);
    assert!(code == 2 && said.contains("not merged or not clean"), "{said}");

    queue("done", "cancelled");
    let (_, out, _) = ctl(&["worktree", "prune", "--dry-run"]);
    assert_eq!(out, "T1\tkept\tit holds work that is not committed\nT2\twould go\t\n");
    let (code, out, said) = ctl(&["gc", "--yes", "--json"]);
    let swept: serde_json::Value = serde_json::from_str(&out).unwrap_or_default();
    assert_eq!((code, swept["worktrees"][1]["removed"].as_bool()), (0, Some(true)), "{out}{said}");
    let saved = swept["worktrees"][1]["saved"].as_str().unwrap();
    assert_eq!(repo.git(&["show", &format!("{saved}:new")]), "n");
    assert_eq!(ctl(&["worktree", "rm", "T1", "--force", "--yes"]).0, 0);
    eventually("both are gone", || (!one.path().exists() && !two.path().exists()).then_some(()));
    let (_, out, _) = ctl(&["gc", "--yes", "--keep", "0s", "--json"]);
    let refs = serde_json::from_str::<serde_json::Value>(&out).unwrap()["refs"].as_array().unwrap().len();
    assert_eq!(refs, 4, "{out}");
    assert_eq!(repo.git(&["for-each-ref", "refs/oodatcaa/"]), "");
}
