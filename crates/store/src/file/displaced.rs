//! What others write into a file that was the queue a moment ago, because they had it open, is taken in.
//!
//! Whoever opens the queue to write into it in place holds the file, not the name; when our commit puts another file
//! under that name meanwhile, their writing goes nowhere. So each file that a commit displaces is looked at again,
//! for a while, and what it then holds beyond what we had read is brought into the queue.

use std::{
    error::Error,
    fs::File,
    io::{self, Seek as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::{
    FileStore, PATIENCE_TO_WRITE,
    disk::{self, LONGEST},
    document::{
        Document,
        merge::{merged, without_what_is_old},
    },
    lock,
    replace::{Moment, Put, replace},
};
use crate::{LOCK_WAIT, StoreError, desk::Tries};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files;

/// The times at which a displaced file is looked at again; after the last of them it is let go.
const LOOKS: [u64; 9] = [3, 15, 40, 100, 250, 500, 1_000, 2_000, 4_000];

/// An edit that was taken in is looked after until it has stayed for so long: a program that had read the queue just
/// before and writes it just after removes the edit again.
const AGAIN: Duration = Duration::from_millis(400);

/// The longest that it is looked after; who takes it out for longer than that wants it gone.
const LONG_ENOUGH: Duration = Duration::from_secs(30);

/// The time between two looks at it meanwhile.
const OFTEN: Duration = Duration::from_millis(50);

/// So many bytes of displaced files are remembered at once; the oldest goes first.
const MOST: usize = 64 << 20;

/// The time that the end of a program waits for edits of the last moment. Beside somebody who replaces the queue
/// without a pause there is always one more, since each that is taken in displaces another file.
const ENDING: Duration = Duration::from_secs(10);

/// A place where an edit may show.
#[derive(Debug)]
enum Source {
    /// In a file into which somebody may still be writing.
    File(File),
    /// It has shown: this is what the queue held with it.
    Text(Vec<u8>),
}

/// The former queue file, and its content before others edited it.
#[derive(Debug)]
pub(super) struct Displaced {
    source: Source,
    base: String,
    /// Its writer may have read the queue before it held the base.
    may_be_old: bool,
    /// What was taken in from it, while that is looked after.
    taken: Option<Taken>,
    since: Instant,
    looks: usize,
    looked: Instant,
    /// What it holds could not be taken in at the last look.
    failed: bool,
}

/// The times at which an edit was taken in.
#[derive(Clone, Copy, Debug)]
struct Taken {
    first: Instant,
    last: Instant,
}

impl Displaced {
    /// Watches a file that was the queue and held this.
    pub(super) fn new(file: File, base: String) -> Self {
        Self::of(Source::File(file), base)
    }

    /// Watches what came of a moment in which `ours` stood in the place of an edit of `old`: the edit, which who read the
    /// queue then writes over, and what others may have written into ours.
    fn in_a(Moment { edited, instead }: Moment, old: &str, ours: &str) -> Vec<Self> {
        let instead = instead.map(|file| (Source::File(file), ours));
        let both = std::iter::once((Source::Text(edited), old)).chain(instead);
        both.map(|(source, base)| Self { may_be_old: true, ..Self::of(source, base.to_owned()) }).collect()
    }

    fn of(source: Source, base: String) -> Self {
        let now = Instant::now();
        Self { source, base, may_be_old: false, taken: None, since: now, looks: 0, looked: now, failed: false }
    }

    /// Returns how many bytes of it are remembered.
    fn size(&self) -> usize {
        let text = if let Source::Text(text) = &self.source { text.len() } else { 0 };
        self.base.len() + text
    }

    fn due(&self) -> Option<Instant> {
        if self.is_watched() || self.failed {
            return Some(self.looked + OFTEN);
        }
        Some(self.since + Duration::from_millis(*LOOKS.get(self.looks)?))
    }

    /// Tells whether what was taken in of it may still be put back by somebody.
    fn is_watched(&self) -> bool {
        self.taken.is_some()
    }

    /// Notes that the queue holds its edit, which had to be put there or not.
    fn is_in(&mut self, is_put: bool, theirs: &str) {
        let now = Instant::now();
        let Taken { first, last } = self.taken.unwrap_or(Taken { first: now, last: now });
        // By what a look has found, not by the clock alone: looks come late where there is much to take in.
        let stays = !is_put && now - last > AGAIN;
        self.taken =
            (!stays && now - first < LONG_ENOUGH).then_some(Taken { first, last: if is_put { now } else { last } });
        if self.taken.is_none() {
            theirs.clone_into(&mut self.base);
        }
    }

    /// Reads what it holds now, if that is something else than before.
    fn written(&mut self) -> io::Result<Option<Vec<u8>>> {
        match &mut self.source {
            Source::Text(text) => Ok((*text != self.base.as_bytes()).then(|| text.clone())),
            Source::File(file) => {
                file.rewind()?;
                if disk::holds(file, self.base.as_bytes())? { Ok(None) } else { disk::whole(file, LONGEST).map(Some) }
            }
        }
    }

    /// Tells whether another process has it open, as far as we may see that.
    fn is_open_elsewhere(&self) -> bool {
        let Source::File(file) = &self.source else { return false };
        let Ok(mine) = file.metadata() else { return false };
        let (proc, me) = (Path::new("/proc"), std::process::id().to_string());
        let processes = files::list(proc, proc, 1 << 20).ok().flatten().unwrap_or_default();
        // Nothing tells who else has a file open but each process's own list; a lease (`F_SETLEASE`) would, by a signal to
        // the whole process.
        let numbers = processes.into_iter().filter_map(|entry| entry.name.into_string().ok());
        numbers.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && *name != me).any(|pid| {
            let of_it = proc.join(pid).join("fd");
            let descriptors = files::list(proc, &of_it, 1 << 16).ok().flatten().unwrap_or_default();
            descriptors.iter().any(|entry| {
                let there = std::fs::metadata(of_it.join(&entry.name));
                there.is_ok_and(|there| (there.dev(), there.ino()) == (mine.dev(), mine.ino()))
            })
        })
    }
}

/// The channel for displaced files; nothing more comes after `None`.
type Tell = Sender<Option<Displaced>>;

/// The thread that looks after displaced files, once there are any.
#[derive(Debug, Default)]
pub(super) struct Late(Mutex<Option<(Tell, JoinHandle<()>)>>);

impl Late {
    pub(super) fn look_after(&self, layout: &Layout, displaced: Displaced) {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let (tell, told) = crossbeam_channel::unbounded();
            let layout = layout.clone();
            let named = std::thread::Builder::new().name("late edits".into()).stack_size(512 * 1024);
            match named.spawn(move || look_after(&layout, &told)) {
                Ok(running) => *thread = Some((tell, running)),
                Err(error) => return log::debug!("late edits are not looked for: {error}"),
            }
        }
        if let Some((tell, _)) = &*thread {
            // Should the thread have died, edits in place are as safe as they were without it.
            let _ = tell.send(Some(displaced));
        }
    }
}

