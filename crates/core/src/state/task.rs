//! What the journal tells of one task.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{
    decisions::{Decision, End, Topic},
    spending::Spent,
};
use crate::{
    Class, Data, Event, Member, Role, RunName, Status, TaskId, Token,
    event::payload::{Claimed, Decided, Ended, TaskChange},
    outcome::Policy,
};

/// So often in a row something may be in a task's way before a person is told: about half an hour with the waits that
/// ship.
pub const PATIENCE: u32 = 10;

/// The beginning of the reason that a red gate gives.
pub const GATE: &str = "the gate `";

/// The history of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskHistory {
    /// The greatest token ever given out.
    pub token: Token,
    /// The mark that tells it from another task under its id ([`crate::Task::origin`]), where known.
    pub origin: Option<Box<str>>,
    /// The greatest token whose attempt's end has been told.
    pub ended: Token,
    /// The status that the journal last saw.
    pub status: Option<Status>,
    /// The one who set it.
    pub set_by: SetBy,
    /// It was called done in the queue file itself, by no verb and no attempt of ours.
    pub by_hand: bool,
    /// The class of its last attempt's failure, if it failed.
    pub ended_as: Option<String>,
    /// An attempt is at work on it, as far as the journal tells.
    pub live: bool,
    /// The greatest token whose attempt lost its right to the task: what it says no longer counts.
    pub given_back: Token,
    /// Says that what somebody left of it was given back, and that nobody has claimed it since.
    pub is_given_back: bool,
    /// The `updated_at` that we last wrote into the queue; a file without it, or with an older
    /// one, is an old file put back.
    pub updated_at: Option<DateTime<Utc>>,
    /// Attempts in a row that ended without being charged for a passing trouble.
    pub transient: u32,
    /// Workers in a row that this task has taken down with it.
    pub deaths: u32,
    /// The number of times that a refiner has given it back since a human last touched it.
    pub adapts: u32,
    /// The number of times that its merge has ended in conflicts since a human last touched it.
    pub conflicts: u32,
    /// Attempts in a row that found something in the way; from [`PATIENCE`] on a person is told.
    pub waits: u32,
    /// Recent failures with their roles, oldest first, for the next prompt.
    pub failures: Vec<(Role, String)>,
    /// The passing trouble that its last attempt ended with, for people.
    pub trouble: Option<String>,
    /// A human's answers to its agents' questions, oldest first: question and answer.
    pub answers: Vec<(String, String)>,
    /// The directories of its attempts, as their claims named them; what else lies there speaks for nobody.
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
    /// The spending of its attempts.
    pub spent: Spent,
    /// Its last attempt used up the budget of an attempt, and nobody has allowed more yet.
    pub overrun: bool,
    /// The statuses that we replaced since the baseline, and when we last did.
    pub replaced: BTreeMap<Status, DateTime<Utc>>,
    /// The members that we wrote since the baseline, with their last values.
    pub wrote: Map<String, Value>,
}

/// The one who set a task's status.
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
    /// The name of the agent that worked.
    pub by: String,
    /// The commit at which it ended.
    pub commit: Option<String>,
}

impl TaskHistory {
    /// The number of failures, and of answers, that are kept.
    pub const FAILURES: usize = 5;

    /// Returns what people should know of a task that is done, where nothing of ours has proved it.
    pub fn doubt(&self) -> Option<String> {
        let by = self.by_hand.then_some("it was set to that in the queue file");
        let failed = self.ended_as.as_ref().map(|class| format!("its last attempt ended as `{class}`"));
        let doubts: Vec<String> = by.map(String::from).into_iter().chain(failed).collect();
        (!doubts.is_empty()).then(|| doubts.join(", and "))
    }

    /// Takes note that it left the queue with its sprint. Only what must never go back, its numbers, goes on counting.
    pub(super) fn left(&mut self) {
        (self.status, self.set_by) = (None, SetBy::Us);
        self.forget_writing();
    }

