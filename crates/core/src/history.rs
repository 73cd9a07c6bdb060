//! What the journal tells the rules: a fold over events, one at a time (R24).
//!
//! Everything here can be rebuilt by reading the journal from its start.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::{Deref, DerefMut},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{
    Class, Event, Kind, Member, Role, RunName, Status, TaskId, Token,
    budget::{Ledger, Spent},
    decision::Decisions,
    outcome::Policy,
    pool::Closed,
    starts::Starts,
};

/// So often in a row something may be in a task's way before a person is told: about half an hour with the waits that
/// ship.
pub const PATIENCE: u32 = 10;

/// What is remembered of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskHistory {
    /// The greatest token ever given out (R10).
    pub token: Token,
    /// What tells it from another task under its id ([`super::Task::origin`]), where that has been told.
    pub origin: Option<Box<str>>,
    /// The greatest token whose attempt's end has been told.
    pub ended: Token,
    /// The status that the journal last saw.
    pub status: Option<Status>,
    /// Who set it.
    pub set_by: SetBy,
    /// It was called done in the queue file itself, by no verb and no attempt of ours.
    pub by_hand: bool,
    /// How its last attempt failed, where it did: a class.
    pub ended_as: Option<String>,
    /// An attempt is at work on it, as far as the journal tells.
    pub live: bool,
    /// The greatest token whose attempt lost its right to the task: what it says no longer counts.
    pub given_back: Token,
    /// Says that what somebody left of it was given back, and that nobody has claimed it since.
    pub is_given_back: bool,
    /// The `updated_at` that we last wrote into the queue; a file without it, or with an older
    /// one, is an old file put back (R10).
    pub updated_at: Option<DateTime<Utc>>,
    /// Attempts in a row that ended without being charged for a passing trouble (R22).
    pub transient: u32,
    /// Workers in a row that this task has taken down with it (R14).
    pub deaths: u32,
    /// How often a refiner has given it back since a human last touched it.
    pub adapts: u32,
    /// How often its merge has ended in conflicts since a human last touched it.
    pub conflicts: u32,
    /// Attempts in a row that found something in the way; from [`PATIENCE`] on a person is told.
    pub waits: u32,
    /// What went wrong lately and in which role, oldest first, for the next prompt (R17).
    pub failures: Vec<(Role, String)>,
    /// The passing trouble that its last attempt ended with, for people (R22).
    pub trouble: Option<String>,
    /// What a human answered to its agents' questions, oldest first: question and answer (R17).
    pub answers: Vec<(String, String)>,
    /// The directories of its attempts, as their claims named them; what else lies there speaks for nobody (R27).
    pub runs: BTreeMap<Token, RunName>,
    /// The commit at which its branch was seen, and the newest token then, where that was another than its work's.
    pub tip: Option<(Token, String)>,
    /// The last claim of each role, and the commit at which its work ended where that is known.
    pub work: BTreeMap<Role, Work>,
    /// The first of its latest attempts in a row, of one role, whose work nobody has judged: interrupted ones.
    pub unjudged: Option<(Role, Token)>,
    /// The commit as which it was merged by an attempt that did not live, or wait, to say so.
    pub landed: Option<String>,
    /// The commit as which it was merged last, since it was begun.
    pub merged: Option<String>,
    /// What its attempts spent.
    pub spent: Spent,
    /// Its last attempt used up the budget of an attempt, and nobody has allowed more yet.
    pub overrun: bool,
    /// The statuses that we replaced since the baseline, and when we last did.
    pub replaced: BTreeMap<Status, DateTime<Utc>>,
    /// The members that we wrote since the baseline, with their last values.
    pub wrote: Map<String, Value>,
}

/// Who set a task's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetBy {
    /// Somebody, with an editor or a program of theirs, while no attempt was at work on the task.
    #[default]
    Others,
    /// Somebody while an attempt was: its agent, for all that can be told.
    Attempt,
    /// A worker of ours, a rule, or a human by a verb of ours.
    Us,
}

/// The last work of a role on a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The token of its claim.
    pub token: Token,
    /// Who worked: the agent's name.
    pub by: String,
    /// The commit at which it ended.
    pub commit: Option<String>,
}

impl TaskHistory {
    /// How many failures, and how many answers, are kept.
    pub const FAILURES: usize = 5;

    /// What people should know of a task that is done, where nothing of ours has proved it.
    pub fn doubt(&self) -> Option<String> {
        let by = self.by_hand.then_some("somebody set it to that in the queue file");
        let failed = self.ended_as.as_ref().map(|class| format!("its last attempt ended as `{class}`"));
        match (by, failed) {
            (None, None) => None,
            (Some(by), None) => Some(by.into()),
            (None, Some(failed)) => Some(failed),
            (Some(by), Some(failed)) => Some(format!("{by}, and {failed}")),
        }
    }

