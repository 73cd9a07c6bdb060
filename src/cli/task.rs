//! `agentctl task …` and `agentctl add`: what a person does to tasks.

use super::{
    change::{Dry, Targets, change, change_each, decide, each, needed, reason, tell},
    context::Context,
    edit::{self, Said},
    fail::{self, Done},
    list, show,
};
use oodatcaa_core::{
    Snapshot, Status,
    manual::{self, Wanted},
    text::one_line,
};
use oodatcaa_git::restart::Anew;
use oodatcaa_ops::{ErrorKind, view::ChangeView};

/// Verbs of `task`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Add a task
    Add(Add),
    /// List tasks (the same as `ls`)
    List(list::Args),
    /// Everything about one task
    Show(show::Args),
    /// Why a task does not move
    Why(show::Args),
    /// Move a task to another status
    Move(Move),
    /// Try a task again from where it failed; attempts, waiting time and reason are forgotten
    Retry(Retry),
    /// Cancel a task
    Cancel(Cancel),
    /// Set a task aside until it is unblocked
    Block(Reasoned),
    /// Let a blocked task go on
    Unblock(Unblock),
    /// Say that a task is done, without its gates
    Done(Reasoned),
    /// Change what is said of a task; criteria and gates replace those that are there
    Edit(edit::Edit),
    /// Change the priority of tasks
    Prio(edit::Prio),
    /// Change what a task waits for
    #[command(subcommand)]
    Dep(edit::Dep),
}

/// Flags of `add`.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// One line that says what is wanted
    #[arg(required = true, value_name = "TITLE")]
    title: Vec<String>,
    #[command(flatten)]
    said: Said,
    /// Another task that must be done before; may be repeated
    #[arg(long = "dep", value_name = "ID", value_delimiter = ',')]
    dependencies: Vec<String>,
    /// The task that it is a part of
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
    /// The id [default: the next free one in the style of the file]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Start with planning (the default)
    #[arg(long, group = "start")]
    plan: bool,
    /// Start with building, without a plan
    #[arg(long, group = "start")]
    ready: bool,
    /// Start in this status
    #[arg(long, value_name = "STATUS", group = "start")]
    status: Option<String>,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `move`.
#[derive(Debug, clap::Args)]
pub(super) struct Move {
    /// The task
    #[arg(add = super::shell::tasks())]
    id: String,
    /// Where it goes: agentctl help states
    status: String,
    /// Why, for the journal (needed for `blocked` and `done`)
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Also skip work that has not been done
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    dry: Dry,
}

/// Flags of `retry`.
#[derive(Debug, clap::Args)]
pub(super) struct Retry {
    #[command(flatten)]
    targets: Targets,
    /// Rebase its branch onto its base as it is now
    #[arg(long, conflicts_with = "fresh")]
    rebase: bool,
    /// Begin again from the base; what its branch had is kept below refs/oodatcaa/old
    #[arg(long)]
    fresh: bool,
}

/// Flags of `cancel`.
#[derive(Debug, clap::Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    targets: Targets,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Even when it is being worked on: its attempt is stopped
    #[arg(long)]
    stop: bool,
}

/// Flags of verbs that need a reason.
#[derive(Debug, clap::Args)]
pub(super) struct Reasoned {
    #[command(flatten)]
    targets: Targets,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
}

/// Flags of `unblock`.
#[derive(Debug, clap::Args)]
pub(super) struct Unblock {
    #[command(flatten)]
    targets: Targets,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Take it out of `blocked` although its dependencies are not done
    #[arg(long)]
    force: bool,
}

/// Runs a verb of `task`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::Add(args) => add(ctx, args),
        Verb::List(args) => list::run(ctx, args),
        Verb::Show(args) => show::show(ctx, args),
        Verb::Why(args) => show::why(ctx, args),
        Verb::Move(args) => move_to(ctx, args),
        Verb::Retry(args) => retry(ctx, args),
        Verb::Cancel(args) => cancel(ctx, args),
        Verb::Block(args) => block(ctx, args),
        Verb::Unblock(args) => unblock(ctx, args),
        Verb::Done(args) => done(ctx, args),
        Verb::Edit(args) => edit::edit(ctx, args),
        Verb::Prio(args) => edit::prio(ctx, args),
        Verb::Dep(verb) => edit::dep(ctx, verb),
    }
}

