//! Mailboxes as files: `.oodatcaa/messages/NAME.jsonl`, append-only, one event a line, each box with a lock of its own.
//!
//! Nothing of the queue is touched, so that mail comes through while the queue file cannot be read, and wakes nobody
//! but its receiver.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::Utc;
use crossbeam_channel::Receiver;

use super::{
    disk::{self, Stamp, failed},
    holders::Machine,
    journal, lock,
    seals::Seals,
    watch,
};
use crate::{Decision, Mailboxes, StoreError};
use oodatcaa_core::{Event, TaskId, layout::Layout, state::mail::Mailbox};
use oodatcaa_sys::files::{self, Durable, named};

/// A file that is longer is put aside, and what is still of use goes on in a new one.
const LARGE: u64 = 8 << 20;

/// The end of a large file that stays: what was sent lately, and under which keys.
const KEPT: u64 = 1 << 20;

/// A file that is longer was not made by us.
const LARGEST: u64 = 64 << 20;

/// The most mailboxes of a project.
const MOST: usize = 10_000;

/// The mailboxes of a project's files.
#[derive(Debug)]
pub(crate) struct FileMailboxes {
    layout: Layout,
    source: String,
    lock_wait: Duration,
    known: Mutex<All>,
    watchers: Mutex<Vec<notify::RecommendedWatcher>>,
}

/// The mailboxes that have been read, and what tells our lines from others'.
#[derive(Debug, Default)]
struct All {
    boxes: HashMap<String, Known>,
    seals: Seals,
}

/// A mailbox as far as its file has been read.
#[derive(Clone, Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    /// The end of the last whole line.
    offset: u64,
    mailbox: Arc<Mailbox>,
}

