//! Giving back what a dead or lost owner held, and mending what a crash left half done.
//!
//! In two steps: [`find`] says what must be ended first, [`decide`] gives back what has been seen gone.

use crate::{
    ChangeSet, Data, EventDraft, LeaseChange, LeaseState, Member, QueueLease, Role, RoleRule, RunName, Snapshot, Task,
    TaskId, Token, Workflow,
    event::{Actor, payload::Rescued},
    landing,
    lease::{LeaseHealth, lasts},
    outcome::Retry,
    settle::moved,
    state::SetBy,
};
use serde_json::Value;

/// Something that a dead or lost owner left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The task.
    pub task: TaskId,
    /// The token of the attempt whose processes must be ended first.
    pub token: Token,
    /// The directory of that attempt.
    pub run: RunName,
    /// The role that had it, if it can be told.
    pub role: Option<Role>,
    /// The proof, in words.
    pub reason: String,
    /// The owner is dead, not only silent: the task may have taken it down.
    pub died: bool,
    /// There is a lease file to remove.
    pub lease: bool,
    /// The last heartbeat in it: an owner that has beaten since may have started something since.
    pub beat: Option<u64>,
    /// The commit as which it is in the target already, although nobody has said so.
    pub landed: Option<String>,
}

impl Orphan {
    /// Tells whether it is the same owner, still gone, and gone all the while.
    pub fn is(&self, other: &Self) -> bool {
        (&self.task, self.token, self.lease, self.beat) == (&other.task, other.token, other.lease, other.beat)
    }
}

/// Finds what dead and lost owners left, and working statuses without a lease.
pub fn find(snapshot: &Snapshot, workflow: &Workflow) -> Vec<Orphan> {
    let mut left: Vec<Orphan> = Vec::new();
    let run = |id: &TaskId, token: Token| snapshot.run_name(id, token).unwrap_or_else(|| RunName::of(token));
    for (id, held) in &snapshot.leases {
        let (reason, died) = match held.health(&snapshot.now) {
            LeaseHealth::Live => continue,
            LeaseHealth::Dead(reason) => (reason, held.ours().is_some()),
            LeaseHealth::Lost(reason) => (reason, false),
        };
        let token = snapshot.highest_token(id);
        left.push(Orphan {
            task: id.clone(),
            token,
            run: run(id, token),
            role: held.role().cloned(),
            reason,
            died,
            lease: true,
            beat: held.ours().map(|lease| lease.heartbeat_mono_ms),
            landed: landing::passed(snapshot, id),
        });
    }
    for task in snapshot.queue.tasks() {
        let Some(rule) = workflow.working(&task.status) else { continue };
        if snapshot.leases.contains_key(&task.id) || inline_lives(snapshot, task) {
            continue;
        }
        left.push(Orphan {
            task: task.id.clone(),
            token: snapshot.highest_token(&task.id),
            run: run(&task.id, snapshot.highest_token(&task.id)),
            role: Some(rule.role.clone()),
            reason: format!("`{}` without a lease", task.status),
            died: false,
            lease: false,
            beat: None,
            landed: landing::passed(snapshot, &task.id),
        });
    }
    left
}

fn inline_lives(snapshot: &Snapshot, task: &Task) -> bool {
    matches!(&task.lease, QueueLease::Inline { until: Some(until), .. } if lasts(snapshot.now.wall, *until))
}

/// Gives back what was found and whose processes have been ended; what has changed since is left alone.
pub fn decide(snapshot: &Snapshot, workflow: &Workflow, retry: &Retry, ended: &[Orphan], by: &str) -> ChangeSet {
    let mut changes = ChangeSet::none();
    let now_left = find(snapshot, workflow);
    for left in ended {
        // The same owner must still be gone, and must have been all the while: a claim or a settlement may have
        // come in between, or it woke, started something that nobody has ended, and only then died.
        if !now_left.iter().any(|now| now.is(left)) {
            continue;
        }
        let actor = || Actor::Worker(by.to_owned());
        if left.lease {
            changes.leases.push(LeaseChange::Drop(left.task.clone()));
        }
        if is_told(snapshot, workflow, left) {
            continue;
        }
        let held = snapshot.leases.get(&left.task).and_then(|held| held.ours());
        let rescued = Rescued {
            owner: held.map(|lease| lease.owner.clone()),
            reason: Some(left.reason.clone()),
            died: Some(left.died),
            landed: left.landed.clone(),
            ..Rescued::default()
        };
        let event = EventDraft::new(Data::LeaseRescued(rescued), actor()).task(&left.task);
        changes.event(match held {
            Some(lease) => event.lease(lease),
            None => {
                let token = Some(left.token).filter(|token| token.0 > 0);
                EventDraft { role: left.role.clone(), token, ..event }
            }
        });
        if let Some(task) = snapshot.queue.get(&left.task) {
            give_back(snapshot, workflow, retry, &mut changes, task, left, actor());
        }
    }
    changes
}

