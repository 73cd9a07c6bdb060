//! What may be spent — tokens, money, time, turns, starts — per attempt, task, role and day, and what was.
//!
//! Every unit counts for itself: where the price is not known, the other limits still bind. A role's
//! and the fleet's budgets are of one UTC day; a task's is of its life. A human may raise one by the
//! same amount again, by a decision.

use std::{collections::BTreeSet, time::Duration};

use super::question::Wanted;
use crate::{
    ChangeSet, Data, EventDraft, Lease, Role, Snapshot, Task, Usage, Workflow,
    event::Actor,
    event::payload::{Asked, Spending},
    policy::{Budgets, Limits, Unit},
    state::{
        decisions::{Decision, Topic},
        spending::Spent,
    },
    text,
};

/// One budget that somebody draws from.
#[derive(Clone, Debug)]
struct Account {
    subject: String,
    scope: &'static str,
    whose: String,
    limits: Limits,
    spent: Spent,
    raises: u32,
}

impl Account {
    fn limit(&self, unit: Unit) -> Option<u64> {
        self.limits.of(unit).map(|limit| limit.saturating_mul(u64::from(self.raises) + 1))
    }

    /// Returns the first unit that is used up.
    fn used_up(&self) -> Option<(Unit, u64)> {
        Unit::ALL.iter().copied().find_map(|unit| {
            let limit = self.limit(unit)?;
            (self.spent.of(unit) >= limit).then_some((unit, limit))
        })
    }

    fn content(&self) -> String {
        let limits =
            Unit::ALL.iter().copied().filter_map(|unit| Some(format!("{}={}", unit.as_str(), self.limit(unit)?)));
        limits.collect::<Vec<_>>().join(",")
    }
}

fn of_task(snapshot: &Snapshot, workflow: &Workflow, task: &Task) -> Account {
    let spent = snapshot.history.task(&task.id).map(|known| known.spent).unwrap_or_default();
    let (subject, whose, limits) =
        (task.id.to_string(), format!("the task {}", task.id), workflow.policy().budgets.task);
    let raises = snapshot.history.ledger.raises(&subject);
    Account { subject, scope: "task", whose, limits, spent, raises }
}

fn of_role(snapshot: &Snapshot, workflow: &Workflow, role: &Role) -> Account {
    let (day, limits) = (snapshot.now.wall.date_naive(), workflow.policy().budgets.role);
    let spent = Spent { starts: snapshot.starts_on(day, Some(role)), ..snapshot.history.ledger.of_role(role, day) };
    let (subject, whose) = (format!("role:{role}:{day}"), format!("`{role}` for this day"));
    let raises = snapshot.history.ledger.raises(&subject);
    Account { subject, scope: "role", whose, limits, spent, raises }
}

fn of_day(snapshot: &Snapshot, workflow: &Workflow) -> Account {
    let (day, limits) = (snapshot.now.wall.date_naive(), workflow.policy().budgets.day);
    let spent = Spent { starts: snapshot.starts_on(day, None), ..snapshot.history.ledger.on(day) };
    let subject = format!("day:{day}");
    let raises = snapshot.history.ledger.raises(&subject);
    Account { subject, scope: "day", whose: "this day".into(), limits, spent, raises }
}

/// A limit of this day, and how much of it is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The name that decisions about it bear, without their number: `day:<date>`, `role:<name>:<date>`.
    pub subject: String,
    /// The scope: `role`, `day`.
    pub scope: &'static str,
    /// The unit of both amounts.
    pub unit: Unit,
    /// The amount spent.
    pub spent: u64,
    /// The limit, with what a human has added to it.
    pub limit: u64,
}

/// Lists the limits of this day, those of the fleet before those of each role.
pub fn standing(snapshot: &Snapshot, workflow: &Workflow) -> Vec<Standing> {
    let roles = workflow.rules().iter().map(|rule| of_role(snapshot, workflow, &rule.role));
    let accounts = [of_day(snapshot, workflow)].into_iter().chain(roles);
    let each = |account: Account| {
        let standing = |&unit: &Unit| {
            let (limit, spent) = (account.limit(unit)?, account.spent.of(unit));
            Some(Standing { subject: account.subject.clone(), scope: account.scope, unit, spent, limit })
        };
        Unit::ALL.iter().filter_map(standing).collect::<Vec<_>>()
    };
    accounts.flat_map(each).collect()
}

/// A budget that is used up: nothing more is claimed from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Stop {
    /// The scope: `task`, `role`, `day`.
    pub scope: &'static str,
    /// In words, with what was spent and what the limit is.
    pub words: String,
    /// The decision about more of it, while it is open.
    pub decision: Option<String>,
}

fn stop(snapshot: &Snapshot, account: &Account, words: String) -> Stop {
    let decision = snapshot.history.decisions.latest(&account.subject, Topic::Budget);
    let decision = decision.filter(|decision| decision.is_open()).map(|decision| decision.id.clone());
    Stop { scope: account.scope, words, decision }
}

fn words(account: &Account) -> Option<String> {
    let (unit, limit) = account.used_up()?;
    let spent = unit.shown(account.spent.of(unit));
    let mut words = format!("the budget of {} is used up: {spent} of {}", account.whose, unit.shown(limit));
    if unit == Unit::Money && account.spent.unpriced > 0 {
        words.push_str(&format!(" (and {} of unknown price)", text::many(account.spent.unpriced as usize, "attempt")));
    }
    Some(words)
}

