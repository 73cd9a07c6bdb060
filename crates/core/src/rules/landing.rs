//! Whether an attempt may still go on, and whether what a merge has made may become the target.
//!
//! A merge asks here in the critical section of the store, right before the target moves. What says no then
//! is heard; what is said later is told that it came too late.

use crate::{
    ChangeSet, Class, Data, Edit, EventDraft, Lease, LeaseChange, Member, QueueLease, Snapshot, Status, Task, TaskId,
    Workflow, decision,
    event::{Actor, payload::Landing},
    lease::StopRequest,
    policy::Makes,
};

/// The reason why an attempt has lost its right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Veto {
    /// A greater token exists.
    #[error("a newer claim of the task exists")]
    Superseded,
    /// Somebody removed the lease file.
    #[error("its lease was removed")]
    LeaseGone,
    /// Somebody asked for the end.
    #[error("{0}")]
    Asked(StopRequest),
    /// The task was cancelled in the queue.
    #[error("the task was cancelled")]
    Cancelled,
    /// The task was taken out of the queue.
    #[error("the task was taken out of the queue")]
    Gone,
    /// Somebody has moved the task on; only a merge minds.
    #[error("the task was moved to `{0}`")]
    Moved(Status),
    /// It lacks a human's approval, or has one for something else; this stops merges only.
    #[error("the task has changed since it was approved, or nobody has approved it")]
    Unapproved,
}

impl Veto {
    /// Returns the class of failure that it means for the attempt.
    pub fn class(&self) -> Class {
        match self {
            Self::Superseded | Self::LeaseGone => Class::Superseded,
            Self::Asked(_) | Self::Cancelled | Self::Gone => Class::Cancelled,
            Self::Moved(_) | Self::Unapproved => Class::Interrupted,
        }
    }
}

/// Finds the request of somebody who was told yes to it: that the attempt ends, whatever came of it.
pub fn asked<'a>(snapshot: &'a Snapshot, lease: &Lease) -> Option<&'a StopRequest> {
    snapshot.lease(&lease.task_id).filter(|held| held.token == lease.token)?.stop.as_ref()
}

/// Says why an attempt must stop, seen from outside of it.
pub fn lost(snapshot: &Snapshot, lease: &Lease) -> Option<Veto> {
    if snapshot.supersedes(lease) {
        return Some(Veto::Superseded);
    }
    if let Some(stop) = asked(snapshot, lease) {
        return Some(Veto::Asked(stop.clone()));
    }
    match snapshot.queue.get(&lease.task_id) {
        None => Some(Veto::Gone),
        Some(task) if task.status == Status::CANCELLED => Some(Veto::Cancelled),
        // Without the file, but not settled: somebody removed it.
        Some(task)
            if snapshot.lease(&lease.task_id).is_none()
                && task.lease == (QueueLease::Ours { owner: lease.owner.clone(), token: lease.token }) =>
        {
            Some(Veto::LeaseGone)
        }
        Some(_) => None,
    }
}

/// Says why what an attempt has merged may not become the target.
fn veto(snapshot: &Snapshot, workflow: &Workflow, lease: &Lease) -> Option<Veto> {
    let gone = || snapshot.lease(&lease.task_id).is_none().then_some(Veto::LeaseGone);
    lost(snapshot, lease).or_else(gone).or_else(|| {
        let task = snapshot.queue.get(&lease.task_id)?;
        if workflow.rule(&lease.role).is_none_or(|rule| rule.works != task.status) {
            return Some(Veto::Moved(task.status.clone()));
        }
        decision::hold(snapshot, workflow, &lease.role, task).map(|_| Veto::Unapproved)
    })
}

/// Lets merges pass, all or none: each lease tells from now on that it is too late for it, and as which commit.
pub fn pass(snapshot: &Snapshot, workflow: &Workflow, merges: &[(Lease, String)]) -> Result<ChangeSet, (TaskId, Veto)> {
    let mut changes = ChangeSet::none();
    for (lease, commit) in merges {
        if let Some(veto) = veto(snapshot, workflow, lease) {
            return Err((lease.task_id.clone(), veto));
        }
        if let Some(now) = snapshot.lease(&lease.task_id) {
            let lease = Lease { landing: Some(commit.clone()), ..now.beaten(&snapshot.now) };
            changes.leases.push(LeaseChange::Write(lease));
        }
        let landing = Landing { commit: Some(commit.clone()), ..Landing::default() };
        changes.event(EventDraft::of(lease, Data::MergeLanding(landing)));
    }
    Ok(changes)
}

/// Takes that back: they did not land after all.
pub fn withdraw(snapshot: &Snapshot, merges: &[(Lease, String)]) -> ChangeSet {
    let mut changes = ChangeSet::none();
    for (mine, _) in merges {
        let mark = |lease: &&Lease| lease.token == mine.token && lease.landing.is_some();
        if let Some(lease) = snapshot.lease(&mine.task_id).filter(mark) {
            changes.leases.push(LeaseChange::Write(Lease { landing: None, ..lease.clone() }));
        }
    }
    changes
}

