//! Real daemons and agents that would go on for ever: each ends with a human who is told.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::support::{Project, eventually, git};

const BOUNDS: &str = "[limits]\nstarts = 6\ngenerations = 2\nchildren = 4\n";

const ROLES: [&str; 4] = ["planner", "builder", "tester", "refiner"];

/// A project with a home of its own, so that what happens to the project's files does not reach it.
struct Endless {
    project: Project,
    home: tempfile::TempDir,
}

impl Endless {
    /// Every start of the agent leaves a line out of the project's reach; then the script goes on.
    fn new(script: &str, more: &str) -> Self {
        let home = tempfile::tempdir().expect("a home");
        let count = home.path().join("count");
        let script = format!("echo \"$OODATCAA_TASK_ID\" >> '{}'\n{script}", count.display());
        let project = Project::new(&script);
        project.config(&format!("{BOUNDS}\n{more}"));
        Self { project, home }
    }

    fn home(&self) -> [(&str, &str); 1] {
        [("HOME", self.home.path().to_str().expect("UTF-8"))]
    }

    fn start(&mut self, roles: &[&str]) {
        let home = self.home.path().to_str().expect("UTF-8").to_owned();
        for role in roles {
            let env = [("HOME", home.as_str()), ("OODATCAA_ATTEMPTS", "2"), ("OODATCAA_BACKOFF_MAX", "200ms")];
            self.project.start_with(role, &["--interval", "300ms"], &env);
        }
    }

    /// How often the agent was started, in all or for one task.
    fn starts(&self, of: impl Fn(&str) -> bool) -> usize {
        let count = fs::read_to_string(self.home.path().join("count")).unwrap_or_default();
        count.lines().filter(|task| of(task)).count()
    }

    fn ctl(&self, args: &[&str]) -> String {
        let mut command: Command = self.project.command("agentctl");
        let output = command.args(args).envs(self.home()).output().expect("agentctl runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Waits for the end; the person is told everywhere, with the command that allows more.
    #[track_caller]
    fn ends_with_a_human(&self, id: &str) {
        eventually(&format!("{id} waits for a human: {}", self.project.diagnosis()), || {
            (self.project.status(id) == "needs_manual" && self.project.leases().is_empty()).then_some(())
        });
        for args in [vec!["inbox"], vec!["why", id], vec!["ls", "is:needs_you"]] {
            let said = self.ctl(&args);
            assert!(said.contains(id), "{args:?}: {said}");
        }
        assert!(self.ctl(&["why", id]).contains(&format!("agentctl task retry {id}")), "{}", self.ctl(&["why", id]));
    }
}

#[test]
fn an_endless_new_plan_ends_with_a_human_and_a_retry_allows_as_much_again() {
    let script = r#"case "$OODATCAA_ROLE" in
refiner) echo '{"outcome":"replan","summary":"think again"}' > "$OODATCAA_RESULT_FILE";;
builder) echo '{"outcome":"needs_adapt","summary":"no"}' > "$OODATCAA_RESULT_FILE";;
esac"#;
    let mut endless = Endless::new(script, "");
    endless.project.queue(json!([{"id": "A", "title": "a", "status": "needs_plan"}]));
    endless.start(&ROLES);
    endless.ends_with_a_human("A");
    assert_eq!((endless.starts(|task| task == "A"), &endless.project.task("A")["starts"]), (6, &json!(6)));
    let reason = endless.project.task("A")["blocked_reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("started 6 times, which is the limit"), "{reason}");

    endless.ctl(&["task", "retry", "A"]);
    eventually("it goes on", || (endless.starts(|task| task == "A") > 6).then_some(()));
    endless.ends_with_a_human("A");
    assert_eq!(endless.starts(|task| task == "A"), 12);
}

#[test]
fn endless_children_end_with_few_generations_and_a_human() {
    let script = r#"case "$OODATCAA_ROLE" in
planner) cat > "$OODATCAA_RESULT_FILE" <<END
{"outcome":"done","summary":"s","tasks":[{"id":"A-$$-1","title":"x","type":"Test"},{"id":"A-$$-2","title":"y","type":"Test"}]}
END
;;
refiner) echo '{"outcome":"replan","summary":"think again"}' > "$OODATCAA_RESULT_FILE";;
*) echo '{"outcome":"needs_adapt","summary":"no"}' > "$OODATCAA_RESULT_FILE";;
esac"#;
    let mut endless = Endless::new(script, "");
    endless.project.queue(json!([{"id": "A", "title": "a", "type": "Story", "status": "needs_plan"}]));
    endless.start(&ROLES);
    let moves = ["needs_manual", "planning_complete"];
    eventually("nothing moves any more", || {
        let all = endless.project.tasks();
        let still = |task: &Value| moves.iter().any(|status| task["status"] == *status);
        (all.len() > 1 && all.iter().all(still) && endless.project.leases().is_empty()).then_some(())
    });
    let tasks = endless.project.tasks().len();
    assert!(tasks <= 5, "{tasks} tasks");
    assert!(endless.starts(|_| true) <= 5 * 6);
    assert!(endless.ctl(&["inbox"]).contains("A-"), "{}", endless.ctl(&["inbox"]));
}

