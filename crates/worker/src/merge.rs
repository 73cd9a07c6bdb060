//! The integrator is code first: a task's branch goes into the target by the merge queue, with the gates
//! run on the result; no model is asked.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};

use super::{
    Shared, chain,
    control::{Control, Why},
    evidence,
    merge_queue::{Answer, Drive, Turn},
    recover::Found,
    run::Run,
};
use oodatcaa_core::{
    ChangeSet, Class, Lease, Outcome, Snapshot, TaskId,
    decision::{self, Approved},
    environment,
    landing::{self, Veto},
    text,
};
use oodatcaa_git::{
    Author, Workspace,
    git::Git,
    merge::{self, Deed, GateFailure, Gates, Leash, MergeDirs, MergeError, MergeRequest, MergeTarget, Passing, Policy},
};
use oodatcaa_process::{self as process, Stop};
use oodatcaa_sys::files;

/// How many commits of the other side a conflict names.
const NAMED: usize = 6;

/// What a merge brought, for the queue.
pub(super) struct Brought {
    pub(super) commit: String,
    pub(super) tag: Option<String>,
}

/// Merges the branch of the workspace.
pub(super) fn merge(run: &mut Run, workspace: &Workspace) -> Outcome {
    let wrong = |what: &str| Outcome::failed(Class::Config, format!("{what}: the branch cannot be merged"));
    let (Some(branch), Some(dirs)) = (workspace.branch().map(String::from), MergeDirs::of(workspace)) else {
        return wrong("there is no branch");
    };
    let Some(target) = workspace.base_branch().map(String::from) else {
        return wrong("the main checkout is on no branch, and `workspace.base` names none");
    };
    let config = &run.shared.setup.config;
    let after = config.merge.after.clone();
    // Asked before the merge: afterwards it would have to be taken back.
    if let Some(name) = after.iter().find(|name| run.shared.gate(name).is_none()) {
        return Outcome::failed(Class::Config, evidence::unknown_gate(name));
    }
    match workspace.refuses(config.merge.push.is_some()) {
        Ok(None) => {}
        Ok(Some(reason)) => return Outcome::NeedsAdapt { reason },
        Err(error) => return Outcome::failed(error.class(), format!("failed to {}", chain(&error))),
    }
    let author = Author::of(config.workspace.author.as_deref(), &run.assignment.rule.role);
    let into = MergeTarget {
        repo: run.shared.setup.layout.root().to_owned(),
        dir: dirs.dir,
        place: dirs.place,
        target: target.clone(),
        policy: config.merge.policy,
        push: config.merge.push.clone(),
        remotes: run.shared.setup.layout.user_state().map(Into::into),
        tags: config.merge.tags,
        changelog: config.merge.changelog,
        author: merge::Author { name: author.name, email: author.mail },
    };
    let request = MergeRequest {
        task: run.assignment.task.id.clone(),
        title: run.assignment.task.title.clone(),
        token: run.assignment.lease.token,
        branch: branch.clone(),
        commit: match decision::approved_commit(&run.snapshot, run.shared.workflow(), &run.assignment.task) {
            Approved::Anything => None,
            Approved::Commit(commit) => Some(commit),
            Approved::Nothing => Some(String::new()),
        },
    };
    // What came of it is written there before the queue hears of it.
    if let Err(error) = files::make_dir(run.shared.setup.layout.root(), &run.assignment.run_dir) {
        return Outcome::failed(Class::AgentCrashed, format!("cannot write the attempt's directory: {error}"));
    }
    run.tell_merge();
    let (merged, driver) = match merge_batch(run, &into, &request, &after) {
        Ok(ridden) => ridden,
        Err(stopped) => {
            forget_what_did_not_land(run);
            return stopped;
        }
    };
    match merged {
        Ok(merged) => {
            let short: String = merged.commit.chars().take(12).collect();
            let mut summary = match merged.already {
                true => format!("{branch} was in {target} already, as {short}"),
                false => format!("merged {branch} into {target} as {short}"),
            };
            if let Some(name) = &into.push {
                summary.push_str(&format!("; {name} holds it"));
            }
            if let Some(behind) = &merged.behind {
                summary.push_str(&format!("; the local {target} stays behind: failed to {behind}"));
            }
            if let Some(driver) = driver {
                summary.push_str(&format!("; together with {driver}, whose attempt has the gates' logs"));
            }
            run.brought = Some(Brought { commit: merged.commit, tag: merged.tag });
            Outcome::Done { summary, tasks: Vec::new() }
        }
        Err(error) => {
            if let MergeError::NotApproved { found, .. } = &error {
                ask_again(run, found);
            }
            forget_what_did_not_land(run);
            lost(run).unwrap_or_else(|| refused(&error, &into, &branch, workspace))
        }
    }
}

