//! Hand-offs on a queue that the test moves.

use proptest::prelude::*;

use super::*;
use crate::{
    Edit, Role, Status, Token,
    event::payload::Mail,
    policy::Policy,
    tests::{lease, snapshot, task},
};

fn on(topic: Topic, to: &str) -> On {
    On { topic, to: Some(to.into()), from: None, role: None, kind: None }
}

fn makes(title: &str) -> Deed {
    Deed { task: Some(Wanted { title: title.into(), ..Wanted::default() }), ..Deed::default() }
}

fn tells(to: &str, text: &str) -> Deed {
    Deed { message: Some(Note { to: to.into(), text: text.into(), ..Note::default() }), ..Deed::default() }
}

fn rule(name: &str, on: On, then: Deed) -> Handoff {
    Handoff { name: name.into(), on, then }
}

/// A fleet with hand-offs, and what they have said.
struct Scene {
    now: Snapshot,
    flow: Workflow,
}

impl Scene {
    fn new(handoffs: Vec<Handoff>, tasks: Vec<Task>) -> Self {
        let flow = Workflow::shipped().under(Policy { handoffs, ..Policy::default() });
        let mut scene = Self { now: snapshot(tasks), flow };
        assert!(scene.look().iter().all(|said| said.starts_with("set ")), "they count from when they are first seen");
        scene
    }

    /// Looks until nothing more comes; answers what was done.
    fn look(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..MOST {
            let changes = decide(&self.now, &self.flow);
            if changes.is_empty() {
                return all;
            }
            self.now.advance(&changes);
            all.extend(changes.events.iter().filter_map(said));
        }
        panic!("it goes on for ever: {all:?}");
    }

    fn moves(&mut self, task: &str, to: &Status, by: Actor) {
        let task = self.now.queue.find(task).expect("there").clone();
        let changes = ChangeSet::edited(&self.now.now, [(&task, Edit::by(by).to(to))]);
        self.now.advance(&changes);
    }

    fn sends(&mut self, mail: Mail) {
        let mut sent = EventDraft::new(Data::MessageSent(mail), Actor::Worker("w".into()));
        sent = sent.lease(&lease("A", &Role::TESTER, Token(3).0));
        self.now.advance(&ChangeSet::told([sent]));
    }

    fn ids(&self) -> Vec<&str> {
        self.now.queue.tasks().map(|task| task.id.as_str()).collect()
    }
}

fn said(event: &EventDraft) -> Option<String> {
    let text = |words: &Option<String>| words.clone().unwrap_or_default();
    match &event.data {
        Data::HandoffSet(said) => Some(format!("set {}", text(&said.on))),
        Data::HandoffFired(said) => Some(format!("{}: {}", text(&said.handoff), text(&said.did))),
        Data::HandoffRefused(said) => Some(format!("{} refused: {}", text(&said.handoff), text(&said.reason))),
        Data::MessageSent(mail) => Some(format!("{} to {}: {}", text(&mail.from), text(&mail.to), text(&mail.text))),
        _ => None,
    }
}

fn human() -> Actor {
    Actor::Human("me@tty".into())
}

#[test]
fn what_happens_is_answered_once_in_one_commit_whoever_did_it_and_what_was_before_the_rule_is_not() {
    let verify = rule("verify", on(Topic::Moved, "awaiting_test"), makes("Verify {task}: {title}"));
    let tell = rule("tell", on(Topic::Moved, "awaiting_test"), tells("human", "{task} came from {from} to {to}"));
    let mut one = task("A", Status::READY);
    one.title = "Say {hello}".into();
    let mut scene = Scene::new(vec![verify, tell], vec![one, task("B", Status::AWAITING_TEST)]);
    assert_eq!(scene.look(), [""; 0], "B came there before anybody watched");
    scene.moves("A", &Status::AWAITING_TEST, human());
    assert_eq!(
        scene.look(),
        [
            "verify: makes \"Verify {task}: {title}\"",
            "handoff tell to human: A came from ready to awaiting_test",
            "tell: tells human"
        ]
    );
    let made = scene.now.queue.find("verify-A").expect("made");
    assert_eq!((made.title.as_str(), &made.status), ("Verify A: Say {hello}", &scene.flow.entry()));
    assert_eq!(scene.look(), [""; 0]);
    // A hand edit in the file is no less.
    scene.moves("A", &Status::READY, human());
    scene.moves("A", &Status::AWAITING_TEST, Actor::Outside);
    assert_eq!(scene.look().len(), 3);
    assert_eq!(scene.ids(), ["A", "B", "verify-A", "verify-A-2"]);
}

