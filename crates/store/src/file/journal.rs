//! The journal: one event a line, appended under the queue lock, read once and then only what is new.

mod scan;

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use self::scan::Piece;
use super::{
    disk::{self, Stamp, failed},
    seals::Seals,
};
use crate::{Invalid, StoreError};
use oodatcaa_core::{
    Data, Event, EventDraft, History, Kind,
    event::{
        Actor,
        payload::{Readable, Unreadable},
    },
    state,
};
use oodatcaa_sys::{files, lock::Lock};

/// Space that is set aside behind the journal's end, so that a full disk cannot part a change from its event.
const RESERVE: u64 = 64 * 1024;

/// A note of an event's place after about so many bytes.
const STRIDE: u64 = 128 * 1024;

/// So many of the last bytes are compared to recognise a file that was written anew in place.
const TAIL: usize = 512;

/// A number that is further ahead of the one before it was made up; the event counts, its number does not.
const JUMP: u64 = 1_000_000;

/// The greatest number that a journal may begin with: one that goes on from another.
const GREATEST: u64 = 1 << 40;

/// The wait for others who append at the same moment, which only a lock file that was taken away allows.
const APPENDING: Duration = Duration::from_secs(2);

/// A journal as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Journal {
    path: PathBuf,
    stamp: Option<Stamp>,
    /// The end of the last whole line that was read.
    offset: u64,
    /// The bytes before it.
    tail: Vec<u8>,
    /// Every so often: the number of an event, and where its line ends.
    marks: Vec<(u64, u64)>,
    history: Arc<History>,
    reserved: u64,
    seals: Seals,
}

/// The rest of the file after the last whole line.
#[derive(Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    /// A whole event that only lacks its line feed.
    Unended,
    /// Part of one: so many bytes.
    Torn(u64),
}

impl Journal {
    pub(super) fn new(path: PathBuf, seals: Seals) -> Self {
        Self { path, seals, ..Self::default() }
    }

    /// Gives drafts their numbers, and a seal to what needs one.
    pub(super) fn number(
        &mut self,
        drafts: impl IntoIterator<Item = EventDraft>,
        time: DateTime<Utc>,
        source: &str,
    ) -> Vec<Event> {
        let numbered = (self.history.seq + 1..).zip(drafts).map(|(seq, draft)| Event::number(draft, seq, time, source));
        let mut events: Vec<Event> = numbered.collect();
        self.seal(&mut events);
        events
    }

    /// Gives events the numbers that are next here.
    pub(super) fn renumber(&self, events: &mut [Event]) {
        for (seq, event) in (self.history.seq + 1..).zip(events) {
            (event.seq, event.id) = (seq, seq.to_string());
        }
    }

    /// Puts a seal on what needs one, as it is now.
    pub(super) fn seal(&mut self, events: &mut [Event]) {
        events.iter_mut().for_each(|event| self.seals.seal(event));
    }

    /// Returns what the events add up to.
    pub(super) fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Forgets what was read.
    pub(super) fn forget(&mut self) {
        *self = Self::new(std::mem::take(&mut self.path), std::mem::take(&mut self.seals));
    }

    /// Takes in what is new. A line that is not finished waits.
    pub(super) fn refresh(&mut self) -> Result<(), StoreError> {
        self.read_new().map(|_| ())
    }

    /// Takes in what is new and, for one who holds the queue lock, mends the end of the file.
    /// Answers how many bytes of an unfinished line were cut off.
    pub(super) fn mend(&mut self) -> Result<u64, StoreError> {
        match self.read_new()? {
            Rest::Nothing => Ok(0),
            Rest::Unended => {
                let mut file = disk::append(&self.path)?;
                file.write_all(b"\n").map_err(failed("append to", &self.path))?;
                self.stamp = None;
                self.read_new().map(|_| 0)
            }
            Rest::Torn(bytes) => {
                let file = disk::append(&self.path)?;
                file.set_len(self.offset).map_err(failed("cut", &self.path))?;
                log::warn!("{}: {bytes} bytes of an unfinished line were cut off", self.path.display());
                self.stamp = None;
                Ok(bytes)
            }
        }
    }

