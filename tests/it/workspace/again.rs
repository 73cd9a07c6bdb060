//! Ids used again, projects side by side or at a new place, and whoever only looks at the work of others.

use super::*;

/// A repository with two projects in it.
fn two_projects() -> (Repo, [Layout; 2]) {
    let repo = Repo::new();
    for name in ["api", "web"] {
        repo.write(&format!("packages/{name}/{name}.txt"), "x\n");
        fs::create_dir_all(repo.root().join(format!("packages/{name}/.oodatcaa/work"))).unwrap();
    }
    repo.git(&["add", "-A"]);
    repo.git(&["commit", "-q", "-m", "packages"]);
    let layouts = ["api", "web"].map(|name| Layout::new(repo.root().join("packages").join(name)));
    (repo, layouts)
}

fn commit(at: &Path, name: &str, text: &str) -> String {
    write(at, name, text);
    git(at, &["add", "-A"]);
    git(at, &["commit", "-q", "-m", name]);
    git(at, &["rev-parse", "HEAD"])
}

#[test]
fn two_projects_of_one_repository_share_nothing_of_a_task_that_both_have() {
    let (repo, [api, web]) = two_projects();
    let one = task("T1", "the same");
    let of = |layout| prepare(layout, &repo.config, &one, Token(1)).unwrap();
    let (first, second) = (of(&api), of(&web));
    assert_ne!(first.path(), second.path());
    assert_ne!(first.branch(), second.branch());
    write(first.path(), "a.txt", "of api\n");
    first.save().unwrap();
    assert_eq!(second.save().unwrap(), None);
    write(second.path(), "w.txt", "of web\n");
    assert_eq!(second.evidence().unwrap().changed, ["packages/web/w.txt"]);
    let range = diff::range(&web, &repo.config, &one.id, None, Some(Token(1))).unwrap();
    let files: Vec<String> = range.files().unwrap().into_iter().map(|file| file.path).collect();
    assert_eq!(files, ["packages/web/w.txt"]);
    assert_eq!(prune::list(&api, &repo.config).unwrap().len(), 1);
}

#[test]
fn a_later_task_of_the_same_id_does_not_go_on_with_the_branch_of_the_first() {
    let repo = Repo::new();
    let one = task("T1", "rotate the keys");
    let first = repo.prepare(&one, 1);
    let done = commit(first.path(), "old.txt", "of the first\n");
    // Its worker died before anything was settled: the same task.
    assert!(repo.prepare(&one, 2).path().join("old.txt").exists());
    write(first.path(), "left.txt", "not committed\n");
    first.settle(&repo.layout()).unwrap();
    let named = Task { branch: first.branch().map(String::from), ..one.clone() };
    assert!(repo.prepare(&named, 3).path().join("old.txt").exists());
    // The next sprint has the id, too.
    let second = repo.prepare(&one, 4);
    assert_eq!(second.branch(), Some("feat/T1-rotate-the-keys-2"));
    assert!(!second.path().join("old.txt").exists() && !second.path().join("left.txt").exists());
    assert_eq!(repo.git(&["rev-parse", "feat/T1-rotate-the-keys"]), done);
    let saved = repo.git(&["for-each-ref", "--format=%(refname)", "refs/oodatcaa/wip"]);
    assert!(saved.lines().any(|name| repo.git(&["ls-tree", "--name-only", name]).contains("left.txt")), "{saved}");
}

#[test]
fn on_a_detached_head_a_new_task_waits_and_one_that_has_begun_goes_where_it_began() {
    let repo = Repo::new();
    repo.git(&["switch", "-q", "-c", "develop"]);
    let begun = task("T1", "x");
    repo.prepare(&begun, 1);
    repo.git(&["switch", "-q", "--detach"]);
    assert_eq!(repo.prepare(&begun, 2).base_branch(), Some("develop"));
    let new = task("T2", "x");
    let refused = prepare(&repo.layout(), &repo.config, &new, Token(1)).unwrap_err();
    assert!(matches!(refused, WorkspaceError::Detached), "{refused}");
    assert!(refused.to_string().contains("workspace.base"), "{refused}");
    let config = Config { base: Some("main".into()), ..repo.config.clone() };
    let named = prepare(&repo.layout(), &config, &new, Token(1)).unwrap();
    assert_eq!(named.base_branch(), Some("main"));
}

