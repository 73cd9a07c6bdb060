//! An agent that speaks the Agent Client Protocol, behind a real shim and our real client.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use oodatcaa_agent::{self as agent, Agent, Assignment, Observation, Stream};
use oodatcaa_config::{AgentConfig, AgentKind};
use oodatcaa_core::{Class, Outcome, Role};
use oodatcaa_process::{Attempt, Exit, Limits, Report, Stop, leftovers};

const SIM: &str = env!("CARGO_BIN_EXE_agent-sim");
const SHIM: &str = env!("CARGO_BIN_EXE_agent-daemon");
const PATIENCE: Duration = Duration::from_secs(30);

/// A project, and an agent that plays what it is told.
struct Bench {
    dir: tempfile::TempDir,
    config: AgentConfig,
}

struct Played {
    outcome: Outcome,
    seen: Observation,
    said: String,
}

impl Bench {
    fn new(steps: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut argv: Vec<String> = vec![SIM.into(), "acp".into()];
        argv.extend(steps.iter().flat_map(|step| ["--play".to_owned(), (*step).to_owned()]));
        argv.extend(["--sessions".into(), dir.path().join("sessions").display().to_string()]);
        let config =
            AgentConfig { kind: AgentKind::Adapter, adapter: Some("acp".into()), argv, ..AgentConfig::default() };
        assert_eq!(agent::open("it", &config).problem(), None);
        fs::create_dir(dir.path().join("w")).unwrap();
        Self { dir, config }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.root().join("w").join(name)).unwrap_or_default()
    }

    fn assignment(&self, token: u64) -> Assignment {
        let assignment = crate::agents::assignment_in(self.root(), &Role::BUILDER, "A", token);
        Assignment { workspace: self.root().join("w"), ..assignment }
    }

    fn agent(&self) -> Agent {
        agent::open("it", &self.config)
    }

    fn start(&self, assignment: &Assignment) -> Attempt {
        let limits = Limits { wall: Some(PATIENCE), silence: None, output: 256 << 20, memory: None, grace: PATIENCE };
        let invocation = self.agent().invocation(assignment);
        Attempt::start(Path::new(SHIM), &assignment.run_dir, &invocation, &limits).unwrap()
    }

    fn end(&self, assignment: &Assignment, attempt: &Attempt) -> Played {
        let exit = exit_of(attempt);
        let said = fs::read_to_string(assignment.run_dir.join("stdout.log")).unwrap();
        let mut watcher = self.agent().watcher(assignment).unwrap();
        watcher.feed(Stream::Stdout, said.as_bytes(), Duration::ZERO);
        watcher.finish(Duration::ZERO);
        // Its shim goes a moment after it has told the end.
        crate::support::eventually("nothing is left", || leftovers(&assignment.run_dir).is_empty().then_some(()));
        let outcome = self.agent().outcome(assignment, &exit, None);
        Played { outcome, seen: watcher.seen().clone(), said }
    }

    fn play(&self) -> Played {
        let assignment = self.assignment(1);
        self.end(&assignment, &self.start(&assignment))
    }
}

fn exit_of(attempt: &Attempt) -> Exit {
    loop {
        if let Report::Ended(exit) = attempt.reports().recv_timeout(PATIENCE * 2).unwrap() {
            return exit;
        }
    }
}

impl Played {
    #[track_caller]
    fn class(&self) -> (Class, &str) {
        match &self.outcome {
            Outcome::Failed { class, reason, .. } => (*class, reason),
            other => panic!("{other:?}: {}", self.said),
        }
    }

    #[track_caller]
    fn done(&self) -> &str {
        match &self.outcome {
            Outcome::Done { summary, .. } => summary,
            other => panic!("{other:?}: {}", self.said),
        }
    }
}

