//! Facts that happened, as CloudEvents 1.0.
//!
//! A decision drafts an event; the commit that makes it true gives it its number and its time.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Lease, Role, TaskId, Token};

mod kind;
mod lenient;
pub mod payload;
mod usage;

pub use kind::{Data, Kind};
pub use usage::Usage;

/// The member of `data` that holds the seal of an event.
pub(crate) const SEAL: &str = "seal";

/// The one who decided; the truth, never a guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// `human:<name>`.
    Human(String),
    /// `worker:<owner>`.
    Worker(String),
    /// `policy:<rule>`, e.g. `policy:coordination`.
    Policy(String),
    /// A declared deadline passed.
    Timeout,
    /// Somebody who did not say: an editor, `jq`, an agent.
    Outside,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Human(name) => write!(f, "human:{name}"),
            Self::Worker(owner) => write!(f, "worker:{owner}"),
            Self::Policy(rule) => write!(f, "policy:{rule}"),
            Self::Timeout => f.write_str("timeout"),
            Self::Outside => f.write_str("outside"),
        }
    }
}

/// An event as a decision drafts it.
#[must_use = "an event is told by the change set that takes it in"]
#[derive(Clone, Debug, PartialEq)]
pub struct EventDraft {
    /// The kind of event, and its data.
    pub data: Data,
    /// The one who decided.
    pub actor: Actor,
    /// The task it is about.
    pub task: Option<TaskId>,
    /// The role it is about.
    pub role: Option<Role>,
    /// The try in the present stage.
    pub attempt: Option<u32>,
    /// The fencing token.
    pub token: Option<Token>,
    /// `true` when the simulated agent did it.
    pub simulated: bool,
}

impl EventDraft {
    /// Drafts an event about nothing in particular yet.
    pub fn new(data: Data, actor: Actor) -> Self {
        Self { data, actor, task: None, role: None, attempt: None, token: None, simulated: false }
    }

    /// Drafts an event about an attempt, by its worker.
    pub fn of(lease: &Lease, data: Data) -> Self {
        Self::new(data, Actor::Worker(lease.owner.clone())).lease(lease)
    }

    /// Returns what happened.
    pub fn kind(&self) -> Kind {
        self.data.kind()
    }

    /// Says that it is about this task.
    pub fn task(mut self, task: &TaskId) -> Self {
        self.task = Some(task.clone());
        self
    }

    /// Says that it is about this role.
    pub fn role(mut self, role: &Role) -> Self {
        self.role = Some(role.clone());
        self
    }

    /// Says that it is about the attempt of this lease.
    pub fn lease(mut self, lease: &Lease) -> Self {
        self.task = Some(lease.task_id.clone());
        self.role = Some(lease.role.clone());
        self.attempt = Some(lease.attempt);
        self.token = Some(lease.token);
        self.simulated = lease.simulated;
        self
    }
}

/// A line of the journal; an [`Event`] once its `data` has been read in the form that its `type` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line<D> {
    /// Always `1.0`.
    pub specversion: String,
    /// Unique within `source`: the sequence number as text.
    pub id: String,
    /// `//<host>/<project name>`.
    pub source: String,
    #[serde(rename = "type")]
    kind: Kind,
    /// `task/<id>`, `role/<name>` or `queue`.
    pub subject: String,
    /// Wall clock, UTC.
    pub time: DateTime<Utc>,
    /// Always `application/json`.
    #[serde(default)]
    pub datacontenttype: String,
    /// Increases by 1.
    pub seq: u64,
    /// The one who decided.
    pub actor: String,
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The try in the present stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The fencing token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The simulated agent did it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    #[serde(default)]
    data: D,
    /// Our own programs wrote it for this user; known of those events only that allow something.
    #[serde(skip)]
    pub sealed: bool,
}

/// An event as it stands in the journal.
pub type Event = Line<Data>;

impl Event {
    /// Gives a draft its number, time and source.
    pub fn number(draft: EventDraft, seq: u64, time: DateTime<Utc>, source: &str) -> Self {
        let subject = match (&draft.task, &draft.role) {
            (Some(task), _) => format!("task/{task}"),
            (None, Some(role)) => format!("role/{role}"),
            (None, None) => "queue".into(),
        };
        Self {
            specversion: "1.0".into(),
            id: seq.to_string(),
            source: source.into(),
            kind: draft.kind(),
            subject,
            time,
            datacontenttype: "application/json".into(),
            seq,
            actor: draft.actor.to_string(),
            task: draft.task,
            role: draft.role,
            attempt: draft.attempt,
            token: draft.token,
            simulated: draft.simulated,
            data: draft.data,
            sealed: true,
        }
    }

