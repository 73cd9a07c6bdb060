//! What was spent, and in which units it is counted: a fold over the journal.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde_json::Value;

use super::decisions::{End, Topic};
use crate::{Data, Event, Role, Usage, event::payload::Decided, policy::Unit};

/// The amount spent.
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
    pub(crate) fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Money => self.micros,
            Unit::Wall => self.millis,
            Unit::Turns => self.turns,
            Unit::Starts => self.starts.into(),
        }
    }

    /// Adds what one attempt used up.
    pub fn add(&mut self, usage: &Usage) {
        let tokens = usage.tokens();
        self.tokens = self.tokens.saturating_add(tokens);
        // A cast from a float saturates, and a negative or missing number counts nothing.
        self.micros = self.micros.saturating_add((usage.cost_usd.unwrap_or_default() * 1e6).round() as u64);
        self.millis = self.millis.saturating_add((usage.seconds.unwrap_or_default() * 1e3).round() as u64);
        self.turns = self.turns.saturating_add(u64::from(usage.turns.unwrap_or_default()));
        self.attempts = self.attempts.saturating_add(1);
        self.unpriced = self.unpriced.saturating_add(u32::from(usage.cost_usd.is_none()));
    }
}

/// The spending in the journal, apart from that of each task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    day: Option<NaiveDate>,
    total: Spent,
    roles: BTreeMap<Role, Spent>,
    /// The number of times that a human raised the budget of a subject.
    raises: BTreeMap<String, u32>,
    /// The decisions by which they did.
    raised: BTreeSet<String>,
    /// The notices given, so that each is given once.
    told: BTreeSet<String>,
}

impl Ledger {
    /// Returns what was spent on this day.
    pub fn on(&self, day: NaiveDate) -> Spent {
        if self.day == Some(day) { self.total } else { Spent::default() }
    }

    /// Returns what a role spent on this day.
    pub fn of_role(&self, role: &Role, day: NaiveDate) -> Spent {
        let known = self.roles.get(role).filter(|_| self.day == Some(day));
        known.copied().unwrap_or_default()
    }

    fn spend(&mut self, event: &Event, usage: &Usage) {
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

    /// Returns how often a human raised the budget of a subject.
    pub(crate) fn raises(&self, subject: &str) -> u32 {
        self.raises.get(subject).copied().unwrap_or_default()
    }

    /// Tells whether a notice of spending has been written.
    pub(crate) fn has_told(&self, subject: &str, unit: Unit, level: &str, limit: u64) -> bool {
        self.told.contains(&notice(subject, unit.as_str(), level, &unit.json(limit)))
    }

    /// Takes in one more event.
    pub(super) fn apply(&mut self, event: &Event) {
        match event.data() {
            // What was simulated cost nobody anything.
            Data::AttemptFinished(ended) | Data::AttemptSuperseded(ended) if !event.simulated => {
                self.spend(event, &ended.usage);
            }
            Data::BudgetExceeded(spending) => {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                if let Some(limit) = &spending.limit {
                    let (subject, unit, level) = (&spending.subject, &spending.unit, &spending.level);
                    self.told.insert(notice(&text(subject), &text(unit), &text(level), limit));
                }
            }
            Data::DecisionResolved(Decided {
                decision: Some(id), kind: Some(kind), verdict: Some(verdict), ..
            }) if kind == Topic::Budget.as_str() && verdict == End::Approved.as_str() && event.sealed => {
                // Each decision counts once, however often its line stands in the journal.
                if self.raised.insert(id.clone())
                    && let Some((subject, _)) = id.rsplit_once('.')
                {
                    *self.raises.entry(subject.into()).or_default() += 1;
                }
            }
            _ => {}
        }
    }
}

/// Returns the name by which a notice of spending is known.
fn notice(subject: &str, unit: &str, level: &str, limit: &Value) -> String {
    format!("{subject}/{unit}/{level}/{limit}")
}
