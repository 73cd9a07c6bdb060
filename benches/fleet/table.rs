//! The table that comes out, with the machine that it comes from.

use std::fmt::Write as _;

use crate::support::Spread;

/// What a figure is held against.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    None,
    AtMost(f64),
    AtLeast(f64),
}

struct Row {
    section: &'static str,
    what: String,
    figure: String,
    spread: String,
    against: String,
    ratio: Option<f64>,
    target: Target,
}

/// Rows in the order in which they were measured.
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), notes: Vec::new() }
    }

    /// A line below the table: what was left out, and why.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            println!("  {note}");
            self.notes.push(note);
        }
    }

    /// A figure of one number, held against an absolute target.
    pub(crate) fn plain(
        &mut self,
        section: &'static str,
        what: impl Into<String>,
        value: f64,
        unit: &str,
        target: Target,
    ) {
        self.push(Row {
            section,
            what: what.into(),
            figure: shown(value, unit),
            spread: String::new(),
            against: String::new(),
            ratio: None,
            target: Target::None,
        });
        let met = verdict(value, target);
        let row = self.rows.last_mut().expect("just pushed");
        row.against = match target {
            Target::None => String::new(),
            Target::AtMost(limit) => format!("≤ {}: {met}", shown(limit, unit)),
            Target::AtLeast(limit) => format!("≥ {}: {met}", shown(limit, unit)),
        };
    }

    /// A median with its spread, alone.
    pub(crate) fn spread(&mut self, section: &'static str, what: impl Into<String>, values: &Spread, unit: &str) {
        self.push(Row {
            section,
            what: what.into(),
            figure: shown(values.at(0.5), unit),
            spread: spread(values),
            against: String::new(),
            ratio: None,
            target: Target::None,
        });
    }

    /// A median with its spread, and its ratio to what was measured beside it.
    pub(crate) fn ratio(
        &mut self,
        section: &'static str,
        what: impl Into<String>,
        values: &Spread,
        unit: &str,
        (against, ratio): (&str, f64),
        target: Target,
    ) {
        self.push(Row {
            section,
            what: what.into(),
            figure: shown(values.at(0.5), unit),
            spread: spread(values),
            against: against.into(),
            ratio: Some(ratio),
            target,
        });
    }

    fn push(&mut self, row: Row) {
        let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        println!("  {}: {} | {} {} | {} {ratio}", row.section, row.what, row.figure, row.spread, row.against);
        self.rows.push(row);
    }

    /// All of it as a page's section.
    pub(crate) fn markdown(&self, quick: bool) -> String {
        let mut text = format!("{}\n", crate::support::machine());
        if quick {
            text.push_str("\nA quick run: few rounds, so the ends of the spreads say little.\n");
        }
        let mut section = "";
        for row in &self.rows {
            if row.section != section {
                section = row.section;
                let _ = write!(
                    text,
                    "\n### {section}\n\n| what | median | p10 / p99 / max (n) | against | ratio | target |\n|---|---|---|---|---|---|\n"
                );
            }
            let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let target = match (row.target, row.ratio) {
                (Target::AtMost(limit), Some(ratio)) => format!("≤ {limit}: {}", verdict(ratio, row.target)),
                (Target::AtLeast(limit), Some(ratio)) => format!("≥ {limit}: {}", verdict(ratio, row.target)),
                _ => String::new(),
            };
            let Row { what, figure, spread, against, .. } = row;
            let _ = writeln!(text, "| {what} | {figure} | {spread} | {against} | {ratio} | {target} |");
        }
        for note in &self.notes {
            let _ = write!(text, "\n- {note}");
        }
        text.push('\n');
        text
    }
}

fn verdict(value: f64, target: Target) -> &'static str {
    let met = match target {
        Target::None => return "",
        Target::AtMost(limit) => value <= limit,
        Target::AtLeast(limit) => value >= limit,
    };
    if met { "met" } else { "**not met**" }
}

fn shown(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

fn spread(values: &Spread) -> String {
    format!("{:.2} / {:.2} / {:.2} ({})", values.at(0.1), values.at(0.99), values.at(1.0), values.len())
}
