//! The repository of an agent's own: everything works there, and only what is taken in comes out of it.

use super::{private::commit_all, *};

/// The words of git about a worktree, its user's words and all.
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
    let own = workspace.hand_out(&repo.layout(), &repo.config).unwrap().unwrap();
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
    let taken = workspace.take_in(&repo.layout(), &repo.config).unwrap().unwrap();
    assert_eq!((taken.head.as_deref(), taken.midway), (Some(tip.as_str()), None));
    assert_eq!(repo.git(&["rev-parse", "feat/T1-x", "main"]), format!("{tip}\n{main}"));
    assert!(!repo.git(&["for-each-ref"]).contains("side") && !repo.git(&["tag"]).contains("mine"));
    assert!(!own.exists() && workspace.take_in(&repo.layout(), &repo.config).unwrap().is_none(), "once is enough");
    assert_eq!(git(&path, &["status", "--porcelain"]), "");
    let evidence = workspace.evidence().unwrap();
    assert_eq!(evidence.changed, ["src/new.rs"]);
    assert!(!evidence.commits.is_empty() && !evidence.dirty);
    repo.git(&["fsck", "--no-progress"]);
}

#[test]
fn an_agent_that_may_write_nothing_below_the_projects_git_misses_nothing() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (repo, _) = Repo::with_submodule();
    let workspace = repo.prepare(&task("T1", "x"), 1);
    let path = workspace.path().to_owned();
    let own = workspace.hand_out(&repo.layout(), &repo.config).unwrap().unwrap();
    let sh = |script: &str| {
        let done = Command::new("sh").args(["-c", script]).output().unwrap();
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
        [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
    };
    // Somebody else, who may read all and write the worktree and the repository.
    let (dir, at) = (repo.dir.path().display(), path.display());
    sh(&format!("chmod -R go+rX {dir}; chown -R 65534:65534 {at} {}", own.display()));
    let git = "git -c user.name=a -c user.email=a@invalid -c advice.detachedHead=false";
    let said = sh(&format!(
        "cd {at}; exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/nonexistent sh -ec '\
         if touch {dir}/project/.git/x 2>/dev/null; then exit 9; fi; echo n > new; {git} add -A; {git} commit -q -m one\n\
         echo m >> new; {git} stash -q; {git} stash pop -q; {git} commit -q -a --amend -m two; {git} tag mine\n\
         {git} switch -q -c side; {git} commit -q --allow-empty -m side; {git} switch -q -; {git} merge -q --no-edit side\n\
         {git} rebase -q main; {git} notes add -m n; {git} gc -q; {git} update-ref refs/heads/main HEAD; {git} pack-refs --all\n\
         cd lib; echo b > lib.txt; {git} commit -q -a -m better; cd ..; {git} commit -q -a -m lib; {git} fsck --no-progress --no-dangling'"
    ));
    assert_eq!(said, "", "not a word of complaint");
    sh(&format!("chown -R 0:0 {at} {}", own.display()));
    assert_eq!(workspace.take_in(&repo.layout(), &repo.config).unwrap().unwrap().wrong, None);
    assert_eq!(repo.git(&["show", "feat/T1-x:new"]), "n\nm");
    assert_eq!(super::git(&path, &["status", "--porcelain"]), "");
    assert_eq!(super::git(&path.join("lib"), &["log", "-1", "--format=%s"]), "better");
}

#[test]
fn work_that_is_not_committed_or_beside_the_branch_is_found_after_it_was_taken_in() {
    let repo = Repo::new();
    let workspace = repo.prepare(&task("T1", "x"), 1);
    let path = workspace.path().to_owned();
    workspace.hand_out(&repo.layout(), &repo.config).unwrap();
    git(&path, &["checkout", "-q", "--detach"]);
    write(&path, "beside", "b\n");
    git(&path, &["add", "-A"]);
    silently(&path, &["commit", "-q", "-m", "beside"]);
    write(&path, "loose", "l\n");
    workspace.take_in(&repo.layout(), &repo.config).unwrap();
    let rest = workspace.commit_rest("rest", &[], &builder()).unwrap().unwrap();
    assert_eq!(git(&path, &["rev-parse", "feat/T1-x"]), rest);
    assert_eq!(repo.git(&["show", &format!("{rest}:loose"), &format!("{rest}^:beside")]), "l\nb");
}

