//! An attempt, straight down: prepared, running, proved, and handed to the main loop to be settled.
//!
//! Nothing between claim and settlement leaves this file early: whatever goes wrong becomes an outcome, and the outcome is
//! settled.

use std::{path::PathBuf, sync::Arc, thread};

use crossbeam_channel::{Sender, bounded};

use crate::{
    evidence, gate,
    merge::{self, Landed},
    prepare::Prepared,
    resume,
    run::Run,
    running::Running,
    settlement::Settlement,
    sweep,
};
use oodatcaa_agent::{self as agent, result::Mail};
use oodatcaa_core::{
    Class, Outcome, mail,
    text::{self, chain},
};
use oodatcaa_git::{Directory, TakenIn, Workspace};
use oodatcaa_sys::files::{self, Durable};

/// How many decisions and messages of one attempt are kept.
const MOST_WORDS: usize = 20;

/// Characters of each that are kept.
const LONGEST_WORDS: usize = 500;

/// Starts an attempt on a thread of its own.
pub(crate) fn spawn(run: Run, finished: &Sender<Settlement>) {
    let name: String = format!("run {}", run.lease().task_id).chars().take(15).collect();
    // The run follows once there is a thread; without one it is still here, to be settled.
    let (give, taken) = bounded::<Run>(1);
    let done = finished.clone();
    let body = move || {
        if let Ok(run) = taken.recv() {
            // The worker may have left after a third signal; then nobody listens.
            let _ = done.send(walk(run));
        }
    };
    match thread::Builder::new().name(name).stack_size(512 * 1024).spawn(body) {
        Ok(_) => drop(give.send(run)),
        Err(error) => {
            let reason = format!("no thread could be started for it: {error}");
            let outcome = Outcome::failed(Class::AgentCrashed, reason);
            drop(finished.send(Settlement::new(run, outcome, None, None)));
        }
    }
}

/// Takes an attempt through its phases.
fn walk(mut run: Run) -> Settlement {
    let proved = match Prepared::new(&mut run) {
        Ok(prepared) => prove(&mut run, prepared),
        Err(outcome) => Proved { outcome, workspace: None, landed: None },
    };
    proved.finish(run)
}

/// Third phase: an attempt whose outcome is known and proved, and whose worktree is still ours.
struct Proved {
    outcome: Outcome,
    workspace: Option<Workspace>,
    /// What a merge brought.
    landed: Option<Landed>,
}

/// Does the work of a prepared attempt, a merge or an agent's, and asks for the proof of it.
fn prove(run: &mut Run, prepared: Prepared) -> Proved {
    let rule = &run.assignment.rule;
    let (outcome, landed) = match &prepared.workspace {
        Some(workspace) if rule.duty.merges => match merge::merge(run, workspace, prepared.baseline.as_ref()) {
            Ok(landed) => (Outcome::Done { summary: landed.summary.clone(), tasks: Vec::new() }, Some(landed)),
            Err(outcome) => (outcome, None),
        },
        // It was claimed as a merge, so no start of an agent was counted, and none is made.
        None if run.shared.workflow().merges(rule, &run.assignment.task) => {
            let branch = run.assignment.task.branch.as_deref().unwrap_or_default();
            let reason = format!("there is no repository here in which its branch `{branch}` could be merged");
            (Outcome::Blocked { reason }, None)
        }
        _ if rule.duty.agentless => (check(run, &prepared), None),
        _ => (work(run, &prepared), None),
    };
    Proved { outcome, workspace: prepared.workspace, landed }
}

/// Runs the gates of a role that works without an agent: its attempt is nothing else.
fn check(run: &mut Run, prepared: &Prepared) -> Outcome {
    if !run.is_still_mine() {
        return Outcome::failed(Class::Superseded, "its task was taken over before its gates were run");
    }
    run.note_without_agent("none");
    let names = gate::names(&run.shared, &run.assignment.task);
    let passed = || match names.as_slice() {
        [] => "no agent works here, there was no branch to merge, and no gate to run".to_owned(),
        names => format!("without an agent: green are {}", names.join(", ")),
    };
    match evidence::check(run, prepared.baseline.as_ref()) {
        Ok(()) => Outcome::Done { summary: passed(), tasks: Vec::new() },
        Err(outcome) => outcome,
    }
}

/// Has the agent work, and asks for the proof of what it says.
fn work(run: &mut Run, prepared: &Prepared) -> Outcome {
    let (workspace, baseline) = (prepared.workspace.as_ref(), prepared.baseline.as_ref());
    let before = if workspace.is_none() && run.shared.setup.role.change { look_at_directory(run) } else { None };
    let outcome = Running::start(run, prepared).map_or_else(|failed| failed, |running| running.finish(run));
    // Also of an attempt that failed: it is about what the agent did, not about what it achieved.
    let (mut outcome, mut taken) = (outcome, TakenIn::default());
    if let Some(workspace) = workspace {
        (outcome, taken) = evidence::take_in(run, workspace, outcome);
        evidence::note_beside(run, workspace, baseline);
    }
    if !outcome.is_success() {
        return outcome;
    }
    // The journal tells the start before it tells what the gates had to say.
    if !gate::names(&run.shared, &run.assignment.task).is_empty() {
        run.note_start();
    }
    let changed = match (workspace, before) {
        // What was cut short because the attempt is to end says that, and nothing of git.
        (Some(workspace), _) => evidence::check_tree(run, workspace, &taken, &outcome)
            .map_err(|failed| run.stop_outcome().unwrap_or(failed)),
        (None, Some(before)) => evidence::check_directory(&before, &outcome),
        (None, None) => Ok(()),
    };
    changed.and_then(|()| evidence::check(run, baseline)).err().unwrap_or(outcome)
}

