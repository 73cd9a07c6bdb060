//! One mailbox: the letters for one role, persona or person, folded from the lines of its file.
//!
//! ```text
//!   queued ──take──► delivered ──drained──► drained
//!     │ ▲               │
//!     │ └── the taker died: delivered again, marked so
//!     └──► expired, recalled, failed
//! ```
//!
//! Each step is a line by whoever saw it happen. A letter ends once. Only what our own programs sent for this user is a
//! letter.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, Duration, Utc};

use crate::{Data, Event, Owner, TaskId, event::payload::Step};

/// The urgency of a letter that says none; 1 is the highest, 10 the lowest.
pub const USUAL: u8 = 5;

/// The letters that have ended and are still known by their state.
const ENDED: usize = 1_000;

/// The keys that are still known, by which nothing is sent twice.
const KEYS: usize = 8_192;

/// A letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its number in its mailbox.
    pub number: u64,
    /// The sender: a role, a persona, or `human:NAME`.
    pub from: String,
    /// The kind, in one word of the sender's, e.g. `spec_created`.
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
    pub sent_at: DateTime<Utc>,
    /// The time after which nobody gets it any more.
    pub expires_at: Option<DateTime<Utc>>,
    /// Its state.
    pub state: Standing,
}

/// The state of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits.
    Queued,
    /// Somebody has taken it, and has not said yet that the receiver has it.
    Delivered {
        /// Whoever took it.
        to: Owner,
        /// The time.
        at: DateTime<Utc>,
        /// The number of deliveries.
        times: u32,
    },
    /// The receiver has it.
    Drained {
        /// The time.
        at: DateTime<Utc>,
    },
    /// Its time was over.
    Expired,
    /// Its sender took it back.
    Recalled,
    /// It could not be delivered, for this reason.
    Failed {
        /// The reason, in words.
        why: String,
    },
}

impl Standing {
    /// Returns the word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered { .. } => "delivered",
            Self::Drained { .. } => "drained",
            Self::Expired => "expired",
            Self::Recalled => "recalled",
            Self::Failed { .. } => "failed",
        }
    }

    /// Tells whether nothing more happens to the letter.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Queued | Self::Delivered { .. })
    }
}

/// A mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// The last line's number; 0 for an empty file.
    pub seq: u64,
    /// The letters that somebody still has to get, by number.
    open: BTreeMap<u64, Letter>,
    /// Letters that have ended, the oldest first.
    ended: VecDeque<Letter>,
    /// The keys under which letters were sent, the oldest first.
    keys: VecDeque<String>,
    known: BTreeSet<String>,
}

impl Mailbox {
    /// Takes in one more line.
    pub fn apply(&mut self, event: &Event) {
        self.seq = self.seq.max(event.seq);
        match event.data() {
            // What a clone brought, or an agent wrote into the file, speaks for nobody.
            Data::MessageSent(_) if !event.sealed => {}
            Data::MessageSent(mail) => {
                if let Some(key) = &mail.key {
                    self.remember(key);
                }
                let text = mail.text.clone().unwrap_or_default();
                let letter = Letter {
                    number: event.seq,
                    from: mail.from.clone().unwrap_or_default(),
                    kind: mail.kind.clone(),
                    text,
                    priority: mail.priority.map_or(USUAL, |priority| priority.clamp(1, 10)),
                    thread: mail.thread.clone(),
                    task: event.task.clone(),
                    sent_at: event.time,
                    expires_at: mail.ttl_seconds.and_then(|ttl| {
                        event.time.checked_add_signed(Duration::try_seconds(i64::try_from(ttl).ok()?)?)
                    }),
                    state: Standing::Queued,
                };
                self.open.insert(letter.number, letter);
            }
            Data::MessageDelivered(step) => {
                let Some(letter) = step.letter.and_then(|number| self.open.get_mut(&number)) else { return };
                let times = match &letter.state {
                    Standing::Delivered { times, .. } => times + 1,
                    _ => 1,
                };
                letter.state = Standing::Delivered { to: owner(step), at: event.time, times };
            }
            Data::MessageDrained(step) => self.end(step, Standing::Drained { at: event.time }),
            Data::MessageExpired(step) => self.end(step, Standing::Expired),
            Data::MessageRecalled(step) => self.end(step, Standing::Recalled),
            Data::MessageFailed(step) => {
                self.end(step, Standing::Failed { why: step.reason.clone().unwrap_or_default() });
            }
            _ => {}
        }
    }

    fn end(&mut self, step: &Step, state: Standing) {
        let Some(letter) = step.letter.and_then(|number| self.open.remove(&number)) else { return };
        while self.ended.len() >= ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(Letter { state, ..letter });
    }

    fn remember(&mut self, key: &str) {
        if self.known.insert(key.into()) {
            self.keys.push_back(key.into());
        }
        while self.keys.len() > KEYS {
            let oldest = self.keys.pop_front().expect("there are many");
            self.known.remove(&oldest);
        }
    }

    /// Returns the letters that somebody still has to get, by their numbers.
    pub fn open(&self) -> impl Iterator<Item = &Letter> {
        self.open.values()
    }

    /// Returns how many those are.
    pub fn waiting(&self) -> usize {
        self.open.len()
    }

    /// Returns a letter by its number: one that waits, or one of the last that have ended.
    pub fn letter(&self, number: u64) -> Option<&Letter> {
        self.open.get(&number).or_else(|| self.ended.iter().rev().find(|letter| letter.number == number))
    }

    /// Returns the last letters that have ended, the oldest first.
    pub fn ended(&self) -> impl Iterator<Item = &Letter> {
        self.ended.iter()
    }

    /// Tells whether a letter was sent under this key before.
    pub fn knows(&self, key: &str) -> bool {
        self.known.contains(key)
    }
}

fn owner(step: &Step) -> Owner {
    Owner {
        tag: step.owner.clone().unwrap_or_default(),
        host: step.host.clone().unwrap_or_default(),
        boot_id: step.boot_id.clone().unwrap_or_default(),
        pid: step.pid.unwrap_or_default(),
        pid_started: step.pid_started.unwrap_or_default(),
    }
}
