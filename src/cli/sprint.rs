//! `agentctl sprint …`: how the sprint stands, how it ends and the next begins, and the logs that people read.

use super::{
    change::{Dry, needed},
    context::Context,
    fail::{Done, exit},
    ui::{Item, Table, Tone},
};
use oodatcaa_core::{
    succession::{End, Open},
    text::{many, one_line},
};
use oodatcaa_ops::{
    ReadModel,
    sprint::{Plan, Rotation},
    view::{SprintTaskView, SprintTurnView, SprintView},
};

/// Verbs of `sprint`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// How the sprint stands: progress, limits, exit criteria, what was done and what comes next
    Status(Status),
    /// Begin the next sprint, once this one is completed and nobody works
    New(New),
    /// Complete the sprint: archive the queue, write log and retrospective, tag the repository
    Complete(Complete),
    /// End the sprint with what is open, or give it up; what is open is named everywhere
    Close(Close),
    /// What of the objective is open, and the task that plans it; with --add that task is added
    Plan(PlanArgs),
    /// What the sprint came to, or another one that is in the archive, as Markdown
    Report(Report),
    /// Move the old part of long logs to the archive: AGENT_LOG, SPRINT_LOG, SPRINT_PLAN
    Rotate(Rotate),
    /// Write what the journal tells into AGENT_LOG.md, a report per task and role, and AGENT_REPORTS.md
    Render(Render),
}

/// Flags of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Write SPRINT_STATUS.json as well, for programs that read it
    #[arg(long)]
    write: bool,
}

/// Flags of `new`.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// Open tasks go on in the new sprint, with what they wait for
    #[arg(long, conflicts_with = "leave")]
    rollover: bool,
    /// Open tasks stay behind, in the archive only
    #[arg(long)]
    leave: bool,
    /// What the new sprint is for
    #[arg(long, value_name = "TEXT")]
    goal: Option<String>,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `complete`.
#[derive(Debug, clap::Args)]
pub(super) struct Complete {
    /// Even while tasks of priority 3 or smaller are open
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `close`.
#[derive(Debug, clap::Args)]
pub(super) struct Close {
    /// Why, for journal and retrospective
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `plan`.
#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// What the sprint is for
    #[arg(long, value_name = "TEXT")]
    goal: Option<String>,
    /// At most so many open success criteria are its exit criteria
    #[arg(long, value_name = "NUMBER", default_value_t = 6)]
    most: usize,
    /// Add the task that plans it, and set the goal
    #[arg(long)]
    add: bool,
}

/// Flags of `report`.
#[derive(Debug, clap::Args)]
pub(super) struct Report {
    /// The number of the sprint [default: that of the queue]
    sprint: Option<u64>,
}

/// Flags of `rotate`.
#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    /// Only this log
    #[arg(long, value_name = "NAME")]
    file: Option<String>,
    /// Rotate logs of more lines
    #[arg(long, value_name = "LINES", default_value_t = 1_000)]
    threshold: usize,
    /// Keep at least so many lines
    #[arg(long, value_name = "LINES", default_value_t = 450)]
    keep_lines: usize,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `render`.
#[derive(Debug, clap::Args)]
pub(super) struct Render {
    #[command(flatten)]
    dry: Dry,
}

/// Runs a verb of `sprint`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::Status(args) => status(ctx, args),
        Verb::New(args) => new(ctx, args),
        Verb::Complete(args) => {
            let end = End { force: args.force, ..End::default() };
            told(ctx, &ctx.project.complete_sprint(&end, args.dry.dry_run)?)
        }
        Verb::Close(args) => {
            let end = End { closed: true, reason: Some(needed(&args.reason)?), ..End::default() };
            told(ctx, &ctx.project.complete_sprint(&end, args.dry.dry_run)?)
        }
        Verb::Plan(args) => plan(ctx, args),
        Verb::Report(args) => report(ctx, args),
        Verb::Rotate(args) => rotate(ctx, args),
        Verb::Render(args) => render(ctx, args),
    }
}

