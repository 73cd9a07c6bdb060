//! `agentctl run …`: attempts listed, shown, stopped; what they changed has its own module.

use std::time::Duration;

use super::{
    cells::seconds_item,
    change::{Dry, needed},
    context::Context,
    fail::{Done, exit},
    ui::{Item, Tone},
};
use oodatcaa_agent::{Observation, record::Record};
use oodatcaa_core::{
    Usage,
    text::{duration, one_line, parse_duration},
};
use oodatcaa_ops::{
    ErrorKind, Failure, runs, sandbox,
    view::{AttemptView, FileView, GateView, Moment},
};
use oodatcaa_process::{Ended, Exit, StopCause};

/// Verbs of `run`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// The attempts, of all tasks or of one
    List(List),
    /// Everything about one attempt
    Show(Show),
    /// What a task or one attempt changed
    Diff(super::diff::Args),
    /// Ask the worker to stop an attempt
    Stop(Stop),
}

/// Flags of `list`.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only of this task
    task: Option<String>,
    /// Only those that are running
    #[arg(long)]
    running: bool,
    /// At most this many, the newest
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
}

/// Flags of `show`.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// TASK for its newest attempt, or TASK/TOKEN
    #[arg(value_name = "RUN")]
    run: String,
}

/// Flags of `stop`.
#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    /// TASK, or TASK/TOKEN to stop only that attempt
    #[arg(value_name = "RUN")]
    run: String,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
    /// Wait until it has stopped, at most this long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    dry: Dry,
}

/// Runs a verb of `run`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::List(args) => list(ctx, args),
        Verb::Show(args) => show(ctx, args),
        Verb::Diff(args) => super::diff::run(ctx, args),
        Verb::Stop(args) => stop(ctx, args),
    }
}

fn list(ctx: &Context, args: &List) -> Done {
    let (layout, snapshot) = (ctx.project.layout()?, ctx.read()?.snapshot);
    let only = args.task.as_deref().map(|task| runs::named(&ctx.project, &snapshot, task)).transpose()?;
    let events = ctx.project.store()?.events(0)?;
    let mut all = runs::all(layout, &snapshot, &events, only.as_ref().map(|(task, _)| task));
    all.retain(|attempt| !args.running || attempt.running);
    all.drain(..all.len().saturating_sub(args.limit.unwrap_or(usize::MAX)));
    let now = snapshot.now.wall;
    let moment = |time: Option<Moment>| Item::of(time.map(|time| ctx.ui.moment(time.0, now)));
    let rows = all.iter().map(|attempt| {
        let sim = if attempt.simulated { "SIM " } else { "" };
        [
            Item::new(&attempt.run),
            Item::of(attempt.role.as_ref()),
            Item::of(attempt.attempt),
            Item::new(&attempt.state).tone(tone(attempt)),
            Item::of(attempt.class.as_ref()),
            Item::new(format!("{sim}{}", attempt.agent.as_deref().unwrap_or_default())),
            moment(attempt.started_at),
            seconds_item(attempt.seconds),
            Item::of(attempt.reason.as_ref()),
        ]
    });
    let headings = "RUN | ROLE? | TRY? | OUTCOME | CLASS | AGENT? | STARTED? | TOOK? | REASON~";
    let foot = "agentctl run show RUN · agentctl logs RUN · agentctl run stop RUN --reason …";
    ctx.ui.list(&all, headings, rows, "no attempts", foot)
}

