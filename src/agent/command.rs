//! Any program, described by an argv template and a map of exit codes: how a user plugs in a CLI.
//!
//! The argv is executed as it stands, no shell ever sees it. A placeholder is replaced inside its
//! argument; a value can never become a second argument, and text from the queue (`{title}`) can
//! become neither an option nor a script.

use std::{collections::BTreeMap, path::Path};

use super::{Agent, Assignment, environment, find_program, output, result};
use crate::{
    config::{AgentConfig, PromptVia},
    domain::{Class, Outcome, text},
    process::{Ended, Exit, Invocation, StopCause},
};

/// What an argv template may name.
pub const PLACEHOLDERS: &[&str] =
    &["prompt_file", "task_id", "role", "run_dir", "result_file", "workspace", "project", "attempt", "title"];

/// The longest title that is put into an argument, in characters; the kernel bounds the whole argv.
const LONGEST_TITLE: usize = 500;

/// What is wrong with an argv template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadArgv {
    /// Nothing to execute.
    #[error("its argv is empty; write e.g. `argv = [\"my-agent\", \"--print\"]`")]
    Empty,
    /// A name that stands for nothing.
    #[error("argv[{at}] names `{{{name}}}`; there are: {all}. For a literal `{{{name}}}` write `{{{{{name}}}}}`", all = listed())]
    Unknown {
        /// Which argument, from 0.
        at: usize,
        /// The name.
        name: String,
    },
    /// The program would depend on the task.
    #[error("argv[0] names `{{{0}}}`; a program may depend on `{{project}}` and `{{workspace}}` only")]
    Program(String),
    /// A title that starts with a dash would be read as an option.
    #[error(
        "argv[{0}] starts with `{{title}}`, and a title may start with a dash; put text before it (`Task: {{title}}`, `--title={{title}}`) or `--` before the argument"
    )]
    TitleFirst(usize),
    /// A value would become part of a shell script.
    #[error(
        "argv[{at}] is a shell script with `{{{name}}}` in it; values never go through a shell. Use an argument (`sh -c 'agent \"$1\"' -- \"{{{name}}}\"`) or the `OODATCAA_*` variables"
    )]
    Script {
        /// Which argument, from 0.
        at: usize,
        /// The placeholder.
        name: String,
    },
    /// An argument cannot hold it.
    #[error("argv[{0}] holds a NUL character")]
    Nul(usize),
}

fn listed() -> String {
    PLACEHOLDERS.iter().map(|name| format!("`{{{name}}}`")).collect::<Vec<_>>().join(", ")
}

/// A piece of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(String),
}

/// Takes an argument apart. Only `{name}` is a placeholder, other braces (JSON) stand for themselves;
/// `{{name}}` is a literal `{name}`.
fn pieces(argument: &str) -> Vec<Piece> {
    let name_at = |rest: &str| -> Option<usize> {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        (length > 0 && rest.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(length)
    };
    let mut all = Vec::new();
    let mut text = String::new();
    let mut rest = argument;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(inner) = rest.strip_prefix("{{")
            && let Some(length) = name_at(inner)
            && inner[length..].starts_with("}}")
        {
            text.push_str(&rest[1..length + 3]);
            rest = &inner[length + 2..];
        } else if let Some(length) = name_at(&rest[1..]).filter(|length| rest[1 + length..].starts_with('}')) {
            if !text.is_empty() {
                all.push(Piece::Text(std::mem::take(&mut text)));
            }
            all.push(Piece::Value(rest[1..=length].into()));
            rest = &rest[length + 2..];
        } else {
            text.push('{');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    if !text.is_empty() || all.is_empty() {
        all.push(Piece::Text(text));
    }
    all
}

fn values(argument: &str) -> impl Iterator<Item = String> {
    pieces(argument).into_iter().filter_map(|piece| match piece {
        Piece::Value(name) => Some(name),
        Piece::Text(_) => None,
    })
}

/// `true` when some argument names this placeholder.
pub fn mentions(argv: &[String], name: &str) -> bool {
    argv.iter().any(|argument| values(argument).any(|value| value == name))
}

/// Checks an argv template.
pub fn check(argv: &[String]) -> Result<(), BadArgv> {
    let program = argv.first().filter(|program| !program.is_empty()).ok_or(BadArgv::Empty)?;
    let script = script_at(argv);
    let mut options_ended = false;
    for (at, argument) in argv.iter().enumerate() {
        if argument.contains('\0') {
            return Err(BadArgv::Nul(at));
        }
        if let Some(name) = values(argument).find(|name| !PLACEHOLDERS.contains(&name.as_str())) {
            return Err(BadArgv::Unknown { at, name });
        }
        if script == Some(at)
            && let Some(name) = values(argument).next()
        {
            return Err(BadArgv::Script { at, name });
        }
        if !options_ended && pieces(argument).first() == Some(&Piece::Value("title".into())) && at > 0 {
            return Err(BadArgv::TitleFirst(at));
        }
        options_ended |= argument == "--";
    }
    match values(program).find(|name| !matches!(name.as_str(), "project" | "workspace")) {
        Some(name) => Err(BadArgv::Program(name)),
        None => Ok(()),
    }
}

/// Where the script of `sh -c SCRIPT` stands, also behind `env`, `nice` and the like.
fn script_at(argv: &[String]) -> Option<usize> {
    const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "mksh", "fish", "ash", "busybox"];
    let is_shell = |argument: &String| {
        Path::new(argument).file_name().and_then(|name| name.to_str()).is_some_and(|name| SHELLS.contains(&name))
    };
    let shell = argv.iter().position(is_shell)?;
    let options = argv.iter().enumerate().skip(shell + 1);
    let is_command = |argument: &str| {
        argument.strip_prefix('-').is_some_and(|flags| {
            !flags.starts_with('-') && flags.ends_with('c') && flags.chars().all(|flag| flag.is_ascii_alphabetic())
        })
    };
    options.into_iter().find(|(_, argument)| is_command(argument)).map(|(at, _)| at + 1)
}

/// Fills a checked argv template in.
fn fill(argv: &[String], assignment: &Assignment) -> Vec<String> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let value = |name: &str| match name {
        "prompt_file" => path(&assignment.prompt_file()),
        "task_id" => assignment.task.id.to_string(),
        "role" => assignment.rule.role.to_string(),
        "run_dir" => path(&assignment.run_dir),
        "result_file" => path(&assignment.result_file()),
        "workspace" => path(&assignment.workspace),
        "project" => path(&assignment.project),
        "attempt" => assignment.lease.attempt.to_string(),
        _ => text::cut(&text::one_line(&assignment.task.title), LONGEST_TITLE),
    };
    let filled = |argument: &String| {
        pieces(argument).into_iter().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Value(name) => value(&name),
        })
    };
    argv.iter().map(|argument| filled(argument).collect()).collect()
}