fn status(ctx: &Context, args: &Status) -> Done {
    let reading = ctx.read()?;
    let model = ReadModel::new(&reading.snapshot, ctx.workflow());
    let view = SprintView::of(&model);
    if args.write {
        if let Some(invalid) = reading.invalid {
            // What programs read there must not be older than it says.
            return Err(invalid.into());
        }
        ctx.project.write_sprint_status(&view)?;
        ctx.ui.say("wrote .oodatcaa/work/SPRINT_STATUS.json");
    }
    if ctx.ui.json() {
        ctx.ui.value(&view);
        return Ok(exit::OK);
    }
    let name = view.id.clone().or_else(|| view.number.map(|number| format!("sprint {number}")));
    let name = one_line(name.as_deref().unwrap_or("a sprint without a name"));
    if ctx.ui.quiet() {
        ctx.ui.line(&name);
        return Ok(exit::OK);
    }
    let progress = &view.progress;
    let percent = progress.percentage.map_or_else(|| "—".into(), |percent| format!("{percent}%"));
    let done = format!("{}/{} done", progress.completed, progress.total_tasks - progress.cancelled);
    let cancelled = match progress.cancelled {
        0 => String::new(),
        count => format!(", {count} cancelled"),
    };
    let painted = progress.percentage.map_or(Tone::Faint, share).paint(&percent);
    let counts: Vec<String> = progress.statuses.iter().map(|(status, count)| format!("{status} {count}")).collect();
    let state = view.status.clone().unwrap_or_else(|| "—".into());
    if ctx.ui.pretty() {
        let parts = [Tone::Strong.paint(&name), one_line(&state), format!("{painted} {done}{cancelled}")];
        ctx.ui.line(&parts.join(" · "));
    } else {
        ctx.ui.facts(&[("sprint", name), ("status", state), ("progress", format!("{percent} {done}{cancelled}"))]);
    }
    ctx.ui.facts(&[("goal", view.goal.clone().unwrap_or_else(|| "—".into())), ("tasks", counts.join(", "))]);
    ctx.ui.table(&table(&view));
    ctx.ui.foot(match view.status.as_deref() {
        Some("completed") => "agentctl sprint new · agentctl sprint report",
        _ => "agentctl ls · agentctl sprint report · agentctl sprint complete --dry-run",
    });
    Ok(exit::OK)
}

/// Returns the colour of a share of something that should be done.
fn share(percent: usize) -> Tone {
    match percent {
        80.. => Tone::Good,
        50.. => Tone::Warn,
        _ => Tone::Bad,
    }
}

fn table(view: &SprintView) -> Table {
    let mut table = Table::new("WHAT | NAME~ | STATE | NOTE~");
    for role in &view.wip {
        let tone = match role.utilization {
            Some(100..) => Tone::Bad,
            Some(67..) => Tone::Warn,
            _ => Tone::Good,
        };
        let percent = role.utilization.map_or_else(|| "—".into(), |percent| format!("{percent}%"));
        let state = Item::new(format!("{}/{}", role.current, role.limit)).tone(tone);
        table.row([Item::new("wip"), Item::new(&role.role), state, Item::new(percent)]);
    }
    for one in &view.exit_criteria {
        let state = Item::new(format!("{}%", one.progress)).tone(share(one.progress));
        table.row([Item::new("criterion"), Item::new(one_line(&one.name)), state, Item::new(one_line(&one.status))]);
    }
    let mut tasks = |what: &str, tasks: &[SprintTaskView]| {
        for task in tasks {
            let title = Item::new(one_line(&task.title));
            table.row([Item::new(what), Item::new(&task.id), Item::new(one_line(&task.status)), title]);
        }
    };
    tasks("recent", &view.recent);
    tasks("next", &view.next);
    table
}

fn new(ctx: &Context, args: &New) -> Done {
    let with = match (args.rollover, args.leave) {
        (true, _) => Open::Carried,
        (_, true) => Open::Left,
        _ => Open::Unsaid,
    };
    let goal = args.goal.as_deref().map(str::trim).filter(|goal| !goal.is_empty());
    let would = ctx.project.new_sprint(with, goal, true)?;
    if args.dry.dry_run {
        return told(ctx, &would);
    }
    let left = match would.open.len() {
        0 => String::new(),
        open => format!(", and leave {} in the archive", many(open, "open task")),
    };
    if would.changed && !ctx.ui.agreed(&format!("begin sprint {}{left}?", would.now))? {
        return Ok(exit::FAILED);
    }
    told(ctx, &ctx.project.new_sprint(with, goal, false)?)
}

