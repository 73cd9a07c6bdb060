//! Messages that an agent sends while it works: files of one JSON object each, in a directory of its own, which
//! `agentctl msg send` or the agent itself has put there. Their worker sends them for it, as its role, within a second.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    time::{Duration, Instant},
};

use crate::run::Run;
use oodatcaa_agent::{
    output,
    result::{self, Mail, Urgency},
};
use oodatcaa_core::{
    ChangeSet, Data, EventDraft,
    event::payload,
    mail,
    text::{self, chain, one_line},
};
use oodatcaa_sys::files::{self, Kind};

/// The time between two looks.
const PACE: Duration = Duration::from_millis(500);

/// The most messages that an agent sends while it works.
const MOST: usize = 100;

/// The most files that are looked at.
const FILES: usize = 1_000;

/// The largest file, in bytes.
const LARGEST: u64 = 256 << 10;

/// What has become of an agent's messages.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The time of the next look.
    pub(crate) due: Instant,
    sent: usize,
    /// Files that are no message, or come too late: each is told once, and stays.
    refused: BTreeSet<OsString>,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self { due: Instant::now(), sent: 0, refused: BTreeSet::new() }
    }
}

impl Run {
    /// Sends what the agent has left to be sent since the last look.
    pub(crate) fn send_mail(&mut self) {
        self.outgoing.due = Instant::now() + PACE;
        let (root, id) = (self.shared.setup.layout.root().to_owned(), self.lease().task_id.clone());
        let dir = self.assignment.out_dir().join(result::MESSAGES);
        let entries = match files::list(&root, &dir, FILES) {
            Ok(entries) => entries.unwrap_or_default(),
            Err(error) => return self.refuse("".as_ref(), &format!("failed to {}", chain(&error))),
        };
        let mut names: Vec<OsString> =
            entries.into_iter().filter(|entry| entry.kind == Kind::File).map(|entry| entry.name).collect();
        names.retain(|name| name.as_encoded_bytes().ends_with(b".json") && !self.outgoing.refused.contains(name));
        if names.is_empty() {
            return;
        }
        names.sort();
        let (secrets, mut events, mut sent) = (self.secrets(), Vec::new(), Vec::new());
        for name in names {
            if self.outgoing.sent + sent.len() >= MOST {
                self.refuse(&name, &format!("it has sent {MOST} messages, which is the limit"));
                continue;
            }
            let read = files::read_text(&root, &dir.join(&name), LARGEST);
            let mail = match read.map_err(|error| format!("failed to {}", chain(&error))) {
                Ok(Some(text)) => serde_json::from_str::<Mail>(&text).map_err(|error| error.to_string()),
                Ok(None) => continue,
                Err(why) => Err(why),
            };
            match mail {
                Ok(mail) => {
                    let masked = text::cut(&output::mask(&mail.text, &secrets), mail::LONGEST);
                    events.push(self.message(&Mail { text: masked, ..mail }));
                    sent.push(name);
                }
                Err(why) => self.refuse(&name, &why),
            }
        }
        let lease = self.lease().clone();
        // Of an attempt that has lost its task nothing is sent: it speaks for nobody any more.
        let told = |snapshot: &oodatcaa_core::Snapshot| match snapshot.supersedes(&lease) {
            true => ChangeSet::none(),
            false => ChangeSet { events: events.clone(), ..ChangeSet::none() },
        };
        if events.is_empty() || !self.shared.note("what an agent sends", told) {
            return;
        }
        self.outgoing.sent += sent.len();
        for name in sent {
            if let Err(error) = files::remove(&root, &dir.join(&name)) {
                // Once is enough.
                log::debug!("{id}: failed to {}", chain(&error));
                self.outgoing.refused.insert(name);
            }
        }
    }

    /// Returns the event of a message of the agent's.
    pub(crate) fn message(&self, mail: &Mail) -> EventDraft {
        let mail = payload::Mail {
            from: Some("agent".into()),
            what: Some("message".into()),
            to: Some(mail.to.clone()),
            text: Some(mail.text.clone()),
            kind: mail.kind.clone(),
            priority: mail.priority.as_ref().and_then(Urgency::number),
            thread: mail.thread.clone(),
            ..payload::Mail::default()
        };
        EventDraft::new(Data::MessageSent(mail), self.shared.actor()).lease(self.lease())
    }

    fn refuse(&mut self, name: &OsStr, why: &str) {
        if self.outgoing.refused.insert(name.to_owned()) {
            let (id, name) = (&self.assignment.task.id, one_line(&name.to_string_lossy()));
            log::warn!(task = id.as_str(); "{id}: the message {name} of its agent is not sent: {}", one_line(why));
        }
    }
}
