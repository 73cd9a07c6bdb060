//! What must not come into the target, and what must outlive a worktree.

use super::*;

impl Repo {
    pub(super) fn with_submodule() -> (Self, PathBuf) {
        let repo = Self::new();
        let lib = repo.dir.path().join("lib");
        fs::create_dir(&lib).unwrap();
        git(&lib, &["init", "-q", "-b", "main"]);
        write(&lib, "lib.txt", "lib\n");
        git(&lib, &["add", "-A"]);
        git(&lib, &["commit", "-q", "-m", "lib"]);
        let from = lib.to_string_lossy().into_owned();
        repo.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &from, "lib"]);
        repo.git(&["commit", "-q", "-m", "submodule"]);
        (repo, lib)
    }

    pub(super) fn takes_away(&self, task: &Task) {
        let removed = prune::remove(&self.layout(), &self.config, &task.id, PrunePolicy::FORCE).unwrap();
        assert!(removed.is_some_and(|removed| !removed.path.exists()));
    }
}

pub(super) fn commit_all(at: &Path, message: &str) -> String {
    git(at, &["add", "-A"]);
    git(at, &["commit", "-q", "-m", message]);
    git(at, &["rev-parse", "HEAD"])
}

#[test]
fn a_submodule_is_ready_in_a_new_worktree_and_its_commits_outlive_it() {
    let (repo, _) = Repo::with_submodule();
    // What a submodule's configuration names for an update is nobody's command here.
    repo.git(&["config", "submodule.lib.update", "!touch owned"]);
    let one = task("T1", "a better lib");
    let workspace = repo.prepare(&one, 1);
    let lib = workspace.path().join("lib");
    assert_eq!(fs::read_to_string(lib.join("lib.txt")).unwrap(), "lib\n");
    assert_eq!(git(workspace.path(), &["status", "--porcelain"]), "");
    assert!(!workspace.path().join("owned").exists());

    write(&lib, "lib.txt", "better\n");
    assert_eq!(workspace.unfinished_submodules().unwrap(), ["lib"]);
    let kept = prune::remove(&repo.layout(), &repo.config, &one.id, PrunePolicy::CANCELLED);
    assert!(matches!(kept, Err(WorkspaceError::Kept { why: KeepReason::Unsaved(_), .. })), "{kept:?}");
    let better = commit_all(&lib, "better");
    assert!(workspace.unfinished_submodules().unwrap().is_empty());
    commit_all(workspace.path(), "use it");
    assert_eq!(workspace.refuses(false).unwrap(), None);
    let pushed = workspace.refuses(true).unwrap().expect("nobody else can get it");
    assert!(pushed.contains("git push"), "{pushed}");
    let there = |at: &Path| git(at, &["cat-file", "-t", &better]) == "commit";
    assert!(there(&repo.root().join("lib")));
    // Somewhere else in it is work of the agent's, too.
    let aside = git(&lib, &["commit-tree", "HEAD^{tree}", "-m", "aside"]);
    git(&lib, &["branch", "aside", &aside]);
    repo.takes_away(&one);
    for commit in [&better, &aside] {
        assert!(!git(&repo.root().join("lib"), &["for-each-ref", "--contains", commit, "refs/oodatcaa"]).is_empty());
    }
}

#[test]
fn commits_of_a_submodule_that_the_main_checkout_does_not_have_are_kept_around_it() {
    let (repo, lib) = Repo::with_submodule();
    repo.git(&["submodule", "--quiet", "deinit", "-f", "lib"]);
    fs::remove_dir_all(repo.root().join(".git/modules")).unwrap();
    let one = task("T1", "a better lib");
    let workspace = repo.prepare(&one, 1);
    let at = workspace.path().join("lib");
    assert!(!at.join("lib.txt").exists(), "it takes a `setup` command");
    let update = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init"];
    git(workspace.path(), &update);
    write(&at, "lib.txt", "better\n");
    let better = commit_all(&at, "better");
    commit_all(workspace.path(), "use it");
    assert_eq!(workspace.refuses(false).unwrap(), None);
    repo.takes_away(&one);
    assert_eq!(repo.git(&["cat-file", "-t", &better]), "commit");
    assert_ne!(git(&lib, &["rev-parse", "HEAD"]), better);
}

