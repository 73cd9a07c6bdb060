//! Merges of one worker at the same time go together, so that the gates run once for all of them (and by halves when
//! they are red).
//!
//! Each has a lease of its own and keeps beating it; only what this very worker holds at the same moment is ever
//! put together. So it is the WIP limit of the integrator that switches batches on: at 1 each merge goes alone.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
};

use crossbeam_channel::{Receiver, Sender, at, bounded, select};

use crate::{
    baseline::Baseline,
    control::Why,
    evidence, gate,
    merge_queue::{Answer, Drive},
    run::Run,
    setup::Shared,
};
use oodatcaa_core::{
    ChangeSet, Class, Lease, Outcome, Snapshot, TaskId,
    landing::{self, Veto},
    text::chain,
};
use oodatcaa_git::merge::{
    self, Deed, GateFailure, Gates, Leash, MergeError, MergeRequest, MergeTarget, Merged, Passing,
};
use oodatcaa_process::{self as process, Stop};

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
    let drive = queue.drive();
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

/// A tree, the gates to run in it, and whether the target has what is in it already.
type Question = (PathBuf, Vec<String>, bool);

/// Asks the run that drives the merge, and the store.
struct Checks {
    shared: Arc<Shared>,
    /// The leases of all in the batch.
    leases: Vec<Lease>,
    /// The gates that each task's result must pass.
    wanted: BTreeMap<TaskId, Vec<String>>,
    after: Vec<String>,
    leash: Leash,
    ask: Sender<Question>,
    answered: Receiver<Result<(), GateFailure>>,
}

impl Checks {
    fn check(&self, tree: &Path, names: Vec<String>, moved: bool) -> Result<(), GateFailure> {
        let asked = self.ask.send((tree.to_owned(), names, moved)).is_ok();
        self.answered.recv().ok().filter(|_| asked).unwrap_or(Err(GateFailure::Stopped))
    }

    fn merges(&self, changes: &[Passing]) -> Vec<(Lease, String)> {
        let lease = |change: &Passing| {
            let mine = |lease: &&Lease| (&lease.task_id, lease.token) == (&change.task, change.token);
            self.leases.iter().find(mine).cloned()
        };
        changes.iter().filter_map(|change| Some((lease(change)?, change.commit.clone()))).collect()
    }
}

impl Gates for Checks {
    fn before(&mut self, tree: &Path, tasks: &[TaskId]) -> Result<(), GateFailure> {
        let mut names: Vec<String> = Vec::new();
        for name in tasks.iter().filter_map(|task| self.wanted.get(task)).flatten() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        self.check(tree, names, false)
    }

    fn after(&mut self, tree: &Path, _: &[TaskId]) -> Result<(), GateFailure> {
        self.check(tree, self.after.clone(), true)
    }

    /// Moves the target under the queue's lock, if every change in it may land.
    ///
    /// Asked twice: the decision is committed first, so that a crash leaves the commit in the lease, and asked again in the
    /// same critical section, because others may have written the queue beside the lock meanwhile.
    fn pass(&mut self, changes: &[Passing], deed: Deed<'_>) -> Result<(), MergeError> {
        let merges = self.merges(changes);
        let may = |snapshot: &Snapshot| landing::pass(snapshot, self.shared.workflow(), &merges);
        let vetoed = RefCell::new(None);
        let mut done = None;
        let noted = self.shared.store.transact_then(
            &mut |snapshot| {
                let may = may(snapshot);
                *vetoed.borrow_mut() = may.as_ref().err().cloned();
                may.unwrap_or_default()
            },
            &mut |snapshot| {
                let mut vetoed = vetoed.borrow_mut();
                *vetoed = vetoed.take().or_else(|| may(snapshot).err());
                if vetoed.is_none() {
                    let did = deed();
                    let is_done = did.is_ok();
                    done = Some(did);
                    if is_done {
                        return ChangeSet::none();
                    }
                }
                landing::withdraw(snapshot, &merges)
            },
        );
        if let (Some(done), _) = (done, &noted) {
            if let Err(error) = noted {
                log::warn!("cannot note how a merge passed: failed to {}", chain(&error));
            }
            return done;
        }
        match (vetoed.into_inner(), noted) {
            (Some((task, veto)), _) => Err(MergeError::Unwanted { task, why: veto.to_string() }),
            (None, Err(error)) => Err(MergeError::NotAsked(format!("failed to {}", chain(&error)))),
            (None, Ok(_)) => Err(MergeError::NotAsked("other programs kept writing the queue".into())),
        }
    }

    fn not_passed(&mut self, changes: &[Passing]) {
        let merges = self.merges(changes);
        if let Err(error) = self.shared.store.transact(&mut |snapshot| landing::withdraw(snapshot, &merges)) {
            log::warn!("cannot note that a merge did not pass: failed to {}", chain(&error));
        }
    }

    fn unwanted(&mut self, task: &TaskId) -> Option<String> {
        let seen = self.shared.store.read().ok().filter(|seen| seen.invalid.is_none())?;
        landing::unwanted(&seen.snapshot, self.shared.workflow(), task).map(|veto| veto.to_string())
    }

    fn leash(&self) -> Leash {
        self.leash.clone()
    }
}
