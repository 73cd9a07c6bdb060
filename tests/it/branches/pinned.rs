//! Which repository and which tree git works on, whatever an agent, a setting or a version of git makes of it.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use super::*;
use crate::bad_input::{ctl, once, run};

const BUILDS: &str = "[ \"$OODATCAA_ROLE\" = builder ] || exit 0\n";

/// A project whose builder does this in its worktree; A is ready.
fn scene(builder: &str) -> (Project, Trees) {
    let project = repository(&format!("{BUILDS}{builder}"), "");
    let trees = with_trees(&project);
    project.queue(json!([{"id": "A", "title": "change it", "type": "Build", "status": "ready"}]));
    (project, trees)
}

fn tree(project: &Project) -> PathBuf {
    let said = ctl(project, "worktree path A");
    said.ended(0);
    PathBuf::from(said.out.trim().trim_end_matches('/'))
}

fn walk(project: &Project) {
    for role in ["builder", "tester", "integrator"] {
        once(project, role);
    }
}

/// A program that takes git's place in `PATH`.
fn in_place_of_git(trees: &Trees, body: &str) -> std::ffi::OsString {
    let real = String::from_utf8(Command::new("sh").args(["-c", "command -v git"]).output().expect("sh").stdout);
    let dir = trees.0.join("bin");
    fs::create_dir_all(&dir).expect("made");
    let body = body.replace("@git", real.expect("a path").trim());
    fs::write(dir.join("git"), format!("#!/bin/sh\n{body}\n")).expect("written");
    fs::set_permissions(dir.join("git"), fs::Permissions::from_mode(0o755)).expect("executable");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(dir).chain(std::env::split_paths(&path))).expect("a PATH")
}

#[test]
fn a_repository_that_git_cannot_use_stops_the_role_and_nobody_works_in_the_persons_directory() {
    type Break = fn(&Project);
    let broken: [(&str, Break); 5] = [
        ("work tree", |project| drop(git(project.root(), &["config", "core.bare", "true"]))),
        ("bad config line 3", |project| {
            fs::write(project.path(".gitconfig"), "[user]\n\tname = x\n<<<<<<< HEAD\n").expect("written");
        }),
        ("bad config line 1", |project| fs::write(project.path(".git/config"), "[core\n").expect("written")),
        ("not a git repository", |project| fs::remove_dir_all(project.path(".git/objects")).expect("removed")),
        ("no commit yet", |project| {
            fs::remove_dir_all(project.path(".git")).expect("removed");
            git(project.root(), &["init", "-q", "-b", "main"]);
        }),
    ];
    for (words, damage) in broken {
        let (project, _trees) = scene("pwd > \"$OODATCAA_PROJECT/ran.log\"; echo x > made.txt");
        git(project.root(), &["config", "color.ui", "always"]);
        damage(&project);
        let said = once(&project, "builder");
        assert!(!project.path("ran.log").exists() && !project.path("made.txt").exists(), "{words}: {said:#?}");
        assert!(said.err.contains(words), "{words}: {said:#?}");
        let finished = &project.events_of("attempt.finished")[0]["data"];
        assert_eq!(finished["class"], "config", "{words}: {finished}");
        assert!(!finished.to_string().contains("[31m") && !finished.to_string().contains("\\u001b"), "{finished}");
        let doctor = ctl(&project, "doctor");
        assert!(doctor.code != Some(0) && doctor.out.contains(words), "{words}: {doctor:#?}");
    }
}

#[test]
fn what_is_merged_lies_in_the_repository_wherever_an_agent_put_its_objects() {
    let (project, _trees) = scene(
        "git=\"$OODATCAA_PROJECT/.git\"; mkdir \"$git/lent\"; echo new > made.txt; git add -N made.txt\n\
         export GIT_OBJECT_DIRECTORY=\"$git/lent\" GIT_ALTERNATE_OBJECT_DIRECTORIES=\"$git/objects\"\n\
         git add made.txt; git -c user.name=a -c user.email=a@b commit -qm made\n\
         echo \"$git/lent\" > \"$git/objects/info/alternates\"",
    );
    walk(&project);
    assert_eq!(project.status("A"), "done", "{}", project.diagnosis());
    fs::remove_file(project.path(".git/objects/info/alternates")).expect("removed");
    fs::remove_dir_all(project.path(".git/lent")).expect("removed");
    assert_eq!(git(project.root(), &["show", "main:made.txt"]), "new");
    git(project.root(), &["rev-list", "--objects", "main"]);
}

