//! Locks on names, as the helper scripts of the old fleet take them: whoever has one has it for a time.
//!
//! The record stands in `.locks/NAME.lock`, is read and written under the flock on that same file, and the file stays:
//! so of many who come at once exactly one gets it.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{ErrorKind, Failure, Project, view::LockView};
use oodatcaa_core::{TaskId, lease::LONGEST, text::one_line, time::stamp};
use oodatcaa_sys::{
    files,
    lock::{self, Lock},
};

/// The lifetime of a lock that does not state one, in seconds, as the old script had it.
const SHORT: u64 = 300;

/// The time that others may keep the file while they read and write their record.
const PATIENCE: Duration = Duration::from_secs(2);

/// No record is longer.
const MOST: u64 = 4 << 10;

/// The owner of a name, and the time since which they have it.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    owner: String,
    created_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<u64>,
}

impl Record {
    fn until(&self) -> DateTime<Utc> {
        let ttl = i64::try_from(self.ttl_seconds.unwrap_or(SHORT)).ok().and_then(chrono::Duration::try_seconds);
        self.created_at.checked_add_signed(ttl.unwrap_or(LONGEST).min(LONGEST)).unwrap_or(self.created_at)
    }

    /// Tells whether it counts; one that says to last longer than any may counts for nothing.
    fn is_live(&self, now: DateTime<Utc>) -> bool {
        now < self.until() && self.until() <= now + LONGEST
    }
}

impl Project {
    /// Takes a lock on a name for a time, or renews one's own.
    pub fn lock_name(&self, name: &str, owner: &str, ttl: Duration) -> Result<LockView, Failure> {
        self.with_name(name, |mut file, there, now| {
            if let Some(record) = there.filter(|record| record.is_live(now) && record.owner != owner) {
                return Err(held(name, &record));
            }
            let record = Record { owner: owner.into(), created_at: now, ttl_seconds: Some(ttl.as_secs().max(1)) };
            let mut text = serde_json::to_vec(&record).expect("a record is JSON");
            text.push(b'\n');
            let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
            written.map_err(Failure::from)?;
            Ok(LockView { name: name.into(), owner: Some(record.owner.clone()), until: Some(record.until().into()) })
        })
    }

    /// Gives such a lock back; one that nobody has is as good.
    pub fn unlock_name(&self, name: &str, owner: &str) -> Result<LockView, Failure> {
        self.with_name(name, |file, there, now| {
            if let Some(record) = there.filter(|record| record.is_live(now) && record.owner != owner) {
                return Err(held(name, &record));
            }
            // Never unlinked: somebody may be waiting for a lock on this very file.
            file.set_len(0).map_err(Failure::from)?;
            Ok(LockView { name: name.into(), owner: None, until: None })
        })
    }

    fn with_name<T>(
        &self,
        name: &str,
        act: impl FnOnce(&File, Option<Record>, DateTime<Utc>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let layout = self.layout()?;
        let id = TaskId::parse(name).map_err(|bad| {
            Failure::new(ErrorKind::Usage, format!("the name {name:?} {bad}")).hint("agentctl help locks")
        })?;
        files::make_dir(layout.root(), &layout.locks())?;
        let path = layout.task_lock(&id);
        let deadline = Instant::now() + PATIENCE;
        let Some(lock) = Lock::take(&path, deadline, lock::open(layout.root(), &path))? else {
            let message = format!("somebody holds {}: a worker at a task of that name", path.display());
            return Err(Failure::new(ErrorKind::LeaseHeld, message).hint("agentctl lease list"));
        };
        let there = read(lock.file(), &path)?;
        act(lock.file(), there, Utc::now())
    }
}

/// Reads the record; a file that is empty, or says nothing that can be read, is nobody's.
fn read(mut file: &File, path: &Path) -> Result<Option<Record>, Failure> {
    let mut bytes = Vec::new();
    let mut read = || -> io::Result<()> {
        file.rewind()?;
        file.take(MOST).read_to_end(&mut bytes).map(drop)
    };
    read().map_err(|error| Failure::io("read", path, &error))?;
    Ok(serde_json::from_slice(&bytes).ok())
}

fn held(name: &str, record: &Record) -> Failure {
    let message = format!("{} has {name} until {}", one_line(&record.owner), stamp(record.until()));
    Failure::new(ErrorKind::LeaseHeld, message).hint("try again then, or ask them").see("locks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_old_script_lives_for_five_minutes_and_none_for_ever() {
        let now: DateTime<Utc> = "2026-01-05T09:00:00Z".parse().expect("a time");
        let record = |text: &str| serde_json::from_str::<Record>(text).expect("a record");
        let old = record(r#"{ "owner": "agent-locker", "created_at": "2026-01-05T08:56:00Z" }"#);
        assert!(old.is_live(now) && !old.is_live(now + chrono::Duration::minutes(1)));
        for far in [
            r#"{"owner": "x", "created_at": "2036-01-05T08:56:00Z"}"#,
            r#"{"owner": "x", "created_at": "2026-01-01T08:56:00Z", "ttl_seconds": 18446744073709551615}"#,
        ] {
            assert!(!record(far).is_live(now), "{far}");
        }
    }
}