    fn read_new(&mut self) -> Result<Rest, StoreError> {
        let stamp = disk::stamp(&self.path)?;
        if stamp == self.stamp && stamp.is_none_or(|stamp| stamp.size == self.offset) {
            return Ok(Rest::Nothing);
        }
        let Some(file) = disk::open(&self.path)? else {
            self.forget();
            return Ok(Rest::Nothing);
        };
        let stamp = Stamp::of(&file.metadata().map_err(failed("look at", &self.path))?);
        // Rotated, restored or written anew: then all of it is read again.
        let same = self.stamp.is_none_or(|old| old.is_same_file(&stamp)) && stamp.size >= self.offset;
        if !same || !self.continues(&file).map_err(failed("read", &self.path))? {
            self.forget();
        }
        let rest = self.read_on(&file, stamp.size).map_err(failed("read", &self.path))?;
        self.stamp = Some(stamp);
        let unread = stamp.size.saturating_sub(self.offset);
        Ok(match rest {
            Some(rest) if rest.is_empty() && unread == 0 => Rest::Nothing,
            Some(rest) if Event::parse(&rest).is_ok() => Rest::Unended,
            _ => Rest::Torn(unread),
        })
    }

    /// Takes in all whole lines up to `size`; returns what follows the last one, `None` when that is no part of a line.
    fn read_on(&mut self, file: &File, size: u64) -> io::Result<Option<Vec<u8>>> {
        scan::lines(file, self.offset, size, &mut |piece| match piece {
            Piece::Lines(lines) => self.take_in(lines),
            Piece::Broken { end, tail } => {
                log::warn!("{}: skipping the line at byte {}, which is not an event", self.path.display(), self.offset);
                (self.offset, self.tail) = (end, tail[tail.len().saturating_sub(TAIL)..].to_vec());
            }
        })
    }

    /// Tells whether the file still holds what was read before.
    fn continues(&self, file: &File) -> io::Result<bool> {
        let mut there = vec![0; self.tail.len()];
        let length = scan::read_at(file, &mut there, self.offset - self.tail.len() as u64)?;
        Ok(there[..length] == self.tail[..])
    }

    fn take_in(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let history = Arc::make_mut(&mut self.history);
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let start = self.offset;
            self.offset += line.len() as u64;
            match Event::parse(line) {
                Ok(mut event) => {
                    self.seals.check(&mut event);
                    if !is_plausible(event.seq, history.seq) {
                        log::warn!(
                            "{}: ignoring the number {} in the line at byte {start}, which is too far ahead",
                            self.path.display(),
                            event.seq
                        );
                        event.seq = history.seq;
                    }
                    history.apply(&event);
                }
                Err(_) if line.trim_ascii().is_empty() => {}
                Err(error) => {
                    // Numbers must not be given out twice, whatever else the line says.
                    #[derive(Deserialize)]
                    struct Numbered {
                        seq: u64,
                    }
                    if let Ok(Numbered { seq }) = serde_json::from_slice(line)
                        && is_plausible(seq, history.seq)
                    {
                        history.seq = history.seq.max(seq);
                    }
                    log::warn!("{}: skipping the line at byte {start}: {error}", self.path.display());
                }
            }
            // Whoever follows the journal reads its end again and again, not all of it.
            if self.offset - self.marks.last().map_or(0, |mark| mark.1) >= STRIDE {
                self.marks.push((history.seq, self.offset));
            }
        }
        self.tail.extend_from_slice(&lines[lines.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
    }

    /// Sets space aside for so many bytes more, so that [`Self::append`] cannot fail for want of it.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), StoreError> {
        let end = self.offset + bytes as u64;
        if end <= self.reserved {
            return Ok(());
        }
        let is_new = disk::stamp(&self.path)?.is_none();
        let file = disk::append(&self.path)?;
        if is_new {
            let directory = self.path.parent().expect("the journal stands in a directory");
            disk::sync_directory(directory).map_err(failed("make durable", directory))?;
        }
        let want = end - self.offset + RESERVE;
        // Behind the end and without changing the size: readers see nothing of it.
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, self.offset, want) {
            Ok(()) => self.reserved = self.offset + want,
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {
                return Err(failed("append to", &self.path)(rustix::io::Errno::NOSPC.into()));
            }
            // Not every file system can.
            Err(_) => self.reserved = u64::MAX,
        }
        self.stamp = None;
        Ok(())
    }

    /// Appends events by a single write; only for one who holds the queue lock and has mended the end.
    /// If they are to be durable, they have reached the disk afterwards, with all that stood before them.
    ///
    /// The journal has a lock of its own for this moment: two who both believe that they hold the queue's, because
    /// somebody took its file away, still append one after the other, and the later one counts on and leaves out what
    /// the other one has told by then.
    pub(super) fn append(&mut self, events: &mut Vec<Event>, durable: bool) -> Result<(), StoreError> {
        let open = || disk::append(&self.path);
        let lock = Lock::take(&self.path, Instant::now() + APPENDING, open)?;
        // Whoever holds it for longer than that is stopped; the change is in the queue by now and has to be told.
        let mut file = lock.map_or_else(open, |lock| Ok(lock.into_file()))?;
        self.refresh()?;
        if events.first().is_some_and(|first| first.seq <= self.history.seq) {
            events.retain(|event| !is_told(&self.history, event));
            if events.is_empty() {
                return Ok(());
            }
            self.renumber(events);
        }
        // One write: appends of others cannot come between two lines of one commit.
        let lines = lines(events);
        let mut write = || -> io::Result<()> {
            disk::point("store.journal")?;
            file.write_all(&lines)?;
            disk::point("store.journal.written")?;
            if durable {
                file.sync_data()?;
            }
            disk::point("store.journal.synced")
        };
        if let Err(error) = write() {
            // What of it stands there is unknown: cut back to what is known, and read anew.
            self.cut_back(self.offset);
            return Err(failed("append to", &self.path)(error));
        }
        self.take_in(&lines);
        self.stamp = disk::stamp(&self.path)?;
        Ok(())
    }

    /// Returns where the last whole line ends.
    pub(super) fn end(&self) -> u64 {
        self.offset
    }

    /// Makes its directory, for our eyes only.
    pub(super) fn make_place(&self) -> Result<(), StoreError> {
        let directory = self.path.parent().expect("the journal stands in a directory");
        files::make_named_dir(directory)?;
        disk::check_directory(directory).map(drop)
    }

    /// Takes back what was appended behind an end; only for one who has held the lock since.
    pub(super) fn cut_back(&mut self, end: u64) {
        let cut = files::named::hold(&self.path).and_then(|file| file.set_len(end));
        if let Err(error) = cut {
            log::debug!("{} could not be cut back: {error}", self.path.display());
        }
        self.forget();
    }

    /// Passes on the events after a number, one at a time.
    pub(super) fn replay(&mut self, after: u64, take: &mut dyn FnMut(Event)) -> Result<(), StoreError> {
        self.refresh()?;
        if after >= self.history.seq {
            return Ok(());
        }
        let from = self.marks.iter().rev().find(|(seq, _)| *seq <= after).map_or(0, |(_, end)| *end);
        let Some(file) = disk::open(&self.path)? else { return Ok(()) };
        let (mut before, seals) = (0, &mut self.seals);
        let read = scan::lines(&file, from, self.offset, &mut |piece| {
            let Piece::Lines(lines) = piece else { return };
            for line in lines.split_inclusive(|&byte| byte == b'\n') {
                let event = Event::parse(line).ok();
                if let Some(mut event) = event.filter(|event| from > 0 || is_plausible(event.seq, before)) {
                    before = before.max(event.seq);
                    if event.seq > after {
                        seals.check(&mut event);
                        take(event);
                    }
                }
            }
        });
        read.map(drop).map_err(failed("read", &self.path))
    }
}