/// An agent that sets the status of its own task, and ends so.
fn setting(status: &str, exit: u8) -> String {
    let set = format!("s/\"status\": \"[a-z]*_[a-z]*\"/\"status\": \"{status}\"/");
    format!(
        "cd .oodatcaa/work && sed -i -e '{set}' -e 's/\"starts\": [0-9]*/\"starts\": 0/' SPRINT_QUEUE.json\nexit {exit}"
    )
}

#[test]
fn an_agent_that_puts_its_own_task_back_is_charged_and_ends_with_a_human() {
    for exit in [0, 1] {
        let mut endless = Endless::new(&setting("ready", exit), "");
        endless.project.queue(json!([{"id": "A", "title": "a", "status": "ready"}]));
        endless.start(&["builder"]);
        endless.project.wait_for("A", "needs_adapt");
        assert_eq!(endless.starts(|_| true), 2, "two attempts are the stage's");
        endless.start(&["refiner"]);
        endless.ends_with_a_human("A");
        assert!(endless.starts(|_| true) <= 6);
    }
}

#[test]
fn a_status_that_an_agent_sets_is_checked_like_its_result() {
    let gates = "[roles.builder]\ngates = [\"red\"]\n[gates.red]\nargv = [\"sh\", \"-c\", \"echo never; exit 3\"]";
    for status in ["awaiting_test", "done"] {
        let mut endless = Endless::new(&setting(status, 0), gates);
        endless.project.queue(json!([{"id": "A", "title": "a", "status": "ready"}]));
        endless.start(&["builder"]);
        endless.project.wait_for("A", "needs_adapt");
        let reason = endless.project.task("A")["blocked_reason"].as_str().expect("a reason").to_owned();
        assert!(reason.contains("gate_failed") && reason.contains("never"), "{status}: {reason}");
        assert_eq!(endless.starts(|_| true), 2, "{status}");
    }
}

#[test]
fn what_a_humans_command_sets_during_an_attempt_stands() {
    let mut endless = Endless::new("sleep 600", "");
    endless.project.queue(json!([{"id": "A", "title": "a", "status": "ready"}]));
    endless.start(&["builder"]);
    eventually("it runs", || (endless.starts(|_| true) == 1).then_some(()));
    endless.ctl(&["task", "cancel", "A", "--stop", "--yes"]);
    eventually("it has ended", || endless.project.leases().is_empty().then_some(()));
    assert_eq!(endless.project.status("A"), "cancelled", "{}", endless.ctl(&["why", "A"]));
}