    /// Forgets what we wrote: the file is another one, and nothing of ours stands in it.
    pub(super) fn forget_writing(&mut self) {
        self.updated_at = None;
        self.replaced.clear();
        self.wrote.clear();
    }

    fn stamped(&mut self, event: &Event, change: &TaskChange) {
        self.updated_at = Some(written_at(event));
        let set = change.set.iter().flatten();
        self.wrote.extend(set.map(|(key, value)| (key.clone(), value.clone())));
    }
}

/// Adds to what is kept of the latest.
fn keep<T>(latest: &mut Vec<T>, new: T) {
    if latest.len() == TaskHistory::FAILURES {
        latest.remove(0);
    }
    latest.push(new);
}

/// Tells whether an attempt ended before anybody could say what its work is worth.
fn is_unjudged(ended: &Ended) -> bool {
    ended.known_class().is_some_and(|class| match class.policy() {
        Policy::Stop | Policy::Quota | Policy::Auth => true,
        Policy::Transient => ended.transient,
        Policy::Context | Policy::Work => false,
    })
}

impl TaskHistory {
    pub(super) fn apply(&mut self, event: &Event) {
        if let Some(token) = event.token
            && (token <= Token::PLAUSIBLE_TOLD || token.is_plausible(self.token))
        {
            self.token = self.token.max(token);
        }
        match event.data() {
            Data::TaskCreated(change) => {
                let differs = |origin: &String| self.origin.as_deref().is_some_and(|old| old != origin);
                if change.origin.as_ref().is_some_and(differs) {
                    // Another task under an id that was used before: only the numbers go on.
                    let (token, ended) = (self.token, self.ended);
                    *self = Self { token, ended, ..Self::default() };
                }
                self.changed(change);
                self.moved(event, change);
            }
            Data::TaskMoved(change) | Data::TaskObserved(change) => {
                self.changed(change);
                self.moved(event, change);
            }
            Data::TaskUpdated(change) => {
                self.changed(change);
                if change.stamped {
                    self.stamped(event, change);
                }
            }
            Data::LeaseAcquired(claimed) => self.claimed(event, claimed),
            Data::AttemptSuperseded(ended) => {
                self.ended = self.ended.max(event.token.unwrap_or_default());
                self.spend(event, ended);
            }
            Data::AttemptFinished(ended) => {
                self.ended = self.ended.max(event.token.unwrap_or_default());
                self.spend(event, ended);
                self.finished(event, ended);
            }
            Data::LeaseRescued(rescued) => {
                self.live = false;
                self.landed.clone_from(&rescued.landed);
                self.given_back = self.given_back.max(event.token.unwrap_or_default());
                self.is_given_back = true;
                self.deaths += u32::from(rescued.died == Some(true));
            }
            Data::DecisionResolved(decided)
                if event.sealed && decided.kind.as_deref() == Some(Topic::Budget.as_str()) =>
            {
                self.overrun = false;
            }
            _ => {}
        }
    }

    fn changed(&mut self, change: &TaskChange) {
        if let Some(origin) = &change.origin {
            self.origin = Some(origin.as_str().into());
        }
        // `null` where the queue was told that it is not merged.
        if let Some(commit) = change.set.as_ref().and_then(|set| set.get(Member::MergedCommit.as_str())) {
            self.landed = None;
            self.merged = commit.as_str().map(String::from);
        }
    }

    fn moved(&mut self, event: &Event, change: &TaskChange) {
        let outside = event.actor == "outside";
        // What an attempt does to its own task is no human's word.
        let by_hand = event.is_by_human() || outside && !change.during_attempt;
        self.status.clone_from(&change.to);
        self.set_by = match outside {
            true if change.during_attempt => SetBy::Attempt,
            true => SetBy::Others,
            false => SetBy::Us,
        };
        self.by_hand = outside && self.status.as_ref().is_some_and(Status::is_done);
        // An answer is part of the work, not a new start.
        if by_hand && change.verb.as_deref() != Some("answer") {
            self.overrun = false;
            (self.adapts, self.deaths, self.transient) = (0, 0, 0);
            (self.conflicts, self.waits) = (0, 0);
            self.failures.clear();
        }
        if change.stamped {
            self.stamped(event, change);
            if let Some(from) = &change.from {
                self.replaced.insert(from.clone(), written_at(event));
            }
        } else {
            self.forget_writing();
        }
        if self.status.as_ref().is_some_and(Status::is_finished) {
            self.failures.clear();
            self.answers.clear();
            self.conflicts = 0;
        }
    }

