//! The kinds of events, and what each of them says.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::payload::{
    Asked, Bare, Claimed, Crash, Decided, Ended, GateRun, Handed, Landing, Mail, Paused, Quota, Readable, Rescued,
    Resumed, Sandboxed, Spending, SprintChange, Started, Step, TaskChange, Timed, Unreadable, Worker,
};
use crate::words::words;

/// The loss when a power cut takes an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something that others build on: it is on the disk before anything goes on.
    Truth,
    /// News of what goes on: it reaches the disk with the next change.
    News,
}

macro_rules! kinds {
    ($($name:ident($payload:ty) = $text:literal, $weight:ident: $doc:literal;)*) => {
        words! {
            /// The kind of an event: the middle of a CloudEvents `type`, `oodatcaa.<noun>.<verb>.v1`.
            pub enum Kind;

            /// Returns what is lost with it.
            weight: Weight { $($name = $text, $weight: $doc;)* }
        }

        /// The data of an event, by its kind.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Data {
            $(#[doc = $doc] $name($payload),)*
        }

        impl Data {
            /// Returns what happened.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => Kind::$name,)*
                }
            }

            /// Reads what an event of this kind says, a JSON object.
            pub(super) fn read(kind: Kind, json: &str) -> serde_json::Result<Self> {
                match kind {
                    $(Kind::$name => serde_json::from_str(json).map(Self::$name),)*
                }
            }

            fn rest_mut(&mut self) -> &mut Map<String, Value> {
                match self {
                    $(Self::$name(payload) => &mut payload.rest,)*
                }
            }
        }
    };
}