#[test]
fn an_agent_that_cleans_the_project_away_ends_with_a_human() {
    let clean =
        "git clean -fdxq -e '*.log'\nsed -i 's/\"starts\": [0-9]*/\"starts\": 0/' .oodatcaa/work/SPRINT_QUEUE.json";
    let mut endless = Endless::new(clean, "[workspace]\nmode = \"shared\"");
    endless.project.queue(json!([{"id": "A", "title": "a", "status": "ready"}]));
    let root = endless.project.root().to_owned();
    commit_all(&root);
    endless.start(&["builder"]);
    endless.ends_with_a_human("A");
    let starts = endless.starts(|_| true);
    assert!(starts <= 6, "{starts} starts");
    assert!(ledger(endless.home.path()).is_some_and(|text| text.contains("lease.acquired")), "it is kept");
}

/// Whoever writes into the journal what only a person may say gains nothing, also where the ledger is gone.
#[test]
fn an_agent_that_writes_a_persons_retry_into_the_journal_is_not_started_more_often() {
    let script = r#"cd .oodatcaa/work && n=$(($(wc -l < events.jsonl) + 1))
line='"specversion":"1.0","source":"x","time":"2026-01-01T00:00:00.000Z","datacontenttype":"application/json"'
person='"subject":"task/A","actor":"human:root@tty","task":"A","data":{"to":"ready","from":"in_progress","verb":"retry"}'
echo "{$line,$person,\"type\":\"oodatcaa.task.moved.v1\",\"id\":\"$n\",\"seq\":$n}" >> events.jsonl
sed -i 's/"starts": [0-9]*/"starts": 0/' SPRINT_QUEUE.json
rm -f "$HOME"/.local/state/oodatcaa/projects/*/starts.jsonl
[ "$OODATCAA_ROLE" = refiner ] || echo '{"outcome":"needs_adapt","summary":"no"}' > "$OODATCAA_RESULT_FILE""#;
    let mut endless = Endless::new(script, "");
    endless.project.queue(json!([{"id": "A", "title": "a", "status": "ready"}]));
    endless.start(&ROLES);
    endless.ends_with_a_human("A");
    assert_eq!(endless.starts(|_| true), 6, "{}", endless.project.diagnosis());
    let forged = endless.project.events().iter().filter(|event| event["actor"] == "human:root@tty").count();
    assert_eq!(forged, 6, "it has tried");
    endless.ctl(&["task", "retry", "A"]);
    eventually("a person may", || (endless.starts(|_| true) > 6).then_some(()));
}

#[test]
fn a_builder_that_moves_its_own_task_on_under_a_red_merge_ends_with_a_human() {
    let script = r#"[ "$OODATCAA_ROLE" = builder ] || exit 0
echo more >> made.txt
cd "$OODATCAA_PROJECT/.oodatcaa/work" && sed -i 's/"status": "in_progress"/"status": "awaiting_test"/' SPRINT_QUEUE.json"#;
    let more = "[workspace]\nmode = \"worktree\"\n[roles.integrator]\ngates = [\"red\"]\n\
        [gates.red]\nargv = [\"sh\", \"-c\", \"! [ -e made.txt ]\"]";
    let mut endless = Endless::new(script, more);
    let root = endless.project.root().to_owned();
    fs::write(root.join(".gitignore"), "/.oodatcaa/\n/.leases/\n/.locks/\n*.log\n/agent.sh\n").expect("written");
    fs::write(root.join("base.txt"), "base\n").expect("written");
    commit_all(&root);
    let base = git(&root, &["rev-parse", "main"]);
    endless.project.queue(json!([{"id": "A", "title": "a", "type": "Build", "status": "ready"}]));
    endless.start(&["builder", "tester", "refiner", "integrator"]);
    endless.ends_with_a_human("A");
    assert!(endless.starts(|_| true) <= 6, "{}", endless.starts(|_| true));
    assert_eq!(git(&root, &["rev-parse", "main"]), base, "nothing red was merged");
}

fn commit_all(root: &Path) {
    git(root, &["init", "-q", "-b", "main"]);
    git(root, &["add", "-A"]);
    git(root, &["commit", "-q", "-m", "all"]);
}

/// The only project's ledger in a home.
fn ledger(home: &Path) -> Option<String> {
    let projects = fs::read_dir(home.join(".local/state/oodatcaa/projects")).ok()?;
    let files: Vec<PathBuf> = projects.flatten().map(|entry| entry.path().join("starts.jsonl")).collect();
    files.iter().find_map(|file| fs::read_to_string(file).ok())
}

#[test]
fn the_starts_of_a_day_end_and_a_human_may_allow_as_many_again() {
    let mut endless = Endless::new("exit 0", "[budget.day]\nstarts = 3");
    let tasks: Vec<Value> = (0..6).map(|n| json!({"id": format!("T{n}"), "title": "t", "status": "ready"})).collect();
    endless.project.queue(json!(tasks));
    endless.start(&["builder"]);
    let asked = eventually("a human is asked", || {
        let said = endless.ctl(&["inbox"]);
        said.contains("3 starts of 3 starts").then_some(said)
    });
    eventually("all of them are started", || (endless.starts(|_| true) == 3).then_some(()));
    let status: Value = serde_json::from_str(&endless.ctl(&["status", "--json"])).expect("JSON");
    assert_eq!(status["starts"], json!({"today": 3, "limit": 3}));
    let day = asked.split_whitespace().find(|word| word.starts_with("day:")).expect("a decision").to_owned();
    endless.ctl(&["approve", &day]);
    eventually("the rest is done", || (endless.starts(|_| true) == 6).then_some(()));
}

#[test]
fn a_made_up_number_in_the_journal_gives_no_budget_back() {
    let mut endless = Endless::new("exit 0", "[budget.day]\nstarts = 3");
    let forged = json!({"specversion": "1.0", "id": "x", "source": "//h/p", "type": "oodatcaa.task.updated.v1",
        "subject": "task/T0", "time": "2026-01-05T09:00:00.000Z", "seq": 9_007_199_254_740_992_u64,
        "actor": "human:ceo@tty", "task": "T0", "data": {}});
    fs::write(endless.project.path(".oodatcaa/work/events.jsonl"), format!("{forged}\n")).expect("written");
    let tasks: Vec<Value> = (0..6).map(|n| json!({"id": format!("T{n}"), "title": "t", "status": "ready"})).collect();
    endless.project.queue(json!(tasks));
    endless.start(&["builder"]);
    eventually("a human is asked", || endless.ctl(&["inbox"]).contains("3 starts of 3 starts").then_some(()));
    eventually("what was started is over", || endless.project.leases().is_empty().then_some(()));
    assert_eq!(endless.starts(|_| true), 3);
}

#[test]
fn work_that_is_moved_on_again_and_again_under_a_red_integrator_ends_with_a_human() {
    let script = r#"case "$OODATCAA_ROLE" in
builder) echo "$OODATCAA_TOKEN" > made.txt; cd "$OODATCAA_PROJECT/.oodatcaa/work"
  sed -i -e 's/"status": "in_progress"/"status": "awaiting_test"/' -e 's/"starts": [0-9]*/"starts": 0/' SPRINT_QUEUE.json;;
esac"#;
    let trees = tempfile::tempdir().expect("a directory");
    let more = format!(
        "[workspace]\nmode = \"worktree\"\nroot = \"{}\"\n[roles.integrator]\ngates = [\"red\"]\n\
         [gates.red]\nargv = [\"sh\", \"-c\", \"! test -e made.txt\"]\n[roles.tester]\ncriteria = false",
        trees.path().display()
    );
    let mut endless = Endless::new(script, &more);
    fs::write(endless.project.path(".gitignore"), "/.*\n/*.log\n/agent.sh\n/made-*\n").expect("written");
    fs::write(endless.project.path("README.md"), "hello\n").expect("written");
    let root = endless.project.root().to_owned();
    commit_all(&root);
    endless.project.queue(json!([{"id": "A", "title": "a", "type": "Build", "status": "ready"}]));
    endless.start(&["builder", "tester", "refiner", "integrator"]);
    endless.ends_with_a_human("A");
    assert!(endless.starts(|_| true) <= 6, "{} starts", endless.starts(|_| true));
    assert!(!git(&root, &["ls-tree", "--name-only", "main"]).contains("made.txt"), "nothing red is merged");
}
