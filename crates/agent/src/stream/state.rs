//! What a reader knows of a run.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher as _},
    time::Duration,
};

use serde_json::Value;

use crate::{
    descriptor::{Descriptor, Pick, RetryRule, RetryUnit, Source},
    failure::Failure,
    output,
    watcher::Observation,
};
use oodatcaa_core::{Usage, text};

/// Longest text of the model that is kept, in bytes.
const LONGEST: usize = 16_384;

/// The event that ended the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// It says that all is well.
    pub ok: bool,
}

/// An error rule that found something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// What it is.
    pub failure: Failure,
    /// Where it was found, as text.
    pub words: String,
}

/// The account's window is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// When it is reset, in seconds since 1970.
    pub resets_at: Option<i64>,
    /// Its name.
    pub window: Option<String>,
}

/// A tool that has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its name.
    pub name: String,
    /// Since when, from the start of the run.
    pub since: Duration,
}

/// How many different calls a circle may have.
const CIRCLE: usize = 8;

/// The same few tool calls again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repeat {
    /// The last different calls, the newest last.
    known: VecDeque<u64>,
    /// How many calls in a row were none but these.
    pub count: u32,
    /// The tool of the last one.
    pub name: String,
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

/// What is known of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// What others are told.
    pub observation: Observation,
    /// How it ended, if it did.
    pub terminal: Option<Terminal>,
    /// What each error rule found last.
    pub hits: Vec<Option<Hit>>,
    /// The program's words about an error.
    pub message: Option<String>,
    /// The account's window is used up.
    pub quota: Option<Quota>,
    /// When to come back, as it was written.
    pub retry: Option<(RetryUnit, String)>,
    /// How long the program waits by itself, as it was written, and how often it said so.
    pub waits: Option<(RetryUnit, String, u32)>,
    /// A reason to end it now.
    pub early: Option<(Failure, String)>,
    /// Tool calls that worked.
    pub tools_ok: u32,
    /// Events of any kind.
    pub events: u64,
    /// When the last event came that was progress.
    pub progress: Duration,
    /// When the event came that ended the run.
    pub ended_at: Duration,
    /// Tools that have not answered yet.
    pub open: BTreeMap<String, Open>,
    /// The same tool call in a row.
    pub repeat: Repeat,
    /// Steps in a row without a tool that said nothing, or nothing but the one before.
    pub idle_steps: u32,
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

/// Returns the value of a pick in this event.
pub(super) fn pick(pick: &Pick, event: &Value) -> Option<String> {
    if !pick.when.holds(event) {
        return None;
    }
    let word = pick.ptr.word(event)?;
    let word = match &pick.regex {
        None => word.into_owned(),
        Some(pattern) => caught(&pattern.0, &word)?.to_owned(),
    };
    (!word.is_empty()).then_some(word)
}

fn caught<'a>(pattern: &regex::Regex, word: &'a str) -> Option<&'a str> {
    let caught = pattern.captures(word)?;
    caught.name("value").or_else(|| caught.get(0)).map(|found| found.as_str())
}

