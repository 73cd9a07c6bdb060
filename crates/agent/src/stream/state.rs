//! What a reader knows of a run.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher as _},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::keep_end;
use crate::{
    descriptor::{Descriptor, EarlyRule, Map, Pattern, Pick, RetryRule, RetryUnit, Source},
    failure::Failure,
    observation::Observation,
    output,
};
use oodatcaa_core::{Usage, text};

/// Longest text of the model that is kept, in bytes.
const LONGEST: usize = 16_384;

/// An error rule that found something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The kind of failure.
    pub(crate) failure: Failure,
    /// The text in which it was found.
    pub(crate) words: String,
}

/// A tool that has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// Its name.
    pub(crate) name: String,
    /// The time of its beginning, from the start of the run.
    pub(crate) since: Duration,
}

/// The number of different calls that a circle may have.
const CIRCLE: usize = 8;

/// The same few tool calls again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repeat {
    /// The last different calls, the newest last.
    known: VecDeque<u64>,
    /// The number of calls in a row that were none but these.
    pub(crate) count: u32,
    /// The tool of the last one.
    pub(crate) name: String,
}

impl Repeat {
    fn call(&mut self, hash: u64, name: &str) {
        self.name = name.into();
        if self.known.contains(&hash) {
            self.count = self.count.saturating_add(1);
            return;
        }
        self.count = 0;
        self.known.push_back(hash);
        if self.known.len() > CIRCLE {
            self.known.pop_front();
        }
    }
}

/// All that is known of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunState {
    /// The part that others are told.
    pub observation: Observation,
    /// `true` where the event that ended it says that all is well; `None` before that event.
    pub terminal: Option<bool>,
    /// The last finding of each error rule.
    pub(crate) hits: Vec<Option<Hit>>,
    /// The program's words about an error.
    pub(crate) message: Option<String>,
    /// The end of the account's window that is used up.
    pub(crate) quota: Option<DateTime<Utc>>,
    /// The time to come back, as it was written.
    pub(crate) retry: Option<(RetryUnit, String)>,
    /// The time that the program waits by itself, as it was written, and the number of times that it said so.
    pub(crate) waits: Option<(RetryUnit, String, u32)>,
    /// The end of standard error.
    pub stderr: String,
    /// A reason to end it now.
    pub(crate) early: Option<(Failure, String)>,
    /// Tool calls that worked.
    pub(crate) tools_ok: u32,
    /// The tools of which a call has worked.
    pub(crate) worked: BTreeSet<String>,
    /// Events of any kind.
    pub(crate) events: u64,
    /// The time of the last event that was progress.
    pub(crate) progress: Duration,
    /// The time of the event that ended the run.
    pub(crate) ended_at: Duration,
    /// Tools that have not answered yet.
    pub(crate) open: BTreeMap<String, Open>,
    /// The same tool call in a row.
    pub(crate) repeat: Repeat,
    /// Steps in a row without a tool that said nothing, or nothing but the one before.
    pub(crate) idle_steps: u32,
    now: Duration,
    counts: Vec<u32>,
    figures: Vec<Usage>,
    live: Usage,
    in_text: bool,
    /// The step has called a tool, or is the first.
    busy: bool,
    /// Holds what this step and the one before have said, as numbers; 0 for nothing.
    said: [u64; 2],
}

fn hash_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Returns a text of the program, bounded and fit for people.
fn shown(words: &str) -> String {
    text::cut(&output::plain(words), 2_000)
}

impl RunState {
    pub(super) fn new(descriptor: &Descriptor) -> Self {
        Self {
            hits: vec![None; descriptor.errors.len()],
            counts: vec![0; descriptor.early.len()],
            figures: vec![Usage::default(); descriptor.map.usage.len()],
            busy: true,
            ..Self::default()
        }
    }

    /// Notes that an event has come.
    pub(super) fn seen(&mut self, now: Duration, quiet: bool) {
        self.now = now;
        self.events += 1;
        if !quiet {
            self.progress = now;
        }
    }

    /// Takes in words of the model; a `delta` continues those before.
    pub(super) fn text(&mut self, words: &str, delta: bool) {
        if words.is_empty() {
            return;
        }
        self.said[0] = hash_of(&(self.said[0], words)).max(1);
        let mut all = match self.observation.last_text.take() {
            Some(before) if delta && self.in_text => before,
            _ => String::new(),
        };
        all.push_str(words);
        // The end of an answer says more than its begin.
        keep_end(&mut all, LONGEST);
        self.in_text = delta;
        self.observation.last_text = Some(all);
    }

    /// Counts a step of the model.
    pub(super) fn step(&mut self) {
        self.observation.steps = self.observation.steps.saturating_add(1);
        let [now, before] = self.said;
        // A stream that is cut again and again brings the same few words each time.
        self.idle_steps = if self.busy || now != 0 && now != before { 0 } else { self.idle_steps + 1 };
        self.said = [0, now];
        self.busy = false;
        self.in_text = false;
    }

