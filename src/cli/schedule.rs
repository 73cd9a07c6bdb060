//! `agentctl schedule …`: tasks that come at a time, and when they come.

use super::{
    context::Context,
    fail::Done,
    ui::{Item, Tone},
};
use oodatcaa_core::time::stamp;
use oodatcaa_ops::view::{Moment, ScheduleView};

/// Verbs of `schedule`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// The schedules: their times, what they made last, when they fire next
    List,
    /// The next three times of each, the first first
    Next,
}

/// Runs a verb of `schedule`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::List => list(ctx),
        Verb::Next => next(ctx),
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
