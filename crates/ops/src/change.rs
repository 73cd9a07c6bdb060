//! A change of the queue by a person: decided under the lock, or only on what stands there now.

use serde_json::{Map, Value};

use crate::{Failure, Project, ReadModel, find_task, refused, view::ChangeView};
use oodatcaa_core::{
    ChangeSet, LeaseChange, Snapshot, Status, Task, TaskId, Workflow,
    event::{Actor, Event},
    manual::{self, Answer, Refusal},
    text::{one_line, shell_word},
};
use oodatcaa_git::restart::{self, Anew};

/// What was, or would be, committed.
pub struct Changed {
    /// The snapshot it was decided on.
    pub before: Snapshot,
    /// The changes; empty when there was nothing to change.
    pub changes: ChangeSet,
    /// What else was done on the way, each in a sentence.
    pub notes: Vec<String>,
}

impl Project {
    /// Decides about the queue: in the store's critical section, or (`dry_run`) on what stands there now. `workflow` is
    /// the table of roles that counts: the configured one, or for what no table decides any ([`Project::workflow`]).
    pub fn decide(
        &self,
        dry_run: bool,
        workflow: &Workflow,
        mut decide: impl FnMut(&Snapshot, &Workflow, &Actor) -> Answer,
    ) -> Result<Changed, Failure> {
        let actor = self.actor();
        let (before, answer) = self.decided(dry_run, |snapshot| decide(snapshot, workflow, &actor))?;
        let changes = answer.map_err(|refusal| refused(&refusal, &before.queue, workflow))?;
        Ok(Changed { before, changes, notes: Vec::new() })
    }

    /// Decides about one task, which somebody named. A dead owner's lease on it is given back first.
    pub fn decide_on(
        &self,
        dry_run: bool,
        workflow: &Workflow,
        id: &str,
        mut on: impl FnMut(&Snapshot, &Workflow, &TaskId, &Actor) -> Answer,
    ) -> Result<(TaskId, Changed), Failure> {
        let id = find_task(&self.read()?.snapshot.queue, id)?.id.clone();
        let mut is_dead = false;
        let first = self.decide(dry_run, workflow, |snapshot, workflow, actor| {
            let answer = on(snapshot, workflow, &id, actor);
            is_dead = matches!(answer, Err(Refusal::Abandoned { dead: true, .. }));
            answer
        });
        let changed = match first {
            Err(_) if is_dead && !dry_run => {
                let notes = self.give_back_now(&id, false)?.notes;
                let on = |snapshot: &_, workflow: &_, actor: &_| on(snapshot, workflow, &id, actor);
                Changed { notes, ..self.decide(dry_run, workflow, on)? }
            }
            other => other?,
        };
        Ok((id, changed))
    }

    /// Has a task tried again from where it failed, as the journal tells; with `anew` its branch is put on its base as
    /// that is now, or begun from there with nothing of its own.
    pub fn retry(
        &self,
        id: &str,
        journal: &[Event],
        anew: Option<Anew>,
        dry_run: bool,
    ) -> Result<(TaskId, Changed), Failure> {
        let config = &self.loaded()?.config;
        let on = |snapshot: &Snapshot, workflow: &Workflow, id: &TaskId, actor: &Actor| {
            if anew == Some(Anew::Fresh) {
                return manual::begin_again(snapshot, workflow, id, actor);
            }
            let stage = manual::failed_stage(workflow, id, journal);
            manual::retry(snapshot, workflow, id, stage.as_ref(), actor)
        };
        let mut notes = Vec::new();
        if let Some(how) = anew.filter(|_| !dry_run) {
            // Refused before anything is touched, and done before anybody may claim it.
            let (id, changed) = self.decide_on(true, &config.workflow, id, on)?;
            let task = changed.before.queue.get(&id).expect("it was decided on");
            let done = restart::restart(self.layout()?, &config.workspace, task, how)?;
            let branch = done.branch.as_deref().unwrap_or("its branch");
            notes.extend(done.kept.map(|kept| format!("what {branch} had is kept as {kept}")));
            notes.extend(done.saved.map(|saved| format!("what was not committed is kept as {saved}")));
        }
        let (id, mut changed) = self.decide_on(dry_run, &config.workflow, id, on)?;
        changed.notes.splice(0..0, notes);
        Ok((id, changed))
    }

