//! What a project allows beside its table of roles: approvals, how long a human is waited for, budgets.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{Role, handoff::Handoff, hours::Hours, outcome, schedule::Schedule, text, words::words};

/// The settings of every role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A task is merged only after a human approved it.
    pub merge_approval: bool,
    /// The time for which a human is waited for; zero means for ever.
    pub deadline: Duration,
    /// The limits on spending.
    pub budgets: Budgets,
    /// No role works on more tasks at once, whatever the queue says: the queue may have come with a clone.
    pub most_at_once: u32,
    /// The bounds on starts, generations and children.
    pub bounds: Bounds,
    /// Branches of worktrees are merged by our own code, not by an agent.
    pub merges: bool,
    /// The commits that a merge makes.
    pub makes: Makes,
    /// The agents for tasks that have failed before, by role.
    pub on_retry: BTreeMap<Role, OnRetry>,
    /// Tasks that come at a time.
    pub schedules: Vec<Schedule>,
    /// The rules of what follows on what happens.
    pub handoffs: Vec<Handoff>,
    /// The hours at which new work begins; always where there are none.
    pub hours: Option<Hours>,
    /// The hours at which a used-up quota is tried again; always where there are none.
    pub resume: Option<Hours>,
    /// The time at which it was read: of two workers whose rules differ, those count that were read later.
    pub read_at: DateTime<Utc>,
    /// The error in the configuration, where these roles only stand in for those of a broken one.
    pub broken: Option<String>,
}

impl Policy {
    /// Tells whether what was set at a time is of a newer configuration than this one, so that this one leaves it as it
    /// is: two workers must not change it to and fro for ever. A time to come tells of a clock that was put back.
    pub fn is_older_than(&self, set_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        set_at >= self.read_at && set_at <= now
    }
}

/// The commits that a merge makes of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Makes {
    /// A merge commit.
    MergeCommit,
    /// One commit.
    Squash,
    /// Its commits once more.
    Commits,
}

/// The agents for tasks of a role that have failed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnRetry {
    /// The names, in the order in which they are asked, ahead of the role's others.
    pub agents: Vec<String>,
    /// They work on nothing else.
    pub only: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            merge_approval: false,
            deadline: Duration::from_secs(7 * 86_400),
            budgets: Budgets { day: Limits { starts: Some(1000), ..Limits::default() }, ..Budgets::default() },
            most_at_once: u32::MAX,
            bounds: Bounds::default(),
            merges: true,
            makes: Makes::MergeCommit,
            on_retry: BTreeMap::new(),
            schedules: Vec::new(),
            handoffs: Vec::new(),
            hours: None,
            resume: None,
            read_at: DateTime::<Utc>::MAX_UTC,
            broken: None,
        }
    }
}

/// The bounds at which everything ends, whatever agents answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Starts of agents for one task before a human is asked; 12.
    pub starts: u32,
    /// Attempts on one task of roles without an agent before a human is asked; 50.
    pub checks: u32,
    /// The depth to which planners may plan: children are the first generation; 3.
    pub generations: u32,
    /// Children, and theirs, that planners may make of one task; 30.
    pub children: u32,
    /// The depth to which hand-offs may make tasks that are handed off in turn; 5.
    pub handoffs: u32,
    /// The first wait before a further start; `retry.backoff`.
    pub backoff: Duration,
    /// The longest; `retry.backoff_max`.
    pub backoff_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        let retry = outcome::Retry::default();
        Self {
            starts: 12,
            checks: 50,
            generations: 3,
            children: 30,
            handoffs: 5,
            backoff: retry.backoff,
            backoff_max: retry.backoff_max,
        }
    }
}

impl Bounds {
    /// Returns the wait between a task's last start and the next after so many: none for the first half of what is
    /// allowed, then more and more, however each of them ended.
    pub fn pace(&self, starts: u32) -> Duration {
        match starts.checked_sub(self.starts.div_ceil(2)) {
            None | Some(0) => Duration::ZERO,
            Some(n) => outcome::doubled(self.backoff, self.backoff_max, n),
        }
    }
}

words! {
    /// A limit, or an amount spent, in one unit.
    pub enum Unit {
        Tokens = "tokens": "Tokens read and written.";
        Money = "usd": "Millionths of a dollar.";
        Wall = "wall": "Milliseconds on the wall clock.";
        Turns = "turns": "Turns of the conversation.";
        Starts = "starts": "Starts of agents.";
    }
}

impl Unit {
    /// Returns an amount, for people.
    pub fn shown(self, amount: u64) -> String {
        match self {
            Self::Tokens => format!("{amount} tokens"),
            Self::Money => format!("${:.2}", amount as f64 / 1e6),
            Self::Wall => text::duration(Duration::from_secs(amount / 1_000)),
            Self::Turns => text::many(usize::try_from(amount).unwrap_or(usize::MAX), "turn"),
            Self::Starts => text::many(usize::try_from(amount).unwrap_or(usize::MAX), "start"),
        }
    }

    /// Returns an amount, for programs: money in dollars, times in seconds.
    pub fn json(self, amount: u64) -> Value {
        match self {
            Self::Tokens | Self::Turns | Self::Starts => amount.into(),
            Self::Money => (amount as f64 / 1e6).into(),
            Self::Wall => (amount as f64 / 1e3).into(),
        }
    }
}

/// Limits of one scope; `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Tokens read and written.
    pub tokens: Option<u64>,
    /// Millionths of a dollar.
    pub micros: Option<u64>,
    /// Time on the wall clock.
    pub wall: Option<Duration>,
    /// Turns of the conversation.
    pub turns: Option<u32>,
    /// Starts of agents; of a day, of all roles or of one.
    pub starts: Option<u32>,
}

impl Limits {
    pub(crate) fn of(&self, unit: Unit) -> Option<u64> {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Money => self.micros,
            Unit::Wall => self.wall.map(|wall| u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)),
            Unit::Turns => self.turns.map(u64::from),
            Unit::Starts => self.starts.map(u64::from),
        }
    }
}

/// The limits of every scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Of one attempt.
    pub attempt: Limits,
    /// Of all attempts on one task.
    pub task: Limits,
    /// Of all attempts of one role on one day.
    pub role: Limits,
    /// Of all attempts on one day.
    pub day: Limits,
}