    /// Reads a line of the journal. Fails for what is no event, or one of a kind that this version does not know.
    pub fn parse(line: &[u8]) -> serde_json::Result<Self> {
        // `type` may stand behind `data`, so that the text of it is kept until both are known.
        let line: Line<Option<&RawValue>> = serde_json::from_slice(line)?;
        Ok(Self {
            data: Data::read(line.kind, line.data.map_or("{}", RawValue::get))?,
            specversion: line.specversion,
            id: line.id,
            source: line.source,
            kind: line.kind,
            subject: line.subject,
            time: line.time,
            datacontenttype: line.datacontenttype,
            seq: line.seq,
            actor: line.actor,
            task: line.task,
            role: line.role,
            attempt: line.attempt,
            token: line.token,
            simulated: line.simulated,
            sealed: line.sealed,
        })
    }

    /// Returns what happened.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns what happened, with what the event says of it.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Returns the same event with other `data`.
    #[must_use]
    pub(crate) fn with_data(self, data: Data) -> Self {
        Self { kind: data.kind(), data, ..self }
    }

    /// Puts a seal on it.
    pub fn set_seal(&mut self, seal: String) {
        self.data.set_seal(seal);
        self.sealed = true;
    }

    /// Tells whether a human did it, by a verb of ours.
    pub(crate) fn is_by_human(&self) -> bool {
        self.actor.starts_with("human:")
    }
}

#[cfg(test)]
mod tests {
    use super::{payload::TaskChange, *};
    use crate::Status;

    #[test]
    fn a_kind_survives_its_text() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert_eq!(format!("oodatcaa.{kind}.v1").parse(), Ok(*kind));
        }
        assert!("task.exploded".parse::<Kind>().is_err());
    }

    #[test]
    fn an_event_survives_its_json() {
        let moved = TaskChange { from: Some(Status::READY), ..TaskChange::default() };
        let draft = EventDraft::new(Data::TaskMoved(moved), Actor::Worker("w@h".into()))
            .task(&TaskId::parse("P001").expect("a good id"));
        let event = Event::number(draft, 7, DateTime::UNIX_EPOCH, "//h/p");
        let json = serde_json::to_string(&event).expect("an event is JSON");
        assert!(json.contains(r#""type":"oodatcaa.task.moved.v1""#), "{json}");
        assert!(json.ends_with(r#""data":{"from":"ready"}}"#), "{json}");
        let read = Event::parse(json.as_bytes()).expect("reads back");
        assert!(!read.sealed, "what is read is believed by its seal only");
        assert_eq!(read, Event { sealed: false, ..event });
    }

    fn read(kind: &str, data: &str) -> serde_json::Result<Event> {
        let line = format!(
            r#"{{"data":{data},"specversion":"1.0","id":"1","source":"//h/p","type":"oodatcaa.{kind}.v1","more":[],
            "subject":"queue","time":"2026-01-05T08:00:00Z","seq":1,"actor":"outside"}}"#
        );
        Event::parse(line.as_bytes())
    }

    #[test]
    fn a_member_of_a_wrong_type_counts_as_absent_and_an_unknown_one_stays() {
        let data = r#"{"outcome":"done","class":7,"charged":"yes","later":{"a":[1]},"cost_usd":"dear","turns":3}"#;
        let event = read("attempt.finished", data).expect("an event all the same");
        let Data::AttemptFinished(ended) = event.data() else { panic!("{event:?}") };
        assert_eq!((ended.outcome.as_deref(), &ended.class, ended.charged), (Some("done"), &None, false));
        assert_eq!((ended.usage.cost_usd, ended.usage.turns), (None, Some(3)));
        let written = serde_json::to_string(&event).expect("JSON");
        assert!(written.ends_with(r#""data":{"outcome":"done","turns":3,"later":{"a":[1]}}}"#), "{written}");
        let event = read("worker.started", r#"{"pools":["a",1,"b"],"lacks":[]}"#).expect("an event");
        let Data::WorkerStarted(worker) = event.data() else { panic!("{event:?}") };
        assert_eq!(worker.pools.as_ref().map(|pools| pools.0.len()), Some(2));
    }

    #[test]
    fn a_kind_of_another_version_is_no_event_of_ours() {
        assert!(read("task.exploded", "{}").is_err());
        assert!(read("task.moved", "7").is_err());
        assert!(read("task.moved", "null").is_ok(), "nothing is said of it");
    }
}
