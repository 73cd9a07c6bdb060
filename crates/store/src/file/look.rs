//! Looks at the queue, again and again, as cheaply as it can; with patience for somebody who is writing it, and with an
//! eye on the project's directory, which may be moved away meanwhile.

use std::{
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use super::{
    FileStore, State,
    disk::{self, LONGEST, Stamp, failed},
    document::Document,
};
use crate::{Invalid, StoreError};
use oodatcaa_sys::project::Identity;

/// The time that a reader waits for somebody who is in the middle of writing the file in place.
pub(super) const PATIENCE: Duration = Duration::from_millis(150);

/// The time that a change waits for the same: on a busy machine a program may be held up between emptying a file and
/// writing it, and what a person asks for is not refused for that.
pub(super) const PATIENCE_TO_WRITE: Duration = Duration::from_secs(2);

/// The last queue that could be read.
#[derive(Debug)]
pub(super) struct Good {
    pub(super) document: Document,
    pub(super) stamp: Stamp,
    /// So fresh that another change could hide behind the same stamp.
    pub(super) fresh: bool,
}

impl FileStore {
    /// Reads the queue, or finds that it is as it was.
    fn look(&self, state: &mut State) -> Result<(), StoreError> {
        let path = self.layout.queue();
        let missing = || StoreError::Missing(path.clone());
        let stamp = disk::stamp(&path)?.ok_or_else(missing)?;
        // Equal stamps mean equal content, unless the last change is so fresh that another fits into the same tick.
        if let Some(good) = &state.good
            && good.stamp == stamp
            && !good.fresh
        {
            return Ok(());
        }
        let mut file = disk::open(&path)?.ok_or_else(missing)?;
        let stamp = Stamp::of(&file.metadata().map_err(failed("look at", &path))?);
        let fresh = stamp.is_fresh();
        if let Some(good) = &mut state.good
            // `touch`, a checkout of the same commit, our own write: to compare costs less than to parse.
            && stamp.size == good.document.text().len() as u64
            && disk::holds(&mut file, good.document.text().as_bytes()).is_ok_and(|same| same)
        {
            (good.stamp, good.fresh) = (stamp, fresh);
            return Ok(());
        }
        if stamp.size > LONGEST || disk::is_mostly_hole(&path, stamp.size) {
            let message =
                format!("the file has {} bytes, most of which was never written; expected a queue", stamp.size);
            return Err(Invalid { path, line: 1, column: 1, message }.into());
        }
        let bytes = disk::whole(&mut file, LONGEST).map_err(failed("read", &path))?;
        // A rewrite changes few tasks of many as a rule.
        let document = match &state.good {
            Some(good) => good.document.reread_bytes(bytes),
            None => Document::from_bytes(&path, bytes),
        };
        state.good = Some(Good { document: document?, stamp, fresh });
        Ok(())
    }

    /// Looks as [`Self::look`] does, with patience for somebody who is writing in place or replacing the file.
    pub(super) fn look_patiently(&self, state: &mut State, patience: Duration) -> Result<(), StoreError> {
        let deadline = Instant::now() + patience;
        loop {
            let bad = match self.look(state) {
                Ok(()) => return Ok(()),
                Err(bad) => bad,
            };
            // Editors empty a file before they fill it, and some remove it: only what stays wrong is wrong.
            let changing = match (&bad, disk::stamp(&self.layout.queue())) {
                (StoreError::Invalid(_) | StoreError::Missing(_), Ok(there)) => match there {
                    None => state.good.is_some() || self.is_being_replaced(patience),
                    Some(stamp) => stamp.is_younger_than(patience),
                },
                _ => false,
            };
            if !changing || Instant::now() >= deadline {
                return Err(bad);
            }
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    /// Tells whether a queue that is missing may have been moved away just now, by an editor that writes it anew.
    pub(super) fn is_being_replaced(&self, patience: Duration) -> bool {
        std::fs::symlink_metadata(self.layout.work()).is_ok_and(|meta| Stamp::of(&meta).is_younger_than(patience))
    }

    /// Checks that the project's directory is there and the same. While it is gone (moved, not mounted) nothing that is
    /// missing below it means anything.
    pub(super) fn is_here(&self) -> Result<(), StoreError> {
        let Some(then) = &self.root else { return Ok(()) };
        let away = |what: &str| {
            let source =
                std::io::Error::new(std::io::ErrorKind::NotFound, format!("{what}; waiting for it to come back"));
            Err(failed("find the project's directory", self.layout.root())(source))
        };
        match Identity::of(self.layout.root()) {
            Ok(now) if (now.ino, now.born) == (then.ino, then.born) => Ok(()),
            Ok(_) => away("another directory is in its place"),
            Err(_) => away("it is not there"),
        }
    }

    /// Returns when the project's directory was last changed itself, and when what is in it.
    pub(super) fn changed_at(&self) -> Option<[(i64, i64); 2]> {
        let meta = std::fs::symlink_metadata(self.layout.root()).ok()?;
        Some([(meta.ctime(), meta.ctime_nsec()), (meta.mtime(), meta.mtime_nsec())])
    }

    /// Tells whether the directory has been here all the while. Who moves it away and back changes it and nothing in it, and
    /// what was read meanwhile may have been missing.
    pub(super) fn has_stayed(&self, before: Option<[(i64, i64); 2]>) -> bool {
        match (before, self.changed_at()) {
            // A rename changes ctime alone; a new entry below changes mtime with it.
            (Some([then, within]), Some([now, within_now])) => then == now || within != within_now,
            (before, now) => before == now,
        }
    }
}