#[test]
fn it_writes_a_file_through_us_when_it_asks() {
    let bench = Bench::new(&["write=hello.txt=hello", "say=all done"]);
    let played = bench.play();
    assert_eq!(bench.file("hello.txt"), "hello");
    assert!(played.done().ends_with("all done"), "{:?}", played.outcome);
    assert!(played.said.contains("permission: once"), "the least that it offers: {}", played.said);
    let seen = &played.seen;
    assert!(seen.session.as_deref().is_some_and(|session| session.starts_with("sim-")));
    assert_eq!((seen.model.as_deref(), seen.last_tool.as_deref()), (Some("sim-1"), Some("write hello.txt")));
    assert_eq!((seen.usage.tokens_in, seen.usage.tokens_out, seen.usage.cached), (Some(130), Some(20), Some(30)));
    assert_eq!((seen.usage.cost_usd, seen.steps, seen.denials, seen.ended), (Some(0.75), 1, 0, true));
}

#[test]
fn what_is_not_allowed_is_refused_and_told() {
    let bench = Bench::new(&["run=rm -rf /", "write=ok.txt=x"]);
    let played = bench.play();
    assert!(played.done().starts_with("(1 tool calls were not allowed)"), "{:?}", played.outcome);
    assert_eq!((bench.file("ok.txt").as_str(), played.seen.denials), ("x", 1));
    // What one task needs and nobody allowed holds that task, not its role.
    let held = |outcome: &Outcome| matches!(outcome, Outcome::Blocked { reason } if reason.contains("`permissions`"));
    let only = Bench::new(&["run=make"]).play();
    assert!(held(&only.outcome), "{:?}", only.outcome);
    let mut all = Bench::new(&["run=make"]);
    all.config.permissions = Some("all".into());
    assert_eq!(all.play().seen.denials, 0);
    let mut changes = Bench::new(&["write=x=y"]);
    changes.config.permissions = Some("plan".into());
    let planned = changes.play();
    assert!(held(&planned.outcome) && changes.file("x").is_empty(), "{:?}", planned.outcome);
}

#[test]
fn nothing_outside_of_the_workspace_is_written_or_read() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret words").unwrap();
    let secret = outside.path().join("secret").display().to_string();
    let steps =
        [format!("write={secret}=x"), "write=../x=x".into(), "write=link=x".into(), "write=dir/secret=x".into()];
    let reads = [format!("read={secret}"), "read=link".into(), "read=mine".into()];
    let all: Vec<&str> = steps.iter().chain(&reads).map(String::as_str).collect();
    let mut bench = Bench::new(&all);
    // Even when it is granted everything, what it has us do stays in the workspace.
    bench.config.permissions = Some("all".into());
    symlink(outside.path().join("secret"), bench.root().join("w/link")).unwrap();
    symlink(outside.path(), bench.root().join("w/dir")).unwrap();
    fs::write(bench.root().join("w/mine"), "my own words").unwrap();
    let played = bench.play();
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret words");
    assert!(!played.said.contains("secret words"), "{}", played.said);
    assert!(played.said.contains("my own words"), "{}", played.said);
    assert!(!bench.root().join("x").exists());
}

#[test]
fn the_result_file_may_be_written_although_it_stands_elsewhere() {
    let bench = Bench::new(&[]);
    let result = bench.assignment(1).result_file().display().to_string();
    let step = format!("write={result}={{\"outcome\":\"replan\",\"summary\":\"why\"}}");
    let mut bench = Bench { config: Bench::new(&[&step]).config, ..bench };
    assert_eq!(bench.play().outcome, Outcome::Replan { reason: "why".into() });
    bench.config.permissions = Some("plan".into());
    fs::remove_dir_all(bench.root().join(".oodatcaa")).unwrap();
    assert_eq!(bench.play().outcome, Outcome::Replan { reason: "why".into() }, "also when it only plans");
}