impl Drop for Late {
    /// Waits, before the program ends, for those who still have a displaced file open.
    fn drop(&mut self) {
        if let Some((tell, running)) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = tell.send(None);
            let _ = running.join();
        }
    }
}

fn look_after(layout: &Layout, told: &Receiver<Option<Displaced>>) {
    let mut all: Vec<Displaced> = Vec::new();
    let mut end: Option<Instant> = None;
    loop {
        let ending = end.is_some();
        if end.is_some_and(|end| Instant::now() >= end) {
            log::debug!("the queue is replaced without a pause; {} displaced files are no longer watched", all.len());
            return;
        }
        let news = match all.iter().filter_map(Displaced::due).min() {
            Some(at) => told.recv_deadline(at),
            None if ending => return,
            None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match news {
            Ok(Some(displaced)) => all.push(displaced),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => end = end.or_else(|| Some(Instant::now() + ENDING)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let mut more = Vec::new();
        all.retain_mut(|displaced| {
            if ending && !displaced.is_watched() && !displaced.is_open_elsewhere() {
                displaced.looks = LOOKS.len() - 1;
            } else if displaced.due().is_some_and(|at| at > Instant::now()) {
                return true;
            }
            displaced.looked = Instant::now();
            displaced.looks += usize::from(!displaced.is_watched() && !displaced.failed);
            displaced.failed = false;
            let last = displaced.due().is_none();
            if let Err(error) = take_in(layout, displaced, last, &mut more) {
                log::warn!("an edit made in place has not been merged yet: {error}");
                displaced.failed = displaced.since.elapsed() < LONG_ENOUGH;
            }
            !last || displaced.is_watched() || displaced.failed
        });
        all.extend(more);
        // Somebody who writes without pause must not fill our memory with what they displaced.
        while all.iter().map(Displaced::size).sum::<usize>() > MOST {
            drop(all.remove(0));
        }
    }
}

/// Brings what was written into a displaced file into the queue; `more` gets the files that this displaces in turn.
fn take_in(
    layout: &Layout,
    displaced: &mut Displaced,
    last: bool,
    more: &mut Vec<Displaced>,
) -> Result<(), Box<dyn Error>> {
    let Some(bytes) = displaced.written()? else {
        displaced.taken = None;
        return Ok(());
    };
    let path = layout.queue();
    let theirs = match Document::from_bytes(&path, bytes.clone()) {
        Ok(theirs) => theirs,
        // They are in the middle of it, or have left it there.
        Err(invalid) if last && matches!(displaced.source, Source::File(_)) => {
            let aside = path.with_extension(format!("{}{}", Layout::LOST_EDIT, std::process::id()));
            log::error!(
                "{}: an edit made in place is not a valid queue ({}); it is kept in {}",
                path.display(),
                invalid.message,
                aside.display()
            );
            return Ok(files::write_atomic(layout.root(), &aside, &bytes, files::Durable::No)?);
        }
        // What was found once goes on in a file of theirs, which has come back.
        Err(_) => return Ok(()),
    };
    // A store of its own: this thread may outlive the one that displaced the file, and takes no lease.
    let store = FileStore::open(layout, None)?;
    let newer = displaced.may_be_old.then(|| without_what_is_old(&displaced.base, theirs.text())).transpose()?;
    let is_put = store.merge(&displaced.base, newer.as_deref().unwrap_or(theirs.text()), more)?;
    if is_put {
        log::info!("{}: merged an edit that was made in place while the file was being replaced", path.display());
    }
    displaced.is_in(is_put, theirs.text());
    Ok(())
}

impl FileStore {
    /// Puts an edit into the queue that was made in a file which was no longer it; `base` is what that had held.
    /// `displaced` gets the files that this displaces; `false` when the queue holds the edit already.
    fn merge(&self, base: &str, theirs: &str, displaced: &mut Vec<Displaced>) -> Result<bool, StoreError> {
        self.prepare()?;
        let (path, started) = (self.layout.queue(), Instant::now());
        let deadline = started + LOCK_WAIT;
        let mut tries = Tries::until(deadline);
        while tries.again() {
            let lock = lock::queue_lock(&self.layout.queue_lock(), deadline, started)?;
            let state = &mut *self.state();
            self.look_patiently(state, PATIENCE_TO_WRITE)?;
            let now = state.good.as_ref().expect("looked at just now").document.text().to_owned();
            let wrong = |error: serde_json::Error| disk::failed("edit", &path)(std::io::Error::other(error));
            let Some(text) = merged(base, theirs, &now).map_err(wrong)? else { return Ok(false) };
            let (is_put, more) = self.replace((&now, &text), || Ok(lock.is_in_force()?))?;
            displaced.extend(more);
            if is_put {
                return Ok(true);
            }
        }
        Err(StoreError::Contended { path, tries: tries.made() })
    }

    /// Replaces the queue's text if it is still the old one; returns whether it was, and the files and edits to look
    /// after: those that it displaced, for good or for a moment.
    pub(super) fn replace(
        &self,
        (old, new): (&str, &str),
        still: impl FnOnce() -> io::Result<bool>,
    ) -> Result<(bool, Vec<Displaced>), StoreError> {
        let path = self.layout.queue();
        let contents = (old.as_bytes(), new.as_bytes());
        let put = match replace(&path, contents, still) {
            // Another worker, whose lock is on another file since somebody took ours away, has cleared up what was written.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Put::Refused(None),
            put => put.map_err(disk::failed("save", &path))?,
        };
        Ok(match put {
            Put::Done(file) => (true, file.map(|file| Displaced::new(file, old.to_owned())).into_iter().collect()),
            Put::Refused(moment) => (false, moment.map_or_else(Vec::new, |moment| Displaced::in_a(moment, old, new))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_looked_after_until_a_look_has_found_that_it_stays_however_late_that_comes() {
        let mut displaced = Displaced::of(Source::Text(b"theirs".to_vec()), "base".into());
        let late = |displaced: &mut Displaced, age: Duration| {
            let taken = displaced.taken.as_mut().expect("it is looked after");
            (taken.first, taken.last) = (taken.first - age, taken.last - age);
        };
        displaced.is_in(true, "theirs");
        displaced.is_in(false, "theirs");
        assert!(displaced.is_watched(), "who had read the queue before may still write");
        // The next look comes late, and finds that somebody has taken it out.
        late(&mut displaced, 3 * AGAIN);
        displaced.is_in(true, "theirs");
        assert!(displaced.is_watched() && displaced.base == "base");
        late(&mut displaced, 3 * AGAIN);
        displaced.is_in(false, "theirs");
        assert!(!displaced.is_watched() && displaced.base == "theirs", "it has stayed");
        // Who takes it out again and again wants it gone.
        displaced.is_in(true, "theirs");
        late(&mut displaced, LONG_ENOUGH);
        displaced.is_in(true, "theirs");
        assert!(!displaced.is_watched());
    }
}