    /// Returns the last snapshot that was decided on, and the answer; what is answered is committed unless `dry_run`.
    pub(crate) fn decided<E: Clone>(
        &self,
        dry_run: bool,
        mut decide: impl FnMut(&Snapshot) -> Result<ChangeSet, E>,
    ) -> Result<(Snapshot, Result<ChangeSet, E>), Failure> {
        if dry_run {
            let before = self.read()?.snapshot;
            let answer = decide(&before);
            return Ok((before, answer));
        }
        let mut seen = None;
        self.store()?.transact(&mut |snapshot| {
            let answer = decide(snapshot);
            let changes = answer.clone().unwrap_or_default();
            seen = Some((snapshot.clone(), answer));
            changes
        })?;
        Ok(seen.expect("a store that says Ok has decided"))
    }
}

impl Changed {
    /// Returns the snapshot with the changes in it.
    pub fn after(&self) -> Snapshot {
        self.before.after(&self.changes)
    }

    /// Describes what `verb` made of a task.
    pub fn view(&self, workflow: &Workflow, verb: &str, id: &TaskId, dry_run: bool) -> ChangeView {
        let after = self.after();
        let model = ReadModel::new(&after, workflow);
        let (was, is) = (self.before.queue.get(id), after.queue.get(id));
        let changed = !self.changes.is_empty();
        ChangeView {
            id: id.clone(),
            verb: verb.into(),
            from: was.map(|task| task.status.clone()),
            to: is.map(|task| task.status.clone()),
            changed,
            dry_run,
            set: self.set(id),
            undo: was.zip(is).filter(|_| changed).and_then(|(was, is)| undo(workflow, was, is)),
            task: is.map(|task| model.task(task)),
        }
    }

    /// Returns the members of a task's entry that are written.
    fn set(&self, id: &TaskId) -> Map<String, Value> {
        let edits = self.changes.edits.iter().filter(|edit| edit.task == *id).flat_map(|edit| &edit.set);
        let added = self.changes.add.iter().filter(|new| new.task.id == *id).flat_map(|new| new.json.clone());
        added.chain(edits.map(|(member, value)| (member.as_str().into(), value.clone()))).collect()
    }

    /// Tells whether a running attempt is asked to stop.
    pub fn asks_to_stop(&self) -> bool {
        self.changes.leases.iter().any(|change| matches!(change, LeaseChange::Write(_)))
    }
}

/// Returns the command that takes a task back to where it was; none where no command may.
fn undo(workflow: &Workflow, was: &Task, is: &Task) -> Option<String> {
    let id = &was.id;
    if was.status == Status::BLOCKED && (is.status != Status::BLOCKED || is.blocked_reason != was.blocked_reason) {
        let reason = was.blocked_reason.as_deref().unwrap_or("blocked again");
        return Some(format!("agentctl task block {id} --reason {}", shell_word(&one_line(reason))));
    }
    if was.status == is.status {
        if was.priority != is.priority {
            return Some(format!("agentctl task prio {id} {}", was.priority));
        }
        let (more, fewer) =
            (is.dependencies.len() > was.dependencies.len(), is.dependencies.len() < was.dependencies.len());
        let (have, lack) =
            if more { (&is.dependencies, &was.dependencies) } else { (&was.dependencies, &is.dependencies) };
        let names: Vec<&str> = have.iter().filter(|name| !lack.contains(name)).map(String::as_str).collect();
        return (more || fewer).then(|| {
            format!("agentctl task dep {} {id} {}", if more { "rm" } else { "add" }, one_line(&names.join(" ")))
        });
    }
    if was.status.is_done() {
        return Some(format!("agentctl task done {id} --reason \"it was done\""));
    }
    let back = match workflow.working(&was.status) {
        Some(rule) => &rule.takes,
        None => &was.status,
    };
    let force = if manual::legal_moves(workflow, is).contains(back) { "" } else { " --force" };
    Some(format!("agentctl task move {id} {back}{force}"))
}
