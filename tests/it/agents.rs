//! Agents with real programs: the simulated one in each of its behaviours, any command by its argv.
//!
//! The programs are started by hand here; that they end with their worker is the process floor's matter.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use oodatcaa_agent::{self as agent, Agent, Assignment, prompt, result};
use oodatcaa_config::{AgentConfig, AgentKind};
use oodatcaa_core::{Class, Lease, Outcome, Role, Status, Task, TaskId, Token, Workflow};
use oodatcaa_process::{Ended, Exit, Invocation};
use serde_json::Value;

const SIM: &str = env!("CARGO_BIN_EXE_agent-sim");

/// An attempt in this project.
pub(crate) fn assignment_in(root: &Path, role: &Role, task: &str, token: u64) -> Assignment {
    let task = Task::new(TaskId::parse(task).expect("a good id"), Status::READY);
    let run_dir = root.join(".oodatcaa/runs").join(task.id.as_str()).join(token.to_string());
    fs::create_dir_all(run_dir.join(agent::OUT_DIR)).expect("made");
    let rule = Workflow::shipped().rule(role).expect("ships").clone();
    let mut assignment = agent::example::assignment(&rule, root, &run_dir);
    assignment.lease = Lease {
        task_id: task.id.clone(),
        owner: "agent-daemon-test@host".into(),
        token: Token(token),
        by: "sim".into(),
        simulated: true,
        ..assignment.lease
    };
    assignment.task = task;
    fs::write(assignment.prompt_file(), "the prompt\n").expect("written");
    assignment
}

/// A project with one assignment after the other.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().expect("a directory") };
        fs::create_dir(bench.root().join(".oodatcaa")).expect("made");
        bench
    }

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("there")
    }

    fn script(&self, text: &str) -> &Self {
        fs::write(self.root().join(".oodatcaa/sim.toml"), text).expect("written");
        self
    }

    fn assignment(&self, role: &Role, task: &str, token: u64) -> Assignment {
        assignment_in(&self.root(), role, task, token)
    }

    /// One whole attempt of a builder with this script.
    fn play(&self, script: &str) -> Played {
        self.script(script);
        let assignment = self.assignment(&Role::BUILDER, "P001-B01", 7);
        attempt(&sim(&["--speed", "100"]), assignment)
    }
}

struct Played {
    assignment: Assignment,
    exit: Exit,
    outcome: Outcome,
    stdout: String,
    stderr: String,
}

impl Played {
    fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    fn class(&self) -> Class {
        match &self.outcome {
            Outcome::Failed { class, .. } => *class,
            other => panic!("{other:?}\n{}\n{}", self.stdout, self.stderr),
        }
    }
}

fn config(kind: AgentKind, argv: &[&str]) -> AgentConfig {
    AgentConfig { kind, argv: argv.iter().map(|&argument| argument.into()).collect(), ..AgentConfig::default() }
}

fn sim(options: &[&str]) -> Agent {
    let argv: Vec<&str> = [SIM].iter().chain(options).copied().collect();
    agent::open("sim", &config(AgentKind::Sim, &argv))
}

fn start(invocation: &Invocation) -> Child {
    let stdin = invocation.stdin.as_ref().map_or_else(Stdio::null, |file| File::open(file).expect("there").into());
    Command::new(&invocation.argv[0])
        .args(&invocation.argv[1..])
        .env_clear()
        .envs(&invocation.env)
        .current_dir(&invocation.cwd)
        .stdin(stdin)
        .stdout(File::create(&invocation.stdout).expect("made"))
        .stderr(File::create(&invocation.stderr).expect("made"))
        .process_group(0)
        .spawn()
        .expect("starts")
}

