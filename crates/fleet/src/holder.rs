//! Who a daemon is beyond its pid, and a handle on that very process.

use std::{
    io,
    path::{Path, PathBuf},
    time::Instant,
};

use chrono::{DateTime, SubsecRound, Utc};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::{AsFd, OwnedFd},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

use oodatcaa_core::time::stamp;
use oodatcaa_sys::identity;

/// Who holds a pid file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// The time when the process started, in clock ticks since boot.
    pub started: u64,
    /// The boot it runs in.
    pub boot_id: String,
    /// Its version of this program.
    pub version: String,
    /// The time when it took the file.
    #[serde(serialize_with = "as_stamp")]
    pub since: DateTime<Utc>,
    /// The project's directory, by its path then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
}

impl Holder {
    pub(super) fn myself(root: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        Ok(Self {
            pid,
            started: identity::started(pid).ok_or_else(|| io::Error::other("no start time in /proc"))?,
            boot_id: identity::boot_id(),
            version: env!("CARGO_PKG_VERSION").into(),
            since: Utc::now().trunc_subsecs(3),
            root: root.canonicalize().ok(),
        })
    }

    /// Tells whether it serves another place than this one: the project was moved here since, or copied.
    pub(crate) fn is_elsewhere(&self, root: &Path) -> bool {
        self.root.as_deref().is_some_and(|its| root.canonicalize().is_ok_and(|here| here != its))
    }

    /// Tells whether this very process still runs; a zombie does not.
    pub fn alive(&self) -> bool {
        identity::boot_id() == self.boot_id && identity::alive(self.pid, self.started)
    }

    /// Returns a handle on this very process, which no reuse of its pid can redirect; `None` when it is gone.
    pub fn handle(&self) -> io::Result<Option<Handle>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The check comes after the open: what is alive with this start time now is what was opened.
            Ok(fd) if self.alive() => Ok(Some(Handle(fd))),
            Ok(_) | Err(Errno::SRCH) => Ok(None),
            Err(source) => Err(source.into()),
        }
    }
}

/// One verified process, open.
#[derive(Debug)]
pub struct Handle(OwnedFd);

impl Handle {
    /// Opens a child of this process that has not been waited for: nobody else can have its number.
    pub(crate) fn of_child(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Sends a signal; `false` when the process has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.0, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(source) => Err(source.into()),
        }
    }

    /// Waits until the process has ended; `false` when it has not by then.
    pub(crate) fn ended_by(&self, deadline: Instant) -> io::Result<bool> {
        readable_by(&self.0, deadline)
    }
}

/// Waits until there is something to read, or an end to see; `false` when there is not by then.
pub(crate) fn readable_by(file: impl AsFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(source) => return Err(source.into()),
        }
    }
}

fn as_stamp<S: serde::Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&stamp(*time))
}
