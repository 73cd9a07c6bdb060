//! Hand-offs as the journal tells of them: how far each rule has looked, and what has happened since that one may answer.
//!
//! Nothing is remembered before a first rule is set, so that a project without rules carries none of it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use crate::{Data, Event, Role, Status, TaskId, event::payload::Handed, text};

/// So many happenings are remembered.
const MOST: usize = 1_000;

/// The longest text of a message that is remembered, in characters.
const LONGEST: usize = 2_000;

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handoffs {
    /// How far each rule has looked, by its name.
    pub rules: BTreeMap<String, Looked>,
    happened: VecDeque<Arc<Happened>>,
    /// The number of the last event that is not remembered any more.
    lost: u64,
    depth: BTreeMap<TaskId, u32>,
}

/// The state of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The events that it answers, in words.
    pub on: String,
    /// The time at which that was set.
    pub set_at: DateTime<Utc>,
    /// The number of the last event that it has answered; at first of the one from which it counts.
    pub upto: u64,
    /// The number of its answers.
    pub fired: u64,
    /// The time of the last.
    pub fired_at: Option<DateTime<Utc>>,
    /// The task that it answered for last.
    pub task: Option<TaskId>,
    /// The reason why it last did not do what it should have.
    pub refused: Option<String>,
    times: BTreeMap<TaskId, u32>,
}

impl Looked {
    /// Returns how often it has answered for a task.
    pub fn times(&self, task: &TaskId) -> u32 {
        self.times.get(task).copied().unwrap_or_default()
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// The number of its event.
    pub seq: u64,
    /// The task that it is about.
    pub task: Option<TaskId>,
    /// The role whose worker or agent did it.
    pub role: Option<Role>,
    /// Its kind, with what is known of it.
    pub what: What,
}

/// The kinds of happenings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A task appeared in a status.
    Created {
        /// Its first status.
        to: Option<Status>,
    },
    /// A task moved.
    Moved {
        /// The status before.
        from: Option<Status>,
        /// The status after.
        to: Option<Status>,
    },
    /// An agent, or a rule, sent a message.
    Sent {
        /// The receiver.
        to: String,
        /// Its kind.
        kind: Option<String>,
        /// Its urgency.
        priority: Option<u8>,
        /// Its text, cut.
        text: String,
    },
}

impl Handoffs {
    /// Returns what has happened after an event, the oldest first.
    pub fn since(&self, seq: u64) -> impl Iterator<Item = &Happened> {
        self.happened.iter().map(Arc::as_ref).filter(move |happened| happened.seq > seq)
    }

    /// Returns the number of the last event that is not remembered any more; 0 where all are.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns how many hand-offs in a row led to a task; 0 for one that no rule has made.
    pub fn depth(&self, task: &TaskId) -> u32 {
        self.depth.get(task).copied().unwrap_or_default()
    }

    /// Takes in one more event.
    pub(super) fn apply(&mut self, event: &Event) {
        match event.data() {
            Data::HandoffSet(said) => {
                let Some(name) = &said.handoff else { return };
                let on = said.on.clone().unwrap_or_default();
                let before = self.rules.remove(name).unwrap_or_default();
                self.rules.insert(name.clone(), Looked { on, set_at: event.time, upto: event.seq, ..before });
            }
            Data::HandoffFired(said) => {
                let made = said.made.as_ref().and_then(|id| TaskId::parse(id).ok());
                if let (Some(made), Some(depth)) = (made, said.depth) {
                    self.depth.insert(made, u32::try_from(depth).unwrap_or(u32::MAX));
                }
                let Some(looked) = self.looked(said) else { return };
                looked.fired += 1;
                (looked.fired_at, looked.refused) = (Some(event.time), None);
                if let Some(task) = &event.task {
                    *looked.times.entry(task.clone()).or_default() += 1;
                    looked.task = Some(task.clone());
                }
            }
            Data::HandoffRefused(said) => {
                let Some(looked) = self.looked(said) else { return };
                looked.refused = Some(said.reason.clone().unwrap_or_default());
            }
            _ if self.rules.is_empty() => {}
            _ => {
                let Some(what) = what(event) else { return };
                if self.happened.len() >= MOST {
                    let oldest = self.happened.pop_front().expect("there are many");
                    self.lost = oldest.seq;
                }
                let (task, role) = (event.task.clone(), event.role.clone());
                self.happened.push_back(Arc::new(Happened { seq: event.seq, task, role, what }));
            }
        }
    }

    fn looked(&mut self, said: &Handed) -> Option<&mut Looked> {
        let looked = self.rules.get_mut(said.handoff.as_ref()?)?;
        looked.upto = looked.upto.max(said.of?);
        Some(looked)
    }
}

fn what(event: &Event) -> Option<What> {
    match event.data() {
        Data::TaskCreated(change) => Some(What::Created { to: change.to.clone() }),
        Data::TaskMoved(change) | Data::TaskObserved(change) if !change.gone && change.from != change.to => {
            Some(What::Moved { from: change.from.clone(), to: change.to.clone() })
        }
        Data::MessageSent(mail) if event.sealed => Some(What::Sent {
            to: mail.to.clone()?,
            kind: mail.kind.clone(),
            priority: mail.priority,
            text: text::cut(mail.text.as_deref().unwrap_or_default(), LONGEST),
        }),
        _ => None,
    }
}
