//! A message.

use super::Moment;
use oodatcaa_core::{
    TaskId,
    state::mail::{Letter, Standing},
};

views! {
    /// A message, and how far it has come.
    pub struct MessageView = "oodatcaa/message.v1" {
        /// Its name: that of its mailbox and its number there.
        pub id: String,
        /// The receiver.
        pub to: String,
        /// The sender: a role, or `human:NAME`.
        pub from: String,
        /// The kind, in one word of the sender's.
        pub kind: Option<String>,
        /// The words.
        pub text: String,
        /// Its urgency, 1 (first) to 10.
        pub priority: u8,
        /// The thread that it belongs to.
        pub thread: Option<String>,
        /// The task that it is about.
        pub task: Option<TaskId>,
        /// The time at which it was sent.
        pub sent_at: Moment,
        /// The time after which nobody gets it any more.
        pub expires_at: Option<Moment>,
        /// `queued`, `delivered`, `drained`, `expired`, `recalled` or `failed`.
        pub state: &'static str,
        /// Whoever took it for the receiver.
        pub taken_by: Option<String>,
        /// True if it was delivered more than once, because whoever took it died.
        pub again: bool,
        /// The reason why it failed.
        pub why: Option<String>,
    }
}

impl MessageView {
    /// Describes a letter of a mailbox.
    pub fn of(mailbox: &str, letter: &Letter) -> Self {
        let (taken_by, again) = match &letter.state {
            Standing::Delivered { to, times, .. } => (Some(to.tag.clone()), *times > 1),
            _ => (None, false),
        };
        let why = if let Standing::Failed { why } = &letter.state { Some(why.clone()) } else { None };
        Self {
            id: format!("{mailbox}-{}", letter.number),
            to: mailbox.into(),
            from: letter.from.clone(),
            kind: letter.kind.clone(),
            text: letter.text.clone(),
            priority: letter.priority,
            thread: letter.thread.clone(),
            task: letter.task.clone(),
            sent_at: letter.sent_at.into(),
            expires_at: letter.expires_at.map(Into::into),
            state: letter.state.as_str(),
            taken_by,
            again,
            why,
        }
    }
}
