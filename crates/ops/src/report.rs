//! What happened overnight: one pass over the journal, put beside how things stand now.
//!
//! A task counts as landed by the commit that our own merge told, as unchanged by an agent's declared `no_change`. Whatever
//! else calls itself done is said to be unproved.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    Failure, Project, ReadModel, TaskState,
    view::{
        BudgetView, EndedView, LandedView, Moment, NextView, OddKind, OddView, PoolState, PoolView, ReportView,
        SpentView, TroubledView,
    },
    workers,
};
use oodatcaa_core::{
    Data, Event, Role, Snapshot, Status, Task, TaskId, Token, Usage, Workflow, budget, claim,
    event::payload::{Claimed, Ended, TaskChange},
    needs,
    state::spending::Spent,
    text::{cut, many, one_line},
};
use oodatcaa_git::diff;
use oodatcaa_store::Reading;

/// So many different odd things are told one by one.
const ODD: usize = 200;

/// Of so many landed tasks git is asked how many files they changed.
const ASKED: usize = 50;

/// So many tasks are named that a role claims next.
const NEXT: usize = 3;

impl Project {
    /// Reports what happened since a time, worst first.
    pub fn report(&self, reading: &Reading, since: DateTime<Utc>) -> Result<ReportView, Failure> {
        let model = ReadModel::new(&reading.snapshot, self.workflow());
        let builds = model.workflow.building();
        let mut told = Told::since(since, builds.map(|rule| rule.role.clone()));
        self.store()?.replay(0, &mut |event| told.take(&event))?;
        self.beside(&model, reading, told)
    }

    fn beside(&self, model: &ReadModel<'_>, reading: &Reading, told: Told) -> Result<ReportView, Failure> {
        let (snapshot, workflow) = (model.snapshot, model.workflow);
        let invalid = reading.invalid.as_ref().map(ToString::to_string);
        let needs = needs::list(snapshot, workflow, invalid.as_deref());
        let asked: BTreeSet<&TaskId> = needs.iter().filter_map(needs::Need::task).collect();
        let unknown = TaskTold::default();
        let of = |task: &Task| told.tasks.get(&task.id).unwrap_or(&unknown);

        let open = snapshot.queue.tasks().filter(|task| !task.status.is_finished() && !asked.contains(&task.id));
        let mut failed: Vec<TroubledView> = open.filter_map(|task| troubled(model, task, of(task))).collect();
        failed.sort_by_key(|task| (severity(task.state), std::cmp::Reverse(task.failures)));

        let (mut landed, mut no_change, mut unproved) = (Vec::new(), Vec::new(), Vec::new());
        for (id, task) in &told.tasks {
            if let Some((commit, at)) = task.landed_since(told.since) {
                landed.push(self.landed(snapshot, id, task, commit, at, landed.len() < ASKED));
            } else if let Some(ended) = task.ended.as_ref().filter(|ended| ended.at >= told.since) {
                let title = snapshot.queue.get(id).map(|task| task.title.clone());
                let view = EndedView {
                    task: id.clone(),
                    title: title.or_else(|| task.title.clone()).unwrap_or_default(),
                    how: ended.how,
                    words: ended.words.clone(),
                    at: ended.at.into(),
                    simulated: task.simulated,
                };
                if ended.how == NO_CHANGE { no_change.push(view) } else { unproved.push(view) }
            }
        }
        landed.sort_by_key(|task: &LandedView| task.at);
        no_change.sort_by_key(|task: &EndedView| task.at);
        unproved.sort_by_key(|task: &EndedView| task.at);

        let running = snapshot.queue.tasks().filter(|task| model.state(task) == TaskState::Running);
        let running = running.filter_map(|task| Some(next(model, task, model.held(task)?.0.role()?.clone())));
        let lines = workflow.rules().iter().map(|rule| (rule, claim::candidates(snapshot, workflow, rule)));
        let lines: Vec<_> = lines.filter(|(_, line)| !line.is_empty()).collect();
        let unserved = lines.iter().filter(|(rule, _)| workers::pids(self, model, rule).is_empty());
        let first = lines.iter().flat_map(|(rule, line)| line.iter().take(NEXT).map(move |task| (rule, task)));

        let mut odd: Vec<OddView> = told.odd.into_values().filter(|odd| happened_only(snapshot, odd)).collect();
        odd.extend(at_their_bound(snapshot, workflow));
        odd.sort_by_key(|odd| odd.at);
        Ok(ReportView {
            at: snapshot.now.wall.into(),
            since: told.since.into(),
            project: self.layout()?.name(),
            sprint: snapshot.queue.sprint.name(),
            needs: needs.iter().map(|need| self.need(snapshot, need)).collect(),
            unserved: unserved.map(|(rule, _)| rule.role.clone()).collect(),
            pools: PoolView::all(snapshot).into_iter().filter(|pool| pool.state != PoolState::Open).collect(),
            simulated: told.simulated > 0 || landed.iter().any(|task| task.simulated),
            failed,
            landed,
            no_change,
            unproved,
            spent: SpentView {
                starts: told.starts,
                attempts: told.bill.attempts(),
                usd: told.bill.usd(),
                unpriced: told.bill.spent.unpriced,
                tokens: told.bill.spent.tokens,
                seconds: told.bill.spent.millis.saturating_add(told.bill.free.1) as f64 / 1e3,
                simulated_attempts: told.simulated,
            },
            budgets: budget::standing(snapshot, workflow).into_iter().map(BudgetView::of).collect(),
            odd,
            odd_left_out: told.odd_left_out,
            running: running.collect(),
            // With a broken configuration nothing fires.
            schedules: self.schedules().unwrap_or_default().into_iter().filter(|one| !one.next.is_empty()).collect(),
            next: first.map(|(rule, task)| next(model, task, rule.role.clone())).collect(),
        })
    }

