//! What the endpoint answers: rules from a TOML text, or markers in the prompt itself.
//!
//! ```toml
//! [[rules]]
//! name = "the builder"
//! when = ["You are the builder"]             # all of these stand in the prompt
//! model = "gpt-5"                            # and this is the model, if that matters
//! faults = [{ status = 429, retry_after = 2, first = 1 }]   # the first request; then it recovers
//! steps = [                                  # one per turn; after them, "Done."
//!   { write = { path = "hello.txt", text = "hello\n" } },
//!   { result = { outcome = "done", summary = "wrote it" } },
//! ]
//! ```
//!
//! The same as markers: `[[write path=hello.txt text=hello]] [[result json={"outcome":"done"}]] [[fault status=429]]`.
//! `{task}` and `{role}` in paths and texts are those of the prompt, `result` goes to the result file that it names.

use std::{collections::HashMap, time::Instant};

use serde::Deserialize;
use serde_json::Value;

use super::{
    ask::{Ask, Say, Turn},
    tools,
};

/// The rules, the first that fits counts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    #[serde(default)]
    when: Vec<String>,
    /// Serves only this model; so one prompt can be answered differently to two programs.
    model: Option<String>,
    /// Serves only that many different prompts, those that come first.
    prompts: Option<usize>,
    #[serde(default)]
    faults: Vec<Fault>,
    #[serde(default)]
    steps: Vec<Step>,
}

/// What one turn does.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// Says a text and is done.
    Text(String),
    /// Writes a file by a tool.
    Write { path: String, text: String },
    /// Writes the result file by a tool.
    Result(Value),
    /// Runs a command by a tool.
    Run(String),
    /// Says a text of that many bytes and is done.
    Long(usize),
}

/// What goes wrong, and for which requests: after so many, the first so many from there, for so many seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fault {
    status: Option<u16>,
    kind: Kind,
    retry_after: Option<u64>,
    resets_in: Option<u64>,
    hang: Option<Hang>,
    #[serde(rename = "break")]
    broken: Option<Break>,
    after: u32,
    first: Option<u32>,
    seconds: Option<f64>,
}

/// What an error is about, where its status leaves that open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    #[default]
    Plain,
    /// A subscription's window is used up.
    Window,
    /// There is no money left.
    Credit,
    /// The prompt is too long.
    Context,
}

/// The time when it stops to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hang {
    /// Before the head.
    Before,
    /// After head and first event.
    After,
}

/// How an answer is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Break {
    /// In the middle of the stream.
    Cut,
    /// By being something else.
    Garbage,
}

/// A fault as it is carried out.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// `resets`: when a window is reset, in seconds since 1970.
    Status {
        status: u16,
        headers: Vec<(&'static str, String)>,
        kind: Kind,
        resets: Option<u64>,
    },
    Hang(Hang),
    Break(Break),
}

/// What a rule has been asked so far.
#[derive(Debug)]
pub(super) struct Asked {
    requests: u32,
    since: Instant,
    prompts: Vec<String>,
}

/// What to do with one request.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) rule: String,
    pub(super) nth: u32,
    pub(super) turn: usize,
    pub(super) helper: bool,
    pub(super) trouble: Option<Trouble>,
    pub(super) say: Option<Say>,
}

impl Act {
    /// In one or two words.
    pub(super) fn words(&self) -> String {
        match (&self.trouble, &self.say) {
            (Some(Trouble::Status { status, .. }), _) => status.to_string(),
            (Some(Trouble::Hang(Hang::Before)), _) => "hang before".into(),
            (Some(Trouble::Hang(Hang::After)), _) => "hang after".into(),
            (Some(Trouble::Break(Break::Cut)), _) => "cut".into(),
            (Some(Trouble::Break(Break::Garbage)), _) => "garbage".into(),
            (None, Some(Say::Call { tool, .. })) => format!("call {tool}"),
            (None, _) => "text".into(),
        }
    }
}

