//! A merge that conflicts goes back to the author, then to the refiner, then to a human.

use super::*;

/// Everybody writes the same line; a builder that was told of a conflict resolves it when `resolves.log` is there,
/// and does something else otherwise.
const WRITES: &str = r#"case $OODATCAA_ROLE in builder)
  prompt=$(cat)
  case $prompt in
    *"git merge main"*) [ -e "$OODATCAA_PROJECT/resolves.log" ] && {
      git merge -q main >/dev/null 2>&1 && exit 1
      printf 'by A\nby B\n' > shared.txt; git add -A; git commit -qm 'both sides'; exit 0; }
      # Something else, and the conflict stays.
      echo more >> other.txt ;;
    *"git rebase main"*)
      git rebase -q main >/dev/null 2>&1 && exit 1
      printf 'by A\nby B\n' > shared.txt; git add -A; GIT_EDITOR=true git rebase --continue >/dev/null ;;
    *) echo "by $OODATCAA_TASK_ID" > shared.txt; git add -A; git commit -qm "by $OODATCAA_TASK_ID" ;;
  esac ;;
esac; exit 0"#;

/// `A` is merged, `B` is about to be.
fn two_that_meet(more: &str) -> (Project, Trees) {
    let project = repository(WRITES, more);
    let trees = with_trees(&project);
    git(project.root(), &["config", "user.name", "agent"]);
    git(project.root(), &["config", "user.email", "agent@invalid"]);
    let task = |id: &str| json!({"id": id, "title": id, "type": "Build", "status": "ready"});
    project.queue(json!([task("A"), task("B")]));
    for role in ["builder", "builder", "tester", "tester", "integrator"] {
        project.once(role);
    }
    assert_eq!((project.status("A"), project.status("B")), ("done".into(), "ready_for_integrator".into()));
    (project, trees)
}

fn branch_of_b(project: &Project) -> String {
    project.task("B")["branch"].as_str().expect("a branch").to_owned()
}

#[test]
fn the_author_is_told_what_the_target_holds_and_resolves_it() {
    let (project, _trees) = two_that_meet("");
    fs::write(project.path("resolves.log"), "").unwrap();
    let branch = branch_of_b(&project);
    let own = git(project.root(), &["rev-parse", &branch]);
    let main = git(project.root(), &["rev-parse", "main"]);
    project.once("integrator");
    assert_eq!(project.status("B"), "ready", "{}", project.text());
    assert_eq!(git(project.root(), &["rev-parse", "main"]), main, "untouched");
    assert_eq!(git(project.root(), &["rev-parse", &branch]), own, "nobody rewrites the author's branch");
    let why = project.command("agentctl").args(["why", "B"]).output().expect("agentctl");
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("came back from its merge") && why.contains("shared.txt"), "{why}");
    let finished = project.events_of("attempt.finished");
    let conflict = finished.iter().find(|event| event["data"]["outcome"] == "conflict").expect("in the journal");
    assert_eq!(conflict["data"]["files"], json!(["shared.txt"]));

    project.once("builder");
    assert_eq!(project.status("B"), "awaiting_test", "{}", project.text());
    let runs = fs::read_dir(project.path(".oodatcaa/runs/B")).unwrap().flatten().map(|entry| entry.path());
    let prompts = runs.filter_map(|run| fs::read_to_string(run.join("prompt.md")).ok());
    let told = prompts.filter(|prompt| prompt.contains("conflicts in shared.txt")).collect::<Vec<_>>();
    assert!(told.iter().any(|prompt| prompt.contains("by A")), "what the target holds now: {told:?}");
    project.once("tester");
    project.once("integrator");
    assert_eq!(project.status("B"), "done");
    assert_eq!(git(project.root(), &["show", "main:shared.txt"]), "by A\nby B");
    git(project.root(), &["merge-base", "--is-ancestor", &own, "main"]);
}

#[test]
fn who_never_resolves_it_hands_it_to_the_refiner_and_the_refiner_to_a_human() {
    let (project, _trees) = two_that_meet("");
    let own = git(project.root(), &["rev-parse", &branch_of_b(&project)]);
    for (next, roles) in [
        ("ready", &["builder", "tester"][..]),
        ("ready", &["builder", "tester"]),
        ("needs_adapt", &["refiner", "builder", "tester"]),
        ("needs_manual", &[]),
    ] {
        project.once("integrator");
        assert_eq!(project.status("B"), next, "{}", project.text());
        assert_eq!(project.task("B")["attempts"].as_u64().unwrap_or_default(), 0);
        for role in roles {
            project.once(role);
        }
    }
    git(project.root(), &["merge-base", "--is-ancestor", &own, &branch_of_b(&project)]);
    assert_eq!(git(project.root(), &["status", "--porcelain"]), "");
}

#[test]
fn where_branches_are_replayed_the_author_is_told_to_rebase() {
    let (project, _trees) = two_that_meet("[merge]\npolicy = \"rebase\"");
    project.once("integrator");
    assert_eq!(project.status("B"), "ready", "{}", project.text());
    for role in ["builder", "tester", "integrator"] {
        project.once(role);
    }
    assert_eq!(project.status("B"), "done", "{}", project.text());
    assert_eq!(git(project.root(), &["show", "main:shared.txt"]), "by A\nby B");
    assert_eq!(git(project.root(), &["log", "--merges", "--format=%s", "main"]), "");
}