    fn landed(
        &self,
        snapshot: &Snapshot,
        id: &TaskId,
        told: &TaskTold,
        commit: &str,
        at: DateTime<Utc>,
        ask: bool,
    ) -> LandedView {
        let task = snapshot.queue.get(id);
        let branch = task.and_then(|task| task.branch.as_deref());
        let files = || {
            let config = &self.loaded().ok()?.config.workspace;
            let range = diff::range(self.layout().ok()?, config, id, branch, None).ok()?;
            Some(range.files().ok()?.len())
        };
        LandedView {
            task: id.clone(),
            title: task.map(|task| task.title.clone()).or_else(|| told.title.clone()).unwrap_or_default(),
            status: task.map(|task| task.status.clone()),
            commit: commit.into(),
            at: at.into(),
            files: ask.then(files).flatten(),
            usd: told.bill.usd().filter(|_| told.bill.spent.attempts > 0),
            unpriced: told.bill.spent.unpriced,
            simulated: told.simulated,
        }
    }
}

/// The consumption of attempts. Merges of ours and attempts that are their gates start no agent: their cost is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bill {
    /// That of attempts that started an agent.
    pub(crate) spent: Spent,
    /// The others: how many, and their milliseconds.
    free: (u32, u64),
}

impl Bill {
    /// Adds an attempt.
    pub(crate) fn add(&mut self, usage: &Usage, is_free: bool) {
        if is_free {
            let mut one = Spent::default();
            one.add(usage);
            self.free = (self.free.0.saturating_add(1), self.free.1.saturating_add(one.millis));
        } else {
            self.spent.add(usage);
        }
    }

    /// Returns how many attempts there were.
    pub(crate) fn attempts(&self) -> u32 {
        self.spent.attempts.saturating_add(self.free.0)
    }

    /// Returns the known part of their price in US dollars; nothing where none of it is known.
    pub(crate) fn usd(&self) -> Option<f64> {
        let Spent { attempts, unpriced, micros, .. } = self.spent;
        (attempts == 0 || attempts > unpriced).then_some(micros as f64 / 1e6)
    }
}

/// Tells whether a claim starts no agent.
pub(crate) fn is_free(claimed: &Claimed) -> bool {
    claimed.merge || claimed.agentless
}

fn troubled(model: &ReadModel<'_>, task: &Task, told: &TaskTold) -> Option<TroubledView> {
    let state = model.state(task);
    if told.failures == 0 && !matches!(state, TaskState::Failed | TaskState::Stale | TaskState::Retry) {
        return None;
    }
    let view = model.task(task);
    let last = told.last_failure.as_ref();
    Some(TroubledView {
        task: view.id,
        title: view.title,
        status: view.status,
        state,
        failures: told.failures,
        role: last.and_then(|last| last.role.clone()),
        class: last.map(|last| last.class.clone()),
        reason: last.map(|last| last.reason.clone()),
        at: last.map(|last| last.at.into()),
        why: view.why,
        next: view.next,
        simulated: told.simulated || view.simulated,
    })
}

