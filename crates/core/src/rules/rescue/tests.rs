//! What is given back, to where, and what is left alone.

use super::*;
use crate::{
    Holder, Kind, Lease, LeaseRecord, Status,
    claim::{self},
    tests::{claimant, id, now_at, snapshot, task},
};
use std::sync::Arc;

fn flow() -> Workflow {
    Workflow::shipped()
}

fn working(role: &Role) -> Snapshot {
    let status = flow().rule(role).expect("shipped").takes.clone();
    let before = snapshot(vec![task("A", status)]);
    let (changes, _) = claim::decide(&before, &flow(), &claimant(role)).expect("a claim");
    before.after(&changes)
}

fn kill(snapshot: &mut Snapshot) {
    snapshot.leases.get_mut(&id("A")).expect("held").holder = Holder::Dead("its process is gone".into());
}

fn rescued(before: &Snapshot) -> Snapshot {
    before.after(&decide(before, &flow(), &Retry::default(), &find(before, &flow()), "r@h"))
}

fn only(snapshot: &Snapshot) -> &Task {
    snapshot.queue.tasks().next().expect("one task")
}

#[test]
fn a_living_owner_is_left_alone() {
    let before = working(&Role::BUILDER);
    assert!(find(&before, &flow()).is_empty());
}

#[test]
fn a_dead_owners_task_goes_back_to_where_it_was_taken_from() {
    for rule in flow().rules() {
        let mut before = working(&rule.role);
        kill(&mut before);
        let changes = decide(&before, &flow(), &Retry::default(), &find(&before, &flow()), "r@h");
        let reason = changes
            .events
            .iter()
            .rev()
            .find_map(|event| event.data.members().get("reason")?.as_str().map(String::from));
        assert_eq!(reason.as_deref(), Some("interrupted: its process is gone"));
        let after = before.after(&changes);
        assert_eq!(only(&after).status, rule.takes);
        assert_eq!((only(&after).attempts, after.leases.len()), (0, 0));
        assert!(find(&after, &flow()).is_empty());
    }
}

#[test]
fn what_is_given_back_is_told_with_its_owner_and_the_proof() {
    let mut before = working(&Role::BUILDER);
    kill(&mut before);
    before.leases.get_mut(&id("A")).expect("held").record = match before.leases[&id("A")].record.clone() {
        LeaseRecord::Ours(lease) => LeaseRecord::Ours(Lease { landing: Some("c0ffee".into()), ..lease }),
        other => other,
    };
    let told =
        |before: &Snapshot| decide(before, &flow(), &Retry::default(), &find(before, &flow()), "r@h").events[0].clone();
    let rescued = Rescued {
        owner: Some("w@h".into()),
        reason: Some("its process is gone".into()),
        died: Some(true),
        landed: Some("c0ffee".into()),
        ..Rescued::default()
    };
    let event = EventDraft {
        data: Data::LeaseRescued(rescued),
        actor: Actor::Worker("r@h".into()),
        task: Some(id("A")),
        role: Some(Role::BUILDER),
        attempt: Some(1),
        token: Some(Token(1)),
        simulated: false,
    };
    assert_eq!(told(&before), event);
    before.leases.clear();
    let reason = Some("`in_progress` without a lease".into());
    let rescued = Rescued { reason, died: Some(false), ..Rescued::default() };
    assert_eq!(told(&before), EventDraft { data: Data::LeaseRescued(rescued), attempt: None, ..event });
}

#[test]
fn a_dead_lease_whose_file_stays_is_told_once_and_dropped_as_long_as_it_is_there() {
    let mut before = working(&Role::BUILDER);
    kill(&mut before);
    let mut after = rescued(&before);
    after.leases = before.leases.clone();
    let again = decide(&after, &flow(), &Retry::default(), &find(&after, &flow()), "r@h");
    assert!(again.events.is_empty() && again.leases.len() == 1, "{again:?}");
    assert_eq!(only(&after.after(&again)).status, Status::READY);
    assert!(after.after(&again).leases.is_empty());
}