    pub(super) fn answered(&mut self, question: &str, answer: &str) {
        if self.answers.len() == Self::FAILURES {
            self.answers.remove(0);
        }
        self.answers.push((question.into(), answer.into()));
    }

    /// The file is somebody else's again: nothing of ours stands in it.
    fn forget_writing(&mut self) {
        self.updated_at = None;
        self.replaced.clear();
        self.wrote.clear();
    }

    fn stamped(&mut self, event: &Event) {
        self.updated_at = Some(written_at(event));
        if let Some(set) = event.data.get("set").and_then(Value::as_object) {
            self.wrote.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }

    fn failed(&mut self, role: Option<&Role>, reason: &str) {
        if self.failures.len() == Self::FAILURES {
            self.failures.remove(0);
        }
        self.failures.push((role.cloned().unwrap_or_else(|| Role::new("?")), reason.into()));
    }
}

/// The stamp that a change of ours left in the file; what was told late has it in its data.
pub fn written_at(event: &Event) -> DateTime<Utc> {
    let of = |part: &str| event.data.get(part)?.get("updated_at")?.as_str()?.parse().ok();
    let written: Option<DateTime<Utc>> = of("set").or_else(|| of("entry"));
    written.map_or(event.time, |written| written.min(event.time))
}

/// A change of ours to the queue that was made just now: what another program may have written over (R3, R33).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The task.
    pub task: TaskId,
    /// The stamp that it left.
    pub at: DateTime<Utc>,
    /// The stamp of ours that stood there before.
    pub before: Option<DateTime<Utc>>,
    /// The status that stood there before; none for a task that was added.
    pub from: Option<Status>,
    /// The members that it set.
    pub set: Map<String, Value>,
    /// The whole entry of a task that it added.
    pub entry: Option<Map<String, Value>>,
    /// The task that it was added for.
    pub parent: Option<String>,
}

/// What is remembered of one task, shared between copies of the fold until one of them changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(Arc<TaskHistory>);

impl Deref for Known {
    type Target = TaskHistory;

    fn deref(&self) -> &TaskHistory {
        &self.0
    }
}

impl DerefMut for Known {
    fn deref_mut(&mut self) -> &mut TaskHistory {
        Arc::make_mut(&mut self.0)
    }
}

/// What is remembered of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleHistory {
    /// Why it claims nothing, and since when.
    pub paused: Option<Pause>,
    /// Different tasks that failed in a row (R22).
    pub failing: BTreeSet<TaskId>,
    /// The pools that its workers draw from, as the last one that started said.
    pub pools: Vec<String>,
    /// The agents that its workers cannot use, and why not, by worker.
    pub lacks: BTreeMap<String, BTreeMap<String, String>>,
}

/// A role's pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The class of failure that caused it, as text.
    pub class: String,
    /// For people.
    pub reason: String,
    /// When.
    pub since: DateTime<Utc>,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The last event's number; 0 for an empty journal.
    pub seq: u64,
    /// Whether a baseline of statuses has been recorded.
    pub baseline: bool,
    /// Per task.
    pub tasks: HashMap<TaskId, Known>,
    /// Per role.
    pub roles: BTreeMap<Role, RoleHistory>,
    /// What humans were asked, and what they said.
    pub decisions: Decisions,
    /// What was spent.
    pub ledger: Ledger,
    /// How often agents were started.
    pub starts: Starts,
    /// The pools of quota that are not known to be open (R22).
    pub pools: BTreeMap<String, Closed>,
    /// When the window of a pool ends that is running, as its provider said last.
    pub windows: BTreeMap<String, DateTime<Utc>>,
    /// Our last changes to the queue, oldest first.
    pub recent: VecDeque<Arc<Write>>,
    /// The time of the last event.
    pub at: DateTime<Utc>,
    /// The error that the last `queue.invalid` named, until a `queue.valid`.
    pub invalid: Option<String>,
}

/// How the reason of a red gate begins.
pub const GATE: &str = "the gate `";

/// Whether an attempt ended before anybody could say what its work is worth.
fn is_unjudged(event: &Event) -> bool {
    let class = event.text("class").and_then(|class| class.parse::<Class>().ok());
    class.is_some_and(|class| match class.policy() {
        Policy::Stop | Policy::Quota | Policy::Auth => true,
        Policy::Transient => event.flag("transient"),
        Policy::Context | Policy::Work => false,
    })
}

/// The commit as which the queue has been told that the task was merged; `null` where it was told that it is not.
fn told_as_merged(event: &Event) -> Option<&Value> {
    event.data.get("set")?.get(Member::MergedCommit.key())
}

impl History {
    /// What is remembered of a task.
    pub fn task(&self, id: &TaskId) -> Option<&TaskHistory> {
        self.tasks.get(id).map(Deref::deref)
    }