#[test]
fn an_object_that_is_not_what_its_name_says_is_not_merged() {
    let (project, _trees) = scene("echo good > made.txt");
    once(&project, "builder");
    once(&project, "tester");
    let other = tempfile::tempdir().expect("a directory");
    git(other.path(), &["init", "-q"]);
    fs::write(other.path().join("bad"), "evil\n").expect("written");
    let file = |dir: &Path, id: &str| dir.join(".git/objects").join(&id[..2]).join(&id[2..]);
    let bad = file(other.path(), &git(other.path(), &["hash-object", "-w", "bad"]));
    let branch = project.task("A")["branch"].as_str().expect("a branch").to_owned();
    let good = file(project.root(), &git(project.root(), &["rev-parse", &format!("{branch}:made.txt")]));
    fs::remove_file(&good).and_then(|()| fs::copy(bad, good)).expect("replaced");
    let before = git(project.root(), &["rev-parse", "main"]);
    let said = once(&project, "integrator");
    assert_ne!(project.status("A"), "done", "{said:#?}");
    assert_eq!(git(project.root(), &["rev-parse", "main"]), before, "{said:#?}");
    assert!(!project.path("made.txt").exists(), "{said:#?}");
}

#[test]
fn a_log_of_gits_that_leads_to_somebodys_file_adds_nothing_to_it() {
    for (log, how) in [
        ("$git/logs/refs/heads/main", "ln -sf"),
        ("$git/logs/refs/heads/main", "ln -f"),
        ("$git/logs/refs/heads/$(git branch --show-current)", "ln -sf"),
        ("$git/worktrees/A/logs/HEAD", "ln -sf"),
        ("$git/logs/HEAD", "ln -sf"),
    ] {
        let (project, _trees) = scene(&format!(
            "git=\"$OODATCAA_PROJECT/.git\"; echo new > made.txt; mkdir -p \"$git/logs/refs/heads\"\n\
             {how} \"$OODATCAA_PROJECT/.profile\" \"{log}\""
        ));
        fs::write(project.path(".profile"), "mine\n").expect("written");
        walk(&project);
        assert_eq!(fs::read_to_string(project.path(".profile")).expect("there"), "mine\n", "{how} {log}");
        assert!(project.path(".profile").exists() && project.status("A") != "done", "{how} {log}");
        let told =
            project.events_of("attempt.finished").iter().any(|event| event.to_string().contains("git would add"));
        assert!(told, "{how} {log}: {:#?}", project.events_of("attempt.finished"));
    }
}

#[test]
fn a_setting_that_sends_git_elsewhere_wipes_nothing_and_is_told() {
    type Setting = fn(&Project);
    let settings: [Setting; 3] = [
        // A submodule's checkout has the first, some tools turn on the second.
        |project| {
            git(project.root(), &["config", "core.worktree", &project.root().to_string_lossy()]);
            git(project.root(), &["config", "extensions.worktreeConfig", "true"]);
        },
        |project| {
            let text = format!("[core]\n\tworktree = {}\n", project.root().display());
            fs::write(project.path(".git/more"), text).expect("written");
            git(project.root(), &["config", "include.path", "more"]);
            git(project.root(), &["config", "extensions.worktreeConfig", "true"]);
        },
        |project| {
            git(project.root(), &["config", "extensions.worktreeConfig", "true"]);
            git(project.root(), &["config", "--worktree", "core.worktree", &project.root().to_string_lossy()]);
        },
    ];
    for (n, set) in settings.iter().enumerate() {
        let (project, trees) = scene("echo x > made.txt");
        set(&project);
        fs::write(project.path("README.md"), "my own words\n").expect("written");
        fs::write(project.path("mine.txt"), "mine\n").expect("written");
        walk(&project);
        walk(&project);
        assert_eq!(fs::read_to_string(project.path("README.md")).expect("mine"), "my own words\n", "{n}");
        assert!(project.path("mine.txt").exists(), "{n}");
        git(project.root(), &["rev-parse", "--verify", "main"]);
        let all = git(project.root(), &["log", "--all", "--name-only", "--format="]);
        assert!(!all.contains("mine.txt"), "{n}: {all}");
        if project.status("A") != "done" {
            let finished = project.events_of("attempt.finished")[0]["data"].to_string();
            assert!(finished.contains("config") && finished.contains("core.worktree"), "{n}: {finished}");
        }
        drop(trees);
    }
}

