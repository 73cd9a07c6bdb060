//! What `command` must hold.

use super::*;
use crate::{
    open,
    tests::{assignment, config},
};

fn argv(template: &[&str]) -> Vec<String> {
    template.iter().map(|&argument| argument.into()).collect()
}

struct Case {
    config: AgentConfig,
    exit: Exit,
    stdout: &'static str,
    stderr: &'static str,
    result: Option<&'static str>,
}

impl Case {
    fn ended(ended: Ended) -> Self {
        let exit = Exit { ended, stopped: None, millis: 65_000, leftovers: 0, output: [7, 8] };
        Self { config: config(&["tool"]), exit, stdout: "", stderr: "", result: None }
    }

    fn stopped(cause: StopCause) -> Self {
        let mut case = Self::ended(Ended::Signalled(15));
        case.exit.stopped = Some(cause);
        case.result = Some(r#"{"outcome":"done","summary":"too early"}"#);
        case
    }

    fn outcome(&self) -> Outcome {
        let dir = tempfile::tempdir().expect("a directory");
        let assignment = assignment(dir.path());
        std::fs::write(assignment.run_dir.join("stdout.log"), self.stdout).expect("written");
        std::fs::write(assignment.run_dir.join("stderr.log"), self.stderr).expect("written");
        if let Some(result) = self.result {
            std::fs::write(assignment.result_file(), result).expect("written");
        }
        open("mine", &self.config).outcome(&assignment, &self.exit, None)
    }

    fn failure(&self) -> (Class, String) {
        match self.outcome() {
            Outcome::Failed { class, reason, .. } => (class, reason),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_we_did_to_it_comes_first() {
    for (cause, class, says) in [
        (StopCause::Asked, Class::Interrupted, "stopped by us after 1m5s"),
        (StopCause::WorkerGone, Class::Interrupted, "its worker died"),
        (StopCause::Wall, Class::Timeout, "limit `timeout`"),
        (StopCause::Silence, Class::Silent, "`idle_timeout`"),
        (StopCause::Output, Class::AgentFailed, "limit `output` of its role (7 bytes to stdout"),
        (StopCause::Memory, Class::AgentFailed, "more memory than the limit `memory` of its role"),
    ] {
        let (got, reason) = Case::stopped(cause).failure();
        assert!(got == class && reason.contains(says), "{got} {reason}");
    }
}

#[test]
fn a_program_that_is_missing_says_how_to_install_it() {
    let mut case = Case::ended(Ended::NotStarted { error: "No such file or directory".into(), not_found: true });
    case.config.argv = argv(&["no-such-agent"]);
    case.config.install = Some("npm install -g no-such-agent".into());
    let (class, reason) = case.failure();
    assert_eq!(class, Class::AgentNotFound);
    assert!(reason.contains("`no-such-agent` is not on PATH") && reason.contains("npm install"), "{reason}");
    case.config.install = None;
    assert!(case.failure().1.contains("agents.mine.argv"));
    // A program that is there, and still "not found": its interpreter is missing.
    case.config.argv = argv(&["sh"]);
    assert!(case.failure().1.contains("interpreter"));
    case.config.argv = argv(&["/bin/sh"]);
    let error = "/bin/sh: No such file or directory (os error 2)".into();
    case.exit.ended = Ended::NotStarted { error, not_found: false };
    let (class, reason) = case.failure();
    assert!(class == Class::AgentNotFound && reason.contains("interpreter"), "{reason}");
}

#[test]
fn other_reasons_not_to_start_are_told_apart() {
    for (error, class) in [
        ("Permission denied (os error 13)", Class::PermissionDenied),
        ("/opt/tool: not executable", Class::PermissionDenied),
        ("Exec format error (os error 8)", Class::Config),
        ("Resource temporarily unavailable (os error 11)", Class::AgentCrashed),
    ] {
        let case = Case::ended(Ended::NotStarted { error: error.into(), not_found: false });
        assert_eq!(case.failure().0, class, "{error}");
    }
}

#[test]
fn a_result_file_decides_over_the_exit_status() {
    let mut case = Case::ended(Ended::Exited(1));
    case.result = Some(r#"{"outcome":"replan","summary":"why"}"#);
    assert_eq!(case.outcome(), Outcome::Replan { reason: "why".into() });
    case.result = Some("{\"outcome\":\n oops}");
    let (class, reason) = case.failure();
    assert_eq!(class, Class::Protocol);
    assert!(reason.contains("line 2 column 2") && reason.contains("exit status 1"), "{reason}");
}

#[test]
fn a_torn_result_of_a_crash_is_part_of_the_crash() {
    let mut case = Case::ended(Ended::Signalled(9));
    case.result = Some("{\"outcome\":");
    let (class, reason) = case.failure();
    assert_eq!(class, Class::AgentCrashed);
    assert!(
        reason.starts_with("killed from outside (perhaps out of memory)") && reason.contains("result.json"),
        "{reason}"
    );
}

#[test]
fn exit_codes_mean_what_the_configuration_says() {
    let mut case = Case::ended(Ended::Exited(75));
    case.stderr = "\u{1b}[31mslow down\u{1b}[0m\n";
    assert_eq!(case.failure(), (Class::AgentFailed, "exit status 75:\nslow down".into()));
    case.config.exits.insert(75, Class::RateLimited);
    let (class, reason) = case.failure();
    assert!(class == Class::RateLimited && reason.contains("means `rate_limited`"), "{reason}");
}

#[test]
fn without_a_result_zero_is_done_with_its_last_words() {
    let mut case = Case::ended(Ended::Exited(0));
    case.stdout = "working\n\nall done\n\n";
    assert_eq!(case.outcome(), Outcome::Done { summary: "all done".into(), tasks: vec![] });
}

#[test]
fn deaths_that_we_did_not_send_are_crashes() {
    assert_eq!(Case::ended(Ended::Signalled(11)).failure().0, Class::AgentCrashed);
    assert_eq!(Case::ended(Ended::Unknown).failure().0, Class::AgentCrashed);
}

#[test]
fn given_secrets_do_not_come_back() {
    let mut case = Case::ended(Ended::Exited(1));
    case.config.set.insert("SOME_API_KEY".into(), "sk-123456789".into());
    case.stderr = "401 for sk-123456789\n";
    assert_eq!(case.failure().1, "exit status 1:\n401 for ***");
    case.result = Some(r#"{"outcome":"blocked","summary":"sk-123456789 is refused"}"#);
    assert_eq!(case.outcome().words(), "*** is refused");
}

#[test]
fn a_refused_configuration_executes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let assignment = assignment(dir.path());
    let config = config(&["tool", "{nonsense}"]);
    assert!(open("mine", &config).problem().is_some());
    let agent = open("mine", &config);
    assert_eq!(agent.invocation(&assignment).argv, Vec::<String>::new());
    let exit = Exit {
        ended: Ended::NotStarted { error: "nothing to execute".into(), not_found: true },
        stopped: None,
        millis: 0,
        leftovers: 0,
        output: [0, 0],
    };
    let outcome = agent.outcome(&assignment, &exit, None);
    assert!(matches!(&outcome, Outcome::Failed { class: Class::Config, .. }) && outcome.words().contains("{nonsense}"));
}

#[test]
fn the_prompt_goes_the_way_that_was_configured() {
    let dir = tempfile::tempdir().expect("a directory");
    let assignment = assignment(dir.path());
    let mut config = config(&["tool", "{prompt_file}"]);
    assert_eq!(open("m", &config).invocation(&assignment).stdin, Some(assignment.prompt_file()));
    config.prompt = PromptVia::File;
    assert_eq!(open("m", &config).invocation(&assignment).stdin, None);
}