#[test]
fn nothing_that_an_agent_puts_into_its_repository_runs_or_stays() {
    let repo = Repo::new();
    let workspace = repo.prepare(&task("T1", "x"), 1);
    let path = workspace.path().to_owned();
    let own = workspace.hand_out(&repo.layout(), &repo.config).unwrap().unwrap();
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
    workspace.take_in(&repo.layout(), &repo.config).unwrap().unwrap();
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
    let own = workspace.hand_out(&repo.layout(), &repo.config).unwrap().unwrap();
    let elsewhere = repo.dir.path().join("elsewhere");
    git(repo.dir.path(), &["init", "-q", "--bare", elsewhere.to_str().unwrap()]);
    fs::remove_file(path.join(".git")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, path.join(".git")).unwrap();
    fs::remove_dir_all(&own).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &own).unwrap();
    let _ = workspace.take_in(&repo.layout(), &repo.config);
    let again = repo.prepare(&task("T1", "x"), 2);
    assert!(again.hand_out(&repo.layout(), &repo.config).is_ok(), "and the next attempt works");
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
        workspace.hand_out(&repo.layout(), &repo.config).unwrap();
        write(&path, "b", "b\n");
        git(&path, &["add", "-A"]);
        silently(&path, &["commit", "-q", "-m", "second"]);
        let tip = git(&path, &["rev-parse", "HEAD"]);
        workspace.take_in(&repo.layout(), &repo.config).unwrap();
        assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]), tip, "{args:?}");
    }
}

/// Not a test of its own: an attempt of another process, which ends where it is told to.
#[test]
fn a_child_hands_out_or_takes_in() {
    let Ok(words) = std::env::var("OODATCAA_TEST_OWN") else { return };
    let words: Vec<&str> = words.split('\n').collect();
    let config = worktrees(words[1]);
    let layout = Layout::new(words[0]);
    let one = task("T1", "x");
    if words[2] == "out" {
        prepare(&layout, &config, &one, Token(1)).unwrap().hand_out(&layout, &config).unwrap();
    } else {
        let workspace = Workspace::attach(&layout, &config, &one.id, Token(1)).unwrap().unwrap();
        workspace.take_in(&layout, &config).unwrap();
    }
}

impl Repo {
    /// Lets another process hand out or take in, and die at a place.
    fn dies(&self, what: &str, at: &str) {
        let state = self.dir.path().join("state");
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["workspace::own::a_child_hands_out_or_takes_in", "--exact", "--nocapture"])
            .env("OODATCAA_TEST_OWN", format!("{}\n{}\n{what}", self.root().display(), state.display()))
            .env("OODATCAA_MERGE_ABORT", at)
            .output()
            .unwrap();
        let killed = std::os::unix::process::ExitStatusExt::signal(&ended.status);
        assert_eq!(killed, Some(9), "{at}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    /// Nothing of an agent's repository is left, and git finds the project's.
    fn is_home(&self, path: &Path, at: &str) {
        assert!(git(path, &["rev-parse", "--absolute-git-dir"]).contains(".git/worktrees/T1"), "{at}");
        let home = path.parent().unwrap().parent().unwrap();
        let left: Vec<_> =
            fs::read_dir(home.join("git")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{at}: {left:?}");
        assert!(!fs::read_to_string(home.join("tasks/T1.json")).unwrap().contains("handed"), "{at}");
        assert_eq!(self.git(&["for-each-ref", "refs/oodatcaa/in"]), "", "{at}");
        self.git(&["fsck", "--no-progress", "--no-dangling"]);
    }
}

#[test]
fn an_attempt_that_dies_while_it_hands_out_leaves_a_worktree_that_the_next_one_works_in() {
    for at in ["own-noted", "own-made", "own-there", "own-linked"] {
        let repo = Repo::new();
        let one = task("T1", "x");
        repo.dies("out", at);
        let again = repo.prepare(&one, 2);
        repo.is_home(again.path(), at);
        assert_eq!(git(again.path(), &["status", "--porcelain"]), "", "{at}");
        again.hand_out(&repo.layout(), &repo.config).unwrap();
        write(again.path(), "new", "n\n");
        git(again.path(), &["add", "-A"]);
        silently(again.path(), &["commit", "-q", "-m", "one"]);
        let tip = git(again.path(), &["rev-parse", "HEAD"]);
        again.take_in(&repo.layout(), &repo.config).unwrap();
        assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]), tip, "{at}");
    }
}

