//! `agentctl report`: what happened overnight, worst first.

use std::time::Duration;

use super::{
    cells::{look, title},
    context::Context,
    fail::{Done, exit},
    pool,
    since::Since,
    ui::Tone,
};
use oodatcaa_core::{
    text::{cut, duration, many, many_lines, one_line},
    time::stamp,
};
use oodatcaa_ops::{
    TaskState,
    view::{
        EndedView, LandedView, Moment, NeedView, NextView, OddView, PoolState, ReportView, SpentView, TroubledView,
    },
};

/// The form of the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Words for a terminal.
    #[default]
    Text,
    /// Markdown, for a message or a file.
    Md,
}

/// Flags of `report`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// From when on: a duration back from now, a day or a time
    #[arg(long, value_name = "12h|TIME", default_value = "12h")]
    since: Since,
    /// How it is written; `--json` for programs
    #[arg(long, value_enum, default_value_t, conflicts_with = "json")]
    format: Format,
    /// Everything, however long a section is
    #[arg(short, long)]
    all: bool,
}

/// So many lines of one section are shown unless all are wanted.
const MOST: usize = 20;

/// Prints the report.
pub(super) fn run(ctx: &Context, args: &Args) -> Done {
    let reading = ctx.read()?;
    ctx.workflow();
    let report = ctx.project.report(&reading, args.since.from(reading.snapshot.now.wall))?;
    if ctx.ui.json() {
        ctx.ui.value(&report);
        return Ok(exit::OK);
    }
    let most = if args.all { usize::MAX } else { MOST };
    match args.format {
        Format::Text => text(ctx, &report, most),
        Format::Md => ctx.ui.bytes(markdown(&report, most).as_bytes()),
    }
    Ok(exit::OK)
}

