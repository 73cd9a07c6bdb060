//! Figures over a span of time, from one pass over the journal.
//!
//! What is kept is a few words for each task and eight bytes for each duration: about a hundredth of the journal.

mod spread;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};

use self::spread::Durations;
use crate::{
    Failure, Project, ReadModel, TaskState,
    report::{Bill, has_failed, is_free},
    view::{BottleneckView, ClassView, GroupView, SlowView, StatsView},
};
use oodatcaa_core::{
    Data, Event, Role, Status, TaskId, Workflow,
    event::payload::{Claimed, Ended},
    words,
};
use oodatcaa_store::Reading;

words! {
    /// The property by which attempts are grouped.
    pub enum By {
        Role = "role": "The role that made them.";
        Agent = "agent": "The agent that worked.";
        Day = "day": "The day on which they ended, in UTC.";
        Class = "class": "The class of failure, or the outcome.";
    }
}

/// The figures that are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The beginning of the span.
    pub since: DateTime<Utc>,
    /// The property by which attempts are grouped.
    pub by: By,
    /// Simulated work counts as well.
    pub simulated: bool,
    /// The number of the slowest tasks that are named.
    pub slowest: usize,
}

impl Project {
    /// Counts and measures what ended in a span of time.
    pub fn stats(&self, reading: &Reading, wanted: Wanted) -> Result<StatsView, Failure> {
        let model = ReadModel::new(&reading.snapshot, self.workflow());
        let mut counted = Counted::new(wanted, model.workflow);
        self.store()?.replay(0, &mut |event| counted.take(&event))?;
        Ok(counted.view(&model, self.layout()?.name()))
    }
}

/// The journal's content that the figures need.
struct Counted {
    wanted: Wanted,
    /// The statuses in which a task is worked on: to come into one is no end of waiting for another role.
    working: BTreeSet<Status>,
    first: Option<DateTime<Utc>>,
    tasks: BTreeMap<TaskId, Line>,
    left_out: u32,
    done: usize,
    cycle: Durations,
    lead: Durations,
    waits: BTreeMap<Role, Durations>,
    groups: BTreeMap<String, Group>,
    failures: BTreeMap<String, u32>,
    slowest: Vec<(Duration, TaskId, u32)>,
}

/// One task's way through the statuses.
#[derive(Default)]
struct Line {
    created: Option<DateTime<Utc>>,
    /// The time at which it came into its present status or, once claimed, into the one that it was claimed from.
    entered: Option<DateTime<Utc>>,
    /// The first claim since it appeared, or was opened again.
    begun: Option<DateTime<Utc>>,
    claimed: Option<Claim>,
    attempts: u32,
    simulated: bool,
}

struct Claim {
    at: DateTime<Utc>,
    by: String,
    is_free: bool,
}

#[derive(Default)]
struct Group {
    ok: u32,
    failed: u32,
    took: Durations,
    bill: Bill,
}

fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    // The wall clock may have been put back.
    (to - from).to_std().unwrap_or_default()
}

impl Counted {
    fn new(wanted: Wanted, workflow: &Workflow) -> Self {
        Self {
            wanted,
            working: workflow.rules().iter().map(|rule| rule.works.clone()).collect(),
            first: None,
            tasks: BTreeMap::new(),
            left_out: 0,
            done: 0,
            cycle: Durations::default(),
            lead: Durations::default(),
            waits: BTreeMap::new(),
            groups: BTreeMap::new(),
            failures: BTreeMap::new(),
            slowest: Vec::new(),
        }
    }

    fn counts(&self, at: DateTime<Utc>, simulated: bool) -> bool {
        at >= self.wanted.since && (self.wanted.simulated || !simulated)
    }

    /// Takes in one more event.
    fn take(&mut self, event: &Event) {
        self.first = Some(self.first.map_or(event.time, |first| first.min(event.time)));
        match (event.data(), &event.task) {
            (Data::QueueValid(readable), _) => {
                for name in readable.statuses.iter().flatten().map(|(name, _)| name) {
                    if let Ok(id) = TaskId::parse(name) {
                        self.tasks.entry(id).or_default().entered.get_or_insert(event.time);
                    }
                }
            }
            (Data::TaskCreated(_), Some(id)) => {
                let line = Line { created: Some(event.time), entered: Some(event.time), ..Line::default() };
                self.tasks.insert(id.clone(), line);
            }
            (Data::TaskMoved(change) | Data::TaskObserved(change), Some(id)) => {
                if let Some(to) = &change.to {
                    self.moved(id, event, to);
                }
            }
            (Data::LeaseAcquired(claimed), Some(id)) => self.claimed(id, event, claimed),
            (Data::AttemptFinished(ended) | Data::AttemptSuperseded(ended), Some(id)) => {
                self.finished(id, event, ended);
            }
            _ => {}
        }
    }

    fn moved(&mut self, id: &TaskId, event: &Event, to: &Status) {
        let line = self.tasks.entry(id.clone()).or_default();
        if !self.working.contains(to) {
            line.entered = Some(event.time);
        }
        if !to.is_done() {
            return;
        }
        let (begun, created, attempts) = (line.begun.take(), line.created, std::mem::take(&mut line.attempts));
        let simulated = line.simulated;
        if !self.counts(event.time, simulated) {
            return;
        }
        self.done += 1;
        self.lead.extend(created.map(|created| between(created, event.time)));
        if let Some(begun) = begun {
            let took = between(begun, event.time);
            self.cycle.extend([took]);
            let at = self.slowest.partition_point(|(other, ..)| *other >= took);
            self.slowest.insert(at, (took, id.clone(), attempts));
            self.slowest.truncate(self.wanted.slowest);
        }
    }

