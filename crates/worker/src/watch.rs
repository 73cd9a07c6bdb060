//! Reads an agent's output while it is written, so that its watcher can see, count and say when to end it.

use std::{
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    time::Instant,
};

use chrono::{DateTime, Utc};

use oodatcaa_agent::{Loop, Observation, Stream, Watcher, output};
use oodatcaa_core::Class;
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files;

/// Bytes that are read at once.
const CHUNK: u64 = 1 << 20;

/// An agent's two output files and who looks at them.
pub(crate) struct Watch {
    watcher: Watcher,
    files: [(Stream, PathBuf, u64); 2],
    since: Instant,
    told: Observation,
    waits: Option<DateTime<Utc>>,
    /// What must not be shown of what the agent says.
    secrets: Vec<String>,
    /// Why the attempt was ended by us.
    pub(crate) ended: Option<(Class, String)>,
}

impl Watch {
    pub(crate) fn new(watcher: Watcher, stdout: PathBuf, stderr: PathBuf, secrets: Vec<String>) -> Self {
        let files = [(Stream::Stdout, stdout, 0), (Stream::Stderr, stderr, 0)];
        Self { watcher, files, since: Instant::now(), told: Observation::default(), waits: None, secrets, ended: None }
    }

    /// Reads what is new; answers a reason to end the attempt, once.
    pub(crate) fn look(&mut self) -> Option<(Class, String)> {
        self.read();
        let now = self.since.elapsed();
        if self.ended.is_some() {
            return None;
        }
        self.ended = self.watcher.verdict(now).map(|(class, reason)| (class, self.masked(&reason)));
        self.ended.clone()
    }

    /// Returns the calls that the agent makes again and again.
    pub(crate) fn loops(&self) -> Option<Loop> {
        self.watcher.loops().map(|circle| Loop { words: self.masked(&circle.words), ..circle })
    }

    /// Tells whether its last event is long past and the program still runs.
    pub(crate) fn lingers(&self) -> bool {
        self.watcher.lingers(self.since.elapsed())
    }

    /// Reads the rest when both files are whole.
    pub(crate) fn finish(&mut self) {
        self.read();
        self.watcher.finish(self.since.elapsed());
    }

    pub(crate) fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    fn read(&mut self) {
        for (stream, path, from) in &mut self.files {
            // A file that cannot be read now is read at the next look, or not at all: nothing rests on it alone.
            let Ok(Some(mut file)) = files::open(Layout::root_of(path), path) else { continue };
            if file.seek(SeekFrom::Start(*from)).is_err() {
                continue;
            }
            loop {
                let mut bytes = Vec::new();
                match (&mut file).take(CHUNK).read_to_end(&mut bytes) {
                    Ok(read) if read > 0 => {
                        *from += read as u64;
                        self.watcher.feed(*stream, &bytes, self.since.elapsed());
                    }
                    _ => break,
                }
            }
        }
    }

    /// Returns what was seen, if it is more than was told before.
    pub(crate) fn news(&mut self) -> Option<Observation> {
        let seen = self.watcher.seen();
        if *seen == self.told {
            return None;
        }
        self.told = seen.clone();
        let masked = |said: &Option<String>| said.as_deref().map(|said| self.masked(said));
        Some(Observation {
            session: masked(&seen.session),
            model: masked(&seen.model),
            last_tool: masked(&seen.last_tool),
            last_text: masked(&seen.last_text),
            ..seen.clone()
        })
    }

    fn masked(&self, said: &str) -> String {
        output::mask(said, &self.secrets)
    }

    /// Returns until when the agent waits by itself for its limited service, once for each time.
    pub(crate) fn waits(&mut self) -> Option<DateTime<Utc>> {
        let waits = self.watcher.waits().filter(|until| self.waits != Some(*until))?;
        self.waits = Some(waits);
        Some(waits)
    }

    /// Returns when the agent's service said that it serves again.
    pub(crate) fn retry_at(&self) -> Option<DateTime<Utc>> {
        self.watcher.retry_at()
    }
}