/// Tells whether it was given back already, and only its file is still there: whoever may not remove that would tell it
/// again with every look, without end.
fn is_told(snapshot: &Snapshot, workflow: &Workflow, left: &Orphan) -> bool {
    let works = |task: &Task| workflow.working(&task.status).is_some() || matches!(task.lease, QueueLease::Ours { .. });
    let known = snapshot.history.task(&left.task);
    left.lease
        && known.is_some_and(|known| known.is_given_back && known.given_back >= left.token)
        && !snapshot.queue.get(&left.task).is_some_and(works)
}

fn give_back(
    snapshot: &Snapshot,
    workflow: &Workflow,
    retry: &Retry,
    changes: &mut ChangeSet,
    task: &Task,
    left: &Orphan,
    actor: Actor,
) {
    let ours_in_queue = matches!(task.lease, QueueLease::Ours { .. });
    let mut event = EventDraft::change(actor);
    event.role = left.role.clone();
    let Some(rule) = workflow.working(&task.status).or_else(|| lapsed(snapshot, workflow, task, left)) else {
        // The task has moved on; only our mark on it goes.
        if ours_in_queue {
            changes.change(&snapshot.now, task, &task.status, &[(Member::Lease, Value::Null)], event);
        }
        return;
    };
    let mut set = vec![(Member::Lease, Value::Null)];
    // Who asked for the end was told yes: the task stays stopped, as if its owner had lived to settle it.
    let held = snapshot.leases.get(&task.id).and_then(LeaseState::ours);
    if let Some(stop) = held.filter(|_| left.landed.is_none()).and_then(|lease| lease.stop.as_ref()) {
        let reason = stop.to_string();
        if !stop.cancel {
            set.push((Member::BlockedReason, reason.as_str().into()));
        }
        changes.change(&snapshot.now, task, &stop.to(), &set, event.reason(reason.as_str()));
        return;
    }
    let deaths = snapshot.history.task(&task.id).map_or(0, |known| known.deaths) + u32::from(left.died);
    let poison = left.died && deaths >= retry.deaths;
    let attempts = task.attempts.saturating_add(u32::from(poison));
    if poison && attempts >= retry.attempts {
        let reason = format!("its worker died {deaths} times in a row while working on it, the last: {}", left.reason);
        set.push((Member::BlockedReason, reason.as_str().into()));
        if task.attempts != 0 {
            set.push((Member::Attempts, 0.into()));
        }
        changes.change(&snapshot.now, task, &rule.failed, &set, event.reason(reason.as_str()));
        return;
    }
    if poison {
        set.push((Member::Attempts, attempts.into()));
    }
    let mut reason = format!("interrupted: {}", left.reason);
    if task.status != rule.works {
        reason.push_str(&format!("; nobody has checked what made its agent set it to `{}`", task.status));
    }
    changes.change(&snapshot.now, task, &rule.takes, &set, event.reason(reason.as_str()));
}

/// Returns the role whose attempt set the task's status itself and did not live to have that checked: it does not
/// count.
fn lapsed<'a>(snapshot: &Snapshot, workflow: &'a Workflow, task: &Task, left: &Orphan) -> Option<&'a RoleRule> {
    let by_attempt = moved::set_by(snapshot.history.task(&task.id), task) == SetBy::Attempt;
    let rule = left.role.as_ref().and_then(|role| workflow.rule(role))?;
    let asked = snapshot.leases.get(&task.id).and_then(LeaseState::ours).and_then(|lease| lease.stop.as_ref());
    (by_attempt && !moved::stands(workflow, &task.status, asked)).then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Holder, Kind, LeaseRecord, Status,
        claim::{self},
        testing::{claimant, id, now_at, snapshot, task},
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
        mine.stop =
            Some(crate::lease::StopRequest { actor: "human:me".into(), reason: "not now".into(), cancel: false });
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
        assert_eq!(
            (only(&after).status.clone(), only(&after).lease.clone()),
            (Status::AWAITING_TEST, QueueLease::None)
        );
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
        let mut mine = crate::testing::lease("A", &Role::BUILDER, 5);
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
}
