//! `agentctl lease …`: who holds what, and giving back what nobody stands behind any more.

use super::{
    change::{Dry, reason, tell},
    context::Context,
    fail::{Done, exit},
    ui::{Item, Tone},
};
use oodatcaa_core::{LeaseState, TaskId, landing};
use oodatcaa_ops::view::{LeaseEntry, LeaseView, Moment};

/// Verbs of `lease`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// List leases: who holds which task
    List,
    /// Give back a task whose owner is gone
    Release(Release),
}

/// Flags of `release`.
#[derive(Debug, clap::Args)]
pub(super) struct Release {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// Even when its owner is alive: its agent is ended, and what it still reports is ignored
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    dry: Dry,
}

/// Runs a verb of `lease`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::List => list(ctx),
        Verb::Release(args) => release(ctx, args),
    }
}

fn list(ctx: &Context) -> Done {
    let reading = ctx.read()?;
    let snapshot = &reading.snapshot;
    let now = snapshot.now.wall;
    let entry = |(id, held): (&TaskId, &LeaseState)| LeaseEntry {
        task: id.clone(),
        lease: LeaseView::of(held, &held.health(&snapshot.now)),
    };
    let entries: Vec<LeaseEntry> = snapshot.leases.iter().map(entry).collect();
    let moment = |time: Option<Moment>| Item::of(time.map(|time| ctx.ui.moment(time.0, now)));
    let rows = entries.iter().map(|LeaseEntry { task, lease }| {
        let sim = if lease.simulated { "SIM " } else { "" };
        let stop = lease.stop.as_ref().map(|stop| format!("stopping: {} ", stop.reason)).unwrap_or_default();
        [
            Item::new(task),
            Item::new(lease.state).tone(if lease.detail.is_some() { Tone::Warn } else { Tone::Good }),
            Item::of(lease.role.as_ref()),
            Item::new(&lease.owner),
            Item::of(lease.token),
            Item::of(lease.attempt),
            Item::of(lease.pid),
            moment(lease.started_at),
            moment(lease.heartbeat_at),
            Item::new(format!("{sim}{stop}{}", lease.detail.as_deref().unwrap_or_default())),
        ]
    });
    let headings = "TASK | STATE | ROLE? | OWNER~ | TOKEN? | TRY? | PID? | STARTED? | HEARTBEAT | NOTE~";
    let foot = "agentctl logs TASK -f · agentctl run stop TASK --reason … · agentctl lease release TASK";
    ctx.ui.list(&entries, headings, rows, "no leases: no task is being worked on", foot)
}

fn release(ctx: &Context, args: &Release) -> Done {
    let reason = reason(args.reason.as_deref());
    let (snapshot, dry_run) = (ctx.read()?.snapshot, args.dry.dry_run);
    let agree = |question: &str| ctx.ui.agreed(question);
    let released = ctx.project.release(&snapshot, &args.id, args.force, reason, dry_run, agree)?;
    let Some((id, changed)) = released else { return Ok(exit::FAILED) };
    if let Some(commit) = landing::passed(&changed.after(), &id).filter(|_| snapshot.leases.contains_key(&id)) {
        ctx.ui.warn(&format!("{id} has been merged as {commit}; the next integrator marks it done"));
    }
    tell(ctx, "release", &id, &changed, args.dry)
}
