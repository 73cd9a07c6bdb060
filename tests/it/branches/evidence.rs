//! What counts as work: content that this attempt made, seen by our own eyes.

use std::fs;

use serde_json::json;

use super::{repository, with_trees};
use crate::support::{Project, git};

/// One task for the builder.
fn one(project: &Project) {
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
}

/// Class and reason of the last attempt.
fn last_end(project: &Project) -> (String, String) {
    let ends = project.events_of("attempt.finished");
    let data = &ends.last().expect("an attempt has ended")["data"];
    let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
    (text("class"), text("reason"))
}

#[test]
fn a_builder_that_says_done_and_changed_nothing_has_no_evidence() {
    let project = repository("exit 0", "");
    let _trees = with_trees(&project);
    project.queue(json!([{"id": "A", "title": "", "type": "Build", "status": "ready"}]));
    project.once("builder");
    assert_eq!(project.status("A"), "ready");
    assert_eq!(project.events_of("attempt.finished")[0]["data"]["class"], "no_evidence");
}

#[test]
fn a_commit_without_content_is_no_evidence() {
    let project = repository("git -c user.name=a -c user.email=a@invalid commit -q --allow-empty -m done; exit 0", "");
    let _trees = with_trees(&project);
    one(&project);
    project.once("builder");
    assert_eq!(project.status("A"), "ready");
    assert_eq!(last_end(&project).0, "no_evidence");
}

#[test]
fn work_that_was_taken_back_again_is_no_evidence() {
    let script = "git() { command git -c user.name=a -c user.email=a@invalid \"$@\"; }\n\
                  case \"$OODATCAA_ATTEMPT\" in\n\
                  1) echo x > x.txt; git add -A; git commit -q -m x; exit 1;;\n\
                  *) git revert --no-edit HEAD > /dev/null;; esac";
    let project = repository(script, "");
    let _trees = with_trees(&project);
    one(&project);
    project.once("builder");
    crate::support::eventually("it is tried again", || {
        project.once("builder");
        (project.events_of("attempt.finished").len() == 2).then_some(())
    });
    let (class, reason) = last_end(&project);
    assert_eq!(class, "no_evidence");
    assert!(reason.contains("holds nothing that the target does not"), "{reason}");
}

#[test]
fn a_builder_that_changes_nothing_after_a_no_has_no_evidence_in_its_earlier_work() {
    let script = "case \"$OODATCAA_ROLE\" in\n\
                  builder) [ -e made.txt ] || echo made > made.txt;;\n\
                  tester) echo '{\"outcome\": \"needs_adapt\", \"summary\": \"it is wrong\"}' > \"$OODATCAA_RESULT_FILE\";;\n\
                  refiner) echo '{\"outcome\": \"done\", \"summary\": \"make it right\"}' > \"$OODATCAA_RESULT_FILE\";;\n\
                  esac";
    let project = repository(script, "");
    let _trees = with_trees(&project);
    one(&project);
    for role in ["builder", "tester", "refiner", "builder"] {
        project.once(role);
    }
    assert_eq!(project.status("A"), "ready");
    assert_eq!(last_end(&project).0, "no_evidence");
}

#[test]
fn what_an_interrupted_attempt_made_counts_for_the_one_that_goes_on() {
    let script = "[ -e made.txt ] && exit 0; echo made > made.txt; touch \"$OODATCAA_PROJECT/started.log\"; sleep 1000";
    let mut project = repository(script, "");
    let _trees = with_trees(&project);
    one(&project);
    let n = project.start("builder", &[]);
    crate::support::eventually("the agent runs", || project.path("started.log").exists().then_some(()));
    project.signal(n, rustix::process::Signal::TERM);
    assert_eq!(project.ended(n), Some(0));
    project.once("builder");
    assert_eq!(project.status("A"), "awaiting_test", "{:?}", last_end(&project));
}