/// Tells what a verb did to a sprint, step by step.
fn told(ctx: &Context, view: &SprintTurnView) -> Done {
    let failed = view.steps.iter().any(|step| step.became == "failed");
    let code = if failed { exit::FAILED } else { exit::OK };
    if ctx.ui.json() {
        ctx.ui.value(view);
        return Ok(code);
    }
    let mut table = Table::new("WHAT~ | BECAME | NOTE~");
    for step in &view.steps {
        let tone = match step.became {
            "failed" => Tone::Bad,
            "written" => Tone::Good,
            _ => Tone::Faint,
        };
        let note = Item::new(step.note.as_deref().map(one_line).unwrap_or_default());
        table.row([Item::new(&step.what), Item::new(step.became).tone(tone), note]);
    }
    ctx.ui.table(&table);
    let ids = |ids: &[String]| {
        let more = if ids.len() > 20 { ", …" } else { "" };
        format!("{}{more}", ids.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    if !view.open.is_empty() {
        ctx.ui.say(&format!("open: {}", ids(&view.open)));
    }
    if !view.carried.is_empty() {
        ctx.ui.say(&format!("carried over: {}", ids(&view.carried)));
    }
    let sprint = view.sprint;
    ctx.ui.say(&match (failed, view.dry_run, view.verb) {
        (true, ..) => format!("not all of it could be done; do it again: agentctl sprint {}", view.verb),
        (_, true, _) => "nothing was written".into(),
        (_, _, "new") => format!("sprint {} has begun; what to do in it: agentctl add \"…\" --accept \"…\"", view.now),
        _ if !view.changed => format!("nothing to change: sprint {sprint} is completed already"),
        _ => format!("sprint {sprint} is completed; the next one: agentctl sprint new"),
    });
    Ok(code)
}

fn plan(ctx: &Context, args: &PlanArgs) -> Done {
    let goal = args.goal.as_deref().map(str::trim).filter(|goal| !goal.is_empty()).map(String::from);
    let view = ctx.project.plan_sprint(&Plan { goal, most: args.most, add: args.add })?;
    if ctx.ui.json() {
        ctx.ui.value(&view);
        return Ok(exit::OK);
    }
    let percent = view.percentage.map_or_else(|| "—".into(), |percent| format!("{percent}%"));
    let task = view.task.as_ref().map(ToString::to_string);
    ctx.ui.facts(&[
        ("objective", format!("{percent}, {} of {} criteria met: {}", view.met, view.criteria, view.objective)),
        ("goal", view.goal.clone().unwrap_or_else(|| "—".into())),
        ("task", format!("{} {}", task.as_deref().unwrap_or("(not added)"), view.title)),
    ]);
    let mut table = Table::new("EXIT CRITERION~");
    view.exit_criteria.iter().for_each(|words| table.row([Item::new(one_line(words))]));
    if !table.is_empty() {
        ctx.ui.table(&table);
    }
    ctx.ui.say(&match (&task, view.added, view.exit_criteria.is_empty()) {
        (Some(task), true, _) => format!("added {task}; have it planned: agentctl fleet start planner"),
        (Some(task), false, _) => format!("nothing to add: {task} plans it already"),
        (None, _, true) => "nothing of the objective is open".into(),
        (None, ..) => "nothing was written; to add the task: agentctl sprint plan --add".into(),
    });
    Ok(exit::OK)
}

fn report(ctx: &Context, args: &Report) -> Done {
    let view = ctx.project.sprint_report(args.sprint)?;
    match ctx.ui.json() {
        true => ctx.ui.value(&view),
        false => view.markdown().lines().for_each(|line| ctx.ui.verbatim(line)),
    }
    Ok(exit::OK)
}

fn rotate(ctx: &Context, args: &Rotate) -> Done {
    let rotation = Rotation {
        file: args.file.clone(),
        threshold: args.threshold,
        keep: args.keep_lines,
        dry_run: args.dry.dry_run,
    };
    let all = ctx.project.rotate_logs(&rotation)?;
    let rows = all.iter().map(|one| {
        let became = match (&one.archive, one.dry_run) {
            (None, _) => Item::new("short enough").tone(Tone::Faint),
            (Some(_), true) => Item::new("would be rotated").tone(Tone::Warn),
            (Some(_), false) => Item::new("rotated").tone(Tone::Good),
        };
        [
            Item::new(&one.file),
            Item::new(one.lines),
            became,
            Item::new(one.kept),
            Item::new(one.archived),
            Item::of(one.archive.as_ref()),
        ]
    });
    ctx.ui.list(&all, "LOG~ | LINES | BECAME | KEPT | ARCHIVED | ARCHIVE?~", rows, "there are no logs to rotate", "")
}

fn render(ctx: &Context, args: &Render) -> Done {
    let all = ctx.project.render_logs(args.dry.dry_run)?;
    let rows = all.iter().map(|one| {
        let tone = match one.became {
            "written" => Tone::Good,
            "theirs" => Tone::Warn,
            _ => Tone::Faint,
        };
        [Item::new(&one.file), Item::new(one.became).tone(tone), Item::new(one.entries)]
    });
    ctx.ui.list(&all, "FILE~ | BECAME | ENTRIES", rows, "the journal tells nothing of this sprint", "")
}
