//! `agentctl lease …`: who holds what, taking a task by hand, and giving back what nobody stands behind any more.

use std::time::Duration;

use super::{
    change::{Dry, reason, tell},
    context::Context,
    fail::{Done, exit},
    ui::{Item, Tone},
};
use oodatcaa_core::{
    LeaseState, Snapshot, Status, TaskId, Token, landing,
    text::{one_line, parse_duration},
    time::stamp,
};
use oodatcaa_ops::{
    ErrorKind, Failure, find_task,
    view::{LeaseEntry, LeaseView, LockView, Moment},
};
use oodatcaa_process::caller;
use oodatcaa_sys::identity;

/// Verbs of `lease`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// List leases: who holds which task
    List,
    /// Take a task for a time, as a person or an agent that no worker runs; prints the token
    Acquire(Acquire),
    /// Renew such a lease
    Beat(Beat),
    /// Give back a task whose owner is gone, or, with its token, one that you took yourself
    Release(Release),
    /// Take a name for a time, as helper scripts lock a file; it keeps out whoever asks for the same
    Lock(LockArgs),
    /// Give such a name back
    Unlock(Unlock),
}

/// Flags of `lock`.
#[derive(Debug, clap::Args)]
pub(super) struct LockArgs {
    /// The name: letters, digits, `.`, `_` and `-`
    name: String,
    /// Who takes it [default: your name at this machine]
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// How long it lives without being taken again
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5m")]
    ttl: Duration,
}

/// Flags of `unlock`.
#[derive(Debug, clap::Args)]
pub(super) struct Unlock {
    /// The name
    name: String,
    /// Who took it [default: your name at this machine]
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

/// Flags of `acquire`.
#[derive(Debug, clap::Args)]
pub(super) struct Acquire {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// The role to work as: what it takes, its limit and its status while it works
    #[arg(long)]
    role: String,
    /// Who works [default: your name at this machine]
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// How long it lives without being renewed [default: that of the role]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `beat`.
#[derive(Debug, clap::Args)]
pub(super) struct Beat {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// The token that `acquire` printed
    #[arg(long, value_name = "NUMBER")]
    token: u64,
}

/// Flags of `release`.
#[derive(Debug, clap::Args)]
pub(super) struct Release {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// The token that `acquire` printed: gives back a lease of your own
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["force", "reason"])]
    token: Option<u64>,
    /// Where the task goes, with --token [default: to where it was taken from]
    #[arg(long, value_name = "STATUS", requires = "token")]
    to: Option<String>,
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
        Verb::Acquire(args) => acquire(ctx, args),
        Verb::Beat(args) => beat(ctx, args),
        Verb::Release(args) => release(ctx, args),
        Verb::Lock(args) => locked(ctx, &ctx.project.lock_name(&args.name, &owner(args.owner.as_deref()), args.ttl)?),
        Verb::Unlock(args) => locked(ctx, &ctx.project.unlock_name(&args.name, &owner(args.owner.as_deref()))?),
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

/// Refuses what is for those outside of attempts. The own task of an attempt is held by its worker, who renews it:
/// `true` where there is nothing to do.
fn is_held_for_us(ctx: &Context, id: &str) -> Result<bool, Failure> {
    let Some(why) = caller::attempt() else { return Ok(false) };
    let own = std::env::var("OODATCAA_TASK_ID").ok();
    if own.as_deref() == Some(id) {
        ctx.ui.say(&format!("your worker holds the lease on {id}, and renews it"));
        return Ok(true);
    }
    let message = format!("an agent's attempt works on its own task only, and this runs inside one: {why}");
    Err(Failure::new(ErrorKind::Refused, message)
        .hint("propose what else is to be done in result.json")
        .see("security"))
}

/// Returns the name by which somebody takes something.
fn owner(named: Option<&str>) -> String {
    named.map_or_else(|| format!("{}@{}", caller::user(), identity::host()), String::from)
}

/// Tells who has a name now.
fn locked(ctx: &Context, view: &LockView) -> Done {
    let until = view.until.map(|until| stamp(until.0)).unwrap_or_default();
    let owner = view.owner.as_deref().map(one_line).unwrap_or_default();
    let words = if owner.is_empty() { "free".into() } else { format!("{owner} until {until}") };
    ctx.ui.outcome(view, &view.name, &words, &[&owner, &until]);
    Ok(exit::OK)
}

/// Tells who holds a task now, and by which token.
fn told(ctx: &Context, id: &TaskId, after: &Snapshot) -> Done {
    let Some(held) = after.leases.get(id) else { return Ok(exit::OK) };
    let entry = LeaseEntry { task: id.clone(), lease: LeaseView::of(held, &held.health(&after.now)) };
    let token = entry.lease.token.map(|token| token.to_string()).unwrap_or_default();
    let words = format!("token {token}, {}", entry.lease.owner);
    ctx.ui.outcome(&entry, id.as_str(), &words, &[&token, &entry.lease.owner]);
    Ok(exit::OK)
}

fn acquire(ctx: &Context, args: &Acquire) -> Done {
    if is_held_for_us(ctx, &args.id)? {
        return told(ctx, &find_task(&ctx.read()?.snapshot.queue, &args.id)?.id.clone(), &ctx.read()?.snapshot);
    }
    let owner = owner(args.owner.as_deref());
    let (id, changed) = ctx.project.lend(&args.id, &args.role, &owner, args.ttl, args.dry.dry_run)?;
    changed.notes.iter().for_each(|note| ctx.ui.say(note));
    told(ctx, &id, &changed.after())
}

fn beat(ctx: &Context, args: &Beat) -> Done {
    if is_held_for_us(ctx, &args.id)? {
        return told(ctx, &find_task(&ctx.read()?.snapshot.queue, &args.id)?.id.clone(), &ctx.read()?.snapshot);
    }
    let (id, changed) = ctx.project.renew(&args.id, Token(args.token))?;
    told(ctx, &id, &changed.after())
}

fn release(ctx: &Context, args: &Release) -> Done {
    if let Some(token) = args.token {
        let to = args.to.as_deref().map(Status::new);
        let (id, changed) = ctx.project.give_up(&args.id, Token(token), to.as_ref(), args.dry.dry_run)?;
        return tell(ctx, "release", &id, &changed, args.dry);
    }
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
