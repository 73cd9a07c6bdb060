//! What must never happen, what must hold in every state, and what must come of every state in the end.

use std::sync::Arc;

use oodatcaa_core::{Queue, Status, TaskId, external_edits, lease::LeaseHealth};
use stateright::Property;

use super::{
    commit::{Commit, Settled},
    walk::{Fleet, Happens, TTL},
    world::{At, Budget, Filed, LONG, Life, Run, World},
};

impl Fleet {
    /// Whether everything drains when nothing disturbs any more and everybody gets a turn.
    pub(super) fn drains(&self, world: &World) -> bool {
        let mut world = world.clone();
        world.budget = Budget::default();
        for _ in 0..12 {
            if self.is_drained(&world) {
                return true;
            }
            if external_edits::behind(&world.snapshot(None)).is_some() && world.files.lock.is_none() {
                self.apply(&mut world, &Happens::Repair);
            }
            for at in 0..world.workers.len() {
                match world.workers[at].life {
                    Life::Dead => drop(self.apply(&mut world, &Happens::Restart(at))),
                    Life::Stopped => drop(self.apply(&mut world, &Happens::Cont(at))),
                    Life::Up => {}
                }
            }
            let orphans: Vec<_> =
                world.agents.iter().filter(|(_, pid)| !world.lives(**pid)).map(|(key, _)| key.clone()).collect();
            for (task, token) in orphans {
                self.apply(&mut world, &Happens::Shim(task, token.0));
            }
            // Whoever has the lock goes first.
            let mut order: Vec<usize> = (0..world.workers.len()).collect();
            order.sort_by_key(|at| world.files.lock != Some(*at));
            for at in order {
                self.turn(&mut world, at);
            }
            world.pass(LONG);
        }
        false
    }

    /// A worker does what it can do.
    fn turn(&self, world: &mut World, at: usize) {
        for _ in 0..30 {
            let mut can = Vec::new();
            self.of_worker(world, at, &mut can);
            can.retain(|happens| !matches!(happens, Happens::Glance(_) | Happens::Beat(_)));
            // An attempt that was asked to end ends.
            can.sort_by_key(|happens| match happens {
                Happens::Told(_) => 0,
                Happens::Over(..) | Happens::Start(_) | Happens::Step(_) => 2,
                Happens::Find(_) | Happens::Sweep(_) => 3,
                _ => 4,
            });
            if !can.into_iter().any(|happens| self.apply(world, &happens)) {
                return;
            }
        }
    }

    fn is_drained(&self, world: &World) -> bool {
        let waits =
            |status: &Status| self.workflow.working(status).is_some() || self.workflow.taking(status).next().is_some();
        world.files.leases.is_empty()
            && world.agents.is_empty()
            && world.workers.iter().all(|worker| worker.run.is_none() && worker.commit.is_none())
            && !world.files.queue.value.tasks().any(|task| waits(&task.status))
    }
}

impl World {
    /// What a commit that has just become durable in the queue does to the invariants.
    pub(super) fn look_at_change(&mut self, commit: &Commit, after: &Queue) {
        let before = Arc::clone(&self.files.queue.value);
        for task in before.tasks() {
            let Some(new) = after.get(&task.id) else {
                self.fault("a task is lost");
                continue;
            };
            // A hand that says done while an attempt is at work is taken for the attempt's own.
            let proposed = task.status.is_done() && self.files.leases.contains_key(&task.id);
            if task.status.is_finished() && !new.status.is_finished() && !proposed {
                self.fault("what was finished is not finished any more");
            }
        }
        if before.len() != after.len() {
            self.fault("a task is doubled");
        }
        if let Some(Settled { lease, moves: true, done }) = &commit.what.settled {
            let id = &lease.task_id;
            if self.ghost.handed.get(id) != Some(&lease.token) {
                self.fault("a superseded attempt changed its task");
            }
            if *done {
                *self.ghost.accepted.entry((id.clone(), lease.token)).or_default() += 1;
            }
        }
    }

    /// What the removal of a lease, or a claim over it, does to the invariants.
    pub(super) fn look_at_drop(&mut self, commit: &Commit, id: &TaskId) {
        let Some(Filed(lease)) = self.files.leases.get(id).cloned() else { return };
        let own = commit
            .what
            .settled
            .as_ref()
            .is_some_and(|settled| settled.lease.token == lease.token && settled.lease.task_id == *id);
        let runs = self.workers.iter().any(|worker| worker.pid == lease.pid && worker.life == Life::Up);
        if !own && runs && lease.silence(&commit.now) <= TTL {
            self.fault("an owner that lives and beats was taken over");
        }
    }

    /// A commit is through: its worker goes on with what it has now.
    pub(super) fn done(&mut self, at: usize, commit: &Commit) {
        if commit.what.settled.is_some() {
            self.workers[at].run = None;
        }
        let Some(lease) = &commit.what.claimed else { return };
        let id = lease.task_id.clone();
        if self.ghost.handed.get(&id).is_some_and(|newest| *newest >= lease.token) {
            self.fault("a token was given out that is not greater than every one before");
        }
        self.ghost.handed.insert(id.clone(), lease.token);
        if self.agents.keys().any(|(task, _)| *task == id) && !self.ghost.bereft.contains(&id) {
            self.fault("a task was claimed while an agent of an older claim was running");
        }
        self.workers[at].run = Some(Run { lease: lease.clone(), at: At::Claimed });
    }

    fn fault(&mut self, what: &'static str) {
        self.ghost.fault.get_or_insert(what);
    }
}

/// What must hold in every state.
pub(super) fn properties() -> Vec<Property<Fleet>> {
    vec![
        Property::always("nothing forbidden happens", |_, world: &World| world.ghost.fault.is_none()),
        Property::always("a token has one accepted result at most", |_, world: &World| {
            world.ghost.accepted.values().all(|count| *count <= 1)
        }),
        Property::always("live leases of a role stay within its limit", |fleet: &Fleet, world: &World| {
            let seen = world.snapshot(Some(0));
            // In the commit that settles one and claims the next, the first is over before the second is written.
            let goes = |id: &TaskId| {
                world.workers.iter().filter_map(|worker| worker.commit.as_ref()).any(|commit| commit.drops(id))
            };
            fleet.workflow.rules().iter().all(|rule| {
                let live = seen.leases.iter().filter(|(id, held)| {
                    held.role() == Some(&rule.role) && held.health(&seen.now) == LeaseHealth::Live && !goes(id)
                });
                live.count() <= fleet.limit as usize
            })
        }),
        Property::always("agents at work stay within the limits", |fleet: &Fleet, world: &World| {
            let limit = fleet.limit as usize * fleet.workflow.rules().len();
            !world.ghost.bereft.is_empty() || world.agents.len() <= limit
        }),
        Property::always("no task is lost or doubled", |fleet: &Fleet, world: &World| {
            world.files.queue.value.len() == fleet.tasks
        }),
        Property::always("every held task leaves when everybody gets a turn", |fleet: &Fleet, world: &World| {
            !fleet.fair || world.ghost.fault.is_some() || fleet.drains(world)
        }),
        Property::sometimes("a task is finished", |_, world: &World| {
            world.files.queue.value.tasks().any(|task| task.status == Status::DONE)
        }),
    ]
}