#[test]
fn what_was_committed_is_taken_in_once_and_whole_wherever_the_first_who_took_it_in_died() {
    let steps = ["own-back", "own-fetched", "own-moved", "own-attached", "own-received", "own-gone", "own-forgotten"];
    for (at, beside) in steps.iter().flat_map(|at| [(*at, false), (*at, true)]) {
        let (repo, _) = Repo::with_submodule();
        let one = task("T1", "x");
        let workspace = repo.prepare(&one, 1);
        let path = workspace.path().to_owned();
        workspace.hand_out(&repo.layout(), &repo.config).unwrap();
        if beside {
            git(&path, &["checkout", "-q", "--detach"]);
        }
        write(&path, "new", "n\n");
        write(&path.join("lib"), "lib.txt", "better\n");
        let better = commit_all(&path.join("lib"), "better");
        git(&path, &["add", "-A"]);
        silently(&path, &["commit", "-q", "-m", "one"]);
        write(&path, "loose", "l\n");
        let tip = git(&path, &["rev-parse", "HEAD"]);
        repo.dies("in", at);
        // By whoever comes first: the next attempt, or who rescues the task before it.
        if beside {
            let dead = Workspace::attach(&repo.layout(), &repo.config, &one.id, Token(1)).unwrap().unwrap();
            dead.take_in(&repo.layout(), &repo.config).unwrap();
            dead.take_in(&repo.layout(), &repo.config).unwrap();
        }
        let again = repo.prepare(&one, 2);
        repo.is_home(&path, at);
        assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]), tip, "{at}");
        assert_eq!(git(&path, &["status", "--porcelain"]), "?? loose", "{at}");
        assert_eq!(git(&path, &["symbolic-ref", "HEAD"]), "refs/heads/feat/T1-x", "{at}");
        assert!(git(&path.join("lib"), &["rev-parse", "--absolute-git-dir"]).contains(".git/worktrees/T1"), "{at}");
        assert_eq!(git(&path.join("lib"), &["rev-parse", "HEAD"]), better, "{at}");
        let rest = again.commit_rest("rest", &[], &builder()).unwrap().unwrap();
        assert_eq!(repo.git(&["rev-parse", &format!("{rest}^")]), tip, "{at}");
    }
}

#[test]
fn an_attempt_that_was_superseded_neither_takes_in_nor_hands_out() {
    let repo = Repo::new();
    let one = task("T1", "x");
    let first = repo.prepare(&one, 1);
    let path = first.path().to_owned();
    first.hand_out(&repo.layout(), &repo.config).unwrap();
    write(&path, "by-first", "1\n");
    git(&path, &["add", "-A"]);
    silently(&path, &["commit", "-q", "-m", "first"]);
    let second = repo.prepare(&one, 2);
    let taken = repo.git(&["rev-parse", "feat/T1-x"]);
    assert_eq!(repo.git(&["show", "feat/T1-x:by-first"]), "1");
    second.hand_out(&repo.layout(), &repo.config).unwrap();
    silently(&path, &["commit", "-q", "--allow-empty", "-m", "second"]);
    let tip = git(&path, &["rev-parse", "HEAD"]);
    assert_eq!(first.take_in(&repo.layout(), &repo.config).unwrap(), None);
    let refused = first.hand_out(&repo.layout(), &repo.config);
    assert!(matches!(refused, Err(WorkspaceError::Superseded { by: Token(2), .. })), "{refused:?}");
    assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]), taken, "it moves nothing");
    assert!(git(&path, &["rev-parse", "--absolute-git-dir"]).ends_with("/git/T1"), "and the agent works on");
    second.take_in(&repo.layout(), &repo.config).unwrap().unwrap();
    assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]), tip);
}