    /// Why a role is paused.
    pub fn paused(&self, role: &Role) -> Option<&Pause> {
        self.roles.get(role).and_then(|role| role.paused.as_ref())
    }

    /// Takes in one more event.
    pub fn apply(&mut self, event: &Event) {
        self.seq = self.seq.max(event.seq);
        self.at = self.at.max(event.time);
        self.apply_to_recent(event);
        self.starts.apply(event);
        if let Some(id) = &event.task {
            self.apply_to_task(id, event);
        }
        if let Some(role) = &event.role {
            self.apply_to_role(role, event);
        }
        match event.kind {
            Kind::QueueInvalid => self.invalid = Some(event.text("message").unwrap_or_default().into()),
            Kind::QueueValid => {
                self.invalid = None;
                self.apply_baseline(event);
            }
            Kind::AgentResumed if !event.sealed => {}
            Kind::AgentLimited | Kind::AgentResumed => self.apply_to_pools(event),
            Kind::DecisionRequested | Kind::DecisionResolved | Kind::DecisionExpired => {
                self.apply_to_decisions(event);
                self.apply_to_ledger(event);
            }
            Kind::AttemptFinished => {
                self.apply_to_pools(event);
                self.apply_to_ledger(event);
            }
            Kind::AttemptSuperseded | Kind::BudgetExceeded => self.apply_to_ledger(event),
            _ => {}
        }
    }

    /// How long, and how many, of our own changes are remembered whole.
    const RECENT: (chrono::Duration, usize) = (chrono::Duration::seconds(15), 4_096);

    fn apply_to_recent(&mut self, event: &Event) {
        let Some(task) = event.task.as_ref().filter(|_| event.flag("stamped")) else { return };
        let at = written_at(event);
        let old = |write: &Arc<Write>| write.at + Self::RECENT.0 < at;
        while self.recent.len() >= Self::RECENT.1 || self.recent.front().is_some_and(old) {
            self.recent.pop_front();
        }
        let known = self.task(task);
        let object = |key: &str| event.data.get(key).and_then(Value::as_object).cloned();
        self.recent.push_back(Arc::new(Write {
            task: task.clone(),
            at,
            before: known.and_then(|known| known.updated_at),
            from: known.and_then(|known| known.status.clone()),
            set: object("set").unwrap_or_default(),
            entry: object("entry"),
            parent: event.text("parent").map(String::from),
        }));
    }

    fn apply_baseline(&mut self, event: &Event) {
        let Some(statuses) = event.data.get("statuses").and_then(Value::as_object) else { return };
        // After the first, only a person may take the file for the truth.
        if self.baseline && !event.sealed {
            return;
        }
        self.baseline = true;
        // A baseline that a human confirmed forgets what was written before it, and nothing of the tokens.
        for known in self.tasks.values_mut() {
            (known.status, known.set_by) = (None, SetBy::Others);
            known.forget_writing();
        }
        self.recent.clear();
        let origins = event.data.get("origins").and_then(Value::as_object);
        for (name, status) in statuses {
            if let (Ok(id), Some(status)) = (TaskId::parse(name), status.as_str()) {
                let known = self.tasks.entry(id).or_default();
                known.status = Some(Status::new(status));
                known.origin = origins.and_then(|origins| origins.get(name)?.as_str()).map(Into::into);
            }
        }
    }