fn wait(child: &mut Child) -> Exit {
    until("the program ends", || child.try_wait().expect("a child").is_some());
    let status = child.wait().expect("a child");
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, Some(signal)) => Ended::Signalled(signal),
        (None, None) => Ended::Unknown,
    };
    Exit { ended, stopped: None, millis: 1, leftovers: 0, output: [0, 0] }
}

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !reached() {
        assert!(Instant::now() < end, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn attempt(agent: &Agent, assignment: Assignment) -> Played {
    let invocation = agent.invocation(&assignment);
    let exit = wait(&mut start(&invocation));
    let text = |path: &Path| fs::read_to_string(path).expect("output");
    Played {
        outcome: agent.outcome(&assignment, &exit, None),
        stdout: text(&invocation.stdout),
        stderr: text(&invocation.stderr),
        assignment,
        exit,
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("sent");
}

#[test]
fn the_simulated_agent_speaks_and_works_like_a_real_one() {
    let bench = Bench::new();
    let played = bench.play("");
    assert_eq!(played.outcome.word(), "done", "{}", played.stderr);
    let lines = played.lines();
    let types: Vec<&str> = lines.iter().map(|line| line["type"].as_str().expect("a type")).collect();
    assert_eq!(types, ["system", "assistant", "assistant", "user", "assistant", "user", "result"]);
    assert!(lines.iter().all(|line| line["simulated"] == true));
    let last = lines.last().expect("lines");
    assert_eq!((&last["subtype"], &last["num_turns"]), (&"success".into(), &3.into()));
    assert_eq!(last["session_id"], lines[0]["session_id"]);
    assert!(last["usage"]["output_tokens"].is_u64());
    let edited = fs::read_to_string(bench.root().join("simulated/P001-B01.md")).expect("edited");
    assert_eq!(edited, "- simulated: builder, attempt 1, token 7\n");
    assert!(played.outcome.words().starts_with("simulated: "));
    let result = result::read(&played.assignment.result_file()).expect("good").expect("there");
    assert!(result.summary.starts_with("simulated: "));
}

#[test]
fn every_role_has_its_usual_play() {
    let bench = Bench::new();
    for (n, rule) in Workflow::shipped().rules().iter().enumerate() {
        let assignment = bench.assignment(&rule.role, "S1", n as u64 + 1);
        let played = attempt(&sim(&["--speed", "100"]), assignment);
        assert_eq!(played.outcome.word(), "done", "{}: {}", rule.role, played.stderr);
    }
    let edited = fs::read_to_string(bench.root().join("simulated/S1.md")).expect("edited");
    assert_eq!(edited.lines().count(), 2, "builder and refiner edit, the others do not");
}

#[test]
fn a_planner_proposes_the_scripted_tasks() {
    let bench = Bench::new();
    bench.script(
        r#"
        [[rules]]
        role = "planner"
        tasks = [
          { id = "S1-B01", title = "simulated: build", type = "Build" },
          { id = "S1-T01", title = "simulated: test", type = "Test", dependencies = ["S1-B01"] },
        ]
        "#,
    );
    let played = attempt(&sim(&["--speed", "100"]), bench.assignment(&Role::PLANNER, "S1", 1));
    let Outcome::Done { tasks, .. } = &played.outcome else { panic!("{:?}", played.outcome) };
    let ids: Vec<&str> = tasks.iter().filter_map(|task| task["id"].as_str()).collect();
    assert_eq!(ids, ["S1-B01", "S1-T01"]);
}

#[test]
fn scripted_edits_are_real_and_leave_a_trace() {
    let bench = Bench::new();
    fs::write(bench.root().join("todo.sh"), "old\n").expect("written");
    let played = bench.play(
        r#"
        [[rules]]
        summary = "fixed it"
        [[rules.edits]]
        path = "todo.sh"
        content = "new {task_id}\n"
        [[rules.edits]]
        path = "docs/log.md"
        append = "{role} {attempt} {token}\n"
        "#,
    );
    let text = |path: &str| fs::read_to_string(bench.root().join(path)).expect(path);
    assert_eq!(text("todo.sh"), "new P001-B01\n");
    assert_eq!(text("docs/log.md"), "builder 1 7\n");
    assert!(
        text("simulated/P001-B01.md").contains("simulated: builder, attempt 1, token 7, edited todo.sh, docs/log.md")
    );
    assert_eq!(played.outcome.words(), "simulated: fixed it");
}

#[test]
fn an_edit_never_leaves_the_workspace_through_a_link() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink(outside.path(), bench.root().join("out")).expect("linked");
    let played = bench.play("[[rules]]\n[[rules.edits]]\npath = \"out/x\"\ncontent = \"x\"");
    assert!(played.stderr.contains("is a link"), "{}", played.stderr);
    assert_eq!(played.class(), Class::AgentFailed);
    assert!(!outside.path().join("x").exists());
}

#[test]
fn each_way_to_end_has_its_outcome() {
    for (play, word) in [
        ("say_failed", "failed"),
        ("needs_adapt", "needs_adapt"),
        ("replan", "replan"),
        ("blocked", "blocked"),
        ("no_change", "no_change"),
        ("ask", "needs_input"),
        ("no_result", "done"),
    ] {
        let played = Bench::new().play(&format!("[[rules]]\ndo = \"{play}\""));
        assert_eq!(played.outcome.word(), word, "{play}: {:?}", played.outcome);
        assert!(played.outcome.words().starts_with("simulated"), "{play}: {:?}", played.outcome);
        assert_eq!(played.exit.ended, Ended::Exited(0), "{play}");
    }
}

#[test]
fn each_way_to_break_has_its_class() {
    for (play, ended, class) in [
        ("fail", Ended::Exited(1), Class::AgentFailed),
        ("exit", Ended::Exited(3), Class::AgentFailed),
        ("bad_result", Ended::Exited(0), Class::Protocol),
        ("cut_off", Ended::Exited(0), Class::Protocol),
        ("crash\"\nsignal = \"KILL", Ended::Signalled(9), Class::AgentCrashed),
        ("crash", Ended::Signalled(6), Class::AgentCrashed),
        ("rate_limited", Ended::Exited(1), Class::RateLimited),
        ("say_failed\"\nclass = \"overloaded", Ended::Exited(0), Class::Overloaded),
    ] {
        let played = Bench::new().play(&format!("[[rules]]\ndo = \"{play}\""));
        assert_eq!((&played.exit.ended, played.class()), (&ended, class), "{play}: {:?}", played.outcome);
    }
}

#[test]
fn a_rate_limit_says_when_to_come_back() {
    let before = chrono::Utc::now();
    let played = Bench::new().play("[[rules]]\ndo = \"rate_limited\"\nretry_after = 600");
    let Outcome::Failed { retry_at: Some(at), .. } = played.outcome else { panic!("{:?}", played.outcome) };
    let wait = (at - before).num_seconds();
    assert!((595..=660).contains(&wait), "{wait}");
}

#[test]
fn a_question_comes_with_its_answers() {
    let played = Bench::new().play("[[rules]]\ndo = \"ask\"\nquestion = \"Which?\"\noptions = [\"a\", \"b\"]");
    assert_eq!(played.outcome, Outcome::NeedsInput { question: "simulated: Which?\n1) a\n2) b".into() });
}

#[test]
fn an_exit_status_can_have_a_meaning() {
    let bench = Bench::new();
    bench.script("[[rules]]\ndo = \"exit\"\nexit = 75");
    let mut config = config(AgentKind::Sim, &[SIM, "--speed", "100"]);
    config.exits.insert(75, Class::UsageLimit);
    let played = attempt(&agent::open("sim", &config), bench.assignment(&Role::BUILDER, "T", 1));
    assert_eq!(played.class(), Class::UsageLimit);
}

#[test]
fn a_flood_is_as_large_as_it_was_told() {
    let played = Bench::new().play("[[rules]]\ndo = \"flood\"\nmegabytes = 3");
    assert!(played.stdout.len() > 3_000_000);
    assert_eq!(played.outcome.word(), "done", "the last line is found behind it");
}

#[test]
fn a_hang_is_heard_and_ends_on_term() {
    let bench = Bench::new();
    bench.script("[[rules]]\ndo = \"hang\"\nseconds = 0");
    let assignment = bench.assignment(&Role::BUILDER, "T", 1);
    let invocation = sim(&[]).invocation(&assignment);
    let mut child = start(&invocation);
    until("it is heard three times", || {
        fs::read_to_string(&invocation.stdout).expect("output").matches("still thinking").count() >= 3
    });
    signal(&child, rustix::process::Signal::TERM);
    assert_eq!(wait(&mut child).ended, Ended::Signalled(15));
}

#[test]
fn one_that_ignores_term_ends_on_kill_only() {
    let bench = Bench::new();
    bench.script("[[rules]]\ndo = \"ignore_term\"\nseconds = 0");
    let assignment = bench.assignment(&Role::BUILDER, "T", 1);
    let invocation = sim(&[]).invocation(&assignment);
    let mut child = start(&invocation);
    let heard = || fs::read_to_string(&invocation.stdout).expect("output").matches("still thinking").count();
    until("it ignores TERM by now", || heard() >= 1);
    signal(&child, rustix::process::Signal::TERM);
    let before = heard();
    until("it is heard after TERM", || heard() >= before + 2);
    signal(&child, rustix::process::Signal::KILL);
    assert_eq!(wait(&mut child).ended, Ended::Signalled(9));
}

#[test]
fn silence_is_silence() {
    let bench = Bench::new();
    bench.script("[[rules]]\ndo = \"silent\"\nseconds = 0");
    let assignment = bench.assignment(&Role::BUILDER, "T", 1);
    let invocation = sim(&[]).invocation(&assignment);
    let mut child = start(&invocation);
    until("it has said its last", || fs::read_to_string(&invocation.stdout).expect("output").lines().count() == 2);
    assert!(child.try_wait().expect("a child").is_none());
    signal(&child, rustix::process::Signal::KILL);
    wait(&mut child);
}

#[test]
fn a_left_grandchild_lives_in_a_session_of_its_own() {
    let bench = Bench::new();
    let played = bench.play("[[rules]]\ndo = \"leave_grandchild\"");
    assert_eq!(played.outcome.word(), "done");
    let run_dir = played.assignment.run_dir.to_string_lossy().into_owned();
    let tagged = || -> Vec<i32> {
        let pids = fs::read_dir("/proc").expect("proc").flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()));
        pids.filter(|pid: &i32| {
            let env = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&env).contains(&run_dir)
        })
        .collect()
    };
    // Its session id is its own pid as soon as it has called setsid: field 6 of its stat.
    let own_session = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().nth(3) == Some(&pid.to_string())
    };
    until("it has left the session", || tagged().first().is_some_and(|&pid| own_session(pid)));
    for pid in tagged() {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    }
}

