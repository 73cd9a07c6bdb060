//! Each verb by itself.

//! What `manual` must hold.

use std::sync::Arc;

use super::*;
use crate::{
    EventDraft, Holder, Kind, Lease, LeaseRecord, LeaseState, Role, Token,
    event::payload::Ended,
    tests::{id, lease, now_at, snapshot, task},
};

pub(super) fn flow() -> Workflow {
    Workflow::shipped()
}

pub(super) fn human() -> Actor {
    Actor::Human("ada".into())
}

pub(super) fn held(mut snapshot: Snapshot, task: &str, role: &Role, token: u64, holder: Holder) -> Snapshot {
    let record = LeaseRecord::Ours(lease(task, role, token));
    snapshot.leases.insert(id(task), LeaseState { record, holder });
    snapshot
}

fn running(status: Status) -> Snapshot {
    held(snapshot(vec![task("T1", status)]), "T1", &Role::BUILDER, 3, Holder::Alive)
}

fn status(snapshot: &Snapshot, task: &str) -> Status {
    snapshot.queue.find(task).expect("there").status.clone()
}

fn moved(snapshot: &Snapshot, to: &Status, force: bool) -> Answer {
    move_to(snapshot, &flow(), &id("T1"), to, Some("because"), force, &human())
}

fn events(changes: &[(&Snapshot, &ChangeSet)]) -> Vec<Event> {
    let drafts =
        changes.iter().flat_map(|(snapshot, changes)| changes.events.iter().map(|draft| (snapshot.now.wall, draft)));
    drafts.zip(1..).map(|((time, draft), seq)| Event::number(draft.clone(), seq, time, "")).collect()
}

