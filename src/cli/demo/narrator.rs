//! What the journal of the demo tells: a line for each step while it happens, and in the end whether
//! everything that the demo promises has been seen.

use chrono::{DateTime, Utc};

use oodatcaa_core::{Data, Event, Kind, Status, text::one_line};

/// The task whose test fails once.
const ADAPTED: &str = "D2";
/// The task that waits for a dependency.
pub(super) const WAITING: &str = "D4";
/// What it waits for.
const AWAITED: &str = "D1";
/// The task whose worker is killed.
pub(super) const RESCUED: &str = "D5";

/// The task whose worktree, diff and approval are shown.
pub(super) const SHOWN: &str = "D1";

/// Returns what there is to see.
pub(super) fn promise() -> String {
    format!(
        "  {ADAPTED} will fail its test once, {WAITING} waits for {AWAITED}, and the worker of {RESCUED} is killed.\n  \
         Each is merged once a person has seen it; here the demo says yes for you, and shows you {SHOWN}."
    )
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct Narrator {
    events: Vec<Event>,
    killed: Option<DateTime<Utc>>,
}

impl Narrator {
    /// Takes in an event; answers the line that shows it, if it is worth one.
    pub(super) fn take(&mut self, event: Event, began: DateTime<Utc>) -> Option<String> {
        let line = line(&event);
        let at = (event.time - began).as_seconds_f64().max(0.0);
        let simulated = if event.simulated { "  (simulated)" } else { "" };
        self.events.push(event);
        line.map(|line| format!("{at:6.1} s  {line}{simulated}"))
    }

    /// Returns the number of the last event.
    pub(super) fn seq(&self) -> u64 {
        self.events.last().map_or(0, |event| event.seq)
    }

    /// Notes that a worker was killed at this time.
    pub(super) fn killed(&mut self, at: DateTime<Utc>) {
        self.killed = Some(at);
    }

    /// Tells whether one has been killed.
    pub(super) fn has_killed(&self) -> bool {
        self.killed.is_some()
    }

    /// Tells whether the killed worker's task has been given back.
    pub(super) fn has_rescued(&self) -> bool {
        self.rescue().is_some()
    }

    fn of<'a>(&'a self, task: &'a str, kind: Kind) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |e| e.kind() == kind && e.task.as_ref().is_some_and(|id| id.as_str() == task))
    }

    fn moved<'a>(&'a self, task: &'a str, from: Option<&str>, to: &str) -> Option<&'a Event> {
        let is = |status: &Option<Status>, word: &str| status.as_ref().is_some_and(|status| status.as_str() == word);
        self.of(task, Kind::TaskMoved).find(|event| {
            let change = event.data().task_change();
            change.is_some_and(|change| is(&change.to, to) && from.is_none_or(|from| is(&change.from, from)))
        })
    }

    fn rescue(&self) -> Option<&Event> {
        let killed = self.killed?;
        self.of(RESCUED, Kind::LeaseRescued).find(|event| event.time >= killed)
    }

    /// Tells the stories of the demo; `Err` is one that did not happen.
    pub(super) fn stories(&self) -> Vec<Result<String, String>> {
        let adapted = match (self.moved(ADAPTED, Some("testing"), "needs_adapt"), self.moved(ADAPTED, None, "done")) {
            (Some(failed), Some(_)) => {
                let why = reason(failed).map(|why| format!(": {}", one_line(why))).unwrap_or_default();
                Ok(format!("{ADAPTED} failed its test{why}. The refiner adapted it, then it passed."))
            }
            _ => Err(format!("{ADAPTED} did not fail its test and come back")),
        };
        let waited = match (self.moved(AWAITED, None, "done"), self.moved(WAITING, Some("blocked"), "ready")) {
            (Some(awaited), Some(freed)) if freed.seq > awaited.seq => {
                Ok(format!("{WAITING} waited for {AWAITED}; nobody had to tell it that {AWAITED} was done."))
            }
            _ => Err(format!("{WAITING} did not wait for {AWAITED}")),
        };
        let rescued = match (self.killed, self.rescue()) {
            (Some(killed), Some(rescue)) => {
                let after = (rescue.time - killed).num_milliseconds().max(0);
                let by = one_line(rescue.actor.strip_prefix("worker:").unwrap_or(&rescue.actor));
                Ok(format!(
                    "{RESCUED} lost its worker to SIGKILL; {after} ms later it was given back by {by}, \
                     and done by the next one."
                ))
            }
            _ => Err(format!("{RESCUED} did not lose its worker and come back")),
        };
        let merged = match self.of(SHOWN, Kind::DecisionResolved).next() {
            Some(yes) if self.has_seen_done(SHOWN) => Ok(format!(
                "{SHOWN} was built in a worktree of its own, approved by {}, and merged.",
                one_line(&yes.actor)
            )),
            _ => Err(format!("{SHOWN} was not approved and merged")),
        };
        vec![adapted, waited, rescued, merged]
    }

    /// Tells whether the journal has seen a task done.
    pub(super) fn has_seen_done(&self, task: &str) -> bool {
        self.moved(task, None, "done").is_some()
    }

    /// Counts the attempts, and those of them that were simulated.
    pub(super) fn attempts(&self) -> (usize, usize) {
        let started = || self.events.iter().filter(|event| event.kind() == Kind::AttemptStarted);
        (started().count(), started().filter(|event| event.simulated).count())
    }
}

fn reason(moved: &Event) -> Option<&str> {
    moved.data().task_change()?.reason.as_deref()
}

fn line(event: &Event) -> Option<String> {
    let task = event.task.as_ref().map_or("", |task| task.as_str());
    let role = event.role.as_ref().map_or("", |role| role.as_str());
    let line = |text: &Option<String>| one_line(text.as_deref().unwrap_or_default());
    match event.data() {
        Data::TaskMoved(change) => {
            let status = |status: &Option<Status>| one_line(status.as_ref().map_or("", Status::as_str));
            let reason = reason(event).map(|why| format!("  {}", one_line(why))).unwrap_or_default();
            Some(format!("{task:<4} {role:<11} {} → {}{reason}", status(&change.from), status(&change.to)))
        }
        Data::LeaseRescued(rescued) => Some(format!("{task:<4} {role:<11} rescued  {}", line(&rescued.reason))),
        Data::WorkerStarted(_) => Some(format!("     {role:<11} worker is ready")),
        Data::WorkerPaused(paused) => Some(format!("     {role:<11} paused: {}", line(&paused.reason))),
        _ => None,
    }
}
