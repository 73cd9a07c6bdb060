//! Questions to a human: what was asked, about which content, until when, and what came of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    Data, Event, Kind, Role, Status, TaskId,
    event::payload::{Asked, Decided},
    seal,
    words::words,
};

words! {
    /// The topic of a decision.
    pub enum Topic {
        Merge = "merge": "May this be merged?";
        Question = "question": "An agent's question.";
        Budget = "budget": "May more be spent?";
        Intake = "intake": "May an agent see this text, which is not by a trusted contributor?";
    }
}

words! {
    /// The end of a decision.
    pub enum End {
        Approved = "approved": "A human said yes.";
        Rejected = "rejected": "A human said no.";
        Answered = "answered": "A human answered.";
        Expired = "expired": "Nobody spoke before the deadline; the default holds.";
        Withdrawn = "withdrawn": "What was asked no longer applies.";
    }
}

/// The end of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The kind of end.
    pub how: End,
    /// The time.
    pub at: DateTime<Utc>,
    /// The one who ended it.
    pub by: String,
    /// Their words.
    pub words: String,
}

/// A question to a human.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// `<task>.<n>`, or `role:<name>.<n>` and `day:<date>.<n>` for budgets.
    pub id: String,
    /// Its topic.
    pub topic: Topic,
    /// The one it is about: the id without its number.
    pub subject: String,
    /// The task, if it is about one.
    pub task: Option<TaskId>,
    /// The role that asks, or that it is about.
    pub role: Option<Role>,
    /// The question, in one text.
    pub question: String,
    /// Answers to pick from by number.
    pub options: Vec<String>,
    /// The status that a task goes back to when its question is answered.
    pub back: Option<Status>,
    /// The fingerprint of its exact subject.
    pub content: String,
    /// The commit that it is about, where it is about one.
    pub commit: Option<String>,
    /// The name of whoever decided it according to words of the journal that this user's programs did not write, and
    /// that do not count.
    pub unsigned: Option<String>,
    /// The time at which it was asked.
    pub asked_at: DateTime<Utc>,
    /// The deadline for an answer.
    pub deadline: Option<DateTime<Utc>>,
    /// The answer that holds after that.
    pub default: String,
    /// Its end; none while it is open.
    pub closed: Option<Closed>,
}

impl Decision {
    /// Tells whether nobody has decided yet.
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
    /// The number of decisions of a subject that are remembered.
    const KEPT: u32 = 8;

    /// Returns the decision of this id.
    pub fn get(&self, id: &str) -> Option<&Decision> {
        self.all.get(id)
    }

    /// Returns the last decision of a subject about a topic.
    pub fn latest(&self, subject: &str, topic: Topic) -> Option<&Decision> {
        self.latest.get(&(subject.to_owned(), topic)).and_then(|id| self.all.get(id))
    }

    /// Returns the decisions that wait for a human, the oldest first.
    pub fn open(&self) -> Vec<&Decision> {
        let mut open: Vec<&Decision> = self.all.values().filter(|decision| decision.is_open()).collect();
        open.sort_by(|a, b| (a.asked_at, &a.id).cmp(&(b.asked_at, &b.id)));
        open
    }

    /// Returns the id of the next decision of a subject.
    pub(crate) fn next_id(&self, subject: &str) -> String {
        format!("{subject}.{}", self.asked.get(subject).copied().unwrap_or_default() + 1)
    }

    /// Takes in one more event; returns the decision that it ended, and what was said.
    pub(super) fn apply<'a>(&mut self, event: &'a Event) -> Option<(&Decision, &'a Decided)> {
        match event.data() {
            Data::DecisionRequested(asked) => {
                self.ask(requested(asked, event)?);
                None
            }
            Data::DecisionResolved(decided) | Data::DecisionExpired(decided) => {
                Some((self.close(decided, event)?, decided))
            }
            _ => None,
        }
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

    fn close(&mut self, decided: &Decided, event: &Event) -> Option<&Decision> {
        let decision = self.all.get_mut(decided.decision.as_deref()?)?;
        let expired = event.kind() == Kind::DecisionExpired;
        if seal::allows(event) && !expired {
            // A word counts once, and for the content that it was said about.
            let same = decided.content.as_ref().is_none_or(|content| *content == decision.content);
            if !event.sealed || !same || !decision.is_open() {
                decision.unsigned = Some(event.actor.clone()).filter(|_| decision.is_open());
                return None;
            }
            decision.unsigned = None;
            if let Some(commit) = &decided.commit {
                decision.commit = Some(commit.clone());
            }
        }
        let how = match decided.verdict.as_deref() {
            Some("withdrawn") if expired => End::Withdrawn,
            _ if expired => End::Expired,
            Some("approved") => End::Approved,
            Some("answered") => End::Answered,
            _ => End::Rejected,
        };
        let words = decided.answer.as_ref().or(decided.reason.as_ref()).cloned().unwrap_or_default();
        decision.closed = Some(Closed { how, at: event.time, by: event.actor.clone(), words });
        Some(decision)
    }
}

fn requested(asked: &Asked, event: &Event) -> Option<Decision> {
    let id = asked.decision.as_deref()?;
    let topic = Topic::of_word(asked.kind.as_deref()?)?;
    Some(Decision {
        id: id.into(),
        topic,
        subject: id.rsplit_once('.')?.0.into(),
        task: event.task.clone(),
        role: event.role.clone(),
        question: asked.question.clone().unwrap_or_default(),
        options: asked.options.0.clone(),
        back: asked.back.clone(),
        content: asked.content.clone().unwrap_or_default(),
        commit: asked.commit.clone(),
        unsigned: None,
        asked_at: event.time,
        deadline: asked.deadline.as_ref().and_then(|time| time.parse().ok()),
        default: asked.default.clone().unwrap_or_else(|| "deny".into()),
        closed: None,
    })
}