/// Notes what the directory holds that all tasks share. Where that cannot be known nothing is proved by it, and the log
/// says so.
fn look_at_directory(run: &Run) -> Option<Directory> {
    let setup = &run.shared.setup;
    let unknown = match Directory::look(&setup.layout, run.shared.agent(&run.lease().by).leaves()) {
        Ok(Some(directory)) => return Some(directory),
        Ok(None) => "it holds too many files".to_owned(),
        Err(error) => format!("failed to {}", chain(&error)),
    };
    log::warn!(task = run.lease().task_id.as_str(); "{}: changes in {} cannot be seen, so none are proved: {unknown}", run.lease().task_id, setup.layout.root().display());
    None
}

impl Proved {
    /// Keeps or returns what the attempt had, and completes its record.
    fn finish(self, mut run: Run) -> Settlement {
        let shared = Arc::clone(&run.shared);
        let (layout, config) = (&shared.setup.layout, &shared.setup.config.workspace);
        let (id, token) = (run.lease().task_id.clone(), run.lease().token);
        // What is left to do with it keeps work, and is not stopped any more.
        let workspace = self.workspace.map(Workspace::to_its_end);
        // Before anything of what the agent said reaches record, journal or log.
        let secrets = run.secrets();
        let outcome = agent::output::mask_outcome(self.outcome, &secrets);
        keep_answer(&run, &secrets);
        if let Some(workspace) = &workspace {
            if !outcome.is_success() {
                run.beside(|| sweep::save_work(workspace, &id, token));
            }
            return_worktree(&mut run, workspace);
        }
        // Compared by the attempt that would like to go on with this one's session.
        if run.record.found.seen.as_ref().is_some_and(|seen| seen.session.is_some())
            && shared.agent(&run.lease().by).can_resume()
        {
            run.record.found.content = resume::content(workspace.as_ref());
        }
        let head = workspace.as_ref().and_then(Workspace::head);
        if self.landed.is_some()
            && let Some(workspace) = workspace
        {
            // Clean and merged, or it stays: nothing is ever thrown away with it.
            if let Err(error) = run.beside(|| workspace.remove(layout, config)) {
                log::info!(task = id.as_str(); "{id}: its worktree stays: failed to {}", chain(&error));
            }
        }
        keep_words(&mut run, &secrets);
        run.record.finish(&outcome);
        // Before the settlement, so that a crash between the two can be told from what stands there.
        run.save();
        Settlement::new(run, outcome, head, self.landed)
    }
}

/// Leaves the worktree to the next attempt, without the changes of a role whose changes are no work.
fn return_worktree(run: &mut Run, workspace: &Workspace) {
    let shared = Arc::clone(&run.shared);
    let (id, layout) = (run.lease().task_id.clone(), &shared.setup.layout);
    let keeps = run.commits() || run.assignment.rule.duty.merges;
    let returned = run.beside(|| {
        let taken = if keeps { None } else { workspace.take_back(layout)? };
        workspace.settle(layout).map(|()| taken)
    });
    match returned {
        Ok(Some((files, saved))) => {
            let files = text::cut(&text::one_line(&files.join(", ")), 300);
            let role = shared.role();
            log::info!(task = id.as_str(); "{id}: {role} does not commit, so its changes are not on the branch: {files}; they are kept as {saved} (see `roles.{role}.commits`)");
        }
        Ok(None) => {}
        Err(error) => log::warn!(task = id.as_str(); "{id}: failed to {}", chain(&error)),
    }
}

/// Keeps what the agent decided and what it wanted others to know; its words, bounded, and no more than that.
fn keep_words(run: &mut Run, secrets: &[String]) {
    let read = |file: PathBuf| agent::result::read(&file).ok().flatten();
    let moved = read(run.assignment.answer_file());
    let Some(result) = moved.or_else(|| read(run.assignment.result_file())) else { return };
    // Masked once more: where the disk is full the file could not be moved.
    let shown = |words: &str| text::cut(&agent::output::mask(&text::one_line(words), secrets), LONGEST_WORDS);
    run.record.found.decisions = result.decisions.iter().take(MOST_WORDS).map(|choice| shown(&choice.text)).collect();
    let messages = result.messages.iter().take(MOST_WORDS);
    run.record.found.messages = messages.map(|mail| shown(&format!("{}: {}", mail.to, mail.text))).collect();
    let masked = |words: &str| text::cut(&agent::output::mask(words, secrets), mail::LONGEST);
    let messages = result.messages.into_iter().take(MOST_WORDS);
    run.record.found.mail = messages.map(|mail| Mail { text: masked(&mail.text), ..mail }).collect();
}

/// Moves the agent's result file to where people and programs are shown it, without its secrets; the raw output is the
/// agent's own.
fn keep_answer(run: &Run, secrets: &[String]) {
    let (root, raw) = (run.shared.setup.layout.root(), run.assignment.result_file());
    let Some(masked) = agent::result::masked(&raw, secrets) else { return };
    let kept = files::write_atomic(root, &run.assignment.answer_file(), masked.as_bytes(), Durable::No);
    if let Err(error) = kept.and_then(|()| files::remove(root, &raw)) {
        log::warn!("cannot keep an answer: failed to {}", chain(&error));
    }
}
