//! Where messages live, behind one trait, as tasks do behind [`Store`](crate::Store).

use std::{ffi::OsStr, fmt, sync::Arc, time::Duration};

use crossbeam_channel::Receiver;

use crate::{StoreError, file, project_of};
use oodatcaa_core::{Event, EventDraft, layout::Layout, state::mail::Mailbox};

/// A change of a mailbox, decided on its content; it may be asked for more than once.
pub type Decision<'a> = &'a mut dyn FnMut(&Mailbox) -> Vec<EventDraft>;

/// The mailboxes of a project, shared between threads.
pub trait Mailboxes: fmt::Debug + Send + Sync {
    /// Returns the names of all that were ever written to, sorted.
    fn names(&self) -> Result<Vec<String>, StoreError>;

    /// Returns what is in a mailbox now, without any lock. One that nobody has written to is empty.
    fn read(&self, name: &str) -> Result<Arc<Mailbox>, StoreError>;

    /// Changes a mailbox: decides on what is in it while nobody else can change it, and adds what was decided. Once it
    /// returns, that is durable. Answers the lines, numbered.
    fn change(&self, name: &str, decide: Decision<'_>) -> Result<Vec<Event>, StoreError>;

    /// Opens a channel that gets a message when a mailbox may have changed. Wake-ups may be spurious and may be missed,
    /// so a listener must poll as well.
    fn changes(&self, name: &str) -> Result<Receiver<()>, StoreError>;
}

/// Opens the mailboxes of the project that `url` names, as [`open`](crate::open) does its tasks.
pub fn open_mail(
    url: impl AsRef<OsStr>,
    layout: &Layout,
    lock_wait: Duration,
) -> Result<Box<dyn Mailboxes>, StoreError> {
    let at = project_of(url.as_ref(), layout)?;
    Ok(Box::new(file::FileMailboxes::open(&at, lock_wait)?))
}
