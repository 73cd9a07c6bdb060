//! `.leases/ID.json`: read in every dialect, written in ours; remembered while unchanged.
//!
//! Who still stands behind a lease is found out by [`super::holders`].

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    dialect::Loose,
    disk::{self, Stamp, failed},
};
use crate::StoreError;
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{ForeignLease, Lease, LeaseRecord, Role, TaskId, Token};
use oodatcaa_sys::files;

/// No lease is longer; what is, is not read.
const MAX: u64 = 64 * 1024;

/// No project has more leases.
const MOST: usize = 1_000_000;

/// The lease files as they were when last looked at.
#[derive(Debug, Default)]
pub(super) struct Leases {
    files: HashMap<OsString, Known>,
    /// The directory as it was when last listed, unless that was too soon after a change.
    listed: Option<Stamp>,
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    /// So fresh that another change could hide behind the same stamp.
    fresh: bool,
    found: Option<Found>,
    /// Seen by the present scan.
    present: bool,
}

#[derive(Debug)]
struct Found {
    task: TaskId,
    record: LeaseRecord,
    /// The file is named after the task, as ours are.
    proper: bool,
}

impl Leases {
    /// Reads what stands there now. Files that did not change are not opened.
    pub(super) fn scan(&mut self, layout: &Layout) -> Result<BTreeMap<TaskId, LeaseRecord>, StoreError> {
        let directory = layout.leases();
        for known in self.files.values_mut() {
            known.present = false;
        }
        let there = disk::check_directory(&directory)?;
        let stamp = disk::stamp(&directory)?;
        // A directory's mtime changes with its names; what is written into a file that is there does not show in it.
        if there && self.listed.is_some() && self.listed == stamp {
            // Nobody came and nobody went; what is there may have been written to.
            let names: Vec<OsString> = self.files.keys().cloned().collect();
            for name in names {
                self.look(&directory.join(&name), name)?;
            }
        } else if there {
            self.listed = stamp.filter(|stamp| !stamp.is_fresh());
            for name in files::list(layout.root(), &directory, MOST)?.into_iter().flatten().map(|entry| entry.name) {
                if Path::new(&name).extension() == Some(OsStr::new("json")) && !name.to_string_lossy().starts_with('.')
                {
                    self.look(&directory.join(&name), name)?;
                }
            }
        }
        self.files.retain(|_, known| known.present);

        let mut leases: BTreeMap<TaskId, &Found> = BTreeMap::new();
        for found in self.files.values().filter_map(|known| known.found.as_ref()) {
            match leases.entry(found.task.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(found);
                }
                Entry::Occupied(mut entry) if weight(found) > weight(entry.get()) => {
                    entry.insert(found);
                }
                Entry::Occupied(_) => {}
            }
        }
        Ok(leases.into_iter().map(|(task, found)| (task, found.record.clone())).collect())
    }

    fn look(&mut self, path: &Path, name: OsString) -> Result<(), StoreError> {
        let Some(stamp) = disk::stamp(path)? else { return Ok(()) };
        if let Some(known) = self.files.get_mut(&name)
            && known.stamp == stamp
            && !known.fresh
        {
            known.present = true;
            return Ok(());
        }
        let fresh = stamp.is_fresh();
        let found = found(path, stamp)?;
        self.files.insert(name, Known { stamp, fresh, found, present: true });
        Ok(())
    }

    /// Lists the files that name a task, ours first.
    pub(super) fn files_of(&self, layout: &Layout, task: &TaskId) -> Vec<PathBuf> {
        let ours = layout.lease(task);
        let others = self
            .files
            .iter()
            .filter(|(_, known)| known.found.as_ref().is_some_and(|found| found.task == *task))
            .map(|(name, _)| layout.leases().join(name))
            .filter(|path| *path != ours);
        std::iter::once(ours.clone()).chain(others).collect()
    }
}

/// Ranks several files about one task: ours counts, then the one that lives longest.
fn weight(found: &Found) -> (u8, bool, Option<chrono::DateTime<chrono::Utc>>) {
    match &found.record {
        LeaseRecord::Ours(_) => (2, found.proper, None),
        LeaseRecord::Foreign(lease) => (1, false, lease.until),
        LeaseRecord::Broken { .. } => (0, found.proper, None),
    }
}

fn found(path: &Path, stamp: Stamp) -> Result<Option<Found>, StoreError> {
    let by_name = path.file_stem().and_then(OsStr::to_str).and_then(|stem| TaskId::parse(stem).ok());
    let broken = |reason: String| {
        if by_name.is_none() {
            log::debug!("{} is no lease: {reason}", path.display());
        }
        by_name.clone().map(|task| Found {
            task: task.clone(),
            record: LeaseRecord::Broken { task_id: task, reason },
            proper: true,
        })
    };
    // It still holds its task: who wrote it may be at work.
    if stamp.size > MAX {
        return Ok(broken(format!("it is {} bytes long", stamp.size)));
    }
    let bytes = match disk::read(path) {
        Ok(Some((bytes, _))) => bytes,
        Ok(None) => return Ok(None),
        Err(StoreError::Unsafe { reason, .. }) => return Ok(broken(reason)),
        Err(error) => return Err(error),
    };
    let value: Value = match serde_json::from_slice(&bytes) {
        Ok(value) => value,
        Err(error) => return Ok(broken(format!("not JSON: {error}"))),
    };
    let Value::Object(object) = &value else { return Ok(broken("it is not an object".into())) };
    let loose = Loose::read(object);
    let task = match loose.task.as_deref().map(TaskId::parse) {
        Some(Ok(task)) => task,
        Some(Err(why)) => return Ok(broken(format!("its task id {why}"))),
        None => match by_name.clone() {
            Some(task) => task,
            None => return Ok(None),
        },
    };
    let proper = by_name.as_ref() == Some(&task);
    // What is not whole in our words is a helper's, whose token and times are believed as far as they go.
    let record = serde_json::from_value::<Lease>(value.clone()).map_or_else(
        |_| {
            LeaseRecord::Foreign(ForeignLease {
                task_id: task.clone(),
                owner: loose.owner.unwrap_or_else(|| "unknown".into()),
                role: loose.role.map(Role::new),
                token: loose.token.map(Token),
                until: loose.until,
            })
        },
        LeaseRecord::Ours,
    );
    Ok(Some(Found { task, record, proper }))
}

/// Writes a lease as a whole. It needs no fsync: after a power cut no owner is alive.
pub(super) fn write(path: &Path, lease: &Lease) -> Result<(), StoreError> {
    let mut text = serde_json::to_vec_pretty(lease).expect("a lease is JSON");
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

/// What a lease file held before a commit that may have to be taken back.
#[derive(Debug)]
pub(super) struct Before {
    path: PathBuf,
    content: Option<Vec<u8>>,
}

impl Before {
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { path: path.into(), content: disk::read(path)?.map(|(bytes, _)| bytes) })
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
