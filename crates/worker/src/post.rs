//! Mail of a worker's role: from its mailbox into a prompt, and from a result file into the mailboxes of others.
//!
//! Letters are taken right before a prompt is written and drained as soon as its agent runs. What was taken and not
//! drained waits here for the next prompt; when this process dies, others take it again, marked so.
//!
//! What an attempt wants sent stands in the commit of its settlement. Whoever looks at the journal next puts it into
//! the mailboxes, each under a key of its event, so that a crash in between neither loses nor doubles a letter.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use serde::{Deserialize, Serialize};

use crate::setup::Shared;
use oodatcaa_agent::prompt::Message;
use oodatcaa_core::{
    Data, Event, Role,
    event::Actor,
    layout::Layout,
    mail::{self, Draft},
    state::mail::{Letter, Standing},
    text::{self, chain, one_line},
    time::stamp,
};
use oodatcaa_store::{Mailboxes, StoreError, is_gone};
use oodatcaa_sys::{
    files::{self, Durable},
    lock::{self, Lock},
};

/// The most letters in one prompt; more wait for the next.
const MOST: usize = 50;

/// The largest note of how far the journal has been looked through, in bytes.
const LARGEST: u64 = 4_096;

/// Mail between mailboxes and prompts.
#[derive(Debug)]
pub(crate) struct Post {
    boxes: Box<dyn Mailboxes>,
    /// Letters that were taken and stand in no prompt whose agent runs.
    held: Mutex<Vec<Letter>>,
    /// The number of the last event that has been looked at for mail.
    seen: Mutex<u64>,
}

/// Letters for one prompt. Dropped before its agent runs, they go into the next.
pub(crate) struct Letters<'a> {
    shared: &'a Shared,
    letters: Vec<Letter>,
}

impl Post {
    pub(crate) fn new(boxes: Box<dyn Mailboxes>) -> Self {
        Self { boxes, held: Mutex::default(), seen: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Letter>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Takes the letters that wait for the role. Mail that cannot be read keeps no task waiting.
    pub(crate) fn letters(&self) -> Letters<'_> {
        let (role, owner) = (self.role().as_str(), &self.setup.owner);
        let mut letters = std::mem::take(&mut *self.post.held());
        let mut taken = Vec::new();
        let most = MOST.saturating_sub(letters.len());
        let waits = self.post.boxes.read(role).map(|mailbox| mailbox.waiting() > 0);
        let changed = match waits {
            Ok(true) if most > 0 => self.post.boxes.change(role, &mut |mailbox| {
                let taken_now = mail::take(mailbox, owner, most, Utc::now(), &is_gone);
                taken = taken_now.letters;
                taken_now.lines
            }),
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        match changed {
            Ok(_) => letters.extend(taken),
            Err(error) => log::warn!("messages for {role} wait for the next task: failed to {}", chain(&error)),
        }
        Letters { shared: self, letters }
    }

    /// Puts into mailboxes what settled attempts want sent, as far as nobody has done so yet.
    pub(crate) fn send_out(&self, last: u64) {
        let mut seen = self.post.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if last <= *seen {
            return;
        }
        let outbox = Outbox::of(&self.setup.layout);
        match outbox.and_then(|outbox| outbox.map_or(Ok(None), |outbox| outbox.empty(self))) {
            Ok(Some(done)) => *seen = done,
            // Somebody else is at it; what is left is found with the next event.
            Ok(None) => {}
            Err(error) => log::warn!("messages of agents wait: failed to {}", chain(&error)),
        }
    }
}

impl Letters<'_> {
    /// Returns them as a prompt tells them.
    pub(crate) fn told(&self) -> Vec<Message> {
        let role = self.shared.role();
        let told = |letter: &Letter| Message {
            id: format!("{role}-{}", letter.number),
            from: letter.from.clone(),
            kind: letter.kind.clone().unwrap_or_default(),
            sent_at: stamp(letter.sent_at),
            again: matches!(letter.state, Standing::Delivered { .. }),
            text: letter.text.clone(),
        };
        self.letters.iter().map(told).collect()
    }

    /// Notes that an agent runs which has them.
    pub(crate) fn arrive(mut self) {
        let letters = std::mem::take(&mut self.letters);
        if letters.is_empty() {
            return;
        }
        let (role, owner) = (self.shared.role().as_str(), &self.shared.setup.owner);
        let numbers: Vec<u64> = letters.iter().map(|letter| letter.number).collect();
        let drained = self.shared.post.boxes.change(role, &mut |mailbox| mail::drain(mailbox, owner, &numbers));
        if let Err(error) = drained {
            // Then they are told once more, which harms less than not at all.
            log::warn!("cannot note that messages arrived: failed to {}", chain(&error));
            self.letters = letters;
        }
    }
}

impl Drop for Letters<'_> {
    fn drop(&mut self) {
        self.shared.post.held().append(&mut self.letters);
    }
}

