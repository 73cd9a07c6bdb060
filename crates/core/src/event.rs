//! Facts that happened, as CloudEvents 1.0 (contract section 8).
//!
//! A decision drafts an event; the commit that makes it true gives it its number and its time.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Role, TaskId, Token};

macro_rules! kinds {
    ($($name:ident = $text:literal: $doc:literal),* $(,)?) => {
        /// What happened; the middle of a CloudEvents `type`, `oodatcaa.<noun>.<verb>.v1`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $(#[doc = $doc] $name,)*
        }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &[Kind] = &[$(Kind::$name),*];

            /// `noun.verb`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Kind::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    TaskCreated = "task.created": "A task appeared, by a planner, an operator or a hand edit.",
    TaskMoved = "task.moved": "We moved a task; `data.from`, `data.to`, `data.reason`.",
    TaskUpdated = "task.updated": "We changed other members of a task.",
    TaskObserved = "task.observed": "Somebody else changed a task's status, or removed it.",
    LeaseAcquired = "lease.acquired": "A claim: `owner`, `ttl_seconds`.",
    LeaseRenewedLate = "lease.renewed_late": "A heartbeat came after the TTL, and nobody had taken over.",
    LeaseRescued = "lease.rescued": "A dead or lost owner's task was given back.",
    LeaseLost = "lease.lost": "An owner found its lease gone or taken.",
    AttemptStarted = "attempt.started": "An agent was started, `at` that time; of a short run it is told together with its end.",
    AttemptFinished = "attempt.finished": "An attempt ended: `outcome`, `class`, `charged`, `reason`, `seconds`.",
    AttemptSuperseded = "attempt.superseded": "An attempt ended after its token had been replaced; its result was kept, not applied.",
    GateFinished = "gate.finished": "A gate ran: `gate`, `ok`, `exit`.",
    MergeLanding = "merge.landing": "A merge is about to become the target, as `commit`; what is said from now on is too late for it.",
    DecisionRequested = "decision.requested": "A human is asked.",
    DecisionResolved = "decision.resolved": "A human answered.",
    DecisionExpired = "decision.expired": "Nobody answered in time.",
    MessageSent = "message.sent": "Mail was sent.",
    MessageDelivered = "message.delivered": "Mail reached its reader.",
    MessageDrained = "message.drained": "Mail was read.",
    MessageExpired = "message.expired": "Mail ran out of time.",
    WorkerStarted = "worker.started": "A worker process is ready.",
    WorkerStopping = "worker.stopping": "A worker claims nothing more.",
    WorkerStopped = "worker.stopped": "A worker left.",
    WorkerPaused = "worker.paused": "A role claims nothing until a human resumes it: `reason`, `class`.",
    WorkerResumed = "worker.resumed": "A paused role works again.",
    AgentLimited = "agent.limited": "An agent's quota is used up.",
    AgentResumed = "agent.resumed": "An agent's quota is back.",
    QueueInvalid = "queue.invalid": "The queue file cannot be read: `line`, `column`, `message`.",
    QueueValid = "queue.valid": "The queue file can be read; `statuses` is the baseline of what stands in it.",
    BudgetExceeded = "budget.exceeded": "A budget is used up.",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A `type` that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown event type `{0}`")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Reads `noun.verb` or the whole `oodatcaa.noun.verb.v1`.
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let short = text.strip_prefix("oodatcaa.").and_then(|t| t.strip_suffix(".v1")).unwrap_or(text);
        Kind::ALL.iter().copied().find(|kind| kind.as_str() == short).ok_or_else(|| UnknownKind(text.into()))
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("oodatcaa.{self}.v1"))
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Who decided; the truth, never a guess.
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
#[derive(Clone, Debug, PartialEq)]
pub struct EventDraft {
    /// What happened.
    pub kind: Kind,
    /// Who decided.
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
    /// The rest.
    pub data: Map<String, Value>,
}

impl EventDraft {
    /// A draft about nothing in particular yet.
    pub fn new(kind: Kind, actor: Actor) -> Self {
        Self { kind, actor, task: None, role: None, attempt: None, token: None, simulated: false, data: Map::new() }
    }

    /// About this task.
    #[must_use]
    pub fn task(mut self, task: &TaskId) -> Self {
        self.task = Some(task.clone());
        self
    }

    /// About this role.
    #[must_use]
    pub fn role(mut self, role: &Role) -> Self {
        self.role = Some(role.clone());
        self
    }

    /// About the attempt of this lease.
    #[must_use]
    pub fn lease(mut self, lease: &crate::Lease) -> Self {
        self.task = Some(lease.task_id.clone());
        self.role = Some(lease.role.clone());
        self.attempt = Some(lease.attempt);
        self.token = Some(lease.token);
        self.simulated = lease.simulated;
        self
    }

    /// A claim: all of it stands in the lease.
    pub(crate) fn claimed(lease: &crate::Lease) -> Self {
        Self::new(Kind::LeaseAcquired, Actor::Worker(lease.owner.clone()))
            .lease(lease)
            .with("owner", lease.owner.as_str())
            .with("ttl_seconds", lease.ttl_seconds)
            .with("by", lease.by.as_str())
            .with("pool", lease.pool.as_str())
            .with("probe", Some(true).filter(|_| lease.probe))
            .with("run", Some(lease.run.as_str()).filter(|run| !run.is_empty()))
    }

    /// One more fact; an absent value is left out.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.data.insert(key.into(), value);
        }
        self
    }

    /// A text of `data`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.data.get(key).and_then(Value::as_str)
    }
}

/// An event as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Always `1.0`.
    pub specversion: String,
    /// Unique within `source`: the sequence number as text.
    pub id: String,
    /// `//<host>/<project name>`.
    pub source: String,
    /// `oodatcaa.<noun>.<verb>.v1`.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// `task/<id>`, `role/<name>` or `queue`.
    pub subject: String,
    /// Wall clock, UTC.
    pub time: DateTime<Utc>,
    /// Always `application/json`.
    #[serde(default)]
    pub datacontenttype: String,
    /// Increases by 1 (R24).
    pub seq: u64,
    /// Who decided.
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
    /// The rest.
    #[serde(default)]
    pub data: Map<String, Value>,
    /// Our own programs wrote it for this user; known of those events only that allow something.
    #[serde(skip)]
    pub sealed: bool,
}

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
            kind: draft.kind,
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

    /// A text fact of `data`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.data.get(key).and_then(Value::as_str)
    }

    /// A yes-or-no fact of `data`; absent is no.
    pub fn flag(&self, key: &str) -> bool {
        self.data.get(key).and_then(Value::as_bool).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let draft = EventDraft::new(Kind::TaskMoved, Actor::Worker("w@h".into()))
            .task(&TaskId::parse("P001").expect("a good id"))
            .with("from", "ready")
            .with("absent", Value::Null);
        let event = Event::number(draft, 7, DateTime::UNIX_EPOCH, "//h/p");
        let json = serde_json::to_string(&event).expect("an event is JSON");
        assert!(json.contains(r#""type":"oodatcaa.task.moved.v1""#), "{json}");
        assert!(!json.contains("absent"), "{json}");
        let read = serde_json::from_str::<Event>(&json).expect("reads back");
        assert!(!read.sealed, "what is read is believed by its seal only");
        assert_eq!(read, Event { sealed: false, ..event });
    }
}
