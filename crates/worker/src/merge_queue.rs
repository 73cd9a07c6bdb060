//! Where the merges of one worker meet: one drives, who comes meanwhile waits and goes with the next.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use oodatcaa_core::{Lease, TaskId};
use oodatcaa_git::merge::{MergeError, MergeRequest, MergeTarget, Merged};

/// A merge that waits for its batch.
pub(crate) struct Ticket {
    pub(crate) request: MergeRequest,
    pub(crate) lease: Lease,
    target: MergeTarget,
    /// The gates that its result must pass.
    pub(crate) gates: Vec<String>,
    answer: Sender<Answer>,
}

/// What one who waits is told.
pub(crate) enum Answer {
    /// What came of it, in the batch that the attempt on this task drove.
    Came(Box<Result<Merged, MergeError>>, TaskId),
    /// The batch ended before it was reached, and it is the next to drive.
    Drive,
}

/// The place where merges meet.
#[derive(Default)]
pub(crate) struct MergeQueue(Mutex<State>);

#[derive(Default)]
struct State {
    driven: bool,
    waiting: Vec<Ticket>,
}

impl MergeQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes with a request. `None` is the right to drive; else what becomes of it is heard there.
    pub(crate) fn enter(
        &self,
        request: &MergeRequest,
        lease: &Lease,
        target: &MergeTarget,
        gates: &[String],
    ) -> Option<Receiver<Answer>> {
        let mut state = self.state();
        if !state.driven {
            state.driven = true;
            return None;
        }
        let (answer, told) = bounded(1);
        let (request, lease, target) = (request.clone(), lease.clone(), target.clone());
        state.waiting.push(Ticket { request, lease, target, gates: gates.to_vec(), answer });
        Some(told)
    }

    /// Takes the right to drive, from the one who let go of it or because nobody had it.
    pub(crate) fn drive(&self) -> Drive<'_> {
        Drive { merge_queue: self, others: Vec::new() }
    }

    /// Goes unmerged; `false` when the batch has begun.
    pub(crate) fn withdraw(&self, task: &TaskId) -> bool {
        let mut state = self.state();
        let before = state.waiting.len();
        state.waiting.retain(|ticket| ticket.request.task != *task);
        state.waiting.len() < before
    }
}

/// The right to drive. Whoever has it names the next driver when it is dropped, whatever becomes of the merge.
pub(crate) struct Drive<'a> {
    merge_queue: &'a MergeQueue,
    others: Vec<Ticket>,
}

impl Drive<'_> {
    /// Takes along those who wait for the same target.
    pub(crate) fn board(&mut self, target: &MergeTarget) -> &[Ticket] {
        let mut state = self.merge_queue.state();
        let (mine, rest) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|ticket| (&ticket.target.target, &ticket.target.dir) == (&target.target, &target.dir));
        (self.others, state.waiting) = (mine, rest);
        &self.others
    }

    /// Tells one of those who are merged along.
    pub(crate) fn tell(&mut self, task: &TaskId, result: Result<Merged, MergeError>, driver: &TaskId) {
        if let Some(at) = self.others.iter().position(|ticket| ticket.request.task == *task) {
            // One who was stopped meanwhile does not listen; that it is merged shows at the next claim.
            let _ = self.others.swap_remove(at).answer.send(Answer::Came(Box::new(result), driver.clone()));
        }
    }
}

impl Drop for Drive<'_> {
    /// Names the first of those who wait as the next driver, for whom the others wait on.
    fn drop(&mut self) {
        let mut state = self.merge_queue.state();
        let left = std::mem::take(&mut state.waiting);
        state.waiting = self.others.drain(..).chain(left).collect();
        // One that was stopped meanwhile does not listen: then the next one drives.
        while !state.waiting.is_empty() {
            if state.waiting.remove(0).answer.send(Answer::Drive).is_ok() {
                return;
            }
        }
        state.driven = false;
    }
}