/// Returns the commit as which a task has passed, as far as is known of it while nobody has settled it.
pub fn passed(snapshot: &Snapshot, id: &TaskId) -> Option<String> {
    match snapshot.lease(id) {
        Some(lease) => lease.landing.clone(),
        None => snapshot.history.task(id)?.landed.clone(),
    }
}

/// Returns the commit as which a task is in the target, while nobody works on it and nothing of it was begun anew.
pub fn merged(snapshot: &Snapshot, task: &Task) -> Option<String> {
    if snapshot.leases.contains_key(&task.id) {
        return None;
    }
    let known = snapshot.history.task(&task.id);
    let told = known.and_then(|known| known.landed.as_ref().or(known.merged.as_ref()));
    // The journal may have been lost; what is to be worked on again may have been merged long ago.
    told.or(task.merged_commit.as_ref().filter(|_| task.status.is_finished())).cloned()
}

/// Returns the command that takes a merge back.
pub fn take_back(workflow: &Workflow, commit: &str) -> String {
    match workflow.policy().makes {
        Makes::MergeCommit => format!("git revert -m 1 {commit}"),
        Makes::Squash => format!("git revert {commit}"),
        Makes::Commits => format!("git revert {commit} (and the task's commits before it: git log {commit})"),
    }
}

/// Returns what is said of a merge that had passed before its task was put aside.
pub(super) fn too_late(workflow: &Workflow, commit: &str, status: &Status) -> String {
    format!("merged as {commit} before it was `{status}`; to take it back: {}", take_back(workflow, commit))
}

/// Tells of tasks that somebody put aside by hand after they were merged and before a worker could say so, or with a
/// file that lacked what it had said.
pub(super) fn tell(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    let edits = snapshot.history.tasks.iter().filter_map(|(id, known)| {
        let commit = known.landed.as_ref().or(known.merged.as_ref())?;
        let task = snapshot.queue.get(id)?;
        let is_told = task.merged_commit.as_ref() == Some(commit);
        if is_told || !workflow.holds_back(&task.status) || snapshot.lease(id).is_some() {
            return None;
        }
        let edit = Edit::by(Actor::Policy("merge".into())).set(Member::MergedCommit, commit.as_str());
        Some((task, edit.blocked(&too_late(workflow, commit, &task.status))))
    });
    ChangeSet::edited(&snapshot.now, edits)
}

