//! What each thing that happens makes of the world.

use std::sync::Arc;

use oodatcaa_core::{ChangeSet, LeaseState, TaskId, Token, claim, event::Actor, external_edits, manual, rescue};

use super::{
    walk::{Careless, Fleet, Happens, TTL, Verb, blank},
    world::{At, Filed, LONG, Lefts, Life, Marked, Said, Worker, World},
};

impl Fleet {
    /// Does it; `false` when nothing would change.
    pub(super) fn apply(&self, world: &mut World, happens: &Happens) -> bool {
        match happens {
            Happens::Glance(at) => {
                let me = self.claimant(*at, world.workers[*at].pid);
                world.workers[*at].room = Some(claim::wip(&world.snapshot(None), &me.rule) < self.limit);
            }
            Happens::Find(at) => {
                let left = rescue::find(&self.lives(&world.snapshot(None)), &self.workflow);
                if left.is_empty() {
                    return false;
                }
                world.workers[*at].left = Lefts { all: left, ended: false };
            }
            Happens::Sweep(at) => {
                let left = world.workers[*at].left.all.clone();
                if self.careless != Some(Careless::LeavesAgents) {
                    for one in left {
                        world.agents.remove(&(one.task, one.token));
                    }
                }
                world.workers[*at].left.ended = true;
            }
            Happens::Look(at) => {
                let before = world.workers[*at].clone();
                let begun = world.begin(*at, |seen| self.look(&before, *at, seen));
                world.workers[*at].room = None;
                // What was ended serves for this look only.
                let had = std::mem::take(&mut world.workers[*at].left);
                if !begun && had.all.is_empty() && before.room.is_none() {
                    return false;
                }
            }
            Happens::Step(at) => world.step(*at),
            Happens::Start(at) => {
                let pid = world.workers[*at].pid;
                let now = world.now();
                let run = world.workers[*at].run.as_mut().expect("claimed");
                // Soon after its claim nobody has taken it over; later it beats first, and hears whether anybody has.
                if self.careless != Some(Careless::StartsUnasked) && run.lease.silence(&now) > TTL / 3 {
                    if world.files.lock.is_some() {
                        return false;
                    }
                    match world.files.leases.get_mut(&run.lease.task_id) {
                        Some(Filed(lease)) if lease.token == run.lease.token => *lease = lease.beaten(&now),
                        _ => {
                            run.at = At::Over(Said::Superseded);
                            return true;
                        }
                    }
                }
                run.at = At::Running;
                world.agents.insert((run.lease.task_id.clone(), run.lease.token), pid);
            }
            Happens::Over(at, said) => {
                let run = world.workers[*at].run.as_mut().expect("running");
                run.at = At::Over(*said);
                world.agents.remove(&(run.lease.task_id.clone(), run.lease.token));
                if *said == Said::Failed {
                    world.budget.failures -= 1;
                }
            }
            Happens::Told(at) => {
                let run = world.workers[*at].run.clone().expect("running");
                let said = Self::trouble(world, &run).expect("just seen");
                world.agents.remove(&(run.lease.task_id, run.lease.token));
                world.workers[*at].run.as_mut().expect("running").at = At::Over(said);
            }
            Happens::Beat(at) => {
                let mine = world.workers[*at].run.as_ref().expect("running").lease.clone();
                let seen = world.snapshot(Some(world.workers[*at].pid));
                let Some(lease) = seen.leases.get(&mine.task_id).and_then(LeaseState::ours) else { return false };
                if seen.supersedes(&mine) || lease.silence(&seen.now) < TTL / 3 {
                    return false;
                }
                let beaten = lease.beaten(&seen.now);
                world.files.leases.insert(mine.task_id, Filed(beaten));
            }
            Happens::Crash(at) => {
                world.budget.crashes -= 1;
                let pid = world.workers[*at].pid;
                world.workers[*at] = Worker { life: Life::Dead, ..blank(pid) };
                world.files.flocks.retain(|_, by| *by != pid);
                if world.files.lock == Some(*at) {
                    world.files.lock = None;
                }
            }
            Happens::Shim(task, token) => {
                world.agents.remove(&(task.clone(), Token(*token)));
            }
            Happens::Restart(at) => {
                let pid = world.workers[*at].pid + 10;
                world.workers[*at] = blank(pid);
            }
            Happens::Stop(at) => {
                world.budget.stops -= 1;
                world.workers[*at].life = Life::Stopped;
            }
            Happens::Cont(at) => world.workers[*at].life = Life::Up,
            Happens::Long => {
                world.budget.longs -= 1;
                world.pass(LONG);
            }
            Happens::Jump(by) => {
                world.budget.jumps -= 1;
                world.wall += by;
            }
            Happens::Hand(id, status) => {
                world.budget.hands -= 1;
                let mut queue = (*world.files.queue.value).clone();
                queue.edit(id, |task| task.status = status.clone());
                world.files.queue = Marked::queue(Arc::new(queue));
            }
            Happens::Remove(id) => {
                world.budget.removals -= 1;
                world.ghost.bereft.insert(id.clone());
                return world.files.leases.remove(id).is_some();
            }
            Happens::Save => {
                world.budget.restores -= 1;
                world.saved = Some(world.files.queue.clone());
            }
            Happens::PutBack => {
                world.files.queue = world.saved.take().expect("saved before");
            }
            Happens::Repair => {
                world.at_once(|seen| {
                    let mut changes = ChangeSet::none();
                    if external_edits::behind(seen).is_some() {
                        changes.event(external_edits::baseline(seen, Actor::Human("me".into())));
                    }
                    changes
                });
            }
            Happens::Verb(verb, id) => {
                world.budget.verbs -= 1;
                return self.verb(world, *verb, id);
            }
        }
        true
    }

    fn verb(&self, world: &mut World, verb: Verb, id: &TaskId) -> bool {
        let me = Actor::Human("me".into());
        let token = world.files.leases.get(id).map(|Filed(lease)| lease.token);
        if verb == Verb::Release && token.is_some() {
            world.ghost.bereft.insert(id.clone());
        }
        let flow = &self.workflow;
        world.at_once(|seen| {
            let answer = match verb {
                Verb::Cancel => manual::cancel(seen, id, None, true, &me),
                Verb::Stop => manual::stop(seen, id, "enough", &me),
                Verb::Done => manual::done(seen, id, "it is", &me),
                Verb::Retry => manual::retry(seen, flow, id, Some(&flow.rules()[0].takes), &me),
                Verb::Release => manual::release(seen, flow, id, token.unwrap_or_default(), None, "hangs", &me),
            };
            answer.unwrap_or_default()
        })
    }
}