kinds! {
    TaskCreated(TaskChange) = "task.created", Truth: "A task appeared, by a planner, an operator or a hand edit.";
    TaskMoved(TaskChange) = "task.moved", Truth: "We moved a task.";
    TaskUpdated(TaskChange) = "task.updated", Truth: "We changed other members of a task.";
    TaskObserved(TaskChange) = "task.observed", Truth: "Others changed a task's status, or removed it.";
    LeaseAcquired(Claimed) = "lease.acquired", Truth: "A task was claimed.";
    LeaseRenewedLate(Bare) = "lease.renewed_late", News: "A heartbeat came after the TTL, and nobody had taken over.";
    LeaseRescued(Rescued) = "lease.rescued", Truth: "A dead or lost owner's task was given back.";
    AttemptStarted(Started) = "attempt.started", News: "An agent was started; of a short run it is told together with its end.";
    AttemptFinished(Ended) = "attempt.finished", Truth: "An attempt ended.";
    AttemptSuperseded(Ended) = "attempt.superseded", Truth: "An attempt ended after its token had been replaced; its result was kept, not applied.";
    SandboxApplied(Sandboxed) = "sandbox.applied", News: "An agent ran confined.";
    GateFinished(GateRun) = "gate.finished", News: "A gate ran.";
    MergeLanding(Landing) = "merge.landing", Truth: "A merge is about to become the target; what is said after this comes too late for it.";
    DecisionRequested(Asked) = "decision.requested", Truth: "A human is asked.";
    DecisionResolved(Decided) = "decision.resolved", Truth: "A human answered.";
    DecisionExpired(Decided) = "decision.expired", Truth: "Nobody answered in time, or what was asked no longer holds.";
    MessageSent(Mail) = "message.sent", Truth: "A message was sent; or an agent decided something that others are to know.";
    MessageDelivered(Step) = "message.delivered", Truth: "Somebody took a message to give it to its receiver.";
    MessageDrained(Step) = "message.drained", Truth: "Its receiver has a message.";
    MessageExpired(Step) = "message.expired", Truth: "Nobody got a message in its time.";
    MessageRecalled(Step) = "message.recalled", Truth: "Its sender took a message back.";
    MessageFailed(Step) = "message.failed", Truth: "A message could not be delivered.";
    WorkerStarted(Worker) = "worker.started", News: "A worker process is ready.";
    WorkerStopping(Worker) = "worker.stopping", News: "A worker claims nothing more.";
    WorkerStopped(Worker) = "worker.stopped", News: "A worker left.";
    WorkerCrashed(Crash) = "worker.crashed", News: "A worker crashed, and its supervisor starts it again.";
    WorkerFailed(Crash) = "worker.failed", Truth: "A worker crashed too often, or cannot run: it is given up.";
    WorkerPaused(Paused) = "worker.paused", Truth: "A role claims nothing until a human resumes it.";
    WorkerResumed(Resumed) = "worker.resumed", Truth: "A paused role works again.";
    AgentLimited(Quota) = "agent.limited", Truth: "An agent's quota is used up.";
    AgentResumed(Quota) = "agent.resumed", Truth: "An agent's quota is back.";
    QueueInvalid(Unreadable) = "queue.invalid", Truth: "The queue file cannot be read.";
    QueueValid(Readable) = "queue.valid", Truth: "The queue file can be read; `statuses` is the baseline of what it holds.";
    SprintCompleted(SprintChange) = "sprint.completed", Truth: "A sprint was completed, or closed with what was open.";
    SprintPlanned(SprintChange) = "sprint.planned", Truth: "A sprint got a task that plans it, and with it perhaps its goal.";
    SprintStarted(SprintChange) = "sprint.started", Truth: "A sprint began; what is not in it left the queue.";
    ScheduleSet(Timed) = "schedule.set", Truth: "A schedule counts from now on: it is new, or its times were changed.";
    ScheduleFired(Timed) = "schedule.fired", Truth: "A schedule made its task.";
    ScheduleMissed(Timed) = "schedule.missed", Truth: "Runs of a schedule made no task.";
    SchedulePaused(Timed) = "schedule.paused", Truth: "A person lets a schedule fire no more.";
    ScheduleResumed(Timed) = "schedule.resumed", Truth: "A paused schedule fires again, and counts from now on.";
    HandoffSet(Handed) = "handoff.set", Truth: "A hand-off counts from now on: it is new, or what it answers was changed.";
    HandoffFired(Handed) = "handoff.fired", Truth: "A hand-off answered what had happened.";
    HandoffRefused(Handed) = "handoff.refused", Truth: "A hand-off could not do what it should have.";
    BudgetExceeded(Spending) = "budget.exceeded", Truth: "A budget is used up, or nearly.";
}

impl Kind {
    /// Tells whether nobody builds on such an event, so that it may reach the disk with the next change.
    pub fn is_news(self) -> bool {
        self.weight() == Weight::News
    }
}

impl FromStr for Kind {
    type Err = String;

    /// Reads `noun.verb` or the whole `oodatcaa.noun.verb.v1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let short = text.strip_prefix("oodatcaa.").and_then(|t| t.strip_suffix(".v1")).unwrap_or(text);
        Kind::of_word(short).ok_or_else(|| format!("unknown event type `{text}`"))
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

impl Data {
    /// Returns what it says of a task that appeared, moved or changed.
    pub fn task_change(&self) -> Option<&TaskChange> {
        use Data::{TaskCreated, TaskMoved, TaskObserved, TaskUpdated};
        match self {
            TaskCreated(change) | TaskMoved(change) | TaskUpdated(change) | TaskObserved(change) => Some(change),
            _ => None,
        }
    }

    /// Returns everything that it says, as it stands in the journal.
    pub fn members(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => members,
            _ => Map::new(),
        }
    }

    /// Returns the seal, where it bears one.
    pub(crate) fn seal(&self) -> Option<String> {
        self.members().get(super::SEAL)?.as_str().map(String::from)
    }

    /// Puts a seal on it.
    pub fn set_seal(&mut self, seal: String) {
        self.rest_mut().insert(super::SEAL.into(), seal.into());
    }
}
