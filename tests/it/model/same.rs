//! Which states are the same to the rules: each of them is gone through once.
//!
//! Of times only their order counts, and whether a long time lies between two of them; workers of one role may
//! change places. Left out is what no rule of the model asks for, and what tells of old changes for as long as no
//! old queue file can come back. `states_that_count_as_one_go_on_as_one` tests that nothing else is left out.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    iter,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use oodatcaa_core::{
    ChangeSet, EventDraft, History, Lease, LeaseChange, Member, Queue, QueueLease, Role, Status, TaskId,
    lease::StopRequest, state::TaskHistory,
};
use serde_json::Value;

use super::{
    commit::{Commit, Stage},
    world::{Filed, Marked, Pid, Worker, World},
};

/// What is put in other words.
#[derive(Clone, Copy)]
enum Gap {
    /// A stamp: only its order counts.
    Stamp(i64),
    /// The time of a change that may be told late: how long ago it was counts too.
    Change(i64),
    /// A heartbeat on the wall clock.
    Wall(i64),
    /// A heartbeat on the other one.
    Mono(i64),
    /// The place of a worker.
    Place(usize),
    Pid(Pid),
}

impl Gap {
    fn stamp(&self) -> Option<i64> {
        if let Self::Stamp(time) | Self::Change(time) = self { Some(*time) } else { None }
    }
}

/// A part of the state: its words, with gaps for times and workers.
#[derive(Clone, Default)]
pub(super) struct Outline {
    words: DefaultHasher,
    gaps: Vec<Gap>,
}

impl Outline {
    fn say(&mut self, words: impl Hash) {
        words.hash(&mut self.words);
    }

    fn stamp(&mut self, time: Option<DateTime<Utc>>) {
        self.say(time.is_some());
        self.gaps.extend(time.map(|time| Gap::Stamp(time.timestamp_millis())));
    }

    fn change(&mut self, time: DateTime<Utc>) {
        self.gaps.push(Gap::Change(time.timestamp_millis()));
    }

    fn wall(&mut self, time: DateTime<Utc>) {
        self.gaps.push(Gap::Wall(time.timestamp_millis()));
    }

    fn mono(&mut self, ms: u64) {
        self.gaps.push(Gap::Mono(ms as i64));
    }

    /// Words of a worker or of a rule, which may name a worker or a time.
    fn text(&mut self, text: &str) {
        if let Ok(time) = text.parse::<DateTime<Utc>>() {
            return self.change(time);
        }
        for part in text.split_inclusive([':', '#']) {
            let word = part.trim_end_matches([':', '#']);
            match word.strip_prefix('w').and_then(|place| place.parse().ok()) {
                Some(place) => {
                    self.gaps.push(Gap::Place(place));
                    self.say(part.len() - word.len());
                }
                None => self.say(part),
            }
        }
    }

    /// Reasons are for people, and of starts there are fewer than anything is made of.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    self.say(key);
                    match key.as_str() {
                        "reason" | "blocked_reason" => self.say(value.is_null()),
                        "starts" => {}
                        _ => self.value(value),
                    }
                }
            }
            Value::String(text) => self.text(text),
            other => self.say(other.to_string()),
        }
    }

    fn lease(&mut self, lease: &Lease) {
        let Lease {
            task_id,
            owner,
            token,
            attempt,
            heartbeat_at,
            pid,
            heartbeat_mono_ms,
            stop,
            // The same for all of a role.
            role: _,
            ttl_seconds: _,
            host: _,
            boot_id: _,
            pid_started: _,
            by: _,
            pool: _,
            // Never set here, or for people.
            run: _,
            pgid: _,
            simulated: _,
            probe: _,
            landing: _,
            started_at: _,
        } = lease;
        let stop = stop.as_ref().map(|StopRequest { actor: _, reason: _, cancel }| cancel);
        self.say((task_id, token, attempt, stop));
        self.text(owner);
        self.gaps.push(Gap::Pid(*pid));
        self.wall(*heartbeat_at);
        self.mono(*heartbeat_mono_ms);
    }

    fn event(&mut self, event: &EventDraft) {
        self.say((event.kind().as_str(), &event.task, event.role.as_ref().map(Role::as_str)));
        self.say((event.attempt, event.token));
        self.text(&event.actor.to_string());
        event.data.members().iter().for_each(|(key, value)| {
            self.say(key);
            if key != "reason" {
                self.value(value);
            }
        });
    }

    /// As another state has it: the same, or all of it.
    fn queue(&mut self, queue: &Marked<Queue>, known: &Marked<Queue>) {
        let same = Arc::ptr_eq(&queue.value, &known.value);
        self.say(same);
        if !same {
            self.part(&queue.outline);
        }
    }

    fn part(&mut self, other: &Self) {
        self.say(other.words.finish());
        self.gaps.extend(&other.gaps);
    }
}