#[test]
fn whom_a_human_stopped_stays_stopped_when_its_owner_is_gone_before_it_settles() {
    let mut before = working(&Role::BUILDER);
    let mut mine = before.leases[&id("A")].ours().expect("ours").clone();
    mine.stop = Some(crate::lease::StopRequest { actor: "human:me".into(), reason: "not now".into(), cancel: false });
    before.leases.get_mut(&id("A")).expect("held").record = LeaseRecord::Ours(mine.clone());
    kill(&mut before);
    let after = rescued(&before);
    assert_eq!(only(&after).status, Status::BLOCKED);
    assert_eq!(only(&after).blocked_reason.as_deref(), Some("stopped by human:me: not now"));
    // What is too late to stop was said to be so, and is finished or undone as a merge.
    mine.landing = Some("c0ffee".into());
    before.leases.get_mut(&id("A")).expect("held").record = LeaseRecord::Ours(mine);
    kill(&mut before);
    assert_eq!(only(&rescued(&before)).status, Status::READY);
}

#[test]
fn a_silent_owner_is_taken_over_only_after_the_ttl() {
    let mut before = working(&Role::BUILDER);
    before.now = now_at(1_000 + 5_399);
    assert!(find(&before, &flow()).is_empty());
    before.now = now_at(1_000 + 5_401);
    let found = find(&before, &flow());
    assert_eq!((found.len(), found[0].died), (1, false));
    assert_eq!(only(&rescued(&before)).status, Status::READY);
}

#[test]
fn an_owner_that_woke_before_it_died_is_looked_at_anew() {
    let mut before = working(&Role::BUILDER);
    before.now = now_at(1_000 + 5_401);
    let ended = find(&before, &flow());
    let mine = before.leases[&id("A")].ours().expect("ours").beaten(&before.now);
    before.leases.get_mut(&id("A")).expect("held").record = LeaseRecord::Ours(mine);
    kill(&mut before);
    assert!(decide(&before, &flow(), &Retry::default(), &ended, "r@h").is_empty());
    assert_eq!(only(&rescued(&before)).status, Status::READY);
}

#[test]
fn a_task_that_was_claimed_again_in_between_is_not_touched() {
    let mut before = working(&Role::BUILDER);
    kill(&mut before);
    let ended = find(&before, &flow());
    let freed = rescued(&before);
    let (changes, _) = claim::decide(&freed, &flow(), &claimant(&Role::BUILDER)).expect("claimed again");
    let again = freed.after(&changes);
    assert!(decide(&again, &flow(), &Retry::default(), &ended, "r@h").is_empty());
}

#[test]
fn an_active_status_without_a_lease_is_given_back() {
    let mut before = snapshot(vec![task("A", Status::TESTING)]);
    assert_eq!(only(&rescued(&before)).status, Status::AWAITING_TEST);
    Arc::make_mut(&mut before.queue).edit(&id("A"), |task| {
        task.lease = QueueLease::Inline { owner: "old".into(), until: Some(now_at(2_000).wall) };
    });
    assert!(find(&before, &flow()).is_empty(), "an old helper's lease in the queue is respected");
}

#[test]
fn a_lease_without_an_active_status_is_removed() {
    let mut before = working(&Role::BUILDER);
    kill(&mut before);
    Arc::make_mut(&mut before.queue).edit(&id("A"), |task| task.status = Status::AWAITING_TEST);
    let after = rescued(&before);
    assert_eq!((only(&after).status.clone(), only(&after).lease.clone()), (Status::AWAITING_TEST, QueueLease::None));
    assert!(after.leases.is_empty());
}

#[test]
fn a_lease_without_a_task_is_removed() {
    let mut before = working(&Role::BUILDER);
    kill(&mut before);
    before.queue = Arc::default();
    assert!(rescued(&before).leases.is_empty());
}

