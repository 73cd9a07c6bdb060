//! Who we are on this machine, and whether somebody whom a lease names still is.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use super::{FileStore, lock};
use crate::StoreError;
use oodatcaa_core::{Holder, Lease, LeaseRecord, LeaseState, Owner, TaskId};
use oodatcaa_sys::{identity, lock::Lock};

/// This machine in this boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) host: String,
    pub(super) boot_id: String,
    /// Start times that are read here are not those that are written in leases.
    shifted: bool,
}

impl Machine {
    pub(super) fn this() -> Self {
        Self { host: identity::host(), boot_id: identity::boot_id(), shifted: identity::shifted_clocks().is_some() }
    }

    /// Judges a lease's holder by its boot alone, where that is enough.
    fn by_boot(&self, lease: &Lease) -> Option<Holder> {
        if lease.boot_id == self.boot_id && !lease.boot_id.is_empty() {
            None
        } else if lease.host == self.host {
            Some(Holder::Dead("the machine was started again since".into()))
        } else {
            Some(Holder::Unknown)
        }
    }
}

/// Identifies this process, under a tag for people.
pub fn identity(tag: &str) -> Owner {
    let Machine { host, boot_id, .. } = Machine::this();
    let pid = std::process::id();
    Owner { tag: tag.into(), host, boot_id, pid, pid_started: identity::started(pid).unwrap_or_default() }
}

/// Tells whether whoever is named here is known not to live any more: a process of this machine.
pub fn is_gone(owner: &Owner) -> bool {
    let machine = Machine::this();
    let same_boot = owner.boot_id == machine.boot_id;
    owner.host == machine.host && !machine.shifted && !(same_boot && identity::alive(owner.pid, owner.pid_started))
}

/// Refuses to take leases in a time namespace: others on this machine would compare our heartbeats and start times with
/// clocks that show something else, and take what we work on, or we what they work on.
pub(super) fn check_clocks(root: &Path) -> Result<(), StoreError> {
    let Some(shifted) = identity::shifted_clocks() else { return Ok(()) };
    let reason = format!(
        "this process runs in a time namespace ({shifted}), where it cannot be told whether another worker is alive; \
         start the worker outside of it (without `unshare --time`, or with a container whose clocks are the machine's)"
    );
    Err(StoreError::Unfit { path: root.into(), reason })
}

/// Tells whether the process that a lease names is still that process, by the start time of the one that has its number.
fn by_process(lease: &Lease) -> Holder {
    match identity::started(lease.pid) {
        Some(started) if started == lease.pid_started => Holder::Alive,
        Some(_) => Holder::Dead(format!("process {} is now another one", lease.pid)),
        None => Holder::Dead(format!("process {} is gone", lease.pid)),
    }
}

impl FileStore {
    /// Finds out whether the leases' holders live. With the queue lock the tasks' locks are asked, which proves death;
    /// without it only the processes are looked at.
    pub(super) fn holders(
        &self,
        records: BTreeMap<TaskId, LeaseRecord>,
        held: &HashMap<TaskId, Lock>,
        locked: bool,
    ) -> Result<BTreeMap<TaskId, LeaseState>, StoreError> {
        let records = records.into_iter().map(|(task, record)| {
            let holder = match &record {
                LeaseRecord::Ours(lease) => self.holder(lease, held, locked)?,
                LeaseRecord::Foreign(_) | LeaseRecord::Broken { .. } => Holder::Unknown,
            };
            Ok((task, LeaseState { record, holder }))
        });
        records.collect()
    }

    fn holder(&self, lease: &Lease, held: &HashMap<TaskId, Lock>, locked: bool) -> Result<Holder, StoreError> {
        if let Some(holder) = self.machine.by_boot(lease) {
            return Ok(holder);
        }
        // Another name in the same boot is a container: its process ids mean nothing here, its locks do.
        let is_here = lease.host == self.machine.host && !self.machine.shifted;
        let by_process = |otherwise| if is_here { by_process(lease) } else { otherwise };
        if !locked {
            return Ok(by_process(Holder::Unknown));
        }
        // Asking our own lock through another descriptor would say that somebody else holds it.
        if held.get(&lease.task_id).map(Lock::is_in_force).transpose()? == Some(true) {
            return Ok(Holder::Alive);
        }
        // Its process is asked even where the lock is held: a child that got the descriptor may outlive it.
        Ok(match lock::is_free(&self.layout.task_lock(&lease.task_id))? {
            Some(true) => Holder::Dead("nobody holds the task's lock".into()),
            Some(false) => by_process(Holder::Alive),
            None => by_process(Holder::Unknown),
        })
    }
}
