//! What the checks have found, and how it is shown.

use super::DoctorContext;
use crate::cli::ui::Ui;
use oodatcaa_core::text::{many, one_line};
use oodatcaa_ops::view::{CheckView, DoctorView};

/// Everything that can be found, with its level and why it matters.
const FINDINGS: &str = include_str!("findings.txt");

/// The levels, with their signs.
const OK: &str = "ok";
pub(super) const WARNING: &str = "warning";
pub(super) const PROBLEM: &str = "problem";
const SIGNS: [(&str, char); 3] = [(OK, '✓'), (WARNING, '!'), (PROBLEM, '✗')];

/// One line of the table of findings.
struct Finding {
    group: &'static str,
    level: &'static str,
    key: &'static str,
    why: &'static str,
}

/// Reads the table of findings.
fn findings() -> impl Iterator<Item = Finding> {
    let mut group = "";
    FINDINGS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(move |line| {
        let Some(finding) = line.strip_prefix("  ") else {
            group = line;
            return None;
        };
        let (level, rest) = finding.split_once(' ')?;
        let (key, why) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
        Some(Finding { group, level, key, why: why.trim_start() })
    })
}

/// The checks so far, and what they look at.
pub(super) struct Report<'a> {
    pub(super) context: &'a DoctorContext<'a>,
    pub(super) checks: Vec<CheckView>,
}

impl Report<'_> {
    /// Notes that all is well with what this word of the table is about.
    pub(super) fn good(&mut self, key: &str, what: impl Into<String>) {
        self.push(|finding| finding.key == key && finding.level == OK, what.into(), String::new());
    }

    /// Notes a warning or a problem of the table, with the command that helps, if there is one.
    pub(super) fn found(&mut self, key: &str, what: impl Into<String>, run: impl Into<String>) {
        self.push(|finding| finding.key == key && finding.level != OK, what.into(), run.into());
    }

    fn push(&mut self, fits: impl Fn(&Finding) -> bool, what: String, run: String) {
        let finding = findings().find(fits).expect("a test has looked for every word in the table");
        self.checks.push(CheckView {
            group: finding.group,
            id: finding.key.split('.').next().unwrap_or(finding.key),
            state: finding.level,
            what,
            why: Some(finding.why.to_owned()).filter(|why| !why.is_empty()),
            run: Some(run).filter(|run| !run.is_empty()),
        });
    }
}

/// Shows what was found; tells whether a problem is among it.
pub(super) fn show(ui: &Ui, checks: Vec<CheckView>, fixable: bool) -> bool {
    let count = |level| checks.iter().filter(|check| check.state == level).count();
    let (problems, warnings) = (count(PROBLEM), count(WARNING));
    if ui.json() {
        ui.value(&DoctorView { ok: problems == 0, problems, warnings, checks });
        return problems > 0;
    }
    let mut group = "";
    for check in &checks {
        if check.group != group {
            group = check.group;
            ui.line(group);
        }
        let sign = SIGNS.iter().find(|(level, _)| *level == check.state).map_or(' ', |(_, sign)| *sign);
        ui.line(&format!(" {sign} {}", one_line(&check.what)));
        if let Some(why) = &check.why {
            ui.line(&format!("     {why}"));
        }
        if let Some(run) = &check.run {
            ui.line(&format!("     → {}", one_line(run)));
        }
    }
    let fix = if fixable { "; what is safe is mended by: agentctl doctor --fix" } else { "" };
    ui.say(&format!("{}, {}{fix}", many(problems, "problem"), many(warnings, "warning")));
    problems > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [&str; 11] = [
        include_str!("adapters.rs"),
        include_str!("agents.rs"),
        include_str!("gates.rs"),
        include_str!("holders.rs"),
        include_str!("host.rs"),
        include_str!("journal.rs"),
        include_str!("leases.rs"),
        include_str!("project.rs"),
        include_str!("queue.rs"),
        include_str!("sandbox.rs"),
        include_str!("service.rs"),
    ];

    #[test]
    fn every_word_of_the_table_is_used_and_every_word_that_is_used_stands_in_it() {
        let code = SOURCES.map(|source| source.split("#[cfg(test)]").next().unwrap_or_default()).concat();
        for finding in findings() {
            assert!(SIGNS.iter().any(|(level, _)| *level == finding.level), "{}: {}", finding.key, finding.level);
            assert!(code.contains(&format!("\"{}\"", finding.key)), "{} is never found", finding.key);
        }
        for (call, good) in [("report.good(", true), ("report.found(", false)] {
            for after in code.split(call).skip(1) {
                // The keys stand before the first comma: one, or one for each arm.
                let keys = after.split(',').next().unwrap_or_default().split('"').skip(1).step_by(2);
                for key in keys {
                    assert!(findings().any(|finding| finding.key == key && (finding.level == OK) == good), "{key}");
                }
            }
        }
    }
}