#[test]
fn a_rule_answers_only_what_it_says() {
    let all = |topic| On { topic, to: None, from: None, role: None, kind: None };
    let rules = vec![
        rule("typed", On { kind: Some("build".into()), ..all(Topic::Moved) }, tells("human", "typed")),
        rule("left", On { from: Some("ready".into()), ..all(Topic::Moved) }, tells("human", "left")),
        rule("by", On { role: Some("tester".into()), ..all(Topic::Sent) }, tells("human", "by {role}")),
        rule("kind", On { kind: Some("bug_report".into()), ..on(Topic::Sent, "planner") }, makes("Fix: {text}")),
        rule("new", all(Topic::Created), tells("human", "new {task}")),
    ];
    let mut one = task("A", Status::READY);
    one.kind = Some("Build".into());
    let mut scene = Scene::new(rules, vec![one, task("B", Status::BLOCKED)]);
    scene.moves("B", &Status::READY, human());
    assert_eq!(scene.look(), [""; 0]);
    scene.moves("A", &Status::AWAITING_TEST, human());
    assert_eq!(scene.look().len(), 4);
    let mail = |kind: &str, to: &str| Mail {
        to: Some(to.into()),
        text: Some("no\nsound".into()),
        kind: Some(kind.into()),
        priority: Some(1),
        ..Mail::default()
    };
    scene.sends(mail("bug_report", "human"));
    assert_eq!(scene.look(), ["handoff by to human: by tester", "by: tells human"]);
    scene.sends(mail("bug_report", "planner"));
    let said = scene.look();
    assert!(said.contains(&"kind: makes \"Fix: {text}\"".into()), "{said:?}");
    assert!(said.contains(&"handoff new to human: new kind-A".into()), "{said:?}");
    let made = scene.now.queue.find("kind-A").expect("made");
    assert_eq!((made.title.as_str(), made.priority), ("Fix: no sound", 10), "as urgent as the message");
}

#[test]
fn a_task_is_moved_only_where_a_person_could_and_while_it_stands_where_it_came() {
    let back = rule("back", on(Topic::Moved, "awaiting_test"), Deed { to: Some(Status::READY), ..Deed::default() });
    let skip = rule("skip", on(Topic::Moved, "needs_plan"), Deed { to: Some(Status::DONE), ..Deed::default() });
    let mut scene = Scene::new(vec![back, skip], vec![task("A", Status::READY), task("B", Status::READY)]);
    scene.moves("A", &Status::AWAITING_TEST, human());
    assert_eq!(scene.look(), ["back: moves it to `ready`"]);
    assert_eq!(scene.now.queue.find("A").expect("there").status, Status::READY);
    scene.moves("A", &Status::AWAITING_TEST, human());
    scene.moves("A", &Status::BLOCKED, human());
    assert_eq!(scene.look(), ["back refused: A is `blocked` by now"]);
}

#[test]
fn rules_that_call_each_other_end_at_the_bound_and_say_so() {
    let again = rule("again", on(Topic::Created, "needs_plan"), makes("Once more"));
    let mut scene = Scene::new(vec![again], Vec::new());
    let wanted = Wanted { title: "First".into(), id: Some("A".into()), ..Wanted::default() };
    let first = manual::add(&scene.now, &scene.flow, &wanted, &human()).expect("added");
    scene.now.advance(&first);
    let said = scene.look();
    assert_eq!(scene.ids().len(), 6, "{said:?}");
    let last = said.last().expect("something");
    assert_eq!(last, "again refused: 5 hand-offs in a row led to this task, and limits.handoffs is 5");
    // A task that goes round and round is answered so often, and no more.
    let mut scene = Scene::new(
        vec![rule("tell", on(Topic::Moved, "ready"), tells("human", "again"))],
        vec![task("A", Status::BLOCKED)],
    );
    let mut all = Vec::new();
    for _ in 0..=MOST {
        scene.moves("A", &Status::READY, human());
        all.extend(scene.look());
        scene.moves("A", &Status::BLOCKED, human());
    }
    assert_eq!(all.iter().filter(|said| said.starts_with("tell: ")).count(), MOST as usize);
    assert_eq!(all.last().expect("something"), "tell refused: it was answered 20 times for this task already");
}