#[test]
fn nothing_to_change_is_done_without_a_merge() {
    let script = "[ \"$OODATCAA_ROLE\" = builder ] && {\n\
                  git -c user.name=a -c user.email=a@invalid commit -q --allow-empty -m checked\n\
                  echo '{\"outcome\": \"no_change\", \"summary\": \"it is all there\"}' > \"$OODATCAA_RESULT_FILE\"; }; exit 0";
    let project = repository(script, "");
    let _trees = with_trees(&project);
    let before = git(project.root(), &["rev-parse", "main"]);
    one(&project);
    for role in ["builder", "tester"] {
        project.once(role);
    }
    // Others go on meanwhile.
    fs::write(project.path("other.txt"), "other\n").expect("written");
    git(project.root(), &["add", "-A"]);
    git(project.root(), &["commit", "-q", "-m", "other"]);
    project.once("integrator");
    assert_eq!(project.status("A"), "done");
    assert!(project.task("A")["merged_commit"].is_null(), "{}", project.task("A"));
    let end = &project.events_of("attempt.finished")[2]["data"];
    assert_eq!(end["outcome"], "no_change", "{end}");
    assert_eq!(git(project.root(), &["rev-parse", "main~1"]), before);
}

#[test]
fn saying_no_change_after_a_change_is_refused() {
    let script =
        "echo x > x.txt; echo '{\"outcome\": \"no_change\", \"summary\": \"fine\"}' > \"$OODATCAA_RESULT_FILE\"";
    let project = repository(script, "");
    let _trees = with_trees(&project);
    one(&project);
    project.once("builder");
    let (class, reason) = last_end(&project);
    assert_eq!((class.as_str(), project.status("A").as_str()), ("no_evidence", "ready"));
    assert!(reason.contains("x.txt"), "{reason}");
}

#[test]
fn ignored_and_copied_files_are_no_evidence() {
    let script = "mkdir -p build; echo x > build/out; echo y > .env; exit 0";
    let project = repository(script, "copy = [\".env\"]");
    let _trees = with_trees(&project);
    fs::write(project.path(".env"), "a\n").expect("written");
    fs::write(
        project.path(".gitignore"),
        "/build/\n/.oodatcaa/\n/.leases/\n/.locks/\n/.agent-daemon-*\n/.local/\n*.log\n/agent.sh\n",
    )
    .expect("written");
    git(project.root(), &["commit", "-q", "-am", "ignore"]);
    one(&project);
    project.once("builder");
    assert_eq!(last_end(&project).0, "no_evidence");
}

#[test]
fn a_repository_is_worked_in_by_worktrees_unless_it_says_shared() {
    let project = repository("echo made > made.txt; exit 0", "");
    let _trees = with_trees(&project);
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("read");
    fs::write(project.path(".oodatcaa/config.toml"), config.replace("mode = \"worktree\"", "")).expect("written");
    one(&project);
    project.once("builder");
    assert_eq!(project.status("A"), "awaiting_test", "{:?}", last_end(&project));
    assert!(!project.path("made.txt").exists(), "it was made on a branch");
    for role in ["tester", "integrator"] {
        project.once(role);
    }
    assert_eq!(
        (project.status("A").as_str(), git(project.root(), &["show", "main:made.txt"]).as_str()),
        ("done", "made")
    );
}

#[test]
fn in_a_shared_directory_words_alone_are_no_evidence() {
    for with_git in [true, false] {
        let project = repository("exit 0", "");
        let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("read");
        fs::write(project.path(".oodatcaa/config.toml"), config.replace("\"worktree\"", "\"shared\""))
            .expect("written");
        // What the harness has the agent leave behind is no part of this.
        fs::write(project.path("agent.sh"), "#!/bin/sh\nexit 0\n").expect("written");
        if !with_git {
            fs::remove_dir_all(project.path(".git")).expect("removed");
        }
        one(&project);
        project.once("builder");
        assert_eq!((project.status("A").as_str(), last_end(&project).0.as_str()), ("ready", "no_evidence"));
        project.script("agent.sh", "echo made > made.txt");
        crate::support::eventually("work counts", || {
            project.once("builder");
            (project.status("A") == "awaiting_test").then_some(())
        });
    }
}

