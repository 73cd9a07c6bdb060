//! A project's directory that somebody has moved elsewhere: its worker leaves, and says where to start another.

use std::time::{Duration, Instant};

use crate::worker::{Exit, Stopping, Worker};
use oodatcaa_process::Stop;
use oodatcaa_store::StoreError;
use oodatcaa_sys::project::Anchor;

/// So long a directory may be elsewhere before that is meant: it may come back in a moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a worker knows of the place of its project.
#[derive(Debug)]
pub(crate) struct Place {
    anchor: Option<Anchor>,
    /// Since when it has been elsewhere.
    since: Option<Instant>,
}

impl Place {
    pub(crate) fn of(root: &std::path::Path) -> Self {
        Self { anchor: Anchor::of(root).ok(), since: None }
    }

    pub(crate) fn is_here(&mut self) {
        self.since = None;
    }
}

impl Worker {
    /// Leaves when the project lies somewhere else for good, after a look that failed. It does not follow, because
    /// what it has started works with the old paths, and never works in what lies at the old place now.
    pub(crate) fn leave_if_moved(&mut self, error: StoreError) -> Option<StoreError> {
        let left = self.has_moved();
        let anchor = self.place.anchor.as_ref().filter(|_| !left);
        let moved = anchor.and_then(|anchor| Some((anchor.moved_to()?, anchor.is_replaced())));
        let Some((now, replaced)) = moved else { return Some(error) };
        let since = *self.place.since.get_or_insert_with(Instant::now);
        if !replaced && since.elapsed() < PATIENCE {
            return Some(error);
        }
        let (root, now, role) = (self.shared.setup.layout.root().display(), now.display(), self.shared.role());
        log::error!(
            "the project has been moved from {root} to {now}: this worker ends; start it there: cd {now} && agentctl fleet start {role}"
        );
        self.exit = Exit::Store(error);
        // As after a second signal: what runs writes to the old paths, where another project may lie by now.
        self.stopping = Some(Stopping { patience: None, now: true, drains: false });
        self.tell_all(Stop::Now);
        self.give_up_settling();
        None
    }
}
