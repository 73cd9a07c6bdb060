//! Merges of one worker at the same time go together: the first drives, who comes meanwhile waits and goes with
//! the next, so that the gates run once for all of them (and by halves when they are red).
//!
//! Each has a lease of its own and keeps beating it; only what this very worker holds at the same moment is ever
//! put together. So it is the WIP limit of the integrator that switches batches on: at 1 each merge goes alone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    thread,
};

use crossbeam_channel::{Receiver, Sender, at, bounded, select};

use crate::{
    baseline::Baseline,
    control::Why,
    evidence, gate,
    merge_gates::{Checks, Question},
    run::Run,
};
use oodatcaa_core::{Class, Lease, Outcome, TaskId, landing::Veto};
use oodatcaa_git::merge::{self, GateFailure, Leash, MergeError, MergeRequest, MergeTarget, Merged};
use oodatcaa_process::{self as process, Stop};

/// A merge that waits for its batch.
struct Ticket {
    request: MergeRequest,
    lease: Lease,
    target: MergeTarget,
    /// The gates that its result must pass.
    gates: Vec<String>,
    answer: Sender<Answer>,
}

/// What one who waits is told.
enum Answer {
    /// What came of it, in the batch that the attempt on this task drove.
    Came(Box<Result<Merged, MergeError>>, TaskId),
    /// The batch ended before it was reached, and it is the next to drive.
    Drive,
}

/// Where merges meet.
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
    fn enter(
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

    /// Goes unmerged; `false` when the batch has begun.
    fn withdraw(&self, task: &TaskId) -> bool {
        let mut state = self.state();
        let before = state.waiting.len();
        state.waiting.retain(|ticket| ticket.request.task != *task);
        state.waiting.len() < before
    }
}

/// The right to drive.
struct Drive<'a> {
    merge_queue: &'a MergeQueue,
    others: Vec<Ticket>,
}