#[test]
fn what_a_rule_makes_of_a_strangers_task_is_a_strangers() {
    let verify = rule("verify", on(Topic::Moved, "awaiting_test"), makes("Verify {title}"));
    let mut one = task("A", Status::READY);
    (one.trusted, one.source) = (false, Some("github".into()));
    let mut scene = Scene::new(vec![verify], vec![one]);
    scene.moves("A", &Status::AWAITING_TEST, human());
    scene.look();
    let made = scene.now.queue.find("verify-A").expect("made");
    assert!(!made.trusted);
    assert_eq!(made.source.as_deref(), Some("github"));
}

#[test]
fn a_task_that_a_crash_left_without_its_word_is_not_made_twice() {
    let verify = rule("verify", on(Topic::Moved, "awaiting_test"), makes("Verify {task}"));
    let mut scene = Scene::new(vec![verify], vec![task("A", Status::READY)]);
    let left = task("verify-A", Status::NEEDS_PLAN);
    std::sync::Arc::make_mut(&mut scene.now.queue).push(left);
    scene.moves("A", &Status::AWAITING_TEST, human());
    assert_eq!(scene.look().len(), 1);
    assert_eq!(scene.ids(), ["A", "verify-A"]);
}

#[test]
fn more_than_is_remembered_is_told() {
    let tell = rule("tell", on(Topic::Moved, "blocked"), tells("human", "x"));
    let mut scene = Scene::new(vec![tell], vec![task("A", Status::READY)]);
    for _ in 0..501 {
        scene.moves("A", &Status::BLOCKED, human());
        scene.moves("A", &Status::READY, human());
    }
    let said = scene.look();
    assert!(said[0].starts_with("tell refused: more happened than is remembered"), "{said:?}");
}

#[test]
fn a_rule_that_answers_something_else_by_now_counts_anew() {
    let tell = |to: &str| rule("tell", on(Topic::Moved, to), tells("human", "x"));
    let mut scene = Scene::new(vec![tell("ready")], vec![task("A", Status::READY)]);
    scene.moves("A", &Status::BLOCKED, human());
    scene.flow = Workflow::shipped().under(Policy { handoffs: vec![tell("blocked")], ..Policy::default() });
    assert_eq!(scene.look(), ["set task.moved to=blocked"]);
    assert_eq!(scene.look(), [""; 0]);
    // A worker that has read its configuration before leaves it so, or the two would change it to and fro for ever.
    let newer = std::mem::replace(&mut scene.flow, Workflow::shipped().under(Policy::default()));
    let old = Policy { handoffs: vec![tell("ready")], ..Policy::default() };
    scene.flow = Workflow::shipped().under(old).read_at(scene.now.now.wall);
    scene.moves("A", &Status::READY, human());
    assert_eq!(scene.look(), [""; 0]);
    scene.flow = newer;
    scene.moves("A", &Status::BLOCKED, human());
    assert_eq!(scene.look().len(), 2);
}

proptest! {
    /// Whatever is moved where, and however often somebody looks: each rule answers each move that is for it once.
    #[test]
    fn each_move_is_answered_once(moves in proptest::collection::vec((0..3usize, any::<bool>(), any::<bool>()), 1..40)) {
        let tell = rule("tell", on(Topic::Moved, "ready"), tells("human", "{task}"));
        let names = ["A", "B", "C"];
        let mut scene = Scene::new(vec![tell], names.map(|name| task(name, Status::BLOCKED)).into());
        let (mut expected, mut told) = ([0; 3], [0; 3]);
        let mut count = |said: Vec<String>| {
            for (told, name) in told.iter_mut().zip(names) {
                *told += said.iter().filter(|said| **said == format!("handoff tell to human: {name}")).count();
            }
        };
        for (at, ready, looks) in moves {
            let to = if ready { Status::READY } else { Status::BLOCKED };
            if scene.now.queue.find(names[at]).expect("there").status != to && expected[at] < MOST as usize {
                scene.moves(names[at], &to, human());
                expected[at] += usize::from(ready);
            }
            if looks {
                count(scene.look());
            }
        }
        count(scene.look());
        prop_assert_eq!(told, expected);
    }
}
