//! An attempt goes on with the session of the one before, where nothing has changed since; else it starts afresh.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::{Value, json};

use crate::support::{Project, git};

/// Speaks like `claude`: overloaded in its first run, done in every later one; notes how it was called.
const CLAUDE: &str = r#"#!/bin/sh
prompt=$(cat)
echo "$@" >> "$OODATCAA_PROJECT/calls.log"
echo "$CLAUDE_CONFIG_DIR" >> "$OODATCAA_PROJECT/homes.log"
session=7b3e1c1e-0d2f-4a4f-9a63-2f5d0f2a9a01
echo "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"$session\",\"model\":\"m\"}"
if [ ! -e "$OODATCAA_PROJECT/tried" ]; then
    touch "$OODATCAA_PROJECT/tried"
    echo half > half.txt
    echo "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":true,\"api_error_status\":529,\"num_turns\":1,\"result\":\"API Error: Overloaded\",\"session_id\":\"$session\"}"
    exit 1
fi
echo whole > whole.txt
echo "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"num_turns\":2,\"result\":\"done\",\"session_id\":\"$session\"}"
"#;

/// A repository whose builder is the script above, with the directory in which its worktrees lie.
fn project() -> (Project, tempfile::TempDir) {
    let project = Project::that_succeeds();
    let trees = tempfile::tempdir().expect("a directory");
    fs::create_dir(project.path("bin")).expect("made");
    fs::write(project.path("bin/claude"), CLAUDE).expect("written");
    fs::set_permissions(project.path("bin/claude"), fs::Permissions::from_mode(0o755)).expect("made executable");
    let path = format!("{}:/usr/bin:/bin", project.path("bin").display());
    let config = format!(
        "fleet.agent = \"claude\"\nretry.backoff = \"50ms\"\nfleet.interval = \"200ms\"\n\
         [workspace]\nmode = \"worktree\"\nroot = \"{}\"\n\
         [agents.claude]\nkind = \"claude\"\nset = {{ PATH = \"{path}\", ANTHROPIC_API_KEY = \"none\" }}\n",
        trees.path().display()
    );
    fs::write(project.path(".oodatcaa/config.toml"), config).expect("written");
    fs::write(project.path(".gitignore"), "/.*\n/*.log\n/bin/\n/agent.sh\n/tried\n").expect("written");
    fs::write(project.path("README.md"), "hello\n").expect("written");
    git(project.root(), &["init", "-q", "-b", "main"]);
    git(project.root(), &["add", "README.md"]);
    git(project.root(), &["commit", "-q", "-m", "first"]);
    project.queue(json!([{"id": "A", "title": "t", "type": "Build", "status": "ready"}]));
    (project, trees)
}

fn record(project: &Project, token: u64) -> Value {
    let path = project.path(&format!(".oodatcaa/runs/A/{token}/attempt.json"));
    serde_json::from_str(&fs::read_to_string(path).expect("a record")).expect("JSON")
}

#[test]
fn after_passing_trouble_the_same_session_goes_on_in_the_same_home() {
    let (mut project, _trees) = project();
    project.start("builder", &[]);
    project.wait_for("A", "awaiting_test");
    let calls = fs::read_to_string(project.path("calls.log")).expect("calls");
    let calls: Vec<&str> = calls.lines().collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(!calls[0].contains("--resume"), "{calls:?}");
    assert!(calls[1].contains("--resume 7b3e1c1e-0d2f-4a4f-9a63-2f5d0f2a9a01"), "{calls:?}");
    let homes = fs::read_to_string(project.path("homes.log")).expect("homes");
    let homes: Vec<&str> = homes.lines().collect();
    assert_eq!(homes[0], homes[1]);
    assert!(homes[0].ends_with("/homes/builder-1/claude") && homes[0].contains("/oodatcaa/projects/"), "{homes:?}");
    assert_eq!(record(&project, 2)["resumed"], "7b3e1c1e-0d2f-4a4f-9a63-2f5d0f2a9a01");
    let prompt = fs::read_to_string(project.path(".oodatcaa/runs/A/2/prompt.md")).expect("a prompt");
    assert!(prompt.contains("go on") && prompt.contains("overloaded"), "{prompt}");
    assert_eq!(project.task("A")["attempts"].as_u64().unwrap_or(0), 0, "passing trouble is not charged");
}