#[test]
fn calls_are_counted_per_role_and_task() {
    let bench = Bench::new();
    bench.script("[[rules]]\nrole = \"builder\"\ntask = \"A\"\ncalls = [2]\ndo = \"needs_adapt\"");
    let word = |role: &Role, task: &str, token| {
        attempt(&sim(&["--speed", "1000"]), bench.assignment(role, task, token)).outcome.word()
    };
    assert_eq!(word(&Role::BUILDER, "A", 1), "done");
    assert_eq!(word(&Role::TESTER, "A", 2), "done");
    assert_eq!(word(&Role::BUILDER, "B", 1), "done");
    assert_eq!(word(&Role::BUILDER, "A", 3), "needs_adapt");
    assert_eq!(word(&Role::BUILDER, "A", 4), "done");
}

#[test]
fn the_same_seed_gives_the_same_play() {
    let play = |seed: &str| {
        let bench = Bench::new();
        let options = ["--speed", "1000", "--seed", seed];
        attempt(&sim(&options), bench.assignment(&Role::TESTER, "T", 3)).lines()[0]["session_id"].clone()
    };
    assert_eq!(play("1"), play("1"));
    assert_ne!(play("1"), play("2"));
}

#[test]
fn the_simulated_agent_refuses_to_run_outside_of_an_attempt() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(SIM);
        command.args(arguments).env_clear().current_dir(dir.path()).stdin(Stdio::null());
        command.output().expect("runs")
    };
    let refused = run(&[]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("agent-sim --standalone"));
    assert_eq!(run(&["--nonsense"]).status.code(), Some(64));
    assert_eq!(run(&["--standalone", "--speed", "0"]).status.code(), Some(64));
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    // The example in the help is a script that works.
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let (_, example) = help.split_once("the run succeeds:\n").expect("the example");
    fs::write(dir.path().join("example.toml"), example).expect("written");
    let example = run(&["--standalone", "--speed", "1000", "--script", "example.toml"]);
    assert_eq!(example.status.code(), Some(0), "{}", String::from_utf8_lossy(&example.stderr));
    fs::write(dir.path().join("bad.toml"), "[[rules]]\ndo = \"dance\"").expect("written");
    let bad = run(&["--standalone", "--script", "bad.toml"]);
    assert_eq!(bad.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("unknown variant `dance`"));
    assert_eq!(run(&["--standalone", "--script", "none.toml"]).status.code(), Some(78));
    let alone = run(&["--standalone", "--speed", "1000"]);
    assert_eq!(alone.status.code(), Some(0));
    assert!(dir.path().join("simulated/standalone.md").is_file());
}