/// A merge that passed and came to nothing is none: its lease must not say that it is too late to stop it.
fn forget_what_did_not_land(run: &Run) {
    let shared = &run.shared;
    let Ok(seen) = shared.store.read() else { return };
    let task = &run.assignment.task.id;
    let Some(commit) = landing::passed(&seen.snapshot, task) else { return };
    let (layout, config) = (&shared.setup.layout, &shared.setup.config);
    if !Found::unknown().has_landed(layout, config, task, &commit) {
        let merge = [(run.lease().clone(), commit)];
        if let Err(error) = shared.store.transact(&mut |snapshot| landing::withdraw(snapshot, &merge)) {
            log::warn!(task = task.as_str(); "cannot note that {task} was not merged: failed to {}", chain(&error));
        }
    }
}

/// Somebody has put a commit on the branch since it was approved: it is asked about that one.
fn ask_again(run: &Run, found: &str) {
    let (workflow, task) = (run.shared.workflow(), &run.assignment.task.id);
    let asked = run.shared.store.transact(&mut |now| decision::moved(now, workflow, task, found));
    if let Err(error) = asked {
        log::warn!(task = task.as_str(); "{task}: the new commit is not asked about yet: failed to {}", chain(&error));
    }
}

/// What came of an order, and whose attempt drove where it was not ours.
type Batched = (Result<merge::Merged, MergeError>, Option<TaskId>);

/// Merges together with whatever else this worker merges at the moment.
fn merge_batch(
    run: &mut Run,
    into: &MergeTarget,
    request: &MergeRequest,
    after: &[String],
) -> Result<Batched, Outcome> {
    let shared = Arc::clone(&run.shared);
    let gates = evidence::gates(&shared, &run.assignment.task);
    let drive = match shared.merge_queue.enter(request, run.lease(), into, &gates) {
        Turn::Drive(drive) => drive,
        Turn::Wait(told) => loop {
            select! {
                recv(told) -> answer => match answer {
                    Ok(Answer::Came(result, driver)) => return Ok((*result, Some(driver))),
                    Ok(Answer::Drive) | Err(_) => break shared.merge_queue.follow(),
                },
                recv(run.control) -> control => {
                    match control {
                        Ok(Control::Stop(_, why)) => drop(run.stopped.get_or_insert(why)),
                        // The main loop is gone, so this process is about to be.
                        Err(_) => run.control = never(),
                    }
                    if shared.merge_queue.withdraw(&request.task) {
                        let gone = || Outcome::failed(Class::Interrupted, "the worker is gone");
                        return Err(run.is_stopped().unwrap_or_else(gone));
                    }
                }
                recv(at(run.beat_due)) -> _ => {
                    if !run.heartbeat() && shared.merge_queue.withdraw(&request.task) {
                        return Err(superseded());
                    }
                }
            }
        },
    };
    match run.is_stopped() {
        Some(stopped) => Err(stopped),
        // A merge names its token, too (R10).
        None if !run.heartbeat() => Err(superseded()),
        None => drive_on(run, drive, into, request, (gates, after)).map(|own| (own, None)),
    }
}

fn superseded() -> Outcome {
    Outcome::failed(Class::Superseded, "a newer claim of the task exists; nothing was merged")
}

/// What others have said of the task since: of a merge that did not come about it is the reason, whatever else went
/// wrong.
fn lost(run: &mut Run) -> Option<Outcome> {
    run.is_stopped().or_else(|| {
        let seen = run.shared.store.read().ok()?;
        landing::lost(&seen.snapshot, run.lease()).map(|veto| Why::Lost(veto).outcome())
    })
}

/// Merges ours and what waits for the same target.
fn drive_on(
    run: &mut Run,
    mut drive: Drive<'_>,
    into: &MergeTarget,
    request: &MergeRequest,
    (gates, after): (Vec<String>, &[String]),
) -> Result<Result<merge::Merged, MergeError>, Outcome> {
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
    let (ask, asked) = bounded(0);
    let (answer, answered) = bounded(1);
    let shared = Arc::clone(&run.shared);
    let checks = Checks { shared, leases, wanted, after: after.to_vec(), leash: leash.clone(), ask, answered };
    let (report, other) = thread::scope(|scope| {
        let merge = scope.spawn(move || {
            let mut checks = checks;
            merge::batch(into, &orders, &mut checks)
        });
        let other = attend(run, &leash, &asked, &answer);
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
            Err(other.or_else(|| run.is_stopped()).unwrap_or_else(stopped))
        }
        own => Ok(own),
    }
}

/// A tree, the gates to run in it, and whether the target has what is in it already.
type Question = (PathBuf, Vec<String>, bool);