impl Drive<'_> {
    /// Takes along those who wait for the same target.
    fn board(&mut self, target: &MergeTarget) -> &[Ticket] {
        let mut state = self.merge_queue.state();
        let (mine, rest) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|ticket| (&ticket.target.target, &ticket.target.dir) == (&target.target, &target.dir));
        (self.others, state.waiting) = (mine, rest);
        &self.others
    }

    /// Tells one of those who are merged along.
    fn tell(&mut self, task: &TaskId, result: Result<Merged, MergeError>, driver: &TaskId) {
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

/// What came of an order, and whose attempt drove where it was not ours.
pub(crate) type Batched = (Result<Merged, MergeError>, Option<TaskId>);

/// Merges together with whatever else this worker merges at the moment.
pub(crate) fn merge_batch(
    run: &mut Run,
    baseline: Option<&Baseline>,
    into: &MergeTarget,
    request: &MergeRequest,
    after: &[String],
) -> Result<Batched, Outcome> {
    let shared = Arc::clone(&run.shared);
    let gates = gate::names(&shared, &run.assignment.task);
    let queue = &shared.merge_queue;
    if let Some(told) = queue.enter(request, run.lease(), into, &gates) {
        loop {
            select! {
                recv(told) -> answer => match answer {
                    Ok(Answer::Came(result, driver)) => return Ok((*result, Some(driver))),
                    Ok(Answer::Drive) | Err(_) => break,
                },
                recv(run.control) -> control => {
                    run.hear(control);
                    // Once the batch has taken it along, what becomes of it is no longer ours to say.
                    if queue.withdraw(&request.task) {
                        let gone = || Outcome::failed(Class::Interrupted, "the worker is gone");
                        return Err(run.stop_outcome().unwrap_or_else(gone));
                    }
                }
                recv(at(run.beat_due)) -> _ => {
                    if !run.heartbeat() && queue.withdraw(&request.task) {
                        return Err(superseded());
                    }
                }
            }
        }
    }
    // Whoever drives names the next one when it is dropped, whatever becomes of this merge.
    let drive = Drive { merge_queue: queue, others: Vec::new() };
    match run.stop_outcome() {
        Some(stopped) => Err(stopped),
        // Like every write, a merge is refused once a newer claim exists; the fence asks again before the target moves.
        None if !run.heartbeat() => Err(superseded()),
        None => drive_on(run, baseline, drive, into, request, (gates, after)).map(|own| (own, None)),
    }
}

fn superseded() -> Outcome {
    Outcome::failed(Class::Superseded, "a newer claim of the task exists; nothing was merged")
}

/// Merges ours and what waits for the same target.
fn drive_on(
    run: &mut Run,
    baseline: Option<&Baseline>,
    mut drive: Drive<'_>,
    into: &MergeTarget,
    request: &MergeRequest,
    (gates, after): (Vec<String>, &[String]),
) -> Result<Result<Merged, MergeError>, Outcome> {
    let mut orders = vec![request.clone()];
    let mut wanted = BTreeMap::from([(request.task.clone(), gates)]);
    let mut leases = vec![run.lease().clone()];
    // What is red after the merge is taken back as a whole, so each goes alone where that is asked.
    if after.is_empty() {
        for ticket in drive.board(into) {
            orders.push(ticket.request.clone());
            leases.push(ticket.lease.clone());
            wanted.insert(ticket.request.task.clone(), ticket.gates.clone());
        }
    }
    if orders.len() > 1 {
        let names: Vec<&str> = orders.iter().map(|request| request.task.as_str()).collect();
        log::info!("merging {} together", names.join(", "));
    }
    let leash = Leash { tag: Some(process::tag(&run.assignment.run_dir)), ..Leash::default() };
    // The merge asks and waits, so nothing is ever queued; the answer must not block us when it has given up.
    let (ask, asked) = bounded(0);
    let (answer, answered) = bounded(1);
    let shared = Arc::clone(&run.shared);
    let checks = Checks { shared, leases, wanted, after: after.to_vec(), leash: leash.clone(), ask, answered };
    let (report, other) = thread::scope(|scope| {
        let merge = scope.spawn(move || {
            let mut checks = checks;
            merge::batch(into, &orders, &mut checks)
        });
        let other = attend(run, baseline, &leash, &asked, &answer);
        (merge.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), other)
    });
    let mut own = None;
    for (task, result) in report.done {
        if task == request.task {
            own = Some(result);
        } else {
            drive.tell(&task, result, &request.task);
        }
    }
    match own.unwrap_or_else(|| Err(report.stopped.unwrap_or(MergeError::MovedOn))) {
        Err(MergeError::Stopped) => {
            let stopped = || Outcome::failed(Class::Interrupted, "the merge was stopped");
            Err(other.or_else(|| run.stop_outcome()).unwrap_or_else(stopped))
        }
        own => Ok(own),
    }
}

/// Attends to a merge on another thread: renews the lease, hears who wants it to end, runs the gates that it asks for.
/// Returns what else than a red gate ended these.
fn attend(
    run: &mut Run,
    baseline: Option<&Baseline>,
    leash: &Leash,
    asked: &Receiver<Question>,
    answer: &Sender<Result<(), GateFailure>>,
) -> Option<Outcome> {
    let mut baseline = baseline;
    let mut other = None;
    loop {
        select! {
            recv(asked) -> question => {
                let Ok((tree, names, moved)) = question else { return other };
                if moved {
                    // The target has the merge already: what is red there now is no word about how it was before.
                    baseline = None;
                }
                let workspace = std::mem::replace(&mut run.assignment.workspace, tree);
                let checked = evidence::run_gates(run, baseline, &names);
                run.assignment.workspace = workspace;
                let result = checked.map_err(|(gate, outcome)| match outcome {
                    Outcome::Failed { class: Class::GateFailed, reason, .. } => GateFailure::Red { gate, reason },
                    outcome => {
                        other = Some(outcome);
                        GateFailure::Stopped
                    }
                });
                let _ = answer.send(result);
            }
            recv(run.control) -> control => {
                let how = run.hear(control);
                leash.now.fetch_or(how == Stop::Now, Ordering::Relaxed);
                leash.stop.store(true, Ordering::Relaxed);
            }
            recv(at(run.beat_due)) -> _ => {
                if !run.heartbeat() {
                    run.stopped.get_or_insert(Why::Lost(Veto::Superseded));
                }
            }
        }
        leash.stop.fetch_or(run.stopped.is_some(), Ordering::Relaxed);
    }
}
