//! The file in which an agent says what its attempt came to.
//!
//! It is written by a model and therefore read with suspicion: bounded, strict, never through a
//! link. What is wrong with it is said with its place, because the words go into the next prompt.
//! Whether proposed tasks fit into the queue is judged where they are added.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::output;
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Class, Member, Outcome, TaskId, outcome::Policy, text};
use oodatcaa_sys::files::{self, Why};

/// The largest result file that is read, in bytes.
pub const LARGEST: u64 = 4 * 1024 * 1024;

/// Its name, in the agent's directory; the attempt's directory keeps a copy of ours without secrets.
pub const FILE: &str = "result.json";

/// The most tasks that one result may propose.
pub(crate) const MOST_TASKS: usize = 200;

/// The longest text that goes on into the queue and the journal, in characters.
const LONGEST: usize = 4_000;

/// The published schema, draft-07.
pub const SCHEMA: &str = include_str!("../../../schema/result.schema.json");

/// The shape in short, for prompts.
pub(crate) const HINT: &str = include_str!("result_hint.txt").trim_ascii_end();

/// The outcome that the agent claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The work is there.
    Done,
    /// It did not work out.
    Failed,
    /// The work needs adaptation.
    NeedsAdapt,
    /// The plan is wrong.
    Replan,
    /// Something outside stands in the way.
    Blocked,
    /// A human must answer first.
    NeedsInput,
    /// Everything was as it should be already.
    NoChange,
}

/// A question to a human.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The question itself.
    pub text: String,
    /// Answers to pick from.
    #[serde(default)]
    pub options: Vec<String>,
    /// The answer that the agent would give.
    pub default: Option<String>,
}

/// A choice that the agent made on its way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The choice and its reason.
    pub text: String,
}

/// An answer to one of the task's acceptance criteria.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Its number in the prompt, from 1.
    pub criterion: usize,
    /// `true` where it holds.
    pub met: bool,
    /// The proof.
    pub evidence: String,
}

/// The directory below an agent's own for messages that it sends while it works, one [`Mail`] in a file `*.json`.
pub const MESSAGES: &str = "messages";

/// Mail that the agent wants sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// A role, `human`, or `all`.
    pub to: String,
    /// Its words.
    pub text: String,
    /// Its urgency: `urgent`, `high`, `normal`, `low`, or a number from 1 (first) to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Urgency>,
    /// The kind, in one word, e.g. `spec_created`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The thread that it belongs to, e.g. the message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

/// The urgency of mail, as an agent writes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(untagged)]
pub enum Urgency {
    /// A number.
    Number(u8),
    /// A word, or a number as text.
    Word(String),
}

impl Urgency {
    /// Returns the number that it means; none for a word that nobody knows.
    pub fn number(&self) -> Option<u8> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Word(word) => match word.to_ascii_lowercase().as_str() {
                "urgent" | "critical" => Some(1),
                "high" => Some(3),
                "normal" => Some(5),
                "low" => Some(8),
                other => other.parse().ok(),
            },
        }
        .filter(|number| (1..=10).contains(number))
    }
}

/// A whole result file, checked.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentResult {
    /// For editors; says nothing.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    /// The outcome.
    pub outcome: Verdict,
    /// The work done and its proof; or the reason why not.
    pub summary: String,
    /// Tasks that it proposes.
    #[serde(default)]
    pub tasks: Vec<Map<String, Value>>,
    /// The answers to the acceptance criteria.
    #[serde(default)]
    pub criteria: Vec<Answer>,
    /// Choices that it made.
    #[serde(default)]
    pub decisions: Vec<Choice>,
    /// Mail that it wants sent.
    #[serde(default)]
    pub messages: Vec<Mail>,
    /// Its question to a person.
    pub question: Option<Question>,
    /// With `failed`: what kind of failure.
    pub class: Option<Class>,
    /// With `failed`: when to try again, where the model's service said so.
    pub retry_at: Option<DateTime<Utc>>,
}

/// Reads a result file; `None` when there is none. The error says what is wrong and where.
pub fn read(path: &Path) -> Result<Option<AgentResult>, String> {
    let Some(bytes) = bytes(path)? else { return Ok(None) };
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| format!("result.json is not UTF-8 at byte {}", error.valid_up_to()))?;
    parse(text).map(Some)
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, String> {
    // An agent could put a link to a secret, or a pipe that never ends, in the file's place.
    files::read(Layout::root_of(path), path, LARGEST).map_err(|error| match error.why {
        Why::TooLong { .. } => format!("result.json is larger than {} MiB", LARGEST / 1024 / 1024),
        Why::Refused(reason) => format!("result.json is not a plain file: {reason}"),
        why => format!("result.json cannot be read: {why}"),
    })
}

/// Returns the text of a result file with its secrets masked; `None` when there is none that can be read.
pub fn masked(path: &Path, secrets: &[String]) -> Option<String> {
    let text = String::from_utf8(bytes(path).ok()??).ok()?;
    Some(output::mask(&text, secrets))
}

/// Reads the text of a result file.
pub fn parse(text: &str) -> Result<AgentResult, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err("result.json is empty".into());
    }
    // serde would take a list for an object whose members come in order.
    if text.trim_start().starts_with('[') {
        return Err("result.json is a list; it must be one JSON object".into());
    }
    let result: AgentResult = serde_json::from_str(text).map_err(|error| {
        let fenced = text.trim_start().starts_with("```");
        let hint = if fenced { "; write the bare JSON object, without a Markdown fence" } else { "" };
        format!("result.json is invalid: {error}{hint}")
    })?;
    result.check().map_err(|what| format!("result.json is invalid: {what}"))?;
    Ok(result)
}

