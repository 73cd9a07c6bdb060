//! From an agent CLI's output to what it means: seven dialects behind one small trait.
//!
//! Reading is incremental and tolerant: what is not understood is progress, never a failure; a line
//! that is too long is dropped and the run goes on. The model's own words are kept for people and
//! never judged.

use std::{io::Read as _, path::Path, time::Duration};

use chrono::DateTime;
use serde_json::Value;

use super::{
    descriptor::{Descriptor, Dialect, UsageMode},
    watcher::Stream,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files;

mod claude;
mod codex;
mod event;
pub(super) mod lines;
mod object;
mod state;
mod step;
mod text;
mod usage;

use lines::Lines;
pub use state::{Hit, Quota, RunState, Terminal};

/// What is particular to a dialect; the rest is said by the descriptor.
trait Grammar: Send {
    /// Returns the event that a line is, if it is one.
    fn event(&mut self, line: &str) -> Option<Value> {
        serde_json::from_str::<Value>(line).ok().filter(Value::is_object)
    }

    /// Returns what was held back until it is known that nothing follows.
    fn rest(&mut self) -> Option<Value> {
        None
    }

    /// Takes in the words, tools and steps of an event.
    fn read(&mut self, event: &Value, descriptor: &Descriptor, state: &mut RunState);
}

/// How much of standard error is kept for patterns.
const STDERR_TAIL: usize = 4_096;

/// Reads one run.
pub struct Reader<'a> {
    descriptor: &'a Descriptor,
    state: State,
}

/// A reader's memory, apart from the descriptor that it reads by.
pub struct State {
    grammar: Box<dyn Grammar>,
    stdout: Lines,
    stderr: Lines,
    tail: String,
    state: RunState,
}

impl State {
    /// Makes the state of a run that begins.
    pub fn new(descriptor: &Descriptor) -> Self {
        let grammar: Box<dyn Grammar> = match descriptor.dialect {
            Dialect::Claude => Box::new(claude::Claude::default()),
            Dialect::Codex => Box::new(codex::Codex),
            // Our own client writes events.
            Dialect::Event | Dialect::Acp => Box::new(event::Events),
            Dialect::Step => Box::new(step::Steps),
            Dialect::JsonObject => Box::new(object::Object::new(descriptor.output.max_line)),
            Dialect::Text => Box::new(text::Text::new(descriptor.output.wrap)),
        };
        Self {
            grammar,
            stdout: Lines::new(descriptor.output.max_line),
            stderr: Lines::new(STDERR_TAIL),
            tail: String::new(),
            state: RunState::new(descriptor),
        }
    }

    /// Takes in more of a stream.
    pub fn feed(&mut self, descriptor: &Descriptor, stream: Stream, bytes: &[u8], now: Duration) {
        match stream {
            Stream::Stdout => {
                let Self { grammar, stdout, state, .. } = self;
                stdout.feed(bytes, &mut |line| match grammar.event(line) {
                    Some(event) => note(descriptor, &mut **grammar, &event, state, now),
                    None => plain(descriptor, line, state),
                });
            }
            Stream::Stderr => {
                let Self { stderr, tail, state, .. } = self;
                stderr.feed(bytes, &mut |line| complain(descriptor, line, tail, state));
            }
        }
    }

    /// Takes in the end of both streams.
    pub fn finish(&mut self, descriptor: &Descriptor, now: Duration) {
        let Self { grammar, stdout, stderr, tail, state } = self;
        stdout.finish(&mut |line| match grammar.event(line) {
            Some(event) => note(descriptor, &mut **grammar, &event, state, now),
            None => plain(descriptor, line, state),
        });
        if let Some(event) = grammar.rest() {
            note(descriptor, &mut **grammar, &event, state, now);
        }
        stderr.finish(&mut |line| complain(descriptor, line, tail, state));
    }

