//! The repository of an agent's own: everything works there, and only what is taken in comes out of it.

use super::*;

/// What git says of a worktree, its user's words and all.
fn said(path: &Path, args: &[&str]) -> (bool, String) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@invalid"]).args(args).current_dir(path);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.success(), said.concat())
}

/// Runs git there, which must succeed without a word of complaint.
fn silently(path: &Path, args: &[&str]) {
    let (ok, said) = said(path, args);
    assert!(ok && !said.contains("error") && !said.contains("warning"), "git {args:?}: {said}");
}

#[test]
fn an_agent_commits_in_a_repository_of_its_own_and_its_branch_is_taken_in() {
    let repo = Repo::new();
    repo.git(&["tag", "v1"]);
    let one = task("T1", "x");
    let workspace = repo.prepare(&one, 1);
    let path = workspace.path().to_owned();
    let (main, everything) = (repo.git(&["rev-parse", "main"]), repo.git(&["for-each-ref"]));
    let own = workspace.hand_out(&repo.layout()).unwrap().unwrap();
    assert!(git(&path, &["rev-parse", "--absolute-git-dir"]).ends_with("/git/T1"));
    assert_eq!(git(&path, &["status", "--porcelain"]), "");
    write(&path, "src/new.rs", "two\n");
    for args in [
        &["add", "-A"][..],
        &["commit", "-q", "-m", "one"],
        &["commit", "-q", "--amend", "-m", "two"],
        &["stash", "list"],
        &["switch", "-q", "-c", "side"],
        &["commit", "-q", "--allow-empty", "-m", "side"],
        &["switch", "-q", "feat/T1-x"],
        &["merge", "-q", "--no-edit", "side"],
        &["rebase", "-q", "main"],
        &["tag", "mine"],
        &["notes", "add", "-m", "note"],
        &["gc", "-q"],
        &["pack-refs", "--all"],
        &["branch", "-q", "-D", "side"],
        &["update-ref", "refs/heads/main", "HEAD"],
        &["fsck", "--no-progress"],
    ] {
        silently(&path, args);
    }
    let tip = git(&path, &["rev-parse", "HEAD"]);
    // Nothing of it is in the project yet, and none of its own branches ever is.
    let start =
        |refs: &str| refs.lines().filter(|line| !line.contains("refs/oodatcaa/")).collect::<Vec<_>>().join("\n");
    assert_eq!(start(&repo.git(&["for-each-ref"])), start(&everything));
    let taken = workspace.take_in(&repo.layout()).unwrap().unwrap();
    assert_eq!((taken.head.as_deref(), taken.midway), (Some(tip.as_str()), None));
    assert_eq!(repo.git(&["rev-parse", "feat/T1-x", "main"]), format!("{tip}\n{main}"));
    assert!(!repo.git(&["for-each-ref"]).contains("side") && !repo.git(&["tag"]).contains("mine"));
    assert!(!own.exists() && workspace.take_in(&repo.layout()).unwrap().is_none(), "once is enough");
    assert_eq!(git(&path, &["status", "--porcelain"]), "");
    let evidence = workspace.evidence().unwrap();
    assert_eq!(evidence.changed, ["src/new.rs"]);
    assert!(!evidence.commits.is_empty() && !evidence.dirty);
    repo.git(&["fsck", "--no-progress"]);
}

#[test]
fn work_that_is_not_committed_or_beside_the_branch_is_found_after_it_was_taken_in() {
    let repo = Repo::new();
    let workspace = repo.prepare(&task("T1", "x"), 1);
    let path = workspace.path().to_owned();
    workspace.hand_out(&repo.layout()).unwrap();
    git(&path, &["checkout", "-q", "--detach"]);
    write(&path, "beside", "b\n");
    git(&path, &["add", "-A"]);
    silently(&path, &["commit", "-q", "-m", "beside"]);
    write(&path, "loose", "l\n");
    workspace.take_in(&repo.layout()).unwrap();
    let rest = workspace.commit_rest("rest", &[], &builder()).unwrap().unwrap();
    assert_eq!(git(&path, &["rev-parse", "feat/T1-x"]), rest);
    assert_eq!(repo.git(&["show", &format!("{rest}:loose"), &format!("{rest}^:beside")]), "l\nb");
}

