//! From a role's template and a task to the text that the agent reads.
//!
//! Templates are strict: a variable that does not exist is an error with its line, never an empty
//! place. Text from outside prints itself as data (`prompt_data`), so that no template, shipped or
//! a project's own, has to think of it.

use std::{io, path::Path};

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, context, syntax::SyntaxConfig, value::Value};

use super::{
    Assignment,
    prompt_data::{block, line, word},
    result,
};
use oodatcaa_core::Role;
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files::{self, FileError, Why};

/// The largest template, in bytes.
pub const LARGEST: u64 = 10 * 1024 * 1024;

/// The largest rendered prompt, in bytes.
const LARGEST_PROMPT: usize = 32 * 1024 * 1024;

/// The steps that a template may compute; a loop that never ends is an error, not a wedged worker.
const FUEL: u64 = 1_000_000;

/// The number of items of a long list that are shown.
const MOST: usize = 100;

/// The number of earlier failures that are shown, the latest.
const MOST_FAILURES: usize = 5;

/// The variables of a template, for messages.
const VARIABLES: &str = "task (id, title, type, status, priority, description, acceptance_criteria, exit_gates, \
     complexity, parent, branch), role, attempt, dependencies, failures, answers, handed, gates, children, writable, result_file, run_dir, \
     workspace, project, result_schema, facts";

/// The facts of a prompt beside the assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptFacts {
    /// The tasks that this one depends on.
    pub dependencies: Vec<Related>,
    /// The failures of earlier attempts at this stage, the latest last.
    pub failures: Vec<String>,
    /// A person's answers to earlier questions: question and answer, the latest last.
    pub answers: Vec<(String, String)>,
    /// The last words of the role that had the task before.
    pub handed: Option<Handed>,
    /// The gates that will be run: name and command line.
    pub gates: Vec<(String, String)>,
    /// The tasks whose parent this one is.
    pub children: Vec<Related>,
    /// The places that it may write beside its workspace, in words; nothing where it is not confined.
    pub writable: Vec<String>,
}

/// Another task, as a prompt tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Related {
    /// Its id, as somebody wrote it.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its status.
    pub status: String,
    /// The summary of its last attempt; empty where nothing is known.
    pub summary: String,
}

/// The account that another role gave of its own attempt on the same task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    /// The role that gave it.
    pub role: String,
    /// It said that there was nothing to change.
    pub nothing: bool,
    /// Its words.
    pub summary: String,
    /// Lists what it decided, and what it wanted others to know.
    pub said: Vec<String>,
    /// Names what a person would look at in its work.
    pub risky: Vec<String>,
}

/// The reason why there is no prompt. Each is a failure of the class `config`.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// There is no such file.
    #[error("read the prompt template {0}: there is no such file")]
    Missing(String),
    /// It cannot be read or used.
    #[error("{0}")]
    Bad(String),
}

fn too_large(name: &str, size: u64) -> PromptError {
    PromptError::Bad(format!("use the prompt template {name}: it has {size} bytes, at most {LARGEST} are allowed"))
}

/// Returns the template that ships for a role.
pub fn shipped(role: &Role) -> Option<&'static str> {
    match role.as_str() {
        "planner" => Some(include_str!("../../../.oodatcaa/prompts/planner.md")),
        "builder" => Some(include_str!("../../../.oodatcaa/prompts/builder.md")),
        "tester" => Some(include_str!("../../../.oodatcaa/prompts/tester.md")),
        "refiner" => Some(include_str!("../../../.oodatcaa/prompts/refiner.md")),
        "integrator" => Some(include_str!("../../../.oodatcaa/prompts/integrator.md")),
        "architect" => Some(include_str!("prompts/architect.md")),
        "code_developer" => Some(include_str!("prompts/code_developer.md")),
        "project_manager" => Some(include_str!("prompts/project_manager.md")),
        "assistant" => Some(include_str!("prompts/assistant.md")),
        _ => None,
    }
}

/// Returns a template for a new role; `about` says what it is for.
pub fn of_new_role(about: &str) -> String {
    include_str!("prompts/new.md").replacen("ABOUT", about.trim(), 1)
}

/// Reads a template file.
pub fn load(path: &Path) -> Result<String, PromptError> {
    let name = || path.display().to_string();
    // A clone may bring a link to a key of its user along; what it leads to would be sent away.
    match files::read_text(Layout::root_of(path), path, LARGEST) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(PromptError::Missing(name())),
        Err(FileError { why: Why::TooLong { size, .. }, .. }) => Err(too_large(&name(), size)),
        Err(error) => Err(PromptError::Bad(format!("read the prompt template {}: {}", name(), error.why))),
    }
}

/// Renders a role's template for an attempt. A template without any variable (an old prompt file)
/// gets the facts of the task in front.
pub fn render(template: &str, assignment: &Assignment, facts: &PromptFacts) -> Result<String, PromptError> {
    let name = format!("{}.md", assignment.rule.role);
    let size = template.len() as u64;
    if size > LARGEST {
        return Err(too_large(&name, size));
    }
    let values = variables(assignment, facts);
    let told = fill("facts", include_str!("prompt_facts.md"), &values)?;
    if !template.contains("{{") && !template.contains("{%") {
        let schema = result::HINT;
        return Ok(format!(
            "{told}\n## Before you read on\n\n\
             Work on this task only. Where the text below tells you to choose a task, to take or write a lease, or to\n\
             edit the queue file, leave that out: it has been done for you. Before you end, write the result file named\n\
             above in this shape:\n\n```json\n{schema}\n```\n\n---\n\n{template}"
        ));
    }
    fill(&name, template, &context! { facts => told, ..values })
}