impl Marked<Queue> {
    pub(super) fn queue(value: Arc<Queue>) -> Self {
        let mut all = Outline::default();
        for task in value.tasks() {
            all.say((&task.id, task.status.as_str(), task.attempts, task.priority, task.blocked_reason.is_some()));
            all.stamp(task.updated_at);
            all.stamp(task.not_before);
            match &task.lease {
                QueueLease::Ours { owner, token } => {
                    all.text(owner);
                    all.say(token);
                }
                other => all.say(format!("{other:?}")),
            }
        }
        Self { value, outline: Arc::new(all) }
    }
}

impl Marked<History> {
    /// What the rules always ask for. Not in the model: what tells a task from another under its id, budgets, quotas,
    /// merges, counts of starts beyond the few that there are, words for people and for prompts.
    pub(super) fn history(value: Arc<History>) -> Self {
        let mut all = Outline::default();
        all.say(value.baseline);
        for (id, known) in in_order(&value) {
            let TaskHistory {
                token,
                status,
                set_by,
                live,
                given_back,
                is_given_back,
                updated_at,
                transient,
                deaths,
                adapts,
                conflicts,
                waits,
                runs,
                work,
                // Seen together with the queue files that there are.
                replaced: _,
                // Written again when a human has the journal taken for the truth, which nobody does here.
                wrote: _,
                // Asked for beside an attempt's record only.
                ended: _,
                origin: _,
                by_hand: _,
                ended_as: _,
                failures: _,
                trouble: _,
                answers: _,
                tip: _,
                unjudged: _,
                landed: _,
                spent: _,
                overrun: _,
                merged: _,
            } = known;
            all.say((id, token, status.as_ref().map(Status::as_str), format!("{set_by:?}"), live));
            all.say((given_back, is_given_back));
            all.say((transient, deaths, adapts, conflicts, waits));
            all.say((runs.keys().last(), work.keys().map(Role::as_str).collect::<Vec<_>>()));
            all.stamp(*updated_at);
        }
        Self { value, outline: Arc::new(all) }
    }
}

fn in_order(history: &History) -> BTreeMap<&TaskId, &TaskHistory> {
    history.tasks.keys().filter_map(|id| Some((id, history.task(id)?))).collect()
}

impl Commit {
    fn outline(&self, now: &World) -> Outline {
        let mut all = Outline::default();
        all.say(self.stage);
        if matches!(self.stage, Stage::Leases | Stage::Queue) {
            all.queue(&self.base, &now.files.queue);
            all.part(&self.outlines.edits);
            for (id, lease, locked) in &self.undo {
                all.say((id, locked, lease.is_some()));
                if let Some(lease) = lease {
                    all.lease(lease);
                }
            }
        }
        if self.stage != Stage::Drops {
            all.part(&self.outlines.events);
        }
        all.part(&self.outlines.leases);
        if let Some(settled) = &self.what.settled {
            all.say((settled.lease.token, settled.moves, settled.done));
        }
        all.say(self.what.claimed.is_some());
        all.change(self.now.wall);
        all.mono(self.now.mono_ms());
        all
    }
}

