//! The morning after: what `agentctl report` says of a night, worst first, and what it calls done.

use serde_json::{Value, json};

use crate::support::{Project, git};

fn said(project: &Project, args: &[&str]) -> String {
    let output = project.command("agentctl").arg("report").args(args).output().expect("agentctl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn report(project: &Project, args: &[&str]) -> Value {
    serde_json::from_str(&said(project, &[&["--json"], args].concat())).expect("JSON")
}

#[track_caller]
fn once(project: &Project, role: &str, times: usize) {
    for _ in 0..times {
        let output = project.once(role);
        assert!(output.status.code().is_some(), "{role}");
    }
}

/// The tasks of one list of the report.
fn tasks(report: &Value, list: &str) -> Vec<String> {
    let all = report[list].as_array().unwrap_or_else(|| panic!("{list}: {report:#}"));
    all.iter().map(|one| one["task"].as_str().expect("a task").to_owned()).collect()
}

/// A night in which two tasks were merged, one had nothing to change, one failed, one was called done by hand, the
/// planner was paused and the pool of the agent closed.
fn night() -> (Project, tempfile::TempDir) {
    let project = Project::new(
        r#"[ "$OODATCAA_ROLE" = builder ] || exit 0
case $OODATCAA_TASK_ID in
NOTHING) printf '{"outcome":"no_change","summary":"it is there"}' > "$OODATCAA_RESULT_FILE" ;;
FAILS) echo "the bus is on fire" >&2; exit 3 ;;
LIMITED) exit 75 ;;
*) echo "$OODATCAA_TASK_ID" > "$OODATCAA_TASK_ID.txt"; echo more > "$OODATCAA_TASK_ID.md" ;;
esac"#,
    );
    let trees = tempfile::tempdir().unwrap();
    let more = format!(
        "exits = {{ 75 = \"usage_limit\" }}\n[workspace]\nmode = \"worktree\"\nroot = \"{}\"\n[roles.tester]\ncriteria = false\n\
         [budget.day]\nstarts = 40\n\
         [schedules.weekly]\nevery = \"7d\"\nthen.task = {{ title = \"Look at the week\", status = \"blocked\" }}\n",
        trees.path().display()
    );
    project.config(&more);
    std::fs::write(project.path(".oodatcaa/config.local.toml"), "retry.attempts = 1\n").unwrap();
    std::fs::create_dir_all(project.path(".oodatcaa/prompts")).unwrap();
    std::fs::write(project.path(".oodatcaa/prompts/planner.md"), "{{ no.such.thing }}\n").unwrap();
    std::fs::write(project.path(".gitignore"), "/.*\n/agent.sh\n").unwrap();
    git(project.root(), &["init", "-q", "-b", "main"]);
    git(project.root(), &["add", "-f", ".gitignore"]);
    git(project.root(), &["commit", "-q", "-m", "first"]);
    let task = |id: &str, status: &str| json!({"id": id, "title": format!("About {id}"), "status": status});
    let ready = ["ONE", "TWO", "NOTHING", "FAILS"].map(|id| task(id, "ready"));
    let mut all = ready.to_vec();
    all.extend([task("VAGUE", "needs_plan"), task("HAND", "blocked"), task("LIMITED", "blocked")]);
    project.queue(json!(all));
    once(&project, "builder", 4);
    once(&project, "tester", 3);
    once(&project, "integrator", 3);
    once(&project, "planner", 1);
    let mut all = project.tasks();
    for task in &mut all {
        match task["id"].as_str() {
            Some("HAND") => task["status"] = "done".into(),
            Some("LIMITED") => task["status"] = "ready".into(),
            _ => {}
        }
    }
    project.replace_queue(json!(all));
    once(&project, "builder", 1);
    (project, trees)
}

#[test]
fn a_night_is_told_worst_first_and_nothing_is_called_done_without_a_merge_or_a_declared_no_change() {
    let (project, _trees) = night();
    let told = report(&project, &[]);
    assert_eq!(told["schema"], "oodatcaa/report.v1");
    assert_eq!(told["needs"][0]["id"], "role:planner", "{told:#}");
    assert_eq!(told["pools"][0]["pool"], "script", "{told:#}");
    assert_eq!(tasks(&told, "failed")[0], "FAILS", "{told:#}");
    assert_eq!(told["failed"][0]["failures"], 1);
    assert!(told["failed"][0]["why"].as_str().is_some_and(|why| !why.is_empty()));
    assert_eq!(tasks(&told, "landed"), ["ONE", "TWO"], "{told:#}");
    assert_eq!(tasks(&told, "no_change"), ["NOTHING"], "{told:#}");
    assert_eq!(tasks(&told, "unproved"), ["HAND"], "{told:#}");
    assert_eq!(told["unproved"][0]["how"], "file");
    for landed in told["landed"].as_array().unwrap() {
        let commit = landed["commit"].as_str().expect("a commit");
        git(project.root(), &["merge-base", "--is-ancestor", commit, "main"]);
        assert_eq!(landed["files"], 2, "{landed}");
        assert_eq!(landed["usd"], Value::Null, "nobody knows the price: {landed}");
        assert_eq!(landed["unpriced"], 2, "builder and tester; a merge of ours costs nothing: {landed}");
    }
    assert_eq!(told["spent"]["usd"], Value::Null);
    let starts = told["budgets"].as_array().unwrap().iter().find(|budget| budget["unit"] == "starts").expect("a limit");
    assert_eq!((&starts["spent"], &starts["limit"]), (&told["spent"]["starts"], &json!(40)), "{told:#}");
    assert_eq!(told["simulated"], false);
    assert_eq!(told["schedules"][0]["schedule"], "weekly", "{told:#}");

    for args in [&[][..], &["--format", "md"]] {
        let text = said(&project, args);
        let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("no {words:?} in:\n{text}"));
        let headings =
            ["Needs you", "Failed or stuck", "Called done without a merge", "Landed", "Nothing to change", "Spent"];
        let places = headings.map(at);
        assert!(places.is_sorted(), "the worst comes first:\n{text}");
        for (words, below) in
            [("role:planner", 0), ("pool script", 1), ("FAILS", 1), ("HAND", 2), ("ONE", 3), ("TWO", 3)]
        {
            let place = text[places[below]..].find(words).unwrap_or_else(|| panic!("no {words:?} in:\n{text}"));
            let end = places.get(below + 1).map_or(text.len(), |next| next - places[below]);
            assert!(place < end, "{words} stands below {}:\n{text}", headings[below]);
        }
        assert!(text.contains("$—"), "an unknown price is no zero:\n{text}");
    }
}

#[test]
fn a_span_before_which_all_of_it_happened_tells_what_still_is_so_and_of_nothing_that_was() {
    let (project, _trees) = night();
    let told = report(&project, &["--since", "0s"]);
    assert_eq!((tasks(&told, "landed").len(), tasks(&told, "unproved").len()), (0, 0), "{told:#}");
    assert_eq!(told["spent"]["attempts"], 0);
    assert_eq!(told["needs"][0]["id"], "role:planner");
    assert!(said(&project, &["--since", "0s"]).contains("nothing landed"));
    let refused = project.command("agentctl").args(["report", "--since", "yesterday"]).output().expect("agentctl");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("neither a duration nor a time"));
}

#[test]
fn hostile_titles_paint_nothing_and_are_no_markup() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "x\u{1b}[2J `rm` <b>", "status": "ready"}]));
    project.once("builder");
    for args in [&[][..], &["--format", "md"]] {
        let text = said(&project, args);
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    assert!(said(&project, &["--format", "md"]).contains("\\`rm\\` \\<b\\>"));
}