    /// Takes in the file that the program has left, before the end of the streams.
    pub fn file(&mut self, descriptor: &Descriptor, run_dir: &Path, now: Duration) {
        let Some(name) = &descriptor.output.file else { return };
        // What cannot be read told nothing.
        let path = run_dir.join(name);
        let Ok(Some(file)) = files::open(Layout::root_of(&path), &path) else { return };
        let mut text = Vec::new();
        if file.take(descriptor.output.max_line as u64).read_to_end(&mut text).is_err() {
            return;
        }
        if let Ok(content) = serde_json::from_slice::<Value>(&text) {
            let event = serde_json::json!({"type": "file", "content": content});
            note(descriptor, &mut *self.grammar, &event, &mut self.state, now);
        }
    }

    /// Returns what is known.
    pub fn run(&self) -> &RunState {
        &self.state
    }

    /// Returns the end of standard error.
    pub fn stderr(&self) -> &str {
        &self.tail
    }
}

impl<'a> Reader<'a> {
    /// Reads by this descriptor.
    pub fn new(descriptor: &'a Descriptor) -> Self {
        Self { descriptor, state: State::new(descriptor) }
    }

    /// Takes in more of a stream.
    pub fn feed(&mut self, stream: Stream, bytes: &[u8]) {
        self.state.feed(self.descriptor, stream, bytes, Duration::ZERO);
    }

    /// Returns everything that was read, after the end.
    pub fn finish(mut self) -> State {
        self.state.finish(self.descriptor, Duration::ZERO);
        self.state
    }
}

/// Takes in a line between the events: the program's own words, which descriptors know as events of the type `plain`.
fn plain(descriptor: &Descriptor, line: &str, state: &mut RunState) {
    if line.trim().is_empty() || line.len() > STDERR_TAIL {
        return;
    }
    let event = serde_json::json!({"type": "plain", "text": line});
    if let Some(message) = descriptor.map.message.iter().find_map(|pick| state::pick(pick, &event)) {
        state.message = Some(message);
    }
    state.errors(descriptor, &event);
    state.retry(descriptor, &event);
}

fn complain(descriptor: &Descriptor, line: &str, tail: &mut String, state: &mut RunState) {
    state.early_stderr(descriptor, line);
    tail.push_str(line);
    tail.push('\n');
    if tail.len() > STDERR_TAIL {
        let mut cut = tail.len() - STDERR_TAIL;
        while !tail.is_char_boundary(cut) {
            cut += 1;
        }
        tail.drain(..cut);
    }
}

/// Takes in what every dialect has in common, as the descriptor places it, then the dialect's own part.
fn note(descriptor: &Descriptor, grammar: &mut dyn Grammar, event: &Value, state: &mut RunState, now: Duration) {
    let map = &descriptor.map;
    state.seen(now, map.quiet.iter().any(|quiet| quiet.holds(event)));
    if state.observation.session.is_none() {
        state.observation.session = map.session.iter().find_map(|pick| state::pick(pick, event));
    }
    if let Some(model) = map.model.iter().find_map(|pick| state::pick(pick, event)) {
        state.observation.model = Some(model);
    }
    if let Some(message) = map.message.iter().find_map(|pick| state::pick(pick, event)) {
        state.message = Some(message);
    }
    if let Some(ends) = map.resets.iter().find_map(|pick| state::pick(pick, event)) {
        state.observation.resets_at = ends.parse().ok().and_then(|ends| DateTime::from_timestamp(ends, 0));
    }
    state.observation.denials += u32::from(map.denied.iter().any(|denied| denied.holds(event)));
    if let Some(list) = map.denials.as_ref().and_then(|ptr| ptr.first(event)).and_then(Value::as_array) {
        state.observation.denials = state.observation.denials.max(u32::try_from(list.len()).unwrap_or(u32::MAX));
    }
    grammar.read(event, descriptor, state);
    for (at, rule) in map.usage.iter().enumerate() {
        if let Some(figures) = usage::read(rule, event) {
            state.usage(at, figures, rule.mode == UsageMode::Sum);
        }
    }
    state.terminal(descriptor, event);
    state.quota(descriptor, event);
    state.errors(descriptor, event);
    state.retry(descriptor, event);
    state.early(descriptor, event);
}

#[cfg(test)]
mod tests;