/// Orders states, the worst first.
fn severity(state: TaskState) -> u8 {
    match state {
        TaskState::Failed => 0,
        TaskState::Stale => 1,
        TaskState::NeedsYou => 2,
        TaskState::Retry => 3,
        TaskState::Waiting => 4,
        TaskState::Running => 5,
        TaskState::Cancelled | TaskState::Done => 6,
    }
}

fn next(model: &ReadModel<'_>, task: &Task, role: Role) -> NextView {
    let (id, title, simulated) = (task.id.clone(), task.title.clone(), model.simulated(task));
    NextView { task: id, title, role, why: model.sentence(task), simulated }
}

/// Tells whether something is over: what still is so stands among what waits for a person, or with the pools.
fn happened_only(snapshot: &Snapshot, odd: &OddView) -> bool {
    let role = || odd.role.as_ref();
    let still = match OddKind::of_word(odd.kind) {
        Some(OddKind::Paused) => role().is_some_and(|role| snapshot.history.paused(role).is_some()),
        Some(OddKind::Lacking) => {
            role().and_then(|role| snapshot.history.roles.get(role)).is_some_and(|known| !known.lacks.is_empty())
        }
        _ => false,
    };
    !still
}

/// Lists the tasks that no agent is started for any more.
fn at_their_bound<'a>(snapshot: &'a Snapshot, workflow: &'a Workflow) -> impl Iterator<Item = OddView> + 'a {
    let bounds = &workflow.policy().bounds;
    let open = snapshot.queue.tasks().filter(|task| !task.status.is_finished());
    open.filter(|task| snapshot.starts(task, bounds) >= bounds.starts).map(|task| OddView {
        kind: OddKind::Bound.as_str(),
        task: Some(task.id.clone()),
        role: None,
        times: 1,
        at: snapshot.now.wall.into(),
        words: format!("its agents were started {} times, which is the limit", snapshot.starts(task, bounds)),
    })
}

/// The word of [`EndedView::how`] for a declared end without a change.
const NO_CHANGE: &str = "no_change";

/// The actor that writes again what another program had written over.
const WRITTEN_OVER: &str = "policy:external-edits";

/// The journal's content that a report needs: a few words for each task, and a bounded list of odd things.
struct Told {
    since: DateTime<Utc>,
    /// The role that builds: its word says whether there was something to change.
    builds: Option<Role>,
    tasks: BTreeMap<TaskId, TaskTold>,
    bill: Bill,
    starts: u32,
    simulated: u32,
    odd: BTreeMap<OddKey, OddView>,
    odd_left_out: usize,
}