#[test]
fn a_worktree_whose_git_file_the_agent_replaced_is_saved_and_its_work_is_not_taken() {
    let own = "rm -rf .git; git init -q .; git config user.name x; git config user.email x@y; echo mine > made.txt; \
               git add made.txt; git commit -q -m x; git config filter.x.clean 'env > \"$HOME/owned.log\"; cat'; \
               git config core.fsmonitor 'env > \"$HOME/owned.log\"'; echo '* filter=x' > .gitattributes";
    for replace in [
        own,
        "mv .git \"$OODATCAA_RUN_DIR/link\"; ln -s \"$OODATCAA_RUN_DIR/link\" .git; echo mine > made.txt",
        "d=\"$OODATCAA_PROJECT/.git/worktrees/A\"; echo /tmp/elsewhere/.git > \"$d/gitdir\"; echo mine > made.txt",
        "d=\"$OODATCAA_PROJECT/.git/worktrees/A\"; mkdir -p \"$HOME/.trees/x\"; git init -q --bare \"$HOME/.trees/x\"; \
         echo \"$HOME/.trees/x\" > \"$d/commondir\"; echo mine > made.txt",
    ] {
        let (project, trees) = scene(replace);
        let said = once(&project, "builder");
        assert_eq!(project.status("A"), "ready", "{replace}: {said:#?}");
        let finished = &project.events_of("attempt.finished")[0]["data"];
        assert_eq!(finished["class"], "no_evidence", "{replace}: {finished}");
        assert!(finished.to_string().contains("does not count as work"), "{replace}: {finished}");
        let told = ctl(&project, "show A");
        assert!(told.out.contains("does not count as work"), "{replace}: {told:#?}");
        assert!(!project.path("owned.log").exists(), "{replace}");
        let saved = git(project.root(), &["for-each-ref", "--format=%(refname)", "refs/oodatcaa/wip/"]);
        let held = saved.lines().map(|name| git(project.root(), &["show", &format!("{name}:made.txt")]));
        let mut trees = fs::read_dir(&trees.0).expect("there").flatten();
        let stays =
            trees.any(|home| fs::read_to_string(home.path().join("wt/A/made.txt")).is_ok_and(|text| text == "mine\n"));
        assert!(held.into_iter().any(|text| text == "mine") || stays, "{replace}: {saved:?}");
        // The next attempt has a worktree that is one.
        project.script("agent.sh", &format!("{BUILDS}echo theirs > made.txt"));
        crate::support::eventually("its time to be tried again has come", || {
            once(&project, "builder");
            (project.status("A") != "ready").then_some(())
        });
        walk(&project);
        assert_eq!(project.status("A"), "done", "{replace}: {}", project.diagnosis());
        assert_eq!(git(project.root(), &["show", "main:made.txt"]), "theirs", "{replace}");
        assert!(!project.path("owned.log").exists(), "{replace}");
    }
}