    fn claimed(&mut self, event: &Event, claimed: &Claimed) {
        if let Some(origin) = &claimed.origin {
            self.origin = Some(origin.as_str().into());
        }
        self.live = true;
        self.is_given_back = false;
        self.merged = None;
        if let (Some(role), Some(token)) = (&event.role, event.token) {
            if self.unjudged.as_ref().is_none_or(|(other, _)| other != role) {
                self.unjudged = Some((role.clone(), token));
            }
            let by = claimed.by.clone().unwrap_or_default();
            self.work.insert(role.clone(), Work { token, by, commit: None });
            let named = claimed.run.as_deref().and_then(RunName::parse).filter(|name| name.token() == token);
            self.runs.insert(token, named.unwrap_or_else(|| RunName::of(token)));
        }
    }

    fn finished(&mut self, event: &Event, ended: &Ended) {
        let outcome = ended.outcome.as_deref();
        self.live = false;
        self.landed.clone_from(&ended.landed);
        if let Some(work) = event.role.as_ref().and_then(|role| self.work.get_mut(role)) {
            work.commit = ended.head.clone().or(ended.commit.clone());
        }
        self.ended_as.clone_from(&ended.class);
        self.overrun = ended.overrun;
        if !is_unjudged(ended) {
            self.unjudged = None;
        }
        self.deaths = 0;
        self.transient = if ended.transient { self.transient + 1 } else { 0 };
        self.waits = if outcome == Some("waits") { self.waits + 1 } else { 0 };
        self.conflicts += u32::from(outcome == Some("conflict"));
        self.trouble = ended.reason.clone().filter(|_| ended.transient);
        self.adapts += u32::from(ended.adapted);
        if matches!(outcome, Some("done" | "no_change")) {
            // What it had done wrong it has mended.
            self.failures.retain(|(role, _)| Some(role) != event.role.as_ref());
        }
        if ended.class.as_deref() == Some(Class::GateFailed.as_str()) {
            // Gates run in their order up to the first that is red: those before it are green now.
            self.failures.retain(|(role, words)| Some(role) != event.role.as_ref() || !words.starts_with(GATE));
        }
        if ended.failure {
            let role = event.role.clone().unwrap_or_else(|| Role::new("?"));
            keep(&mut self.failures, (role, ended.reason.clone().unwrap_or_default()));
        }
    }

    /// Takes in the end of a decision about it.
    pub(super) fn decided(&mut self, decision: &Decision, decided: &Decided) {
        let Some(closed) = &decision.closed else { return };
        match (closed.how, &decided.commit) {
            (End::Answered, _) => keep(&mut self.answers, (decision.question.clone(), closed.words.clone())),
            (End::Withdrawn, Some(commit)) => self.tip = Some((self.token, commit.clone())),
            _ => {}
        }
    }

    fn spend(&mut self, event: &Event, ended: &Ended) {
        // What was simulated cost nobody anything.
        if !event.simulated {
            self.spent.add(&ended.usage);
        }
    }
}

/// Returns the stamp that a change of ours left in the file; what was told late has it in its data.
pub fn written_at(event: &Event) -> DateTime<Utc> {
    let of = |members: &Option<Map<String, Value>>| members.as_ref()?.get("updated_at")?.as_str()?.parse().ok();
    let written = event.data().task_change().and_then(|change| of(&change.set).or_else(|| of(&change.entry)));
    written.map_or(event.time, |written: DateTime<Utc>| written.min(event.time))
}

/// A change of ours to the queue that was made just now: what another program may have written over.
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