impl Script {
    /// Reads rules from TOML.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// What to answer; `asked` keeps what each rule has been asked.
    pub(super) fn decide(&self, ask: &Ask, asked: &mut HashMap<String, Asked>) -> Act {
        let prompts = ask.turns.iter().enumerate().rev().filter_map(|(at, turn)| match turn {
            Turn::User(text) => Some((at, text)),
            _ => None,
        });
        // Programs put texts of their own beside the prompt, before and after it.
        let found = prompts
            .into_iter()
            .find_map(|(at, text)| self.rule(text, &ask.model, asked).map(|rule| (at, text.as_str(), rule)));
        let helper = ask.is_helper();
        let (at, prompt, rule) = found.unwrap_or((0, "", Rule { name: "none".into(), ..Rule::default() }));
        let turn = ask.turns.iter().skip(at).filter(|turn| **turn == Turn::ToolResult).count();
        let entry = asked.entry(rule.name.clone());
        let known = entry.or_insert_with(|| Asked { requests: 0, since: Instant::now(), prompts: Vec::new() });
        if !helper {
            known.requests += 1;
        }
        if rule.prompts.is_some() && !known.prompts.iter().any(|known| known == prompt) {
            known.prompts.push(prompt.into());
        }
        let (nth, passed) = (known.requests, known.since.elapsed().as_secs_f64());
        let trouble = rule.faults.iter().find(|fault| fault.holds(nth, passed)).and_then(Fault::trouble);
        let say = match (&trouble, rule.steps.get(turn)) {
            (Some(_), _) => None,
            _ if helper => {
                Some(Say::Text(r#"{"title": "scripted", "reasoning": "done", "next_speaker": "user"}"#.into()))
            }
            (None, Some(step)) => Some(step.say(ask, prompt)),
            (None, None) => Some(Say::Text("Done.".into())),
        };
        Act { rule: rule.name, nth, turn, helper, trouble, say }
    }

    fn rule(&self, prompt: &str, model: &str, asked: &HashMap<String, Asked>) -> Option<Rule> {
        let fits = |rule: &&Rule| {
            let serves = rule.prompts.zip(asked.get(&rule.name)).is_none_or(|(most, known)| {
                known.prompts.len() < most || known.prompts.iter().any(|known| known == prompt)
            });
            let named = rule.model.as_ref().is_none_or(|wanted| wanted == model);
            serves && named && rule.when.iter().all(|text| prompt.contains(text.as_str()))
        };
        marked(prompt).or_else(|| self.rules.iter().find(fits).cloned())
    }
}

impl Fault {
    fn holds(&self, nth: u32, passed: f64) -> bool {
        let from = self.after + 1;
        let early = self.first.is_none_or(|first| nth < from + first);
        nth >= from && early && self.seconds.is_none_or(|seconds| passed < seconds)
    }

    fn trouble(&self) -> Option<Trouble> {
        let mut headers = Vec::new();
        if let Some(seconds) = self.retry_after {
            headers.push(("retry-after", seconds.to_string()));
        }
        let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs());
        let resets = self.resets_in.map(|seconds| now() + seconds);
        if let Some(at) = resets {
            headers.push(("anthropic-ratelimit-unified-status", "rejected".into()));
            headers.push(("anthropic-ratelimit-unified-reset", at.to_string()));
            headers.push(("anthropic-ratelimit-unified-representative-claim", "five_hour".into()));
        }
        let hang = self.hang.map(Trouble::Hang).or(self.broken.map(Trouble::Break));
        hang.or(self.status.map(|status| Trouble::Status { status, headers, kind: self.kind, resets }))
    }
}

impl Step {
    fn say(&self, ask: &Ask, prompt: &str) -> Say {
        let (task, role) = heading(prompt);
        let filled = |text: &str| text.replace("{task}", task).replace("{role}", role);
        match self {
            Self::Text(text) => Say::Text(filled(text)),
            Self::Write { path, text } => tools::write(ask, &filled(path), &filled(text)),
            Self::Run(command) => tools::run(ask, &filled(command)),
            Self::Long(bytes) => Say::Text("lorem ipsum ".repeat(bytes / 12 + 1)[..*bytes].into()),
            Self::Result(result) => match result_file(prompt) {
                Some(path) => tools::write(ask, path, &filled(&result.to_string())),
                None => Say::Text("The prompt names no result file.".into()),
            },
        }
    }
}

/// Task and role out of the prompt's heading `# Task ID, role ROLE`, `…: go on` in a session that goes on.
fn heading(prompt: &str) -> (&str, &str) {
    let line = prompt.lines().find_map(|line| line.strip_prefix("# Task ")).unwrap_or_default();
    let (task, role) = line.split_once(", role ").unwrap_or((line, ""));
    let role = role.strip_suffix(": go on").unwrap_or(role);
    (task.trim_matches('`'), role.trim_matches('`'))
}

/// The path of the result file as it stands in the prompt.
fn result_file(prompt: &str) -> Option<&str> {
    let breaks = |c: char| c.is_whitespace() || matches!(c, '`' | '"' | '\'');
    prompt.split(breaks).find(|word| word.starts_with('/') && word.ends_with("/result.json"))
}

/// The rule that the prompt's markers make; `None` without markers.
fn marked(prompt: &str) -> Option<Rule> {
    let mut rule = Rule::default();
    let mut rest = prompt;
    while let Some(at) = rest.find("[[") {
        rest = &rest[at + 2..];
        let Some((word, after)) = rest.split_once([' ', ']']) else { break };
        if let Some(json) = after.strip_prefix("json=").filter(|_| word == "result") {
            let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
            if let Some(Ok(value)) = values.next() {
                rest = &json[values.byte_offset()..];
                rule.steps.push(Step::Result(value));
            }
            continue;
        }
        let Some((body, after)) = rest.split_once("]]") else { break };
        let body = body.strip_prefix(word).unwrap_or(body).trim_start();
        match word {
            "text" => rule.steps.push(Step::Text(body.into())),
            "run" => rule.steps.push(Step::Run(body.into())),
            "long" => rule.steps.extend(body.trim().parse().ok().map(Step::Long)),
            "write" => rule.steps.extend(writing(body)),
            "fault" => rule.faults.extend(fault(body)),
            _ => continue,
        }
        rest = after;
    }
    if rule.steps.is_empty() && rule.faults.is_empty() {
        return None;
    }
    rule.name = format!("{:?} {:?}", rule.faults, rule.steps).chars().take(200).collect();
    Some(rule)
}

/// `path=… text=…`; the text goes to the end.
fn writing(body: &str) -> Option<Step> {
    let (path, text) = body.strip_prefix("path=")?.split_once(" text=")?;
    Some(Step::Write { path: path.into(), text: text.into() })
}

/// `status=429 first=2 hang=before …`, the same names as in TOML.
fn fault(body: &str) -> Option<Fault> {
    let line = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let number = value.parse::<f64>().is_ok();
        Some(if number { format!("{name} = {value}\n") } else { format!("{name} = {value:?}\n") })
    };
    let text: String = body.split_whitespace().filter_map(line).collect();
    toml::from_str(&text).ok()
}