/// Returns what is said to a session that goes on with the task where it stopped; `words` say what ended it.
pub fn go_on(assignment: &Assignment, facts: &PromptFacts, words: &str) -> Result<String, PromptError> {
    let values = variables(assignment, facts);
    fill("go_on", include_str!("prompt_go_on.md"), &context! { ended => block(words), ..values })
}

/// A message for the role, as a prompt tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its name, e.g. `builder-17`.
    pub id: String,
    /// The sender.
    pub from: String,
    /// The kind, in one word of the sender's; empty for none.
    pub kind: String,
    /// The time at which it was sent.
    pub sent_at: String,
    /// It stood in the prompt of an attempt that ended before it could act on it.
    pub again: bool,
    /// Its words.
    pub text: String,
}

/// Renders what was sent to the role, for the end of its prompt, whatever template that was made of; empty without
/// messages.
pub fn messages(all: &[Message]) -> Result<String, PromptError> {
    if all.is_empty() {
        return Ok(String::new());
    }
    let message = |one: &Message| {
        context! {
            id => word(&one.id), from => line(&one.from), kind => word(&one.kind), sent_at => one.sent_at.as_str(),
            again => one.again, text => block(&one.text),
        }
    };
    let all: Vec<Value> = all.iter().map(message).collect();
    fill("messages", include_str!("prompt_mail.md"), &context! { messages => all })
}

fn fill(name: &str, template: &str, values: &Value) -> Result<String, PromptError> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true);
    env.set_syntax(syntax.build().expect("the usual delimiters"));
    env.set_fuel(Some(FUEL));
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let wrong = |error: &Error| {
        let (line, what) = (error.line().unwrap_or_default(), words(error, template));
        PromptError::Bad(format!("render the prompt template {name}, line {line}: {what}"))
    };
    let compiled = env.template_from_named_str(name, template).map_err(|error| wrong(&error))?;
    let mut bounded = Bounded(Vec::new());
    compiled.render_captured_to(values, &mut bounded).map_err(|error| wrong(&error))?;
    Ok(String::from_utf8(bounded.0).expect("templates and values are text"))
}

/// Returns what is wrong, in words that help the person who wrote the template.
fn words(error: &Error, template: &str) -> String {
    let place = error.range().and_then(|range| template.get(range)).map(str::trim).unwrap_or_default();
    let detail = error.detail().unwrap_or_default();
    match error.kind() {
        ErrorKind::UndefinedError => format!("there is no `{place}`; there are: {VARIABLES}"),
        ErrorKind::OutOfFuel => "it computes too much; does a loop never end?".into(),
        ErrorKind::WriteFailure => format!("the prompt is larger than {LARGEST_PROMPT} bytes"),
        ErrorKind::SyntaxError => {
            format!("{detail}; text that is no template belongs between {{% raw %}} and {{% endraw %}}")
        }
        kind if place.is_empty() => format!("{kind}: {detail}"),
        kind => format!("{kind}: {detail} (at `{place}`)"),
    }
}

/// An output that does not grow without end.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_PROMPT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn variables(assignment: &Assignment, facts: &PromptFacts) -> Value {
    let task = &assignment.task;
    let optional = |text: &Option<String>| text.as_deref().map_or_else(|| line(""), word);
    let lines = |texts: &[String]| texts.iter().take(MOST).map(|text| line(text)).collect::<Vec<_>>();
    let related = |tasks: &[Related]| {
        let one = |task: &Related| {
            context! {
                id => word(&task.id), title => line(&task.title), status => word(&task.status),
                summary => block(&task.summary),
            }
        };
        tasks.iter().take(MOST).map(one).collect::<Vec<_>>()
    };
    let gate = |(name, command): &(String, String)| context! { name => word(name), command => line(command) };
    let answer =
        |(question, answer): &(String, String)| context! { question => block(question), answer => block(answer) };
    let handed = facts.handed.as_ref().map(|handed| {
        context! {
            role => word(&handed.role), nothing => handed.nothing, summary => block(&handed.summary),
            said => lines(&handed.said), risky => lines(&handed.risky),
        }
    });
    let skipped = facts.failures.len().saturating_sub(MOST_FAILURES);
    let path = |path: &Path| path.display().to_string();
    context! {
        task => context! {
            id => task.id.as_str(),
            title => line(&task.title),
            type => optional(&task.kind),
            status => word(task.status.as_str()),
            priority => task.priority,
            description => block(task.description.as_deref().unwrap_or_default()),
            acceptance_criteria => lines(&task.acceptance_criteria),
            exit_gates => lines(&task.exit_gates),
            complexity => optional(&task.complexity),
            parent => optional(&task.parent),
            branch => optional(&task.branch),
        },
        role => assignment.rule.role.as_str(),
        attempt => assignment.lease.attempt,
        dependencies => related(&facts.dependencies),
        failures => facts.failures.iter().skip(skipped).map(|text| block(text)).collect::<Vec<_>>(),
        answers => facts.answers.iter().map(answer).collect::<Vec<_>>(),
        handed => handed,
        gates => facts.gates.iter().map(gate).collect::<Vec<_>>(),
        children => related(&facts.children),
        writable => lines(&facts.writable),
        result_file => path(&assignment.result_file()),
        run_dir => path(&assignment.run_dir),
        workspace => path(&assignment.workspace),
        project => path(&assignment.project),
        result_schema => result::HINT,
    }
}

#[cfg(test)]
mod tests;