    fn apply_to_task(&mut self, id: &TaskId, event: &Event) {
        let outside = event.actor == "outside";
        // What an attempt does to its own task is no human's word.
        let by_hand = event.actor.starts_with("human:") || outside && !event.flag("during_attempt");
        let known = self.tasks.entry(id.clone()).or_default();
        if let Some(token) = event.token
            && (token <= Token::PLAUSIBLE_TOLD || token.is_plausible(known.token))
        {
            known.token = known.token.max(token);
        }
        if let Some(origin) = event.text("origin") {
            if event.kind == Kind::TaskCreated && known.origin.as_deref().is_some_and(|old| old != origin) {
                // Another task under an id that was used before: only the numbers go on.
                let (token, ended) = (known.token, known.ended);
                **known = TaskHistory { token, ended, ..TaskHistory::default() };
            }
            known.origin = Some(origin.into());
        }
        if let Some(commit) = told_as_merged(event) {
            known.landed = None;
            known.merged = commit.as_str().map(String::from);
        }
        match event.kind {
            Kind::TaskCreated | Kind::TaskMoved | Kind::TaskObserved => {
                known.status = event.text("to").map(Status::new);
                known.set_by = match outside {
                    true if event.flag("during_attempt") => SetBy::Attempt,
                    true => SetBy::Others,
                    false => SetBy::Us,
                };
                known.by_hand = outside && known.status.as_ref().is_some_and(Status::is_done);
                // An answer is part of the work, not a new start.
                if by_hand && event.text("verb") != Some("answer") {
                    known.overrun = false;
                    (known.adapts, known.deaths, known.transient) = (0, 0, 0);
                    (known.conflicts, known.waits) = (0, 0);
                    known.failures.clear();
                }
                if event.flag("stamped") {
                    known.stamped(event);
                    if let Some(from) = event.text("from") {
                        known.replaced.insert(Status::new(from), written_at(event));
                    }
                } else {
                    known.forget_writing();
                }
                if known.status.as_ref().is_some_and(Status::is_finished) {
                    known.failures.clear();
                    known.answers.clear();
                    known.conflicts = 0;
                }
            }
            Kind::LeaseAcquired => {
                known.live = true;
                known.is_given_back = false;
                known.merged = None;
                if let (Some(role), Some(token)) = (&event.role, event.token) {
                    if known.unjudged.as_ref().is_none_or(|(other, _)| other != role) {
                        known.unjudged = Some((role.clone(), token));
                    }
                    let by = event.text("by").unwrap_or_default().into();
                    known.work.insert(role.clone(), Work { token, by, commit: None });
                    let named = event.text("run").and_then(RunName::parse).filter(|name| name.token() == token);
                    known.runs.insert(token, named.unwrap_or_else(|| RunName::of(token)));
                }
            }
            Kind::TaskUpdated if event.flag("stamped") => known.stamped(event),
            Kind::AttemptSuperseded => known.ended = known.ended.max(event.token.unwrap_or_default()),
            Kind::AttemptFinished => {
                known.ended = known.ended.max(event.token.unwrap_or_default());
                known.live = false;
                known.landed = event.text("landed").map(String::from);
                if let Some(work) = event.role.as_ref().and_then(|role| known.work.get_mut(role)) {
                    work.commit = event.text("head").or(event.text("commit")).map(String::from);
                }
                known.ended_as = event.text("class").map(String::from);
                known.overrun = event.flag("overrun");
                if !is_unjudged(event) {
                    known.unjudged = None;
                }
                known.deaths = 0;
                known.transient = if event.flag("transient") { known.transient + 1 } else { 0 };
                known.waits = if event.text("outcome") == Some("waits") { known.waits + 1 } else { 0 };
                if event.text("outcome") == Some("conflict") {
                    known.conflicts += 1;
                }
                known.trouble = event.text("reason").filter(|_| event.flag("transient")).map(String::from);
                if event.flag("adapted") {
                    known.adapts += 1;
                }
                if matches!(event.text("outcome"), Some("done" | "no_change")) {
                    // What it had done wrong it has mended.
                    known.failures.retain(|(role, _)| Some(role) != event.role.as_ref());
                }
                if event.text("class") == Some(Class::GateFailed.as_str()) {
                    // Gates run in their order up to the first that is red: those before it are green now.
                    known
                        .failures
                        .retain(|(role, words)| Some(role) != event.role.as_ref() || !words.starts_with(GATE));
                }
                if event.flag("failure") {
                    known.failed(event.role.as_ref(), event.text("reason").unwrap_or_default());
                }
            }
            Kind::LeaseRescued => {
                known.live = false;
                known.landed = event.text("landed").map(String::from);
                known.given_back = known.given_back.max(event.token.unwrap_or_default());
                known.is_given_back = true;
                known.deaths += u32::from(event.flag("died"));
            }
            _ => {}
        }
    }

    fn apply_to_role(&mut self, role: &Role, event: &Event) {
        let known = self.roles.entry(role.clone()).or_default();
        match event.kind {
            Kind::WorkerPaused => {
                known.paused = Some(Pause {
                    class: event.text("class").unwrap_or("unclassified").into(),
                    reason: event.text("reason").unwrap_or_default().into(),
                    since: event.time,
                });
            }
            Kind::WorkerStarted => {
                if let Some(pools) = event.data.get("pools").and_then(Value::as_array) {
                    known.pools = pools.iter().filter_map(|pool| pool.as_str().map(String::from)).collect();
                }
                known.lacks.remove(&event.actor);
                if let Some(lacks) =
                    event.data.get("lacks").and_then(Value::as_object).filter(|lacks| !lacks.is_empty())
                {
                    let lacks = lacks.iter().filter_map(|(agent, why)| Some((agent.clone(), why.as_str()?.into())));
                    known.lacks.insert(event.actor.clone(), lacks.collect());
                }
            }
            Kind::WorkerStopped => drop(known.lacks.remove(&event.actor)),
            Kind::WorkerResumed if event.sealed => (known.paused, known.failing) = (None, BTreeSet::new()),
            Kind::AttemptFinished => match &event.task {
                Some(task) if event.flag("charged") => {
                    known.failing.insert(task.clone());
                }
                _ if event.text("class").is_none() => known.failing.clear(),
                _ => {}
            },
            _ => {}
        }
    }
}