/// A plan in its parts, some of which are done with before others.
#[derive(Default)]
pub(super) struct Outlines {
    edits: Outline,
    events: Outline,
    leases: Outline,
}

impl Outlines {
    pub(super) fn of(changes: &ChangeSet) -> Self {
        let Self { mut edits, mut events, mut leases } = Self::default();
        for edit in &changes.edits {
            edits.say(&edit.task);
            for (member, value) in &edit.set {
                edits.say(member.as_str());
                match member {
                    Member::BlockedReason => edits.say(value.is_null()),
                    Member::Starts => {}
                    _ => edits.value(value),
                }
            }
        }
        changes.events.iter().for_each(|event| events.event(event));
        for change in &changes.leases {
            match change {
                LeaseChange::Take(lease) | LeaseChange::Write(lease) => {
                    leases.say(matches!(change, LeaseChange::Take(_)));
                    leases.lease(lease);
                }
                LeaseChange::Lend(lease) => leases.say(&lease.task_id),
                LeaseChange::Drop(id) => leases.say(id),
            }
        }
        Self { edits, events, leases }
    }
}

impl Worker {
    fn outline(&self, now: &World) -> Outline {
        let mut all = Outline::default();
        all.say((self.life, self.room, self.left.ended));
        for left in &self.left.all {
            all.say((&left.task, left.token, left.died, left.lease, left.beat.is_some()));
            left.beat.into_iter().for_each(|beat| all.mono(beat));
        }
        all.say(self.run.is_some());
        if let Some(run) = &self.run {
            all.say((&run.lease.task_id, run.lease.token, run.lease.attempt, run.at));
            all.mono(run.lease.heartbeat_mono_ms);
        }
        all.say(self.commit.is_some());
        if let Some(commit) = &self.commit {
            all.part(&commit.outline(now));
        }
        all
    }
}

/// Times by their order; two that are a second or more apart are a long time apart.
struct Order {
    places: Vec<(i64, i64)>,
    now: i64,
}

impl Order {
    fn of(mut times: Vec<i64>, now: i64, lengths: bool) -> Self {
        times.push(now);
        times.sort_unstable();
        times.dedup();
        let mut place = 0;
        let mut before = times[0];
        let places = times.iter().map(|time| {
            let apart = time - before;
            place += if lengths && apart >= 1_000 { 1_000 } else { apart.min(1) };
            before = *time;
            (*time, place)
        });
        let places: Vec<_> = places.collect();
        let mut order = Self { places, now: 0 };
        order.now = order.at(now);
        order
    }

    fn at(&self, time: i64) -> i64 {
        let found = self.places.binary_search_by_key(&time, |(time, _)| *time).expect("one of them");
        self.places[found].1 - self.now
    }
}

impl World {
    /// What the journal remembers of changes that a queue file may lack, as far as there may be such a file.
    fn old_changes(&self) -> Outline {
        let mut all = Outline::default();
        let history = &self.files.journal.value;
        let now = self.now().wall;
        let stamps = || history.tasks.keys().filter_map(|id| history.task(id)?.updated_at);
        let may_jump = self.budget.jumps > 0 || stamps().any(|stamp| stamp > now);
        let queues = || iter::once(&self.files.queue).chain(&self.saved);
        let has = |id: &TaskId| queues().map(|queue| queue.value.get(id).and_then(|task| task.updated_at)).collect();
        let is_behind = |(id, known): (&TaskId, &TaskHistory)| {
            let Some(task) = self.files.queue.value.get(id) else { return true };
            let is_stale = task.lease.token().is_some_and(|token| token < known.token);
            known.updated_at.is_some() && (is_stale || task.updated_at < known.updated_at)
        };
        let may_lack = may_jump || self.budget.restores > 0 || self.saved.is_some();
        if !may_lack && !in_order(history).into_iter().any(is_behind) {
            return all;
        }
        for (id, known) in in_order(history) {
            let has: Vec<Option<DateTime<Utc>>> = has(id);
            for (status, at) in &known.replaced {
                all.say(status.as_str());
                match may_jump {
                    true => all.stamp(Some(*at)),
                    false => has.iter().for_each(|has| all.say(has.map(|has| *at <= has))),
                }
            }
            let oldest = has.into_iter().min().flatten();
            let writes = history.recent.iter().filter(|write| write.task == *id);
            for write in writes.filter(|write| may_jump || oldest.is_none_or(|has| write.at > has)) {
                all.say(write.from.as_ref().map(Status::as_str));
                all.change(write.at);
                all.stamp(write.before);
                for (key, value) in write.set.iter().filter(|(key, _)| !key.ends_with("_at")) {
                    all.say(key);
                    all.value(value);
                }
            }
        }
        all
    }

