//! What happens to letters: sent, taken, drained, taken back, too old. Each rule looks at a mailbox and answers with the
//! lines that are to be added to its file.

use chrono::{DateTime, Duration, Utc};

use crate::{
    Data, EventDraft, Owner, TaskId, Workflow,
    event::{
        Actor,
        payload::{Mail, Step},
    },
    state::mail::{Letter, Mailbox, Standing, USUAL},
    text,
};

/// The mailbox of the person who looks after the fleet.
pub const HUMAN: &str = "human";

/// The name for everybody but the sender.
pub const ALL: &str = "all";

/// Returns who can get letters: the roles, and the person.
pub fn receivers(workflow: &Workflow) -> Vec<&str> {
    let roles = workflow.rules().iter().map(|rule| rule.role.as_str());
    roles.chain([HUMAN]).collect()
}

/// Returns the mailboxes that an address means; none where nobody has that name.
pub fn addressed<'a>(workflow: &'a Workflow, to: &str, from: &str) -> Vec<&'a str> {
    let mut receivers = receivers(workflow);
    receivers.retain(|name| if to == ALL { *name != from } else { *name == to });
    receivers
}

/// The most letters that wait in a mailbox.
pub const MOST: usize = 1_000;

/// The longest text, in characters.
pub const LONGEST: usize = 16_000;

/// A letter that is to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// The sender: a role, a persona, or `human:NAME`.
    pub from: String,
    /// The kind, in one word, e.g. `spec_created`.
    pub kind: Option<String>,
    /// The words.
    pub text: String,
    /// Its urgency, 1 (first) to 10; [`USUAL`] when absent.
    pub priority: Option<u8>,
    /// The thread that it belongs to.
    pub thread: Option<String>,
    /// The task that it is about.
    pub task: Option<TaskId>,
    /// The time after which nobody gets it any more.
    pub ttl: Option<Duration>,
    /// The name under which a box takes it once, however often it is sent.
    pub key: Option<String>,
}

/// The reason why a letter is not taken in, in words that follow "cannot send it:".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It says nothing.
    #[error("it has no text")]
    Empty,
    /// It says too much.
    #[error("its text has {0} characters, and at most {LONGEST} go into one message")]
    TooLong(usize),
    /// Its urgency is none.
    #[error("its priority is {0}; expected 1 (first) to 10")]
    Priority(u8),
    /// The box is full of letters that are not less urgent.
    #[error("{MOST} messages wait in the mailbox, and none is less urgent")]
    Full,
}

/// Sends a letter. Where the box is full, the oldest of the lowest priority gives way. No lines mean that it was sent
/// before, under the same key.
pub fn send(mailbox: &Mailbox, draft: &Draft, actor: &Actor) -> Result<Vec<EventDraft>, Refused> {
    let length = draft.text.chars().count();
    match draft.priority {
        Some(priority) if !(1..=10).contains(&priority) => return Err(Refused::Priority(priority)),
        _ if draft.text.trim().is_empty() => return Err(Refused::Empty),
        _ if length > LONGEST => return Err(Refused::TooLong(length)),
        _ => {}
    }
    if draft.key.as_ref().is_some_and(|key| mailbox.knows(key)) {
        return Ok(Vec::new());
    }
    let mut lines = Vec::new();
    if mailbox.waiting() >= MOST {
        let lowest = mailbox.open().max_by_key(|letter| (letter.priority, std::cmp::Reverse(letter.number)));
        let lowest = lowest.filter(|letter| letter.priority >= draft.priority.unwrap_or(USUAL)).ok_or(Refused::Full)?;
        let step = Step {
            reason: Some(format!("the mailbox was full ({MOST}), and of the least urgent it was the oldest")),
            ..Step::of(lowest.number)
        };
        lines.push(line(Data::MessageFailed(step), &Actor::Policy("mailbox".into()), lowest));
    }
    let mail = Mail {
        from: Some(draft.from.clone()),
        kind: draft.kind.clone(),
        text: Some(draft.text.clone()),
        priority: draft.priority,
        thread: draft.thread.clone(),
        ttl_seconds: draft.ttl.and_then(|ttl| u64::try_from(ttl.num_seconds()).ok()),
        key: draft.key.clone(),
        ..Mail::default()
    };
    let mut sent = EventDraft::new(Data::MessageSent(mail), actor.clone());
    sent.task.clone_from(&draft.task);
    lines.push(sent);
    Ok(lines)
}

/// Letters that were taken out of a mailbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// The letters, the most urgent first, within an urgency the oldest first.
    pub letters: Vec<Letter>,
    /// The lines that say so.
    pub lines: Vec<EventDraft>,
}

