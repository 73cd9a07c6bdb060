//! Any program, described by an argv template and a map of exit codes: how a user plugs in a CLI.
//!
//! How values come into the argv is `argv`'s matter; here stands what the exit of the program means.

use std::{collections::BTreeMap, path::Path};

use super::{
    Agent, Assignment, BadAgent, Watcher,
    argv::{self, fill},
    environment, failure, find_program, output, result,
};
use oodatcaa_config::{AgentConfig, AgentKind, PromptVia};
use oodatcaa_core::{Class, Outcome, environment as machine, text};
use oodatcaa_process::{Ended, Exit, Invocation, StopCause};

/// Any program.
#[derive(Clone, Debug)]
pub struct Command {
    name: String,
    argv: Vec<String>,
    bad: Option<BadAgent>,
    prompt: PromptVia,
    env: Vec<String>,
    set: BTreeMap<String, String>,
    exits: BTreeMap<i32, Class>,
    install: Option<String>,
}

impl Command {
    /// Makes the agent that the configuration describes.
    pub fn new(name: &str, config: &AgentConfig) -> Self {
        Self {
            name: name.into(),
            argv: config.argv.clone(),
            bad: check(name, config).err(),
            prompt: config.prompt,
            env: config.env.clone(),
            set: config.set.clone(),
            exits: config.exits.clone(),
            install: config.install.clone(),
        }
    }

    /// Returns the same with another argv.
    pub(super) fn with_argv(self, argv: Vec<String>) -> Self {
        Self { argv, ..self }
    }

    /// Returns the values that must not be shown.
    pub(super) fn secrets(&self, assignment: &Assignment) -> Vec<String> {
        environment::secrets(&environment(assignment, &self.env, &self.set), &self.set)
    }

    /// Returns what has to be said before anything that the agent said: it was ended by us, or never ran.
    pub(super) fn forced(&self, assignment: &Assignment, exit: &Exit) -> Option<Outcome> {
        if let Some(bad) = &self.bad {
            return Some(Outcome::failed(Class::Config, format!("cannot {bad}")));
        }
        if let Some(cause) = exit.stopped {
            let after = text::duration(std::time::Duration::from_millis(exit.millis));
            return Some(match cause {
                StopCause::Asked => Outcome::failed(Class::Interrupted, format!("stopped by us after {after}")),
                StopCause::WorkerGone => Outcome::failed(Class::Interrupted, format!("its worker died after {after}")),
                StopCause::Wall => Outcome::failed(
                    Class::Timeout,
                    format!("was not finished after {after}, the limit `timeout` of its role; ended"),
                ),
                StopCause::Silence => Outcome::failed(
                    Class::Silent,
                    format!("ended after {after}: it wrote nothing for `idle_timeout`, the limit of its role"),
                ),
                StopCause::Output => Outcome::failed(
                    Class::AgentFailed,
                    format!(
                        "ended after {after}: it wrote more than the limit `output` of its role ({} bytes to stdout, {} to stderr)",
                        exit.output[0], exit.output[1]
                    ),
                ),
                StopCause::Memory => Outcome::failed(
                    Class::AgentFailed,
                    format!(
                        "ended after {after}: it and what it had started held more memory than the limit `memory` of its role"
                    ),
                ),
            });
        }
        match &exit.ended {
            Ended::NotStarted { error, not_found } => Some(self.not_started(assignment, error, *not_found)),
            _ => None,
        }
    }

    fn not_started(&self, assignment: &Assignment, error: &str, not_found: bool) -> Outcome {
        let argv = fill(&self.argv, assignment);
        let program = argv.first().map_or("", String::as_str);
        let env = environment(assignment, &self.env, &self.set);
        let path = env.get("PATH").map_or("", String::as_str);
        if !assignment.workspace.is_dir() {
            let workspace = assignment.workspace.display();
            return Outcome::failed(Class::Config, format!("the workspace {workspace} is not there"));
        }
        if not_found {
            let reason = match find_program(program, path, &assignment.workspace) {
                Some(file) => no_interpreter(&file),
                None if program.contains('/') => format!("the program `{program}` is not there"),
                None => format!("the program `{program}` is not on PATH ({path})"),
            };
            let hint = match &self.install {
                Some(hint) => format!("install it: {hint}"),
                None => format!("install it, or name another in `agents.{}.argv`", self.name),
            };
            return Outcome::failed(Class::AgentNotFound, format!("{reason}; {hint}"));
        }
        let words = error.to_ascii_lowercase();
        let file = find_program(program, path, &assignment.workspace);
        if let Some(file) =
            file.filter(|file| words.contains("no such file") && error.starts_with(&*file.to_string_lossy()))
        {
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
            Ended::Exited(code) => match self.exits.get(&code) {
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
                    let class = if machine::no_room(&last).is_some() { Class::Environment } else { Class::AgentFailed };
                    Outcome::failed(class, with_output(format!("exit status {code}")))
                }
            },
            Ended::Signalled(signal) => Outcome::failed(Class::AgentCrashed, with_output(failure::signal(signal))),
            Ended::Unknown => {
                Outcome::failed(Class::AgentCrashed, "its shim died, and how the program ended is not known")
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

fn check(name: &str, config: &AgentConfig) -> Result<(), BadAgent> {
    argv::check(&config.argv).map_err(|what| BadAgent::Argv { name: name.into(), what })?;
    let sees_file = argv::mentions(&config.argv, "prompt_file");
    if config.kind == AgentKind::Command && config.prompt == PromptVia::File && !sees_file {
        return Err(BadAgent::PromptUnseen(name.into()));
    }
    super::check_variables(name, config)
}

fn no_interpreter(file: &Path) -> String {
    format!("the program {} is there, but the interpreter in its first line is missing", file.display())
}

impl Agent for Command {
    fn name(&self) -> &str {
        &self.name
    }

    fn simulated(&self) -> bool {
        false
    }

    fn problem(&self) -> Option<&BadAgent> {
        self.bad.as_ref()
    }

    fn missing_program(&self, cwd: &Path) -> Option<String> {
        let program = argv::program(&self.argv, cwd, cwd);
        find_program(&program, &environment::path(&self.set), cwd).is_none().then_some(program)
    }

    fn install(&self) -> Option<String> {
        self.install.clone()
    }

    fn invocation(&self, assignment: &Assignment) -> Invocation {
        // A configuration that was refused executes nothing: an empty argv cannot start.
        let argv = if self.bad.is_some() { Vec::new() } else { fill(&self.argv, assignment) };
        Invocation {
            argv,
            env: environment(assignment, &self.env, &self.set),
            cwd: assignment.workspace.clone(),
            stdin: (self.prompt == PromptVia::Stdin).then(|| assignment.prompt_file()),
            stdout: assignment.run_dir.join("stdout.log"),
            stderr: assignment.run_dir.join("stderr.log"),
        }
    }

    fn secrets(&self, assignment: &Assignment) -> Vec<String> {
        Self::secrets(self, assignment)
    }

    fn outcome(&self, assignment: &Assignment, exit: &Exit, _watched: Option<&Watcher>) -> Outcome {
        self.forced(assignment, exit)
            .or_else(|| self.by_result(assignment, exit))
            .unwrap_or_else(|| self.by_exit(assignment, exit))
    }
}

#[cfg(test)]
mod tests;