#[test]
fn a_branch_that_a_person_moved_meanwhile_stays_and_the_agents_commits_are_kept() {
    let repo = Repo::new();
    let one = task("T1", "x");
    let workspace = repo.prepare(&one, 1);
    let path = workspace.path().to_owned();
    workspace.hand_out(&repo.layout(), &repo.config).unwrap();
    let theirs = repo.git(&["commit-tree", "main^{tree}", "-p", "main", "-m", "by a person"]);
    repo.git(&["update-ref", "refs/heads/feat/T1-x", &theirs]);
    write(&path, "new", "n\n");
    git(&path, &["add", "-A"]);
    silently(&path, &["commit", "-q", "-m", "by the agent"]);
    let tip = git(&path, &["rev-parse", "HEAD"]);
    workspace.take_in(&repo.layout(), &repo.config).unwrap().unwrap();
    assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]), theirs);
    assert_eq!(repo.git(&["for-each-ref", "--format=%(objectname)", "refs/oodatcaa/old"]), tip);
    let again = repo.prepare(&one, 2);
    assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]), theirs);
    assert!(again.saved_before().unwrap().iter().any(|words| words.contains("(new)")), "the next one is told");
}

#[test]
fn what_an_agent_left_half_done_in_its_repository_is_told_and_a_merge_of_its_is_finished() {
    let conflict = |repo: &Repo, path: &Path| {
        repo.write("src/lib.rs", "main's\n");
        repo.git(&["commit", "-qam", "main's"]);
        write(path, "src/lib.rs", "mine\n");
    };
    for (how, told) in [
        (&["merge", "-q", "theirs"][..], Some("a merge with conflicts")),
        (&["rebase", "-q", "theirs"], Some("a rebase")),
        (&["cherry-pick", "theirs"], Some("a cherry-pick")),
        (&["merge", "-q", "--no-commit", "--no-ff", "-Xtheirs", "theirs"], None),
    ] {
        let repo = Repo::new();
        let one = task("T1", "x");
        let workspace = repo.prepare(&one, 1);
        let path = workspace.path().to_owned();
        conflict(&repo, &path);
        repo.git(&["branch", "theirs"]);
        workspace.hand_out(&repo.layout(), &repo.config).unwrap();
        silently(&path, &["commit", "-qam", "mine"]);
        let tip = git(&path, &["rev-parse", "HEAD"]);
        said(&path, how);
        let taken = workspace.take_in(&repo.layout(), &repo.config).unwrap().unwrap();
        assert_eq!(taken.midway, told, "{how:?}");
        if told.is_none() {
            let rest = workspace.commit_rest("rest", &[], &builder()).unwrap().unwrap();
            let parents = repo.git(&["log", "-1", "--format=%P", &rest]);
            assert_eq!(parents, format!("{tip} {}", repo.git(&["rev-parse", "theirs"])));
            continue;
        }
        let again = repo.prepare(&one, 2);
        assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]), tip, "{how:?}");
        assert_eq!(git(&path, &["status", "--porcelain"]), "", "{how:?}");
        drop(again);
    }
}

#[test]
fn an_agent_sees_what_its_prompt_names_and_what_a_person_ignores() {
    let repo = Repo::new();
    let one = task("T1", "x");
    repo.git(&["update-ref", "refs/remotes/origin/main", "main"]);
    fs::create_dir_all(repo.root().join(".git/info")).unwrap();
    fs::write(repo.root().join(".git/info/exclude"), "*.mine\n").unwrap();
    let workspace = repo.prepare(&one, 1);
    write(workspace.path(), "half", "h\n");
    workspace.save().unwrap();
    fs::remove_file(workspace.path().join("half")).unwrap();
    let again = repo.prepare(&one, 2);
    let path = again.path();
    let told = again.saved_before().unwrap().join("\n");
    again.hand_out(&repo.layout(), &repo.config).unwrap();
    write(path, "x.mine", "x\n");
    assert_eq!(git(path, &["status", "--porcelain"]), "");
    assert_eq!(git(path, &["rev-parse", "origin/main"]), repo.git(&["rev-parse", "main"]));
    assert_eq!(git(path, &["remote"]), "");
    let name = told.split('`').nth(1).and_then(|command| command.split(' ').next_back()).unwrap();
    assert_eq!(git(path, &["show", &format!("{name}:half")]), "h");
}