/// While a merge goes beside: renews the lease, hears who wants it to end, runs the gates that it asks for. Answers what else
/// than a red gate ended these.
fn attend(
    run: &mut Run,
    leash: &Leash,
    asked: &Receiver<Question>,
    answer: &Sender<Result<(), GateFailure>>,
) -> Option<Outcome> {
    let mut other = None;
    loop {
        select! {
            recv(asked) -> question => {
                let Ok((tree, names, moved)) = question else { return other };
                if moved {
                    // The target has the merge already: what is red there now is no word about how it was before.
                    run.ground = None;
                }
                let workspace = std::mem::replace(&mut run.assignment.workspace, tree);
                let checked = evidence::run_gates(run, &names);
                run.assignment.workspace = workspace;
                let said = checked.map_err(|(gate, outcome)| match outcome {
                    Outcome::Failed { class: Class::GateFailed, reason, .. } => GateFailure::Red { gate, reason },
                    outcome => {
                        other = Some(outcome);
                        GateFailure::Stopped
                    }
                });
                let _ = answer.send(said);
            }
            recv(run.control) -> control => {
                let how = match control {
                    Ok(Control::Stop(how, why)) => {
                        run.stopped.get_or_insert(why);
                        how
                    }
                    // The main loop is gone, so this process is about to be.
                    Err(_) => {
                        run.control = never();
                        Stop::Now
                    }
                };
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

/// What it means for the task that the merge did not take it.
fn refused(error: &MergeError, into: &MergeTarget, branch: &str, workspace: &Workspace) -> Outcome {
    let reason = format!("failed to {}", chain(error));
    match error {
        MergeError::Conflict { files, onto } => {
            let more = workspace.git().map(|git| both_sides(git, into, branch, onto, files)).unwrap_or_default();
            Outcome::Conflict { files: files.clone(), reason: format!("{reason}.{more}") }
        }
        MergeError::Empty { .. } => Outcome::NoChange {
            summary: format!("nothing was merged: {branch} holds nothing that {} does not", into.target),
        },
        MergeError::GatesRed { .. } | MergeError::RedAfter { .. } => Outcome::NeedsAdapt { reason },
        // Nobody's fault, and nothing that the task could do about it.
        MergeError::MovedOn
        | MergeError::NotApproved { .. }
        | MergeError::Busy { .. }
        | MergeError::Diverged { .. }
        | MergeError::Unreachable { .. }
        | MergeError::NotAsked(_)
        | MergeError::Stopped => Outcome::Waits { reason },
        MergeError::Unwanted { .. } => Outcome::failed(Class::Interrupted, reason),
        // No task may be merged before a human has looked.
        MergeError::NotReverted { .. }
        | MergeError::Place { .. }
        | MergeError::NoBranch { .. }
        | MergeError::RemoteMoved { .. }
        | MergeError::PushRefused { .. } => Outcome::failed(Class::Config, reason),
        MergeError::Git(error) if error.passes() => Outcome::Waits { reason: super::ready::held(error, reason) },
        MergeError::Git(error) => Outcome::failed(error.class(), reason),
        MergeError::Unproven { .. } => Outcome::failed(Class::Network, reason),
        MergeError::Refused { .. } | MergeError::Io { .. } => {
            let class = if environment::of_git(&reason).is_some() { Class::Environment } else { Class::AgentCrashed };
            Outcome::failed(class, reason)
        }
    }
}

/// For whoever resolves a conflict: what the target holds by now, and the command that brings it in.
fn both_sides(git: &Git, into: &MergeTarget, branch: &str, onto: &str, files: &[String]) -> String {
    let target = &into.target;
    let range = format!("refs/heads/{branch}..{onto}");
    let count = format!("-{NAMED}");
    let mut args = vec!["--literal-pathspecs", "log", "--no-show-signature", "--no-merges", "--format=%h %s", &count];
    args.extend([range.as_str(), "--"]);
    args.extend(files.iter().map(String::as_str));
    let theirs: Vec<String> = git
        .run(&args)
        .unwrap_or_default()
        .lines()
        .map(|commit| format!("\n- {}", text::cut(&text::one_line(commit), 120)))
        .collect();
    // What the remote has beyond the local branch has no name here.
    let is_local = git.asks(&["merge-base", "--is-ancestor", onto, &format!("refs/heads/{target}")]).unwrap_or(true);
    let name = if is_local { target.as_str() } else { onto };
    let verb = if into.policy == Policy::Rebase { "rebase" } else { "merge" };
    let end = if into.policy == Policy::Rebase { "git rebase --continue" } else { "git commit" };
    format!(
        " {target} has changed them since {branch} left it:{}\nTo resolve it, run `git {verb} {name}` in the worktree \
         (for this it is allowed), keep in each of these files what both sides want, `git add` them, `{end}`, then \
         run the gates again.",
        theirs.concat()
    )
}

/// What a merge asks: the run that drives it, and the store.
struct Checks {
    shared: Arc<Shared>,
    /// Of everybody who is in the batch.
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
            (None, Ok(_)) => Err(MergeError::NotAsked("others wrote the queue again and again".into())),
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