#[test]
fn what_an_attempt_writes_into_the_configuration_runs_in_no_call_of_ours() {
    let set = "touch_it='env > \"'\"$HOME\"'/owned.log\"; cat'\n\
        echo mine > made.txt; echo '* filter=x merge=x diff=x' > .gitattributes; git add -A; git commit -q -m x\n\
        for key in filter.x.clean filter.x.smudge filter.x.process merge.x.driver diff.x.textconv diff.x.command \
        diff.external core.fsmonitor core.sshCommand core.alternateRefsCommand uploadpack.packObjectsHook \
        remote.origin.uploadpack remote.origin.receivepack gpg.program credential.helper alias.merge core.editor; do\n\
        git config --add $key \"$touch_it\"; git config --add $key \"$touch_it\"; done\n\
        git config core.hooksPath \"$PWD/hooks\"; git config commit.gpgSign true\n\
        echo \"[filter \\\"y\\\"] clean = $touch_it\" > more.inc; git config include.path \"$PWD/more.inc\"\n\
        mkdir -p hooks; for hook in pre-commit post-checkout reference-transaction pre-push post-merge; do\n\
        printf '#!/bin/sh\\nenv > \"%s/owned.log\"\\n' \"$HOME\" > hooks/$hook; chmod +x hooks/$hook; done\n\
        echo more > more.txt";
    let project = repository(&format!("{BUILDS}{set}"), "[merge]\npush = \"origin\"");
    let trees = with_trees(&project);
    project.config(&format!(
        "[workspace]\nmode = \"worktree\"\nroot = \"{}\"\n[merge]\npush = \"origin\"\n",
        trees.0.display()
    ));
    let remote = trees.0.join("origin.git");
    git(project.root(), &["clone", "-q", "--bare", ".", &remote.to_string_lossy()]);
    git(project.root(), &["remote", "add", "origin", &remote.to_string_lossy()]);
    project.queue(json!([{"id": "A", "title": "change it", "type": "Build", "status": "ready"}]));
    walk(&project);
    let owned = fs::read_to_string(project.path("owned.log"));
    assert!(owned.is_err(), "{owned:?}");
    assert_eq!(project.status("A"), "done", "{}", project.diagnosis());
    assert_eq!(git(&remote, &["show", "main:made.txt"]), "mine");
}

#[test]
fn a_remote_that_moved_gets_nothing_before_a_person_says_so() {
    for redirect in [
        "git remote set-url origin \"$HOME/.trees/evil.git\"",
        "git config remote.origin.pushurl \"$HOME/.trees/evil.git\"",
        "git config --add remote.origin.pushurl \"$HOME/.trees/evil.git\"",
        "git config url.\"$HOME/.trees/evil.git\".pushInsteadOf \"$(git remote get-url origin)\"",
        "echo '[url \"'\"$HOME\"'/.trees/evil.git\"] insteadOf = '\"$(git remote get-url origin)\" > \"$HOME/.git/i\"; \
         git config include.path i",
    ] {
        let script = "if [ \"$OODATCAA_TASK_ID\" = B ]; then (cd \"$OODATCAA_PROJECT\"; @); fi; echo x > \"$OODATCAA_TASK_ID.txt\"";
        let project = repository(&format!("{BUILDS}{}", script.replace('@', redirect)), "");
        let trees = with_trees(&project);
        project.config(&format!(
            "[workspace]\nmode = \"worktree\"\nroot = \"{}\"\n[merge]\npush = \"origin\"\n",
            trees.0.display()
        ));
        let (remote, evil) = (trees.0.join("origin.git"), project.path(".trees/evil.git"));
        for to in [&remote, &evil] {
            git(project.root(), &["clone", "-q", "--bare", ".", &to.to_string_lossy()]);
        }
        let hook = evil.join("hooks/pre-receive");
        fs::write(&hook, format!("#!/bin/sh\nenv > '{}'\n", project.path("owned.log").display())).expect("written");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("executable");
        git(project.root(), &["remote", "add", "origin", &remote.to_string_lossy()]);
        let task = |id: &str| json!({"id": id, "title": "change it", "type": "Build", "status": "ready"});
        project.queue(json!([task("A")]));
        walk(&project);
        assert_eq!(project.status("A"), "done", "{redirect}: {}", project.diagnosis());
        project.replace_queue(json!([project.task("A"), task("B")]));
        walk(&project);
        assert_eq!(project.status("B"), "ready_for_integrator", "{redirect}: {}", project.diagnosis());
        assert!(!project.path("owned.log").exists(), "{redirect}");
        let last = project.events_of("attempt.finished").pop().expect("an attempt")["data"].clone();
        assert_eq!(last["class"], "config", "{redirect}: {last}");
        let words = last.to_string();
        assert!(words.contains("evil.git") && words.contains("agentctl config trust"), "{redirect}: {words}");
        if !redirect.contains("set-url") {
            continue;
        }
        // A person who means it says so.
        fs::remove_file(&hook).expect("removed");
        let mut trust = project.command("agentctl");
        trust.args(["config", "trust", "--yes"]);
        run(trust).ended(0);
        ctl(&project, "fleet start integrator").ended(0);
        project.wait_for("B", "done");
        ctl(&project, "fleet stop integrator").ended(0);
    }
}