/// The key that groups odd things: their kind, and the task or role or pool that they are about.
type OddKey = (&'static str, String);

/// The same of one task. What began before the span and ended in it is known as well.
#[derive(Default)]
struct TaskTold {
    title: Option<String>,
    simulated: bool,
    /// Its consumption in all its life.
    bill: Bill,
    /// Its last claim started no agent.
    is_free: bool,
    /// The roles whose last word was that there is nothing to change.
    unchanged: BTreeSet<Role>,
    /// The role whose attempt ended last.
    last: Option<Role>,
    /// The merge that is about to become the target.
    landing: Option<Token>,
    /// The commit as which it was merged since it was last begun.
    merged: Option<(String, DateTime<Utc>)>,
    /// The end, where it has ended and nobody has begun it again.
    ended: Option<End>,
    /// In the span.
    failures: u32,
    last_failure: Option<FailureTold>,
}

struct FailureTold {
    at: DateTime<Utc>,
    role: Option<Role>,
    class: String,
    reason: String,
}

struct End {
    at: DateTime<Utc>,
    how: &'static str,
    words: String,
}

impl TaskTold {
    /// Returns the commit that landed in the span, or whose task was ended in it.
    fn landed_since(&self, since: DateTime<Utc>) -> Option<(&str, DateTime<Utc>)> {
        let (commit, at) = self.merged.as_ref()?;
        let ended = self.ended.as_ref().is_some_and(|ended| ended.at >= since);
        (*at >= since || ended).then_some((commit, *at))
    }

    /// Says how a task came to be called done.
    fn end(&self, builds: Option<&Role>, event: &Event, change: &TaskChange) -> End {
        let declared = |role: Option<&Role>| role.is_some_and(|role| self.unchanged.contains(role));
        let reason = change.reason.as_deref().map(|reason| format!(": {}", short(reason))).unwrap_or_default();
        let (how, words) = if let Some(name) = event.actor.strip_prefix("human:") {
            ("person", format!("by {}{reason}", short(name)))
        } else if event.actor == "outside" {
            ("file", "in the queue file, by an editor, a program or an agent".into())
        } else if event.actor.starts_with("policy:") {
            ("rule", format!("by a rule{reason}"))
        } else if declared(self.last.as_ref()) || declared(builds) {
            (NO_CHANGE, format!("its agent declared that there is nothing to change{reason}"))
        } else {
            ("agent", format!("its agents said so, and nothing was merged{reason}"))
        };
        End { at: event.time, how, words }
    }
}

fn short(words: &str) -> String {
    cut(&one_line(words), 300)
}

/// Tells whether an attempt ended with something that the next one has to do better.
pub(crate) fn has_failed(ended: &Ended) -> bool {
    ended.failure && !matches!(ended.outcome.as_deref(), Some("needs_input"))
}

impl Told {
    fn since(since: DateTime<Utc>, builds: Option<Role>) -> Self {
        Self {
            since,
            builds,
            tasks: BTreeMap::new(),
            bill: Bill::default(),
            starts: 0,
            simulated: 0,
            odd: BTreeMap::new(),
            odd_left_out: 0,
        }
    }

    fn odd(&mut self, kind: OddKind, about: &str, event: &Event, words: impl Into<String>) {
        if event.time < self.since {
            return;
        }
        let key = (kind.as_str(), about.to_owned());
        let words = words.into();
        if let Some(known) = self.odd.get_mut(&key) {
            (known.times, known.at, known.words) = (known.times + 1, event.time.into(), words);
        } else if self.odd.len() < ODD {
            let (task, role, at) = (event.task.clone(), event.role.clone(), Moment(event.time));
            self.odd.insert(key, OddView { kind: kind.as_str(), task, role, times: 1, at, words });
        } else {
            self.odd_left_out += 1;
        }
    }

    /// Takes in one more event.
    fn take(&mut self, event: &Event) {
        if let Some(id) = &event.task {
            self.take_of_task(&id.clone(), event);
        }
        let role = event.role.as_ref().map_or("", Role::as_str);
        match event.data() {
            Data::WorkerPaused(paused) => {
                let class = paused.class.as_deref().unwrap_or("unclassified");
                let words = format!("{class}: {}", short(paused.reason.as_deref().unwrap_or_default()));
                self.odd(OddKind::Paused, role, event, words);
            }
            Data::WorkerStarted(worker) if !worker.lacks.is_empty() => {
                let lacks: Vec<&str> = worker.lacks.keys().map(String::as_str).collect();
                self.odd(OddKind::Lacking, role, event, format!("started without {}", short(&lacks.join(", "))));
            }
            Data::AgentLimited(quota) => {
                let pool = quota.pool.as_deref().unwrap_or_default();
                let until = quota.until.as_deref().unwrap_or("an unknown time");
                let words = format!("the quota of `{}` was used up until {}", short(pool), short(until));
                self.odd(OddKind::Limited, pool, event, words);
            }
            Data::QueueInvalid(unreadable) => {
                let words = short(unreadable.message.as_deref().unwrap_or("it could not be read"));
                self.odd(OddKind::QueueInvalid, "", event, words);
            }
            Data::QueueValid(readable) if readable.note.is_some() => {
                self.odd(OddKind::Journal, "", event, short(readable.note.as_deref().unwrap_or_default()));
            }
            Data::BudgetExceeded(spending) => {
                let text = |text: &Option<String>| short(text.as_deref().unwrap_or("?"));
                let amount = |value: &Option<serde_json::Value>| value.as_ref().map_or("?".into(), ToString::to_string);
                let (subject, unit) = (text(&spending.subject), text(&spending.unit));
                let words =
                    format!("{subject}: {} of {} {unit} spent", amount(&spending.spent), amount(&spending.limit));
                self.odd(OddKind::Budget, &format!("{subject}/{unit}"), event, words);
            }
            Data::WorkerCrashed(crash) | Data::WorkerFailed(crash) => {
                let name = crash.worker.as_deref().unwrap_or(role);
                let reason = short(crash.reason.as_deref().unwrap_or("it is not known how"));
                self.odd(OddKind::Crashed, name, event, format!("the worker {} crashed: {reason}", short(name)));
            }
            Data::ScheduleMissed(timed) => {
                let name = timed.schedule.as_deref().unwrap_or_default();
                let runs = usize::try_from(timed.missed.unwrap_or(1)).unwrap_or(usize::MAX);
                let why = timed.reason.as_deref().map(|why| format!(": {}", short(why))).unwrap_or_default();
                let words = format!("{} of `{}` made no task{why}", many(runs, "run"), short(name));
                self.odd(OddKind::Missed, name, event, words);
            }
            Data::HandoffRefused(said) => {
                let name = said.handoff.as_deref().unwrap_or_default();
                let why = short(said.reason.as_deref().unwrap_or("it is not known why"));
                self.odd(OddKind::Refused, name, event, format!("the hand-off `{}` did nothing: {why}", short(name)));
            }
            Data::DecisionExpired(decided) if decided.applied.is_some() => {
                let id = short(decided.decision.as_deref().unwrap_or_default());
                let applied = short(decided.applied.as_deref().unwrap_or_default());
                self.odd(OddKind::Expired, &id, event, format!("nobody answered {id} in time: {applied}"));
            }
            _ => {}
        }
    }

    fn take_of_task(&mut self, id: &TaskId, event: &Event) {
        let (about, builds) = (id.as_str().to_owned(), self.builds.clone());
        let in_span = event.time >= self.since;
        let task = self.tasks.entry(id.clone()).or_default();
        match event.data() {
            Data::LeaseAcquired(claimed) => {
                task.simulated |= event.simulated;
                (task.merged, task.landing) = (None, None);
                task.is_free = is_free(claimed);
                self.starts += u32::from(in_span && !task.is_free && !event.simulated);
            }
            Data::MergeLanding(_) => task.landing = event.token,
            Data::AttemptFinished(ended) => self.finished(&about, id, event, ended),
            Data::AttemptSuperseded(ended) => {
                self.spend(id, event, ended, false);
                let words = "an attempt ended after another had taken over; what it made is kept, not applied";
                self.odd(OddKind::Superseded, &about, event, words);
            }
            Data::LeaseRescued(rescued) => {
                let undone = task.landing.take().is_some() && rescued.landed.is_none();
                if let Some(commit) = &rescued.landed {
                    task.merged = Some((commit.clone(), event.time));
                }
                let reason = short(rescued.reason.as_deref().unwrap_or_default());
                if undone {
                    let words = format!("its merge was begun and did not stay: {reason}");
                    self.odd(OddKind::TakenBack, &about, event, words);
                }
                let by = if rescued.forced { "a person took it away" } else { "given back" };
                self.odd(OddKind::Rescued, &about, event, format!("{by}: {reason}"));
            }
            Data::TaskUpdated(change) if event.actor == WRITTEN_OVER => {
                self.odd(OddKind::Edit, &about, event, short(change.reason.as_deref().unwrap_or("it is back")));
            }
            Data::TaskCreated(change) | Data::TaskMoved(change) | Data::TaskObserved(change) => {
                if let Data::TaskCreated(_) = event.data() {
                    let bill = if change.reused { Bill::default() } else { task.bill };
                    *task = TaskTold { title: change.title.clone(), bill, ..TaskTold::default() };
                }
                let is_done = change.to.as_ref().is_some_and(Status::is_done);
                task.ended = is_done.then(|| task.end(builds.as_ref(), event, change));
                if event.actor == WRITTEN_OVER {
                    self.odd(OddKind::Edit, &about, event, short(change.reason.as_deref().unwrap_or("it is back")));
                }
                if !change.left_out.0.is_empty() {
                    let words =
                        format!("a proposal's members were not taken: {}", short(&change.left_out.0.join(", ")));
                    self.odd(OddKind::Edit, &about, event, words);
                }
            }
            _ => {}
        }
    }

    fn finished(&mut self, about: &str, id: &TaskId, event: &Event, ended: &Ended) {
        let in_span = event.time >= self.since;
        let is_free = self.tasks.get(id).is_some_and(|task| task.is_free);
        self.spend(id, event, ended, is_free);
        let task = self.tasks.entry(id.clone()).or_default();
        task.simulated |= event.simulated;
        task.last.clone_from(&event.role);
        if let Some(role) = &event.role {
            match ended.outcome.as_deref() {
                Some("no_change") => drop(task.unchanged.insert(role.clone())),
                Some("done") => drop(task.unchanged.remove(role)),
                _ => {}
            }
        }
        let began = task.landing.take().is_some_and(|token| event.token == Some(token));
        let commit = ended.commit.as_ref().or(ended.landed.as_ref());
        if let Some(commit) = commit {
            task.merged = Some((commit.clone(), event.time));
        }
        let reason = ended.reason.as_deref().unwrap_or_default();
        if in_span && has_failed(ended) {
            task.failures += 1;
            let class = ended.class.clone().or_else(|| ended.outcome.clone()).unwrap_or_default();
            task.last_failure =
                Some(FailureTold { at: event.time, role: event.role.clone(), class, reason: short(reason) });
        }
        if began && commit.is_none() {
            self.odd(OddKind::TakenBack, about, event, format!("its merge did not stay: {}", short(reason)));
        }
        if let Some(status) = &ended.set_itself {
            let words = format!("its agent set it to `{}` in the queue file itself, which was judged", short(status));
            self.odd(OddKind::Edit, about, event, words);
        }
    }

    fn spend(&mut self, id: &TaskId, event: &Event, ended: &Ended, is_free: bool) {
        let in_span = event.time >= self.since;
        // What was simulated cost nobody anything.
        if event.simulated {
            self.simulated += u32::from(in_span);
            return;
        }
        self.tasks.entry(id.clone()).or_default().bill.add(&ended.usage, is_free);
        if in_span {
            self.bill.add(&ended.usage, is_free);
        }
    }
}

#[cfg(test)]
mod tests {
    use oodatcaa_core::{
        EventDraft,
        event::{
            Actor,
            payload::{
                Crash, Decided, Handed, Landing, Paused, Quota, Readable, Rescued, Spending, Texts, Timed, Unreadable,
                Worker,
            },
        },
    };

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a time")
    }

    /// Tells events of a task at seconds one after the other, the span begins at 100.
    fn told(events: Vec<(i64, Actor, Data)>) -> Told {
        let mut told = Told::since(at(100), Some(Role::BUILDER));
        for (seq, (second, actor, data)) in (1..).zip(events) {
            let id = TaskId::parse("T").expect("a good id");
            let draft = EventDraft { token: Some(Token(3)), ..EventDraft::new(data, actor) };
            let event = Event::number(draft.task(&id).role(&Role::BUILDER), seq, at(second), "//h/p");
            told.take(&event);
        }
        told
    }

    fn worker() -> Actor {
        Actor::Worker("w@h".into())
    }

    fn ended(outcome: &str) -> Ended {
        Ended { outcome: Some(outcome.into()), ..Ended::default() }
    }

    fn moved(to: &Status) -> TaskChange {
        TaskChange { to: Some(to.clone()), ..TaskChange::default() }
    }

    #[test]
    fn each_odd_thing_is_told_once_with_how_often_and_only_in_its_span() {
        let text = |words: &str| Some(words.to_owned());
        let lacks = Worker { lacks: [("codex".into(), "gone".into())].into_iter().collect(), ..Worker::default() };
        let all: Vec<(OddKind, Vec<Data>)> = vec![
            (OddKind::Rescued, vec![Data::LeaseRescued(Rescued { reason: text("it died"), ..Rescued::default() })]),
            (
                OddKind::TakenBack,
                vec![Data::MergeLanding(Landing::default()), Data::AttemptFinished(ended("needs_adapt"))],
            ),
            (OddKind::Superseded, vec![Data::AttemptSuperseded(ended("done"))]),
            (OddKind::Edit, vec![Data::AttemptFinished(Ended { set_itself: text("done"), ..ended("done") })]),
            (
                OddKind::Edit,
                vec![Data::TaskCreated(TaskChange { left_out: Texts(vec!["lease".into()]), ..moved(&Status::READY) })],
            ),
            (OddKind::QueueInvalid, vec![Data::QueueInvalid(Unreadable::default())]),
            (OddKind::Journal, vec![Data::QueueValid(Readable { note: text("cut"), ..Readable::default() })]),
            (OddKind::Paused, vec![Data::WorkerPaused(Paused::default())]),
            (OddKind::Lacking, vec![Data::WorkerStarted(lacks)]),
            (OddKind::Limited, vec![Data::AgentLimited(Quota { pool: text("claude"), ..Quota::default() })]),
            (OddKind::Budget, vec![Data::BudgetExceeded(Spending::default())]),
            (OddKind::Crashed, vec![Data::WorkerCrashed(Crash { worker: text("builder"), ..Crash::default() })]),
            (OddKind::Missed, vec![Data::ScheduleMissed(Timed { schedule: text("nightly"), ..Timed::default() })]),
            (OddKind::Refused, vec![Data::HandoffRefused(Handed { handoff: text("verify"), ..Handed::default() })]),
            (OddKind::Expired, vec![Data::DecisionExpired(Decided { applied: text("no"), ..Decided::default() })]),
        ];
        for (kind, events) in all {
            let twice = |second: i64| {
                let events = [events.clone(), events.clone()].concat();
                told(events.into_iter().map(|data| (second, worker(), data)).collect())
            };
            let odd: Vec<(&str, u32)> = twice(100).odd.values().map(|odd| (odd.kind, odd.times)).collect();
            assert_eq!(odd, [(kind.as_str(), 2)]);
            assert!(twice(99).odd.is_empty(), "{kind}: before the span");
        }
    }

    #[test]
    fn odd_things_have_a_bound_and_what_is_beyond_it_is_counted() {
        let limited = |n: usize| Data::AgentLimited(Quota { pool: Some(format!("p{n}")), ..Quota::default() });
        let told = told((0..ODD + 7).map(|n| (100, worker(), limited(n))).collect());
        assert_eq!((told.odd.len(), told.odd_left_out), (ODD, 7));
    }

    #[test]
    fn who_called_a_task_done_is_told_and_only_a_merge_or_a_declared_no_change_proves_it() {
        let done = || Data::TaskMoved(moved(&Status::DONE));
        let claim = || Data::LeaseAcquired(Claimed::default());
        let merged = Ended { commit: Some("c0ffee".into()), ..ended("done") };
        let how = |events: Vec<(Actor, Data)>| {
            let told = told(events.into_iter().map(|(actor, data)| (100, actor, data)).collect());
            let task = &told.tasks[&TaskId::parse("T").expect("a good id")];
            (task.landed_since(at(100)).is_some(), task.ended.as_ref().map(|ended| ended.how))
        };
        let finish = |ended: Ended| (worker(), Data::AttemptFinished(ended));
        assert_eq!(how(vec![(worker(), claim()), finish(merged.clone()), (worker(), done())]), (true, Some("agent")));
        assert_eq!(how(vec![finish(ended("no_change")), (worker(), done())]), (false, Some(NO_CHANGE)));
        assert_eq!(
            how(vec![finish(ended("no_change")), finish(ended("done")), (worker(), done())]),
            (false, Some("agent"))
        );
        assert_eq!(how(vec![(Actor::Human("me".into()), done())]), (false, Some("person")));
        assert_eq!(how(vec![(Actor::Outside, Data::TaskObserved(moved(&Status::DONE)))]), (false, Some("file")));
        assert_eq!(how(vec![(Actor::Policy("coordination".into()), done())]), (false, Some("rule")));
        // Opened again, or begun again after its merge, it is not called done any more.
        let again = Data::TaskMoved(moved(&Status::READY));
        assert_eq!(how(vec![(Actor::Outside, done()), (Actor::Outside, again)]), (false, None));
        assert_eq!(how(vec![finish(merged), (worker(), claim())]), (false, None));
    }

    #[test]
    fn what_was_simulated_or_started_no_agent_is_no_attempt_of_unknown_price() {
        let mut bill = Bill::default();
        let took = Usage { seconds: Some(2.0), ..Usage::default() };
        bill.add(&took, true);
        assert_eq!((bill.attempts(), bill.usd(), bill.spent.unpriced), (1, Some(0.0), 0));
        bill.add(&took, false);
        assert_eq!((bill.attempts(), bill.usd(), bill.spent.unpriced), (2, None, 1));
        bill.add(&Usage { cost_usd: Some(0.5), ..took }, false);
        assert_eq!((bill.attempts(), bill.usd(), bill.spent.unpriced), (3, Some(0.5), 1));
    }
}
