//! What a person has set for their own git, and where a project lies in its repository, change no result.

use super::*;

/// Settings as people have them, each of which changes what some command of git does or says.
const SETTINGS: &[&str] = &[
    "merge.ff=false",
    "merge.log=true",
    "merge.conflictStyle=zdiff3",
    "merge.renames=false",
    "merge.directoryRenames=false",
    "merge.autoStash=true",
    "merge.branchdesc=true",
    "pull.rebase=true",
    "commit.cleanup=scissors",
    "commit.template=/nowhere/template",
    "commit.verbose=true",
    "core.commentChar=M",
    "core.abbrev=4",
    "core.quotePath=true",
    "core.safecrlf=true",
    "core.splitIndex=true",
    "core.logAllRefUpdates=false",
    "core.whitespace=trailing-space,tab-in-indent",
    "rebase.autosquash=true",
    "rebase.updateRefs=true",
    "rerere.enabled=true",
    "user.useConfigOnly=true",
    "i18n.commitEncoding=ISO-8859-1",
    "i18n.logOutputEncoding=ISO-8859-1",
    "push.default=nothing",
    "push.followTags=true",
    "fetch.prune=true",
    "fetch.pruneTags=true",
    "branch.autoSetupMerge=always",
    "branch.autoSetupRebase=always",
    "status.showUntrackedFiles=no",
    "status.short=true",
    "diff.algorithm=patience",
    "diff.context=0",
    "diff.interHunkContext=9",
    "diff.noprefix=true",
    "diff.mnemonicPrefix=true",
    "diff.relative=true",
    "diff.renames=copies",
    "diff.ignoreSubmodules=all",
    "diff.submodule=log",
    "diff.orderFile=/nowhere/order",
    "diff.suppressBlankEmpty=true",
    "log.follow=true",
    "log.date=relative",
    "log.decorate=full",
    "log.diffMerges=off",
    "log.showRoot=false",
    "format.pretty=oneline",
    "color.ui=always",
    "column.ui=always",
    "worktree.useRelativePaths=true",
    "worktree.guessRemote=true",
    "checkout.defaultRemote=origin",
];

fn merged_under(policy: Policy, settings: &[&str]) -> (String, String) {
    let mut scene = Scene::new();
    scene.line.policy = policy;
    scene.line.changelog = true;
    let remote = scene.dir.path().join("remote.git");
    scene.git(&["init", "-q", "--bare", "-b", "main", remote.to_str().unwrap()]);
    scene.git(&["remote", "add", "origin", remote.to_str().unwrap()]);
    scene.git(&["tag", "mine"]);
    scene.branch("feat/größe", &[("ä.txt", "Möwe \r\nx\n"), ("base.txt", &changed(5, "ours"))]);
    scene.commit(scene.repo(), "base.txt", &changed(25, "theirs"), "Möwe: fixup! base");
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap();
        scene.git(&["config", key, value]);
    }
    scene.line.push = Some("origin".into());
    let merged = integrate(&scene, "T", "feat/größe").unwrap();
    assert!(holds(scene.repo(), "main", "feat/größe").unwrap(), "{policy:?}");
    assert!(integrate(&scene, "T", "feat/größe").unwrap().already, "{policy:?}");
    let git = |args: &[&str]| super::git(&remote, args);
    assert_eq!(git(&["tag"]), "", "only the target is pushed");
    assert_eq!(scene.git(&["tag", "--list", "mine"]).trim(), "mine");
    let said = git(&["log", "--format=%T %an %cn %p|%s", "--abbrev=0", "main"]);
    // Commits of the same second come in any order, and their ids hold their times.
    let parents = |line: &str| {
        let (rest, subject) = line.split_once('|').unwrap();
        let words: Vec<&str> = rest.split(' ').collect();
        format!("{} {} parents {subject}", words[..3].join(" "), words.len() - 3)
    };
    let mut commits: Vec<String> = said.lines().map(parents).collect();
    commits.sort();
    (commits.join("\n"), merged.patch_id)
}

#[test]
fn what_a_person_has_set_for_their_own_git_changes_no_result() {
    for policy in [Policy::MergeCommit, Policy::Squash, Policy::Rebase] {
        let plain = merged_under(policy, &[]);
        assert_eq!(merged_under(policy, SETTINGS), plain, "{policy:?}");
        assert_eq!(merged_under(policy, &["merge.ff=only"]), plain, "{policy:?}");
    }
}

#[test]
fn the_gates_of_a_project_below_the_top_run_where_it_lies_in_the_result() {
    let mut scene = Scene::new();
    scene.commit(scene.repo(), "packages/api/a.txt", "api\n", "api");
    scene.line.repo = scene.dir.path().join("repo/packages/api");
    scene.branch("b", &[("packages/api/bad.txt", "b\n")]);
    struct Both(Vec<PathBuf>);
    impl Gates for Both {
        fn before(&mut self, tree: &Path, _: &[TaskId]) -> Result<(), GateFailure> {
            self.0.push(tree.into());
            if tree.join("bad.txt").exists() { Ok(()) } else { red("before") }
        }
        fn after(&mut self, tree: &Path, tasks: &[TaskId]) -> Result<(), GateFailure> {
            RedAfter.after(tree, tasks)
        }
    }
    let mut gates = Both(Vec::new());
    let done = merge_one(&scene.line, &order("T", "b"), &mut gates);
    assert!(matches!(done, Err(MergeError::RedAfter { .. })), "{done:?}");
    assert!(gates.0.iter().all(|at| at.ends_with("packages/api")), "{:?}", gates.0);
}

#[test]
fn the_changelog_of_a_project_below_the_top_is_the_one_in_its_own_directory() {
    for policy in [Policy::MergeCommit, Policy::Squash, Policy::Rebase] {
        let mut scene = Scene::new();
        scene.commit(scene.repo(), "packages/api/a.txt", "api\n", "api");
        scene.line.repo = scene.dir.path().join("repo/packages/api");
        (scene.line.changelog, scene.line.policy) = (true, policy);
        scene.branch("b", &[("packages/api/b.txt", "b\n")]);
        merge_one(&scene.line, &order("T", "b"), &mut green).expect("merged");
        let named = git(scene.repo(), &["ls-tree", "-r", "--full-tree", "--name-only", "main"]);
        assert!(named.contains("packages/api/CHANGELOG.md"), "{policy:?}: {named}");
        assert!(!named.lines().any(|name| name == "CHANGELOG.md"), "{policy:?}: {named}");
    }
}