/// Adds a task.
pub(super) fn add(ctx: &Context, args: &Add) -> Done {
    let said = &args.said;
    said.check_gates(ctx)?;
    let wanted = Wanted {
        title: args.title.join(" "),
        description: said.description()?.filter(|text| !text.is_empty()),
        kind: said.kind.clone(),
        priority: said.priority,
        id: args.id.clone(),
        dependencies: args.dependencies.clone(),
        acceptance_criteria: said.accept.clone(),
        parent: args.parent.clone(),
        status: match (&args.status, args.ready) {
            (Some(status), _) => Some(Status::new(status.as_str())),
            (None, true) => Some(ctx.workflow().work()),
            (None, false) => None,
        },
        gates: said.gates.clone(),
        of: None,
    };
    let changed = decide(ctx, args.dry, |snapshot, workflow, actor| manual::add(snapshot, workflow, &wanted, actor))?;
    let task = &changed.changes.add.first().expect("a task that is not refused is added").task;
    if task.acceptance_criteria.is_empty() {
        ctx.ui.warn("no acceptance criteria: a tester can only run the gates (add some with --accept \"…\")");
    }
    for name in &task.dependencies {
        if changed.before.queue.find(name).is_some_and(|other| other.status == Status::CANCELLED) {
            ctx.ui.warn(&format!("{name} was cancelled, so {} will wait until a human decides", task.id));
        }
    }
    let undo = format!("agentctl task cancel {}", task.id);
    let view =
        ChangeView { undo: Some(undo.clone()), ..changed.view(ctx.workflow(), "add", &task.id, args.dry.dry_run) };
    let (status, title) = (task.status.as_str(), one_line(&task.title));
    if ctx.ui.outcome(&view, task.id.as_str(), &format!("{status} · {title}"), &[status, &title]) {
        ctx.ui.say(&if args.dry.dry_run { "would be added".into() } else { format!("undo: {undo}") });
    }
    Ok(fail::exit::OK)
}

fn move_to(ctx: &Context, args: &Move) -> Done {
    let to = Status::new(args.status.as_str());
    let reason = reason(args.reason.as_deref());
    change(ctx, args.dry, "move", &args.id, |snapshot, workflow, id, actor| {
        manual::move_to(snapshot, workflow, id, &to, reason, args.force, actor)
    })
}

fn retry(ctx: &Context, args: &Retry) -> Done {
    let events = ctx.project.store()?.events(0)?;
    let Targets { ids, dry } = &args.targets;
    let anew = match (args.fresh, args.rebase) {
        (true, _) => Some(Anew::Fresh),
        (_, true) => Some(Anew::Rebase),
        _ => None,
    };
    each(ctx, *dry, "retry", ids, |id| {
        let (id, changed) = ctx.project.retry(id, &events, anew, dry.dry_run)?;
        tell(ctx, "retry", &id, &changed, *dry)
    })
}

fn cancel(ctx: &Context, args: &Cancel) -> Done {
    let reason = reason(args.reason.as_deref());
    let Targets { ids, dry } = &args.targets;
    let question = format!("stop the attempt of {} and cancel it?", ids.join(", "));
    if args.stop && !dry.dry_run && !ctx.ui.agreed(&question)? {
        return Ok(fail::exit::FAILED);
    }
    let on = |snapshot: &Snapshot, _: &_, id: &_, actor: &_| manual::cancel(snapshot, id, reason, args.stop, actor);
    each(ctx, *dry, "cancel", ids, |id| {
        // No table of roles says anything about it, so a broken configuration keeps nobody from it.
        let cancelled = ctx.project.decide_on(dry.dry_run, ctx.workflow(), id, on);
        let (id, changed) = cancelled.map_err(|mut failure| {
            if failure.kind == ErrorKind::LeaseHeld {
                failure.hints.insert(0, format!("to stop it as well: agentctl task cancel {id} --stop"));
            }
            failure
        })?;
        tell(ctx, "cancel", &id, &changed, *dry)
    })
}

fn block(ctx: &Context, args: &Reasoned) -> Done {
    let reason = needed(&args.reason)?;
    change_each(ctx, &args.targets, "block", |snapshot, _, id, actor| manual::block(snapshot, id, reason, actor))
}

fn unblock(ctx: &Context, args: &Unblock) -> Done {
    let events = ctx.project.store()?.events(0)?;
    let reason = reason(args.reason.as_deref());
    change_each(ctx, &args.targets, "unblock", |snapshot, workflow, id, actor| {
        let before = manual::blocked_from(workflow, id, &events);
        manual::unblock(snapshot, workflow, id, before.as_ref(), reason, args.force, actor)
    })
}

fn done(ctx: &Context, args: &Reasoned) -> Done {
    let reason = needed(&args.reason)?;
    change_each(ctx, &args.targets, "done", |snapshot, _, id, actor| manual::done(snapshot, id, reason, actor))
}