/// One line of a section: a sign, what it is about, what is said of it, and what to run.
struct Line {
    sign: (&'static str, Tone),
    name: String,
    words: String,
    next: Option<String>,
}

impl Line {
    fn new(sign: (&'static str, Tone), name: impl Into<String>, words: impl Into<String>) -> Self {
        Self { sign, name: name.into(), words: words.into(), next: None }
    }

    fn next(self, next: &str) -> Self {
        Self { next: Some(one_line(next)).filter(|next| next != "nothing to do"), ..self }
    }
}

struct Section {
    heading: &'static str,
    lines: Vec<Line>,
    /// The number of things that were counted and have no line.
    more: usize,
}

impl Section {
    /// Returns its heading, with how many things stand below it; amounts are not counted.
    fn title(&self) -> String {
        match self.heading {
            SPENT => SPENT.into(),
            heading => format!("{heading} ({})", self.lines.len() + self.more),
        }
    }
}

const SPENT: &str = "Spent";

/// Puts the report into sections, the worst first. One without lines is left out.
fn sections(report: &ReportView) -> Vec<Section> {
    let section = |heading, lines: Vec<Line>| Section { heading, lines, more: 0 };
    let stuck = report.unserved.iter().map(|role| {
        let words = "tasks wait for it, and no worker of it runs";
        Line::new(("◆", Tone::Warn), role.to_string(), words).next(&format!("agentctl fleet start {role}"))
    });
    let pools = report.pools.iter().filter_map(|one| {
        let words = pool::sentence(one, report.at)?;
        let line = Line::new(("◆", Tone::Warn), format!("pool {}", one_line(&one.pool)), words);
        Some(match one.state {
            PoolState::Closed => line.next(&format!("agentctl agent reopen {} (if it is back)", one_line(&one.pool))),
            _ => line,
        })
    });
    let failed = report.failed.iter().map(failed);
    let unproved = report.unproved.iter().map(|task| ended(task, ("?", Tone::Warn)));
    let waiting = report.next.iter().map(|task| next(task, TaskState::Waiting));
    let scheduled = report.schedules.iter().filter_map(|one| {
        let words = format!("{} at {}", cut(&one_line(&one.does), 200), minute(*one.next.first()?));
        Some(Line::new(look(TaskState::Waiting), format!("schedule {}", one_line(&one.schedule)), words))
    });
    vec![
        section("Needs you", report.needs.iter().map(need).collect()),
        section("Failed or stuck", stuck.chain(pools).chain(failed).collect()),
        section("Called done without a merge", unproved.collect()),
        section("Landed", report.landed.iter().map(landed).collect()),
        section("Nothing to change", report.no_change.iter().map(|task| ended(task, ("✓", Tone::Faint))).collect()),
        section(SPENT, spent(report)),
        Section { heading: "Odd", lines: report.odd.iter().map(odd).collect(), more: report.odd_left_out },
        section("At work", report.running.iter().map(|task| next(task, TaskState::Running)).collect()),
        section("Next", waiting.chain(scheduled).collect()),
    ]
    .into_iter()
    .filter(|section| !section.lines.is_empty())
    .collect()
}

fn named(id: &impl ToString, words: &str, simulated: bool) -> String {
    let sim = if simulated { "SIM " } else { "" };
    format!("{} {sim}{}", id.to_string(), cut(&one_line(title(words)), 120))
}

fn need(need: &NeedView) -> Line {
    let question = &need.question;
    let mut words = format!("{}: {}", question.kind, cut(&one_line(&question.question), 400));
    if need.tasks.len() > 1 {
        words.push_str(&format!("; {} wait for it", many(need.tasks.len(), "task")));
    }
    Line::new(look(TaskState::NeedsYou), one_line(&question.id), words).next(&need.next)
}

fn failed(task: &TroubledView) -> Line {
    let mut words = String::new();
    if let (Some(class), Some(reason)) = (&task.class, &task.reason) {
        let role = task.role.as_ref().map(|role| format!("{role}, ")).unwrap_or_default();
        words = format!("{}, the last: {role}{}", many(task.failures as usize, "failure"), one_line(class));
        let reason = cut(&one_line(reason), 300);
        let said = reason.strip_prefix(&format!("{class}: ")).unwrap_or(&reason);
        words.push_str(&format!(": {said}; "));
    }
    words.push_str(&cut(&one_line(&task.why), 400));
    Line::new(look(task.state), named(&task.task, &task.title, task.simulated), words).next(&task.next)
}

fn landed(task: &LandedView) -> Line {
    let commit: String = one_line(&task.commit).chars().take(12).collect();
    let files = task.files.map_or_else(|| "— files".into(), |files| many(files, "file"));
    let mut words = format!("{commit}  {files}  {}", money(task.usd, task.unpriced));
    match &task.status {
        None => words.push_str("; it has left the queue"),
        Some(status) if !status.is_done() => words.push_str(&format!("; it is `{}` now", one_line(status.as_str()))),
        Some(_) => {}
    }
    Line::new(look(TaskState::Done), named(&task.task, &task.title, task.simulated), words)
}

fn ended(task: &EndedView, sign: (&'static str, Tone)) -> Line {
    Line::new(sign, named(&task.task, &task.title, task.simulated), task.words.clone())
}

/// Says a price; one that nobody knows is no zero.
pub(super) fn money(usd: Option<f64>, unpriced: u32) -> String {
    match (usd, unpriced) {
        (None, _) => "$—".into(),
        (Some(usd), 0) => format!("${usd:.2}"),
        (Some(usd), unpriced) => format!("${usd:.2} and {} of unknown price", many(unpriced as usize, "attempt")),
    }
}

fn spent(report: &ReportView) -> Vec<Line> {
    let plain = ("·", Tone::Plain);
    let SpentView { starts, attempts, usd, unpriced, tokens, seconds, simulated_attempts } = report.spent;
    let mut lines = Vec::new();
    if attempts > 0 || starts > 0 {
        let time = duration(Duration::from_secs_f64(seconds.max(0.0)));
        let words = format!(
            "{}, {}, {}, {tokens} tokens, {time} at work",
            money(usd, unpriced),
            many(starts as usize, "start"),
            many(attempts as usize, "attempt"),
        );
        lines.push(Line::new(plain, "in all", words));
    }
    if simulated_attempts > 0 {
        let words = format!("{} called no model and cost nothing", many(simulated_attempts as usize, "attempt"));
        lines.push(Line::new(plain, "SIMULATED", words));
    }
    for budget in &report.budgets {
        let full = budget.spent.as_f64() >= budget.limit.as_f64();
        let sign = if full { ("◆", Tone::Warn) } else { plain };
        lines.push(Line::new(sign, budget.subject.clone(), format!("{} today", budget.words)));
    }
    lines
}

fn odd(odd: &OddView) -> Line {
    let task = odd.task.as_ref().map(ToString::to_string);
    let about = task.or_else(|| odd.role.as_ref().map(ToString::to_string));
    let name = about.map_or_else(|| odd.kind.into(), |about| format!("{about} {}", odd.kind));
    let times = if odd.times > 1 { format!("{} times, the last: ", odd.times) } else { String::new() };
    Line::new(("·", Tone::Plain), name, format!("{times}{}", odd.words))
}

fn next(task: &NextView, state: TaskState) -> Line {
    let name = format!("{} {}", task.role, named(&task.task, &task.title, task.simulated));
    Line::new(look(state), name, cut(&one_line(&task.why), 300))
}

/// Sums the night up in one line.
fn headline(report: &ReportView) -> String {
    let long = (report.at.0 - report.since.0).to_std().unwrap_or_default();
    let mut parts = vec![one_line(&report.project)];
    parts.extend(report.sprint.as_ref().map(|sprint| format!("sprint {}", one_line(sprint))));
    parts.push(format!("since {} ({})", minute(report.since), duration(Duration::from_secs(long.as_secs()))));
    let needs = if report.needs.len() == 1 { "needs you" } else { "need you" };
    let counts = [
        (report.needs.len(), needs),
        (report.failed.len() + report.unserved.len() + report.pools.len(), "failed or stuck"),
        (report.unproved.len(), "unproved"),
        (report.landed.len(), "landed"),
        (report.no_change.len(), "unchanged"),
    ];
    parts.extend(counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    if report.landed.is_empty() {
        parts.push("nothing landed".into());
    }
    parts.push(money(report.spent.usd, report.spent.unpriced));
    parts.join(" · ")
}

fn minute(at: Moment) -> String {
    at.0.format("%Y-%m-%d %H:%MZ").to_string()
}

fn left_out(section: &Section, most: usize) -> Option<String> {
    let more = section.lines.len().saturating_sub(most) + section.more;
    (more > 0).then(|| format!("and {more} more: agentctl report --all"))
}

fn text(ctx: &Context, report: &ReportView, most: usize) {
    ctx.ui.line(&Tone::Strong.paint(&headline(report)));
    if report.simulated {
        ctx.ui.line(&Tone::Warn.paint("SIMULATED: what is marked SIM called no model"));
    }
    for section in sections(report) {
        ctx.ui.line("");
        ctx.ui.line(&Tone::Strong.paint(&section.title()));
        for line in section.lines.iter().take(most) {
            let (sign, tone) = line.sign;
            ctx.ui.line(&format!("  {} {}  {}", tone.paint(sign), Tone::Strong.paint(&line.name), line.words));
            if let Some(next) = &line.next {
                ctx.ui.line(&format!("      {}", Tone::Faint.paint(next)));
            }
        }
        if let Some(more) = left_out(&section, most) {
            ctx.ui.line(&format!("  {more}"));
        }
    }
    ctx.ui.foot("agentctl report --format md · agentctl stats · agentctl inbox · agentctl why ID");
}

fn markdown(report: &ReportView, most: usize) -> String {
    let mut all = format!("# {}\n\n", escaped(&headline(report)));
    all.push_str(&format!("{} to {}.", stamp(report.since.0), stamp(report.at.0)));
    if report.simulated {
        all.push_str(" **Simulated**: what is marked SIM called no model.");
    }
    all.push('\n');
    for section in sections(report) {
        all.push_str(&format!("\n## {}\n\n", section.title()));
        for line in section.lines.iter().take(most) {
            all.push_str(&format!("- **{}**: {}", escaped(&line.name), escaped(&line.words)));
            if let Some(next) = &line.next {
                all.push_str(&format!("  \n  → `{}`", next.replace('`', "'")));
            }
            all.push('\n');
        }
        if let Some(more) = left_out(&section, most) {
            all.push_str(&format!("- {}\n", escaped(&more)));
        }
    }
    many_lines(&all)
}

/// Writes words of others so that Markdown shows them and does nothing else.
fn escaped(words: &str) -> String {
    let mut all = String::with_capacity(words.len());
    for c in words.chars() {
        if "\\`*_[]<>|#".contains(c) {
            all.push('\\');
        }
        all.push(c);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_no_markup() {
        assert_eq!(escaped("`a` *b* <script> [c](d) | #e"), "\\`a\\` \\*b\\* \\<script\\> \\[c\\](d) \\| \\#e");
    }

    #[test]
    fn an_unknown_price_is_no_zero() {
        assert_eq!(money(None, 0), "$—");
        assert_eq!(money(Some(0.0), 0), "$0.00");
        assert_eq!(money(Some(1.234), 2), "$1.23 and 2 attempts of unknown price");
    }
}