#[test]
fn a_task_goes_back_or_aside_but_not_past_work() {
    let legal = |status| legal_moves(&flow(), &task("T1", status)).iter().map(Status::to_string).collect::<Vec<_>>();
    let aside = ["blocked", "needs_manual", "cancelled", "done"];
    let with = |more: &[&'static str]| [more, aside.as_slice()].concat();
    assert_eq!(legal(Status::NEEDS_PLAN), ["needs_manual", "ready", "blocked", "cancelled", "done"]);
    assert_eq!(legal(Status::READY), with(&["needs_plan", "needs_adapt"]));
    assert_eq!(legal(Status::AWAITING_TEST), with(&["needs_plan", "ready", "needs_adapt"]));
    assert_eq!(legal(Status::READY_FOR_INTEGRATOR), with(&["needs_plan", "ready", "awaiting_test", "needs_adapt"]));
    let anywhere = ["needs_plan", "ready", "awaiting_test", "needs_adapt", "ready_for_integrator"];
    assert_eq!(legal(Status::CANCELLED), anywhere);
    assert_eq!(legal(Status::BLOCKED), [&anywhere, &aside[1..]].concat());
    assert_eq!(legal(Status::DONE), Vec::<String>::new());
}

#[test]
fn a_move_clears_what_belongs_to_the_old_stage() {
    let mut stuck = task("T1", Status::NEEDS_MANUAL);
    stuck.attempts = 3;
    stuck.not_before = Some(now_at(5_000).wall);
    stuck.blocked_reason = Some("no idea".into());
    stuck.lease = QueueLease::from_text("w@h#3");
    let before = snapshot(vec![stuck]);
    let changes = moved(&before, &Status::READY, false).expect("legal");
    let after = before.after(&changes).queue.find("T1").cloned().expect("there");
    assert_eq!((after.status, after.attempts, after.not_before), (Status::READY, 0, None));
    assert_eq!((after.blocked_reason, after.lease), (None, QueueLease::None));
    assert_eq!(after.updated_at, Some(before.now.wall));
    let event = &changes.events[0];
    assert_eq!((event.kind(), event.actor.to_string().as_str()), (Kind::TaskMoved, "human:ada"));
    assert_eq!(
        (&event.data.members()["from"], &event.data.members()["stamped"]),
        (&"needs_manual".into(), &true.into())
    );
}

#[test]
fn a_move_to_where_it_is_changes_nothing() {
    assert_eq!(moved(&snapshot(vec![task("T1", Status::READY)]), &Status::READY, false), Ok(ChangeSet::none()));
}

#[test]
fn an_unknown_status_is_refused_with_those_that_there_are() {
    let refusal = moved(&snapshot(vec![task("T1", Status::READY)]), &Status::new("reddy"), true);
    assert!(matches!(&refusal, Err(Refusal::UnknownStatus { known, .. }) if known.contains(&Status::READY)));
}

#[test]
fn no_force_moves_a_task_into_a_working_status() {
    let refusal = moved(&snapshot(vec![task("T1", Status::READY)]), &Status::IN_PROGRESS, true);
    assert!(matches!(&refusal, Err(Refusal::OnlyByClaim { role, .. }) if *role == Role::BUILDER), "{refusal:?}");
}

#[test]
fn force_skips_work_and_brings_back_what_is_done() {
    let ready = snapshot(vec![task("T1", Status::READY)]);
    assert!(matches!(moved(&ready, &Status::AWAITING_TEST, false), Err(Refusal::Illegal { .. })));
    assert!(moved(&ready, &Status::AWAITING_TEST, true).is_ok());
    let done = snapshot(vec![task("T1", Status::DONE)]);
    assert!(matches!(moved(&done, &Status::READY, false), Err(Refusal::Illegal { .. })));
    let changes = moved(&done, &Status::READY, true).expect("forced");
    assert_eq!(changes.edits[0].set[&Member::CompletedAt], Value::Null);
}

#[test]
fn a_running_task_is_nobodys_to_move() {
    let snapshot = running(Status::IN_PROGRESS);
    let refused = |answer: Answer| matches!(answer, Err(Refusal::Running { token: 3, .. }));
    assert!(refused(moved(&snapshot, &Status::READY, true)));
    assert!(refused(retry(&snapshot, &flow(), &id("T1"), None, &human())));
    assert!(refused(block(&snapshot, &id("T1"), "x", &human())));
    assert!(refused(done(&snapshot, &id("T1"), "x", &human())));
    assert!(refused(cancel(&snapshot, &id("T1"), None, false, &human())));
}

#[test]
fn a_dead_owners_task_is_to_be_given_back_first() {
    let dead = held(
        snapshot(vec![task("T1", Status::IN_PROGRESS)]),
        "T1",
        &Role::BUILDER,
        3,
        Holder::Dead("its pid is gone".into()),
    );
    assert!(matches!(moved(&dead, &Status::READY, false), Err(Refusal::Abandoned { dead: true, .. })));
    assert!(matches!(stop(&dead, &id("T1"), "x", &human()), Err(Refusal::Abandoned { .. })));
}

#[test]
fn running_work_keeps_its_finished_dependencies() {
    let mut second = task("T2", Status::IN_PROGRESS);
    second.dependencies = vec!["T1".into()];
    let tasks = vec![task("T1", Status::DONE), second];
    let needed = held(snapshot(tasks.clone()), "T2", &Role::BUILDER, 1, Holder::Alive);
    assert!(matches!(moved(&needed, &Status::READY, true), Err(Refusal::Needed { .. })));
    assert!(moved(&snapshot(tasks), &Status::READY, true).is_ok(), "nobody works on it");
}

#[test]
fn cancelling_a_running_task_asks_its_worker_to_stop() {
    let before = running(Status::IN_PROGRESS);
    let changes = cancel(&before, &id("T1"), Some("no longer wanted"), true, &human()).expect("asked");
    let after = before.after(&changes);
    assert_eq!(status(&after, "T1"), Status::CANCELLED);
    let stop = held_lease(&after).stop.clone().expect("asked");
    assert_eq!((stop.actor.as_str(), stop.reason.as_str()), ("human:ada", "no longer wanted"));
    assert_eq!(
        cancel(&after, &id("T1"), Some("again"), true, &human()),
        Ok(ChangeSet::none()),
        "asking twice is asking once"
    );
}

fn held_lease(snapshot: &Snapshot) -> &Lease {
    snapshot.lease(&id("T1")).expect("there")
}

#[test]
fn a_cancelled_task_comes_back_to_where_it_was() {
    let before = snapshot(vec![task("T1", Status::AWAITING_TEST)]);
    let changes = cancel(&before, &id("T1"), None, false, &human()).expect("cancelled");
    let after = before.after(&changes);
    let stage = failed_stage(&flow(), &id("T1"), &events(&[(&before, &changes)]));
    let back = retry(&after, &flow(), &id("T1"), stage.as_ref(), &human()).expect("back");
    assert_eq!(status(&after.after(&back), "T1"), Status::AWAITING_TEST);
}

#[test]
fn a_retry_starts_where_it_failed() {
    let attempt = |role: &Role| {
        let ended = Ended { class: Some("gate_failed".into()), ..Ended::default() };
        let event = EventDraft::new(Data::AttemptFinished(ended), Actor::Worker("w".into()));
        event.task(&id("T1")).role(role)
    };
    let journal = |drafts: Vec<EventDraft>| -> Vec<Event> {
        drafts.into_iter().zip(1..).map(|(draft, seq)| Event::number(draft, seq, now_at(1).wall, "")).collect()
    };
    let stage = |drafts| failed_stage(&flow(), &id("T1"), &journal(drafts));
    assert_eq!(stage(vec![attempt(&Role::BUILDER), attempt(&Role::TESTER)]), Some(Status::AWAITING_TEST));
    assert_eq!(stage(vec![]), None);

    let stuck = snapshot(vec![task("T1", Status::NEEDS_MANUAL), task("T2", Status::NEEDS_ADAPT)]);
    let to = |task: &str, stage: Option<Status>| {
        let changes = retry(&stuck, &flow(), &id(task), stage.as_ref(), &human()).expect("retried");
        status(&stuck.after(&changes), task)
    };
    assert_eq!(to("T1", Some(Status::NEEDS_ADAPT)), Status::NEEDS_ADAPT);
    assert_eq!(to("T1", None), Status::NEEDS_PLAN, "by its type");
    assert_eq!(to("T2", Some(Status::AWAITING_TEST)), Status::AWAITING_TEST);
}

#[test]
fn a_retry_of_a_waiting_task_only_ends_its_wait() {
    let mut waiting = task("T1", Status::READY);
    (waiting.attempts, waiting.not_before) = (2, Some(now_at(9_000).wall));
    let before = snapshot(vec![waiting]);
    let changes = retry(&before, &flow(), &id("T1"), Some(&Status::NEEDS_PLAN), &human()).expect("retried");
    assert_eq!(changes.events[0].kind(), Kind::TaskUpdated);
    let after = before.after(&changes);
    assert_eq!((status(&after, "T1"), after.queue.find("T1").map(|t| t.attempts)), (Status::READY, Some(0)));
    assert_eq!(
        retry(&after, &flow(), &id("T1"), None, &human()),
        Ok(ChangeSet::none()),
        "a second one has nothing to do"
    );
}

#[test]
fn an_unblocked_task_goes_back_to_where_it_was_blocked() {
    let before = snapshot(vec![task("T1", Status::READY_FOR_INTEGRATOR)]);
    let changes = block(&before, &id("T1"), "wait for the release", &human()).expect("blocked");
    let after = before.after(&changes);
    assert_eq!(after.queue.find("T1").and_then(|t| t.blocked_reason.as_deref()), Some("wait for the release"));
    let from = blocked_from(&flow(), &id("T1"), &events(&[(&before, &changes)]));
    let open = unblock(&after, &flow(), &id("T1"), from.as_ref(), None, false, &human()).expect("unblocked");
    assert_eq!(status(&after.after(&open), "T1"), Status::READY_FOR_INTEGRATOR);
}

#[test]
fn an_unblocked_task_still_waits_for_its_dependencies() {
    let mut waiting = task("T1", Status::BLOCKED);
    (waiting.dependencies, waiting.blocked_reason) = (vec!["T2".into()], Some("x".into()));
    let before = snapshot(vec![waiting, task("T2", Status::READY)]);
    let answer = |snapshot: &Snapshot, force| unblock(snapshot, &flow(), &id("T1"), None, None, force, &human());
    let after = before.after(&answer(&before, false).expect("the reason goes"));
    assert_eq!(
        (status(&after, "T1"), after.queue.find("T1").and_then(|t| t.blocked_reason.clone())),
        (Status::BLOCKED, None)
    );
    assert!(matches!(answer(&after, false), Err(Refusal::Waits { on, .. }) if on == "T2"));
    assert_eq!(status(&after.after(&answer(&after, true).expect("forced")), "T1"), Status::NEEDS_PLAN);
}

#[test]
fn done_by_hand_says_when_and_who() {
    let before = snapshot(vec![task("T1", Status::NEEDS_MANUAL)]);
    let changes = done(&before, &id("T1"), "did it myself", &human()).expect("done");
    assert_eq!(changes.edits[0].set[&Member::CompletedAt], stamp(before.now.wall));
    assert_eq!(
        (changes.events[0].actor.clone(), &changes.events[0].data.members()["reason"]),
        (human(), &"did it myself".into())
    );
    assert_eq!(done(&before.after(&changes), &id("T1"), "again", &human()), Ok(ChangeSet::none()));
}

#[test]
fn a_forced_release_takes_the_task_away_once() {
    let before = running(Status::IN_PROGRESS);
    let changes = release(&before, &flow(), &id("T1"), Token(3), None, "it hangs", &human()).expect("released");
    let after = before.after(&changes);
    assert_eq!(status(&after, "T1"), Status::READY);
    assert!(after.leases.is_empty());
    assert_eq!(after.highest_token(&id("T1")), Token(3), "its token is never given again");
    assert_eq!(release(&before, &flow(), &id("T1"), Token(2), None, "it hangs", &human()), Ok(ChangeSet::none()));
}

pub(super) fn wanted(title: &str) -> Wanted {
    Wanted { title: title.into(), ..Wanted::default() }
}

#[test]
fn a_new_task_gets_the_next_id_in_the_files_style() {
    let next = |ids: &[&str], parent: Option<&str>, kind: Option<&str>| {
        next_id(&snapshot(ids.iter().map(|id| task(id, Status::READY)).collect()), parent, kind).to_string()
    };
    assert_eq!(next(&[], None, None), "T001");
    assert_eq!(next(&["P001", "P007", "P001-B01"], None, None), "P008");
    assert_eq!(next(&["P001", "W099", "W100"], None, None), "W101");
    assert_eq!(next(&["P9"], None, None), "P10");
    assert_eq!(next(&["release-20251003", "x"], None, None), "T001");
    assert_eq!(next(&["P001", "P001-B02"], Some("P001"), Some("Build")), "P001-B03");
    assert_eq!(next(&["P001", "P001-B02"], Some("P001"), Some("Test")), "P001-T01");
}

#[test]
fn an_id_that_the_journal_knows_is_not_given_again() {
    let mut snapshot = snapshot(vec![task("T001", Status::READY)]);
    Arc::make_mut(&mut snapshot.history).known(&id("T002"));
    assert_eq!(next_id(&snapshot, None, None).as_str(), "T003");
}

#[test]
fn what_cannot_be_added_is_refused() {
    let before = snapshot(vec![task("T1", Status::READY)]);
    let add = |change: &dyn Fn(&mut Wanted)| {
        let mut wanted = wanted("a title");
        change(&mut wanted);
        add(&before, &flow(), &wanted, &human())
    };
    assert!(matches!(add(&|w| w.title = "  ".into()), Err(Refusal::BadTask(_))));
    assert!(matches!(add(&|w| w.title = "x".repeat(10_000_000)), Err(Refusal::BadTask(m)) if m.len() < 200));
    assert!(matches!(add(&|w| w.title = "a\nb".into()), Err(Refusal::BadTask(_))));
    assert!(matches!(add(&|w| w.id = Some("../../x".into())), Err(Refusal::BadTask(_))));
    assert!(matches!(add(&|w| w.id = Some("T1".into())), Err(Refusal::Taken(_))));
    assert!(matches!(add(&|w| w.dependencies = vec!["T9".into()]), Err(Refusal::Unknown(_))));
    assert!(matches!(add(&|w| w.parent = Some("T9".into())), Err(Refusal::Unknown(_))));
    assert!(matches!(add(&|w| w.status = Some(Status::new("nope"))), Err(Refusal::UnknownStatus { .. })));
    assert!(matches!(add(&|w| w.status = Some(Status::TESTING)), Err(Refusal::OnlyByClaim { .. })));
}

#[test]
fn a_new_task_stands_in_the_file_as_the_rules_see_it() {
    let before = snapshot(vec![task("T1", Status::READY)]);
    let mut wanted = wanted(" Fix it ");
    (wanted.status, wanted.dependencies) = (Some(Status::READY), vec!["T1".into()]);
    let changes = add(&before, &flow(), &wanted, &human()).expect("added");
    let new = &changes.add[0];
    assert_eq!((new.task.title.as_str(), new.json["title"].as_str()), ("Fix it", Some("Fix it")));
    assert_eq!((new.json["status"].as_str(), new.json["type"].as_str()), (Some("ready"), Some("Build")));
    let keys: Vec<&str> = new.json.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "id",
            "title",
            "type",
            "status",
            "agent",
            "lease",
            "dependencies",
            "acceptance_criteria",
            "created_at",
            "updated_at"
        ]
    );
    let event = &changes.events[0];
    assert_eq!(
        (event.kind(), &event.data.members()["to"], &event.data.members()["stamped"]),
        (Kind::TaskCreated, &"ready".into(), &true.into())
    );
}

#[test]
fn a_release_forgets_a_merge_only_where_git_says_that_it_has_not_landed() {
    let mut before =
        held(snapshot(vec![task("T1", Status::new("integrating"))]), "T1", &Role::INTEGRATOR, 3, Holder::Alive);
    let mut mine = lease("T1", &Role::INTEGRATOR, 3);
    mine.landing = Some("c0ffee".into());
    before.leases.get_mut(&id("T1")).expect("held").record = LeaseRecord::Ours(mine);
    for (not_landed, passed) in [(None, Some("c0ffee")), (Some("bead"), Some("c0ffee")), (Some("c0ffee"), None)] {
        let changes =
            release(&before, &flow(), &id("T1"), Token(3), not_landed, "it hangs", &human()).expect("released");
        let after = before.after(&changes);
        assert_eq!(landing::passed(&after, &id("T1")).as_deref(), passed);
        assert_eq!(cancel(&after, &id("T1"), None, false, &human()).is_ok(), passed.is_none());
    }
}