#[test]
fn where_somebody_worked_in_between_the_next_attempt_starts_afresh() {
    let (project, trees) = project();
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    fs::write(project.path(".oodatcaa/config.toml"), config.replace("50ms", "3m")).expect("written");
    let said = project.once("builder");
    let tree = Command::new("find").arg(trees.path()).args(["-name", "half.txt"]).output().expect("find");
    let half = String::from_utf8_lossy(&tree.stdout).trim().to_owned();
    fs::write(&half, "and my own words\n").unwrap_or_else(|error| panic!("{half}: {error}: {said:?}"));
    let mut task = project.task("A");
    task.as_object_mut().expect("a task").remove("not_before");
    project.queue(json!([task]));
    project.once("builder");
    project.wait_for("A", "awaiting_test");
    assert!(!fs::read_to_string(project.path("calls.log")).expect("calls").contains("--resume"));
    assert_eq!(record(&project, 2)["resumed"], Value::Null);
}

/// Puts another script in the place of `claude`.
fn speaks(project: &Project, body: &str) {
    let script = format!(
        "#!/bin/sh\nprompt=$(cat)\necho \"$@\" >> \"$OODATCAA_PROJECT/calls.log\"\n\
         echo \"$CLAUDE_CODE_OAUTH_TOKEN $CLAUDE_CONFIG_DIR\" >> \"$OODATCAA_PROJECT/homes.log\"\n\
         session=7b3e1c1e-0d2f-4a4f-9a63-2f5d0f2a9a01\n\
         echo \"{{\\\"type\\\":\\\"system\\\",\\\"subtype\\\":\\\"init\\\",\\\"session_id\\\":\\\"$session\\\",\\\"model\\\":\\\"m\\\"}}\"\n\
         ends() {{ echo \"{{\\\"type\\\":\\\"result\\\",\\\"subtype\\\":\\\"success\\\",\\\"is_error\\\":$1,\\\"num_turns\\\":2,\\\"result\\\":\\\"$2\\\",\\\"session_id\\\":\\\"$session\\\"$3}}\"; }}\n{body}\n"
    );
    fs::write(project.path("bin/claude"), script).expect("written");
    fs::set_permissions(project.path("bin/claude"), fs::Permissions::from_mode(0o755)).expect("made executable");
}

fn lines(project: &Project, name: &str) -> Vec<String> {
    fs::read_to_string(project.path(name)).unwrap_or_default().lines().map(String::from).collect()
}

fn prompt_of(project: &Project, token: u64) -> String {
    fs::read_to_string(project.path(&format!(".oodatcaa/runs/A/{token}/prompt.md"))).expect("a prompt")
}

fn agentctl(project: &Project, args: &[&str]) -> String {
    let said = project.command("agentctl").args(args).output().expect("agentctl");
    assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).into_owned()
}

#[test]
fn when_one_accounts_window_is_used_up_another_goes_on_in_a_home_of_its_own() {
    let (project, _trees) = project();
    let now = chrono::Utc::now().timestamp();
    speaks(
        &project,
        &format!(
            "if [ \"$CLAUDE_CODE_OAUTH_TOKEN\" = token-of-home ]; then\n\
             echo '{{\"type\":\"rate_limit_event\",\"rate_limit_info\":{{\"status\":\"rejected\",\"resetsAt\":{},\"rateLimitType\":\"five_hour\"}}}}'\n\
             ends true 'You have hit your session limit' ',\"api_error_status\":429'; exit 1; fi\n\
             echo '{{\"type\":\"rate_limit_event\",\"rate_limit_info\":{{\"status\":\"allowed\",\"resetsAt\":{},\"rateLimitType\":\"five_hour\"}}}}'\n\
             echo whole > whole.txt; ends false done ''",
            now + 9_000,
            now + 4_000
        ),
    );
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    let accounts = "[agents.claude.accounts.home]\nset = { CLAUDE_CODE_OAUTH_TOKEN = \"token-of-home\" }\n\
                    [agents.claude.accounts.work]\nset = { CLAUDE_CODE_OAUTH_TOKEN = \"token-of-work\" }\n";
    fs::write(project.path(".oodatcaa/config.toml"), format!("{config}{accounts}")).expect("written");
    for _ in 0..2 {
        project.once("builder");
    }
    assert_eq!(project.status("A"), "awaiting_test", "{}", project.diagnosis());
    let homes = lines(&project, "homes.log");
    assert!(homes[0].starts_with("token-of-home ") && homes[0].ends_with("/homes/builder@home-1/claude"), "{homes:?}");
    assert!(homes[1].starts_with("token-of-work ") && homes[1].ends_with("/homes/builder@work-1/claude"), "{homes:?}");
    assert!(!lines(&project, "calls.log")[1].contains("--resume"), "its session is the other's");
    assert!(
        agentctl(&project, &["status", "--json"]).contains("claude/home/default"),
        "its pool is closed, the other is open"
    );
    assert!(agentctl(&project, &["run", "show", "A/2"]).contains("claude@work"));
    let ends = project.events_of("attempt.finished");
    assert_eq!(ends[1]["data"]["pool"], "claude/work/default");
    assert!(ends[1]["data"]["resets_at"].is_string(), "{}", ends[1]);
    assert!(!project.text().contains("token-of"), "and nobody is shown their tokens");
}