/// Takes up to `most` letters for an owner: those that wait, and those whose taker has died. What is too old expires.
pub fn take(
    mailbox: &Mailbox,
    owner: &Owner,
    most: usize,
    now: DateTime<Utc>,
    is_dead: &dyn Fn(&Owner) -> bool,
) -> Taken {
    let mut taken = Taken { letters: Vec::new(), lines: expire(mailbox, now, is_dead) };
    let is_due = |letter: &&Letter| is_free(letter, is_dead) && !is_over(letter, now);
    taken.letters = mailbox.open().filter(is_due).cloned().collect();
    taken.letters.sort_by_key(|letter| (letter.priority, letter.number));
    taken.letters.truncate(most);
    for letter in &taken.letters {
        let step = Step {
            owner: Some(owner.tag.clone()),
            host: Some(owner.host.clone()),
            boot_id: Some(owner.boot_id.clone()),
            pid: Some(owner.pid),
            pid_started: Some(owner.pid_started),
            again: letter.state != Standing::Queued,
            ..Step::of(letter.number)
        };
        taken.lines.push(line(Data::MessageDelivered(step), &Actor::Worker(owner.tag.clone()), letter));
    }
    taken
}

/// Notes that the receiver has these letters; of those that somebody else took meanwhile nothing is noted.
pub fn drain(mailbox: &Mailbox, owner: &Owner, numbers: &[u64]) -> Vec<EventDraft> {
    let mine = |letter: &&Letter| matches!(&letter.state, Standing::Delivered { to, .. } if to == owner);
    let drained = numbers.iter().filter_map(|number| mailbox.open().find(|letter| letter.number == *number));
    let actor = Actor::Worker(owner.tag.clone());
    drained.filter(mine).map(|letter| line(Data::MessageDrained(Step::of(letter.number)), &actor, letter)).collect()
}

/// The reason why a letter cannot be taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecalled {
    /// There is none of this number.
    #[error("there is no such message")]
    Unknown,
    /// It is somebody else's.
    #[error("it is a message of {0}")]
    Foreign(String),
    /// Somebody has it already, or it has ended.
    #[error("it is {0} already")]
    Late(&'static str),
}

/// Takes a letter back that nobody has yet. A person may take back everybody's.
pub fn recall(mailbox: &Mailbox, number: u64, by: &str, actor: &Actor) -> Result<Vec<EventDraft>, NotRecalled> {
    let letter = mailbox.letter(number).ok_or(NotRecalled::Unknown)?;
    if letter.from != by && !matches!(actor, Actor::Human(_)) {
        return Err(NotRecalled::Foreign(text::one_line(&letter.from)));
    }
    if letter.state != Standing::Queued {
        return Err(NotRecalled::Late(letter.state.as_str()));
    }
    Ok(vec![line(Data::MessageRecalled(Step::of(number)), actor, letter)])
}

/// Ends what nobody has got in its time. What somebody has taken who lives is theirs.
fn expire(mailbox: &Mailbox, now: DateTime<Utc>, is_dead: &dyn Fn(&Owner) -> bool) -> Vec<EventDraft> {
    let over = mailbox.open().filter(|letter| is_free(letter, is_dead) && is_over(letter, now));
    over.map(|letter| line(Data::MessageExpired(Step::of(letter.number)), &Actor::Timeout, letter)).collect()
}

/// Tells whether nobody who lives has taken a letter.
fn is_free(letter: &Letter, is_dead: &dyn Fn(&Owner) -> bool) -> bool {
    match &letter.state {
        Standing::Delivered { to, .. } => is_dead(to),
        state => *state == Standing::Queued,
    }
}

fn is_over(letter: &Letter, now: DateTime<Utc>) -> bool {
    letter.expires_at.is_some_and(|at| now >= at)
}

