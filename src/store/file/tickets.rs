//! Claim tickets, for file systems whose locks keep nobody out and that somebody uses all the same.
//!
//! A ticket is a file that is created exclusively, which also such file systems do rightly: who creates
//! `.leases/TASK.TOKEN.ticket` has that claim, and nobody else ever gets it. What a claim is, others know.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    domain::{History, Lease, Queue, QueueLease, TaskId, Token},
    layout::Layout,
    store::StoreError,
    sys::files,
};

const EXTENSION: &str = ".ticket";

/// So old is a ticket only when whoever took it died before the claim was written.
const STALE: Duration = Duration::from_secs(20);

/// How long who came too late leaves the other one to write the claim down.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

struct Ticket {
    path: PathBuf,
    task: TaskId,
    token: Token,
}

/// Takes the ticket of a claim; `None` when somebody else has it. Older ones of the task go.
pub(super) fn take(layout: &Layout, lease: &Lease) -> Result<Option<PathBuf>, StoreError> {
    let path = layout.leases().join(format!("{}.{}{EXTENSION}", lease.task_id, lease.token));
    match files::create_new(layout.root(), &path) {
        Ok(_) => {}
        Err(error) if error.is_taken() => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    for old in all(layout).into_iter().filter(|ticket| ticket.task == lease.task_id && ticket.token < lease.token) {
        // One that stays harms nobody.
        let _ = files::named::remove(&old.path);
    }
    Ok(Some(path))
}

/// Counts tickets as given out whose owners never came to write their claim, so that the next claim gets another.
pub(super) fn count(layout: &Layout, queue: &Queue, history: &mut Arc<History>) {
    for ticket in all(layout) {
        let known = history.task(&ticket.task).map_or(Token(0), |known| known.token);
        let claimed = |lease: &QueueLease| matches!(lease, QueueLease::Ours { .. });
        if ticket.token <= known || queue.get(&ticket.task).is_none_or(|task| claimed(&task.lease)) {
            continue;
        }
        let taken = fs::symlink_metadata(&ticket.path).and_then(|meta| meta.modified());
        if taken.is_ok_and(|taken| SystemTime::now().duration_since(taken).is_ok_and(|age| age > STALE)) {
            Arc::make_mut(history).tasks.entry(ticket.task).or_default().token = ticket.token;
        }
    }
}

fn all(layout: &Layout) -> Vec<Ticket> {
    let dir = layout.leases();
    let ticket = |name: std::ffi::OsString| {
        let (task, token) = name.to_str()?.strip_suffix(EXTENSION)?.rsplit_once('.')?;
        Some(Ticket { path: dir.join(&name), task: TaskId::parse(task).ok()?, token: Token(token.parse().ok()?) })
    };
    files::named::entries(&dir).into_iter().map(|entry| entry.name).filter_map(ticket).collect()
}