/// Says why what a dead attempt had merged shall not stay. Nobody holds the task any more, or its holder is dead.
pub fn unwanted(snapshot: &Snapshot, workflow: &Workflow, id: &TaskId) -> Option<Veto> {
    let Some(task) = snapshot.queue.get(id) else { return Some(Veto::Gone) };
    if task.status == Status::CANCELLED {
        return Some(Veto::Cancelled);
    }
    if let Some(Lease { stop: Some(stop), landing: None, .. }) = snapshot.lease(id) {
        return Some(Veto::Asked(stop.clone()));
    }
    let goes_on = workflow.merging().is_none_or(|rule| [&rule.takes, &rule.works].contains(&&task.status));
    (!goes_on && !task.status.is_done()).then(|| Veto::Moved(task.status.clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        Holder, Kind, LeaseRecord, LeaseState, Role, Task, Token,
        tests::{lease, snapshot},
    };

    fn id() -> TaskId {
        TaskId::parse("T").expect("a good id")
    }

    /// An integrator that merges `T`, with token 3.
    fn merging() -> (Snapshot, Workflow, Lease) {
        let workflow = Workflow::shipped();
        let rule = workflow.merging().expect("it merges").clone();
        let mine = lease("T", &rule.role, 3);
        let mut task = Task::new(id(), rule.works);
        task.lease = QueueLease::Ours { owner: mine.owner.clone(), token: mine.token };
        let mut snapshot = snapshot(vec![task]);
        hold(&mut snapshot, mine.clone());
        (snapshot, workflow, mine)
    }

    fn hold(snapshot: &mut Snapshot, lease: Lease) {
        let held = LeaseState { record: LeaseRecord::Ours(lease), holder: Holder::Alive };
        snapshot.leases.insert(id(), held);
    }

    fn said(snapshot: &Snapshot, workflow: &Workflow, mine: &Lease) -> Option<Veto> {
        pass(snapshot, workflow, &[(mine.clone(), "c0ffee".into())]).err().map(|(_, veto)| veto)
    }

    #[test]
    fn a_merge_that_nobody_minds_passes_and_its_lease_says_so() {
        let (snapshot, workflow, mine) = merging();
        let changes = pass(&snapshot, &workflow, &[(mine.clone(), "c0ffee".into())]).expect("nobody minds");
        let after = snapshot.after(&changes);
        assert_eq!(after.lease(&id()).expect("held").landing.as_deref(), Some("c0ffee"));
        assert_eq!(changes.events[0].kind(), Kind::MergeLanding);
        let back = after.after(&withdraw(&after, &[(mine, String::new())]));
        assert_eq!(back.lease(&id()).expect("held").landing, None);
    }

    #[test]
    fn whatever_was_said_before_keeps_a_merge_from_passing() {
        let (mut seen, workflow, mine) = merging();
        let stop = StopRequest { actor: "human:me".into(), reason: "no".into(), cancel: false };
        hold(&mut seen, Lease { stop: Some(stop.clone()), ..mine.clone() });
        assert_eq!(said(&seen, &workflow, &mine), Some(Veto::Asked(stop)));

        let (mut seen, ..) = merging();
        hold(&mut seen, Lease { token: Token(4), ..mine.clone() });
        assert_eq!(said(&seen, &workflow, &mine), Some(Veto::Superseded));

        let (mut seen, ..) = merging();
        seen.leases.clear();
        assert_eq!(said(&seen, &workflow, &mine), Some(Veto::LeaseGone));

        for status in [Status::CANCELLED, Status::BLOCKED, Status::NEEDS_ADAPT, Status::DONE] {
            let (mut seen, ..) = merging();
            Arc::make_mut(&mut seen.queue).edit(&id(), |task| task.status = status.clone());
            let veto = said(&seen, &workflow, &mine).expect("it was moved");
            assert_eq!(veto == Veto::Cancelled, status == Status::CANCELLED, "{veto}");
        }

        let (mut seen, ..) = merging();
        seen.queue = Arc::new(crate::Queue::of(Vec::new()));
        assert_eq!(said(&seen, &workflow, &mine), Some(Veto::Gone));
    }

    #[test]
    fn what_passed_before_its_worker_was_gone_is_remembered_until_somebody_says_it() {
        use crate::{manual, outcome::Retry, rescue};
        let (mut seen, workflow, mine) = merging();
        hold(&mut seen, Lease { landing: Some("c0ffee".into()), ..mine.clone() });
        seen.leases.get_mut(&id()).expect("held").holder = Holder::Dead("gone".into());
        let give_back = |found: Vec<rescue::Orphan>| {
            seen.after(&rescue::decide(&seen, &workflow, &Retry::default(), &found, "r@h"))
        };
        let found = rescue::find(&seen, &workflow);
        let back = give_back(found.clone());
        let human = Actor::Human("me".into());
        let cancel = |seen: &Snapshot| manual::cancel(seen, &id(), None, true, &human);
        assert!(matches!(cancel(&back), Err(manual::Refusal::Landed { .. })));
        assert!(matches!(manual::stop(&back, &id(), "no", &human), Err(manual::Refusal::Landed { .. })));
        assert!(tell(&back, &workflow).is_empty(), "the next integrator says it");

        let mut aside = back.clone();
        Arc::make_mut(&mut aside.queue).edit(&id(), |task| task.status = Status::CANCELLED);
        let told = aside.after(&tell(&aside, &workflow));
        assert!(told.queue.get(&id()).expect("there").blocked_reason.as_deref().expect("told").contains("c0ffee"));
        assert!(tell(&told, &workflow).is_empty(), "once");
        // Somebody cancels it with a file that was read before that.
        let mut stale = told.clone();
        Arc::make_mut(&mut stale.queue).edit(&id(), |task| (task.merged_commit, task.blocked_reason) = (None, None));
        let again = stale.after(&tell(&stale, &workflow));
        assert_eq!(again.queue.get(&id()).expect("there").merged_commit.as_deref(), Some("c0ffee"));

        let undone: Vec<_> = found.into_iter().map(|left| rescue::Orphan { landed: None, ..left }).collect();
        assert!(cancel(&give_back(undone)).is_ok(), "what was undone can be cancelled");
    }

    #[test]
    fn one_that_may_not_pass_holds_the_others_back() {
        let (seen, workflow, mine) = merging();
        let other = lease("U", &Role::new("integrator"), 1);
        let both = [(mine, "a".to_owned()), (other.clone(), "b".to_owned())];
        assert_eq!(pass(&seen, &workflow, &both).map_err(|(task, _)| task), Err(other.task_id));
    }

    #[test]
    fn what_a_dead_integrator_had_merged_stays_unless_somebody_said_no_in_time() {
        let (seen, workflow, mine) = merging();
        assert_eq!(unwanted(&seen, &workflow, &id()), None);
        let stop = Some(StopRequest { actor: "human:me".into(), reason: String::new(), cancel: false });
        let mut asked = seen.clone();
        hold(&mut asked, Lease { stop: stop.clone(), ..mine.clone() });
        assert!(unwanted(&asked, &workflow, &id()).is_some(), "asked before it passed");
        hold(&mut asked, Lease { stop, landing: Some("c0ffee".into()), ..mine });
        assert_eq!(unwanted(&asked, &workflow, &id()), None, "it was told that it is too late");
        let takes = workflow.merging().expect("it merges").takes.clone();
        for (status, stays) in
            [(takes, true), (Status::DONE, true), (Status::CANCELLED, false), (Status::BLOCKED, false)]
        {
            let mut moved = seen.clone();
            moved.leases.clear();
            Arc::make_mut(&mut moved.queue).edit(&id(), |task| task.status = status.clone());
            assert_eq!(unwanted(&moved, &workflow, &id()).is_none(), stays, "{status}");
        }
    }
}