    fn claimed(&mut self, id: &TaskId, event: &Event, claimed: &Claimed) {
        let line = self.tasks.entry(id.clone()).or_default();
        line.begun.get_or_insert(event.time);
        line.simulated |= event.simulated;
        line.attempts = line.attempts.saturating_add(1);
        let by = claimed.by.clone().filter(|by| !by.is_empty());
        let by = by.unwrap_or_else(|| match (claimed.merge, claimed.agentless) {
            (true, _) => "(merge)".into(),
            (_, true) => "(gates)".into(),
            _ => "—".into(),
        });
        line.claimed = Some(Claim { at: event.time, by, is_free: is_free(claimed) });
        let entered = line.entered;
        if let (Some(role), Some(entered)) = (&event.role, entered)
            && self.counts(event.time, event.simulated)
        {
            self.waits.entry(role.clone()).or_default().extend([between(entered, event.time)]);
        }
    }

    fn finished(&mut self, id: &TaskId, event: &Event, ended: &Ended) {
        let claimed = self.tasks.get_mut(id).and_then(|line| line.claimed.take());
        if !self.counts(event.time, event.simulated) {
            self.left_out += u32::from(event.simulated && event.time >= self.wanted.since);
            return;
        }
        let class = ended.class.as_deref().or(ended.outcome.as_deref()).unwrap_or("—");
        let is_ok = matches!(ended.outcome.as_deref(), Some("done" | "no_change"));
        // Also what nobody is charged for: a limit, a lost connection.
        let is_failed = !is_ok && (has_failed(ended) || ended.outcome.as_deref() == Some("failed"));
        let name = match self.wanted.by {
            By::Role => event.role.as_ref().map_or("—", Role::as_str).to_owned(),
            By::Agent => claimed.as_ref().map_or_else(|| "—".into(), |claim| claim.by.clone()),
            By::Day => event.time.date_naive().to_string(),
            By::Class => class.to_owned(),
        };
        let seconds = ended.usage.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let group = self.groups.entry(name).or_default();
        let is_free = claimed.as_ref().is_some_and(|claim| claim.is_free);
        group.took.extend(seconds.or_else(|| claimed.map(|claim| between(claim.at, event.time))));
        group.bill.add(&ended.usage, is_free);
        group.ok += u32::from(is_ok);
        group.failed += u32::from(is_failed);
        if is_failed {
            *self.failures.entry(class.to_owned()).or_default() += 1;
        }
    }

    /// Puts it together with what waits now.
    fn view(mut self, model: &ReadModel<'_>, project: String) -> StatsView {
        let now = model.snapshot.now.wall;
        let mut bottlenecks: Vec<BottleneckView> = Vec::new();
        let mut all = Durations::default();
        for rule in model.workflow.rules() {
            let mut waits = self.waits.remove(&rule.role).unwrap_or_default();
            let here = model.snapshot.queue.tasks().filter(|task| task.status == rule.takes);
            let here = here.filter(|task| matches!(model.state(task), TaskState::Waiting | TaskState::Retry));
            let waiting: Vec<Option<Duration>> =
                here.map(|task| self.tasks.get(&task.id)?.entered.map(|entered| between(entered, now))).collect();
            let known = waiting.iter().flatten();
            let total = waits.total() + known.clone().sum::<Duration>();
            let oldest = known.max().copied();
            all.extend(waits.iter());
            if waits.is_empty() && waiting.is_empty() {
                continue;
            }
            bottlenecks.push(BottleneckView {
                role: rule.role.clone(),
                waiting: waits.spread(),
                total_seconds: total.as_millis() as f64 / 1e3,
                waiting_now: waiting.len(),
                oldest_seconds: oldest.map(|oldest| oldest.as_millis() as f64 / 1e3),
            });
        }
        // Roles that are no longer configured have waited as well.
        self.waits.values().for_each(|waits| all.extend(waits.iter()));
        bottlenecks.sort_by(|a, b| b.total_seconds.total_cmp(&a.total_seconds));
        let mut failures: Vec<ClassView> =
            self.failures.into_iter().map(|(class, count)| ClassView { class, count }).collect();
        failures.sort_by_key(|class| std::cmp::Reverse(class.count));
        let since = self.first.map_or(now, |first| first.max(self.wanted.since)).min(now);
        let days = between(since, now).as_secs_f64() / 86_400.0;
        let group = |(name, mut group): (String, Group)| GroupView {
            name,
            attempts: group.bill.attempts(),
            ok: group.ok,
            failed: group.failed,
            took: group.took.spread(),
            tokens: group.bill.spent.tokens,
            usd: group.bill.usd(),
            unpriced: group.bill.spent.unpriced,
        };
        let slow = |(took, task, attempts): (Duration, TaskId, u32)| SlowView {
            title: model.snapshot.queue.get(&task).map(|task| task.title.clone()),
            seconds: took.as_millis() as f64 / 1e3,
            task,
            attempts,
        };
        StatsView {
            at: now.into(),
            since: since.into(),
            project,
            simulated_included: self.wanted.simulated,
            simulated_left_out: self.left_out,
            done: self.done,
            done_per_day: (days >= 1.0).then(|| self.done as f64 / days),
            cycle: self.cycle.spread(),
            lead: self.lead.spread(),
            waiting: all.spread(),
            by: self.wanted.by.as_str(),
            groups: self.groups.into_iter().map(group).collect(),
            failures,
            bottlenecks,
            slowest: self.slowest.into_iter().map(slow).collect(),
        }
    }
}