    fn outline(&self) -> Outline {
        let mut all = Outline::default();
        let files = &self.files;
        all.part(&files.queue.outline);
        all.part(&files.journal.outline);
        all.part(&self.old_changes());
        all.say(files.leases.len());
        files.leases.values().for_each(|Filed(lease)| all.lease(lease));
        for (id, pid) in &files.flocks {
            all.say(id);
            all.gaps.push(Gap::Pid(*pid));
        }
        all.say(files.lock.is_some());
        all.gaps.extend(files.lock.map(Gap::Place));
        for (agent, pid) in &self.agents {
            all.say(agent);
            all.gaps.push(Gap::Pid(*pid));
        }
        all.say(self.saved.is_some());
        if let Some(saved) = &self.saved {
            all.queue(saved, &files.queue);
        }
        all.say((self.budget, &self.ghost));
        all
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let all = self.outline();
        let workers: Vec<Outline> = self.workers.iter().map(|worker| worker.outline(self)).collect();
        let gaps = || all.gaps.iter().chain(workers.iter().flat_map(|worker| &worker.gaps));
        let now = self.now();
        let (wall, mono) = (now.wall.timestamp_millis(), now.mono_ms() as i64);
        let order =
            |of: fn(&Gap) -> Option<i64>, now, lengths| Order::of(gaps().filter_map(of).collect(), now, lengths);
        let stamps = order(Gap::stamp, wall, false);
        let changes = order(|gap| if let Gap::Change(time) = gap { Some(*time) } else { None }, wall, true);
        let walls = order(|gap| if let Gap::Wall(time) = gap { Some(*time) } else { None }, wall, true);
        let monos = order(|gap| if let Gap::Mono(time) = gap { Some(*time) } else { None }, mono, true);
        let mark = |order: &Vec<usize>| {
            let place = |at: usize| order.iter().position(|old| *old == at);
            let mut gone: Vec<Pid> = Vec::new();
            let mut told = all.words.clone();
            let mut fill = |gaps: &[Gap], told: &mut DefaultHasher| {
                for gap in gaps {
                    match gap {
                        Gap::Stamp(time) => stamps.at(*time).hash(told),
                        Gap::Change(time) => (stamps.at(*time), changes.at(*time)).hash(told),
                        Gap::Wall(time) => walls.at(*time).hash(told),
                        Gap::Mono(time) => monos.at(*time).hash(told),
                        Gap::Place(at) => place(*at).hash(told),
                        Gap::Pid(pid) => match self.workers.iter().position(|worker| worker.pid == *pid) {
                            Some(at) => (true, place(at)).hash(told),
                            None => {
                                let known = gone.iter().position(|other| other == pid);
                                (false, known.unwrap_or(gone.len())).hash(told);
                                if known.is_none() {
                                    gone.push(*pid);
                                }
                            }
                        },
                    }
                }
            };
            fill(&all.gaps, &mut told);
            for at in order {
                workers[*at].words.finish().hash(&mut told);
                fill(&workers[*at].gaps, &mut told);
            }
            told.finish()
        };
        state.write_u64(self.orders.iter().map(mark).min().unwrap_or_default());
    }
}
