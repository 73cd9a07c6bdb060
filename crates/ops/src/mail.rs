//! Messages: who may get them, sending, reading, taking back.

use std::path::{Path, PathBuf};

use crate::{ErrorKind, Failure, Project, view::MessageView};
use oodatcaa_agent::result;
use oodatcaa_core::{
    event::Actor,
    mail::{self, ALL, Draft, HUMAN, NotRecalled, Refused},
    state::mail::{Letter, Mailbox},
    text::{near, one_line},
};
use oodatcaa_store::{LOCK_WAIT, Mailboxes, identity, is_gone};
use oodatcaa_sys::files::{self, named};

/// A message's place: its mailbox and its number there, `builder-17`.
pub type Place = (String, u64);

impl Project {
    /// Opens the mailboxes.
    pub fn mail(&self) -> Result<&dyn Mailboxes, Failure> {
        if let Some(mail) = self.mailboxes.get() {
            return Ok(&**mail);
        }
        let lock_wait = self.loaded().map_or(LOCK_WAIT, |loaded| loaded.config.fleet.lock_wait);
        let layout = self.layout()?;
        let mail = oodatcaa_store::open_mail(layout.root(), layout, lock_wait)?;
        Ok(&**self.mailboxes.get_or_init(|| mail))
    }

    /// Sends a message to a receiver, or to all but its sender; answers where it lies. Whoever is not there, or is not
    /// any more, gets nothing, and the sender is told at once.
    pub fn send(&self, to: &str, draft: &Draft, actor: &Actor) -> Result<Vec<Place>, Failure> {
        let boxes = mail::addressed(self.workflow(), to, &draft.from);
        if boxes.is_empty() {
            let was_one = self.mail()?.names()?.iter().any(|name| name == to);
            return Err(nobody(to, &mail::receivers(self.workflow()), was_one));
        }
        let mut places = Vec::new();
        for name in boxes {
            let mut refused = None;
            let sent = self.mail()?.change(name, &mut |mailbox| {
                let lines = mail::send(mailbox, draft, actor);
                lines.unwrap_or_else(|why| {
                    refused = Some(why);
                    Vec::new()
                })
            })?;
            if let Some(why) = refused {
                return Err(not_sent(name, &why));
            }
            places.extend(sent.last().map(|event| (name.to_owned(), event.seq)));
        }
        Ok(places)
    }

    /// Leaves a message of the agent in whose attempt this process runs for its worker, which sends it within a second.
    pub fn leave(&self, message: &result::Mail) -> Result<(), Failure> {
        let boxes = mail::addressed(self.workflow(), &message.to, "");
        if boxes.is_empty() {
            return Err(nobody(&message.to, &mail::receivers(self.workflow()), false));
        }
        let draft = Draft { text: message.text.clone(), ..Draft::default() };
        if let Err(why) = mail::send(&Mailbox::default(), &draft, &Actor::Outside) {
            return Err(not_sent(&message.to, &why));
        }
        let told = std::env::var_os("OODATCAA_RESULT_FILE").map(PathBuf::from);
        let out = told.as_deref().and_then(Path::parent).filter(|out| out.is_dir()).ok_or_else(|| {
            let words = "this is part of an attempt, and OODATCAA_RESULT_FILE does not say where its worker looks";
            Failure::new(ErrorKind::Refused, words).hint("messages = [{ to = …, text = … }] in the result file")
        })?;
        let dir = out.join(result::MESSAGES);
        let text = serde_json::to_string(message).expect("words and numbers");
        // In the order in which they were sent, whatever processes sent them.
        let at = chrono::Utc::now().timestamp_nanos_opt().unwrap_or_default();
        let name = dir.join(format!("{at:020}-{}.json", std::process::id()));
        files::make_named_dir(&dir)?;
        named::write_new(&name, text, 0o600).map_err(|error| {
            Failure::new(ErrorKind::Failed, format!("failed to write {}", name.display())).cause(error.to_string())
        })
    }

