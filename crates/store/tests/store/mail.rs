//! What every store of messages must do, and what the one of files does with files that others wrote.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use chrono::Utc;
use crossbeam_channel::Receiver;

use oodatcaa_core::{
    Data, Event, EventDraft, Owner,
    event::{Actor, payload::Step},
    layout::Layout,
    mail::{self, Draft},
    state::mail::Mailbox,
};
use oodatcaa_store::{Decision, Mailboxes, StoreError, open_mail};

/// The least that a store of messages is.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<String, Arc<Mailbox>>>);

impl Mailboxes for Memory {
    fn names(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.0.lock().expect("not poisoned").keys().cloned().collect())
    }

    fn read(&self, name: &str) -> Result<Arc<Mailbox>, StoreError> {
        Ok(self.0.lock().expect("not poisoned").get(name).cloned().unwrap_or_default())
    }

    fn change(&self, name: &str, decide: Decision<'_>) -> Result<Vec<Event>, StoreError> {
        let mut all = self.0.lock().expect("not poisoned");
        let mailbox = all.entry(name.into()).or_default();
        let drafts = (mailbox.seq + 1..).zip(decide(mailbox));
        let events: Vec<Event> = drafts.map(|(seq, draft)| Event::number(draft, seq, Utc::now(), "//h/p")).collect();
        let mailbox = Arc::make_mut(mailbox);
        events.iter().for_each(|event| mailbox.apply(event));
        Ok(events)
    }

    fn changes(&self, _: &str) -> Result<Receiver<()>, StoreError> {
        Ok(crossbeam_channel::never())
    }
}

fn files(root: &Path) -> Box<dyn Mailboxes> {
    fs::create_dir_all(root.join(".oodatcaa")).expect("made");
    open_mail(root, &Layout::new(root).kept_in(root.join("state/projects/id")), Duration::from_secs(20))
        .expect("opened")
}

/// Does something with each of the stores.
fn with_each(check: impl Fn(&dyn Mailboxes)) {
    check(&Memory::default());
    let dir = tempfile::tempdir().expect("a directory");
    check(&*files(dir.path()));
}

fn letter(text: &str) -> impl FnMut(&Mailbox) -> Vec<EventDraft> {
    let draft = Draft { from: "tester".into(), text: text.into(), ..Draft::default() };
    move |mailbox| mail::send(mailbox, &draft, &Actor::Worker("w".into())).expect("taken in")
}

fn owner(pid: u32) -> Owner {
    Owner { tag: format!("w{pid}"), host: "h".into(), boot_id: "b".into(), pid, pid_started: 1 }
}

fn take(boxes: &dyn Mailboxes, name: &str, pid: u32) -> Vec<String> {
    let mut texts = Vec::new();
    let took = boxes.change(name, &mut |mailbox| {
        let taken = mail::take(mailbox, &owner(pid), 100, Utc::now(), &|_| false);
        texts = taken.letters.into_iter().map(|letter| letter.text).collect();
        taken.lines
    });
    took.expect("taken");
    texts
}

#[test]
fn what_is_sent_to_one_box_is_there_once_and_in_no_other() {
    with_each(|boxes| {
        assert_eq!(boxes.read("builder").unwrap().waiting(), 0, "nobody has written to it");
        boxes.change("builder", &mut letter("one")).unwrap();
        let sent = boxes.change("builder", &mut letter("two")).unwrap();
        assert_eq!(sent[0].seq, 2);
        assert_eq!((boxes.read("builder").unwrap().waiting(), boxes.read("tester").unwrap().waiting()), (2, 0));
        assert_eq!(take(boxes, "builder", 1), ["one", "two"]);
        assert_eq!(take(boxes, "builder", 2), [""; 0]);
        assert!(boxes.change("builder", &mut |_| Vec::new()).unwrap().is_empty());
        assert_eq!(boxes.names().unwrap(), ["builder"]);
    });
}

#[test]
fn many_who_send_and_take_at_once_lose_and_double_nothing() {
    with_each(|boxes| {
        let got = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for sender in 0..4 {
                scope.spawn(move || {
                    for n in 0..25 {
                        boxes.change("builder", &mut letter(&format!("{sender}/{n}"))).unwrap();
                    }
                });
            }
            for taker in 0..4 {
                let got = &got;
                scope.spawn(move || {
                    for _ in 0..25 {
                        let texts = take(boxes, "builder", taker);
                        got.lock().expect("not poisoned").extend(texts);
                    }
                });
            }
        });
        let mut got = got.into_inner().unwrap();
        got.extend(take(boxes, "builder", 9));
        got.sort();
        let mut all: Vec<String> = (0..4).flat_map(|sender| (0..25).map(move |n| format!("{sender}/{n}"))).collect();
        all.sort();
        assert_eq!(got, all);
    });
}