    /// Notes that a tool begins.
    pub(super) fn tool(&mut self, id: &str, name: &str, input: Option<&Value>) {
        self.busy = true;
        self.idle_steps = 0;
        self.in_text = false;
        let name = text::cut(&text::one_line(name), 100);
        let hash = hash_of(&(name.as_str(), input.map(ToString::to_string)));
        self.repeat.call(hash, &name);
        // Nobody has a thousand tools open; a stream that says so is forgetting to close them.
        if self.open.len() < 1_000 {
            self.open.insert(id.into(), Open { name: name.clone(), since: self.now });
        }
        self.observation.last_tool = Some(name);
    }

    /// Notes that a tool has ended.
    pub(super) fn tool_end(&mut self, id: &str, ok: bool) {
        let ended = self.open.remove(id);
        if !ok {
            return;
        }
        self.tools_ok = self.tools_ok.saturating_add(1);
        if let Some(tool) = ended.filter(|_| self.worked.len() < 100) {
            self.worked.insert(tool.name);
        }
    }

    /// Takes back the end of the run: it goes on.
    pub(super) fn continues(&mut self) {
        self.terminal = None;
        self.observation.ended = false;
    }

    /// Takes in the figures of the usage rule at this place.
    pub(super) fn usage(&mut self, at: usize, figures: Usage, sum: bool) {
        self.figures[at] = if sum { self.figures[at].plus(figures) } else { figures };
        self.figure_out();
    }

    /// Takes in figures that hold until the program gives its own account.
    pub(super) fn live(&mut self, figures: Usage) {
        self.live = figures;
        self.figure_out();
    }

    fn figure_out(&mut self) {
        let own = self.figures.iter().fold(Usage::default(), |all, figures| all.plus(*figures));
        let usage = Usage {
            tokens_in: own.tokens_in.or(self.live.tokens_in),
            tokens_out: own.tokens_out.or(self.live.tokens_out),
            cached: own.cached.or(self.live.cached),
            turns: own.turns.or(self.live.turns),
            ..own
        };
        // Work that is said to cost nothing has no known price.
        let cost_usd = usage.cost_usd.filter(|cost| *cost > 0.0 || usage.tokens() == 0);
        self.observation.usage = Usage { cost_usd, ..usage };
    }

    pub(super) fn terminal(&mut self, map: &Map, event: &Value) {
        for rule in map.terminal.iter().filter(|rule| rule.when.holds(event)) {
            let words = rule.text.as_ref().and_then(|ptr| ptr.word(event));
            if !Pattern::fits(rule.regex.as_ref(), words.as_deref()) {
                continue;
            }
            let ok = !rule.failed && rule.ok.iter().all(|guard| guard.holds(event));
            if let (true, None, Some(words)) = (ok, &rule.regex, &words) {
                self.in_text = false;
                self.text(words, false);
            }
            self.terminal = Some(ok);
            self.observation.ended = true;
            self.ended_at = self.now;
            self.open.clear();
            return;
        }
    }

    /// Keeps the program's words about an error.
    pub(super) fn message(&mut self, map: &Map, event: &Value) {
        if let Some(message) = Pick::first(&map.message, event) {
            self.message = Some(message);
        }
    }

    pub(super) fn errors(&mut self, descriptor: &Descriptor, event: &Value) {
        for (rule, hit) in descriptor.errors.iter().zip(&mut self.hits) {
            if rule.source == Source::Field
                && let Some((failure, words)) = rule.find(event)
            {
                *hit = Some(Hit { failure, words: shown(&words) });
            }
        }
    }

    pub(super) fn retry(&mut self, descriptor: &Descriptor, event: &Value) {
        if let Some(told) = RetryRule::first(&descriptor.retry, event) {
            self.retry = Some(told);
        }
        if let Some((unit, word)) = RetryRule::first(&descriptor.waits, event) {
            let count = self.waits.as_ref().map_or(0, |(_, _, count)| *count);
            self.waits = Some((unit, word, count.saturating_add(1)));
        }
    }

    pub(super) fn early(&mut self, descriptor: &Descriptor, event: &Value) {
        let rules = descriptor.early.iter().enumerate();
        for (at, rule) in rules.filter(|(_, rule)| !rule.stderr && rule.when.holds(event)) {
            let words = rule.ptr.as_ref().and_then(|ptr| ptr.word(event));
            if Pattern::fits(rule.regex.as_ref(), words.as_deref()) {
                self.count_early(at, rule, words.as_deref().unwrap_or_default());
            }
        }
    }

    pub(super) fn early_stderr(&mut self, descriptor: &Descriptor, line: &str) {
        for (at, rule) in descriptor.early.iter().enumerate().filter(|(_, rule)| rule.stderr) {
            if Pattern::fits(rule.regex.as_ref(), Some(line)) {
                self.count_early(at, rule, line);
            }
        }
    }

    fn count_early(&mut self, at: usize, rule: &EarlyRule, words: &str) {
        self.counts[at] = self.counts[at].saturating_add(1);
        if self.counts[at] >= rule.count && self.early.is_none() {
            self.early = Some((rule.class, shown(words)));
        }
    }
}
