//! `agentctl stats`: how much was done, how long it took and waited, what failed, what it cost.

use std::time::Duration;

use super::{
    cells::title,
    context::Context,
    fail::{Done, exit},
    report::money,
    since::Since,
    ui::{Item, Table, Tone},
};
use oodatcaa_core::text::{cut, duration, many, one_line};
use oodatcaa_ops::{
    stats::{By, Wanted},
    view::{GroupView, SpreadView, StatsView},
};

/// The form of the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Tables for people.
    #[default]
    Table,
    /// The groups, for a spreadsheet.
    Csv,
}

/// The property by which attempts are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Grouped {
    /// The role that made them.
    #[default]
    Role,
    /// The agent that worked.
    Agent,
    /// The day on which they ended, in UTC.
    Day,
    /// The class of failure, or the outcome.
    Class,
}

/// Flags of `stats`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// From when on: a duration back from now, a day or a time
    #[arg(long, value_name = "7d|TIME", default_value = "7d")]
    since: Since,
    /// What attempts are put into groups by
    #[arg(long, value_enum, default_value_t)]
    by: Grouped,
    /// How it is written; `--json` for programs
    #[arg(long, value_enum, default_value_t, conflicts_with = "json")]
    format: Format,
    /// Simulated work counts as well
    #[arg(long)]
    simulated: bool,
    /// How many of the slowest tasks are named
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1000))]
    slowest: u16,
}

/// Prints the figures.
pub(super) fn run(ctx: &Context, args: &Args) -> Done {
    let reading = ctx.read()?;
    ctx.workflow();
    let by = match args.by {
        Grouped::Role => By::Role,
        Grouped::Agent => By::Agent,
        Grouped::Day => By::Day,
        Grouped::Class => By::Class,
    };
    let since = args.since.from(reading.snapshot.now.wall);
    let wanted = Wanted { since, by, simulated: args.simulated, slowest: args.slowest.into() };
    let stats = ctx.project.stats(&reading, wanted)?;
    if ctx.ui.json() {
        ctx.ui.value(&stats);
        return Ok(exit::OK);
    }
    match args.format {
        Format::Table => tables(ctx, &stats),
        Format::Csv => ctx.ui.bytes(csv(&stats).as_bytes()),
    }
    Ok(exit::OK)
}

fn seconds(seconds: Option<f64>) -> Item {
    let Some((seconds, time)) = seconds.and_then(|seconds| Some((seconds, Duration::try_from_secs_f64(seconds).ok()?)))
    else {
        return Item::new("—").or_piped("").tone(Tone::Faint);
    };
    let whole = Duration::from_secs(time.as_secs());
    Item::new(duration(if whole.is_zero() { time } else { whole })).or_piped(seconds)
}

/// Returns three percentiles and how many durations they are of.
fn spread(spread: SpreadView) -> [Item; 4] {
    let [p50, p95, p99] = [spread.p50_seconds, spread.p95_seconds, spread.p99_seconds].map(seconds);
    let few = spread.p50_seconds.is_none();
    [p50, p95, p99, Item::new(spread.n).tone(if few { Tone::Faint } else { Tone::Plain })]
}

/// Returns a share of how many; faint where they are too few for one.
fn share(part: u32, of: u32) -> Item {
    match of {
        0..5 => Item::new("—").or_piped("").tone(Tone::Faint),
        _ => Item::new(format!("{:.0}%", f64::from(part) * 100.0 / f64::from(of))),
    }
}