#[test]
fn processes_that_know_nothing_of_each_other_write_one_file() {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for sender in 0..4 {
            let root = dir.path();
            scope.spawn(move || {
                let own = files(root);
                for n in 0..10 {
                    own.change("human", &mut letter(&format!("{sender}/{n}"))).unwrap();
                }
            });
        }
    });
    let text = fs::read_to_string(dir.path().join(".oodatcaa/messages/human.jsonl")).unwrap();
    let seqs: Vec<u64> = text.lines().map(|line| Event::parse(line.as_bytes()).unwrap().seq).collect();
    assert_eq!(seqs, (1..=40).collect::<Vec<u64>>());
    assert_eq!(files(dir.path()).read("human").unwrap().waiting(), 40);
}

#[test]
fn a_line_that_was_torn_is_cut_off_and_what_somebody_wrote_between_stays() {
    let dir = tempfile::tempdir().unwrap();
    let boxes = files(dir.path());
    boxes.change("builder", &mut letter("one")).unwrap();
    let path = dir.path().join(".oodatcaa/messages/builder.jsonl");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"# a note of mine\n{\"torn").unwrap();
    assert_eq!(boxes.read("builder").unwrap().waiting(), 1);
    boxes.change("builder", &mut letter("two")).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("# a note of mine\n{\"specversion") && !text.contains("torn"), "{text}");
    assert_eq!(take(&*files(dir.path()), "builder", 1), ["one", "two"]);
}

#[test]
fn a_file_that_grew_large_is_put_aside_and_what_waits_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let boxes = files(dir.path());
    let text = "x".repeat(mail::LONGEST);
    boxes.change("builder", &mut letter("the first of all")).unwrap();
    let path = dir.path().join(".oodatcaa/messages/builder.jsonl");
    let (mut sent, mut largest) = (1_u64, 0);
    while !dir.path().join(".oodatcaa/messages/archive/builder-0001.jsonl").exists() {
        let draft = Draft { from: "a".into(), text: text.clone(), key: Some(format!("k{sent}")), ..Draft::default() };
        // All but the first are read at once.
        boxes.change("builder", &mut |mailbox| mail::send(mailbox, &draft, &Actor::Timeout).unwrap()).unwrap();
        let number = boxes.read("builder").unwrap().seq;
        boxes
            .change("builder", &mut |_| {
                let step = Step { letter: Some(number), ..Step::default() };
                vec![EventDraft::new(Data::MessageDrained(step), Actor::Timeout)]
            })
            .unwrap();
        sent += 1;
        largest = largest.max(fs::metadata(&path).unwrap().len());
        assert!(sent < 2_000, "{largest}");
    }
    let after = files(dir.path()).read("builder").unwrap();
    assert_eq!(after.open().map(|letter| letter.text.as_str()).collect::<Vec<_>>(), ["the first of all"]);
    assert!(after.knows(&format!("k{}", sent - 1)), "what was just sent is not taken twice");
    assert!(fs::metadata(&path).unwrap().len() < largest / 4);
    let next = boxes.change("builder", &mut letter("next")).unwrap();
    assert_eq!(next[0].seq, after.seq + 1, "numbers go on");
}

#[test]
fn a_message_that_a_clone_brings_speaks_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let boxes = files(dir.path());
    boxes.change("builder", &mut letter("mine")).unwrap();
    let path = dir.path().join(".oodatcaa/messages/builder.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    // Another user's, with another key; one that was changed; one without a seal.
    let other = tempfile::tempdir().unwrap();
    files(other.path()).change("builder", &mut letter("theirs")).unwrap();
    let theirs = fs::read_to_string(other.path().join(".oodatcaa/messages/builder.jsonl")).unwrap();
    let changed = text.replace("mine", "changed");
    let bare = text.replace("\"seal\"", "\"seals\"");
    fs::write(&path, [text.as_str(), &theirs, &changed, &bare].concat()).unwrap();
    assert_eq!(take(&*files(dir.path()), "builder", 1), ["mine"]);
}

#[test]
fn a_name_that_leads_elsewhere_and_a_link_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let boxes = files(dir.path());
    for name in ["", "../x", "a/b", ".x", "-x"] {
        assert!(boxes.change(name, &mut letter("x")).is_err(), "{name}");
        assert!(boxes.read(name).is_err(), "{name}");
    }
    let other = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join(".oodatcaa/messages")).unwrap();
    std::os::unix::fs::symlink(other.path().join("x"), dir.path().join(".oodatcaa/messages/a.jsonl")).unwrap();
    assert!(boxes.change("a", &mut letter("x")).is_err());
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
}

#[test]
fn a_listener_is_woken_by_its_own_box_only() {
    let dir = tempfile::tempdir().unwrap();
    let boxes = files(dir.path());
    let woken = boxes.changes("builder").unwrap();
    boxes.change("tester", &mut letter("x")).unwrap();
    boxes.change("builder", &mut letter("x")).unwrap();
    woken.recv_timeout(Duration::from_secs(20)).expect("it is told");
}
