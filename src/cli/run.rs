//! `agentctl run …`: attempts listed, shown, stopped; what they changed has its own module.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde::Deserialize as _;
use serde_json::Value;

use super::{
    cells::seconds_item,
    change::Dry,
    context::Context,
    fail::{Done, exit},
    ui::{Item, Tone},
};
use oodatcaa_core::{
    TaskId, Token, Usage, manual,
    text::{duration, one_line, parse_duration},
};
use oodatcaa_ops::{
    ErrorKind, Failure, runs,
    view::{AttemptDetail, AttemptView, FileView, GateView, Moment, StopView},
};
use oodatcaa_process::{self as process, Ended, Exit, StopCause};
use oodatcaa_sys::files;

/// Verbs of `run`.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// The attempts, of all tasks or of one
    List(List),
    /// Everything about one attempt
    Show(Show),
    /// What a task or one attempt changed
    Diff(super::diff::Args),
    /// Ask a worker to stop an attempt
    Stop(Stop),
}

/// Flags of `list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only of this task
    task: Option<String>,
    /// Only those that run now
    #[arg(long)]
    running: bool,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
}

/// Flags of `show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// TASK for its newest attempt, or TASK/TOKEN
    #[arg(value_name = "RUN")]
    run: String,
}

/// Flags of `stop`.
#[derive(Debug, clap::Args)]
pub struct Stop {
    /// TASK, or TASK/TOKEN to stop only that attempt
    #[arg(value_name = "RUN")]
    run: String,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
    /// Wait until it has stopped, at most so long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    dry: Dry,
}

/// Runs a verb of `run`.
pub fn run(ctx: &Context, verb: &Verb) -> Done {
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
    let (layout, snapshot) = (ctx.project.layout()?, ctx.read()?.snapshot);
    let (task, token) = runs::named(&ctx.project, &snapshot, &args.run)?;
    let events = ctx.project.store()?.events(0)?;
    let all = runs::all(layout, &snapshot, &events, Some(&task));
    let fitting = all.into_iter().filter(|attempt| token.is_none_or(|token| attempt.token == token));
    let attempt = fitting.max_by_key(|attempt| attempt.token).ok_or_else(|| runs::none(layout, &task, token))?;
    let dir = runs::dir(layout, &snapshot, &task, attempt.token);
    let root = layout.root();
    let files: Vec<(String, u64)> = files::list(root, &dir, 1_000)?
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| {
            let meta = files::look(root, &dir.join(&entry.name)).ok().flatten().filter(fs::Metadata::is_file)?;
            Some((entry.name.to_string_lossy().into_owned(), meta.len()))
        })
        .collect();
    let record = |name: &str| -> Option<Value> {
        serde_json::from_slice(&files::read(root, &dir.join(name), files::RECORD).ok()??).ok()
    };
    let now = snapshot.now.wall;
    if ctx.ui.json() {
        ctx.ui.value(&AttemptDetail {
            attempt,
            record: record("attempt.json"),
            exit: record("exit.json"),
            result: record("result.json"),
            files: files.into_iter().map(|(name, bytes)| FileView { name, bytes }).collect(),
        });
        return Ok(exit::OK);
    }
    let name = attempt.run.clone();
    let words = |value: &Value| value.as_str().map(String::from).unwrap_or_default();
    let seen = |key: &str| record("attempt.json").map(|record| words(&record["seen"][key])).unwrap_or_default();
    let said = |key: &str| {
        let all = record("attempt.json").and_then(|record| record[key].as_array().cloned()).unwrap_or_default();
        all.iter().map(words).collect::<Vec<_>>().join("; ")
    };
    let facts = [
        ("run", name.clone()),
        ("state", format!("{}{}", if attempt.simulated { "SIMULATED " } else { "" }, attempt.state)),
        ("role", attempt.role.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("try", attempt.attempt.map(|number| number.to_string()).unwrap_or_default()),
        ("agent", attempt.agent.clone().unwrap_or_default()),
        ("owner", attempt.owner.clone().unwrap_or_default()),
        ("started", attempt.started_at.map(|time| ctx.ui.moment(time.0, now)).unwrap_or_default()),
        ("ended", attempt.ended_at.map(|time| ctx.ui.moment(time.0, now)).unwrap_or_default()),
        ("took", attempt.seconds.map(|time| duration(Duration::from_secs_f64(time))).unwrap_or_default()),
        ("class", attempt.class.clone().unwrap_or_default()),
        ("charged", attempt.charged.map(|yes| if yes { "yes" } else { "no" }.to_owned()).unwrap_or_default()),
        ("says", attempt.reason.clone().unwrap_or_default()),
        ("command", record("attempt.json").map(|record| argv(&record)).unwrap_or_default()),
        ("exit", process::read_exit(&dir).as_ref().map(ending).unwrap_or_default()),
        ("gates", gates(&attempt.gates)),
        ("tokens", record("attempt.json").map(|record| tokens(&record)).unwrap_or_default()),
        ("session", seen("session")),
        ("last tool", seen("last_tool")),
        ("decisions", said("decisions")),
        ("messages", said("messages")),
        ("look at", said("risky")),
        ("directory", attempt.dir.clone()),
    ];
    ctx.ui.facts(&facts);
    for (file, bytes) in &files {
        let file = one_line(file);
        if ctx.ui.pretty() {
            ctx.ui.line(&format!("  {bytes:>9}  {file}"));
        } else {
            ctx.ui.line(&format!("file\t{file}\t{bytes}"));
        }
    }
    ctx.ui.foot(&format!("agentctl logs {name} · agentctl logs {name} --stderr · agentctl events tail --task {task}"));
    Ok(exit::OK)
}

