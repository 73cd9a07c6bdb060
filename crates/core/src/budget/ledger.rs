//! What was spent, and in which units it is counted: a fold over the journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::NaiveDate;
use serde_json::Value;

use crate::{Event, Role, settle::Usage, text};

/// A limit, or an amount spent, in one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Tokens read and written.
    Tokens,
    /// Millionths of a dollar.
    Money,
    /// Milliseconds on the wall clock.
    Wall,
    /// Turns of the conversation.
    Turns,
    /// Starts of agents.
    Starts,
}

impl Unit {
    pub(super) const ALL: [Unit; 5] = [Self::Tokens, Self::Money, Self::Wall, Self::Turns, Self::Starts];

    /// The word in events and in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Money => "usd",
            Self::Wall => "wall",
            Self::Turns => "turns",
            Self::Starts => "starts",
        }
    }

    /// An amount, for people.
    pub fn shown(self, amount: u64) -> String {
        match self {
            Self::Tokens => format!("{amount} tokens"),
            Self::Money => format!("${:.2}", amount as f64 / 1e6),
            Self::Wall => text::duration(Duration::from_secs(amount / 1_000)),
            Self::Turns => text::many(usize::try_from(amount).unwrap_or(usize::MAX), "turn"),
            Self::Starts => text::many(usize::try_from(amount).unwrap_or(usize::MAX), "start"),
        }
    }

    pub(super) fn json(self, amount: u64) -> Value {
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
    pub(super) fn of(&self, unit: Unit) -> Option<u64> {
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

/// What was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Tokens read and written, as far as they are known.
    pub tokens: u64,
    /// Millionths of a dollar, as far as the price is known.
    pub micros: u64,
    /// Milliseconds on the wall clock.
    pub millis: u64,
    /// Turns, as far as they are known.
    pub turns: u64,
    /// Starts of agents, where they are counted: on a day.
    pub starts: u32,
    /// Attempts that ended.
    pub attempts: u32,
    /// Attempts whose price nobody knows.
    pub unpriced: u32,
}

impl Spent {
    pub(super) fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Money => self.micros,
            Unit::Wall => self.millis,
            Unit::Turns => self.turns,
            Unit::Starts => self.starts.into(),
        }
    }

    pub(super) fn add(&mut self, usage: &Usage) {
        let tokens = usage.tokens_in.unwrap_or_default().saturating_add(usage.tokens_out.unwrap_or_default());
        self.tokens = self.tokens.saturating_add(tokens);
        // A cast from a float saturates, and a negative or missing number counts nothing.
        self.micros = self.micros.saturating_add((usage.cost_usd.unwrap_or_default() * 1e6).round() as u64);
        self.millis = self.millis.saturating_add((usage.seconds.unwrap_or_default() * 1e3).round() as u64);
        self.turns = self.turns.saturating_add(u64::from(usage.turns.unwrap_or_default()));
        self.attempts = self.attempts.saturating_add(1);
        self.unpriced = self.unpriced.saturating_add(u32::from(usage.cost_usd.is_none()));
    }
}

/// What the journal tells of spending, beside what it tells of each task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    day: Option<NaiveDate>,
    total: Spent,
    roles: BTreeMap<Role, Spent>,
    /// How often a human raised the budget of a subject.
    pub(super) raises: BTreeMap<String, u32>,
    /// The decisions by which they did.
    pub(super) raised: BTreeSet<String>,
    /// What has been told, so that it is told once.
    pub(super) told: BTreeSet<String>,
}

impl Ledger {
    /// What was spent on this day.
    pub fn on(&self, day: NaiveDate) -> Spent {
        if self.day == Some(day) { self.total } else { Spent::default() }
    }

    /// What a role spent on this day.
    pub fn of_role(&self, role: &Role, day: NaiveDate) -> Spent {
        let known = self.roles.get(role).filter(|_| self.day == Some(day));
        known.copied().unwrap_or_default()
    }

    pub(super) fn spend(&mut self, event: &Event, usage: &Usage) {
        let day = event.time.date_naive();
        if self.day.is_none_or(|known| known < day) {
            let raises = std::mem::take(&mut self.raises);
            // Raises and notices of a day go with it; those of tasks stay.
            let raises = raises.into_iter().filter(|(subject, _)| !subject.contains(':')).collect();
            let told = self.told.iter().filter(|key| !key.contains(':')).cloned().collect();
            let raised = std::mem::take(&mut self.raised);
            *self = Self { day: Some(day), raises, raised, told, ..Self::default() };
        }
        if self.day == Some(day) {
            self.total.add(usage);
            if let Some(role) = &event.role {
                self.roles.entry(role.clone()).or_default().add(usage);
            }
        }
    }
}
