//! One thing that was looked at, and how it is told.

use crate::cli::ui::Ui;
use oodatcaa_core::text::one_line;
use oodatcaa_ops::view::{CheckView, DoctorView};

/// Where a check belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Files, rights, configuration.
    Project,
    /// The queue file and the journal.
    Queue,
    /// Leases and locks.
    Leases,
    /// Agents, gates, prompts, secrets.
    Agents,
    /// Workers and what keeps them alive.
    Service,
    /// The machine.
    Host,
}

impl Group {
    /// All, in the order in which they are shown.
    pub const ALL: &[Group] = &[Self::Project, Self::Queue, Self::Leases, Self::Agents, Self::Service, Self::Host];

    /// Returns its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Queue => "queue",
            Self::Leases => "leases",
            Self::Agents => "agents",
            Self::Service => "service",
            Self::Host => "host",
        }
    }
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Good,
    /// It works, and something should be known.
    Warn,
    /// It does not work.
    Bad,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warn => "warning",
            Self::Bad => "problem",
        }
    }

    fn glyph(self) -> char {
        match self {
            Self::Good => '✓',
            Self::Warn => '!',
            Self::Bad => '✗',
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Where it belongs.
    pub group: Group,
    /// A stable word for programs.
    pub id: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub what: String,
    /// Why it matters; empty when all is well.
    pub why: String,
    /// A command that helps.
    pub run: Option<String>,
}

/// Checks of one group, as they are collected.
#[derive(Debug)]
pub struct Checks {
    group: Group,
    all: Vec<Check>,
}

impl Checks {
    /// Returns a list without checks.
    pub fn of(group: Group) -> Self {
        Self { group, all: Vec::new() }
    }

    /// Notes that all is well.
    pub fn good(&mut self, id: &'static str, what: impl Into<String>) {
        self.push(id, State::Good, what.into(), "", None);
    }

    /// Notes something that should be known.
    pub fn warn(&mut self, id: &'static str, what: impl Into<String>, why: &str, run: impl Into<String>) {
        self.push(id, State::Warn, what.into(), why, Some(run.into()).filter(|run| !run.is_empty()));
    }

    /// Notes something that does not work.
    pub fn bad(&mut self, id: &'static str, what: impl Into<String>, why: &str, run: impl Into<String>) {
        self.push(id, State::Bad, what.into(), why, Some(run.into()).filter(|run| !run.is_empty()));
    }

    fn push(&mut self, id: &'static str, state: State, what: String, why: &str, run: Option<String>) {
        self.all.push(Check { group: self.group, id, state, what, why: why.into(), run });
    }

    /// Counts them.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Tells whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns what was collected.
    pub fn into_vec(self) -> Vec<Check> {
        self.all
    }
}

/// Shows a report.
pub fn render(ui: &Ui, checks: &[Check], fixable: bool) {
    if ui.json() {
        ui.value(&view(checks));
        return;
    }
    for group in Group::ALL {
        let own: Vec<&Check> = checks.iter().filter(|check| check.group == *group).collect();
        if own.is_empty() {
            continue;
        }
        ui.line(group.word());
        for check in own {
            ui.line(&format!(" {} {}", check.state.glyph(), one_line(&check.what)));
            if !check.why.is_empty() {
                ui.line(&format!("     {}", one_line(&check.why)));
            }
            if let Some(run) = &check.run {
                ui.line(&format!("     → {}", one_line(run)));
            }
        }
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (bad, warn) = (count(State::Bad), count(State::Warn));
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let fix = if fixable { "; what is safe is mended by: agentctl doctor --fix" } else { "" };
    ui.say(&format!("{}, {}{fix}", plural(bad, "problem"), plural(warn, "warning")));
}

fn view(checks: &[Check]) -> DoctorView {
    let of = |check: &Check| CheckView {
        group: check.group.word(),
        id: check.id,
        state: check.state.word(),
        what: check.what.clone(),
        why: Some(check.why.clone()).filter(|why| !why.is_empty()),
        run: check.run.clone(),
    };
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    DoctorView {
        ok: count(State::Bad) == 0,
        problems: count(State::Bad),
        warnings: count(State::Warn),
        checks: checks.iter().map(of).collect(),
    }
}
