//! Seals of events that allow something: they count only when our own programs wrote them for this user.
//!
//! The journal lies in the project and comes along with a clone. A seal is a keyed hash (HMAC-SHA256, RFC 2104)
//! over the event and the project's identity, under a key that lies in the user's own state directory. What only
//! holds something back needs none.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{Event, Kind, time::stamp};

/// The member of an event's data that holds its seal.
pub const MEMBER: &str = "seal";

/// The user's key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; Key::BYTES]);

impl Key {
    /// How long a key is.
    pub const BYTES: usize = 32;

    /// Of these bytes; `None` where they are not as many as a key has.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    fn hmac(&self, parts: &[&str]) -> String {
        let pad = |with: u8| {
            let mut block = [with; 64];
            block.iter_mut().zip(self.0).for_each(|(byte, key)| *byte ^= key);
            block
        };
        let mut inner = Sha256::new_with_prefix(pad(0x36));
        for part in parts {
            // With its length, so that no text can stand for two.
            inner.update((part.len() as u64).to_be_bytes());
            inner.update(part);
        }
        let outer = Sha256::new_with_prefix(pad(0x5c)).chain_update(inner.finalize()).finalize();
        outer.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The seal of an event in this project.
    pub fn seal(&self, project: &str, event: &Event) -> String {
        let data: BTreeMap<&str, &Value> =
            event.data.iter().filter(|(name, _)| *name != MEMBER).map(|(name, value)| (name.as_str(), value)).collect();
        let data = serde_json::to_string(&data).expect("JSON values are JSON");
        let task = event.task.as_ref().map(ToString::to_string).unwrap_or_default();
        let role = event.role.as_ref().map(ToString::to_string).unwrap_or_default();
        let time = stamp(event.time);
        self.hmac(&["oodatcaa event 1", project, event.kind.as_str(), &event.actor, &task, &role, &time, &data])
    }

    /// Whether an event carries its seal.
    pub fn holds(&self, project: &str, event: &Event) -> bool {
        let given = event.text(MEMBER).unwrap_or_default();
        let ours = self.seal(project, event);
        // Every byte is looked at, so that the time tells nothing of where they differ.
        given.len() == ours.len() && given.bytes().zip(ours.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

/// Nobody reads a key in a log.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The verbs by which a human lets a task start anew.
const VERBS: [&str; 3] = ["retry", "move", "unblock"];

/// Tells whether a human who says this lets a task start anew.
pub(crate) fn starts_anew(verb: &str) -> bool {
    VERBS.contains(&verb)
}

fn by_human(event: &Event) -> bool {
    event.actor.starts_with("human:")
}

/// Whether an event allows something that would be held back without it.
pub fn allows(event: &Event) -> bool {
    match event.kind {
        Kind::DecisionResolved => event.text("verdict") != Some("rejected"),
        Kind::WorkerResumed | Kind::AgentResumed => true,
        // A person lets a task start anew, or takes a queue file for the truth.
        Kind::TaskMoved | Kind::TaskUpdated => by_human(event) && event.text("verb").is_some_and(starts_anew),
        Kind::QueueValid => by_human(event) && event.data.contains_key("statuses"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::{EventDraft, event::Actor};

    fn event(change: impl FnOnce(&mut Event)) -> Event {
        let draft = EventDraft::new(Kind::DecisionResolved, Actor::Human("me@tty".into()))
            .with("decision", "A.1")
            .with("verdict", "approved")
            .with("commit", "abc");
        let mut event = Event::number(draft, 7, DateTime::UNIX_EPOCH, "//h/p");
        change(&mut event);
        event
    }

    fn key(byte: u8) -> Key {
        Key::of(&[byte; Key::BYTES]).expect("as long as a key is")
    }

    #[test]
    fn a_seal_is_for_one_event_of_one_project_under_one_key() {
        let sealed = |event: &Event| {
            let mut sealed = event.clone();
            sealed.data.insert(MEMBER.into(), key(1).seal("p", event).into());
            sealed
        };
        let first = sealed(&event(|_| ()));
        assert!(key(1).holds("p", &first));
        assert!(!key(2).holds("p", &first) && !key(1).holds("q", &first));
        assert!(!key(1).holds("p", &event(|_| ())), "without a seal");
        let changes: [fn(&mut Event); 5] = [
            |event| drop(event.data.insert("commit".into(), "def".into())),
            |event| drop(event.data.insert("more".into(), 1.into())),
            |event| event.actor = "human:you@tty".into(),
            |event| event.kind = Kind::WorkerResumed,
            |event| event.time += chrono::Duration::seconds(1),
        ];
        for change in changes {
            let mut other = first.clone();
            change(&mut other);
            assert!(!key(1).holds("p", &other), "{other:?}");
        }
        let text = serde_json::to_string(&first).expect("JSON");
        assert!(key(1).holds("p", &serde_json::from_str(&text).expect("an event")), "it survives the journal");
        let renumbered = Event { seq: 9, id: "9".into(), ..first };
        assert!(key(1).holds("p", &renumbered), "its number may change until it is written");
    }

    #[test]
    fn the_hash_is_the_one_of_the_standard() {
        // RFC 4231, test case 2, padded to our length of a key, which changes nothing in HMAC.
        let mut bytes = [0; Key::BYTES];
        bytes[..4].copy_from_slice(b"Jefe");
        let Key(block) = Key::of(&bytes).expect("a key");
        let pad = |with: u8| {
            let mut all = [with; 64];
            all.iter_mut().zip(block).for_each(|(byte, key)| *byte ^= key);
            all
        };
        let inner = Sha256::new_with_prefix(pad(0x36)).chain_update(b"what do ya want for nothing?").finalize();
        let outer = Sha256::new_with_prefix(pad(0x5c)).chain_update(inner).finalize();
        let hex: String = outer.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
