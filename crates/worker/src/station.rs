//! Merges of one worker at the same time ride together: the first drives, who comes meanwhile waits and rides with
//! the next, so that the gates run once for all of them (and by halves when they are red).
//!
//! Each has a lease of its own and keeps beating it; only what this very worker holds at the same moment is ever
//! put together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};

use oodatcaa_core::{Lease, TaskId};
use oodatcaa_git::train::{Line, Merged, Order, TrainError};

/// A merge that waits for its ride.
pub(super) struct Ticket {
    pub(super) order: Order,
    pub(super) lease: Lease,
    pub(super) line: Line,
    /// The gates that its result must pass.
    pub(super) gates: Vec<String>,
    answer: Sender<Answer>,
}

/// What one who waits is told.
pub(super) enum Answer {
    /// What came of it, on the ride that the attempt on this task drove.
    Came(Box<Result<Merged, TrainError>>, TaskId),
    /// The ride ended before it was reached, and it is the next to drive.
    Drive,
}

/// What one who comes shall do.
pub(super) enum Turn<'a> {
    /// Drive, and take those along.
    Drive(Drive<'a>),
    /// Wait.
    Wait(Receiver<Answer>),
}

/// Where merges meet.
#[derive(Default)]
pub(super) struct Station(Mutex<State>);

#[derive(Default)]
struct State {
    driven: bool,
    waiting: Vec<Ticket>,
}

impl Station {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes with an order.
    pub(super) fn enter(&self, order: &Order, lease: &Lease, line: &Line, gates: &[String]) -> Turn<'_> {
        let mut state = self.state();
        if !state.driven {
            state.driven = true;
            return Turn::Drive(Drive { station: self, others: Vec::new() });
        }
        let (answer, told) = crossbeam_channel::bounded(1);
        let (order, lease, line) = (order.clone(), lease.clone(), line.clone());
        state.waiting.push(Ticket { order, lease, line, gates: gates.to_vec(), answer });
        Turn::Wait(told)
    }

    /// Takes the place of a driver who has named us.
    pub(super) fn follow(&self) -> Drive<'_> {
        Drive { station: self, others: Vec::new() }
    }

    /// Goes without having ridden; `false` when the ride has begun.
    pub(super) fn withdraw(&self, task: &TaskId) -> bool {
        let mut state = self.state();
        let before = state.waiting.len();
        state.waiting.retain(|ticket| ticket.order.task != *task);
        state.waiting.len() < before
    }
}

/// The right to drive.
pub(super) struct Drive<'a> {
    station: &'a Station,
    others: Vec<Ticket>,
}

impl Drive<'_> {
    /// Takes along those who wait for the same target.
    pub(super) fn board(&mut self, line: &Line) -> &[Ticket] {
        let mut state = self.station.state();
        let (mine, rest) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|ticket| (&ticket.line.target, &ticket.line.dir) == (&line.target, &line.dir));
        (self.others, state.waiting) = (mine, rest);
        &self.others
    }

    /// Tells one of those who ride along.
    pub(super) fn tell(&mut self, task: &TaskId, result: Result<Merged, TrainError>, driver: &TaskId) {
        if let Some(at) = self.others.iter().position(|ticket| ticket.order.task == *task) {
            // One who was stopped meanwhile does not listen; that it is merged shows at the next claim.
            let _ = self.others.swap_remove(at).answer.send(Answer::Came(Box::new(result), driver.clone()));
        }
    }
}

impl Drop for Drive<'_> {
    /// The first of those who wait drives next, the others wait on for it.
    fn drop(&mut self) {
        let mut state = self.station.state();
        let left = std::mem::take(&mut state.waiting);
        state.waiting = self.others.drain(..).chain(left).collect();
        while !state.waiting.is_empty() {
            if state.waiting.remove(0).answer.send(Answer::Drive).is_ok() {
                return;
            }
        }
        state.driven = false;
    }
}