#[test]
fn a_task_that_kills_its_worker_again_and_again_is_charged() {
    let mut now = working(&Role::BUILDER);
    let strict = Retry { attempts: 1, ..Retry::default() };
    for round in 1..=3 {
        kill(&mut now);
        let changes = decide(&now, &flow(), &strict, &find(&now, &flow()), "r@h");
        now = now.after(&changes);
        if round < 3 {
            assert_eq!(only(&now).status, Status::READY, "round {round}");
            let (changes, _) = claim::decide(&now, &flow(), &claimant(&Role::BUILDER)).expect("claimed again");
            now = now.after(&changes);
        }
    }
    assert_eq!(only(&now).status, Status::NEEDS_ADAPT);
    assert!(only(&now).blocked_reason.as_deref().is_some_and(|reason| reason.contains("died 3 times")));
}

#[test]
fn the_token_of_what_nobody_holds_is_told_where_there_was_one() {
    let told = |before: &Snapshot| {
        let changes = decide(before, &flow(), &Retry::default(), &find(before, &flow()), "r@h");
        changes.events.iter().find(|event| event.kind() == Kind::LeaseRescued).expect("told").token
    };
    assert_eq!(told(&snapshot(vec![task("A", Status::TESTING)])), None);
    for token in [1, 9] {
        let mut one = task("A", Status::TESTING);
        one.lease = QueueLease::Ours { owner: "w@h".into(), token: Token(token) };
        assert_eq!(told(&snapshot(vec![one])), Some(Token(token)));
    }
}

#[test]
fn an_owner_that_was_only_silent_costs_no_attempt_however_many_there_were() {
    let mut before = working(&Role::BUILDER);
    Arc::make_mut(&mut before.queue).edit(&id("A"), |task| task.attempts = 7);
    before.now = now_at(1_000 + 5_401);
    let after = rescued(&before);
    assert_eq!((only(&after).status.clone(), only(&after).attempts), (Status::READY, 7));
    assert_eq!(only(&after).blocked_reason, None);
}

#[test]
fn who_takes_over_a_task_that_kills_starts_to_count_anew() {
    for attempts in [0, 2] {
        let mut before = working(&Role::BUILDER);
        Arc::make_mut(&mut before.queue).edit(&id("A"), |task| task.attempts = attempts);
        kill(&mut before);
        let strict = Retry { attempts: 1, deaths: 1, ..Retry::default() };
        let changes = decide(&before, &flow(), &strict, &find(&before, &flow()), "r@h");
        assert_eq!(changes.edits[0].set.contains_key(&Member::Attempts), attempts != 0, "no needless change");
        let after = before.after(&changes);
        assert_eq!((only(&after).status.clone(), only(&after).attempts), (Status::NEEDS_ADAPT, 0));
    }
}

#[test]
fn an_unreadable_lease_file_holds_nothing() {
    let mut before = snapshot(vec![task("A", Status::READY)]);
    let record = LeaseRecord::Broken { task_id: id("A"), reason: "not JSON".into() };
    before.leases.insert(id("A"), crate::LeaseState { record, holder: Holder::Unknown });
    let look = |seen: &Snapshot| decide(seen, &flow(), &Retry::default(), &find(seen, &flow()), "r@h");
    assert_eq!(look(&before).events.len(), 1);
    let mut after = rescued(&before);
    assert!(after.leases.is_empty());
    after.leases = before.leases.clone();
    let again = look(&after);
    assert!(again.events.is_empty() && again.leases.len() == 1, "told once, also without a token: {again:?}");
    // Another claim of it, and a status or a mark that says that somebody is at work, are news.
    let mut another = after.clone();
    let mut mine = crate::tests::lease("A", &Role::BUILDER, 5);
    mine.started_at = another.now.wall;
    let held = crate::LeaseState { record: LeaseRecord::Ours(mine), holder: Holder::Dead("gone".into()) };
    another.leases.insert(id("A"), held);
    assert!(!look(&another).events.is_empty());
    let mut working = after.clone();
    Arc::make_mut(&mut working.queue).edit(&id("A"), |task| task.status = Status::IN_PROGRESS);
    assert_eq!(only(&rescued(&working)).status, Status::READY);
    let mut marked = after.clone();
    let ours = QueueLease::Ours { owner: "w@h".into(), token: Token(0) };
    Arc::make_mut(&mut marked.queue).edit(&id("A"), |task| task.lease = ours.clone());
    assert_eq!(only(&rescued(&marked)).lease, QueueLease::None);
}
