//! From an agent CLI's output to what it means: a few dialects behind one small trait.
//!
//! Reading is incremental and tolerant: what is not understood is progress, never a failure; a line
//! that is too long is dropped and the run goes on. The model's own words are kept for people and
//! never judged.

use std::{io::Read as _, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    descriptor::{Descriptor, Dialect, Map, Pick, UsageMode},
    observation::Stream,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files;

mod claude;
mod event;
pub(super) mod lines;
mod object;
mod state;
mod text;
mod usage;

use lines::Lines;
pub use state::RunState;

/// The particulars of a dialect; the rest is said by the descriptor.
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
    fn read(&mut self, event: &Value, map: &Map, run: &mut RunState) {
        event::read(event, map, run);
    }
}

/// The end of standard error that is kept for patterns, in bytes.
const STDERR_TAIL: usize = 4_096;

/// Reads what one run writes.
pub struct Reader {
    descriptor: Arc<Descriptor>,
    grammar: Box<dyn Grammar>,
    stdout: Lines,
    stderr: Lines,
    run: RunState,
}

impl Reader {
    /// Makes the reader of a run that begins.
    pub fn new(descriptor: Arc<Descriptor>) -> Self {
        let output = &descriptor.output;
        let grammar: Box<dyn Grammar> = match descriptor.dialect {
            Dialect::Claude => Box::new(claude::Claude::default()),
            // Our own client writes events.
            Dialect::Event | Dialect::Acp => Box::new(event::Events),
            Dialect::JsonObject => Box::new(object::Object::new(output.max_line)),
            Dialect::Text => Box::new(text::Text::new(output.wrap)),
        };
        let (stdout, stderr) = (Lines::new(output.max_line), Lines::new(STDERR_TAIL));
        let run = RunState::new(&descriptor);
        Self { descriptor, grammar, stdout, stderr, run }
    }

    /// Takes in more of a stream; `now` counts from the start of the run.
    pub fn feed(&mut self, stream: Stream, bytes: &[u8], now: Duration) {
        let Self { descriptor, grammar, stdout, stderr, run } = self;
        match stream {
            Stream::Stdout => stdout.feed(bytes, &mut |line| match grammar.event(line) {
                Some(event) => note(descriptor, &mut **grammar, &event, run, now),
                None => plain(descriptor, line, run),
            }),
            Stream::Stderr => stderr.feed(bytes, &mut |line| {
                run.early_stderr(descriptor, line);
                run.stderr.push_str(line);
                run.stderr.push('\n');
                keep_end(&mut run.stderr, STDERR_TAIL);
            }),
        }
    }

    /// Takes in the end of both streams, and the file that the program may have left.
    pub fn finish(&mut self, run_dir: &Path, now: Duration) {
        // What stands there without a line feed is a line as well.
        self.feed(Stream::Stdout, b"\n", now);
        let rest = self.grammar.rest();
        for event in rest.into_iter().chain(self.file(run_dir)) {
            note(&self.descriptor, &mut *self.grammar, &event, &mut self.run, now);
        }
        self.feed(Stream::Stderr, b"\n", now);
    }

    /// Returns the file that the program has left, as an event; one that cannot be read told nothing.
    fn file(&self, run_dir: &Path) -> Option<Value> {
        let output = &self.descriptor.output;
        let path = run_dir.join(output.file.as_ref()?);
        let file = files::open(Layout::root_of(&path), &path).ok()??;
        let mut text = Vec::new();
        file.take(output.max_line as u64).read_to_end(&mut text).ok()?;
        let content: Value = serde_json::from_slice(&text).ok()?;
        Some(json!({"type": "file", "content": content}))
    }

    /// Returns the descriptor that it reads by.
    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Returns what is known.
    pub fn run(&self) -> &RunState {
        &self.run
    }
}

/// Cuts a text to its end.
fn keep_end(text: &mut String, most: usize) {
    text.drain(..text.ceil_char_boundary(text.len().saturating_sub(most)));
}

/// Takes in a line between the events: the program's own words, which descriptors know as events of the type `plain`.
fn plain(descriptor: &Descriptor, line: &str, run: &mut RunState) {
    if line.trim().is_empty() || line.len() > STDERR_TAIL {
        return;
    }
    let event = json!({"type": "plain", "text": line});
    run.message(&descriptor.map, &event);
    run.errors(descriptor, &event);
    run.retry(descriptor, &event);
}

/// Takes in what every dialect has in common, as the descriptor places it, then the dialect's own part.
fn note(descriptor: &Descriptor, grammar: &mut dyn Grammar, event: &Value, run: &mut RunState, now: Duration) {
    let map = &descriptor.map;
    run.seen(now, map.quiet.iter().any(|quiet| quiet.holds(event)));
    if run.observation.session.is_none() {
        run.observation.session = Pick::first(&map.session, event);
    }
    if let Some(model) = Pick::first(&map.model, event) {
        run.observation.model = Some(model);
    }
    run.message(map, event);
    if let Some(ends) = Pick::epoch(&map.resets, event) {
        run.observation.resets_at = Some(ends);
    }
    run.observation.denials += u32::from(map.denied.iter().any(|denied| denied.holds(event)));
    if let Some(list) = map.denials.as_ref().and_then(|ptr| ptr.first(event)).and_then(Value::as_array) {
        run.observation.denials = run.observation.denials.max(u32::try_from(list.len()).unwrap_or(u32::MAX));
    }
    if map.continues.iter().any(|continues| continues.holds(event)) {
        run.continues();
    }
    grammar.read(event, map, run);
    for (at, rule) in map.usage.iter().enumerate() {
        if let Some(figures) = usage::read(rule, event) {
            run.usage(at, figures, rule.mode == UsageMode::Sum);
        }
    }
    run.terminal(map, event);
    if let Some(resets) = Pick::epoch(&map.quota, event) {
        run.quota = Some(resets);
    }
    run.errors(descriptor, event);
    run.retry(descriptor, event);
    run.early(descriptor, event);
}

#[cfg(test)]
mod tests;