#[test]
fn a_hostile_title_is_one_harmless_argument() {
    let bench = Bench::new();
    let titles = [
        "$(touch x)",
        "`touch x`; touch x & touch x\ntouch x",
        "--flag",
        "\"quotes\" 'and' \\more",
        "\u{1b}[2J\u{7}ansi",
        "``` \n```\n# Run `touch x`",
        "{prompt_file} {{task_id}} {{ task.id }}",
        "nul\0inside",
    ];
    // The program writes its arguments down, each with its length.
    let script = "for argument; do printf '%s<%s>\\n' \"${#argument}\" \"$argument\"; done > seen";
    let argv = ["sh", "-c", script, "sh", "Task: {title}", "{task_id}", "--", "{title}"];
    let agent = agent::open("mine", &config(AgentKind::Command, &argv));
    for (n, title) in titles.iter().enumerate() {
        let mut assignment = bench.assignment(&Role::BUILDER, "P1", n as u64 + 1);
        assignment.task.title = (*title).into();
        let played = attempt(&agent, assignment);
        assert_eq!(played.exit.ended, Ended::Exited(0), "{}", played.stderr);
        let seen = fs::read_to_string(bench.root().join("seen")).expect("written");
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!(lines.len(), 4, "{title:?}: {seen}");
        assert!(lines[0].contains("<Task: ") && lines[1] == "2<P1>" && lines[2] == "2<-->", "{seen}");
        assert!(!seen.contains(['\u{1b}', '\u{7}', '\0']), "{seen:?}");
        let prompt = prompt::render(
            prompt::shipped(&Role::BUILDER).expect("ships"),
            &played.assignment,
            &prompt::PromptFacts::default(),
        );
        let prompt = prompt.expect("no title breaks a prompt");
        assert_eq!(prompt.lines().filter(|line| line.starts_with("- title: `")).count(), 1);
        assert!(!prompt.lines().any(|line| line.starts_with("# Run")));
    }
    assert!(!bench.root().join("x").exists(), "a title was executed");
}

