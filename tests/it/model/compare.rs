//! Whether states that count as the same ([`super::same`]) are: what may come next is the same for all of them.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use oodatcaa_core::History;
use stateright::Model as _;

use super::{
    commit::Commit,
    walk::{Fleet, Happens},
    world::{Worker, World},
};

/// How many states were gone through, and how many others were compared with one of them.
pub(super) struct Compared {
    pub(super) states: usize,
    pub(super) others: usize,
}

/// How many that count as the same are looked at.
const EACH: usize = 3;

/// What comes of a state: where it may go next, and what holds in it.
#[derive(PartialEq)]
struct Comes {
    next: BTreeSet<u64>,
    holds: Vec<bool>,
}

/// Goes through up to `most` states in any order, and compares with each of them some others that count as the same.
pub(super) fn compare(fleet: &Fleet, most: usize) -> Compared {
    let mut compared = Compared { states: 0, others: 0 };
    let mut known: HashMap<u64, (World, Comes)> = HashMap::new();
    let mut met: HashMap<u64, HashSet<u64>> = HashMap::new();
    let mut ahead = fleet.init_states();
    let mut dice: usize = 1;
    while !ahead.is_empty() && compared.states < most {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let world = ahead.swap_remove((dice >> 33) % ahead.len());
        let next = nexts(fleet, &world);
        let holds = fleet.properties().iter().map(|property| (property.condition)(fleet, &world)).collect();
        let comes = Comes { next: next.iter().map(|(_, next)| mark(next)).collect(), holds };
        for (_, next) in next {
            let met = met.entry(mark(&next)).or_default();
            if fleet.within_boundary(&next) && met.len() < EACH && met.insert(mark(&next.whole())) {
                ahead.push(next);
            }
        }
        let Some((other, theirs)) = known.get(&mark(&world)) else {
            compared.states += 1;
            known.insert(mark(&world), (world, comes));
            continue;
        };
        compared.others += 1;
        if *theirs != comes {
            let only = |one: &World, theirs: &Comes| -> Vec<Happens> {
                let next = nexts(fleet, one).into_iter();
                next.filter(|(_, next)| !theirs.next.contains(&mark(next))).map(|(happens, _)| happens).collect()
            };
            let (first, second) = (only(other, &comes), only(&world, theirs));
            panic!(
                "these count as the same:\n{}\nbut for {first:?}, and\n{}\nbut for {second:?}",
                other.whole(),
                world.whole()
            );
        }
    }
    compared
}

fn nexts(fleet: &Fleet, world: &World) -> Vec<(Happens, World)> {
    let mut can = Vec::new();
    fleet.actions(world, &mut can);
    can.into_iter().filter_map(|happens| Some((happens.clone(), fleet.next_state(world, happens)?))).collect()
}

fn mark(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

impl World {
    /// All that it is, but for the number of the last event.
    fn whole(&self) -> String {
        let files = &self.files;
        let history = History { seq: 0, ..(*files.journal.value).clone() };
        let leases: Vec<_> = files.leases.values().map(|filed| &filed.0).collect();
        let workers: Vec<_> = self.workers.iter().map(Worker::whole).collect();
        let saved = self.saved.as_ref().map(|saved| &saved.value);
        let (queue, flocks, lock) = (&files.queue.value, &files.flocks, files.lock);
        format!(
            "{queue:?}\n{history:?}\n{leases:?} {flocks:?} {lock:?}\n{}\n{:?} {saved:?} {} {} {:?} {:?}",
            workers.join("\n"),
            self.agents,
            self.wall,
            self.mono,
            self.budget,
            self.ghost
        )
    }
}

impl Worker {
    fn whole(&self) -> String {
        let run = self.run.as_ref().map(|run| (&run.lease, run.at));
        let (left, commit) = (&self.left, self.commit.as_ref().map(Commit::whole));
        format!("{} {:?} {run:?} {:?} {} {:?} {commit:?}", self.pid, self.life, left.all, left.ended, self.room)
    }
}
