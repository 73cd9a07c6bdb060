//! Seals of events that allow something: they count only when our own programs wrote them for this user.
//!
//! The journal lies in the project and comes along with a clone. A seal is a keyed hash (HMAC-SHA256, RFC 2104)
//! over the event and the project's identity, under a key that lies in the user's own state directory. What only
//! holds something back needs none.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{Data, Event, event::SEAL, text, time::stamp};

/// The user's key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; Key::BYTES]);

impl Key {
    /// The length of a key.
    pub const BYTES: usize = 32;

    /// Makes a key of these bytes; `None` where they are not as many as a key has.
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
        text::hex(&outer)
    }

    /// Returns the seal of an event in this project.
    pub fn seal(&self, project: &str, event: &Event) -> String {
        let data = event.data().members();
        let data: BTreeMap<&String, &Value> = data.iter().filter(|(name, _)| *name != SEAL).collect();
        let data = serde_json::to_string(&data).expect("JSON values are JSON");
        let task = event.task.as_ref().map(ToString::to_string).unwrap_or_default();
        let role = event.role.as_ref().map(ToString::to_string).unwrap_or_default();
        let time = stamp(event.time);
        self.hmac(&["oodatcaa event 1", project, event.kind().as_str(), &event.actor, &task, &role, &time, &data])
    }

    /// Tells whether an event carries its seal.
    pub fn holds(&self, project: &str, event: &Event) -> bool {
        let given = event.data().seal().unwrap_or_default();
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

/// Tells whether a human who says this lets a task start anew.
pub(crate) fn starts_anew(verb: &str) -> bool {
    matches!(verb, "retry" | "move" | "unblock")
}

/// Tells whether an event allows something that would be held back without it.
pub fn allows(event: &Event) -> bool {
    match event.data() {
        Data::DecisionResolved(decided) => decided.verdict.as_deref() != Some("rejected"),
        Data::WorkerResumed(_) | Data::AgentResumed(_) | Data::ScheduleResumed(_) => true,
        // A person lets a task start anew, or takes a queue file for the truth.
        Data::TaskMoved(change) | Data::TaskUpdated(change) => {
            event.is_by_human() && change.verb.as_deref().is_some_and(starts_anew)
        }
        // Words that a prompt tells as those of somebody of this project.
        Data::MessageSent(mail) => mail.what.as_deref() != Some("decision"),
        Data::QueueValid(readable) => event.is_by_human() && readable.statuses.is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::{
        EventDraft,
        event::{Actor, payload::Decided},
    };

    fn event() -> Event {
        let decided = Decided {
            decision: Some("A.1".into()),
            verdict: Some("approved".into()),
            commit: Some("abc".into()),
            ..Decided::default()
        };
        let draft = EventDraft::new(Data::DecisionResolved(decided), Actor::Human("me@tty".into()));
        Event::number(draft, 7, DateTime::UNIX_EPOCH, "//h/p")
    }

    fn key(byte: u8) -> Key {
        Key::of(&[byte; Key::BYTES]).expect("as long as a key is")
    }

    #[test]
    fn a_seal_is_for_one_event_of_one_project_under_one_key() {
        let mut first = event();
        first.set_seal(key(1).seal("p", &event()));
        assert!(key(1).holds("p", &first));
        assert!(!key(2).holds("p", &first) && !key(1).holds("q", &first));
        assert!(!key(1).holds("p", &event()), "without a seal");
        let Data::DecisionResolved(decided) = first.data() else { panic!("{first:?}") };
        let other = |data| first.clone().with_data(data);
        let mut more = decided.clone();
        more.rest.insert("more".into(), 1.into());
        let commit = Some("def".into());
        let (mut by_another, mut later) = (first.clone(), first.clone());
        by_another.actor = "human:you@tty".into();
        later.time += chrono::Duration::seconds(1);
        for other in [
            other(Data::DecisionResolved(Decided { commit, ..decided.clone() })),
            other(Data::DecisionResolved(more)),
            other(Data::DecisionExpired(decided.clone())),
            by_another,
            later,
        ] {
            assert!(!key(1).holds("p", &other), "{other:?}");
        }
        let text = serde_json::to_string(&first).expect("JSON");
        assert!(key(1).holds("p", &Event::parse(text.as_bytes()).expect("an event")), "it survives the journal");
        let mut renumbered = first;
        (renumbered.seq, renumbered.id) = (9, "9".into());
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
        assert_eq!(text::hex(&outer), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
