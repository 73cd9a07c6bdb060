//! Locks: the queue's, bounded in time and fair among the threads of a store, and one for each task.
//!
//! All are flocks on files that hold nothing.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::disk::{self, failed};
use crate::StoreError;
use oodatcaa_sys::{
    files,
    lock::{self, Lock},
};

/// The threads of one store, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: Mutex<(u64, VecDeque<u64>)>,
    moved: Condvar,
}

/// A thread's turn; it ends when this is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    ticket: u64,
}

impl Turns {
    fn waiting(&self) -> MutexGuard<'_, (u64, VecDeque<u64>)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its turn; `None` when that took too long.
    pub(super) fn wait(&self, deadline: Instant) -> Option<Turn<'_>> {
        let mut waiting = self.waiting();
        let ticket = waiting.0;
        waiting.0 += 1;
        // A condition variable alone wakes anybody, and a busy thread would overtake one that sleeps between its
        // tries.
        waiting.1.push_back(ticket);
        // Made now, so that giving up gives the ticket back.
        let turn = Turn { turns: self, ticket };
        while waiting.1.front() != Some(&ticket) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(waiting);
                return None;
            }
            waiting = self.moved.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(waiting);
        Some(turn)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.waiting().1.retain(|ticket| *ticket != self.ticket);
        self.turns.moved.notify_all();
    }
}

/// Takes the lock of every change to queue, leases and journal, waiting until the deadline at most.
pub(super) fn queue_lock(path: &Path, deadline: Instant, started: Instant) -> Result<Lock, StoreError> {
    Lock::take(path, deadline, || disk::hold(path))?.ok_or_else(|| StoreError::Busy {
        path: path.into(),
        waited: started.elapsed(),
        holder: lock::holder_at(path),
    })
}

/// Takes the lock that proves a task's worker alive, held for a whole attempt; only for one who holds the queue lock.
/// Somebody who holds it without a lease has been superseded: the file is replaced, and what they hold is a lock on
/// nothing.
pub(super) fn task_lock(path: &Path) -> Result<Lock, StoreError> {
    loop {
        if let Some(lock) = Lock::try_take(path, || disk::hold(path))? {
            return Ok(lock);
        }
        let holder = lock::holder_at(path);
        let holder = holder.as_deref().unwrap_or("somebody");
        log::warn!("replacing {}, which {holder} holds without a lease", path.display());
        files::named::remove(path).map_err(failed("replace", path))?;
    }
}

/// Tells whether a task's lock is free; `None` when there is no such file. Only for one who holds the queue lock: the
/// answer is a proof as long as nobody can take it.
pub(super) fn is_free(path: &Path) -> Result<Option<bool>, StoreError> {
    let Some(file) = disk::open(path)? else { return Ok(None) };
    lock::is_held(&file).map(|held| Some(!held)).map_err(failed("lock", path))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        time::Duration,
    };

    use super::*;

    #[test]
    fn a_lock_that_is_held_is_told_with_its_holder_in_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("queue.lock");
        let now = Instant::now();
        let _held = queue_lock(&path, now, now).expect("free");
        let error = queue_lock(&path, now + Duration::from_millis(30), now).expect_err("held");
        let StoreError::Busy { waited, holder, .. } = error else { panic!("{error:?}") };
        assert!(waited >= Duration::from_millis(30) && waited < Duration::from_secs(5), "{waited:?}");
        assert!(holder.is_some_and(|holder| holder.contains(&std::process::id().to_string())));
    }

    #[test]
    fn a_task_lock_of_somebody_without_a_lease_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("T1.lock");
        let wedged = task_lock(&path).expect("free");
        assert_eq!(is_free(&path).expect("looked"), Some(false));
        let new = task_lock(&path).expect("replaced");
        assert!(new.is_in_force().expect("looked") && !wedged.is_in_force().expect("looked"));
        drop(wedged);
        assert_eq!(is_free(&path).expect("looked"), Some(false));
        drop(new);
        assert_eq!(is_free(&path).expect("looked"), Some(true));
    }

    #[test]
    fn turns_are_taken_in_order_and_given_up_in_time() {
        let turns = Arc::new(Turns::default());
        let far = Instant::now() + Duration::from_secs(60);
        let first = turns.wait(far).expect("nobody there");
        assert!(turns.wait(Instant::now()).is_none(), "it is not our turn, and we cannot wait");
        let served = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..4)
            .map(|place| {
                let (turns, served) = (turns.clone(), served.clone());
                let thread = std::thread::spawn({
                    let turns = turns.clone();
                    move || {
                        let _turn = turns.wait(far).expect("in time");
                        served.fetch_add(1, Ordering::SeqCst)
                    }
                });
                while turns.waiting().1.len() < place + 2 {
                    std::thread::yield_now();
                }
                thread
            })
            .collect();
        drop(first);
        let order: Vec<u32> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(order, [0, 1, 2, 3]);
    }
}