impl AgentResult {
    fn check(&self) -> Result<(), String> {
        if self.outcome == Verdict::NeedsInput {
            let asked = self.question.as_ref().is_some_and(|question| !question.text.trim().is_empty());
            if !asked {
                return Err("outcome `needs_input` needs a `question` with a `text`".into());
            }
        } else if self.question.is_some() {
            return Err("`question` goes with outcome `needs_input` only".into());
        }
        let needs_why = !matches!(self.outcome, Verdict::Done | Verdict::NoChange | Verdict::NeedsInput);
        if needs_why && self.summary.trim().is_empty() {
            return Err("`summary` is empty; it must say why".into());
        }
        if self.outcome != Verdict::Failed && (self.class.is_some() || self.retry_at.is_some()) {
            return Err("`class` and `retry_at` go with outcome `failed` only".into());
        }
        if let Some(class) = self.class.filter(|class| !may_claim(*class)) {
            return Err(format!("`class` cannot be `{class}`; only we can know that"));
        }
        if self.outcome != Verdict::Done && !self.tasks.is_empty() {
            return Err("`tasks` go with outcome `done` only".into());
        }
        if self.tasks.len() > MOST_TASKS {
            return Err(format!("{} `tasks`, at most {MOST_TASKS} are allowed", self.tasks.len()));
        }
        let mut seen = std::collections::HashSet::new();
        for (at, task) in self.tasks.iter().enumerate() {
            let id = check_task(task).map_err(|what| format!("`tasks[{at}]`: {what}"))?;
            if !seen.insert(id) {
                return Err(format!("`tasks[{at}]`: the id `{id}` is there twice"));
            }
        }
        Ok(())
    }

    /// Returns what it means for the attempt.
    pub fn into_outcome(self) -> Outcome {
        let summary = shown(&self.summary);
        match self.outcome {
            Verdict::Done => Outcome::Done { summary, tasks: self.tasks.into_iter().map(without_nulls).collect() },
            Verdict::NoChange => Outcome::NoChange { summary },
            Verdict::NeedsAdapt => Outcome::NeedsAdapt { reason: summary },
            Verdict::Replan => Outcome::Replan { reason: summary },
            Verdict::Blocked => Outcome::Blocked { reason: summary },
            Verdict::NeedsInput => {
                Outcome::NeedsInput { question: shown(&self.question.as_ref().map_or(summary, Question::in_one_text)) }
            }
            Verdict::Failed => Outcome::Failed {
                class: self.class.unwrap_or(Class::AgentFailed),
                reason: summary,
                retry_at: self.retry_at,
            },
        }
    }
}

impl Question {
    /// Joins question, answers and default to one text for people.
    pub(crate) fn in_one_text(&self) -> String {
        let mut all = self.text.trim().to_owned();
        for (n, option) in self.options.iter().enumerate() {
            all.push_str(&format!("\n{}) {option}", n + 1));
        }
        if let Some(default) = &self.default {
            all.push_str(&format!("\n(suggested: {default})"));
        }
        all
    }
}

/// Tells whether an agent may say this of itself: what follows from stops and from gates, only we can know.
pub fn may_claim(class: Class) -> bool {
    class.policy() != Policy::Stop
        && !matches!(class, Class::GateFailed | Class::NoEvidence | Class::Config | Class::Environment | Class::Sandbox)
}

/// Returns a text of an agent as it goes on into queue and journal.
fn shown(text: &str) -> String {
    text::cut(output::plain(text).trim(), LONGEST)
}

/// Members of a proposed task, what each must be, and how that is called.
type Form = (&'static [&'static str], fn(&Value) -> bool, &'static str);

const FORMS: [Form; 3] = [
    (&["id", "title", "description", "type", "complexity"], Value::is_string, "a text"),
    (&["dependencies", "depends_on", "acceptance_criteria"], is_list_of_texts, "a list of texts"),
    (&["priority"], Value::is_i64, "a whole number"),
];

fn is_list_of_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
}

fn check_task(task: &Map<String, Value>) -> Result<&str, String> {
    let said = |name: &str| task.get(name).filter(|value| !value.is_null());
    let id = said("id").ok_or("`id` is missing")?.as_str().ok_or("`id` must be a text")?;
    TaskId::parse(id).map_err(|bad| format!("`id` {bad}"))?;
    for (names, fits, what) in FORMS {
        let wrong = names.iter().find_map(|name| Some((name, said(name).filter(|value| !fits(value))?)));
        if let Some((name, value)) = wrong {
            let value = text::cut(&value.to_string(), 40);
            return Err(format!("`{name}` of task `{id}` must be {what}, not `{value}`"));
        }
    }
    if said("title").and_then(Value::as_str).is_none_or(|title| title.trim().is_empty()) {
        return Err(format!("task `{id}` has no `title`"));
    }
    // Where it starts is said by its type; many models write a status and a branch all the same, and are not heard.
    let quiet = [Member::Status, Member::Branch];
    let mut ours = Member::of_rules().filter(|member| !quiet.contains(member)).map(Member::as_str);
    match ours.find(|name| said(name).is_some()) {
        Some(name) => Err(format!("`{name}` of task `{id}` is not yours to set")),
        None => Ok(id),
    }
}

/// Members that say nothing are left out, `"lease": null` among them.
fn without_nulls(mut task: Map<String, Value>) -> Map<String, Value> {
    task.retain(|_, value| !value.is_null());
    task
}

#[cfg(test)]
mod tests;
