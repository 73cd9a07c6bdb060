//! A project's directory that somebody has moved elsewhere, or removed: its worker leaves, and says what to do.

use crate::worker::{Exit, Stopping, Worker};
use oodatcaa_process::Stop;
use oodatcaa_store::StoreError;
use oodatcaa_sys::project::Gone;

impl Worker {
    /// Leaves when the project lies somewhere else for good, or nowhere, after a look that failed. It does not follow,
    /// because what it has started works with the old paths, and never works in what lies at the old place now.
    pub(crate) fn leave_if_moved(&mut self, error: StoreError) -> Option<StoreError> {
        let Some(gone) = (!self.has_moved()).then(|| self.place.gone()).flatten() else { return Some(error) };
        let (root, role) = (self.shared.setup.layout.root().display(), self.shared.role());
        match gone {
            Gone::Moved(now) => {
                let now = now.display();
                log::error!(
                    "the project has been moved from {root} to {now}: this worker ends; start it there: cd {now} && agentctl fleet start {role}"
                );
            }
            Gone::Removed => log::error!("the project {root} has been removed: this worker ends"),
        }
        self.exit = Exit::Store(error);
        // As after a second signal: what runs writes to the old paths, where another project may lie by now.
        self.stopping = Some(Stopping { patience: None, now: true, drains: false });
        self.tell_all(Stop::Now);
        self.give_up_settling();
        None
    }
}