fn line(data: Data, actor: &Actor, letter: &Letter) -> EventDraft {
    let mut line = EventDraft::new(data, actor.clone());
    line.task.clone_from(&letter.task);
    line
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::Event;

    /// A mailbox, and the lines that made it.
    #[derive(Default)]
    struct Post {
        mailbox: Mailbox,
        lines: Vec<Event>,
        at: i64,
    }

    impl Post {
        fn now(&self) -> DateTime<Utc> {
            DateTime::from_timestamp(1_700_000_000 + self.at, 0).expect("a time")
        }

        fn add(&mut self, drafts: Vec<EventDraft>) {
            for draft in drafts {
                let event = Event::number(draft, self.mailbox.seq + 1, self.now(), "//h/p");
                // As it comes back from the file.
                let mut event =
                    Event::parse(serde_json::to_string(&event).expect("JSON").as_bytes()).expect("reads back");
                event.sealed = true;
                self.mailbox.apply(&event);
                self.lines.push(event);
            }
        }

        fn send(&mut self, priority: u8, text: &str) -> u64 {
            let draft =
                Draft { from: "tester".into(), text: text.into(), priority: Some(priority), ..Draft::default() };
            self.add(send(&self.mailbox, &draft, &Actor::Worker("w".into())).expect("taken in"));
            self.mailbox.seq
        }

        fn take(&mut self, owner: &Owner, dead: &[u32]) -> Vec<Letter> {
            let is_dead = |other: &Owner| dead.contains(&other.pid);
            let taken = take(&self.mailbox, owner, 100, self.now(), &is_dead);
            self.add(taken.lines.clone());
            taken.letters
        }
    }

    fn owner(pid: u32) -> Owner {
        Owner { tag: format!("w{pid}"), host: "h".into(), boot_id: "b".into(), pid, pid_started: 7 }
    }

    fn texts(letters: &[Letter]) -> Vec<&str> {
        letters.iter().map(|letter| letter.text.as_str()).collect()
    }

    #[test]
    fn the_most_urgent_come_first_and_within_an_urgency_the_oldest() {
        let mut post = Post::default();
        for (priority, text) in [(5, "a"), (1, "b"), (5, "c"), (10, "d"), (1, "e")] {
            post.send(priority, text);
        }
        assert_eq!(texts(&post.take(&owner(1), &[])), ["b", "e", "a", "c", "d"]);
        assert_eq!(post.take(&owner(2), &[]), [], "nobody gets what somebody has");
    }

    #[test]
    fn what_a_dead_taker_did_not_drain_is_delivered_again_and_marked_so() {
        let mut post = Post::default();
        let (first, second) = (post.send(5, "a"), post.send(5, "b"));
        post.take(&owner(1), &[]);
        post.add(drain(&post.mailbox, &owner(1), &[first]));
        assert_eq!(post.take(&owner(2), &[]), [], "it lives");
        let again = post.take(&owner(2), &[1]);
        assert_eq!(texts(&again), ["b"]);
        let delivered = post.lines.last().expect("a line").data().members();
        assert_eq!(delivered["again"], true);
        post.add(drain(&post.mailbox, &owner(1), &[second]));
        assert!(!post.mailbox.letter(second).expect("known").state.is_final(), "it is not the first one's any more");
        post.add(drain(&post.mailbox, &owner(2), &[second]));
        assert_eq!(post.mailbox.letter(second).expect("known").state.as_str(), "drained");
        assert_eq!(post.mailbox.waiting(), 0);
    }

    #[test]
    fn a_full_box_lets_the_oldest_of_the_least_urgent_go_or_refuses() {
        let mut post = Post::default();
        for n in 0..MOST {
            post.send(if n % 2 == 0 { 5 } else { 8 }, &n.to_string());
        }
        let urgent = post.send(1, "urgent");
        assert_eq!((post.mailbox.waiting(), post.mailbox.letter(2).expect("known").state.as_str()), (MOST, "failed"));
        assert_eq!(post.mailbox.letter(urgent).expect("known").state, Standing::Queued);
        let idle = Draft { text: "idle".into(), priority: Some(9), ..Draft::default() };
        assert_eq!(send(&post.mailbox, &idle, &Actor::Timeout), Err(Refused::Full));
    }

    #[test]
    fn a_letter_under_a_known_key_is_sent_once() {
        let mut post = Post::default();
        let draft = Draft { text: "a".into(), key: Some("17/0".into()), ..Draft::default() };
        post.add(send(&post.mailbox, &draft, &Actor::Timeout).expect("taken in"));
        assert_eq!(send(&post.mailbox, &draft, &Actor::Timeout), Ok(Vec::new()));
        let other = Draft { key: Some("17/1".into()), ..draft };
        assert_eq!(send(&post.mailbox, &other, &Actor::Timeout).expect("taken in").len(), 1);
    }

    #[test]
    fn what_is_too_old_is_delivered_to_nobody() {
        let mut post = Post::default();
        let draft = Draft { text: "a".into(), ttl: Some(Duration::seconds(60)), ..Draft::default() };
        post.add(send(&post.mailbox, &draft, &Actor::Timeout).expect("taken in"));
        post.at = 59;
        assert!(expire(&post.mailbox, post.now(), &|_| false).is_empty());
        post.at = 60;
        assert_eq!(post.take(&owner(1), &[]), []);
        assert_eq!(post.mailbox.letter(1).expect("known").state, Standing::Expired);
    }

    #[test]
    fn a_letter_is_taken_back_by_its_sender_while_nobody_has_it() {
        let mut post = Post::default();
        let number = post.send(5, "a");
        let me = Actor::Worker("w".into());
        assert_eq!(recall(&post.mailbox, 99, "tester", &me), Err(NotRecalled::Unknown));
        assert_eq!(recall(&post.mailbox, number, "builder", &me), Err(NotRecalled::Foreign("tester".into())));
        post.add(recall(&post.mailbox, number, "tester", &me).expect("in time"));
        assert_eq!(recall(&post.mailbox, number, "tester", &me), Err(NotRecalled::Late("recalled")));
        let number = post.send(5, "b");
        post.take(&owner(1), &[]);
        let human = Actor::Human("me".into());
        assert_eq!(recall(&post.mailbox, number, "me", &human), Err(NotRecalled::Late("delivered")));
    }

    #[test]
    fn what_says_nothing_or_too_much_is_refused() {
        let refused = |draft: Draft| send(&Mailbox::default(), &draft, &Actor::Timeout).expect_err("refused");
        assert_eq!(refused(Draft { text: " \n".into(), ..Draft::default() }), Refused::Empty);
        let long = Draft { text: "x".repeat(LONGEST + 1), ..Draft::default() };
        assert_eq!(refused(long), Refused::TooLong(LONGEST + 1));
        let odd = Draft { text: "a".into(), priority: Some(0), ..Draft::default() };
        assert_eq!(refused(odd), Refused::Priority(0));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Send(u8, Option<i64>),
        Take(u32, usize),
        Drain(u32),
        Recall(u64),
        Die(u32),
        Wait(i64),
    }

    fn acts() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (1..=10_u8, proptest::option::of(1..100_i64)).prop_map(|(priority, ttl)| Act::Send(priority, ttl)),
            3 => (1..5_u32, 1..5_usize).prop_map(|(who, most)| Act::Take(who, most)),
            2 => (1..5_u32).prop_map(Act::Drain),
            1 => (1..40_u64).prop_map(Act::Recall),
            1 => (1..5_u32).prop_map(Act::Die),
            2 => (0..50_i64).prop_map(Act::Wait),
        ]
    }

    proptest! {
        /// Whatever senders, takers and clocks do, and whoever dies.
        #[test]
        fn a_letter_ends_once_is_held_by_one_and_is_never_lost(acts in proptest::collection::vec(acts(), 1..120)) {
            let mut post = Post::default();
            let mut sent = 0_u64;
            // A life that ended does not come back: whoever starts again is another process.
            let mut lives: BTreeMap<u32, u32> = (1..5).map(|who| (who, who)).collect();
            let mut dead: Vec<u32> = Vec::new();
            for act in acts {
                match act {
                    Act::Send(priority, ttl) => {
                        let draft = Draft {
                            text: "x".into(), priority: Some(priority), ttl: ttl.map(Duration::seconds), ..Draft::default()
                        };
                        post.add(send(&post.mailbox, &draft, &Actor::Timeout).expect("taken in"));
                        sent += 1;
                    }
                    Act::Take(who, most) => {
                        let me = owner(lives[&who]);
                        let is_dead = |other: &Owner| dead.contains(&other.pid);
                        let taken = take(&post.mailbox, &me, most, post.now(), &is_dead);
                        prop_assert!(taken.letters.is_sorted_by_key(|letter| (letter.priority, letter.number)));
                        for letter in &taken.letters {
                            let holder = if let Standing::Delivered { to, .. } = &letter.state { Some(to.pid) } else { None };
                            prop_assert!(holder.is_none_or(|pid| dead.contains(&pid)), "taken from the living");
                        }
                        post.add(taken.lines);
                    }
                    Act::Drain(who) => {
                        let me = owner(lives[&who]);
                        let numbers: Vec<u64> = (1..=post.mailbox.seq).collect();
                        post.add(drain(&post.mailbox, &me, &numbers));
                    }
                    Act::Recall(number) => {
                        if let Ok(lines) = recall(&post.mailbox, number, "", &Actor::Human("me".into())) {
                            post.add(lines);
                        }
                    }
                    Act::Die(who) => {
                        let life = lives.get_mut(&who).expect("one of them");
                        dead.push(*life);
                        *life += 10;
                    }
                    Act::Wait(seconds) => post.at += seconds,
                }
                let ended = post.mailbox.ended().count() as u64;
                prop_assert_eq!(post.mailbox.waiting() as u64 + ended, sent);
            }
            // Each has one end at most, and what its file says makes the same box again.
            let mut ends: BTreeMap<u64, u32> = BTreeMap::new();
            for line in &post.lines {
                let is_end = !matches!(line.data(), Data::MessageSent(_) | Data::MessageDelivered(_));
                let about = line.data().members().get("letter").and_then(serde_json::Value::as_u64);
                if let Some(number) = about.filter(|_| is_end) {
                    *ends.entry(number).or_default() += 1;
                }
            }
            prop_assert!(ends.values().all(|count| *count == 1), "{:?}", ends);
            let mut again = Mailbox::default();
            post.lines.iter().for_each(|line| again.apply(line));
            prop_assert_eq!(again, post.mailbox);
        }
    }
}
