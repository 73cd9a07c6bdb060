//! What waits for a person, and a person's word on it. Works without any daemon: what nobody has asked yet is asked here.

use crate::{
    Failure, Project, sandbox, undecided,
    view::{DecisionView, NeedView},
};
use oodatcaa_agent::record::Record;
use oodatcaa_core::{
    ChangeSet, Data, Snapshot, TaskId, Workflow,
    decision::{self, Word},
    needs::Need,
    state::decisions::Topic,
    text::{many, one_line},
};
use oodatcaa_git::diff::{self, FileChange};

/// So many attempts on a task are asked what they did beside their work.
const RUNS: usize = 30;

/// Asks what is to be asked now, and closes what nobody asks any more.
fn put_right(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    snapshot.chain(&mut [&mut |seen| decision::tidy(seen, workflow), &mut |seen| decision::ask(seen, workflow)])
}

impl Project {
    /// Asks what is to be asked now, so that whatever is shown can be decided: also anew about branches that have moved
    /// since. `only` names a decision or a task. Returns the snapshot with that in it, and why it could not be written.
    pub fn ask(&self, snapshot: Snapshot, only: Option<&str>) -> Result<(Snapshot, Option<Failure>), Failure> {
        let workflow = self.workflow();
        if workflow.policy().broken.is_some() {
            // With roles that only stand in for the project's nothing is asked.
            return Ok((snapshot, None));
        }
        let moved = self.moved_branches(&snapshot, only)?;
        let ask = |now: &Snapshot| {
            let mut changes = put_right(now, workflow);
            for (task, tip) in &moved {
                changes.then(decision::moved(&now.after(&changes), workflow, task, tip));
            }
            changes
        };
        let changes = ask(&snapshot);
        if changes.is_empty() {
            return Ok((snapshot, None));
        }
        let mut seen = snapshot.after(&changes);
        let asked = self.store()?.transact(&mut |now| {
            let changes = ask(now);
            seen = now.after(&changes);
            changes
        });
        Ok((seen, asked.err().map(Failure::from)))
    }

    /// Returns the branches that wait for a yes to another commit than their last.
    fn moved_branches(&self, snapshot: &Snapshot, only: Option<&str>) -> Result<Vec<(TaskId, String)>, Failure> {
        let (layout, config, workflow) = (self.layout()?, &self.loaded()?.config.workspace, self.workflow());
        if !workflow.policy().merge_approval {
            return Ok(Vec::new());
        }
        let seen = snapshot.after(&put_right(snapshot, workflow));
        let mut open = seen.history.decisions.open();
        open.retain(|decision| decision.topic == Topic::Merge);
        open.retain(|decision| only.is_none_or(|only| decision.id == only || decision.subject == only));
        let moved = open.into_iter().filter_map(|decision| {
            let task = seen.queue.get(decision.task.as_ref()?)?;
            // Where git has no answer, the merge will find out, and ask.
            let tip = diff::tip(layout, config, task).ok()??;
            (decision.commit.as_deref() != Some(tip.as_str())).then(|| (task.id.clone(), tip))
        });
        Ok(moved.collect())
    }

    /// Decides by a person's word: on a decision, or on the task that waits for one. A yes to a merge counts for the
    /// commit that begins with `commit` only, where one is named.
    pub fn resolve(
        &self,
        id: &str,
        word: Word<'_>,
        commit: Option<&str>,
        dry_run: bool,
    ) -> Result<DecisionView, Failure> {
        let (workflow, actor) = (&self.loaded()?.config.workflow, self.actor());
        if word == Word::Approve && !dry_run {
            self.ask(self.read()?.snapshot, Some(id))?;
        }
        let (before, answer) = self.decided(dry_run, |snapshot| {
            decision::resolve(snapshot, workflow, id, word, &actor)
                .and_then(|changes| decision::pinned(changes, commit))
        })?;
        let changes = answer.map_err(|refusal| undecided(&before, &refusal))?;
        let after = before.after(&changes);
        // The word's own event is the last about a decision; before it stands what was put right.
        let named = changes.events.iter().rev().find_map(|event| match &event.data {
            Data::DecisionResolved(decided) => decided.decision.as_deref(),
            _ => None,
        });
        let decision = named.and_then(|id| after.history.decisions.get(id));
        Ok(DecisionView::of(&before, &after, decision.expect("a word that counts closes a decision"), dry_run))
    }

    /// Describes something that waits, with what deserves a look before a yes.
    pub fn need(&self, snapshot: &Snapshot, need: &Need<'_>) -> NeedView {
        let merge = need.decision.filter(|decision| decision.topic == Topic::Merge);
        let task = merge.and_then(|decision| decision.task.as_ref());
        let records = task.map(|task| self.records(snapshot, task)).unwrap_or_default();
        let look_at = task.map(|task| self.look_at(task, &records)).unwrap_or_default();
        NeedView::of(snapshot, need, look_at, sandbox::worked(&records))
    }

    /// Reads the records of a task's newest attempts.
    pub fn records(&self, snapshot: &Snapshot, task: &TaskId) -> Vec<Record> {
        let Ok(layout) = self.layout() else { return Vec::new() };
        let runs = snapshot.history.task(task).map(|known| known.runs.values()).into_iter().flatten();
        runs.rev().take(RUNS).filter_map(|run| Record::load(&layout.run(task, run))).collect()
    }

    /// Lists files of a change that other programs obey, tests that it deletes, and what the attempts on the task did
    /// beside their work.
    fn look_at(&self, task: &TaskId, records: &[Record]) -> Vec<String> {
        let changed = self.changed(task).unwrap_or_default();
        let mut all: Vec<String> = changed.into_iter().filter_map(|file| file.look_at).collect();
        for told in records.iter().flat_map(|run| &run.found.beside) {
            if !all.contains(told) {
                all.push(told.clone());
            }
        }
        all
    }

    /// Describes what a merge brings: the commit, how much it changes, and the gates that judge it before it lands.
    pub fn merge_size(&self, task: Option<&TaskId>, commit: Option<&str>) -> Option<String> {
        let config = &self.loaded().ok()?.config;
        let mut words = format!("commit {}", commit?.chars().take(12).collect::<String>());
        if let Some(files) = self.changed(task?) {
            let lines = |of: fn(&FileChange) -> Option<u64>| files.iter().filter_map(of).sum::<u64>();
            let (added, removed) = (lines(|file| file.added), lines(|file| file.removed));
            words.push_str(&format!(" ({}, +{added} −{removed})", many(files.len(), "file")));
        }
        let gates = config.roles.get(&config.workflow.merging()?.role).map(|role| role.gates.join(", "));
        match gates.filter(|gates| !gates.is_empty()) {
            Some(gates) => words.push_str(&format!(", gates: {}", one_line(&gates))),
            None => words.push_str(", no gate"),
        }
        Some(words)
    }

    fn changed(&self, task: &TaskId) -> Option<Vec<FileChange>> {
        let (layout, config) = (self.layout().ok()?, &self.loaded().ok()?.config.workspace);
        diff::range(layout, config, task, None, None).and_then(|range| range.files()).ok()
    }
}
