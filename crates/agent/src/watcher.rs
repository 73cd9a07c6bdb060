//! Watches an agent while it works: reads its output as it comes, and finds reasons to end it: the limits that no agent
//! CLI keeps by itself (first event, stall, one tool's time, steps, loops).

use std::{path::PathBuf, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Assignment,
    cli::{judge, sessions},
    descriptor::Descriptor,
    failure::Failure,
    observation::{Observation, Stream},
    stream::Reader,
};
use oodatcaa_core::{Class, text};

/// Calls that repeat themselves: a reason to end the attempt if nothing changes by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// The class of failure that its end would have.
    pub class: Class,
    /// The time for which the workspace must not change before that.
    pub patience: Duration,
    /// The reason that people are told.
    pub words: String,
}

/// Looks at an attempt's output while it is written.
pub struct Watcher {
    reader: Reader,
    out_dir: PathBuf,
    before: Option<sessions::Before>,
    seen: Observation,
    /// The waits that the program announced: their count, and the end of the last.
    waits: (u32, Option<DateTime<Utc>>),
}

/// Shorter waits than this are not told.
const BRIEF: TimeDelta = TimeDelta::seconds(2);

impl Watcher {
    pub(super) fn new(descriptor: Arc<Descriptor>, assignment: &Assignment) -> Self {
        let before = assignment
            .resume
            .as_ref()
            .filter(|_| descriptor.map.cumulative)
            .map(|session| sessions::before(&assignment.run_dir, session));
        let out_dir = assignment.out_dir();
        Self { reader: Reader::new(descriptor), out_dir, before, seen: Observation::default(), waits: (0, None) }
    }

    /// Returns all that was read, for the judgement at the end.
    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    fn look(&mut self) {
        if let Some((unit, word, count)) = &self.reader.run().waits
            && *count != self.waits.0
        {
            let now = Utc::now();
            let until = judge::written(*unit, word, now).filter(|until| *until - now >= BRIEF);
            self.waits = (*count, until);
        }
        self.seen.clone_from(&self.reader.run().observation);
        if let Some(before) = &self.before {
            before.take_off(&mut self.seen);
        }
    }

    /// Returns what would be a reason to end the run, and when.
    fn limits(&self) -> Vec<(Duration, Failure, String)> {
        let run = self.reader.run();
        let limits = &self.reader.descriptor().limits;
        let mut all = Vec::new();
        let mut limit = |seconds: u64, since: Duration, failure: Failure, words: &dyn Fn(String) -> String| {
            if seconds > 0 {
                let time = Duration::from_secs(seconds);
                all.push((since + time, failure, words(text::duration(time))));
            }
        };
        if run.observation.ended {
            return all;
        }
        if run.events == 0 {
            limit(limits.first_output_s, Duration::ZERO, Failure::Stalled, &|time| {
                format!("no event in its first {time}")
            });
        }
        match run.open.values().min_by_key(|open| open.since) {
            Some(open) => limit(limits.tool_s, open.since, Failure::Stalled, &|time| {
                format!("its tool `{}` has been open for {time}", open.name)
            }),
            None => limit(limits.stall_s, run.progress, limits.stall, &|time| {
                format!("no event of the model or a tool for {time}")
            }),
        }
        if limits.steps > 0 && run.observation.steps > limits.steps {
            let words = format!("{} steps, more than the {} allowed", run.observation.steps, limits.steps);
            all.push((Duration::ZERO, Failure::TurnLimit, words));
        }
        if limits.idle_steps > 0 && run.idle_steps >= limits.idle_steps {
            let words = format!("{} steps in a row without a tool and without new words", run.idle_steps);
            all.push((Duration::ZERO, Failure::Loop, words));
        }
        all
    }

    fn failure(&self, now: Duration) -> Option<(Failure, String)> {
        if self.seen.ended {
            // It has told how it ended; nothing is left to be cut short.
            return None;
        }
        if let Some(early) = &self.reader.run().early {
            return Some(early.clone());
        }
        self.limits().into_iter().find(|(at, ..)| *at <= now).map(|(_, failure, words)| (failure, words))
    }

    /// Takes in more of a stream; `now` counts from the start of the attempt.
    pub fn feed(&mut self, stream: Stream, bytes: &[u8], now: Duration) {
        self.reader.feed(stream, bytes, now);
        self.look();
    }

    /// Takes in the end of both streams, and the file that the program may have left.
    pub fn finish(&mut self, now: Duration) {
        self.reader.finish(&self.out_dir, now);
        self.look();
    }

    /// Returns what was seen so far.
    pub fn seen(&self) -> &Observation {
        &self.seen
    }

    /// Returns a reason to end the attempt now, if there is one.
    pub fn verdict(&self, now: Duration) -> Option<(Class, String)> {
        let (failure, words) = self.failure(now)?;
        let kind = failure.words().to_lowercase();
        let reason = match (&self.reader.run().early, words.is_empty()) {
            // Our own limits say all of it.
            (None, _) => words,
            (Some(_), true) => kind,
            (Some(_), false) => format!("{kind}: {words}"),
        };
        let hint = self.reader.descriptor().how_to_sign_in(failure);
        Some((failure.class(), format!("ended: {reason}{hint}")))
    }

    /// Returns the calls that it makes again and again; whether something changes by them, others see.
    pub fn loops(&self) -> Option<Loop> {
        let (limits, repeat) = (&self.reader.descriptor().limits, &self.reader.run().repeat);
        if limits.repeats == 0 || repeat.count < limits.repeats || self.seen.ended {
            return None;
        }
        let words = format!(
            "{} tool calls in a row that it had made before, the last of them `{}`, and nothing changed",
            repeat.count, repeat.name
        );
        Some(Loop { class: Failure::Loop.class(), patience: Duration::from_secs(limits.repeat_s), words })
    }

    /// Returns, with a verdict about a limit, when the service said that it serves again.
    pub fn retry_at(&self) -> Option<DateTime<Utc>> {
        let run = self.reader.run();
        let (failure, _) = run.early.as_ref()?;
        judge::retry_at(run, *failure, Utc::now())
    }

    /// Returns until when the program waits by itself for its limited service.
    pub fn waits(&self) -> Option<DateTime<Utc>> {
        self.waits.1
    }

    /// Tells whether its last event is long past and the program still runs: it is ended then, and judged as if it had ended
    /// by itself.
    pub fn lingers(&self, now: Duration) -> bool {
        let linger = Duration::from_secs(self.reader.descriptor().limits.linger_s);
        let run = self.reader.run();
        run.observation.ended && !linger.is_zero() && run.ended_at + linger <= now
    }
}
