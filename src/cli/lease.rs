//! `agentctl lease …`: who holds what, and giving back what nobody stands behind any more.

use std::time::Duration;

use super::{
    change::{Dry, decide, tell},
    context::Context,
    fail::{self, Done},
    ui::{Item, Tone},
};
use oodatcaa_core::{
    LeaseState, RunName, Snapshot, TaskId, landing,
    lease::LeaseHealth,
    manual, rescue,
    text::{duration, many, one_line},
};
use oodatcaa_git::takeover;
use oodatcaa_ops::{
    Changed, ErrorKind, Failure,
    view::{LeaseEntry, LeaseView, Moment},
};
use oodatcaa_process as process;

/// How long processes that were told to end may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// Verbs of `lease`.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Who holds what
    List,
    /// Give a task back whose owner is gone
    Release(Release),
}

/// Flags of `release`.
#[derive(Debug, clap::Args)]
pub struct Release {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// Also when its owner is alive: its agent is ended, and what it still says is ignored
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    dry: Dry,
}

/// Runs a verb of `lease`.
pub fn run(ctx: &Context, verb: &Verb) -> Done {
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
    ctx.ui.list(&entries, headings, rows, "no leases: nobody works on anything", foot)
}

fn release(ctx: &Context, args: &Release) -> Done {
    let reading = ctx.read()?;
    let snapshot = &reading.snapshot;
    let id = match snapshot.queue.find(&args.id) {
        Some(task) => task.id.clone(),
        // A lease without a task can be given back as well.
        None => snapshot
            .leases
            .keys()
            .find(|id| id.as_str() == args.id)
            .cloned()
            .ok_or_else(|| fail::no_task(&args.id, &snapshot.queue))?,
    };
    let reason = args.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let Some(held) = snapshot.leases.get(&id) else {
        let changed =
            decide(ctx, args.dry, |snapshot, _, actor| manual::clear_mark(snapshot, &id, args.force, reason, actor))?;
        return tell(ctx, "release", &id, &changed, args.dry);
    };
    let token = held.token();
    match held.health(&snapshot.now) {
        LeaseHealth::Live if !args.force => Err(alive(snapshot, &id)),
        LeaseHealth::Live => {
            let question =
                format!("{} is alive and works on {id}; end its agent and take the task away?", held.owner());
            if !args.dry.dry_run {
                if !ctx.ui.agreed(&one_line(&question))? {
                    return Ok(fail::exit::FAILED);
                }
                let run = snapshot.run_name(&id, token).unwrap_or_else(|| RunName::of(token));
                end_processes(ctx, &id, &run)?;
            }
            let not_landed = landing::passed(snapshot, &id).filter(|commit| !has_landed(ctx, &id, commit));
            let changed = decide(ctx, args.dry, |snapshot, workflow, actor| {
                manual::release(
                    snapshot,
                    workflow,
                    &id,
                    token,
                    not_landed.as_deref(),
                    reason.unwrap_or("forced"),
                    actor,
                )
            })?;
            tell_release(ctx, &id, &changed, args.dry)
        }
        LeaseHealth::Dead(_) | LeaseHealth::Lost(_) if args.dry.dry_run => {
            let retry = &ctx.project.loaded()?.config.retry;
            let changed = decide(ctx, args.dry, |snapshot, workflow, actor| {
                let left: Vec<_> =
                    rescue::find(snapshot, workflow).into_iter().filter(|left| left.task == id).collect();
                let mut changes = rescue::decide(snapshot, workflow, retry, &left, "");
                changes.events.iter_mut().for_each(|event| event.actor = actor.clone());
                Ok(changes)
            })?;
            tell(ctx, "release", &id, &changed, args.dry)
        }
        LeaseHealth::Dead(_) | LeaseHealth::Lost(_) => {
            let changed = give_back(ctx, &id)?;
            tell_release(ctx, &id, &changed, args.dry)
        }
    }
}

fn has_landed(ctx: &Context, id: &TaskId, commit: &str) -> bool {
    let (layout, loaded) = (ctx.project.layout(), ctx.project.loaded());
    // Where git cannot be asked it may have.
    layout.ok().zip(loaded.ok()).is_none_or(|(layout, loaded)| takeover::has_landed(layout, &loaded.config, id, commit))
}

/// Tells of a release, and of what had been merged under the lease.
fn tell_release(ctx: &Context, id: &TaskId, changed: &Changed, dry: Dry) -> Done {
    let after = changed.after();
    if let Some(commit) = landing::passed(&after, id) {
        ctx.ui.warn(&format!("{id} has been merged as {commit}; the next integrator marks it done"));
    }
    tell(ctx, "release", id, changed, dry)
}

fn alive(snapshot: &Snapshot, id: &TaskId) -> Failure {
    let held = &snapshot.leases[id];
    let owner = one_line(held.owner());
    let insist = format!("insist: agentctl lease release {id} --force --reason \"…\"");
    let Some(lease) = held.ours() else {
        let message =
            format!("{owner} took this lease for longer than until now, and nobody can be asked whether it lives");
        return Failure::new(ErrorKind::LeaseHeld, message).hint(insist);
    };
    let beat = duration(Duration::from_secs(lease.silence(&snapshot.now).as_secs()));
    let message = format!("{owner} (pid {}) is alive and renewed this lease {beat} ago", lease.pid);
    Failure::new(ErrorKind::LeaseHeld, message)
        .hint(format!("stop the run first: agentctl run stop {id} --reason \"…\""))
        .hint(insist)
}

/// Ends what an attempt left running and sees it gone.
pub fn end_processes(ctx: &Context, id: &TaskId, run: &RunName) -> Result<(), Failure> {
    let (run_dir, token) = (ctx.project.layout()?.run(id, run), run.token());
    match process::end_leftovers(&run_dir, GONE) {
        Ok(0) => Ok(()),
        Ok(ended) => {
            ctx.ui.say(&format!("ended {} that the attempt {id}/{token} had left", many(ended as usize, "process")));
            Ok(())
        }
        Err(pids) => {
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            let message = format!("processes of the attempt {id}/{token} do not end: {}", pids.join(", "));
            Err(Failure::new(ErrorKind::TimedOut, message)
                .hint(format!("look at them: ps -o pid,stat,args -p {}", pids.join(","))))
        }
    }
}

/// Gives back the task of a dead or lost owner: first its processes, then the task.
pub fn give_back(ctx: &Context, id: &TaskId) -> Result<Changed, Failure> {
    let loaded = ctx.project.loaded()?;
    let (workflow, retry) = (&loaded.config.workflow, &loaded.config.retry);
    let snapshot = ctx.read()?.snapshot;
    let mut left: Vec<_> = rescue::find(&snapshot, workflow).into_iter().filter(|left| left.task == *id).collect();
    for left in &left {
        end_processes(ctx, id, &left.run)?;
    }
    takeover::see_what_landed(ctx.project.layout()?, &loaded.config, Some(&snapshot), &mut left);
    decide(ctx, Dry::default(), |snapshot, workflow, actor| {
        let mut changes = rescue::decide(snapshot, workflow, retry, &left, "");
        // It was a person who gave it back, not a worker.
        changes.events.iter_mut().for_each(|event| event.actor = actor.clone());
        Ok(changes)
    })
}