/// Returns the budget that stops a task, in whatever role.
pub fn of_task_stop(snapshot: &Snapshot, workflow: &Workflow, task: &Task) -> Option<Stop> {
    let account = of_task(snapshot, workflow, task);
    let overrun = || {
        let known = snapshot.history.task(&task.id).filter(|known| known.overrun)?;
        let why = known.failures.last().map(|(_, reason)| format!(": {}", text::one_line(reason))).unwrap_or_default();
        Some(format!("its last attempt used up the budget of one attempt{why}"))
    };
    Some(stop(snapshot, &account, words(&account).or_else(overrun)?))
}

/// Returns the budget that stops a role, for whatever task.
pub fn of_role_stop(snapshot: &Snapshot, workflow: &Workflow, role: &Role) -> Option<Stop> {
    let accounts = [of_day(snapshot, workflow), of_role(snapshot, workflow, role)];
    accounts.iter().find_map(|account| Some(stop(snapshot, account, words(account)?)))
}

/// Returns what an attempt of this role on this task may still spend: the least of all its budgets. Starts are
/// no limit of one attempt.
pub fn left(snapshot: &Snapshot, workflow: &Workflow, task: &Task, role: &Role) -> Limits {
    let own = Account {
        limits: workflow.policy().budgets.attempt,
        spent: Spent::default(),
        scope: "attempt",
        ..of_task(snapshot, workflow, task)
    };
    let all = [own, of_task(snapshot, workflow, task), of_role(snapshot, workflow, role), of_day(snapshot, workflow)];
    let least =
        |unit| all.iter().filter_map(|account| Some(account.limit(unit)?.saturating_sub(account.spent.of(unit)))).min();
    Limits {
        tokens: least(Unit::Tokens),
        micros: least(Unit::Money),
        wall: least(Unit::Wall).map(Duration::from_millis),
        turns: least(Unit::Turns).map(|turns| u32::try_from(turns).unwrap_or(u32::MAX)),
        starts: None,
    }
}

/// Tells whether an attempt that was ended for its budget had used up only its own, which no other account shows.
pub(super) fn overran(snapshot: &Snapshot, workflow: &Workflow, task: &Task, role: &Role, usage: &Usage) -> bool {
    let mut all = [of_task(snapshot, workflow, task), of_role(snapshot, workflow, role), of_day(snapshot, workflow)];
    all.iter_mut().for_each(|account| account.spent.add(usage));
    all.iter().all(|account| account.used_up().is_none())
}

/// Tells, once each, of budgets that an attempt has brought to 80 % and to their end.
pub fn tell(snapshot: &Snapshot, workflow: &Workflow, mine: &Lease) -> ChangeSet {
    let mut changes = ChangeSet::none();
    let task = snapshot.queue.get(&mine.task_id).map(|task| of_task(snapshot, workflow, task));
    let accounts = [Some(of_day(snapshot, workflow)), Some(of_role(snapshot, workflow, &mine.role)), task];
    for account in accounts.into_iter().flatten() {
        for &unit in Unit::ALL {
            let Some(limit) = account.limit(unit) else { continue };
            let spent = account.spent.of(unit);
            let level = match spent {
                spent if spent >= limit => "stop",
                spent if u128::from(spent) * 5 >= u128::from(limit) * 4 => "warning",
                _ => continue,
            };
            if snapshot.history.ledger.has_told(&account.subject, unit, level, limit) {
                continue;
            }
            let spending = Spending {
                level: Some(level.into()),
                scope: Some(account.scope.into()),
                subject: Some(account.subject.clone()),
                unit: Some(unit.as_str().into()),
                spent: Some(unit.json(spent)),
                limit: Some(unit.json(limit)),
                ..Spending::default()
            };
            let event = EventDraft::new(Data::BudgetExceeded(spending), Actor::Worker(mine.owner.clone()));
            changes.event(event.task(&mine.task_id).role(&mine.role));
        }
    }
    changes
}

/// Returns the budgets that a human has to decide about, because something waits for more of them.
pub(super) fn wanted<'a>(snapshot: &'a Snapshot, workflow: &'a Workflow) -> Vec<Wanted<'a>> {
    let budgets = &workflow.policy().budgets;
    let mut all = Vec::new();
    let whole = of_day(snapshot, workflow);
    let nothing_binds = Budgets { day: Limits::default(), ..*budgets } == Budgets::default();
    if nothing_binds && whole.used_up().is_none() {
        return all;
    }
    let mut roles: BTreeSet<&Role> = BTreeSet::new();
    for task in snapshot.queue.tasks().filter(|task| !snapshot.leases.contains_key(&task.id)) {
        let takers: Vec<&Role> = workflow.taking(&task.status).map(|rule| &rule.role).collect();
        if let Some(stop) = of_task_stop(snapshot, workflow, task).filter(|_| !takers.is_empty()) {
            all.push(want(&of_task(snapshot, workflow, task), &stop.words, Some(task)));
        }
        roles.extend(takers);
    }
    let day = (!roles.is_empty()).then_some(whole);
    for account in day.into_iter().chain(roles.into_iter().map(|role| of_role(snapshot, workflow, role))) {
        all.extend(words(&account).map(|words| want(&account, &words, None)));
    }
    all
}

fn want<'a>(account: &Account, words: &str, task: Option<&'a Task>) -> Wanted<'a> {
    let asked = Asked { content: Some(account.content()), ..Asked::default() };
    let question = format!("{words}; allow the same amount again?");
    Wanted { topic: Topic::Budget, subject: account.subject.clone(), task, question, asked }
}

/// Tells whether an open decision about a budget has nothing to decide any more.
pub(super) fn moot(snapshot: &Snapshot, workflow: &Workflow, decision: &Decision) -> bool {
    let wanted = wanted(snapshot, workflow);
    !wanted
        .iter()
        .any(|wanted| wanted.subject == decision.subject && wanted.asked.content.as_ref() == Some(&decision.content))
}

#[cfg(test)]
mod tests;