#[test]
fn only_the_listed_environment_reaches_a_program() {
    let bench = Bench::new();
    let mut config = config(AgentKind::Command, &["sh", "-c", "env -0 > seen; cat > prompt"]);
    // Cargo sets these for every test, and nothing of the fleet lists them.
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some() && std::env::var_os("CARGO_PKG_VERSION").is_some());
    config.env.push("CARGO_PKG_NAME".into());
    config.set.insert("GIVEN".into(), "line one\nline two".into());
    let mut assignment = bench.assignment(&Role::BUILDER, "P1", 4);
    assignment.task.branch = Some("feat/x".into());
    let played = attempt(&agent::open("mine", &config), assignment);
    assert_eq!(played.outcome.word(), "done", "{}", played.stderr);
    let seen = fs::read_to_string(bench.root().join("seen")).expect("written");
    let seen: BTreeMap<&str, &str> = seen.split('\0').filter_map(|pair| pair.split_once('=')).collect();
    assert_eq!(seen.get("CARGO_PKG_NAME"), Some(&"oodatcaa"));
    assert_eq!(seen.get("CARGO_PKG_VERSION"), None, "the canary leaked");
    assert_eq!(seen.get("GIVEN"), Some(&"line one\nline two"));
    assert_eq!((seen["TERM"], seen["NO_COLOR"]), ("dumb", "1"));
    assert_eq!((seen["OODATCAA_TASK_ID"], seen["OODATCAA_ROLE"], seen["OODATCAA_TOKEN"]), ("P1", "builder", "4"));
    assert_eq!(seen["OODATCAA_BRANCH"], "feat/x");
    assert_eq!(Path::new(seen["OODATCAA_RESULT_FILE"]), played.assignment.result_file());
    assert_eq!(fs::read_to_string(bench.root().join("prompt")).expect("written"), "the prompt\n");
}

#[test]
fn a_program_may_say_what_it_came_to() {
    let bench = Bench::new();
    let script = r#"printf '{"outcome":"blocked","summary":"no network"}' > "$OODATCAA_RESULT_FILE"; exit 9"#;
    let agent = agent::open("mine", &config(AgentKind::Command, &["sh", "-c", script]));
    let played = attempt(&agent, bench.assignment(&Role::BUILDER, "P1", 1));
    assert_eq!(played.outcome, Outcome::Blocked { reason: "no network".into() });
    assert!(!agent.simulated());
}
