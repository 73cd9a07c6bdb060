//! `agentctl schedule …`: tasks that come at a time, and when they come.

use super::{
    change::{Dry, decide},
    context::Context,
    fail::{Done, exit},
    ui::{Item, Tone},
};
use oodatcaa_core::{
    manual,
    text::{near, one_line},
    time::stamp,
};
use oodatcaa_ops::{
    ErrorKind, Failure,
    view::{ChangeView, Moment, ScheduleView},
};

/// Verbs of `schedule`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// The schedules: their times, what they made last, when they fire next
    List,
    /// The next three times of each, the first first
    Next,
    /// Make a schedule's task now, beside its times
    Run(Run),
}

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The schedule
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
    #[command(flatten)]
    dry: Dry,
}

/// Runs a verb of `schedule`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::List => list(ctx),
        Verb::Next => next(ctx),
        Verb::Run(args) => run_now(ctx, args),
    }
}

const NONE: &str = "nothing comes at a time; how to write a schedule: agentctl config show --default";

fn list(ctx: &Context) -> Done {
    let now = ctx.read()?.snapshot.now.wall;
    let all = ctx.project.schedules()?;
    let moment = |time: Option<&Moment>| Item::of(time.map(|time| ctx.ui.moment(time.0, now)));
    let rows = all.iter().map(|view| {
        [
            Item::new(&view.schedule),
            Item::new(&view.times),
            moment(view.next.first()),
            moment(view.fired_at.as_ref()),
            Item::of(view.task.as_ref()),
            Item::of(Some(view.missed).filter(|missed| *missed > 0)).tone(Tone::Warn),
            Item::new(&view.title),
        ]
    });
    let headings = "SCHEDULE | TIMES | NEXT | FIRED? | TASK? | MISSED? | MAKES~";
    ctx.ui.list(&all, headings, rows, NONE, "agentctl schedule next · agentctl events tail --type schedule.missed")
}

fn next(ctx: &Context) -> Done {
    let now = ctx.read()?.snapshot.now.wall;
    let all = ctx.project.schedules()?;
    let mut times: Vec<(&Moment, &ScheduleView)> =
        all.iter().flat_map(|view| view.next.iter().map(move |time| (time, view))).collect();
    times.sort_by_key(|(time, view)| (time.0, &view.schedule));
    let rows = times.into_iter().map(|(time, view)| {
        [
            Item::new(stamp(time.0)),
            Item::new(ctx.ui.moment(time.0, now)),
            Item::new(&view.schedule),
            Item::new(&view.title),
        ]
    });
    ctx.ui.list(&all, "TIME | IN | SCHEDULE | MAKES~", rows, NONE, "agentctl schedule list")
}

fn run_now(ctx: &Context, args: &Run) -> Done {
    let schedules = &ctx.workflow().policy().schedules;
    let Some(schedule) = schedules.iter().find(|schedule| schedule.name == args.schedule) else {
        let failure = Failure::new(ErrorKind::NotFound, format!("there is no schedule `{}`", one_line(&args.schedule)));
        return Err(match near(&args.schedule, schedules.iter().map(|schedule| schedule.name.as_str())).first() {
            Some(near) => failure.hint(format!("agentctl schedule run {near}")),
            None => failure.hint("agentctl schedule list"),
        });
    };
    let made =
        decide(ctx, args.dry, |snapshot, workflow, actor| manual::add(snapshot, workflow, &schedule.task, actor))?;
    let task = &made.changes.add.first().expect("a task that is not refused is added").task;
    let undo = format!("agentctl task cancel {}", task.id);
    let view = ChangeView { undo: Some(undo.clone()), ..made.view(ctx.workflow(), "add", &task.id, args.dry.dry_run) };
    let (status, title) = (task.status.as_str(), one_line(&task.title));
    if ctx.ui.outcome(&view, task.id.as_str(), &format!("{status} · {title}"), &[status, &title]) {
        ctx.ui.say(&if args.dry.dry_run { "would be added".into() } else { format!("undo: {undo}") });
    }
    Ok(exit::OK)
}