#[test]
fn a_project_that_is_renamed_keeps_its_worktrees() {
    let repo = Repo::new();
    let (one, two) = (task("T1", "x"), task("T2", "x"));
    let first = repo.prepare(&one, 1);
    repo.prepare(&two, 1);
    let work = commit(first.path(), "a.txt", "work\n");
    let moved = repo.dir.path().join("renamed");
    fs::rename(repo.root(), &moved).unwrap();
    let layout = Layout::new(&moved);
    let listed = prune::list(&layout, &repo.config).unwrap();
    assert!(listed.len() == 2 && listed.iter().all(|seen| seen.whole), "{listed:?}");
    let again = prepare(&layout, &repo.config, &one, Token(2)).unwrap();
    assert_eq!((again.path(), again.branch()), (first.path(), first.branch()));
    assert_eq!(git(again.path(), &["rev-parse", "HEAD"]), work);
    assert!(prune::remove(&layout, &repo.config, &two.id, PrunePolicy::SAFE).unwrap().is_some());
}

#[test]
fn files_outside_of_a_sparse_checkout_are_saved_and_committed() {
    let repo = Repo::new();
    for dir in ["a", "b"] {
        repo.write(&format!("{dir}/x"), "x\n");
    }
    repo.git(&["add", "-A"]);
    repo.git(&["commit", "-q", "-m", "dirs"]);
    repo.git(&["sparse-checkout", "init", "--cone"]);
    repo.git(&["sparse-checkout", "set", "a"]);
    let workspace = repo.prepare(&task("T1", "x"), 1);
    write(workspace.path(), "b/new", "new\n");
    let saved = workspace.save().unwrap().expect("something to save");
    assert_eq!(repo.git(&["show", &format!("{saved}:b/new")]), "new");
    assert_eq!(workspace.evidence().unwrap().changed, ["b/new"]);
    let made = workspace.commit_rest("new", &[], &builder()).unwrap().expect("committed");
    assert_eq!(repo.git(&["show", "--format=", "--name-only", &made]), "b/new");
}

#[test]
fn what_somebody_changed_who_only_looks_is_put_aside() {
    let mut repo = Repo::new();
    repo.config.setup = vec!["sh".into(), "-c".into(), "echo made > setup.txt".into()];
    let one = task("T1", "x");
    let built = repo.prepare(&one, 1);
    let work = commit(built.path(), "work.py", "work\n");
    built.settle(&repo.layout()).unwrap();
    let one = Task { branch: built.branch().map(String::from), ..one };
    for taken_back in [true, false] {
        let token = if taken_back { 2 } else { 4 };
        let workspace = repo.prepare(&one, token);
        workspace.lend(&repo.layout()).unwrap();
        let at = workspace.path();
        write(at, "__pycache__/work.pyc", "by-product\n");
        write(at, "work.py", "weaker\n");
        write(at, ".env", "ignored\n");
        fs::remove_file(at.join("setup.txt")).unwrap();
        commit(at, "test_work.py", "a test\n");
        write(at, "report.xml", "by-product\n");
        if taken_back {
            let (files, saved) = workspace.take_back(&repo.layout()).unwrap().expect("it changed something");
            assert!(files.contains(&"test_work.py".into()) && files.contains(&"report.xml".into()), "{files:?}");
            assert_eq!(repo.git(&["show", &format!("{saved}:report.xml")]), "by-product");
            assert_eq!(workspace.take_back(&repo.layout()).unwrap(), None);
        }
        // Its worker may have been killed: then whoever comes next puts it back.
        let next = repo.prepare(&one, token + 1);
        let at = next.path();
        assert_eq!(git(at, &["rev-parse", "HEAD"]), work, "{taken_back}");
        assert_eq!(fs::read_to_string(at.join("work.py")).unwrap(), "work\n");
        assert!(!at.join("report.xml").exists() && !at.join("__pycache__").exists());
        assert!(at.join(".env").exists() && at.join("setup.txt").exists());
        assert!(next.evidence().unwrap().changed.is_empty());
    }
}

#[test]
fn a_branch_with_nothing_of_its_own_follows_its_base() {
    let repo = Repo::new();
    let (fresh, begun) = (task("T1", "x"), task("T2", "x"));
    repo.prepare(&fresh, 1);
    let work = commit(repo.prepare(&begun, 1).path(), "a.txt", "work\n");
    let fix = commit(&repo.root(), "fix.txt", "a fix\n");
    let prepare = |task: &Task, token| {
        let mut workspace = repo.prepare(task, token);
        workspace.follow_base().unwrap();
        workspace
    };
    let again = prepare(&fresh, 2);
    assert_eq!(git(again.path(), &["rev-parse", "HEAD"]), fix);
    assert!(again.evidence().unwrap().changed.is_empty());
    assert_eq!(git(prepare(&begun, 2).path(), &["rev-parse", "HEAD"]), work);
    // What is not committed stays as it is, and where it is.
    write(again.path(), "half.txt", "half\n");
    commit(&repo.root(), "more.txt", "more\n");
    assert_eq!(git(prepare(&fresh, 3).path(), &["rev-parse", "HEAD"]), fix);
    // Work that was merged is not nothing, whatever became of it there.
    repo.git(&["merge", "-q", "--no-ff", "-m", "merged", "feat/T2-x"]);
    assert_eq!(git(prepare(&begun, 3).path(), &["rev-parse", "HEAD"]), work);
}