#[test]
fn a_shallow_clone_is_handed_out_and_a_partial_one_is_refused_in_words() {
    let of = Repo::new();
    for n in 0..3 {
        of.git(&["commit", "-q", "--allow-empty", "-m", &n.to_string()]);
    }
    let from = format!("file://{}", of.root().display());
    for (how, works) in [("--depth=1", true), ("--filter=blob:none", false)] {
        let repo = Repo::empty();
        fs::remove_dir_all(repo.root()).unwrap();
        of.git(&["config", "uploadpack.allowFilter", "true"]);
        git(repo.dir.path(), &["clone", "-q", how, &from, "project"]);
        let workspace = repo.prepare(&task("T1", "x"), 1);
        let path = workspace.path().to_owned();
        let handed = workspace.hand_out(&repo.layout(), &repo.config);
        if !works {
            let error = handed.unwrap_err();
            assert_eq!(error.class(), oodatcaa_core::Class::Config);
            assert!(error.to_string().contains("partial clone") && error.to_string().contains("--refetch"), "{error}");
            continue;
        }
        assert_eq!(git(&path, &["log", "--format=%s"]), "2");
        silently(&path, &["commit", "-q", "--allow-empty", "-m", "mine"]);
        silently(&path, &["fsck", "--no-progress"]);
        let tip = git(&path, &["rev-parse", "HEAD"]);
        workspace.take_in(&repo.layout(), &repo.config).unwrap();
        assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]), tip);
        assert_eq!(repo.git(&["log", "--format=%s", "feat/T1-x"]), "mine\n2");
    }
}

#[test]
fn nothing_that_an_agent_makes_of_its_repository_holds_anybody_or_brings_in_what_is_not_its_own() {
    let secret = tempfile::tempdir().unwrap();
    git(secret.path(), &["init", "-q"]);
    write(secret.path(), "key", "s3cret\n");
    git(secret.path(), &["add", "-A"]);
    git(secret.path(), &["commit", "-q", "-m", "secret"]);
    let (objects, commit) = (secret.path().join(".git/objects"), git(secret.path(), &["rev-parse", "HEAD"]));
    let blob = git(secret.path(), &["rev-parse", "HEAD:key"]);
    let lent = format!("echo {} > objects/info/alternates; echo {commit} > refs/heads/feat/T1-x", objects.display());
    let linked = format!("rm -rf objects/pack; ln -s {}/pack objects/pack", objects.display());
    let loose =
        format!("mkdir -p objects/{0}; ln -s {1}/{0}/{2} objects/{0}/{2}", &blob[..2], objects.display(), &blob[2..]);
    let owned = secret.path().join("owned");
    let include = format!("mkfifo pipe; git config include.path {}/pipe", "$PWD");
    // What to do in its repository, and whether its work counts all the same.
    for (does, counts) in [
        (include.as_str(), true),
        ("mkfifo config.worktree; rm -f config; mkfifo config", true),
        ("mkfifo info/grafts; rm objects/info/alternates; mkfifo objects/info/alternates", true),
        ("rm -f index; mkfifo index", true),
        ("mkfifo MERGE_HEAD", true),
        ("git refs migrate --ref-format=reftable || true", true),
        ("git update-index --split-index; for f in sharedindex.*; do rm $f; mkfifo $f; done", true),
        ("mkfifo hooks commondir gitdir; rm -f shallow; mkfifo shallow", true),
        ("t=$(git write-tree); c=$(git commit-tree $t -m x); git replace HEAD $c; echo $c > info/grafts", true),
        (
            "i=$(git rev-parse HEAD); for n in $(seq 20000); do echo $i refs/heads/n$n; done | sort -k2 > packed-refs",
            true,
        ),
        ("rm HEAD; mkfifo HEAD", false),
        ("rm HEAD; ln -s /dev/zero HEAD", false),
        ("rm -f packed-refs; mkfifo packed-refs", false),
        ("mkfifo refs/heads/pipe", false),
        ("mv refs other; ln -s other refs", false),
        ("d=$PWD; cd ..; mv $d $d.x; ln -s $d.x $d", false),
        ("d=$PWD; cd /; rm -rf $d", false),
        ("chmod 000 .", rustix::process::geteuid().is_root()),
        (&lent, false),
        (&linked, false),
        (&loose, false),
        ("find objects -type f -name '??????????*' -exec rm -f {} +", false),
    ] {
        let repo = Repo::new();
        let one = task("T1", "x");
        let workspace = repo.prepare(&one, 1);
        let path = workspace.path().to_owned();
        let own = workspace.hand_out(&repo.layout(), &repo.config).unwrap().unwrap();
        write(&path, "new", "n\n");
        git(&path, &["add", "-A"]);
        silently(&path, &["commit", "-q", "-m", "one"]);
        let tip = git(&path, &["rev-parse", "HEAD"]);
        let done = Command::new("sh").args(["-c", does]).current_dir(&own).env("GIT_DIR", ".").output().unwrap();
        assert!(done.status.success(), "{does}: {}", String::from_utf8_lossy(&done.stderr));
        let begun = std::time::Instant::now();
        let taken = workspace.take_in(&repo.layout(), &repo.config).unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "{does}: {:?}", begun.elapsed());
        assert_eq!(taken.wrong.is_none(), counts, "{does}: {taken:?}");
        assert!(!owned.exists(), "{does}");
        assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]) == tip, counts, "{does}");
        let (found, _) = said(&repo.root(), &["cat-file", "-e", &blob]);
        assert!(!found, "{does}: what is not the project's does not come into it");
        assert_eq!(fs::read_to_string(path.join("new")).unwrap(), "n\n", "{does}: the files stay");
        assert!(git(&path, &["rev-parse", "--absolute-git-dir"]).contains("worktrees/T1"), "{does}");
        // And the next attempt works.
        let again = repo.prepare(&one, 2);
        again.hand_out(&repo.layout(), &repo.config).unwrap().unwrap();
        silently(&path, &["commit", "-q", "--allow-empty", "-m", "two"]);
        assert_eq!(again.take_in(&repo.layout(), &repo.config).unwrap().unwrap().wrong, None, "{does}");
        repo.git(&["fsck", "--no-progress", "--no-dangling"]);
    }
}