/// Returns a time as the first rule that finds one finds it; the first rule is the most exact one.
fn told(rules: &[RetryRule], event: &Value) -> Option<(RetryUnit, String)> {
    rules.iter().filter(|rule| rule.when.holds(event)).find_map(|rule| {
        let word = rule.ptr.word(event)?;
        let value = match &rule.regex {
            None => word.as_ref(),
            Some(pattern) => caught(&pattern.0, &word)?,
        };
        Some((rule.unit, text::cut(value, 40)))
    })
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
            observation: Observation::default(),
            terminal: None,
            hits: vec![None; descriptor.errors.len()],
            message: None,
            quota: None,
            retry: None,
            waits: None,
            early: None,
            tools_ok: 0,
            events: 0,
            progress: Duration::ZERO,
            ended_at: Duration::ZERO,
            open: BTreeMap::new(),
            repeat: Repeat::default(),
            idle_steps: 0,
            now: Duration::ZERO,
            counts: vec![0; descriptor.early.len()],
            figures: vec![Usage::default(); descriptor.map.usage.len()],
            live: Usage::default(),
            in_text: false,
            busy: true,
            said: [0; 2],
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
        if all.len() > LONGEST {
            // The end of an answer says more than its begin.
            let mut cut = all.len() - LONGEST;
            while !all.is_char_boundary(cut) {
                cut += 1;
            }
            all.drain(..cut);
        }
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
        self.open.remove(id);
        self.tools_ok = self.tools_ok.saturating_add(u32::from(ok));
    }

    /// Takes back the end of the run: it goes on.
    pub(super) fn resumes(&mut self) {
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

    pub(super) fn terminal(&mut self, descriptor: &Descriptor, event: &Value) {
        for rule in &descriptor.map.terminal {
            if !rule.when.holds(event) {
                continue;
            }
            let words = rule.text.as_ref().and_then(|ptr| ptr.word(event));
            if let Some(pattern) = &rule.regex
                && !words.as_ref().is_some_and(|words| pattern.0.is_match(words))
            {
                continue;
            }
            let ok = !rule.failed && rule.ok.iter().all(|guard| guard.holds(event));
            if let (true, None, Some(words)) = (ok, &rule.regex, &words) {
                self.in_text = false;
                self.text(words, false);
            }
            self.terminal = Some(Terminal { ok });
            self.observation.ended = true;
            self.ended_at = self.now;
            self.open.clear();
            return;
        }
    }

    pub(super) fn quota(&mut self, descriptor: &Descriptor, event: &Value) {
        if let Some(rule) = descriptor.map.quota.as_ref().filter(|rule| rule.when.holds(event)) {
            self.quota = Some(Quota {
                resets_at: rule.resets_at.first(event).and_then(Value::as_i64),
                window: rule.window.as_ref().and_then(|ptr| ptr.word(event)).map(|word| shown(&word)),
            });
        }
    }

    pub(super) fn errors(&mut self, descriptor: &Descriptor, event: &Value) {
        for (rule, hit) in descriptor.errors.iter().zip(&mut self.hits) {
            let Some(ptr) = rule.ptr.as_ref().filter(|_| rule.source == Source::Field && rule.when.holds(event)) else {
                continue;
            };
            let found = ptr.all(event).into_iter().filter_map(super::super::descriptor::when::word).find_map(|word| {
                let failure = match (&rule.regex, rule.class) {
                    (Some(pattern), Some(class)) => pattern.0.is_match(&word).then_some(class),
                    (None, Some(class)) => Some(class),
                    _ => rule.map.get(word.as_ref()).copied(),
                };
                failure.map(|failure| Hit { failure, words: shown(&word) })
            });
            if found.is_some() {
                *hit = found;
            }
        }
    }

    pub(super) fn retry(&mut self, descriptor: &Descriptor, event: &Value) {
        if let Some(told) = told(&descriptor.retry, event) {
            self.retry = Some(told);
        }
        if let Some((unit, word)) = told(&descriptor.waits, event) {
            let count = self.waits.as_ref().map_or(0, |(_, _, count)| *count);
            self.waits = Some((unit, word, count.saturating_add(1)));
        }
    }

    pub(super) fn early(&mut self, descriptor: &Descriptor, event: &Value) {
        for (at, rule) in descriptor.early.iter().enumerate().filter(|(_, rule)| !rule.stderr) {
            if !rule.when.holds(event) {
                continue;
            }
            let words = rule.ptr.as_ref().and_then(|ptr| ptr.word(event));
            if let Some(pattern) = &rule.regex
                && !words.as_ref().is_some_and(|words| pattern.0.is_match(words))
            {
                continue;
            }
            let words = words.map(std::borrow::Cow::into_owned);
            self.count_early(at, rule.count, rule.class, words);
        }
    }

    pub(super) fn early_stderr(&mut self, descriptor: &Descriptor, line: &str) {
        for (at, rule) in descriptor.early.iter().enumerate().filter(|(_, rule)| rule.stderr) {
            if rule.regex.as_ref().is_some_and(|pattern| pattern.0.is_match(line)) {
                self.count_early(at, rule.count, rule.class, Some(line.to_owned()));
            }
        }
    }

    fn count_early(&mut self, at: usize, enough: u32, failure: Failure, words: Option<String>) {
        self.counts[at] = self.counts[at].saturating_add(1);
        if self.counts[at] >= enough && self.early.is_none() {
            self.early = Some((failure, shown(&words.unwrap_or_default())));
        }
    }
}
