//! `.leases/ID.json`: read in every dialect, written in ours; remembered while unchanged.
//!
//! Who still stands behind a lease is found out by [`super::holders`].

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::Deserialize as _;
use serde_json::Value;

use super::{
    dialect::Loose,
    disk::{self, LONGEST, Stamp, failed},
};
use crate::StoreError;
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{ForeignLease, Lease, LeaseRecord, Role, TaskId, Token};
use oodatcaa_sys::files;

/// No lease is longer; what is, is not read.
const MAX: u64 = 64 * 1024;

/// No project has more leases.
const MOST: usize = 1_000_000;

/// The lease files as they were when last read.
#[derive(Debug, Default)]
pub(super) struct Leases(Vec<Found>);

#[derive(Debug)]
struct Found {
    path: PathBuf,
    stamp: Stamp,
    /// So fresh that another change could hide behind the same stamp.
    fresh: bool,
    record: LeaseRecord,
}

impl Found {
    fn task(&self) -> &TaskId {
        match &self.record {
            LeaseRecord::Ours(lease) => &lease.task_id,
            LeaseRecord::Foreign(lease) => &lease.task_id,
            LeaseRecord::Broken { task_id, .. } => task_id,
        }
    }

    /// Ranks several files about one task: ours counts, then the one that lives longest.
    fn weight(&self) -> (u8, bool, Option<DateTime<Utc>>) {
        let is_named_after_it = self.path.file_stem() == Some(OsStr::new(self.task().as_str()));
        match &self.record {
            LeaseRecord::Ours(_) => (2, is_named_after_it, None),
            LeaseRecord::Foreign(lease) => (1, false, lease.until),
            LeaseRecord::Broken { .. } => (0, is_named_after_it, None),
        }
    }
}

impl Leases {
    /// Reads all leases. Files that did not change are not opened.
    pub(super) fn scan(&mut self, layout: &Layout) -> Result<BTreeMap<TaskId, LeaseRecord>, StoreError> {
        let directory = layout.leases();
        let known = std::mem::take(&mut self.0).into_iter().map(|found| (found.path.clone(), found));
        let mut known: HashMap<PathBuf, Found> = known.filter(|(_, found)| !found.fresh).collect();
        if disk::check_directory(&directory)? {
            for entry in files::list(layout.root(), &directory, MOST)?.into_iter().flatten() {
                let path = directory.join(&entry.name);
                if path.extension() != Some(OsStr::new("json")) || entry.name.to_string_lossy().starts_with('.') {
                    continue;
                }
                let Some(stamp) = disk::stamp(&path)? else { continue };
                let same = known.remove(&path).filter(|found| found.stamp == stamp);
                self.0.extend(same.map_or_else(|| found(path, stamp), |same| Ok(Some(same)))?);
            }
        }
        // Of several files about one task the last one here counts.
        self.0.sort_by_key(Found::weight);
        Ok(self.0.iter().map(|found| (found.task().clone(), found.record.clone())).collect())
    }

    /// Lists the files that name a task, ours first.
    pub(super) fn files_of(&self, layout: &Layout, task: &TaskId) -> Vec<PathBuf> {
        let ours = layout.lease(task);
        let others = self.0.iter().filter(|found| found.task() == task && found.path != ours);
        std::iter::once(ours.clone()).chain(others.map(|found| found.path.clone())).collect()
    }
}

fn found(path: PathBuf, stamp: Stamp) -> Result<Option<Found>, StoreError> {
    let fresh = stamp.is_fresh();
    let by_name = path.file_stem().and_then(OsStr::to_str).and_then(|stem| TaskId::parse(stem).ok());
    let read = match disk::read(&path, MAX) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => record(&bytes, by_name.as_ref()),
        // It still holds its task: who wrote it may be at work.
        Err(StoreError::Unsafe { reason, .. }) => Err(reason),
        Err(error) => return Err(error),
    };
    let record = read.unwrap_or_else(|reason| {
        log::debug!("{}: {reason}", path.display());
        by_name.map(|task_id| LeaseRecord::Broken { task_id, reason })
    });
    Ok(record.map(|record| Found { path, stamp, fresh, record }))
}

/// Reads a lease in any dialect; `None` when neither it nor its name tells a task.
fn record(bytes: &[u8], by_name: Option<&TaskId>) -> Result<Option<LeaseRecord>, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?;
    let loose = Loose::read(value.as_object().ok_or("it is not an object")?);
    let named = loose.task.as_deref().map(TaskId::parse).transpose().map_err(|why| format!("its task id {why}"))?;
    let Some(task_id) = named.or_else(|| by_name.cloned()) else { return Ok(None) };
    Ok(Some(match Lease::deserialize(&value) {
        Ok(lease) => LeaseRecord::Ours(lease),
        // What is not whole in our words is a helper's, whose token and times are believed as far as they go.
        Err(_) => LeaseRecord::Foreign(ForeignLease {
            task_id,
            owner: loose.owner.unwrap_or_else(|| "unknown".into()),
            role: loose.role.map(Role::new),
            token: loose.token.map(Token),
            until: loose.until,
            started_at: loose.started_at,
            ttl: loose.ttl,
        }),
    }))
}

/// Writes a lease as a whole. It needs no fsync: after a power cut no owner is alive.
pub(super) fn write(path: &Path, lease: &Lease) -> Result<(), StoreError> {
    let mut text = serde_json::to_vec_pretty(lease).expect("a lease is JSON");
    text.push(b'\n');
    put(path, &text)
}

/// Writes the lease of somebody who is no worker of ours, as their own scripts would.
pub(super) fn write_lent(path: &Path, lease: &ForeignLease) -> Result<(), StoreError> {
    let mut text = serde_json::to_vec_pretty(&lease.json()).expect("a lease is JSON");
    text.push(b'\n');
    put(path, &text)
}

fn put(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        disk::point("store.lease")?;
        files::named::write(path, content, files::Durable::No)?;
        disk::point("store.lease.written")
    };
    write().map_err(failed("write the lease", path))
}

/// Removes a lease file; none there is as good.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    files::named::remove(path).map(drop).map_err(failed("remove the lease", path))
}

/// The content of a lease file before a commit that may have to be taken back.
#[derive(Debug)]
pub(super) struct Before {
    path: PathBuf,
    content: Option<Vec<u8>>,
}

impl Before {
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { path: path.into(), content: disk::read(path, LONGEST)? })
    }

    /// Puts it back as it was. What fails here is mended by the next rescue.
    pub(super) fn restore(self) {
        let restored = match &self.content {
            Some(content) => put(&self.path, content),
            None => remove(&self.path),
        };
        if let Err(error) = restored {
            log::warn!("a lease could not be put back: {error}");
        }
    }
}