/// Says what it used up, as far as its program told.
fn tokens(record: &Value) -> String {
    let seen = &record["seen"];
    let mut parts = Vec::new();
    let usage = Usage::deserialize(seen).unwrap_or_default();
    for (count, what) in [(usage.tokens_in, "in"), (usage.tokens_out, "out"), (usage.cached, "of them cached")] {
        parts.extend(count.map(|count| format!("{count} {what}")));
    }
    parts.extend(usage.cost_usd.map(|cost| format!("${cost:.4}")));
    parts.extend(seen["denials"].as_u64().filter(|count| *count > 0).map(|count| format!("{count} calls not allowed")));
    parts.join(", ")
}

fn argv(record: &Value) -> String {
    let words = record.get("argv").and_then(Value::as_array).into_iter().flatten();
    words.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

/// Says how the program ended.
fn ending(exit: &Exit) -> String {
    let took = duration(Duration::from_millis(exit.millis));
    let mut words = match &exit.ended {
        Ended::Exited(status) => format!("status {status} after {took}"),
        Ended::Signalled(signal) => format!("signal {signal} after {took}"),
        Ended::NotStarted { error, .. } => format!("it did not start: {error}"),
        Ended::Unknown => "nobody saw how it ended".into(),
    };
    words.push_str(match exit.stopped {
        None => "",
        Some(StopCause::Asked) => ", stopped by its worker",
        Some(StopCause::Wall) => ", stopped by the time limit",
        Some(StopCause::Silence) => ", stopped for its silence",
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
    let reason = args.reason.trim();
    if reason.is_empty() {
        return Err(Failure::new(ErrorKind::Usage, "the reason is empty").hint("say why: --reason \"…\""));
    }
    let snapshot = ctx.read()?.snapshot;
    let (task, token) = runs::named(&ctx.project, &snapshot, &args.run)?;
    let running = snapshot.leases.get(&task).map(oodatcaa_core::LeaseState::token);
    if let (Some(wanted), Some(running)) = (token, running)
        && wanted != running
    {
        return Err(Failure::new(ErrorKind::Refused, format!("{task}/{wanted} has ended; {task}/{running} runs now"))
            .hint(format!("agentctl run stop {task}/{running} --reason \"…\"")));
    }
    if !args.dry.dry_run && running.is_some() && !ctx.ui.agreed(&format!("stop the attempt of {task}?"))? {
        return Ok(exit::FAILED);
    }
    let changed = ctx
        .project
        .decide(args.dry.dry_run, ctx.workflow(), |snapshot, _, actor| manual::stop(snapshot, &task, reason, actor))?;
    let token = changed.before.leases.get(&task).map(oodatcaa_core::LeaseState::token).unwrap_or_default();
    let asked = !changed.changes.is_empty();
    let stopped = match args.wait.filter(|_| !args.dry.dry_run) {
        Some(wait) => Some(wait_for(ctx, &task, token, wait)?),
        None => None,
    };
    let view = StopView {
        run: format!("{task}/{token}"),
        task: task.clone(),
        token,
        changed: asked,
        dry_run: args.dry.dry_run,
        stopped,
        at: changed.before.now.wall.into(),
    };
    let words = match (args.dry.dry_run, asked, stopped) {
        (true, ..) => "would be asked to stop",
        (_, _, Some(true)) => "stopped",
        (_, true, _) => "asked to stop",
        (_, false, _) => "was asked to stop already",
    };
    let id = if ctx.ui.quiet() { task.as_str() } else { &view.run };
    if ctx.ui.outcome(&view, id, words, &[words]) {
        ctx.ui.say(&format!("its task is blocked with this reason; to let it go on: agentctl task unblock {task}"));
    }
    match stopped {
        Some(false) => Err(Failure::new(
            ErrorKind::TimedOut,
            format!("{task}/{token} has not stopped within {}", duration(args.wait.unwrap_or_default())),
        )
        .hint(format!("agentctl why {task}"))),
        _ => Ok(exit::OK),
    }
}

/// Waits until the attempt's lease is gone; `false` when the time was over first.
fn wait_for(ctx: &Context, task: &TaskId, token: Token, wait: Duration) -> Result<bool, Failure> {
    let changes = ctx.project.store()?.changes()?;
    let deadline = Instant::now() + wait;
    loop {
        let snapshot = ctx.project.store()?.read()?.snapshot;
        if snapshot.leases.get(task).is_none_or(|held| held.token() != token) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let _ = changes.recv_timeout(left.min(Duration::from_millis(500)));
    }
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
