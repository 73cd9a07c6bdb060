//! What the journal tells of one role.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{Data, Event, TaskId, event::payload::Texts};

/// The history of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleHistory {
    /// The reason why it claims nothing, and the time since when.
    pub paused: Option<Pause>,
    /// Different tasks that failed in a row.
    pub failing: BTreeSet<TaskId>,
    /// The pools that its workers draw from, as the last one that started said.
    pub pools: Vec<String>,
    /// The agents that its workers cannot use, and why not, by worker.
    pub lacks: BTreeMap<String, BTreeMap<String, String>>,
    /// The workers that were given up, and why, by name.
    pub failed: BTreeMap<String, Failed>,
}

/// A worker that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The reason, in words.
    pub why: String,
    /// The time.
    pub since: DateTime<Utc>,
}

/// A role's pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The class of failure that caused it, as text.
    pub class: String,
    /// For people.
    pub reason: String,
    /// The time.
    pub since: DateTime<Utc>,
}

impl Pause {
    /// The class of a pause that a person asked for.
    pub const ASKED: &str = "asked";
}

impl RoleHistory {
    pub(super) fn apply(&mut self, event: &Event) {
        match event.data() {
            Data::WorkerPaused(paused) => {
                self.paused = Some(Pause {
                    class: paused.class.clone().unwrap_or_else(|| "unclassified".into()),
                    reason: paused.reason.clone().unwrap_or_default(),
                    since: event.time,
                });
            }
            Data::WorkerStarted(worker) => {
                if let Some(Texts(pools)) = &worker.pools {
                    self.pools.clone_from(pools);
                }
                if let Some(name) = &worker.name {
                    self.failed.remove(name);
                }
                self.lacks.remove(&event.actor);
                if !worker.lacks.is_empty() {
                    let lacks = worker.lacks.iter();
                    let lacks = lacks.filter_map(|(agent, why)| Some((agent.clone(), why.as_str()?.into())));
                    self.lacks.insert(event.actor.clone(), lacks.collect());
                }
            }
            Data::WorkerFailed(crash) => {
                let failed = Failed { why: crash.reason.clone().unwrap_or_default(), since: event.time };
                self.failed.insert(crash.worker.clone().unwrap_or_default(), failed);
            }
            Data::WorkerStopped(_) => drop(self.lacks.remove(&event.actor)),
            Data::WorkerResumed(_) if event.sealed => {
                (self.paused, self.failing) = (None, BTreeSet::new());
                self.failed.clear();
            }
            Data::AttemptFinished(ended) => match &event.task {
                Some(task) if ended.charged => drop(self.failing.insert(task.clone())),
                _ if ended.class.is_none() => self.failing.clear(),
                _ => {}
            },
            _ => {}
        }
    }
}