/// The mail of agents in the journal, and the place up to which it has been sent.
struct Outbox {
    layout: Layout,
    note: Note,
    _lock: Lock,
}

/// The place up to which the journal has been looked through.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    seq: u64,
}

impl Outbox {
    /// Opens it; `None` where somebody else has it.
    fn of(layout: &Layout) -> Result<Option<Self>, StoreError> {
        let at = layout.locks().join(".outbox.lock");
        let Some(lock) = Lock::try_take::<StoreError>(&at, || Ok(lock::open(layout.root(), &at)()?))? else {
            return Ok(None);
        };
        let text = files::read_text(layout.root(), &Self::path(layout), LARGEST)?.unwrap_or_default();
        // One that cannot be read is made anew: mailboxes know what they have by its key.
        let note = serde_json::from_str(&text).unwrap_or_default();
        Ok(Some(Self { layout: layout.clone(), note, _lock: lock }))
    }

    fn path(layout: &Layout) -> std::path::PathBuf {
        layout.messages().join(".outbox")
    }

    /// Sends what has not been sent; answers the number of the last event that was looked at.
    fn empty(mut self, shared: &Shared) -> Result<Option<u64>, StoreError> {
        let events = shared.store.events(self.note.seq)?;
        let Some(last) = events.last().map(|event| event.seq) else { return Ok(Some(self.note.seq)) };
        for event in &events {
            send(shared, event)?;
        }
        self.note.seq = last;
        let text = serde_json::to_string(&self.note).expect("a number");
        files::make_dir(self.layout.root(), &self.layout.messages())?;
        files::write_atomic(self.layout.root(), &Self::path(&self.layout), text.as_bytes(), Durable::No)?;
        Ok(Some(last))
    }
}

/// Sends what an event says is to be sent.
fn send(shared: &Shared, event: &Event) -> Result<(), StoreError> {
    let Data::MessageSent(words) = event.data() else { return Ok(()) };
    if !event.sealed {
        return Ok(());
    }
    // A role's agent, or a rule that says its name.
    let from = event.role.as_ref().map(Role::as_str).or(words.from.as_deref());
    let (Some(to), Some(from)) = (words.to.as_deref(), from) else { return Ok(()) };
    let mut text = words.text.clone().unwrap_or_default();
    let mut boxes = mail::addressed(shared.workflow(), to, from);
    if boxes.is_empty() {
        // Its agent has ended, so a person is told, and nothing is lost.
        text = format!("(for `{}`, which is no role here) {text}", text::cut(&one_line(to), 60));
        boxes.push(mail::HUMAN);
    }
    let draft = Draft {
        from: from.to_string(),
        kind: words.kind.clone(),
        text,
        priority: words.priority,
        thread: words.thread.clone(),
        task: event.task.clone(),
        ttl: None,
        key: Some(format!("event/{}", event.seq)),
    };
    for name in boxes {
        shared.post.boxes.change(name, &mut |mailbox| {
            mail::send(mailbox, &draft, &Actor::Worker(event.actor.clone())).unwrap_or_else(|why| {
                log::warn!("a message of {from} to {name} is not sent: {why}");
                Vec::new()
            })
        })?;
    }
    Ok(())
}
