//! Questions to a human: what was asked, about which content, until when, and what came of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{Event, Kind, Role, Status, TaskId, seal};

/// What a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// May this be merged?
    Merge,
    /// An agent's question.
    Question,
    /// May more be spent?
    Budget,
    /// May an agent see this text of somebody who is no trusted contributor?
    Intake,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Topic; 4] = [Self::Merge, Self::Question, Self::Budget, Self::Intake];

    /// The word in events and tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Question => "question",
            Self::Budget => "budget",
            Self::Intake => "intake",
        }
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

/// How a decision ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A human said yes.
    Approved,
    /// A human said no.
    Rejected,
    /// A human answered.
    Answered,
    /// Nobody spoke before the deadline; the default holds.
    Expired,
    /// What it was about is no longer so.
    Withdrawn,
}

impl End {
    /// The word in events and messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// The end of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// How.
    pub how: End,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: String,
    /// What they said.
    pub words: String,
}

/// A question to a human.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// `<task>.<n>`, or `role:<name>.<n>` and `day:<date>.<n>` for budgets.
    pub id: String,
    /// What about.
    pub topic: Topic,
    /// Whom about: the id without its number.
    pub subject: String,
    /// The task, if it is about one.
    pub task: Option<TaskId>,
    /// The role that asks, or that it is about.
    pub role: Option<Role>,
    /// The question, in one text.
    pub question: String,
    /// Answers to pick from by number.
    pub options: Vec<String>,
    /// Where a task goes back to when its question is answered.
    pub back: Option<Status>,
    /// What exactly it is about, as a fingerprint.
    pub content: String,
    /// The commit that it is about, where it is about one.
    pub commit: Option<String>,
    /// Who is said to have decided it, in words of the journal that this user's programs did not write. They do not
    /// count.
    pub unsigned: Option<String>,
    /// When it was asked.
    pub asked_at: DateTime<Utc>,
    /// Until when an answer is waited for.
    pub deadline: Option<DateTime<Utc>>,
    /// What holds after that.
    pub default: String,
    /// Its end; none while it is open.
    pub closed: Option<Closed>,
}

impl Decision {
    /// Nobody has decided yet.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    pub(crate) fn ended(&self, how: End) -> bool {
        self.closed.as_ref().is_some_and(|closed| closed.how == how)
    }
}

/// All decisions that are remembered: the open ones, and the last of each subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    all: BTreeMap<String, Decision>,
    latest: BTreeMap<(String, Topic), String>,
    asked: BTreeMap<String, u32>,
}

impl Decisions {
    /// How many of a subject are remembered.
    const KEPT: u32 = 8;

    /// One by its id.
    pub fn get(&self, id: &str) -> Option<&Decision> {
        self.all.get(id)
    }

    /// The last one of a subject about a topic.
    pub fn latest(&self, subject: &str, topic: Topic) -> Option<&Decision> {
        self.latest.get(&(subject.to_owned(), topic)).and_then(|id| self.all.get(id))
    }

    /// Those that wait for a human, the oldest first.
    pub fn open(&self) -> Vec<&Decision> {
        let mut open: Vec<&Decision> = self.all.values().filter(|decision| decision.is_open()).collect();
        open.sort_by(|a, b| (a.asked_at, &a.id).cmp(&(b.asked_at, &b.id)));
        open
    }

    /// The id of the next decision of a subject.
    pub(crate) fn next_id(&self, subject: &str) -> String {
        format!("{subject}.{}", self.asked.get(subject).copied().unwrap_or_default() + 1)
    }

    /// Takes in one more event; answers with the decision that it ended.
    pub(super) fn apply(&mut self, event: &Event) -> Option<&Decision> {
        let id = event.text("decision")?;
        match event.kind {
            Kind::DecisionRequested => self.ask(requested(id, event)?),
            Kind::DecisionResolved | Kind::DecisionExpired => return self.close(id, event),
            _ => {}
        }
        None
    }

    fn ask(&mut self, decision: Decision) {
        let number = decision.id.rsplit_once('.').and_then(|(_, number)| number.parse::<u32>().ok());
        let number = number.unwrap_or_default();
        let asked = self.asked.entry(decision.subject.clone()).or_default();
        *asked = number.max(*asked);
        let old = number.checked_sub(Self::KEPT).map(|old| format!("{}.{old}", decision.subject));
        self.latest.insert((decision.subject.clone(), decision.topic), decision.id.clone());
        if let Some(old) = old
            && self.all.get(&old).is_some_and(|old| !old.is_open())
            && !self.latest.values().any(|latest| *latest == old)
        {
            self.all.remove(&old);
        }
        self.all.insert(decision.id.clone(), decision);
    }

    fn close(&mut self, id: &str, event: &Event) -> Option<&Decision> {
        let decision = self.all.get_mut(id)?;
        if seal::allows(event) && event.kind == Kind::DecisionResolved {
            // A word counts once, and for the content that it was said about.
            let same = event.text("content").is_none_or(|content| content == decision.content);
            if !event.sealed || !same || !decision.is_open() {
                decision.unsigned = Some(event.actor.clone()).filter(|_| decision.is_open());
                return None;
            }
            decision.unsigned = None;
            if let Some(commit) = event.text("commit") {
                decision.commit = Some(commit.into());
            }
        }
        let how = match (event.kind, event.text("verdict")) {
            (Kind::DecisionExpired, Some("withdrawn")) => End::Withdrawn,
            (Kind::DecisionExpired, _) => End::Expired,
            (_, Some("approved")) => End::Approved,
            (_, Some("answered")) => End::Answered,
            _ => End::Rejected,
        };
        let words = event.text("answer").or(event.text("reason")).unwrap_or_default().to_owned();
        decision.closed = Some(Closed { how, at: event.time, by: event.actor.clone(), words });
        Some(decision)
    }
}

fn requested(id: &str, event: &Event) -> Option<Decision> {
    let topic = Topic::ALL.into_iter().find(|topic| event.text("kind") == Some(topic.word()))?;
    let options = event.data.get("options").and_then(Value::as_array);
    Some(Decision {
        id: id.into(),
        topic,
        subject: id.rsplit_once('.')?.0.into(),
        task: event.task.clone(),
        role: event.role.clone(),
        question: event.text("question").unwrap_or_default().into(),
        options: options.into_iter().flatten().filter_map(|text| text.as_str().map(String::from)).collect(),
        back: event.text("back").map(Status::new),
        content: event.text("content").unwrap_or_default().into(),
        commit: event.text("commit").map(String::from),
        unsigned: None,
        asked_at: event.time,
        deadline: event.text("deadline").and_then(|time| time.parse().ok()),
        default: event.text("default").unwrap_or("deny").into(),
        closed: None,
    })
}
