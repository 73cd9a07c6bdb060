//! The simulated agent: how `agent-sim` is called, and what its last line means.
//!
//! It writes a stream of JSON lines as real CLIs do: without a last line of type `result` nothing was achieved, whatever
//! the exit status says.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Agent, Assignment, output};
use oodatcaa_config::{AgentConfig, PromptVia};
use oodatcaa_core::{Class, Outcome, text};
use oodatcaa_process::{Ended, Exit};

/// The program's name.
const PROGRAM: &str = "agent-sim";

/// Names the program that stands beside our own, so that both are of one version; an `argv` is only needed for options
/// (`["agent-sim", "--speed", "10"]`).
pub(super) fn complete(config: &mut AgentConfig) {
    config.prompt = PromptVia::Stdin;
    if config.argv.is_empty() {
        config.argv.push(PROGRAM.into());
    }
    let beside_us = std::env::current_exe().ok().map(|exe| exe.with_file_name(PROGRAM)).filter(|file| file.is_file());
    if let Some(file) = beside_us.filter(|_| config.argv[0] == PROGRAM) {
        config.argv[0] = file.to_string_lossy().into_owned();
    }
}

/// The last line of the stream, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Last {
    subtype: String,
    is_error: bool,
    #[serde(default)]
    result: String,
    retry_at: Option<DateTime<Utc>>,
}

/// Returns the last `result` line, if the stream ends with one.
fn last_line(stdout: &str) -> Option<Result<Last, serde_json::Error>> {
    let line = stdout.lines().rev().find(|line| !line.trim().is_empty())?;
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    (value["type"] == "result").then(|| serde_json::from_value(value))
}

impl Last {
    fn failure(self) -> Outcome {
        let class = self.subtype.strip_prefix("error_").and_then(|word| word.parse().ok());
        let reason = text::cut(output::plain(&self.result).trim(), 4_000);
        Outcome::Failed { class: class.unwrap_or(Class::AgentFailed), reason, retry_at: self.retry_at }
    }
}

impl Agent {
    /// Returns what the exit of the simulated agent means.
    pub(super) fn sim_outcome(&self, assignment: &Assignment, exit: &Exit) -> Outcome {
        if let Some(forced) = self.forced(assignment, exit) {
            return forced;
        }
        let by_exit = || self.by_exit(assignment, exit);
        let Ended::Exited(code) = exit.ended else { return by_exit() };
        match last_line(&output::tail(&assignment.run_dir.join("stdout.log"))) {
            None if code == 0 => Outcome::failed(Class::Protocol, "its output ends without a `result` line"),
            None => by_exit(),
            Some(Err(error)) => Outcome::failed(Class::Protocol, format!("its `result` line is wrong: {error}")),
            Some(Ok(last)) if last.is_error => last.failure(),
            Some(Ok(_)) if code != 0 => by_exit(),
            Some(Ok(last)) => self.by_result(assignment, exit).unwrap_or_else(|| Outcome::Done {
                summary: text::cut(output::plain(&last.result).trim(), 4_000),
                tasks: Vec::new(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{open, tests::assignment};
    use oodatcaa_config::AgentKind;

    fn outcome(stdout: &str, result: Option<&str>, code: i32) -> Outcome {
        let dir = tempfile::tempdir().expect("a directory");
        let assignment = assignment(dir.path());
        std::fs::write(assignment.run_dir.join("stdout.log"), stdout).expect("written");
        if let Some(result) = result {
            std::fs::write(assignment.result_file(), result).expect("written");
        }
        let exit = Exit { ended: Ended::Exited(code), stopped: None, millis: 1, leftovers: 0, output: [0, 0] };
        let config = AgentConfig { kind: AgentKind::Sim, ..AgentConfig::default() };
        open("sim", &config).outcome(&assignment, &exit, None)
    }

    const GOOD: &str = r#"{"type":"result","subtype":"success","is_error":false,"result":"simulated: fine"}"#;

    #[test]
    fn success_needs_the_last_line() {
        assert_eq!(outcome(GOOD, None, 0).word(), "done");
        assert_eq!(outcome(GOOD, None, 0).words(), "simulated: fine");
        for stdout in ["", "{\"type\":\"assistant\"}\n", "nonsense", &format!("{GOOD}\n{{\"type\":\"assistant\"}}\n")] {
            let got = outcome(stdout, Some(r#"{"outcome":"done","summary":"simulated"}"#), 0);
            assert!(matches!(got, Outcome::Failed { class: Class::Protocol, .. }), "{stdout}: {got:?}");
        }
    }

    #[test]
    fn a_refusal_of_the_service_is_told_apart() {
        let line = r#"{"type":"result","subtype":"error_rate_limited","is_error":true,"result":"simulated: later","retry_at":"2026-01-05T09:00:00.000Z"}"#;
        let got = outcome(line, Some(r#"{"outcome":"done","summary":"simulated"}"#), 1);
        assert!(matches!(got, Outcome::Failed { class: Class::RateLimited, retry_at: Some(_), .. }), "{got:?}");
    }

    #[test]
    fn the_result_file_says_what_a_success_came_to() {
        assert_eq!(outcome(GOOD, Some(r#"{"outcome":"replan","summary":"simulated: why"}"#), 0).word(), "replan");
        let got = outcome(GOOD, Some("{"), 0);
        assert!(matches!(got, Outcome::Failed { class: Class::Protocol, .. }), "{got:?}");
    }

    #[test]
    fn a_failing_exit_is_no_success() {
        let got = outcome(GOOD, None, 9);
        assert!(matches!(got, Outcome::Failed { class: Class::AgentFailed, .. }), "{got:?}");
    }
}