#[test]
fn what_a_planner_proposes_goes_the_whole_way_whatever_it_says_of_itself() {
    let script = r#"[ "$OODATCAA_ROLE" = planner ] && cat > "$OODATCAA_RESULT_FILE" <<'END'
{"outcome": "done", "summary": "one part", "tasks": [{"id": "A-B01", "title": "part", "type": "Build",
 "status": "ready_for_integrator", "branch": "feat/zz", "role": "integrator", "budget": {"usd": 1000},
 "gates": [], "priority": -5, "estimated_time": "75 min"}]}
END
exit 0"#;
    let project = repository(script, "");
    let _trees = with_trees(&project);
    git(project.root(), &["checkout", "-q", "-b", "feat/zz"]);
    fs::write(project.path("zz.txt"), "zz\n").expect("written");
    git(project.root(), &["add", "zz.txt"]);
    git(project.root(), &["commit", "-q", "-m", "zz"]);
    git(project.root(), &["checkout", "-q", "main"]);
    project.queue(json!([{"id": "A", "title": "", "type": "Story", "status": "needs_plan", "priority": 7}]));
    for role in ["planner", "integrator"] {
        project.once(role);
    }
    let part = project.task("A-B01");
    assert_eq!((part["status"].as_str(), part["priority"].as_i64()), (Some("ready"), Some(7)), "{part}");
    for taken in ["branch", "role", "budget", "gates"] {
        assert!(part[taken].is_null(), "{taken}: {part}");
    }
    assert_eq!(part["estimated_time"], "75 min");
    let created = &project.events_of("task.created")[0]["data"];
    assert_eq!(created["left_out"], json!(["status", "branch", "role", "budget", "gates"]), "{created}");
    assert!(!project.path("zz.txt").exists());
}

#[test]
fn what_an_agent_does_beside_its_work_is_told() {
    let script = r#"case "$OODATCAA_ROLE" in builder)
  echo made > made.txt; rm tests/one.txt
  cd "$OODATCAA_PROJECT"; git -c user.name=a -c user.email=a@invalid commit -q --allow-empty -m "straight to main"
  sed -i 's/"it works"//' .oodatcaa/work/SPRINT_QUEUE.json
  cat > "$OODATCAA_RESULT_FILE" <<'END'
{"outcome": "done", "summary": "made it", "decisions": [{"text": "by hand, not by a library"}],
 "messages": [{"to": "tester", "text": "start with the second file"}]}
END
  ;; esac; exit 0"#;
    let project = repository(script, "[roles.tester]\ncriteria = false");
    let _trees = with_trees(&project);
    fs::create_dir_all(project.path("tests")).expect("made");
    fs::write(project.path("tests/one.txt"), "one\n").expect("written");
    git(project.root(), &["add", "-A"]);
    git(project.root(), &["commit", "-q", "-m", "a test"]);
    project.queue(
        json!([{"id": "A", "title": "", "type": "Build", "status": "ready", "acceptance_criteria": ["it works"]}]),
    );
    for role in ["builder", "tester"] {
        project.once(role);
    }
    let shown = project.command("agentctl").args(["run", "show", "A/1", "--json"]).output().expect("agentctl");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let risky = shown["record"]["risky"].to_string();
    for word in ["tests/one.txt (deleted)", "main got 1 commit that", "`acceptance_criteria` of the task was changed"] {
        assert!(risky.contains(word), "{word}: {risky}");
    }
    let sent: Vec<String> =
        project.events_of("message.sent").iter().map(|event| event["data"]["text"].to_string()).collect();
    assert_eq!(sent, ["\"by hand, not by a library\"", "\"start with the second file\""]);
    let shown = project.command("agentctl").args(["run", "show", "A/2", "--json"]).output().expect("agentctl");
    let dir = serde_json::from_slice::<serde_json::Value>(&shown.stdout).expect("JSON")["dir"].clone();
    let prompt =
        fs::read_to_string(std::path::Path::new(dir.as_str().expect("a directory")).join("prompt.md")).expect("read");
    for word in ["by hand, not by a library", "start with the second file", "tests/one.txt (deleted)"] {
        assert!(prompt.contains(word), "{word}: {prompt}");
    }
}

#[test]
fn a_task_that_was_called_done_by_hand_says_so_and_how_its_last_attempt_ended() {
    let project = repository("exit 0", "");
    let _trees = with_trees(&project);
    one(&project);
    project.once("builder");
    assert_eq!(last_end(&project).0, "no_evidence");
    let mut task = project.task("A");
    task["status"] = "done".into();
    project.replace_queue(json!([task]));
    project.once("tester");
    let said = |args: &[&str]| {
        let said = project.command("agentctl").args(args).output().expect("agentctl");
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    for args in [vec!["why", "A"], vec!["show", "A"]] {
        let said = said(&args);
        for words in ["it was set to that in the queue file", "`no_evidence`"] {
            assert!(said.contains(words), "{args:?}: {words}: {said}");
        }
    }
    let json: serde_json::Value = serde_json::from_str(&said(&["show", "A", "--json"])).expect("JSON");
    assert!(json["why"].as_str().is_some_and(|why| why.contains("no_evidence")), "{json}");
}
