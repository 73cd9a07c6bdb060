//! `agentctl schedule …` and `agentctl handoff …`: what comes at a time, and what follows on what happens.

use super::{
    change::{Dry, decide},
    context::Context,
    fail::{Done, exit},
    ui::{Item, Tone},
};
use oodatcaa_core::{
    ChangeSet, Snapshot,
    event::Actor,
    manual,
    schedule::{self, Schedule},
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
    /// Let a schedule fire no more, until it is resumed
    Pause(Pause),
    /// Let a paused schedule fire again; it counts from now on
    Resume(Named),
}

/// Verbs of `handoff`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Handoffs {
    /// The hand-offs: what each answers, what it does, what it did last
    List,
}

/// Flags of `resume`.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The schedule
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
}

/// Flags of `pause`.
#[derive(Debug, clap::Args)]
pub(super) struct Pause {
    #[command(flatten)]
    named: Named,
    /// Why, for whoever looks at it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
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
        Verb::Pause(args) => {
            let reason = args.reason.as_deref();
            turn(ctx, &args.named.schedule, "paused", |snapshot, name, actor| {
                schedule::pause(snapshot, name, reason, actor)
            })
        }
        Verb::Resume(args) => turn(ctx, &args.schedule, "resumed", schedule::resume),
    }
}

/// Runs a verb of `handoff`.
pub(super) fn handoffs(ctx: &Context, verb: &Handoffs) -> Done {
    let Handoffs::List = verb;
    let now = ctx.read()?.snapshot.now.wall;
    let all = ctx.project.handoffs()?;
    let rows = all.iter().map(|view| {
        [
            Item::new(&view.handoff),
            Item::new(&view.on),
            Item::new(&view.does),
            Item::new(view.fired),
            Item::of(view.fired_at.as_ref().map(|time| ctx.ui.moment(time.0, now))),
            Item::of(view.task.as_ref()),
            Item::of(view.refused.as_ref()).tone(Tone::Warn),
        ]
    });
    const NO_HANDOFF: &str = "nothing follows on what happens; how to write a hand-off: agentctl config show --default";
    let headings = "HANDOFF | ON | THEN~ | TIMES | LAST? | TASK? | REFUSED?";
    ctx.ui.list(&all, headings, rows, NO_HANDOFF, "agentctl events tail --type handoff.fired")
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
            Item::of(view.paused.as_ref().map(|why| if why.is_empty() { "yes" } else { why })).tone(Tone::Warn),
            Item::new(&view.does),
        ]
    });
    let headings = "SCHEDULE | TIMES | NEXT | FIRED? | TASK? | MISSED? | PAUSED? | DOES~";
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
            Item::new(&view.does),
        ]
    });
    ctx.ui.list(&all, "TIME | IN | SCHEDULE | DOES~", rows, NONE, "agentctl schedule list")
}

fn named<'a>(ctx: &'a Context, name: &str, verb: &str) -> Result<&'a Schedule, Failure> {
    let schedules = &ctx.workflow().policy().schedules;
    schedules.iter().find(|schedule| schedule.name == name).ok_or_else(|| {
        let failure = Failure::new(ErrorKind::NotFound, format!("there is no schedule `{}`", one_line(name)));
        match near(name, schedules.iter().map(|schedule| schedule.name.as_str())).first() {
            Some(near) => failure.hint(format!("agentctl schedule {verb} {near}")),
            None => failure.hint("agentctl schedule list"),
        }
    })
}

fn run_now(ctx: &Context, args: &Run) -> Done {
    let schedule = named(ctx, &args.schedule, "run")?;
    let Some(wanted) = &schedule.then.task else {
        let words = format!("the schedule `{}` makes no task: it {}", schedule.name, schedule.then.words());
        return Err(Failure::new(ErrorKind::Refused, words).hint("agentctl msg send --help"));
    };
    let made = decide(ctx, args.dry, |snapshot, workflow, actor| manual::add(snapshot, workflow, wanted, actor))?;
    let task = &made.changes.add.first().expect("a task that is not refused is added").task;
    let undo = format!("agentctl task cancel {}", task.id);
    let view = ChangeView { undo: Some(undo.clone()), ..made.view(ctx.workflow(), "add", &task.id, args.dry.dry_run) };
    let (status, title) = (task.status.as_str(), one_line(&task.title));
    if ctx.ui.outcome(&view, task.id.as_str(), &format!("{status} · {title}"), &[status, &title]) {
        ctx.ui.say(&if args.dry.dry_run { "would be added".into() } else { format!("undo: {undo}") });
    }
    Ok(exit::OK)
}

/// Pauses or resumes a schedule, and shows it as it is then.
fn turn(ctx: &Context, name: &str, word: &str, decide: impl Fn(&Snapshot, &str, &Actor) -> ChangeSet) -> Done {
    let name = &named(ctx, name, if word == "paused" { "pause" } else { "resume" })?.name;
    let actor = ctx.project.actor();
    ctx.project.store()?.transact(&mut |snapshot| decide(snapshot, name, &actor))?;
    let view = ctx.project.schedules()?.into_iter().find(|view| view.schedule == *name);
    let view =
        view.ok_or_else(|| Failure::new(ErrorKind::NotFound, format!("there is no schedule `{name}` any more")))?;
    ctx.ui.outcome(&view, name, word, &[word]);
    Ok(exit::OK)
}