#[test]
fn a_session_is_loaded_again_and_its_past_is_no_news() {
    let bench = Bench::new(&["say=new words"]);
    let session = bench.play().seen.session.unwrap();
    let again = Assignment { resume: Some(session.clone()), ..bench.assignment(2) };
    assert!(bench.agent().can_resume());
    let played = bench.end(&again, &bench.start(&again));
    assert_eq!(played.seen.session, Some(session));
    assert!(!played.said.contains("simulated, and old"), "{}", played.said);
    assert!(played.done().ends_with("new words"));
    assert_eq!(played.seen.usage.cost_usd, Some(0.25), "only what has come since");

    let lost = Assignment { resume: Some("sim-lost".into()), ..bench.assignment(3) };
    assert_eq!(bench.end(&lost, &bench.start(&lost)).class().0, Class::SessionLost);
    let mut forgetful = Bench::new(&[]);
    forgetful.config.args = vec!["--forgetful".into()];
    let again = Assignment { resume: Some("sim-1".into()), ..forgetful.assignment(4) };
    let played = forgetful.end(&again, &forgetful.start(&again));
    assert_eq!(played.class().0, Class::SessionLost);
}

#[test]
fn what_is_no_message_and_what_is_too_long_do_no_harm() {
    let bench = Bench::new(&["noise", "huge=20000000", "noise", "write=a=b", "say=the end"]);
    let played = bench.play();
    assert!(played.done().ends_with("the end"));
    assert_eq!(bench.file("a"), "b");
    assert!(played.said.contains("a line of more than 16777216 bytes was dropped"));
    assert!(played.said.contains("this is no message"));
}

#[test]
fn an_agent_that_dies_midway_is_no_success() {
    for code in ["0", "3"] {
        let played = Bench::new(&["write=a=b", &format!("die={code}")]).play();
        let (class, reason) = played.class();
        assert_eq!(class, Class::Protocol, "{reason}");
        assert!(reason.contains(&format!("the agent is gone (exit status: {code})")), "{reason}");
    }
    let mut missing = Bench::new(&[]);
    missing.config.argv = vec!["/no/such/agent".into()];
    assert_eq!(missing.play().class().0, Class::AgentNotFound);
    assert!(missing.agent().missing_program(missing.root()).is_some());
}

#[test]
fn its_errors_are_told_apart() {
    for (step, class) in [
        ("error=429=Rate limit exceeded", Class::RateLimited),
        ("error=-32603=Internal error: You exceeded your current quota", Class::UsageLimit),
        ("error=-32000=Authentication required", Class::AuthExpired),
        ("error=529=x", Class::Overloaded),
        ("error=-32603=fetch failed", Class::Network),
        ("error=-32603=something", Class::Unclassified),
        ("stop=max_tokens", Class::ContextOverflow),
        ("stop=refusal", Class::AgentFailed),
        ("stop=cancelled", Class::Interrupted),
    ] {
        let played = Bench::new(&["write=a=b", step]).play();
        assert_eq!(played.class().0, class, "{step}: {}", played.said);
    }
    let mut locked = Bench::new(&[]);
    locked.config.args = vec!["--locked".into()];
    let played = locked.play();
    let (class, reason) = played.class();
    assert!(class == Class::AuthExpired && reason.contains("ways to sign in: sim-key"), "{reason}");
    let mut model = Bench::new(&[]);
    model.config.model = Some("sim-2".into());
    assert_eq!(model.play().seen.model.as_deref(), Some("sim-2"));
    model.config.model = Some("other".into());
    assert_eq!(model.play().class().0, Class::Config);
}

#[test]
fn it_is_asked_to_cancel_before_it_is_ended() {
    for (step, words) in [("hang", "deaf"), ("wait", "bytes of prompt")] {
        let bench = Bench::new(&[step]);
        let assignment = bench.assignment(1);
        let attempt = bench.start(&assignment);
        let log = assignment.run_dir.join("stdout.log");
        let until = Instant::now() + PATIENCE;
        while !fs::read_to_string(&log).is_ok_and(|text| text.contains(words)) {
            assert!(Instant::now() < until, "it never began");
            thread::sleep(Duration::from_millis(5));
        }
        attempt.stop(Stop::Gently);
        let played = bench.end(&assignment, &attempt);
        assert_eq!(played.class().0, Class::Interrupted, "{step}: {}", played.said);
        assert_eq!(played.said.contains(r#""stop":"cancelled""#), step == "hang", "{}", played.said);
    }
}