#[test]
fn an_account_whose_secret_is_missing_stops_nobody_while_another_is_open_and_is_told() {
    let (mut project, _trees) = project();
    speaks(&project, "echo whole > whole.txt; ends false done ''");
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    let account = |name: &str, value: &str| {
        format!("[agents.claude.accounts.{name}]\nset = {{ CLAUDE_CODE_OAUTH_TOKEN = \"{value}\" }}\n")
    };
    let with = |work: &str| config.clone() + &account("home", "env:TOKEN_OF_NOBODY") + &account("work", work);
    fs::write(project.path(".oodatcaa/config.toml"), with("token-of-work")).expect("written");
    let n = project.start_ready("builder", &[]);
    project.wait_for("A", "awaiting_test");
    assert!(lines(&project, "homes.log")[0].starts_with("token-of-work "));
    let inbox = agentctl(&project, &["inbox", "--json"]);
    for words in [
        "agent:claude@home",
        "`builder` works without `claude@home`",
        "TOKEN_OF_NOBODY is not set",
        "agentctl fleet restart builder",
    ] {
        assert!(inbox.contains(words), "{words}: {inbox}");
    }
    let doctor = |project: &Project, how: &str| {
        let said = project.command("agentctl").args(["doctor", "--json"]).output().expect("agentctl");
        let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
        let checks = said["checks"].as_array().expect("checks").clone();
        let secret =
            |check: &&Value| check["id"] == "secret" && check["what"].as_str().unwrap().contains("claude@home");
        let found = checks.iter().find(secret).unwrap_or_else(|| panic!("{checks:?}"));
        assert_eq!(found["state"], how, "{found}");
    };
    doctor(&project, "warning");
    project.signal(n, rustix::process::Signal::TERM);
    project.ended(n);
    assert_eq!(agentctl(&project, &["inbox", "--json"]).trim(), "[]", "no worker lacks it any more");
    fs::write(project.path(".oodatcaa/config.toml"), with("env:TOKEN_OF_NOBODY_EITHER")).expect("written");
    let said = project.once("builder");
    assert_eq!(said.status.code(), Some(78), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("TOKEN_OF_NOBODY is not set"), "{said:?}");
    doctor(&project, "problem");
}

#[test]
fn what_an_attempt_used_and_the_session_in_which_it_worked_are_shown() {
    let (project, _trees) = project();
    speaks(
        &project,
        "echo whole > whole.txt\n\
         echo '{\"type\":\"assistant\",\"message\":{\"id\":\"m1\",\"content\":[{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"Write\",\"input\":{}}],\"usage\":{\"input_tokens\":900,\"output_tokens\":90}}}'\n\
         ends false done ',\"total_cost_usd\":0.25,\"usage\":{\"input_tokens\":900,\"cache_read_input_tokens\":600,\"output_tokens\":90}'",
    );
    project.once("builder");
    assert_eq!(project.status("A"), "awaiting_test", "{}", project.diagnosis());
    let shown = agentctl(&project, &["run", "show", "A"]);
    let of = |what: &str| shown.lines().find_map(|line| line.strip_prefix(&format!("{what}\t"))).unwrap_or_default();
    for words in ["in", "90 out", "$0.2500"] {
        assert!(of("tokens").contains(words), "{words}: {shown}");
    }
    assert_eq!(of("session"), "7b3e1c1e-0d2f-4a4f-9a63-2f5d0f2a9a01", "{shown}");
    assert_eq!(of("last tool"), "Write", "{shown}");
    let seen = serde_json::from_str::<Value>(&agentctl(&project, &["run", "show", "A", "--json"])).expect("JSON");
    let seen = &seen["record"]["seen"];
    assert_eq!((&seen["tokens_out"], &seen["cost_usd"]), (&json!(90), &json!(0.25)), "{seen}");
}