impl FileMailboxes {
    /// Opens the mailboxes of a project; nothing is created.
    pub(crate) fn open(layout: &Layout, lock_wait: Duration) -> Result<Self, StoreError> {
        for directory in [layout.mark(), layout.messages(), layout.locks()] {
            disk::check_directory(&directory)?;
        }
        Ok(Self {
            source: journal::source(&Machine::this().host, layout.root()),
            layout: layout.clone(),
            lock_wait,
            known: Mutex::new(All { boxes: HashMap::new(), seals: Seals::of(layout) }),
            watchers: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, All> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        // The name becomes a part of a path.
        let path = self.layout.messages().join(format!("{name}.jsonl"));
        match TaskId::parse(name) {
            Ok(_) => Ok(path),
            Err(bad) => Err(StoreError::Unsafe { path, reason: format!("the name of a mailbox {bad}") }),
        }
    }

    /// Takes in what is new of a file; answers also what stands behind its last whole line, in bytes.
    fn refresh(path: &Path, known: &mut Known, seals: &mut Seals) -> Result<u64, StoreError> {
        let Some(file) = disk::open(path)? else {
            *known = Known::default();
            return Ok(0);
        };
        let stamp = Stamp::of(&file.metadata().map_err(failed("look at", path))?);
        if known.stamp == Some(stamp) && stamp.size == known.offset && !stamp.is_fresh() {
            return Ok(0);
        }
        let is_same = known.stamp.is_some_and(|old| old.is_same_file(&stamp)) && stamp.size >= known.offset;
        if !is_same {
            *known = Known::default();
        }
        if stamp.size > LARGEST {
            let reason = format!("it has {} bytes; no mailbox of ours has more than {LARGEST}", stamp.size);
            return Err(StoreError::Unsafe { path: path.into(), reason });
        }
        let new = read(&file, known.offset, stamp.size).map_err(failed("read", path))?;
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole > 0 {
            let mailbox = Arc::make_mut(&mut known.mailbox);
            for line in new[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match Event::parse(line) {
                    Ok(mut event) => {
                        seals.check(&mut event);
                        mailbox.apply(&event);
                    }
                    // Somebody wrote it by hand, or another version did: it stays where it is.
                    Err(error) => log::warn!("{}: a line is no message: {error}", path.display()),
                }
            }
        }
        known.offset += whole as u64;
        known.stamp = Some(stamp);
        Ok((new.len() - whole) as u64)
    }

    /// Puts a large file aside, and goes on in a new one with what is still of use.
    fn turn_over(&self, name: &str, path: &Path, known: &mut Known, seals: &mut Seals) -> Result<(), StoreError> {
        let Some(file) = disk::open(path)? else { return Ok(()) };
        let all = read(&file, 0, known.offset).map_err(failed("read", path))?;
        let open: Vec<u64> = known.mailbox.open().map(|letter| letter.number).collect();
        let (mut kept, mut at) = (Vec::new(), 0_u64);
        for line in all.split_inclusive(|byte| *byte == b'\n') {
            at += line.len() as u64;
            if at + KEPT > known.offset || is_about(line, &open) {
                kept.extend_from_slice(line);
            }
        }
        let archive = self.layout.messages().join("archive");
        disk::make_directory(&archive)?;
        let aside = (1..=9_999).map(|n| archive.join(format!("{name}-{n:04}.jsonl"))).find(|path| !path.exists());
        let aside = aside.ok_or_else(|| StoreError::Unsafe { path: archive, reason: "it is full".into() })?;
        // First the copy, then the new file in the place of the old one: a kill in between costs a copy, and no message.
        named::write(&aside, &all, Durable::Yes).map_err(failed("write", &aside))?;
        files::write_atomic(self.layout.root(), path, &kept, Durable::Yes)?;
        *known = Known::default();
        Self::refresh(path, known, seals)?;
        Ok(())
    }
}

/// Reads a part of a file.
fn read(mut file: &File, from: u64, to: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(to.saturating_sub(from)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Tells whether a line is about one of these messages.
fn is_about(line: &[u8], numbers: &[u64]) -> bool {
    let Ok(event) = Event::parse(line) else { return false };
    let about = event.data().members().get("letter").and_then(serde_json::Value::as_u64).unwrap_or(event.seq);
    numbers.contains(&about)
}

impl Mailboxes for FileMailboxes {
    fn names(&self) -> Result<Vec<String>, StoreError> {
        let entries = files::list(self.layout.root(), &self.layout.messages(), MOST)?.unwrap_or_default();
        let names = entries.into_iter().filter_map(|entry| entry.name.into_string().ok());
        Ok(names.filter_map(|file| Some(file.strip_suffix(".jsonl")?.to_owned())).collect())
    }

    fn read(&self, name: &str) -> Result<Arc<Mailbox>, StoreError> {
        let path = self.path(name)?;
        let All { boxes, seals } = &mut *self.known();
        let known = boxes.entry(name.into()).or_default();
        Self::refresh(&path, known, seals)?;
        Ok(Arc::clone(&known.mailbox))
    }

    fn change(&self, name: &str, decide: Decision<'_>) -> Result<Vec<Event>, StoreError> {
        let path = self.path(name)?;
        disk::make_directory(&self.layout.locks())?;
        disk::make_directory(&self.layout.messages())?;
        // No task has an id that begins with a dot.
        let at = self.layout.locks().join(format!(".mail-{name}.lock"));
        let now = Instant::now();
        let _lock = lock::queue_lock(&at, now + self.lock_wait, now)?;
        let All { boxes, seals } = &mut *self.known();
        let known = boxes.entry(name.into()).or_default();
        let torn = Self::refresh(&path, known, seals)?;
        let drafts = decide(&known.mailbox);
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let mut file = disk::append(&path)?;
        if torn > 0 {
            file.set_len(known.offset).map_err(failed("cut", &path))?;
            log::warn!("{}: {torn} bytes of an unfinished line were cut off", path.display());
        }
        let time = Utc::now();
        let numbered = (known.mailbox.seq + 1..).zip(drafts);
        let mut events: Vec<Event> =
            numbered.map(|(seq, draft)| Event::number(draft, seq, time, &self.source)).collect();
        events.iter_mut().for_each(|event| seals.seal(event));
        let mut text = Vec::new();
        for event in &events {
            serde_json::to_writer(&mut text, event).expect("an event is JSON");
            text.push(b'\n');
        }
        disk::point("mail-write").map_err(failed("append to", &path))?;
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Half of it is nothing: whoever comes next finds the box as it was.
            let _ = file.set_len(known.offset);
            return Err(failed("append to", &path)(error));
        }
        disk::point("mail-written").map_err(failed("append to", &path))?;
        let mailbox = Arc::make_mut(&mut known.mailbox);
        events.iter().for_each(|event| mailbox.apply(event));
        known.offset += text.len() as u64;
        known.stamp = disk::stamp(&path)?;
        if known.offset > LARGE {
            self.turn_over(name, &path, known, seals)?;
        }
        Ok(events)
    }

    fn changes(&self, name: &str) -> Result<Receiver<()>, StoreError> {
        let path = self.path(name)?;
        disk::make_directory(&self.layout.messages())?;
        let (watcher, woken) = watch::of_file(&path)?;
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(watcher);
        Ok(woken)
    }
}