fn tables(ctx: &Context, stats: &StatsView) {
    let ui = &ctx.ui;
    let long = (stats.at.0 - stats.since.0).to_std().unwrap_or_default();
    let mut parts = vec![one_line(&stats.project), duration(Duration::from_secs(long.as_secs()))];
    parts.push(match stats.done_per_day {
        Some(rate) => format!("{} done, {rate:.1} a day", many(stats.done, "task")),
        None => format!("{} done", many(stats.done, "task")),
    });
    ui.line(&Tone::Strong.paint(&parts.join(" · ")));
    if stats.simulated_included {
        ui.line(&Tone::Warn.paint("SIMULATED work is counted in"));
    } else if stats.simulated_left_out > 0 {
        let left_out = many(stats.simulated_left_out as usize, "simulated attempt");
        ui.line(&Tone::Warn.paint(&format!("{left_out} left out; with them: agentctl stats --simulated")));
    }

    let heading = |words: &str| {
        ui.line("");
        ui.line(&Tone::Strong.paint(words));
    };
    heading("Tasks, from one moment to another");
    let mut table = Table::new("FROM, TO | P50 | P95 | P99 | N");
    for (name, times) in [
        ("first claim to end", stats.cycle),
        ("appearance to end", stats.lead),
        ("into a role's status to its claim", stats.waiting),
    ] {
        let [p50, p95, p99, n] = spread(times);
        table.row([Item::new(name), p50, p95, p99, n]);
    }
    ui.table(&table);

    heading(&format!("Attempts by {}", stats.by));
    let mut table = Table::new("NAME | ENDED | OK | FAILED | P50 | P95 | P99 | N? | TOKENS? | COST");
    for group in &stats.groups {
        let [p50, p95, p99, n] = spread(group.took);
        table.row([
            Item::new(cut(&group.name, 60)).tone(Tone::Strong),
            Item::new(group.attempts),
            share(group.ok, group.attempts),
            Item::new(group.failed).tone(if group.failed > 0 { Tone::Bad } else { Tone::Plain }),
            p50,
            p95,
            p99,
            n,
            Item::new(group.tokens),
            cost(group),
        ]);
    }
    if table.is_empty() {
        ui.line("no attempt ended");
    } else {
        ui.table(&table);
    }

    if !stats.failures.is_empty() {
        heading("Failures by class");
        let mut table = Table::new("CLASS | COUNT");
        stats.failures.iter().for_each(|class| table.row([Item::new(&class.class), Item::new(class.count)]));
        ui.table(&table);
    }
    if !stats.bottlenecks.is_empty() {
        heading("Where tasks wait, the longest in all first");
        let mut table = Table::new("ROLE | IN ALL | P50 | P95 | P99 | N? | NOW | OLDEST");
        for role in &stats.bottlenecks {
            let [p50, p95, p99, n] = spread(role.waiting);
            table.row([
                Item::new(&role.role).tone(Tone::Strong),
                seconds(Some(role.total_seconds)),
                p50,
                p95,
                p99,
                n,
                Item::new(role.waiting_now),
                seconds(role.oldest_seconds),
            ]);
        }
        ui.table(&table);
    }
    if !stats.slowest.is_empty() {
        heading("The slowest tasks");
        let mut table = Table::new("TASK | TOOK | ATTEMPTS | TITLE~");
        for slow in &stats.slowest {
            let words = slow.title.as_deref().map_or("(it has left the queue)", title);
            table.row([
                Item::new(&slow.task).tone(Tone::Strong),
                seconds(Some(slow.seconds)),
                Item::new(slow.attempts),
                Item::new(words),
            ]);
        }
        ui.table(&table);
    }
    ui.foot("— : fewer than 5 · agentctl stats --by agent|day|class · --format csv · agentctl report");
}

fn cost(group: &GroupView) -> Item {
    let piped = group.usd.map_or_else(String::new, |usd| format!("{usd:.6}"));
    Item::new(money(group.usd, group.unpriced)).or_piped(piped)
}

/// Writes the groups as comma-separated values; what is not known is empty.
fn csv(stats: &StatsView) -> String {
    let head = "attempts,ok,failed,p50_seconds,p95_seconds,p99_seconds,n,tokens,usd,unpriced";
    let mut all = format!("{},{head}\r\n", stats.by);
    for group in &stats.groups {
        let number = |number: Option<f64>| number.map_or_else(String::new, |number| number.to_string());
        let GroupView { attempts, ok, failed, took, tokens, usd, unpriced, .. } = group;
        let times = [took.p50_seconds, took.p95_seconds, took.p99_seconds].map(number).join(",");
        let (name, usd, n) = (cell(&group.name), number(*usd), took.n);
        all.push_str(&format!("{name},{attempts},{ok},{failed},{times},{n},{tokens},{usd},{unpriced}\r\n"));
    }
    all
}

/// Writes a text of others as one cell that no spreadsheet takes for a formula.
fn cell(words: &str) -> String {
    let words = one_line(words);
    let formula = words.starts_with(['=', '+', '-', '@']);
    let words = if formula { format!("'{words}") } else { words };
    match words.contains([',', '"']) {
        true => format!("\"{}\"", words.replace('"', "\"\"")),
        false => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula_and_ends_where_it_should() {
        let cells = ["builder", "=cmd()", "a,b", "say \"x\"", "-1,2"].map(cell);
        assert_eq!(cells, ["builder", "'=cmd()", "\"a,b\"", "\"say \"\"x\"\"\"", "\"'-1,2\""]);
    }

    #[test]
    fn a_share_of_fewer_than_five_is_none() {
        assert_eq!(share(3, 4).painted(), Tone::Faint.paint("—"));
        assert_eq!(share(3, 6).painted(), "50%");
    }
}