#[test]
fn a_sandbox_that_does_not_work_here_pauses_the_role_in_its_own_words_and_charges_nobody() {
    let (project, _trees) = project();
    let codex = "#!/bin/sh\ncat > /dev/null\necho '{\"type\":\"thread.started\",\"thread_id\":\"t\"}'\n\
                 echo '2026-11-29T10:00:00Z ERROR codex_core::exec: bwrap: execvp codex-linux-sandbox: No such file or directory' >&2\n\
                 echo '{\"type\":\"turn.completed\",\"usage\":{}}'\n";
    fs::write(project.path("bin/codex"), codex).expect("written");
    fs::set_permissions(project.path("bin/codex"), fs::Permissions::from_mode(0o755)).expect("made executable");
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    let config = config.replace("kind = \"claude\"", "kind = \"codex\"").replace("ANTHROPIC_API_KEY", "OPENAI_API_KEY");
    fs::write(project.path(".oodatcaa/config.toml"), config).expect("written");
    for _ in 0..2 {
        project.once("builder");
    }
    let ends = project.events_of("attempt.finished");
    assert_eq!(ends.len(), 1, "it is not tried again: {ends:?}");
    assert_eq!(
        (ends[0]["data"]["class"].as_str(), ends[0]["data"]["charged"].as_bool()),
        (Some("permission_denied"), None)
    );
    let inbox = agentctl(&project, &["inbox"]);
    assert!(inbox.contains("codex-linux-sandbox") && inbox.contains("agentctl fleet start builder"), "{inbox}");
}

#[test]
fn answers_that_are_pages_of_a_proxy_cost_nothing_and_work_goes_on_by_itself_once_they_end() {
    let (mut project, _trees) = project();
    // A whole afternoon of such pages, for more tasks than a role may fail in a row.
    speaks(
        &project,
        "if [ ! -e \"$OODATCAA_PROJECT/online.log\" ]; then\n\
         ends true 'API Error: Unexpected token < in JSON at position 0: <!DOCTYPE html><html>Log in to the network</html>' ''\n\
         exit 1; fi\n\
         echo whole > whole.txt; ends false done ''",
    );
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    let config = config.replace("50ms\"", "50ms\"\nretry.backoff_max = \"200ms\"");
    fs::write(project.path(".oodatcaa/config.toml"), config).expect("written");
    project.queue(
        ["A", "B", "C", "D"]
            .map(|id| json!({"id": id, "title": "t", "type": "Build", "status": "ready"}))
            .into_iter()
            .collect(),
    );
    project.start("builder", &[]);
    crate::support::eventually("each has met the proxy", || {
        let ends = project.events_of("attempt.finished");
        ["A", "B", "C", "D"].iter().all(|id| ends.iter().any(|end| end["task"] == *id)).then_some(())
    });
    fs::write(project.path("online.log"), "").expect("written");
    for id in ["A", "B", "C", "D"] {
        project.wait_for(id, "awaiting_test");
        assert_eq!(project.task(id)["attempts"].as_u64().unwrap_or(0), 0, "{}", project.task(id));
    }
    let ends = project.events_of("attempt.finished");
    let network = ends.iter().filter(|end| end["data"]["outcome"] == "failed");
    assert!(network.clone().all(|end| end["data"]["class"] == "network"), "{ends:?}");
    assert!(network.count() >= 4 && project.events_of("worker.paused").is_empty(), "{ends:?}");
}

#[test]
fn an_agent_that_a_person_stopped_is_told_so_when_its_task_goes_on() {
    let (mut project, _trees) = project();
    speaks(
        &project,
        "if [ ! -e \"$OODATCAA_PROJECT/tried\" ]; then touch \"$OODATCAA_PROJECT/tried\"; sleep 1000; fi\n\
         echo whole > whole.txt; ends false done ''",
    );
    let n = project.start("builder", &[]);
    crate::support::eventually("its session is known", || {
        let path = project.path(".oodatcaa/runs/A/1/attempt.json");
        let record: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
        record["seen"]["session"].is_string().then_some(())
    });
    agentctl(&project, &["run", "stop", "A", "--reason", "use the other library", "--yes"]);
    project.wait_for("A", "blocked");
    agentctl(&project, &["task", "unblock", "A"]);
    project.wait_for("A", "awaiting_test");
    project.signal(n, rustix::process::Signal::TERM);
    assert_eq!(project.ended(n), Some(0));
    let prompt = prompt_of(&project, 2);
    assert!(prompt.contains("A person stopped you") && prompt.contains("use the other library"), "{prompt}");
    assert!(!prompt.contains("not your fault"), "{prompt}");
}

