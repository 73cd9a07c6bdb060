//! Any program, described by an argv template and a map of exit codes: what its exit means, and what an agent CLI's means
//! beside its output.

use std::path::Path;

use super::{
    Agent, Assignment, argv,
    failure::{self, Failure},
    find_program, output, result,
};
use oodatcaa_config::{AgentConfig, AgentKind, PromptVia};
use oodatcaa_core::{Class, Outcome, environment as machine, text};
use oodatcaa_process::{Ended, Exit, StopCause};

/// Checks what a configuration says of its command.
pub(super) fn check(config: &AgentConfig) -> Result<(), String> {
    argv::check(&config.argv)?;
    if config.kind == AgentKind::Command
        && config.prompt == PromptVia::File
        && !argv::mentions(&config.argv, "prompt_file")
    {
        let needed = "`prompt = \"file\"` needs `{prompt_file}` in its argv, or the program never sees its prompt";
        return Err(needed.into());
    }
    Ok(())
}

impl Agent {
    /// Returns what the exit of any program means.
    pub(super) fn command_outcome(&self, assignment: &Assignment, exit: &Exit) -> Outcome {
        self.forced(assignment, exit)
            .or_else(|| self.by_result(assignment, exit))
            .unwrap_or_else(|| self.by_exit(assignment, exit))
    }

    /// Returns what has to be said before anything that the agent said: it was ended by us, or never ran.
    pub(super) fn forced(&self, assignment: &Assignment, exit: &Exit) -> Option<Outcome> {
        if let Some(bad) = self.problem() {
            return Some(Outcome::failed(Class::Config, format!("cannot {bad}")));
        }
        if let Some(cause) = exit.stopped {
            let after = text::duration(std::time::Duration::from_millis(exit.millis));
            let (class, words) = match cause {
                StopCause::Asked => (Class::Interrupted, format!("stopped by us after {after}")),
                StopCause::WorkerGone => (Class::Interrupted, format!("its worker died after {after}")),
                StopCause::Wall => (Class::Timeout, format!("ended after {after}, the limit `timeout` of its role")),
                StopCause::Silence => {
                    let limit = "it wrote nothing for `idle_timeout`, the limit of its role";
                    (Class::Silent, format!("ended after {after}: {limit}"))
                }
                StopCause::Output => {
                    let [out, err] = exit.output;
                    let wrote = format!("({out} bytes to stdout, {err} to stderr)");
                    let limit = "it wrote more than the limit `output` of its role";
                    (Class::AgentFailed, format!("ended after {after}: {limit} {wrote}"))
                }
                StopCause::Memory => {
                    let limit = "it and its processes used more memory than the limit `memory` of its role";
                    (Class::AgentFailed, format!("ended after {after}: {limit}"))
                }
            };
            return Some(Outcome::failed(class, words));
        }
        match &exit.ended {
            Ended::NotStarted { error, not_found } => Some(self.not_started(assignment, error, *not_found)),
            _ => None,
        }
    }

    fn not_started(&self, assignment: &Assignment, error: &str, not_found: bool) -> Outcome {
        if !assignment.workspace.is_dir() {
            let workspace = assignment.workspace.display();
            return Outcome::failed(Class::Config, format!("the workspace {workspace} is not there"));
        }
        let env = self.environment(assignment);
        let path = env.get("PATH").map_or("", String::as_str);
        let program = self.program_in(path, &assignment.project, &assignment.workspace);
        let file = find_program(&program, path, &assignment.workspace);
        if not_found {
            let reason = match file {
                Some(file) => no_interpreter(&file),
                None if program.contains('/') => format!("the program `{program}` is not there"),
                None => format!("the program `{program}` is not on PATH ({path})"),
            };
            let hint = match self.install() {
                Some(hint) => format!("install it: {hint}"),
                None => format!("install it, or name another in `agents.{}.argv`", self.name),
            };
            return Outcome::failed(Class::AgentNotFound, format!("{reason}; {hint}"));
        }
        let words = error.to_ascii_lowercase();
        let named = |file: &std::path::PathBuf| error.starts_with(&*file.to_string_lossy());
        if let Some(file) = file.filter(|file| words.contains("no such file") && named(file)) {
            return Outcome::failed(Class::AgentNotFound, no_interpreter(&file));
        }
        let short = ["temporarily unavailable", "cannot allocate memory", "too many open files"];
        let class = if ["permission denied", "not permitted", "not executable"].iter().any(|sign| words.contains(sign))
        {
            Class::PermissionDenied
        } else if short.iter().any(|sign| words.contains(sign)) {
            // The machine is short of something: that passes, and is nobody's mistake.
            Class::AgentCrashed
        } else {
            Class::Config
        };
        Outcome::failed(class, format!("the program `{program}` could not be started: {}", text::one_line(error)))
    }