fn tone(attempt: &AttemptView) -> Tone {
    match attempt.state.as_str() {
        "running" => Tone::Busy,
        "done" | "no_change" => Tone::Good,
        "failed" => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn show(ctx: &Context, args: &Show) -> Done {
    let snapshot = ctx.read()?.snapshot;
    let detail = ctx.project.attempt(&snapshot, &args.run)?;
    if ctx.ui.json() {
        ctx.ui.value(&detail);
        return Ok(exit::OK);
    }
    let attempt = &detail.attempt;
    let text = |words: &Option<String>| words.clone().unwrap_or_default();
    let moment = |time: Option<Moment>| time.map(|time| ctx.ui.moment(time.0, snapshot.now.wall)).unwrap_or_default();
    let record: Option<Record> = detail.record.and_then(|record| serde_json::from_value(record).ok());
    let said = |of: fn(&Record) -> &[String], between: &str| record.as_ref().map(of).unwrap_or_default().join(between);
    let seen = record.as_ref().and_then(|record| record.found.seen.clone()).unwrap_or_default();
    let ended: Option<Exit> = detail.exit.and_then(|exit| serde_json::from_value(exit).ok());
    ctx.ui.facts(&[
        ("run", attempt.run.clone()),
        ("state", format!("{}{}", if attempt.simulated { "SIMULATED " } else { "" }, attempt.state)),
        ("role", attempt.role.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("try", attempt.attempt.map(|number| number.to_string()).unwrap_or_default()),
        ("agent", agent(attempt.agent.as_deref().unwrap_or_default())),
        ("owner", text(&attempt.owner)),
        ("started", moment(attempt.started_at)),
        ("ended", moment(attempt.ended_at)),
        ("took", attempt.seconds.map(|time| duration(Duration::from_secs_f64(time))).unwrap_or_default()),
        ("class", text(&attempt.class)),
        ("charged", attempt.charged.map(|yes| if yes { "yes" } else { "no" }.to_owned()).unwrap_or_default()),
        ("says", text(&attempt.reason)),
        ("command", said(|record| &record.argv, " ")),
        ("exit", ended.as_ref().map(ending).unwrap_or_default()),
        ("gates", gates(&attempt.gates)),
        ("tokens", tokens(&seen)),
        ("session", text(&seen.session)),
        ("last tool", text(&seen.last_tool)),
        ("decisions", said(|record| &record.found.decisions, "; ")),
        ("messages", said(|record| &record.found.messages, "; ")),
        ("look at", said(|record| &record.found.risky, "; ")),
        (
            "sandbox",
            record.as_ref().and_then(|record| sandbox::worked(std::slice::from_ref(record))).unwrap_or_default(),
        ),
        ("refused", sandbox::refused(ctx.project.layout()?, attempt.dir.as_ref()).join("; ")),
        ("directory", attempt.dir.clone()),
    ]);
    for FileView { name, bytes } in &detail.files {
        let name = one_line(name);
        ctx.ui.line(&match ctx.ui.pretty() {
            true => format!("  {bytes:>9}  {name}"),
            false => format!("file\t{name}\t{bytes}"),
        });
    }
    let (run, task) = (&attempt.run, &attempt.task);
    ctx.ui.foot(&format!("agentctl logs {run} · agentctl logs {run} --stderr · agentctl events tail --task {task}"));
    Ok(exit::OK)
}

/// Names the agent that worked.
fn agent(name: &str) -> String {
    if name == "none" { "none: the attempt is its gates".into() } else { name.into() }
}

/// Says what it used up, as far as its program told.
fn tokens(seen: &Observation) -> String {
    let Usage { tokens_in, tokens_out, cached, cost_usd, .. } = &seen.usage;
    let mut parts = Vec::new();
    for (count, what) in [(tokens_in, "in"), (tokens_out, "out"), (cached, "of them cached")] {
        parts.extend(count.map(|count| format!("{count} {what}")));
    }
    parts.extend(cost_usd.map(|cost| format!("${cost:.4}")));
    parts.extend((seen.denials > 0).then(|| format!("{} calls not allowed", seen.denials)));
    parts.join(", ")
}

/// Says how the program ended.
fn ending(exit: &Exit) -> String {
    let took = duration(Duration::from_millis(exit.millis));
    let mut words = match &exit.ended {
        Ended::Exited(status) => format!("status {status} after {took}"),
        Ended::Signalled(signal) => format!("signal {signal} after {took}"),
        Ended::NotStarted { error, .. } => format!("it did not start: {error}"),
        Ended::Unknown => "how it ended is not known".into(),
    };
    words.push_str(match exit.stopped {
        None => "",
        Some(StopCause::Asked) => ", stopped by its worker",
        Some(StopCause::Wall) => ", stopped by the time limit",
        Some(StopCause::Silence) => ", stopped because it wrote nothing",
        Some(StopCause::Output) => ", stopped by the output limit",
        Some(StopCause::Memory) => ", stopped by the memory limit",
        Some(StopCause::WorkerGone) => ", stopped because its worker was gone",
    });
    match exit.leftovers {
        0 => {}
        1 => words.push_str("; a process that it left was ended"),
        left => words.push_str(&format!("; {left} processes that it left were ended")),
    }
    words
}

fn gates(gates: &[GateView]) -> String {
    let gates = gates.iter().map(|ran| format!("{} {}", if ran.ok { "✓" } else { "✗" }, ran.gate));
    gates.collect::<Vec<_>>().join("  ")
}

fn stop(ctx: &Context, args: &Stop) -> Done {
    let reason = needed(&args.reason)?;
    let snapshot = ctx.read()?.snapshot;
    let named = runs::named(&ctx.project, &snapshot, &args.run)?;
    // Warns where the configuration is broken; an attempt can be stopped all the same.
    ctx.workflow();
    let question = format!("stop the attempt of {}?", named.0);
    let agree = || ctx.ui.agreed(&question);
    let stopped = ctx.project.stop(&snapshot, named, reason, args.wait, args.dry.dry_run, agree)?;
    let Some(view) = stopped else { return Ok(exit::FAILED) };
    let words = match (view.dry_run, view.changed, view.stopped) {
        (true, ..) => "would be asked to stop",
        (_, _, Some(true)) => "stopped",
        (_, true, _) => "asked to stop",
        (_, false, _) => "had been asked to stop already",
    };
    let (task, run) = (&view.task, &view.run);
    if ctx.ui.outcome(&view, if ctx.ui.quiet() { task.as_str() } else { run }, words, &[words]) {
        ctx.ui.say(&format!("its task is blocked with this reason; to let it go on: agentctl task unblock {task}"));
    }
    if view.stopped == Some(false) {
        let message = format!("{run} has not stopped within {}", duration(args.wait.unwrap_or_default()));
        return Err(Failure::new(ErrorKind::TimedOut, message).hint(format!("agentctl why {task}")));
    }
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        let exit = Exit { ended: Ended::Exited(3), millis: 2_000, ..Exit::unknown() };
        assert_eq!(ending(&exit), "status 3 after 2s");
        let killed = Exit { ended: Ended::Signalled(9), stopped: Some(StopCause::Wall), leftovers: 2, ..exit };
        let words = "signal 9 after 2s, stopped by the time limit; 2 processes that it left were ended";
        assert_eq!(ending(&killed), words);
    }
}