#[test]
fn work_that_was_saved_and_is_not_in_the_tree_is_told() {
    let repo = Repo::new();
    let one = task("T1", "x");
    let first = repo.prepare(&one, 1);
    write(first.path(), "half.txt", "half\n");
    first.save().unwrap();
    assert_eq!(repo.prepare(&one, 2).saved_before().unwrap(), Vec::<String>::new(), "it lies there");
    git(first.path(), &["checkout", "-q", "--orphan", "elsewhere"]);
    commit(first.path(), "work.txt", "work\n");
    write(first.path(), "more.txt", "more\n");
    // Saved when the branch was checked out again.
    let again = repo.prepare(&one, 3);
    let said = again.saved_before().unwrap();
    let (first, last) = (again.refs().wip(Token(1)), again.refs().wip(Token(3)));
    assert!(said.len() == 2 && said[0].contains(&first) && said[1].contains(&last), "{said:?}");
    assert!(said[1].contains("work.txt") && !said[1].contains("more.txt"), "more.txt lies there: {said:?}");
    assert_eq!(repo.git(&["show", &format!("{last}:work.txt")]), "work");
}

#[test]
fn a_block_of_ports_that_another_program_uses_is_passed_over() {
    let mut repo = Repo::new();
    // A block that is free at the moment, found by asking for one.
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = u32::from(probe.local_addr().unwrap().port()).min(65_000);
    repo.config.port_base = base;
    repo.config.ports = 2;
    let port = |task: &Task, token| repo.prepare(task, token).env()["OODATCAA_PORT_BASE"].parse::<u32>().unwrap();
    let one = task("T1", "x");
    let given = port(&one, 1);
    assert!(given > base, "{given} {base}");
    let taken = std::net::TcpListener::bind(("::1", u16::try_from(given + 1).unwrap()));
    if taken.is_ok() {
        assert_ne!(port(&one, 2), given);
    }
}

#[test]
fn a_task_can_begin_again_from_its_base_or_on_top_of_it() {
    let repo = Repo::new();
    let (one, two) = (task("T1", "x"), task("T2", "x"));
    let (first, second) = (repo.prepare(&one, 1), repo.prepare(&two, 1));
    let (work, clash) = (commit(first.path(), "a.txt", "work\n"), commit(second.path(), "src/lib.rs", "ours\n"));
    write(first.path(), "half.txt", "half\n");
    write(second.path(), "half.txt", "half\n");
    let fix = commit(&repo.root(), "src/lib.rs", "theirs\n");
    let restart = |task: &Task, how| restart::restart(&repo.layout(), &repo.config, task, how);

    let done = restart(&one, Anew::Rebase).unwrap();
    assert_eq!(git(first.path(), &["rev-parse", "HEAD^"]), fix);
    assert_eq!(fs::read_to_string(first.path().join("a.txt")).unwrap(), "work\n");
    assert_eq!(repo.git(&["rev-parse", &done.kept.expect("kept")]), work);
    assert_eq!(repo.git(&["show", &format!("{}:half.txt", done.saved.expect("saved"))]), "half");
    assert!(!first.path().join("half.txt").exists());
    assert_eq!(git(first.path(), &["status", "--porcelain"]), "");

    let refused = restart(&two, Anew::Rebase).unwrap_err();
    assert!(refused.to_string().contains("src/lib.rs"), "{refused}");
    assert_eq!(git(second.path(), &["rev-parse", "HEAD"]), clash);
    assert_eq!(git(second.path(), &["status", "--porcelain"]), "?? half.txt", "all is as it was");
    let done = restart(&two, Anew::Fresh).unwrap();
    assert_eq!(git(second.path(), &["rev-parse", "HEAD"]), fix);
    assert_eq!(git(second.path(), &["rev-parse", "--abbrev-ref", "HEAD"]), "feat/T2-x");
    assert_eq!(git(second.path(), &["status", "--porcelain"]), "");
    assert_eq!(repo.git(&["rev-parse", &done.kept.expect("kept")]), clash);
    assert!(repo.prepare(&two, 2).saved_before().unwrap()[0].contains("half.txt"));
}
