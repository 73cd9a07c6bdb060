//! What the journal tells of one role.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{Event, Kind, TaskId};

/// What is remembered of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleHistory {
    /// Why it claims nothing, and since when.
    pub paused: Option<Pause>,
    /// Different tasks that failed in a row (R22).
    pub failing: BTreeSet<TaskId>,
    /// The pools that its workers draw from, as the last one that started said.
    pub pools: Vec<String>,
    /// The agents that its workers cannot use, and why not, by worker.
    pub lacks: BTreeMap<String, BTreeMap<String, String>>,
}

/// A role's pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The class of failure that caused it, as text.
    pub class: String,
    /// For people.
    pub reason: String,
    /// When.
    pub since: DateTime<Utc>,
}

impl RoleHistory {
    pub(super) fn apply(&mut self, event: &Event) {
        match event.kind {
            Kind::WorkerPaused => {
                self.paused = Some(Pause {
                    class: event.text("class").unwrap_or("unclassified").into(),
                    reason: event.text("reason").unwrap_or_default().into(),
                    since: event.time,
                });
            }
            Kind::WorkerStarted => {
                if let Some(pools) = event.data.get("pools").and_then(Value::as_array) {
                    self.pools = pools.iter().filter_map(|pool| pool.as_str().map(String::from)).collect();
                }
                self.lacks.remove(&event.actor);
                if let Some(lacks) =
                    event.data.get("lacks").and_then(Value::as_object).filter(|lacks| !lacks.is_empty())
                {
                    let lacks = lacks.iter().filter_map(|(agent, why)| Some((agent.clone(), why.as_str()?.into())));
                    self.lacks.insert(event.actor.clone(), lacks.collect());
                }
            }
            Kind::WorkerStopped => drop(self.lacks.remove(&event.actor)),
            Kind::WorkerResumed if event.sealed => (self.paused, self.failing) = (None, BTreeSet::new()),
            Kind::AttemptFinished => match &event.task {
                Some(task) if event.flag("charged") => {
                    self.failing.insert(task.clone());
                }
                _ if event.text("class").is_none() => self.failing.clear(),
                _ => {}
            },
            _ => {}
        }
    }
}