    /// Lets `said` stand only after a good end: who was killed says nothing that counts, and who failed has not done it.
    fn believed(&self, assignment: &Assignment, exit: &Exit, said: Outcome) -> Outcome {
        let success = matches!(said, Outcome::Done { .. } | Outcome::NoChange { .. });
        let counts = match exit.ended {
            Ended::Exited(0) => true,
            // It gave a reason of its own for its failure.
            Ended::Exited(_) => !success,
            _ => exit.stopped == Some(StopCause::Asked),
        };
        match (counts, self.by_exit(assignment, exit)) {
            (false, Outcome::Failed { class, reason, retry_at }) => {
                let reason =
                    format!("{reason}\nits result.json said `{}`, which does not count after that", said.word());
                Outcome::Failed { class, reason, retry_at }
            }
            _ => said,
        }
    }

    /// Returns what the exit alone says, when nothing else decided.
    pub(super) fn by_exit(&self, assignment: &Assignment, exit: &Exit) -> Outcome {
        let run_dir = &assignment.run_dir;
        let with_output = |mut words: String| {
            let secrets = self.secrets(assignment);
            let mut last = output::last_lines(&run_dir.join("stderr.log"), 12, &secrets);
            if last.is_empty() {
                last = output::last_lines(&run_dir.join("stdout.log"), 5, &secrets);
            }
            if !last.is_empty() {
                words.push_str(":\n");
                words.push_str(&last);
            }
            words
        };
        match exit.ended {
            Ended::Exited(code) => match self.config.exits.get(&code) {
                Some(&class) => {
                    Outcome::failed(class, with_output(format!("exit status {code}, which means `{class}` here")))
                }
                None if code == 0 => {
                    let last = output::last_lines(&run_dir.join("stdout.log"), 1, &self.secrets(assignment));
                    Outcome::Done { summary: last, tasks: Vec::new() }
                }
                None if machine::CANNOT_RUN.contains(&code) => {
                    let words = format!("exit status {code}: a program that it needs cannot be run, or is not there");
                    Outcome::failed(Class::AgentNotFound, with_output(words))
                }
                None => {
                    let last = output::last_lines(&run_dir.join("stderr.log"), 12, &[]);
                    let class = match (machine::no_sandbox(&last), machine::no_room_inside(&last, assignment.confined))
                    {
                        (Some(_), _) => Failure::SandboxBroken.class(),
                        (None, Some(_)) => Class::Environment,
                        (None, None) => Class::AgentFailed,
                    };
                    let hint = machine::no_sandbox(&last).filter(|_| assignment.sandboxed).map(|_| nested(&self.name));
                    Outcome::failed(class, with_output(format!("exit status {code}")) + &hint.unwrap_or_default())
                }
            },
            Ended::Signalled(signal) => Outcome::failed(Class::AgentCrashed, with_output(failure::signal(signal))),
            Ended::Unknown => {
                Outcome::failed(Class::AgentCrashed, "its shim died, so it is not known how the program ended")
            }
            Ended::NotStarted { .. } => Outcome::failed(Class::AgentNotFound, "the program never started"),
        }
    }

    /// Returns what the result file says, if there is one; an unreadable one after a crash is part of the crash.
    pub(super) fn by_result(&self, assignment: &Assignment, exit: &Exit) -> Option<Outcome> {
        match result::read(&assignment.result_file()) {
            Ok(result) => {
                let said = output::mask_outcome(result?.into_outcome(), &self.secrets(assignment));
                Some(self.believed(assignment, exit, said))
            }
            Err(what) => Some(match (self.by_exit(assignment, exit), &exit.ended) {
                (Outcome::Failed { class, reason, retry_at }, Ended::Signalled(_) | Ended::Unknown) => {
                    Outcome::Failed { class, reason: format!("{reason}\nand {what}"), retry_at }
                }
                (_, Ended::Exited(code)) => Outcome::failed(Class::Protocol, format!("{what} (exit status {code})")),
                _ => Outcome::failed(Class::Protocol, what),
            }),
        }
    }
}

/// Says what to do about a sandbox of an agent's own that does not work inside ours.
pub(super) fn nested(name: &str) -> String {
    format!(
        "\nit is inside our sandbox, where its own does not work: switch its own off (its settings, \
         `permissions = \"all\"`), or write `nested = true` in `[agents.{name}.sandbox]`"
    )
}

fn no_interpreter(file: &Path) -> String {
    format!("the program {} is there, but the interpreter in its first line is missing", file.display())
}

#[cfg(test)]
mod tests;