#[test]
fn a_builder_whose_session_goes_on_is_told_what_the_refiner_said_and_not_what_it_has_mended() {
    let (project, _trees) = project();
    speaks(
        &project,
        "case $OODATCAA_ROLE in builder) n=$(wc -l < \"$OODATCAA_PROJECT/calls.log\"); [ $n != 1 ] || echo red > red.txt; \
         [ $n != 2 ] || rm -f red.txt; echo $n > whole.txt; ends false done '';;\n\
         tester) echo '{\"outcome\":\"needs_adapt\",\"summary\":\"it is slow\"}' > \"$OODATCAA_RESULT_FILE\"; ends false no '';;\n\
         refiner) echo '{\"outcome\":\"done\",\"summary\":\"use a hash instead of a list\"}' > \"$OODATCAA_RESULT_FILE\"; ends false done '';; esac",
    );
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    let gate = "[roles.builder]\ngates = [\"green\"]\n[gates.green]\nargv = [\"sh\", \"-c\", \"echo it is very red; test ! -e red.txt\"]\n";
    fs::write(project.path(".oodatcaa/config.toml"), format!("{config}{gate}")).expect("written");
    project.once("builder");
    assert_eq!(project.events_of("attempt.finished")[0]["data"]["class"], "gate_failed");
    crate::support::eventually("the gate is green", || {
        project.once("builder");
        (project.status("A") == "awaiting_test").then_some(())
    });
    assert!(prompt_of(&project, 2).contains("the gate `green`"), "{}", prompt_of(&project, 2));
    for role in ["tester", "refiner", "builder"] {
        project.once(role);
    }
    assert_eq!(project.status("A"), "awaiting_test", "{}", project.diagnosis());
    assert_eq!(
        record(&project, 5)["resumed"],
        "7b3e1c1e-0d2f-4a4f-9a63-2f5d0f2a9a01",
        "{:?}",
        lines(&project, "calls.log")
    );
    let prompt = prompt_of(&project, 5);
    assert!(prompt.contains("What the refiner said") && prompt.contains("use a hash instead of a list"), "{prompt}");
    assert!(!prompt.contains("the gate `green`"), "what was mended is not told again: {prompt}");
}

#[test]
fn what_an_agent_had_finished_when_its_budget_ended_is_not_thrown_away() {
    let (project, _trees) = project();
    speaks(
        &project,
        "echo whole > whole.txt; echo '{\"outcome\":\"done\",\"summary\":\"all of it\"}' > \"$OODATCAA_RESULT_FILE\"\n\
         for n in 1 2 3 4; do echo '{\"type\":\"assistant\",\"message\":{\"id\":\"m'$n'\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}],\"usage\":{\"input_tokens\":900,\"output_tokens\":90}}}'; done\n\
         ends false done ''; exec sleep 1000",
    );
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    fs::write(project.path(".oodatcaa/config.toml"), format!("{config}[budget.attempt]\nturns = 2\n"))
        .expect("written");
    let said = project.once("builder");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("turns are used up"), "{said}");
    assert_eq!(project.status("A"), "awaiting_test", "{said}");
    let end = &project.events_of("attempt.finished")[0]["data"];
    assert_eq!((end["outcome"].as_str(), end["class"].as_str()), (Some("done"), None), "{end}");
}

#[test]
fn a_task_that_has_failed_goes_to_the_agent_for_that() {
    let project = Project::new("exit 1");
    project.script("strong.sh", ": > \"made-$OODATCAA_TASK_ID\"; exit 0");
    project.config(&format!(
        "[agents.strong]\nargv = [\"{}\"]\n[roles.builder]\non_retry.agent = \"strong\"",
        project.path("strong.sh").display()
    ));
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}, {"id": "B", "title": "t", "status": "ready"}]));
    project.once("builder");
    assert!(agentctl(&project, &["why", "A", "--json"]).contains("strong works on it next"));
    crate::support::eventually("both were tried again", || {
        project.once("builder");
        (project.status("A") == "awaiting_test" && project.status("B") == "awaiting_test").then_some(())
    });
    let by: Vec<(String, String)> = project
        .events_of("lease.acquired")
        .iter()
        .map(|event| (event["task"].to_string(), event["data"]["by"].as_str().unwrap_or_default().to_owned()))
        .collect();
    for task in ["\"A\"", "\"B\""] {
        let by: Vec<&str> = by.iter().filter(|(id, _)| id == task).map(|(_, by)| by.as_str()).collect();
        assert_eq!(by, ["script", "strong"], "{task}");
    }
    assert!(agentctl(&project, &["run", "show", "A/2"]).contains("strong"));
}