#[test]
fn a_worktree_is_removed_and_begun_again_with_what_a_dead_agent_had_committed() {
    let committed = |repo: &Repo| {
        let workspace = repo.prepare(&task("T1", "x"), 1);
        let path = workspace.path().to_owned();
        workspace.hand_out(&repo.layout(), &repo.config).unwrap();
        write(&path, "new", "n\n");
        git(&path, &["add", "-A"]);
        silently(&path, &["commit", "-q", "-m", "one"]);
        let tip = git(&path, &["rev-parse", "HEAD"]);
        (path, tip)
    };
    let repo = Repo::new();
    let (path, tip) = committed(&repo);
    let one = task("T1", "x");
    // Whoever looks sees the files, and takes nothing in.
    let seen = &prune::list(&repo.layout(), &repo.config).unwrap()[0];
    assert!(seen.dirty && !seen.merged && seen.whole, "{seen:?}");
    let patch = diff::range(&repo.layout(), &repo.config, &one.id, None, None).unwrap().patch().unwrap();
    assert!(String::from_utf8(patch).unwrap().contains("+n"));
    assert!(git(&path, &["rev-parse", "--absolute-git-dir"]).ends_with("/git/T1"));
    let kept = prune::remove(&repo.layout(), &repo.config, &one.id, PrunePolicy::SAFE);
    assert!(matches!(kept, Err(WorkspaceError::Kept { why: KeepReason::Unmerged { commits: 1, .. }, .. })), "{kept:?}");
    prune::remove(&repo.layout(), &repo.config, &one.id, PrunePolicy::CANCELLED).unwrap().unwrap();
    assert_eq!(repo.git(&["rev-parse", "feat/T1-x"]), tip);
    assert!(!path.exists());

    let repo = Repo::new();
    let (path, tip) = committed(&repo);
    let mut one = task("T1", "x");
    one.branch = Some("feat/T1-x".into());
    restart::restart(&repo.layout(), &repo.config, &one, Anew::Fresh).unwrap();
    assert_eq!(repo.git(&["for-each-ref", "--format=%(objectname)", "refs/oodatcaa/old"]), tip);
    assert!(!path.join("new").exists());
    repo.is_home(&path, "begun again");
}