#[test]
fn links_that_lead_nowhere_are_refused() {
    let (repo, _) = Repo::with_submodule();
    let one = task("T1", "x");
    let workspace = repo.prepare(&one, 1);
    let at = workspace.path();
    let nowhere = git(at, &["commit-tree", "HEAD^{tree}", "-m", "of another repository"]);
    let other = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    git(at, &["update-index", "--cacheinfo", &format!("160000,{other},lib")]);
    git(at, &["commit", "-q", "-m", "nobody has it"]);
    let said = workspace.refuses(false).unwrap().expect("refused");
    assert!(said.contains("lib points to 4b825dc642cb"), "{said}");
    git(at, &["reset", "-q", "--hard", "HEAD^"]);
    git(at, &["worktree", "add", "-q", ".claude/worktrees/a", "-b", "helper", &nowhere]);
    commit_all(at, "everything");
    let said = workspace.refuses(false).unwrap().expect("refused");
    assert!(said.contains(".claude/worktrees/a is a repository of its own"), "{said}");
    // What it says to do is enough.
    git(at, &["rm", "-q", "--cached", ".claude/worktrees/a"]);
    git(at, &["commit", "-q", "--allow-empty", "-m", "without it"]);
    assert_eq!(workspace.refuses(false).unwrap(), None);
}

/// A worktree with copies of `.env`, of `secrets/` and of what no pattern of git's ignores.
fn with_copies() -> (Repo, Task, Workspace) {
    let mut repo = Repo::new();
    repo.write("conf/it's.local", "TOKEN=some long value\n");
    repo.write(".env", "KEY=s3cret-value\n");
    repo.write("secrets/deep/key.pem", "-----BEGIN KEY-----\n");
    repo.write("empty.local", "");
    repo.config.copy = vec![".env".into(), "conf/*.local".into(), "secrets".into(), "empty.local".into()];
    let one = task("T1", "x");
    let workspace = repo.prepare(&one, 1);
    (repo, one, workspace)
}

#[test]
fn copies_of_a_persons_own_files_never_come_into_the_target() {
    let (_repo, _, workspace) = with_copies();
    let at = workspace.path();
    for (path, text) in [
        (".env", None),
        ("conf/it's.local", None),
        ("secrets/deep/key.pem", None),
        ("secrets/new.pem", Some("something made there\n")),
        ("docs/example.env", Some("KEY=s3cret-value\n")),
    ] {
        let base = git(at, &["rev-parse", "HEAD"]);
        if let Some(text) = text {
            write(at, path, text);
        }
        git(at, &["add", "-f", path]);
        git(at, &["commit", "-q", "-m", "all of it"]);
        let said = workspace.refuses(false).unwrap().unwrap_or_else(|| panic!("{path} is refused"));
        assert!(said.contains(path), "{said}");
        // Taken out by another commit it still comes along.
        git(at, &["rm", "-q", "--cached", path]);
        write(at, "work.txt", "work\n");
        git(at, &["add", "work.txt"]);
        git(at, &["commit", "-q", "-m", "without it"]);
        assert!(workspace.refuses(false).unwrap().is_some(), "{path}");
        // What it says to do is enough.
        git(at, &["reset", "-q", "--soft", &base]);
        git(at, &["rm", "-q", "-r", "--cached", "--ignore-unmatch", "--", path]);
        git(at, &["commit", "-q", "-m", "clean"]);
        assert_eq!(workspace.refuses(false).unwrap(), None, "{path}");
        git(at, &["reset", "-q", "--hard", &base]);
        if text.is_some() {
            let _ = fs::remove_file(at.join(path));
        }
    }
    write(at, "pkg/__init__.py", "");
    git(at, &["add", "-f", "pkg"]);
    git(at, &["commit", "-q", "-m", "an empty file says nothing"]);
    assert_eq!(workspace.refuses(false).unwrap(), None);
}

#[test]
fn an_agent_that_adds_everything_leaves_copies_out() {
    let (_repo, _, workspace) = with_copies();
    let at = workspace.path();
    write(at, "work.txt", "work\n");
    let added = Command::new("git").arg("-C").arg(at).args(["add", "-A"]).envs(workspace.env()).status().unwrap();
    assert!(added.success());
    assert_eq!(git(at, &["diff", "--cached", "--name-only"]), "work.txt");
    assert!(at.join("secrets/deep/key.pem").is_file() && at.join("conf/it's.local").is_file());
}
