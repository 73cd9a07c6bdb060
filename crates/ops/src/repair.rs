//! What of a queue can be mended without guessing, and mending it.

use crate::{Failure, Project, leases::rescued, view::MendView};
use oodatcaa_core::{
    ChangeSet, QueueLease, RunName, Snapshot, TaskId, Workflow,
    event::Actor,
    external_edits::{self, Behind},
    lease::LeaseHealth,
    manual,
    outcome::Retry,
    rescue::{self, Orphan},
    text::{many, one_line},
};

/// What can be mended without guessing.
#[derive(Clone, Debug)]
pub struct Mends {
    /// Lease files of dead owners, and those whose task is gone.
    leases: Vec<Orphan>,
    /// `lease` texts that no lease file stands behind.
    marks: Vec<(TaskId, String)>,
    /// An old queue file that was put back, to be taken for the truth.
    old: Option<Behind>,
}

impl Mends {
    /// Finds what can be mended.
    pub fn find(snapshot: &Snapshot, workflow: &Workflow) -> Self {
        let mut leases = rescue::find(snapshot, workflow);
        for (id, held) in &snapshot.leases {
            // A foreign lease on nothing holds nothing; a living worker's is left to it.
            let alive = held.health(&snapshot.now) == LeaseHealth::Live;
            if snapshot.queue.get(id).is_none() && alive && held.ours().is_none() {
                leases.push(Orphan {
                    task: id.clone(),
                    token: held.token(),
                    run: RunName::of(held.token()),
                    role: None,
                    reason: "there is no such task".into(),
                    died: false,
                    lease: true,
                    beat: None,
                    landed: None,
                });
            }
        }
        let unheld = snapshot
            .queue
            .tasks()
            .filter(|task| !snapshot.leases.contains_key(&task.id) && !leases.iter().any(|left| left.task == task.id));
        let marks = unheld.filter_map(|task| {
            let text = match &task.lease {
                QueueLease::None => return None,
                QueueLease::Inline { until: Some(until), .. } if snapshot.now.wall < *until => return None,
                QueueLease::Ours { owner, token } => format!("{owner}#{token}"),
                QueueLease::Inline { owner, .. } => owner.clone(),
                QueueLease::Other(text) => text.clone(),
            };
            Some((task.id.clone(), one_line(&text)))
        });
        let marks = marks.collect();
        Self { leases, marks, old: external_edits::behind(snapshot) }
    }

    /// Describes each.
    pub fn views(&self) -> Vec<MendView> {
        let view = |what, task: &TaskId, message| MendView { what, task: task.to_string(), message };
        let leases = self.leases.iter().map(|left| view("lease", &left.task, format!("give it back: {}", left.reason)));
        let mark = |(id, text): &(TaskId, String)| view("mark", id, format!("clear `lease`, now {text:?}, of nobody"));
        let old = self.old.as_ref().map(|behind| {
            let tasks = many(behind.count, "task");
            let message = format!(
                "take the queue file as it stands for the truth ({tasks}), or, with --from-journal, write what it lacks into it: {}",
                behind.reason
            );
            let task = behind.task.as_ref().map_or_else(|| "queue".into(), TaskId::to_string);
            MendView { what: "old_file", task, message }
        });
        leases.chain(self.marks.iter().map(mark)).chain(old).collect()
    }

    /// Leaves alone what was not shown, or has changed since.
    fn retain(&mut self, shown: &Self) {
        self.leases.retain_mut(|now| {
            let found = shown.leases.iter().find(|then| then.task == now.task && then.token == now.token);
            if let Some(then) = found.filter(|then| then.is(now)) {
                // Whether it has landed was asked of git.
                now.landed.clone_from(&then.landed);
            }
            found.is_some()
        });
        self.marks.retain(|mark| shown.marks.contains(mark));
        self.old = self.old.take().filter(|now| shown.old.as_ref().is_some_and(|then| then.task == now.task));
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        workflow: &Workflow,
        retry: &Retry,
        from_journal: bool,
        actor: &Actor,
    ) -> ChangeSet {
        let mut old_file = |seen: &Snapshot| {
            let mut changes = ChangeSet::none();
            match (&self.old, from_journal) {
                (None, _) => {}
                (_, true) => changes = external_edits::restore(seen, actor),
                (_, false) => changes.event(external_edits::baseline(seen, actor.clone())),
            }
            changes
        };
        let mut given_back = |seen: &Snapshot| rescued(seen, workflow, retry, &self.leases, actor);
        let mut gone = |seen: &Snapshot| {
            let mut changes = ChangeSet::none();
            let of_nothing =
                |left: &&Orphan| seen.queue.get(&left.task).is_none() && seen.leases.contains_key(&left.task);
            for left in self.leases.iter().filter(of_nothing) {
                let released = manual::release(seen, workflow, &left.task, left.token, None, &left.reason, actor);
                changes.then(released.unwrap_or_default());
            }
            changes
        };
        let mut marks = |seen: &Snapshot| {
            let mut changes = ChangeSet::none();
            for (id, _) in &self.marks {
                changes.then(manual::clear_mark(seen, id, false, Some("repair"), actor).unwrap_or_default());
            }
            changes
        };
        // The old file first: what is decided after it is decided on the new truth.
        snapshot.chain(&mut [&mut old_file, &mut given_back, &mut gone, &mut marks])
    }
}

impl Project {
    /// Mends what was found and is still so. An old queue file is taken for the truth, or, `from_journal`,
    /// what it lacks is written into it. Returns what else was done on the way, each in a sentence.
    pub fn mend(&self, mut found: Mends, from_journal: bool) -> Result<Vec<String>, Failure> {
        let config = &self.loaded()?.config;
        let notes = self.end_dead(&mut found.leases)?;
        self.decide(false, &config.workflow, |snapshot, workflow, actor| {
            let mut now = Mends::find(snapshot, workflow);
            now.retain(&found);
            Ok(now.decide(snapshot, workflow, &config.retry, from_journal, actor))
        })?;
        Ok(notes)
    }
}