#[test]
fn an_agent_commits_in_submodules_of_its_own_repository_and_adds_new_ones() {
    let (repo, lib) = Repo::with_submodule();
    let one = task("T1", "a better lib");
    let workspace = repo.prepare(&one, 1);
    let path = workspace.path().to_owned();
    let own = workspace.hand_out(&repo.layout(), &repo.config).unwrap().unwrap();
    let at = path.join("lib");
    assert!(git(&at, &["rev-parse", "--absolute-git-dir"]).ends_with("/git/T1/modules/lib"));
    assert_eq!(git(&path, &["status", "--porcelain"]), "");
    silently(&path, &["submodule", "status"]);
    write(&at, "lib.txt", "better\n");
    let better = commit_all(&at, "better");
    git(&at, &["branch", "aside"]);
    let from = lib.to_string_lossy().into_owned();
    git(&path, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &from, "deep/other"]);
    write(&path.join("deep/other"), "new.txt", "n\n");
    let new = commit_all(&path.join("deep/other"), "new");
    commit_all(&path, "use them");
    write(&at, "lib.txt", "best\n");
    let taken = workspace.take_in(&repo.layout(), &repo.config).unwrap().unwrap();
    assert_eq!(taken.wrong, None);
    assert!(!own.exists());
    assert!(git(&at, &["rev-parse", "--absolute-git-dir"]).ends_with("worktrees/T1/modules/lib"));
    assert_eq!((git(&at, &["rev-parse", "HEAD"]), git(&at, &["rev-parse", "aside"])), (better.clone(), better.clone()));
    assert_eq!(git(&path.join("deep/other"), &["rev-parse", "HEAD"]), new);
    assert_eq!(workspace.unfinished_submodules().unwrap(), ["lib"]);
    git(&at, &["checkout", "-q", "."]);
    assert_eq!(git(&path, &["status", "--porcelain"]), "");
    assert_eq!(workspace.refuses(false).unwrap(), None);
    // Handed out again it is all there, and what was not taken in before the worktree goes is kept.
    let again = repo.prepare(&one, 2);
    again.hand_out(&repo.layout(), &repo.config).unwrap();
    assert_eq!(git(&at, &["rev-parse", "HEAD"]), better);
    assert!(
        git(&path.join("deep/other"), &["rev-parse", "--absolute-git-dir"]).ends_with("/git/T1/modules/deep/other")
    );
    assert_eq!(git(&path, &["status", "--porcelain"]), "");
    write(&at, "lib.txt", "last\n");
    let last = commit_all(&at, "last");
    repo.takes_away(&one);
    for commit in [&better, &last] {
        assert!(!git(&repo.root().join("lib"), &["for-each-ref", "--contains", commit, "refs/oodatcaa"]).is_empty());
    }
    assert_eq!(repo.git(&["cat-file", "-t", &new]), "commit");
}

#[test]
fn a_submodules_repository_that_an_agent_spoiled_holds_nobody_and_leads_nowhere() {
    for does in [
        "rm HEAD; mkfifo HEAD",
        "rm -rf objects; mkfifo objects",
        "cd ..; rm -rf lib",
        "cd ..; rm -rf lib; ln -s / lib",
    ] {
        let (repo, _) = Repo::with_submodule();
        let one = task("T1", "x");
        let workspace = repo.prepare(&one, 1);
        let path = workspace.path().to_owned();
        let own = workspace.hand_out(&repo.layout(), &repo.config).unwrap().unwrap();
        write(&path, "new", "n\n");
        let done = Command::new("sh").args(["-c", does]).current_dir(own.join("modules/lib")).status().unwrap();
        assert!(done.success(), "{does}");
        let begun = std::time::Instant::now();
        workspace.take_in(&repo.layout(), &repo.config).unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "{does}: {:?}", begun.elapsed());
        assert!(
            git(&path.join("lib"), &["rev-parse", "--absolute-git-dir"]).ends_with("worktrees/T1/modules/lib"),
            "{does}"
        );
        assert_eq!(git(&path, &["status", "--porcelain"]), "?? new", "{does}");
    }
}