/// Any program.
#[derive(Clone, Debug)]
pub struct Command {
    name: String,
    argv: Vec<String>,
    bad: Option<super::BadAgent>,
    prompt: PromptVia,
    env: Vec<String>,
    set: BTreeMap<String, String>,
    exits: BTreeMap<i32, Class>,
    install: Option<String>,
}

impl Command {
    /// As the configuration describes it.
    pub fn new(name: &str, config: &AgentConfig) -> Self {
        Self {
            name: name.into(),
            argv: config.argv.clone(),
            bad: super::check(name, config).err(),
            prompt: config.prompt,
            env: config.env.clone(),
            set: config.set.clone(),
            exits: config.exits.clone(),
            install: config.install.clone(),
        }
    }

    /// The same with another argv.
    pub(super) fn with_argv(self, argv: Vec<String>) -> Self {
        Self { argv, ..self }
    }

    /// The values that must not be shown.
    fn secrets(&self, assignment: &Assignment) -> Vec<String> {
        environment::secrets(&environment(assignment, &self.env, &self.set))
    }

    /// What has to be said before anything that the agent said: it was ended by us, or never ran.
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
                    format!("ended after {after}: it wrote nothing for the limit `silence` of its role"),
                ),
                StopCause::Output => Outcome::failed(
                    Class::AgentFailed,
                    format!(
                        "ended after {after}: it wrote more than the limit `output` of its role ({} bytes to stdout, {} to stderr)",
                        exit.output[0], exit.output[1]
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
                Some(file) => format!(
                    "the program {} is there and cannot be executed: the interpreter in its first line is missing",
                    file.display()
                ),
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
        let short = ["temporarily unavailable", "cannot allocate memory", "too many open files"];
        let class = if words.contains("permission denied") || words.contains("not permitted") {
            Class::PermissionDenied
        } else if short.iter().any(|sign| words.contains(sign)) {
            // The machine is short of something: that passes, and is nobody's mistake.
            Class::AgentCrashed
        } else {
            Class::Config
        };
        Outcome::failed(class, format!("the program `{program}` could not be started: {}", text::one_line(error)))
    }

    /// What the exit alone says, when nothing else decided.
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
                None => Outcome::failed(Class::AgentFailed, with_output(format!("exit status {code}"))),
            },
            Ended::Signalled(signal) => Outcome::failed(
                Class::AgentCrashed,
                with_output(format!("ended by signal {signal}, which we did not send")),
            ),
            Ended::Unknown => {
                Outcome::failed(Class::AgentCrashed, "its keeper died, and how the program ended is not known")
            }
            Ended::NotStarted { .. } => Outcome::failed(Class::AgentNotFound, "the program never started"),
        }
    }

    /// What the result file says, if there is one; an unreadable one after a crash is part of the crash.
    pub(super) fn by_result(&self, assignment: &Assignment, exit: &Exit) -> Option<Outcome> {
        match result::read(&assignment.result_file()) {
            Ok(result) => Some(mask(result?.into_outcome(), &self.secrets(assignment))),
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

fn mask(outcome: Outcome, secrets: &[String]) -> Outcome {
    let masked = |text: String| output::mask(&text, secrets);
    match outcome {
        Outcome::Done { summary, tasks } => Outcome::Done { summary: masked(summary), tasks },
        Outcome::NoChange { summary } => Outcome::NoChange { summary: masked(summary) },
        Outcome::NeedsAdapt { reason } => Outcome::NeedsAdapt { reason: masked(reason) },
        Outcome::Replan { reason } => Outcome::Replan { reason: masked(reason) },
        Outcome::Blocked { reason } => Outcome::Blocked { reason: masked(reason) },
        Outcome::NeedsInput { question } => Outcome::NeedsInput { question: masked(question) },
        Outcome::Failed { class, reason, retry_at } => Outcome::Failed { class, reason: masked(reason), retry_at },
    }
}

impl Agent for Command {
    fn name(&self) -> &str {
        &self.name
    }

    fn simulated(&self) -> bool {
        false
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

    fn outcome(&self, assignment: &Assignment, exit: &Exit) -> Outcome {
        self.forced(assignment, exit)
            .or_else(|| self.by_result(assignment, exit))
            .unwrap_or_else(|| self.by_exit(assignment, exit))
    }
}

#[cfg(test)]
mod tests;