#[test]
fn nothing_that_an_agent_puts_into_its_repository_runs_or_stays() {
    let repo = Repo::new();
    let workspace = repo.prepare(&task("T1", "x"), 1);
    let path = workspace.path().to_owned();
    let own = workspace.hand_out(&repo.layout()).unwrap().unwrap();
    let owned = repo.dir.path().join("owned");
    let script = repo.dir.path().join("evil");
    fs::write(&script, format!("#!/bin/sh\ntouch {}\ncat\n", owned.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let evil = script.to_str().unwrap();
    write(&path, "file", "f\n");
    git(&path, &["add", "-A"]);
    silently(&path, &["commit", "-q", "-m", "one"]);
    write(&path, ".gitattributes", "* filter=x\n");
    for (name, value) in [
        ("filter.x.clean", evil),
        ("core.fsmonitor", evil),
        ("core.alternateRefsCommand", evil),
        ("uploadpack.packObjectsHook", evil),
        ("core.sshCommand", evil),
    ] {
        git(&path, &["config", name, value]);
    }
    fs::create_dir_all(own.join("hooks")).unwrap();
    for hook in ["post-checkout", "reference-transaction", "pre-commit"] {
        fs::copy(&script, own.join("hooks").join(hook)).unwrap();
    }
    let _ = fs::remove_file(&owned);
    // A false object under the name of a true one.
    let blob = repo.git(&["rev-parse", "main:src/lib.rs"]);
    let place = own.join("objects").join(&blob[..2]);
    fs::create_dir_all(&place).unwrap();
    let other = repo.git(&["rev-parse", "main:.gitignore"]);
    fs::copy(repo.root().join(".git/objects").join(&other[..2]).join(&other[2..]), place.join(&blob[2..])).unwrap();
    workspace.take_in(&repo.layout()).unwrap().unwrap();
    assert!(workspace.evidence().is_ok());
    assert!(!owned.exists(), "nothing of it ran");
    assert_eq!(repo.git(&["show", "main:src/lib.rs"]), "one");
    repo.git(&["fsck", "--no-progress"]);
    assert_eq!(fs::read_to_string(path.join(".git")).unwrap().matches("worktrees/T1").count(), 1);
}

#[test]
fn a_link_that_an_agent_put_there_leads_nobody_away() {
    let repo = Repo::new();
    let workspace = repo.prepare(&task("T1", "x"), 1);
    let path = workspace.path().to_owned();
    let own = workspace.hand_out(&repo.layout()).unwrap().unwrap();
    let elsewhere = repo.dir.path().join("elsewhere");
    git(repo.dir.path(), &["init", "-q", "--bare", elsewhere.to_str().unwrap()]);
    fs::remove_file(path.join(".git")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, path.join(".git")).unwrap();
    fs::remove_dir_all(&own).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &own).unwrap();
    let _ = workspace.take_in(&repo.layout());
    let again = repo.prepare(&task("T1", "x"), 2);
    assert!(again.hand_out(&repo.layout()).is_ok(), "and the next attempt works");
    assert!(elsewhere.join("HEAD").exists(), "what the link led to is not ours to remove");
}

#[test]
fn repositories_of_every_form_are_handed_out() {
    for args in [&["--object-format=sha256"][..], &["--ref-format=reftable"], &[]] {
        let repo = Repo::empty();
        fs::remove_dir_all(repo.root().join(".git")).unwrap();
        repo.git(&[&["init", "-q", "-b", "main"][..], args].concat());
        repo.write("a", "a\n");
        repo.git(&["add", "-A"]);
        repo.git(&["commit", "-q", "-m", "first"]);
        let workspace = repo.prepare(&task("T1", "x"), 1);
        let path = workspace.path().to_owned();
        workspace.hand_out(&repo.layout()).unwrap();
        write(&path, "b", "b\n");
        git(&path, &["add", "-A"]);
        silently(&path, &["commit", "-q", "-m", "second"]);
        let tip = git(&path, &["rev-parse", "HEAD"]);
        workspace.take_in(&repo.layout()).unwrap();
        assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]), tip, "{args:?}");
    }
}