    /// Lists messages: those that wait, or also those that have ended lately; of one mailbox or of all.
    pub fn messages(&self, mailbox: Option<&str>, with_ended: bool) -> Result<Vec<MessageView>, Failure> {
        let mut all = Vec::new();
        for name in self.mail()?.names()? {
            if mailbox.is_some_and(|wanted| wanted != name) {
                continue;
            }
            let read = self.mail()?.read(&name)?;
            let mut letters: Vec<&Letter> = read.open().collect();
            if with_ended {
                letters.extend(read.ended());
            }
            letters.sort_by_key(|letter| (letter.state.is_final(), letter.priority, letter.number));
            all.extend(letters.into_iter().map(|letter| MessageView::of(&name, letter)));
        }
        Ok(all)
    }

    /// Finds a message by its place, as somebody typed it.
    pub fn message(&self, id: &str) -> Result<MessageView, Failure> {
        let (name, number) = self.place(id)?;
        let read = self.mail()?.read(&name)?;
        read.letter(number).map(|letter| MessageView::of(&name, letter)).ok_or_else(|| no_message(id))
    }

    /// Takes what waits for the person, and has them have it: each message once.
    pub fn read_mail(&self) -> Result<Vec<MessageView>, Failure> {
        let me = identity(HUMAN);
        let mut taken = mail::Taken::default();
        self.mail()?.change(HUMAN, &mut |mailbox| {
            taken = mail::take(mailbox, &me, mail::MOST, chrono::Utc::now(), &is_gone);
            taken.lines.clone()
        })?;
        let numbers: Vec<u64> = taken.letters.iter().map(|letter| letter.number).collect();
        self.mail()?.change(HUMAN, &mut |mailbox| mail::drain(mailbox, &me, &numbers))?;
        let read = self.mail()?.read(HUMAN)?;
        let now = |letter: &Letter| MessageView::of(HUMAN, read.letter(letter.number).unwrap_or(letter));
        Ok(taken.letters.iter().map(now).collect())
    }

    /// Takes a message back that nobody has yet.
    pub fn recall(&self, id: &str, by: &str, actor: &Actor) -> Result<(), Failure> {
        let (name, number) = self.place(id)?;
        let mut late = None;
        self.mail()?.change(&name, &mut |mailbox| match mail::recall(mailbox, number, by, actor) {
            Ok(lines) => lines,
            Err(why) => {
                late = Some(why);
                Vec::new()
            }
        })?;
        match late {
            None => Ok(()),
            Some(NotRecalled::Unknown) => Err(no_message(id)),
            Some(why) => Err(Failure::new(ErrorKind::Refused, format!("{} cannot be taken back: {why}", one_line(id)))),
        }
    }

    /// Reads `MAILBOX-NUMBER`.
    fn place(&self, id: &str) -> Result<Place, Failure> {
        let place = id.rsplit_once('-').and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let (name, number) = place.ok_or_else(|| no_message(id))?;
        let is_there = self.mail()?.names()?.iter().any(|known| known == name);
        if is_there { Ok((name.into(), number)) } else { Err(no_message(id)) }
    }
}

fn nobody(name: &str, receivers: &[&str], was_one: bool) -> Failure {
    let shown = one_line(name);
    let message = match was_one {
        true => format!("`{shown}` got messages once, and is no role of this project any more"),
        false => format!("there is no `{shown}` that could get a message"),
    };
    let failure = Failure::new(ErrorKind::NotFound, message);
    let meant = near(name, receivers.iter().copied());
    let failure = match meant.first() {
        Some(meant) => failure.hint(format!("did you mean `{meant}`?")),
        None => failure,
    };
    failure.hint(format!("there are: {}, and {ALL}", receivers.join(", ")))
}

fn not_sent(name: &str, why: &Refused) -> Failure {
    let kind = if *why == Refused::Full { ErrorKind::Refused } else { ErrorKind::Usage };
    let failure = Failure::new(kind, format!("the message to {name} cannot be sent: {why}"));
    if *why == Refused::Full { failure.hint(format!("look at what waits: agentctl msg list {name}")) } else { failure }
}

fn no_message(id: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("there is no message {}", one_line(id))).hint("agentctl msg list --all")
}