#[test]
fn what_a_git_of_ours_left_half_made_is_mended_and_that_of_others_is_told() {
    let (project, trees) = scene("echo x > made.txt");
    let half = |name: &str, at: &Path| {
        let admin = project.path(".git/worktrees").join(name);
        fs::create_dir_all(&admin).expect("made");
        fs::write(admin.join("gitdir"), format!("{}/.git\n", at.display())).expect("written");
        fs::write(admin.join("locked"), "added with --lock\n").expect("written");
        fs::write(admin.join("HEAD"), "0000000000000000000000000000000000000000\n").expect("written");
        fs::write(admin.join("commondir"), "").expect("written");
        admin
    };
    let elsewhere = half("elsewhere", &project.path(".trees/elsewhere"));
    let told = ctl(&project, "doctor");
    assert!(told.code != Some(0) && told.out.contains("worktrees/elsewhere"), "{told:#?}");
    fs::remove_dir_all(&elsewhere).expect("removed");
    once(&project, "planner");
    let home =
        fs::read_dir(&trees.0).ok().and_then(|mut entries| entries.next()).map(|entry| entry.expect("there").path());
    let home = home.unwrap_or_else(|| {
        let home = trees.0.join("project-00000000");
        fs::create_dir_all(home.join("tasks")).expect("made");
        home
    });
    let dead = half("B", &home.join("wt/B"));
    walk(&project);
    assert_eq!(project.status("A"), "done", "{}", project.diagnosis());
    assert!(!dead.exists());
}

#[test]
fn an_older_git_does_and_one_that_is_too_old_is_told() {
    // What Debian 11 and Ubuntu 22.04 have: no such options, and no settings from the environment.
    let older = "unset GIT_CONFIG_COUNT\nfor word; do case $word in --version) echo git version 2.30.2; exit 0;; \
        --path-format*|--reason|--write-tree|--orphan|--no-relative-paths|--sparse) echo \"error: unknown option $word\" >&2; exit 129;; esac; done\n\
        case \" $* \" in *' worktree list '*' -z '*) echo 'error: unknown switch z' >&2; exit 129;; esac\nexec @git \"$@\"";
    let (project, trees) = scene("echo x > made.txt");
    let path = in_place_of_git(&trees, older);
    for role in ["builder", "tester", "integrator"] {
        let mut command = project.command("agent-daemon");
        command.args(["--role", role, "--once"]).env("PATH", &path);
        run(command);
    }
    assert_eq!(project.status("A"), "done", "{}", project.diagnosis());
    assert_eq!(git(project.root(), &["show", "main:made.txt"]), "x");
    assert_eq!(git(project.root(), &["worktree", "list"]).lines().count(), 1);

    let (project, trees) = scene("echo x > made.txt");
    let path =
        in_place_of_git(&trees, "[ \"$1\" = --version ] && { echo git version 2.25.1; exit 0; }\nexec @git \"$@\"");
    let said = |program: &str, args: &[&str]| {
        let mut command = project.command(program);
        command.args(args).env("PATH", &path);
        run(command)
    };
    let worker = said("agent-daemon", &["--role", "builder", "--once"]);
    let doctor = said("agentctl", &["doctor"]);
    for words in ["2.25.1 is too old", "at least 2.30.0"] {
        assert!(worker.err.contains(words) && doctor.out.contains(words), "{worker:#?} {doctor:#?}");
    }
    assert_eq!(project.status("A"), "ready");
}