/// Tells whether an event may have this number when the one before it has that.
fn is_plausible(seq: u64, before: u64) -> bool {
    if before == 0 { seq <= GREATEST } else { seq <= before.saturating_add(JUMP) }
}

/// Renders events as the lines of a journal.
pub(super) fn lines(events: &[Event]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(events.len() * 384);
    for event in events {
        serde_json::to_writer(&mut lines, event).expect("an event is JSON");
        lines.push(b'\n');
    }
    lines
}

/// Returns where events come from: `//<host>/<project name>`.
pub(super) fn source(host: &str, root: &Path) -> String {
    let name = root.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    format!("//{host}/{name}")
}

/// Drafts the event that says why the queue cannot be read.
pub(super) fn invalid(wrong: &Invalid) -> EventDraft {
    let unreadable = Unreadable {
        line: Some(wrong.line),
        column: Some(wrong.column),
        message: Some(wrong.message.clone()),
        ..Unreadable::default()
    };
    EventDraft::new(Data::QueueInvalid(unreadable), Actor::Outside)
}

/// Drafts the event that says that an unfinished line was cut off the journal.
pub(super) fn cut(bytes: u64) -> EventDraft {
    let note = format!("{bytes} bytes of an unfinished line were cut off the journal");
    let readable = Readable { note: Some(note), ..Readable::default() };
    EventDraft::new(Data::QueueValid(readable), Actor::Policy("journal".into()))
}

/// Tells whether the journal knows of this without its event.
pub(super) fn is_told(history: &History, event: &Event) -> bool {
    let Some(known) = event.task.as_ref().and_then(|task| history.task(task)) else { return false };
    let token = event.token.unwrap_or_default();
    match event.kind() {
        _ if event.data().task_change().is_some_and(|change| change.stamped) => {
            known.updated_at.is_some_and(|told| told >= state::written_at(event))
        }
        Kind::LeaseAcquired => known.runs.contains_key(&token),
        Kind::AttemptStarted | Kind::AttemptFinished | Kind::AttemptSuperseded => known.ended >= token,
        _ => false,
    }
}
