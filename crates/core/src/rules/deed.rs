//! Deeds of the rules of a configuration: of schedules by the clock, of hand-offs on what happens.

use crate::{
    Data, EventDraft, Status, TaskId, Workflow,
    event::{Actor, payload::Mail},
    mail,
    manual::Wanted,
};

/// A deed: each part that is there, in one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deed {
    /// A message that is sent.
    pub message: Option<Note>,
    /// A task that is made.
    pub task: Option<Wanted>,
    /// The status that the task it is about is moved to.
    pub to: Option<Status>,
}

impl Deed {
    /// Says in short what it does.
    pub fn words(&self) -> String {
        let task = self.task.as_ref().map(|task| format!("makes \"{}\"", task.title));
        let moves = self.to.as_ref().map(|to| format!("moves it to `{to}`"));
        let tells = self.message.as_ref().map(|note| format!("tells {}", note.to));
        let all: Vec<String> = [moves, task, tells].into_iter().flatten().collect();
        all.join(", ")
    }
}

/// A message of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The receiver: a role, `human`, `all`.
    pub to: String,
    /// The words.
    pub text: String,
    /// The kind, in one word.
    pub kind: Option<String>,
    /// Its urgency, 1 (first) to 10.
    pub priority: Option<u8>,
}

impl Note {
    /// Says what is wrong with its receiver, if anything is.
    pub fn wrong_receiver(&self, workflow: &Workflow) -> Option<String> {
        let known = mail::receivers(workflow);
        let is_known = self.to == mail::ALL || known.contains(&self.to.as_str());
        (!is_known).then(|| format!("is `{}`, and nobody has that name; there are: {}", self.to, known.join(", ")))
    }

    /// Sends it. It stands in the journal with what the rule did besides, and is put into mailboxes from there.
    pub(super) fn send(&self, from: &str, task: Option<&TaskId>) -> EventDraft {
        let mail = Mail {
            from: Some(from.into()),
            what: Some("message".into()),
            to: Some(self.to.clone()),
            text: Some(self.text.clone()),
            kind: self.kind.clone(),
            priority: self.priority,
            ..Mail::default()
        };
        let mut sent = EventDraft::new(Data::MessageSent(mail), Actor::Policy(from.into()));
        sent.task = task.cloned();
        sent
    }
}