#[test]
fn variables_of_the_persons_shell_and_programs_of_the_project_are_not_used() {
    let (project, trees) = scene("echo x > made.txt");
    let other = trees.0.join("other");
    fs::create_dir_all(&other).expect("made");
    git(&other, &["init", "-q", "-b", "main"]);
    project.script("git", "touch owned.log; exit 1");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = [PathBuf::new(), ".".into(), project.root().to_owned()];
    let path = std::env::join_paths(dirs.into_iter().chain(std::env::split_paths(&path))).expect("a PATH");
    for role in ["builder", "tester", "integrator"] {
        let mut command = project.command("agent-daemon");
        command.args(["--role", role, "--once"]).env("PATH", &path);
        for (name, value) in [
            ("GIT_DIR", other.join(".git").to_string_lossy().into_owned()),
            ("GIT_WORK_TREE", other.to_string_lossy().into_owned()),
            ("GIT_INDEX_FILE", other.join("index").to_string_lossy().into_owned()),
            ("GIT_EXTERNAL_DIFF", "touch owned.log".into()),
            ("GIT_SSH_COMMAND", "touch owned.log".into()),
            ("GIT_CONFIG_PARAMETERS", "'core.hooksPath=/tmp'".into()),
            ("GIT_EXEC_PATH", "/nowhere".into()),
        ] {
            command.env(name, value);
        }
        run(command);
    }
    assert_eq!(project.status("A"), "done", "{}", project.diagnosis());
    assert!(!project.path("owned.log").exists());
    assert_eq!(git(&other, &["for-each-ref"]), "");
}

#[test]
fn a_project_in_a_linked_checkout_of_a_bare_repository_is_worked_on_like_any_other() {
    let (project, trees) = scene("echo x > made.txt");
    let bare = trees.0.join("bare.git");
    git(project.root(), &["clone", "-q", "--bare", ".", &bare.to_string_lossy()]);
    fs::remove_dir_all(project.path(".git")).expect("removed");
    let beside = trees.0.join("beside");
    git(&bare, &["worktree", "add", "-q", &beside.to_string_lossy(), "main"]);
    // The checkout with the project's own files in it.
    fs::rename(beside.join(".git"), project.path(".git")).expect("moved");
    git(project.root(), &["worktree", "repair"]);
    walk(&project);
    assert_eq!(project.status("A"), "done", "{}", project.diagnosis());
    assert_eq!(git(&bare, &["show", "main:made.txt"]), "x");
    assert_eq!(fs::read_to_string(project.path("made.txt")).expect("merged"), "x\n");
}

#[test]
fn a_worktree_that_became_a_link_to_somewhere_else_is_not_removed_there() {
    let (project, trees) = scene("echo x > made.txt");
    once(&project, "builder");
    let at = tree(&project);
    let precious = trees.0.join("precious");
    fs::create_dir_all(&precious).expect("made");
    fs::write(precious.join("file"), "precious").expect("written");
    fs::rename(&at, at.with_extension("gone")).expect("moved");
    std::os::unix::fs::symlink(&precious, &at).expect("a link");
    ctl(&project, "worktree rm A --force");
    ctl(&project, "gc --yes");
    walk(&project);
    assert_eq!(fs::read_to_string(precious.join("file")).expect("there"), "precious");
}

#[test]
fn a_commit_is_merged_as_it_was_made_whatever_the_repository_is_told_to_show_in_its_place() {
    let (project, _trees) = scene("echo mine > made.txt");
    for role in ["builder", "tester"] {
        once(&project, role);
    }
    assert_eq!(project.status("A"), "ready_for_integrator", "{}", project.diagnosis());
    let root = project.root();
    let tip = git(root, &["rev-parse", "feat/A-change-it"]);
    // Another commit stands in for the one that was tested.
    let blob = git(root, &["hash-object", "-w", "README.md"]);
    git(root, &["update-index", "--add", "--cacheinfo", &format!("100644,{blob},other.txt")]);
    let tree = git(root, &["write-tree"]);
    git(root, &["rm", "-q", "--cached", "other.txt"]);
    let other = git(root, &["commit-tree", "-p", "main", "-m", "other", &tree]);
    git(root, &["replace", &tip, &other]);
    once(&project, "integrator");
    assert_eq!(project.status("A"), "done", "{}", project.diagnosis());
    let real = |args: &[&str]| git(root, &[&["--no-replace-objects"], args].concat());
    assert_eq!(real(&["show", "main:made.txt"]), "mine");
    assert_eq!(real(&["ls-tree", "--name-only", "main", "other.txt"]), "", "nobody has tested that");
    assert_eq!(fs::read_to_string(project.path("made.txt")).expect("in the checkout"), "mine\n");
}
